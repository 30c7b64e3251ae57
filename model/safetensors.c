/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Reads weights files. Everything in one may be hostile: the parameter table says which tensors
 * must be there with which shape, the file never does, and what the file says decides no allocation
 * before all of it was checked. The header alone is read into memory first, and its size is
 * bounded.
 *
 * Layout: 8 bytes header length (little endian), header (JSON), data. No mmap: a file that shrinks
 * while it is mapped would kill the process.
 */
#include <math.h>
#include <string.h>

#include "half.h"
#include "json.h"
#include "weights.h"

#define HEADER_MAX (1 << 20)
#define METADATA_MAX 64
#define CHUNK_BYTES (256 * 1024) /* a multiple of both element sizes */

/* One tensor of the file. */
struct entry {
    const struct fw_param *param;
    gboolean half;
    guint64 begin, end; /* of the data section */
};

/* A file whose header is being checked. */
struct reader {
    const struct fw_file *file;
    const char *path;
    guint64 data; /* where the data section starts */
    struct fw_config config;
    struct fw_params params;
    struct entry *entry; /* one for each of params, in its order; param is NULL until seen */
    guint entries;
    char task[FW_TASK_MAX], latent_id[FW_ID_CHARS + 1], sha256[FW_SHA_CHARS + 1];
};

/* ------------------------------------------------------------------------------------ metadata */

static gboolean copy_hex(JsonObject *metadata, const char *key, char *out, gsize chars,
                         GError **error) {
    const char *text = fw_json_string(metadata, key, error);
    if (!text)
        return FALSE;
    if (strlen(text) != chars || strspn(text, "0123456789abcdef") != chars)
        return fw_fail(error, FW_ERROR_FORMAT,
                       "\"%s\" is not %" G_GSIZE_FORMAT " lower-case hexadecimal digits", key,
                       chars);
    memcpy(out, text, chars + 1);
    return TRUE;
}

static gboolean all_strings(JsonObject *metadata, GError **error) {
    JsonObjectIter iter;
    JsonNode *node;
    if (json_object_get_size(metadata) > METADATA_MAX)
        return fw_fail(error, FW_ERROR_FORMAT, "__metadata__ holds more than %d keys",
                       METADATA_MAX);
    json_object_iter_init(&iter, metadata);
    while (json_object_iter_next(&iter, NULL, &node))
        if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
            return fw_fail(error, FW_ERROR_FORMAT,
                           "__metadata__ holds something else than strings");
    return TRUE;
}

static gboolean read_metadata(struct reader *r, JsonObject *root, GError **error) {
    JsonObject *metadata = fw_json_object(root, "__metadata__", error);
    const char *config, *task;
    char quoted[FW_QUOTE_MAX];
    if (!metadata || !all_strings(metadata, error) ||
        !(config = fw_json_string(metadata, "config", error)) ||
        !fw_config_from_json(&r->config, config, strlen(config), error) ||
        !(task = fw_json_string(metadata, "task", error)))
        return FALSE;
    if (fw_task_wrong(task))
        return fw_fail(error, FW_ERROR_FORMAT, "task is \"%s\", not %s", fw_quote(quoted, task),
                       fw_task_wrong(task));
    g_strlcpy(r->task, task, sizeof r->task);
    return copy_hex(metadata, "latent_id", r->latent_id, FW_ID_CHARS, error) &&
           copy_hex(metadata, "sha256", r->sha256, FW_SHA_CHARS, error);
}

/* ------------------------------------------------------------------------------------- tensors */

static gboolean check_shape(const struct fw_param *param, JsonObject *object, GError **error) {
    gint64 dim[4];
    guint rank;
    if (!fw_json_ints(object, "shape", dim, G_N_ELEMENTS(dim), &rank, error))
        return FALSE;
    gboolean same = rank == (guint)param->rank;
    for (guint i = 0; same && i < rank; i++)
        same = dim[i] == param->dim[i];
    if (same)
        return TRUE;
    char want[FW_PARAM_NAME];
    GString *found = g_string_new("(");
    for (guint i = 0; i < rank; i++)
        g_string_append_printf(found, "%s%" G_GINT64_FORMAT, i ? ", " : "", dim[i]);
    fw_param_shape(param, want, sizeof want);
    fw_fail(error, FW_ERROR_FORMAT, "shape is %s), the config asks for %s", found->str, want);
    g_string_free(found, TRUE);
    return FALSE;
}

static gboolean read_entry(struct entry *entry, const struct fw_param *param, JsonObject *object,
                           GError **error) {
    char quoted[FW_QUOTE_MAX];
    gint64 offset[2];
    guint n;
    const char *dtype = fw_json_string(object, "dtype", error);
    if (!dtype || !check_shape(param, object, error) ||
        !fw_json_ints(object, "data_offsets", offset, 2, &n, error))
        return FALSE;
    if (json_object_get_size(object) != 3)
        return fw_fail(error, FW_ERROR_FORMAT, "holds keys besides dtype, shape and data_offsets");
    if (strcmp(dtype, "F32") != 0 && strcmp(dtype, "F16") != 0)
        return fw_fail(error, FW_ERROR_FORMAT, "dtype is \"%s\", not F32 or F16",
                       fw_quote(quoted, dtype));
    entry->half = strcmp(dtype, "F16") == 0;
    gint64 bytes = param->count * (entry->half ? 2 : 4);
    /* No difference is taken before both are known to be in order. */
    if (n != 2 || offset[0] < 0 || offset[1] < offset[0] || offset[1] - offset[0] != bytes)
        return fw_fail(error, FW_ERROR_FORMAT,
                       "data_offsets do not span its %" G_GINT64_FORMAT " bytes", bytes);
    entry->param = param;
    entry->begin = (guint64)offset[0];
    entry->end = (guint64)offset[1];
    return TRUE;
}

static gboolean read_member(struct reader *r, const char *name, JsonNode *node, GError **error) {
    char quoted[FW_QUOTE_MAX];
    GError *cause = NULL;
    const struct fw_param *param = fw_params_find(&r->params, name);
    if (!param || param->internal)
        return fw_fail(error, FW_ERROR_FORMAT,
                       "tensor \"%s\" is no part of a network of its config",
                       fw_quote(quoted, name));
    if (!JSON_NODE_HOLDS_OBJECT(node))
        return fw_fail(error, FW_ERROR_FORMAT, "tensor %s is not an object", name);
    if (read_entry(&r->entry[param - r->params.item], param, json_node_get_object(node), &cause))
        return TRUE;
    fw_fail(error, FW_ERROR_FORMAT, "tensor %s: %s", name, cause->message);
    g_error_free(cause);
    return FALSE;
}

static gint compare_begin(gconstpointer a, gconstpointer b) {
    const struct entry *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

/* Drops what is not in the file and sorts the rest by place: no hole, no overlap, nothing after. */
static gboolean check_layout(struct reader *r, GError **error) {
    guint64 at = 0;
    for (gint i = 0; i < r->params.count; i++) {
        const struct fw_param *param = &r->params.item[i];
        if (r->entry[i].param)
            r->entry[r->entries++] = r->entry[i];
        else if (!param->optional && !param->internal)
            return fw_fail(error, FW_ERROR_FORMAT, "tensor %s is missing", param->name);
    }
    qsort(r->entry, r->entries, sizeof *r->entry, compare_begin);
    for (guint i = 0; i < r->entries; i++) {
        if (r->entry[i].begin != at)
            return fw_fail(error, FW_ERROR_FORMAT,
                           "tensor %s starts at %" G_GUINT64_FORMAT
                           " of the data, where the one before it ends is %" G_GUINT64_FORMAT,
                           r->entry[i].param->name, r->entry[i].begin, at);
        at = r->entry[i].end;
    }
    if (r->file->size - r->data != at)
        return fw_fail(error, FW_ERROR_FORMAT,
                       "holds %" G_GUINT64_FORMAT " bytes of data, its tensors %" G_GUINT64_FORMAT,
                       r->file->size - r->data, at);
    return TRUE;
}

static gboolean read_tensors(struct reader *r, JsonObject *root, GError **error) {
    JsonObjectIter iter;
    const char *name;
    JsonNode *node;
    fw_params_init(&r->params, &r->config);
    r->entry = g_new0(struct entry, (gsize)r->params.count);
    json_object_iter_init(&iter, root);
    while (json_object_iter_next(&iter, &name, &node))
        if (strcmp(name, "__metadata__") != 0 && !read_member(r, name, node, error))
            return FALSE;
    return check_layout(r, error);
}

static gboolean read_header(struct reader *r, GError **error) {
    guint64 length;
    if (r->file->size < 8)
        return fw_fail(error, FW_ERROR_FORMAT,
                       "%" G_GUINT64_FORMAT " bytes are too few for a weights file", r->file->size);
    if (!fw_file_read(r->file, r->path, 0, &length, 8, error))
        return FALSE;
    length = GUINT64_FROM_LE(length);
    if (length < 2 || length > HEADER_MAX || length > r->file->size - 8)
        return fw_fail(error, FW_ERROR_FORMAT,
                       "header of %" G_GUINT64_FORMAT " bytes, allowed is 2 to %" G_GUINT64_FORMAT,
                       length, MIN((guint64)HEADER_MAX, r->file->size - 8));
    char *text = g_malloc((gsize)length);
    JsonParser *parser = NULL;
    gboolean ok = fw_file_read(r->file, r->path, 8, text, (gsize)length, error) &&
                  (parser = fw_json_parse(text, (gsize)length, "header", error));
    if (ok) {
        JsonObject *root = json_node_get_object(json_parser_get_root(parser));
        r->data = 8 + length;
        ok = read_metadata(r, root, error) && read_tensors(r, root, error);
    }
    g_clear_object(&parser);
    g_free(text);
    return ok;
}

/* ---------------------------------------------------------------------------------------- data */

static float element(const guchar *from, gboolean half) {
    guint16 h;
    guint32 bits;
    float value;
    if (half) {
        memcpy(&h, from, sizeof h);
        return fw_half_to_float(GUINT16_FROM_LE(h));
    }
    memcpy(&bits, from, sizeof bits);
    bits = GUINT32_FROM_LE(bits);
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Reads one tensor into the arena, hashing it; *finite becomes FALSE when it holds NaN or infinity.
 */
static gboolean read_values(struct reader *r, const struct entry *e, struct fw_weights *weights,
                            guchar *chunk, GChecksum *sum, gboolean *finite, GError **error) {
    float *to = weights->arena + e->param->offset / sizeof(float);
    gsize size = e->half ? 2 : 4;
    gint64 i = 0;
    for (guint64 at = e->begin; at < e->end;) {
        gsize bytes = (gsize)MIN((guint64)CHUNK_BYTES, e->end - at);
        if (!fw_file_read(r->file, r->path, r->data + at, chunk, bytes, error))
            return FALSE;
        g_checksum_update(sum, chunk, (gssize)bytes);
        for (gsize n = 0; n < bytes; n += size, i++) {
            float value = element(chunk + n, e->half);
            *finite = *finite && isfinite(value);
            to[fw_param_place(&weights->params, e->param, i)] = value;
        }
        at += bytes;
    }
    return TRUE;
}

/* All tensors; *nonfinite: the first with NaN or infinity. */
static gboolean read_data(struct reader *r, struct fw_weights *weights,
                          const struct fw_param **nonfinite, GError **error) {
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    guchar *chunk = g_malloc(CHUNK_BYTES);
    gboolean ok = TRUE;
    for (guint i = 0; ok && i < r->entries; i++) {
        gboolean finite = TRUE;
        ok = read_values(r, &r->entry[i], weights, chunk, sum, &finite, error);
        if (!finite && !*nonfinite)
            *nonfinite = r->entry[i].param;
    }
    if (ok && strcmp(g_checksum_get_string(sum), r->sha256) != 0)
        ok = fw_fail(error, FW_ERROR_FORMAT, "the data does not have the checksum of its metadata");
    g_free(chunk);
    g_checksum_free(sum);
    return ok;
}

static gboolean check_scale(const struct fw_weights *weights, GError **error) {
    const struct fw_param *scale = fw_params_find(&weights->params, "latent.scale");
    for (gint64 i = 0; weights->has_scale && i < scale->count; i++)
        if (!(fw_weights_value(weights, scale, i) > 0))
            return fw_fail(error, FW_ERROR_FORMAT,
                           "latent.scale holds a value that is not positive");
    return TRUE;
}

static gboolean fill(struct reader *r, struct fw_weights *weights, GError **error) {
    const struct fw_param *nonfinite = NULL;
    if (!read_data(r, weights, &nonfinite, error))
        return FALSE;
    if (nonfinite)
        return fw_fail(error, FW_ERROR_NONFINITE, "tensor %s holds NaN or infinity",
                       nonfinite->name);
    for (guint i = 0; i < r->entries; i++) {
        weights->has_scale |= r->entry[i].param->role == FW_ROLE_LATENT_SCALE;
        weights->has_mask |= r->entry[i].param->role == FW_ROLE_MASK;
    }
    g_strlcpy(weights->task, r->task, sizeof weights->task);
    fw_weights_identify(weights);
    if (strcmp(weights->latent_id, r->latent_id) != 0)
        return fw_fail(error, FW_ERROR_FORMAT, "latent_id is %s, that of its autoencoder is %s",
                       r->latent_id, weights->latent_id);
    return check_scale(weights, error);
}

struct fw_weights *fw_safetensors_read(const struct fw_file *file, const char *path,
                                       GError **error) {
    char *name = g_filename_display_name(path);
    struct reader r = {.file = file, .path = name};
    struct fw_weights *weights = NULL;
    GError *cause = NULL;
    gboolean ok = read_header(&r, &cause) && (weights = fw_weights_alloc(&r.config, &cause)) &&
                  fill(&r, weights, &cause);
    if (!ok) {
        /* Failures of reading carry the path already. */
        g_prefix_error(&cause, cause->code == FW_ERROR_READ ? "%s" : "%s: ",
                       cause->code == FW_ERROR_READ ? "" : name);
        g_propagate_error(error, cause);
        g_clear_pointer(&weights, fw_weights_unref);
    }
    g_free(r.entry);
    fw_params_clear(&r.params);
    g_free(name);
    return weights;
}
