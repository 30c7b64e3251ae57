/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linear layer: rows of x times rows of the weight matrix. */
#include "ref.h"

static enum kn_status linear_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_linear_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), weight = kn_ref_view(call, &a->weight);
    struct kn_ref_view bias = kn_ref_view(call, &a->bias), out = kn_ref_view(call, &a->out);
    struct kn_ref_view residual = kn_ref_view(call, &a->residual);
    int64_t K = a->x.dim[1];
    double *row = call->scratch;

    for (int64_t m = 0; m < a->x.dim[0]; m++) {
        for (int64_t k = 0; k < K; k++)
            row[k] = kn_ref_get(&x, m, k, 0, 0);
        for (int64_t n = 0; n < a->weight.dim[0]; n++) {
            double sum = bias.base ? kn_ref_get(&bias, n, 0, 0, 0) : 0;
            for (int64_t k = 0; k < K; k++)
                sum += row[k] * kn_ref_get(&weight, n, k, 0, 0);
            if (residual.base)
                sum += kn_ref_get(&residual, m, n, 0, 0);
            kn_ref_set(&out, m, n, 0, 0, sum);
        }
    }
    return KN_OK;
}

static enum kn_status linear_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                     struct kn_err *err) {
    return kn_ref_scratch(prepare, &node->args.linear.x.dim[1], 1, 0, node, err);
}

const struct kn_kernel kn_ref_linear = {.prepare = linear_prepare, .run = linear_run};
