/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of Fenwick attention by its definition: every pair of tokens gives its part of each
 * gradient. The state before the clip is one more term of every output.
 */
#include "ref.h"

/* One head of one sequence. */
struct head {
    const struct kn_fenwick_backward_args *args;
    struct kn_ref_view q, k, v, gate, level, dout;
    struct kn_ref_view dq, dk, dv, dgate, dlevel;
    int64_t n, h, group, T, D;
    const double *state;         /* one D x D matrix per level, decayed to token past - 1 */
    uint64_t past;               /* tokens before the clip; 0: no state */
    double *dq_hat, *dk_hat;     /* T x D, summed over the heads of the group */
    double *k_hat, *dv_sum;      /* T x D */
    double *dg, *pair;           /* T: gradients of the log decays, one token's pairs */
    double *q_hat, *d_out, *row; /* D */
    double *dlambda;             /* levels */
};

static double lambda(const struct head *s, int64_t t, int level) {
    return kn_ref_softplus(kn_ref_get(&s->level, s->n, t, s->h * s->args->levels + level, 0));
}

static double dot(const double *a, const double *b, int64_t D) {
    double sum = 0;

    for (int64_t i = 0; i < D; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The pair of token t and an earlier one or itself, exp(log_decay) apart. */
static void pair(const struct head *s, int64_t t, int64_t other, double log_decay) {
    uint64_t now = s->past + (uint64_t)t, then = s->past + (uint64_t)other;
    int level = kn_fenwick_level(now, then, (int)s->args->levels);
    double decay = exp(log_decay), weight = lambda(s, t, level) * decay;
    const double *k = s->k_hat + other * s->D;
    double score = dot(s->q_hat, k, s->D), value = 0;

    for (int64_t j = 0; j < s->D; j++)
        value += s->d_out[j] * kn_ref_get(&s->v, s->n, other, s->h, j);
    for (int64_t i = 0; i < s->D; i++) {
        s->dq_hat[t * s->D + i] += weight * value * k[i];
        s->dk_hat[other * s->D + i] += weight * value * s->q_hat[i];
        s->dv_sum[other * s->D + i] += weight * score * s->d_out[i];
    }
    s->dlambda[level] += decay * score * value;
    s->pair[other] = weight * score * value;
}

/*
 * The state's part of output t. A level of the state holds tokens that agree with the last one
 * before the clip in all bits above it, so they are read at that level or at the highest bit that
 * has changed since. Returns what the decay from the state to t is worth.
 */
static double past_levels(const struct head *s, int64_t t, double log_decay) {
    uint64_t changed = (s->past + (uint64_t)t) ^ (s->past - 1);
    int bits = 64 - __builtin_clzll(changed), last = (int)s->args->levels - 1;
    double worth = 0;

    for (int held = 0; held <= last; held++) {
        int at = held > bits ? held : bits, level = at < last ? at : last;
        double decay = exp(log_decay), weight = lambda(s, t, level) * decay;
        for (int64_t i = 0; i < s->D; i++)
            s->row[i] = dot(s->state + (held * s->D + i) * s->D, s->d_out, s->D);
        for (int64_t i = 0; i < s->D; i++)
            s->dq_hat[t * s->D + i] += weight * s->row[i];
        s->dlambda[level] += decay * dot(s->q_hat, s->row, s->D);
        worth += weight * dot(s->q_hat, s->row, s->D);
    }
    return worth;
}

static void row(const struct head *s, int64_t t) {
    double log_decay = 0, before = 0;
    int64_t levels = s->args->levels;

    kn_ref_normalise(&s->q, s->n, t, s->group, s->D, s->q_hat);
    for (int64_t j = 0; j < s->D; j++)
        s->d_out[j] = kn_ref_get(&s->dout, s->n, t, s->h, j);
    memset(s->dlambda, 0, (size_t)levels * sizeof *s->dlambda);
    for (int64_t other = t; other >= 0; other--) {
        pair(s, t, other, log_decay);
        log_decay += kn_ref_logsigmoid(kn_ref_get(&s->gate, s->n, other, s->h, 0));
    }
    if (s->past > 0)
        before = past_levels(s, t, log_decay);
    /* token i decays all pairs with a token before it */
    for (int64_t i = 0; i <= t; i++) {
        s->dg[i] += before;
        before += s->pair[i];
    }
    for (int64_t l = 0; l < levels; l++) {
        double logit = kn_ref_get(&s->level, s->n, t, s->h * levels + l, 0);
        kn_ref_set(&s->dlevel, s->n, t, s->h * levels + l, 0,
                   s->dlambda[l] * kn_ref_sigmoid(logit));
    }
}

static void run_head(const struct head *s) {
    memset(s->dv_sum, 0, (size_t)(s->T * s->D) * sizeof *s->dv_sum);
    memset(s->dg, 0, (size_t)s->T * sizeof *s->dg);
    for (int64_t t = 0; t < s->T; t++)
        kn_ref_normalise(&s->k, s->n, t, s->group, s->D, s->k_hat + t * s->D);
    for (int64_t t = 0; t < s->T; t++)
        row(s, t);
    for (int64_t t = 0; t < s->T; t++) {
        double logit = kn_ref_get(&s->gate, s->n, t, s->h, 0);
        kn_ref_set(&s->dgate, s->n, t, s->h, 0, s->dg[t] * kn_ref_sigmoid(-logit));
        for (int64_t j = 0; j < s->D; j++)
            kn_ref_set(&s->dv, s->n, t, s->h, j, s->dv_sum[t * s->D + j]);
    }
}

/* ----------------------------------------------------------------------------------------- run */

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_fenwick_backward_args *a = &node->args.fenwick_backward;
    const int64_t factor[] = {a->q.dim[1], 4 * a->q.dim[3] + 2};

    return kn_ref_scratch(prepare, factor, 2, 3 * (uint64_t)a->q.dim[3] + KN_MAX_LEVELS, node, err);
}

static void find_state(struct head *s, const struct kn_control *control) {
    const struct kn_fenwick_backward_args *a = s->args;
    int64_t per_entry = a->v.dim[0] / a->control.dim[0], H = a->v.dim[2];

    s->past = control->state && !control->reset ? control->t : 0;
    if (s->past == 0)
        return;
    s->state = (const double *)((const char *)control->state + a->state_offset_bytes);
    s->state += (s->n % per_entry * H + s->h) * a->levels * s->D * s->D;
}

/* The heads of one group of one sequence. */
static void run_group(struct head *s, const struct kn_control *control) {
    int64_t heads = s->args->v.dim[2] / s->args->q.dim[2];

    memset(s->dq_hat, 0, 2 * (size_t)(s->T * s->D) * sizeof *s->dq_hat);
    for (s->h = s->group * heads; s->h < (s->group + 1) * heads; s->h++) {
        find_state(s, control);
        run_head(s);
    }
    for (int64_t t = 0; t < s->T; t++) {
        kn_ref_normalise_backward(&s->q, &s->dq, s->n, t, s->group, s->D, s->dq_hat + t * s->D);
        kn_ref_normalise_backward(&s->k, &s->dk, s->n, t, s->group, s->D, s->dk_hat + t * s->D);
    }
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_fenwick_backward_args *a = args;
    int64_t N = a->q.dim[0], T = a->q.dim[1], D = a->q.dim[3];
    double *scratch = call->scratch, *vectors = scratch + T * (4 * D + 2);
    struct head s = {
        .args = a,
        .q = kn_ref_view(call, &a->q),
        .k = kn_ref_view(call, &a->k),
        .v = kn_ref_view(call, &a->v),
        .gate = kn_ref_view(call, &a->gate),
        .level = kn_ref_view(call, &a->level),
        .dout = kn_ref_view(call, &a->dout),
        .dq = kn_ref_view(call, &a->dq),
        .dk = kn_ref_view(call, &a->dk),
        .dv = kn_ref_view(call, &a->dv),
        .dgate = kn_ref_view(call, &a->dgate),
        .dlevel = kn_ref_view(call, &a->dlevel),
        .T = T,
        .D = D,
        .dq_hat = scratch,
        .dk_hat = scratch + T * D,
        .k_hat = scratch + 2 * T * D,
        .dv_sum = scratch + 3 * T * D,
        .dg = scratch + 4 * T * D,
        .pair = scratch + 4 * T * D + T,
        .q_hat = vectors,
        .d_out = vectors + D,
        .row = vectors + 2 * D,
        .dlambda = vectors + 3 * D,
    };

    for (s.n = 0; s.n < N; s.n++)
        for (s.group = 0; s.group < a->q.dim[2]; s.group++)
            run_group(&s, kn_ref_control(call, &a->control, s.n, N));
    return KN_OK;
}

const struct kn_kernel kn_ref_fenwick_backward = {.prepare = prepare, .run = run};
