/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"

GQuark fw_error_quark(void) {
    return g_quark_from_static_string("fw-error-quark");
}

gboolean fw_fail(GError **error, enum fw_error code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (error)
        *error = g_error_new_valist(FW_ERROR, (gint)code, format, args);
    va_end(args);
    return FALSE;
}

static enum fw_error code_of(enum kn_status status) {
    switch (status) {
    case KN_ERR_ARG:
    case KN_ERR_RANGE:
        return FW_ERROR_ARGUMENT;
    case KN_ERR_NOMEM:
        return FW_ERROR_NO_SPACE;
    case KN_ERR_NO_DEVICE:
        return FW_ERROR_NO_DEVICE;
    case KN_ERR_LIBRARY:
        return FW_ERROR_LIBRARY;
    case KN_ERR_UNSUPPORTED:
        return FW_ERROR_UNSUPPORTED;
    case KN_ERR_CANCELLED:
        return FW_ERROR_CANCELLED;
    default:
        return FW_ERROR_FAILED;
    }
}

gboolean fw_fail_kn(GError **error, const char *what, const struct kn_err *err) {
    return fw_fail(error, code_of(err->code), "%s: %s", what,
                   err->msg[0] ? err->msg : kn_status_name(err->code));
}

const char *fw_quote(char out[FW_QUOTE_MAX], const char *text) {
    gsize n = 0;
    for (; *text && n < 64; text++) {
        gboolean plain = *text >= ' ' && *text <= '~' && *text != '\\';
        if (plain)
            out[n++] = *text;
        else
            n += (gsize)g_snprintf(out + n, FW_QUOTE_MAX - n, "\\x%02x", (guchar)*text);
    }
    g_strlcpy(out + n, *text ? "..." : "", FW_QUOTE_MAX - n);
    return out;
}
