/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A network that learns on a device: parameters, gradients, moments and the recorded programs of a
 * training step, for one shape of batch. It knows nothing of where batches come from or when to
 * stop; that is the trainer's part.
 */
#ifndef FW_MODEL_LEARNER_H
#define FW_MODEL_LEARNER_H

#include "weights.h"

/* Groups of parameters with a learning rate and a decay of their own: index of kn_adamw.rate. */
enum fw_group {
    FW_GROUP_FROZEN, /* not trained: gaps, zero biases, latent.scale, what the task does not use */
    FW_GROUP_PLAIN,  /* encoder and decoder: biases, skips */
    FW_GROUP_DECAYED,
    FW_GROUP_TEMPORAL_PLAIN, /* the temporal model: biases, gains, lambda */
    FW_GROUP_TEMPORAL_DECAYED,
};

struct fw_learner_params {
    struct fw_weights *weights;  /* values to start from; referenced */
    const char *device;          /* as in fw_model_params */
    enum fw_precision precision; /* FLOAT32, or FLOAT64 on "ref" */
    int threads;
    enum fw_task task;
    struct fw_loss loss;
    int batch, frames, crop; /* clips, frames of a clip, side in pixels */
    gboolean carry;          /* state survives from step to step unless the batch says reset */
    int accumulate;          /* batches of a step, each with a state of its own; >= 1 */
    gboolean averaged;       /* keep averaged weights */
    enum kn_dtype moments;
    float cg_tolerance; /* 1e-4 when training */
};

/* One batch. Pictures are packed RGB of crop x crop, in the order (time, clip). */
struct fw_batch {
    const guint8 *clean;              /* what should come out */
    const guint8 *input;              /* what goes in before noise; NULL: clean */
    const struct kn_sample *noise;    /* per clip, on the pictures */
    const struct kn_sample *rounding; /* per clip, on the latents; NULL but for reconstruct */
    const float *missing;             /* per frame, 0 or 1; NULL but for predict */
    int index;                        /* which batch of the step, 0..accumulate - 1 */
    gboolean reset;                   /* forget the carried state */
};

struct fw_learner;

#define FW_LATENT_SCALE 0.03125f /* of latents rounded to 8 bit: they reach from -4 to 4 */

struct fw_learner *fw_learner_new(const struct fw_learner_params *params, GError **error);
void fw_learner_free(struct fw_learner *learner);

/*
 * Forward and backward: adds the batch's gradients to those that are there. loss: unweighted parts,
 * computed where their weight is not 0 (mean_square always). On failure or FW_ERROR_CANCELLED the
 * gradients are undefined until fw_learner_clear(), and the carried state is what it was before.
 */
gboolean fw_learner_accumulate(struct fw_learner *learner, const struct fw_batch *batch,
                               struct fw_loss *loss, GError **error);
/* Euclidean norm of the gradients of all groups but FROZEN. */
gboolean fw_learner_norm(struct fw_learner *learner, double *norm, GError **error);
/* One AdamW step; clears the gradients. */
gboolean fw_learner_update(struct fw_learner *learner, const struct kn_adamw *settings,
                           GError **error);
gboolean fw_learner_clear(struct fw_learner *learner, GError **error);
/* The states that the batches since the last call left become those that the next ones start
 * from: call once a step, before update. */
void fw_learner_keep_state(struct fw_learner *learner);
/* Forward only, from fresh state, rounded to 8 bit as color_out does; averaged: by those weights.
 */
gboolean fw_learner_evaluate(struct fw_learner *learner, const struct fw_batch *batch,
                             gboolean averaged, guint8 *out, GError **error);
/* From any thread: runs end with FW_ERROR_CANCELLED while cancel is TRUE. */
void fw_learner_cancel(struct fw_learner *learner, gboolean cancel);

/* What a checkpoint holds. Arrays in the layout of the parameter arena, or opaque bytes (STATE). */
enum fw_learned {
    FW_LEARNED_PARAMS, /* f32 (f64 at precision FLOAT64), as GRADIENTS */
    FW_LEARNED_GRADIENTS,
    FW_LEARNED_FIRST, /* params.moments */
    FW_LEARNED_SECOND,
    FW_LEARNED_AVERAGED, /* f32; 0 bytes when not kept */
    FW_LEARNED_STATE,    /* 0 bytes without carry */
    FW_LEARNED_COUNT
};
guint64 fw_learner_bytes(const struct fw_learner *learner, enum fw_learned what);
gboolean fw_learner_read(struct fw_learner *learner, enum fw_learned what, void *to,
                         GError **error);
gboolean fw_learner_write(struct fw_learner *learner, enum fw_learned what, const void *from,
                          GError **error);
/* A new weights object with the learned values (averaged ones) and the task's name. */
struct fw_weights *fw_learner_weights(struct fw_learner *learner, gboolean averaged,
                                      GError **error);
/* All device memory that the learner holds. */
guint64 fw_learner_memory(const struct fw_learner *learner);
/* What each operation of a step costs, as fw_plan_profile() says it. g_free(). */
char *fw_learner_profile(const struct fw_learner *learner);
void fw_learner_mesa(const struct fw_learner *learner, struct kn_mesa_stats *stats);
const char *fw_learner_device(const struct fw_learner *learner);
const char *fw_learner_device_description(const struct fw_learner *learner);

#endif
