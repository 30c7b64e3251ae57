/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The network from end to end: which parts, and what lies between them. */
#include "network.h"

#include <stdio.h>

/* ------------------------------------------------------------------------------------- tensors */

void fw_net_fail(struct fw_net *net, const char *what) {
    if (net->status != KN_OK)
        return;
    net->status = net->err.code = KN_ERR_RANGE;
    snprintf(net->err.msg, sizeof net->err.msg, "%s exceeds what can be counted", what);
}

struct kn_tensor fw_net_image(const struct fw_net *net, enum kn_slot slot, uint64_t offset,
                              enum kn_dtype dtype, int64_t frames, int64_t channels) {
    const int64_t dim[4] = {frames, net->height, net->width, channels};
    return kn_tensor_dense(slot, offset, dtype, 4, dim);
}

/* Gives a dense tensor its place in KN_SLOT_WORK. */
static struct kn_tensor place(struct fw_net *net, struct kn_tensor tensor) {
    uint64_t bytes;
    if (!kn_tensor_extent(&tensor, &bytes) ||
        !fw_arena_take(&net->arena, bytes, &tensor.offset_bytes))
        fw_net_fail(net, "the memory of activations");
    return tensor;
}

struct kn_tensor fw_net_work_image(struct fw_net *net, enum kn_dtype dtype, int64_t frames,
                                   int64_t channels) {
    return place(net, fw_net_image(net, KN_SLOT_WORK, 0, dtype, frames, channels));
}

struct kn_tensor fw_net_work_matrix(struct fw_net *net, enum kn_dtype dtype, int64_t rows,
                                    int64_t columns) {
    const int64_t dim[4] = {rows, columns};
    return place(net, kn_tensor_dense(KN_SLOT_WORK, 0, dtype, 2, dim));
}

void fw_net_release(struct fw_net *net, const struct kn_tensor *tensor) {
    if (tensor->rank != 0 && tensor->slot == KN_SLOT_WORK)
        fw_arena_give(&net->arena, tensor->offset_bytes);
}

void fw_net_drop(struct fw_net *net, const struct kn_tensor *tensor) {
    if (!net->saved)
        fw_net_release(net, tensor);
}

int64_t fw_net_images(const struct fw_net *net) {
    return net->frames * net->batch;
}

struct kn_tensor fw_net_view(const struct kn_tensor *all, int64_t first, int64_t images) {
    struct kn_tensor view = *all;
    view.dim[0] = images;
    view.offset_bytes += (uint64_t)(first * all->stride[0]) * (uint64_t)kn_dtype_bytes(all->dtype);
    return view;
}

/* The arena's layout is that of f32; wider values spread it evenly. */
static struct kn_tensor parameter(const struct fw_net *net, enum kn_slot slot, const char *prefix,
                                  const char *suffix) {
    const struct fw_param *param = fw_params_get(net->params, prefix, suffix);
    uint64_t offset = param->offset / sizeof(float) * kn_dtype_bytes(net->full);
    return kn_tensor_dense(slot, offset, net->full, param->rank, param->dim);
}

struct kn_tensor fw_net_param(const struct fw_net *net, const char *prefix, const char *suffix) {
    return parameter(net, KN_SLOT_WEIGHTS, prefix, suffix);
}

struct kn_tensor fw_net_grad(const struct fw_net *net, const char *prefix, const char *suffix) {
    return parameter(net, KN_SLOT_GRADS, prefix, suffix);
}

struct kn_tensor fw_net_control(void) {
    const int64_t one[4] = {1};
    return kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_U8, 1, one);
}

/* --------------------------------------------------------------------------------------- parts */

static gboolean has(const struct fw_net *net, enum fw_parts part) {
    return (net->plan->parts & part) != 0;
}

/* Between f32 and the type of latents that go in or out. */
static void record_convert(struct fw_net *net, const char *label, const struct kn_tensor *x,
                           const struct kn_tensor *out) {
    struct kn_convert_args args = {.x = *x, .out = *out};
    if ((x->dtype == KN_U8) != (out->dtype == KN_U8))
        args.scale = fw_net_param(net, "latent", ".scale");
    FW_RECORD(net, convert, label, &args);
}

void fw_net_encode(struct fw_net *net, const struct kn_tensor *u, const struct kn_tensor *half,
                   const struct kn_tensor *z) {
    const struct kn_tensor none = {0};
    gboolean low = half->rank != 0;
    struct kn_tensor y = fw_net_side(net, TRUE, low ? *half : *u, low);

    if (net->saved)
        net->saved->u = *u;
    fw_net_conv(net, "encoder.skip", u, &none, &none, z, FALSE);
    fw_net_conv(net, "encoder.to_latent", &y, &none, z, z, FALSE);
    fw_net_drop(net, &y);
}

/* Pictures to z. */
static void record_encoder(struct fw_net *net, const struct kn_tensor *z) {
    int64_t images = fw_net_images(net);
    struct kn_tensor u = fw_net_work_image(net, net->full, images, 12), half = {0};

    if (net->half != net->full)
        half = fw_net_work_image(net, net->half, images, 12);
    FW_RECORD(net, color_in, "encoder.color",
              &(struct kn_color_in_args){.video = net->plan->video_in, .out = u, .half = half});
    fw_net_encode(net, &u, &half, z);
    fw_net_drop(net, &u);
}

/*
 * Alpha passes by the network: it can be copied when the picture that goes in has it in the same
 * place.
 */
static gboolean can_copy_alpha(const struct fw_plan_params *plan) {
    const struct kn_video *in = &plan->video_in, *out = &plan->video_out;
    return plan->parts == FW_FILTER && in->alpha && out->alpha &&
           in->sample_bytes == out->sample_bytes && in->depth == out->depth &&
           in->component[3].plane == out->component[3].plane &&
           in->component[3].offset_bytes == out->component[3].offset_bytes &&
           in->component[3].step_bytes == out->component[3].step_bytes &&
           in->component[3].shift == out->component[3].shift;
}

void fw_net_decode(struct fw_net *net, const struct kn_tensor *z, const struct kn_tensor *half,
                   const struct kn_tensor *u) {
    const struct kn_tensor none = {0};
    gboolean low = half->rank != 0;
    struct kn_tensor y = fw_net_side(net, FALSE, low ? *half : *z, low);

    if (net->saved)
        net->saved->z = *z;
    fw_net_conv(net, "decoder.skip", z, &none, &none, u, FALSE);
    fw_net_conv(net, "decoder.to_pixels", &y, &none, u, u, FALSE);
    fw_net_drop(net, &y);
}

/* z to pictures. */
static void record_decoder(struct fw_net *net, const struct kn_tensor *z,
                           const struct kn_tensor *half) {
    struct kn_tensor u = fw_net_work_image(net, net->full, fw_net_images(net), 12);

    fw_net_decode(net, z, half, &u);
    FW_RECORD(net, color_out, "decoder.color",
              &(struct kn_color_out_args){
                  .video = net->plan->video_out, .x = u, .copy_alpha = can_copy_alpha(net->plan)});
    fw_net_drop(net, &u);
}

/* ----------------------------------------------------------------------------------- the whole */

/* The caller's latents that go in, as f32. */
static struct kn_tensor take_latents(struct fw_net *net) {
    int64_t channels = net->params->config.latent_channels;
    struct kn_tensor in =
        fw_net_image(net, KN_SLOT_IN, 0, net->plan->latents_in, fw_net_images(net), channels);
    if (in.dtype == KN_F32)
        return in;
    struct kn_tensor z = fw_net_work_image(net, net->full, fw_net_images(net), channels);
    record_convert(net, "latents.in", &in, &z);
    return z;
}

/* Where the part named last writes z: straight to the caller when it is the end and the type fits.
 */
static struct kn_tensor latents_place(struct fw_net *net, unsigned later) {
    int64_t channels = net->params->config.latent_channels;
    if ((net->plan->parts & later) == 0 && net->plan->latents_out == KN_F32)
        return fw_net_image(net, KN_SLOT_OUT, 0, net->full, fw_net_images(net), channels);
    return fw_net_work_image(net, net->full, fw_net_images(net), channels);
}

static void record_temporal(struct fw_net *net, struct kn_tensor *z, struct kn_tensor *half) {
    gboolean to_caller = !has(net, FW_DECODER) && net->plan->latents_out == KN_F32;
    gboolean in_place = z->slot == KN_SLOT_WORK && !to_caller;
    struct kn_tensor out = in_place ? *z : latents_place(net, FW_DECODER);

    if (has(net, FW_DECODER) && net->half != net->full)
        *half = fw_net_work_image(net, net->half, fw_net_images(net),
                                  net->params->config.latent_channels);
    fw_net_temporal(net, z, &out, half);
    if (!in_place)
        fw_net_drop(net, z);
    *z = out;
}

void fw_net_record(struct fw_net *net) {
    int64_t channels = net->params->config.latent_channels;
    struct kn_tensor z, half = {0};

    if (has(net, FW_ENCODER)) {
        z = latents_place(net, FW_MODEL | FW_DECODER);
        record_encoder(net, &z);
    } else {
        z = take_latents(net);
    }
    if (has(net, FW_MODEL))
        record_temporal(net, &z, &half);
    if (has(net, FW_DECODER)) {
        if (net->half != net->full && half.rank == 0) {
            half = fw_net_work_image(net, net->half, fw_net_images(net), channels);
            record_convert(net, "decoder.half", &z, &half);
        }
        record_decoder(net, &z, &half);
    } else if (net->plan->latents_out != KN_F32) {
        struct kn_tensor out =
            fw_net_image(net, KN_SLOT_OUT, 0, net->plan->latents_out, fw_net_images(net), channels);
        record_convert(net, "latents.out", &z, &out);
    }
    fw_net_drop(net, &z);
}
