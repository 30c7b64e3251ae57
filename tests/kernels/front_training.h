/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Good arguments of the operations that only training has. Part of front.h. */
#ifndef TEST_FRONT_TRAINING_H
#define TEST_FRONT_TRAINING_H

/* Gradients of parameters, each in a part of its own. */
static inline struct kn_tensor grads(int part, int rank, const int64_t *dim) {
    return test_f32(KN_SLOT_GRADS, (uint64_t)part << 20, rank, dim);
}

static inline struct kn_tensor kept(int part, enum kn_dtype dtype, int64_t count) {
    return kn_tensor_dense(KN_SLOT_OPTIMIZER, (uint64_t)part << 20, dtype, 1, DIMS(count));
}

static inline void good_image_gradients(enum kn_op op, union all_args *a) {
    const struct kn_tensor x = work(0, 4, DIMS(2, 6, 4, 8)), past = work(1, 4, DIMS(2, 6, 4, 8));
    const struct kn_tensor dy = work(2, 4, DIMS(2, 6, 4, 10)), dx = work(3, 4, DIMS(2, 6, 4, 8));

    if (op == KN_OP_ZERO)
        a->zero = (struct kn_zero_args){work(0, 3, DIMS(3, 4, 5))};
    if (op == KN_OP_RELU_BACKWARD)
        a->relu_backward = (struct kn_relu_backward_args){.y = x, .dy = past, .dx = dx};
    if (op == KN_OP_CONV_BACKWARD_DATA)
        a->conv_backward_data = (struct kn_conv_backward_data_args){
            .dy = dy, .weight = param(4, DIMS(10, 16, 3, 3)), .dx = dx, .past = true};
    if (op == KN_OP_CONV_BACKWARD_WEIGHTS)
        a->conv_backward_weights =
            (struct kn_conv_backward_weights_args){.x = x,
                                                   .past = past,
                                                   .dy = dy,
                                                   .dweight = grads(0, 4, DIMS(10, 16, 3, 3)),
                                                   .dbias = grads(1, 1, DIMS(10))};
    if (op == KN_OP_SHIFT_BACKWARD)
        a->shift_backward = (struct kn_shift_backward_args){
            .dy = x, .dx = work(3, 4, DIMS(5, 6, 4, 8)), .channels = 2, .lag = 3};
}

static inline void good_matrix_gradients(enum kn_op op, union all_args *a) {
    const struct kn_tensor x = work(0, 2, DIMS(9, 12)), z = work(1, 2, DIMS(9, 12));
    const struct kn_tensor dx = work(2, 2, DIMS(9, 12)), each = param(1, DIMS(12));
    const struct kn_tensor dy = work(3, 2, DIMS(9, 12)), wide = work(4, 2, DIMS(9, 20));

    if (op == KN_OP_LINEAR_BACKWARD_DATA)
        a->linear_backward_data = (struct kn_linear_backward_data_args){
            .dy = wide, .weight = param(2, DIMS(20, 12)), .dx = dx};
    if (op == KN_OP_LINEAR_BACKWARD_WEIGHTS)
        a->linear_backward_weights =
            (struct kn_linear_backward_weights_args){.x = x,
                                                     .dy = wide,
                                                     .dweight = grads(0, 2, DIMS(20, 12)),
                                                     .dbias = grads(1, 1, DIMS(20))};
    if (op == KN_OP_LAYER_NORM_BACKWARD)
        a->layer_norm_backward =
            (struct kn_layer_norm_backward_args){.x = x,
                                                 .weight = each,
                                                 .dy = dy,
                                                 .dx = dx,
                                                 .dweight = grads(0, 1, DIMS(12)),
                                                 .dbias = grads(1, 1, DIMS(12)),
                                                 .epsilon = 1e-5f};
    if (op == KN_OP_GATE_BACKWARD)
        a->gate_backward = (struct kn_gate_backward_args){.o = x,
                                                          .z = z,
                                                          .weight = each,
                                                          .dy = dy,
                                                          .d_o = dx,
                                                          .dz = work(5, 2, DIMS(9, 12)),
                                                          .dweight = grads(0, 1, DIMS(12)),
                                                          .heads = 3,
                                                          .epsilon = 1e-5f};
}

/* Inputs as columns of one matrix, gradients likewise in the columns that follow. */
static inline void good_attention_gradients(enum kn_op op, union all_args *a) {
    const struct kn_tensor q = columns(5, 0, 2, 8), k = columns(5, 16, 2, 8);
    const struct kn_tensor v = columns(5, 32, 4, 8), gate = columns(5, 64, 4, 0);
    const struct kn_tensor dout = work(1, 4, DIMS(6, 5, 4, 8));
    struct kn_tensor d[5] = {columns(5, 0, 2, 8), columns(5, 16, 2, 8), columns(5, 32, 4, 8),
                             columns(5, 64, 4, 0),
                             columns(5, 68, op == KN_OP_FENWICK_BACKWARD ? 4 * 12 : 4, 0)};

    for (int i = 0; i < 5; i++)
        d[i].offset_bytes += 2 << 20;
    if (op == KN_OP_FENWICK_BACKWARD)
        a->fenwick_backward = (struct kn_fenwick_backward_args){.q = q,
                                                                .k = k,
                                                                .v = v,
                                                                .gate = gate,
                                                                .level = columns(5, 68, 4 * 12, 0),
                                                                .dout = dout,
                                                                .dq = d[0],
                                                                .dk = d[1],
                                                                .dv = d[2],
                                                                .dgate = d[3],
                                                                .dlevel = d[4],
                                                                .control = good_control(2),
                                                                .levels = 12,
                                                                .state_offset_bytes = 512};
    else
        a->mesa_backward = (struct kn_mesa_backward_args){.q = q,
                                                          .k = k,
                                                          .v = v,
                                                          .gate = gate,
                                                          .beta = columns(5, 68, 4, 0),
                                                          .lambda = param(2, DIMS(4, 8)),
                                                          .solution = work(3, 4, DIMS(6, 5, 4, 8)),
                                                          .dout = dout,
                                                          .dq = d[0],
                                                          .dk = d[1],
                                                          .dv = d[2],
                                                          .dgate = d[3],
                                                          .dbeta = d[4],
                                                          .dlambda = grads(0, 2, DIMS(4, 8)),
                                                          .control = good_control(2),
                                                          .state_offset_bytes = 512};
}

static inline void good_training(enum kn_op op, union all_args *a) {
    const struct kn_tensor x = work(0, 4, DIMS(6, 3, 4, 12)), y = work(1, 4, DIMS(6, 3, 4, 12));
    const struct kn_tensor missing = test_f32(KN_SLOT_CONTROL, 0, 1, DIMS(6));
    const struct kn_tensor value = kn_tensor_dense(KN_SLOT_OUT, 64, KN_F64, 1, DIMS(1));

    if (op == KN_OP_NOISE)
        a->noise = (struct kn_noise_args){.x = x, .out = y, .sample = good_control(3)};
    if (op == KN_OP_MASK)
        a->mask =
            (struct kn_mask_args){.x = x, .mask = param(1, DIMS(12)), .missing = missing, .out = y};
    if (op == KN_OP_MASK_BACKWARD)
        a->mask_backward = (struct kn_mask_backward_args){
            .dy = x, .missing = missing, .dmask = grads(0, 1, DIMS(12))};
    if (op >= KN_OP_MEAN_SQUARE && op <= KN_OP_MS_SSIM)
        a->mean_square = (struct kn_loss_args){.x = x,
                                               .target = y,
                                               .dx = work(2, 4, DIMS(6, 3, 4, 12)),
                                               .value = value,
                                               .lag = 2,
                                               .weight = 1};
    if (op == KN_OP_SQUARE_SUM)
        a->square_sum = (struct kn_square_sum_args){grads(0, 1, DIMS(100)), value};
    if (op == KN_OP_ADAMW)
        a->adamw = (struct kn_adamw_args){.param = param(1, DIMS(512)),
                                          .grad = grads(0, 1, DIMS(512)),
                                          .first = kept(0, KN_F32, 512),
                                          .second = kept(1, KN_F32, 512),
                                          .averaged = kept(2, KN_F32, 512),
                                          .group = kept(3, KN_U8, 8),
                                          .control = good_control(1)};
}

#endif
