/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of the gated output norm: heads, types, large and vanishing values. */
#include "checkkernel.h"

#include <stdio.h>

static void one(struct ck *ck, int64_t M, int64_t heads, int64_t width, enum kn_dtype from,
                int round) {
    const int64_t D = heads * width, dim[] = {M, D};
    int64_t pad = round % 2 ? 1 + ck_below(ck, 9) : 0;
    /* the gradient of a single column is epsilon / (o^2 + epsilon) of what comes in: none left */
    struct kn_gate_backward_args a = {.heads = heads, .epsilon = width == 1 ? 0.5f : 1e-5f};
    struct ck_memory *memory;

    if (!ck_begin(ck, "gate_backward (%d, %d heads of %d) from %s, pad %d, variant %d", (int)M,
                  (int)heads, (int)width, kn_dtype_name(from), (int)pad, round))
        return;
    memory = ck_memory_new(ck);
    a.o = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    a.z = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    for (int64_t m = 0; m < M; m++)
        for (int64_t i = 0; i < D; i++) {
            float *o = ck_at(memory, &a.o, m, i, 0, 0), *z = ck_at(memory, &a.z, m, i, 0, 0);
            *o *= round % 3 == 1 ? 1e-2f : m % 4 == 3 ? 0.1f : 1;
            *z *= round % 3 == 2 ? 50 : 1;
        }
    a.weight = ck_weight(memory, 1, 1, &D);
    a.dy = ck_tensor(memory, CK_IN, KN_SLOT_WORK, from, pad / 2, 2, dim);
    a.d_o = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F32, pad, 2, dim);
    a.dz = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F32, pad / 2, 2, dim);
    a.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &D);
    ck_check(memory, KN_OP_GATE_BACKWARD, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_gate_backward(struct ck *ck) {
    static const int64_t M[] = {5, 1, 300}, heads[] = {4, 1, 3}, width[] = {16, 1, 32, 50};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};
    int round = 0;

    for (size_t m = 0; m < CK_COUNT(M); m++)
        for (size_t h = 0; h < CK_COUNT(heads); h++)
            for (size_t w = 0; w < CK_COUNT(width); w++)
                for (int i = 0; i < 6; i++)
                    one(ck, M[m], heads[h], width[w], type[i % 3], round++ + i / 3);
}

bool ck_sabotage_gate_backward(struct kn_gate_backward_args *a, int way) {
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

static void grad_one(struct ck *ck, int64_t M, int64_t heads, int64_t width, float epsilon) {
    const int64_t D = heads * width, dim[] = {M, D};
    struct ck_memory *memory;
    struct kn_gate_args a = {.heads = heads, .epsilon = epsilon};
    struct kn_gate_backward_args b = {.heads = heads, .epsilon = epsilon};
    struct ck_grad grad = {0};

    if (!ck_begin(ck, "gate_backward (%d, %d heads of %d), epsilon %g", (int)M, (int)heads,
                  (int)width, (double)epsilon))
        return;
    memory = ck_memory_new(ck);
    a.o = b.o = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F64, 2, 2, dim);
    a.z = b.z = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F64, 1, 2, dim);
    a.weight = b.weight = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 1, &D);
    a.out = grad.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 0, 2, dim);
    b.dy = grad.dout = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F64, 3, 2, dim);
    b.d_o = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 1, 2, dim);
    b.dz = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 2, 2, dim);
    b.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 1, &D);
    ck_grad_forward(&grad, KN_OP_GATE, &a);
    ck_grad_backward(&grad, KN_OP_GATE_BACKWARD, &b);
    ck_grad_input(&grad, &a.o, &b.d_o);
    ck_grad_input(&grad, &a.z, &b.dz);
    ck_grad_input(&grad, &a.weight, &b.dweight);
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}

void ck_grad_gate_backward(struct ck *ck) {
    grad_one(ck, 3, 2, 8, 1e-5f);
    grad_one(ck, 1, 4, 16, 1e-5f);
    grad_one(ck, 5, 3, 1, 0.5f);
    grad_one(ck, 7, 1, 5, 0.1f);
}

void ck_bench_gate_backward(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t M = 2048;
        const int64_t dim[] = {M, p->dim};
        struct kn_gate_backward_args a = {.heads = p->heads, .epsilon = 1e-5f};
        struct ck_memory *memory;
        if (!p->name)
            continue;
        memory = ck_memory_new(ck);
        a.o = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.z = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.weight = ck_weight(memory, 1, 1, &p->dim);
        a.dy = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.d_o = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.dz = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 0, 2, dim);
        a.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &p->dim);
        ck_bench(memory, p->name, KN_OP_GATE_BACKWARD, &a,
                 (struct ck_work){.bytes = 20. * (double)(M * p->dim)});
        ck_memory_free(memory);
    }
}
