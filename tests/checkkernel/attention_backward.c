/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradients of attentions: memory, states, runs. */
#include "attention_backward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref/ref.h"

#define STATE_OFFSET 512 /* of the operation's state in the stream's: not at its start */

/* -------------------------------------------------------------------------------------- layout */

static int64_t extra_per_head(const struct ck_shape *shape) {
    return shape->mesa ? 1 : shape->levels;
}

/* Columns of a row: q, k, v, gate, extra, and one that belongs to nobody. */
static int64_t row_width(const struct ck_shape *s) {
    return (2 * s->G + s->H) * s->D + s->H * (1 + extra_per_head(s)) + 1;
}

static void add_region(struct ck_backward *b, const struct kn_tensor *t, enum ck_role role) {
    struct ck_region region = {.role = role,
                               .image = (int)t->slot,
                               .dtype = t->dtype,
                               .rank = t->rank,
                               .offset = t->offset_bytes};

    for (int i = 0; i < t->rank; i++) {
        region.dim[i] = t->dim[i];
        region.stride_bytes[i] = (int64_t)kn_dtype_bytes(t->dtype) * t->stride[i];
    }
    ck_region_add(b->memory, &region);
}

/* Some columns of a matrix of rows (N, tokens); the first token of the clip is the view's first. */
static struct kn_tensor view(const struct ck_backward *b, uint64_t base, int64_t skip,
                             int64_t *column, int64_t heads, int64_t width) {
    const struct ck_shape *p = &b->shape;
    int64_t row = row_width(p), step = p->by_frame ? p->N * row : row;
    struct kn_tensor t = {
        .dtype = b->dtype,
        .slot = KN_SLOT_WORK,
        .rank = width ? 4 : 3,
        .dim = {p->N, p->T, heads, width},
        .stride = {p->by_frame ? row : (p->T + skip) * row, step, width ? width : 1, 1},
        .offset_bytes = base + kn_dtype_bytes(b->dtype) * (uint64_t)(*column + skip * step),
    };

    if (!width)
        t.dim[3] = t.stride[3] = 0;
    *column += heads * (width ? width : 1);
    return t;
}

static void add_rows(struct ck_backward *b, int64_t skip, struct kn_tensor *view_of[5]) {
    const struct ck_shape *p = &b->shape;
    uint64_t bytes = kn_dtype_bytes(b->dtype) * (uint64_t)(p->N * (p->T + skip) * row_width(p));
    uint64_t base = ck_reserve(b->memory, KN_SLOT_WORK, bytes, b->dtype == KN_F32);
    int64_t column = 0;

    *view_of[0] = view(b, base, skip, &column, p->G, p->D);
    *view_of[1] = view(b, base, skip, &column, p->G, p->D);
    *view_of[2] = view(b, base, skip, &column, p->H, p->D);
    *view_of[3] = view(b, base, skip, &column, p->H, 0);
    *view_of[4] = view(b, base, skip, &column, p->H * extra_per_head(p), 0);
}

/* (N, tokens, H, D) in one order of axes or the other, dense. */
static struct kn_tensor dense(struct ck_backward *b, enum kn_slot slot, int64_t tokens,
                              enum ck_role role) {
    const struct ck_shape *p = &b->shape;
    int64_t row = p->H * p->D;
    struct kn_tensor t = {
        .dtype = b->dtype,
        .slot = slot,
        .rank = 4,
        .dim = {p->N, tokens, p->H, p->D},
        .stride = {p->by_frame ? row : tokens * row, p->by_frame ? p->N * row : row, p->D, 1},
    };

    t.offset_bytes =
        ck_reserve(b->memory, (int)slot, kn_dtype_bytes(b->dtype) * (uint64_t)(p->N * tokens * row),
                   b->dtype == KN_F32);
    add_region(b, &t, role);
    return t;
}

static struct kn_tensor add_control(struct ck_backward *b) {
    const int64_t dim[KN_MAX_RANK] = {b->shape.B};
    uint64_t bytes = (uint64_t)b->shape.B * sizeof(struct kn_control);
    struct kn_tensor t = kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_U8, 1, dim);

    t.offset_bytes = ck_reserve(b->memory, KN_SLOT_CONTROL, bytes, false);
    /* Mesa writes its statistics */
    memset(b->memory->image[KN_SLOT_CONTROL].role + t.offset_bytes, CK_SCRATCH, bytes);
    return t;
}

static void set_control(struct ck_backward *b, const struct kn_tensor *t, uint64_t time) {
    const struct kn_control control = {
        .t = time, .cg_tolerance = 1e-6f, .cg_iterations = 200, .reset = b->kind == CK_RESET};

    for (int64_t i = 0; i < b->shape.B; i++)
        memcpy(b->memory->image[KN_SLOT_CONTROL].bytes + t->offset_bytes +
                   (uint64_t)i * sizeof control,
               &control, sizeof control);
}

/* ---------------------------------------------------------------------------------------- state */

static uint64_t state_bytes(struct ck_backward *b, struct kn_dev *dev) {
    struct kn_program *program = NULL;
    struct kn_node node;
    struct kn_err err = {0};
    uint64_t bytes = 0;
    enum kn_op op = ck_backward_forward(b, &node);

    if (kn_program_new(&program, &err) == KN_OK && ck_record(b->ck, program, op, &node.args) &&
        kn_dev_state_bytes(dev, kn_program_node(program, 0), &bytes, &err) != KN_OK)
        ck_fail(b->ck, "state: %s", err.msg);
    kn_program_free(program);
    return bytes;
}

/* Memory for the states of all entries, of NaN until a device fills it. */
static uint64_t add_state(struct ck_backward *b, const struct kn_tensor *control,
                          enum ck_role role) {
    struct ck_memory *m = b->memory;
    uint64_t bytes = b->stride * (uint64_t)b->shape.B;
    uint64_t at = ck_reserve(m, KN_SLOT_PAST, bytes, false);

    memset(m->image[KN_SLOT_PAST].bytes + at, 0xff, bytes);
    memset(m->image[KN_SLOT_PAST].role + at, role, bytes);
    for (int64_t i = 0; i < b->shape.B; i++)
        m->pointer[m->pointers++] = (struct ck_pointer){
            .image = KN_SLOT_CONTROL,
            .target = KN_SLOT_PAST,
            .offset = control->offset_bytes + (uint64_t)i * sizeof(struct kn_control) +
                      offsetof(struct kn_control, state),
            .target_offset = at + (uint64_t)i * b->stride};
    return at;
}

static void add_states(struct ck_backward *b) {
    uint64_t ref = state_bytes(b, b->ck->ref), dev = state_bytes(b, b->ck->dev);

    b->stride = STATE_OFFSET + (ref > dev ? ref : dev);
    b->read = add_state(b, &b->control, CK_IN);
    b->written = add_state(b, &b->moved, CK_SCRATCH);
    if (b->kind == CK_CARRIED)
        b->past_out = dense(b, KN_SLOT_OUT, b->past, CK_SCRATCH);
    set_control(b, &b->control, b->kind == CK_AT_START ? 0 : b->kind == CK_RESET ? 5 : b->past);
}

/* Runs an operation and hands over one image as it is afterwards. */
static bool run_plain(struct ck_backward *b, struct kn_dev *dev, enum kn_op op, const void *args,
                      int image, uint64_t offset, uint64_t bytes, void *to) {
    struct ck_loaded loaded;
    struct kn_exec *exec = NULL;
    struct kn_err err = {0};
    bool ok = ck_load(&loaded, b->memory, dev, false, 0);

    if (ok)
        exec = ck_compile(&loaded, op, args);
    ok = exec && ck_run(&loaded, exec, 0, 0);
    if (ok && kn_buf_read(loaded.buf[image], offset, to, bytes, &err) != KN_OK) {
        ck_fail(b->ck, "reading: %s", err.msg);
        ok = false;
    }
    kn_exec_free(exec);
    ck_unload(&loaded);
    return ok;
}

/* The forward operation over the tokens before the clip. */
bool ck_backward_state(struct ck_backward *b, struct kn_dev *dev) {
    uint64_t bytes = b->stride * (uint64_t)b->shape.B;
    uint8_t *image = b->memory->image[KN_SLOT_PAST].bytes;
    struct kn_node node;
    enum kn_op op = ck_backward_forward(b, &node);
    struct kn_tensor *t[] = {&node.args.fenwick.q, &node.args.fenwick.k, &node.args.fenwick.v,
                             &node.args.fenwick.gate, &node.args.fenwick.level};
    struct kn_tensor *mesa[] = {&node.args.mesa.q, &node.args.mesa.k, &node.args.mesa.v,
                                &node.args.mesa.gate, &node.args.mesa.beta};

    if (b->kind != CK_CARRIED)
        return true;
    for (int i = 0; i < 5; i++) {
        struct kn_tensor *x = b->shape.mesa ? mesa[i] : t[i];
        x->offset_bytes -= kn_dtype_bytes(x->dtype) * (uint64_t)(b->past * x->stride[1]);
        x->dim[1] = b->past;
    }
    if (b->shape.mesa) {
        node.args.mesa.out = b->past_out;
        node.args.mesa.solution.rank = 0;
    } else
        node.args.fenwick.out = b->past_out;
    set_control(b, &b->moved, 0);
    memset(image + b->written, 0xff, bytes);
    if (!run_plain(b, dev, op, &node.args, KN_SLOT_PAST, b->written, bytes, image + b->written))
        return false;
    memcpy(image + b->read, image + b->written, bytes);
    set_control(b, &b->moved, (uint64_t)b->past);
    return true;
}

bool ck_backward_solve(struct ck_backward *b) {
    struct kn_node node;
    enum kn_op op = ck_backward_forward(b, &node);
    int64_t count = b->shape.N * b->shape.T * b->shape.H * b->shape.D;
    uint64_t bytes = (uint64_t)count * kn_dtype_bytes(b->dtype);

    return !b->shape.mesa ||
           run_plain(b, b->ck->ref, op, &node.args, KN_SLOT_WORK, b->solution.offset_bytes, bytes,
                     b->memory->image[KN_SLOT_WORK].bytes + b->solution.offset_bytes);
}

/* -------------------------------------------------------------------------------------- values */

double ck_backward_get(struct ck_backward *b, const struct kn_tensor *t, int64_t n, int64_t i,
                       int64_t h, int64_t j) {
    return kn_ref_load(ck_at(b->memory, t, n, i, h, j), t->dtype, 0);
}

void ck_backward_set(struct ck_backward *b, const struct kn_tensor *t, int64_t n, int64_t i,
                     int64_t h, int64_t j, double value) {
    kn_ref_store(ck_at(b->memory, t, n, i, h, j), t->dtype, 0, value);
}

double ck_backward_take(const struct ck_loaded *loaded, const struct kn_tensor *t, int64_t n,
                        int64_t i, int64_t h, int64_t j) {
    int64_t at = n * t->stride[0] + i * t->stride[1] + h * t->stride[2] + j * t->stride[3];

    return kn_ref_load(loaded->bytes[t->slot] + t->offset_bytes, t->dtype, at);
}

/* Tokens before the clip included. */
static void draw(struct ck_backward *b, const struct kn_tensor *t, int64_t skip, double mean,
                 double scale) {
    for (int64_t n = 0; n < t->dim[0]; n++)
        for (int64_t i = -skip; i < t->dim[1]; i++)
            for (int64_t h = 0; h < t->dim[2]; h++)
                for (int64_t j = 0; j < (t->rank == 4 ? t->dim[3] : 1); j++)
                    ck_backward_set(b, t, n, i, h, j, mean + scale * ck_normal(b->ck));
}

void ck_backward_draw(struct ck_backward *b, double gate, double spread) {
    draw(b, &b->q, b->past, 0, 1);
    draw(b, &b->k, b->past, 0, 1);
    draw(b, &b->v, b->past, 0, 1);
    draw(b, &b->gate, b->past, gate, spread);
    draw(b, &b->extra, b->past, 0, 1);
    draw(b, &b->dout, 0, 0, 1);
}

void ck_backward_scale(struct ck_backward *b, const struct kn_tensor *t, double scale) {
    for (int64_t n = 0; n < t->dim[0]; n++)
        for (int64_t i = 0; i < t->dim[1]; i++)
            for (int64_t h = 0; h < (t->rank > 2 ? t->dim[2] : 1); h++)
                for (int64_t j = 0; j < (t->rank > 3 ? t->dim[3] : 1); j++)
                    ck_backward_set(b, t, n, i, h, j, scale * ck_backward_get(b, t, n, i, h, j));
}

/* ---------------------------------------------------------------------------------- operations */

enum kn_op ck_backward_forward(const struct ck_backward *b, struct kn_node *node) {
    memset(node, 0, sizeof *node);
    if (b->shape.mesa) {
        node->args.mesa = (struct kn_mesa_args){.q = b->q,
                                                .k = b->k,
                                                .v = b->v,
                                                .gate = b->gate,
                                                .beta = b->extra,
                                                .lambda = b->lambda,
                                                .out = b->out,
                                                .solution = b->solution,
                                                .control = b->moved,
                                                .state_offset_bytes = STATE_OFFSET};
        return KN_OP_MESA_CLIP;
    }
    node->args.fenwick = (struct kn_fenwick_args){.q = b->q,
                                                  .k = b->k,
                                                  .v = b->v,
                                                  .gate = b->gate,
                                                  .level = b->extra,
                                                  .out = b->out,
                                                  .control = b->moved,
                                                  .levels = b->shape.levels,
                                                  .state_offset_bytes = STATE_OFFSET};
    return KN_OP_FENWICK_CLIP;
}

enum kn_op ck_backward_node(const struct ck_backward *b, struct kn_node *node) {
    memset(node, 0, sizeof *node);
    if (b->shape.mesa) {
        node->args.mesa_backward = (struct kn_mesa_backward_args){
            .q = b->q,
            .k = b->k,
            .v = b->v,
            .gate = b->gate,
            .beta = b->extra,
            .lambda = b->lambda,
            .solution = b->solution,
            .dout = b->dout,
            .dq = b->dq,
            .dk = b->dk,
            .dv = b->dv,
            .dgate = b->dgate,
            .dbeta = b->dextra,
            .dlambda = b->dlambda,
            .control = b->control,
            .state_offset_bytes = STATE_OFFSET,
        };
        return KN_OP_MESA_BACKWARD;
    }
    node->args.fenwick_backward = (struct kn_fenwick_backward_args){
        .q = b->q,
        .k = b->k,
        .v = b->v,
        .gate = b->gate,
        .level = b->extra,
        .dout = b->dout,
        .dq = b->dq,
        .dk = b->dk,
        .dv = b->dv,
        .dgate = b->dgate,
        .dlevel = b->dextra,
        .control = b->control,
        .levels = b->shape.levels,
        .state_offset_bytes = STATE_OFFSET,
    };
    return KN_OP_FENWICK_BACKWARD;
}

struct ck_backward *ck_backward_new(struct ck *ck, const struct ck_shape *shape, enum ck_past kind,
                                    int64_t past, enum kn_dtype dtype) {
    struct ck_backward *b = ck_alloc(1, sizeof *b);
    const int64_t lambda[] = {shape->H, shape->D};

    *b = (struct ck_backward){.shape = *shape,
                              .kind = kind,
                              .past = kind == CK_CARRIED ? past : 0,
                              .dtype = dtype,
                              .ck = ck,
                              .memory = ck_memory_new(ck)};
    add_rows(b, b->past, (struct kn_tensor *[]){&b->q, &b->k, &b->v, &b->gate, &b->extra});
    add_rows(b, 0, (struct kn_tensor *[]){&b->dq, &b->dk, &b->dv, &b->dgate, &b->dextra});
    add_region(b, &b->q, CK_IN);
    /* a query of one column has no direction: the gradient is zero but for rounding */
    add_region(b, &b->dq, shape->D == 1 ? CK_SCRATCH : CK_OUT);
    add_region(b, &b->dk, shape->D == 1 ? CK_SCRATCH : CK_OUT);
    add_region(b, &b->dv, CK_OUT);
    add_region(b, &b->dgate, CK_OUT);
    add_region(b, &b->dextra, CK_OUT);
    b->dout = dense(b, KN_SLOT_WORK, shape->T, CK_IN);
    b->out = dense(b, KN_SLOT_OUT, shape->T, CK_SCRATCH);
    if (shape->mesa) {
        b->solution = dense(b, KN_SLOT_WORK, shape->T, dtype == KN_F64 ? CK_OUT : CK_IN);
        b->lambda = ck_tensor(b->memory, CK_IN, KN_SLOT_WEIGHTS, dtype, 0, 2, lambda);
        b->dlambda = ck_tensor(b->memory, CK_INOUT, KN_SLOT_GRADS, dtype, 0, 2, lambda);
    }
    b->control = add_control(b);
    b->moved = add_control(b);
    set_control(b, &b->control, 0);
    set_control(b, &b->moved, 0);
    if (kind != CK_NO_STATE)
        add_states(b);
    ck_backward_draw(b, 3, 2);
    return b;
}

void ck_backward_free(struct ck_backward *b) {
    if (!b)
        return;
    ck_memory_free(b->memory);
    free(b);
}

/* ---------------------------------------------------------------------------------------- runs */

bool ck_backward_run(struct ck_backward *b, struct kn_dev *dev, bool tested, int pass,
                     struct ck_loaded *loaded) {
    struct kn_exec *exec = NULL;
    struct kn_node node;
    enum kn_op op = ck_backward_node(b, &node);
    bool ok = ck_load(loaded, b->memory, dev, tested, pass);

    if (ok)
        exec = ck_compile(loaded, op, &node.args);
    ok = exec && ck_run(loaded, exec, 0, 0) && ck_read_back(loaded);
    kn_exec_free(exec);
    return ok;
}

static void check_no_direction(struct ck_backward *b, const struct ck_loaded *loaded) {
    const struct kn_tensor *x[] = {&b->q, &b->k}, *dx[] = {&b->dq, &b->dk};

    for (int i = 0; b->shape.D == 1 && i < 2; i++)
        for (int64_t n = 0; n < b->shape.N; n++)
            for (int64_t t = 0; t < b->shape.T; t++)
                for (int64_t g = 0; g < b->shape.G; g++) {
                    double d = ck_backward_take(loaded, dx[i], n, t, g, 0) *
                               ck_backward_get(b, x[i], n, t, g, 0);
                    ck_want(b->ck, fabs(d) < 1e-4, "gradient %g along a vector of one column", d);
                }
}

void ck_backward_compare(struct ck_backward *b) {
    struct ck *ck = b->ck;
    struct ck_loaded ref = {0}, first = {0}, second = {0};
    bool ok = ck_backward_state(b, ck->ref) && ck_backward_solve(b) &&
              ck_backward_run(b, ck->ref, false, 0, &ref) && ck_backward_state(b, ck->dev);

    ok = ok && ck_backward_run(b, ck->dev, true, 0, &first);
    /* with another number of threads */
    ok = ok && ck_backward_run(b, ck->other, ck->fault == CK_FAULT_UNWRITTEN, 1, &second);
    if (ok) {
        if (ck->fault == CK_SOUND || ck->fault == CK_FAULT_UNWRITTEN)
            ck_compare_outputs(&first, &second, CK_EXACT);
        ck_compare_outputs(&ref, &first, CK_F32);
        check_no_direction(b, &first);
    }
    ck_unload(&ref);
    ck_unload(&first);
    ck_unload(&second);
}
