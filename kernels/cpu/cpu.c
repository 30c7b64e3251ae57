/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Chooses the instruction set and overlays the reference's table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu.h"
#ifdef KN_HAVE_ONEDNN
#include "onednn.h"
#endif

static enum kn_cpu_isa detect(void) {
#ifdef KN_HAVE_X86_64
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
    return avx512 ? KN_CPU_AVX512 : avx2 ? KN_CPU_AVX2 : KN_CPU_BASELINE;
#else
    return KN_CPU_BASELINE;
#endif
}

/* KN_CPU_ISA lowers what was found, so that tests reach every path; it never raises it. */
static enum kn_cpu_isa choose(enum kn_cpu_isa found) {
    static const char *const name[] = {"baseline", "avx2", "avx512"};
    const char *wanted = getenv("KN_CPU_ISA");
    for (int i = 0; wanted && i < (int)found; i++)
        if (!strcmp(wanted, name[i]))
            return (enum kn_cpu_isa)i;
    return found;
}

static bool native_bf16(enum kn_cpu_isa isa) {
#if defined(KN_HAVE_X86_64) && defined(KN_HAVE_ONEDNN)
    return isa == KN_CPU_AVX512 && __builtin_cpu_supports("avx512bf16");
#else
    (void)isa;
    return false;
#endif
}

static void overlay(struct kn_table *table, enum kn_cpu_isa isa) {
    switch (isa) {
#ifdef KN_HAVE_X86_64
    case KN_CPU_AVX512:
        kn_cpu_overlay_avx512(table);
        break;
    case KN_CPU_AVX2:
        kn_cpu_overlay_avx2(table);
        break;
#endif
    default:
        kn_cpu_overlay_baseline(table);
    }
}

void kn_cpu_fill(struct kn_table *table, struct kn_cpu_traits *traits, int threads) {
    static const char *const name[] = {"baseline", "AVX2", "AVX-512"};
    enum kn_cpu_isa found = detect(), isa = choose(found);
    char library[64] = "no oneDNN: convolutions and linear layers by the reference";

    overlay(table, isa);
#ifdef KN_HAVE_ONEDNN
    kn_cpu_onednn_fill(table, isa, isa < found);
    kn_cpu_onednn_describe(library, sizeof library);
#endif
    traits->fast_bf16 = native_bf16(isa);
    snprintf(traits->description, sizeof traits->description, "%s%s, %d thread%s, %s", name[isa],
             traits->fast_bf16 ? ", bf16" : "", threads, threads == 1 ? "" : "s", library);
}
