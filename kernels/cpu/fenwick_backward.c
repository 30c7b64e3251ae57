/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of Fenwick attention, in O(T log T): blocks of tokens as long as the forward
 * direction's open block, and the matrices of their buckets.
 *
 * Forwards in time every full block becomes a matrix as in close_block() of fenwick.c; all are
 * kept, each in the place of the block that closed it. Backwards in time the gradients of live
 * matrices are live likewise: a block first undoes its own closing, which hands the gradient of
 * the new matrix down to those it was made of, then adds what it read from the matrices live
 * before it. Matrices lie transposed (value, key): so most products need nothing transposed.
 *
 * A log decay g_t is worth all pairs (i, s) with s < t <= i. Those inside t's block are summed up
 * by kn_block_gates(); "cover" holds, for each live matrix, what pairs are worth that span all of
 * its bucket: later tokens that read older matrices, and older parts of a matrix read later.
 */
#include "attention_block.h"
#include "fenwick_state.h"

struct job {
    struct fenwick_layout layout;
    struct kn_walk q, k, v, gate, level, dout;
    struct kn_walk dq, dk, dv, dgate, dlevel;
    const struct kn_control *control;
    uint64_t state_offset;
    int64_t heads, heads_per_group, frames;
};

/* One unit at work. Rows are raw x pitch, squares raw x raw, matrices pitch x pitch floats. */
struct unit {
    const struct job *job;
    int64_t sequence, head;
    bool add;                   /* another head of the group was here before */
    uint64_t past, first, last; /* tokens before this run; its blocks, counted from the start */
    struct fenwick_state state; /* past > 0 */
    int raw, dim, pitch, slots; /* slots: of live matrices; the last one collects */

    float *q, *k, *v, *o, *dq, *dk, *dv, *y, *aq, *kt, *vt; /* rows; o: gradients of outputs */
    float *scores, *values, *pairs;                         /* squares */
    float *node, *older, *grad, *turned; /* matrices: of blocks, of slots before the run, ... */
    float *span;                         /* log decay over the bucket of each block's matrix */
    float cover[KN_SLOTS];

    /* of the block at work */
    int from, to; /* positions of this run's tokens; those before come from the state */
    int64_t at;   /* index in the run of the token at position 0 */
    float g[KN_BLOCK_MAX], prefix[KN_BLOCK_MAX]; /* log decays: own, since the block's start */
    float since[KN_BLOCK_MAX];                   /* ... from each token to the newest */
    float rows[KN_BLOCK_MAX], columns[KN_BLOCK_MAX], all;
    float lambda[KN_BLOCK_MAX][32], dlambda[KN_BLOCK_MAX][32];
    float weight[KN_BLOCK_MAX], worth[KN_BLOCK_MAX]; /* of one token's pairs */
    struct kn_direction q_direction[KN_BLOCK_MAX], k_direction[KN_BLOCK_MAX];
};

static bool is_live(const struct unit *u, uint64_t block, int slot) {
    return slot < u->slots - 1 ? block >> slot & 1 : block >> slot != 0;
}

/* The block whose closing made the matrix that lies in a slot when block is read. */
static uint64_t made_by(uint64_t block, int slot) {
    return (block >> slot << slot) - 1;
}

static size_t area(const struct unit *u) {
    return (size_t)u->pitch * (size_t)u->pitch;
}

static bool in_run(const struct unit *u, uint64_t block) {
    return block + 1 > u->first;
}

static const float *matrix(const struct unit *u, uint64_t block, int slot) {
    uint64_t by = made_by(block, slot) + 1;
    return by > u->first ? u->node + (by - 1 - u->first) * area(u)
                         : u->older + (size_t)slot * area(u);
}

static float span(const struct unit *u, uint64_t block, int slot) {
    uint64_t by = made_by(block, slot) + 1;
    return by > u->first ? u->span[by - 1 - u->first] : record_span(u->state.record, u->raw)[slot];
}

/* ---------------------------------------------------------------------------------------- block */

static void place(struct unit *u, uint64_t block) {
    const int64_t raw = u->raw;
    u->at = (int64_t)(block * (uint64_t)raw - u->past);
    u->from = block == u->first ? (int)(u->past % (uint64_t)raw) : 0;
    u->to = u->job->frames - u->at < raw ? (int)(u->job->frames - u->at) : u->raw;
}

static float *row(const struct unit *u, float *rows, int i) {
    return rows + i * u->pitch;
}

/* Keys and values of tokens that the state has kept as they were. */
static void load_kept(struct unit *u) {
    for (int p = 0; p < u->from; p++) {
        const float *kept = u->state.block + p * 2 * u->pitch;
        memcpy(row(u, u->k, p), kept, (size_t)u->pitch * sizeof *kept);
        memcpy(row(u, u->v, p), kept + u->pitch, (size_t)u->pitch * sizeof *kept);
        u->since[p] = u->state.record[p];
    }
}

KN_INLINE void load_keys_of(struct unit *u, int dim, int pitch) {
    const struct job *job = u->job;
    const int64_t n = u->sequence, h = u->head, group = h / job->heads_per_group;
    load_kept(u);
    for (int p = u->from; p < u->to; p++) {
        u->k_direction[p] =
            kn_direction(row(u, u->k, p), kn_walk_at(&job->k, n, u->at + p, group), dim, pitch);
        kn_row_copy(row(u, u->v, p), kn_walk_at(&job->v, n, u->at + p, h), dim, pitch);
    }
}
KN_BY_DIM(load_keys)

KN_INLINE void load_queries_of(struct unit *u, int dim, int pitch) {
    const struct job *job = u->job;
    const int64_t n = u->sequence, h = u->head, group = h / job->heads_per_group;
    const int levels = job->layout.levels;
    float total = u->from ? *record_total(u->state.record, u->raw) : 0.0f;
    for (int p = u->from; p < u->to; p++) {
        const int64_t i = u->at + p;
        u->q_direction[p] =
            kn_direction(row(u, u->q, p), kn_walk_at(&job->q, n, i, group), dim, pitch);
        kn_row_copy(row(u, u->o, p), kn_walk_at(&job->dout, n, i, h), dim, pitch);
        u->g[p] = fenwick_scales(kn_walk_at(&job->level, n, i, 0) + h * levels, levels,
                                 *(kn_walk_at(&job->gate, n, i, 0) + h), u->lambda[p]);
        memset(u->dlambda[p], 0, sizeof u->dlambda[p]);
        u->prefix[p] = total += u->g[p];
        u->rows[p] = 0.0f;
    }
}
KN_BY_DIM(load_queries)

/* -------------------------------------------------------------------------------- closed blocks */

/* Log decays from each token to the end of a full block; returns that over all of it. */
static float decays_to_end(struct unit *u) {
    const struct job *job = u->job;
    float sum = 0.0f;
    for (int p = u->raw - 1; p >= u->from; p--) {
        u->since[p] = sum;
        sum += kn_logsigmoid(*(kn_walk_at(&job->gate, u->sequence, u->at + p, 0) + u->head));
    }
    for (int p = 0; p < u->from; p++)
        u->since[p] += sum;
    return u->from ? sum + *record_total(u->state.record, u->raw) : sum;
}

/* The matrix of a full block and of the buckets that it joins. */
static void close_block(struct unit *u, uint64_t block) {
    float *made = u->node + (block - u->first) * area(u), gap;
    const int last = u->slots - 1, count = (int)area(u);
    int slot = 0;
    place(u, block);
    load_keys(u);
    gap = decays_to_end(u);
    for (int p = 0; p < u->raw; p++)
        kn_row_scale(row(u, u->v, p), kn_exp(u->since[p]), u->pitch);
    kn_multiply(&(struct kn_product){.c = made,
                                     .c_row = u->pitch,
                                     .a = u->v,
                                     .a_row = 1,
                                     .a_col = u->pitch,
                                     .b = u->k,
                                     .b_row = u->pitch,
                                     .rows = u->pitch,
                                     .depth = u->raw,
                                     .cols = u->pitch});
    for (; slot < last && block >> slot & 1; gap += span(u, block, slot++))
        kn_add_scaled(made, matrix(u, block, slot), kn_exp(gap), count);
    if (slot == last && block >> last)
        kn_add_scaled(made, matrix(u, block, last), kn_exp(gap), count);
    u->span[block - u->first] = gap;
}

static float inner(const float *a, const float *b, size_t count) {
    kn_vec s = {0};
    for (size_t i = 0; i < count; i += KN_W)
        s += kn_load(a + i) * kn_load(b + i);
    return kn_vec_sum(s);
}

/* What later tokens read of this block's tokens: gradients of keys and values. */
static void read_later(struct unit *u, const float *grad) {
    const int pitch = u->pitch;
    struct kn_product p = {.c = u->dk,
                           .c_row = pitch,
                           .a = u->v,
                           .a_row = pitch,
                           .a_col = 1,
                           .b = grad,
                           .b_row = pitch,
                           .rows = u->to,
                           .depth = u->dim,
                           .cols = pitch};
    kn_multiply(&p);
    kn_transpose(u->turned, pitch, grad, pitch, pitch, pitch);
    p.c = u->dv;
    p.a = u->k;
    p.b = u->turned;
    kn_multiply(&p);
    for (int s = 0; s < u->to; s++) {
        const float e = kn_exp(u->since[s]);
        kn_row_scale(row(u, u->dk, s), e, pitch);
        kn_row_scale(row(u, u->dv, s), e, pitch);
        u->columns[s] = kn_dot(row(u, u->k, s), row(u, u->dk, s), pitch);
    }
}

/* Undoes close_block(): the gradient of the matrix becomes those of its parts. */
static void open_block(struct unit *u, uint64_t block) {
    const size_t size = area(u);
    const int last = u->slots - 1;
    int target = 0, slot;
    float gap = u->prefix[u->to - 1], worth[KN_SLOTS], *grad;
    while (target < last && block >> target & 1)
        target++;
    grad = u->grad + (size_t)target * size;
    for (slot = 0; slot < target; gap += span(u, block, slot++)) {
        float e = kn_exp(gap);
        worth[slot] = e * inner(matrix(u, block, slot), grad, size);
        if (in_run(u, made_by(block, slot)))
            kn_scaled(u->grad + (size_t)slot * size, grad, e, (int)size);
    }
    read_later(u, grad);
    u->all = u->cover[target];
    if (target == last && block >> last) {
        float e = kn_exp(gap);
        u->all += e * inner(matrix(u, block, last), grad, size);
        kn_scaled(grad, grad, e, (int)size);
    }
    while (slot-- > 0) {
        u->cover[slot] = u->all;
        u->all += worth[slot];
    }
}

/* -------------------------------------------------------------------------------- live matrices */

/* What the block's tokens read of one live matrix, age log decay before it; returns its worth. */
static float read_matrix(struct unit *u, uint64_t block, int slot, float age) {
    const int pitch = u->pitch, levels = u->job->layout.levels;
    const int bit = slot + u->job->layout.raw_bits, level = bit + 1 < levels ? bit + 1 : levels - 1;
    const size_t first = (size_t)(u->from * pitch);
    struct kn_product p = {.c = u->y + first,
                           .c_row = pitch,
                           .a = u->o + first,
                           .a_row = pitch,
                           .a_col = 1,
                           .b = matrix(u, block, slot),
                           .b_row = pitch,
                           .rows = u->to - u->from,
                           .depth = u->dim,
                           .cols = pitch};
    float worth = 0.0f;
    kn_multiply(&p);
    for (int t = u->from; t < u->to; t++) {
        const float e = kn_exp(u->prefix[t] + age), a = e * u->lambda[t][level];
        const float *q = row(u, u->q, t), *y = row(u, u->y, t);
        float part = e * kn_dot(q, y, pitch);
        u->dlambda[t][level] += part;
        part *= u->lambda[t][level];
        u->rows[t] += part;
        worth += part;
        kn_add_scaled(row(u, u->dq, t), y, a, pitch);
        kn_scaled(row(u, u->aq, t), q, a, pitch);
    }
    if (!in_run(u, made_by(block, slot)))
        return worth;
    p.c = u->grad + (size_t)slot * area(u);
    p.a_row = 1;
    p.a_col = pitch;
    p.b = u->aq + first;
    p.rows = pitch;
    p.depth = u->to - u->from;
    p.add = block != u->last;
    kn_multiply(&p);
    return worth;
}

static void read_live(struct unit *u, uint64_t block) {
    float age[KN_SLOTS], sum = 0.0f;
    for (int slot = 0; slot < u->slots; slot++) {
        age[slot] = sum;
        if (is_live(u, block, slot) && slot < u->slots - 1)
            sum += span(u, block, slot);
    }
    sum = 0.0f;
    for (int slot = u->slots - 1; slot >= 0; slot--) {
        if (!is_live(u, block, slot))
            continue;
        u->cover[slot] = (block == u->last ? 0.0f : u->cover[slot]) + sum;
        sum += read_matrix(u, block, slot, age[slot]);
    }
}

/* -------------------------------------------------------------------------- inside of the block */

/*
 * Row i of the squares, with e the decays since each token: scores become factors of the output's
 * gradient in values, values those of keys in queries, pairs what each pair is worth.
 */
KN_INLINE void weigh(struct unit *u, int i, int side) {
    const int levels = u->job->layout.levels;
    float *scores = u->scores + i * u->raw, *values = u->values + i * u->raw;
    float *e = u->pairs + i * u->raw, *weight = u->weight, *worth = u->worth;
    const float *lambda = u->lambda[i];
    float *dlambda = u->dlambda[i];
    kn_block_decay(u->since, u->g[i], i, side, e);
#pragma omp simd
    for (int s = 0; s < side; s++) {
        weight[s] = 0.0f;
        worth[s] = e[s] * scores[s] * values[s];
    }
    weight[i] = lambda[0];
    dlambda[0] += worth[i];
    for (int bit = 0; i >> bit; bit++) {
        const int level = bit + 1 < levels ? bit + 1 : levels - 1;
        const int begin = i >> (bit + 1) << (bit + 1), end = begin + (1 << bit);
        if (i >> bit & 1)
            for (int s = begin; s < end; s++) {
                weight[s] = lambda[level];
                dlambda[level] += worth[s];
            }
    }
#pragma omp simd
    for (int s = 0; s < side; s++) {
        const float w = weight[s] * e[s];
        e[s] = weight[s] * worth[s];
        values[s] *= w;
        scores[s] *= w;
    }
}

KN_INLINE void weigh_all_of(struct unit *u, int dim, int pitch) {
    const int side = fenwick_raw_bits(dim) == 4 ? 16 : kn_block_side(u->to);
    for (int i = u->from; i < u->to; i++)
        weigh(u, i, side);
}
KN_BY_DIM(weigh_all)

static void zero_rows(const struct unit *u, float *rows, int from, int to) {
    if (to > from)
        memset(row(u, rows, from), 0, (size_t)((to - from) * u->pitch) * sizeof *rows);
}

/* All pairs inside the block. */
static void scores_and_values(struct unit *u, int side) {
    const int pitch = u->pitch, raw = u->raw;
    struct kn_product p = {.c = u->scores + u->from * raw,
                           .c_row = raw,
                           .a = row(u, u->q, u->from),
                           .a_row = pitch,
                           .a_col = 1,
                           .b = u->kt,
                           .b_row = raw,
                           .rows = u->to - u->from,
                           .depth = u->dim,
                           .cols = side};
    zero_rows(u, u->k, u->to, side);
    zero_rows(u, u->v, u->to, side);
    kn_transpose(u->kt, raw, u->k, pitch, side, pitch);
    kn_transpose(u->vt, raw, u->v, pitch, side, pitch);
    kn_multiply(&p);
    p.c = u->values + u->from * raw;
    p.a = row(u, u->o, u->from);
    p.b = u->vt;
    kn_multiply(&p);
    weigh_all(u);
}

static void inside(struct unit *u) {
    const int pitch = u->pitch, raw = u->raw, from = u->from, count = u->to - from;
    struct kn_product p = {.c = row(u, u->dq, from),
                           .c_row = pitch,
                           .a = u->values + from * raw,
                           .a_row = raw,
                           .a_col = 1,
                           .b = u->k,
                           .b_row = pitch,
                           .rows = count,
                           .depth = u->to,
                           .cols = pitch,
                           .add = true};
    kn_multiply(&p);
    p.c = row(u, u->dk, from);
    p.a = u->values + from * raw + from;
    p.a_row = 1;
    p.a_col = raw;
    p.b = row(u, u->q, from);
    p.depth = count;
    kn_multiply(&p);
    p.c = row(u, u->dv, from);
    p.a = u->scores + from * raw + from;
    p.b = row(u, u->o, from);
    kn_multiply(&p);
}

/* ----------------------------------------------------------------------------------------- unit */

KN_INLINE void store_of(struct unit *u, int dim, int pitch) {
    const struct job *job = u->job;
    const int64_t n = u->sequence, h = u->head, group = h / job->heads_per_group;
    const int levels = job->layout.levels;
    const int side = fenwick_raw_bits(dim) == 4 ? 16 : kn_block_side(u->to);
    float dg[KN_BLOCK_MAX];
    kn_block_gates(dg, u->pairs, u->raw, u->from, u->to, u->all, u->rows, u->columns, side);
    for (int p = u->from; p < u->to; p++) {
        const int64_t i = u->at + p;
        const float *level = kn_walk_at(&job->level, n, i, 0) + h * levels;
        float *dlevel = kn_walk_at(&job->dlevel, n, i, 0) + h * levels;
        kn_direction_backward(kn_walk_at(&job->dq, n, i, group), row(u, u->q, p), row(u, u->dq, p),
                              u->q_direction[p], dim, pitch, u->add);
        kn_direction_backward(kn_walk_at(&job->dk, n, i, group), row(u, u->k, p), row(u, u->dk, p),
                              u->k_direction[p], dim, pitch, u->add);
        memcpy(kn_walk_at(&job->dv, n, i, h), row(u, u->dv, p), (size_t)dim * sizeof(float));
#pragma omp simd
        for (int l = 0; l < levels; l++)
            dlevel[l] = u->dlambda[p][l] * kn_sigmoid(level[l]);
        *(kn_walk_at(&job->dgate, n, i, 0) + h) =
            dg[p] * kn_sigmoid(-*(kn_walk_at(&job->gate, n, i, 0) + h));
    }
}
KN_BY_DIM(store)

static void backward_block(struct unit *u, uint64_t block) {
    place(u, block);
    load_keys(u);
    load_queries(u);
    const int side = kn_block_side(u->to);
    memset(u->columns, 0, sizeof u->columns);
    zero_rows(u, u->dq, u->from, u->to);
    scores_and_values(u, side);
    u->all = 0.0f;
    if (block < u->last)
        open_block(u, block);
    else {
        zero_rows(u, u->dk, u->from, u->to);
        zero_rows(u, u->dv, u->from, u->to);
    }
    read_live(u, block);
    inside(u);
    store(u);
}

/* Matrices of the state, which lie (key, value). */
static void take_matrices(struct unit *u) {
    const int dim = u->dim, pitch = u->pitch;
    for (int slot = 0; slot < u->slots; slot++) {
        const float *from = u->state.matrix + (size_t)slot * u->state.stride;
        float *to = u->older + (size_t)slot * area(u);
        if (!is_live(u, u->first, slot))
            continue;
        memset(to, 0, area(u) * sizeof *to);
        for (int i = 0; i < dim; i++)
            for (int j = 0; j < dim; j++)
                to[j * pitch + i] = from[i * pitch + j];
    }
}

static void run_unit(struct unit *u) {
    const struct job *job = u->job;
    const struct fenwick_layout *l = &job->layout;
    const int64_t i = u->sequence * job->heads + u->head;
    const struct kn_control *control = job->control + i / l->units;
    u->past = kn_past(control);
    u->first = u->past >> l->raw_bits;
    u->last = (u->past + (uint64_t)job->frames - 1) >> l->raw_bits;
    if (u->past > 0) {
        u->state = fenwick_state(l, (float *)((char *)control->state + job->state_offset), l->units,
                                 i % l->units);
        take_matrices(u);
    }
    for (uint64_t block = u->first; block < u->last; block++)
        close_block(u, block);
    for (uint64_t block = u->last + 1; block-- > u->first;)
        backward_block(u, block);
}

/* --------------------------------------------------------------------------------------- kernel */

static struct fenwick_layout layout_of(const struct kn_fenwick_backward_args *a) {
    const struct kn_fenwick_args forward = {.v = a->v, .control = a->control, .levels = a->levels};
    return fenwick_layout(&forward);
}

/* Blocks that a run can meet, wherever it begins. */
static uint64_t blocks_of(const struct fenwick_layout *l, int64_t frames) {
    return (((uint64_t)frames - 1) >> l->raw_bits) + 2;
}

/* What a unit has for itself: rows, squares, matrices, then one matrix and one span per block. */
#define ROWS 11
#define SQUARES 3

static bool unit_floats(const struct fenwick_layout *l, int64_t frames, uint64_t *floats) {
    const uint64_t raw = (uint64_t)1 << l->raw_bits, pitch = (uint64_t)l->pitch;
    const uint64_t fixed =
        ROWS * raw * pitch + SQUARES * raw * raw + (1 + 2 * (uint64_t)l->matrices) * pitch * pitch;
    const uint64_t blocks = blocks_of(l, frames);
    uint64_t nodes, spans, all;
    if (!kn_size_mul(blocks, pitch * pitch, &nodes) || !kn_size_align(blocks, KN_PAD, &spans) ||
        !kn_size_add(fixed, nodes, &all) || !kn_size_add(all, spans, &all))
        return false;
    *floats = all;
    return true;
}

static void lay_out(struct unit *u, float *at) {
    const struct fenwick_layout *l = &u->job->layout;
    const size_t raw = (size_t)1 << l->raw_bits, pitch = (size_t)l->pitch;
    const size_t slots = (size_t)l->matrices;
    float **const rows[ROWS] = {&u->q,  &u->k, &u->v,  &u->o,  &u->dq, &u->dk,
                                &u->dv, &u->y, &u->aq, &u->kt, &u->vt};
    float **const squares[SQUARES] = {&u->scores, &u->values, &u->pairs};
    u->raw = (int)raw;
    u->dim = l->dim;
    u->pitch = l->pitch;
    u->slots = l->matrices;
    for (int i = 0; i < ROWS; i++, at += raw * pitch)
        *rows[i] = at;
    for (int i = 0; i < SQUARES; i++, at += raw * raw)
        *squares[i] = at;
    u->turned = at;
    u->older = u->turned + pitch * pitch;
    u->grad = u->older + slots * pitch * pitch;
    u->node = u->grad + slots * pitch * pitch;
    u->span = u->node + blocks_of(l, u->job->frames) * pitch * pitch;
}

static struct job job_of(const struct kn_call *call, const struct kn_fenwick_backward_args *a) {
    return (struct job){
        .layout = layout_of(a),
        .q = kn_walk(call, &a->q),
        .k = kn_walk(call, &a->k),
        .v = kn_walk(call, &a->v),
        .gate = kn_walk(call, &a->gate),
        .level = kn_walk(call, &a->level),
        .dout = kn_walk(call, &a->dout),
        .dq = kn_walk(call, &a->dq),
        .dk = kn_walk(call, &a->dk),
        .dv = kn_walk(call, &a->dv),
        .dgate = kn_walk(call, &a->dgate),
        .dlevel = kn_walk(call, &a->dlevel),
        .control = kn_at(call, &a->control),
        .state_offset = a->state_offset_bytes,
        .heads = a->v.dim[2],
        .heads_per_group = a->v.dim[2] / a->q.dim[2],
        .frames = a->v.dim[1],
    };
}

/* Threads share groups of heads: the heads of one add to the same queries and keys, in order. */
static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_fenwick_backward_args *a = args;
    const struct job job = job_of(call, a);
    const int64_t groups = a->q.dim[2];
#pragma omp parallel num_threads(call->threads)
    {
        struct unit u = {.job = &job};
        int64_t first, last;
        uint64_t floats = 0;
        unit_floats(&job.layout, job.frames, &floats);
        lay_out(&u, (float *)call->scratch + (uint64_t)omp_get_thread_num() * floats);
        kn_share(a->v.dim[0] * groups, omp_get_thread_num(), omp_get_num_threads(), &first, &last);
        for (int64_t i = first * job.heads_per_group; i < last * job.heads_per_group; i++) {
            u.sequence = i / job.heads;
            u.head = i % job.heads;
            u.add = i % job.heads_per_group != 0;
            run_unit(&u);
        }
    }
    return KN_OK;
}

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_fenwick_backward_args *a = &node->args.fenwick_backward;
    const struct fenwick_layout l = layout_of(a);
    uint64_t floats;
    if (!unit_floats(&l, a->v.dim[1], &floats) ||
        !kn_size_mul(floats, (uint64_t)prepare->threads * sizeof(float), &prepare->scratch_bytes))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    return KN_OK;
}

void KN_ISA_NAME(fenwick_backward)(struct kn_table *table) {
    table->kernel[KN_OP_FENWICK_BACKWARD] = (struct kn_kernel){.prepare = prepare, .run = run};
}
