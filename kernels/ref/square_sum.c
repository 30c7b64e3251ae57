/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sum of squares. */
#include "ref.h"

static enum kn_status square_sum_run(const struct kn_call *call, const void *args,
                                     struct kn_err *err) {
    const struct kn_square_sum_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x);
    double sum = 0;

    for (int64_t i = 0; i < a->x.dim[0]; i++)
        sum += kn_ref_get(&x, i, 0, 0, 0) * kn_ref_get(&x, i, 0, 0, 0);
    *(double *)kn_at(call, &a->value) += sum;
    return KN_OK;
}

const struct kn_kernel kn_ref_square_sum = {.run = square_sum_run};
