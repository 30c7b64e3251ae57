/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the sources of the learner share: learner.c makes it, learner_run.c runs it, learned.c reads
 * and writes what it knows. */
#ifndef FW_MODEL_LEARNER_INTERNAL_H
#define FW_MODEL_LEARNER_INTERNAL_H

#include "learner.h"
#include "model.h"
#include "training.h"

enum fw_learner_program {
    FW_PROGRAM_STEP,
    FW_PROGRAM_EVALUATION,
    FW_PROGRAM_NORM,
    FW_PROGRAM_UPDATE,
    FW_PROGRAM_CLEAR,
    FW_PROGRAMS
};

/* What is carried from step to step: before the step, and as the step leaves it. */
struct fw_carried {
    struct kn_buf *past, *state; /* of every batch of a step, one after the other */
};

struct fw_learner {
    struct fw_learner_params params; /* pointers are of use while making only */
    struct fw_weights *start;
    struct fw_training training;
    struct fw_saved *saved;
    struct fw_device *device;
    struct kn_stream *order;
    struct kn_program *program[FW_PROGRAMS];
    struct kn_exec *exec[FW_PROGRAMS];
    struct kn_buf *weights, *gradients, *optimizer, *work, *control, *values, *spare;
    struct fw_carried before, after;
    uint64_t work_bytes, past_bytes, state_bytes; /* past and state: of one batch */
    guint64 *time, *time_after;                   /* frames that each batch has seen */
    struct kn_picture *pictures;                  /* clean, then what goes in */
    struct kn_mesa_stats mesa;
};

/* Of a parameter. */
static inline uint64_t fw_learner_value_bytes(const struct fw_learner *l) {
    return l->params.precision == FW_PRECISION_FLOAT64 ? sizeof(double) : sizeof(float);
}

/* Device memory; 0 bytes are fine. */
gboolean fw_learner_write_buf(struct kn_buf *buf, uint64_t offset, const void *from, uint64_t bytes,
                              GError **error);
gboolean fw_learner_read_buf(const struct kn_buf *buf, uint64_t offset, void *to, uint64_t bytes,
                             GError **error);

#endif
