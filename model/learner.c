/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network that learns: its memory, its compiled programs, and running them. */
#include "learner.h"

#include <math.h>
#include <string.h>

#include "kn_size.h"
#include "model.h"
#include "training.h"

enum program { STEP, EVALUATION, NORM, UPDATE, CLEAR, PROGRAMS };

/* What is carried from step to step: before the step, and as the step leaves it. */
struct carried {
    struct kn_buf *past, *state; /* of every batch of a step, one after the other */
};

struct fw_learner {
    struct fw_learner_params params; /* pointers are of use while making only */
    struct fw_weights *start;
    struct fw_training training;
    struct fw_saved *saved;
    struct fw_device *device;
    struct kn_stream *order;
    struct kn_exec *exec[PROGRAMS];
    struct kn_buf *weights, *gradients, *optimizer, *work, *control, *values, *spare;
    struct carried before, after;
    uint64_t work_bytes, past_bytes, state_bytes; /* past and state: of one batch */
    guint64 *time, *time_after;                   /* frames that each batch has seen */
    struct kn_picture *pictures;                  /* clean, then what goes in */
    struct kn_mesa_stats mesa;
};

/* ---------------------------------------------------------------------------------- programs */

static void (*const recorders[PROGRAMS])(const struct fw_training *, struct fw_net *) = {
    fw_training_record_step, fw_training_record_evaluation, fw_training_record_norm,
    fw_training_record_update, fw_training_record_clear};

static void begin_recording(const struct fw_learner *l, enum program which, struct fw_net *net) {
    struct fw_latents latents;

    fw_latents_for(&l->start->params.config, l->params.crop, l->params.crop, &latents);
    net->params = &l->start->params;
    net->dev = l->device->dev;
    net->full = net->half = l->params.precision == FW_PRECISION_FLOAT64 ? KN_F64 : KN_F32;
    net->frames = l->params.frames;
    net->batch = l->params.batch;
    net->height = latents.height;
    net->width = latents.width;
    net->saved = which == STEP ? l->saved : NULL;
    net->status = kn_program_new(&net->program, &net->err);
}

static gboolean make_program(struct fw_learner *l, enum program which, GError **error) {
    struct fw_net net = {0};

    begin_recording(l, which, &net);
    if (net.status == KN_OK)
        recorders[which](&l->training, &net);
    if (net.status == KN_OK)
        net.status = kn_exec_new(&l->exec[which], l->device->dev, net.program, NULL, &net.err);
    kn_program_free(net.program);
    if (net.status != KN_OK)
        return fw_fail_kn(error, "training cannot be planned", &net.err);
    l->work_bytes = MAX(l->work_bytes, net.arena.bytes);
    if (which == STEP) {
        l->past_bytes = net.past_bytes;
        l->state_bytes = l->params.carry ? net.state_bytes : 0;
    }
    return TRUE;
}

static gboolean make_programs(struct fw_learner *l, GError **error) {
    for (int i = 0; i < PROGRAMS; i++) {
        /* gradients in double are for tests, which take no optimiser step */
        if (i == UPDATE && l->params.precision == FW_PRECISION_FLOAT64)
            continue;
        if (!make_program(l, (enum program)i, error))
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

static uint64_t value_bytes(const struct fw_learner *l) {
    return l->params.precision == FW_PRECISION_FLOAT64 ? sizeof(double) : sizeof(float);
}

static gboolean new_carried(struct fw_learner *l, struct carried *c, GError **error) {
    uint64_t batches = l->params.carry ? (uint64_t)l->params.accumulate : 1;
    return new_buf(l, &c->past, batches, l->past_bytes, "no memory for the frame before", error) &&
           new_buf(l, &c->state, batches, l->state_bytes, "no memory for the carried state", error);
}

static gboolean allocate(struct fw_learner *l, GError **error) {
    const struct fw_training *t = &l->training;
    uint64_t each = value_bytes(l), images = 2 * (uint64_t)l->params.frames;

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

static gboolean write_buf(struct kn_buf *buf, uint64_t offset, const void *from, uint64_t bytes,
                          GError **error) {
    struct kn_err err = {0};
    if (bytes == 0 || kn_buf_write(buf, offset, from, bytes, &err) == KN_OK)
        return TRUE;
    return fw_fail_kn(error, "training", &err);
}

static gboolean read_buf(const struct kn_buf *buf, uint64_t offset, void *to, uint64_t bytes,
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
    guint8 *group = g_try_malloc(t->values / 64);
    gboolean ok;

    if (!group)
        return fw_fail(error, FW_ERROR_NO_SPACE, "no memory for groups of parameters");
    fw_training_groups(t, group);
    ok = write_buf(l->optimizer, t->optimizer.group, group, t->values / 64, error);
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

static void free_carried(struct carried *c) {
    kn_buf_free(c->past);
    kn_buf_free(c->state);
}

void fw_learner_free(struct fw_learner *l) {
    if (!l)
        return;
    kn_stream_free(l->order); /* waits */
    for (int i = 0; i < PROGRAMS; i++)
        kn_exec_free(l->exec[i]);
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

/* ----------------------------------------------------------------------------------- running */

static char *address(const struct kn_buf *buf) {
    return buf ? kn_buf_address(buf) : NULL;
}

/* What every program may use; the rest is added by who runs it. */
static struct kn_bindings bindings(const struct fw_learner *l) {
    return (struct kn_bindings){.base = {
                                    [KN_SLOT_WEIGHTS] = address(l->weights),
                                    [KN_SLOT_WORK] = address(l->work),
                                    [KN_SLOT_CONTROL] = address(l->control),
                                    [KN_SLOT_IN] = l->pictures,
                                    [KN_SLOT_OUT] = address(l->values),
                                    [KN_SLOT_GRADS] = address(l->gradients),
                                    [KN_SLOT_OPTIMIZER] = address(l->optimizer),
                                }};
}

static gboolean run(struct fw_learner *l, enum program which, const struct kn_bindings *bound,
                    GError **error) {
    struct kn_err err = {0};
    enum kn_status status = kn_exec_run(l->exec[which], l->order, bound, &err);
    if (status == KN_OK)
        status = kn_stream_sync(l->order, &err);
    return status == KN_OK || fw_fail_kn(error, "training", &err);
}

/* Pictures of the batch, then those of its input. */
static void set_pictures(struct fw_learner *l, const struct fw_batch *batch) {
    const gsize images = (gsize)l->params.batch * (gsize)l->params.frames;
    const gsize line = 3 * (gsize)l->params.crop, bytes = line * (gsize)l->params.crop;
    const guint8 *input = batch->input ? batch->input : batch->clean;

    for (gsize i = 0; i < 2 * images; i++) {
        const guint8 *from = i < images ? batch->clean + i * bytes : input + (i - images) * bytes;
        /* only read through */
        l->pictures[i] = (struct kn_picture){.plane = {(void *)from}};
        l->pictures[i].stride_bytes[0] = (ptrdiff_t)line;
    }
}

static gboolean write_batch(struct fw_learner *l, const struct fw_batch *batch, GError **error) {
    const struct fw_train_control *c = &l->training.control;
    const uint64_t clips = (uint64_t)l->params.batch;
    const uint64_t frames = clips * (uint64_t)l->params.frames;

    set_pictures(l, batch);
    return write_buf(l->control, c->noise, batch->noise, clips * sizeof *batch->noise, error) &&
           (!batch->rounding || write_buf(l->control, c->rounding, batch->rounding,
                                          clips * sizeof *batch->rounding, error)) &&
           (!batch->missing || write_buf(l->control, c->missing, batch->missing,
                                         frames * sizeof *batch->missing, error));
}

static gboolean write_control(struct fw_learner *l, guint64 t, gboolean reset, char *before,
                              char *after, GError **error) {
    struct kn_control control[2] = {{
        .t = t,
        .state = after,
        .cg_tolerance = l->params.cg_tolerance,
        .cg_iterations = 30,
        .reset = reset,
    }};
    control[1] = control[0];
    control[1].state = before;
    return write_buf(l->control, 0, control, sizeof control, error);
}

static void add_mesa(struct kn_mesa_stats *sum, const struct kn_mesa_stats *more) {
    sum->rows += more->rows;
    sum->iterations += more->iterations;
    sum->capped += more->capped;
    sum->max_iterations = MAX(sum->max_iterations, more->max_iterations);
    if (!(more->worst_residual <= sum->worst_residual))
        sum->worst_residual = more->worst_residual;
}

static gboolean read_mesa(struct fw_learner *l, GError **error) {
    struct kn_control control[2];
    if (!read_buf(l->control, 0, control, sizeof control, error))
        return FALSE;
    add_mesa(&l->mesa, &control[0].mesa);
    add_mesa(&l->mesa, &control[1].mesa);
    return TRUE;
}

/* The state that a batch starts from is left as it is: forward works on a copy. */
static gboolean copy_state(struct fw_learner *l, uint64_t at, GError **error) {
    struct kn_err err = {0};
    if (l->state_bytes == 0 ||
        kn_buf_copy(l->after.state, at, l->before.state, at, l->state_bytes, &err) == KN_OK)
        return TRUE;
    return fw_fail_kn(error, "training", &err);
}

static gboolean read_loss(struct fw_learner *l, struct fw_loss *loss, GError **error) {
    double part[FW_VALUE_SQUARES];
    if (!read_buf(l->values, 0, part, sizeof part, error))
        return FALSE;
    *loss = (struct fw_loss){part[0], part[1], part[2], part[3], part[4]};
    return TRUE;
}

static gboolean clear_values(struct fw_learner *l, GError **error) {
    const double zero[FW_VALUE_COUNT] = {0};
    return write_buf(l->values, 0, zero, sizeof zero, error);
}

gboolean fw_learner_accumulate(struct fw_learner *l, const struct fw_batch *batch,
                               struct fw_loss *loss, GError **error) {
    struct kn_bindings bound = bindings(l);
    uint64_t index = l->params.carry ? (uint64_t)batch->index : 0;
    uint64_t past = index * l->past_bytes, state = index * l->state_bytes;
    gboolean reset = batch->reset || !l->params.carry;
    guint64 t = reset ? 0 : l->time[index];

    if (!in_range("index", batch->index, 0, l->params.accumulate - 1, error))
        return FALSE;
    if (l->past_bytes > 0) {
        bound.base[KN_SLOT_PAST] = address(l->before.past) + past;
        bound.base[KN_SLOT_PRESENT] = address(l->after.past) + past;
    }
    if (!write_batch(l, batch, error) || !clear_values(l, error) || !copy_state(l, state, error) ||
        !write_control(l, t, reset, l->state_bytes ? address(l->before.state) + state : NULL,
                       l->state_bytes ? address(l->after.state) + state : NULL, error) ||
        !run(l, STEP, &bound, error) || !read_mesa(l, error) || !read_loss(l, loss, error))
        return FALSE;
    l->time_after[index] = t + (guint64)l->params.frames;
    return TRUE;
}

void fw_learner_keep_state(struct fw_learner *l) {
    struct carried older = l->before;
    guint64 *time = l->time;

    if (!l->params.carry)
        return;
    l->before = l->after;
    l->after = older;
    l->time = l->time_after;
    l->time_after = time;
}

gboolean fw_learner_norm(struct fw_learner *l, double *norm, GError **error) {
    struct kn_bindings bound = bindings(l);
    double squares;
    if (!clear_values(l, error) || !run(l, NORM, &bound, error) ||
        !read_buf(l->values, FW_VALUE_SQUARES * sizeof squares, &squares, sizeof squares, error))
        return FALSE;
    *norm = sqrt(squares);
    return TRUE;
}

gboolean fw_learner_update(struct fw_learner *l, const struct kn_adamw *settings, GError **error) {
    struct kn_bindings bound = bindings(l);
    if (!l->exec[UPDATE])
        return fw_fail(error, FW_ERROR_UNSUPPORTED, "no optimiser in float64");
    return write_buf(l->control, l->training.control.adamw, settings, sizeof *settings, error) &&
           run(l, UPDATE, &bound, error);
}

gboolean fw_learner_clear(struct fw_learner *l, GError **error) {
    struct kn_bindings bound = bindings(l);
    return run(l, CLEAR, &bound, error);
}

gboolean fw_learner_evaluate(struct fw_learner *l, const struct fw_batch *batch, gboolean averaged,
                             guint8 *out, GError **error) {
    const gsize images = (gsize)l->params.batch * (gsize)l->params.frames;
    const gsize line = 3 * (gsize)l->params.crop, bytes = line * (gsize)l->params.crop;
    struct kn_picture *to = g_try_new0(struct kn_picture, images);
    struct kn_bindings bound = bindings(l);
    gboolean ok;

    if (!to)
        return fw_fail(error, FW_ERROR_NO_SPACE, "no memory for %" G_GSIZE_FORMAT " pictures",
                       images);
    for (gsize i = 0; i < images; i++) {
        to[i].plane[0] = out + i * bytes;
        to[i].stride_bytes[0] = (ptrdiff_t)line;
    }
    bound.base[KN_SLOT_OUT] = to;
    bound.base[KN_SLOT_PAST] = bound.base[KN_SLOT_PRESENT] = address(l->spare);
    if (averaged && l->params.averaged)
        bound.base[KN_SLOT_WEIGHTS] = address(l->optimizer) + l->training.optimizer.averaged;
    ok = write_batch(l, batch, error) && write_control(l, 0, TRUE, NULL, NULL, error) &&
         run(l, EVALUATION, &bound, error);
    g_free(to);
    return ok;
}

void fw_learner_cancel(struct fw_learner *l, gboolean cancel) {
    kn_stream_cancel(l->order, cancel);
}

/* -------------------------------------------------------------------------------- what it knows */

/* A part of a learner in device memory. */
struct part {
    struct kn_buf *buf;
    uint64_t offset, bytes;
};

static struct part part_of(const struct fw_learner *l, enum fw_learned what) {
    const struct fw_training *t = &l->training;
    const uint64_t moments = t->values * kn_dtype_bytes(l->params.moments);
    const uint64_t values = t->values * value_bytes(l);

    switch (what) {
    case FW_LEARNED_PARAMS:
        return (struct part){l->weights, 0, values};
    case FW_LEARNED_GRADIENTS:
        return (struct part){l->gradients, 0, values};
    case FW_LEARNED_FIRST:
        return (struct part){l->optimizer, t->optimizer.first, moments};
    case FW_LEARNED_SECOND:
        return (struct part){l->optimizer, t->optimizer.second, moments};
    case FW_LEARNED_AVERAGED:
        return (struct part){l->optimizer, t->optimizer.averaged,
                             l->params.averaged ? t->values * sizeof(float) : 0};
    default:
        return (struct part){NULL, 0, 0};
    }
}

/* The carried state as bytes: the time of every batch, the frames before, the attention. */
static uint64_t state_parts(const struct fw_learner *l, struct part part[2]) {
    const uint64_t batches = (uint64_t)l->params.accumulate;
    part[0] = (struct part){l->before.past, 0, batches * l->past_bytes};
    part[1] = (struct part){l->before.state, 0, batches * l->state_bytes};
    return batches * sizeof *l->time;
}

guint64 fw_learner_bytes(const struct fw_learner *l, enum fw_learned what) {
    struct part part[2];
    if (what != FW_LEARNED_STATE)
        return part_of(l, what).bytes;
    if (!l->params.carry)
        return 0;
    uint64_t times = state_parts(l, part);
    return times + part[0].bytes + part[1].bytes;
}

gboolean fw_learner_read(struct fw_learner *l, enum fw_learned what, void *to, GError **error) {
    struct part part[2] = {part_of(l, what)};
    guint8 *at = to;

    if (what != FW_LEARNED_STATE)
        return read_buf(part[0].buf, part[0].offset, to, part[0].bytes, error);
    if (!l->params.carry)
        return TRUE;
    uint64_t times = state_parts(l, part);
    memcpy(at, l->time, times);
    return read_buf(part[0].buf, 0, at + times, part[0].bytes, error) &&
           read_buf(part[1].buf, 0, at + times + part[0].bytes, part[1].bytes, error);
}

gboolean fw_learner_write(struct fw_learner *l, enum fw_learned what, const void *from,
                          GError **error) {
    struct part part[2] = {part_of(l, what)};
    const guint8 *at = from;

    if (what != FW_LEARNED_STATE)
        return write_buf(part[0].buf, part[0].offset, from, part[0].bytes, error);
    if (!l->params.carry)
        return TRUE;
    uint64_t times = state_parts(l, part);
    memcpy(l->time, at, times);
    return write_buf(part[0].buf, 0, at + times, part[0].bytes, error) &&
           write_buf(part[1].buf, 0, at + times + part[0].bytes, part[1].bytes, error);
}

/* Training gives some tasks tensors that others lack. */
static void add_optional(const struct fw_learner *l, struct fw_weights *weights) {
    static const char *const name[] = {"restore", "reconstruct", "predict"};
    const struct fw_param *scale = fw_params_find(&weights->params, "latent.scale");

    g_strlcpy(weights->task, name[l->params.task], sizeof weights->task);
    weights->has_mask = l->start->has_mask || l->params.task == FW_TASK_PREDICT;
    weights->has_scale = l->start->has_scale;
    if (weights->has_scale || l->params.task != FW_TASK_RECONSTRUCT)
        return;
    weights->has_scale = TRUE;
    for (gint64 i = 0; i < scale->count; i++)
        weights->arena[scale->offset / sizeof(float) + (guint64)i] = FW_LATENT_SCALE;
}

struct fw_weights *fw_learner_weights(struct fw_learner *l, gboolean averaged, GError **error) {
    struct fw_weights *weights = fw_weights_alloc(&l->start->params.config, error);
    enum fw_learned what = averaged && l->params.averaged ? FW_LEARNED_AVERAGED : FW_LEARNED_PARAMS;

    if (!weights)
        return NULL;
    if (l->params.precision == FW_PRECISION_FLOAT64) {
        fw_fail(error, FW_ERROR_UNSUPPORTED, "weights are float32");
        goto fail;
    }
    if (!fw_learner_read(l, what, weights->arena, error))
        goto fail;
    add_optional(l, weights);
    fw_weights_identify(weights);
    return weights;
fail:
    fw_weights_unref(weights);
    return NULL;
}

static guint64 bytes_of(const struct kn_buf *buf) {
    return buf ? kn_buf_bytes(buf) : 0;
}

guint64 fw_learner_memory(const struct fw_learner *l) {
    const struct kn_buf *const buf[] = {
        l->weights,     l->gradients,    l->optimizer,  l->work,        l->control, l->values,
        l->before.past, l->before.state, l->after.past, l->after.state, l->spare};
    guint64 bytes = 0;

    for (gsize i = 0; i < G_N_ELEMENTS(buf); i++)
        bytes += bytes_of(buf[i]);
    for (int i = 0; i < PROGRAMS; i++)
        bytes += l->exec[i] ? kn_exec_scratch_bytes(l->exec[i]) : 0;
    return bytes;
}

void fw_learner_mesa(const struct fw_learner *l, struct kn_mesa_stats *stats) {
    *stats = l->mesa;
}

const char *fw_learner_device(const struct fw_learner *l) {
    return l->device->info.name;
}

const char *fw_learner_device_description(const struct fw_learner *l) {
    return l->device->info.description;
}
