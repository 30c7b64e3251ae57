/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of the temporal shift: each channel goes back to the frame that it came from. */
#include "ref.h"

static enum kn_status shift_backward_run(const struct kn_call *call, const void *args,
                                         struct kn_err *err) {
    const struct kn_shift_backward_args *a = args;
    struct kn_ref_view dy = kn_ref_view(call, &a->dy), dx = kn_ref_view(call, &a->dx);

    for (int64_t t = 0; t < a->dy.dim[0]; t++)
        for (int64_t y = 0; y < a->dy.dim[1]; y++)
            for (int64_t col = 0; col < a->dy.dim[2]; col++)
                for (int64_t c = 0; c < a->dy.dim[3]; c++)
                    kn_ref_add(&dx, c < a->channels ? t : t + a->lag, y, col, c,
                               kn_ref_get(&dy, t, y, col, c));
    return KN_OK;
}

const struct kn_kernel kn_ref_shift_backward = {.run = shift_backward_run};
