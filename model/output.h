/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Files that are whole or not there: everything goes to a file beside the path, which takes the
 * name once it is on the disk. After a crash the path holds the old file or the new one.
 */
#ifndef FW_MODEL_OUTPUT_H
#define FW_MODEL_OUTPUT_H

#include "error.h"

struct fw_output {
    char *path, *beside;
    int fd;
};

/* On failure there is nothing to end. */
gboolean fw_output_begin(struct fw_output *out, const char *path, GError **error);
gboolean fw_output_write(struct fw_output *out, const void *bytes, gsize size, GError **error);
/* Over bytes at the start that were written before. */
gboolean fw_output_rewrite(struct fw_output *out, const void *bytes, gsize size, GError **error);
/*
 * good: puts the file in its place and on the disk. Else, or when that fails, removes what was
 * written. FALSE when the file is not in its place; with good error says why.
 */
gboolean fw_output_end(struct fw_output *out, gboolean good, GError **error);

/* errno of a failed write as an error; returns FALSE. */
gboolean fw_fail_write(GError **error, const char *path, const char *what);
/* All bytes to a descriptor; path is for messages. */
gboolean fw_write_all(int fd, const char *path, const void *bytes, gsize size, GError **error);

#endif
