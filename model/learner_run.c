/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network that learns: its programs are run on a batch. */
#include "learner_internal.h"

#include <math.h>

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

static gboolean run(struct fw_learner *l, enum fw_learner_program which,
                    const struct kn_bindings *bound, GError **error) {
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
    return fw_learner_write_buf(l->control, c->noise, batch->noise, clips * sizeof *batch->noise,
                                error) &&
           (!batch->rounding || fw_learner_write_buf(l->control, c->rounding, batch->rounding,
                                                     clips * sizeof *batch->rounding, error)) &&
           (!batch->missing || fw_learner_write_buf(l->control, c->missing, batch->missing,
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
    return fw_learner_write_buf(l->control, 0, control, sizeof control, error);
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
    if (!fw_learner_read_buf(l->control, 0, control, sizeof control, error))
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
    if (!fw_learner_read_buf(l->values, 0, part, sizeof part, error))
        return FALSE;
    *loss = (struct fw_loss){part[0], part[1], part[2], part[3], part[4]};
    return TRUE;
}

static gboolean clear_values(struct fw_learner *l, GError **error) {
    const double zero[FW_VALUE_COUNT] = {0};
    return fw_learner_write_buf(l->values, 0, zero, sizeof zero, error);
}

gboolean fw_learner_accumulate(struct fw_learner *l, const struct fw_batch *batch,
                               struct fw_loss *loss, GError **error) {
    struct kn_bindings bound = bindings(l);
    uint64_t index = l->params.carry ? (uint64_t)batch->index : 0;
    uint64_t past = index * l->past_bytes, state = index * l->state_bytes;
    gboolean reset = batch->reset || !l->params.carry;
    guint64 t = reset ? 0 : l->time[index];

    if (batch->index < 0 || batch->index >= l->params.accumulate)
        return fw_fail(error, FW_ERROR_ARGUMENT, "batch %d of a step that has %d", batch->index,
                       l->params.accumulate);
    if (l->past_bytes > 0) {
        bound.base[KN_SLOT_PAST] = address(l->before.past) + past;
        bound.base[KN_SLOT_PRESENT] = address(l->after.past) + past;
    }
    if (!write_batch(l, batch, error) || !clear_values(l, error) || !copy_state(l, state, error) ||
        !write_control(l, t, reset, l->state_bytes ? address(l->before.state) + state : NULL,
                       l->state_bytes ? address(l->after.state) + state : NULL, error) ||
        !run(l, FW_PROGRAM_STEP, &bound, error) || !read_mesa(l, error) ||
        !read_loss(l, loss, error))
        return FALSE;
    l->time_after[index] = t + (guint64)l->params.frames;
    return TRUE;
}

void fw_learner_keep_state(struct fw_learner *l) {
    struct fw_carried older = l->before;
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
    if (!clear_values(l, error) || !run(l, FW_PROGRAM_NORM, &bound, error) ||
        !fw_learner_read_buf(l->values, FW_VALUE_SQUARES * sizeof squares, &squares, sizeof squares,
                             error))
        return FALSE;
    *norm = sqrt(squares);
    return TRUE;
}

gboolean fw_learner_update(struct fw_learner *l, const struct kn_adamw *settings, GError **error) {
    struct kn_bindings bound = bindings(l);
    if (!l->exec[FW_PROGRAM_UPDATE])
        return fw_fail(error, FW_ERROR_UNSUPPORTED, "no optimiser in float64");
    return fw_learner_write_buf(l->control, l->training.control.adamw, settings, sizeof *settings,
                                error) &&
           run(l, FW_PROGRAM_UPDATE, &bound, error);
}

gboolean fw_learner_clear(struct fw_learner *l, GError **error) {
    struct kn_bindings bound = bindings(l);
    return run(l, FW_PROGRAM_CLEAR, &bound, error);
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
         run(l, FW_PROGRAM_EVALUATION, &bound, error);
    g_free(to);
    return ok;
}

void fw_learner_cancel(struct fw_learner *l, gboolean cancel) {
    kn_stream_cancel(l->order, cancel);
}
