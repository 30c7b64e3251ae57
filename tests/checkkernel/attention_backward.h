/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of both attentions: tokens and gradients laid out as columns of two matrices, a state
 * that each device makes itself from the tokens before the clip, and what cases share.
 */
#ifndef CK_ATTENTION_BACKWARD_H
#define CK_ATTENTION_BACKWARD_H

#include "sequence.h"

/* What the clip finds: nothing, a state of so many tokens, or one that must not be looked at. */
enum ck_past { CK_NO_STATE, CK_CARRIED, CK_AT_START, CK_RESET };

struct ck_backward {
    struct ck_shape shape;
    enum ck_past kind;
    int64_t past; /* tokens before the clip, CK_CARRIED only */
    enum kn_dtype dtype;
    struct ck *ck;
    struct ck_memory *memory;
    struct kn_tensor q, k, v, gate, extra, lambda; /* of the clip; extra: level or beta */
    struct kn_tensor out, solution, dout;          /* (N, T, H, D) */
    struct kn_tensor dq, dk, dv, dgate, dextra, dlambda;
    struct kn_tensor control, moved; /* of the backward and of the forward operation */
    struct kn_tensor past_out;
    uint64_t read, written; /* states in KN_SLOT_PAST: the backward's, the forward's copy */
    uint64_t stride;        /* bytes of state per control entry */
};

struct ck_backward *ck_backward_new(struct ck *ck, const struct ck_shape *shape, enum ck_past kind,
                                    int64_t past, enum kn_dtype dtype);
void ck_backward_free(struct ck_backward *b);
/* Starts a case with everything about it in its name. */
bool ck_begin_backward(struct ck *ck, const struct ck_shape *shape, enum ck_past kind, int64_t past,
                       const char *what);
void ck_backward_draw(struct ck_backward *b, double gate, double spread);
/* One value of a tensor. */
double ck_backward_get(struct ck_backward *b, const struct kn_tensor *t, int64_t n, int64_t i,
                       int64_t h, int64_t j);
void ck_backward_set(struct ck_backward *b, const struct kn_tensor *t, int64_t n, int64_t i,
                     int64_t h, int64_t j, double value);
void ck_backward_scale(struct ck_backward *b, const struct kn_tensor *t, double scale);

/* The operations over the clip. */
enum kn_op ck_backward_forward(const struct ck_backward *b, struct kn_node *node);
enum kn_op ck_backward_node(const struct ck_backward *b, struct kn_node *node);
/* Makes both states on a device; nothing to do unless the state is carried. */
bool ck_backward_state(struct ck_backward *b, struct kn_dev *dev);
/* Fills in out and solution, by the reference. */
bool ck_backward_solve(struct ck_backward *b);
/* Runs the backward operation; loaded is to be unloaded whatever comes back. */
bool ck_backward_run(struct ck_backward *b, struct kn_dev *dev, bool tested, int pass,
                     struct ck_loaded *loaded);
/* One value of a gradient after a run. */
double ck_backward_take(const struct ck_loaded *loaded, const struct kn_tensor *t, int64_t n,
                        int64_t i, int64_t h, int64_t j);
/* The tested device against the reference, and two runs of it against each other. */
void ck_backward_compare(struct ck_backward *b);

/* ----------------------------------------------------------------------------- cases they share */

void ck_case_backward(struct ck *ck, const struct ck_shape *shape, enum ck_past kind, int64_t past);
/* Gradients in double against differences. */
void ck_case_backward_grad(struct ck *ck, const struct ck_shape *shape, enum ck_past kind,
                           int64_t past);
/* On the tested device: gradients of s times the loss are s times as big. */
void ck_case_backward_scales(struct ck *ck, bool mesa);
/* Gates shut, open and mixed; equal and zero keys; huge values. */
void ck_case_backward_extremes(struct ck *ck, bool mesa);
/* Twice as many tokens may not take much more than twice as long. */
void ck_case_backward_growth(struct ck *ck, bool mesa);
/* Clips as in training, and long ones. */
void ck_bench_backward(struct ck *ck, bool mesa);

#endif
