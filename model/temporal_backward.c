/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of the temporal model, from model.out to model.in. Two tensors carry what every layer
 * only adds to: dz, the gradient of the latents, and dm, that of the tokens between layers.
 */
#include "network.h"

static void record_weights(struct fw_net *net, const char *name, const char *part,
                           const struct kn_tensor *x, const struct kn_tensor *dy) {
    char label[FW_PARAM_NAME], weight[24], bias[24];
    struct kn_linear_backward_weights_args args = {.x = *x, .dy = *dy};
    g_snprintf(weight, sizeof weight, "%s.weight", part);
    g_snprintf(bias, sizeof bias, "%s.bias", part);
    args.dweight = fw_net_grad(net, name, weight);
    args.dbias = fw_net_grad(net, name, bias);
    args.dweight.dim[0] = args.dbias.dim[0] = dy->dim[1]; /* a projection is four in a row */
    g_snprintf(label, sizeof label, "%s%s.dweight", name, part);
    FW_RECORD(net, linear_backward_weights, label, &args);
}

static void record_data(struct fw_net *net, const char *name, const char *part,
                        const struct kn_tensor *dy, const struct kn_tensor *dx) {
    char label[FW_PARAM_NAME], weight[24];
    struct kn_linear_backward_data_args args = {.dy = *dy, .dx = *dx};
    g_snprintf(weight, sizeof weight, "%s.weight", part);
    args.weight = fw_net_param(net, name, weight);
    args.weight.dim[0] = dy->dim[1];
    g_snprintf(label, sizeof label, "%s%s.dx", name, part);
    FW_RECORD(net, linear_backward_data, label, &args);
}

/* The state before the clip: a second entry, which the forward run does not change. */
static struct kn_tensor backward_control(void) {
    struct kn_tensor control = fw_net_control();
    control.offset_bytes += sizeof(struct kn_control);
    return control;
}

static void record_fenwick(struct fw_net *net, const struct fw_saved_layer *l,
                           const struct kn_tensor *dout, const struct kn_tensor *dp) {
    const struct fw_projection *p = &l->p;
    int64_t each = p->dim / p->heads;
    char label[FW_PARAM_NAME];
    struct kn_fenwick_backward_args args = {
        .q = fw_net_columns(net, &p->all, 0, p->heads, each),
        .k = fw_net_columns(net, &p->all, p->dim, p->heads, each),
        .v = fw_net_columns(net, &p->all, 2 * p->dim, p->heads, each),
        .gate = fw_net_columns(net, &p->all, p->gate, p->heads, 0),
        .level = fw_net_columns(net, &p->all, p->third, p->extra, 0),
        .dout = fw_net_columns(net, dout, 0, p->heads, each),
        .dq = fw_net_columns(net, dp, 0, p->heads, each),
        .dk = fw_net_columns(net, dp, p->dim, p->heads, each),
        .dv = fw_net_columns(net, dp, 2 * p->dim, p->heads, each),
        .dgate = fw_net_columns(net, dp, p->gate, p->heads, 0),
        .dlevel = fw_net_columns(net, dp, p->third, p->extra, 0),
        .control = backward_control(),
        .levels = net->params->config.levels,
        .state_offset_bytes = l->state_offset,
    };
    g_snprintf(label, sizeof label, "%s.backward", l->name);
    FW_RECORD(net, fenwick_backward, label, &args);
}

static void record_mesa(struct fw_net *net, const struct fw_saved_layer *l,
                        const struct kn_tensor *dout, const struct kn_tensor *dp) {
    const struct fw_projection *p = &l->p;
    int64_t each = p->dim / p->heads;
    char label[FW_PARAM_NAME];
    struct kn_mesa_backward_args args = {
        .q = fw_net_columns(net, &p->all, 0, p->heads, each),
        .k = fw_net_columns(net, &p->all, p->dim, p->heads, each),
        .v = fw_net_columns(net, &p->all, 2 * p->dim, p->heads, each),
        .gate = fw_net_columns(net, &p->all, p->gate, p->heads, 0),
        .beta = fw_net_columns(net, &p->all, p->third, p->extra, 0),
        .lambda = fw_net_param(net, l->name, ".lambda"),
        .solution = fw_net_columns(net, &l->solution, 0, p->heads, each),
        .dout = fw_net_columns(net, dout, 0, p->heads, each),
        .dq = fw_net_columns(net, dp, 0, p->heads, each),
        .dk = fw_net_columns(net, dp, p->dim, p->heads, each),
        .dv = fw_net_columns(net, dp, 2 * p->dim, p->heads, each),
        .dgate = fw_net_columns(net, dp, p->gate, p->heads, 0),
        .dbeta = fw_net_columns(net, dp, p->third, p->extra, 0),
        .dlambda = fw_net_grad(net, l->name, ".lambda"),
        .control = backward_control(),
        .state_offset_bytes = l->state_offset,
    };
    g_snprintf(label, sizeof label, "%s.backward", l->name);
    FW_RECORD(net, mesa_backward, label, &args);
}

/* Through the output gate: writes the gradient of o, and of z into its columns of dp. */
static void record_gate(struct fw_net *net, const struct fw_saved_layer *l,
                        const struct kn_tensor *dy, const struct kn_tensor *dout,
                        const struct kn_tensor *dp) {
    char label[FW_PARAM_NAME];
    struct fw_projection gradient = l->p;
    gradient.all = *dp;
    g_snprintf(label, sizeof label, "%s.onorm.backward", l->name);
    FW_RECORD(net, gate_backward, label,
              &(struct kn_gate_backward_args){
                  .o = l->o,
                  .z = fw_net_z_columns(&l->p),
                  .weight = fw_net_param(net, l->name, ".onorm.weight"),
                  .dy = *dy,
                  .d_o = *dout,
                  .dz = fw_net_z_columns(&gradient),
                  .dweight = fw_net_grad(net, l->name, ".onorm.weight"),
                  .heads = l->p.heads,
                  .epsilon = FW_EPSILON,
              });
}

/* The projection's gradient goes to its parameters, and through the norm to dm. */
static void record_projection(struct fw_net *net, const struct fw_saved_layer *l,
                              const struct kn_tensor *dp, const struct kn_tensor *dy,
                              const struct kn_tensor *dm) {
    char label[FW_PARAM_NAME];
    /* q, k and v have no bias; what the fused sum leaves there must not count in the norm */
    struct kn_zero_args none = {.out = fw_net_grad(net, l->name, ".qkv.bias")};

    record_weights(net, l->name, ".qkv", &l->y, dp);
    g_snprintf(label, sizeof label, "%s.qkv.none", l->name);
    FW_RECORD(net, zero, label, &none);
    record_data(net, l->name, ".qkv", dp, dy);
    g_snprintf(label, sizeof label, "%s.norm.backward", l->name);
    FW_RECORD(net, layer_norm_backward, label,
              &(struct kn_layer_norm_backward_args){
                  .x = l->m,
                  .weight = fw_net_param(net, l->name, ".norm.weight"),
                  .dy = *dy,
                  .dx = *dm,
                  .dweight = fw_net_grad(net, l->name, ".norm.weight"),
                  .dbias = fw_net_grad(net, l->name, ".norm.bias"),
                  .epsilon = FW_EPSILON,
                  .accumulate = true,
              });
}

/* dm: of the layer's output; becomes that of its input. */
static void record_layer(struct fw_net *net, const struct fw_saved_layer *l,
                         const struct kn_tensor *dm) {
    int64_t rows = dm->dim[0], dim = dm->dim[1];
    struct kn_tensor dy = fw_net_work_matrix(net, net->full, rows, dim);
    struct kn_tensor dout = fw_net_work_matrix(net, net->full, rows, dim);
    struct kn_tensor dp = fw_net_work_matrix(net, net->full, rows, l->p.all.dim[1]);

    record_weights(net, l->name, ".o", &l->gated, dm);
    record_data(net, l->name, ".o", dm, &dy);
    record_gate(net, l, &dy, &dout, &dp);
    if (l->mesa)
        record_mesa(net, l, &dout, &dp);
    else
        record_fenwick(net, l, &dout, &dp);
    record_projection(net, l, &dp, &dy, dm);
    fw_net_release(net, &dp);
    fw_net_release(net, &dout);
    fw_net_release(net, &dy);
}

void fw_net_temporal_backward(struct fw_net *net, const struct kn_tensor *dz) {
    const struct fw_saved *saved = net->saved;
    struct kn_tensor tokens =
        fw_net_work_matrix(net, net->full, saved->tokens.dim[0], saved->tokens.dim[1]);
    struct kn_tensor dm = fw_net_work_matrix(net, net->full, saved->m.dim[0], saved->m.dim[1]);
    int64_t patch = net->params->config.patch;

    FW_RECORD(net, gather, "model.scatter.backward",
              &(struct kn_gather_args){.z = *dz, .out = tokens, .patch = patch});
    record_weights(net, "model.out", "", &saved->m, &tokens);
    record_data(net, "model.out", "", &tokens, &dm);
    for (int i = saved->layers - 1; i >= 0; i--)
        record_layer(net, &saved->layer[i], &dm);
    record_weights(net, "model.in", "", &saved->tokens, &dm);
    record_data(net, "model.in", "", &dm, &tokens);
    FW_RECORD(net, scatter, "model.gather.backward",
              &(struct kn_scatter_args){.x = tokens, .z = *dz, .out = *dz, .patch = patch});
    fw_net_release(net, &dm);
    fw_net_release(net, &tokens);
}
