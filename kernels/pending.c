/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the table that are not written yet; each line goes when its operation comes. */
#include "front.h"

#define CHECK(args)                                          \
    KN_CHECK(args) {                                         \
        kn_refuse(c, KN_ERR_UNSUPPORTED, "not written yet"); \
    }
CHECK(noise)
CHECK(mask)
CHECK(mask_backward)
CHECK(loss)
CHECK(square_sum)
CHECK(adamw)

#define KERNEL(name) const struct kn_kernel kn_ref_##name = {.run = NULL};
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
