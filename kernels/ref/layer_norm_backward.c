/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of layer norm; mean and variance are computed again. */
#include "ref.h"

/* The normalised row; returns what it was divided by, inverted. */
static double normalise(const struct kn_layer_norm_backward_args *a, const struct kn_ref_view *x,
                        int64_t m, double *out) {
    int64_t D = a->x.dim[1];
    double mean = 0, var = 0, scale;

    for (int64_t i = 0; i < D; i++)
        mean += kn_ref_get(x, m, i, 0, 0) / (double)D;
    for (int64_t i = 0; i < D; i++) {
        out[i] = kn_ref_get(x, m, i, 0, 0) - mean;
        var += out[i] * out[i] / (double)D;
    }
    scale = 1 / sqrt(var + (double)a->epsilon);
    for (int64_t i = 0; i < D; i++)
        out[i] *= scale;
    return scale;
}

static enum kn_status layer_norm_backward_run(const struct kn_call *call, const void *args,
                                              struct kn_err *err) {
    const struct kn_layer_norm_backward_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), dy = kn_ref_view(call, &a->dy);
    struct kn_ref_view weight = kn_ref_view(call, &a->weight), dx = kn_ref_view(call, &a->dx);
    struct kn_ref_view dweight = kn_ref_view(call, &a->dweight);
    struct kn_ref_view dbias = kn_ref_view(call, &a->dbias);
    int64_t D = a->x.dim[1];
    double *unit = call->scratch, *to_weight = unit + D, *to_bias = to_weight + D;

    memset(to_weight, 0, 2 * (size_t)D * sizeof *to_weight);
    for (int64_t m = 0; m < a->x.dim[0]; m++) {
        double scale = normalise(a, &x, m, unit), mean = 0, along = 0;
        for (int64_t i = 0; i < D; i++) {
            double d = kn_ref_get(&dy, m, i, 0, 0), g = d * kn_ref_get(&weight, i, 0, 0, 0);
            mean += g / (double)D;
            along += g * unit[i] / (double)D;
            to_weight[i] += d * unit[i];
            to_bias[i] += d;
        }
        for (int64_t i = 0; i < D; i++) {
            double g = kn_ref_get(&dy, m, i, 0, 0) * kn_ref_get(&weight, i, 0, 0, 0);
            kn_ref_give(&dx, a->accumulate, m, i, 0, 0, scale * (g - mean - unit[i] * along));
        }
    }
    for (int64_t i = 0; i < D; i++) {
        kn_ref_add(&dweight, i, 0, 0, 0, to_weight[i]);
        kn_ref_add(&dbias, i, 0, 0, 0, to_bias[i]);
    }
    return KN_OK;
}

static enum kn_status layer_norm_backward_prepare(struct kn_prepare *prepare,
                                                  const struct kn_node *node, struct kn_err *err) {
    const int64_t factor[] = {3, node->args.layer_norm_backward.x.dim[1]};

    return kn_ref_scratch(prepare, factor, 2, 0, node, err);
}

const struct kn_kernel kn_ref_layer_norm_backward = {.prepare = layer_norm_backward_prepare,
                                                     .run = layer_norm_backward_run};
