/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The temporal model: latents to tokens, [Fenwick, Mesa] x layers, and back. Each position of a
 * patch is one sequence over time; row t * sequences + n of a matrix of tokens is frame t of
 * sequence n.
 */
#include "network.h"

#include "kn_size.h"

#define EPSILON 1e-5f

/* The fused projection of an attention layer and where its columns start. */
struct projection {
    struct kn_tensor all; /* (rows, columns) */
    int64_t dim, heads, extra, gate, third, z;
};

/* Columns of the projection as (sequences, frames, heads, each), or without each when it is 0. */
static struct kn_tensor columns(const struct fw_net *net, const struct kn_tensor *all,
                                int64_t first, int64_t heads, int64_t each) {
    int64_t sequences = all->dim[0] / net->frames, pitch = all->stride[0];
    struct kn_tensor view = {.dtype = KN_F32,
                             .slot = all->slot,
                             .rank = each ? 4 : 3,
                             .dim = {sequences, net->frames, heads, each},
                             .stride = {pitch, sequences * pitch, each ? each : 1, 1}};
    view.offset_bytes = all->offset_bytes + (uint64_t)first * sizeof(float);
    return view;
}

static struct projection record_projection(struct fw_net *net, const char *name, gboolean mesa,
                                           const struct kn_tensor *y) {
    const struct fw_config *c = &net->params->config;
    struct projection p = {.dim = c->dim, .heads = c->heads};
    char label[FW_PARAM_NAME];

    p.extra = mesa ? p.heads : p.heads * c->levels;
    p.gate = 3 * p.dim;
    p.third = p.gate + p.heads;
    p.z = p.third + p.extra;
    /* qkv, gate, level or beta, and z lie one after the other: params.h. */
    struct kn_tensor weight = fw_net_param(net, name, ".qkv.weight");
    struct kn_tensor bias = fw_net_param(net, name, ".qkv.bias");
    weight.dim[0] = bias.dim[0] = p.z + p.dim;
    p.all = fw_net_work_matrix(net, KN_F32, y->dim[0], p.z + p.dim);
    g_snprintf(label, sizeof label, "%s.qkv", name);
    FW_RECORD(net, linear, label,
              &(struct kn_linear_args){.x = *y, .weight = weight, .bias = bias, .out = p.all});
    return p;
}

/* Counts the state of the operation recorded last, in which its successor's starts. */
static void count_state(struct fw_net *net, uint64_t *purpose) {
    uint64_t bytes;
    if (net->status != KN_OK)
        return;
    const struct kn_node *node = kn_program_node(net->program, kn_program_size(net->program) - 1);
    net->status = kn_dev_state_bytes(net->dev, node, &bytes, &net->err);
    if (net->status != KN_OK)
        return;
    if (!kn_size_align(bytes, FW_ARENA_ALIGN, &bytes) ||
        !kn_size_add(net->state_bytes, bytes, &net->state_bytes))
        fw_net_fail(net, "the attention state");
    *purpose += bytes; /* a part of the sum above */
}

static void record_fenwick(struct fw_net *net, const char *name, const struct projection *p,
                           const struct kn_tensor *out) {
    int64_t each = p->dim / p->heads;
    struct kn_fenwick_args args = {
        .q = columns(net, &p->all, 0, p->heads, each),
        .k = columns(net, &p->all, p->dim, p->heads, each),
        .v = columns(net, &p->all, 2 * p->dim, p->heads, each),
        .gate = columns(net, &p->all, p->gate, p->heads, 0),
        .level = columns(net, &p->all, p->third, p->extra, 0),
        .out = columns(net, out, 0, p->heads, each),
        .control = fw_net_control(),
        .levels = net->params->config.levels,
        .state_offset_bytes = net->state_bytes,
    };
    if (net->frames == 1)
        FW_RECORD(net, fenwick_step, name, &args);
    else
        FW_RECORD(net, fenwick_clip, name, &args);
    count_state(net, &net->fenwick_bytes);
}

static void record_mesa(struct fw_net *net, const char *name, const struct projection *p,
                        const struct kn_tensor *out) {
    int64_t each = p->dim / p->heads;
    struct kn_mesa_args args = {
        .q = columns(net, &p->all, 0, p->heads, each),
        .k = columns(net, &p->all, p->dim, p->heads, each),
        .v = columns(net, &p->all, 2 * p->dim, p->heads, each),
        .gate = columns(net, &p->all, p->gate, p->heads, 0),
        .beta = columns(net, &p->all, p->third, p->extra, 0),
        .lambda = fw_net_param(net, name, ".lambda"),
        .out = columns(net, out, 0, p->heads, each),
        .control = fw_net_control(),
        .state_offset_bytes = net->state_bytes,
    };
    if (net->frames == 1)
        FW_RECORD(net, mesa_step, name, &args);
    else
        FW_RECORD(net, mesa_clip, name, &args);
    count_state(net, &net->mesa_bytes);
}

/* m += layer(m); y: room for the input of linear layers. */
static void record_layer(struct fw_net *net, const char *name, gboolean mesa,
                         const struct kn_tensor *m, const struct kn_tensor *y) {
    char label[FW_PARAM_NAME];
    g_snprintf(label, sizeof label, "%s.norm", name);
    FW_RECORD(net, layer_norm, label,
              &(struct kn_layer_norm_args){.x = *m,
                                           .weight = fw_net_param(net, name, ".norm.weight"),
                                           .bias = fw_net_param(net, name, ".norm.bias"),
                                           .out = *y,
                                           .epsilon = EPSILON});
    struct projection p = record_projection(net, name, mesa, y);
    struct kn_tensor o = fw_net_work_matrix(net, KN_F32, m->dim[0], p.dim), z = o;
    if (mesa)
        record_mesa(net, name, &p, &o);
    else
        record_fenwick(net, name, &p, &o);
    z.stride[0] = p.all.stride[0];
    z.offset_bytes = p.all.offset_bytes + (uint64_t)p.z * sizeof(float);
    g_snprintf(label, sizeof label, "%s.onorm", name);
    FW_RECORD(net, gate, label,
              &(struct kn_gate_args){.o = o,
                                     .z = z,
                                     .weight = fw_net_param(net, name, ".onorm.weight"),
                                     .out = *y,
                                     .heads = p.heads,
                                     .epsilon = EPSILON});
    fw_net_drop(net, &o);
    fw_net_drop(net, &p.all);
    g_snprintf(label, sizeof label, "%s.o", name);
    FW_RECORD(net, linear, label,
              &(struct kn_linear_args){.x = *y,
                                       .weight = fw_net_param(net, name, ".o.weight"),
                                       .bias = fw_net_param(net, name, ".o.bias"),
                                       .residual = *m,
                                       .out = *m});
}

/* A linear layer of that name. */
static void record_linear(struct fw_net *net, const char *name, const struct kn_tensor *x,
                          const struct kn_tensor *out) {
    FW_RECORD(net, linear, name,
              &(struct kn_linear_args){.x = *x,
                                       .weight = fw_net_param(net, name, ".weight"),
                                       .bias = fw_net_param(net, name, ".bias"),
                                       .out = *out});
}

void fw_net_temporal(struct fw_net *net, const struct kn_tensor *z, const struct kn_tensor *out,
                     const struct kn_tensor *half) {
    const struct fw_config *c = &net->params->config;
    int64_t rows = net->frames * (net->height / c->patch) * (net->width / c->patch);
    int64_t token = (int64_t)c->patch * c->patch * c->latent_channels;
    struct kn_tensor tokens = fw_net_work_matrix(net, net->half, rows, token);
    struct kn_tensor m = fw_net_work_matrix(net, KN_F32, rows, c->dim), y;
    char name[FW_PARAM_NAME];

    FW_RECORD(net, gather, "model.gather",
              &(struct kn_gather_args){.z = *z, .out = tokens, .patch = c->patch});
    record_linear(net, "model.in", &tokens, &m);
    fw_net_drop(net, &tokens);
    y = fw_net_work_matrix(net, net->half, rows, c->dim);
    for (int i = 0; i < c->layers; i++) {
        g_snprintf(name, sizeof name, "model.layer%d.fenwick", i);
        record_layer(net, name, FALSE, &m, &y);
        g_snprintf(name, sizeof name, "model.layer%d.mesa", i);
        record_layer(net, name, TRUE, &m, &y);
    }
    if (net->half != KN_F32)
        FW_RECORD(net, convert, "model.half", &(struct kn_convert_args){.x = m, .out = y});
    tokens = fw_net_work_matrix(net, KN_F32, rows, token);
    record_linear(net, "model.out", net->half != KN_F32 ? &y : &m, &tokens);
    fw_net_drop(net, &y);
    fw_net_drop(net, &m);
    FW_RECORD(net, scatter, "model.scatter",
              &(struct kn_scatter_args){
                  .x = tokens, .z = *z, .out = *out, .half = *half, .patch = c->patch});
    fw_net_drop(net, &tokens);
}
