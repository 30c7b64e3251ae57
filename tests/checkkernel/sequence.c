/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sequences: tokens in rows as the fused linear layer leaves them, and devices that play them. */
#include "sequence.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_OFFSET 512 /* of the operation's state in the stream's: not at its start */
#define STATE_GUARD 256

/* -------------------------------------------------------------------------------------- layout */

static int64_t extra_per_head(const struct ck_shape *shape) {
    return shape->mesa ? 1 : shape->levels;
}

/* Columns of a row: q, k, v, gate, extra, and one that belongs to nobody. */
static int64_t row_width(const struct ck_shape *s) {
    return (2 * s->G + s->H) * s->D + s->H * (1 + extra_per_head(s)) + 1;
}

/* A view of some columns of all rows. */
static struct kn_tensor view(const struct ck_sequence *s, uint64_t base, int64_t *column,
                             int64_t heads, int64_t width) {
    const struct ck_shape *p = &s->shape;
    int64_t row = row_width(p), next = p->by_frame ? p->N * row : row;
    struct kn_tensor t = {
        .dtype = KN_F32,
        .slot = KN_SLOT_WORK,
        .rank = width ? 4 : 3,
        .dim = {p->N, p->T, heads, width},
        .stride = {p->by_frame ? row : p->T * row, next, width ? width : 1, 1},
        .offset_bytes = base + 4 * (uint64_t)*column,
    };

    if (!width)
        t.dim[3] = t.stride[3] = 0;
    *column += heads * (width ? width : 1);
    return t;
}

/* (N, T, H, D) in one order of axes or the other, dense. */
static struct kn_tensor output(struct ck_sequence *s) {
    const struct ck_shape *p = &s->shape;
    int64_t row = p->H * p->D;
    struct kn_tensor t = {
        .dtype = KN_F32,
        .slot = KN_SLOT_OUT,
        .rank = 4,
        .dim = {p->N, p->T, p->H, p->D},
        .stride = {p->by_frame ? row : p->T * row, p->by_frame ? p->N * row : row, p->D, 1},
    };

    t.offset_bytes = ck_reserve(s->memory, KN_SLOT_OUT, 4 * (uint64_t)(p->N * p->T * row), true);
    return t;
}

static void add_region(struct ck_sequence *s, const struct kn_tensor *t, enum ck_role role) {
    struct ck_region region = {.role = role,
                               .image = (int)t->slot,
                               .dtype = KN_F32,
                               .rank = t->rank,
                               .offset = t->offset_bytes};

    for (int i = 0; i < t->rank; i++) {
        region.dim[i] = t->dim[i];
        region.stride_bytes[i] = 4 * t->stride[i];
    }
    ck_region_add(s->memory, &region);
}

static void add_control(struct ck_sequence *s) {
    const int64_t dim[KN_MAX_RANK] = {s->shape.B};
    uint64_t bytes = (uint64_t)s->shape.B * sizeof(struct kn_control);

    s->control = kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_U8, 1, dim);
    s->control.offset_bytes = ck_reserve(s->memory, KN_SLOT_CONTROL, bytes, false);
    /* written by us between runs, and by Mesa */
    memset(s->memory->image[KN_SLOT_CONTROL].role + s->control.offset_bytes, CK_SCRATCH, bytes);
}

struct ck_sequence *ck_sequence_new(struct ck *ck, const struct ck_shape *shape) {
    struct ck_sequence *s = ck_alloc(1, sizeof *s);
    int64_t column = 0, lambda[] = {shape->H, shape->D};
    uint64_t base;

    s->shape = *shape;
    s->ck = ck;
    s->memory = ck_memory_new(ck);
    base = ck_reserve(s->memory, KN_SLOT_WORK,
                      4 * (uint64_t)(shape->N * shape->T * row_width(shape)), true);
    s->q = view(s, base, &column, shape->G, shape->D);
    s->k = view(s, base, &column, shape->G, shape->D);
    s->v = view(s, base, &column, shape->H, shape->D);
    s->gate = view(s, base, &column, shape->H, 0);
    s->extra = view(s, base, &column, shape->H * extra_per_head(shape), 0);
    s->out = output(s);
    add_region(s, &s->q, CK_IN);
    add_region(s, &s->out, CK_OUT);
    s->lambda = ck_weight(s->memory, 1, 2, lambda);
    add_control(s);
    ck_sequence_draw(s, CK_USUAL);
    return s;
}

void ck_sequence_free(struct ck_sequence *s) {
    if (!s)
        return;
    ck_memory_free(s->memory);
    free(s);
}

/* -------------------------------------------------------------------------------------- tokens */

float *ck_token(struct ck_sequence *s, const struct kn_tensor *t, int64_t n, int64_t token,
                int64_t h) {
    return ck_at(s->memory, t, n, token, h, 0);
}

static int64_t width_of(const struct kn_tensor *t) {
    return t->rank == 4 ? t->dim[2] * t->dim[3] : t->dim[2];
}

static void draw(struct ck_sequence *s, const struct kn_tensor *t, double mean, double scale) {
    for (int64_t n = 0; n < s->shape.N; n++)
        for (int64_t i = 0; i < s->shape.T; i++) {
            float *to = ck_token(s, t, n, i, 0);
            for (int64_t c = 0; c < width_of(t); c++)
                to[c] = (float)(mean + scale * ck_normal(s->ck));
        }
}

static void repeat_keys(struct ck_sequence *s, bool zero) {
    for (int64_t n = 0; n < s->shape.N; n++)
        for (int64_t i = 0; i < s->shape.T; i++) {
            float *to = ck_token(s, &s->k, n, i, 0);
            if (zero)
                memset(to, 0, (size_t)width_of(&s->k) * sizeof *to);
            else
                memcpy(to, ck_token(s, &s->k, n, 0, 0), (size_t)width_of(&s->k) * sizeof *to);
        }
}

/*
 * Makes the first query resemble its key: the first output is their product times v, and no float32
 * arithmetic can tell a product that happens to vanish.
 */
static void align_first(struct ck_sequence *s) {
    for (int64_t n = 0; n < s->shape.N; n++) {
        float *q = ck_token(s, &s->q, n, 0, 0), *k = ck_token(s, &s->k, n, 0, 0);
        for (int64_t i = 0; i < width_of(&s->q); i++)
            q[i] += k[i];
    }
}

void ck_sequence_draw(struct ck_sequence *s, enum ck_tokens kind) {
    draw(s, &s->q, 0, 1);
    draw(s, &s->k, 0, 1);
    align_first(s);
    draw(s, &s->v, 0, kind == CK_HUGE_VALUES ? 1e4 : 1);
    draw(s, &s->gate, 3, 2);
    draw(s, &s->extra, 0, 1);
    if (kind == CK_SAME_KEYS || kind == CK_ZERO_KEYS)
        repeat_keys(s, kind == CK_ZERO_KEYS);
}

void ck_sequence_gate(struct ck_sequence *s, float logit) {
    draw(s, &s->gate, logit, 0);
}

void ck_sequence_extra(struct ck_sequence *s, float logit) {
    draw(s, &s->extra, logit, 0);
}

void ck_sequence_lambda(struct ck_sequence *s, float value) {
    float *to = ck_at(s->memory, &s->lambda, 0, 0, 0, 0);

    for (int64_t i = 0; i < s->shape.H * s->shape.D; i++)
        to[i] = value;
}

/* ---------------------------------------------------------------------------------------- runs */

/* The operation over count tokens that begin at token 0; later ones are reached by moving the base
 * of the slot. */
static enum kn_op operation(const struct ck_sequence *s, int64_t count, bool step,
                            struct kn_node *node) {
    struct kn_tensor part[] = {s->q, s->k, s->v, s->gate, s->extra, s->out};

    memset(node, 0, sizeof *node);
    for (size_t i = 0; i < CK_COUNT(part); i++)
        part[i].dim[1] = count;
    if (s->shape.mesa) {
        node->args.mesa = (struct kn_mesa_args){.q = part[0],
                                                .k = part[1],
                                                .v = part[2],
                                                .gate = part[3],
                                                .beta = part[4],
                                                .out = part[5],
                                                .lambda = s->lambda,
                                                .control = s->control,
                                                .state_offset_bytes = STATE_OFFSET};
        return step ? KN_OP_MESA_STEP : KN_OP_MESA_CLIP;
    }
    node->args.fenwick = (struct kn_fenwick_args){.q = part[0],
                                                  .k = part[1],
                                                  .v = part[2],
                                                  .gate = part[3],
                                                  .level = part[4],
                                                  .out = part[5],
                                                  .control = s->control,
                                                  .levels = s->shape.levels,
                                                  .state_offset_bytes = STATE_OFFSET};
    return step ? KN_OP_FENWICK_STEP : KN_OP_FENWICK_CLIP;
}

static uint64_t token_bytes(const struct kn_tensor *t) {
    return 4 * (uint64_t)t->stride[1];
}

/* A sequence on a device, with its state and the programs for pieces met so far. */
struct player {
    struct ck_sequence *s;
    struct ck_play *play;
    struct ck_loaded loaded;
    struct kn_buf *state;
    uint64_t state_bytes; /* of one stream, guards and offset included */
    uint64_t *time;       /* of each control entry */
    struct {
        int64_t count;
        bool step;
        struct kn_exec *exec;
    } made[32];
    int programs;
    double seconds[256]; /* of the last piece's runs */
    int runs;
};

/* Bytes of state for one stream: what the device says of the recorded operation. */
static bool ask_state_bytes(struct player *p, uint64_t *bytes) {
    struct kn_program *program = NULL;
    struct kn_node node;
    struct kn_err err = {0};
    enum kn_op op = operation(p->s, p->s->shape.T, false, &node);
    bool ok = false;

    if (kn_program_new(&program, &err) == KN_OK && ck_record(p->s->ck, program, op, &node.args)) {
        ok = kn_dev_state_bytes(p->play->dev, kn_program_node(program, 0), bytes, &err) == KN_OK;
        ck_want(p->s->ck, ok, "state: %s", err.msg);
    }
    kn_program_free(program);
    return ok;
}

/* Filled with NaN: a fresh stream must not read any of it. */
static bool make_state(struct player *p) {
    uint64_t bytes, total;
    struct kn_err err = {0};
    uint8_t *fill;
    bool ok;

    if (!ask_state_bytes(p, &bytes))
        return false;
    p->state_bytes = (STATE_OFFSET + bytes + STATE_GUARD + 255) / 256 * 256;
    total = p->state_bytes * (uint64_t)p->s->shape.B;
    if (p->play->bench) /* too large for a second copy */
        return kn_buf_new(&p->state, p->play->dev, total, &err) == KN_OK;
    fill = ck_alloc(total, 1);
    memset(fill, 0xff, total);
    ok = kn_buf_new(&p->state, p->play->dev, total, &err) == KN_OK &&
         kn_buf_write(p->state, 0, fill, total, &err) == KN_OK;
    free(fill);
    ck_want(p->s->ck, ok, "state: %s", err.msg);
    return ok;
}

/* What lies before and behind each stream's state must be as it was. */
static void check_state(struct player *p) {
    uint64_t total = p->state_bytes * (uint64_t)p->s->shape.B, bytes;
    uint8_t *state = ck_alloc(total, 1);
    struct kn_err err = {0};

    if (ask_state_bytes(p, &bytes) && kn_buf_read(p->state, 0, state, total, &err) == KN_OK)
        for (uint64_t i = 0; i < total; i++) {
            uint64_t at = i % p->state_bytes;
            if ((at < STATE_OFFSET || at >= STATE_OFFSET + bytes) && state[i] != 0xff) {
                ck_fail(p->s->ck, "byte %" PRId64 " of the state of %" PRIu64 " was overwritten",
                        (int64_t)at - STATE_OFFSET, bytes);
                break;
            }
        }
    free(state);
}

static struct kn_exec *program_for(struct player *p, int64_t count, bool step) {
    struct kn_node node;
    enum kn_op op;
    struct kn_exec *exec;

    for (int i = 0; i < p->programs; i++)
        if (p->made[i].count == count && p->made[i].step == step)
            return p->made[i].exec;
    if (p->programs == (int)CK_COUNT(p->made)) {
        ck_fail(p->s->ck, "more than %d kinds of pieces", p->programs);
        return NULL;
    }
    op = operation(p->s, count, step, &node);
    exec = ck_compile(&p->loaded, op, &node.args);
    if (exec) {
        p->made[p->programs].count = count;
        p->made[p->programs].step = step;
        p->made[p->programs++].exec = exec;
    }
    return exec;
}

/* What the statistics hold before a run, which adds to them. */
static const struct kn_mesa_stats already = {.rows = 7, .iterations = 11, .capped = 3};

static bool write_control(struct player *p, unsigned reset) {
    struct kn_err err = {0};

    for (int64_t b = 0; b < p->s->shape.B; b++) {
        struct kn_control control = {
            .t = p->time[b],
            .cg_tolerance = p->play->tolerance,
            .cg_iterations = p->play->iterations,
            .reset = reset >> b & 1,
            .mesa = already,
        };
        if (p->state)
            control.state = (char *)kn_buf_address(p->state) + (uint64_t)b * p->state_bytes;
        if (kn_buf_write(p->loaded.buf[KN_SLOT_CONTROL],
                         p->s->control.offset_bytes + (uint64_t)b * sizeof control, &control,
                         sizeof control, &err) != KN_OK) {
            ck_fail(p->s->ck, "control: %s", err.msg);
            return false;
        }
    }
    return true;
}

/* Adds up what the run said of itself; t, the settings and the reset must be untouched. */
static bool read_control(struct player *p, unsigned reset) {
    struct kn_mesa_stats *sum = &p->play->mesa;
    struct kn_err err = {0};

    for (int64_t b = 0; b < p->s->shape.B; b++) {
        struct kn_control control;
        if (kn_buf_read(p->loaded.buf[KN_SLOT_CONTROL],
                        p->s->control.offset_bytes + (uint64_t)b * sizeof control, &control,
                        sizeof control, &err) != KN_OK) {
            ck_fail(p->s->ck, "control: %s", err.msg);
            return false;
        }
        ck_want(p->s->ck, control.t == p->time[b] && control.reset == (reset >> b & 1),
                "the operation changed its control entry");
        sum->rows += control.mesa.rows - already.rows;
        sum->iterations += control.mesa.iterations - already.iterations;
        sum->capped += control.mesa.capped - already.capped;
        if (control.mesa.max_iterations > sum->max_iterations)
            sum->max_iterations = control.mesa.max_iterations;
        if (!(control.mesa.worst_residual <= sum->worst_residual))
            sum->worst_residual = control.mesa.worst_residual;
    }
    return true;
}

static bool play_run(struct player *p, int64_t count, bool step, unsigned reset) {
    struct kn_exec *exec = program_for(p, count, step);
    int64_t first = p->play->from + p->play->played;
    double from;

    if (p->play->bench)
        first %= p->s->shape.T;
    if (!exec || !write_control(p, reset))
        return false;
    from = ck_seconds();
    if (!ck_run(&p->loaded, exec, (uint64_t)first * token_bytes(&p->s->q),
                (uint64_t)first * token_bytes(&p->s->out)))
        return false;
    p->seconds[p->runs++ % (int)CK_COUNT(p->seconds)] = ck_seconds() - from;
    if (!read_control(p, reset))
        return false;
    p->play->played += count;
    for (int64_t b = 0; b < p->s->shape.B; b++)
        p->time[b] = (reset >> b & 1 ? 0 : p->time[b]) + (uint64_t)count;
    return true;
}

static bool play_piece(struct player *p, const struct ck_piece *piece) {
    if (!piece->step)
        return play_run(p, piece->count, false, piece->reset);
    for (int64_t i = 0; i < piece->count; i++)
        if (!play_run(p, 1, true, i == 0 ? piece->reset : 0))
            return false;
    return true;
}

/* ------------------------------------------------------------------------------------- outputs */

int64_t ck_out_at(const struct ck_sequence *s, int64_t count, int64_t n, int64_t t) {
    return (n * count + t) * s->shape.H * s->shape.D;
}

/* Rows that were not played keep their poison and are left out. */
static void take_outputs(struct player *p) {
    struct ck_sequence *s = p->s;
    struct ck_play *play = p->play;
    size_t width = (size_t)(s->shape.H * s->shape.D);

    play->out = ck_alloc((size_t)(s->shape.N * play->played) * width, sizeof(float));
    for (int64_t n = 0; n < s->shape.N; n++)
        for (int64_t t = 0; t < play->played; t++) {
            uint64_t at = s->out.offset_bytes + 4 * (uint64_t)(n * s->out.stride[0]) +
                          (uint64_t)(play->from + t) * token_bytes(&s->out);
            memcpy(play->out + ck_out_at(s, play->played, n, t), p->loaded.bytes[KN_SLOT_OUT] + at,
                   width * sizeof(float));
        }
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void take_times(struct player *p) {
    int runs = p->runs < (int)CK_COUNT(p->seconds) ? p->runs : (int)CK_COUNT(p->seconds);

    qsort(p->seconds, (size_t)runs, sizeof *p->seconds, ascending);
    p->play->best = p->seconds[0];
    p->play->median = p->seconds[runs / 2];
}

static void player_free(struct player *p) {
    for (int i = 0; i < p->programs; i++)
        kn_exec_free(p->made[i].exec);
    kn_buf_free(p->state);
    ck_unload(&p->loaded);
    free(p->time);
}

bool ck_play(struct ck_sequence *s, struct ck_play *play) {
    const struct ck_piece whole = {.count = s->shape.T - play->from};
    struct player p = {.s = s, .play = play};
    bool ok = ck_load(&p.loaded, s->memory, play->dev, play->dev == s->ck->dev && !play->truth, 0);

    p.time = ck_alloc((size_t)s->shape.B, sizeof *p.time);
    if (play->tolerance == 0)
        play->tolerance = 1e-6f;
    if (play->iterations == 0)
        play->iterations = 200;
    if (ok && play->pieces > 0)
        ok = make_state(&p);
    if (ok && play->pieces == 0)
        ok = play_piece(&p, &whole);
    for (int i = 0; ok && i < play->pieces; i++) {
        if (i == 1)
            p.runs = 0; /* the first piece warms up */
        ok = play_piece(&p, &play->piece[i]);
    }
    if (ok && play->bench)
        take_times(&p);
    else if (ok && ck_read_back(&p.loaded)) {
        if (p.state)
            check_state(&p);
        take_outputs(&p);
    }
    ok = ok && (play->bench || play->out);
    player_free(&p);
    return ok;
}

float *ck_truth(struct ck_sequence *s, int64_t from, int64_t count) {
    struct ck_play play = {.dev = s->ck->ref, .from = from, .truth = true};
    int64_t T = s->shape.T;
    bool ok;

    s->shape.T = from + count;
    ok = ck_play(s, &play);
    s->shape.T = T;
    return ok ? play.out : NULL;
}

void ck_play_and_compare(struct ck_sequence *s, struct kn_dev *dev, const struct ck_piece *piece,
                         int pieces, const float *truth, const char *what) {
    struct ck_play play = {.dev = dev, .piece = piece, .pieces = pieces};

    if (truth && ck_play(s, &play))
        ck_compare(s->ck, truth, play.out, s->shape.N * s->shape.T * s->shape.H * s->shape.D,
                   CK_F32, what);
    free(play.out);
}
