/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gated output norm of the attention layers. */
#include "ref.h"

static void gate_head(const struct kn_gate_args *a, const struct kn_ref_view view[4], int64_t m,
                      int64_t first, int64_t width) {
    double square = 0, scale;

    for (int64_t i = first; i < first + width; i++)
        square += pow(kn_ref_get(&view[0], m, i, 0, 0), 2);
    scale = 1 / sqrt(square / (double)width + (double)a->epsilon);
    for (int64_t i = first; i < first + width; i++) {
        double z = kn_ref_get(&view[1], m, i, 0, 0);
        kn_ref_set(&view[3], m, i, 0, 0,
                   kn_ref_get(&view[0], m, i, 0, 0) * scale * kn_ref_get(&view[2], i, 0, 0, 0) * z *
                       kn_ref_sigmoid(z));
    }
}

static enum kn_status gate_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_gate_args *a = args;
    const struct kn_ref_view view[4] = {kn_ref_view(call, &a->o), kn_ref_view(call, &a->z),
                                        kn_ref_view(call, &a->weight), kn_ref_view(call, &a->out)};
    int64_t width = a->o.dim[1] / a->heads;

    for (int64_t m = 0; m < a->o.dim[0]; m++)
        for (int64_t h = 0; h < a->heads; h++)
            gate_head(a, view, m, h * width, width);
    return KN_OK;
}

const struct kn_kernel kn_ref_gate = {.run = gate_run};
