/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of the Mesa layer by implicit differentiation.
 *
 * Forwards in time, token by token as in mesa.c: H and G move on, b = G dout, and y = (H +
 * Lambda)^-1 b by conjugate gradient, which is the gradient of q^. H and G are remembered as they
 * are before each block of tokens.
 *
 * Backwards in time, block by block: with x the solutions and E the decays inside the block,
 *
 *   dk_s = beta_s (sum_i E_is (c_is x_i - (x_i . k_s) y_i) + dG v_s + (dH + dH^T) k_s)
 *   dv_s = beta_s (sum_i E_is (x_i . k_s) dout_i + dG^T k_s),   c_is = dout_i . v_s - y_i . k_s
 *
 * where dG and dH are what the tokens after the block are worth. A log decay g_t is worth all
 * pairs (i, s) with s < t <= i: those inside the block, tokens of the block with H and G before it
 * (rows) or with dG and dH after it (columns), and the latter two with each other; so no long sum
 * is ever taken from another. G and dG lie transposed (value, key).
 */
#include "attention_block.h"
#include "mesa_unit.h"

struct job {
    int dim, pitch, raw; /* raw: tokens of a block */
    struct kn_walk q, k, v, gate, beta, solution, dout;
    struct kn_walk dq, dk, dv, dgate, dbeta;
    const float *lambda; /* (heads, pitch), after softplus */
    double *dlambda;     /* (units, dim): of each unit alone */
    struct kn_control *control;
    uint64_t state_offset;
    int64_t units; /* of one stream */
    int64_t heads, heads_per_group, frames;
};

/* One unit at work. Rows are raw x pitch, squares raw x raw, matrices pitch x pitch floats. */
struct unit {
    const struct job *job;
    int64_t sequence, head;
    bool add;     /* another head of the group was here before */
    bool carried; /* H and G before the run are not zero */
    struct kn_control *control;
    int dim, pitch, raw;

    float *x, *y, *k, *v, *o, *dk, *dv, *z, *kt, *vt; /* rows; o: gradients of outputs, y negated */
    float *keys, *values, *pairs;                     /* squares */
    float *h, *g, *dh, *dg, *turned;                  /* matrices, h next to g; dh: dH + dH^T */
    float *saved;                                     /* H and G before each block */
    float *adjoint;                                   /* y of every token */

    /* of the block at work */
    int count;                                          /* its tokens */
    int64_t at;                                         /* the first one's index */
    float log_keep[KN_BLOCK_MAX], forget[KN_BLOCK_MAX]; /* log gamma, 1 - gamma */
    float beta[KN_BLOCK_MAX], rest[KN_BLOCK_MAX];       /* beta, 1 - beta */
    float since[KN_BLOCK_MAX], prefix[KN_BLOCK_MAX];
    float rows[KN_BLOCK_MAX], columns[KN_BLOCK_MAX], all, dbeta[KN_BLOCK_MAX];
    struct kn_direction direction[KN_BLOCK_MAX];
};

/* Tokens of a block. */
KN_INLINE int raw_of(int dim) {
    return dim <= 32 ? 16 : dim <= 64 ? 32 : KN_BLOCK_MAX;
}

static size_t area(const struct unit *u) {
    return (size_t)u->pitch * (size_t)u->pitch;
}

static float *row(const struct unit *u, float *rows, int i) {
    return rows + i * u->pitch;
}

static int64_t group_of(const struct unit *u) {
    return u->head / u->job->heads_per_group;
}

static void place(struct unit *u, int64_t block) {
    u->at = block * u->raw;
    u->count = u->job->frames - u->at < u->raw ? (int)(u->job->frames - u->at) : u->raw;
}

/* ------------------------------------------------------------------------------------- forwards */

/*
 * b as a row of length one, so that the solver's squares keep their digits whatever the loss's
 * scale; returns |b|.
 */
KN_INLINE float scale_to_one(float *b, int pitch) {
    float most = 0.0f;
#pragma omp simd reduction(max : most)
    for (int i = 0; i < pitch; i++)
        most = kn_abs(b[i]) > most ? kn_abs(b[i]) : most;
    if (most == 0.0f)
        return 0.0f;
    for (int i = 0; i < pitch; i += KN_W)
        kn_store(b + i, kn_load(b + i) / most);
    const float norm = sqrtf(kn_dot(b, b, pitch));
    kn_row_scale(b, 1.0f / norm, pitch);
    return norm * most;
}

/* Token i of the run: y, and with it the gradients of its query and of Lambda. */
KN_INLINE struct cg_end solve(struct unit *u, int64_t i, const struct cg_stop *stop, int dim,
                              int pitch) {
    const struct job *job = u->job;
    const int64_t n = u->sequence, h = u->head;
    float k[KN_MAX_HEAD_DIM], v[KN_MAX_HEAD_DIM], o[KN_MAX_HEAD_DIM], b[KN_MAX_HEAD_DIM];
    float *y = u->adjoint + i * pitch;
    const float *solution = kn_walk_at(&job->solution, n, i, h);
    double *dlambda = job->dlambda + (n * job->heads + h) * dim;
    const float keep = kn_sigmoid(*(kn_walk_at(&job->gate, n, i, 0) + h));
    const float root = sqrtf(kn_sigmoid(*(kn_walk_at(&job->beta, n, i, 0) + h)));

    kn_row_normalise(k, kn_walk_at(&job->k, n, i, group_of(u)), dim, pitch);
    kn_row_copy(v, kn_walk_at(&job->v, n, i, h), dim, pitch);
    kn_row_copy(o, kn_walk_at(&job->dout, n, i, h), dim, pitch);
    kn_row_scale(k, root, pitch);
    kn_row_scale(v, root, pitch);
    const struct mesa_value_update value = {.k = v, .v = k, .x = o, .keep = keep};
    const struct cg_update update = {.keep = keep, .u = k};
    mesa_read_values(u->g, &value, b, dim, pitch);
    const float length = scale_to_one(b, pitch);
    const struct cg_end end =
        cg_solve(u->h, job->lambda + h * pitch, b, y, stop, &update, dim, pitch);
    kn_row_scale(y, length, pitch);
    for (int c = 0; c < dim; c++)
        dlambda[c] -= (double)(y[c] * solution[c]);

    struct kn_direction d = kn_direction(k, kn_walk_at(&job->q, n, i, group_of(u)), dim, pitch);
    memcpy(o, y, (size_t)pitch * sizeof *o);
    kn_direction_backward(kn_walk_at(&job->dq, n, i, group_of(u)), k, o, d, dim, pitch, u->add);
    return end;
}

/* H and G before the run; false: both are zero. */
static bool start(struct unit *u) {
    const int dim = u->dim, pitch = u->pitch;
    const size_t size = (size_t)dim * (size_t)pitch;
    const int64_t unit = (u->sequence * u->job->heads + u->head) % u->job->units;
    memset(u->h, 0, area(u) * sizeof *u->h);
    memset(u->g, 0, area(u) * sizeof *u->g);
    if (kn_past(u->control) == 0)
        return false;
    const float *state = (float *)((char *)u->control->state + u->job->state_offset);
    state += (size_t)unit * 2 * size;
    memcpy(u->h, state, size * sizeof *state);
    for (int i = 0; i < dim; i++)
        for (int j = 0; j < dim; j++)
            u->g[j * pitch + i] = state[size + (size_t)(i * pitch + j)];
    return true;
}

KN_INLINE void forwards_of(struct unit *u, int dim, int pitch) {
    const struct cg_stop stop = {u->control->cg_tolerance, u->control->cg_iterations};
    struct kn_mesa_stats stats = {0};
    for (int64_t i = 0; i < u->job->frames; i++) {
        if (i % u->raw == 0 && (i > 0 || u->carried))
            memcpy(u->saved + (size_t)(i / u->raw) * 2 * area(u), u->h, 2 * area(u) * sizeof *u->h);
        const struct cg_end end = solve(u, i, &stop, dim, pitch);
        mesa_count(&stats, &end);
    }
    mesa_add_stats(&u->control->mesa, &stats);
}
KN_BY_DIM(forwards)

/* ------------------------------------------------------------------------------------ backwards */

KN_INLINE void load_of(struct unit *u, int dim, int pitch) {
    const struct job *job = u->job;
    const int64_t n = u->sequence, h = u->head;
    float total = 0.0f;
    for (int p = 0; p < u->count; p++) {
        const int64_t i = u->at + p;
        u->direction[p] =
            kn_direction(row(u, u->k, p), kn_walk_at(&job->k, n, i, group_of(u)), dim, pitch);
        kn_row_copy(row(u, u->v, p), kn_walk_at(&job->v, n, i, h), dim, pitch);
        kn_row_copy(row(u, u->o, p), kn_walk_at(&job->dout, n, i, h), dim, pitch);
        kn_row_copy(row(u, u->x, p), kn_walk_at(&job->solution, n, i, h), dim, pitch);
        kn_scaled(row(u, u->y, p), u->adjoint + i * pitch, -1.0f, pitch);
        u->log_keep[p] = *(kn_walk_at(&job->gate, n, i, 0) + h);
        u->beta[p] = *(kn_walk_at(&job->beta, n, i, 0) + h);
    }
#pragma omp simd
    for (int p = 0; p < u->count; p++) {
        u->forget[p] = kn_sigmoid(-u->log_keep[p]);
        u->log_keep[p] = kn_logsigmoid(u->log_keep[p]);
        u->rest[p] = kn_sigmoid(-u->beta[p]);
        u->beta[p] = kn_sigmoid(u->beta[p]);
    }
    for (int p = 0; p < u->count; p++)
        u->prefix[p] = total += u->log_keep[p];
}
KN_BY_DIM(load)

/* c (+)= a times b for all rows of a block */
static void by_rows(const struct unit *u, float *c, const float *a, const float *b, bool add) {
    kn_multiply(&(struct kn_product){.c = c,
                                     .c_row = u->pitch,
                                     .a = a,
                                     .a_row = u->pitch,
                                     .a_col = 1,
                                     .b = b,
                                     .b_row = u->pitch,
                                     .rows = u->count,
                                     .depth = u->dim,
                                     .cols = u->pitch,
                                     .add = add});
}

/* square (+)= a . b of all pairs of tokens, b transposed */
static void by_pairs(const struct unit *u, float *square, const float *a, const float *b,
                     bool add) {
    kn_multiply(&(struct kn_product){.c = square,
                                     .c_row = u->raw,
                                     .a = a,
                                     .a_row = u->pitch,
                                     .a_col = 1,
                                     .b = b,
                                     .b_row = u->raw,
                                     .rows = u->count,
                                     .depth = u->dim,
                                     .cols = kn_block_side(u->count),
                                     .add = add});
}

/* c += square^T a: what each token gets from those after it */
static void from_later(const struct unit *u, float *c, const float *square, const float *a) {
    kn_multiply(&(struct kn_product){.c = c,
                                     .c_row = u->pitch,
                                     .a = square,
                                     .a_row = 1,
                                     .a_col = u->raw,
                                     .b = a,
                                     .b_row = u->pitch,
                                     .rows = u->count,
                                     .depth = u->count,
                                     .cols = u->pitch,
                                     .add = true});
}

/* matrix (+)= a^T b */
static void outer(const struct unit *u, float *matrix, const float *a, const float *b, bool add) {
    kn_multiply(&(struct kn_product){.c = matrix,
                                     .c_row = u->pitch,
                                     .a = a,
                                     .a_row = 1,
                                     .a_col = u->pitch,
                                     .b = b,
                                     .b_row = u->pitch,
                                     .rows = u->pitch,
                                     .depth = u->count,
                                     .cols = u->pitch,
                                     .add = add});
}

/* Row i of the squares: keys become E (x . k), values E c, pairs what each pair is worth. */
KN_INLINE void weigh(struct unit *u, int i, int side) {
    float *keys = u->keys + i * u->raw, *values = u->values + i * u->raw;
    float *e = u->pairs + i * u->raw;
    kn_block_decay(u->since, u->log_keep[i], i, side, e);
#pragma omp simd
    for (int s = 0; s < side; s++) {
        const float worth = e[s] * keys[s] * values[s];
        u->dbeta[s] += worth;
        keys[s] *= e[s];
        values[s] *= e[s];
        e[s] = worth * u->beta[s];
    }
}

KN_INLINE void weigh_all_of(struct unit *u, int dim, int pitch) {
    const int side = raw_of(dim) == KN_PAD ? KN_PAD : kn_block_side(u->count);
    for (int i = 0; i < u->count; i++)
        weigh(u, i, side);
}
KN_BY_DIM(weigh_all)

/* All pairs inside the block; y is negated, so its products are added. */
static void inside(struct unit *u) {
    const int side = kn_block_side(u->count), pitch = u->pitch;
    const size_t idle = (size_t)((side - u->count) * pitch) * sizeof(float);
    memset(row(u, u->k, u->count), 0, idle);
    memset(row(u, u->v, u->count), 0, idle);
    memset(u->beta + u->count, 0, (size_t)(side - u->count) * sizeof *u->beta);
    kn_transpose(u->kt, u->raw, u->k, pitch, side, pitch);
    kn_transpose(u->vt, u->raw, u->v, pitch, side, pitch);
    by_pairs(u, u->keys, u->x, u->kt, false);
    by_pairs(u, u->values, u->o, u->vt, false);
    by_pairs(u, u->values, u->y, u->kt, true);
    weigh_all(u);
    from_later(u, u->dk, u->values, u->x);
    from_later(u, u->dk, u->keys, u->y);
    from_later(u, u->dv, u->keys, u->o);
}

/* What the tokens after the block are worth to those inside; before inside() adds to it. */
static void from_after(struct unit *u) {
    float sum = 0.0f;
    kn_transpose(u->turned, u->pitch, u->dg, u->pitch, u->pitch, u->pitch);
    by_rows(u, u->dk, u->v, u->dg, false);
    by_rows(u, u->z, u->k, u->dh, false);
    by_rows(u, u->dv, u->k, u->turned, false);
    for (int s = u->count - 1; s >= 0; s--) {
        const float e = kn_exp(sum);
        float *k = row(u, u->k, s), *dk = row(u, u->dk, s), *z = row(u, u->z, s);
        u->dbeta[s] = e * (kn_dot(k, dk, u->pitch) + 0.5f * kn_dot(k, z, u->pitch));
        u->columns[s] = u->beta[s] * u->dbeta[s];
        kn_add_scaled(dk, z, 1.0f, u->pitch);
        kn_row_scale(dk, e, u->pitch);
        kn_row_scale(row(u, u->dv, s), e, u->pitch);
        sum += u->log_keep[s];
    }
}

static float inner(const float *a, const float *b, size_t count) {
    kn_vec s = {0};
    for (size_t i = 0; i < count; i += KN_W)
        s += kn_load(a + i) * kn_load(b + i);
    return kn_vec_sum(s);
}

/* What H and G before the block are worth to its tokens, and to those after it (returned). */
static float from_before(struct unit *u, const float *saved, bool after) {
    const float *h = saved, *g = saved + area(u);
    const float decay = kn_exp(u->prefix[u->count - 1]);
    by_rows(u, u->z, u->o, g, false);
    for (int i = 0; i < u->count; i++)
        u->rows[i] = kn_dot(row(u, u->x, i), row(u, u->z, i), u->pitch);
    by_rows(u, u->z, u->x, h, false);
    for (int i = 0; i < u->count; i++)
        u->rows[i] = kn_exp(u->prefix[i]) *
                     (u->rows[i] + kn_dot(row(u, u->y, i), row(u, u->z, i), u->pitch));
    return after ? decay * (inner(u->dg, g, area(u)) + 0.5f * inner(u->dh, h, area(u))) : 0.0f;
}

/* dG and dH move on to before the block; x is scaled, which nobody reads afterwards. */
static void move_on(struct unit *u, bool after) {
    const float decay = kn_exp(u->prefix[u->count - 1]);
    const int pitch = u->pitch;
    for (int i = 0; i < u->count; i++)
        kn_row_scale(row(u, u->x, i), kn_exp(u->prefix[i]), pitch);
    if (after)
        kn_scaled(u->dg, u->dg, decay, (int)area(u));
    outer(u, u->dg, u->o, u->x, after);
    outer(u, u->h, u->y, u->x, false);
    kn_transpose(u->turned, pitch, u->h, pitch, pitch, pitch);
    kn_add_scaled(u->turned, u->h, 1.0f, (int)area(u));
    if (after)
        kn_add_scaled(u->turned, u->dh, decay, (int)area(u));
    memcpy(u->dh, u->turned, area(u) * sizeof *u->dh);
}

KN_INLINE void store_of(struct unit *u, int dim, int pitch) {
    const struct job *job = u->job;
    const int64_t n = u->sequence, h = u->head;
    const int side = raw_of(dim) == KN_PAD ? KN_PAD : kn_block_side(u->count);
    float dgate[KN_BLOCK_MAX];
    kn_block_gates(dgate, u->pairs, u->raw, 0, u->count, u->all, u->rows, u->columns, side);
    for (int p = 0; p < u->count; p++) {
        const int64_t i = u->at + p;
        const float beta = u->beta[p];
        kn_row_scale(row(u, u->dk, p), beta, pitch);
        kn_row_scale(row(u, u->dv, p), beta, pitch);
        kn_direction_backward(kn_walk_at(&job->dk, n, i, group_of(u)), row(u, u->k, p),
                              row(u, u->dk, p), u->direction[p], dim, pitch, u->add);
        memcpy(kn_walk_at(&job->dv, n, i, h), row(u, u->dv, p), (size_t)dim * sizeof(float));
        *(kn_walk_at(&job->dbeta, n, i, 0) + h) = u->dbeta[p] * beta * u->rest[p];
        *(kn_walk_at(&job->dgate, n, i, 0) + h) = dgate[p] * u->forget[p];
    }
}
KN_BY_DIM(store)

/* after: there are tokens behind the block. */
static void backward_block(struct unit *u, int64_t block, bool after) {
    place(u, block);
    u->all = 0.0f;
    load(u);
    memset(u->rows, 0, sizeof u->rows);
    memset(u->columns, 0, sizeof u->columns);
    memset(u->dbeta, 0, sizeof u->dbeta);
    if (after)
        from_after(u);
    else {
        memset(u->dk, 0, (size_t)(u->count * u->pitch) * sizeof *u->dk);
        memset(u->dv, 0, (size_t)(u->count * u->pitch) * sizeof *u->dv);
    }
    if (block > 0 || u->carried)
        u->all = from_before(u, u->saved + (size_t)block * 2 * area(u), after);
    inside(u);
    store(u);
    if (block > 0)
        move_on(u, after);
}

static void run_unit(struct unit *u) {
    const struct job *job = u->job;
    const int64_t i = u->sequence * job->heads + u->head;
    const int64_t blocks = (job->frames - 1) / u->raw + 1;
    u->control = job->control + i / job->units;
    u->carried = start(u);
    forwards(u);
    for (int64_t block = blocks - 1; block >= 0; block--)
        backward_block(u, block, block + 1 != blocks);
}

/* --------------------------------------------------------------------------------------- kernel */

static struct job job_of(const struct kn_mesa_backward_args *a) {
    const int dim = (int)a->v.dim[3];
    return (struct job){
        .dim = dim,
        .pitch = (dim + KN_PAD - 1) / KN_PAD * KN_PAD,
        .raw = dim <= 32   ? 16
               : dim <= 64 ? 32
                           : KN_BLOCK_MAX,
        .state_offset = a->state_offset_bytes,
        .units = a->v.dim[0] / a->control.dim[0] * a->v.dim[2],
        .heads = a->v.dim[2],
        .heads_per_group = a->v.dim[2] / a->q.dim[2],
        .frames = a->v.dim[1],
    };
}

/* What a unit has for itself: rows, squares, matrices, then states and adjoints. */
#define ROWS 10
#define SQUARES 3
#define MATRICES 5

static bool unit_floats(const struct job *job, uint64_t *floats) {
    const uint64_t raw = (uint64_t)job->raw, pitch = (uint64_t)job->pitch;
    const uint64_t fixed = ROWS * raw * pitch + SQUARES * raw * raw + MATRICES * pitch * pitch;
    const uint64_t blocks = ((uint64_t)job->frames - 1) / raw + 1;
    uint64_t saved, adjoints, all;
    if (!kn_size_mul(blocks, 2 * pitch * pitch, &saved) ||
        !kn_size_mul((uint64_t)job->frames, pitch, &adjoints) || !kn_size_add(fixed, saved, &all) ||
        !kn_size_add(all, adjoints, &all))
        return false;
    *floats = all;
    return true;
}

static void lay_out(struct unit *u, float *at) {
    const struct job *job = u->job;
    const size_t raw = (size_t)job->raw, pitch = (size_t)job->pitch;
    const size_t blocks = ((size_t)job->frames - 1) / raw + 1;
    float **const rows[ROWS] = {&u->x,  &u->y,  &u->k, &u->v,  &u->o,
                                &u->dk, &u->dv, &u->z, &u->kt, &u->vt};
    float **const squares[SQUARES] = {&u->keys, &u->values, &u->pairs};
    float **const matrices[MATRICES] = {&u->h, &u->g, &u->dh, &u->dg, &u->turned};
    u->dim = job->dim;
    u->pitch = job->pitch;
    u->raw = job->raw;
    for (int i = 0; i < ROWS; i++, at += raw * pitch)
        *rows[i] = at;
    for (int i = 0; i < SQUARES; i++, at += raw * raw)
        *squares[i] = at;
    for (int i = 0; i < MATRICES; i++, at += pitch * pitch)
        *matrices[i] = at;
    u->saved = at;
    u->adjoint = at + blocks * 2 * pitch * pitch;
}

/* Scratch: dLambda of every unit in double, Lambda, then what each thread's unit needs. */
static bool scratch_parts(const struct kn_mesa_backward_args *a, const struct job *job, int threads,
                          uint64_t part[3]) {
    const int64_t doubles[] = {a->v.dim[0], job->heads, job->dim, 2};
    uint64_t units;
    return kn_size_product(doubles, 4, &part[0]) && kn_size_align(part[0], KN_PAD, &part[0]) &&
           kn_size_mul((uint64_t)job->heads, (uint64_t)job->pitch, &part[1]) &&
           unit_floats(job, &units) && kn_size_mul(units, (uint64_t)threads, &part[2]);
}

static void walks(struct job *job, const struct kn_call *call,
                  const struct kn_mesa_backward_args *a) {
    job->q = kn_walk(call, &a->q);
    job->k = kn_walk(call, &a->k);
    job->v = kn_walk(call, &a->v);
    job->gate = kn_walk(call, &a->gate);
    job->beta = kn_walk(call, &a->beta);
    job->solution = kn_walk(call, &a->solution);
    job->dout = kn_walk(call, &a->dout);
    job->dq = kn_walk(call, &a->dq);
    job->dk = kn_walk(call, &a->dk);
    job->dv = kn_walk(call, &a->dv);
    job->dgate = kn_walk(call, &a->dgate);
    job->dbeta = kn_walk(call, &a->dbeta);
    job->control = kn_at(call, &a->control);
}

/* Sequences are added up in their order. */
static void add_lambda(const struct kn_call *call, const struct kn_mesa_backward_args *a,
                       const struct job *job) {
    const float *lambda = kn_at(call, &a->lambda);
    float *dlambda = kn_at(call, &a->dlambda);
    const int64_t count = job->heads * job->dim;
    for (int64_t i = 0; i < count; i++) {
        double sum = 0.0;
        for (int64_t n = 0; n < a->v.dim[0]; n++)
            sum += job->dlambda[n * count + i];
        dlambda[i] += (float)(sum * (double)kn_sigmoid(lambda[i]));
    }
}

/* Threads share groups of heads: the heads of one add to the same queries and keys, in order. */
static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_mesa_backward_args *a = args;
    struct job job = job_of(a);
    uint64_t part[3] = {0};
    float *lambda;

    scratch_parts(a, &job, call->threads, part);
    walks(&job, call, a);
    job.dlambda = call->scratch;
    lambda = (float *)call->scratch + part[0];
    job.lambda = lambda;
    memset(job.dlambda, 0, part[0] * sizeof(float));
    mesa_fill_lambda(lambda, call, &a->lambda, job.pitch);
#pragma omp parallel num_threads(call->threads)
    {
        struct unit u = {.job = &job};
        const int thread = omp_get_thread_num();
        int64_t first, last;
        lay_out(&u, lambda + part[1] + part[2] / (uint64_t)call->threads * (uint64_t)thread);
        kn_share(a->v.dim[0] * a->q.dim[2], thread, omp_get_num_threads(), &first, &last);
        for (int64_t i = first * job.heads_per_group; i < last * job.heads_per_group; i++) {
            u.sequence = i / job.heads;
            u.head = i % job.heads;
            u.add = i % job.heads_per_group != 0;
            run_unit(&u);
        }
    }
    add_lambda(call, a, &job);
    return KN_OK;
}

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_mesa_backward_args *a = &node->args.mesa_backward;
    const struct job job = job_of(a);
    uint64_t part[3], floats;
    if (!scratch_parts(a, &job, prepare->threads, part) ||
        !kn_size_add(part[0], part[1], &floats) || !kn_size_add(floats, part[2], &floats) ||
        !kn_size_mul(floats, sizeof(float), &prepare->scratch_bytes))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    return KN_OK;
}

void KN_ISA_NAME(mesa_backward)(struct kn_table *table) {
    table->kernel[KN_OP_MESA_BACKWARD] = (struct kn_kernel){.prepare = prepare, .run = run};
}
