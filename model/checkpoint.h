/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Checkpoint files: facts and arrays. They are safetensors files whose metadata holds each fact as
 * a string, and "sha256" over the whole file with zeros in place of the sum. A file is a pure
 * function of what is in it, so that reading accepts nothing but what writing makes, byte for byte.
 */
#ifndef FW_MODEL_CHECKPOINT_H
#define FW_MODEL_CHECKPOINT_H

#include "output.h"
#include "weights.h"

#define FW_CHECKPOINT_PARTS 8
#define FW_CHECKPOINT_FACTS 96

/* An array; dtype is "F32", "BF16" or "U8". Parts of 0 bytes are left out. */
struct fw_part {
    char name[16], dtype[8];
    guint64 bytes;
};

/* Fetches part i for writing, or takes it after reading. */
typedef gboolean (*fw_part_move)(void *user, guint i, void *bytes, GError **error);

/* facts: "key=value", NULL-terminated. Replaces path as a whole or not at all. */
gboolean fw_checkpoint_write(const char *path, char *const *facts, const struct fw_part *part,
                             guint parts, fw_part_move fetch, void *user, GError **error);

/* An opened file that was found whole. */
struct fw_checkpoint {
    struct fw_file file;
    char *path;   /* for messages */
    char **facts; /* as they were written */
    struct fw_part part[FW_CHECKPOINT_PARTS];
    guint parts;
    guint64 data; /* where it starts */
};

/* Structure and checksum; nothing sized by the file is allocated. */
gboolean fw_checkpoint_open(struct fw_checkpoint *c, const char *path, GError **error);
void fw_checkpoint_close(struct fw_checkpoint *c);
/* The value of a fact, or NULL. */
const char *fw_checkpoint_fact(const struct fw_checkpoint *c, const char *key);
/* Every part, which must be those given, to take. */
gboolean fw_checkpoint_load(const struct fw_checkpoint *c, const struct fw_part *part, guint parts,
                            fw_part_move take, void *user, GError **error);

/* ------------------------------------------------------------------------------------- folders */

/* folder/step-00001234.safetensors. g_free(). */
char *fw_checkpoint_path(const char *folder, guint64 step);
/* Opens the newest whole file of a folder; *found FALSE, and TRUE returned, when it has none. */
gboolean fw_checkpoint_newest(struct fw_checkpoint *c, const char *folder, gboolean *found,
                              GError **error);
/*
 * Removes checkpoints older than step but for the newest of them, so that keep stay with step's
 * (0: all), and what interrupted writing left behind.
 */
void fw_checkpoint_prune(const char *folder, guint64 step, guint keep);

#endif
