/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Mesa layer. A clip is the recurrence token by token with H and G of one unit in the cache, so
 * that a clip and a stream give the same bits: at these sizes a product with H costs less than the
 * chunk form. H is brought up to date while it is multiplied for the first iteration and G while
 * it is read for the output, so that a step reads and writes the state once.
 *
 * State: for each unit H and G, dim rows of pitch columns each. G needs no symmetry, H gets it from
 * adding u u^T with u = sqrt(beta) k.
 */
#include "mesa_unit.h"

struct job {
    int dim, pitch;
    struct kn_walk q, k, v, gate, beta, out;
    struct kn_walk solution; /* base NULL: not asked for */
    const float *lambda;     /* (heads, pitch), after softplus */
    struct kn_control *control;
    uint64_t state_offset;
    int64_t units; /* of one stream */
    int64_t heads, heads_per_group, frames;
};

/* One unit at work. */
struct unit {
    const struct job *job;
    float *h, *g;
    int64_t sequence, head;
    struct cg_stop stop;
    size_t ahead; /* floats from this unit's state to the next one's, when that is read next */
};

static size_t unit_floats(const struct job *job) {
    return 2 * (size_t)job->dim * (size_t)job->pitch;
}

/* ---------------------------------------------------------------------------------------- token */

/* Token i of the run: the state moves on and the output is written. */
KN_INLINE struct cg_end token(const struct unit *u, int64_t i, int dim, int pitch) {
    const struct job *job = u->job;
    const int64_t n = u->sequence, h = u->head, group = h / job->heads_per_group;
    float q[KN_MAX_HEAD_DIM], k[KN_MAX_HEAD_DIM], v[KN_MAX_HEAD_DIM], x[KN_MAX_HEAD_DIM];
    const float keep = kn_sigmoid(*(kn_walk_at(&job->gate, n, i, 0) + h));
    const float root = sqrtf(kn_sigmoid(*(kn_walk_at(&job->beta, n, i, 0) + h)));

    const float length = kn_row_unit(q, kn_walk_at(&job->q, n, i, group), dim, pitch);
    kn_row_normalise(k, kn_walk_at(&job->k, n, i, group), dim, pitch);
    kn_row_copy(v, kn_walk_at(&job->v, n, i, h), dim, pitch);
    kn_row_scale(k, root, pitch);
    const struct cg_update up = {.keep = keep, .u = k, .ahead = u->ahead};
    struct cg_end end = cg_solve(u->h, job->lambda + h * pitch, q, x, &u->stop, &up, dim, pitch);
    kn_row_scale(v, root, pitch);
    const struct mesa_value_update value = {k, v, x, keep, u->ahead};
    mesa_read_values(u->g, &value, q, dim, pitch);
    kn_row_scale(q, length, pitch);
    memcpy(kn_walk_at(&job->out, n, i, h), q, (size_t)dim * sizeof *q);
    if (job->solution.base) {
        kn_row_scale(x, length, pitch);
        memcpy(kn_walk_at(&job->solution, n, i, h), x, (size_t)dim * sizeof *x);
    }
    return end;
}

/* ----------------------------------------------------------------------------------------- walk */

/* Asks for the inputs of the unit after u. */
KN_INLINE void fetch_next(const struct unit *u, int dim) {
    const struct job *job = u->job;
    int64_t h = u->head + 1 < job->heads ? u->head + 1 : 0, n = u->sequence + (h == 0);
    int64_t group = h / job->heads_per_group;
    for (int i = 0; i < dim; i += 16) {
        __builtin_prefetch(kn_walk_at(&job->q, n, 0, group) + i);
        __builtin_prefetch(kn_walk_at(&job->k, n, 0, group) + i);
        __builtin_prefetch(kn_walk_at(&job->v, n, 0, h) + i);
    }
}

/* Units [first, last) of stream b. */
KN_INLINE void run_stream(const struct job *job, int64_t b, int64_t first, int64_t last,
                          float *scratch, int dim, int pitch) {
    struct kn_control *control = job->control + b;
    struct kn_mesa_stats stats = {0};
    const size_t size = unit_floats(job);
    float *state = control->state ? (float *)((char *)control->state + job->state_offset) : NULL;
    struct unit u = {.job = job, .stop = {control->cg_tolerance, control->cg_iterations}};

    u.ahead = state && job->frames == 1 ? size : 0;
    for (int64_t i = first; i < last; i++) {
        u.sequence = i / job->heads;
        u.head = i % job->heads;
        u.h = state ? state + (size_t)(i - b * job->units) * size : scratch;
        u.g = u.h + size / 2;
        if (u.ahead)
            fetch_next(&u, dim);
        if (kn_past(control) == 0)
            memset(u.h, 0, size * sizeof *u.h);
        for (int64_t t = 0; t < job->frames; t++) {
            struct cg_end end = token(&u, t, dim, pitch);
            mesa_count(&stats, &end);
        }
    }
    mesa_add_stats(&control->mesa, &stats);
}

#define STREAM(name, dim, pitch)                                                    \
    static void name(const struct job *job, int64_t b, int64_t first, int64_t last, \
                     float *scratch) {                                              \
        run_stream(job, b, first, last, scratch, dim, pitch);                       \
    }
STREAM(run_stream_16, 16, 16)
STREAM(run_stream_32, 32, 32)
STREAM(run_stream_any, job->dim, job->pitch)

/* Units [first, last) on a thread that may use scratch. */
static void run_share(const struct job *job, int64_t first, int64_t last, float *scratch) {
    while (first < last) {
        int64_t b = first / job->units, end = (b + 1) * job->units;
        end = end < last ? end : last;
        switch (job->dim) {
        case 16:
            run_stream_16(job, b, first, end, scratch);
            break;
        case 32:
            run_stream_32(job, b, first, end, scratch);
            break;
        default:
            run_stream_any(job, b, first, end, scratch);
        }
        first = end;
    }
}

/* --------------------------------------------------------------------------------------- kernel */

static struct job job_of(const struct kn_mesa_args *a) {
    return (struct job){
        .dim = (int)a->v.dim[3],
        .pitch = ((int)a->v.dim[3] + KN_PAD - 1) / KN_PAD * KN_PAD,
        .state_offset = a->state_offset_bytes,
        .units = a->v.dim[0] / a->control.dim[0] * a->v.dim[2],
        .heads = a->v.dim[2],
        .heads_per_group = a->v.dim[2] / a->q.dim[2],
        .frames = a->v.dim[1],
    };
}

/* Scratch: Lambda, then a state of one unit for each thread. */
static size_t lambda_floats(const struct job *job) {
    return (size_t)job->heads * (size_t)job->pitch;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_mesa_args *a = args;
    struct job job = job_of(a);
    float *lambda = call->scratch, *scratch = lambda + lambda_floats(&job);

    mesa_fill_lambda(lambda, call, &a->lambda, job.pitch);
    job.q = kn_walk(call, &a->q);
    job.k = kn_walk(call, &a->k);
    job.v = kn_walk(call, &a->v);
    job.gate = kn_walk(call, &a->gate);
    job.beta = kn_walk(call, &a->beta);
    job.out = kn_walk(call, &a->out);
    if (a->solution.rank)
        job.solution = kn_walk(call, &a->solution);
    job.control = kn_at(call, &a->control);
    job.lambda = lambda;
#pragma omp parallel num_threads(call->threads)
    {
        int64_t first, last;
        int i = omp_get_thread_num();
        kn_share(a->v.dim[0] * job.heads, i, omp_get_num_threads(), &first, &last);
        run_share(&job, first, last, scratch + (size_t)i * unit_floats(&job));
    }
    return KN_OK;
}

/* A step has nowhere to remember without state. */
static enum kn_status run_step(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_mesa_args *a = args;
    const struct kn_control *control = kn_at(call, &a->control);
    for (int64_t b = 0; b < a->control.dim[0]; b++)
        if (!control[b].state)
            return kn_fail(err, KN_ERR_ARG, "mesa_step: control %lld has no state", (long long)b);
    return run(call, args, err);
}

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    struct job job = job_of(&node->args.mesa);
    size_t floats = lambda_floats(&job) + (size_t)prepare->threads * unit_floats(&job);
    prepare->scratch_bytes = floats * sizeof(float);
    return KN_OK;
}

static bool state_bytes(const void *args, uint64_t *bytes) {
    struct job job = job_of(args);
    return kn_size_mul(unit_floats(&job) * sizeof(float), (uint64_t)job.units, bytes);
}

void KN_ISA_NAME(mesa)(struct kn_table *table) {
    table->kernel[KN_OP_MESA_CLIP] =
        (struct kn_kernel){.prepare = prepare, .run = run, .state_bytes = state_bytes};
    table->kernel[KN_OP_MESA_STEP] =
        (struct kn_kernel){.prepare = prepare, .run = run_step, .state_bytes = state_bytes};
}
