/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conjugate gradient (Hestenes, Stiefel 1952) for one small system (H + Lambda) x = b, H a padded
 * symmetric matrix in memory, Lambda diagonal. Nothing here is absolute: a system and its multiples
 * take the same iterations. Every function is inlined with dim and pitch as constants where the
 * caller has them; the products with H, where the time goes, are functions of their own.
 */
#ifndef KN_CPU_MESA_CG_H
#define KN_CPU_MESA_CG_H

#include "attention.h"

/* How a token changes H before it is multiplied: H = keep H + u u^T. */
struct cg_update {
    float keep;
    const float *u;
    size_t ahead; /* floats from a row to what is read after H, prefetched */
};

/*
 * y = H p for nv vectors of columns from col. The sums of so many rows (ways) run beside each
 * other, because one addition has to wait for the one before.
 */
KN_INLINE void cg_panel(const float *h, const float *p, float *y, int nv, int ways, int dim,
                        int pitch, int col) {
    kn_vec acc[4][4];
    int i = 0;
    for (int w = 0; w < ways; w++)
        for (int v = 0; v < nv; v++)
            acc[w][v] = (kn_vec){0};
    for (h += col; i + ways <= dim; i += ways, h += ways * pitch)
        for (int w = 0; w < ways; w++)
            for (int v = 0; v < nv; v++)
                acc[w][v] += kn_load(h + w * pitch + v * KN_W) * p[i + w];
    for (; i < dim; i++, h += pitch)
        for (int v = 0; v < nv; v++)
            acc[0][v] += kn_load(h + v * KN_W) * p[i];
    for (int v = 0; v < nv; v++) {
        for (int w = 1; w < ways; w++)
            acc[0][v] += acc[w][v];
        kn_store(y + col + v * KN_W, acc[0][v]);
    }
}

/* y = H p */
static KN_NOINLINE void cg_multiply(const float *h, const float *p, float *y, int dim, int pitch) {
    int col = 0;
    for (; KN_W == 16 && col + 4 * KN_W <= pitch; col += 4 * KN_W)
        cg_panel(h, p, y, 4, 2, dim, pitch, col);
    for (; col + 2 * KN_W <= pitch; col += 2 * KN_W)
        cg_panel(h, p, y, 2, 4, dim, pitch, col);
    for (; col < pitch; col += KN_W)
        cg_panel(h, p, y, 1, 4, dim, pitch, col);
}

/* H = keep H + u u^T for nv vectors of columns from col */
KN_INLINE void cg_update_panel(float *h, const struct cg_update *up, int nv, int dim, int pitch,
                               int col) {
    const float keep = up->keep, *k = up->u; /* what is stored may be anywhere, for the compiler */
    const size_t ahead = up->ahead;
    kn_vec u[4];
    for (int v = 0; v < nv; v++)
        u[v] = kn_load(k + col + v * KN_W);
    h += col;
    for (int i = 0; i < dim; i++, h += pitch)
        for (int v = 0; v < nv; v++) {
            if (v * KN_W % 16 == 0)
                __builtin_prefetch(h + ahead + v * KN_W, 0, 2);
            kn_store(h + v * KN_W, kn_load(h + v * KN_W) * keep + u[v] * k[i]);
        }
}

static KN_NOINLINE void cg_bring_up(float *h, const struct cg_update *up, int dim, int pitch) {
    int col = 0;
    for (; col + 4 * KN_W <= pitch; col += 4 * KN_W)
        cg_update_panel(h, up, 4, dim, pitch, col);
    for (; col + 2 * KN_W <= pitch; col += 2 * KN_W)
        cg_update_panel(h, up, 2, dim, pitch, col);
    for (; col < pitch; col += KN_W)
        cg_update_panel(h, up, 1, dim, pitch, col);
}

/* y = (H + Lambda) p from y = H p; returns p . y */
KN_INLINE float cg_curve(float *y, const float *lambda, const float *p, int pitch) {
    kn_vec sum = {0};
    for (int i = 0; i < pitch; i += KN_W) {
        kn_vec d = kn_load(p + i), v = kn_load(y + i) + d * kn_load(lambda + i);
        kn_store(y + i, v);
        sum += d * v;
    }
    return kn_vec_sum(sum);
}

/* x += step p, r -= step y; returns r . r */
KN_INLINE float cg_step(float *x, float *r, const float *p, const float *y, float step, int pitch) {
    kn_vec sum = {0};
    for (int i = 0; i < pitch; i += KN_W) {
        kn_vec v = kn_load(r + i) - kn_load(y + i) * step;
        kn_store(x + i, kn_load(x + i) + kn_load(p + i) * step);
        kn_store(r + i, v);
        sum += v * v;
    }
    return kn_vec_sum(sum);
}

/* p = r + turn p */
KN_INLINE void cg_turn(float *p, const float *r, float turn, int pitch) {
    for (int i = 0; i < pitch; i += KN_W)
        kn_store(p + i, kn_load(r + i) + kn_load(p + i) * turn);
}

struct cg_stop {
    float tolerance; /* |r| <= tolerance |b| */
    uint32_t iterations;
};

struct cg_end {
    uint32_t iterations;
    float residual; /* |r| / |b| by the recurrence; infinity when it is not a number */
    bool capped;    /* stopped before the tolerance was reached */
};

KN_INLINE struct cg_end cg_ended(uint32_t iterations, float rr, float bb, float limit) {
    bool finite = rr <= 3.0e38f;
    return (struct cg_end){.iterations = iterations,
                           .residual = bb == 0.0f ? 0.0f
                                       : finite   ? sqrtf(rr / bb)
                                                  : INFINITY,
                           .capped = !(rr <= limit)};
}

/*
 * Brings H up to date and solves (H + diag(lambda)) x = b. A row that loses positive definiteness
 * to rounding keeps the x it has; one that is not a number gets an x that is not.
 */
KN_INLINE struct cg_end cg_solve(float *h, const float *lambda, const float *b, float *x,
                                 const struct cg_stop *stop, const struct cg_update *up, int dim,
                                 int pitch) {
    float r[KN_MAX_HEAD_DIM], p[KN_MAX_HEAD_DIM], y[KN_MAX_HEAD_DIM];
    const float bb = kn_dot(b, b, pitch), limit = stop->tolerance * stop->tolerance * bb;
    float rr = bb;
    uint32_t n = 0;

    for (int i = 0; i < pitch; i += KN_W) {
        kn_store(x + i, (kn_vec){0});
        kn_store(r + i, kn_load(b + i));
        kn_store(p + i, kn_load(b + i));
    }
    cg_bring_up(h, up, dim, pitch);
    while (!(rr <= limit) && n < stop->iterations) {
        cg_multiply(h, p, y, dim, pitch);
        n++;
        float curve = cg_curve(y, lambda, p, pitch);
        if (curve <= 0.0f)
            break;
        /* a curve that is not a number goes on into x and ends the loop by rr */
        float old = rr;
        rr = cg_step(x, r, p, y, old / curve, pitch);
        if (!(rr <= 3.0e38f))
            break;
        cg_turn(p, r, rr / old, pitch);
    }
    return cg_ended(n, rr, bb, limit);
}

#endif
