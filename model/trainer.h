/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the sources of the trainer share: trainer.c makes it, trainer_feed.c takes frames,
 * trainer_step.c takes steps, trainer_checkpoint.c leaves and comes back. */
#ifndef FW_MODEL_TRAINER_H
#define FW_MODEL_TRAINER_H

#include "checkpoint.h"
#include "learner.h"
#include "sampler.h"
#include "schedule.h"

#define FW_PREFILL 64 /* chunks that the first step waits for */
#define FW_VALIDATION_EVERY 10
#define FW_VALIDATION_FIRST 4 /* so that a source of five chunks has one */
#define FW_VALIDATION_CLIPS 16

/*
 * Where the source stands, counted in chunks: with the frames given again up to here the reservoir
 * holds what it held, and credit steps may be taken.
 */
struct fw_cursor {
    guint64 epoch;
    guint64 seen, trained; /* chunks of this pass: all, and those not kept for validation */
    guint64 credit;        /* steps earned and not taken */
    guint64 oldest;        /* order of the oldest chunk in the reservoir */
    guint64 pass_seen, pass_trained; /* of a whole pass; 0 before the first is over */
    guint prefilled, complete;       /* steps are due; the reservoir holds all of a pass */
};

struct fw_trainer {
    struct fw_trainer_params params; /* its strings are of use while making only */
    char *config;                    /* JSON */
    struct fw_learner *learner;
    struct fw_reservoir reservoir;
    struct fw_sampler sampler;

    struct fw_cursor at, goal; /* goal: of the checkpoint, while frames are given again */
    gboolean replaying, first_pass;
    GPtrArray *kept; /* clips for validation, as fw_sampler_cut() has them */
    guint64 kept_place[FW_VALIDATION_CLIPS]; /* in the pass */

    guint64 step, skipped, frames;
    struct fw_guard guard;
    gboolean dirty;                      /* gradients of a step that did not end */
    gboolean validate;                   /* before the next step */
    double loss, loss_mean, finite_loss; /* finite_loss: the last one that was */
    struct fw_loss part;
    double norm, rate;
    double validation_psnr, validation_input_psnr;
    guint64 validation_step;

    GMutex lock;
    gboolean cancel, committing; /* under lock; committing: a step that is past return */
};

/* Steps that changed the weights. */
guint64 fw_trainer_updates(const struct fw_trainer *t);
/* Ends replaying where the checkpoint stood: the reservoir is as it was. */
void fw_trainer_reach(struct fw_trainer *t);

#endif
