/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mean of smooth absolute errors in what changes from frame to frame: flicker. */
#include "loss.h"

static enum kn_status temporal_difference_run(const struct kn_call *call, const void *args,
                                              struct kn_err *err) {
    const struct kn_loss_args *a = args;
    struct kn_ref_loss l = kn_ref_loss(call, args);
    double sum = 0, count = l.count * (double)(a->x.dim[0] - a->lag) / (double)a->x.dim[0];

    KN_REF_ELEMENTS(l, f, y, x, c) {
        double e, slope;
        if (f < a->lag)
            continue;
        e = kn_ref_error(&l, f, y, x, c) - kn_ref_error(&l, f - a->lag, y, x, c);
        slope = l.weight * e / kn_ref_smooth(e) / count;
        sum += kn_ref_smooth(e);
        kn_ref_add(&l.dx, f, y, x, c, slope);
        kn_ref_add(&l.dx, f - a->lag, y, x, c, -slope);
    }
    if (count > 0)
        *l.value += sum / count;
    return KN_OK;
}

const struct kn_kernel kn_ref_temporal_difference = {.run = temporal_difference_run};
