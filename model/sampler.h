/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Batches out of a reservoir. What step k sees depends on the seed, on k and on what the reservoir
 * holds, on nothing else.
 */
#ifndef FW_MODEL_SAMPLER_H
#define FW_MODEL_SAMPLER_H

#include "learner.h"
#include "reservoir.h"

struct fw_sampler {
    const struct fw_trainer_params *params;
    guint8 *clean, *input; /* input: predict only */
    struct kn_sample *noise, *rounding;
    float *missing;
    const struct fw_chunk **taken; /* by the clips of the batch so far */
    guint64 bytes;
};

/* Where one clip, or a row of clips that continue each other, is cut out. */
struct fw_draw {
    const struct fw_chunk *chunk;
    guint start, stride; /* frames */
    int left, top;       /* pixels */
    gboolean mirror, flip, transpose;
};

/* params must outlive the sampler. */
gboolean fw_sampler_init(struct fw_sampler *s, const struct fw_trainer_params *params,
                         GError **error);
void fw_sampler_clear(struct fw_sampler *s);

/* Clip `clip` of batch `index` of step k. The reservoir must hold a chunk. */
void fw_sampler_draw(struct fw_sampler *s, const struct fw_reservoir *r, guint64 k, guint index,
                     guint clip, struct fw_draw *draw);
/* The whole batch; valid until the next call. */
void fw_sampler_fill(struct fw_sampler *s, const struct fw_reservoir *r, guint64 k, guint index,
                     struct fw_batch *batch);

/* The middle of a chunk's first clip_length frames, for validation: clip_length squares. */
gsize fw_sampler_clip_bytes(const struct fw_trainer_params *params);
void fw_sampler_cut(const struct fw_trainer_params *params, const struct fw_chunk *chunk,
                    guint8 *to);
/*
 * The batch of kept clips from `first` on, with noise that is the same every time; the last one
 * fills what is left.
 */
void fw_sampler_validation(struct fw_sampler *s, const GPtrArray *clips, guint first,
                           struct fw_batch *batch);

#endif
