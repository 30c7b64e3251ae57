/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * JSON from outside. json-glib parses; before it sees a byte the text is checked for what json-glib
 * would let through or recurse into: comments, several documents, deep nesting, numbers that do not
 * fit, octal, surrogate halves, control characters, text that is not UTF-8. After it duplicate keys
 * are refused, which json-glib drops silently. Our files hold objects, arrays, strings and whole
 * numbers only.
 */
#ifndef FW_MODEL_JSON_H
#define FW_MODEL_JSON_H

#include <json-glib/json-glib.h>

#include "error.h"

#define FW_JSON_DEPTH 8

/* A parser whose root is an object, or NULL and FW_ERROR_FORMAT; what names the text in messages.
 */
JsonParser *fw_json_parse(const char *text, gsize length, const char *what, GError **error);

/* A member that must be there and of that kind, else FW_ERROR_FORMAT. The strings are the
 * object's. */
gboolean fw_json_int(JsonObject *object, const char *key, gint64 *value, GError **error);
const char *fw_json_string(JsonObject *object, const char *key, GError **error);
JsonObject *fw_json_object(JsonObject *object, const char *key, GError **error);
/* A member that must be an array of n whole numbers. */
gboolean fw_json_ints(JsonObject *object, const char *key, gint64 *value, guint max, guint *n,
                      GError **error);

#endif
