/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of attention work on blocks of tokens: rows of pitch columns, one per token, and
 * squares with a row and a column per token. What both attentions need of it: products of small
 * matrices, decays between the tokens of a block, and the directions of queries and keys.
 */
#ifndef KN_CPU_ATTENTION_BLOCK_H
#define KN_CPU_ATTENTION_BLOCK_H

#include "attention.h"

#define KN_BLOCK_MAX 64

/* Columns of a square in use: whole vectors of every instruction set. */
KN_INLINE int kn_block_side(int tokens) {
    return (tokens + KN_PAD - 1) / KN_PAD * KN_PAD;
}

/* name(u) is name_of(u, dim, pitch) with both constant where heads have a usual width. */
#define KN_BY_DIM(name)                                                        \
    static KN_NOINLINE void name##_16(struct unit *u) {                        \
        name##_of(u, 16, 16);                                                  \
    }                                                                          \
    static KN_NOINLINE void name##_32(struct unit *u) {                        \
        name##_of(u, 32, 32);                                                  \
    }                                                                          \
    static KN_NOINLINE void name##_any(struct unit *u) {                       \
        name##_of(u, u->dim, u->pitch);                                        \
    }                                                                          \
    static void name(struct unit *u) {                                         \
        (u->dim == 16 ? name##_16 : u->dim == 32 ? name##_32 : name##_any)(u); \
    }

/* ------------------------------------------------------------------------------------- products */

/*
 * C = A B, or C += A B. Element (i, d) of A lies at a[i * a_row + d * a_col], so that A may be
 * taken transposed; rows of B and C are contiguous, cols is a multiple of KN_W.
 */
struct kn_product {
    float *c;
    const float *a, *b;
    int c_row, a_row, a_col, b_row;
    int rows, depth, cols;
    bool add;
};

/* n rows from row i and nv vectors of columns from col of C */
KN_INLINE void kn_product_panel(const struct kn_product *p, int i, int col, int n, int nv) {
    const int c_row = p->c_row, a_row = p->a_row, a_col = p->a_col, b_row = p->b_row;
    const float *a = p->a + i * a_row, *b = p->b + col;
    float *c = p->c + i * c_row + col;
    kn_vec acc[8][2];
    for (int r = 0; r < n; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = p->add ? kn_load(c + r * c_row + v * KN_W) : (kn_vec){0};
    for (int d = 0; d < p->depth; d++, a += a_col, b += b_row)
        for (int v = 0; v < nv; v++) {
            kn_vec row = kn_load(b + v * KN_W);
            for (int r = 0; r < n; r++)
                acc[r][v] += row * a[r * a_row];
        }
    for (int r = 0; r < n; r++)
        for (int v = 0; v < nv; v++)
            kn_store(c + r * c_row + v * KN_W, acc[r][v]);
}

/* One function for each shape. */
#define KN_PRODUCT(name, n, nv)                                                \
    static KN_NOINLINE void name(const struct kn_product *p, int i, int col) { \
        kn_product_panel(p, i, col, n, nv);                                    \
    }
KN_PRODUCT(kn_product_8x1, 8, 1)
KN_PRODUCT(kn_product_4x2, 4, 2)
KN_PRODUCT(kn_product_1x2, 1, 2)
KN_PRODUCT(kn_product_1x1, 1, 1)

static void kn_multiply(const struct kn_product *p) {
    int i, col = 0;
    for (; col + 2 * KN_W <= p->cols; col += 2 * KN_W) {
        for (i = 0; i + 4 <= p->rows; i += 4)
            kn_product_4x2(p, i, col);
        for (; i < p->rows; i++)
            kn_product_1x2(p, i, col);
    }
    for (; col < p->cols; col += KN_W) {
        for (i = 0; i + 8 <= p->rows; i += 8)
            kn_product_8x1(p, i, col);
        for (; i < p->rows; i++)
            kn_product_1x1(p, i, col);
    }
}

/* to = from^T; both sizes are multiples of 4. */
static KN_NOINLINE void kn_transpose(float *to, int to_row, const float *from, int from_row,
                                     int rows, int cols) {
    typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));
    for (int i = 0; i < rows; i += 4)
        for (int j = 0; j < cols; j += 4) {
            const float *f = from + i * from_row + j;
            float *t = to + j * to_row + i;
            quad a = *(const quad *)f, b = *(const quad *)(f + from_row);
            quad c = *(const quad *)(f + 2 * from_row), d = *(const quad *)(f + 3 * from_row);
            quad ab = __builtin_shufflevector(a, b, 0, 4, 1, 5);
            quad cd = __builtin_shufflevector(c, d, 0, 4, 1, 5);
            *(quad *)t = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(quad *)(t + to_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
            ab = __builtin_shufflevector(a, b, 2, 6, 3, 7);
            cd = __builtin_shufflevector(c, d, 2, 6, 3, 7);
            *(quad *)(t + 2 * to_row) = __builtin_shufflevector(ab, cd, 0, 1, 4, 5);
            *(quad *)(t + 3 * to_row) = __builtin_shufflevector(ab, cd, 2, 3, 6, 7);
        }
}

/* to = scale from, count a multiple of KN_W */
static inline void kn_scaled(float *to, const float *from, float scale, int count) {
    for (int i = 0; i < count; i += KN_W)
        kn_store(to + i, kn_load(from + i) * scale);
}

/* to += scale from */
static inline void kn_add_scaled(float *to, const float *from, float scale, int count) {
    for (int i = 0; i < count; i += KN_W)
        kn_store(to + i, kn_load(to + i) + kn_load(from + i) * scale);
}

/* --------------------------------------------------------------------------------------- decays */

/*
 * Moves the log decays since each token of a block on by the token at position i with log decay g.
 * e becomes their exponentials, 0 for tokens behind i.
 */
KN_INLINE void kn_block_decay(float *since, float g, int i, int side, float *e) {
    for (int c = 0; c < side; c += 16)
#pragma omp simd
        for (int j = c; j < c + 16; j++) {
            float x = j < i ? since[j] + g : 0.0f;
            since[j] = x;
            e[j] = j <= i ? kn_exp(x) : 0.0f;
        }
}

/*
 * Gradients of the log decays at positions [from, to): a decay is worth what all pairs (i, s) with
 * s before it and i not before it are worth. all: pairs from outside the block to outside; rows[i]:
 * of token i with what is before the block; columns[s]: of token s with what comes after it, lost;
 * pairs: inside.
 */
KN_INLINE void kn_block_gates(float *dg, const float *pairs, int row, int from, int to, float all,
                              const float *rows, float *columns, int side) {
    for (int t = to - 1; t >= from; t--) {
        float before = 0.0f;
        all += rows[t];
#pragma omp simd reduction(+ : before)
        for (int s = 0; s < side; s++) {
            columns[s] += pairs[t * row + s];
            before += s < t ? columns[s] : 0.0f;
        }
        dg[t] = all + before;
    }
}

/* ----------------------------------------------------------------------------------- directions */

/* What x / max(|x|, 1e-6) forgets of x. */
struct kn_direction {
    float inverse; /* 1 / max(|x|, 1e-6) */
    float along;   /* 1 where changes along x are lost; 0 for an x that is next to nothing */
};

KN_INLINE struct kn_direction kn_direction(float *to, const float *from, int dim, int pitch) {
    struct kn_direction d;
    kn_row_copy(to, from, dim, pitch);
    float norm = sqrtf(kn_dot(to, to, pitch));
    d.along = norm < 1e-6f ? 0.0f : 1.0f;
    d.inverse = 1.0f / (norm < 1e-6f ? 1e-6f : norm);
    kn_row_scale(to, d.inverse, pitch);
    return d;
}

/* dx (+)= the gradient of x from the gradient of its direction, which is lost. */
KN_INLINE void kn_direction_backward(float *dx, const float *direction, float *gradient,
                                     struct kn_direction d, int dim, int pitch, bool add) {
    const float along = d.along * kn_dot(direction, gradient, pitch);
    for (int i = 0; i < pitch; i += KN_W)
        kn_store(gradient + i,
                 (kn_load(gradient + i) - kn_load(direction + i) * along) * d.inverse);
    for (int i = 0; add && i < dim; i++)
        dx[i] += gradient[i];
    if (!add)
        memcpy(dx, gradient, (size_t)dim * sizeof *dx);
}

#endif
