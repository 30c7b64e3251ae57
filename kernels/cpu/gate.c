/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated output norm: RMS norm per head, weight and SiLU in two passes over each head. */
#include <math.h>

#include "cpu.h"
#include "floats.h"

static float square_sum(const float *x, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

static void gate(float *to, const float *o, const float *z, const float *weight, float scale,
                 int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = o[i] * scale * weight[i] * kn_silu(z[i]);
}

/* Columns first .. first + n of a row, which lie in one head. */
static void gate_some(const struct kn_gate_args *a, const float *o, const float *z,
                      const float *weight, float scale, char *out, int64_t n) {
    float some[KN_FLOATS];

    if (a->out.dtype == KN_F32) {
        gate((float *)out, o, z, weight, scale, n);
        return;
    }
    for (int64_t i = 0; i < n; i += KN_FLOATS) {
        int64_t count = n - i < KN_FLOATS ? n - i : KN_FLOATS;
        gate(some, o + i, z + i, weight + i, scale, count);
        kn_floats_store(out + 2 * i, a->out.dtype, some, count);
    }
}

static void gate_row(const struct kn_gate_args *a, const float *o, const float *z,
                     const float *weight, char *out) {
    int64_t width = a->o.dim[1] / a->heads;
    int64_t step = width * (int64_t)kn_dtype_bytes(a->out.dtype);

    for (int64_t h = 0; h < a->heads; h++) {
        float mean = square_sum(o + h * width, width) / (float)width;
        gate_some(a, o + h * width, z + h * width, weight + h * width,
                  1.0f / sqrtf(mean + a->epsilon), out + h * step, width);
    }
}

static enum kn_status gate_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_gate_args *a = args;
    const float *o = kn_at(call, &a->o), *z = kn_at(call, &a->z);
    const float *weight = kn_at(call, &a->weight);
    char *out = kn_at(call, &a->out);
    int64_t step = a->out.stride[0] * (int64_t)kn_dtype_bytes(a->out.dtype);

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t m = 0; m < a->o.dim[0]; m++)
        gate_row(a, o + m * a->o.stride[0], z + m * a->z.stride[0], weight, out + m * step);
    return KN_OK;
}

void KN_ISA_NAME(gate)(struct kn_table *table) {
    table->kernel[KN_OP_GATE] = (struct kn_kernel){.run = gate_run};
}
