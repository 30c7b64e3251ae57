/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the table that are not written yet; each line goes when its operation comes. */
#include "front.h"

#define CHECK(args)                                          \
    KN_CHECK(args) {                                         \
        kn_refuse(c, KN_ERR_UNSUPPORTED, "not written yet"); \
    }
CHECK(zero)
CHECK(relu_backward)
CHECK(conv_backward_data)
CHECK(conv_backward_weights)
CHECK(shift_backward)
CHECK(linear_backward_data)
CHECK(linear_backward_weights)
CHECK(layer_norm_backward)
CHECK(gate_backward)
CHECK(fenwick_backward)
CHECK(mesa_backward)
CHECK(noise)
CHECK(mask)
CHECK(mask_backward)
CHECK(loss)
CHECK(square_sum)
CHECK(adamw)

#define KERNEL(name) const struct kn_kernel kn_ref_##name = {.run = NULL};
KERNEL(zero)
KERNEL(relu_backward)
KERNEL(conv_backward_data)
KERNEL(conv_backward_weights)
KERNEL(shift_backward)
KERNEL(linear_backward_data)
KERNEL(linear_backward_weights)
KERNEL(layer_norm_backward)
KERNEL(gate_backward)
KERNEL(fenwick_backward)
KERNEL(mesa_backward)
KERNEL(noise)
KERNEL(mask)
KERNEL(mask_backward)
KERNEL(mean_square)
KERNEL(charbonnier)
KERNEL(temporal_difference)
KERNEL(laplacian)
KERNEL(ms_ssim)
KERNEL(square_sum)
KERNEL(adamw)
