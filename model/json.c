/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json.h"

#include <string.h>

#define DIGITS_MAX 18 /* fits gint64 whatever the digits are */

/* A pass over the text that knows tokens but no grammar. */
struct scan {
    const char *at, *end;
    guint depth, colons;
    const char *wrong; /* what is wrong, or NULL */
};

static gboolean hex4(const char *at, const char *end, guint *value) {
    *value = 0;
    for (int i = 0; i < 4; i++) {
        if (at + i >= end || !g_ascii_isxdigit(at[i]))
            return FALSE;
        *value = *value << 4 | (guint)g_ascii_xdigit_value(at[i]);
    }
    return TRUE;
}

/* After a backslash. */
static void scan_escape(struct scan *s) {
    guint code;
    if (s->at < s->end && strchr("\"\\/bfnrt", *s->at)) {
        s->at++;
    } else if (s->at < s->end && *s->at == 'u' && hex4(s->at + 1, s->end, &code)) {
        if (code == 0 || (code >= 0xd800 && code <= 0xdfff))
            s->wrong = "an escaped NUL or surrogate";
        s->at += 5;
    } else {
        s->wrong = "an unknown escape";
    }
}

/* After the opening quote. */
static void scan_string(struct scan *s) {
    while (s->at < s->end && !s->wrong) {
        guchar c = (guchar)*s->at++;
        if (c == '"')
            return;
        if (c < ' ')
            s->wrong = "a control character in a string";
        else if (c == '\\')
            scan_escape(s);
    }
    if (!s->wrong)
        s->wrong = "a string without an end";
}

/* After the first digit. */
static void scan_number(struct scan *s) {
    const char *first = s->at - 1;
    while (s->at < s->end && g_ascii_isdigit(*s->at))
        s->at++;
    if (s->at - first > DIGITS_MAX)
        s->wrong = "a number of more than 18 digits";
    else if (*first == '0' && s->at - first > 1)
        s->wrong = "a number with a leading zero";
}

static void scan_token(struct scan *s) {
    char c = *s->at++;
    switch (c) {
    case ' ':
    case '\t':
    case '\r':
    case '\n':
    case ',':
        break;
    case ':':
        s->colons++;
        break;
    case '{':
    case '[':
        if (++s->depth > FW_JSON_DEPTH)
            s->wrong = "too many levels of nesting";
        break;
    case '}':
    case ']':
        s->depth--;
        break;
    case '"':
        scan_string(s);
        break;
    default:
        if (g_ascii_isdigit(c))
            scan_number(s);
        else
            s->wrong = "something else than objects, arrays, strings and whole numbers";
    }
}

/* NULL, or what is wrong. */
static const char *scan_text(const char *text, gsize length, guint *colons) {
    struct scan s = {text, text + length, 0, 0, NULL};
    if (length == 0 || *text != '{')
        return "no object at the start";
    if (!g_utf8_validate(text, (gssize)length, NULL))
        return "bytes that are not UTF-8";
    do
        scan_token(&s);
    while (!s.wrong && s.depth > 0 && s.at < s.end);
    if (s.wrong)
        return s.wrong;
    if (s.depth > 0)
        return "an object without an end";
    for (; s.at < s.end; s.at++)
        if (!strchr(" \t\r\n", *s.at))
            return "more than one object";
    *colons = s.colons;
    return NULL;
}

/* Members of all objects under node; the depth is bounded by the scan. */
static guint count_members(JsonNode *node) {
    guint count = 0;
    if (JSON_NODE_HOLDS_OBJECT(node)) {
        JsonObjectIter iter;
        JsonNode *member;
        json_object_iter_init(&iter, json_node_get_object(node));
        while (json_object_iter_next(&iter, NULL, &member))
            count += 1 + count_members(member);
    } else if (JSON_NODE_HOLDS_ARRAY(node)) {
        JsonArray *array = json_node_get_array(node);
        for (guint i = 0; i < json_array_get_length(array); i++)
            count += count_members(json_array_get_element(array, i));
    }
    return count;
}

JsonParser *fw_json_parse(const char *text, gsize length, const char *what, GError **error) {
    JsonParser *parser = NULL;
    GError *cause = NULL;
    guint colons = 0;
    const char *wrong = scan_text(text, length, &colons);

    if (wrong) {
        fw_fail(error, FW_ERROR_FORMAT, "%s holds %s", what, wrong);
        return NULL;
    }
    parser = json_parser_new_immutable();
    if (!json_parser_load_from_data(parser, text, (gssize)length, &cause)) {
        char quoted[FW_QUOTE_MAX];
        fw_fail(error, FW_ERROR_FORMAT, "%s is not JSON: %s", what,
                fw_quote(quoted, cause->message));
        goto fail;
    }
    if (!json_parser_get_root(parser) || !JSON_NODE_HOLDS_OBJECT(json_parser_get_root(parser))) {
        fw_fail(error, FW_ERROR_FORMAT, "%s is not a JSON object", what);
        goto fail;
    }
    /* Each member has one colon; json-glib keeps only the last of two with the same key. */
    if (count_members(json_parser_get_root(parser)) != colons) {
        fw_fail(error, FW_ERROR_FORMAT, "%s holds a key twice", what);
        goto fail;
    }
    return parser;
fail:
    g_clear_error(&cause);
    g_object_unref(parser);
    return NULL;
}

static JsonNode *member_of(JsonObject *object, const char *key, GError **error) {
    JsonNode *node = json_object_get_member(object, key);
    if (!node)
        fw_fail(error, FW_ERROR_FORMAT, "\"%s\" is missing", key);
    return node;
}

static gboolean is_int(JsonNode *node) {
    return JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_INT64;
}

gboolean fw_json_int(JsonObject *object, const char *key, gint64 *value, GError **error) {
    JsonNode *node = member_of(object, key, error);
    if (!node)
        return FALSE;
    if (!is_int(node))
        return fw_fail(error, FW_ERROR_FORMAT, "\"%s\" is not a whole number", key);
    *value = json_node_get_int(node);
    return TRUE;
}

const char *fw_json_string(JsonObject *object, const char *key, GError **error) {
    JsonNode *node = member_of(object, key, error);
    if (!node)
        return NULL;
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING) {
        fw_fail(error, FW_ERROR_FORMAT, "\"%s\" is not a string", key);
        return NULL;
    }
    return json_node_get_string(node);
}

JsonObject *fw_json_object(JsonObject *object, const char *key, GError **error) {
    JsonNode *node = member_of(object, key, error);
    if (!node)
        return NULL;
    if (!JSON_NODE_HOLDS_OBJECT(node)) {
        fw_fail(error, FW_ERROR_FORMAT, "\"%s\" is not an object", key);
        return NULL;
    }
    return json_node_get_object(node);
}

gboolean fw_json_ints(JsonObject *object, const char *key, gint64 *value, guint max, guint *n,
                      GError **error) {
    JsonNode *node = member_of(object, key, error);
    if (!node)
        return FALSE;
    if (!JSON_NODE_HOLDS_ARRAY(node))
        return fw_fail(error, FW_ERROR_FORMAT, "\"%s\" is not an array", key);
    JsonArray *array = json_node_get_array(node);
    *n = json_array_get_length(array);
    if (*n > max)
        return fw_fail(error, FW_ERROR_FORMAT, "\"%s\" holds %u numbers, at most %u are allowed",
                       key, *n, max);
    for (guint i = 0; i < *n; i++) {
        JsonNode *item = json_array_get_element(array, i);
        if (!is_int(item))
            return fw_fail(error, FW_ERROR_FORMAT, "\"%s\" holds something else than whole numbers",
                           key);
        value[i] = json_node_get_int(item);
    }
    return TRUE;
}
