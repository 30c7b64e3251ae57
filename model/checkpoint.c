/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "checkpoint.h"

#include <string.h>

#include "json.h"

#define HEADER_MAX (64 * 1024)
#define CHUNK_BYTES (256 * 1024)
#define NO_SUM "0000000000000000000000000000000000000000000000000000000000000000"

/* -------------------------------------------------------------------------------------- header */

static guint element_bytes(const char *dtype) {
    return strcmp(dtype, "F32") == 0 ? 4 : strcmp(dtype, "BF16") == 0 ? 2 : 1;
}

static void append_string(GString *out, const char *text, gssize length) {
    char *copy = length < 0 ? g_strdup(text) : g_strndup(text, (gsize)length);
    char *escaped = g_strescape(copy, NULL); /* quotes of a config; nothing else needs it */
    g_string_append_printf(out, "\"%s\"", escaped);
    g_free(escaped);
    g_free(copy);
}

static void append_fact(GString *out, const char *fact) {
    const char *value = strchr(fact, '=');
    append_string(out, fact, value - fact);
    g_string_append_c(out, ':');
    append_string(out, value + 1, -1);
    g_string_append_c(out, ',');
}

/* Length, JSON, and spaces so that the data starts at a multiple of 8. */
static GString *make_header(char *const *facts, const struct fw_part *part, guint parts,
                            const char *sum) {
    GString *header = g_string_new("{\"__metadata__\":{");
    guint64 at = 0, length;

    for (int i = 0; facts[i]; i++)
        append_fact(header, facts[i]);
    g_string_append_printf(header, "\"sha256\":\"%s\"}", sum);
    for (guint i = 0; i < parts; i++) {
        if (part[i].bytes == 0)
            continue;
        g_string_append_printf(header,
                               ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%" G_GUINT64_FORMAT
                               "],\"data_offsets\":[%" G_GUINT64_FORMAT ",%" G_GUINT64_FORMAT "]}",
                               part[i].name, part[i].dtype,
                               part[i].bytes / element_bytes(part[i].dtype), at,
                               at + part[i].bytes);
        at += part[i].bytes;
    }
    g_string_append_c(header, '}');
    while (header->len % 8)
        g_string_append_c(header, ' ');
    length = GUINT64_TO_LE((guint64)header->len);
    g_string_prepend_len(header, (const char *)&length, sizeof length);
    return header;
}

/* Over header and data; the header has zeros where the sum will be. */
static GChecksum *begin_sum(const GString *header) {
    GChecksum *sum = g_checksum_new(G_CHECKSUM_SHA256);
    g_checksum_update(sum, (const guchar *)header->str, (gssize)header->len);
    return sum;
}

/* ------------------------------------------------------------------------------------- writing */

/* Values lie in files as they do in the memory of little-endian machines, which all of ours are. */
G_STATIC_ASSERT(G_BYTE_ORDER == G_LITTLE_ENDIAN);

static gpointer try_bytes(guint64 bytes, const char *name, GError **error) {
    gpointer memory = g_try_malloc(bytes);
    if (!memory)
        fw_fail(error, FW_ERROR_NO_SPACE,
                "no memory for %s of a checkpoint: %" G_GUINT64_FORMAT " bytes wanted", name,
                bytes);
    return memory;
}

static gboolean write_part(struct fw_output *out, const struct fw_part *part, guint i,
                           fw_part_move fetch, void *user, GChecksum *sum, GError **error) {
    guchar *bytes = part->bytes ? try_bytes(part->bytes, part->name, error) : NULL;
    gboolean ok;

    if (!bytes)
        return part->bytes == 0;
    ok = fetch(user, i, bytes, error) && fw_output_write(out, bytes, part->bytes, error);
    if (ok)
        g_checksum_update(sum, bytes, (gssize)part->bytes);
    g_free(bytes);
    return ok;
}

gboolean fw_checkpoint_write(const char *path, char *const *facts, const struct fw_part *part,
                             guint parts, fw_part_move fetch, void *user, GError **error) {
    struct fw_output out;
    GString *header;
    GChecksum *sum;
    gboolean ok;

    if (!fw_output_begin(&out, path, error))
        return FALSE;
    header = make_header(facts, part, parts, NO_SUM);
    sum = begin_sum(header);
    ok = fw_output_write(&out, header->str, header->len, error);
    for (guint i = 0; ok && i < parts; i++)
        ok = write_part(&out, &part[i], i, fetch, user, sum, error);
    if (ok) { /* the sum is known now, and as long as what stood in its place */
        g_string_free(header, TRUE);
        header = make_header(facts, part, parts, g_checksum_get_string(sum));
        ok = fw_output_rewrite(&out, header->str, header->len, error);
    }
    g_string_free(header, TRUE);
    g_checksum_free(sum);
    return fw_output_end(&out, ok, error);
}

/* ------------------------------------------------------------------------------------- reading */

static gboolean read_part(struct fw_part *part, const char *name, JsonObject *object,
                          GError **error) {
    const char *dtype = object ? fw_json_string(object, "dtype", error) : NULL;
    gint64 offset[2];
    guint n;

    if (!dtype || !fw_json_ints(object, "data_offsets", offset, 2, &n, error))
        return FALSE;
    if ((strcmp(dtype, "F32") != 0 && strcmp(dtype, "BF16") != 0 && strcmp(dtype, "U8") != 0) ||
        n != 2 || offset[0] < 0 || offset[1] <= offset[0] || strlen(name) >= sizeof part->name)
        return fw_fail(error, FW_ERROR_FORMAT, "a part is none of a checkpoint");
    g_strlcpy(part->name, name, sizeof part->name);
    g_strlcpy(part->dtype, dtype, sizeof part->dtype);
    part->bytes = (guint64)(offset[1] - offset[0]);
    return TRUE;
}

static gboolean read_facts(struct fw_checkpoint *c, JsonObject *metadata, GError **error) {
    GPtrArray *facts = g_ptr_array_new();
    JsonObjectIter iter;
    const char *key;
    gboolean ok = json_object_get_size(metadata) <= FW_CHECKPOINT_FACTS + 1;

    json_object_iter_init_ordered(&iter, metadata);
    while (ok && json_object_iter_next_ordered(&iter, &key, NULL)) {
        const char *value = fw_json_string(metadata, key, error);
        ok = value != NULL;
        if (ok && strcmp(key, "sha256") != 0)
            g_ptr_array_add(facts, g_strconcat(key, "=", value, NULL));
    }
    g_ptr_array_add(facts, NULL);
    c->facts = (char **)g_ptr_array_free(facts, FALSE);
    return ok || (error && *error) || fw_fail(error, FW_ERROR_FORMAT, "too many facts");
}

/* Everything that the header says, which is then written anew and must come out the same. */
static gboolean read_members(struct fw_checkpoint *c, JsonObject *root, char **sum,
                             GError **error) {
    JsonObject *metadata = fw_json_object(root, "__metadata__", error);
    const char *sha, *name;
    JsonObjectIter iter;
    JsonNode *node;

    if (!metadata || !(sha = fw_json_string(metadata, "sha256", error)) ||
        !read_facts(c, metadata, error) || (error && *error))
        return FALSE;
    *sum = g_strdup(sha);
    json_object_iter_init_ordered(&iter, root);
    while (json_object_iter_next_ordered(&iter, &name, &node)) {
        if (strcmp(name, "__metadata__") == 0)
            continue;
        if (c->parts == FW_CHECKPOINT_PARTS)
            return fw_fail(error, FW_ERROR_FORMAT, "too many parts");
        if (!JSON_NODE_HOLDS_OBJECT(node))
            return fw_fail(error, FW_ERROR_FORMAT, "a part is not an object");
        if (!read_part(&c->part[c->parts++], name, json_node_get_object(node), error))
            return FALSE;
    }
    return TRUE;
}

static gboolean read_header(struct fw_checkpoint *c, char *text, guint64 length, char **sum,
                            GError **error) {
    GString *again = NULL;
    gboolean ok = FALSE;
    JsonParser *parser;

    if (!fw_file_read(&c->file, c->path, 8, text, length, error) ||
        !(parser = fw_json_parse(text, length, "header", error)))
        return FALSE;
    if (read_members(c, json_node_get_object(json_parser_get_root(parser)), sum, error)) {
        again = make_header(c->facts, c->part, c->parts, *sum);
        ok = again->len == length + 8 && memcmp(again->str + 8, text, length) == 0;
        if (!ok)
            fw_fail(error, FW_ERROR_FORMAT, "the header is not as checkpoints have it");
        g_string_free(again, TRUE);
    }
    g_object_unref(parser);
    return ok;
}

static gboolean check_size(struct fw_checkpoint *c, guint64 length, GError **error) {
    guint64 bytes = 0;

    c->data = 8 + length;
    for (guint i = 0; i < c->parts; i++) { /* the offsets are in order: no sum overflows */
        bytes += c->part[i].bytes;
        if (c->part[i].bytes % element_bytes(c->part[i].dtype))
            return fw_fail(error, FW_ERROR_FORMAT, "%s is not whole", c->part[i].name);
    }
    if (c->file.size - c->data != bytes)
        return fw_fail(error, FW_ERROR_FORMAT,
                       "holds %" G_GUINT64_FORMAT " bytes of data, its parts %" G_GUINT64_FORMAT,
                       c->file.size - c->data, bytes);
    return TRUE;
}

static gboolean check_sum(const struct fw_checkpoint *c, const char *wanted, GError **error) {
    GString *header = make_header(c->facts, c->part, c->parts, NO_SUM);
    GChecksum *sum = begin_sum(header);
    guchar *chunk = g_malloc(CHUNK_BYTES);
    gboolean ok = TRUE;

    for (guint64 at = c->data; ok && at < c->file.size; at += CHUNK_BYTES) {
        gsize bytes = (gsize)MIN((guint64)CHUNK_BYTES, c->file.size - at);
        ok = fw_file_read(&c->file, c->path, at, chunk, bytes, error);
        if (ok)
            g_checksum_update(sum, chunk, (gssize)bytes);
    }
    if (ok && strcmp(g_checksum_get_string(sum), wanted) != 0)
        ok = fw_fail(error, FW_ERROR_FORMAT, "the data does not have the checksum of its metadata");
    g_free(chunk);
    g_checksum_free(sum);
    g_string_free(header, TRUE);
    return ok;
}

static gboolean read_all(struct fw_checkpoint *c, GError **error) {
    char *text, *sum = NULL;
    guint64 length;
    gboolean ok;

    if (c->file.size < 8)
        return fw_fail(error, FW_ERROR_FORMAT, "too short for a checkpoint");
    if (!fw_file_read(&c->file, c->path, 0, &length, 8, error))
        return FALSE;
    length = GUINT64_FROM_LE(length);
    if (length < 2 || length > HEADER_MAX || length > c->file.size - 8)
        return fw_fail(error, FW_ERROR_FORMAT, "header of %" G_GUINT64_FORMAT " bytes", length);
    text = g_malloc(length);
    ok = read_header(c, text, length, &sum, error) && check_size(c, length, error) &&
         check_sum(c, sum, error);
    g_free(sum);
    g_free(text);
    return ok;
}

gboolean fw_checkpoint_open(struct fw_checkpoint *c, const char *path, GError **error) {
    GError *cause = NULL;

    *c = (struct fw_checkpoint){0};
    if (!fw_file_open(&c->file, path, error))
        return FALSE;
    c->path = g_filename_display_name(path);
    if (read_all(c, &cause))
        return TRUE;
    if (cause->code != FW_ERROR_READ) /* which names the path already */
        g_prefix_error(&cause, "%s: ", c->path);
    g_propagate_error(error, cause);
    fw_checkpoint_close(c);
    return FALSE;
}

void fw_checkpoint_close(struct fw_checkpoint *c) {
    fw_file_close(&c->file);
    g_clear_pointer(&c->path, g_free);
    g_clear_pointer(&c->facts, g_strfreev);
}

const char *fw_checkpoint_fact(const struct fw_checkpoint *c, const char *key) {
    const gsize n = strlen(key);
    for (int i = 0; c->facts[i]; i++)
        if (strncmp(c->facts[i], key, n) == 0 && c->facts[i][n] == '=')
            return c->facts[i] + n + 1;
    return NULL;
}

static gboolean load_part(const struct fw_checkpoint *c, guint64 at, const struct fw_part *part,
                          guint i, fw_part_move take, void *user, GError **error) {
    gpointer bytes = try_bytes(part->bytes, part->name, error);
    gboolean ok = bytes && fw_file_read(&c->file, c->path, at, bytes, part->bytes, error) &&
                  take(user, i, bytes, error);
    g_free(bytes);
    return ok;
}

gboolean fw_checkpoint_load(const struct fw_checkpoint *c, const struct fw_part *part, guint parts,
                            fw_part_move take, void *user, GError **error) {
    guint n = 0;
    guint64 at = c->data;

    for (guint i = 0; i < parts; i++) {
        if (part[i].bytes == 0)
            continue;
        if (n == c->parts || strcmp(part[i].name, c->part[n].name) != 0 ||
            strcmp(part[i].dtype, c->part[n].dtype) != 0 || part[i].bytes != c->part[n].bytes)
            return fw_fail(error, FW_ERROR_MISMATCH, "%s: %s is not of this network and run",
                           c->path, part[i].name);
        n++;
    }
    if (n != c->parts)
        return fw_fail(error, FW_ERROR_MISMATCH, "%s: %s is not of this network and run", c->path,
                       c->part[n].name);
    for (guint i = 0; i < parts; at += part[i].bytes, i++)
        if (part[i].bytes > 0 && !load_part(c, at, &part[i], i, take, user, error))
            return FALSE;
    return TRUE;
}
