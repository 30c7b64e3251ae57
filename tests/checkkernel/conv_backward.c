/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradients of convolutions: shapes, types, and random combinations of everything optional. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>

static const int64_t sizes[][2] = {{3, 5}, {1, 1}, {1, 9}, {7, 1}, {13, 17}, {16, 24}};
static const int64_t channels[][2] = {{12, 32}, {32, 32}, {1, 1}, {64, 12}, {5, 7}, {16, 16}};
static const enum kn_dtype types[] = {KN_F32, KN_BF16, KN_F16};
static const int64_t large[] = {48, 64}; /* enough for several threads to share */

/* -------------------------------------------------------------------------------------- of data */

static void one_data(struct ck *ck, const int64_t *size, int64_t I, int64_t O,
                     enum kn_dtype dtype) {
    int64_t frames = 1 + ck_below(ck, 3), k = ck_below(ck, 4) ? 3 : 1;
    int64_t gap = ck_below(ck, 4) ? 0 : 1 + ck_below(ck, 8), halves = 1 + ck_below(ck, 2);
    const int64_t dy[] = {frames, size[0], size[1], O}, dx[] = {frames, size[0], size[1], I};
    const int64_t weight[] = {O, halves * I, k, k};
    bool rounded = dtype == KN_F32 || ck_below(ck, 4) != 0, bound = ck_below(ck, 3) != 0;
    struct kn_conv_backward_data_args a = {.past = halves == 2 && ck_below(ck, 2),
                                           .accumulate = ck_below(ck, 2)};
    struct ck_memory *memory;

    if (!ck_begin(ck, "conv_backward_data %dx%d of (%d,%d,%d,%d) to %d of %d%s, %s%s%s, gap %d",
                  (int)k, (int)k, (int)frames, (int)size[0], (int)size[1], (int)O, (int)I,
                  (int)weight[1], a.past ? ", past" : "", kn_dtype_name(dtype),
                  a.accumulate ? ", accumulate" : "", bound ? "" : ", packed", (int)gap))
        return;
    memory = ck_memory_new(ck);
    memory->bound = bound;
    a.dy = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap, dy);
    a.weight = ck_weight(memory, 1 / sqrt((double)(O * k * k)), 4, weight);
    if (rounded)
        ck_round(memory, &a.weight, dtype);
    a.dx = ck_image(memory, a.accumulate ? CK_INOUT : CK_OUT, KN_SLOT_WORK, dtype, gap / 2, dx);
    ck_check(memory, KN_OP_CONV_BACKWARD_DATA, &a, rounded ? CK_F32 : CK_PACKED);
    ck_memory_free(memory);
}

void ck_test_conv_backward_data(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(sizes); s++)
        for (size_t c = 0; c < CK_COUNT(channels); c++)
            for (size_t i = 0; i < 6; i++)
                one_data(ck, sizes[s], channels[c][0], channels[c][1], types[i % 3]);
    for (size_t i = 0; i < 6; i++)
        one_data(ck, large, 32, 32, types[i % 3]);
}

bool ck_sabotage_conv_backward_data(struct kn_conv_backward_data_args *a, int way) {
    switch (way) {
    case 0:
        a->accumulate = !a->accumulate;
        return true;
    case 1:
        if (a->weight.dim[1] == a->dx.dim[3])
            return false;
        a->past = !a->past;
        return true;
    case 2:
        a->weight.offset_bytes += kn_dtype_bytes(a->weight.dtype);
        return true;
    default:
        return false;
    }
}

/* ----------------------------------------------------------------------------------- of weights */

/* x and the same lag frames back: neighbours in memory. */
static struct kn_tensor two_views(struct ck_memory *memory, enum kn_dtype dtype, int64_t gap,
                                  int64_t lag, const int64_t *dim, struct kn_tensor *x,
                                  struct kn_tensor *past) {
    const int64_t longer[] = {dim[0] + lag, dim[1], dim[2], dim[3]};
    struct kn_tensor all = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap, longer);

    *x = all;
    x->dim[0] = dim[0];
    *past = *x;
    x->offset_bytes += (uint64_t)(lag * all.stride[0]) * kn_dtype_bytes(dtype);
    return all;
}

static void one_weights(struct ck *ck, const int64_t *size, int64_t I, int64_t O,
                        enum kn_dtype dtype) {
    int64_t frames = 1 + ck_below(ck, 3), k = ck_below(ck, 4) ? 3 : 1;
    int64_t gap = ck_below(ck, 4) ? 0 : 1 + ck_below(ck, 8), lag = ck_below(ck, 3);
    const int64_t dy[] = {frames, size[0], size[1], O}, x[] = {frames, size[0], size[1], I};
    const int64_t weight[] = {O, lag > 0 ? 2 * I : I, k, k};
    bool bias = ck_below(ck, 4) != 0;
    struct kn_conv_backward_weights_args a = {{0}};
    struct ck_memory *memory;

    if (!ck_begin(ck, "conv_backward_weights %dx%d of (%d,%d,%d,%d) and %d, %s%s, lag %d, gap %d",
                  (int)k, (int)k, (int)frames, (int)size[0], (int)size[1], (int)I, (int)O,
                  kn_dtype_name(dtype), bias ? ", bias" : "", (int)lag, (int)gap))
        return;
    memory = ck_memory_new(ck);
    if (lag > 0)
        two_views(memory, dtype, gap, lag, x, &a.x, &a.past);
    else
        a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap, x);
    a.dy = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap / 2, dy);
    a.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 4, weight);
    if (bias)
        a.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &O);
    ck_check(memory, KN_OP_CONV_BACKWARD_WEIGHTS, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_conv_backward_weights(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(sizes); s++)
        for (size_t c = 0; c < CK_COUNT(channels); c++)
            for (size_t i = 0; i < 6; i++)
                one_weights(ck, sizes[s], channels[c][0], channels[c][1], types[i % 3]);
    for (size_t i = 0; i < 6; i++)
        one_weights(ck, large, 32, 32, types[i % 3]);
}

bool ck_sabotage_conv_backward_weights(struct kn_conv_backward_weights_args *a, int way) {
    struct kn_tensor x = a->x;

    if (way == 0 && a->dbias.rank > 0) {
        a->dbias.rank = 0;
        return true;
    }
    if (way == 1 && a->past.rank > 0) {
        a->x = a->past;
        a->past = x;
        return true;
    }
    if (way == 2 && a->x.dim[0] > 1) {
        a->x.dim[0]--;
        a->past.dim[0] = a->dy.dim[0] = a->x.dim[0];
        return true;
    }
    return false;
}

/* ------------------------------------------------------------------------------------ gradients */

struct variant {
    int64_t frames, h, w, I, O, k, lag; /* lag 0: no past */
    bool relu, accumulate;
};

/* Everything before the gradient with respect to the convolution itself. */
static struct kn_tensor through_relu(struct ck_memory *memory, struct ck_grad *grad,
                                     const struct kn_conv_args *a, const int64_t *dim) {
    struct kn_relu_backward_args r = {.y = a->out, .dy = grad->dout};

    if (!a->relu)
        return grad->dout;
    r.dx = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 2, dim);
    ck_grad_backward(grad, KN_OP_RELU_BACKWARD, &r);
    ck_grad_input(grad, &a->residual, &r.dx);
    return r.dx;
}

static void grad_data(struct ck_memory *memory, struct ck_grad *grad, const struct variant *v,
                      const struct kn_conv_args *a, const struct kn_tensor *all,
                      struct kn_tensor dy) {
    const int64_t longer[] = {v->frames + v->lag, v->h, v->w, v->I};
    bool add = v->accumulate || v->lag > 0;
    struct kn_conv_backward_data_args b = {.dy = dy, .weight = a->weight, .accumulate = add};
    struct kn_tensor dx =
        ck_image(memory, add ? CK_INOUT : CK_OUT, KN_SLOT_WORK, KN_F64, 3, longer);

    b.dx = dx;
    b.dx.dim[0] = v->frames;
    b.dx.offset_bytes += (uint64_t)(v->lag * dx.stride[0]) * sizeof(double);
    ck_grad_backward(grad, KN_OP_CONV_BACKWARD_DATA, &b);
    b.dx.offset_bytes = dx.offset_bytes;
    b.past = true;
    if (v->lag > 0)
        ck_grad_backward(grad, KN_OP_CONV_BACKWARD_DATA, &b);
    ck_grad_input(grad, all, &dx);
}

static void grad_weights(struct ck_memory *memory, struct ck_grad *grad,
                         const struct kn_conv_args *a, struct kn_tensor dy) {
    struct kn_conv_backward_weights_args b = {.x = a->x, .past = a->past, .dy = dy};

    b.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 4, a->weight.dim);
    b.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 1, a->bias.dim);
    ck_grad_backward(grad, KN_OP_CONV_BACKWARD_WEIGHTS, &b);
    ck_grad_input(grad, &a->weight, &b.dweight);
    ck_grad_input(grad, &a->bias, &b.dbias);
}

static void grad_one(struct ck *ck, bool data, const struct variant *v) {
    const int64_t in[] = {v->frames, v->h, v->w, v->I}, out[] = {v->frames, v->h, v->w, v->O};
    const int64_t weight[] = {v->O, v->lag > 0 ? 2 * v->I : v->I, v->k, v->k};
    struct ck_memory *memory;
    struct kn_tensor all, dy;
    struct kn_conv_args a = {.relu = v->relu};
    struct ck_grad grad = {.kinks = v->relu};

    if (!ck_begin(ck, "conv %dx%d of (%d,%d,%d,%d) to %d, lag %d%s%s", (int)v->k, (int)v->k,
                  (int)v->frames, (int)v->h, (int)v->w, (int)v->I, (int)v->O, (int)v->lag,
                  v->relu ? ", relu" : "", v->accumulate ? ", accumulate" : ""))
        return;
    memory = ck_memory_new(ck);
    all = two_views(memory, KN_F64, 2, v->lag, in, &a.x, &a.past);
    a.past.rank = v->lag > 0 ? 4 : 0;
    a.weight = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 4, weight);
    a.bias = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 1, &v->O);
    a.residual = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 0, out);
    a.out = grad.out = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 1, out);
    grad.dout = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 4, out);
    ck_grad_forward(&grad, KN_OP_CONV, &a);
    dy = through_relu(memory, &grad, &a, out);
    if (data)
        grad_data(memory, &grad, v, &a, &all, dy);
    else
        grad_weights(memory, &grad, &a, dy);
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}

static void grad_all(struct ck *ck, bool data) {
    static const struct variant variants[] = {
        {1, 3, 5, 3, 4, 3, 0, false, false}, {2, 4, 3, 2, 3, 3, 1, true, false},
        {1, 1, 1, 1, 1, 1, 0, true, true},   {3, 1, 7, 5, 2, 3, 2, false, true},
        {1, 5, 1, 2, 7, 3, 1, true, true},   {2, 2, 2, 4, 3, 1, 0, true, false},
        {4, 3, 3, 1, 2, 1, 2, true, false},  {1, 1, 1, 3, 2, 3, 0, false, false},
    };

    for (size_t i = 0; i < CK_COUNT(variants); i++)
        grad_one(ck, data, &variants[i]);
}

void ck_grad_conv_backward_data(struct ck *ck) {
    grad_all(ck, true);
}

void ck_grad_conv_backward_weights(struct ck *ck) {
    grad_all(ck, false);
}

/* ------------------------------------------------------------------------------------ benchmark */

/* A body convolution of a preset on four clips of eight frames of 64 x 64 pixels. */
static void bench(struct ck *ck, bool data, enum kn_dtype dtype) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t W = p->channels, dim[] = {32, 32, 32, W}, w[] = {W, W, 3, 3};
        const struct ck_work work = {.flops = 18. * (double)(W * W) * 32 * 32 * 32};
        struct kn_conv_backward_data_args a = {{0}};
        struct kn_conv_backward_weights_args b = {{0}};
        struct ck_memory *memory;
        char label[60];
        if (!p->name)
            continue;
        memory = ck_memory_new(ck);
        snprintf(label, sizeof label, "%s %d to %d %s", p->name, (int)W, (int)W,
                 kn_dtype_name(dtype));
        a.dy = b.dy = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, 0, dim);
        if (data) {
            a.weight = ck_weight(memory, 0.05, 4, w);
            a.dx = ck_image(memory, CK_OUT, KN_SLOT_WORK, dtype, 0, dim);
            ck_bench(memory, label, KN_OP_CONV_BACKWARD_DATA, &a, work);
        } else {
            b.x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, 0, dim);
            b.dweight = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 4, w);
            b.dbias = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &W);
            ck_bench(memory, label, KN_OP_CONV_BACKWARD_WEIGHTS, &b, work);
        }
        ck_memory_free(memory);
    }
}

void ck_bench_conv_backward_data(struct ck *ck) {
    bench(ck, true, KN_F32);
    bench(ck, true, KN_BF16);
}

void ck_bench_conv_backward_weights(struct ck *ck) {
    bench(ck, false, KN_F32);
    bench(ck, false, KN_BF16);
}
