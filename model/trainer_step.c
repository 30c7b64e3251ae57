/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One step of training, and what it is worth on clips that were kept apart. */
#include "trainer.h"

#include <math.h>
#include <string.h>

#include "init.h"

#define LOSS_MEAN_STEPS 100
#define PSNR_SAME 100 /* of pictures without any difference */

/* ---------------------------------------------------------------------------------- validation */

/* Sum of squared differences of 8-bit values over the clips that count. */
static double squares(const struct fw_trainer *t, const guint8 *out, guint clips) {
    const struct fw_trainer_params *p = &t->params;
    const gsize bytes = 3 * (gsize)p->crop_size * p->crop_size;
    double sum = 0;

    for (guint frame = 0; frame < p->clip_length; frame++)
        for (guint clip = 0; clip < clips; clip++) {
            const gsize at = ((gsize)frame * p->batch_size + clip) * bytes;
            guint64 of_frame = 0;
            for (gsize i = at; i < at + bytes; i++) {
                int d = (int)out[i] - (int)t->sampler.clean[i];
                of_frame += (guint64)(d * d);
            }
            sum += (double)of_frame;
        }
    return sum;
}

static gboolean measure(struct fw_trainer *t, gboolean averaged, double *psnr, GError **error) {
    const gsize clip = fw_sampler_clip_bytes(&t->params);
    guint8 *out = g_try_malloc(clip * t->params.batch_size);
    struct fw_batch batch;
    double sum = 0;
    gboolean ok = out || fw_fail(error, FW_ERROR_NO_SPACE,
                                 "no memory for validation: %" G_GSIZE_FORMAT " bytes wanted",
                                 clip * t->params.batch_size);

    for (guint i = 0; ok && i < t->kept->len; i += t->params.batch_size) {
        fw_sampler_validation(&t->sampler, t->kept, i, &batch);
        ok = fw_learner_evaluate(t->learner, &batch, averaged, out, error);
        if (ok)
            sum += squares(t, out, MIN(t->params.batch_size, t->kept->len - i));
    }
    g_free(out);
    if (ok) {
        double mean = sum / ((double)clip * t->kept->len);
        *psnr = mean > 0 ? MIN(PSNR_SAME, 10 * log10(255 * 255 / mean)) : PSNR_SAME;
    }
    return ok;
}

/* The network that changes nothing shows what goes in: noise and rounding are part of the run. */
static gboolean measure_input(struct fw_trainer *t, GError **error) {
    const guint64 bytes = fw_learner_bytes(t->learner, FW_LEARNED_PARAMS);
    struct fw_weights *identity = fw_learner_weights(t->learner, FALSE, error);
    float *mine = identity ? g_try_malloc(bytes) : NULL;
    GError *back = NULL;
    gboolean ok = FALSE;

    if (identity && !mine)
        fw_fail(error, FW_ERROR_NO_SPACE,
                "no memory for validation: %" G_GUINT64_FORMAT " bytes wanted", bytes);
    if (mine && fw_learner_read(t->learner, FW_LEARNED_PARAMS, mine, error)) {
        memset(identity->arena, 0, bytes);
        fw_init_fill(&identity->params, identity->arena, FW_INIT_IDENTITY, 0);
        ok = fw_learner_write(t->learner, FW_LEARNED_PARAMS, identity->arena, error) &&
             measure(t, FALSE, &t->validation_input_psnr, error);
        if (!fw_learner_write(t->learner, FW_LEARNED_PARAMS, mine, ok ? error : &back))
            ok = FALSE;
        g_clear_error(&back);
    }
    g_free(mine);
    fw_weights_unref(identity);
    return ok;
}

static gboolean validate(struct fw_trainer *t, GError **error) {
    if (t->kept->len > 0) {
        if (isnan(t->validation_input_psnr) && !measure_input(t, error))
            return FALSE;
        if (!measure(t, t->params.ema > 0, &t->validation_psnr, error))
            return FALSE;
        t->validation_step = t->step;
    }
    t->validate = FALSE;
    return TRUE;
}

/* ------------------------------------------------------------------------------------ gradients */

static void add_loss(struct fw_loss *sum, const struct fw_loss *more, double weight) {
    sum->mean_square += weight * more->mean_square;
    sum->charbonnier += weight * more->charbonnier;
    sum->temporal_difference += weight * more->temporal_difference;
    sum->laplacian += weight * more->laplacian;
    sum->ms_ssim += weight * more->ms_ssim;
}

static double weighted(const struct fw_loss *weight, const struct fw_loss *part) {
    return weight->mean_square * part->mean_square + weight->charbonnier * part->charbonnier +
           weight->temporal_difference * part->temporal_difference +
           weight->laplacian * part->laplacian + weight->ms_ssim * part->ms_ssim;
}

/* Gradients of the whole step, its loss, and the norm of their mean. */
static gboolean gradients(struct fw_trainer *t, struct fw_loss *part, double *norm,
                          GError **error) {
    const guint batches = t->params.accumulate;

    *part = (struct fw_loss){0};
    if (t->dirty && !fw_learner_clear(t->learner, error))
        return FALSE;
    t->dirty = TRUE;
    for (guint i = 0; i < batches; i++) {
        struct fw_batch batch;
        struct fw_loss more;
        fw_sampler_fill(&t->sampler, &t->reservoir, t->step, i, &batch);
        if (!fw_learner_accumulate(t->learner, &batch, &more, error))
            return FALSE;
        add_loss(part, &more, 1.0 / batches);
    }
    if (!fw_learner_norm(t->learner, norm, error))
        return FALSE;
    *norm /= batches;
    return TRUE;
}

/* ----------------------------------------------------------------------------------------- step */

/* From here the step is taken as a whole: FALSE when it was cancelled before. */
static gboolean begin_commit(struct fw_trainer *t) {
    g_mutex_lock(&t->lock);
    t->committing = !t->cancel;
    if (t->committing)
        fw_learner_cancel(t->learner, FALSE);
    g_mutex_unlock(&t->lock);
    return t->committing;
}

static void end_commit(struct fw_trainer *t) {
    g_mutex_lock(&t->lock);
    t->committing = FALSE;
    fw_learner_cancel(t->learner, t->cancel);
    g_mutex_unlock(&t->lock);
}

void fw_trainer_cancel(struct fw_trainer *t, gboolean cancel) {
    g_mutex_lock(&t->lock);
    t->cancel = cancel;
    if (!t->committing)
        fw_learner_cancel(t->learner, cancel);
    g_mutex_unlock(&t->lock);
}

/* Parts without a weight were not computed, but for the mean square. */
static void note(struct fw_trainer *t, const struct fw_loss *part, double loss, double norm) {
    const struct fw_loss *weight = &t->params.loss;

    t->part.mean_square = part->mean_square;
    t->part.charbonnier = weight->charbonnier > 0 ? part->charbonnier : NAN;
    t->part.temporal_difference = weight->temporal_difference > 0 ? part->temporal_difference : NAN;
    t->part.laplacian = weight->laplacian > 0 ? part->laplacian : NAN;
    t->part.ms_ssim = weight->ms_ssim > 0 ? part->ms_ssim : NAN;
    t->loss = loss;
    t->norm = norm;
    t->rate = fw_schedule_rate(&t->params, t->step);
}

/* Past the step, whether it was taken or not: the next one sees other clips. */
static void advance(struct fw_trainer *t) {
    t->step++;
    t->at.credit--;
    if (t->params.validation_interval > 0)
        t->validate = t->step % t->params.validation_interval == 0 || fw_trainer_finished(t);
}

static enum fw_step skip(struct fw_trainer *t, GError **error) {
    const guint64 step = t->step;

    if (!fw_learner_clear(t->learner, error))
        return FW_STEP_FAILED;
    t->dirty = FALSE;
    t->skipped++;
    advance(t);
    if (t->guard.in_a_row < FW_GUARD_PATIENCE)
        return FW_STEP_SKIPPED;
    fw_fail(error, FW_ERROR_NONFINITE,
            "at step %" G_GUINT64_FORMAT ", for the %dth time in a row, the loss (%g) or the norm "
            "of the gradient (%g) was not finite or far too large; the last good loss was %g",
            step, FW_GUARD_PATIENCE, t->loss, t->norm, t->finite_loss);
    return FW_STEP_FAILED;
}

static gboolean update(struct fw_trainer *t, GError **error) {
    struct kn_adamw settings;

    fw_schedule_adamw(&t->params, t->step, fw_trainer_updates(t), t->norm, &settings);
    fw_learner_keep_state(t->learner);
    if (!fw_learner_update(t->learner, &settings, error))
        return FALSE;
    t->dirty = FALSE;
    t->finite_loss = t->loss;
    double n = MIN(LOSS_MEAN_STEPS, (double)fw_trainer_updates(t) + 1);
    t->loss_mean = isnan(t->loss_mean) ? t->loss : t->loss_mean + (t->loss - t->loss_mean) / n;
    advance(t);
    return TRUE;
}

static enum fw_step failed(GError *cause, GError **error) {
    if (g_error_matches(cause, FW_ERROR, FW_ERROR_CANCELLED)) {
        g_error_free(cause);
        return FW_STEP_CANCELLED;
    }
    g_propagate_error(error, cause);
    return FW_STEP_FAILED;
}

/* Gradients are there: the guard decides, and nothing interrupts what follows. */
static enum fw_step commit(struct fw_trainer *t, GError **error) {
    enum fw_step result = FW_STEP_DONE;

    if (!fw_guard_passes(&t->guard, t->loss, t->norm))
        result = skip(t, error);
    else if (!update(t, error))
        result = FW_STEP_FAILED;
    end_commit(t);
    return result;
}

enum fw_step fw_trainer_step(struct fw_trainer *t, GError **error) {
    GError *cause = NULL;
    struct fw_loss part;
    enum fw_step result;
    double norm;

    if (fw_trainer_due(t) == 0) {
        fw_fail(error, FW_ERROR_ARGUMENT, "no step is due");
        return FW_STEP_FAILED;
    }
    if ((t->validate && !validate(t, &cause)) || !gradients(t, &part, &norm, &cause))
        return failed(cause, error);
    if (!begin_commit(t))
        return FW_STEP_CANCELLED;
    note(t, &part, weighted(&t->params.loss, &part), norm);
    result = commit(t, error);
    /* Cancelled or failed, it is done before the next step, or that one fails. */
    if (result == FW_STEP_DONE && t->validate && !validate(t, &cause))
        g_clear_error(&cause);
    return result;
}
