/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mean of smooth absolute errors. */
#include "loss.h"

static enum kn_status charbonnier_run(const struct kn_call *call, const void *args,
                                      struct kn_err *err) {
    struct kn_ref_loss l = kn_ref_loss(call, args);
    double sum = 0;

    KN_REF_ELEMENTS(l, f, y, x, c) {
        double e = kn_ref_error(&l, f, y, x, c);
        sum += kn_ref_smooth(e);
        kn_ref_add(&l.dx, f, y, x, c, l.weight * e / kn_ref_smooth(e) / l.count);
    }
    *l.value += sum / l.count;
    return KN_OK;
}

const struct kn_kernel kn_ref_charbonnier = {.run = charbonnier_run};
