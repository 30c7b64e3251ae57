/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradients of Fenwick attention: the reference's sums over all pairs are the truth. */
#include <math.h>
#include <stdlib.h>

#include "attention_backward.h"

static const int64_t levels[] = {12, 2, 4, 8, 20, 6, 3};

static void every_shape(struct ck *ck) {
    static const int64_t T[] = {70, 1, 65, 2, 63, 64, 7, 8, 130, 203};
    static const int64_t D[] = {16, 1, 8, 32, 50, 64, 128};
    int round = 0;

    for (size_t l = 0; l < CK_COUNT(levels); l++)
        for (size_t d = 0; d < CK_COUNT(D); d++)
            for (size_t t = 0; t < CK_COUNT(T); t++) {
                struct ck_shape shape = ck_shape_of(false, T[t], levels[l], D[d], round++);
                /* every length meets every level at 16 columns; the rest is a sample */
                if (d == 0 || (l + d + t) % 8 == 0)
                    ck_case_backward(ck, &shape, CK_NO_STATE, 0);
            }
}

/* Clips that begin anywhere in a block or in the tree. */
static void states(struct ck *ck) {
    static const int64_t past[] = {1, 8, 63, 64, 100, 7, 128, 250}, D[] = {16, 40, 80, 1};
    static const int64_t T[] = {1, 2, 7, 70, 203};
    int round = 0;

    for (size_t p = 0; p < CK_COUNT(past); p++)
        for (size_t l = 0; l < CK_COUNT(levels); l++)
            for (size_t t = 0; t < CK_COUNT(T); t++) {
                struct ck_shape shape =
                    ck_shape_of(false, T[t], levels[l], D[(p + 2 * l + t) % 4], round++);
                if ((p + l + t) % 3 == 0)
                    ck_case_backward(ck, &shape, CK_CARRIED, past[p]);
            }
    for (int i = 0; i < 4; i++) {
        struct ck_shape shape = ck_shape_of(false, 30 + 20 * i, levels[i], D[i], i);
        ck_case_backward(ck, &shape, CK_AT_START, 0);
        ck_case_backward(ck, &shape, CK_RESET, 0);
    }
}

static void long_clips(struct ck *ck) {
    static const int64_t T[] = {1000, 4097};

    for (size_t t = 0; t < CK_COUNT(T); t++)
        for (size_t l = 0; l < 5; l++) {
            struct ck_shape shape = ck_shape_of(false, T[t], levels[l], 16, 2);
            ck_case_backward(ck, &shape, l % 2 ? CK_CARRIED : CK_NO_STATE, 100);
        }
}

/* ----------------------------------------------------------------------------------- identities */

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

/*
 * At each token the sum of lambda dlambda is dout . o: outputs are linear in lambda. The first
 * decay changes nothing where there was nothing before it.
 */
static void identities(struct ck *ck, struct kn_dev *dev, enum kn_dtype dtype, double tolerance) {
    const struct ck_shape p = ck_shape_of(false, 150, 7, 20, 0);
    struct ck_error error = {0};
    struct ck_loaded loaded = {0}, forward = {0};
    struct kn_node node;
    struct kn_exec *exec = NULL;
    struct ck_backward *b;
    enum kn_op op;
    bool ok;

    if (!ck_begin_backward(ck, &p, CK_NO_STATE, 0, "identities"))
        return;
    b = ck_backward_new(ck, &p, CK_NO_STATE, 0, dtype);
    op = ck_backward_forward(b, &node);
    ok = ck_load(&forward, b->memory, dev, false, 0) &&
         (exec = ck_compile(&forward, op, &node.args)) && ck_run(&forward, exec, 0, 0) &&
         ck_read_back(&forward) && ck_backward_run(b, dev, dev == ck->dev, 0, &loaded);
    for (int64_t n = 0; ok && n < p.N; n++)
        for (int64_t t = 0; t < p.T; t++)
            for (int64_t h = 0; h < p.H; h++) {
                double output = 0, scales = 0;
                for (int64_t i = 0; i < p.D; i++)
                    output += ck_backward_take(&forward, &b->out, n, t, h, i) *
                              ck_backward_get(b, &b->dout, n, t, h, i);
                for (int64_t l = 0; l < p.levels; l++) {
                    double logit = ck_backward_get(b, &b->extra, n, t, h * p.levels + l, 0);
                    scales += softplus(logit) / sigmoid(logit) *
                              ck_backward_take(&loaded, &b->dextra, n, t, h * p.levels + l, 0);
                }
                ck_error_add(&error, output, scales);
                ck_want(ck, t > 0 || ck_backward_take(&loaded, &b->dgate, n, 0, h, 0) == 0,
                        "the first decay has a gradient");
            }
    ck_error_check(ck, &error, tolerance, "lambda . dlambda against o . dout");
    kn_exec_free(exec);
    ck_unload(&forward);
    ck_unload(&loaded);
    ck_backward_free(b);
}

/* -------------------------------------------------------------------------------------- entries */

void ck_test_fenwick_backward(struct ck *ck) {
    every_shape(ck);
    states(ck);
    ck_case_backward_extremes(ck, false);
    ck_case_backward_scales(ck, false);
    identities(ck, ck->dev, KN_F32, CK_F32);
    identities(ck, ck->ref, KN_F64, 1e-24);
    if (ck->slow) {
        long_clips(ck);
        ck_case_backward_growth(ck, false);
    }
}

void ck_grad_fenwick_backward(struct ck *ck) {
    static const int64_t T[] = {1, 2, 7, 63, 64, 65, 130, 203}, past[] = {1, 8, 63, 64, 100};

    /* the self-test takes the first few only */
    for (size_t i = 0; i < 10; i++) {
        struct ck_shape shape =
            ck_shape_of(false, i < 5 ? 9 : 70, levels[i % CK_COUNT(levels)], 4, (int)i);
        ck_case_backward_grad(ck, &shape, CK_CARRIED, past[i % 5]);
    }
    for (size_t i = 0; i < CK_COUNT(T); i++) {
        struct ck_shape shape = ck_shape_of(false, T[i], levels[i % CK_COUNT(levels)], 5, (int)i);
        ck_case_backward_grad(ck, &shape, CK_NO_STATE, 0);
    }
}

bool ck_sabotage_fenwick_backward(struct kn_fenwick_backward_args *a, int way) {
    struct kn_tensor t = a->k;

    switch (way) {
    case 0:
        a->k = a->q;
        a->q = t;
        return true;
    case 1:
        /* the logits of other heads would have to move */
        if (a->levels == KN_MIN_LEVELS || a->v.dim[2] > 1)
            return false;
        a->dlevel.dim[2] = a->level.dim[2] = a->levels = KN_MIN_LEVELS;
        return true;
    case 2:
        a->level.offset_bytes -= kn_dtype_bytes(a->level.dtype);
        return true;
    default:
        t = a->dq;
        a->dq = a->dk;
        a->dk = t;
        return true;
    }
}

void ck_bench_fenwick_backward(struct ck *ck) {
    ck_bench_backward(ck, false);
}
