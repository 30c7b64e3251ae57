/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of the gated output norm of the attention layers. */
#include "ref.h"

struct views {
    struct kn_ref_view o, z, weight, dy, d_o, dz;
};

/* One head of one row; to_weight collects over rows. */
static void gate_backward_head(const struct kn_gate_backward_args *a, const struct views *v,
                               int64_t m, int64_t first, int64_t width, double *to_weight) {
    double square = 0, along = 0, scale;

    for (int64_t i = first; i < first + width; i++)
        square += pow(kn_ref_get(&v->o, m, i, 0, 0), 2);
    scale = 1 / sqrt(square / (double)width + (double)a->epsilon);
    for (int64_t i = first; i < first + width; i++) {
        double z = kn_ref_get(&v->z, m, i, 0, 0), dy = kn_ref_get(&v->dy, m, i, 0, 0);
        double unit = kn_ref_get(&v->o, m, i, 0, 0) * scale, open = kn_ref_sigmoid(z);
        double weight = kn_ref_get(&v->weight, i, 0, 0, 0);
        along += dy * weight * z * open * unit / (double)width;
        to_weight[i] += dy * unit * z * open;
        kn_ref_set(&v->dz, m, i, 0, 0, dy * unit * weight * open * (1 + z * (1 - open)));
    }
    for (int64_t i = first; i < first + width; i++) {
        double z = kn_ref_get(&v->z, m, i, 0, 0);
        double g = kn_ref_get(&v->dy, m, i, 0, 0) * kn_ref_get(&v->weight, i, 0, 0, 0) * z *
                   kn_ref_sigmoid(z);
        kn_ref_set(&v->d_o, m, i, 0, 0,
                   scale * (g - kn_ref_get(&v->o, m, i, 0, 0) * scale * along));
    }
}

static enum kn_status gate_backward_run(const struct kn_call *call, const void *args,
                                        struct kn_err *err) {
    const struct kn_gate_backward_args *a = args;
    const struct views v = {kn_ref_view(call, &a->o),      kn_ref_view(call, &a->z),
                            kn_ref_view(call, &a->weight), kn_ref_view(call, &a->dy),
                            kn_ref_view(call, &a->d_o),    kn_ref_view(call, &a->dz)};
    struct kn_ref_view dweight = kn_ref_view(call, &a->dweight);
    int64_t D = a->o.dim[1], width = D / a->heads;
    double *to_weight = call->scratch;

    memset(to_weight, 0, (size_t)D * sizeof *to_weight);
    for (int64_t m = 0; m < a->o.dim[0]; m++)
        for (int64_t h = 0; h < a->heads; h++)
            gate_backward_head(a, &v, m, h * width, width, to_weight);
    for (int64_t i = 0; i < D; i++)
        kn_ref_add(&dweight, i, 0, 0, 0, to_weight[i]);
    return KN_OK;
}

static enum kn_status gate_backward_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                            struct kn_err *err) {
    return kn_ref_scratch(prepare, &node->args.gate_backward.o.dim[1], 1, 0, node, err);
}

const struct kn_kernel kn_ref_gate_backward = {.prepare = gate_backward_prepare,
                                               .run = gate_backward_run};
