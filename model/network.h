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
    enum kn_dtype
        full; /* of parameters, skips, latents and tokens: f32, f64 in tests of gradients */
    enum kn_dtype half;            /* of convolution bodies and of inputs of linear layers */
    int64_t frames, height, width; /* of the latents; frames: of a clip */
    int64_t batch;                 /* clips side by side; images are in the order (frame, clip) */
    gboolean step;                 /* one frame of a stream; FALSE: clips */
    struct fw_saved *saved; /* training: activations stay alive and are listed here; else NULL */
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

/* ------------------------------------------------------------- what backward needs of forward */

struct fw_saved_block {
    char kind;
    struct kn_tensor x, past; /* input; past: rank 0 for a plain block */
    struct kn_tensor seen;    /* what conv1 read: x, or x shifted */
    struct kn_tensor inner;   /* after conv1 and its ReLU */
};

struct fw_saved_side {
    struct kn_tensor in, out; /* of the first convolution; of the last block, after its ReLU */
    struct fw_saved_block block[FW_MAX_BLOCKS];
    int blocks;
};

#define FW_EPSILON 1e-5f /* of every norm */

/* The fused projection of an attention layer and where its columns start. */
struct fw_projection {
    struct kn_tensor all; /* (rows, columns) */
    int64_t dim, heads, extra, gate, third, z;
};

struct fw_saved_layer {
    char name[FW_PARAM_NAME];
    gboolean mesa;
    struct kn_tensor m, y, o, solution, gated; /* input, its norm; attention; after the gate */
    struct fw_projection p;
    uint64_t state_offset; /* of its attention */
};

#define FW_MAX_LAYERS 32 /* Fenwick and Mesa each count */

struct fw_saved {
    struct fw_saved_side encoder, decoder;
    struct kn_tensor u, z;      /* 12 channels in; latents as the decoder sees them */
    struct kn_tensor tokens, m; /* model.in's input, model.out's input */
    struct fw_saved_layer layer[FW_MAX_LAYERS];
    int layers;
};

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
/* Ends the life of a tensor of KN_SLOT_WORK unless training keeps it; others are left alone. */
void fw_net_drop(struct fw_net *net, const struct kn_tensor *tensor);
/* The same for what backward no longer needs. */
void fw_net_release(struct fw_net *net, const struct kn_tensor *tensor);
int64_t fw_net_images(const struct fw_net *net); /* frames x batch */
/* Part of the images of a tensor. */
struct kn_tensor fw_net_view(const struct kn_tensor *all, int64_t first, int64_t images);
/* Columns of a projection as (sequences, frames, heads, each), or without each when it is 0. */
struct kn_tensor fw_net_columns(const struct fw_net *net, const struct kn_tensor *all,
                                int64_t first, int64_t heads, int64_t each);

/* The columns of a projection that gate its attention. */
struct kn_tensor fw_net_z_columns(const struct fw_projection *p);

/* A parameter by its name in two parts, in its own shape; fw_net_grad: its gradient. */
struct kn_tensor fw_net_param(const struct fw_net *net, const char *prefix, const char *suffix);
struct kn_tensor fw_net_grad(const struct fw_net *net, const char *prefix, const char *suffix);
struct kn_tensor fw_net_control(void);

/* sides.c: the blocks of one side of the autoencoder. in: (frames, height, width, I). Returns
 * relu(blocks(first(in))); in is dropped when last_use. */
struct kn_tensor fw_net_side(struct fw_net *net, gboolean encoder, struct kn_tensor in,
                             gboolean last_use);
/* A convolution by name, 3x3 or (weight of rank 2) 1x1 without bias. residual may have rank 0. */
void fw_net_conv(struct fw_net *net, const char *name, const struct kn_tensor *x,
                 const struct kn_tensor *past, const struct kn_tensor *residual,
                 const struct kn_tensor *out, gboolean relu);

/* network.c: 12 channels to latents, and back. half: the input once more in the type of convolution
 * bodies; rank 0 when that is the input's. */
void fw_net_encode(struct fw_net *net, const struct kn_tensor *u, const struct kn_tensor *half,
                   const struct kn_tensor *z);
void fw_net_decode(struct fw_net *net, const struct kn_tensor *z, const struct kn_tensor *half,
                   const struct kn_tensor *u);

/*
 * The same backwards, from what forward saved. dz, du: gradients; fw_net_decode_backward() writes
 * dz, fw_net_temporal_backward() turns the gradient of its output into that of its input.
 */
void fw_net_encode_backward(struct fw_net *net, const struct kn_tensor *dz);
void fw_net_decode_backward(struct fw_net *net, const struct kn_tensor *du,
                            const struct kn_tensor *dz);
void fw_net_temporal_backward(struct fw_net *net, const struct kn_tensor *dz);

/* temporal.c: out = z + model(z). out may be z; half may have rank 0. */
void fw_net_temporal(struct fw_net *net, const struct kn_tensor *z, const struct kn_tensor *out,
                     const struct kn_tensor *half);

#endif
