/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Latents to tokens and back. */
#include "ref.h"

/* Where column `column` of token `row` lies in the latents. */
struct place {
    int64_t t, y, x, c;
};

static struct place place_of(const struct kn_tensor *z, int64_t patch, int64_t row,
                             int64_t column) {
    int64_t across = z->dim[2] / patch, per_frame = z->dim[1] / patch * across;
    int64_t i = row % per_frame, channels = z->dim[3], at = column / channels;

    return (struct place){row / per_frame, i / across * patch + at / patch,
                          i % across * patch + at % patch, column % channels};
}

static enum kn_status gather_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_gather_args *a = args;
    struct kn_ref_view z = kn_ref_view(call, &a->z), out = kn_ref_view(call, &a->out);

    for (int64_t row = 0; row < a->out.dim[0]; row++)
        for (int64_t column = 0; column < a->out.dim[1]; column++) {
            struct place p = place_of(&a->z, a->patch, row, column);
            kn_ref_set(&out, row, column, 0, 0, kn_ref_get(&z, p.t, p.y, p.x, p.c));
        }
    return KN_OK;
}

const struct kn_kernel kn_ref_gather = {.run = gather_run};

static enum kn_status scatter_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_scatter_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), z = kn_ref_view(call, &a->z);
    struct kn_ref_view out = kn_ref_view(call, &a->out), half = kn_ref_view(call, &a->half);

    for (int64_t row = 0; row < a->x.dim[0]; row++)
        for (int64_t column = 0; column < a->x.dim[1]; column++) {
            struct place p = place_of(&a->z, a->patch, row, column);
            double sum = kn_ref_get(&z, p.t, p.y, p.x, p.c) + kn_ref_get(&x, row, column, 0, 0);
            kn_ref_set(&out, p.t, p.y, p.x, p.c, sum);
            kn_ref_set(&half, p.t, p.y, p.x, p.c, sum);
        }
    return KN_OK;
}

const struct kn_kernel kn_ref_scatter = {.run = scatter_run};
