/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The recorded programs of a learner, and where they find what changes from run to run. */
#ifndef FW_MODEL_TRAINING_H
#define FW_MODEL_TRAINING_H

#include "learner.h"
#include "network.h"

/* Doubles in KN_SLOT_OUT: the parts of the loss in the order of struct fw_loss, then sums. */
enum fw_value { FW_VALUE_LOSS, FW_VALUE_SQUARES = 5, FW_VALUE_COUNT };

/* Bytes from the start of KN_SLOT_CONTROL. Two struct kn_control come first: forward, backward. */
struct fw_train_control {
    uint64_t noise, rounding; /* struct kn_sample per clip */
    uint64_t missing;         /* float per frame */
    uint64_t adamw, bytes;
};

/* The same of KN_SLOT_OPTIMIZER. */
struct fw_train_optimizer {
    uint64_t first, second, averaged, group, bytes;
};

/* What a recording is for. net has its shape, types and parameters; failures stick in it. */
struct fw_training {
    const struct fw_learner_params *params;
    struct kn_video video; /* of one picture */
    struct fw_train_control control;
    struct fw_train_optimizer optimizer;
    uint64_t values; /* in the parameter arena */
};

gboolean fw_training_init(struct fw_training *training, const struct fw_learner_params *params);
/* Forward, loss and backward; needs net->saved. */
void fw_training_record_step(const struct fw_training *training, struct fw_net *net);
/* Forward to pictures in KN_SLOT_OUT. */
void fw_training_record_evaluation(const struct fw_training *training, struct fw_net *net);
/* Sum of squares of all gradients; optimiser step and clearing; clearing alone. */
void fw_training_record_norm(const struct fw_training *training, struct fw_net *net);
void fw_training_record_update(const struct fw_training *training, struct fw_net *net);
void fw_training_record_clear(const struct fw_training *training, struct fw_net *net);

/* The group of every 64 values of the arena. */
void fw_training_groups(const struct fw_training *training, guint8 *group);

#endif
