/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The temporal model: latents to tokens, [Fenwick, Mesa] x layers, and back. Each position of a
 * patch is one sequence over time; row t * sequences + n of a matrix of tokens is frame t of
 * sequence n.
 */
#include "network.h"

#include "kn_size.h"

struct kn_tensor fw_net_columns(const struct fw_net *net, const struct kn_tensor *all,
                                int64_t first, int64_t heads, int64_t each) {
    int64_t sequences = all->dim[0] / net->frames, pitch = all->stride[0];
    struct kn_tensor view = {.dtype = all->dtype,
                             .slot = all->slot,
                             .rank = each ? 4 : 3,
                             .dim = {sequences, net->frames, heads, each},
                             .stride = {pitch, sequences * pitch, each ? each : 1, 1}};
    view.offset_bytes = all->offset_bytes + (uint64_t)first * kn_dtype_bytes(all->dtype);
    return view;
}

static struct fw_projection record_projection(struct fw_net *net, const char *name, gboolean mesa,
                                              const struct kn_tensor *y) {
    const struct fw_config *c = &net->params->config;
    struct fw_projection p = {.dim = c->dim, .heads = c->heads};
    char label[FW_PARAM_NAME];

    p.extra = mesa ? p.heads : p.heads * c->levels;
    p.gate = 3 * p.dim;
    p.third = p.gate + p.heads;
    p.z = p.third + p.extra;
    /* qkv, gate, level or beta, and z lie one after the other: params.h. */
    struct kn_tensor weight = fw_net_param(net, name, ".qkv.weight");
    struct kn_tensor bias = fw_net_param(net, name, ".qkv.bias");
    weight.dim[0] = bias.dim[0] = p.z + p.dim;
    p.all = fw_net_work_matrix(net, net->full, y->dim[0], p.z + p.dim);
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

static void record_fenwick(struct fw_net *net, const char *name, const struct fw_projection *p,
                           const struct kn_tensor *out) {
    int64_t each = p->dim / p->heads;
    struct kn_fenwick_args args = {
        .q = fw_net_columns(net, &p->all, 0, p->heads, each),
        .k = fw_net_columns(net, &p->all, p->dim, p->heads, each),
        .v = fw_net_columns(net, &p->all, 2 * p->dim, p->heads, each),
        .gate = fw_net_columns(net, &p->all, p->gate, p->heads, 0),
        .level = fw_net_columns(net, &p->all, p->third, p->extra, 0),
        .out = fw_net_columns(net, out, 0, p->heads, each),
        .control = fw_net_control(),
        .levels = net->params->config.levels,
        .state_offset_bytes = net->state_bytes,
    };
    if (net->step)
        FW_RECORD(net, fenwick_step, name, &args);
    else
        FW_RECORD(net, fenwick_clip, name, &args);
    count_state(net, &net->fenwick_bytes);
}

static void record_mesa(struct fw_net *net, const char *name, const struct fw_projection *p,
                        const struct kn_tensor *out, const struct kn_tensor *solution) {
    int64_t each = p->dim / p->heads;
    struct kn_mesa_args args = {
        .q = fw_net_columns(net, &p->all, 0, p->heads, each),
        .k = fw_net_columns(net, &p->all, p->dim, p->heads, each),
        .v = fw_net_columns(net, &p->all, 2 * p->dim, p->heads, each),
        .gate = fw_net_columns(net, &p->all, p->gate, p->heads, 0),
        .beta = fw_net_columns(net, &p->all, p->third, p->extra, 0),
        .lambda = fw_net_param(net, name, ".lambda"),
        .out = fw_net_columns(net, out, 0, p->heads, each),
        .control = fw_net_control(),
        .state_offset_bytes = net->state_bytes,
    };
    if (solution->rank != 0)
        args.solution = fw_net_columns(net, solution, 0, p->heads, each);
    if (net->step)
        FW_RECORD(net, mesa_step, name, &args);
    else
        FW_RECORD(net, mesa_clip, name, &args);
    count_state(net, &net->mesa_bytes);
}

/* A matrix like t in the type of linear layers' inputs. */
static struct kn_tensor half_like(struct fw_net *net, const struct kn_tensor *t) {
    return fw_net_work_matrix(net, net->half, t->dim[0], t->dim[1]);
}

static struct kn_tensor full_like(struct fw_net *net, const struct kn_tensor *t) {
    return fw_net_work_matrix(net, net->full, t->dim[0], t->dim[1]);
}

/* The norm and the projection of a layer's input. */
static void record_input(struct fw_net *net, struct fw_saved_layer *l) {
    char label[FW_PARAM_NAME];
    l->y = half_like(net, &l->m);
    g_snprintf(label, sizeof label, "%s.norm", l->name);
    FW_RECORD(net, layer_norm, label,
              &(struct kn_layer_norm_args){.x = l->m,
                                           .weight = fw_net_param(net, l->name, ".norm.weight"),
                                           .bias = fw_net_param(net, l->name, ".norm.bias"),
                                           .out = l->y,
                                           .epsilon = FW_EPSILON});
    l->p = record_projection(net, l->name, l->mesa, &l->y);
    fw_net_drop(net, &l->y);
}

static void record_attention(struct fw_net *net, struct fw_saved_layer *l) {
    l->o = full_like(net, &l->m);
    l->state_offset = net->state_bytes;
    if (l->mesa && net->saved)
        l->solution = full_like(net, &l->m);
    if (l->mesa)
        record_mesa(net, l->name, &l->p, &l->o, &l->solution);
    else
        record_fenwick(net, l->name, &l->p, &l->o);
}

struct kn_tensor fw_net_z_columns(const struct fw_projection *p) {
    struct kn_tensor z = p->all;
    z.dim[1] = p->dim;
    z.offset_bytes += (uint64_t)p->z * kn_dtype_bytes(z.dtype);
    return z;
}

/* The gated norm of o and the projection back: *out = m + that. */
static void record_output(struct fw_net *net, struct fw_saved_layer *l,
                          const struct kn_tensor *out) {
    char label[FW_PARAM_NAME];
    l->gated = half_like(net, &l->m);
    g_snprintf(label, sizeof label, "%s.onorm", l->name);
    FW_RECORD(net, gate, label,
              &(struct kn_gate_args){.o = l->o,
                                     .z = fw_net_z_columns(&l->p),
                                     .weight = fw_net_param(net, l->name, ".onorm.weight"),
                                     .out = l->gated,
                                     .heads = l->p.heads,
                                     .epsilon = FW_EPSILON});
    fw_net_drop(net, &l->o);
    fw_net_drop(net, &l->p.all);
    g_snprintf(label, sizeof label, "%s.o", l->name);
    FW_RECORD(net, linear, label,
              &(struct kn_linear_args){.x = l->gated,
                                       .weight = fw_net_param(net, l->name, ".o.weight"),
                                       .bias = fw_net_param(net, l->name, ".o.bias"),
                                       .residual = l->m,
                                       .out = *out});
    fw_net_drop(net, &l->gated);
}

/* m + layer(m), in m's own place unless training needs m again. */
static struct kn_tensor record_layer(struct fw_net *net, const char *name, gboolean mesa,
                                     const struct kn_tensor *m) {
    struct fw_saved_layer l = {.mesa = mesa, .m = *m};
    struct kn_tensor out = *m;

    g_strlcpy(l.name, name, sizeof l.name);
    record_input(net, &l);
    record_attention(net, &l);
    if (net->saved)
        out = full_like(net, m);
    record_output(net, &l, &out);
    if (net->saved)
        net->saved->layer[net->saved->layers++] = l;
    return out;
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
    int64_t rows = fw_net_images(net) * (net->height / c->patch) * (net->width / c->patch);
    int64_t token = (int64_t)c->patch * c->patch * c->latent_channels;
    struct kn_tensor tokens = fw_net_work_matrix(net, net->half, rows, token), low = {0};
    struct kn_tensor m = fw_net_work_matrix(net, net->full, rows, c->dim);
    char name[FW_PARAM_NAME];

    FW_RECORD(net, gather, "model.gather",
              &(struct kn_gather_args){.z = *z, .out = tokens, .patch = c->patch});
    record_linear(net, "model.in", &tokens, &m);
    fw_net_drop(net, &tokens);
    if (net->saved)
        net->saved->tokens = tokens;
    for (int i = 0; i < c->layers; i++) {
        g_snprintf(name, sizeof name, "model.layer%d.fenwick", i);
        m = record_layer(net, name, FALSE, &m);
        g_snprintf(name, sizeof name, "model.layer%d.mesa", i);
        m = record_layer(net, name, TRUE, &m);
    }
    if (net->saved)
        net->saved->m = m;
    if (net->half != net->full) {
        low = half_like(net, &m);
        FW_RECORD(net, convert, "model.half", &(struct kn_convert_args){.x = m, .out = low});
    }
    tokens = fw_net_work_matrix(net, net->full, rows, token);
    record_linear(net, "model.out", low.rank != 0 ? &low : &m, &tokens);
    fw_net_drop(net, &low);
    fw_net_drop(net, &m);
    FW_RECORD(net, scatter, "model.scatter",
              &(struct kn_scatter_args){
                  .x = tokens, .z = *z, .out = *out, .half = *half, .patch = c->patch});
    fw_net_release(net, &tokens);
}
