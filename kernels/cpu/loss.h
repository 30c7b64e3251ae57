/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the losses share. Each loss is summed in parts that do not depend on the number of threads:
 * a part is summed by one thread and stored, and the parts are added up in their order.
 */
#ifndef KN_CPU_LOSS_H
#define KN_CPU_LOSS_H

#include "../kn_loss.h"
#include "../kn_size.h"
#include "cpu.h"

#define KN_LOSS_PIECE 768 /* floats that are summed as floats: 64 pixels of 12 channels */

struct kn_loss {
    const float *x, *target;
    float *dx;                            /* NULL: not wanted */
    int64_t x_step, target_step, dx_step; /* from frame to frame */
    int64_t frames, height, width, row;   /* of 12 channels */
    double count, weight;                 /* of x's elements; of the gradient */
};

static inline struct kn_loss kn_loss(const struct kn_call *call, const struct kn_loss_args *a) {
    return (struct kn_loss){
        .x = kn_at(call, &a->x),
        .target = kn_at(call, &a->target),
        .dx = a->dx.rank > 0 ? kn_at(call, &a->dx) : NULL,
        .x_step = a->x.stride[0],
        .target_step = a->target.stride[0],
        .dx_step = a->dx.stride[0],
        .frames = a->x.dim[0],
        .height = a->x.dim[1],
        .width = a->x.dim[2],
        .row = 12 * a->x.dim[2],
        .count = (double)a->x.dim[0] * (double)a->x.dim[1] * (double)a->x.dim[2] * 12,
        .weight = (double)a->weight,
    };
}

/* Scratch for one sum per row of every frame. */
static inline enum kn_status kn_loss_prepare_rows(struct kn_prepare *prepare,
                                                  const struct kn_node *node, struct kn_err *err) {
    const struct kn_tensor *x = &node->args.loss.x;
    const int64_t factor[] = {x->dim[0], x->dim[1], sizeof(double)};

    if (!kn_size_product(factor, 3, &prepare->scratch_bytes))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    return KN_OK;
}

static inline double kn_loss_add_up(const double *part, int64_t parts) {
    double sum = 0;

    for (int64_t i = 0; i < parts; i++)
        sum += part[i];
    return sum;
}

/* Sum over n <= KN_LOSS_PIECE elements; adds share times its slopes to dx unless that is NULL. */
typedef float kn_loss_piece(const float *x, const float *target, float *dx, int64_t n, float share);

/* A loss that is a mean over single elements. */
static inline void kn_loss_rows(const struct kn_call *call, const struct kn_loss_args *a,
                                kn_loss_piece *piece) {
    const struct kn_loss l = kn_loss(call, a);
    const float share = (float)(l.weight / l.count);
    double *part = call->scratch;

#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < l.frames * l.height; i++) {
        const int64_t f = i / l.height, at = i % l.height * l.row;
        double sum = 0;
        for (int64_t j = 0; j < l.row; j += KN_LOSS_PIECE) {
            const int64_t n = l.row - j < KN_LOSS_PIECE ? l.row - j : KN_LOSS_PIECE;
            sum += (double)piece(l.x + f * l.x_step + at + j, l.target + f * l.target_step + at + j,
                                 l.dx ? l.dx + f * l.dx_step + at + j : NULL, n, share);
        }
        part[i] = sum;
    }
    *(double *)kn_at(call, &a->value) += kn_loss_add_up(part, l.frames * l.height) / l.count;
}

/* Where row y of a colour's pixels begins; two of them are neighbours, the next two 12 on. */
static inline int64_t kn_loss_pixels(const struct kn_loss *l, int64_t colour, int64_t y) {
    return y / 2 * l->row + 4 * colour + 2 * (y & 1);
}

#endif
