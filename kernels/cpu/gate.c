/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated output norm: RMS norm per head, weight and SiLU; a row stays in the first level cache. */
#include <math.h>

#include "norm.h"

#define AHEAD 4 /* rows that are fetched before they are needed */

/* Columns first .. first + n: 1 / RMS of the head that each lies in. */
static void head_scales(float *to, const float *o, int64_t first, int64_t n, int64_t width,
                        float epsilon) {
    for (int64_t i = first; i < first + n;) {
        int64_t head = i / width * width, end = head + width;
        float scale = 1.0f / sqrtf(kn_square_sum_of(o + head, width) / (float)width + epsilon);
        for (; i < end && i < first + n; i++)
            to[i - first] = scale;
    }
}

static void gate(float *to, const float *o, const float *z, const float *weight, const float *scale,
                 int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = o[i] * scale[i] * weight[i] * kn_silu(z[i]);
}

static void gate_row(const struct kn_gate_args *a, const float *o, const float *z,
                     const float *weight, char *out) {
    int64_t D = a->o.dim[1], bytes = (int64_t)kn_dtype_bytes(a->out.dtype);
    float scale[KN_FLOATS], some[KN_FLOATS];

    for (int64_t i = 0; i < D; i += KN_FLOATS) {
        int64_t n = D - i < KN_FLOATS ? D - i : KN_FLOATS;
        head_scales(scale, o, i, n, D / a->heads, a->epsilon);
        gate(some, o + i, z + i, weight + i, scale, n);
        kn_floats_store(out + i * bytes, a->out.dtype, some, n);
    }
}

/* z is a few columns of a wide row, too far apart for the processor to foresee the next ones. */
static void fetch(const float *z, int64_t n) {
    for (int64_t i = 0; i < n; i += 16)
        __builtin_prefetch(z + i);
}

static enum kn_status gate_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_gate_args *a = args;
    const float *o = kn_at(call, &a->o), *z = kn_at(call, &a->z);
    const float *weight = kn_at(call, &a->weight);
    char *out = kn_at(call, &a->out);
    int64_t step = a->out.stride[0] * (int64_t)kn_dtype_bytes(a->out.dtype);

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t m = 0; m < a->o.dim[0]; m++) {
        if (m + AHEAD < a->o.dim[0])
            fetch(z + (m + AHEAD) * a->z.stride[0], a->o.dim[1]);
        gate_row(a, o + m * a->o.stride[0], z + m * a->z.stride[0], weight, out + m * step);
    }
    return KN_OK;
}

void KN_ISA_NAME(gate)(struct kn_table *table) {
    table->kernel[KN_OP_GATE] = (struct kn_kernel){.run = gate_run};
}
