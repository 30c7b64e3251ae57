/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the sources of kernels/cpu share.
 *
 * Instruction sets: the sources listed in KN_CPU_FILES (and in meson.build) are compiled once per
 * instruction set, with KN_ISA defined to its name (baseline, avx2 or avx512) and the compiler's
 * flags set to match. They hold plain loops that the compiler vectorises. Each such file FILE.c
 * exports exactly one function,
 *
 *   void KN_ISA_NAME(FILE)(struct kn_table *table)      e.g. kn_cpu_color_avx2()
 *
 * which puts its kernels into the table; everything else in it is static. Adding a file: one line
 * in KN_CPU_FILES below and one in meson.build.
 *
 * Sources without KN_ISA (cpu.c and those around oneDNN) are compiled once.
 *
 * Threads: kernels run on the device's worker thread and open parallel regions with
 * num_threads(call->threads), so that they share one OpenMP team with oneDNN.
 */
#ifndef KN_CPU_H
#define KN_CPU_H

#include "kn_internal.h"

#define KN_CPU_FILES(X)    \
    X(adamw)               \
    X(charbonnier)         \
    X(color)               \
    X(convert)             \
    X(fenwick)             \
    X(fenwick_backward)    \
    X(gate)                \
    X(gate_backward)       \
    X(laplacian)           \
    X(layer_norm)          \
    X(layer_norm_backward) \
    X(mask)                \
    X(mean_square)         \
    X(mesa)                \
    X(mesa_backward)       \
    X(ms_ssim)             \
    X(noise)               \
    X(patch)               \
    X(relu_backward)       \
    X(shift)               \
    X(shift_backward)      \
    X(square_sum)          \
    X(temporal_difference) \
    X(zero)

enum kn_cpu_isa { KN_CPU_BASELINE, KN_CPU_AVX2, KN_CPU_AVX512 };

/* isa.c: puts the kernels of every file of KN_CPU_FILES into the table. */
void kn_cpu_overlay_baseline(struct kn_table *table);
void kn_cpu_overlay_avx2(struct kn_table *table);
void kn_cpu_overlay_avx512(struct kn_table *table);

#ifdef KN_ISA
#define KN_ISA_PASTE(name, isa) kn_cpu_##name##_##isa
#define KN_ISA_EXPAND(name, isa) KN_ISA_PASTE(name, isa)
#define KN_ISA_NAME(name) KN_ISA_EXPAND(name, KN_ISA)
#define X(file) void KN_ISA_NAME(file)(struct kn_table * table);
KN_CPU_FILES(X)
#undef X
#endif

#endif
