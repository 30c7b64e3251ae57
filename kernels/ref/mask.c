/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A learned vector in place of latents that are not there, and its gradient. */
#include "ref.h"

static enum kn_status mask_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_mask_args *a = args;
    struct kn_ref_view in = kn_ref_view(call, &a->x), mask = kn_ref_view(call, &a->mask);
    struct kn_ref_view missing = kn_ref_view(call, &a->missing), out = kn_ref_view(call, &a->out);
    const int64_t *dim = a->x.dim;

    for (int64_t f = 0; f < dim[0]; f++)
        for (int64_t y = 0; y < dim[1]; y++)
            for (int64_t x = 0; x < dim[2]; x++)
                for (int64_t c = 0; c < dim[3]; c++)
                    kn_ref_set(&out, f, y, x, c,
                               kn_ref_get(&in, f, y, x, c) + kn_ref_get(&missing, f, 0, 0, 0) *
                                                                 kn_ref_get(&mask, c, 0, 0, 0));
    return KN_OK;
}

const struct kn_kernel kn_ref_mask = {.run = mask_run};

static enum kn_status mask_backward_run(const struct kn_call *call, const void *args,
                                        struct kn_err *err) {
    const struct kn_mask_backward_args *a = args;
    struct kn_ref_view dy = kn_ref_view(call, &a->dy), dmask = kn_ref_view(call, &a->dmask);
    struct kn_ref_view missing = kn_ref_view(call, &a->missing);
    const int64_t *dim = a->dy.dim;

    for (int64_t c = 0; c < dim[3]; c++) {
        double sum = 0;
        for (int64_t f = 0; f < dim[0]; f++)
            for (int64_t y = 0; y < dim[1]; y++)
                for (int64_t x = 0; x < dim[2]; x++)
                    sum += kn_ref_get(&missing, f, 0, 0, 0) * kn_ref_get(&dy, f, y, x, c);
        kn_ref_add(&dmask, c, 0, 0, 0, sum);
    }
    return KN_OK;
}

const struct kn_kernel kn_ref_mask_backward = {.run = mask_backward_run};
