/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "params.h"

#include <string.h>

#define ALIGN 256

/*
 * The ranges of fw_config_check() bound every size here: at most 16 layers and 32 blocks, the
 * largest tensor (model.in at dim 512, patch 64, 64 channels) has 2^27 elements, so the arena stays
 * far below 2^63 bytes and the sums cannot overflow.
 */
struct builder {
    struct fw_params *params;
    gboolean adjacent; /* the next tensor follows the last without a gap */
};

static struct fw_param *add(struct builder *b, const char *prefix, const char *suffix,
                            enum fw_role role, int rank, const gint64 dim[4]) {
    struct fw_params *t = b->params;
    struct fw_param *p = &t->item[t->count++];
    memset(p, 0, sizeof *p);
    g_snprintf(p->name, sizeof p->name, "%s%s", prefix, suffix);
    p->role = role;
    p->rank = rank;
    p->count = 1;
    for (int i = 0; i < rank; i++) {
        p->dim[i] = dim[i];
        p->count *= dim[i];
    }
    /* Matrices and kernels decay; gains, biases and the optional vectors do not. */
    p->decay = rank >= 2 && role != FW_ROLE_LAMBDA && role != FW_ROLE_SKIP;
    if (!b->adjacent)
        t->bytes = (t->bytes + ALIGN - 1) / ALIGN * ALIGN;
    p->offset = t->bytes;
    t->bytes += (guint64)p->count * sizeof(float);
    return p;
}

static struct fw_param *add_vector(struct builder *b, const char *prefix, const char *suffix,
                                   enum fw_role role, gint64 n) {
    const gint64 dim[4] = {n};
    return add(b, prefix, suffix, role, 1, dim);
}

static struct fw_param *add_matrix(struct builder *b, const char *prefix, const char *suffix,
                                   enum fw_role role, gint64 rows, gint64 columns) {
    const gint64 dim[4] = {rows, columns};
    return add(b, prefix, suffix, role, 2, dim);
}

/* ----------------------------------------------------------------------------- the autoencoder */

/* A 3x3 convolution with bias. */
static void add_conv(struct builder *b, const char *name, enum fw_role role, gint64 out,
                     gint64 in) {
    const gint64 dim[4] = {out, in, 3, 3};
    gboolean zero = role == FW_ROLE_CONV2 || role == FW_ROLE_TO_PIXELS;
    add(b, name, ".weight", role, 4, dim);
    add_vector(b, name, ".bias", zero ? role : FW_ROLE_BIAS, out);
}

static void add_side(struct builder *b, const struct fw_side *side, gboolean encoder, gint64 in,
                     gint64 out) {
    const char *name = encoder ? "encoder" : "decoder";
    const gint64 width = side->width;
    char full[FW_PARAM_NAME];

    add_conv(b, encoder ? "encoder.stem" : "decoder.from_latent", FW_ROLE_CONV, width, in);
    for (int i = 0; side->blocks[i]; i++) {
        gboolean memory = side->blocks[i] == 'M';
        g_snprintf(full, sizeof full, "%s.block%d.conv1", name, i);
        add_conv(b, full, memory ? FW_ROLE_CONV1_MEMORY : FW_ROLE_CONV1, width,
                 memory ? 2 * width : width);
        g_snprintf(full, sizeof full, "%s.block%d.conv2", name, i);
        add_conv(b, full, FW_ROLE_CONV2, width, width);
    }
    if (encoder)
        add_conv(b, "encoder.to_latent", FW_ROLE_TO_LATENT, out, width);
    else
        add_conv(b, "decoder.to_pixels", FW_ROLE_TO_PIXELS, out, width);
    add_matrix(b, name, ".skip.weight", FW_ROLE_SKIP, out, in);
}

/* -------------------------------------------------------------------------- the temporal model */

/* extra: level (Fenwick) or beta (Mesa), n rows. */
static void add_attention(struct builder *b, const char *name, const char *extra, gint64 n,
                          gint64 d, gint64 heads) {
    char weight[24], bias[24];
    g_snprintf(weight, sizeof weight, ".%s.weight", extra);
    g_snprintf(bias, sizeof bias, ".%s.bias", extra);

    add_vector(b, name, ".norm.weight", FW_ROLE_NORM, d);
    add_vector(b, name, ".norm.bias", FW_ROLE_BIAS, d);

    add_matrix(b, name, ".qkv.weight", FW_ROLE_LINEAR, 3 * d, d);
    b->adjacent = TRUE;
    add_matrix(b, name, ".gate.weight", FW_ROLE_LINEAR, heads, d);
    add_matrix(b, name, weight, FW_ROLE_LINEAR, n, d);
    add_matrix(b, name, ".z.weight", FW_ROLE_LINEAR, d, d);
    b->adjacent = FALSE;

    add_vector(b, name, ".qkv.bias", FW_ROLE_INTERNAL_ZERO, 3 * d)->internal = TRUE;
    b->adjacent = TRUE;
    add_vector(b, name, ".gate.bias", FW_ROLE_GATE_BIAS, heads);
    add_vector(b, name, bias, FW_ROLE_BIAS, n);
    add_vector(b, name, ".z.bias", FW_ROLE_BIAS, d);
    b->adjacent = FALSE;

    add_vector(b, name, ".onorm.weight", FW_ROLE_NORM, d);
    add_matrix(b, name, ".o.weight", FW_ROLE_LINEAR, d, d);
    add_vector(b, name, ".o.bias", FW_ROLE_BIAS, d);
}

static void add_model(struct builder *b, const struct fw_config *c) {
    const gint64 d = c->dim, token = (gint64)c->latent_channels * c->patch * c->patch;
    char name[FW_PARAM_NAME];

    add_matrix(b, "model.in", ".weight", FW_ROLE_LINEAR, d, token)->order = FW_ORDER_PATCH_COLUMNS;
    add_vector(b, "model.in", ".bias", FW_ROLE_BIAS, d);
    for (int i = 0; i < c->layers; i++) {
        g_snprintf(name, sizeof name, "model.layer%d.fenwick", i);
        add_attention(b, name, "level", (gint64)c->heads * c->levels, d, c->heads);
        g_snprintf(name, sizeof name, "model.layer%d.mesa", i);
        add_attention(b, name, "beta", c->heads, d, c->heads);
        add_matrix(b, name, ".lambda", FW_ROLE_LAMBDA, c->heads, d / c->heads);
    }
    add_matrix(b, "model.out", ".weight", FW_ROLE_OUT, token, d)->order = FW_ORDER_PATCH_ROWS;
    add_vector(b, "model.out", ".bias", FW_ROLE_OUT, token)->order = FW_ORDER_PATCH_ROWS;
}

/* --------------------------------------------------------------------------------------- table */

void fw_params_init(struct fw_params *params, const struct fw_config *config) {
    struct builder b = {params, FALSE};
    /* At most: 5 and 4 a block for a side, 27 for a layer, 4 for model.in and .out, 2 optional. */
    gsize room = 2 * (5 + 4 * FW_MAX_BLOCKS) + 4 + 27 * (gsize)config->layers + 2;

    *params = (struct fw_params){.config = *config};
    params->item = g_new(struct fw_param, room);
    add_side(&b, &config->encoder, TRUE, 12, config->latent_channels);
    add_model(&b, config);
    add_side(&b, &config->decoder, FALSE, config->latent_channels, 12);
    add_vector(&b, "latent", ".scale", FW_ROLE_LATENT_SCALE, config->latent_channels)->optional =
        TRUE;
    add_vector(&b, "model", ".mask", FW_ROLE_MASK, config->latent_channels)->optional = TRUE;
    params->bytes = (params->bytes + ALIGN - 1) / ALIGN * ALIGN;
}

void fw_params_clear(struct fw_params *params) {
    g_free(params->item);
    *params = (struct fw_params){.item = NULL};
}

const struct fw_param *fw_params_find(const struct fw_params *params, const char *name) {
    for (gint i = 0; i < params->count; i++)
        if (strcmp(params->item[i].name, name) == 0)
            return &params->item[i];
    return NULL;
}

const struct fw_param *fw_params_get(const struct fw_params *params, const char *prefix,
                                     const char *suffix) {
    char name[FW_PARAM_NAME];
    g_snprintf(name, sizeof name, "%s%s", prefix, suffix);
    return fw_params_find(params, name);
}

/* Position i of a patch in the file (channel, row, column) -> in the arena (row, column, channel).
 */
static gint64 patch_place(const struct fw_config *c, gint64 i) {
    gint64 area = (gint64)c->patch * c->patch, channel = i / area, position = i % area;
    return position * c->latent_channels + channel;
}

gint64 fw_param_place(const struct fw_params *params, const struct fw_param *p, gint64 i) {
    gint64 columns = p->rank > 1 ? p->dim[1] : 1;
    switch (p->order) {
    case FW_ORDER_PATCH_COLUMNS:
        return i / columns * columns + patch_place(&params->config, i % columns);
    case FW_ORDER_PATCH_ROWS:
        return patch_place(&params->config, i / columns) * columns + i % columns;
    default:
        return i;
    }
}

void fw_param_shape(const struct fw_param *param, char *out, gsize size) {
    gsize n = (gsize)g_snprintf(out, size, "(");
    for (int i = 0; i < param->rank && n < size; i++)
        n += (gsize)g_snprintf(out + n, size - n, "%s%" G_GINT64_FORMAT, i ? ", " : "",
                               param->dim[i]);
    if (n < size)
        g_strlcpy(out + n, ")", size - n);
}
