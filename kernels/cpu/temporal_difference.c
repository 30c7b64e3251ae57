/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mean of smooth absolute errors in what changes from frame to frame. */
#include <math.h>
#include <string.h>

#include "loss.h"

/* to = how the error grew from the frame before to this one */
static void growth(float *to, const struct kn_loss *l, int64_t lag, int64_t f, int64_t at,
                   int64_t n) {
    const float *x = l->x + f * l->x_step + at, *target = l->target + f * l->target_step + at;
    const float *old_x = x - lag * l->x_step, *old_target = target - lag * l->target_step;

#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = (x[i] - target[i]) - (old_x[i] - old_target[i]);
}

static float absolute_sum(const float *e, int64_t n) {
    float sum = 0.0f;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += sqrtf(e[i] * e[i] + (float)KN_LOSS_ROOT);
    return sum;
}

static void add_slopes(float *dx, const float *e, int64_t n, float share) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        dx[i] += share * e[i] / sqrtf(e[i] * e[i] + (float)KN_LOSS_ROOT);
}

/* A frame's slopes come from its own growth and from the next frame's. */
static float piece(const struct kn_loss *l, int64_t lag, int64_t f, int64_t at, int64_t n,
                   float share) {
    float *dx = l->dx ? l->dx + f * l->dx_step + at : NULL, e[KN_LOSS_PIECE], sum = 0.0f;

    if (f >= lag) {
        growth(e, l, lag, f, at, n);
        sum = absolute_sum(e, n);
        if (dx)
            add_slopes(dx, e, n, share);
    }
    if (dx && f + lag < l->frames) {
        growth(e, l, lag, f + lag, at, n);
        add_slopes(dx, e, n, -share);
    }
    return sum;
}

static enum kn_status temporal_difference_run(const struct kn_call *call, const void *args,
                                              struct kn_err *err) {
    const struct kn_loss_args *a = args;
    const struct kn_loss l = kn_loss(call, a);
    const double count = l.count / (double)l.frames * (double)(l.frames - a->lag);
    double *part = call->scratch;

    (void)err;
    if (l.frames == a->lag)
        return KN_OK;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < l.frames * l.height; i++) {
        const int64_t at = i % l.height * l.row;
        part[i] = 0;
        for (int64_t j = 0; j < l.row; j += KN_LOSS_PIECE) {
            const int64_t n = l.row - j < KN_LOSS_PIECE ? l.row - j : KN_LOSS_PIECE;
            part[i] +=
                (double)piece(&l, a->lag, i / l.height, at + j, n, (float)(l.weight / count));
        }
    }
    *(double *)kn_at(call, &a->value) += kn_loss_add_up(part, l.frames * l.height) / count;
    return KN_OK;
}

void KN_ISA_NAME(temporal_difference)(struct kn_table *table) {
    table->kernel[KN_OP_TEMPORAL_DIFFERENCE] =
        (struct kn_kernel){.prepare = kn_loss_prepare_rows, .run = temporal_difference_run};
}
