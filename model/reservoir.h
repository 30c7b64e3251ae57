/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames in ordinary memory: those that follow each other are a chunk, some clips long, and chunks
 * are kept, the oldest leaving first, within a limit that holds for all of them together.
 */
#ifndef FW_MODEL_RESERVOIR_H
#define FW_MODEL_RESERVOIR_H

#include "error.h"

struct fw_chunk {
    guint64 order; /* set by who adds it */
    int width, height;
    guint frames;
    guint64 bytes; /* of the memory at rgb */
    guint8 *rgb;   /* packed; NULL: frames are counted only */
};

/*
 * A scene change: how pixels are spread over FW_BINS brightnesses of red, green and blue moves by
 * more than this share of them from one frame to the next. Frames of one shot differ by up to 0.08
 * in hand-held and surveillance video, those of different places by more than 0.17. A cut between
 * two views of the same room may be missed: then a clip holds it.
 */
#define FW_SCENE_CHANGE 0.15
#define FW_BINS 16

struct fw_histogram {
    guint32 count[3 * FW_BINS], samples;
};

struct fw_reservoir {
    guint clip_length, chunk_frames;
    guint64 limit, bytes;     /* of frames, the chunk under way included */
    GPtrArray *chunk;         /* oldest first */
    struct fw_chunk *open;    /* under way, or NULL */
    struct fw_histogram last; /* of the frame before; samples 0: none */
    gboolean evicted;         /* a chunk had to leave once */
};

/* carry: clips in a row that continue each other. */
void fw_reservoir_init(struct fw_reservoir *r, guint clip_length, guint carry, guint64 limit);
void fw_reservoir_clear(struct fw_reservoir *r);
void fw_chunk_free(struct fw_chunk *chunk); /* NULL is fine */

/* Whether the frame does not follow the one under way. Remembers its colours. */
gboolean fw_reservoir_cuts(struct fw_reservoir *r, const guint8 *rgb, gsize stride, int width,
                           int height);
/*
 * Ends the chunk under way: now the caller's if it has clip_length frames, else NULL. Its memory
 * counts until it is added or dropped.
 */
struct fw_chunk *fw_reservoir_close(struct fw_reservoir *r);
/* store counts where the frame begins a chunk. Two chunks of its size must fit in the limit. */
gboolean fw_reservoir_append(struct fw_reservoir *r, const guint8 *rgb, gsize stride, int width,
                             int height, gboolean store, GError **error);
gboolean fw_reservoir_full_chunk(const struct fw_reservoir *r);
/* A closed chunk: kept as the newest, or freed. */
void fw_reservoir_add(struct fw_reservoir *r, struct fw_chunk *chunk);
void fw_reservoir_drop(struct fw_reservoir *r, struct fw_chunk *chunk);
/* Chunks of an order below leave. */
void fw_reservoir_forget(struct fw_reservoir *r, guint64 order);
guint64 fw_reservoir_oldest(const struct fw_reservoir *r);

/* Share of the pixels, 0 to 1. */
double fw_histogram_distance(const struct fw_histogram *a, const struct fw_histogram *b);
void fw_histogram_of(struct fw_histogram *h, const guint8 *rgb, gsize stride, int width,
                     int height);

#endif
