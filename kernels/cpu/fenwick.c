/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Fenwick attention. A clip is a run of steps: both go through rows(), which takes up to four
 * tokens of one open block, so that a clip and a stream give the same bits. In a step memory is
 * what counts (each matrix is read once, for one token); in a clip the unit's matrices stay in the
 * cache and are read once for four tokens. Work per token: half an open block and one matrix for
 * each bit of t above it, O(log t).
 */
#include "fenwick_state.h"

#define ROWS 4 /* tokens taken together; divides every open block */

struct job {
    struct fenwick_layout layout;
    struct kn_walk q, k, v, gate, level, out;
    const struct kn_control *control;
    uint64_t state_offset;
    int64_t heads, heads_per_group, frames;
    float *scratch; /* a unit for each thread, for clips without state */
};

/* One unit at work. */
struct unit {
    const struct job *job;
    struct fenwick_state state;
    int64_t sequence, head;
    bool stream; /* one token per unit: fetch what the next unit will read */
};

/* ------------------------------------------------------------------------------- closed buckets */

/*
 * out[r] += a[r] M for n rows and nv vectors of columns; a and out have KN_MAX_HEAD_DIM columns.
 * ahead: floats to what will be read after M, prefetched.
 */
KN_INLINE void read_panel(int n, int nv, float *out, const float *a, const float *m, int dim,
                          int pitch, size_t ahead) {
    kn_vec acc[ROWS][4];
    for (int r = 0; r < n; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = kn_load(out + r * KN_MAX_HEAD_DIM + v * KN_W);
    for (int i = 0; i < dim; i++, m += pitch)
        for (int v = 0; v < nv; v++) {
            if (n == 1 && v * KN_W % 16 == 0)
                __builtin_prefetch(m + ahead + v * KN_W, 0, 2);
            kn_vec row = kn_load(m + v * KN_W);
            for (int r = 0; r < n; r++)
                acc[r][v] += row * a[r * KN_MAX_HEAD_DIM + i];
        }
    for (int r = 0; r < n; r++)
        for (int v = 0; v < nv; v++)
            kn_store(out + r * KN_MAX_HEAD_DIM + v * KN_W, acc[r][v]);
}

/* One function for each shape. */
#define READ(name, n, nv)                                                                        \
    static KN_NOINLINE void name(float *out, const float *a, const float *m, int dim, int pitch, \
                                 size_t ahead) {                                                 \
        read_panel(n, nv, out, a, m, dim, pitch, ahead);                                         \
    }
READ(read_1x1, 1, 1)
READ(read_1x2, 1, 2)
READ(read_1x4, 1, 4)
READ(read_4x1, ROWS, 1)
READ(read_4x2, ROWS, 2)

static void read_one(float *out, const float *a, const float *m, int dim, int pitch, size_t ahead) {
    int c = 0;
    for (; c + 4 * KN_W <= pitch; c += 4 * KN_W)
        read_1x4(out + c, a, m + c, dim, pitch, ahead);
    for (; c + 2 * KN_W <= pitch; c += 2 * KN_W)
        read_1x2(out + c, a, m + c, dim, pitch, ahead);
    for (; c + KN_W <= pitch; c += KN_W)
        read_1x1(out + c, a, m + c, dim, pitch, ahead);
}

static void read_rows(float *out, const float *a, const float *m, int dim, int pitch) {
    int c = 0;
    for (; c + 2 * KN_W <= pitch; c += 2 * KN_W)
        read_4x2(out + c, a, m + c, dim, pitch, 0);
    for (; c + KN_W <= pitch; c += KN_W)
        read_4x1(out + c, a, m + c, dim, pitch, 0);
}

/* out[r] += factor[j ROWS + r] q[r] M_j over the matrices that hold something. */
KN_INLINE void read_closed(const struct unit *u, const struct fenwick_live *live, int n, float *out,
                           const float *q, const float *factor, int dim, int pitch) {
    float a[ROWS * KN_MAX_HEAD_DIM];
    size_t ahead = u->stream ? (size_t)dim * (size_t)pitch : 0;
    for (int j = 0; j < live->count; j++) {
        const float *m = u->state.matrix + live->slot[j] * u->state.stride;
        for (int r = 0; r < n; r++)
            for (int i = 0; i < pitch; i += KN_W)
                kn_store(a + r * KN_MAX_HEAD_DIM + i,
                         kn_load(q + r * KN_MAX_HEAD_DIM + i) * factor[j * ROWS + r]);
        if (n == ROWS)
            read_rows(out, a, m, dim, pitch);
        else
            for (int r = 0; r < n; r++)
                read_one(out + r * KN_MAX_HEAD_DIM, a + r * KN_MAX_HEAD_DIM, m, dim, pitch, ahead);
    }
}

/* ----------------------------------------------------------------------------------- open block */

/*
 * Moves the record on by one token with log decay g at position p. open[j] becomes the decay since
 * token j of the block, closed[j] that since the last token of matrix j; both hold nothing of use
 * where there is no such token or matrix.
 */
static KN_NOINLINE void decays(float *record, float g, int p, int raw, float *open, float *closed) {
    float *total = record_total(record, raw);
    const float *age = record_age(record, raw), sum = p ? *total + g : g;
    for (int c = 0; c < raw; c += 16)
#pragma omp simd
        for (int i = 0; i < 16; i++) {
            float x = c + i < p ? record[c + i] + g : 0.0f;
            record[c + i] = x;
            open[c + i] = kn_exp(x);
        }
#pragma omp simd
    for (int j = 0; j < KN_SLOTS; j++)
        closed[j] = kn_exp(age[j] + sum);
    *total = sum;
}

/* out = sum_{j <= p} weight[j] (q . k_j) v_j over the open block */
KN_INLINE void read_open(float *out, const float *q, const float *block, const float *weight, int p,
                         int pitch, size_t ahead) {
    kn_vec acc[KN_MAX_HEAD_DIM / KN_W];
    for (int v = 0; v < pitch / KN_W; v++)
        acc[v] = (kn_vec){0};
    for (int j = 0; j <= p; j++, block += 2 * pitch) {
        for (int i = 0; ahead && i < 2 * pitch; i += 16)
            __builtin_prefetch(block + ahead + i, 0, 2);
        float c = weight[j] * kn_dot(q, block, pitch);
        for (int v = 0; v < pitch / KN_W; v++)
            acc[v] += kn_load(block + pitch + v * KN_W) * c;
    }
    for (int v = 0; v < pitch / KN_W; v++)
        kn_store(out + v * KN_W, acc[v]);
}

/* Takes token i of the run in at position p: the open block's part of its output and its factors of
 * the live matrices, factor[j ROWS]. */
KN_INLINE void token(const struct unit *u, const struct fenwick_live *live, int64_t i, int p,
                     float *q, float *out, float *factor, int dim, int pitch) {
    const struct job *job = u->job;
    const int raw = 1 << fenwick_raw_bits(dim), levels = job->layout.levels;
    const int64_t n = u->sequence, h = u->head, group = h / job->heads_per_group;
    float lambda[32], open[KN_RAW_MAX], closed[KN_SLOTS];
    float *own = u->state.block + (size_t)p * 2 * (size_t)pitch;

    kn_row_normalise(q, kn_walk_at(&job->q, n, i, group), dim, pitch);
    kn_row_normalise(own, kn_walk_at(&job->k, n, i, group), dim, pitch);
    kn_row_copy(own + pitch, kn_walk_at(&job->v, n, i, h), dim, pitch);
    float g = fenwick_scales(kn_walk_at(&job->level, n, i, 0) + h * levels, levels,
                             *(kn_walk_at(&job->gate, n, i, 0) + h), lambda);
    decays(u->state.record, g, p, raw, open, closed);
    for (int j = 0; j <= p; j++)
        open[j] *= lambda[job->layout.level[p ^ j]];
    for (int j = 0; j < live->count; j++)
        factor[j * ROWS] = closed[live->slot[j]] * lambda[live->level[j]];
    read_open(out, q, u->state.block, open, p, pitch, u->stream ? job->layout.block : 0);
}

/* ---------------------------------------------------------------------------------------- carry */

/* What becomes one matrix when the open block is full. */
struct carry {
    const float *block;               /* its keys scaled by their decays */
    const float *from[KN_MAX_LEVELS]; /* matrices of the buckets that it joins ... */
    float factor[KN_MAX_LEVELS];      /* ... and their decays */
    int count, raw;
};

/* n rows from row i and nv vectors of columns from col of the new matrix */
KN_INLINE void carry_panel(const struct carry *c, int n, int nv, float *to, int i, int col,
                           int pitch) {
    kn_vec acc[ROWS][2];
    const float *b = c->block;
    const size_t at = (size_t)i * (size_t)pitch + (size_t)col;
    for (int r = 0; r < n; r++)
        for (int v = 0; v < nv; v++)
            acc[r][v] = (kn_vec){0};
    for (int s = 0; s < c->raw; s++, b += 2 * pitch)
        for (int v = 0; v < nv; v++) {
            kn_vec row = kn_load(b + pitch + col + v * KN_W);
            for (int r = 0; r < n; r++)
                acc[r][v] += row * b[i + r];
        }
    for (int j = 0; j < c->count; j++)
        for (int r = 0; r < n; r++)
            for (int v = 0; v < nv; v++)
                acc[r][v] += kn_load(c->from[j] + at + r * pitch + v * KN_W) * c->factor[j];
    for (int r = 0; r < n; r++)
        for (int v = 0; v < nv; v++)
            kn_store(to + at + r * pitch + v * KN_W, acc[r][v]);
}

static KN_NOINLINE void carry_4x2(const struct carry *c, float *to, int i, int col, int pitch) {
    carry_panel(c, ROWS, 2, to, i, col, pitch);
}

static KN_NOINLINE void carry_1x1(const struct carry *c, float *to, int i, int col, int pitch) {
    carry_panel(c, 1, 1, to, i, col, pitch);
}

static void carry_matrix(const struct carry *c, float *to, int dim, int pitch) {
    for (int i = 0; i < dim; i += ROWS)
        for (int col = 0; col < pitch; col += 2 * KN_W)
            if (i + ROWS <= dim && col + 2 * KN_W <= pitch)
                carry_4x2(c, to, i, col, pitch);
            else
                for (int part = col; part < col + 2 * KN_W && part < pitch; part += KN_W)
                    for (int r = i; r < i + ROWS && r < dim; r++)
                        carry_1x1(c, to, r, part, pitch);
}

/* The decays of the open block's tokens go into their keys, which nobody reads afterwards. */
KN_INLINE void scale_keys(float *block, const float *decay, int raw, int pitch) {
    float e[KN_RAW_MAX];
#pragma omp simd
    for (int s = 0; s < raw; s++)
        e[s] = kn_exp(decay[s]);
    for (int s = 0; s < raw; s++, block += 2 * pitch)
        for (int i = 0; i < pitch; i += KN_W)
            kn_store(block + i, kn_load(block + i) * e[s]);
}

/*
 * The open block is full, n tokens were before it: it becomes a matrix and takes in those of the
 * trailing ones of n, as a binary counter carries; into the last matrix everything is added.
 */
static void close_block(const struct unit *u, uint64_t n, int dim, int pitch) {
    const struct fenwick_layout *l = &u->job->layout;
    const int bits = fenwick_raw_bits(dim), raw = 1 << bits, last = l->top_bit - bits;
    float *span = record_span(u->state.record, raw), gap = *record_total(u->state.record, raw);
    struct carry c = {.block = u->state.block, .raw = raw};
    const uint64_t blocks = n >> bits;
    int target = 0;

    for (; target < last && blocks >> target & 1; gap += span[target++]) {
        c.from[c.count] = u->state.matrix + (size_t)target * u->state.stride;
        c.factor[c.count++] = kn_exp(gap);
    }
    float *to = u->state.matrix + (size_t)target * u->state.stride;
    if (target == last && blocks >> last) {
        c.from[c.count] = to;
        c.factor[c.count++] = kn_exp(gap);
    }
    span[target] = gap;
    float *age = record_age(u->state.record, raw), old = 0.0f;
    for (int j = 0; j <= last; j++) {
        age[j] = old;
        old += (blocks + 1) >> j & 1 ? span[j] : 0.0f;
    }
    scale_keys(u->state.block, u->state.record, raw, pitch);
    carry_matrix(&c, to, dim, pitch);
}

/* ----------------------------------------------------------------------------------------- walk */

/* n <= ROWS tokens from token i of the run, t of the stream, all in one open block. */
KN_INLINE void rows(const struct unit *u, const struct fenwick_live *live, int64_t i, uint64_t t,
                    int n, int dim, int pitch) {
    const int raw = 1 << fenwick_raw_bits(dim), p = (int)(t & (uint64_t)(raw - 1));
    float q[ROWS * KN_MAX_HEAD_DIM], out[ROWS * KN_MAX_HEAD_DIM], factor[KN_MAX_LEVELS * ROWS];

    for (int r = 0; r < n; r++)
        token(u, live, i + r, p + r, q + r * KN_MAX_HEAD_DIM, out + r * KN_MAX_HEAD_DIM, factor + r,
              dim, pitch);
    read_closed(u, live, n, out, q, factor, dim, pitch);
    for (int r = 0; r < n; r++)
        memcpy(kn_walk_at(&u->job->out, u->sequence, i + r, u->head), out + r * KN_MAX_HEAD_DIM,
               (size_t)dim * sizeof *out);
    if (p + n == raw)
        close_block(u, t - (uint64_t)p, dim, pitch);
}

/* Asks for the inputs and the record of the unit after u. */
KN_INLINE void fetch_next(const struct unit *u, int dim) {
    const struct job *job = u->job;
    int64_t h = u->head + 1 < job->heads ? u->head + 1 : 0, n = u->sequence + (h == 0);
    int64_t group = h / job->heads_per_group;
    for (int i = 0; i < dim; i += 16) {
        __builtin_prefetch(kn_walk_at(&job->q, n, 0, group) + i);
        __builtin_prefetch(kn_walk_at(&job->k, n, 0, group) + i);
        __builtin_prefetch(kn_walk_at(&job->v, n, 0, h) + i);
    }
    for (size_t i = 0; i < job->layout.record; i += 16)
        __builtin_prefetch(u->state.record + job->layout.record + i);
}

/* All tokens of one unit, t of them before this run. */
KN_INLINE void run_unit(const struct unit *u, uint64_t t, struct fenwick_live *live,
                        uint64_t *live_at, int dim, int pitch) {
    const int bits = fenwick_raw_bits(dim), raw = 1 << bits;
    const int64_t frames = u->job->frames;
    int n;
    if (u->stream)
        fetch_next(u, dim);
    for (int64_t i = 0; i < frames; i += n) {
        uint64_t now = t + (uint64_t)i, left = (uint64_t)raw - now % (uint64_t)raw;
        n = (int)(left < ROWS ? left : ROWS);
        n = frames - i < n ? (int)(frames - i) : n;
        if (now >> bits != *live_at) {
            *live = fenwick_live(&u->job->layout, now);
            *live_at = now >> bits;
        }
        rows(u, live, i, now, n, dim, pitch);
    }
}

/* Units [first, last) on a thread that may use scratch. */
KN_INLINE void run_units(const struct job *job, int64_t first, int64_t last, float *scratch,
                         int dim, int pitch) {
    const struct fenwick_layout *l = &job->layout;
    struct fenwick_live live = {0};
    uint64_t live_at = UINT64_MAX;
    for (int64_t i = first; i < last; i++) {
        const struct kn_control *control = job->control + i / l->units;
        struct unit u = {.job = job, .sequence = i / job->heads, .head = i % job->heads};
        u.stream = control->state && job->frames == 1;
        if (control->state)
            u.state = fenwick_state(l, (float *)((char *)control->state + job->state_offset),
                                    l->units, i % l->units);
        else
            u.state = fenwick_state(l, scratch, 1, 0);
        run_unit(&u, kn_past(control), &live, &live_at, dim, pitch);
    }
}

#define UNITS(name, dim, pitch)                                                            \
    static void name(const struct job *job, int64_t first, int64_t last, float *scratch) { \
        run_units(job, first, last, scratch, dim, pitch);                                  \
    }
UNITS(run_units_16, 16, 16)
UNITS(run_units_32, 32, 32)
UNITS(run_units_any, job->layout.dim, job->layout.pitch)

static void run_share(const struct job *job, int64_t first, int64_t last, float *scratch) {
    switch (job->layout.dim) {
    case 16:
        run_units_16(job, first, last, scratch);
        break;
    case 32:
        run_units_32(job, first, last, scratch);
        break;
    default:
        run_units_any(job, first, last, scratch);
    }
}

/* -------------------------------------------------------------------------------------- kernel */

static struct job job_of(const struct kn_call *call, const struct kn_fenwick_args *a) {
    return (struct job){
        .layout = fenwick_layout(a),
        .q = kn_walk(call, &a->q),
        .k = kn_walk(call, &a->k),
        .v = kn_walk(call, &a->v),
        .gate = kn_walk(call, &a->gate),
        .level = kn_walk(call, &a->level),
        .out = kn_walk(call, &a->out),
        .control = kn_at(call, &a->control),
        .state_offset = a->state_offset_bytes,
        .heads = a->v.dim[2],
        .heads_per_group = a->v.dim[2] / a->q.dim[2],
        .frames = a->v.dim[1],
        .scratch = call->scratch,
    };
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_fenwick_args *a = args;
    const struct job job = job_of(call, a);
    const int64_t units = a->v.dim[0] * job.heads;
    const size_t scratch = job.scratch ? fenwick_unit_floats(&job.layout) : 0;
#pragma omp parallel num_threads(call->threads)
    {
        int64_t first, last;
        int i = omp_get_thread_num();
        kn_share(units, i, omp_get_num_threads(), &first, &last);
        run_share(&job, first, last, job.scratch + (size_t)i * scratch);
    }
    return KN_OK;
}

/* A step has nowhere to remember without state. */
static enum kn_status run_step(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_fenwick_args *a = args;
    const struct kn_control *control = kn_at(call, &a->control);
    for (int64_t b = 0; b < a->control.dim[0]; b++)
        if (!control[b].state)
            return kn_fail(err, KN_ERR_ARG, "fenwick_step: control %lld has no state",
                           (long long)b);
    return run(call, args, err);
}

static enum kn_status prepare_clip(struct kn_prepare *prepare, const struct kn_node *node,
                                   struct kn_err *err) {
    struct fenwick_layout l = fenwick_layout(&node->args.fenwick);
    prepare->scratch_bytes = (uint64_t)prepare->threads * fenwick_unit_floats(&l) * sizeof(float);
    return KN_OK;
}

void KN_ISA_NAME(fenwick)(struct kn_table *table) {
    table->kernel[KN_OP_FENWICK_CLIP] =
        (struct kn_kernel){.prepare = prepare_clip, .run = run, .state_bytes = fenwick_state_bytes};
    table->kernel[KN_OP_FENWICK_STEP] =
        (struct kn_kernel){.run = run_step, .state_bytes = fenwick_state_bytes};
}
