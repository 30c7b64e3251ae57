/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Weights in ordinary memory. */
#include "weights.h"

#include <string.h>

#include "half.h"
#include "init.h"

static const char *const tasks[] = {"restore", "reconstruct", "predict", "identity", NULL};

const char *fw_task_wrong(const char *task) {
    return g_strv_contains(tasks, task) ? NULL : "restore, reconstruct, predict or identity";
}

struct fw_weights *fw_weights_alloc(const struct fw_config *config, GError **error) {
    struct fw_weights *weights = g_new0(struct fw_weights, 1);
    weights->refs = 1;
    fw_params_init(&weights->params, config);
    weights->arena = g_try_malloc0((gsize)weights->params.bytes);
    if (!weights->arena) {
        fw_fail(error, FW_ERROR_NO_SPACE,
                "no memory for the weights: %" G_GUINT64_FORMAT " bytes wanted",
                weights->params.bytes);
        fw_weights_unref(weights);
        return NULL;
    }
    return weights;
}

struct fw_weights *fw_weights_new(const struct fw_config *config, enum fw_init init, guint64 seed,
                                  GError **error) {
    if (!fw_config_check(config, error))
        return NULL;
    struct fw_weights *weights = fw_weights_alloc(config, error);
    if (!weights)
        return NULL;
    fw_init_fill(&weights->params, weights->arena, init, seed);
    weights->has_scale = weights->has_mask = init == FW_INIT_RANDOM;
    g_strlcpy(weights->task, init == FW_INIT_RANDOM ? "restore" : "identity", FW_TASK_MAX);
    fw_weights_identify(weights);
    return weights;
}

struct fw_weights *fw_weights_load(const char *path, GError **error) {
    struct fw_file file;
    if (!fw_file_open(&file, path, error))
        return NULL;
    struct fw_weights *weights = fw_safetensors_read(&file, path, error);
    fw_file_close(&file);
    return weights;
}

struct fw_weights *fw_weights_ref(struct fw_weights *weights) {
    g_atomic_int_inc(&weights->refs);
    return weights;
}

void fw_weights_unref(struct fw_weights *weights) {
    if (!weights || !g_atomic_int_dec_and_test(&weights->refs))
        return;
    fw_params_clear(&weights->params);
    g_free(weights->arena);
    g_free(weights);
}

/* ------------------------------------------------------------------------------------- queries */

const struct fw_config *fw_weights_config(const struct fw_weights *weights) {
    return &weights->params.config;
}

const char *fw_weights_task(const struct fw_weights *weights) {
    return weights->task;
}

const char *fw_weights_latent_id(const struct fw_weights *weights) {
    return weights->latent_id;
}

gboolean fw_weights_has_scale(const struct fw_weights *weights) {
    return weights->has_scale;
}

gboolean fw_weights_holds(const struct fw_weights *weights, const struct fw_param *param) {
    if (param->role == FW_ROLE_LATENT_SCALE)
        return weights->has_scale;
    if (param->role == FW_ROLE_MASK)
        return weights->has_mask;
    return !param->internal;
}

guint64 fw_weights_count(const struct fw_weights *weights) {
    guint64 count = 0;
    for (gint i = 0; i < weights->params.count; i++)
        if (fw_weights_holds(weights, &weights->params.item[i]))
            count += (guint64)weights->params.item[i].count;
    return count;
}

float fw_weights_value(const struct fw_weights *weights, const struct fw_param *param, gint64 i) {
    const float *from = weights->arena + param->offset / sizeof(float);
    return from[fw_param_place(&weights->params, param, i)];
}

gboolean fw_weights_get(const struct fw_weights *weights, const char *name, float *out,
                        gsize count) {
    const struct fw_param *param = fw_params_find(&weights->params, name);
    if (!param || !fw_weights_holds(weights, param) || count != (guint64)param->count)
        return FALSE;
    for (gint64 i = 0; i < param->count; i++)
        out[i] = fw_weights_value(weights, param, i);
    return TRUE;
}

/* ----------------------------------------------------------------------------------- latent id */

#define CHUNK 4096

/* Little-endian f32 in file order, rounded to half precision if asked. */
static void hash_tensor(GChecksum *sum, const struct fw_weights *weights,
                        const struct fw_param *param, gboolean half) {
    guint32 chunk[CHUNK];
    char shape[FW_PARAM_NAME];
    fw_param_shape(param, shape, sizeof shape);
    g_checksum_update(sum, (const guchar *)param->name, -1);
    g_checksum_update(sum, (const guchar *)shape, -1);
    for (gint64 i = 0; i < param->count;) {
        gsize n = 0;
        for (; n < CHUNK && i < param->count; i++, n++) {
            float value = fw_weights_value(weights, param, i);
            if (half)
                value = fw_half_to_float(fw_half_from_float(value));
            memcpy(&chunk[n], &value, sizeof value);
            chunk[n] = GUINT32_TO_LE(chunk[n]);
        }
        g_checksum_update(sum, (const guchar *)chunk, (gssize)(n * sizeof *chunk));
    }
}

/*
 * What two files must share for the latents of one to mean the same to the other: the shapes and
 * values of encoder and decoder, and the scale of u8 latents. The temporal model is no part of it,
 * nor is the patch, which only decides how far a picture is padded: sizes are compared on their
 * own.
 */
static void hash_latents(const struct fw_weights *weights, gboolean half,
                         char id[FW_ID_CHARS + 1]) {
    const struct fw_config *c = &weights->params.config;
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    char head[128];
    g_snprintf(head, sizeof head, "fenwick latents 1:%d:%d:%s:%d:%s", c->latent_channels,
               c->encoder.width, c->encoder.blocks, c->decoder.width, c->decoder.blocks);
    g_checksum_update(sum, (const guchar *)head, -1);
    for (gint i = 0; i < weights->params.count; i++) {
        const struct fw_param *param = &weights->params.item[i];
        if (!g_str_has_prefix(param->name, "model.") && fw_weights_holds(weights, param))
            hash_tensor(sum, weights, param, half);
    }
    g_strlcpy(id, g_checksum_get_string(sum), FW_ID_CHARS + 1);
    g_checksum_free(sum);
}

void fw_weights_identify(struct fw_weights *weights) {
    hash_latents(weights, FALSE, weights->latent_id);
}

void fw_weights_half_id(const struct fw_weights *weights, char id[FW_ID_CHARS + 1]) {
    hash_latents(weights, TRUE, id);
}
