/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network that learns: its compiled programs and its memory. */
#include "learner_internal.h"

#include <string.h>

#include "kn_size.h"

/* ---------------------------------------------------------------------------------- programs */

static void (*const recorders[FW_PROGRAMS])(const struct fw_training *, struct fw_net *) = {
    fw_training_record_step, fw_training_record_evaluation, fw_training_record_norm,
    fw_training_record_update, fw_training_record_clear};

static void begin_recording(const struct fw_learner *l, enum fw_learner_program which,
                            struct fw_net *net) {
    struct fw_latents latents;

    fw_latents_for(&l->start->params.config, l->params.crop, l->params.crop, &latents);
    net->params = &l->start->params;
    net->dev = l->device->dev;
    net->full = net->half = l->params.precision == FW_PRECISION_FLOAT64 ? KN_F64 : KN_F32;
    net->frames = l->params.frames;
    net->batch = l->params.batch;
    net->height = latents.height;
    net->width = latents.width;
    net->saved = which == FW_PROGRAM_STEP ? l->saved : NULL;
    net->status = kn_program_new(&net->program, &net->err);
}

static gboolean make_program(struct fw_learner *l, enum fw_learner_program which, GError **error) {
    struct fw_net net = {0};

    begin_recording(l, which, &net);
    if (net.status == KN_OK)
        recorders[which](&l->training, &net);
    if (net.status == KN_OK)
        net.status = kn_exec_new(&l->exec[which], l->device->dev, net.program, NULL, &net.err);
    l->program[which] = net.program;
    if (net.status != KN_OK)
        return fw_fail_kn(error, "training cannot be planned", &net.err);
    l->work_bytes = MAX(l->work_bytes, net.arena.bytes);
    if (which == FW_PROGRAM_STEP) {
        l->past_bytes = net.past_bytes;
        l->state_bytes = l->params.carry ? net.state_bytes : 0;
    }
    return TRUE;
}

static gboolean make_programs(struct fw_learner *l, GError **error) {
    for (int i = 0; i < FW_PROGRAMS; i++) {
        /* gradients in double are for tests, which take no optimiser step */
        if (i == FW_PROGRAM_UPDATE && l->params.precision == FW_PRECISION_FLOAT64)
            continue;
        if (!make_program(l, (enum fw_learner_program)i, error))
            return FALSE;
    }
    return TRUE;
}

/* ------------------------------------------------------------------------------------- memory */

static gboolean new_buf(struct fw_learner *l, struct kn_buf **buf, uint64_t count, uint64_t each,
                        const char *what, GError **error) {
    struct kn_err err = {.code = KN_ERR_RANGE};
    uint64_t bytes;
    if (kn_size_mul(count, each, &bytes) &&
        (bytes == 0 || kn_buf_new(buf, l->device->dev, bytes, &err) == KN_OK))
        return TRUE;
    return fw_fail_kn(error, what, &err);
}

static gboolean new_carried(struct fw_learner *l, struct fw_carried *c, GError **error) {
    uint64_t batches = l->params.carry ? (uint64_t)l->params.accumulate : 1;
    return new_buf(l, &c->past, batches, l->past_bytes, "no memory for the frame before", error) &&
           new_buf(l, &c->state, batches, l->state_bytes, "no memory for the carried state", error);
}

static gboolean allocate(struct fw_learner *l, GError **error) {
    const struct fw_training *t = &l->training;
    uint64_t each = fw_learner_value_bytes(l), images = 2 * (uint64_t)l->params.frames;

    images *= (uint64_t)l->params.batch;
    l->pictures = g_try_new0(struct kn_picture, images);
    l->time = g_new0(guint64, (gsize)l->params.accumulate);
    l->time_after = g_new0(guint64, (gsize)l->params.accumulate);
    if (!l->pictures)
        return fw_fail(error, FW_ERROR_NO_SPACE, "no memory for %" G_GUINT64_FORMAT " pictures",
                       images);
    return new_buf(l, &l->weights, t->values, each, "no memory for parameters", error) &&
           new_buf(l, &l->gradients, t->values, each, "no memory for gradients", error) &&
           new_buf(l, &l->optimizer, t->optimizer.bytes, 1, "no memory for moments", error) &&
           new_buf(l, &l->work, l->work_bytes, 1, "no memory for activations", error) &&
           new_buf(l, &l->control, t->control.bytes, 1, "no memory for control", error) &&
           new_buf(l, &l->values, FW_VALUE_COUNT, sizeof(double), "no memory for sums", error) &&
           new_buf(l, &l->spare, l->past_bytes, 1, "no memory for the frame before", error) &&
           new_carried(l, &l->before, error) && new_carried(l, &l->after, error);
}

gboolean fw_learner_write_buf(struct kn_buf *buf, uint64_t offset, const void *from, uint64_t bytes,
                              GError **error) {
    struct kn_err err = {0};
    if (bytes == 0 || kn_buf_write(buf, offset, from, bytes, &err) == KN_OK)
        return TRUE;
    return fw_fail_kn(error, "training", &err);
}

gboolean fw_learner_read_buf(const struct kn_buf *buf, uint64_t offset, void *to, uint64_t bytes,
                             GError **error) {
    struct kn_err err = {0};
    if (bytes == 0 || kn_buf_read(buf, offset, to, bytes, &err) == KN_OK)
        return TRUE;
    return fw_fail_kn(error, "training", &err);
}

/* The values to start from, in the type that is computed in. */
static gboolean fill_parameters(struct fw_learner *l, GError **error) {
    const struct fw_training *t = &l->training;
    const float *from = l->start->arena;
    gboolean ok;

    if (l->params.precision != FW_PRECISION_FLOAT64)
        return fw_learner_write(l, FW_LEARNED_PARAMS, from, error);
    double *wide = g_try_new(double, t->values);
    if (!wide)
        return fw_fail(error, FW_ERROR_NO_SPACE, "no memory for %" G_GUINT64_FORMAT " doubles",
                       t->values);
    for (uint64_t i = 0; i < t->values; i++)
        wide[i] = from[i];
    ok = fw_learner_write(l, FW_LEARNED_PARAMS, wide, error);
    g_free(wide);
    return ok;
}

static gboolean fill_optimizer(struct fw_learner *l, GError **error) {
    const struct fw_training *t = &l->training;
    guint8 *group = g_try_malloc(t->values / KN_ADAMW_RUN);
    gboolean ok;

    if (!group)
        return fw_fail(error, FW_ERROR_NO_SPACE, "no memory for groups of parameters");
    fw_training_groups(t, group);
    ok = fw_learner_write_buf(l->optimizer, t->optimizer.group, group, t->values / KN_ADAMW_RUN,
                              error);
    g_free(group);
    if (ok && l->params.averaged)
        ok = fw_learner_write(l, FW_LEARNED_AVERAGED, l->start->arena, error);
    return ok;
}

/* ----------------------------------------------------------------------------------- making */

static gboolean in_range(const char *what, int value, int low, int high, GError **error) {
    if (value >= low && value <= high)
        return TRUE;
    return fw_fail(error, FW_ERROR_ARGUMENT, "%s is %d, allowed is %d to %d", what, value, low,
                   high);
}

static gboolean check(const struct fw_learner_params *p, GError **error) {
    if (!in_range("batch", p->batch, 1, 1024, error) ||
        !in_range("frames", p->frames, 1, 65536, error) ||
        !in_range("crop", p->crop, 2, 4096, error) ||
        !in_range("accumulate", p->accumulate, 1, 1024, error))
        return FALSE;
    if (p->precision != FW_PRECISION_FLOAT32 && p->precision != FW_PRECISION_FLOAT64)
        return fw_fail(error, FW_ERROR_UNSUPPORTED, "training computes in float32");
    if (p->moments != KN_F32 && p->moments != KN_BF16)
        return fw_fail(error, FW_ERROR_ARGUMENT, "moments are %s, allowed are float32 and bfloat16",
                       kn_dtype_name(p->moments));
    return TRUE;
}

struct fw_learner *fw_learner_new(const struct fw_learner_params *params, GError **error) {
    struct fw_learner *l = g_new0(struct fw_learner, 1);
    struct kn_err err = {0};

    if (!check(params, error))
        goto fail;
    l->params = *params;
    l->start = fw_weights_ref(params->weights);
    l->saved = g_new0(struct fw_saved, 1);
    if (!fw_training_init(&l->training, &l->params)) {
        fw_fail(error, FW_ERROR_FAILED, "the parameters are not in blocks of 64");
        goto fail;
    }
    l->device = fw_device_get(params->device, params->threads, error);
    if (!l->device || !make_programs(l, error) || !allocate(l, error))
        goto fail;
    if (kn_stream_new(&l->order, l->device->dev, &err) != KN_OK) {
        fw_fail_kn(error, "no stream on the device", &err);
        goto fail;
    }
    if (!fill_parameters(l, error) || !fill_optimizer(l, error))
        goto fail;
    return l;
fail:
    fw_learner_free(l);
    return NULL;
}

static void free_carried(struct fw_carried *c) {
    kn_buf_free(c->past);
    kn_buf_free(c->state);
}

void fw_learner_free(struct fw_learner *l) {
    if (!l)
        return;
    kn_stream_free(l->order); /* waits */
    for (int i = 0; i < FW_PROGRAMS; i++) {
        kn_exec_free(l->exec[i]);
        kn_program_free(l->program[i]);
    }
    kn_buf_free(l->weights);
    kn_buf_free(l->gradients);
    kn_buf_free(l->optimizer);
    kn_buf_free(l->work);
    kn_buf_free(l->control);
    kn_buf_free(l->values);
    kn_buf_free(l->spare);
    free_carried(&l->before);
    free_carried(&l->after);
    fw_device_put(l->device);
    fw_weights_unref(l->start);
    g_free(l->saved);
    g_free(l->pictures);
    g_free(l->time);
    g_free(l->time_after);
    g_free(l);
}
