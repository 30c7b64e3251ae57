/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of the Mesa layer by implicit differentiation: H and G of every token are kept, the
 * adjoint systems are solved by Cholesky factorisation, and the gradients of H and G run backwards
 * in time.
 */
#include "mesa.h"

/* One head of one sequence. */
struct head {
    const struct kn_mesa_backward_args *args;
    struct kn_ref_view q, k, v, gate, beta, lambda, solution, dout;
    struct kn_ref_view dq, dk, dv, dgate, dbeta, dlambda;
    int64_t n, h, group, T, D;
    double *dq_hat, *dk_hat;   /* T x D, summed over the heads of the group */
    double *y;                 /* T x D: solutions of the adjoint systems */
    double *H, *G;             /* of the token before each, T + 1 times D x D */
    double *dH, *dG, *factor;  /* D x D */
    double *k_hat, *x, *d_out; /* D: of the token at hand */
    double *dlam;              /* D */
};

static double gamma_of(const struct head *s, int64_t t) {
    return kn_ref_sigmoid(kn_ref_get(&s->gate, s->n, t, s->h, 0));
}

static double beta_of(const struct head *s, int64_t t) {
    return kn_ref_sigmoid(kn_ref_get(&s->beta, s->n, t, s->h, 0));
}

/* H and G after token t. */
static void update(const struct head *s, int64_t t) {
    int64_t D = s->D, size = D * D;
    const double *H = s->H + t * size, *G = s->G + t * size;
    double gamma = gamma_of(s, t), beta = beta_of(s, t);

    kn_ref_normalise(&s->k, s->n, t, s->group, D, s->k_hat);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            int64_t at = i * D + j;
            double add = beta * s->k_hat[i];
            s->H[(t + 1) * size + at] = gamma * H[at] + add * s->k_hat[j];
            s->G[(t + 1) * size + at] = gamma * G[at] + add * kn_ref_get(&s->v, s->n, t, s->h, j);
        }
}

/* y = (H + Lambda)^-1 G dout: the gradient of q^, and what all others are made of. */
static void adjoint(const struct head *s, int64_t t) {
    int64_t D = s->D;
    const double *H = s->H + (t + 1) * D * D, *G = s->G + (t + 1) * D * D;
    double *y = s->y + t * D;

    for (int64_t i = 0; i < D; i++) {
        y[i] = 0;
        for (int64_t j = 0; j < D; j++)
            y[i] += G[i * D + j] * kn_ref_get(&s->dout, s->n, t, s->h, j);
    }
    kn_ref_mesa_factorise(&s->lambda, s->h, D, H, s->factor);
    kn_ref_mesa_solve(D, s->factor, y);
    for (int64_t i = 0; i < D; i++) {
        s->dq_hat[t * D + i] += y[i];
        s->dlam[i] -= y[i] * kn_ref_get(&s->solution, s->n, t, s->h, i);
    }
}

/* The output of token t as a function of its H and G: dH -= y x^T, dG += x dout^T. */
static void read_backward(const struct head *s, int64_t t) {
    int64_t D = s->D;
    const double *y = s->y + t * D;

    for (int64_t i = 0; i < D; i++) {
        s->x[i] = kn_ref_get(&s->solution, s->n, t, s->h, i);
        s->d_out[i] = kn_ref_get(&s->dout, s->n, t, s->h, i);
    }
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            s->dH[i * D + j] -= y[i] * s->x[j];
            s->dG[i * D + j] += s->x[i] * s->d_out[j];
        }
}

/* The token's own terms of H and G: gradients of its key, value and beta. */
static void write_backward(const struct head *s, int64_t t) {
    int64_t D = s->D;
    double beta = beta_of(s, t), dbeta = 0;
    double rest = kn_ref_sigmoid(-kn_ref_get(&s->beta, s->n, t, s->h, 0)); /* 1 - beta */

    kn_ref_normalise(&s->k, s->n, t, s->group, D, s->k_hat);
    for (int64_t i = 0; i < D; i++) {
        double value = 0, key = 0, dv = 0;
        for (int64_t j = 0; j < D; j++) {
            value += s->dG[i * D + j] * kn_ref_get(&s->v, s->n, t, s->h, j);
            key += (s->dH[i * D + j] + s->dH[j * D + i]) * s->k_hat[j];
            dv += s->dG[j * D + i] * s->k_hat[j];
        }
        s->dk_hat[t * D + i] += beta * (value + key);
        dbeta += s->k_hat[i] * (value + key / 2);
        kn_ref_set(&s->dv, s->n, t, s->h, i, beta * dv);
    }
    kn_ref_set(&s->dbeta, s->n, t, s->h, 0, dbeta * beta * rest);
}

/* The decay of what was before, and on to the token before. */
static void decay_backward(const struct head *s, int64_t t) {
    int64_t size = s->D * s->D;
    const double *H = s->H + t * size, *G = s->G + t * size;
    double gamma = gamma_of(s, t), dgamma = 0;
    double forget = kn_ref_sigmoid(-kn_ref_get(&s->gate, s->n, t, s->h, 0)); /* 1 - gamma */

    for (int64_t i = 0; i < size; i++) {
        dgamma += s->dH[i] * H[i] + s->dG[i] * G[i];
        s->dH[i] *= gamma;
        s->dG[i] *= gamma;
    }
    kn_ref_set(&s->dgate, s->n, t, s->h, 0, dgamma * gamma * forget);
}

static void run_head(const struct head *s) {
    int64_t D = s->D;

    memset(s->dH, 0, (size_t)(D * D) * sizeof *s->dH);
    memset(s->dG, 0, (size_t)(D * D) * sizeof *s->dG);
    memset(s->dlam, 0, (size_t)D * sizeof *s->dlam);
    for (int64_t t = 0; t < s->T; t++) {
        update(s, t);
        adjoint(s, t);
    }
    for (int64_t t = s->T - 1; t >= 0; t--) {
        read_backward(s, t);
        write_backward(s, t);
        decay_backward(s, t);
    }
    for (int64_t i = 0; i < D; i++)
        kn_ref_set(&s->dlambda, s->h, i, 0, 0,
                   kn_ref_get(&s->dlambda, s->h, i, 0, 0) +
                       s->dlam[i] * kn_ref_sigmoid(kn_ref_get(&s->lambda, s->h, i, 0, 0)));
}

/* ----------------------------------------------------------------------------------------- run */

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_mesa_backward_args *a = &node->args.mesa_backward;
    int64_t T = a->q.dim[1], D = a->q.dim[3];
    const int64_t states[] = {T + 1, 2, D, D}, rows[] = {T, 3, D};
    uint64_t more, all;

    if (!kn_size_product(states, 4, &more) || !kn_size_product(rows, 3, &all) ||
        !kn_size_add(more, all, &more))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    return kn_ref_scratch(prepare, &D, 1, more + 3 * (uint64_t)(D * D) + 3 * (uint64_t)D, node,
                          err);
}

/* H and G before the clip. */
static void start_state(const struct head *s, const struct kn_control *control) {
    const struct kn_mesa_backward_args *a = s->args;
    int64_t per_entry = a->v.dim[0] / a->control.dim[0], heads = a->v.dim[2];
    size_t size = (size_t)(s->D * s->D);
    const double *state;

    if (!control->state || control->reset || control->t == 0) {
        memset(s->H, 0, size * sizeof *s->H);
        memset(s->G, 0, size * sizeof *s->G);
        return;
    }
    state = (const double *)((const char *)control->state + a->state_offset_bytes);
    state += (size_t)(s->n % per_entry * heads + s->h) * 2 * size;
    memcpy(s->H, state, size * sizeof *s->H);
    memcpy(s->G, state + size, size * sizeof *s->G);
}

/* The heads of one group of one sequence. */
static void run_group(struct head *s, struct kn_control *control) {
    int64_t heads = s->args->v.dim[2] / s->args->q.dim[2];

    memset(s->dq_hat, 0, 2 * (size_t)(s->T * s->D) * sizeof *s->dq_hat);
    for (s->h = s->group * heads; s->h < (s->group + 1) * heads; s->h++) {
        start_state(s, control);
        run_head(s);
        control->mesa.rows += (uint64_t)s->T;
    }
    for (int64_t t = 0; t < s->T; t++) {
        kn_ref_normalise_backward(&s->q, &s->dq, s->n, t, s->group, s->D, s->dq_hat + t * s->D);
        kn_ref_normalise_backward(&s->k, &s->dk, s->n, t, s->group, s->D, s->dk_hat + t * s->D);
    }
}

static void share_scratch(struct head *s, double *scratch) {
    int64_t rows = s->T * s->D, size = s->D * s->D;

    s->dq_hat = scratch;
    s->dk_hat = s->dq_hat + rows;
    s->y = s->dk_hat + rows;
    s->H = s->y + rows;
    s->G = s->H + (s->T + 1) * size;
    s->dH = s->G + (s->T + 1) * size;
    s->dG = s->dH + size;
    s->factor = s->dG + size;
    s->k_hat = s->factor + size;
    s->x = s->k_hat + s->D;
    s->d_out = s->x + s->D;
    s->dlam = s->d_out + s->D;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_mesa_backward_args *a = args;
    struct head s = {
        .args = a,
        .q = kn_ref_view(call, &a->q),
        .k = kn_ref_view(call, &a->k),
        .v = kn_ref_view(call, &a->v),
        .gate = kn_ref_view(call, &a->gate),
        .beta = kn_ref_view(call, &a->beta),
        .lambda = kn_ref_view(call, &a->lambda),
        .solution = kn_ref_view(call, &a->solution),
        .dout = kn_ref_view(call, &a->dout),
        .dq = kn_ref_view(call, &a->dq),
        .dk = kn_ref_view(call, &a->dk),
        .dv = kn_ref_view(call, &a->dv),
        .dgate = kn_ref_view(call, &a->dgate),
        .dbeta = kn_ref_view(call, &a->dbeta),
        .dlambda = kn_ref_view(call, &a->dlambda),
        .T = a->q.dim[1],
        .D = a->q.dim[3],
    };

    share_scratch(&s, call->scratch);
    for (s.n = 0; s.n < a->q.dim[0]; s.n++)
        for (s.group = 0; s.group < a->q.dim[2]; s.group++)
            run_group(&s, kn_ref_control(call, &a->control, s.n, a->q.dim[0]));
    return KN_OK;
}

const struct kn_kernel kn_ref_mesa_backward = {.prepare = prepare, .run = run};
