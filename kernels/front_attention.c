/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions of both attention operations and of their gradients. */
#include "front.h"

#include <inttypes.h>

/* What Fenwick and Mesa have in common. */
struct attention {
    const struct kn_tensor *q, *k, *v, *gate, *control;
    uint64_t state_offset_bytes;
};

/* A tensor and what messages call it. */
struct named {
    const char *name;
    const struct kn_tensor *t;
    bool optional;
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
    KN_REQUIRE(c, a->state_offset_bytes % KN_ALIGN == 0 && a->state_offset_bytes <= INT64_MAX,
               "state lies at byte %" PRIu64 ", must be a multiple of %d", a->state_offset_bytes,
               KN_ALIGN);
    KN_REQUIRE(c, kn_given(a->control), "control is missing");
    if (c->status == KN_OK)
        kn_check_control(c, a->control, a->q->dim[0]);
}

static void check_levels(struct kn_check *c, const struct kn_tensor *level,
                         const struct kn_tensor *v, int64_t levels) {
    KN_REQUIRE(c, levels >= KN_MIN_LEVELS && levels <= KN_MAX_LEVELS,
               "levels is %" PRId64 ", must be %d to %d", levels, KN_MIN_LEVELS, KN_MAX_LEVELS);
    if (c->status == KN_OK)
        check_logits(c, "level", level, v, levels);
}

static void check_beta(struct kn_check *c, const struct kn_tensor *beta,
                       const struct kn_tensor *lambda, const struct kn_tensor *v) {
    if (c->status == KN_OK)
        check_logits(c, "beta", beta, v, 1);
    kn_check_weight(c, "lambda", lambda);
    kn_check_dims(c, "lambda", lambda, 2, v->dim[2], v->dim[3], 0, 0);
}

/* Something of v's dims besides the attention's own operands. */
static void check_value_like(struct kn_check *c, const struct named *x, const struct kn_tensor *v) {
    kn_check_tensor(c, x->name, x->t, KN_FULL);
    kn_check_same_dims(c, x->name, x->t, "v", v);
}

/* Outputs as the operands that they follow; all apart from all inputs and from each other. */
static void check_outputs(struct kn_check *c, const struct named *out, const struct named *as,
                          int outs, const struct named *in, int ins) {
    for (int i = 0; i < outs; i++) {
        if (out[i].optional && !kn_given(out[i].t))
            continue;
        kn_check_output(c, out[i].name, out[i].t, KN_FULL);
        kn_check_same_dims(c, out[i].name, out[i].t, as[i].name, as[i].t);
        for (int j = 0; j < ins; j++)
            kn_check_apart(c, out[i].name, out[i].t, in[j].name, in[j].t);
        for (int j = 0; j < i; j++)
            kn_check_apart(c, out[i].name, out[i].t, out[j].name, out[j].t);
    }
}

static void check_step(struct kn_check *c, bool step, const struct kn_tensor *q) {
    KN_REQUIRE(c, !step || q->dim[1] == 1, "q is %s, a step takes one token per sequence",
               kn_text_dims(q->rank, q->dim).s);
}

#define NAMED(x) \
    { #x, &a->x }
#define ATTENTION \
    { &a->q, &a->k, &a->v, &a->gate, &a->control, a->state_offset_bytes }
#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))

KN_CHECK(fenwick) {
    const struct named in[] = {NAMED(q), NAMED(k), NAMED(v), NAMED(gate), NAMED(level)};
    const struct named out[] = {NAMED(out)}, as[] = {NAMED(v)};

    check_attention(c, &(struct attention)ATTENTION);
    check_step(c, op == KN_OP_FENWICK_STEP, &a->q);
    check_levels(c, &a->level, &a->v, a->levels);
    check_outputs(c, out, as, COUNT(out), in, COUNT(in));
}

KN_CHECK(mesa) {
    const struct named in[] = {NAMED(q), NAMED(k), NAMED(v), NAMED(gate), NAMED(beta)};
    const struct named out[] = {NAMED(out), {"solution", &a->solution, true}},
                       as[] = {NAMED(v), NAMED(v)};

    check_attention(c, &(struct attention)ATTENTION);
    check_step(c, op == KN_OP_MESA_STEP, &a->q);
    check_beta(c, &a->beta, &a->lambda, &a->v);
    check_outputs(c, out, as, COUNT(out), in, COUNT(in));
}

KN_CHECK(fenwick_backward) {
    const struct named in[] = {NAMED(q),    NAMED(k),     NAMED(v),
                               NAMED(gate), NAMED(level), NAMED(dout)};
    const struct named out[] = {NAMED(dq), NAMED(dk), NAMED(dv), NAMED(dgate), NAMED(dlevel)};

    check_attention(c, &(struct attention)ATTENTION);
    check_levels(c, &a->level, &a->v, a->levels);
    check_value_like(c, &in[5], &a->v);
    check_outputs(c, out, in, COUNT(out), in, COUNT(in));
}

KN_CHECK(mesa_backward) {
    const struct named in[] = {NAMED(q),    NAMED(k),    NAMED(v),       NAMED(gate),
                               NAMED(beta), NAMED(dout), NAMED(solution)};
    const struct named out[] = {NAMED(dq), NAMED(dk), NAMED(dv), NAMED(dgate), NAMED(dbeta)};

    check_attention(c, &(struct attention)ATTENTION);
    check_beta(c, &a->beta, &a->lambda, &a->v);
    check_value_like(c, &in[5], &a->v);
    check_value_like(c, &in[6], &a->v);
    check_outputs(c, out, in, COUNT(out), in, COUNT(in));
    kn_check_grad(c, "dlambda", &a->dlambda);
    kn_check_same_dims(c, "dlambda", &a->dlambda, "lambda", &a->lambda);
    for (int i = 0; i < COUNT(in); i++)
        kn_check_apart(c, "dlambda", &a->dlambda, in[i].name, in[i].t);
    for (int i = 0; i < COUNT(out); i++)
        kn_check_apart(c, "dlambda", &a->dlambda, out[i].name, out[i].t);
}
