/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of encoder and decoder, from the end of each side to its start.
 *
 * One tensor holds the gradient of the trunk: every block adds to its input, so what has arrived
 * behind a block already is the gradient of what lies before it, and the block only adds its own
 * share. The trunk's gradient has as many images more as there are clips, in front: there the M and
 * S blocks put what belongs to the frame before the clip, which nobody reads.
 */
#include "network.h"

/* 1x1 filters are matrices in the table. */
static struct kn_tensor as_filters(struct kn_tensor t) {
    if (t.rank != 2)
        return t;
    t.rank = 4;
    t.dim[2] = t.dim[3] = 1;
    t.stride[0] = t.dim[1];
    t.stride[1] = t.stride[2] = t.stride[3] = 1;
    return t;
}

/* Gradients of a convolution's parameters. */
static void record_weights(struct fw_net *net, const char *name, const struct kn_tensor *x,
                           const struct kn_tensor *past, const struct kn_tensor *dy) {
    char label[FW_PARAM_NAME];
    struct kn_conv_backward_weights_args args = {.x = *x, .past = *past, .dy = *dy};
    args.dweight = fw_net_grad(net, name, ".weight");
    if (args.dweight.rank == 4)
        args.dbias = fw_net_grad(net, name, ".bias");
    args.dweight = as_filters(args.dweight);
    g_snprintf(label, sizeof label, "%s.dweight", name);
    FW_RECORD(net, conv_backward_weights, label, &args);
}

/* Gradient of its input, or of its past. */
static void record_data(struct fw_net *net, const char *name, const struct kn_tensor *dy,
                        const struct kn_tensor *dx, gboolean past, gboolean accumulate) {
    char label[FW_PARAM_NAME];
    struct kn_conv_backward_data_args args = {
        .dy = *dy, .dx = *dx, .past = past, .accumulate = accumulate};
    args.weight = as_filters(fw_net_param(net, name, ".weight"));
    g_snprintf(label, sizeof label, "%s.d%s", name, past ? "past" : "x");
    FW_RECORD(net, conv_backward_data, label, &args);
}

static void record_relu(struct fw_net *net, const char *name, const struct kn_tensor *y,
                        const struct kn_tensor *dy) {
    char label[FW_PARAM_NAME];
    g_snprintf(label, sizeof label, "%s.drelu", name);
    FW_RECORD(net, relu_backward, label,
              &(struct kn_relu_backward_args){.y = *y, .dy = *dy, .dx = *dy});
}

/* What conv1 hands back to the block's input and to the frame before it. */
static void record_input(struct fw_net *net, const char *block, const char *conv1, char kind,
                         const struct kn_tensor *inner, const struct kn_tensor *trunk) {
    int64_t images = fw_net_images(net);
    struct kn_tensor now = fw_net_view(trunk, net->batch, images);
    struct kn_tensor before = fw_net_view(trunk, 0, images), shifted;
    char label[FW_PARAM_NAME];

    if (kind != 'S') {
        record_data(net, conv1, inner, &now, FALSE, TRUE);
        if (kind == 'M')
            record_data(net, conv1, inner, &before, TRUE, TRUE);
        return;
    }
    shifted = fw_net_work_image(net, net->half, images, trunk->dim[3]);
    record_data(net, conv1, inner, &shifted, FALSE, FALSE);
    g_snprintf(label, sizeof label, "%s.dshift", block);
    FW_RECORD(net, shift_backward, label,
              &(struct kn_shift_backward_args){
                  .dy = shifted, .dx = *trunk, .channels = trunk->dim[3] / 4, .lag = net->batch});
    fw_net_release(net, &shifted);
}

static void record_block(struct fw_net *net, const char *block, const struct fw_saved_block *saved,
                         const struct kn_tensor *trunk) {
    const struct kn_tensor none = {0};
    struct kn_tensor now = fw_net_view(trunk, net->batch, fw_net_images(net));
    struct kn_tensor inner = fw_net_work_image(net, net->half, now.dim[0], now.dim[3]);
    char conv1[FW_PARAM_NAME], conv2[FW_PARAM_NAME];

    g_snprintf(conv1, sizeof conv1, "%s.conv1", block);
    g_snprintf(conv2, sizeof conv2, "%s.conv2", block);
    record_weights(net, conv2, &saved->inner, &none, &now);
    record_data(net, conv2, &now, &inner, FALSE, FALSE);
    record_relu(net, conv1, &saved->inner, &inner);
    record_weights(net, conv1, &saved->seen, saved->kind == 'M' ? &saved->past : &none, &inner);
    record_input(net, block, conv1, saved->kind, &inner, trunk);
    fw_net_release(net, &inner);
}

/*
 * From the gradient of what a side's last convolution gave, dy, to that of what its first one gave,
 * which is returned (with images in front that mean nothing).
 */
static struct kn_tensor record_side(struct fw_net *net, gboolean encoder,
                                    const struct kn_tensor *dy) {
    const struct fw_saved_side *side = encoder ? &net->saved->encoder : &net->saved->decoder;
    const char *name = encoder ? "encoder" : "decoder";
    const char *last = encoder ? "encoder.to_latent" : "decoder.to_pixels";
    const struct kn_tensor none = {0};
    int64_t images = fw_net_images(net);
    struct kn_tensor trunk =
        fw_net_work_image(net, net->half, images + net->batch, side->out.dim[3]);
    struct kn_tensor now = fw_net_view(&trunk, net->batch, images);
    struct kn_tensor before = fw_net_view(&trunk, 0, net->batch);
    char block[FW_PARAM_NAME];

    FW_RECORD(net, zero, name, &(struct kn_zero_args){.out = before});
    record_weights(net, last, &side->out, &none, dy);
    record_data(net, last, dy, &now, FALSE, FALSE);
    record_relu(net, last, &side->out, &now);
    for (int i = side->blocks - 1; i >= 0; i--) {
        g_snprintf(block, sizeof block, "%s.block%d", name, i);
        record_block(net, block, &side->block[i], &trunk);
    }
    return trunk;
}

void fw_net_encode_backward(struct fw_net *net, const struct kn_tensor *dz) {
    const struct kn_tensor none = {0};
    struct kn_tensor trunk = record_side(net, TRUE, dz);
    struct kn_tensor now = fw_net_view(&trunk, net->batch, fw_net_images(net));

    record_weights(net, "encoder.skip", &net->saved->u, &none, dz);
    record_weights(net, "encoder.stem", &net->saved->encoder.in, &none, &now);
    fw_net_release(net, &trunk);
}

void fw_net_decode_backward(struct fw_net *net, const struct kn_tensor *du,
                            const struct kn_tensor *dz) {
    const struct kn_tensor none = {0};
    struct kn_tensor trunk = record_side(net, FALSE, du);
    struct kn_tensor now = fw_net_view(&trunk, net->batch, fw_net_images(net));

    record_weights(net, "decoder.skip", &net->saved->z, &none, du);
    record_data(net, "decoder.skip", du, dz, FALSE, FALSE);
    record_weights(net, "decoder.from_latent", &net->saved->decoder.in, &none, &now);
    record_data(net, "decoder.from_latent", &now, dz, FALSE, TRUE);
    fw_net_release(net, &trunk);
}
