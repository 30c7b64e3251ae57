/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How the functions of model/ fail. */
#ifndef FW_MODEL_ERROR_H
#define FW_MODEL_ERROR_H

#include "fw.h"

/* Sets *error and returns FALSE, so that "return fw_fail(...)" is the whole error path. */
gboolean fw_fail(GError **error, enum fw_error code, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* The same for a failure of kernels/: the code that belongs to err->code, and its message after
 * what. */
gboolean fw_fail_kn(GError **error, const char *what, const struct kn_err *err);

/* A string that came from a file, fit for a one-line message: control and non-ASCII bytes escaped,
 * cut at 64. */
#define FW_QUOTE_MAX 96
const char *fw_quote(char out[FW_QUOTE_MAX], const char *text);

#endif
