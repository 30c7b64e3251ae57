/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of the Mesa layer. The truth is the reference, which factorises; the tested device is
 * given the reference's solutions and asked for a relative residual of 1e-6 of the adjoint systems.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "attention_backward.h"

static void every_shape(struct ck *ck) {
    static const int64_t T[] = {70, 1, 65, 2, 63, 64, 7, 8, 130, 203};
    static const int64_t D[] = {16, 1, 8, 32, 50, 64};
    int round = 0;

    for (size_t d = 0; d < CK_COUNT(D); d++)
        for (size_t t = 0; t < CK_COUNT(T); t++) {
            struct ck_shape shape = ck_shape_of(true, T[t], 0, D[d], round++);
            if (D[d] <= 32 || (d + t) % 2)
                ck_case_backward(ck, &shape, CK_NO_STATE, 0);
        }
    for (size_t t = 0; t < CK_COUNT(T); t += 3) {
        struct ck_shape shape = ck_shape_of(true, T[t], 0, 128, 2);
        ck_case_backward(ck, &shape, CK_NO_STATE, 0);
    }
}

static void states(struct ck *ck) {
    static const int64_t past[] = {1, 8, 63, 64, 100}, D[] = {16, 40, 1, 70}, T[] = {1, 7, 70, 130};
    int round = 0;

    for (size_t p = 0; p < CK_COUNT(past); p++)
        for (size_t t = 0; t < CK_COUNT(T); t++) {
            struct ck_shape shape = ck_shape_of(true, T[t], 0, D[(p + t) % 4], round++);
            ck_case_backward(ck, &shape, CK_CARRIED, past[p]);
        }
    for (int i = 0; i < 4; i++) {
        struct ck_shape shape = ck_shape_of(true, 30 + 20 * i, 0, D[i], i);
        ck_case_backward(ck, &shape, CK_AT_START, 0);
        ck_case_backward(ck, &shape, CK_RESET, 0);
    }
}

static void long_clips(struct ck *ck) {
    static const int64_t T[] = {1000, 4097};

    for (size_t t = 0; t < CK_COUNT(T); t++) {
        struct ck_shape shape = ck_shape_of(true, T[t], 0, 16, 2);
        ck_case_backward(ck, &shape, t ? CK_NO_STATE : CK_CARRIED, 100);
    }
}

/* ------------------------------------------------------------------------------------- solution */

/* Both operations that give a solution give one that solves: G^T x is the output. */
static void solution(struct ck *ck, bool step) {
    const struct ck_shape p = ck_shape_of(true, step ? 1 : 90, 0, 24, 3);
    struct ck_error error = {0};
    struct ck_loaded loaded = {0};
    struct ck_backward *b;
    struct kn_node node;
    struct kn_exec *exec = NULL;
    bool ok;

    if (!ck_begin_backward(ck, &p, CK_CARRIED, 31, step ? "solution of a step" : "solution"))
        return;
    b = ck_backward_new(ck, &p, CK_CARRIED, 31, KN_F32);
    memset(b->memory->image[KN_SLOT_WORK].role + b->solution.offset_bytes, CK_SCRATCH,
           4 * (size_t)(p.N * p.T * p.H * p.D));
    ck_backward_forward(b, &node);
    ok = ck_backward_state(b, ck->ref) && ck_backward_solve(b) && ck_backward_state(b, ck->dev) &&
         ck_load(&loaded, b->memory, ck->dev, false, 0) &&
         (exec = ck_compile(&loaded, step ? KN_OP_MESA_STEP : KN_OP_MESA_CLIP, &node.args)) &&
         ck_run(&loaded, exec, 0, 0) && ck_read_back(&loaded);
    for (int64_t n = 0; ok && n < p.N; n++)
        for (int64_t t = 0; t < p.T; t++)
            for (int64_t h = 0; h < p.H; h++)
                for (int64_t i = 0; i < p.D; i++)
                    ck_error_add(&error, ck_backward_get(b, &b->solution, n, t, h, i),
                                 ck_backward_take(&loaded, &b->solution, n, t, h, i));
    ck_error_check(ck, &error, CK_F32, "solution");
    kn_exec_free(exec);
    ck_unload(&loaded);
    ck_backward_free(b);
}

/* ----------------------------------------------------------------------------------- identities */

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/*
 * Outputs do not change when beta and Lambda grow by the same factor: per head, the sum of lam dlam
 * and beta dbeta is zero. Without a state the first decay changes nothing.
 */
static void identities(struct ck *ck, struct kn_dev *dev, enum kn_dtype dtype, double tolerance) {
    const struct ck_shape p = ck_shape_of(true, 150, 0, 20, 0);
    struct ck_loaded loaded = {0};
    struct ck_backward *b;
    bool ok;

    if (!ck_begin_backward(ck, &p, CK_NO_STATE, 0, "identities"))
        return;
    b = ck_backward_new(ck, &p, CK_NO_STATE, 0, dtype);
    ck_backward_scale(b, &b->dlambda, 0);
    if (dtype == KN_F64) /* written by the forward operation, so poisoned when loaded */
        memset(b->memory->image[KN_SLOT_WORK].role + b->solution.offset_bytes, CK_IN,
               8 * (size_t)(p.N * p.T * p.H * p.D));
    ok = ck_backward_solve(b) && ck_backward_run(b, dev, dev == ck->dev, 0, &loaded);
    for (int64_t h = 0; ok && h < p.H; h++) {
        double sum = 0, size = 0;
        for (int64_t i = 0; i < p.D; i++) {
            double logit = ck_backward_get(b, &b->lambda, h, i, 0, 0);
            double part = (softplus(logit) + 0.25) / sigmoid(logit) *
                          ck_backward_take(&loaded, &b->dlambda, h, i, 0, 0);
            sum += part;
            size += fabs(part);
        }
        for (int64_t n = 0; n < p.N; n++)
            for (int64_t t = 0; t < p.T; t++) {
                double logit = ck_backward_get(b, &b->extra, n, t, h, 0);
                double part =
                    ck_backward_take(&loaded, &b->dextra, n, t, h, 0) / (1 - sigmoid(logit));
                sum += part;
                size += fabs(part);
                ck_want(ck, t > 0 || ck_backward_take(&loaded, &b->dgate, n, 0, h, 0) == 0,
                        "the first decay has a gradient");
            }
        ck_want(ck, fabs(sum) <= tolerance * size, "lam dlam + beta dbeta is %g of %g", sum, size);
    }
    ck_unload(&loaded);
    ck_backward_free(b);
}

/* Every row is counted, and the tolerance is what ends it. */
static void statistics(struct ck *ck) {
    const struct ck_shape p = ck_shape_of(true, 40, 0, 16, 3);
    struct ck_loaded loaded = {0};
    struct kn_mesa_stats sum = {0};
    struct ck_backward *b;

    if (!ck_begin_backward(ck, &p, CK_NO_STATE, 0, "statistics"))
        return;
    b = ck_backward_new(ck, &p, CK_NO_STATE, 0, KN_F32);
    if (ck_backward_solve(b) && ck_backward_run(b, ck->dev, false, 0, &loaded))
        for (int64_t i = 0; i < p.B; i++) {
            struct kn_control control;
            memcpy(&control,
                   loaded.bytes[KN_SLOT_CONTROL] + b->control.offset_bytes +
                       (size_t)i * sizeof control,
                   sizeof control);
            sum.rows += control.mesa.rows;
            sum.capped += control.mesa.capped;
            ck_want(ck, control.mesa.worst_residual <= 1e-6f, "residual %g",
                    (double)control.mesa.worst_residual);
        }
    ck_want(ck, sum.rows == (uint64_t)(p.N * p.T * p.H) && sum.capped == 0,
            "%" PRIu64 " rows, %" PRIu64 " capped", sum.rows, sum.capped);
    ck_unload(&loaded);
    ck_backward_free(b);
}

/* -------------------------------------------------------------------------------------- entries */

void ck_test_mesa_backward(struct ck *ck) {
    every_shape(ck);
    states(ck);
    ck_case_backward_extremes(ck, true);
    ck_case_backward_scales(ck, true);
    solution(ck, false);
    solution(ck, true);
    statistics(ck);
    identities(ck, ck->dev, KN_F32, 1e-5);
    identities(ck, ck->ref, KN_F64, 1e-12);
    if (ck->slow) {
        long_clips(ck);
        ck_case_backward_growth(ck, true);
    }
}

void ck_grad_mesa_backward(struct ck *ck) {
    static const int64_t T[] = {1, 2, 7, 63, 64, 65, 130, 203}, past[] = {1, 8, 63, 64, 100};

    /* the self-test takes the first few only */
    for (size_t i = 0; i < 10; i++) {
        struct ck_shape shape = ck_shape_of(true, i < 5 ? 9 : 70, 0, 4, (int)i);
        ck_case_backward_grad(ck, &shape, CK_CARRIED, past[i % 5]);
    }
    for (size_t i = 0; i < CK_COUNT(T); i++) {
        struct ck_shape shape = ck_shape_of(true, T[i], 0, 5, (int)i);
        ck_case_backward_grad(ck, &shape, CK_NO_STATE, 0);
    }
}

bool ck_sabotage_mesa_backward(struct kn_mesa_backward_args *a, int way) {
    struct kn_tensor t = way == 0 ? a->k : way == 1 ? a->gate : a->solution;

    switch (way) {
    case 0:
        a->k = a->q;
        a->q = t;
        return true;
    case 1:
        a->gate = a->beta;
        a->beta = t;
        return true;
    case 2:
        a->lambda.offset_bytes += kn_dtype_bytes(a->lambda.dtype);
        return true;
    default:
        a->solution = a->dout;
        a->dout = t;
        return true;
    }
}

void ck_bench_mesa_backward(struct ck *ck) {
    ck_bench_backward(ck, true);
}
