/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What both directions of the Mesa layer do to G, to Lambda and to the statistics. */
#ifndef KN_CPU_MESA_UNIT_H
#define KN_CPU_MESA_UNIT_H

#include "mesa_cg.h"

/* What G = keep G + k v^T, out = G^T x reads besides G. */
struct mesa_value_update {
    const float *k, *v, *x;
    float keep;
    size_t ahead; /* floats from a row to what is read after G, prefetched */
};

/* nv vectors of columns from col */
KN_INLINE void mesa_read_panel(float *g, const struct mesa_value_update *up, float *out, int nv,
                               int dim, int pitch, int col) {
    const float keep = up->keep, *k = up->k, *x = up->x;
    const size_t ahead = up->ahead;
    kn_vec acc[4], add[4];
    for (int j = 0; j < nv; j++) {
        acc[j] = (kn_vec){0};
        add[j] = kn_load(up->v + col + j * KN_W);
    }
    g += col;
    for (int i = 0; i < dim; i++, g += pitch)
        for (int j = 0; j < nv; j++) {
            if (j * KN_W % 16 == 0)
                __builtin_prefetch(g + ahead + j * KN_W, 0, 2);
            kn_vec row = kn_load(g + j * KN_W) * keep + add[j] * k[i];
            kn_store(g + j * KN_W, row);
            acc[j] += row * x[i];
        }
    for (int j = 0; j < nv; j++)
        kn_store(out + col + j * KN_W, acc[j]);
}

static KN_NOINLINE void mesa_read_values(float *g, const struct mesa_value_update *up, float *out,
                                         int dim, int pitch) {
    int col = 0;
    for (; col + 4 * KN_W <= pitch; col += 4 * KN_W)
        mesa_read_panel(g, up, out, 4, dim, pitch, col);
    for (; col + 2 * KN_W <= pitch; col += 2 * KN_W)
        mesa_read_panel(g, up, out, 2, dim, pitch, col);
    for (; col < pitch; col += KN_W)
        mesa_read_panel(g, up, out, 1, dim, pitch, col);
}

/* Lambda as padded rows, one per head. */
static inline void mesa_fill_lambda(float *to, const struct kn_call *call,
                                    const struct kn_tensor *lambda, int pitch) {
    for (int64_t h = 0; h < lambda->dim[0]; h++) {
        const float *from = (const float *)kn_at(call, lambda) + h * lambda->stride[0];
        for (int i = 0; i < pitch; i++)
            to[h * pitch + i] = i < lambda->dim[1] ? kn_softplus(from[i]) + 0.25f : 0.0f;
    }
}

static inline void mesa_count(struct kn_mesa_stats *stats, const struct cg_end *end) {
    stats->rows++;
    stats->iterations += end->iterations;
    stats->capped += end->capped;
    if (stats->max_iterations < end->iterations)
        stats->max_iterations = end->iterations;
    if (stats->worst_residual < end->residual)
        stats->worst_residual = end->residual;
}

/* Sums and maxima only, so that the order in which threads come does not matter. */
static inline void mesa_add_stats(struct kn_mesa_stats *to, const struct kn_mesa_stats *from) {
#pragma omp critical(kn_mesa_stats)
    {
        to->rows += from->rows;
        to->iterations += from->iterations;
        to->capped += from->capped;
        if (to->max_iterations < from->max_iterations)
            to->max_iterations = from->max_iterations;
        if (to->worst_residual < from->worst_residual)
            to->worst_residual = from->worst_residual;
    }
}

#endif
