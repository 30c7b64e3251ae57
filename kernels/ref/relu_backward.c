/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of the ReLU at the end of a convolution. */
#include "ref.h"

static enum kn_status relu_backward_run(const struct kn_call *call, const void *args,
                                        struct kn_err *err) {
    const struct kn_relu_backward_args *a = args;
    struct kn_ref_view y = kn_ref_view(call, &a->y), dy = kn_ref_view(call, &a->dy);
    struct kn_ref_view dx = kn_ref_view(call, &a->dx);

    for (int64_t t = 0; t < a->y.dim[0]; t++)
        for (int64_t r = 0; r < a->y.dim[1]; r++)
            for (int64_t col = 0; col < a->y.dim[2]; col++)
                for (int64_t c = 0; c < a->y.dim[3]; c++) {
                    bool open = kn_ref_get(&y, t, r, col, c) > 0;
                    kn_ref_set(&dx, t, r, col, c, open ? kn_ref_get(&dy, t, r, col, c) : 0);
                }
    return KN_OK;
}

const struct kn_kernel kn_ref_relu_backward = {.run = relu_backward_run};
