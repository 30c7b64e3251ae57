/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of ReLU: what came through gets it, the rest gets zero. */
#include "cpu.h"

#define PIECE 16384 /* values that a thread takes at once, at most */

static void pass_floats(float *dx, const float *y, const float *dy, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = y[i] > 0.0f ? dy[i] : 0.0f;
}

/* Positive numbers are the bit patterns 1 .. infinity. */
static void pass_halves(uint16_t *dx, const uint16_t *y, const uint16_t *dy, uint16_t infinity,
                        int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] = (uint16_t)(y[i] - 1u) < infinity ? dy[i] : 0;
}

static void *values(const struct kn_call *call, const struct kn_tensor *t, int64_t frame,
                    int64_t first) {
    return (char *)kn_at(call, t) +
           (uint64_t)(frame * t->stride[0] + first) * kn_dtype_bytes(t->dtype);
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_relu_backward_args *a = args;
    int64_t n = a->y.dim[1] * a->y.dim[2] * a->y.dim[3], pieces = (n + PIECE - 1) / PIECE;

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < a->y.dim[0] * pieces; i++) {
        int64_t frame = i / pieces, first = i % pieces * PIECE;
        int64_t count = n - first < PIECE ? n - first : PIECE;
        const void *y = values(call, &a->y, frame, first), *dy = values(call, &a->dy, frame, first);
        void *dx = values(call, &a->dx, frame, first);
        if (a->y.dtype == KN_F32)
            pass_floats(dx, y, dy, count);
        else
            pass_halves(dx, y, dy, a->y.dtype == KN_F16 ? 0x7c00 : 0x7f80, count);
    }
    return KN_OK;
}

void KN_ISA_NAME(relu_backward)(struct kn_table *table) {
    table->kernel[KN_OP_RELU_BACKWARD] = (struct kn_kernel){.run = run};
}
