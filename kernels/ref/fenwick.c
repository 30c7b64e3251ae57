/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fenwick attention in two independent forms: the definition as a sum over all pairs of tokens,
 * where no state is carried, and the recurrence over one D x D matrix per level, where one is.
 */
#include "ref.h"

/* One head of one sequence. */
struct head {
    const struct kn_fenwick_args *args;
    struct kn_ref_view q, k, v, gate, level, out;
    int64_t n, h, group, D;
    double *q_hat, *k_hat, *sum; /* D each */
    double *k_scale;             /* T, only for the sum over pairs */
};

static double decay_log(const struct head *s, int64_t t) {
    return kn_ref_logsigmoid(kn_ref_get(&s->gate, s->n, t, s->h, 0));
}

static double lambda(const struct head *s, int64_t t, int level) {
    return kn_ref_softplus(kn_ref_get(&s->level, s->n, t, s->h * s->args->levels + level, 0));
}

static void write_out(const struct head *s, int64_t t) {
    for (int64_t j = 0; j < s->D; j++)
        kn_ref_set(&s->out, s->n, t, s->h, j, s->sum[j]);
}

/* ------------------------------------------------------------------------------ sum over pairs */

/* q^_t . k^_s with k not yet normalised in memory. */
static double score(const struct head *s, int64_t other) {
    double sum = 0;

    for (int64_t i = 0; i < s->D; i++)
        sum += s->q_hat[i] * kn_ref_get(&s->k, s->n, other, s->group, i);
    return sum * s->k_scale[other];
}

static void pairs_row(const struct head *s, int64_t t) {
    double log_decay = 0;

    kn_ref_normalise(&s->q, s->n, t, s->group, s->D, s->q_hat);
    memset(s->sum, 0, (size_t)s->D * sizeof *s->sum);
    for (int64_t other = t; other >= 0; other--) {
        int level = kn_fenwick_level((uint64_t)t, (uint64_t)other, (int)s->args->levels);
        double weight = lambda(s, t, level) * exp(log_decay) * score(s, other);
        for (int64_t j = 0; j < s->D; j++)
            s->sum[j] += weight * kn_ref_get(&s->v, s->n, other, s->h, j);
        log_decay += decay_log(s, other);
    }
    write_out(s, t);
}

static void pairs(const struct head *s) {
    int64_t T = s->args->q.dim[1];

    for (int64_t t = 0; t < T; t++) {
        double square = 0;
        for (int64_t i = 0; i < s->D; i++)
            square += pow(kn_ref_get(&s->k, s->n, t, s->group, i), 2);
        s->k_scale[t] = 1 / fmax(sqrt(square), 1e-6);
    }
    for (int64_t t = 0; t < T; t++)
        pairs_row(s, t);
}

/* ---------------------------------------------------------------------------------- recurrence */

/* Whether a level holds anything when token t is read: one bit of t each, the last all the rest. */
static bool holds(uint64_t t, int level, int levels) {
    if (level == 0)
        return true;
    return level < levels - 1 ? t >> (level - 1) & 1 : t >> (level - 1) != 0;
}

/*
 * The binary carry of counting up to t: the levels below the lowest set bit of t merge into the
 * next one. The last level never moves on; it collects.
 */
static void carry(double *state, uint64_t t, int levels, int64_t size) {
    int target = __builtin_ctzll(t) + 1;

    if (target > levels - 1)
        target = levels - 1;
    for (int level = 0; level < target; level++)
        for (int64_t i = 0; i < size; i++) {
            state[target * size + i] += state[level * size + i];
            state[level * size + i] = 0;
        }
}

static void read_level(const struct head *s, const double *matrix, double weight) {
    for (int64_t i = 0; i < s->D; i++)
        for (int64_t j = 0; j < s->D; j++)
            s->sum[j] += weight * s->q_hat[i] * matrix[i * s->D + j];
}

/* Token number t of the stream, at index row of this call. */
static void recur(const struct head *s, double *state, uint64_t t, int64_t row) {
    int levels = (int)s->args->levels;
    int64_t size = s->D * s->D;
    double decay = exp(decay_log(s, row));

    kn_ref_normalise(&s->q, s->n, row, s->group, s->D, s->q_hat);
    kn_ref_normalise(&s->k, s->n, row, s->group, s->D, s->k_hat);
    if (t == 0)
        memset(state, 0, (size_t)(levels * size) * sizeof *state);
    else
        carry(state, t, levels, size);
    for (int64_t i = 0; i < s->D; i++)
        for (int64_t j = 0; j < s->D; j++)
            state[i * s->D + j] = s->k_hat[i] * kn_ref_get(&s->v, s->n, row, s->h, j);
    memset(s->sum, 0, (size_t)s->D * sizeof *s->sum);
    read_level(s, state, lambda(s, row, 0));
    for (int level = 1; level < levels; level++) {
        if (!holds(t, level, levels))
            continue;
        for (int64_t i = 0; i < size; i++)
            state[level * size + i] *= decay;
        read_level(s, state + level * size, lambda(s, row, level));
    }
    write_out(s, row);
}

/* ----------------------------------------------------------------------------------------- run */

static enum kn_status fenwick_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                      struct kn_err *err) {
    const struct kn_fenwick_args *a = &node->args.fenwick;

    return kn_ref_scratch(prepare, &a->q.dim[1], 1, 3 * (uint64_t)a->q.dim[3], node, err);
}

static bool fenwick_state_bytes(const void *args, uint64_t *bytes) {
    const struct kn_fenwick_args *a = args;
    const int64_t factor[] = {
        a->v.dim[0] / a->control.dim[0], a->v.dim[2], a->levels, a->v.dim[3], a->v.dim[3],
        (int64_t)sizeof(double)};

    return kn_size_product(factor, 6, bytes);
}

static void run_head(const struct head *s, const struct kn_control *control) {
    const struct kn_fenwick_args *a = s->args;
    int64_t per_entry = a->v.dim[0] / a->control.dim[0], H = a->v.dim[2];
    uint64_t t = control->reset ? 0 : control->t;
    double *state;

    if (!control->state) {
        pairs(s);
        return;
    }
    state = (double *)((char *)control->state + a->state_offset_bytes);
    state += (s->n % per_entry * H + s->h) * a->levels * s->D * s->D;
    for (int64_t row = 0; row < a->q.dim[1]; row++)
        recur(s, state, t + (uint64_t)row, row);
}

static enum kn_status fenwick_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_fenwick_args *a = args;
    double *scratch = call->scratch;
    int64_t N = a->v.dim[0], H = a->v.dim[2], G = a->q.dim[2], D = a->q.dim[3];
    struct head s = {
        .args = a,
        .q = kn_ref_view(call, &a->q),
        .k = kn_ref_view(call, &a->k),
        .v = kn_ref_view(call, &a->v),
        .gate = kn_ref_view(call, &a->gate),
        .level = kn_ref_view(call, &a->level),
        .out = kn_ref_view(call, &a->out),
        .D = D,
        .q_hat = scratch,
        .k_hat = scratch + D,
        .sum = scratch + 2 * D,
        .k_scale = scratch + 3 * D,
    };

    for (s.n = 0; s.n < N; s.n++)
        for (s.h = 0; s.h < H; s.h++) {
            s.group = s.h / (H / G);
            run_head(&s, kn_ref_control(call, &a->control, s.n, N));
        }
    return KN_OK;
}

static enum kn_status fenwick_step_run(const struct kn_call *call, const void *args,
                                       struct kn_err *err) {
    const struct kn_fenwick_args *a = args;

    for (int64_t b = 0; b < a->control.dim[0]; b++)
        if (!kn_ref_control(call, &a->control, b, a->control.dim[0])->state)
            return kn_fail(err, KN_ERR_ARG, "fenwick_step: control entry %d has no state", (int)b);
    return fenwick_run(call, args, err);
}

const struct kn_kernel kn_ref_fenwick_clip = {
    .prepare = fenwick_prepare, .run = fenwick_run, .state_bytes = fenwick_state_bytes};
const struct kn_kernel kn_ref_fenwick_step = {
    .prepare = fenwick_prepare, .run = fenwick_step_run, .state_bytes = fenwick_state_bytes};
