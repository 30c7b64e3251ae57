/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of layer norm: widths, types, rows far from zero and rows without variance. */
#include "checkkernel.h"

#include <stdio.h>

static void one(struct ck *ck, int64_t M, int64_t D, enum kn_dtype from, int round) {
    const int64_t dim[] = {M, D};
    int64_t pad = round % 2 ? 1 + ck_below(ck, 9) : 0;
    struct kn_layer_norm_backward_args a = {.epsilon = 1e-5f, .accumulate = ck_below(ck, 2)};
    struct ck_memory *memory;

    /* the gradient of a single column is zero, which rounding may miss: something to be added to */
    if (D == 1) {
        a.accumulate = true;
        a.epsilon = 1;
    }
    if (!ck_begin(ck, "layer_norm_backward (%d,%d) from %s%s, pad %d, variant %d", (int)M, (int)D,
                  kn_dtype_name(from), a.accumulate ? ", accumulate" : "", (int)pad, round % 3))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    for (int64_t m = 0; m < M; m++)
        for (int64_t i = 0; i < D; i++) {
            float *x = ck_at(memory, &a.x, m, i, 0, 0);
            *x = round % 3 == 1 ? 10 + *x : m % 4 == 3 ? 1 : *x;
        }
    a.weight = ck_weight(memory, 1, 1, &D);
    a.dy = ck_tensor(memory, CK_IN, KN_SLOT_WORK, from, pad / 2, 2, dim);
    a.dx = ck_tensor(memory, a.accumulate ? CK_INOUT : CK_OUT, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    a.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &D);
    a.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &D);
    ck_check(memory, KN_OP_LAYER_NORM_BACKWARD, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_layer_norm_backward(struct ck *ck) {
    static const int64_t M[] = {5, 1, 33, 300}, D[] = {64, 1, 7, 128, 200};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};
    int round = 0;

    for (size_t m = 0; m < CK_COUNT(M); m++)
        for (size_t d = 0; d < CK_COUNT(D); d++)
            for (int i = 0; i < 6; i++)
                one(ck, M[m], D[d], type[i % 3], round++ + i / 3);
}

bool ck_sabotage_layer_norm_backward(struct kn_layer_norm_backward_args *a, int way) {
    struct kn_tensor dweight = a->dweight;

    switch (way) {
    case 0:
        a->epsilon = 0.1f;
        return true;
    case 1:
        a->dweight = a->dbias;
        a->dbias = dweight;
        return true;
    case 2:
        a->accumulate = !a->accumulate;
        return true;
    default:
        return false;
    }
}

static void grad_one(struct ck *ck, int64_t M, int64_t D, bool accumulate, float epsilon) {
    const int64_t dim[] = {M, D};
    struct ck_memory *memory;
    struct kn_layer_norm_args a = {.epsilon = epsilon};
    struct kn_layer_norm_backward_args b = {.epsilon = epsilon, .accumulate = accumulate};
    struct ck_grad grad = {0};

    if (!ck_begin(ck, "layer_norm_backward (%d,%d)%s, epsilon %g", (int)M, (int)D,
                  accumulate ? ", accumulate" : "", (double)epsilon))
        return;
    memory = ck_memory_new(ck);
    a.x = b.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F64, 2, 2, dim);
    a.weight = b.weight = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 1, &D);
    a.bias = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 1, &D);
    a.out = grad.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 1, 2, dim);
    b.dy = grad.dout = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F64, 3, 2, dim);
    b.dx = ck_tensor(memory, accumulate ? CK_INOUT : CK_OUT, KN_SLOT_WORK, KN_F64, 0, 2, dim);
    b.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 1, &D);
    b.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 1, &D);
    ck_grad_forward(&grad, KN_OP_LAYER_NORM, &a);
    ck_grad_backward(&grad, KN_OP_LAYER_NORM_BACKWARD, &b);
    ck_grad_input(&grad, &a.x, &b.dx);
    ck_grad_input(&grad, &a.weight, &b.dweight);
    ck_grad_input(&grad, &a.bias, &b.dbias);
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}

void ck_grad_layer_norm_backward(struct ck *ck) {
    for (int i = 0; i < 2; i++) {
        grad_one(ck, 5, 8, i, 1e-5f);
        grad_one(ck, 1, 33, i, 1e-5f);
        grad_one(ck, 7, 1, i, 0.5f);
        grad_one(ck, 3, 3, i, 0.5f);
    }
}

void ck_bench_layer_norm_backward(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t M = 2048;
        const int64_t dim[] = {M, p->dim};
        struct kn_layer_norm_backward_args a = {.epsilon = 1e-5f};
        struct ck_memory *memory;
        if (!p->name)
            continue;
        memory = ck_memory_new(ck);
        a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.weight = ck_weight(memory, 1, 1, &p->dim);
        a.dy = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.dx = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &p->dim);
        a.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &p->dim);
        ck_bench(memory, p->name, KN_OP_LAYER_NORM_BACKWARD, &a,
                 (struct ck_work){.bytes = 12. * (double)(M * p->dim)});
        ck_memory_free(memory);
    }
}
