/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cases that both attention operations share: shapes, pieces, resets, extremes, causality. */
#include "sequence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bool ck_begin_shape(struct ck *ck, const struct ck_shape *p, const char *what) {
    return ck_begin(ck, "%s, %s, N %d T %d G %d H %d D %d levels %d, %d streams, %s",
                    p->mesa ? "mesa" : "fenwick", what, (int)p->N, (int)p->T, (int)p->G, (int)p->H,
                    (int)p->D, (int)p->levels, (int)p->B, p->by_frame ? "by frame" : "by sequence");
}

struct ck_shape ck_shape_of(bool mesa, int64_t T, int64_t levels, int64_t D, int i) {
    /* sequences, groups, heads, streams */
    static const int64_t kinds[][4] = {{2, 1, 2, 1}, {2, 2, 2, 2}, {1, 1, 1, 1}, {4, 2, 4, 2},
                                       {3, 1, 3, 1}, {1, 4, 4, 1}, {2, 1, 4, 2}};
    const int64_t *k = kinds[(size_t)i % CK_COUNT(kinds)];

    return (struct ck_shape){.mesa = mesa,
                             .N = k[0],
                             .T = T,
                             .G = k[1],
                             .H = k[2],
                             .D = D,
                             .levels = levels,
                             .B = k[3],
                             .by_frame = i % 2};
}

static int64_t values(const struct ck_sequence *s) {
    return s->shape.N * s->shape.T * s->shape.H * s->shape.D;
}

void ck_compare_clip(struct ck_sequence *s, const float *truth) {
    struct ck_play play = {.dev = s->ck->dev};

    if (truth && ck_play(s, &play))
        ck_compare(s->ck, truth, play.out, values(s), CK_F32, "clip");
    free(play.out);
}

/* Both devices play the same pieces. */
#define PLAY_BOTH(s, truth, what, ...)                                      \
    do {                                                                    \
        CK_PLAY(s, (s)->ck->ref, truth, "reference in " what, __VA_ARGS__); \
        CK_PLAY(s, (s)->ck->dev, truth, what, __VA_ARGS__);                 \
    } while (0)

/* --------------------------------------------------------------------------------------- pieces */

void ck_case_clip(struct ck *ck, const struct ck_shape *shape, bool carried) {
    struct ck_sequence *s;
    float *truth;

    if (!ck_begin_shape(ck, shape, carried ? "clips" : "clip"))
        return;
    s = ck_sequence_new(ck, shape);
    truth = ck_truth(s, 0, shape->T);
    ck_compare_clip(s, truth);
    if (carried)
        PLAY_BOTH(s, truth, "a clip with state", {shape->T, false, 0});
    free(truth);
    ck_sequence_free(s);
}

void ck_case_uneven(struct ck *ck, const struct ck_shape *shape) {
    struct ck_sequence *s;
    float *truth;

    if (!ck_begin_shape(ck, shape, "uneven clips"))
        return;
    s = ck_sequence_new(ck, shape);
    truth = ck_truth(s, 0, shape->T);
    PLAY_BOTH(s, truth, "7 64 1 65 66 7", {7, false, 0}, {64, false, 0}, {1, false, 0},
              {65, false, 0}, {66, false, 0}, {7, false, 0});
    PLAY_BOTH(s, truth, "64 64 64 18", {64, false, 0}, {64, false, 0}, {64, false, 0},
              {18, false, 0});
    PLAY_BOTH(s, truth, "128 82", {128, false, 0}, {82, false, 0});
    PLAY_BOTH(s, truth, "63 127 20", {63, false, 0}, {127, false, 0}, {20, false, 0});
    free(truth);
    ck_sequence_free(s);
}

void ck_case_steps(struct ck *ck, const struct ck_shape *shape) {
    struct ck_sequence *s;
    float *truth;

    if (!ck_begin_shape(ck, shape, "steps"))
        return;
    s = ck_sequence_new(ck, shape);
    truth = ck_truth(s, 0, shape->T);
    PLAY_BOTH(s, truth, "steps", {300, true, 0});
    PLAY_BOTH(s, truth, "steps, clip", {37, true, 0}, {263, false, 0});
    PLAY_BOTH(s, truth, "steps, clip, steps", {64, true, 0}, {100, false, 0}, {136, true, 0});
    PLAY_BOTH(s, truth, "steps, clips of one, steps, clip, steps", {5, true, 0}, {1, false, 0},
              {1, false, 0}, {3, true, 0}, {246, false, 0}, {44, true, 0});
    free(truth);
    ck_sequence_free(s);
}

/* A stream that goes on after a clip, at the places where a carry runs far. */
void ck_case_steps_after(struct ck *ck, const struct ck_shape *shape) {
    static const int64_t prefix[] = {64, 128, 256, 300, 1, 63, 65};
    struct ck_sequence *s;
    float *truth;

    if (!ck_begin_shape(ck, shape, "steps after a clip"))
        return;
    s = ck_sequence_new(ck, shape);
    truth = ck_truth(s, 0, shape->T);
    for (size_t i = 0; i < CK_COUNT(prefix); i++)
        PLAY_BOTH(s, truth, "clip, steps", {prefix[i], false, 0}, {shape->T - prefix[i], true, 0});
    free(truth);
    ck_sequence_free(s);
}

/* --------------------------------------------------------------------------------------- resets */

/* Each stream counts from its own last reset; what was before must not be seen. */
static void one_reset(struct ck *ck, bool mesa, bool step, unsigned reset) {
    const struct ck_shape shape = {.mesa = mesa,
                                   .N = 4,
                                   .T = 150,
                                   .G = 1,
                                   .H = 2,
                                   .D = 16,
                                   .levels = 5,
                                   .B = 2,
                                   .by_frame = true};
    const struct ck_piece piece[] = {{77, false, 0}, {73, step, reset}};
    const int64_t width = shape.H * shape.D;
    struct ck_play play = {.dev = ck->dev, .piece = piece, .pieces = 2};
    struct ck_sequence *s;
    float *whole, *fresh;

    if (!ck_begin_shape(ck, &shape, step ? "reset before a step" : "reset before a clip"))
        return;
    s = ck_sequence_new(ck, &shape);
    whole = ck_truth(s, 0, 150);
    fresh = ck_truth(s, 77, 73);
    if (whole && fresh && ck_play(s, &play))
        for (int64_t n = 0; n < shape.N; n++) {
            bool again = reset >> (n / 2) & 1;
            const float *truth =
                again ? fresh + ck_out_at(s, 73, n, 0) : whole + ck_out_at(s, 150, n, 77);
            ck_compare(ck, truth, play.out + ck_out_at(s, 150, n, 77), 73 * width, CK_F32,
                       again ? "after its reset" : "beside a reset");
        }
    free(whole);
    free(fresh);
    free(play.out);
    ck_sequence_free(s);
}

void ck_case_resets(struct ck *ck, bool mesa, bool step) {
    for (unsigned reset = 1; reset < 4; reset++)
        one_reset(ck, mesa, step, reset);
}

/* ------------------------------------------------------------------------------------- extremes */

static void one_extreme(struct ck *ck, bool mesa, const char *what, enum ck_tokens kind,
                        const float *gate) {
    const struct ck_shape shape = {
        .mesa = mesa, .N = 2, .T = 150, .G = 1, .H = 2, .D = 32, .levels = 12, .B = 1};
    struct ck_sequence *s;
    float *truth;

    if (!ck_begin_shape(ck, &shape, what))
        return;
    s = ck_sequence_new(ck, &shape);
    ck_sequence_draw(s, kind);
    if (gate)
        ck_sequence_gate(s, *gate);
    truth = ck_truth(s, 0, shape.T);
    ck_compare_clip(s, truth);
    PLAY_BOTH(s, truth, "clip, steps", {100, false, 0}, {50, true, 0});
    free(truth);
    ck_sequence_free(s);
}

void ck_case_extremes(struct ck *ck, bool mesa) {
    const float closed = -80, open = 80;

    one_extreme(ck, mesa, "gates shut", CK_USUAL, &closed);
    one_extreme(ck, mesa, "gates open", CK_USUAL, &open);
    one_extreme(ck, mesa, "equal keys", CK_SAME_KEYS, NULL);
    one_extreme(ck, mesa, "zero keys", CK_ZERO_KEYS, NULL);
    one_extreme(ck, mesa, "huge values", CK_HUGE_VALUES, NULL);
}

void ck_case_endless(struct ck *ck, bool mesa, int64_t T, int64_t check_from, double tolerance) {
    const struct ck_shape shape = {
        .mesa = mesa, .N = 1, .T = T, .G = 1, .H = 2, .D = 16, .levels = 12, .B = 1};
    const struct ck_piece piece[] = {{T, true, 0}};
    const int64_t width = shape.H * shape.D;
    struct ck_play play = {.dev = ck->dev, .piece = piece, .pieces = 1};
    struct ck_play same = {.dev = ck->ref, .piece = piece, .pieces = 1, .truth = true};
    struct ck_sequence *s;
    bool finite = true;

    if (!ck_begin_shape(ck, &shape, "constant keys without decay"))
        return;
    s = ck_sequence_new(ck, &shape);
    ck_sequence_draw(s, CK_SAME_KEYS);
    ck_sequence_gate(s, 40);
    if (ck_play(s, &play) && ck_play(s, &same)) {
        for (int64_t i = 0; i < T * width; i++)
            finite &= isfinite(play.out[i]) != 0;
        ck_want(ck, finite, "a value is not finite");
        ck_compare(ck, same.out + check_from * width, play.out + check_from * width,
                   (T - check_from) * width, tolerance, "the last steps");
    }
    free(play.out);
    free(same.out);
    ck_sequence_free(s);
}

/* ------------------------------------------------------------------------------------ causality */

static void change(struct ck_sequence *s, int64_t n, int64_t from) {
    const struct kn_tensor *changed[] = {&s->q, &s->k, &s->v, &s->gate, &s->extra};

    for (size_t i = 0; i < CK_COUNT(changed); i++)
        for (int64_t t = from; t < s->shape.T; t++)
            ck_token(s, changed[i], n, t, 0)[0] += i < 3 ? 100 : -3;
}

/* What comes later, or happens in another sequence, leaves every bit as it is; so does a second
 * run. */
static void one_causality(struct ck *ck, bool mesa, struct kn_dev *dev, int64_t at, bool carried) {
    const struct ck_shape shape = {.mesa = mesa,
                                   .N = 3,
                                   .T = 131,
                                   .G = 1,
                                   .H = 2,
                                   .D = 32,
                                   .levels = 6,
                                   .B = 1,
                                   .by_frame = true};
    const struct ck_piece piece[] = {{70, false, 0}, {51, false, 0}, {10, true, 0}};
    const int64_t width = shape.H * shape.D, all = shape.T * width;
    struct ck_play a = {.dev = dev,
                        .piece = piece,
                        .pieces = carried ? 3 : 0,
                        .tolerance = 1e-3f,
                        .iterations = 30};
    struct ck_play b = a, c = a;
    struct ck_sequence *s;
    bool ok;

    if (!ck_begin_shape(ck, &shape, carried ? "causality of pieces" : "causality of a clip"))
        return;
    s = ck_sequence_new(ck, &shape);
    ok = ck_play(s, &a) && ck_play(s, &b);
    change(s, 1, at);
    ok = ok && ck_play(s, &c);
    if (ok) {
        ck_same(ck, a.out, b.out, 3 * all, "twice the same");
        ck_same(ck, a.out, c.out, all, "the sequence before");
        ck_same(ck, a.out + all, c.out + all, at * width, "earlier tokens");
        ck_same(ck, a.out + 2 * all, c.out + 2 * all, all, "the sequence behind");
        ck_want(ck, memcmp(a.out + all, c.out + all, (size_t)all * sizeof(float)) != 0,
                "the change made no difference");
    }
    free(a.out);
    free(b.out);
    free(c.out);
    ck_sequence_free(s);
}

void ck_case_causality(struct ck *ck, bool mesa) {
    static const int64_t at[] = {1, 63, 64, 65, 100, 130};

    for (size_t i = 0; i < CK_COUNT(at); i++)
        for (int carried = 0; carried < 2; carried++) {
            one_causality(ck, mesa, ck->ref, at[i], carried);
            one_causality(ck, mesa, ck->dev, at[i], carried);
        }
}
