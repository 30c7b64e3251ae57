/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the losses of the reference share. */
#ifndef KN_REF_LOSS_H
#define KN_REF_LOSS_H

#include "../kn_loss.h"
#include "ref.h"

struct kn_ref_loss {
    struct kn_ref_view x, target, dx;
    const struct kn_tensor *shape;
    double count, weight; /* of x's elements; of the gradient */
    double *value;
};

static inline struct kn_ref_loss kn_ref_loss(const struct kn_call *call, const void *args) {
    const struct kn_loss_args *a = args;

    return (struct kn_ref_loss){
        .x = kn_ref_view(call, &a->x),
        .target = kn_ref_view(call, &a->target),
        .dx = kn_ref_view(call, &a->dx),
        .shape = &a->x,
        .count =
            (double)a->x.dim[0] * (double)a->x.dim[1] * (double)a->x.dim[2] * (double)a->x.dim[3],
        .weight = (double)a->weight,
        .value = kn_at(call, &a->value),
    };
}

/* x - target of one element. */
static inline double kn_ref_error(const struct kn_ref_loss *l, int64_t f, int64_t y, int64_t x,
                                  int64_t c) {
    return kn_ref_get(&l->x, f, y, x, c) - kn_ref_get(&l->target, f, y, x, c);
}

/* Where colour c of a picture's pixel lies among the 12 channels. */
static inline int64_t kn_ref_pixel(int64_t c, int64_t y, int64_t x) {
    return 4 * c + 2 * (y & 1) + (x & 1);
}

static inline double kn_ref_smooth(double e) {
    return sqrt(e * e + KN_LOSS_ROOT);
}

/*
 * Doubles for pictures of the full size that get smaller by a quarter or little less: twice the
 * first one's pixels are enough.
 */
static inline int64_t kn_ref_pyramid(const struct kn_tensor *image) {
    return 2 * 4 * image->dim[1] * image->dim[2];
}

/* For every element (f, y, x, c) of the loss l. */
#define KN_REF_ELEMENTS(l, f, y, x, c)                      \
    for (int64_t f = 0; f < (l).shape->dim[0]; f++)         \
        for (int64_t y = 0; y < (l).shape->dim[1]; y++)     \
            for (int64_t x = 0; x < (l).shape->dim[2]; x++) \
                for (int64_t c = 0; c < (l).shape->dim[3]; c++)

#endif
