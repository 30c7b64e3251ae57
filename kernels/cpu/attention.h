/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What fenwick.c and mesa.c share: vectors of the instruction set that the file is built for, and
 * the walk over sequences and heads. A "unit" is one head of one sequence: units never look at
 * each other, so they are what threads share out.
 *
 * Every result is the same whatever the number of threads, the length of the clip and the place
 * where a clip starts: the order of operations behind one output depends on its own token alone.
 */
#ifndef KN_CPU_ATTENTION_H
#define KN_CPU_ATTENTION_H

#include <math.h>
#include <omp.h>
#include <string.h>

#include "cpu.h"
#include "kn_size.h"
#include "vec_math.h"

#define KN_INLINE static inline __attribute__((always_inline))
/* For long bodies: inlined everywhere they would take compilers minutes. */
#define KN_NOINLINE __attribute__((noinline))

/* Floats of one vector register. */
#if defined(__AVX512F__)
#define KN_W 16
#elif defined(__AVX__)
#define KN_W 8
#else
#define KN_W 4
#endif

/* Rows in memory are padded with zeros to whole multiples of this, for every instruction set. */
#define KN_PAD 16

/* May lie anywhere in memory that holds floats. */
typedef float kn_vec __attribute__((vector_size(4 * KN_W), aligned(4), may_alias));

KN_INLINE kn_vec kn_load(const float *x) {
    return *(const kn_vec *)x;
}

KN_INLINE void kn_store(float *x, kn_vec v) {
    *(kn_vec *)x = v;
}

/* Sum of the lanes, always in the same order. */
KN_INLINE float kn_vec_sum(kn_vec v) {
    typedef float quad __attribute__((vector_size(16)));
#if KN_W == 16
    typedef float half __attribute__((vector_size(32)));
    half h = __builtin_shufflevector(v, v, 0, 1, 2, 3, 4, 5, 6, 7) +
             __builtin_shufflevector(v, v, 8, 9, 10, 11, 12, 13, 14, 15);
    quad s = __builtin_shufflevector(h, h, 0, 1, 2, 3) + __builtin_shufflevector(h, h, 4, 5, 6, 7);
#elif KN_W == 8
    quad s = __builtin_shufflevector(v, v, 0, 1, 2, 3) + __builtin_shufflevector(v, v, 4, 5, 6, 7);
#else
    quad s = v;
#endif
    s += __builtin_shufflevector(s, s, 2, 3, 0, 1);
    return s[0] + s[1];
}

/* a . b over a padded row. */
KN_INLINE float kn_dot(const float *a, const float *b, int pitch) {
    kn_vec s = kn_load(a) * kn_load(b);
    for (int i = KN_W; i < pitch; i += KN_W)
        s += kn_load(a + i) * kn_load(b + i);
    return kn_vec_sum(s);
}

/* Copies dim values to a padded row. */
KN_INLINE void kn_row_copy(float *to, const float *from, int dim, int pitch) {
    if (dim != pitch)
        memset(to + dim, 0, (size_t)(pitch - dim) * sizeof *to);
    memcpy(to, from, (size_t)dim * sizeof *to);
}

KN_INLINE void kn_row_scale(float *row, float s, int pitch) {
    for (int i = 0; i < pitch; i += KN_W)
        kn_store(row + i, kn_load(row + i) * s);
}

/* from / max(|from|, 1e-6) as a padded row */
KN_INLINE void kn_row_normalise(float *to, const float *from, int dim, int pitch) {
    kn_row_copy(to, from, dim, pitch);
    float norm = sqrtf(kn_dot(to, to, pitch));
    kn_row_scale(to, 1.0f / (norm < 1e-6f ? 1e-6f : norm), pitch);
}

/*
 * The same in two factors: the row from / |from| (zero for a zero row) and, returned, the length
 * |from| / max(|from|, 1e-6), which is 1 but for rows that are next to nothing.
 */
KN_INLINE float kn_row_unit(float *to, const float *from, int dim, int pitch) {
    kn_row_copy(to, from, dim, pitch);
    float norm = sqrtf(kn_dot(to, to, pitch));
    kn_row_scale(to, norm == 0.0f ? 0.0f : 1.0f / norm, pitch);
    return norm < 1e-6f ? norm * 1e6f : 1.0f;
}

/* Where a tensor (N, T, X, ...) lies, for walks along its first three axes. */
struct kn_walk {
    float *base;
    int64_t n, t, x;
};

static inline struct kn_walk kn_walk(const struct kn_call *call, const struct kn_tensor *t) {
    return (struct kn_walk){kn_at(call, t), t->stride[0], t->stride[1], t->stride[2]};
}

KN_INLINE float *kn_walk_at(const struct kn_walk *w, int64_t n, int64_t t, int64_t x) {
    return w->base + n * w->n + t * w->t + x * w->x;
}

/* The part of units that thread i of n takes: [*first, *last). */
static inline void kn_share(int64_t units, int i, int n, int64_t *first, int64_t *last) {
    *first = units / n * i + (units % n < i ? units % n : i);
    *last = *first + units / n + (i < units % n);
}

/* Tokens that a stream has seen before this run. */
static inline uint64_t kn_past(const struct kn_control *c) {
    return c->reset || !c->state ? 0 : c->t;
}

#endif
