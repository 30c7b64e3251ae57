/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The state of Fenwick attention on this device, per unit (one head of one sequence).
 *
 * After n tokens of a stream:
 *   - the open block holds the last n mod R tokens as they are (normalised k, v and log decays),
 *     R = 1 << raw_bits: reading few tokens is cheaper than reading matrices of dim x dim;
 *   - bit j >= raw_bits of n has a matrix sum exp(decay to its last token) k v^T over its bucket.
 *     Bits from top_bit on share the last matrix, as they share the last level.
 * A matrix is written when its bucket is complete and then only read until it is merged: the decay
 * since its last token is the sum of the log decays of the newer buckets (spans, summed up to
 * "age" when a block is closed) and of the open block (total). These are sums of numbers <= 0,
 * never differences of long sums.
 *
 * Layout: records of all units, open blocks of all units, then matrix by matrix those of all
 * units, so that a step never touches memory of buckets that are empty.
 */
#ifndef KN_CPU_FENWICK_STATE_H
#define KN_CPU_FENWICK_STATE_H

#include "attention.h"

#define KN_RAW_MAX 64
#define KN_SLOTS 16 /* places for matrices; the last one stays free: bits 4 .. KN_MAX_LEVELS - 2 */

struct fenwick_layout {
    int dim, pitch, levels;
    int raw_bits, top_bit;
    int matrices;         /* one for each bit raw_bits .. top_bit */
    int64_t units;        /* of one stream */
    size_t record, block; /* floats per unit */
    size_t matrix;
    uint8_t level[KN_RAW_MAX]; /* of tokens in the open block, by the xor of their positions */
};

/* One unit's part of a state. */
struct fenwick_state {
    float *record, *block, *matrix;
    size_t stride; /* floats from one matrix of the unit to the next */
};

/*
 * A record, all of them log decays: since each token of the open block; from the last token of
 * each matrix to the open block (KN_SLOTS - 1 ages); over the open block (total); over each
 * matrix's bucket (spans, only looked at when a block is closed).
 */
KN_INLINE float *record_age(float *record, int raw) {
    return record + raw;
}

KN_INLINE float *record_total(float *record, int raw) {
    return record + raw + KN_SLOTS - 1;
}

KN_INLINE float *record_span(float *record, int raw) {
    return record + raw + KN_SLOTS;
}

/* Half of dim tokens cost as much to read as one matrix; few more spare carries. */
KN_INLINE int fenwick_raw_bits(int dim) {
    return dim <= 32 ? 4 : dim <= 64 ? 5 : 6;
}

static inline struct fenwick_layout fenwick_layout(const struct kn_fenwick_args *a) {
    struct fenwick_layout l = {.dim = (int)a->v.dim[3], .levels = (int)a->levels};
    l.pitch = (l.dim + KN_PAD - 1) / KN_PAD * KN_PAD;
    l.raw_bits = fenwick_raw_bits(l.dim);
    l.top_bit = l.levels - 2 > l.raw_bits ? l.levels - 2 : l.raw_bits;
    l.matrices = l.top_bit - l.raw_bits + 1;
    l.units = a->v.dim[0] / a->control.dim[0] * a->v.dim[2];
    int raw = 1 << l.raw_bits;
    l.record = (size_t)(raw + 2 * KN_SLOTS);
    l.block = (size_t)raw * 2 * (size_t)l.pitch;
    l.matrix = (size_t)l.dim * (size_t)l.pitch;
    for (int x = 0; x < raw; x++)
        l.level[x] = (uint8_t)kn_fenwick_level((uint64_t)x, 0, l.levels);
    return l;
}

/* Floats of all that one unit keeps. */
static inline size_t fenwick_unit_floats(const struct fenwick_layout *l) {
    return l->record + l->block + (size_t)l->matrices * l->matrix;
}

static inline bool fenwick_state_bytes(const void *args, uint64_t *bytes) {
    struct fenwick_layout l = fenwick_layout(args);
    return kn_size_mul(fenwick_unit_floats(&l) * sizeof(float), (uint64_t)l.units, bytes);
}

/* The part of unit i in a state of so many units. */
static inline struct fenwick_state fenwick_state(const struct fenwick_layout *l, float *base,
                                                 int64_t units, int64_t i) {
    size_t n = (size_t)units, u = (size_t)i;
    float *block = base + n * l->record, *matrix = block + n * l->block;
    return (struct fenwick_state){base + u * l->record, block + u * l->block,
                                  matrix + u * l->matrix, n * l->matrix};
}

/* lambda of every level from its logits; returns the token's log decay. */
static KN_NOINLINE float fenwick_scales(const float *level, int levels, float gate, float *lambda) {
    float x[32];
    const int padded = levels < 16 ? 16 : 32;
    for (int i = levels; i < padded; i++)
        x[i] = -gate;
    for (int i = 0; i < levels; i++)
        x[i] = level[i];
    for (int c = 0; c < padded; c += 16)
#pragma omp simd
        for (int i = 0; i < 16; i++)
            lambda[c + i] = kn_softplus(x[c + i]);
    return -lambda[levels];
}

/* The matrices that hold something after n tokens, newest first. */
struct fenwick_live {
    int count;
    uint8_t slot[KN_MAX_LEVELS];
    uint8_t level[KN_MAX_LEVELS];
};

static inline struct fenwick_live fenwick_live(const struct fenwick_layout *l, uint64_t n) {
    struct fenwick_live live = {0};
    for (int j = l->raw_bits; j <= l->top_bit; j++)
        if (j < l->top_bit ? n >> j & 1 : n >> j != 0) {
            live.slot[live.count] = (uint8_t)(j - l->raw_bits);
            live.level[live.count++] = (uint8_t)(j + 1 < l->levels ? j + 1 : l->levels - 1);
        }
    return live;
}

#endif
