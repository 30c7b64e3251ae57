/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The cases of front_cases.h for the operations that only training has. */
BAD(zero, ZERO, type, ARG, "out is uint8", a->out.dtype = KN_U8)
BAD(zero, ZERO, slot, ARG, "which is only read", a->out.slot = KN_SLOT_WEIGHTS)
BAD(zero, ZERO, rows_overlap, ARG, "its elements overlap", a->out.stride[0] = 5)
BAD(relu_backward, RELU_BACKWARD, y_type, ARG, "dy is float32, must be as y, which is bfloat16",
    a->y.dtype = KN_BF16)
BAD(relu_backward, RELU_BACKWARD, dims, ARG, "dy is (2, 6, 4, 7), must be as y",
    a->dy = work(1, 4, DIMS(2, 6, 4, 7)))
BAD(relu_backward, RELU_BACKWARD, over_y, ARG, "dx overlaps y", a->dx = a->y)
BAD(relu_backward, RELU_BACKWARD, half_in_place, ARG, "dx overlaps dy",
    a->dx.offset_bytes = (1 << 20) + 32)
/* convolutions */
BAD(conv_backward_data, CONV_BACKWARD_DATA, no_past, ARG, "axis 1 must be twice the 8 inputs",
    a->weight = param(4, DIMS(10, 8, 3, 3)))
BAD(conv_backward_data, CONV_BACKWARD_DATA, inputs, ARG, "axis 1 must be twice",
    a->weight = param(4, DIMS(10, 17, 3, 3)))
BAD(conv_backward_data, CONV_BACKWARD_DATA, outputs, ARG, "axis 0 must be equal to the 10 channels",
    a->weight = param(4, DIMS(8, 16, 3, 3)))
BAD(conv_backward_data, CONV_BACKWARD_DATA, kernel, ARG, "kernel must be 1x1 or 3x3",
    a->weight = param(4, DIMS(10, 16, 3, 1)))
BAD(conv_backward_data, CONV_BACKWARD_DATA, type, ARG, "dx is bfloat16, must be as dy",
    a->dx.dtype = KN_BF16)
BAD(conv_backward_data, CONV_BACKWARD_DATA, frames, ARG, "axis 0 must be 2",
    a->dx = work(3, 4, DIMS(3, 6, 4, 8)))
BAD(conv_backward_data, CONV_BACKWARD_DATA, weight_slot, ARG, "must be in weights",
    a->weight.slot = KN_SLOT_GRADS)
BAD(conv_backward_data, CONV_BACKWARD_DATA, in_place, ARG, "dx overlaps dy",
    a->dx.offset_bytes = (2 << 20) + 64)
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, inputs, ARG, "axis 1 must be twice the 8 inputs",
    a->dweight = grads(0, 4, DIMS(10, 8, 3, 3)))
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, no_past, ARG, "axis 1 must be equal to the 8",
    a->past.rank = 0)
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, slot, ARG, "must be in gradients",
    a->dweight.slot = KN_SLOT_WORK)
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, half, ARG, "dweight is bfloat16",
    a->dweight.dtype = KN_BF16)
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, strides, ARG, "must be dense",
    a->dweight.stride[0] = 200)
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, bias, ARG, "axis 0 must be 10",
    a->dbias = grads(1, 1, DIMS(8)))
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, overlap, ARG, "dbias overlaps dweight",
    a->dbias.offset_bytes = 40)
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, types, ARG, "dy is float16, must be as x",
    a->dy.dtype = KN_F16)
BAD(conv_backward_weights, CONV_BACKWARD_WEIGHTS, past, ARG, "past is (2, 6, 4, 4), must be as x",
    a->past = work(1, 4, DIMS(2, 6, 4, 4)))
BAD(shift_backward, SHIFT_BACKWARD, none, ARG, "channels is 0", a->channels = 0)
BAD(shift_backward, SHIFT_BACKWARD, too_many, ARG, "must be 1 to 8", a->channels = 9)
BAD(shift_backward, SHIFT_BACKWARD, no_lag, ARG, "lag is 0", a->lag = 0)
BAD(shift_backward, SHIFT_BACKWARD, far, ARG, "frames more than dy", a->lag = INT64_MAX)
BAD(shift_backward, SHIFT_BACKWARD, short_, ARG, "must have 2 frames more", a->lag = 2)
BAD(shift_backward, SHIFT_BACKWARD, in_place, ARG, "dx overlaps dy", a->dx.offset_bytes = 0)
/* matrices */
BAD(linear_backward_data, LINEAR_BACKWARD_DATA, outer, ARG, "axis 0 must be 20",
    a->weight = param(2, DIMS(19, 12)))
BAD(linear_backward_data, LINEAR_BACKWARD_DATA, inner, ARG, "axis 1 must be 11",
    a->weight = param(2, DIMS(20, 11)))
BAD(linear_backward_data, LINEAR_BACKWARD_DATA, rows_overlap, ARG, "its elements overlap",
    a->dx.stride[0] = 11)
BAD(linear_backward_data, LINEAR_BACKWARD_DATA, in_place, ARG, "dx overlaps dy",
    a->dx.offset_bytes = 4 << 20)
BAD(linear_backward_weights, LINEAR_BACKWARD_WEIGHTS, rows, ARG, "axis 0 must be 9",
    a->dy = work(4, 2, DIMS(8, 20)))
BAD(linear_backward_weights, LINEAR_BACKWARD_WEIGHTS, turned, ARG, "axis 0 must be 20",
    a->dweight = grads(0, 2, DIMS(12, 20)))
BAD(linear_backward_weights, LINEAR_BACKWARD_WEIGHTS, slot, ARG, "must be in gradients",
    a->dbias.slot = KN_SLOT_OUT)
BAD(linear_backward_weights, LINEAR_BACKWARD_WEIGHTS, overlap, ARG, "dbias overlaps dweight",
    a->dbias.offset_bytes = 80)
BAD(layer_norm_backward, LAYER_NORM_BACKWARD, epsilon, ARG, "epsilon is 0", a->epsilon = 0)
BAD(layer_norm_backward, LAYER_NORM_BACKWARD, x_type, ARG, "x is bfloat16", a->x.dtype = KN_BF16)
BAD(layer_norm_backward, LAYER_NORM_BACKWARD, dx_type, ARG, "dx is float16", a->dx.dtype = KN_F16)
BAD(layer_norm_backward, LAYER_NORM_BACKWARD, in_place, ARG, "dx overlaps x", a->dx = a->x)
BAD(layer_norm_backward, LAYER_NORM_BACKWARD, same, ARG, "dbias overlaps dweight",
    a->dbias = a->dweight)
BAD(gate_backward, GATE_BACKWARD, heads, ARG, "heads is 5, must divide 12", a->heads = 5)
BAD(gate_backward, GATE_BACKWARD, dz_missing, ARG, "dz is missing", a->dz.rank = 0)
BAD(gate_backward, GATE_BACKWARD, same, ARG, "dz overlaps d_o", a->dz = a->d_o)
BAD(gate_backward, GATE_BACKWARD, weight_size, ARG, "axis 0 must be 12",
    a->dweight = grads(0, 1, DIMS(4)))
BAD(gate_backward, GATE_BACKWARD, in_place, ARG, "d_o overlaps o", a->d_o = a->o)
/* attention */
BAD(fenwick_backward, FENWICK_BACKWARD, levels, ARG, "levels is 21", a->levels = 21)
BAD(fenwick_backward, FENWICK_BACKWARD, dout_missing, ARG, "dout is missing", a->dout.rank = 0)
BAD(fenwick_backward, FENWICK_BACKWARD, over_v, ARG, "overlaps v",
    a->dv.offset_bytes = a->v.offset_bytes)
BAD(mesa_backward, MESA_BACKWARD, no_solution, ARG, "solution is missing", a->solution.rank = 0)
BAD(mesa_backward, MESA_BACKWARD, slot, ARG, "must be in gradients", a->dlambda.slot = KN_SLOT_OUT)
/* losses and optimiser */
BAD(noise, NOISE, samples, ARG, "4 entries, which must divide 6", a->sample = good_control(4))
BAD(mask, MASK, frames, ARG, "missing is (5)", a->missing.dim[0] = 5)
BAD(mask_backward, MASK_BACKWARD, slot, ARG, "must be in gradients", a->dmask.slot = KN_SLOT_WORK)
BAD(mean_square, MEAN_SQUARE, value, ARG, "value is float32", a->value.dtype = KN_F32)
BAD(mean_square, MEAN_SQUARE, slot, ARG, "must be in out", a->value.slot = KN_SLOT_WORK)
BAD(charbonnier, CHARBONNIER, weight, ARG, "weight is nan, must be finite", a->weight = NAN)
BAD(laplacian, LAPLACIAN, target, ARG, "must be as x", a->target = work(1, 4, DIMS(6, 4, 3, 12)))
BAD(ms_ssim, MS_SSIM, channels, ARG, "axis 3 must be 12", a->x = work(0, 4, DIMS(6, 3, 4, 8)))
BAD(temporal_difference, TEMPORAL_DIFFERENCE, lag, ARG, "lag is 4, must divide 6", a->lag = 4)
BAD(square_sum, SQUARE_SUM, rank, ARG, "must have 1 axes", a->x = grads(0, 2, DIMS(10, 10)))
BAD(adamw, ADAMW, odd, ARG, "must be a multiple of 64", a->param = param(1, DIMS(500)))
BAD(adamw, ADAMW, slot, ARG, "must be in optimizer", a->first.slot = KN_SLOT_GRADS)
BAD(adamw, ADAMW, group, ARG, "group is (3)", a->group = kept(3, KN_U8, 3))
BAD(adamw, ADAMW, moments, ARG, "second is bfloat16, must be as first", a->second.dtype = KN_BF16)
