/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same breakages for every operand of every operation, so that none is left unchecked because
 * nobody thought of writing its case down.
 */
#include "front.h"

#define ELSEWHERE (64u << 20) /* bytes; beyond all good operands */

struct operands {
    struct kn_node node;
    struct kn_tensor *tensor[KN_MAX_OPERANDS];
    int count;
};

/* Good arguments of an operation and pointers to their tensors. */
static void begin(struct operands *o, enum kn_op op) {
    const union all_args args = good_args(op);
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];

    memset(o, 0, sizeof *o);
    o->node.op = op;
    memcpy(&o->node.args, &args, sizeof o->node.args);
    o->count = kn_node_tensors(&o->node, tensor);
    for (int i = 0; i < o->count; i++)
        o->tensor[i] = (struct kn_tensor *)tensor[i];
}

static enum kn_status try(const struct operands *o) {
    struct kn_program *program;
    enum kn_status status;
    union all_args args;
    struct kn_err err;

    memcpy(&args, &o->node.args, sizeof o->node.args);
    OK(kn_program_new(&program, &err));
    status = record(program, o->node.op, &args, &err);
    ck_assert_uint_eq(kn_program_size(program), status == KN_OK);
    kn_program_free(program);
    return status;
}

static void check_refused(const struct operands *o, int operand, const char *what) {
    ck_assert_msg(try(o) != KN_OK, "%s with %s of tensor %d is accepted", kn_op_name(o->node.op),
                  what, operand);
}

static bool is_control(const struct kn_tensor *t) {
    return t->slot == KN_SLOT_CONTROL;
}

static bool attends(enum kn_op op) {
    return (op >= KN_OP_FENWICK_CLIP && op <= KN_OP_MESA_STEP) || op == KN_OP_FENWICK_BACKWARD ||
           op == KN_OP_MESA_BACKWARD;
}

/* Which tensors an operation may do without, as bits in the order of kn_node_tensors(). */
static unsigned optional(enum kn_op op) {
    switch (op) {
    case KN_OP_COLOR_IN:
        return 1 << 1; /* half */
    case KN_OP_CONV:
        return 1 << 3 | 1 << 4 | 1 << 6; /* bias, residual, control; past has its own case */
    case KN_OP_SHIFT:
    case KN_OP_CONVERT:
    case KN_OP_SCATTER:
        return 1 << 3; /* control, half */
    case KN_OP_LINEAR:
        return 1 << 2 | 1 << 3; /* bias, residual */
    case KN_OP_MESA_CLIP:
    case KN_OP_MESA_STEP:
        return 1 << 7; /* solution */
    case KN_OP_LINEAR_BACKWARD_WEIGHTS:
        return 1 << 3; /* dbias */
    case KN_OP_CONV_BACKWARD_WEIGHTS:
    case KN_OP_ADAMW:
        return 1 << 4; /* dbias, averaged */
    case KN_OP_MEAN_SQUARE:
    case KN_OP_CHARBONNIER:
    case KN_OP_TEMPORAL_DIFFERENCE:
    case KN_OP_LAPLACIAN:
    case KN_OP_MS_SSIM:
        return 1 << 2; /* dx */
    default:
        return 0;
    }
}

START_TEST(missing) {
    struct operands o;

    for (int op = 0; op < KN_OP_COUNT; op++) {
        begin(&o, (enum kn_op)op);
        for (int i = 0, count = o.count; i < count; i++) {
            begin(&o, (enum kn_op)op);
            o.tensor[i]->rank = 0;
            if ((optional((enum kn_op)op) >> i & 1) != 0)
                ck_assert_int_eq(try(&o), KN_OK);
            else
                check_refused(&o, i, "rank 0");
        }
    }
}
END_TEST

/* ------------------------------------------------------------------------------------ memory */

typedef bool (*breakage)(struct kn_tensor *t);

static bool break_slot(struct kn_tensor *t) {
    t->slot = KN_SLOT_COUNT;
    return true;
}

static bool break_type(struct kn_tensor *t) {
    t->dtype = KN_DTYPE_COUNT;
    return !is_control(t);
}

static bool break_rank(struct kn_tensor *t) {
    t->rank = 5;
    return true;
}

/* Loses the last axis; strides stay valid. */
static bool break_axes(struct kn_tensor *t) {
    t->rank--;
    if (t->rank > 0)
        t->stride[t->rank - 1] = 1;
    return t->rank > 0;
}

static bool break_dim(struct kn_tensor *t) {
    t->dim[t->rank - 1] = 0;
    return true;
}

static bool break_stride(struct kn_tensor *t) {
    t->stride[t->rank - 1] = 2;
    return true;
}

static bool break_direction(struct kn_tensor *t) {
    t->stride[0] = -1;
    return true;
}

static bool break_alignment(struct kn_tensor *t) {
    t->offset_bytes += 1;
    return is_control(t) || kn_dtype_bytes(t->dtype) > 1;
}

static bool break_end(struct kn_tensor *t) {
    t->offset_bytes = UINT64_MAX - 255;
    return true;
}

START_TEST(memory) {
    static const struct {
        breakage change;
        const char *what;
    } changes[] = {
        {break_slot, "slot"},
        {break_type, "type"},
        {break_rank, "rank"},
        {break_axes, "axes"},
        {break_dim, "dim"},
        {break_stride, "stride"},
        {break_direction, "direction"},
        {break_alignment, "alignment"},
        {break_end, "end"},
    };
    struct operands o;

    for (int op = 0; op < KN_OP_COUNT; op++) {
        begin(&o, (enum kn_op)op);
        for (int i = 0, count = o.count; i < count; i++)
            for (size_t j = 0; j < sizeof changes / sizeof *changes; j++) {
                begin(&o, (enum kn_op)op);
                if (op == KN_OP_ZERO && changes[j].change == break_axes)
                    continue; /* any rank will do */
                if (changes[j].change(o.tensor[i]))
                    check_refused(&o, i, changes[j].what);
            }
    }
}
END_TEST

/* ------------------------------------------------------------------------------------ agreement */

/* Axes that are nobody else's business. */
static bool is_free_axis(enum kn_op op, const struct kn_tensor *t, int axis) {
    if (op == KN_OP_COLOR_OUT)
        return axis < 3; /* more frames or pixels than the picture has */
    if (op == KN_OP_ZERO || (op == KN_OP_SQUARE_SUM && t->dtype == KN_F32))
        return true;
    if (op == KN_OP_MASK_BACKWARD)
        return axis == 1 || axis == 2; /* positions are summed, however many */
    return attends(op) && is_control(t);
}

/* One more along an axis must disagree with something; memory is laid out anew to be valid. */
START_TEST(dims) {
    struct operands o;

    for (int op = 0; op < KN_OP_COUNT; op++) {
        begin(&o, (enum kn_op)op);
        for (int i = 0, count = o.count; i < count; i++)
            for (int axis = 0; axis < KN_MAX_RANK; axis++) {
                struct kn_tensor *t;
                begin(&o, (enum kn_op)op);
                t = o.tensor[i];
                if (axis >= t->rank || is_free_axis((enum kn_op)op, t, axis))
                    continue;
                t->dim[axis]++;
                *t = kn_tensor_dense(t->slot, t->offset_bytes + ELSEWHERE, t->dtype, t->rank,
                                     t->dim);
                check_refused(&o, i, "one more along an axis");
            }
    }
}
END_TEST

/* Every operand that is float32 as bytes or halves: types are demanded or must agree. */
START_TEST(types) {
    struct operands o;

    for (int op = 0; op < KN_OP_COUNT; op++) {
        begin(&o, (enum kn_op)op);
        for (int i = 0, count = o.count; i < count; i++) {
            begin(&o, (enum kn_op)op);
            if (is_control(o.tensor[i]) || o.tensor[i]->dtype != KN_F32)
                continue;
            o.tensor[i]->dtype = KN_U8;
            check_refused(&o, i, "uint8");
        }
    }
}
END_TEST

/* Rows that are not dense inside a frame, or that overlap. */
START_TEST(layout) {
    struct operands o;

    for (int op = 0; op < KN_OP_COUNT; op++) {
        if (attends((enum kn_op)op) || op == KN_OP_CONVERT || op == KN_OP_ZERO)
            continue; /* any view will do */
        begin(&o, (enum kn_op)op);
        for (int i = 0, count = o.count; i < count; i++) {
            struct kn_tensor *t;
            begin(&o, (enum kn_op)op);
            t = o.tensor[i];
            if (t->rank == 2) {
                t->stride[0]--;
            } else if (t->rank == 4) {
                t->stride[0] *= 2;
                t->stride[1]++;
            } else {
                continue;
            }
            t->offset_bytes += ELSEWHERE;
            check_refused(&o, i, "layout");
        }
    }
}
END_TEST

/* ------------------------------------------------------------------------------------ overlaps */

static bool is_output(enum kn_op op, int operand) {
    static const unsigned outputs[KN_OP_COUNT] = {
        [KN_OP_COLOR_IN] = 1 << 0 | 1 << 1,
        [KN_OP_CONV] = 1 << 5,
        [KN_OP_SHIFT] = 1 << 2,
        [KN_OP_CONVERT] = 1 << 1,
        [KN_OP_LINEAR] = 1 << 4,
        [KN_OP_LAYER_NORM] = 1 << 3,
        [KN_OP_GATE] = 1 << 3,
        [KN_OP_GATHER] = 1 << 1,
        [KN_OP_SCATTER] = 1 << 2 | 1 << 3,
        [KN_OP_FENWICK_CLIP] = 1 << 5,
        [KN_OP_FENWICK_STEP] = 1 << 5,
        [KN_OP_MESA_CLIP] = 1 << 6 | 1 << 7,
        [KN_OP_MESA_STEP] = 1 << 6 | 1 << 7,
        [KN_OP_ZERO] = 1 << 0,
        [KN_OP_RELU_BACKWARD] = 1 << 2,
        [KN_OP_CONV_BACKWARD_DATA] = 1 << 2,
        [KN_OP_CONV_BACKWARD_WEIGHTS] = 1 << 3 | 1 << 4,
        [KN_OP_SHIFT_BACKWARD] = 1 << 1,
        [KN_OP_LINEAR_BACKWARD_DATA] = 1 << 2,
        [KN_OP_LINEAR_BACKWARD_WEIGHTS] = 1 << 2 | 1 << 3,
        [KN_OP_LAYER_NORM_BACKWARD] = 1 << 3 | 1 << 4 | 1 << 5,
        [KN_OP_GATE_BACKWARD] = 1 << 4 | 1 << 5 | 1 << 6,
        [KN_OP_FENWICK_BACKWARD] = 1 << 6 | 1 << 7 | 1 << 8 | 1 << 9 | 1 << 10,
        [KN_OP_MESA_BACKWARD] = 1 << 8 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12 | 1 << 13,
        [KN_OP_NOISE] = 1 << 1,
        [KN_OP_MASK] = 1 << 3,
        [KN_OP_MASK_BACKWARD] = 1 << 2,
        [KN_OP_MEAN_SQUARE] = 1 << 2 | 1 << 3,
        [KN_OP_CHARBONNIER] = 1 << 2 | 1 << 3,
        [KN_OP_TEMPORAL_DIFFERENCE] = 1 << 2 | 1 << 3,
        [KN_OP_LAPLACIAN] = 1 << 2 | 1 << 3,
        [KN_OP_MS_SSIM] = 1 << 2 | 1 << 3,
        [KN_OP_SQUARE_SUM] = 1 << 1,
        [KN_OP_ADAMW] = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5,
    };

    return (outputs[op] >> operand & 1) != 0;
}

/* Two operands alone in memory, the output one element into the other. */
START_TEST(overlaps) {
    struct operands o;

    for (int op = 0; op < KN_OP_COUNT; op++) {
        begin(&o, (enum kn_op)op);
        for (int i = 0, count = o.count; i < count; i++)
            for (int j = 0; j < count; j++) {
                begin(&o, (enum kn_op)op);
                if (i == j || !is_output((enum kn_op)op, i))
                    continue;
                o.tensor[j]->offset_bytes += ELSEWHERE;
                o.tensor[i]->slot = o.tensor[j]->slot;
                o.tensor[i]->offset_bytes = o.tensor[j]->offset_bytes + 4;
                check_refused(&o, i, "overlap");
            }
    }
}
END_TEST

START_TEST(outputs_are_distinct) {
    struct operands o;

    for (int op = 0; op < KN_OP_COUNT; op++) {
        begin(&o, (enum kn_op)op);
        for (int i = 0, count = o.count; i < count; i++) {
            begin(&o, (enum kn_op)op);
            if (!is_output((enum kn_op)op, i) || o.tensor[i]->dim[0] == 1)
                continue;
            o.tensor[i]->stride[0] = 0;
            check_refused(&o, i, "zero stride");
        }
    }
}
END_TEST

TESTS("front_operands", missing, memory, dims, types, layout, overlaps, outputs_are_distinct)
