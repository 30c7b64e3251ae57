/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Every condition of kn.h, broken once: refused by name, and the program stays as it was. */
#include <math.h>

#include "front.h"

#define BAD(op, OP, name, code, text, change)              \
    static void break_##op##_##name(union all_args *all) { \
        __typeof__(all->op) *a = &all->op;                 \
        change;                                            \
    }
#include "front_cases.h"
#include "front_cases_training.h"
#undef BAD

static const struct {
    enum kn_op op;
    enum kn_status code;
    const char *name, *text;
    void (*change)(union all_args *all);
} cases[] = {
#define BAD(op, OP, name, code, text, change) \
    {KN_OP_##OP, KN_ERR_##code, #op "." #name, text, break_##op##_##name},
#include "front_cases.h"
#include "front_cases_training.h"
#undef BAD
};

START_TEST(good_arguments) {
    struct kn_program *program;
    struct kn_err err;

    OK(kn_program_new(&program, &err));
    for (int op = 0; op < KN_OP_COUNT; op++) {
        const union all_args args = good_args((enum kn_op)op);
        OK(record(program, (enum kn_op)op, &args, &err));
        ck_assert_uint_eq(kn_program_size(program), (size_t)op + 1);
        ck_assert_int_eq(kn_program_node(program, (size_t)op)->op, op);
    }
    kn_program_free(program);
}
END_TEST

START_TEST(bad_arguments) {
    const size_t count = sizeof cases / sizeof *cases;
    const union all_args first = good_args(KN_OP_CONV);
    struct kn_program *program;
    struct kn_node before;
    struct kn_err err;

    ck_assert_uint_ge(count, 60);
    OK(kn_program_new(&program, &err));
    OK(record(program, KN_OP_CONV, &first, &err));
    before = *kn_program_node(program, 0);
    for (size_t i = 0; i < count; i++) {
        union all_args args = good_args(cases[i].op);
        enum kn_status status;
        cases[i].change(&args);
        err = (struct kn_err){0};
        status = record(program, cases[i].op, &args, &err);
        ck_assert_msg(status == cases[i].code, "%s: %s: \"%s\"", cases[i].name,
                      kn_status_name(status), err.msg);
        ck_assert_msg(err.code == status && strncmp(err.msg, "node: ", 6) == 0 &&
                          strstr(err.msg, cases[i].text) != NULL,
                      "%s: \"%s\" lacks \"%s\"", cases[i].name, err.msg, cases[i].text);
        ck_assert_uint_eq(kn_program_size(program), 1);
        ck_assert_mem_eq(kn_program_node(program, 0), &before, sizeof before);
        ck_assert_int_eq(record(program, cases[i].op, &args, NULL), cases[i].code);
    }
    kn_program_free(program);
}
END_TEST

/* ------------------------------------------------------------ what must not be refused either */

static void accept(enum kn_op op, const union all_args *args) {
    struct kn_program *program;
    struct kn_err err;

    OK(kn_program_new(&program, &err));
    OK(record(program, op, args, &err));
    kn_program_free(program);
}

START_TEST(optional_operands) {
    union all_args a = good_args(KN_OP_CONV);

    a.conv.past.rank = a.conv.bias.rank = a.conv.residual.rank = a.conv.control.rank = 0;
    a.conv.weight = param(4, DIMS(10, 8, 1, 1));
    accept(KN_OP_CONV, &a);
    a = good_args(KN_OP_LINEAR);
    a.linear.bias.rank = a.linear.residual.rank = 0;
    accept(KN_OP_LINEAR, &a);
    a = good_args(KN_OP_COLOR_IN);
    a.color_in.half.rank = 0;
    a.color_in.video.alpha = false;
    a.color_in.video.component[3].plane = 200;
    accept(KN_OP_COLOR_IN, &a);
    a = good_args(KN_OP_SCATTER);
    a.scatter.half.rank = 0;
    accept(KN_OP_SCATTER, &a);
    a = good_args(KN_OP_CONV_BACKWARD_WEIGHTS);
    a.conv_backward_weights.past.rank = a.conv_backward_weights.dbias.rank = 0;
    a.conv_backward_weights.dweight = grads(0, 4, DIMS(10, 8, 1, 1));
    accept(KN_OP_CONV_BACKWARD_WEIGHTS, &a);
}
END_TEST

/* Of x: all inputs of the weight, or the first half of them. */
START_TEST(halves_of_a_weight) {
    union all_args a = good_args(KN_OP_CONV_BACKWARD_DATA);

    a.conv_backward_data.past = false;
    accept(KN_OP_CONV_BACKWARD_DATA, &a);
    a.conv_backward_data.weight = param(4, DIMS(10, 8, 3, 3));
    accept(KN_OP_CONV_BACKWARD_DATA, &a);
}
END_TEST

START_TEST(gradients_in_place) {
    union all_args a = good_args(KN_OP_RELU_BACKWARD);

    a.relu_backward.dx = a.relu_backward.dy;
    accept(KN_OP_RELU_BACKWARD, &a);
    for (int rank = 1; rank <= KN_MAX_RANK; rank++) {
        a.zero.out = kn_tensor_dense(KN_SLOT_GRADS, 8, KN_F64, rank, DIMS(2, 3, 4, 5));
        accept(KN_OP_ZERO, &a);
    }
}
END_TEST

/* A clip: past is the same memory one frame back, and frames have room between them. */
START_TEST(past_of_a_clip) {
    union all_args a = good_args(KN_OP_CONV);
    const int64_t frame = 6 * 4 * 8;

    a.conv.past = work(0, 4, DIMS(5, 6, 4, 8));
    a.conv.past.stride[0] = frame + 64;
    a.conv.x = a.conv.past;
    a.conv.x.offset_bytes += 4 * (uint64_t)(frame + 64);
    a.conv.out = work(3, 4, DIMS(5, 6, 4, 10));
    a.conv.residual = a.conv.out;
    a.conv.control.rank = 0;
    accept(KN_OP_CONV, &a);
}
END_TEST

START_TEST(columns_of_one_matrix) {
    union all_args a = good_args(KN_OP_LINEAR);

    a.linear.x.stride[0] = a.linear.out.stride[0] = 32;
    a.linear.residual.rank = 0;
    a.linear.out.offset_bytes = 4 * 12;
    accept(KN_OP_LINEAR, &a);
    a.linear.x.offset_bytes += 4 * 24; /* a matrix that starts within a pitch */
    a.linear.out.offset_bytes += 4 * 24;
    accept(KN_OP_LINEAR, &a);
    a = good_args(KN_OP_CONVERT);
    a.convert.x.stride[2] = 1 << 10; /* any view that does not go backwards */
    a.convert.x.stride[1] = 0;
    accept(KN_OP_CONVERT, &a);
}
END_TEST

START_TEST(shared_and_single_heads) {
    for (int op = KN_OP_FENWICK_CLIP; op <= KN_OP_FENWICK_STEP; op++) {
        union all_args a = good_args((enum kn_op)op);
        a.fenwick_clip.q.dim[2] = a.fenwick_clip.k.dim[2] = 1;
        a.fenwick_clip.levels = 2;
        a.fenwick_clip.level.dim[2] = 8;
        a.fenwick_clip.control = good_control(6);
        accept((enum kn_op)op, &a);
    }
}
END_TEST

START_TEST(bytes_and_words) {
    union all_args a = good_args(KN_OP_COLOR_OUT);
    struct kn_video *video = &a.color_out.video;

    video->alpha = a.color_out.copy_alpha = false;
    video->sample_bytes = 2;
    video->depth = 10;
    video->sub_x = video->sub_y = 1;
    video->component[0] = (struct kn_component){0, 0, 2, 6};
    video->component[1] = (struct kn_component){1, 0, 4, 6};
    video->component[2] = (struct kn_component){1, 2, 4, 6};
    kn_video_set_yuv(video, 0.2126, 0.0722, false);
    accept(KN_OP_COLOR_OUT, &a);
}
END_TEST

TESTS("front", good_arguments, bad_arguments, optional_operands, halves_of_a_weight,
      gradients_in_place, past_of_a_clip, columns_of_one_matrix, shared_and_single_heads,
      bytes_and_words)
