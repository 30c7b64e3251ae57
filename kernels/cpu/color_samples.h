/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Rows of samples as raw video has them, to and from planar arrays. The loops over the usual
 * layouts have constant steps, which is what the compiler needs to vectorise them.
 */
#ifndef KN_COLOR_SAMPLES_H
#define KN_COLOR_SAMPLES_H

#include <string.h>

#include "kn_internal.h"

/* Pixels that are worked on at once; a multiple of every chroma block. */
#define STRIP 320

static inline uint16_t load16(const uint8_t *p) {
    uint16_t w;
    memcpy(&w, p, sizeof w);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap16(w);
#endif
    return w;
}

static inline void store16(uint8_t *p, uint16_t w) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    w = __builtin_bswap16(w);
#endif
    memcpy(p, &w, sizeof w);
}

/* ---------------------------------------------------------------------------------------- read */

#define FOR_SAMPLES(statement) _Pragma("omp simd") for (int64_t i = 0; i < count; i++) statement

static inline void read8(float *restrict to, const uint8_t *restrict p, int64_t step,
                         int64_t count) {
    switch (step) {
    case 1:
        FOR_SAMPLES(to[i] = (float)p[i];)
        break;
    case 2:
        FOR_SAMPLES(to[i] = (float)p[2 * i];)
        break;
    case 3:
        FOR_SAMPLES(to[i] = (float)p[3 * i];)
        break;
    case 4:
        FOR_SAMPLES(to[i] = (float)p[4 * i];)
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            to[i] = (float)p[step * i];
    }
}

static inline void read16(float *restrict to, const uint8_t *restrict p, int64_t step, int shift,
                          int64_t count) {
    switch (step) {
    case 2:
        FOR_SAMPLES(to[i] = (float)(load16(p + 2 * i) >> shift);)
        break;
    case 4:
        FOR_SAMPLES(to[i] = (float)(load16(p + 4 * i) >> shift);)
        break;
    default:
        for (int64_t i = 0; i < count; i++)
            to[i] = (float)(load16(p + step * i) >> shift);
    }
}

/* Every sample 2^sub times; count is of results and may be rounded up to a block. */
static inline void spread(float *restrict to, const float *restrict from, int sub, int64_t count) {
    if (sub == 1) {
#pragma omp simd
        for (int64_t i = 0; i < (count + 1) / 2; i++)
            to[2 * i] = to[2 * i + 1] = from[i];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < (count + 3) / 4; i++)
            to[4 * i] = to[4 * i + 1] = to[4 * i + 2] = to[4 * i + 3] = from[i];
    }
}

/*
 * Component c of count <= STRIP pixels as code values, from sample `first` of the row on; each
 * sample stands for 2^sub pixels.
 */
static inline void read_samples(float *to, const uint8_t *row, const struct kn_video *video, int c,
                                int64_t first, int64_t count, int sub) {
    const struct kn_component *comp = &video->component[c];
    const uint8_t *p = row + comp->offset_bytes + first * comp->step_bytes;
    int64_t samples = (count + (1 << sub) - 1) >> sub;
    _Alignas(64) float few[STRIP];
    float *codes = sub ? few : to;

    if (video->sample_bytes == 1) /* of 8 bits, so shift is 0 */
        read8(codes, p, comp->step_bytes, samples);
    else
        read16(codes, p, comp->step_bytes, comp->shift, samples);
    if (sub)
        spread(to, few, sub, count);
}

/* --------------------------------------------------------------------------------------- write */

static inline void write8(uint8_t *restrict p, const uint16_t *restrict from, int64_t step,
                          int64_t count) {
    if (step == 1) {
        FOR_SAMPLES(p[i] = (uint8_t)from[i];)
    } else {
        for (int64_t i = 0; i < count; i++)
            p[step * i] = (uint8_t)from[i];
    }
}

static inline void write16(uint8_t *restrict p, const uint16_t *restrict from, int64_t step,
                           int shift, int64_t count) {
    if (step == 2) {
        FOR_SAMPLES(store16(p + 2 * i, (uint16_t)(from[i] << shift));)
    } else {
        for (int64_t i = 0; i < count; i++)
            store16(p + step * i, (uint16_t)(from[i] << shift));
    }
}

/* Component c of count samples, from sample `first` of the row on. */
static inline void write_samples(uint8_t *row, const struct kn_video *video, int c,
                                 const uint16_t *from, int64_t first, int64_t count) {
    const struct kn_component *comp = &video->component[c];
    uint8_t *p = row + comp->offset_bytes + first * comp->step_bytes;

    if (video->sample_bytes == 1)
        write8(p, from, comp->step_bytes, count);
    else
        write16(p, from, comp->step_bytes, comp->shift, count);
}

/* The alpha of another row, or opaque where that is NULL. */
static inline void write_alpha(uint8_t *row, const uint8_t *other, const struct kn_video *video,
                               int64_t first, int64_t count) {
    const struct kn_component *comp = &video->component[3];
    int64_t at = comp->offset_bytes + first * comp->step_bytes;
    uint16_t opaque = (uint16_t)((1u << video->depth) - 1);

    for (int64_t i = 0; i < count; i++, at += comp->step_bytes) {
        if (video->sample_bytes == 1)
            row[at] = other ? other[at] : (uint8_t)opaque;
        else
            store16(row + at, other ? load16(other + at) : (uint16_t)(opaque << comp->shift));
    }
}

/* Three (or with alpha four) bytes per pixel in one plane: RGB, BGRA, BGRx ... */
static inline bool is_packed(const struct kn_video *video) {
    const struct kn_component *comp = video->component;
    int step = comp[0].step_bytes, n = video->alpha ? 4 : 3;

    if (video->components != 3 || video->sub_x || video->sub_y || video->sample_bytes != 1 ||
        (step != 3 && step != 4) || n > step)
        return false;
    for (int c = 0; c < n; c++)
        if (comp[c].plane != comp[0].plane || comp[c].step_bytes != step ||
            comp[c].offset_bytes >= step)
            return false;
    return true;
}

static inline void write_packed3(uint8_t *restrict p, const uint16_t *restrict x,
                                 const uint16_t *restrict y, const uint16_t *restrict z,
                                 int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        p[3 * i] = (uint8_t)x[i];
        p[3 * i + 1] = (uint8_t)y[i];
        p[3 * i + 2] = (uint8_t)z[i];
    }
}

/* Bit offset of a byte in a word of memory. */
static inline int byte_shift(int byte) {
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    return 24 - 8 * byte;
#else
    return 8 * byte;
#endif
}

/* other may be p itself: what is kept of it is then written back. */
static inline void write_packed4(uint8_t *p, const uint8_t *other, uint32_t keep, uint32_t set,
                                 uint16_t (*from)[STRIP], const int shift[3], int64_t count) {
    const uint16_t *x = from[0], *y = from[1], *z = from[2];
    int a = shift[0], b = shift[1], c = shift[2];

#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        uint32_t w;
        memcpy(&w, other + 4 * i, sizeof w);
        w = (w & keep) | set | (uint32_t)x[i] << a | (uint32_t)y[i] << b | (uint32_t)z[i] << c;
        memcpy(p + 4 * i, &w, sizeof w);
    }
}

/* A row of a packed layout; other is the row that alpha is copied from, or NULL. */
static inline void write_packed(uint8_t *row, const uint8_t *other, const struct kn_video *video,
                                uint16_t (*from)[STRIP], int64_t first, int64_t count) {
    const struct kn_component *comp = video->component;
    int64_t at = first * comp[0].step_bytes;
    const uint16_t *order[4];
    int shift[3];
    uint32_t colours = 0, fourth;

    for (int c = 0; c < 3; c++) {
        order[comp[c].offset_bytes] = from[c];
        shift[c] = byte_shift(comp[c].offset_bytes);
        colours |= 255u << shift[c];
    }
    if (comp[0].step_bytes == 3) {
        write_packed3(row + at, order[0], order[1], order[2], count);
        return;
    }
    fourth = ~colours; /* alpha, or a byte that nobody reads and we leave alone */
    if (video->alpha && !other)
        write_packed4(row + at, row + at, 0, fourth, from, shift, count);
    else
        write_packed4(row + at, (video->alpha ? other : row) + at, fourth, 0, from, shift, count);
}

/* Chroma as byte pairs in one plane: NV12, NV21. */
static inline bool is_paired(const struct kn_video *video) {
    const struct kn_component *u = &video->component[1], *v = &video->component[2];
    return video->sample_bytes == 1 && u->plane == v->plane &&
           u->plane != video->component[0].plane && u->step_bytes == 2 && v->step_bytes == 2 &&
           u->offset_bytes + v->offset_bytes == 1;
}

static inline void write_pairs(uint8_t *row, const struct kn_video *video, uint16_t (*from)[STRIP],
                               int64_t first, int64_t count) {
    int swapped = video->component[1].offset_bytes;
    const uint16_t *restrict x = from[swapped], *restrict y = from[1 - swapped];
    uint8_t *restrict p = row + 2 * first;

#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        p[2 * i] = (uint8_t)x[i];
        p[2 * i + 1] = (uint8_t)y[i];
    }
}

#undef FOR_SAMPLES
#endif
