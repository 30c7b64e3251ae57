/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reservoir.h"

#include <string.h>

#include "kn_size.h"

void fw_reservoir_init(struct fw_reservoir *r, guint clip_length, guint carry, guint64 limit) {
    *r = (struct fw_reservoir){.clip_length = clip_length,
                               .chunk_frames = clip_length * MAX(2, carry),
                               .limit = limit,
                               .chunk = g_ptr_array_new()};
}

void fw_chunk_free(struct fw_chunk *chunk) {
    if (!chunk)
        return;
    g_free(chunk->rgb);
    g_free(chunk);
}

void fw_reservoir_clear(struct fw_reservoir *r) {
    for (guint i = 0; r->chunk && i < r->chunk->len; i++)
        fw_chunk_free(g_ptr_array_index(r->chunk, i));
    g_clear_pointer(&r->chunk, g_ptr_array_unref);
    g_clear_pointer(&r->open, fw_chunk_free);
}

/* ------------------------------------------------------------------------------- scene changes */

#define SAMPLES 64 /* at most twice as many in a row, and rows */

void fw_histogram_of(struct fw_histogram *h, const guint8 *rgb, gsize stride, int width,
                     int height) {
    const int dx = MAX(1, width / SAMPLES), dy = MAX(1, height / SAMPLES);

    *h = (struct fw_histogram){0};
    for (int y = dy / 2; y < height; y += dy)
        for (int x = dx / 2; x < width; x += dx, h->samples++)
            for (int c = 0; c < 3; c++) {
                guint8 value = rgb[(gsize)y * stride + 3 * (gsize)x + (gsize)c];
                h->count[c * FW_BINS + value * FW_BINS / 256]++;
            }
}

/* Half of what differs, of three colours. */
double fw_histogram_distance(const struct fw_histogram *a, const struct fw_histogram *b) {
    double sum = 0;

    for (int c = 0; c < 3; c++)
        for (int i = 0; i < FW_BINS; i++)
            sum += ABS((double)a->count[c * FW_BINS + i] / a->samples -
                       (double)b->count[c * FW_BINS + i] / b->samples);
    return sum / 6;
}

gboolean fw_reservoir_cuts(struct fw_reservoir *r, const guint8 *rgb, gsize stride, int width,
                           int height) {
    struct fw_histogram now;
    gboolean change;

    fw_histogram_of(&now, rgb, stride, width, height);
    change = r->last.samples > 0 && fw_histogram_distance(&now, &r->last) > FW_SCENE_CHANGE;
    r->last = now;
    return change || (r->open && (r->open->width != width || r->open->height != height));
}

/* -------------------------------------------------------------------------------------- chunks */

void fw_reservoir_drop(struct fw_reservoir *r, struct fw_chunk *chunk) {
    r->bytes -= chunk->bytes;
    fw_chunk_free(chunk);
}

/* What was allocated for frames that did not come. */
static void shrink(struct fw_reservoir *r, struct fw_chunk *chunk) {
    guint64 bytes = 3 * (guint64)chunk->width * (guint64)chunk->height * chunk->frames;
    guint8 *smaller = chunk->rgb && bytes < chunk->bytes ? g_try_realloc(chunk->rgb, bytes) : NULL;

    if (!smaller)
        return;
    chunk->rgb = smaller;
    r->bytes -= chunk->bytes - bytes;
    chunk->bytes = bytes;
}

struct fw_chunk *fw_reservoir_close(struct fw_reservoir *r) {
    struct fw_chunk *chunk = g_steal_pointer(&r->open);

    if (!chunk)
        return NULL;
    if (chunk->frames < r->clip_length) {
        fw_reservoir_drop(r, chunk);
        return NULL;
    }
    shrink(r, chunk);
    return chunk;
}

static void evict_first(struct fw_reservoir *r) {
    fw_reservoir_drop(r, g_ptr_array_steal_index(r->chunk, 0));
}

static gboolean make_room(struct fw_reservoir *r, guint64 bytes, int width, int height,
                          GError **error) {
    if (bytes > r->limit / 2)
        return fw_fail(error, FW_ERROR_NO_SPACE,
                       "two pieces of %u frames of %dx%d take %" G_GUINT64_FORMAT
                       " bytes, the reservoir has %" G_GUINT64_FORMAT,
                       r->chunk_frames, width, height, 2 * bytes, r->limit);
    while (r->bytes > r->limit - bytes && r->chunk->len > 0) {
        evict_first(r);
        r->evicted = TRUE;
    }
    return TRUE;
}

static gboolean begin(struct fw_reservoir *r, int width, int height, gboolean store,
                      GError **error) {
    struct fw_chunk *chunk;
    uint64_t bytes = 3;

    if (!kn_size_mul(bytes, (uint64_t)width, &bytes) ||
        !kn_size_mul(bytes, (uint64_t)height, &bytes) ||
        !kn_size_mul(bytes, r->chunk_frames, &bytes))
        return fw_fail(error, FW_ERROR_ARGUMENT, "frames of %dx%d are too large", width, height);
    if (store && !make_room(r, bytes, width, height, error))
        return FALSE;
    chunk = g_new0(struct fw_chunk, 1);
    chunk->width = width;
    chunk->height = height;
    if (store && !(chunk->rgb = g_try_malloc(bytes))) {
        g_free(chunk);
        return fw_fail(error, FW_ERROR_NO_SPACE,
                       "no memory for %u frames of %dx%d: %" G_GUINT64_FORMAT " bytes wanted",
                       r->chunk_frames, width, height, (guint64)bytes);
    }
    chunk->bytes = store ? bytes : 0;
    r->bytes += chunk->bytes;
    r->open = chunk;
    return TRUE;
}

gboolean fw_reservoir_append(struct fw_reservoir *r, const guint8 *rgb, gsize stride, int width,
                             int height, gboolean store, GError **error) {
    const gsize line = 3 * (gsize)width;

    if (!r->open && !begin(r, width, height, store, error))
        return FALSE;
    if (r->open->rgb) {
        guint8 *to = r->open->rgb + line * (gsize)height * r->open->frames;
        for (int y = 0; y < height; y++)
            memcpy(to + (gsize)y * line, rgb + (gsize)y * stride, line);
    }
    r->open->frames++;
    return TRUE;
}

gboolean fw_reservoir_full_chunk(const struct fw_reservoir *r) {
    return r->open && r->open->frames == r->chunk_frames;
}

void fw_reservoir_add(struct fw_reservoir *r, struct fw_chunk *chunk) {
    g_ptr_array_add(r->chunk, chunk);
}

void fw_reservoir_forget(struct fw_reservoir *r, guint64 order) {
    while (r->chunk->len > 0 && fw_reservoir_oldest(r) < order)
        evict_first(r);
}

guint64 fw_reservoir_oldest(const struct fw_reservoir *r) {
    return r->chunk->len > 0 ? ((struct fw_chunk *)g_ptr_array_index(r->chunk, 0))->order : 0;
}
