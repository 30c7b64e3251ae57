/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a training step is made of: pictures and noise, the network, the losses, all of it
 * backwards, and the optimiser. The programs are recorded once; what differs from step to step
 * (noise, learning rate) lies in memory that they read.
 */
#include "training.h"

#include <string.h>

#include "kn_size.h"

/* ------------------------------------------------------------------------------------- layouts */

static uint64_t place(uint64_t *end, uint64_t bytes) {
    uint64_t at = *end;
    *end = (at + bytes + FW_ARENA_ALIGN - 1) / FW_ARENA_ALIGN * FW_ARENA_ALIGN;
    return at;
}

static void set_video(struct kn_video *video, int side) {
    *video = (struct kn_video){
        .width = side, .height = side, .components = 3, .sample_bytes = 1, .depth = 8};
    for (int i = 0; i < 3; i++)
        video->component[i] = (struct kn_component){.offset_bytes = (guint8)i, .step_bytes = 3};
    kn_video_set_rgb(video, 0, 255);
}

/* The ranges of fw_learner_params keep the sums here far below 2^63. */
gboolean fw_training_init(struct fw_training *t, const struct fw_learner_params *params) {
    uint64_t end = 2 * sizeof(struct kn_control), clips = (uint64_t)params->batch;
    const uint64_t moment = kn_dtype_bytes(params->moments);

    *t = (struct fw_training){.params = params};
    set_video(&t->video, params->crop);
    place(&end, 0);
    t->control.noise = place(&end, clips * sizeof(struct kn_sample));
    t->control.rounding = place(&end, clips * sizeof(struct kn_sample));
    t->control.missing = place(&end, clips * (uint64_t)params->frames * sizeof(float));
    t->control.adamw = place(&end, sizeof(struct kn_adamw));
    t->control.bytes = end;
    t->values = params->weights->params.bytes / sizeof(float);
    end = 0;
    t->optimizer.first = place(&end, t->values * moment);
    t->optimizer.second = place(&end, t->values * moment);
    t->optimizer.averaged = place(&end, params->averaged ? t->values * sizeof(float) : 0);
    t->optimizer.group = place(&end, t->values / KN_ADAMW_RUN);
    t->optimizer.bytes = end;
    return t->values % KN_ADAMW_RUN == 0;
}

static enum fw_group group_of(const struct fw_learner_params *params, const struct fw_param *p) {
    if (p->internal || p->role == FW_ROLE_LATENT_SCALE)
        return FW_GROUP_FROZEN;
    if (p->role == FW_ROLE_MASK && params->task != FW_TASK_PREDICT)
        return FW_GROUP_FROZEN;
    if (g_str_has_prefix(p->name, "model."))
        return p->decay ? FW_GROUP_TEMPORAL_DECAYED : FW_GROUP_TEMPORAL_PLAIN;
    return p->decay ? FW_GROUP_DECAYED : FW_GROUP_PLAIN;
}

void fw_training_groups(const struct fw_training *t, guint8 *group) {
    const struct fw_params *params = &t->params->weights->params;
    const guint64 bytes = KN_ADAMW_RUN * sizeof(float);

    memset(group, FW_GROUP_FROZEN, t->values / KN_ADAMW_RUN);
    for (gint i = 0; i < params->count; i++) {
        const struct fw_param *p = &params->item[i];
        guint64 end = p->offset + (guint64)p->count * sizeof(float);
        for (guint64 at = p->offset / bytes; at * bytes < end; at++)
            group[at] = (guint8)group_of(t->params, p);
    }
}

/* ------------------------------------------------------------------------------------- tensors */

static struct kn_tensor vector(enum kn_slot slot, uint64_t offset, enum kn_dtype dtype,
                               uint64_t count) {
    const int64_t dim[KN_MAX_RANK] = {(int64_t)count};
    return kn_tensor_dense(slot, offset, dtype, 1, dim);
}

static struct kn_tensor value(int index) {
    return vector(KN_SLOT_OUT, (uint64_t)index * sizeof(double), KN_F64, 1);
}

static struct kn_tensor samples(const struct fw_training *t, uint64_t offset) {
    return vector(KN_SLOT_CONTROL, offset, KN_U8, (uint64_t)t->params->batch);
}

static struct kn_tensor missing(const struct fw_training *t) {
    return vector(KN_SLOT_CONTROL, t->control.missing, KN_F32,
                  (uint64_t)t->params->batch * (uint64_t)t->params->frames);
}

/* ------------------------------------------------------------------------------------- forward */

static struct kn_tensor record_pictures(const struct fw_training *t, struct fw_net *net,
                                        const char *label, int64_t first) {
    struct kn_tensor u = fw_net_work_image(net, net->full, fw_net_images(net), 12);
    FW_RECORD(net, color_in, label,
              &(struct kn_color_in_args){.video = t->video, .out = u, .first = first});
    return u;
}

static void record_noise(const struct fw_training *t, struct fw_net *net, const char *label,
                         const struct kn_tensor *x, const struct kn_tensor *out, uint64_t at) {
    FW_RECORD(net, noise, label,
              &(struct kn_noise_args){.x = *x, .out = *out, .sample = samples(t, at)});
}

/* What the encoder gets. clean: the pictures that should come out. */
static struct kn_tensor record_input(const struct fw_training *t, struct fw_net *net,
                                     const struct kn_tensor *clean) {
    struct kn_tensor x = *clean, u;
    if (t->params->task == FW_TASK_PREDICT)
        x = record_pictures(t, net, "input.color", fw_net_images(net));
    u = fw_net_work_image(net, net->full, fw_net_images(net), 12);
    record_noise(t, net, "input.noise", &x, &u, t->control.noise);
    return u;
}

/* From pictures with noise to 12 channels of output. */
static struct kn_tensor record_network(const struct fw_training *t, struct fw_net *net,
                                       const struct kn_tensor *u) {
    const struct kn_tensor none = {0};
    int64_t images = fw_net_images(net), channels = net->params->config.latent_channels;
    struct kn_tensor z = fw_net_work_image(net, net->full, images, channels), out;

    fw_net_encode(net, u, &none, &z);
    if (t->params->task == FW_TASK_RECONSTRUCT)
        record_noise(t, net, "latents.rounding", &z, &z, t->control.rounding);
    if (t->params->task == FW_TASK_PREDICT)
        FW_RECORD(net, mask, "model.mask",
                  &(struct kn_mask_args){.x = z,
                                         .mask = fw_net_param(net, "model", ".mask"),
                                         .missing = missing(t),
                                         .out = z});
    fw_net_temporal(net, &z, &z, &none);
    out = fw_net_work_image(net, net->full, images, 12);
    fw_net_decode(net, &z, &none, &out);
    return out;
}

void fw_training_record_evaluation(const struct fw_training *t, struct fw_net *net) {
    struct kn_tensor clean = record_pictures(t, net, "clean.color", 0);
    struct kn_tensor u = record_input(t, net, &clean);
    struct kn_tensor out = record_network(t, net, &u);
    FW_RECORD(net, color_out, "decoder.color",
              &(struct kn_color_out_args){.video = t->video, .x = out});
}

/* ------------------------------------------------------------------------------------ backward */

/* Adds up the parts of the loss and writes the gradient of the output. */
static void record_loss(const struct fw_training *t, struct fw_net *net,
                        const struct kn_tensor *out, const struct kn_tensor *clean,
                        const struct kn_tensor *dout) {
    const struct fw_loss *w = &t->params->loss;
    struct kn_loss_args args = {.x = *out, .target = *clean, .lag = net->batch};

    FW_RECORD(net, zero, "loss.zero", &(struct kn_zero_args){.out = *dout});
#define PART(index, name)                                   \
    args.weight = (float)w->name;                           \
    args.value = value(FW_VALUE_LOSS + (index));            \
    args.dx = w->name != 0 ? *dout : (struct kn_tensor){0}; \
    if (w->name != 0 || (index) == 0)                       \
        FW_RECORD(net, name, "loss." #name, &args);
    PART(0, mean_square)
    PART(1, charbonnier)
    PART(2, temporal_difference)
    PART(3, laplacian)
    PART(4, ms_ssim)
#undef PART
}

static void record_backward(const struct fw_training *t, struct fw_net *net,
                            const struct kn_tensor *dout) {
    struct kn_tensor dz =
        fw_net_work_image(net, net->full, fw_net_images(net), net->params->config.latent_channels);
    fw_net_decode_backward(net, dout, &dz);
    fw_net_temporal_backward(net, &dz);
    if (t->params->task == FW_TASK_PREDICT)
        FW_RECORD(net, mask_backward, "model.mask.backward",
                  &(struct kn_mask_backward_args){.dy = dz,
                                                  .missing = missing(t),
                                                  .dmask = fw_net_grad(net, "model", ".mask")});
    fw_net_encode_backward(net, &dz);
    fw_net_release(net, &dz);
}

void fw_training_record_step(const struct fw_training *t, struct fw_net *net) {
    struct kn_tensor clean = record_pictures(t, net, "clean.color", 0);
    struct kn_tensor u = record_input(t, net, &clean);
    struct kn_tensor out = record_network(t, net, &u);
    struct kn_tensor dout = fw_net_work_image(net, net->full, fw_net_images(net), 12);

    record_loss(t, net, &out, &clean, &dout);
    record_backward(t, net, &dout);
}

/* ----------------------------------------------------------------------------------- optimiser */

static struct kn_tensor gradients(const struct fw_training *t, const struct fw_net *net) {
    return vector(KN_SLOT_GRADS, 0, net->full, t->values);
}

void fw_training_record_norm(const struct fw_training *t, struct fw_net *net) {
    FW_RECORD(
        net, square_sum, "gradients.norm",
        &(struct kn_square_sum_args){.x = gradients(t, net), .value = value(FW_VALUE_SQUARES)});
}

void fw_training_record_clear(const struct fw_training *t, struct fw_net *net) {
    FW_RECORD(net, zero, "gradients.zero", &(struct kn_zero_args){.out = gradients(t, net)});
}

void fw_training_record_update(const struct fw_training *t, struct fw_net *net) {
    const struct fw_train_optimizer *o = &t->optimizer;
    enum kn_dtype moments = t->params->moments;
    struct kn_adamw_args args = {
        .param = vector(KN_SLOT_WEIGHTS, 0, KN_F32, t->values),
        .grad = gradients(t, net),
        .first = vector(KN_SLOT_OPTIMIZER, o->first, moments, t->values),
        .second = vector(KN_SLOT_OPTIMIZER, o->second, moments, t->values),
        .group = vector(KN_SLOT_OPTIMIZER, o->group, KN_U8, t->values / KN_ADAMW_RUN),
        .control = vector(KN_SLOT_CONTROL, t->control.adamw, KN_U8, 1),
    };
    if (t->params->averaged)
        args.averaged = vector(KN_SLOT_OPTIMIZER, o->averaged, KN_F32, t->values);
    FW_RECORD(net, adamw, "adamw", &args);
    fw_training_record_clear(t, net);
}
