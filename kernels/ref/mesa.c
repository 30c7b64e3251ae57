/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mesa layer: the two matrices of the definition, and a Cholesky factorisation for every token. */
#include "mesa.h"

/* One head of one sequence. */
struct head {
    const struct kn_mesa_args *args;
    struct kn_ref_view q, k, v, gate, beta, lambda, out, solution;
    int64_t n, h, group, D;
    double *q_hat, *k_hat, *factor; /* D, D, D x D */
};

static void update(const struct head *s, double *H, double *G, int64_t row) {
    int64_t D = s->D;
    double gamma = kn_ref_sigmoid(kn_ref_get(&s->gate, s->n, row, s->h, 0));
    double beta = kn_ref_sigmoid(kn_ref_get(&s->beta, s->n, row, s->h, 0));

    kn_ref_normalise(&s->k, s->n, row, s->group, D, s->k_hat);
    for (int64_t i = 0; i < D; i++)
        for (int64_t j = 0; j < D; j++) {
            double v = kn_ref_get(&s->v, s->n, row, s->h, j);
            H[i * D + j] = gamma * H[i * D + j] + beta * s->k_hat[i] * s->k_hat[j];
            G[i * D + j] = gamma * G[i * D + j] + beta * s->k_hat[i] * v;
        }
}

/* Token at index row of this call. */
static void recur(const struct head *s, double *H, double *G, int64_t row) {
    int64_t D = s->D;

    update(s, H, G, row);
    kn_ref_mesa_factorise(&s->lambda, s->h, D, H, s->factor);
    kn_ref_normalise(&s->q, s->n, row, s->group, D, s->q_hat);
    kn_ref_mesa_solve(D, s->factor, s->q_hat);
    for (int64_t j = 0; j < D; j++) {
        double sum = 0;
        for (int64_t i = 0; i < D; i++)
            sum += G[i * D + j] * s->q_hat[i];
        kn_ref_set(&s->out, s->n, row, s->h, j, sum);
        kn_ref_set(&s->solution, s->n, row, s->h, j, s->q_hat[j]);
    }
}

/* ----------------------------------------------------------------------------------------- run */

static enum kn_status mesa_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                   struct kn_err *err) {
    int64_t D = node->args.mesa.q.dim[3];
    const int64_t factor[] = {3, D, D};

    return kn_ref_scratch(prepare, factor, 3, 2 * (uint64_t)D, node, err);
}

static bool mesa_state_bytes(const void *args, uint64_t *bytes) {
    const struct kn_mesa_args *a = args;
    const int64_t factor[] = {
        a->v.dim[0] / a->control.dim[0], a->v.dim[2], 2, a->v.dim[3], a->v.dim[3],
        (int64_t)sizeof(double)};

    return kn_size_product(factor, 6, bytes);
}

/* own: two matrices of scratch for where no state is carried. */
static void run_head(const struct head *s, struct kn_control *control, double *own) {
    const struct kn_mesa_args *a = s->args;
    int64_t per_entry = a->v.dim[0] / a->control.dim[0], heads = a->v.dim[2], size = s->D * s->D;
    double *state = own;

    if (control->state) {
        state = (double *)((char *)control->state + a->state_offset_bytes);
        state += (s->n % per_entry * heads + s->h) * 2 * size;
    }
    if (!control->state || control->reset || control->t == 0)
        memset(state, 0, 2 * (size_t)size * sizeof *state);
    for (int64_t row = 0; row < a->q.dim[1]; row++)
        recur(s, state, state + size, row);
    control->mesa.rows += (uint64_t)a->q.dim[1];
}

static enum kn_status mesa_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_mesa_args *a = args;
    double *scratch = call->scratch;
    int64_t N = a->v.dim[0], heads = a->v.dim[2], G = a->q.dim[2], D = a->q.dim[3];
    struct head s = {
        .args = a,
        .q = kn_ref_view(call, &a->q),
        .k = kn_ref_view(call, &a->k),
        .v = kn_ref_view(call, &a->v),
        .gate = kn_ref_view(call, &a->gate),
        .beta = kn_ref_view(call, &a->beta),
        .lambda = kn_ref_view(call, &a->lambda),
        .out = kn_ref_view(call, &a->out),
        .solution = kn_ref_view(call, &a->solution),
        .D = D,
        .q_hat = scratch,
        .k_hat = scratch + D,
        .factor = scratch + 2 * D,
    };

    for (s.n = 0; s.n < N; s.n++)
        for (s.h = 0; s.h < heads; s.h++) {
            s.group = s.h / (heads / G);
            run_head(&s, kn_ref_control(call, &a->control, s.n, N), s.factor + D * D);
        }
    return KN_OK;
}

static enum kn_status mesa_step_run(const struct kn_call *call, const void *args,
                                    struct kn_err *err) {
    const struct kn_mesa_args *a = args;

    for (int64_t b = 0; b < a->control.dim[0]; b++)
        if (!kn_ref_control(call, &a->control, b, a->control.dim[0])->state)
            return kn_fail(err, KN_ERR_ARG, "mesa_step: control entry %d has no state", (int)b);
    return mesa_run(call, args, err);
}

const struct kn_kernel kn_ref_mesa_clip = {
    .prepare = mesa_prepare, .run = mesa_run, .state_bytes = mesa_state_bytes};
const struct kn_kernel kn_ref_mesa_step = {
    .prepare = mesa_prepare, .run = mesa_step_run, .state_bytes = mesa_state_bytes};
