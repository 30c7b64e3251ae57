/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradients of linear layers: shapes, types, strided rows. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>

struct shape {
    int64_t M, N, K;
};

static const struct shape shapes[] = {
    {3, 5, 7},     {1, 1, 1},     {1, 17, 64},    {17, 1, 33},    {64, 130, 64},
    {5, 244, 64},  {31, 64, 512}, {8, 512, 64},   {13, 436, 128}, {3, 33, 1024},
    {129, 16, 16}, {2, 128, 1},   {1200, 64, 96},
};

static const enum kn_dtype types[] = {KN_F32, KN_BF16, KN_F16};

/* -------------------------------------------------------------------------------------- of data */

static void one_data(struct ck *ck, const struct shape *s, enum kn_dtype from, enum kn_dtype to) {
    const int64_t dy[] = {s->M, s->N}, w[] = {s->N, s->K}, dx[] = {s->M, s->K};
    int64_t pad = ck_below(ck, 2) ? 0 : 1 + ck_below(ck, 9), more = ck_below(ck, 2) ? 0 : 4;
    bool rounded = from == KN_F32 || ck_below(ck, 4) != 0, bound = ck_below(ck, 3);
    struct kn_linear_backward_data_args a = {.accumulate = ck_below(ck, 2)};
    struct ck_memory *memory;

    if (!ck_begin(ck, "linear_backward_data (%d,%d) to %d, %s to %s%s%s, pads %d %d", (int)s->M,
                  (int)s->N, (int)s->K, kn_dtype_name(from), kn_dtype_name(to),
                  a.accumulate ? ", accumulate" : "", bound ? "" : ", packed", (int)pad, (int)more))
        return;
    memory = ck_memory_new(ck);
    memory->bound = bound;
    a.dy = ck_tensor(memory, CK_IN, KN_SLOT_WORK, from, pad, 2, dy);
    a.weight = ck_weight(memory, 1 / sqrt((double)s->N), 2, w);
    if (rounded)
        ck_round(memory, &a.weight, from);
    a.dx = ck_tensor(memory, a.accumulate ? CK_INOUT : CK_OUT, KN_SLOT_WORK, to, more, 2, dx);
    ck_check(memory, KN_OP_LINEAR_BACKWARD_DATA, &a, rounded ? CK_F32 : CK_PACKED);
    ck_memory_free(memory);
}

void ck_test_linear_backward_data(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (size_t i = 0; i < 9; i++)
            one_data(ck, &shapes[s], types[i % 3], types[i / 3]);
}

bool ck_sabotage_linear_backward_data(struct kn_linear_backward_data_args *a, int way) {
    switch (way) {
    case 0:
        a->accumulate = !a->accumulate;
        return true;
    case 1:
        a->weight.offset_bytes += kn_dtype_bytes(a->weight.dtype);
        return true;
    default:
        return false;
    }
}

/* ----------------------------------------------------------------------------------- of weights */

static void one_weights(struct ck *ck, const struct shape *s, enum kn_dtype x_type,
                        enum kn_dtype dy_type) {
    const int64_t x[] = {s->M, s->K}, dy[] = {s->M, s->N}, w[] = {s->N, s->K};
    int64_t pad = ck_below(ck, 2) ? 0 : 1 + ck_below(ck, 9), more = ck_below(ck, 2) ? 0 : 4;
    bool bias = ck_below(ck, 3) != 0;
    struct kn_linear_backward_weights_args a = {{0}};
    struct ck_memory *memory;

    if (!ck_begin(ck, "linear_backward_weights (%d,%d) and %d, %s and %s%s, pads %d %d", (int)s->M,
                  (int)s->K, (int)s->N, kn_dtype_name(x_type), kn_dtype_name(dy_type),
                  bias ? ", bias" : "", (int)pad, (int)more))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, x_type, pad, 2, x);
    a.dy = ck_tensor(memory, CK_IN, KN_SLOT_WORK, dy_type, more, 2, dy);
    a.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 2, w);
    if (bias)
        a.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &s->N);
    ck_check(memory, KN_OP_LINEAR_BACKWARD_WEIGHTS, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_linear_backward_weights(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (size_t i = 0; i < 9; i++)
            one_weights(ck, &shapes[s], types[i % 3], types[i / 3]);
}

bool ck_sabotage_linear_backward_weights(struct kn_linear_backward_weights_args *a, int way) {
    if (way == 0 && a->dbias.rank > 0) {
        a->dbias.rank = 0;
        return true;
    }
    if (way == 1 && a->x.dim[0] > 1) {
        a->x.dim[0]--;
        a->dy.dim[0]--;
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------ gradients */

static void grad_one(struct ck *ck, bool data, const struct shape *s, bool accumulate) {
    const int64_t x[] = {s->M, s->K}, w[] = {s->N, s->K}, out[] = {s->M, s->N};
    struct ck_memory *memory;
    struct kn_linear_args a = {{0}};
    struct kn_linear_backward_data_args b = {.accumulate = accumulate};
    struct kn_linear_backward_weights_args c = {{0}};
    struct ck_grad grad = {0};

    if (!ck_begin(ck, "linear (%d,%d) to %d%s", (int)s->M, (int)s->K, (int)s->N,
                  accumulate ? ", accumulate" : ""))
        return;
    memory = ck_memory_new(ck);
    a.x = c.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F64, 3, 2, x);
    a.weight = b.weight = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 2, w);
    a.bias = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 1, &s->N);
    a.out = grad.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 1, 2, out);
    b.dy = c.dy = grad.dout = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F64, 2, 2, out);
    ck_grad_forward(&grad, KN_OP_LINEAR, &a);
    if (data) {
        b.dx = ck_tensor(memory, accumulate ? CK_INOUT : CK_OUT, KN_SLOT_WORK, KN_F64, 5, 2, x);
        ck_grad_backward(&grad, KN_OP_LINEAR_BACKWARD_DATA, &b);
        ck_grad_input(&grad, &a.x, &b.dx);
    } else {
        c.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 2, w);
        c.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 1, &s->N);
        ck_grad_backward(&grad, KN_OP_LINEAR_BACKWARD_WEIGHTS, &c);
        ck_grad_input(&grad, &a.weight, &c.dweight);
        ck_grad_input(&grad, &a.bias, &c.dbias);
    }
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}

static void grad_all(struct ck *ck, bool data) {
    static const struct shape small[] = {{3, 5, 7}, {1, 1, 1}, {1, 9, 4}, {17, 1, 5}, {8, 6, 16}};

    for (size_t s = 0; s < CK_COUNT(small); s++)
        for (int i = 0; i < 1 + data; i++)
            grad_one(ck, data, &small[s], i);
}

void ck_grad_linear_backward_data(struct ck *ck) {
    grad_all(ck, true);
}

void ck_grad_linear_backward_weights(struct ck *ck) {
    grad_all(ck, false);
}

/* ------------------------------------------------------------------------------------ benchmark */

static void bench_layer(struct ck *ck, const struct ck_preset *p, int64_t K, int64_t N, bool data) {
    const int64_t M = 2048, x[] = {M, K}, w[] = {N, K}, dy[] = {M, N};
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_linear_backward_data_args a = {{0}};
    struct kn_linear_backward_weights_args b = {{0}};
    const struct ck_work work = {.flops = 2. * (double)M * (double)N * (double)K};
    char label[60];

    snprintf(label, sizeof label, "%s %d rows, %d to %d", p->name, (int)M, (int)K, (int)N);
    a.dy = b.dy = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, dy);
    if (data) {
        a.weight = ck_weight(memory, 0.05, 2, w);
        a.dx = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 0, 2, x);
        ck_bench(memory, label, KN_OP_LINEAR_BACKWARD_DATA, &a, work);
    } else {
        b.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, x);
        b.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 2, w);
        b.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &N);
        ck_bench(memory, label, KN_OP_LINEAR_BACKWARD_WEIGHTS, &b, work);
    }
    ck_memory_free(memory);
}

/* Tokens in and out, and a projection between, of four clips of eight frames of 64 x 64 pixels. */
static void bench(struct ck *ck, bool data) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t token = p->patch * p->patch * p->latents;
        if (!p->name)
            continue;
        bench_layer(ck, p, token, p->dim, data);
        bench_layer(ck, p, p->dim, token, data);
        bench_layer(ck, p, p->dim, 4 * p->dim, data);
    }
}

void ck_bench_linear_backward_data(struct ck *ck) {
    bench(ck, true);
}

void ck_bench_linear_backward_weights(struct ck *ck) {
    bench(ck, false);
}
