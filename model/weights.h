/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the parts of model/ share about weights. */
#ifndef FW_MODEL_WEIGHTS_H
#define FW_MODEL_WEIGHTS_H

#include "error.h"
#include "params.h"

#define FW_TASK_MAX 16
#define FW_ID_CHARS 16  /* of latent_id */
#define FW_SHA_CHARS 64 /* of sha256 */

struct fw_weights {
    gint refs; /* atomic */
    struct fw_params params;
    float *arena; /* params.bytes */
    char task[FW_TASK_MAX];
    char latent_id[FW_ID_CHARS + 1];
    gboolean has_scale, has_mask;
};

/* A weights object with a zeroed arena for a checked config; NULL and FW_ERROR_NO_SPACE. */
struct fw_weights *fw_weights_alloc(const struct fw_config *config, GError **error);
/* Fills latent_id from the values. */
void fw_weights_identify(struct fw_weights *weights);
/* The id that the values have once they are stored as F16. */
void fw_weights_half_id(const struct fw_weights *weights, char id[FW_ID_CHARS + 1]);
/* Whether the weights hold this tensor (optional ones may be missing) and files do. */
gboolean fw_weights_holds(const struct fw_weights *weights, const struct fw_param *param);
/* Element i in file order. */
float fw_weights_value(const struct fw_weights *weights, const struct fw_param *param, gint64 i);
/* NULL when task is one of the documented ones, else what they are. */
const char *fw_task_wrong(const char *task);

/* ---------------------------------------------------------------------------------------- file */

/* An opened file and what tells it from every other one. */
struct fw_file {
    int fd; /* -1: none */
    guint64 size;
    guint64 device, inode;
    gint64 changed; /* modification time, ns */
};

/* Opens a regular file for reading without ever blocking. */
gboolean fw_file_open(struct fw_file *file, const char *path, GError **error);
void fw_file_close(struct fw_file *file);
/* Reads exactly size bytes. */
gboolean fw_file_read(const struct fw_file *file, const char *path, guint64 offset, void *to,
                      gsize size, GError **error);

/* The file as weights; path is for messages. */
struct fw_weights *fw_safetensors_read(const struct fw_file *file, const char *path,
                                       GError **error);

#endif
