/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test.h"

static enum kn_status add_linear(struct kn_program *program, const char *label, int64_t rows,
                                 struct kn_err *err) {
    const struct kn_linear_args a = {
        .x = test_f32(KN_SLOT_IN, 0, 2, DIMS(rows, 6)),
        .weight = test_f32(KN_SLOT_WEIGHTS, 0, 2, DIMS(10, 6)),
        .out = test_f32(KN_SLOT_OUT, 0, 2, DIMS(rows, 10)),
    };

    return kn_linear(program, label, &a, err);
}

START_TEST(nodes_in_order) {
    struct kn_program *program;
    struct kn_err err;
    char label[32];

    OK(kn_program_new(&program, &err));
    ck_assert_uint_eq(kn_program_size(program), 0);
    for (int i = 0; i < 1000; i++) {
        snprintf(label, sizeof label, "node%d", i);
        OK(add_linear(program, label, i + 1, &err));
    }
    ck_assert_uint_eq(kn_program_size(program), 1000);
    for (int i = 0; i < 1000; i++) {
        const struct kn_node *node = kn_program_node(program, (size_t)i);
        snprintf(label, sizeof label, "node%d", i);
        ck_assert_str_eq(node->label, label);
        ck_assert_int_eq(node->op, KN_OP_LINEAR);
        ck_assert_int_eq(node->args.linear.x.dim[0], i + 1);
        ck_assert_uint_eq(kn_node_macs(node), 60u * (unsigned)(i + 1));
    }
    ck_assert_ptr_null(kn_program_node(program, 1000));
    kn_program_free(program);
    kn_program_free(NULL);
    FAILS(KN_ERR_ARG, "NULL", kn_program_new(NULL, &err));
}
END_TEST

START_TEST(labels) {
    char label[49];
    struct kn_program *program;
    struct kn_err err;

    memset(label, 'a', sizeof label);
    label[48] = 0;
    OK(kn_program_new(&program, &err));
    FAILS(KN_ERR_ARG, "longer than 47", add_linear(program, label, 1, &err));
    FAILS(KN_ERR_ARG, "label is NULL", add_linear(program, NULL, 1, &err));
    FAILS(KN_ERR_ARG, "program is NULL", add_linear(NULL, "x", 1, &err));
    FAILS(KN_ERR_ARG, "arguments is NULL", kn_linear(program, "x", NULL, &err));
    ck_assert_uint_eq(kn_program_size(program), 0);
    label[47] = 0;
    OK(add_linear(program, label, 1, &err));
    ck_assert_str_eq(kn_program_node(program, 0)->label, label);
    kn_program_free(program);
}
END_TEST

START_TEST(operations) {
    ck_assert_str_eq(kn_op_name(KN_OP_CONV), "conv");
    ck_assert_str_eq(kn_op_name(KN_OP_MESA_STEP), "mesa_step");
    ck_assert_str_eq(kn_op_name(KN_OP_COUNT), "unknown operation");
    ck_assert_str_eq(kn_op_name(KN_OP_ADAMW), "adamw");
    ck_assert_int_eq(KN_OP_COUNT, 35);
}
END_TEST

START_TEST(macs_slots_and_tensors) {
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];
    struct kn_node conv = {.op = KN_OP_CONV}, color = {.op = KN_OP_COLOR_OUT};

    conv.args.conv.x = test_f32(KN_SLOT_IN, 0, 4, DIMS(2, 5, 7, 8));
    conv.args.conv.past = test_f32(KN_SLOT_PAST, 0, 4, DIMS(2, 5, 7, 8));
    conv.args.conv.weight = test_f32(KN_SLOT_WEIGHTS, 0, 4, DIMS(3, 16, 3, 3));
    conv.args.conv.out = test_f32(KN_SLOT_WORK, 0, 4, DIMS(2, 5, 7, 3));
    ck_assert_uint_eq(kn_node_macs(&conv), 2 * 5 * 7 * 3 * 16 * 9);
    ck_assert_int_eq(kn_node_tensors(&conv, tensor), 4);
    ck_assert_ptr_eq(tensor[1], &conv.args.conv.past);
    ck_assert_uint_eq(kn_node_slots(&conv), 1u << KN_SLOT_IN | 1u << KN_SLOT_PAST |
                                                1u << KN_SLOT_WEIGHTS | 1u << KN_SLOT_WORK);
    color.args.color_out.x = test_f32(KN_SLOT_WORK, 0, 4, DIMS(1, 1, 1, 12));
    ck_assert_uint_eq(kn_node_macs(&color), 0);
    ck_assert_uint_eq(kn_node_slots(&color), 1u << KN_SLOT_WORK | 1u << KN_SLOT_OUT);
    color.args.color_out.copy_alpha = true;
    ck_assert_uint_eq(kn_node_slots(&color),
                      1u << KN_SLOT_WORK | 1u << KN_SLOT_OUT | 1u << KN_SLOT_IN);
}
END_TEST

/* Backward costs what forward does; of two halves of a weight only the one in question. */
START_TEST(macs_of_gradients) {
    struct kn_node data = {.op = KN_OP_CONV_BACKWARD_DATA};
    struct kn_node weights = {.op = KN_OP_CONV_BACKWARD_WEIGHTS};
    struct kn_node linear = {.op = KN_OP_LINEAR_BACKWARD_DATA};

    data.args.conv_backward_data.dy = test_f32(KN_SLOT_WORK, 0, 4, DIMS(2, 5, 7, 3));
    data.args.conv_backward_data.dx = test_f32(KN_SLOT_WORK, 0, 4, DIMS(2, 5, 7, 8));
    data.args.conv_backward_data.weight = test_f32(KN_SLOT_WEIGHTS, 0, 4, DIMS(3, 16, 3, 3));
    ck_assert_uint_eq(kn_node_macs(&data), 2 * 5 * 7 * 3 * 8 * 9);
    weights.args.conv_backward_weights.dy = data.args.conv_backward_data.dy;
    weights.args.conv_backward_weights.dweight = test_f32(KN_SLOT_GRADS, 0, 4, DIMS(3, 16, 3, 3));
    ck_assert_uint_eq(kn_node_macs(&weights), 2 * 5 * 7 * 3 * 16 * 9);
    linear.args.linear_backward_data.dy = test_f32(KN_SLOT_WORK, 0, 2, DIMS(9, 20));
    linear.args.linear_backward_data.weight = test_f32(KN_SLOT_WEIGHTS, 0, 2, DIMS(20, 12));
    ck_assert_uint_eq(kn_node_macs(&linear), 9 * 20 * 12);
    linear.op = KN_OP_LINEAR_BACKWARD_WEIGHTS;
    linear.args.linear_backward_weights.dy = test_f32(KN_SLOT_WORK, 0, 2, DIMS(9, 20));
    linear.args.linear_backward_weights.dweight = test_f32(KN_SLOT_GRADS, 0, 2, DIMS(20, 12));
    ck_assert_uint_eq(kn_node_macs(&linear), 9 * 20 * 12);
}
END_TEST

TESTS("program", nodes_in_order, labels, operations, macs_slots_and_tensors, macs_of_gradients)
