/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes weights files: the same bytes for the same weights, config and task, whenever and wherever
 * it happens.
 */
#include <math.h>
#include <string.h>

#include "half.h"
#include "output.h"
#include "weights.h"

#define CHUNK 65536 /* elements */

/* The data section goes by in chunks, twice: for the checksum and for the file. */
typedef gboolean (*sink)(void *user, const void *bytes, gsize size, GError **error);

static gint compare_names(gconstpointer a, gconstpointer b) {
    const struct fw_param *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

/* The tensors of the file, by name. */
static GPtrArray *sorted(const struct fw_weights *weights) {
    GPtrArray *list = g_ptr_array_new();
    for (gint i = 0; i < weights->params.count; i++)
        if (fw_weights_holds(weights, &weights->params.item[i]))
            g_ptr_array_add(list, &weights->params.item[i]);
    g_ptr_array_sort(list, compare_names);
    return list;
}

/* One value as stored. */
static gsize store(guchar *to, float value, gboolean half) {
    guint32 bits;
    memcpy(&bits, &value, sizeof bits);
    if (half) {
        guint16 h = GUINT16_TO_LE(fw_half_from_float(value));
        memcpy(to, &h, sizeof h);
        return sizeof h;
    }
    bits = GUINT32_TO_LE(bits);
    memcpy(to, &bits, sizeof bits);
    return sizeof bits;
}

static gboolean each_chunk(const struct fw_weights *weights, const GPtrArray *list, gboolean half,
                           sink to, void *user, GError **error) {
    guchar *chunk = g_malloc(CHUNK * sizeof(float));
    gboolean ok = TRUE;
    for (guint p = 0; ok && p < list->len; p++) {
        const struct fw_param *param = g_ptr_array_index(list, p);
        for (gint64 i = 0; ok && i < param->count;) {
            gsize size = 0;
            for (int n = 0; n < CHUNK && i < param->count; n++, i++)
                size += store(chunk + size, fw_weights_value(weights, param, i), half);
            ok = to(user, chunk, size, error);
        }
    }
    g_free(chunk);
    return ok;
}

/* F16 ends at 65504: a value beyond would become infinity, which no reader accepts. */
static gboolean check_half(const struct fw_weights *weights, const GPtrArray *list,
                           GError **error) {
    for (guint p = 0; p < list->len; p++) {
        const struct fw_param *param = g_ptr_array_index(list, p);
        for (gint64 i = 0; i < param->count; i++) {
            float value = fw_weights_value(weights, param, i);
            if (!isfinite(fw_half_to_float(fw_half_from_float(value))))
                return fw_fail(error, FW_ERROR_ARGUMENT, "%s holds %g, too large for F16",
                               param->name, (double)value);
            if (param->role == FW_ROLE_LATENT_SCALE &&
                !(fw_half_to_float(fw_half_from_float(value)) > 0))
                return fw_fail(error, FW_ERROR_ARGUMENT, "%s holds %g, too small for F16",
                               param->name, (double)value);
        }
    }
    return TRUE;
}

/* -------------------------------------------------------------------------------------- header */

static gboolean sink_checksum(void *user, const void *bytes, gsize size, GError **error) {
    g_checksum_update(user, bytes, (gssize)size);
    return TRUE;
}

static void append_metadata(GString *header, const struct fw_weights *weights,
                            const GPtrArray *list, gboolean half) {
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    char *config = fw_config_to_json(&weights->params.config);
    char *escaped = g_strescape(config, NULL); /* nothing but quotes in it needs it */
    char id[FW_ID_CHARS + 1];
    g_strlcpy(id, weights->latent_id, sizeof id);
    if (half)
        fw_weights_half_id(weights, id);
    (void)each_chunk(weights, list, half, sink_checksum, sum, NULL);
    g_string_append_printf(
        header,
        "{\"__metadata__\":{\"config\":\"%s\",\"latent_id\":\"%s\",\"sha256\":\"%s\","
        "\"task\":\"%s\"}",
        escaped, id, g_checksum_get_string(sum), weights->task);
    g_free(escaped);
    g_free(config);
    g_checksum_free(sum);
}

static void append_tensor(GString *header, const struct fw_param *param, gboolean half,
                          guint64 *at) {
    guint64 bytes = (guint64)param->count * (half ? 2 : 4);
    g_string_append_printf(header, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", param->name,
                           half ? "F16" : "F32");
    for (int i = 0; i < param->rank; i++)
        g_string_append_printf(header, "%s%" G_GINT64_FORMAT, i ? "," : "", param->dim[i]);
    g_string_append_printf(header,
                           "],\"data_offsets\":[%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "]}", *at,
                           *at + bytes);
    *at += bytes;
}

/* Length, JSON, and spaces so that the data starts at a multiple of 8. */
static GString *make_header(const struct fw_weights *weights, const GPtrArray *list,
                            gboolean half) {
    GString *header = g_string_new(NULL);
    guint64 at = 0, length;
    append_metadata(header, weights, list, half);
    for (guint i = 0; i < list->len; i++)
        append_tensor(header, g_ptr_array_index(list, i), half, &at);
    g_string_append_c(header, '}');
    while (header->len % 8)
        g_string_append_c(header, ' ');
    length = GUINT64_TO_LE((guint64)header->len);
    g_string_prepend_len(header, (const char *)&length, sizeof length);
    return header;
}

/* ---------------------------------------------------------------------------------------- file */

static gboolean sink_file(void *user, const void *bytes, gsize size, GError **error) {
    return fw_output_write(user, bytes, size, error);
}

gboolean fw_weights_save(const struct fw_weights *weights, const char *path, gboolean half,
                         GError **error) {
    struct fw_output out;
    GPtrArray *list = sorted(weights);
    GString *header = NULL;
    gboolean ok = FALSE;

    if ((half && !check_half(weights, list, error)) || !fw_output_begin(&out, path, error))
        goto out;
    header = make_header(weights, list, half);
    ok = fw_output_write(&out, header->str, header->len, error) &&
         each_chunk(weights, list, half, sink_file, &out, error);
    ok = fw_output_end(&out, ok, error);
    g_string_free(header, TRUE);
out:
    g_ptr_array_free(list, TRUE);
    return ok;
}
