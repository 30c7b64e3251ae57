/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How a network starts. */
#ifndef FW_MODEL_INIT_H
#define FW_MODEL_INIT_H

#include "params.h"

/* Fills the arena of params, which must be zero. */
void fw_init_fill(const struct fw_params *params, float *arena, enum fw_init init, guint64 seed);

#endif
