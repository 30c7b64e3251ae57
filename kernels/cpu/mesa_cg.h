/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Conjugate gradient (Hestenes, Stiefel 1952) for one small system (H + Lambda) x = b, H a padded
 * symmetric matrix in memory, Lambda diagonal. Nothing here is absolute: a system and its multiples
 * take the same iterations. Every function is inlined with dim and pitch as constants where the
 * caller has them, so that vectors stay in registers.
 */
#ifndef KN_CPU_MESA_CG_H
#define KN_CPU_MESA_CG_H

#include "attention.h"

#define CG_VECS (KN_MAX_HEAD_DIM / KN_W)

/* How a token changes H before it is multiplied: H = keep H + u u^T. */
struct cg_update {
    float keep;
    const float *u; /* NULL: H stays */
    size_t ahead;   /* floats from a row to the one to ask memory for; 0: none */
};

/* Columns of H that are done together, and rows whose sums run beside each other. */
KN_INLINE void cg_panel(float *h, const float *p, kn_vec *y, int nv, int ways, int dim, int pitch,
                        const struct cg_update *up, int col) {
    kn_vec acc[4][4];
    for (int w = 0; w < ways; w++)
        for (int v = 0; v < nv; v++)
            acc[w][v] = (kn_vec){0};
    for (int i = 0; i < dim; i += ways)
#pragma GCC unroll 4
        for (int w = 0; w < ways; w++) {
            if (i + w >= dim)
                break;
            float *row = h + (size_t)(i + w) * (size_t)pitch + col;
#pragma GCC unroll 4
            for (int v = 0; v < nv; v++) {
                if (up->ahead && v * KN_W % 16 == 0)
                    __builtin_prefetch(row + up->ahead + v * KN_W, 0, 2);
                kn_vec x = kn_load(row + v * KN_W);
                if (up->u) {
                    x = x * up->keep + kn_load(up->u + col + v * KN_W) * up->u[i + w];
                    kn_store(row + v * KN_W, x);
                }
                acc[w][v] += x * p[i + w];
            }
        }
    for (int v = 0; v < nv; v++) {
        kn_vec s = acc[0][v];
        for (int w = 1; w < ways; w++)
            s += acc[w][v];
        y[v] = s;
    }
}

/* y = H p, after the update */
KN_INLINE void cg_multiply(float *h, const float *p, kn_vec *y, int dim, int pitch,
                           const struct cg_update *up) {
    const int vecs = pitch / KN_W;
    int v = 0;
    for (; v + 4 <= vecs; v += 4)
        cg_panel(h, p, y + v, 4, 2, dim, pitch, up, v * KN_W);
    for (; v + 2 <= vecs; v += 2)
        cg_panel(h, p, y + v, 2, 4, dim, pitch, up, v * KN_W);
    for (; v < vecs; v++)
        cg_panel(h, p, y + v, 1, 4, dim, pitch, up, v * KN_W);
}

KN_INLINE float cg_dot(const kn_vec *a, const kn_vec *b, int vecs) {
    kn_vec s = a[0] * b[0];
#pragma GCC unroll 8
    for (int v = 1; v < vecs; v++)
        s += a[v] * b[v];
    return kn_vec_sum(s);
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
    static const struct cg_update none;
    const int vecs = pitch / KN_W;
    kn_vec sol[CG_VECS] = {{0}}, r[CG_VECS] = {{0}}, dir[CG_VECS] = {{0}}, y[CG_VECS];
    float p[KN_MAX_HEAD_DIM];
    uint32_t n = 0;

#pragma GCC unroll 8
    for (int v = 0; v < vecs; v++) {
        sol[v] = (kn_vec){0};
        r[v] = dir[v] = kn_load(b + v * KN_W);
    }
    const float bb = cg_dot(r, r, vecs), limit = stop->tolerance * stop->tolerance * bb;
    float rr = bb;
    cg_multiply(h, b, y, dim, pitch, up);
    while (!(rr <= limit) && n < stop->iterations) {
        if (n++) {
#pragma GCC unroll 8
            for (int v = 0; v < vecs; v++)
                kn_store(p + v * KN_W, dir[v]);
            cg_multiply(h, p, y, dim, pitch, &none);
        }
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++)
            y[v] += dir[v] * kn_load(lambda + v * KN_W);
        float curve = cg_dot(dir, y, vecs);
        if (curve <= 0.0f)
            break;
        float step = rr / curve; /* NaN goes on into x and ends the loop by rr below */
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++) {
            sol[v] += dir[v] * step;
            r[v] -= y[v] * step;
        }
        float next = cg_dot(r, r, vecs), turn = next / rr;
        rr = next;
        if (!(rr <= 3.0e38f))
            break;
#pragma GCC unroll 8
        for (int v = 0; v < vecs; v++)
            dir[v] = r[v] + dir[v] * turn;
    }
#pragma GCC unroll 8
    for (int v = 0; v < vecs; v++)
        kn_store(x + v * KN_W, sol[v]);
    return cg_ended(n, rr, bb, limit);
}

#endif
