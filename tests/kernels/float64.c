/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Every forward operation of "ref" in double: the same results as in single precision, and nothing
 * of it in floats. Gradients of whole networks are checked by such programs.
 */
#include <math.h>

#include "front.h"

#define COUNT (3 << 20) /* elements of a slot */

/* The slots of one precision. */
struct world {
    struct kn_bindings bindings;
    struct kn_control control[8];
    struct kn_picture picture[2][2];
    uint8_t pixels[2][2][7 * 5 * 4];
    char *state;
};

static const int slots[] = {KN_SLOT_WEIGHTS, KN_SLOT_WORK, KN_SLOT_PAST, KN_SLOT_OUT};

static double get(const void *base, enum kn_dtype dtype, size_t i) {
    return dtype == KN_F64 ? ((const double *)base)[i] : (double)((const float *)base)[i];
}

static void fill(void *base, enum kn_dtype dtype) {
    uint64_t seed = 7;

    for (size_t i = 0; i < COUNT; i++) {
        const float value = (float)(int32_t)test_random(&seed) * 0x1p-31f;
        if (dtype == KN_F64)
            ((double *)base)[i] = (double)value;
        else
            ((float *)base)[i] = value;
    }
}

static void open_world(struct world *w, enum kn_op op, enum kn_dtype dtype) {
    memset(w, 0, sizeof *w);
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++) {
        void *base = calloc(COUNT, kn_dtype_bytes(dtype));
        ck_assert_ptr_nonnull(base);
        fill(base, dtype);
        w->bindings.base[slots[i]] = base;
    }
    w->state = calloc(1, 1 << 24);
    for (int i = 0; i < 8; i++)
        w->control[i] =
            (struct kn_control){.state = w->state + (i << 20), .cg_tolerance = 1e-6f, .t = 0};
    w->bindings.base[KN_SLOT_CONTROL] = w->control;
    for (int i = 0; i < 4; i++) {
        for (size_t j = 0; j < sizeof w->pixels[0][0]; j++)
            w->pixels[i / 2][i % 2][j] = (uint8_t)(37 * j + (size_t)i);
        w->picture[i / 2][i % 2] = (struct kn_picture){{w->pixels[i / 2][i % 2]}, {7 * 4}};
    }
    w->bindings.base[KN_SLOT_IN] = w->picture[0];
    if (op == KN_OP_COLOR_OUT) {
        free(w->bindings.base[KN_SLOT_OUT]);
        w->bindings.base[KN_SLOT_OUT] = w->picture[1];
    }
}

static void close_world(struct world *w, enum kn_op op) {
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if (slots[i] != KN_SLOT_OUT || op != KN_OP_COLOR_OUT)
            free(w->bindings.base[slots[i]]);
    free(w->state);
}

/* Good arguments in full precision, every element at the index that it has in single precision. */
static union all_args arguments(enum kn_op op, enum kn_dtype dtype) {
    struct kn_node node = {.op = op};
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];
    union all_args args = good_args(op);
    int count;

    args.color_in.half.rank = op == KN_OP_COLOR_IN ? 0 : args.color_in.half.rank;
    args.scatter.half.rank = op == KN_OP_SCATTER ? 0 : args.scatter.half.rank;
    if (op == KN_OP_CONVERT) {
        args.convert.scale.rank = args.convert.control.rank = 0;
        args.convert.out.dtype = KN_F32;
    }
    memcpy(&node.args, &args, sizeof node.args);
    count = kn_node_tensors(&node, tensor);
    for (int i = 0; i < count; i++) {
        struct kn_tensor *t = (struct kn_tensor *)tensor[i];
        if (t->slot == KN_SLOT_CONTROL || dtype != KN_F64)
            continue;
        ck_assert_int_eq(t->dtype, KN_F32);
        t->dtype = KN_F64;
        t->offset_bytes *= 2;
    }
    memcpy(&args, &node.args, sizeof node.args);
    return args;
}

static void run_once(struct world *w, enum kn_op op, enum kn_dtype dtype) {
    const union all_args args = arguments(op, dtype);
    struct kn_dev *dev = test_open("ref");
    struct kn_program *program;
    struct kn_stream *stream;
    struct kn_exec *exec;
    struct kn_err err;

    open_world(w, op, dtype);
    OK(kn_program_new(&program, &err));
    OK(record(program, op, &args, &err));
    OK(kn_exec_new(&exec, dev, program, NULL, &err));
    OK(kn_stream_new(&stream, dev, &err));
    OK(kn_exec_run(exec, stream, &w->bindings, &err));
    kn_stream_free(stream);
    kn_exec_free(exec);
    kn_program_free(program);
    kn_dev_close(dev);
}

/* Changed values agree to single precision, and some hold more than that. */
static void compare(const struct world *a, const struct world *b, enum kn_op op) {
    size_t wrong = 0, fine = 0;

    for (int s = 1; s < 4; s++) {
        const void *single = a->bindings.base[slots[s]], *full = b->bindings.base[slots[s]];
        for (size_t i = 0; i < COUNT && (s < 3 || op != KN_OP_COLOR_OUT); i++) {
            const double x = get(single, KN_F32, i), y = get(full, KN_F64, i);
            wrong += !(fabs(x - y) <= 1e-5 * (1 + fabs(y)));
            fine += x != y;
        }
    }
    ck_assert_msg(wrong == 0, "%s: %zu values differ", kn_op_name(op), wrong);
    if (op == KN_OP_CONV || op >= KN_OP_LINEAR)
        ck_assert_msg(fine > 0 || op == KN_OP_GATHER, "%s: all values are floats", kn_op_name(op));
}

START_TEST(forward_operations) {
    struct world single, full;

    for (int op = 0; op <= KN_OP_MESA_STEP; op++) {
        run_once(&single, (enum kn_op)op, KN_F32);
        run_once(&full, (enum kn_op)op, KN_F64);
        compare(&single, &full, (enum kn_op)op);
        for (int i = 0; i < 2; i++) /* what color_out wrote */
            ck_assert_mem_eq(single.pixels[1][i], full.pixels[1][i], sizeof full.pixels[1][i]);
        close_world(&single, (enum kn_op)op);
        close_world(&full, (enum kn_op)op);
    }
}
END_TEST

TESTS("float64", forward_operations)
