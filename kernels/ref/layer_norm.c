/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layer norm over the last axis. */
#include "ref.h"

static enum kn_status layer_norm_run(const struct kn_call *call, const void *args,
                                     struct kn_err *err) {
    const struct kn_layer_norm_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), out = kn_ref_view(call, &a->out);
    struct kn_ref_view weight = kn_ref_view(call, &a->weight), bias = kn_ref_view(call, &a->bias);
    int64_t D = a->x.dim[1];

    for (int64_t m = 0; m < a->x.dim[0]; m++) {
        double mean = 0, var = 0, scale;
        for (int64_t i = 0; i < D; i++)
            mean += kn_ref_get(&x, m, i, 0, 0) / (double)D;
        for (int64_t i = 0; i < D; i++)
            var += pow(kn_ref_get(&x, m, i, 0, 0) - mean, 2) / (double)D;
        scale = 1 / sqrt(var + (double)a->epsilon);
        for (int64_t i = 0; i < D; i++)
            kn_ref_set(&out, m, i, 0, 0,
                       (kn_ref_get(&x, m, i, 0, 0) - mean) * scale *
                               kn_ref_get(&weight, i, 0, 0, 0) +
                           kn_ref_get(&bias, i, 0, 0, 0));
    }
    return KN_OK;
}

const struct kn_kernel kn_ref_layer_norm = {.run = layer_norm_run};
