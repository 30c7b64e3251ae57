/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A network that learns: what it knows, and what it costs. */
#include "learner_internal.h"

#include <string.h>

/* A part of a learner in device memory. */
struct part {
    struct kn_buf *buf;
    uint64_t offset, bytes;
};

static struct part part_of(const struct fw_learner *l, enum fw_learned what) {
    const struct fw_training *t = &l->training;
    const uint64_t moments = t->values * kn_dtype_bytes(l->params.moments);
    const uint64_t values = t->values * fw_learner_value_bytes(l);

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
        return fw_learner_read_buf(part[0].buf, part[0].offset, to, part[0].bytes, error);
    if (!l->params.carry)
        return TRUE;
    uint64_t times = state_parts(l, part);
    memcpy(at, l->time, times);
    return fw_learner_read_buf(part[0].buf, 0, at + times, part[0].bytes, error) &&
           fw_learner_read_buf(part[1].buf, 0, at + times + part[0].bytes, part[1].bytes, error);
}

gboolean fw_learner_write(struct fw_learner *l, enum fw_learned what, const void *from,
                          GError **error) {
    struct part part[2] = {part_of(l, what)};
    const guint8 *at = from;

    if (what != FW_LEARNED_STATE)
        return fw_learner_write_buf(part[0].buf, part[0].offset, from, part[0].bytes, error);
    if (!l->params.carry)
        return TRUE;
    uint64_t times = state_parts(l, part);
    memcpy(l->time, at, times);
    return fw_learner_write_buf(part[0].buf, 0, at + times, part[0].bytes, error) &&
           fw_learner_write_buf(part[1].buf, 0, at + times + part[0].bytes, part[1].bytes, error);
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
    for (int i = 0; i < FW_PROGRAMS; i++)
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

char *fw_learner_profile(const struct fw_learner *l) {
    return fw_describe_profile(l->program[FW_PROGRAM_STEP], l->exec[FW_PROGRAM_STEP]);
}
