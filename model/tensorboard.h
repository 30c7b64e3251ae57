/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * TensorBoard's event files. A record is: length (u64), its checksum, bytes, their checksum; all
 * little-endian. Bytes are an Event in the encoding of protocol buffers, of which three fields are
 * used: wall time (1, double), step (2, varint), and file version (3, string, first record) or a
 * summary (5) of values (1) with a tag (1) and a number (2, float).
 */
#ifndef FW_MODEL_TENSORBOARD_H
#define FW_MODEL_TENSORBOARD_H

#include "error.h"

struct fw_tensorboard;

struct fw_scalar {
    const char *tag;
    double value; /* NAN: left out */
};

/* A new file in the folder, which is made if need be. */
struct fw_tensorboard *fw_tensorboard_new(const char *folder, GError **error);
gboolean fw_tensorboard_write(struct fw_tensorboard *board, guint64 step,
                              const struct fw_scalar *scalar, guint n, GError **error);
void fw_tensorboard_free(struct fw_tensorboard *board); /* NULL is fine */

/* CRC-32C, rotated and shifted as records have it. */
guint32 fw_tensorboard_checksum(const void *bytes, gsize size);

#endif
