/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the table that are not written yet; each line goes when its operation comes. */
#include "ref/ref.h"

#define KERNEL(name) const struct kn_kernel kn_ref_##name = {.run = NULL};
KERNEL(laplacian)
KERNEL(ms_ssim)
