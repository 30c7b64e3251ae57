/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradient of the temporal shift. A row of dx gets the first channels of dy at the same index and
 * the others of the frame `lag` before it; each row is one thread's.
 */
#include "cpu.h"
#include "floats.h"

static void add(float *to, const float *from, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] += from[i];
}

static void add_halves(uint16_t *to, const uint16_t *from, enum kn_dtype dtype, int64_t n) {
    float sum[KN_FLOATS], some[KN_FLOATS];

    for (int64_t i = 0; i < n; i += KN_FLOATS) {
        int64_t count = n - i < KN_FLOATS ? n - i : KN_FLOATS;
        kn_floats_load(sum, dtype, to + i, count);
        kn_floats_load(some, dtype, from + i, count);
        add(sum, some, count);
        kn_floats_store(to + i, dtype, sum, count);
    }
}

/* Channels first .. end of every position of a row. */
static void add_row(const struct kn_shift_backward_args *a, char *dx, const char *dy, int64_t first,
                    int64_t end) {
    int64_t C = a->dx.dim[3], bytes = (int64_t)kn_dtype_bytes(a->dx.dtype);

    for (int64_t i = 0; i < a->dx.dim[2]; i++) {
        int64_t at = (i * C + first) * bytes;
        if (a->dx.dtype == KN_F32)
            add((float *)(dx + at), (const float *)(dy + at), end - first);
        else
            add_halves((uint16_t *)(dx + at), (const uint16_t *)(dy + at), a->dx.dtype,
                       end - first);
    }
}

static char *row_at(const struct kn_call *call, const struct kn_tensor *t, int64_t frame,
                    int64_t y) {
    return (char *)kn_at(call, t) +
           (uint64_t)(frame * t->stride[0] + y * t->stride[1]) * kn_dtype_bytes(t->dtype);
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_shift_backward_args *a = args;
    const int64_t height = a->dx.dim[1];

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < a->dx.dim[0] * height; i++) {
        int64_t t = i / height, y = i % height;
        char *dx = row_at(call, &a->dx, t, y);
        if (t < a->dy.dim[0])
            add_row(a, dx, row_at(call, &a->dy, t, y), 0, a->channels);
        if (t >= a->lag)
            add_row(a, dx, row_at(call, &a->dy, t - a->lag, y), a->channels, a->dx.dim[3]);
    }
    return KN_OK;
}

void KN_ISA_NAME(shift_backward)(struct kn_table *table) {
    table->kernel[KN_OP_SHIFT_BACKWARD] = (struct kn_kernel){.run = run};
}
