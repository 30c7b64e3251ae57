/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated output norm: heads, types, large and vanishing values. */
#include "checkkernel.h"

#include <stdio.h>

static void one(struct ck *ck, int64_t M, int64_t heads, int64_t width, enum kn_dtype to,
                int round) {
    const int64_t D = heads * width, dim[] = {M, D};
    int64_t pad = round % 2 ? 1 + ck_below(ck, 9) : 0;
    struct kn_gate_args a = {.heads = heads, .epsilon = 1e-5f};
    struct ck_memory *memory;

    if (!ck_begin(ck, "gate (%d, %d heads of %d) to %s, pad %d, variant %d", (int)M, (int)heads,
                  (int)width, kn_dtype_name(to), (int)pad, round))
        return;
    memory = ck_memory_new(ck);
    a.o = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    a.z = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    for (int64_t m = 0; m < M; m++)
        for (int64_t i = 0; i < D; i++) {
            float *o = ck_at(memory, &a.o, m, i, 0, 0), *z = ck_at(memory, &a.z, m, i, 0, 0);
            *o *= m % 4 == 3 ? 0 : round % 3 == 1 ? 1e-4f : 1;
            *z *= round % 3 == 2 ? 50 : 1;
        }
    a.weight = ck_weight(memory, 1, 1, &D);
    a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, pad / 2, 2, dim);
    ck_check(memory, KN_OP_GATE, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_gate(struct ck *ck) {
    static const int64_t M[] = {5, 1, 33}, heads[] = {4, 1, 3}, width[] = {16, 1, 32, 50, 128};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};
    int round = 0;

    for (size_t m = 0; m < CK_COUNT(M); m++)
        for (size_t h = 0; h < CK_COUNT(heads); h++)
            for (size_t w = 0; w < CK_COUNT(width); w++)
                for (int i = 0; i < 6; i++)
                    one(ck, M[m], heads[h], width[w], type[i % 3], round++ + i / 3);
}

bool ck_sabotage_gate(struct kn_gate_args *a, int way) {
    struct kn_tensor o = a->o;

    switch (way) {
    case 0:
        a->epsilon = 0.1f;
        return true;
    case 1:
        a->o = a->z;
        a->z = o;
        return true;
    case 2:
        if (a->heads == 1)
            return false;
        a->heads = 1;
        return true;
    default:
        return false;
    }
}

void ck_bench_gate(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t M = p->name ? p->height / p->patch * (p->width / p->patch) : 0;
        const int64_t dim[] = {M, p->dim};
        for (int half = 0; half < 2 && p->name; half++) {
            struct ck_memory *memory = ck_memory_new(ck);
            struct kn_gate_args a = {.heads = p->heads, .epsilon = 1e-5f};
            enum kn_dtype to = half ? KN_BF16 : KN_F32;
            char label[60];
            snprintf(label, sizeof label, "%s (%d,%d) to %s", p->name, (int)M, (int)p->dim,
                     kn_dtype_name(to));
            a.o = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dim);
            a.z = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 3 * p->dim, 2, dim);
            a.weight = ck_weight(memory, 1, 1, &p->dim);
            a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, 0, 2, dim);
            ck_bench(
                memory, label, KN_OP_GATE, &a,
                (struct ck_work){.bytes = (double)(M * p->dim) * (8 + (double)kn_dtype_bytes(to))});
            ck_memory_free(memory);
        }
    }
}
