/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Temporal shift: the first channels come from the frame before. */
#include "ref.h"

static enum kn_status shift_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_shift_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), past = kn_ref_view(call, &a->past);
    struct kn_ref_view out = kn_ref_view(call, &a->out);
    bool fresh = kn_ref_fresh(call, &a->control);

    for (int64_t t = 0; t < a->x.dim[0]; t++)
        for (int64_t y = 0; y < a->x.dim[1]; y++)
            for (int64_t col = 0; col < a->x.dim[2]; col++)
                for (int64_t c = 0; c < a->x.dim[3]; c++) {
                    double value = 0;
                    if (c >= a->channels)
                        value = kn_ref_get(&x, t, y, col, c);
                    else if (!fresh)
                        value = kn_ref_get(&past, t, y, col, c);
                    kn_ref_set(&out, t, y, col, c, value);
                }
    return KN_OK;
}

const struct kn_kernel kn_ref_shift = {.run = shift_run};
