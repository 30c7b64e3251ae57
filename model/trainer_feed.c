/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Frames become chunks, and chunks become steps that are due. Everything is counted in chunks, so
 * that frames given again lead to the same place.
 */
#include "trainer.h"

#include <string.h>

/* ------------------------------------------------------------------------------------ next one */

static gboolean is_kept(const struct fw_trainer *t, guint64 place) {
    for (guint i = 0; i < t->kept->len; i++)
        if (t->kept_place[i] == place)
            return TRUE;
    return FALSE;
}

/* Whether the chunk that comes next is for validation. */
static gboolean is_apart(const struct fw_trainer *t) {
    const struct fw_trainer_params *p = &t->params;
    const guint64 room = p->reservoir_bytes / 4 / fw_sampler_clip_bytes(p);

    if (p->validation_interval == 0)
        return FALSE;
    if (!t->first_pass)
        return is_kept(t, t->at.seen);
    return t->at.seen % FW_VALIDATION_EVERY == FW_VALIDATION_FIRST &&
           t->kept->len < MIN(room, FW_VALIDATION_CLIPS);
}

static guint64 order_of(const struct fw_trainer *t) {
    return t->at.epoch * t->at.pass_trained + t->at.trained;
}

/* Whether the chunk that comes next is worth its memory; the others are counted only. */
static gboolean is_wanted(const struct fw_trainer *t) {
    if (is_apart(t))
        return t->first_pass;
    if (t->at.complete)
        return t->first_pass;
    return !t->replaying || t->goal.epoch == 0 || order_of(t) >= t->goal.oldest;
}

/* ------------------------------------------------------------------------------------- arrived */

void fw_trainer_reach(struct fw_trainer *t) {
    if (!t->replaying || t->at.epoch != t->goal.epoch || t->at.seen != t->goal.seen)
        return;
    t->replaying = FALSE;
    t->at = t->goal;
    fw_reservoir_forget(&t->reservoir, t->goal.oldest);
}

/* FALSE without memory for it: then it is one to train on. */
static gboolean keep_apart(struct fw_trainer *t, struct fw_chunk *chunk) {
    if (t->first_pass) {
        guint8 *clip = g_try_malloc(fw_sampler_clip_bytes(&t->params));
        if (!clip)
            return FALSE;
        fw_sampler_cut(&t->params, chunk, clip);
        t->kept_place[t->kept->len] = t->at.seen;
        g_ptr_array_add(t->kept, clip);
    }
    fw_reservoir_drop(&t->reservoir, chunk);
    t->at.seen++;
    return TRUE;
}

static gboolean is_prefilled(const struct fw_trainer *t, guint64 bytes) {
    const struct fw_reservoir *r = &t->reservoir;
    return t->at.prefilled || r->evicted || r->chunk->len >= FW_PREFILL ||
           r->bytes + bytes > r->limit;
}

static void train_on(struct fw_trainer *t, struct fw_chunk *chunk) {
    const guint64 bytes = chunk->bytes;

    chunk->order = order_of(t);
    if (t->at.epoch > 0 && chunk->order >= t->at.pass_trained && chunk->rgb)
        fw_reservoir_forget(&t->reservoir, chunk->order - t->at.pass_trained + 1);
    if (chunk->rgb)
        fw_reservoir_add(&t->reservoir, chunk);
    else
        fw_reservoir_drop(&t->reservoir, chunk);
    t->at.seen++;
    t->at.trained++;
    t->at.prefilled = is_prefilled(t, bytes);
    if (t->at.prefilled && !t->replaying)
        t->at.credit += FW_STEPS_PER_CLIP;
}

/* Ends the chunk under way. */
static void close_chunk(struct fw_trainer *t) {
    struct fw_chunk *chunk = fw_reservoir_close(&t->reservoir);

    if (!chunk)
        return;
    if (!is_apart(t) || !keep_apart(t, chunk))
        train_on(t, chunk);
    fw_trainer_reach(t);
}

gboolean fw_trainer_frame(struct fw_trainer *t, const guint8 *rgb, gsize stride, int width,
                          int height, GError **error) {
    const int crop = (int)t->params.crop_size;

    if (width < crop || height < crop || width > 32768 || height > 32768)
        return fw_fail(error, FW_ERROR_ARGUMENT,
                       "a frame of %dx%d, allowed is from %dx%d (crop-size) to 32768x32768", width,
                       height, crop, crop);
    if (fw_reservoir_cuts(&t->reservoir, rgb, stride, width, height))
        close_chunk(t);
    if (!fw_reservoir_append(&t->reservoir, rgb, stride, width, height, is_wanted(t), error))
        return FALSE;
    t->frames++;
    if (fw_reservoir_full_chunk(&t->reservoir))
        close_chunk(t);
    return TRUE;
}

void fw_trainer_cut(struct fw_trainer *t) {
    close_chunk(t);
    t->reservoir.last.samples = 0;
}

/* ----------------------------------------------------------------------------------------- due */

static gboolean epochs_done(const struct fw_trainer *t) {
    return t->params.epochs > 0 && t->at.epoch >= t->params.epochs;
}

/* Steps that carry state on from each other are due together: the reservoir stays as it is. */
static guint64 due(const struct fw_trainer *t) {
    const guint64 left = t->params.steps - MIN(t->step, t->params.steps);
    guint64 end = t->step + MIN(t->at.credit, left);

    if (t->replaying || t->reservoir.chunk->len == 0)
        return 0;
    if (end < t->params.steps)
        end -= end % t->params.carry_state;
    return end > t->step ? end - t->step : 0;
}

guint fw_trainer_due(const struct fw_trainer *t) {
    return (guint)MIN(due(t), G_MAXUINT);
}

gboolean fw_trainer_finished(const struct fw_trainer *t) {
    return t->step >= t->params.steps || (epochs_done(t) && due(t) == 0);
}

/* ------------------------------------------------------------------------------ end of a source */

static gboolean end_first_pass(struct fw_trainer *t, GError **error) {
    if (t->at.trained == 0)
        return fw_fail(error, FW_ERROR_ARGUMENT,
                       "the source has not a single clip of %u frames that follow each other",
                       t->params.clip_length);
    t->at.complete = !t->reservoir.evicted;
    t->at.pass_seen = t->at.seen;
    t->at.pass_trained = t->at.trained;
    if (!t->at.prefilled && !t->replaying)
        t->at.credit += FW_STEPS_PER_CLIP * t->at.trained;
    t->at.prefilled = TRUE;
    return TRUE;
}

/* A pass like the first one, or else the count of chunks means nothing. */
static gboolean end_other_pass(const struct fw_trainer *t, GError **error) {
    if (t->at.seen == t->at.pass_seen || (t->at.complete && !t->replaying))
        return TRUE;
    return fw_fail(error, t->replaying ? FW_ERROR_MISMATCH : FW_ERROR_READ,
                   "the source gave %" G_GUINT64_FORMAT " clips and %" G_GUINT64_FORMAT
                   " when it was given %s",
                   t->at.seen, t->at.pass_seen, t->replaying ? "before the checkpoint" : "first");
}

enum fw_source fw_trainer_end(struct fw_trainer *t, GError **error) {
    fw_trainer_cut(t);
    if (t->replaying && t->at.epoch == t->goal.epoch && t->at.seen < t->goal.seen) {
        fw_fail(error, FW_ERROR_MISMATCH,
                "the source gave %" G_GUINT64_FORMAT
                " clips, the checkpoint has seen %" G_GUINT64_FORMAT,
                t->at.seen, t->goal.seen);
        return FW_SOURCE_FAILED;
    }
    if (t->at.pass_seen == 0 ? !end_first_pass(t, error) : !end_other_pass(t, error))
        return FW_SOURCE_FAILED;
    t->at.epoch++;
    t->at.seen = t->at.trained = 0;
    t->first_pass = FALSE;
    fw_trainer_reach(t);
    if (t->step >= t->params.steps || epochs_done(t))
        return FW_SOURCE_DONE;
    return FW_SOURCE_REWIND;
}

gboolean fw_trainer_without_source(struct fw_trainer *t, GError **error) {
    guint64 left = t->params.steps - MIN(t->step, t->params.steps);

    if (t->replaying)
        return fw_fail(error, FW_ERROR_MISMATCH,
                       "the checkpoint is of a source that was given "
                       "more than once");
    if (!t->at.complete)
        return fw_fail(error, FW_ERROR_NO_SPACE,
                       "the reservoir of %" G_GUINT64_FORMAT " bytes does not hold all of it",
                       t->params.reservoir_bytes);
    if (t->params.epochs > 0) { /* what the passes that cannot be had would have earned */
        guint64 passes = t->params.epochs - MIN(t->at.epoch, t->params.epochs);
        guint64 each = t->at.pass_trained * FW_STEPS_PER_CLIP;
        left = passes < left / each ? t->at.credit + passes * each : left;
        t->at.epoch = t->params.epochs;
    }
    t->at.credit = MAX(t->at.credit, left);
    return TRUE;
}
