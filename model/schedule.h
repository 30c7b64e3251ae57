/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* How fast training learns, and which steps it had better not take. */
#ifndef FW_MODEL_SCHEDULE_H
#define FW_MODEL_SCHEDULE_H

#include "fw.h"

/* The learning rate of step k (from 0): a line up to warmup, then a cosine down to 0 at steps. */
double fw_schedule_rate(const struct fw_trainer_params *params, guint64 k);
/*
 * Settings of the optimiser for step k, of which `updates` before it were not skipped. norm: of the
 * mean gradient over the step's batches.
 */
void fw_schedule_adamw(const struct fw_trainer_params *params, guint64 k, guint64 updates,
                       double norm, struct kn_adamw *settings);

/*
 * Steps not to be taken: loss or gradient not finite, or a gradient FW_GUARD_SPIKE times as long as
 * usual. What is usual is known after FW_GUARD_LEARNS steps, and forgets slowly; a longer gradient
 * counts as twice the usual one, so that a single spike moves it little. Each spike that is not
 * taken doubles what is usual: gradients that stay long are those of another place, not of one bad
 * clip, and skipping them for good would end a run that clipping alone can save.
 */
#define FW_GUARD_SPIKE 10
#define FW_GUARD_LEARNS 50
#define FW_GUARD_PATIENCE 10 /* skipped steps in a row that end training */

struct fw_guard {
    double usual;  /* norm */
    guint64 taken; /* steps */
    guint in_a_row;
};
/* Whether the step may be taken; counts it. */
gboolean fw_guard_passes(struct fw_guard *guard, double loss, double norm);

#endif
