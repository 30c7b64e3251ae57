/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A learned vector in place of latents that are not there, and its gradient. */
#include <string.h>

#include "../kn_size.h"
#include "cpu.h"

static void mask_row(float *to, const float *x, const float *mask, float missing, int64_t width,
                     int64_t channels) {
    for (int64_t i = 0; i < width; i++) {
        const float *from = x + i * channels;
        float *out = to + i * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            out[c] = from[c] + missing * mask[c];
    }
}

static enum kn_status mask_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_mask_args *a = args;
    const int64_t *dim = a->x.dim, row = dim[2] * dim[3];
    const float *x = kn_at(call, &a->x), *mask = kn_at(call, &a->mask);
    const float *missing = kn_at(call, &a->missing);
    float *out = kn_at(call, &a->out);

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < dim[0] * dim[1]; i++) {
        const int64_t f = i / dim[1], at = i % dim[1] * row;
        const float *from = x + f * a->x.stride[0] + at;
        float *to = out + f * a->out.stride[0] + at;
        if (missing[f] != 0.0f)
            mask_row(to, from, mask, missing[f], dim[2], dim[3]);
        else if (to != from)
            memcpy(to, from, (size_t)row * sizeof *to);
    }
    return KN_OK;
}

/* ------------------------------------------------------------------------------------- backward */

/* One sum per frame and channel, so that their order is always the same. */
static enum kn_status mask_backward_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                            struct kn_err *err) {
    const struct kn_tensor *dy = &node->args.mask_backward.dy;
    const int64_t factor[] = {dy->dim[0], dy->dim[3], sizeof(double)};

    if (!kn_size_product(factor, 3, &prepare->scratch_bytes))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    return KN_OK;
}

static void frame_sums(double *sum, const float *dy, float missing, int64_t pixels,
                       int64_t channels) {
    memset(sum, 0, (size_t)channels * sizeof *sum);
    for (int64_t i = 0; i < pixels && missing != 0.0f; i++) {
        const float *from = dy + i * channels;
#pragma omp simd
        for (int64_t c = 0; c < channels; c++)
            sum[c] += (double)(missing * from[c]);
    }
}

static enum kn_status mask_backward_run(const struct kn_call *call, const void *args,
                                        struct kn_err *err) {
    const struct kn_mask_backward_args *a = args;
    const int64_t *dim = a->dy.dim;
    const float *dy = kn_at(call, &a->dy), *missing = kn_at(call, &a->missing);
    float *dmask = kn_at(call, &a->dmask);
    double *part = call->scratch;

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t f = 0; f < dim[0]; f++)
        frame_sums(part + f * dim[3], dy + f * a->dy.stride[0], missing[f], dim[1] * dim[2],
                   dim[3]);
    for (int64_t c = 0; c < dim[3]; c++) {
        double sum = 0;
        for (int64_t f = 0; f < dim[0]; f++)
            sum += part[f * dim[3] + c];
        dmask[c] = (float)((double)dmask[c] + sum);
    }
    return KN_OK;
}

void KN_ISA_NAME(mask)(struct kn_table *table) {
    table->kernel[KN_OP_MASK] = (struct kn_kernel){.run = mask_run};
    table->kernel[KN_OP_MASK_BACKWARD] =
        (struct kn_kernel){.prepare = mask_backward_prepare, .run = mask_backward_run};
}
