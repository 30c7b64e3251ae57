/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A trainer: made of its parameters, asked how it stands. */
#include "trainer.h"

#include <math.h>

#include "model.h"

void fw_trainer_defaults(struct fw_trainer_params *p) {
    *p = (struct fw_trainer_params){
        .task = FW_TASK_RESTORE,
        .loss = {.charbonnier = 1},
        .noise = FW_NOISE_GAUSSIAN,
        .noise_max = 55,
        .augment = TRUE,
        .batch_size = 4,
        .clip_length = 8,
        .crop_size = 64,
        .accumulate = 1,
        .carry_state = 1,
        .steps = 5000,
        .learning_rate = 1e-3,
        .temporal_learning_rate = 0.3,
        .weight_decay = 1e-4,
        .warmup = 300,
        .grad_clip = 0.2,
        .moments = KN_F32,
        .seed = 1,
        .reservoir_bytes = 512 << 20,
    };
}

/* -------------------------------------------------------------------------------------- checks */

static gboolean whole(const char *what, guint64 value, guint64 low, guint64 high, GError **error) {
    if (value >= low && value <= high)
        return TRUE;
    return fw_fail(error, FW_ERROR_ARGUMENT,
                   "%s is %" G_GUINT64_FORMAT ", allowed is %" G_GUINT64_FORMAT
                   " to %" G_GUINT64_FORMAT,
                   what, value, low, high);
}

static gboolean real(const char *what, double value, double low, double high, GError **error) {
    if (value >= low && value <= high)
        return TRUE;
    return fw_fail(error, FW_ERROR_ARGUMENT, "%s is %g, allowed is %g to %g", what, value, low,
                   high);
}

static gboolean check_loss(const struct fw_loss *l, GError **error) {
    const double sum =
        l->mean_square + l->charbonnier + l->temporal_difference + l->laplacian + l->ms_ssim;

    if (!real("weight of mean-square", l->mean_square, 0, 1e6, error) ||
        !real("weight of charbonnier", l->charbonnier, 0, 1e6, error) ||
        !real("weight of temporal-difference", l->temporal_difference, 0, 1e6, error) ||
        !real("weight of laplacian", l->laplacian, 0, 1e6, error) ||
        !real("weight of ms-ssim", l->ms_ssim, 0, 1e6, error))
        return FALSE;
    return sum > 0 || fw_fail(error, FW_ERROR_ARGUMENT, "the loss has no part above 0");
}

static gboolean check_batch(const struct fw_trainer_params *p, GError **error) {
    if (!whole("batch-size", p->batch_size, 1, 1024, error) ||
        !whole("clip-length", p->clip_length, 1, 65536, error) ||
        !whole("crop-size", p->crop_size, 16, 4096, error) ||
        !whole("accumulate", p->accumulate, 1, 1024, error) ||
        !whole("carry-state", p->carry_state, 1, 1024, error))
        return FALSE;
    return p->crop_size % 2 == 0 ||
           fw_fail(error, FW_ERROR_ARGUMENT, "crop-size is %u, it must be even", p->crop_size);
}

static gboolean check(const struct fw_trainer_params *p, GError **error) {
    if (!whole("task", p->task, FW_TASK_RESTORE, FW_TASK_PREDICT, error) ||
        !whole("noise-type", p->noise, FW_NOISE_GAUSSIAN, FW_NOISE_MIXED, error) ||
        !real("noise-min", p->noise_min, 0, 255, error) ||
        !real("noise-max", p->noise_max, 0, 255, error) || !check_batch(p, error) ||
        !whole("steps", p->steps, 1, G_MAXINT64, error) ||
        !real("threads", p->threads, 0, 1024, error) ||
        !real("learning-rate", p->learning_rate, 0, 1e30, error) ||
        !real("temporal-learning-rate", p->temporal_learning_rate, 0, 1000, error) ||
        !real("weight-decay", p->weight_decay, 0, 1000, error) ||
        !real("grad-clip", p->grad_clip, 0, 1e30, error) ||
        !real("ema", p->ema, 0, 0.99999, error) || !check_loss(&p->loss, error))
        return FALSE;
    if (p->noise_min > p->noise_max)
        return fw_fail(error, FW_ERROR_ARGUMENT, "noise-min is %g, above noise-max %g",
                       p->noise_min, p->noise_max);
    return TRUE;
}

/* -------------------------------------------------------------------------------------- making */

static struct fw_weights *first_weights(const struct fw_trainer_params *p, GError **error) {
    struct fw_model_params model = {.weights = p->weights, .preset = p->preset};
    return fw_model_read_weights(&model, error);
}

static gboolean make_learner(struct fw_trainer *t, GError **error) {
    const struct fw_trainer_params *p = &t->params;
    struct fw_learner_params params = {
        .weights = first_weights(p, error),
        .device = p->device,
        .precision = FW_PRECISION_FLOAT32,
        .threads = p->threads,
        .task = p->task,
        .loss = p->loss,
        .batch = (int)p->batch_size,
        .frames = (int)p->clip_length,
        .crop = (int)p->crop_size,
        .carry = p->carry_state > 1,
        .accumulate = (int)p->accumulate,
        .averaged = p->ema > 0,
        .moments = p->moments,
        .cg_tolerance = 1e-4f,
    };

    if (!params.weights)
        return FALSE;
    t->config = fw_config_to_json(fw_weights_config(params.weights));
    t->learner = fw_learner_new(&params, error);
    fw_weights_unref(params.weights);
    return t->learner != NULL;
}

/* Room for clips kept apart, of which there may be so many. */
static guint64 validation_bytes(const struct fw_trainer_params *p) {
    const guint64 wanted = (guint64)fw_sampler_clip_bytes(p) * FW_VALIDATION_CLIPS;
    return p->validation_interval ? MIN(wanted, p->reservoir_bytes / 4) : 0;
}

struct fw_trainer *fw_trainer_new(const struct fw_trainer_params *params, GError **error) {
    struct fw_trainer *t = g_new0(struct fw_trainer, 1);

    g_mutex_init(&t->lock);
    t->params = *params;
    t->first_pass = TRUE;
    t->kept = g_ptr_array_new_with_free_func(g_free);
    t->loss = t->loss_mean = t->norm = t->validation_psnr = t->validation_input_psnr = NAN;
    t->finite_loss = t->rate = NAN;
    t->part = (struct fw_loss){NAN, NAN, NAN, NAN, NAN};
    if (!check(params, error) || !make_learner(t, error) ||
        !fw_sampler_init(&t->sampler, &t->params, error)) {
        fw_trainer_free(t);
        return NULL;
    }
    fw_reservoir_init(&t->reservoir, params->clip_length, params->carry_state,
                      params->reservoir_bytes - validation_bytes(params));
    return t;
}

void fw_trainer_free(struct fw_trainer *t) {
    if (!t)
        return;
    g_free(t->config);
    fw_learner_free(t->learner);
    fw_sampler_clear(&t->sampler);
    fw_reservoir_clear(&t->reservoir);
    g_ptr_array_unref(t->kept);
    g_mutex_clear(&t->lock);
    g_free(t);
}

/* ------------------------------------------------------------------------------------- queries */

guint64 fw_trainer_updates(const struct fw_trainer *t) {
    return t->step - t->skipped;
}

/* 8 bit against 8 bit or not: [-1, 1] counts as 255 levels. */
static double psnr_of(double mean_square) {
    return mean_square > 0 ? 10 * log10(4 / mean_square) : NAN;
}

void fw_trainer_report(const struct fw_trainer *t, struct fw_train_report *r) {
    const struct fw_trainer_params *p = &t->params;

    *r = (struct fw_train_report){
        .step = t->step,
        .steps = p->steps,
        .epoch = t->at.epoch,
        .skipped = t->skipped,
        .clips = t->step * p->batch_size * p->accumulate,
        .frames = t->frames,
        .reservoir_clips = t->reservoir.chunk->len,
        .reservoir_bytes = t->reservoir.bytes + t->kept->len * fw_sampler_clip_bytes(p),
        .loss = t->loss,
        .psnr = psnr_of(t->part.mean_square),
        .loss_mean = t->loss_mean,
        .part = t->part,
        .validation_psnr = t->validation_psnr,
        .validation_input_psnr = t->validation_input_psnr,
        .validation_step = t->validation_step,
        .gradient_norm = t->norm,
        .learning_rate = t->rate,
    };
    r->bytes = fw_learner_memory(t->learner) + t->sampler.bytes + r->reservoir_bytes;
    fw_learner_mesa(t->learner, &r->mesa);
}

const char *fw_trainer_device(const struct fw_trainer *t) {
    return fw_learner_device(t->learner);
}

const char *fw_trainer_device_description(const struct fw_trainer *t) {
    return fw_learner_device_description(t->learner);
}

gboolean fw_trainer_save(struct fw_trainer *t, const char *path, GError **error) {
    struct fw_weights *weights = fw_learner_weights(t->learner, t->params.ema > 0, error);
    gboolean ok = weights && fw_weights_save(weights, path, FALSE, error);
    fw_weights_unref(weights);
    return ok;
}
