/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions of the operations on tokens and sequences. */
#include "front.h"

#include <inttypes.h>

/* One parameter per column. */
static void check_columns(struct kn_check *c, const char *name, const struct kn_tensor *t,
                          int64_t columns) {
    kn_check_weight(c, name, t);
    kn_check_dims(c, name, t, 1, columns, 0, 0, 0);
}

KN_CHECK(linear) {
    kn_check_tensor(c, "x", &a->x, KN_FLOATS);
    kn_check_matrix(c, "x", &a->x);
    kn_check_weight(c, "weight", &a->weight);
    if (c->status == KN_OK)
        kn_check_dims(c, "weight", &a->weight, 2, KN_FREE, a->x.dim[1], 0, 0);
    if (kn_given(&a->bias))
        check_columns(c, "bias", &a->bias, a->weight.dim[0]);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    kn_check_dims(c, "out", &a->out, 2, a->x.dim[0], a->weight.dim[0], 0, 0);
    if (kn_given(&a->residual)) {
        kn_check_tensor(c, "residual", &a->residual, KN_FLOATS);
        kn_check_matrix(c, "residual", &a->residual);
        kn_check_same_dims(c, "residual", &a->residual, "out", &a->out);
        kn_check_same_type(c, "residual", &a->residual, "out", &a->out);
    }
    kn_check_apart(c, "out", &a->out, "x", &a->x);
    kn_check_apart_or_equal(c, "out", &a->out, "residual", &a->residual);
}

KN_CHECK(layer_norm) {
    kn_check_tensor(c, "x", &a->x, KN_FULL);
    kn_check_matrix(c, "x", &a->x);
    check_columns(c, "weight", &a->weight, a->x.dim[1]);
    check_columns(c, "bias", &a->bias, a->x.dim[1]);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    kn_check_same_dims(c, "out", &a->out, "x", &a->x);
    kn_check_epsilon(c, a->epsilon);
    kn_check_apart(c, "out", &a->out, "x", &a->x);
}

KN_CHECK(gate) {
    kn_check_tensor(c, "o", &a->o, KN_FULL);
    kn_check_matrix(c, "o", &a->o);
    kn_check_tensor(c, "z", &a->z, KN_FULL);
    kn_check_matrix(c, "z", &a->z);
    kn_check_same_dims(c, "z", &a->z, "o", &a->o);
    check_columns(c, "weight", &a->weight, a->o.dim[1]);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    kn_check_same_dims(c, "out", &a->out, "o", &a->o);
    KN_REQUIRE(c, a->heads >= 1 && a->o.dim[1] % a->heads == 0,
               "heads is %" PRId64 ", must divide %" PRId64 " columns", a->heads, a->o.dim[1]);
    kn_check_epsilon(c, a->epsilon);
    kn_check_apart(c, "out", &a->out, "o", &a->o);
    kn_check_apart(c, "out", &a->out, "z", &a->z);
}

/* ------------------------------------------------------------------------------------ attention */

/* What Fenwick and Mesa have in common. */
struct attention {
    const struct kn_tensor *q, *k, *v, *gate, *out, *control;
    bool step;
    uint64_t state_offset_bytes;
};

static void check_heads(struct kn_check *c, const struct attention *a) {
    kn_check_tensor(c, "q", a->q, KN_FULL);
    kn_check_rank(c, "q", a->q, 4);
    kn_check_tensor(c, "k", a->k, KN_FULL);
    kn_check_same_dims(c, "k", a->k, "q", a->q);
    kn_check_tensor(c, "v", a->v, KN_FULL);
    kn_check_dims(c, "v", a->v, 4, a->q->dim[0], a->q->dim[1], KN_FREE, a->q->dim[3]);
    KN_REQUIRE(c, a->v->dim[2] % a->q->dim[2] == 0,
               "q has %" PRId64 " groups, which must divide the %" PRId64 " heads of v",
               a->q->dim[2], a->v->dim[2]);
    KN_REQUIRE(c, a->q->dim[3] <= KN_MAX_HEAD_DIM, "q is %s, a head must have 1 to %d columns",
               kn_text_dims(a->q->rank, a->q->dim).s, KN_MAX_HEAD_DIM);
}

/* One value, or several, per head. */
static void check_logits(struct kn_check *c, const char *name, const struct kn_tensor *t,
                         const struct kn_tensor *v, int64_t each) {
    kn_check_tensor(c, name, t, KN_FULL);
    kn_check_rank(c, name, t, 3);
    KN_REQUIRE(c, t->dim[2] % each == 0, "%s is %s, axis 2 must be a multiple of %" PRId64, name,
               kn_text_dims(t->rank, t->dim).s, each);
    KN_REQUIRE(c, t->dim[0] == v->dim[0] && t->dim[1] == v->dim[1] && t->dim[2] / each == v->dim[2],
               "%s is %s, must be %" PRId64 " per head of v, which is %s", name,
               kn_text_dims(t->rank, t->dim).s, each, kn_text_dims(v->rank, v->dim).s);
}

static void check_attention(struct kn_check *c, const struct attention *a) {
    check_heads(c, a);
    check_logits(c, "gate", a->gate, a->v, 1);
    kn_check_output(c, "out", a->out, KN_FULL);
    kn_check_same_dims(c, "out", a->out, "v", a->v);
    KN_REQUIRE(c, !a->step || a->q->dim[1] == 1, "q is %s, a step takes one token per sequence",
               kn_text_dims(a->q->rank, a->q->dim).s);
    KN_REQUIRE(c, a->state_offset_bytes % KN_ALIGN == 0 && a->state_offset_bytes <= INT64_MAX,
               "state lies at byte %" PRIu64 ", must be a multiple of %d", a->state_offset_bytes,
               KN_ALIGN);
    KN_REQUIRE(c, kn_given(a->control), "control is missing");
    if (c->status == KN_OK)
        kn_check_control(c, a->control, a->q->dim[0]);
    kn_check_apart(c, "out", a->out, "q", a->q);
    kn_check_apart(c, "out", a->out, "k", a->k);
    kn_check_apart(c, "out", a->out, "v", a->v);
    kn_check_apart(c, "out", a->out, "gate", a->gate);
}

KN_CHECK(fenwick) {
    check_attention(c, &(struct attention){&a->q, &a->k, &a->v, &a->gate, &a->out, &a->control,
                                           op == KN_OP_FENWICK_STEP, a->state_offset_bytes});
    KN_REQUIRE(c, a->levels >= KN_MIN_LEVELS && a->levels <= KN_MAX_LEVELS,
               "levels is %" PRId64 ", must be %d to %d", a->levels, KN_MIN_LEVELS, KN_MAX_LEVELS);
    if (c->status == KN_OK)
        check_logits(c, "level", &a->level, &a->v, a->levels);
    kn_check_apart(c, "out", &a->out, "level", &a->level);
}

KN_CHECK(mesa) {
    check_attention(c, &(struct attention){&a->q, &a->k, &a->v, &a->gate, &a->out, &a->control,
                                           op == KN_OP_MESA_STEP, a->state_offset_bytes});
    if (c->status == KN_OK)
        check_logits(c, "beta", &a->beta, &a->v, 1);
    kn_check_weight(c, "lambda", &a->lambda);
    kn_check_dims(c, "lambda", &a->lambda, 2, a->v.dim[2], a->v.dim[3], 0, 0);
    kn_check_apart(c, "out", &a->out, "beta", &a->beta);
}
