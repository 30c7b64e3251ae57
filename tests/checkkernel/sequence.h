/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Operations with a state: a sequence of tokens is laid out once, then played on a device in
 * pieces, as clips and steps, and the outputs of ways to play it are compared.
 */
#ifndef CK_SEQUENCE_H
#define CK_SEQUENCE_H

#include "checkkernel.h"

struct ck_shape {
    bool mesa;
    int64_t N, T, G, H, D;
    int64_t levels; /* Fenwick */
    int64_t B;      /* control entries */
    bool by_frame;  /* the rows of all sequences of a frame follow each other, as in the model */
};

/* How the tokens are drawn. Zero: as at the start of training. */
enum ck_tokens { CK_USUAL, CK_SAME_KEYS, CK_ZERO_KEYS, CK_HUGE_VALUES };

struct ck_sequence {
    struct ck_shape shape;
    struct ck *ck;
    struct ck_memory *memory;
    struct kn_tensor q, k, v, gate, out; /* (N, T, ...) */
    struct kn_tensor extra;              /* level or beta */
    struct kn_tensor lambda;             /* Mesa */
    struct kn_tensor control;
};

struct ck_sequence *ck_sequence_new(struct ck *ck, const struct ck_shape *shape);
void ck_sequence_free(struct ck_sequence *s);
void ck_sequence_draw(struct ck_sequence *s, enum ck_tokens kind);
/* The same logit everywhere. */
void ck_sequence_gate(struct ck_sequence *s, float logit);
void ck_sequence_extra(struct ck_sequence *s, float logit);
void ck_sequence_lambda(struct ck_sequence *s, float value);
/* Values of token t of sequence n: those of head or group h. */
float *ck_token(struct ck_sequence *s, const struct kn_tensor *t, int64_t n, int64_t token,
                int64_t h);

/* Some tokens in one run. */
struct ck_piece {
    int64_t count;
    bool step;      /* one run of the step operation for each token */
    unsigned reset; /* bit b: control entry b is reset by the first run */
};

/* How a sequence is played, and what comes of it. */
struct ck_play {
    struct kn_dev *dev;
    const struct ck_piece *piece;
    int pieces;   /* 0: one clip without a state */
    int64_t from; /* first token */
    bool truth;   /* never a fault in it */
    float tolerance;
    uint32_t iterations;
    float *out; /* (N, tokens played, H, D); made by ck_play() */
    int64_t played;
    struct kn_mesa_stats mesa; /* over all entries */
    /* benchmarks: tokens are used again and again, nothing is checked, the first piece warms up */
    bool bench;
    double best, median; /* seconds of a run */
};

/* False: said by ck_fail(). */
bool ck_play(struct ck_sequence *s, struct ck_play *play);
/* What the definition says of count tokens from one on, by the reference's clip without a state. */
float *ck_truth(struct ck_sequence *s, int64_t from, int64_t count);
/* Plays in pieces on a device, from the first token, and compares with the definition. */
void ck_play_and_compare(struct ck_sequence *s, struct kn_dev *dev, const struct ck_piece *piece,
                         int pieces, const float *truth, const char *what);
#define CK_PLAY(s, dev, truth, what, ...)                               \
    ck_play_and_compare(s, dev, (const struct ck_piece[]){__VA_ARGS__}, \
                        (int)CK_COUNT(((const struct ck_piece[]){__VA_ARGS__})), truth, what)
/* Where token t of sequence n begins in an output of count tokens. */
int64_t ck_out_at(const struct ck_sequence *s, int64_t count, int64_t n, int64_t t);

/* ------------------------------------------------------------ cases that Fenwick and Mesa share */

/* Starts a case with everything about the shape in its name. */
bool ck_begin_shape(struct ck *ck, const struct ck_shape *shape, const char *what);
/* Sequences, groups, heads, streams and layout of the i-th kind. */
struct ck_shape ck_shape_of(bool mesa, int64_t T, int64_t levels, int64_t D, int i);
/* The tested device's clip without a state against the definition. */
void ck_compare_clip(struct ck_sequence *s, const float *truth);
/* The same as a case; carried: clips with a state on both devices besides. */
void ck_case_clip(struct ck *ck, const struct ck_shape *shape, bool carried);
/* 210 tokens in clips that fit nothing. */
void ck_case_uneven(struct ck *ck, const struct ck_shape *shape);
/* 300 tokens in steps, and in steps and clips. */
void ck_case_steps(struct ck *ck, const struct ck_shape *shape);
/* 310 tokens: steps after clips of various lengths. */
void ck_case_steps_after(struct ck *ck, const struct ck_shape *shape);
/* Streams that are reset, some or all, before a step or a clip. */
void ck_case_resets(struct ck *ck, bool mesa, bool step);
/* Changes in one sequence from some token on; both devices, with and without a state. */
void ck_case_causality(struct ck *ck, bool mesa);
/* Gates shut and open, equal keys, zero keys, huge values. */
void ck_case_extremes(struct ck *ck, bool mesa);
/* The same key in T steps without any decay; the steps from check_from on are compared. */
void ck_case_endless(struct ck *ck, bool mesa, int64_t T, int64_t check_from, double tolerance);

#endif
