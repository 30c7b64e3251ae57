/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Good arguments of every operation, for tests to break one at a time. */
#ifndef TEST_FRONT_H
#define TEST_FRONT_H

#include "test.h"

union all_args {
#define X(name, NAME, args) struct kn_##args##_args name;
    KN_OPERATIONS(X)
#undef X
};

/* BGRA, 7 x 5, as all operations on pictures take it. */
static inline struct kn_video good_video(void) {
    struct kn_video video = {.width = 7,
                             .height = 5,
                             .components = 3,
                             .alpha = true,
                             .sample_bytes = 1,
                             .depth = 8,
                             .component = {{0, 2, 4, 0}, {0, 1, 4, 0}, {0, 0, 4, 0}, {0, 3, 4, 0}}};

    kn_video_set_rgb(&video, 0, 255);
    return video;
}

static inline struct kn_tensor good_half(uint64_t offset, int rank, const int64_t *dim) {
    return kn_tensor_dense(KN_SLOT_WORK, offset, KN_BF16, rank, dim);
}

static inline struct kn_tensor good_control(int64_t entries) {
    return kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_F32, 1, DIMS(entries));
}

/* Dense f32 in a part of its own of slot WORK. */
static inline struct kn_tensor work(int part, int rank, const int64_t *dim) {
    return test_f32(KN_SLOT_WORK, (uint64_t)part << 20, rank, dim);
}

static inline struct kn_tensor param(int rank, const int64_t *dim) {
    return test_f32(KN_SLOT_WEIGHTS, 0, rank, dim);
}

static inline void good_pictures(enum kn_op op, union all_args *a) {
    if (op == KN_OP_COLOR_IN)
        a->color_in = (struct kn_color_in_args){.video = good_video(),
                                                .out = work(0, 4, DIMS(2, 3, 4, 12)),
                                                .half = good_half(1 << 20, 4, DIMS(2, 3, 4, 12))};
    else
        a->color_out = (struct kn_color_out_args){
            .video = good_video(), .x = work(0, 4, DIMS(2, 3, 4, 12)), .copy_alpha = true};
}

static inline void good_images(enum kn_op op, union all_args *a) {
    const struct kn_tensor x = work(0, 4, DIMS(1, 6, 4, 8)), past = work(1, 4, DIMS(1, 6, 4, 8));

    if (op == KN_OP_CONV)
        a->conv = (struct kn_conv_args){.x = x,
                                        .past = past,
                                        .weight = param(4, DIMS(10, 16, 3, 3)),
                                        .bias = param(1, DIMS(10)),
                                        .residual = work(2, 4, DIMS(1, 6, 4, 10)),
                                        .out = work(3, 4, DIMS(1, 6, 4, 10)),
                                        .control = good_control(1)};
    if (op == KN_OP_SHIFT)
        a->shift = (struct kn_shift_args){
            .x = x, .past = past, .out = x, .control = good_control(1), .channels = 2};
    if (op == KN_OP_CONVERT)
        a->convert = (struct kn_convert_args){
            .x = x,
            .out = kn_tensor_dense(KN_SLOT_OUT, 0, KN_U8, 4, DIMS(1, 6, 4, 8)),
            .scale = param(1, DIMS(8)),
            .control = good_control(1)};
    if (op == KN_OP_GATHER)
        a->gather = (struct kn_gather_args){
            .z = work(0, 4, DIMS(3, 6, 4, 8)), .out = work(1, 2, DIMS(18, 32)), .patch = 2};
    if (op == KN_OP_SCATTER)
        a->scatter = (struct kn_scatter_args){.x = work(1, 2, DIMS(18, 32)),
                                              .z = work(0, 4, DIMS(3, 6, 4, 8)),
                                              .out = work(0, 4, DIMS(3, 6, 4, 8)),
                                              .half = good_half(2 << 20, 4, DIMS(3, 6, 4, 8)),
                                              .patch = 2};
}

static inline void good_matrices(enum kn_op op, union all_args *a) {
    const struct kn_tensor x = work(0, 2, DIMS(9, 12)), z = work(1, 2, DIMS(9, 12));
    const struct kn_tensor out = work(2, 2, DIMS(9, 12)), each = param(1, DIMS(12));

    if (op == KN_OP_LINEAR)
        a->linear = (struct kn_linear_args){.x = x,
                                            .weight = param(2, DIMS(20, 12)),
                                            .bias = param(1, DIMS(20)),
                                            .residual = work(3, 2, DIMS(9, 20)),
                                            .out = work(3, 2, DIMS(9, 20))};
    if (op == KN_OP_LAYER_NORM)
        a->layer_norm = (struct kn_layer_norm_args){
            .x = x, .weight = each, .bias = each, .out = out, .epsilon = 1e-5f};
    if (op == KN_OP_GATE)
        a->gate = (struct kn_gate_args){
            .o = x, .z = z, .weight = each, .out = out, .heads = 3, .epsilon = 1e-5f};
}

/* Views of one fused matrix of tokens (T, N, columns), as the network has them. */
static inline struct kn_tensor columns(int64_t tokens, int64_t first, int64_t a, int64_t b) {
    const int64_t row = 200, sequences = 6;
    struct kn_tensor t = test_f32(KN_SLOT_WORK, (uint64_t)first * 4, b > 0 ? 4 : 3,
                                  DIMS(sequences, tokens, a, b > 0 ? b : 1));

    t.stride[0] = row;
    t.stride[1] = sequences * row;
    return t;
}

static inline void good_attention(enum kn_op op, union all_args *a) {
    const bool clip = op == KN_OP_FENWICK_CLIP || op == KN_OP_MESA_CLIP;
    const int64_t t = clip ? 5 : 1;
    const struct kn_tensor q = columns(t, 0, 2, 8), k = columns(t, 16, 2, 8);
    const struct kn_tensor v = columns(t, 32, 4, 8), gate = columns(t, 64, 4, 0);
    /* into columns of the same matrix that nothing else has */
    const struct kn_tensor out = columns(t, 120, 4, 8);

    if (op == KN_OP_FENWICK_CLIP || op == KN_OP_FENWICK_STEP)
        a->fenwick_clip = (struct kn_fenwick_args){.q = q,
                                                   .k = k,
                                                   .v = v,
                                                   .gate = gate,
                                                   .level = columns(t, 68, 4 * 12, 0),
                                                   .out = out,
                                                   .control = good_control(2),
                                                   .levels = 12,
                                                   .state_offset_bytes = 512};
    else
        a->mesa_clip = (struct kn_mesa_args){.q = q,
                                             .k = k,
                                             .v = v,
                                             .gate = gate,
                                             .beta = columns(t, 68, 4, 0),
                                             .lambda = param(2, DIMS(4, 8)),
                                             .out = out,
                                             .solution = columns(t, 152, 4, 8),
                                             .control = good_control(2),
                                             .state_offset_bytes = 512};
}

#include "front_training.h"

static inline union all_args good_args(enum kn_op op) {
    union all_args a;

    memset(&a, 0, sizeof a);
    if (op <= KN_OP_COLOR_OUT)
        good_pictures(op, &a);
    else if (op < KN_OP_FENWICK_CLIP) {
        good_images(op, &a);
        good_matrices(op, &a);
    } else if (op <= KN_OP_MESA_STEP)
        good_attention(op, &a);
    else if (op <= KN_OP_GATE_BACKWARD) {
        good_image_gradients(op, &a);
        good_matrix_gradients(op, &a);
    } else if (op <= KN_OP_MESA_BACKWARD)
        good_attention_gradients(op, &a);
    else
        good_training(op, &a);
    return a;
}

static inline enum kn_status record(struct kn_program *program, enum kn_op op,
                                    const union all_args *a, struct kn_err *err) {
    switch (op) {
#define X(name, NAME, args) \
    case KN_OP_##NAME:      \
        return kn_##name(program, "node", &a->name, err);
        KN_OPERATIONS(X)
#undef X
    default:
        return KN_ERR_FAILED;
    }
}

#endif
