/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams: what survives a frame, and running frames. */
#include "model.h"

#include <string.h>

#define CG_TOLERANCE 1e-4f
#define CG_ITERATIONS 30

struct fw_stream {
    struct fw_plan *plan; /* the one it was made for */
    struct kn_stream *order;
    struct kn_buf *work, *past[2], *state, *control; /* NULL where none is needed */
    int newer;                                       /* which of past was written last */
    struct kn_control settings;                      /* all but mesa, which belongs to the device */
    gboolean reset;                                  /* the next run starts a new video */
    struct fw_stream_stats stats;
};

/* ---------------------------------------------------------------------------------------- life */

static gboolean new_buf(struct fw_stream *stream, struct kn_buf **buf, uint64_t bytes,
                        const char *what, GError **error) {
    struct kn_err err;
    if (bytes == 0 || kn_buf_new(buf, stream->plan->model->dev, bytes, &err) == KN_OK)
        return TRUE;
    return fw_fail_kn(error, what, &err);
}

static gboolean allocate(struct fw_stream *s, GError **error) {
    const struct fw_plan *plan = s->plan;
    struct kn_err err;
    if (kn_stream_new(&s->order, plan->model->dev, &err) != KN_OK)
        return fw_fail_kn(error, "no stream on the device", &err);
    return new_buf(s, &s->work, plan->work_bytes, "no memory for activations", error) &&
           new_buf(s, &s->past[0], plan->past_bytes, "no memory for the frame before", error) &&
           new_buf(s, &s->past[1], plan->past_bytes, "no memory for the frame before", error) &&
           new_buf(s, &s->state, plan->state_bytes, "no memory for the attention state", error) &&
           new_buf(s, &s->control, sizeof s->settings, "no memory for control", error);
}

struct fw_stream *fw_stream_new(struct fw_plan *plan, GError **error) {
    struct fw_stream *stream = g_new0(struct fw_stream, 1);
    stream->plan = fw_plan_ref(plan);
    stream->reset = TRUE;
    fw_stream_set_cg(stream, CG_TOLERANCE, CG_ITERATIONS);
    if (!allocate(stream, error)) {
        fw_stream_free(stream);
        return NULL;
    }
    if (stream->state)
        stream->settings.state = kn_buf_address(stream->state);
    return stream;
}

void fw_stream_free(struct fw_stream *stream) {
    if (!stream)
        return;
    kn_stream_free(stream->order); /* waits */
    kn_buf_free(stream->work);
    kn_buf_free(stream->past[0]);
    kn_buf_free(stream->past[1]);
    kn_buf_free(stream->state);
    kn_buf_free(stream->control);
    fw_plan_unref(stream->plan);
    g_free(stream);
}

void fw_stream_reset(struct fw_stream *stream) {
    if (!stream->reset)
        stream->stats.resets++;
    stream->reset = TRUE;
    stream->stats.frames = 0;
}

void fw_stream_set_cg(struct fw_stream *stream, float tolerance, guint iterations) {
    stream->settings.cg_tolerance = CLAMP(tolerance, 1e-12f, 1.0f);
    stream->settings.cg_iterations = CLAMP(iterations, 1, 1000);
}

/* ----------------------------------------------------------------------------------------- run */

/* Another plan can take over when all that survives a frame means the same to it. */
static gboolean check_plan(const struct fw_stream *stream, const struct fw_plan *plan,
                           GError **error) {
    const struct fw_plan *own = stream->plan;
    if (plan == own)
        return TRUE;
    if (plan->model != own->model || plan->params.parts != own->params.parts ||
        plan->params.width != own->params.width || plan->params.height != own->params.height)
        return fw_fail(error, FW_ERROR_ARGUMENT,
                       "the plan is of another model, parts or size than the stream's, %d x %d",
                       own->params.width, own->params.height);
    if (plan->past_bytes != own->past_bytes || plan->state_bytes != own->state_bytes)
        return fw_fail(error, FW_ERROR_FAILED, "the two plans keep different states");
    return TRUE;
}

/* Only the first run of a plan that needs more than all before it allocates. */
static gboolean grow_work(struct fw_stream *stream, const struct fw_plan *plan, GError **error) {
    struct kn_buf *larger = NULL;
    if (!stream->work || plan->work_bytes <= kn_buf_bytes(stream->work))
        return TRUE;
    if (!new_buf(stream, &larger, plan->work_bytes, "no memory for activations", error))
        return FALSE;
    kn_buf_free(stream->work);
    stream->work = larger;
    return TRUE;
}

static void *address(const struct kn_buf *buf) {
    return buf ? kn_buf_address(buf) : NULL;
}

static enum kn_status run(struct fw_stream *s, const struct fw_plan *plan, const void *in,
                          void *out, struct kn_err *err) {
    const uint64_t mesa = offsetof(struct kn_control, mesa);
    struct kn_bindings bindings = {.base = {
                                       [KN_SLOT_WORK] = address(s->work),
                                       [KN_SLOT_PAST] = address(s->past[s->newer]),
                                       [KN_SLOT_PRESENT] = address(s->past[!s->newer]),
                                       [KN_SLOT_CONTROL] = address(s->control),
                                       [KN_SLOT_IN] = (void *)in, /* only read through */
                                       [KN_SLOT_OUT] = out,
                                   }};
    enum kn_status status;

    s->settings.t = s->stats.frames;
    s->settings.reset = s->reset;
    status = kn_buf_write(s->control, 0, &s->settings, mesa, err);
    if (status == KN_OK)
        status = kn_exec_run(plan->exec, s->order, &bindings, err);
    if (status == KN_OK)
        status = kn_stream_sync(s->order, err);
    if (status == KN_OK)
        status = kn_buf_read(s->control, mesa, &s->stats.mesa, sizeof s->stats.mesa, err);
    return status;
}

gboolean fw_stream_run(struct fw_stream *stream, struct fw_plan *plan, const void *in, void *out,
                       GError **error) {
    struct kn_err err;
    if (!check_plan(stream, plan, error) || !grow_work(stream, plan, error))
        return FALSE;
    if (run(stream, plan, in, out, &err) != KN_OK) {
        fw_stream_reset(stream);
        return fw_fail_kn(error, "the device failed", &err);
    }
    stream->newer = !stream->newer;
    stream->reset = FALSE;
    stream->stats.frames += (guint64)plan->params.frames;
    stream->stats.frames_total += (guint64)plan->params.frames;
    return TRUE;
}

void fw_stream_stats(const struct fw_stream *stream, struct fw_stream_stats *stats) {
    *stats = stream->stats;
    gboolean attends = (stream->plan->params.parts & FW_MODEL) != 0;
    stats->live_states =
        attends && stats->frames > 0
            ? kn_fenwick_live(stats->frames - 1, stream->plan->model->weights->params.config.levels)
            : 0;
}
