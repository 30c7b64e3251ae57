/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The Cholesky factorisation that the Mesa layer's two directions share. */
#ifndef KN_REF_MESA_H
#define KN_REF_MESA_H

#include "ref.h"

/* L L^T = H + diag(Lambda of head h); L is the lower half of factor. */
static inline void kn_ref_mesa_factorise(const struct kn_ref_view *lambda, int64_t h, int64_t D,
                                         const double *H, double *L) {
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j <= i; j++) {
            double sum = H[i * D + j];
            if (i == j)
                sum += kn_ref_softplus(kn_ref_get(lambda, h, i, 0, 0)) + 0.25;
            for (int64_t m = 0; m < j; m++)
                sum -= L[i * D + m] * L[j * D + m];
            L[i * D + j] = i == j ? sqrt(sum) : sum / L[j * D + j];
        }
}

/* x = (L L^T)^-1 x */
static inline void kn_ref_mesa_solve(int64_t D, const double *L, double *x) {
    for (int64_t i = 0; i < D; i++) {
        for (int64_t m = 0; m < i; m++)
            x[i] -= L[i * D + m] * x[m];
        x[i] /= L[i * D + i];
    }
    for (int64_t i = D - 1; i >= 0; i--) {
        for (int64_t m = i + 1; m < D; m++)
            x[i] -= L[m * D + i] * x[m];
        x[i] /= L[i * D + i];
    }
}

#endif
