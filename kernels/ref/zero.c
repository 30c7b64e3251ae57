/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clears a tensor. */
#include "ref.h"

static enum kn_status zero_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_zero_args *a = args;
    struct kn_ref_view out = kn_ref_view(call, &a->out);
    int64_t dim[KN_MAX_RANK];

    for (int i = 0; i < KN_MAX_RANK; i++)
        dim[i] = i < a->out.rank ? a->out.dim[i] : 1;
    for (int64_t i = 0; i < dim[0]; i++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t k = 0; k < dim[2]; k++)
                for (int64_t c = 0; c < dim[3]; c++)
                    kn_ref_set(&out, i, j, k, c, 0);
    return KN_OK;
}

const struct kn_kernel kn_ref_zero = {.run = zero_run};
