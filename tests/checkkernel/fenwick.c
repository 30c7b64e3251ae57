/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fenwick attention. The truth is the reference's sum over all pairs of tokens; compared with it
 * are the reference's own recurrence, and clips, steps and any mixture of them on the tested
 * device.
 */
#include "sequence.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const int64_t levels[] = {12, 2, 4, 8, 20};

/* ---------------------------------------------------------------------------------- every shape */

static void every_shape(struct ck *ck) {
    static const int64_t T[] = {70, 1, 65, 2, 63, 64, 127, 128, 130, 203};
    static const int64_t D[] = {16, 1, 8, 32, 50, 64, 128};
    int round = 0;

    for (size_t l = 0; l < CK_COUNT(levels); l++)
        for (size_t d = 0; d < CK_COUNT(D); d++)
            for (size_t t = 0; t < CK_COUNT(T); t++) {
                struct ck_shape shape = ck_shape_of(false, T[t], levels[l], D[d], round++);
                /* the recurrence costs D times as much; every length meets every level */
                ck_case_clip(ck, &shape, D[d] <= 16);
            }
}

static void long_clips(struct ck *ck) {
    static const int64_t T[] = {1000, 4097};

    for (size_t t = 0; t < CK_COUNT(T); t++)
        for (size_t l = 0; l < CK_COUNT(levels); l++) {
            struct ck_shape shape = ck_shape_of(false, T[t], levels[l], 16, 2);
            ck_case_clip(ck, &shape, true);
        }
}

static void uneven(struct ck *ck) {
    static const int64_t D[] = {16, 50, 32, 1, 64};

    for (int l = 0; l < (int)CK_COUNT(levels); l++)
        for (int i = 0; i < 2; i++) {
            struct ck_shape shape = ck_shape_of(false, 210, levels[l], D[(l + i) % 5], l + 3 * i);
            ck_case_uneven(ck, &shape);
        }
}

static void steps(struct ck *ck) {
    static const int64_t D[] = {16, 8, 32, 1, 50};
    struct ck_shape shape;

    for (int l = 0; l < (int)CK_COUNT(levels); l++) {
        shape = ck_shape_of(false, 300, levels[l], D[l], l);
        ck_case_steps(ck, &shape);
        shape = ck_shape_of(false, 310, levels[l], D[(l + 2) % 5], l + 2);
        ck_case_steps_after(ck, &shape);
    }
    shape = ck_shape_of(false, 300, 12, 128, 2);
    ck_case_steps(ck, &shape);
}

/* Every other token forgets nearly all. */
static void mixed_gates(struct ck *ck) {
    const struct ck_shape shape = ck_shape_of(false, 200, 12, 16, 0);
    struct ck_sequence *s;
    float *truth;

    if (!ck_begin_shape(ck, &shape, "mixed gates"))
        return;
    s = ck_sequence_new(ck, &shape);
    for (int64_t t = 0; t < shape.T; t++)
        for (int64_t n = 0; n < shape.N; n++)
            for (int64_t h = 0; h < shape.H; h++)
                *ck_token(s, &s->gate, n, t, h) = ck_below(ck, 4)   ? 40
                                                  : ck_below(ck, 2) ? -20
                                                                    : -80;
    truth = ck_truth(s, 0, shape.T);
    ck_compare_clip(s, truth);
    CK_PLAY(s, ck->ref, truth, "reference", {64, false, 0}, {136, true, 0});
    CK_PLAY(s, ck->dev, truth, "clip, then steps", {64, false, 0}, {136, true, 0});
    free(truth);
    ck_sequence_free(s);
}

/* ----------------------------------------------------------------------------------- properties */

/* lambda = 1 on every level: gated linear attention by its own recurrence S = exp(g) S + k v^T. */
static void gated_linear(struct ck_sequence *s, int64_t n, int64_t h, double *out) {
    const int64_t D = s->shape.D, group = h / (s->shape.H / s->shape.G);
    double *S = ck_alloc((size_t)(D * D), sizeof *S);

    for (int64_t t = 0; t < s->shape.T; t++) {
        const float *q = ck_token(s, &s->q, n, t, group), *k = ck_token(s, &s->k, n, t, group);
        const float *v = ck_token(s, &s->v, n, t, h);
        double logit = *ck_token(s, &s->gate, n, t, h), qq = 0, kk = 0;
        for (int64_t i = 0; i < D; i++) {
            qq += (double)q[i] * q[i];
            kk += (double)k[i] * k[i];
        }
        for (int64_t i = 0; i < D; i++)
            for (int64_t j = 0; j < D; j++) {
                S[i * D + j] = S[i * D + j] / (1 + exp(-logit)) + k[i] / sqrt(kk) * v[j];
                out[t * D + j] += q[i] / sqrt(qq) * S[i * D + j];
            }
    }
    free(S);
}

/* softplus of it is 1 */
#define UNIT_LOGIT 0.541324854612918f

static void unit_lambda(struct ck *ck, struct kn_dev *dev, bool step) {
    const struct ck_shape shape = {.N = 2, .T = 140, .G = 1, .H = 2, .D = 24, .levels = 12, .B = 1};
    const struct ck_piece piece[] = {{140, step, 0}};
    struct ck_play play = {.dev = dev, .piece = piece, .pieces = 1};
    struct ck_sequence *s;

    if (!ck_begin_shape(ck, &shape, "lambda 1 is gated linear attention"))
        return;
    s = ck_sequence_new(ck, &shape);
    ck_sequence_extra(s, UNIT_LOGIT);
    if (ck_play(s, &play))
        for (int64_t n = 0; n < shape.N; n++)
            for (int64_t h = 0; h < shape.H; h++) {
                double *want = ck_alloc((size_t)(shape.T * shape.D), sizeof *want);
                struct ck_error error = {0};
                gated_linear(s, n, h, want);
                for (int64_t i = 0; i < shape.T * shape.D; i++)
                    ck_error_add(&error, want[i],
                                 play.out[ck_out_at(s, shape.T, n, i / shape.D) + h * shape.D +
                                          i % shape.D]);
                ck_error_check(ck, &error, CK_F32, "gated linear attention");
                free(want);
            }
    free(play.out);
    ck_sequence_free(s);
}

/*
 * One level open, all others shut: each output is the sum over exactly the tokens of that level, by
 * the greedy decomposition into buckets, which knows nothing of exclusive or.
 */
static int64_t bucket(int64_t t, int level, int level_count, int64_t *end) {
    *end = t + 1;
    if (level == 0)
        return t;
    for (int64_t size; (*end = t) > 0; t -= size) {
        int own = 1;
        for (size = 1; t % (2 * size) == 0; size *= 2)
            own++;
        if (own >= level_count - 1) /* the last level takes all that is older */
            return level == level_count - 1 ? 0 : -1;
        if (own == level)
            return t - size;
    }
    return -1;
}

static void one_level(struct ck *ck, int level, int level_count, bool step) {
    const struct ck_shape shape = {
        .N = 1, .T = 100, .G = 1, .H = 1, .D = 8, .levels = level_count, .B = 1};
    const struct ck_piece piece[] = {{100, step, 0}};
    struct ck_play play = {.dev = ck->dev, .piece = piece, .pieces = 1};
    struct ck_error error = {0};
    struct ck_sequence *s;

    if (!ck_begin_shape(ck, &shape, "one level open"))
        return;
    s = ck_sequence_new(ck, &shape);
    ck_sequence_gate(s, 40);
    for (int64_t t = 0; t < shape.T; t++) {
        float *logit = ck_token(s, &s->extra, 0, t, 0), *k = ck_token(s, &s->k, 0, t, 0);
        float *q = ck_token(s, &s->q, 0, t, 0), *v = ck_token(s, &s->v, 0, t, 0);
        for (int l = 0; l < level_count; l++)
            logit[l] = l == level ? UNIT_LOGIT : -90;
        for (int64_t i = 0; i < shape.D; i++) {
            k[i] = q[i] = i == 0;
            v[i] = i == 0 ? 1 : v[i];
        }
    }
    /* q.k = 1 and the first value is 1, so the output counts the tokens of the bucket */
    if (ck_play(s, &play))
        for (int64_t t = 0; t < shape.T; t++) {
            int64_t end = 0, from = bucket(t, level, level_count, &end);
            ck_error_add(&error, from < 0 ? 0 : (double)(end - from), play.out[t * shape.D]);
        }
    ck_error_check(ck, &error, CK_F32, "tokens of the level");
    free(play.out);
    ck_sequence_free(s);
}

static void properties(struct ck *ck, bool step) {
    unit_lambda(ck, ck->ref, step);
    unit_lambda(ck, ck->dev, step);
    for (int level_count = 2; level_count <= 8; level_count += level_count < 4 ? 1 : 4)
        for (int level = 0; level < level_count; level++)
            one_level(ck, level, level_count, step);
}

/* -------------------------------------------------------------------------------------- entries */

void ck_test_fenwick_clip(struct ck *ck) {
    every_shape(ck);
    uneven(ck);
    ck_case_resets(ck, false, false);
    properties(ck, false);
    ck_case_causality(ck, false);
    if (ck->slow)
        long_clips(ck);
}

void ck_test_fenwick_step(struct ck *ck) {
    steps(ck);
    ck_case_resets(ck, false, true);
    ck_case_extremes(ck, false);
    mixed_gates(ck);
    properties(ck, true);
    ck_case_endless(ck, false, 2000, 1900, CK_F32);
    if (ck->slow)
        ck_case_endless(ck, false, 100000, 99000, CK_F32);
}

static bool wrong(struct kn_fenwick_args *a, int way) {
    struct kn_tensor k = a->k;

    switch (way) {
    case 0:
        a->k = a->q;
        a->q = k;
        return true;
    case 1:
        /* the logits of other heads would have to move */
        if (a->levels == KN_MIN_LEVELS || a->v.dim[2] > 1)
            return false;
        a->level.dim[2] = a->levels = KN_MIN_LEVELS;
        return true;
    case 2:
        a->level.offset_bytes -= sizeof(float);
        return true;
    default:
        a->gate.offset_bytes += sizeof(float);
        return true;
    }
}

bool ck_sabotage_fenwick_clip(struct kn_fenwick_args *a, int way) {
    return wrong(a, way);
}

bool ck_sabotage_fenwick_step(struct kn_fenwick_args *a, int way) {
    return wrong(a, way);
}

/* ----------------------------------------------------------------------------------- benchmark */

static void bench(struct ck *ck, const struct ck_preset *p, bool step) {
    /* a clip of all patches would not fit into ordinary memory */
    const int64_t N = p->height / p->patch * (p->width / p->patch) / (step ? 1 : 4);
    const int64_t D = p->dim / p->heads, T = step ? 4 : 16;
    const struct ck_shape shape = {.N = N,
                                   .T = T,
                                   .G = p->heads,
                                   .H = p->heads,
                                   .D = D,
                                   .levels = p->levels,
                                   .B = 1,
                                   .by_frame = true};
    struct ck_sequence *s = ck_sequence_new(ck, &shape);
    const struct ck_piece steps[] = {{64, true, 1}, {64, true, 0}};
    const struct ck_piece clips[] = {
        {16, false, 1}, {16, false, 0}, {16, false, 0}, {16, false, 0}};
    struct ck_play play = {
        .dev = ck->dev, .piece = step ? steps : clips, .pieces = step ? 2 : 4, .bench = true};
    char label[80];

    snprintf(label, sizeof label, "%s N %d H %d D %d, %s", p->name, (int)N, (int)p->heads, (int)D,
             step ? "frames 64 to 127" : "frames 16 to 31");
    /* counted as if every live state were read once: 1 + popcount(t), 5 on average */
    if (ck_play(s, &play))
        ck_bench_line(step ? KN_OP_FENWICK_STEP : KN_OP_FENWICK_CLIP, label, play.best, play.median,
                      (struct ck_work){.flops = (double)(N * p->heads * (step ? 1 : T)) * 2 * 5 *
                                                (double)(D * D)});
    ck_sequence_free(s);
}

void ck_bench_fenwick_clip(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++)
        if (p->name)
            bench(ck, p, false);
}

void ck_bench_fenwick_step(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++)
        if (p->name)
            bench(ck, p, true);
}
