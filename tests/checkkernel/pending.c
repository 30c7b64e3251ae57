/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the table that are not written yet; each line goes when its operation comes. */
#include "checkkernel.h"

#define PENDING(name, args)                                        \
    void ck_test_##name(struct ck *ck) {                           \
    }                                                              \
    void ck_bench_##name(struct ck *ck) {                          \
    }                                                              \
    bool ck_sabotage_##name(struct kn_##args##_args *a, int way) { \
        return false;                                              \
    }
PENDING(zero, zero)
PENDING(relu_backward, relu_backward)
PENDING(conv_backward_data, conv_backward_data)
PENDING(conv_backward_weights, conv_backward_weights)
PENDING(shift_backward, shift_backward)
PENDING(linear_backward_data, linear_backward_data)
PENDING(linear_backward_weights, linear_backward_weights)
PENDING(layer_norm_backward, layer_norm_backward)
PENDING(gate_backward, gate_backward)
PENDING(fenwick_backward, fenwick_backward)
PENDING(mesa_backward, mesa_backward)
PENDING(noise, noise)
PENDING(mask, mask)
PENDING(mask_backward, mask_backward)
PENDING(mean_square, loss)
PENDING(charbonnier, loss)
PENDING(temporal_difference, loss)
PENDING(laplacian, loss)
PENDING(ms_ssim, loss)
PENDING(square_sum, square_sum)
PENDING(adamw, adamw)
