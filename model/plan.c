/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans: geometry, bytes, compiled programs. */
#include "model.h"

#include <string.h>

#include "kn_size.h"

#define SIZE_MAX_PIXELS 32768
#define FRAMES_MAX 65536

/* ------------------------------------------------------------------------------------ geometry */

gboolean fw_latents_for(const struct fw_config *config, int width, int height,
                        struct fw_latents *latents) {
    if (width < 1 || height < 1 || width > SIZE_MAX_PIXELS || height > SIZE_MAX_PIXELS)
        return FALSE;
    int side = 2 * config->patch; /* pixels of a patch */
    latents->width = (width + side - 1) / side * config->patch;
    latents->height = (height + side - 1) / side * config->patch;
    latents->channels = config->latent_channels;
    return TRUE;
}

/* Parts must follow each other without a gap. */
static gboolean is_consecutive(unsigned parts) {
    return parts == FW_ENCODER || parts == FW_MODEL || parts == FW_DECODER ||
           parts == (FW_ENCODER | FW_MODEL) || parts == (FW_MODEL | FW_DECODER) ||
           parts == FW_FILTER;
}

static gboolean check_video(const struct fw_plan_params *p, const struct kn_video *video,
                            const char *name, GError **error) {
    if (video->width == p->width && video->height == p->height)
        return TRUE;
    return fw_fail(error, FW_ERROR_ARGUMENT, "%s is %d x %d, the plan %d x %d", name, video->width,
                   video->height, p->width, p->height);
}

static gboolean check_latents(const struct fw_weights *weights, enum kn_dtype dtype,
                              const char *name, GError **error) {
    if (dtype == KN_U8 && !weights->has_scale)
        return fw_fail(error, FW_ERROR_UNSUPPORTED,
                       "%s is uint8, which needs weights with latent.scale", name);
    if (dtype == KN_F32 || dtype == KN_F16 || dtype == KN_U8)
        return TRUE;
    return fw_fail(error, FW_ERROR_ARGUMENT, "%s is %s, allowed are float32, float16 and uint8",
                   name, kn_dtype_bytes(dtype) ? kn_dtype_name(dtype) : "unknown");
}

static gboolean check_params(const struct fw_weights *weights, const struct fw_plan_params *p,
                             GError **error) {
    if (!is_consecutive(p->parts))
        return fw_fail(error, FW_ERROR_ARGUMENT, "parts 0x%x do not follow each other", p->parts);
    if (p->width < 1 || p->height < 1 || p->width > SIZE_MAX_PIXELS || p->height > SIZE_MAX_PIXELS)
        return fw_fail(error, FW_ERROR_ARGUMENT, "size is %d x %d, allowed is 1 to %d", p->width,
                       p->height, SIZE_MAX_PIXELS);
    if (p->frames < 1 || p->frames > FRAMES_MAX)
        return fw_fail(error, FW_ERROR_ARGUMENT, "frames is %d, allowed is 1 to %d", p->frames,
                       FRAMES_MAX);
    gboolean in = p->parts & FW_ENCODER
                      ? check_video(p, &p->video_in, "video_in", error)
                      : check_latents(weights, p->latents_in, "latents_in", error);
    return in &&
           (p->parts & FW_DECODER ? check_video(p, &p->video_out, "video_out", error)
                                  : check_latents(weights, p->latents_out, "latents_out", error));
}

/* --------------------------------------------------------------------------------------- bytes */

static gboolean fill_bytes(const struct fw_net *net, guint64 *bytes, GError **error) {
    uint64_t total = sizeof(struct kn_control);
    bytes[FW_BYTES_WEIGHTS] = net->params->bytes;
    bytes[FW_BYTES_WORK] = net->arena.bytes;
    bytes[FW_BYTES_SCRATCH] = 0;
    bytes[FW_BYTES_FENWICK] = net->fenwick_bytes;
    bytes[FW_BYTES_MESA] = net->mesa_bytes;
    /* PAST and PRESENT, and the block of control that goes with them */
    gboolean ok = kn_size_mul(net->past_bytes, 2, &bytes[FW_BYTES_PAST]) &&
                  kn_size_add(bytes[FW_BYTES_PAST], total, &bytes[FW_BYTES_PAST]);
    total = 0;
    for (int i = 0; ok && i < FW_BYTES_COUNT; i++)
        ok = kn_size_add(total, bytes[i], &total);
    return ok || fw_fail(error, FW_ERROR_NO_SPACE, "the memory of this size exceeds 2^64 bytes");
}

static guint64 sum(const guint64 *bytes) {
    guint64 total = 0;
    for (int i = 0; i < FW_BYTES_COUNT; i++)
        total += bytes[i];
    return total;
}

static gboolean check_limit(const struct fw_plan_params *p, const guint64 *bytes, GError **error) {
    guint64 total = sum(bytes);
    if (p->memory_limit == 0 || total <= p->memory_limit)
        return TRUE;
    return fw_fail(error, FW_ERROR_NO_SPACE,
                   "%d x %d with %d frame%s a run needs %" G_GUINT64_FORMAT
                   " bytes (weights %" G_GUINT64_FORMAT ", work %" G_GUINT64_FORMAT
                   ", state %" G_GUINT64_FORMAT "), the limit is %" G_GUINT64_FORMAT,
                   p->width, p->height, p->frames, p->frames == 1 ? "" : "s", total,
                   bytes[FW_BYTES_WEIGHTS], bytes[FW_BYTES_WORK] + bytes[FW_BYTES_SCRATCH],
                   bytes[FW_BYTES_PAST] + bytes[FW_BYTES_FENWICK] + bytes[FW_BYTES_MESA],
                   p->memory_limit);
}

/* What the device could never hold is refused before it is compiled. */
static gboolean check_device(const struct fw_plan *plan, GError **error) {
    guint64 total = sum(plan->bytes), memory = kn_dev_memory(plan->model->dev);
    if (memory == 0 || total <= memory)
        return TRUE;
    return fw_fail(error, FW_ERROR_NO_SPACE,
                   "%d x %d with %d frame%s a run needs %" G_GUINT64_FORMAT
                   " bytes, %s has %" G_GUINT64_FORMAT,
                   plan->params.width, plan->params.height, plan->params.frames,
                   plan->params.frames == 1 ? "" : "s", total, fw_model_device(plan->model),
                   memory);
}

/* ----------------------------------------------------------------------------------- recording */

/* Records the program of checked params; net->program is the caller's also on failure. */
static gboolean record(const struct fw_model *model, const struct fw_plan_params *params,
                       struct fw_net *net, GError **error) {
    struct fw_latents latents;
    if (!check_params(model->weights, params, error) ||
        !fw_latents_for(&model->weights->params.config, params->width, params->height, &latents))
        return FALSE;
    net->params = &model->weights->params;
    net->plan = params;
    net->dev = model->dev;
    net->full = KN_F32;
    net->half = fw_model_half(model);
    net->frames = params->frames;
    net->batch = 1;
    net->step = params->frames == 1;
    net->height = latents.height;
    net->width = latents.width;
    net->status = kn_program_new(&net->program, &net->err);
    if (net->status == KN_OK)
        fw_net_record(net);
    if (net->status != KN_OK)
        return fw_fail_kn(error, "the network cannot be planned", &net->err);
    return TRUE;
}

gboolean fw_plan_predict(struct fw_model *model, const struct fw_plan_params *params,
                         guint64 *bytes, GError **error) {
    struct fw_net net = {0};
    gboolean ok = record(model, params, &net, error) && fill_bytes(&net, bytes, error);
    kn_program_free(net.program);
    return ok;
}

struct fw_plan *fw_plan_new(struct fw_model *model, const struct fw_plan_params *params,
                            GError **error) {
    struct fw_plan *plan = g_new0(struct fw_plan, 1);
    struct fw_net net = {0};
    gboolean ok;

    plan->refs = 1;
    plan->model = fw_model_hold(model);
    plan->params = *params;
    ok = record(model, &plan->params, &net, error);
    plan->program = net.program;
    if (!ok || !fill_bytes(&net, plan->bytes, error) || !check_limit(params, plan->bytes, error) ||
        !check_device(plan, error))
        goto fail;
    fw_latents_for(&model->weights->params.config, params->width, params->height, &plan->latents);
    plan->work_bytes = net.arena.bytes;
    plan->past_bytes = net.past_bytes;
    plan->state_bytes = net.state_bytes;
    if (kn_exec_new(&plan->exec, model->dev, plan->program, model->on_device, &net.err) != KN_OK) {
        fw_fail_kn(error, "the network cannot be compiled", &net.err);
        goto fail;
    }
    plan->bytes[FW_BYTES_SCRATCH] = kn_exec_scratch_bytes(plan->exec);
    if (!check_limit(params, plan->bytes, error))
        goto fail;
    return plan;
fail:
    fw_plan_unref(plan);
    return NULL;
}

struct fw_plan *fw_plan_ref(struct fw_plan *plan) {
    g_atomic_int_inc(&plan->refs);
    return plan;
}

void fw_plan_unref(struct fw_plan *plan) {
    if (!plan || !g_atomic_int_dec_and_test(&plan->refs))
        return;
    kn_exec_free(plan->exec);
    kn_program_free(plan->program);
    fw_model_release(plan->model);
    g_free(plan);
}

/* ------------------------------------------------------------------------------------- queries */

void fw_plan_latents(const struct fw_plan *plan, struct fw_latents *latents) {
    *latents = plan->latents;
}

guint64 fw_plan_bytes(const struct fw_plan *plan, enum fw_purpose purpose) {
    return (guint)purpose < FW_BYTES_COUNT ? plan->bytes[purpose] : 0;
}

guint64 fw_plan_bytes_total(const struct fw_plan *plan) {
    return sum(plan->bytes);
}

const struct kn_program *fw_plan_program(const struct fw_plan *plan) {
    return plan->program;
}

int fw_plan_frames(const struct fw_plan *plan) {
    return plan->params.frames;
}
