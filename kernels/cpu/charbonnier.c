/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mean of smooth absolute errors. */
#include <math.h>

#include "loss.h"

static float piece(const float *x, const float *target, float *dx, int64_t n, float share) {
    const float root = (float)KN_LOSS_ROOT;
    float sum = 0.0f;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        float e = x[i] - target[i];
        sum += sqrtf(e * e + root);
    }
    if (!dx)
        return sum;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float e = x[i] - target[i];
        dx[i] += share * e / sqrtf(e * e + root);
    }
    return sum;
}

static enum kn_status charbonnier_run(const struct kn_call *call, const void *args,
                                      struct kn_err *err) {
    (void)err;
    kn_loss_rows(call, args, piece);
    return KN_OK;
}

void KN_ISA_NAME(charbonnier)(struct kn_table *table) {
    table->kernel[KN_OP_CHARBONNIER] =
        (struct kn_kernel){.prepare = kn_loss_prepare_rows, .run = charbonnier_run};
}
