/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What norms over rows share, forward and backward: statistics of a row, and sums over rows that do
 * not depend on the number of threads.
 */
#ifndef KN_NORM_H
#define KN_NORM_H

#include "cpu.h"
#include "floats.h"

static inline float kn_mean(const float *x, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (float)n;
}

static inline float kn_variance(const float *x, float mean, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (x[i] - mean) * (x[i] - mean);
    return sum / (float)n;
}

static inline float kn_square_sum_of(const float *x, int64_t n) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

/*
 * Gradients of the parameters of a norm: M rows are cut into chunks of KN_CHUNK, each of which one
 * thread sums into a row of its own in scratch; then these rows are added in order. Scratch holds
 * `sums` such rows per chunk and, behind them, `rows` rows of values per thread.
 */
#define KN_CHUNK 64

struct kn_chunks {
    int64_t M, D, count;
    int sums, rows;
    float *scratch;
};

static inline struct kn_chunks kn_chunks(const struct kn_tensor *x, int sums, int rows,
                                         void *scratch) {
    int64_t count = (x->dim[0] + KN_CHUNK - 1) / KN_CHUNK;
    return (struct kn_chunks){x->dim[0], x->dim[1], count, sums, rows, scratch};
}

static inline uint64_t kn_chunks_bytes(const struct kn_chunks *c, int threads) {
    return (uint64_t)(c->count * c->sums + (int64_t)threads * c->rows) * (uint64_t)c->D *
           sizeof(float);
}

/* Sum i of a chunk, cleared. */
static inline float *kn_chunk_sum(const struct kn_chunks *c, int64_t chunk, int i) {
    float *sum = c->scratch + (chunk * c->sums + i) * c->D;
    memset(sum, 0, (size_t)c->D * sizeof *sum);
    return sum;
}

static inline float *kn_chunk_rows(const struct kn_chunks *c, int thread) {
    return c->scratch + (c->count * c->sums + (int64_t)thread * c->rows) * c->D;
}

static inline int64_t kn_chunk_end(const struct kn_chunks *c, int64_t chunk) {
    return (chunk + 1) * KN_CHUNK < c->M ? (chunk + 1) * KN_CHUNK : c->M;
}

/* to += sum i of all chunks */
static inline void kn_chunks_add(float *to, const struct kn_chunks *c, int i) {
    for (int64_t chunk = 0; chunk < c->count; chunk++) {
        const float *sum = c->scratch + (chunk * c->sums + i) * c->D;
        for (int64_t d = 0; d < c->D; d++)
            to[d] += sum[d];
    }
}

/* Row m of a matrix as floats, in `some` where it is of another type. */
static inline const float *kn_row(const struct kn_call *call, const struct kn_tensor *t, int64_t m,
                                  float *some) {
    const char *row =
        (const char *)kn_at(call, t) + (uint64_t)(m * t->stride[0]) * kn_dtype_bytes(t->dtype);
    if (t->dtype == KN_F32)
        return (const float *)row;
    kn_floats_load(some, t->dtype, row, t->dim[1]);
    return some;
}

#endif
