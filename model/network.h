/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one description of the network: records it as a program for a size, a number of frames and
 * the parts wanted. One frame and a clip differ in two places only: how a block gets at the frame
 * before (memory.c), and which form of the attention runs.
 */
#ifndef FW_MODEL_NETWORK_H
#define FW_MODEL_NETWORK_H

#include "arena.h"
#include "error.h"
#include "params.h"

/* A recording. Failures stick: after the first one nothing more is recorded. */
struct fw_net {
    /* what is asked for */
    const struct fw_params *params;
    const struct fw_plan_params *plan;
    const struct kn_dev *dev;
    enum kn_dtype half;            /* type of convolution bodies and of inputs of linear layers */
    int64_t frames, height, width; /* of the latents */
    /* what comes out */
    struct kn_program *program;
    struct fw_arena arena;                           /* KN_SLOT_WORK */
    uint64_t past_bytes;                             /* of each of KN_SLOT_PAST and _PRESENT */
    uint64_t state_bytes, fenwick_bytes, mesa_bytes; /* state: the two together */
    enum kn_status status;
    struct kn_err err;
};

/* Records into net->program. */
void fw_net_record(struct fw_net *net);

/* ------------------------------------------------------------------------ shared by its sources */

/* kn_op() unless something failed before. */
#define FW_RECORD(net, op, label, ...)                                                  \
    do {                                                                                \
        if ((net)->status == KN_OK)                                                     \
            (net)->status = kn_##op((net)->program, label, (__VA_ARGS__), &(net)->err); \
    } while (0)

void fw_net_fail(struct fw_net *net, const char *what);

/* Tensors: (frames, height, width, channels) and (rows, columns). */
struct kn_tensor fw_net_image(const struct fw_net *net, enum kn_slot slot, uint64_t offset,
                              enum kn_dtype dtype, int64_t frames, int64_t channels);
struct kn_tensor fw_net_work_image(struct fw_net *net, enum kn_dtype dtype, int64_t frames,
                                   int64_t channels);
struct kn_tensor fw_net_work_matrix(struct fw_net *net, enum kn_dtype dtype, int64_t rows,
                                    int64_t columns);
/* Ends the life of a tensor of KN_SLOT_WORK; others are left alone. */
void fw_net_drop(struct fw_net *net, const struct kn_tensor *tensor);

/* A parameter by its name in two parts, in its own shape. */
struct kn_tensor fw_net_param(const struct fw_net *net, const char *prefix, const char *suffix);
struct kn_tensor fw_net_control(void);

/* sides.c: the blocks of one side of the autoencoder. in: (frames, height, width, I). Returns
 * relu(blocks(first(in))); in is dropped when last_use. */
struct kn_tensor fw_net_side(struct fw_net *net, gboolean encoder, struct kn_tensor in,
                             gboolean last_use);
/* A convolution by name, 3x3 or (weight of rank 2) 1x1 without bias. residual may have rank 0. */
void fw_net_conv(struct fw_net *net, const char *name, const struct kn_tensor *x,
                 const struct kn_tensor *past, const struct kn_tensor *residual,
                 const struct kn_tensor *out, gboolean relu);

/* temporal.c: out = z + model(z). out may be z; half may have rank 0. */
void fw_net_temporal(struct fw_net *net, const struct kn_tensor *z, const struct kn_tensor *out,
                     const struct kn_tensor *half);

#endif
