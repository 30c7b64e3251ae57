/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mesa layer. The truth is the reference, which factorises by Cholesky; the tested device is asked
 * for a relative residual of 1e-6 where it is compared with it. Besides: the definition once more
 * by sums and Gaussian elimination, and what the conjugate gradient promises of itself.
 */
#include "sequence.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------- every shape */

static void every_shape(struct ck *ck) {
    static const int64_t T[] = {70, 1, 65, 2, 63, 64, 127, 128, 130, 203};
    static const int64_t D[] = {16, 1, 8, 32, 50, 64};
    int round = 0;

    for (size_t d = 0; d < CK_COUNT(D); d++)
        for (size_t t = 0; t < CK_COUNT(T); t++) {
            struct ck_shape shape = ck_shape_of(true, T[t], 0, D[d], round++);
            ck_case_clip(ck, &shape, D[d] <= 16);
        }
    /* a factorisation of 128 columns for every token takes the reference a while */
    for (size_t t = 0; t < CK_COUNT(T); t += 3) {
        struct ck_shape shape = ck_shape_of(true, T[t], 0, 128, t % 2 ? 2 : 0);
        ck_case_clip(ck, &shape, false);
    }
}

static void long_clips(struct ck *ck) {
    static const int64_t T[] = {1000, 4097};

    for (size_t t = 0; t < CK_COUNT(T); t++) {
        struct ck_shape shape = ck_shape_of(true, T[t], 0, 16, 0);
        ck_case_clip(ck, &shape, true);
    }
}

static void pieces(struct ck *ck, bool step) {
    static const int64_t D[] = {16, 32, 1, 50};
    struct ck_shape shape;

    for (int d = 0; d < (int)CK_COUNT(D); d++) {
        if (!step) {
            shape = ck_shape_of(true, 210, 0, D[d], d);
            ck_case_uneven(ck, &shape);
            continue;
        }
        shape = ck_shape_of(true, 300, 0, D[d], D[d] < 32 ? d : 2);
        ck_case_steps(ck, &shape);
        shape = ck_shape_of(true, 310, 0, D[d] < 32 ? D[d] : 24, D[d] < 32 ? d + 3 : 2);
        ck_case_steps_after(ck, &shape);
    }
}

/* --------------------------------------------------------------------- the definition once more */

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

static double lambda_of(struct ck_sequence *s, int64_t h, int64_t i) {
    return log1p(exp(*(float *)ck_at(s->memory, &s->lambda, h, i, 0, 0))) + 0.25;
}

static void unit(const float *x, int64_t D, double *out) {
    double norm = 0;

    for (int64_t i = 0; i < D; i++)
        norm += (double)x[i] * x[i];
    for (int64_t i = 0; i < D; i++)
        out[i] = x[i] / fmax(sqrt(norm), 1e-6);
}

/* Adds token t to the sums with its weight. */
static void add_token(struct ck_sequence *s, int64_t n, int64_t t, int64_t h, double weight,
                      double *H, double *G) {
    const int64_t D = s->shape.D;
    const float *v = ck_token(s, &s->v, n, t, h);
    double k[KN_MAX_HEAD_DIM];

    unit(ck_token(s, &s->k, n, t, h / (s->shape.H / s->shape.G)), D, k);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            H[i * D + j] += weight * k[i] * k[j];
            G[i * D + j] += weight * k[i] * v[j];
        }
}

/* H_t and G_t as sums over all tokens up to t. */
static void sums(struct ck_sequence *s, int64_t n, int64_t t, int64_t h, double *H, double *G) {
    const size_t bytes = (size_t)(s->shape.D * s->shape.D) * sizeof *H;
    double decay = 1;

    memset(H, 0, bytes);
    memset(G, 0, bytes);
    for (int64_t i = t; i >= 0; i--) {
        add_token(s, n, i, h, decay * sigmoid(*ck_token(s, &s->extra, n, i, h)), H, G);
        decay *= sigmoid(*ck_token(s, &s->gate, n, i, h));
    }
}

/* x = A^-1 x by elimination with pivoting; A is destroyed. */
static void eliminate(double *A, double *x, int64_t D) {
    for (int64_t c = 0; c < D; c++) {
        int64_t pivot = c;
        for (int64_t r = c + 1; r < D; r++)
            if (fabs(A[r * D + c]) > fabs(A[pivot * D + c]))
                pivot = r;
        for (int64_t j = 0; j < D && pivot != c; j++) {
            double swap = A[c * D + j];
            A[c * D + j] = A[pivot * D + j];
            A[pivot * D + j] = swap;
        }
        double swap = x[c];
        x[c] = x[pivot];
        x[pivot] = swap;
        for (int64_t r = 0; r < D; r++) {
            double factor = A[r * D + c] / A[c * D + c];
            if (r == c)
                continue;
            for (int64_t j = c; j < D; j++)
                A[r * D + j] -= factor * A[c * D + j];
            x[r] -= factor * x[c];
        }
    }
    for (int64_t c = 0; c < D; c++)
        x[c] /= A[c * D + c];
}

static void add_errors(struct ck_sequence *s, const float *out, int64_t n, int64_t h,
                       struct ck_error *error) {
    const int64_t D = s->shape.D;
    double *H = ck_alloc((size_t)(2 * D * D), sizeof *H), *G = H + D * D, x[KN_MAX_HEAD_DIM];

    for (int64_t t = 0; t < s->shape.T; t++) {
        sums(s, n, t, h, H, G);
        for (int64_t i = 0; i < D; i++)
            H[i * D + i] += lambda_of(s, h, i);
        unit(ck_token(s, &s->q, n, t, h / (s->shape.H / s->shape.G)), D, x);
        eliminate(H, x, D);
        for (int64_t j = 0; j < D; j++) {
            double want = 0;
            for (int64_t i = 0; i < D; i++)
                want += G[i * D + j] * x[i];
            ck_error_add(error, want, out[ck_out_at(s, s->shape.T, n, t) + h * D + j]);
        }
    }
    free(H);
}

static void definition(struct ck *ck, struct kn_dev *dev, bool step, int64_t D) {
    const struct ck_shape shape = {.mesa = true, .N = 2, .T = 40, .G = 1, .H = 2, .D = D, .B = 1};
    const struct ck_piece piece[] = {{40, step, 0}};
    struct ck_play play = {.dev = dev, .piece = piece, .pieces = 1};
    struct ck_error error = {0};
    struct ck_sequence *s;

    if (!ck_begin_shape(ck, &shape, "sums and elimination"))
        return;
    s = ck_sequence_new(ck, &shape);
    if (ck_play(s, &play))
        for (int64_t n = 0; n < shape.N; n++)
            for (int64_t h = 0; h < shape.H; h++)
                add_errors(s, play.out, n, h, &error);
    ck_error_check(ck, &error, CK_F32, "the definition");
    free(play.out);
    ck_sequence_free(s);
}

/* (beta, Lambda) times one half changes nothing; a query of zeros gives zeros. */
static void invariance(struct ck *ck) {
    const struct ck_shape shape = ck_shape_of(true, 90, 0, 24, 3);
    struct ck_play a = {.dev = ck->dev}, b = a, c = a;
    struct ck_sequence *s;

    if (!ck_begin_shape(ck, &shape, "beta and Lambda scaled together"))
        return;
    s = ck_sequence_new(ck, &shape);
    for (int64_t i = 0; i < shape.H * shape.D; i++)
        ((float *)ck_at(s->memory, &s->lambda, 0, 0, 0, 0))[i] = (float)(1 + ck_uniform(ck));
    if (ck_play(s, &a)) {
        for (int64_t n = 0; n < shape.N; n++)
            for (int64_t t = 0; t < shape.T; t++)
                for (int64_t h = 0; h < shape.H; h++) {
                    double beta = sigmoid(*ck_token(s, &s->extra, n, t, h)) / 2;
                    *ck_token(s, &s->extra, n, t, h) = (float)log(beta / (1 - beta));
                }
        for (int64_t i = 0; i < shape.H * shape.D; i++)
            ((float *)ck_at(s->memory, &s->lambda, 0, 0, 0, 0))[i] =
                (float)log(expm1(lambda_of(s, i / shape.D, i % shape.D) / 2 - 0.25));
        if (ck_play(s, &b))
            ck_compare(ck, a.out, b.out, shape.N * shape.T * shape.H * shape.D, CK_F32, "scaled");
        for (int64_t n = 0; n < shape.N; n++)
            for (int64_t t = 0; t < shape.T; t++)
                memset(ck_token(s, &s->q, n, t, 0), 0, (size_t)(shape.G * shape.D) * sizeof(float));
        if (ck_play(s, &c))
            for (int64_t i = 0; i < shape.N * shape.T * shape.H * shape.D; i++)
                ck_want(ck, c.out[i] == 0, "%g from a query of zeros", (double)c.out[i]);
    }
    free(a.out);
    free(b.out);
    free(c.out);
    ck_sequence_free(s);
}

/* -------------------------------------------------------------------------- conjugate gradient */

static bool solves_directly(const struct ck *ck) {
    struct kn_dev_info info;

    kn_dev_info(ck->dev, &info);
    return strcmp(info.name, "ref") == 0;
}

/*
 * A sequence whose outputs show the solution itself: the first D keys are the unit vectors with the
 * same unit vectors as values, and all later values are zero. So G_t is a known diagonal matrix,
 * while H_t is made of all keys.
 */
static struct ck_sequence *transparent(struct ck *ck, const struct ck_shape *shape, float gate,
                                       double spread) {
    struct ck_sequence *s = ck_sequence_new(ck, shape);

    ck_sequence_gate(s, gate);
    for (int64_t n = 0; n < shape->N; n++)
        for (int64_t t = 0; t < shape->T; t++) {
            float *k = ck_token(s, &s->k, n, t, 0), *v = ck_token(s, &s->v, n, t, 0);
            for (int64_t i = 0; i < shape->D; i++) {
                v[i] = t == i;
                k[i] = t < shape->D ? t == i : 1 + (float)spread * k[i];
            }
        }
    return s;
}

/* Largest |q - (H + Lambda) x| / |q|, x taken from the outputs; slack: what rounding may add. */
static double worst_residual(struct ck_sequence *s, const float *out, double *slack) {
    const int64_t D = s->shape.D;
    double *H = ck_alloc((size_t)(2 * D * D), sizeof *H), *G = H + D * D, worst = 0;
    double q[KN_MAX_HEAD_DIM], x[KN_MAX_HEAD_DIM];

    *slack = 0;
    for (int64_t n = 0; n < s->shape.N; n++)
        for (int64_t t = D; t < s->shape.T; t++) {
            double norm = 0, scale = 0;
            sums(s, n, t, 0, H, G);
            unit(ck_token(s, &s->q, n, t, 0), D, q);
            for (int64_t i = 0; i < D; i++) {
                x[i] = out[ck_out_at(s, s->shape.T, n, t) + i] / G[i * D + i];
                H[i * D + i] += lambda_of(s, 0, i);
                scale += H[i * D + i];
            }
            for (int64_t i = 0; i < D; i++) {
                double r = q[i];
                for (int64_t j = 0; j < D; j++)
                    r -= H[i * D + j] * x[j];
                norm += r * r;
            }
            worst = !(sqrt(norm) <= worst) ? sqrt(norm) : worst;
            *slack = fmax(*slack, 1e-6 * scale);
        }
    free(H);
    return worst;
}

/* Most that the condition number of H_t + Lambda can be, by the trace of H_t. */
static double condition(struct ck_sequence *s) {
    double largest = 0, smallest = INFINITY, trace, most = 0;

    for (int64_t h = 0; h < s->shape.H; h++)
        for (int64_t i = 0; i < s->shape.D; i++) {
            largest = fmax(largest, lambda_of(s, h, i));
            smallest = fmin(smallest, lambda_of(s, h, i));
        }
    for (int64_t n = 0; n < s->shape.N; n++)
        for (int64_t h = 0; h < s->shape.H; h++) {
            trace = 0;
            for (int64_t t = 0; t < s->shape.T; t++) {
                trace = trace * sigmoid(*ck_token(s, &s->gate, n, t, h)) +
                        sigmoid(*ck_token(s, &s->extra, n, t, h));
                most = fmax(most, trace);
            }
        }
    return (largest + most) / smallest;
}

/*
 * Iterations after which the residual must be below the tolerance: the error in the norm of A
 * falls below 2 ((sqrt k - 1) / (sqrt k + 1))^n of what it was, the residual is at most sqrt k
 * times that.
 */
static double iteration_bound(double k, double tolerance) {
    return ceil(log(tolerance / (2 * sqrt(k))) / log((sqrt(k) - 1) / (sqrt(k) + 1)));
}

static const float tolerances[] = {1e-1f, 1e-2f, 1e-3f, 1e-4f, 1e-5f, 1e-6f};

static void check_stats(struct ck_sequence *s, const struct ck_play *play, double bound) {
    const struct kn_mesa_stats *m = &play->mesa;
    uint64_t rows = (uint64_t)(s->shape.N * s->shape.T * s->shape.H);
    double slack, worst = worst_residual(s, play->out, &slack);

    if (s->ck->verbose)
        printf("    tolerance %-6g %.2f iterations on average, %" PRIu32
               " at most (bound %.0f), worst residual %.3g, by the recurrence %.3g\n",
               (double)play->tolerance, (double)m->iterations / (double)rows, m->max_iterations,
               bound, worst, (double)m->worst_residual);
    ck_want(s->ck, m->rows == rows, "%" PRIu64 " rows counted, not %" PRIu64, m->rows, rows);
    ck_want(s->ck, m->capped == 0, "%" PRIu64 " rows capped at tolerance %g", m->capped,
            (double)play->tolerance);
    ck_want(s->ck, m->worst_residual <= play->tolerance, "residual %g reported at tolerance %g",
            (double)m->worst_residual, (double)play->tolerance);
    ck_want(s->ck, worst <= 1.02 * (double)play->tolerance + slack, "residual %g at tolerance %g",
            worst, (double)play->tolerance);
    /* rounding may cost an iteration or two, at the sharpest tolerance a few */
    ck_want(s->ck, m->max_iterations <= 1.2 * bound + 2, "%" PRIu32 " iterations, bound %.0f",
            m->max_iterations, bound);
}

/* Every tolerance is kept, and costs what theory allows. */
static void convergence(struct ck *ck, bool step, float gate, double spread) {
    const struct ck_shape shape = {.mesa = true, .N = 3, .T = 120, .G = 1, .H = 1, .D = 32, .B = 1};
    const struct ck_piece piece[] = {{120, step, 0}};
    struct ck_sequence *s;
    uint64_t before = 0, first = 0;

    if (solves_directly(ck) || !ck_begin_shape(ck, &shape, "convergence"))
        return;
    s = transparent(ck, &shape, gate, spread);
    if (ck->verbose)
        printf("    gate %g, spread of keys %g, condition <= %.1f\n", (double)gate, spread,
               condition(s));
    for (size_t i = 0; i < CK_COUNT(tolerances); i++) {
        struct ck_play play = {
            .dev = ck->dev, .piece = piece, .pieces = 1, .tolerance = tolerances[i]};
        if (!ck_play(s, &play))
            break;
        check_stats(s, &play, iteration_bound(condition(s), (double)tolerances[i]));
        ck_want(ck, play.mesa.iterations >= before, "fewer iterations at tolerance %g",
                (double)tolerances[i]);
        before = play.mesa.iterations;
        first = i == 0 ? before : first;
        free(play.out);
    }
    ck_want(ck, before > first, "no more iterations at the sharpest tolerance");
    ck_sequence_free(s);
}

/* A row that may not go on is counted, and no other row. */
static void capped(struct ck *ck, bool step) {
    const struct ck_shape shape = {.mesa = true, .N = 3, .T = 120, .G = 1, .H = 1, .D = 32, .B = 1};
    const struct ck_piece piece[] = {{120, step, 0}};
    struct ck_play play = {
        .dev = ck->dev, .piece = piece, .pieces = 1, .tolerance = 1e-3f, .iterations = 3};
    struct ck_sequence *s;

    if (solves_directly(ck) || !ck_begin_shape(ck, &shape, "capped"))
        return;
    s = transparent(ck, &shape, 4, 1);
    if (ck_play(s, &play)) {
        const struct kn_mesa_stats *m = &play.mesa;
        if (ck->verbose)
            printf("    %" PRIu64 " of %" PRIu64 " rows capped, worst residual %.3g\n", m->capped,
                   m->rows, (double)m->worst_residual);
        ck_want(ck, m->rows == 360, "%" PRIu64 " rows counted, not 360", m->rows);
        ck_want(ck, m->max_iterations == 3, "%" PRIu32 " iterations, not 3", m->max_iterations);
        /* the first row is a system of rank one, which two iterations solve if Lambda were even */
        ck_want(ck, m->capped > 0 && m->capped <= 360, "%" PRIu64 " rows capped", m->capped);
        ck_want(ck, m->worst_residual > 1e-3f && isfinite(m->worst_residual),
                "worst residual %g of capped rows", (double)m->worst_residual);
        for (int64_t i = 0; i < shape.N * shape.T * shape.D; i++)
            ck_want(ck, isfinite(play.out[i]), "a value is not finite");
    }
    free(play.out);
    ck_sequence_free(s);
}

static void properties(struct ck *ck, bool step) {
    definition(ck, ck->ref, step, 1);
    definition(ck, ck->ref, step, 12);
    definition(ck, ck->dev, step, 1);
    definition(ck, ck->dev, step, 12);
    convergence(ck, step, 3, 1);
    convergence(ck, step, 40, 1);
    convergence(ck, step, 4, 0.2);
    capped(ck, step);
}

/* -------------------------------------------------------------------------------------- entries */

void ck_test_mesa_clip(struct ck *ck) {
    every_shape(ck);
    pieces(ck, false);
    ck_case_resets(ck, true, false);
    properties(ck, false);
    invariance(ck);
    ck_case_causality(ck, true);
    if (ck->slow)
        long_clips(ck);
}

/*
 * After T equal keys without decay the solution along the key is about T times smaller than the
 * solution, and the output is made of nothing else: a relative error of 1e-6 grows T times.
 */
static void endless(struct ck *ck, int64_t T) {
    double error = 3e-6 * (double)T;

    ck_case_endless(ck, true, T, T - 100, error * error);
}

void ck_test_mesa_step(struct ck *ck) {
    pieces(ck, true);
    ck_case_resets(ck, true, true);
    ck_case_extremes(ck, true);
    properties(ck, true);
    endless(ck, 2000);
    if (ck->slow)
        endless(ck, 16000);
}

static bool wrong(struct kn_mesa_args *a, int way) {
    struct kn_tensor k = a->k, gate = a->gate;

    switch (way) {
    case 0:
        a->k = a->q;
        a->q = k;
        return true;
    case 1:
        a->gate = a->beta;
        a->beta = gate;
        return true;
    case 2:
        a->lambda.offset_bytes += sizeof(float);
        return true;
    default:
        return false;
    }
}

bool ck_sabotage_mesa_clip(struct kn_mesa_args *a, int way) {
    return wrong(a, way);
}

bool ck_sabotage_mesa_step(struct kn_mesa_args *a, int way) {
    return wrong(a, way);
}

/* ----------------------------------------------------------------------------------- benchmark */

static void bench(struct ck *ck, const struct ck_preset *p, bool step) {
    const int64_t N = p->height / p->patch * (p->width / p->patch) / (step ? 1 : 4);
    const int64_t D = p->dim / p->heads, T = step ? 4 : 16;
    const struct ck_shape shape = {.mesa = true,
                                   .N = N,
                                   .T = T,
                                   .G = p->heads,
                                   .H = p->heads,
                                   .D = D,
                                   .B = 1,
                                   .by_frame = true};
    struct ck_sequence *s = ck_sequence_new(ck, &shape);
    const struct ck_piece steps[] = {{16, true, 1}, {32, true, 0}};
    const struct ck_piece clips[] = {
        {16, false, 1}, {16, false, 0}, {16, false, 0}, {16, false, 0}};
    struct ck_play play = {.dev = ck->dev,
                           .piece = step ? steps : clips,
                           .pieces = step ? 2 : 4,
                           .bench = true,
                           .tolerance = 1e-3f,
                           .iterations = 30};
    char label[80];

    if (ck_play(s, &play)) {
        double rows = (double)(N * p->heads * (step ? 1 : T)), area = (double)(D * D);
        double mean = (double)play.mesa.iterations / (double)play.mesa.rows;
        snprintf(label, sizeof label, "%s N %d H %d D %d, %.1f iterations", p->name, (int)N,
                 (int)p->heads, (int)D, mean);
        ck_bench_line(step ? KN_OP_MESA_STEP : KN_OP_MESA_CLIP, label, play.best, play.median,
                      (struct ck_work){.flops = rows * area * (6 + 2 + 2 * mean)});
    }
    ck_sequence_free(s);
}

void ck_bench_mesa_clip(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++)
        if (p->name)
            bench(ck, p, false);
}

void ck_bench_mesa_step(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++)
        if (p->name)
            bench(ck, p, true);
}
