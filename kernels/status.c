/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Status values and the one way in which a failure is written down. */
#include "kn_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *kn_status_name(enum kn_status status) {
    switch (status) {
    case KN_OK:
        return "ok";
    case KN_ERR_ARG:
        return "bad argument";
    case KN_ERR_RANGE:
        return "out of range";
    case KN_ERR_NOMEM:
        return "no memory";
    case KN_ERR_NO_DEVICE:
        return "no device";
    case KN_ERR_LIBRARY:
        return "library missing";
    case KN_ERR_UNSUPPORTED:
        return "unsupported";
    case KN_ERR_LOST:
        return "device lost";
    case KN_ERR_FAILED:
        return "failed";
    case KN_ERR_CANCELLED:
        return "cancelled";
    }
    return "unknown status";
}

enum kn_status kn_fail(struct kn_err *err, enum kn_status code, const char *format, ...) {
    va_list args;

    if (err == NULL)
        return code;
    *err = (struct kn_err){.code = code};
    va_start(args, format);
    vsnprintf(err->msg, sizeof err->msg, format, args);
    va_end(args);
    return code;
}

enum kn_status kn_fail_memory(struct kn_err *err, uint64_t wanted, uint64_t available,
                              const char *what) {
    if (available != 0)
        kn_fail(err, KN_ERR_NOMEM, "%s: %" PRIu64 " bytes wanted, %" PRIu64 " available", what,
                wanted, available);
    else
        kn_fail(err, KN_ERR_NOMEM, "%s: %" PRIu64 " bytes wanted", what, wanted);
    if (err != NULL) {
        err->wanted_bytes = wanted;
        err->available_bytes = available;
    }
    return KN_ERR_NOMEM;
}

enum kn_status kn_fail_nomem(struct kn_err *err, uint64_t wanted_bytes, const char *what) {
    return kn_fail_memory(err, wanted_bytes, kn_host_available(), what);
}

enum kn_status kn_fail_in(struct kn_err *err, enum kn_status code, const char *label) {
    const size_t length = strlen(label);
    char msg[sizeof err->msg];

    if (err == NULL)
        return code;
    err->code = code;
    if (strncmp(err->msg, label, length) == 0 && err->msg[length] == ':')
        return code;
    snprintf(msg, sizeof msg, "%s: %.*s", label, (int)(sizeof msg - sizeof ": " - length),
             err->msg[0] != 0 ? err->msg : kn_status_name(code));
    memcpy(err->msg, msg, sizeof msg);
    return code;
}
