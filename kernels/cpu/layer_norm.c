/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Layer norm, a row at a time; the row stays in the first level cache between its three passes. */
#include <math.h>

#include "norm.h"

static void normalise(float *to, const float *x, const float *weight, const float *bias, float mean,
                      float scale, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = (x[i] - mean) * scale * weight[i] + bias[i];
}

static void layer_norm_row(const struct kn_layer_norm_args *a, const float *x, const float *weight,
                           const float *bias, char *out) {
    int64_t n = a->x.dim[1];
    float mean = kn_mean(x, n);
    float scale = 1.0f / sqrtf(kn_variance(x, mean, n) + a->epsilon);
    float some[KN_FLOATS];

    if (a->out.dtype == KN_F32) {
        normalise((float *)out, x, weight, bias, mean, scale, n);
        return;
    }
    for (int64_t i = 0; i < n; i += KN_FLOATS) {
        int64_t count = n - i < KN_FLOATS ? n - i : KN_FLOATS;
        normalise(some, x + i, weight + i, bias + i, mean, scale, count);
        kn_floats_store(out + 2 * i, a->out.dtype, some, count);
    }
}

static enum kn_status layer_norm_run(const struct kn_call *call, const void *args,
                                     struct kn_err *err) {
    const struct kn_layer_norm_args *a = args;
    const float *x = kn_at(call, &a->x), *weight = kn_at(call, &a->weight);
    const float *bias = kn_at(call, &a->bias);
    char *out = kn_at(call, &a->out);
    int64_t step = a->out.stride[0] * (int64_t)kn_dtype_bytes(a->out.dtype);

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t m = 0; m < a->x.dim[0]; m++)
        layer_norm_row(a, x + m * a->x.stride[0], weight, bias, out + m * step);
    return KN_OK;
}

void KN_ISA_NAME(layer_norm)(struct kn_table *table) {
    table->kernel[KN_OP_LAYER_NORM] = (struct kn_kernel){.run = layer_norm_run};
}
