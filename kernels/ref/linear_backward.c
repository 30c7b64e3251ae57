/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradients of linear layers. */
#include "ref.h"

static enum kn_status data_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_linear_backward_data_args *a = args;
    struct kn_ref_view dy = kn_ref_view(call, &a->dy), weight = kn_ref_view(call, &a->weight);
    struct kn_ref_view dx = kn_ref_view(call, &a->dx);

    for (int64_t m = 0; m < a->dy.dim[0]; m++)
        for (int64_t k = 0; k < a->dx.dim[1]; k++) {
            double sum = 0;
            for (int64_t n = 0; n < a->dy.dim[1]; n++)
                sum += kn_ref_get(&dy, m, n, 0, 0) * kn_ref_get(&weight, n, k, 0, 0);
            kn_ref_give(&dx, a->accumulate, m, k, 0, 0, sum);
        }
    return KN_OK;
}

const struct kn_kernel kn_ref_linear_backward_data = {.run = data_run};

static enum kn_status weights_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_linear_backward_weights_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), dy = kn_ref_view(call, &a->dy);
    struct kn_ref_view dweight = kn_ref_view(call, &a->dweight);
    struct kn_ref_view dbias = kn_ref_view(call, &a->dbias);

    for (int64_t n = 0; n < a->dy.dim[1]; n++) {
        double bias = 0;
        for (int64_t m = 0; m < a->dy.dim[0]; m++)
            bias += kn_ref_get(&dy, m, n, 0, 0);
        kn_ref_add(&dbias, n, 0, 0, 0, bias);
        for (int64_t k = 0; k < a->x.dim[1]; k++) {
            double sum = 0;
            for (int64_t m = 0; m < a->dy.dim[0]; m++)
                sum += kn_ref_get(&dy, m, n, 0, 0) * kn_ref_get(&x, m, k, 0, 0);
            kn_ref_add(&dweight, n, k, 0, 0, sum);
        }
    }
    return KN_OK;
}

const struct kn_kernel kn_ref_linear_backward_weights = {.run = weights_run};
