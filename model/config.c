/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The config: presets, ranges, JSON. */
#include <string.h>

#include "json.h"

/* Order and values: the table of presets in docs/architecture.md. */
static const struct preset {
    const char *name;
    struct fw_config config;
} presets[] = {
    {"thin", {32, 4, 128, 4, 1, 12, {64, "M2M"}, {64, "M2M2"}}},
    {"full", {32, 4, 128, 4, 1, 12, {64, "M2M"}, {256, "M2M2"}}},
    {"tiny", {32, 4, 64, 4, 1, 12, {32, "S2"}, {32, "S2"}}},
    {"seed", {32, 32, 128, 4, 1, 12, {32, "M2"}, {8, "M2"}}},
    {"large", {64, 4, 512, 8, 2, 12, {64, "M2M"}, {64, "M2M2"}}},
};

static const char *const names[] = {"thin", "full", "tiny", "seed", "large", NULL};
G_STATIC_ASSERT(G_N_ELEMENTS(names) == G_N_ELEMENTS(presets) + 1);

const char *const *fw_preset_names(void) {
    return names;
}

gboolean fw_config_preset(struct fw_config *config, const char *name, GError **error) {
    for (gsize i = 0; i < G_N_ELEMENTS(presets); i++)
        if (strcmp(name, presets[i].name) == 0) {
            *config = presets[i].config;
            return TRUE;
        }
    char quoted[FW_QUOTE_MAX];
    return fw_fail(error, FW_ERROR_ARGUMENT,
                   "no preset is called \"%s\"; there are thin, full, tiny, seed and large",
                   fw_quote(quoted, name));
}

const char *fw_config_name(const struct fw_config *config) {
    for (gsize i = 0; i < G_N_ELEMENTS(presets); i++)
        if (fw_config_equal(config, &presets[i].config))
            return presets[i].name;
    return "custom";
}

/* -------------------------------------------------------------------------------------- ranges */

static gboolean in_range(const char *field, int value, int low, int high, GError **error) {
    if (value >= low && value <= high)
        return TRUE;
    return fw_fail(error, FW_ERROR_ARGUMENT, "%s is %d, allowed is %d to %d", field, value, low,
                   high);
}

static gboolean check_side(const struct fw_side *side, const char *name, GError **error) {
    char field[24];
    g_snprintf(field, sizeof field, "%s.width", name);
    if (!in_range(field, side->width, 8, 512, error))
        return FALSE;
    if (side->width % 8)
        return fw_fail(error, FW_ERROR_ARGUMENT, "%s is %d, it must be divisible by 8", field,
                       side->width);
    gsize n = strnlen(side->blocks, sizeof side->blocks);
    if (n < 1 || n > FW_MAX_BLOCKS)
        return fw_fail(error, FW_ERROR_ARGUMENT,
                       "%s.blocks holds %" G_GSIZE_FORMAT " blocks, allowed is 1 to %d", name, n,
                       FW_MAX_BLOCKS);
    if (strspn(side->blocks, "MS2") != n) {
        char quoted[FW_QUOTE_MAX];
        return fw_fail(error, FW_ERROR_ARGUMENT, "%s.blocks is \"%s\", allowed are M, S and 2",
                       name, fw_quote(quoted, side->blocks));
    }
    return TRUE;
}

gboolean fw_config_check(const struct fw_config *c, GError **error) {
    if (c->latent_channels != 16 && c->latent_channels != 32 && c->latent_channels != 64)
        return fw_fail(error, FW_ERROR_ARGUMENT, "latent_channels is %d, allowed is 16, 32 or 64",
                       c->latent_channels);
    if (!in_range("patch", c->patch, 1, 64, error) || !in_range("dim", c->dim, 64, 512, error) ||
        !in_range("heads", c->heads, 1, c->dim, error) ||
        !in_range("layers", c->layers, 1, 16, error) ||
        !in_range("levels", c->levels, KN_MIN_LEVELS, KN_MAX_LEVELS, error))
        return FALSE;
    if (c->dim % 64)
        return fw_fail(error, FW_ERROR_ARGUMENT, "dim is %d, it must be divisible by 64", c->dim);
    if (c->dim % c->heads)
        return fw_fail(error, FW_ERROR_ARGUMENT, "heads is %d, which does not divide dim %d",
                       c->heads, c->dim);
    if (c->dim / c->heads > KN_MAX_HEAD_DIM)
        return fw_fail(error, FW_ERROR_ARGUMENT, "dim / heads is %d, allowed is 1 to %d",
                       c->dim / c->heads, KN_MAX_HEAD_DIM);
    return check_side(&c->encoder, "encoder", error) && check_side(&c->decoder, "decoder", error);
}

gboolean fw_config_equal(const struct fw_config *a, const struct fw_config *b) {
    return a->latent_channels == b->latent_channels && a->patch == b->patch && a->dim == b->dim &&
           a->heads == b->heads && a->layers == b->layers && a->levels == b->levels &&
           a->encoder.width == b->encoder.width && a->decoder.width == b->decoder.width &&
           strcmp(a->encoder.blocks, b->encoder.blocks) == 0 &&
           strcmp(a->decoder.blocks, b->decoder.blocks) == 0;
}

/* ---------------------------------------------------------------------------------------- JSON */

char *fw_config_to_json(const struct fw_config *c) {
    return g_strdup_printf("{\"latent_channels\":%d,\"patch\":%d,\"dim\":%d,\"heads\":%d,"
                           "\"layers\":%d,\"levels\":%d,"
                           "\"encoder\":{\"width\":%d,\"blocks\":\"%s\"},"
                           "\"decoder\":{\"width\":%d,\"blocks\":\"%s\"}}",
                           c->latent_channels, c->patch, c->dim, c->heads, c->layers, c->levels,
                           c->encoder.width, c->encoder.blocks, c->decoder.width,
                           c->decoder.blocks);
}

static gboolean read_int(JsonObject *object, const char *key, int *out, GError **error) {
    gint64 value;
    if (!fw_json_int(object, key, &value, error))
        return FALSE;
    *out = (int)CLAMP(value, 0, G_MAXINT); /* the ranges are checked afterwards */
    return TRUE;
}

static gboolean read_side(JsonObject *parent, const char *key, struct fw_side *side,
                          GError **error) {
    JsonObject *object = fw_json_object(parent, key, error);
    const char *blocks;
    if (!object || !read_int(object, "width", &side->width, error) ||
        !(blocks = fw_json_string(object, "blocks", error)))
        return FALSE;
    if (json_object_get_size(object) != 2)
        return fw_fail(error, FW_ERROR_FORMAT, "\"%s\" holds keys besides width and blocks", key);
    if (g_strlcpy(side->blocks, blocks, sizeof side->blocks) >= sizeof side->blocks)
        return fw_fail(error, FW_ERROR_FORMAT, "%s.blocks holds more than %d blocks", key,
                       FW_MAX_BLOCKS);
    return TRUE;
}

static gboolean read_config(JsonObject *object, struct fw_config *c, GError **error) {
    if (!read_int(object, "latent_channels", &c->latent_channels, error) ||
        !read_int(object, "patch", &c->patch, error) || !read_int(object, "dim", &c->dim, error) ||
        !read_int(object, "heads", &c->heads, error) ||
        !read_int(object, "layers", &c->layers, error) ||
        !read_int(object, "levels", &c->levels, error) ||
        !read_side(object, "encoder", &c->encoder, error) ||
        !read_side(object, "decoder", &c->decoder, error))
        return FALSE;
    if (json_object_get_size(object) != 8)
        return fw_fail(error, FW_ERROR_FORMAT, "config holds unknown keys");
    return TRUE;
}

gboolean fw_config_from_json(struct fw_config *config, const char *json, gsize length,
                             GError **error) {
    struct fw_config c = {0};
    GError *cause = NULL;
    JsonParser *parser = fw_json_parse(json, length, "config", error);
    if (!parser)
        return FALSE;
    gboolean ok = read_config(json_node_get_object(json_parser_get_root(parser)), &c, error) &&
                  fw_config_check(&c, &cause);
    if (cause) { /* a range broken by a file is the file's fault */
        fw_fail(error, FW_ERROR_FORMAT, "config: %s", cause->message);
        g_clear_error(&cause);
    }
    if (ok)
        *config = c;
    g_object_unref(parser);
    return ok;
}
