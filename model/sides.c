/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The residual blocks of encoder and decoder, and how they see the frame before.
 *
 * The input of an M or S block is what the stream keeps. One frame: the layer before writes it into
 * PRESENT and the block reads its predecessor from PAST; the caller swaps the two after the run, so
 * nothing is copied. A clip: frames + 1 images in WORK, of which the first is fetched from PAST and
 * the last is left in PRESENT; the past of all frames is a view one image further up. With several
 * clips side by side, "one image" is one of each clip.
 */
#include "network.h"

#include "kn_size.h"

/* Where the input of a block lies. */
struct input {
    struct kn_tensor x, past; /* frames each; past has rank 0 where there is none */
    struct kn_tensor all;     /* clips: frames + 1, else rank 0 */
    uint64_t kept;            /* offset in PAST and PRESENT */
};

static void record_kept(struct fw_net *net, const char *block, const char *what,
                        const struct kn_tensor *x, const struct kn_tensor *out, gboolean fetch) {
    char label[FW_PARAM_NAME];
    struct kn_convert_args args = {.x = *x, .out = *out};
    if (fetch)
        args.control = fw_net_control(); /* zeros after a reset */
    g_snprintf(label, sizeof label, "%s.%s", block, what);
    FW_RECORD(net, convert, label, &args);
}

/* Room for a kept frame. */
static uint64_t take_past(struct fw_net *net, const struct kn_tensor *frame) {
    uint64_t at = net->past_bytes, bytes;
    if (!kn_tensor_extent(frame, &bytes) || !kn_size_align(bytes, FW_ARENA_ALIGN, &bytes) ||
        !kn_size_add(net->past_bytes, bytes, &net->past_bytes))
        fw_net_fail(net, "the memory of the frame before");
    return at;
}

/* The input of a block of that kind ('2' or 0, the end, keep nothing). */
static struct input make_input(struct fw_net *net, const char *block, char kind, int64_t width) {
    struct input in = {0};
    int64_t images = fw_net_images(net);
    if (kind != 'M' && kind != 'S') {
        in.x = fw_net_work_image(net, net->half, images, width);
        return in;
    }
    struct kn_tensor past = fw_net_image(net, KN_SLOT_PAST, 0, net->half, net->batch, width);
    past.offset_bytes = in.kept = take_past(net, &past);
    if (net->step) {
        in.past = in.x = past;
        in.x.slot = KN_SLOT_PRESENT;
        return in;
    }
    in.all = fw_net_work_image(net, net->half, images + net->batch, width);
    in.past = fw_net_view(&in.all, 0, images);
    in.x = fw_net_view(&in.all, net->batch, images);
    struct kn_tensor first = fw_net_view(&in.all, 0, net->batch);
    record_kept(net, block, "past", &past, &first, TRUE);
    return in;
}

/* The block has read its input for the last time. */
static void end_input(struct fw_net *net, const char *block, const struct input *in) {
    if (in->all.rank == 0) {
        fw_net_drop(net, &in->x);
        return;
    }
    struct kn_tensor last = fw_net_view(&in->all, fw_net_images(net), net->batch), kept = last;
    kept.slot = KN_SLOT_PRESENT;
    kept.offset_bytes = in->kept;
    record_kept(net, block, "present", &last, &kept, FALSE);
    fw_net_drop(net, &in->all);
}

void fw_net_conv(struct fw_net *net, const char *name, const struct kn_tensor *x,
                 const struct kn_tensor *past, const struct kn_tensor *residual,
                 const struct kn_tensor *out, gboolean relu) {
    struct kn_conv_args args = {
        .x = *x, .past = *past, .residual = *residual, .out = *out, .relu = relu};
    args.weight = fw_net_param(net, name, ".weight");
    if (args.weight.rank == 2) { /* 1x1: (O, I) is (O, I, 1, 1) */
        args.weight.rank = 4;
        args.weight.dim[2] = args.weight.dim[3] = 1;
        args.weight.stride[0] = args.weight.dim[1];
        args.weight.stride[1] = args.weight.stride[2] = args.weight.stride[3] = 1;
    } else {
        args.bias = fw_net_param(net, name, ".bias");
    }
    if (past->rank != 0 && net->step)
        args.control = fw_net_control();
    FW_RECORD(net, conv, name, &args);
}

/* S: the first quarter of the channels comes from the frame before. */
static struct kn_tensor record_shift(struct fw_net *net, const char *block,
                                     const struct input *in) {
    char label[FW_PARAM_NAME];
    struct kn_tensor out = fw_net_work_image(net, net->half, fw_net_images(net), in->x.dim[3]);
    struct kn_shift_args args = {
        .x = in->x, .past = in->past, .out = out, .channels = in->x.dim[3] / 4};
    if (net->step)
        args.control = fw_net_control();
    g_snprintf(label, sizeof label, "%s.shift", block);
    FW_RECORD(net, shift, label, &args);
    return out;
}

/* Training: what the next block's backward will read. */
static void save_block(struct fw_net *net, gboolean encoder, const struct fw_saved_block *block) {
    struct fw_saved_side *side = encoder ? &net->saved->encoder : &net->saved->decoder;
    side->block[side->blocks++] = *block;
}

/* y = x + conv2(relu(conv1(.))), then relu when it is the last. */
static void record_block(struct fw_net *net, const char *block, char kind, const struct input *in,
                         const struct kn_tensor *out, gboolean last) {
    char name[FW_PARAM_NAME];
    const struct kn_tensor none = {0};
    struct kn_tensor shifted = {0}, inner;

    if (kind == 'S')
        shifted = record_shift(net, block, in);
    inner = fw_net_work_image(net, net->half, fw_net_images(net), in->x.dim[3]);
    g_snprintf(name, sizeof name, "%s.conv1", block);
    fw_net_conv(net, name, kind == 'S' ? &shifted : &in->x, kind == 'M' ? &in->past : &none, &none,
                &inner, TRUE);
    fw_net_drop(net, &shifted);
    g_snprintf(name, sizeof name, "%s.conv2", block);
    fw_net_conv(net, name, &inner, &none, &in->x, out, last);
    fw_net_drop(net, &inner);
    if (net->saved)
        save_block(net, block[0] == 'e',
                   &(struct fw_saved_block){.kind = kind,
                                            .x = in->x,
                                            .past = in->past,
                                            .seen = kind == 'S' ? shifted : in->x,
                                            .inner = inner});
}

struct kn_tensor fw_net_side(struct fw_net *net, gboolean encoder, struct kn_tensor in,
                             gboolean last_use) {
    const struct fw_side *side =
        encoder ? &net->params->config.encoder : &net->params->config.decoder;
    const char *name = encoder ? "encoder" : "decoder";
    const struct kn_tensor none = {0};
    char block[FW_PARAM_NAME], next[FW_PARAM_NAME];

    g_snprintf(block, sizeof block, "%s.block0", name);
    struct input x = make_input(net, block, side->blocks[0], side->width);
    fw_net_conv(net, encoder ? "encoder.stem" : "decoder.from_latent", &in, &none, &none, &x.x,
                FALSE);
    if (last_use)
        fw_net_drop(net, &in);
    for (int i = 0; side->blocks[i]; i++) {
        char kind = side->blocks[i], after = side->blocks[i + 1];
        /* A plain block whose successor keeps nothing works in place. */
        gboolean in_place = kind == '2' && after != 'M' && after != 'S' && !net->saved;
        g_snprintf(block, sizeof block, "%s.block%d", name, i);
        g_snprintf(next, sizeof next, "%s.block%d", name, i + 1);
        struct input y = in_place ? x : make_input(net, next, after, side->width);
        record_block(net, block, kind, &x, &y.x, after == 0);
        if (!in_place)
            end_input(net, block, &x);
        x = y;
    }
    if (net->saved) {
        struct fw_saved_side *saved = encoder ? &net->saved->encoder : &net->saved->decoder;
        saved->in = in;
        saved->out = x.x;
    }
    return x.x;
}
