/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Convolution: what a pixel sees is gathered into one vector, then multiplied by each filter. */
#include "ref.h"

/* Values that one output depends on. */
static int64_t patch_size(const struct kn_conv_args *a) {
    return a->weight.dim[1] * a->weight.dim[2] * a->weight.dim[3];
}

static enum kn_status conv_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                   struct kn_err *err) {
    const struct kn_conv_args *a = &node->args.conv;
    const int64_t factor[] = {a->weight.dim[0] + 1, a->weight.dim[1], a->weight.dim[2],
                              a->weight.dim[3]};

    return kn_ref_scratch(prepare, factor, 4, 0, node, err);
}

/* The filters in the order of kn_ref_patch(): current frame's taps, then the past's. */
static void arrange(double *to, const struct kn_conv_args *a, const struct kn_ref_view *weight) {
    int64_t k = a->weight.dim[2], channels = a->x.dim[3];

    for (int64_t o = 0; o < a->weight.dim[0]; o++)
        for (int64_t first = 0; first < a->weight.dim[1]; first += channels)
            for (int64_t tap = 0; tap < k * k; tap++)
                for (int64_t i = 0; i < channels; i++)
                    *to++ = kn_ref_get(weight, o, first + i, tap / k, tap % k);
}

static enum kn_status conv_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_conv_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), past = kn_ref_view(call, &a->past);
    struct kn_ref_view weight = kn_ref_view(call, &a->weight), bias = kn_ref_view(call, &a->bias);
    struct kn_ref_view residual = kn_ref_view(call, &a->residual), out = kn_ref_view(call, &a->out);
    bool fresh = kn_ref_fresh(call, &a->control);
    int64_t size = patch_size(a), outputs = a->weight.dim[0], k = a->weight.dim[2];
    double *patch = call->scratch, *filters = patch + size, *end;

    arrange(filters, a, &weight);
    for (int64_t t = 0; t < a->x.dim[0]; t++)
        for (int64_t y = 0; y < a->x.dim[1]; y++)
            for (int64_t col = 0; col < a->x.dim[2]; col++) {
                end = kn_ref_patch(patch, &x, a->x.dim, k, t, y, col);
                if (past.base && fresh)
                    memset(end, 0, (size_t)(patch + size - end) * sizeof *end);
                else if (past.base)
                    kn_ref_patch(end, &past, a->x.dim, k, t, y, col);
                for (int64_t o = 0; o < outputs; o++) {
                    double sum = kn_ref_dot(patch, filters + o * size, size);
                    if (bias.base)
                        sum += kn_ref_get(&bias, o, 0, 0, 0);
                    if (residual.base)
                        sum += kn_ref_get(&residual, t, y, col, o);
                    kn_ref_set(&out, t, y, col, o, a->relu && sum < 0 ? 0 : sum);
                }
            }
    return KN_OK;
}

const struct kn_kernel kn_ref_conv = {.prepare = conv_prepare, .run = conv_run};
