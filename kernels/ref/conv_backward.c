/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradients of convolutions. */
#include "ref.h"

/* -------------------------------------------------------------------------------------- of data */

/*
 * The gradient of an input pixel is a convolution too: of dy, with the taps turned by 180 degrees
 * and inputs and outputs exchanged.
 */
static void turn(double *to, const struct kn_conv_backward_data_args *a,
                 const struct kn_ref_view *weight) {
    int64_t k = a->weight.dim[2], inputs = a->dx.dim[3], from = a->past ? inputs : 0;

    for (int64_t i = 0; i < inputs; i++)
        for (int64_t tap = k * k - 1; tap >= 0; tap--)
            for (int64_t o = 0; o < a->weight.dim[0]; o++)
                *to++ = kn_ref_get(weight, o, from + i, tap / k, tap % k);
}

static enum kn_status data_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_conv_backward_data_args *a = args;
    struct kn_ref_view dy = kn_ref_view(call, &a->dy), weight = kn_ref_view(call, &a->weight);
    struct kn_ref_view dx = kn_ref_view(call, &a->dx);
    int64_t k = a->weight.dim[2], size = k * k * a->weight.dim[0];
    double *patch = call->scratch, *filters = patch + size;

    turn(filters, a, &weight);
    for (int64_t t = 0; t < a->dy.dim[0]; t++)
        for (int64_t y = 0; y < a->dy.dim[1]; y++)
            for (int64_t col = 0; col < a->dy.dim[2]; col++) {
                kn_ref_patch(patch, &dy, a->dy.dim, k, t, y, col);
                for (int64_t i = 0; i < a->dx.dim[3]; i++)
                    kn_ref_give(&dx, a->accumulate, t, y, col, i,
                                kn_ref_dot(patch, filters + i * size, size));
            }
    return KN_OK;
}

static enum kn_status data_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                   struct kn_err *err) {
    const struct kn_conv_backward_data_args *a = &node->args.conv_backward_data;
    const int64_t factor[] = {a->dx.dim[3] + 1, a->weight.dim[0], a->weight.dim[2],
                              a->weight.dim[3]};

    return kn_ref_scratch(prepare, factor, 4, 0, node, err);
}

const struct kn_kernel kn_ref_conv_backward_data = {.prepare = data_prepare, .run = data_run};

/* ----------------------------------------------------------------------------------- of weights */

/* The sums, in the order of the patches, to their places in dweight. */
static void add_sums(const struct kn_conv_backward_weights_args *a,
                     const struct kn_ref_view *dweight, const double *sum) {
    int64_t k = a->dweight.dim[2], channels = a->x.dim[3];

    for (int64_t o = 0; o < a->dweight.dim[0]; o++)
        for (int64_t first = 0; first < a->dweight.dim[1]; first += channels)
            for (int64_t tap = 0; tap < k * k; tap++)
                for (int64_t i = 0; i < channels; i++)
                    kn_ref_add(dweight, o, first + i, tap / k, tap % k, *sum++);
}

static enum kn_status weights_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_conv_backward_weights_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), past = kn_ref_view(call, &a->past);
    struct kn_ref_view dy = kn_ref_view(call, &a->dy), dweight = kn_ref_view(call, &a->dweight);
    struct kn_ref_view dbias = kn_ref_view(call, &a->dbias);
    int64_t k = a->dweight.dim[2], outputs = a->dweight.dim[0], size = k * k * a->dweight.dim[1];
    double *patch = call->scratch, *bias = patch + size, *sum = bias + outputs, *end;

    memset(bias, 0, (size_t)(outputs + outputs * size) * sizeof *bias);
    for (int64_t t = 0; t < a->dy.dim[0]; t++)
        for (int64_t y = 0; y < a->dy.dim[1]; y++)
            for (int64_t col = 0; col < a->dy.dim[2]; col++) {
                end = kn_ref_patch(patch, &x, a->x.dim, k, t, y, col);
                if (past.base)
                    kn_ref_patch(end, &past, a->x.dim, k, t, y, col);
                for (int64_t o = 0; o < outputs; o++) {
                    double d = kn_ref_get(&dy, t, y, col, o);
                    bias[o] += d;
                    for (int64_t i = 0; i < size; i++)
                        sum[o * size + i] += d * patch[i];
                }
            }
    add_sums(a, &dweight, sum);
    for (int64_t o = 0; o < outputs; o++)
        kn_ref_add(&dbias, o, 0, 0, 0, bias[o]);
    return KN_OK;
}

static enum kn_status weights_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                      struct kn_err *err) {
    const struct kn_tensor *w = &node->args.conv_backward_weights.dweight;
    const int64_t factor[] = {w->dim[0] + 1, w->dim[1], w->dim[2], w->dim[3]};

    return kn_ref_scratch(prepare, factor, 4, (uint64_t)w->dim[0], node, err);
}

const struct kn_kernel kn_ref_conv_backward_weights = {.prepare = weights_prepare,
                                                       .run = weights_run};
