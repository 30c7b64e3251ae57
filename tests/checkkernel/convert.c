/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Changes of type: all pairs, special values against a table of bits, and 8 bit with scales. */
#include "checkkernel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Scales over the range in which values are clamped, exact and lost. */
static struct kn_tensor add_scale(struct ck_memory *memory, int64_t channels) {
    struct kn_tensor scale = ck_weight(memory, 1, 1, &channels);

    for (int64_t c = 0; c < channels; c++) {
        float *s = ck_at(memory, &scale, c, 0, 0, 0);
        *s = 0.001f + 0.05f * fabsf(*s);
    }
    return scale;
}

static bool is_coded(enum kn_dtype from, enum kn_dtype to) {
    return (from == KN_U8) != (to == KN_U8);
}

static void one(struct ck *ck, enum kn_dtype from, enum kn_dtype to, int rank, const int64_t *dim,
                int64_t pad, int reset) {
    struct kn_convert_args a = {0};
    struct ck_memory *memory;

    if (!ck_begin(ck, "convert %s to %s, rank %d, last %d, pad %d%s", kn_dtype_name(from),
                  kn_dtype_name(to), rank, (int)dim[rank - 1], (int)pad,
                  reset == 1 ? ", reset" : ""))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, from, pad, rank, dim);
    a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, pad / 2, rank, dim);
    if (is_coded(from, to))
        a.scale = add_scale(memory, dim[rank - 1]);
    if (reset >= 0)
        a.control = ck_control(memory, reset);
    /* a product rounds, everything else is exact */
    ck_check(memory, KN_OP_CONVERT, &a, is_coded(from, to) ? CK_F32 : CK_EXACT);
    ck_memory_free(memory);
}

static void all_pairs(struct ck *ck) {
    static const int64_t dim[][KN_MAX_RANK] = {{37},      {1},           {5, 33},      {3, 64},
                                               {2, 3, 7}, {2, 3, 5, 32}, {1, 7, 9, 13}};
    static const int rank[] = {1, 1, 2, 2, 3, 4, 4};
    int round = 0;

    for (int from = 0; from <= KN_U8; from++)
        for (int to = 0; to <= KN_U8; to++)
            for (size_t s = 0; s < CK_COUNT(dim); s++, round++)
                /* bytes are codes of float32 values, or bytes */
                if (!is_coded((enum kn_dtype)from, (enum kn_dtype)to) || from == KN_F32 ||
                    to == KN_F32)
                    one(ck, (enum kn_dtype)from, (enum kn_dtype)to, rank[s], dim[s],
                        rank[s] > 1 && round % 3 == 0 ? 6 : 0, round % 4 < 2 ? -1 : round % 4 - 2);
}

/* ------------------------------------------------------------------------------- special values */

/* float32 bits, and the nearest (ties to even) float16 and bfloat16. */
static const struct special {
    uint32_t f32;
    uint16_t f16, bf16;
} specials[] = {
    {0x00000000, 0x0000, 0x0000}, {0x80000000, 0x8000, 0x8000}, {0x3f800000, 0x3c00, 0x3f80},
    {0x7f800000, 0x7c00, 0x7f80}, {0xff800000, 0xfc00, 0xff80}, {0x3f804000, 0x3c02, 0x3f80},
    {0x3f808000, 0x3c04, 0x3f80}, {0x3f818000, 0x3c0c, 0x3f82}, {0x3f801000, 0x3c00, 0x3f80},
    {0x3f803000, 0x3c02, 0x3f80}, {0x477fe000, 0x7bff, 0x4780}, {0x477fefff, 0x7bff, 0x4780},
    {0x477ff000, 0x7c00, 0x4780}, {0x38800000, 0x0400, 0x3880}, {0x387fffff, 0x0400, 0x3880},
    {0x33800000, 0x0001, 0x3380}, {0x33000000, 0x0000, 0x3300}, {0x33000001, 0x0001, 0x3300},
    {0xb3c00000, 0x8002, 0xb3c0}, {0x7f7fffff, 0x7c00, 0x7f80}, {0x42c80000, 0x5640, 0x42c8},
};

static void check_specials(struct ck *ck, struct kn_dev *dev, enum kn_dtype to) {
    const int64_t count = CK_COUNT(specials);
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_convert_args a = {0};
    struct ck_loaded loaded;
    struct kn_exec *exec = NULL;

    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 1, &count);
    a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, 0, 1, &count);
    for (int64_t i = 0; i < count; i++)
        memcpy(ck_at(memory, &a.x, i, 0, 0, 0), &specials[i].f32, 4);
    if (ck_load(&loaded, memory, dev, dev == ck->dev, 0))
        exec = ck_compile(&loaded, KN_OP_CONVERT, &a);
    if (exec && ck_run(&loaded, exec, 0, 0) && ck_read_back(&loaded))
        for (int64_t i = 0; i < count; i++) {
            uint16_t want = to == KN_F16 ? specials[i].f16 : specials[i].bf16, got;
            memcpy(&got, loaded.bytes[KN_SLOT_WORK] + a.out.offset_bytes + 2 * i, 2);
            ck_want(ck, got == want, "%s of %08" PRIx32 " is %04x, not %04x", kn_dtype_name(to),
                    specials[i].f32, got, want);
        }
    kn_exec_free(exec);
    ck_unload(&loaded);
    ck_memory_free(memory);
}

void ck_test_convert(struct ck *ck) {
    all_pairs(ck);
    for (int i = 0; i < 2; i++)
        if (ck_begin(ck, "convert special values to %s", i ? "float16" : "bfloat16")) {
            check_specials(ck, ck->ref, i ? KN_F16 : KN_BF16);
            check_specials(ck, ck->dev, i ? KN_F16 : KN_BF16);
        }
}

bool ck_sabotage_convert(struct kn_convert_args *a, int way) {
    switch (way) {
    case 0:
        if (a->control.rank == 0)
            return false;
        a->control.rank = 0;
        return true;
    case 1:
        if (a->x.rank < 2 || a->x.dim[0] < 2)
            return false;
        a->x.dim[0] = --a->out.dim[0];
        return true;
    default:
        return false;
    }
}

void ck_bench_convert(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t dim[] = {1, p->height, p->width, p->latents};
        double count = (double)(dim[1] * dim[2] * dim[3]);
        if (!p->name)
            continue;
        for (int way = 0; way < 2; way++) {
            struct ck_memory *memory = ck_memory_new(ck);
            struct kn_convert_args a = {0};
            char label[60];
            enum kn_dtype to = way ? KN_U8 : KN_BF16;
            snprintf(label, sizeof label, "%s latents float32 to %s", p->name, kn_dtype_name(to));
            a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 4, dim);
            a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, 0, 4, dim);
            if (way)
                a.scale = add_scale(memory, dim[3]);
            ck_bench(memory, label, KN_OP_CONVERT, &a,
                     (struct ck_work){.bytes = count * (4 + (double)kn_dtype_bytes(to))});
            ck_memory_free(memory);
        }
    }
}
