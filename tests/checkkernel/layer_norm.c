/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layer norm: shapes, types, offsets, and rows without any variance. */
#include "checkkernel.h"

#include <stdio.h>

static void one(struct ck *ck, int64_t M, int64_t D, enum kn_dtype to, int round) {
    const int64_t dim[] = {M, D};
    int64_t pad = round % 2 ? 1 + ck_below(ck, 9) : 0;
    double offset = round % 3 == 2 ? 10 : 0, scale = round % 3 == 1 ? 1e-3 : 1;
    struct kn_layer_norm_args a = {.epsilon = 1e-5f};
    struct ck_memory *memory;

    if (!ck_begin(ck, "layer_norm (%d,%d) to %s, pad %d, offset %g, scale %g", (int)M, (int)D,
                  kn_dtype_name(to), (int)pad, offset, scale))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    for (int64_t m = 0; m < M; m++)
        for (int64_t i = 0; i < D; i++) {
            float *x = ck_at(memory, &a.x, m, i, 0, 0);
            *x = m % 5 == 4 ? 0 : (float)(offset + scale * (double)*x);
        }
    a.weight = ck_weight(memory, 1, 1, &D);
    a.bias = ck_weight(memory, 1, 1, &D);
    a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, pad / 2, 2, dim);
    ck_check(memory, KN_OP_LAYER_NORM, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_layer_norm(struct ck *ck) {
    static const int64_t M[] = {5, 1, 17, 64}, D[] = {8, 1, 3, 64, 67, 128, 512};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};
    int round = 0;

    for (size_t m = 0; m < CK_COUNT(M); m++)
        for (size_t d = 0; d < CK_COUNT(D); d++)
            for (int i = 0; i < 6; i++)
                one(ck, M[m], D[d], type[i % 3], round++ + i / 3);
}

bool ck_sabotage_layer_norm(struct kn_layer_norm_args *a, int way) {
    struct kn_tensor weight = a->weight;

    switch (way) {
    case 0:
        a->epsilon = 0.1f;
        return true;
    case 1:
        a->weight = a->bias;
        a->bias = weight;
        return true;
    default:
        return false;
    }
}

void ck_bench_layer_norm(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t M = p->name ? p->height / p->patch * (p->width / p->patch) : 0;
        const int64_t dim[] = {M, p->dim};
        for (int half = 0; half < 2 && p->name; half++) {
            struct ck_memory *memory = ck_memory_new(ck);
            struct kn_layer_norm_args a = {.epsilon = 1e-5f};
            enum kn_dtype to = half ? KN_BF16 : KN_F32;
            char label[60];
            snprintf(label, sizeof label, "%s (%d,%d) to %s", p->name, (int)M, (int)p->dim,
                     kn_dtype_name(to));
            a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dim);
            a.weight = ck_weight(memory, 1, 1, &p->dim);
            a.bias = ck_weight(memory, 1, 1, &p->dim);
            a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, 0, 2, dim);
            ck_bench(
                memory, label, KN_OP_LAYER_NORM, &a,
                (struct ck_work){.bytes = (double)(M * p->dim) * (4 + (double)kn_dtype_bytes(to))});
            ck_memory_free(memory);
        }
    }
}
