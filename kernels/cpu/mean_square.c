/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mean of squared errors. */
#include "loss.h"

static float piece(const float *x, const float *target, float *dx, int64_t n, float share) {
    float sum = 0.0f;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (x[i] - target[i]) * (x[i] - target[i]);
    if (!dx)
        return sum;
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] += 2.0f * share * (x[i] - target[i]);
    return sum;
}

static enum kn_status mean_square_run(const struct kn_call *call, const void *args,
                                      struct kn_err *err) {
    (void)err;
    kn_loss_rows(call, args, piece);
    return KN_OK;
}

void KN_ISA_NAME(mean_square)(struct kn_table *table) {
    table->kernel[KN_OP_MEAN_SQUARE] =
        (struct kn_kernel){.prepare = kn_loss_prepare_rows, .run = mean_square_run};
}
