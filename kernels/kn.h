/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kn: arithmetic on buffers.
 *
 * This is the only public header of kernels/. It knows nothing of video files, networks or
 * GStreamer: it offers one table of operations on tensors, and devices that run them. A caller
 *
 *   1. opens a device                                   kn_dev_open()
 *   2. records a list of operations into a program      kn_program_new(), kn_conv() ...
 *   3. compiles it for the device and a set of weights  kn_exec_new()
 *   4. runs it, as often as wanted, over bound memory   kn_exec_run()
 *
 * Recording is the one validating front end: every condition that this header calls a "must" is
 * checked there, answered with a status and a message that holds the values found, and never
 * checked again by an implementation. What a device cannot run is said by kn_exec_new(), never in
 * the middle of a stream. Nothing in kernels/ aborts, exits or prints.
 *
 * Devices: "ref" is the truth (plain C, double accumulation, naive forms); "cpu" overlays it with
 * oneDNN and tuned C; "cuda" is a module of its own that is opened at run time.
 *
 * Conventions
 *   - Sizes are counted in elements unless a name ends in _bytes.
 *   - Images are NHWC: (frames, height, width, channels), channels contiguous; frames are time.
 *   - Tensors name memory by slot and offset; slots are bound to addresses only when a program
 *     runs, so one compiled program serves many streams.
 *   - Thread-safety is stated per object. Functions without a note may be called from any thread.
 */
#ifndef KN_H
#define KN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define KN_MUST_CHECK __attribute__((warn_unused_result))
#define KN_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define KN_MUST_CHECK
#define KN_PRINTF(f, a)
#endif

/* --------------------------------------------------------------------------------------- status */

/* What a fallible function returns. KN_OK is 0. */
enum kn_status {
    KN_OK = 0,
    KN_ERR_ARG,         /* an argument breaks a documented condition */
    KN_ERR_RANGE,       /* a size overflows or exceeds a documented limit */
    KN_ERR_NOMEM,       /* memory refused; kn_err.wanted_bytes says how much */
    KN_ERR_NO_DEVICE,   /* no such device on this machine */
    KN_ERR_LIBRARY,     /* a driver or library is missing or too old; the message names it */
    KN_ERR_UNSUPPORTED, /* the device cannot run this operation at this shape or type */
    KN_ERR_LOST,        /* the device failed and will run nothing more */
    KN_ERR_FAILED,      /* a library call failed; the message names it */
    KN_ERR_CANCELLED,   /* kn_stream_cancel() ended the run before its last operation */
};

/* Short name of a status, never NULL: "ok", "no memory" ... Static storage. */
const char *kn_status_name(enum kn_status status);

/*
 * One failure, in memory of the caller: needs no allocation, so it works when memory is out.
 * Functions that take a kn_err accept NULL. It is written only on failure.
 */
struct kn_err {
    enum kn_status code;
    uint64_t wanted_bytes;    /* KN_ERR_NOMEM: bytes asked for, else 0 */
    uint64_t available_bytes; /* KN_ERR_NOMEM: bytes free where known, else 0 */
    char msg[240];            /* one line, no trailing period: what was wanted, what was found */
};

/* --------------------------------------------------------------------------- tensor description */

/*
 * KN_F64 exists for tests of gradients and for sums: values of KN_F64 tensors named "value" are
 * written by every device, all other operands may be KN_F64 on "ref" only.
 */
enum kn_dtype { KN_F32 = 0, KN_F16, KN_BF16, KN_U8, KN_F64, KN_DTYPE_COUNT };

/* Bytes of one element; 0 for a value outside the enum. */
size_t kn_dtype_bytes(enum kn_dtype dtype);
/* "float32", "float16", "bfloat16", "uint8", "float64"; static storage. */
const char *kn_dtype_name(enum kn_dtype dtype);

#define KN_MAX_RANK 4

/*
 * The memory that a tensor lies in. A slot is bound to an address for each run (struct
 * kn_bindings), except KN_SLOT_WEIGHTS of an exec made with weights: those are fixed because
 * devices pack them into their own layout. An exec made without weights reads the parameters of
 * each run from where KN_SLOT_WEIGHTS is bound: so does training, which changes them.
 */
enum kn_slot {
    KN_SLOT_WEIGHTS = 0, /* parameters, read only */
    KN_SLOT_WORK,        /* activations; contents do not survive a run */
    KN_SLOT_PAST,        /* what convolutions keep of the frame before: read */
    KN_SLOT_PRESENT, /* the same for the next frame: written. The caller swaps the two between runs
                      */
    KN_SLOT_CONTROL, /* array of struct kn_control, one per stream of the batch */
    KN_SLOT_IN,      /* the caller's input: tensor data, or an array of struct kn_picture */
    KN_SLOT_OUT,     /* the caller's output, likewise; losses and sums when training */
    KN_SLOT_GRADS,   /* gradients of the parameters, laid out as KN_SLOT_WEIGHTS */
    KN_SLOT_OPTIMIZER, /* what the optimiser keeps: moments, averaged weights, groups */
    KN_SLOT_COUNT
};

/*
 * A strided view: element (i0, i1, ...) lies at slot base + offset_bytes + dtype size * sum(i *
 * stride). rank 0 means "no tensor" and is how optional operands are left out. Dims must be >= 1.
 * Strides are in elements, must be >= 0, and the last one must be 1. offset_bytes must be a
 * multiple of the element's size, and no element may end beyond 2^63 bytes.
 */
struct kn_tensor {
    enum kn_dtype dtype;
    enum kn_slot slot;
    int rank;
    int64_t dim[KN_MAX_RANK];
    int64_t stride[KN_MAX_RANK];
    uint64_t offset_bytes;
};

/*
 * A dense tensor of the given rank at an offset of a slot. dims beyond rank are ignored. Does not
 * check: recording does.
 */
struct kn_tensor kn_tensor_dense(enum kn_slot slot, uint64_t offset_bytes, enum kn_dtype dtype,
                                 int rank, const int64_t dim[KN_MAX_RANK]);
/* Elements in a tensor; false on overflow of int64_t or a negative dim. */
KN_MUST_CHECK bool kn_tensor_count(const struct kn_tensor *t, int64_t *count);
/* Bytes from offset_bytes to the end of the last element; false on overflow. */
KN_MUST_CHECK bool kn_tensor_extent(const struct kn_tensor *t, uint64_t *bytes);

/* -------------------------------------------------------------------------------------- control */

/* What the conjugate gradient of the Mesa operations did; added up over rows, frames and layers. */
struct kn_mesa_stats {
    uint64_t rows;       /* systems solved */
    uint64_t iterations; /* matrix-vector products over all rows */
    uint64_t capped;     /* rows that ended by cg_iterations with a residual above cg_tolerance */
    uint32_t max_iterations; /* most that one row took */
    float worst_residual;    /* largest |q - A x| / |q| with which a row ended, by the recurrence */
};

/*
 * What changes from frame to frame and from user to user. It lies in device memory, so that
 * compiled programs and captured graphs survive new settings and several streams can share a
 * launch: an operation whose batch holds n rows and whose control tensor has b entries uses entry
 * row / (n / b).
 */
struct kn_control {
    uint64_t t; /* frames seen before the first frame of this run */
    void
        *state; /* device address of this stream's attention state; NULL: none is carried, t is 0 */
    float cg_tolerance;     /* Mesa stops a row at |residual| <= cg_tolerance * |q| */
    uint32_t cg_iterations; /* ... or after this many iterations */
    uint32_t reset;         /* non-zero: forget everything; this run starts with t = 0 */
    uint32_t reserved;      /* 0 */
    struct kn_mesa_stats
        mesa; /* written by the Mesa operations; the caller clears it when it likes */
};

/* How a noise operation treats the frames of one clip of a batch. */
enum kn_noise_kind {
    KN_NOISE_NONE = 0,
    KN_NOISE_GAUSSIAN, /* x + strength n */
    KN_NOISE_POISSON,  /* x + sqrt(strength^2 + gain max(0, (x + 1) / 2)) n: sensor and photons */
    KN_NOISE_COMPRESSION, /* 8 x 8 blocks lose fine cosine coefficients, as in video coding */
    KN_NOISE_UNIFORM      /* x + strength (u - 1/2), u uniform in [0, 1): rounding of latents */
};

/* One per clip, in KN_SLOT_CONTROL. */
struct kn_sample {
    uint64_t key;      /* of the random numbers: value i of the clip depends on key and i only */
    int32_t kind;      /* enum kn_noise_kind */
    float strength;    /* in units of x; COMPRESSION: quantiser step of the finest coefficients */
    float gain;        /* POISSON */
    uint32_t reserved; /* 0 */
};

#define KN_ADAMW_GROUPS 8
#define KN_ADAMW_RUN 64 /* neighbouring parameters that are in one group */

/* What an adamw operation does this time, in KN_SLOT_CONTROL. */
struct kn_adamw {
    float rate[KN_ADAMW_GROUPS];  /* learning rate of each group of parameters; 0: left alone */
    float decay[KN_ADAMW_GROUPS]; /* weight decay, decoupled: param -= rate * decay * param */
    float beta1, beta2, epsilon;
    float correction1, correction2; /* 1 - beta1^step, 1 - beta2^step */
    float scale;                    /* multiplies every gradient: clipping, accumulation */
    float average;                  /* averaged = average * averaged + (1 - average) * param */
    uint32_t step;                  /* for the rounding of bf16 moments */
};

/* ---------------------------------------------------------------------------------------- video */

#define KN_MAX_PLANES 4

/* Planes of one picture in memory. Strides are in bytes and may be padded or negative. */
struct kn_picture {
    void *plane[KN_MAX_PLANES];
    ptrdiff_t stride_bytes[KN_MAX_PLANES];
};

/* Where one component of a pixel lies. */
struct kn_component {
    uint8_t plane;        /* index into kn_picture.plane */
    uint8_t offset_bytes; /* of the first sample in a row; multiple of sample_bytes */
    uint8_t step_bytes;   /* from one sample to the next; multiple of sample_bytes */
    uint8_t shift;        /* the value is (word >> shift); 6 for P010 */
};

/*
 * Raw video of any of the usual formats: 8 bit, or up to 16 bit in little-endian words; RGB, YUV or
 * grey; packed or planar; chroma subsampled by powers of two. Chroma is taken from the nearest
 * sample going in and averaged over the block going out, which are exact inverses: an unchanged
 * picture keeps its chroma.
 *
 * The colour matrices hold matrix, range and depth in one: rgb = to_rgb * (c0, c1, c2, 1) with rgb
 * in [-1, 1] and c in code values, and back. Use kn_video_set_rgb() and kn_video_set_yuv() to fill
 * them.
 */
struct kn_video {
    int32_t width, height;            /* pixels, >= 1 */
    int32_t components;               /* 1 (grey) or 3 */
    bool alpha;                       /* component[3] is an alpha channel */
    uint8_t sample_bytes;             /* 1 or 2 */
    uint8_t depth;                    /* bits per value, 8..16 */
    uint8_t sub_x, sub_y;             /* log2 of the subsampling of components 1 and 2; 0..2 */
    struct kn_component component[4]; /* R,G,B,A or Y,U,V,A or Y */
    float to_rgb[3][4];
    float from_rgb[3][4];
};

/* Fills the matrices for RGB code values [black, white], e.g. 0..255 or 16..235 at depth 8. */
void kn_video_set_rgb(struct kn_video *video, double black, double white);
/*
 * Fills the matrices for YUV (ITU-R BT.601/709/2020 form) from the luma weights kr and kb;
 * full_range says that codes use the whole depth. With components == 1 only luma is used and R = G
 * = B.
 */
void kn_video_set_yuv(struct kn_video *video, double kr, double kb, bool full_range);

/* ----------------------------------------------------------------------------------- operations */

/*
 * Operands of the operations, one struct each. Every tensor may lie in any slot unless said
 * otherwise. "optional" tensors are left out with rank 0. Formulas and papers: docs/mathematics.md,
 * one section per operation. What holds for all of them:
 *   - Outputs must not overlap inputs or each other except where allowed, their elements must not
 *     overlap among themselves, and they must not lie in KN_SLOT_WEIGHTS or KN_SLOT_CONTROL.
 *     Columns of one matrix (equal row strides) do not overlap.
 *   - Tensors in KN_SLOT_WEIGHTS by demand are dense.
 *   - Images, that is tensors (T, h, w, C), must be dense inside a frame; the stride of T is free.
 *   - Matrices, that is tensors (M, columns), may have any row stride that keeps rows apart.
 *   - control must be a dense tensor of rank 1 in KN_SLOT_CONTROL, aligned as struct kn_control;
 *     its dtype means nothing.
 */

/*
 * color_in: video frames to network input.
 *   out[t, y, x, 4c + 2r + s] = colour c in [-1, 1] of pixel (2y + r, 2x + s)      (pixel-unshuffle
 * by 2) Pixels beyond the picture repeat its last column and row. Input: KN_SLOT_IN holds frames
 * kn_picture.
 */
struct kn_color_in_args {
    struct kn_video video;
    struct kn_tensor out;  /* (T, h, w, 12) f32; 2h >= video.height, 2w >= video.width */
    struct kn_tensor half; /* optional: the same once more in bf16 or f16 */
    int64_t first;         /* index of the first picture in KN_SLOT_IN, >= 0 */
};

/*
 * color_out: the inverse, clamped to code values and rounded to nearest. Output: KN_SLOT_OUT holds
 * frames kn_picture. With video.alpha: copies alpha from the picture in KN_SLOT_IN when copy_alpha,
 * else writes opaque.
 */
struct kn_color_out_args {
    struct kn_video video;
    struct kn_tensor x; /* (T, h, w, 12) f32 */
    bool copy_alpha;    /* KN_SLOT_IN must then hold pictures of the same kn_video layout */
};

/*
 * conv: out = act(sum_k W[:, :I] x  (+ W[:, I:] past)  + bias (+ residual)); kernel 3x3 with zero
 * padding 1, or 1x1. With past this is a causal 3-D convolution of temporal extent 2 (MemBlock of
 * TAEHV). past is the same channels one frame earlier. For T > 1 it is a view one frame back in the
 * same memory.
 */
struct kn_conv_args {
    struct kn_tensor x;        /* (T, h, w, I) f32, f16 or bf16 */
    struct kn_tensor past;     /* optional, as x */
    struct kn_tensor weight;   /* (O, I or 2I, k, k) f32 in KN_SLOT_WEIGHTS, k = 1 or 3 */
    struct kn_tensor bias;     /* optional (O) f32 in KN_SLOT_WEIGHTS */
    struct kn_tensor residual; /* optional (T, h, w, O), dtype of out; may be out itself */
    struct kn_tensor out;      /* (T, h, w, O) f32, f16 or bf16 */
    struct kn_tensor
        control; /* optional (1) control: when its reset is set, past counts as zero. Needs T = 1 */
    bool relu;   /* act = max(0, .), after the residual */
};

/*
 * shift: out[..., :n] = past[..., :n], out[..., n:] = x[..., n:], n = channels: the temporal shift
 * of TSM.
 */
struct kn_shift_args {
    struct kn_tensor x;       /* (T, h, w, C) */
    struct kn_tensor past;    /* as x */
    struct kn_tensor out;     /* as x; may be x */
    struct kn_tensor control; /* as in conv */
    int64_t channels;         /* 1 .. C */
};

/*
 * convert: out = x in another type. f32 to u8 with scale: out = clamp(round(x / scale[c]), -128,
 * 127) + 128, and back, c being the last axis. With control and its reset set, out is zero (a fresh
 * past).
 */
struct kn_convert_args {
    struct kn_tensor x;
    struct kn_tensor out;   /* same dims */
    struct kn_tensor scale; /* (C) f32 > 0 in KN_SLOT_WEIGHTS; given exactly when one side is u8 */
    struct kn_tensor control; /* optional (1) */
};

/* linear: out = x W^T (+ bias) (+ residual). */
struct kn_linear_args {
    struct kn_tensor x;        /* (M, K) f32, f16 or bf16 */
    struct kn_tensor weight;   /* (N, K) f32, dense, KN_SLOT_WEIGHTS */
    struct kn_tensor bias;     /* optional (N) f32, KN_SLOT_WEIGHTS */
    struct kn_tensor residual; /* optional (M, N) of out's dtype; may be out itself */
    struct kn_tensor out;      /* (M, N) f32, f16 or bf16 */
};

/* layer_norm: out = (x - mean) / sqrt(var + epsilon) * weight + bias over the last axis (Ba, Kiros,
 * Hinton 2016). */
struct kn_layer_norm_args {
    struct kn_tensor x;      /* (M, D) f32 */
    struct kn_tensor weight; /* (D) f32, KN_SLOT_WEIGHTS */
    struct kn_tensor bias;   /* (D) f32, KN_SLOT_WEIGHTS */
    struct kn_tensor out;    /* (M, D) f32, f16 or bf16 */
    float epsilon;           /* > 0 */
};

/*
 * gate: out = RMSnorm_per_head(o) * weight * SiLU(z), the gated output norm of both attention
 * layers: RMSnorm(o) = o / sqrt(mean(o^2) + epsilon) over each run of D / heads columns.
 */
struct kn_gate_args {
    struct kn_tensor o;      /* (M, D) f32 */
    struct kn_tensor z;      /* (M, D) f32 */
    struct kn_tensor weight; /* (D) f32, KN_SLOT_WEIGHTS */
    struct kn_tensor out;    /* (M, D) f32, f16 or bf16 */
    int64_t heads;           /* divides D */
    float epsilon;           /* > 0 */
};

/*
 * gather: latents to tokens, one per patch of p x p positions:
 *   out[t * P + i, (r * p + s) * C + c] = z[t, p * (i / (w/p)) + r, p * (i % (w/p)) + s, c],  P =
 * (h/p) (w/p) The order inside a token is row, column, channel, so that both sides move in runs of
 * p * C elements.
 */
struct kn_gather_args {
    struct kn_tensor z;   /* (T, h, w, C) f32; p divides h and w */
    struct kn_tensor out; /* (T * P, p * p * C) f32, f16 or bf16 */
    int64_t patch;        /* p >= 1 */
};

/* scatter: out = z + the tokens x put back in their places. out may be z. */
struct kn_scatter_args {
    struct kn_tensor x;    /* (T * P, p * p * C) f32 */
    struct kn_tensor z;    /* (T, h, w, C) f32 */
    struct kn_tensor out;  /* (T, h, w, C) f32 */
    struct kn_tensor half; /* optional: out once more in bf16 or f16 */
    int64_t patch;
};

/*
 * Fenwick attention: log-linear attention (Guo et al. 2025) with scalar decay, per sequence n and
 * head h. With q^ = q / max(|q|, 1e-6), k^ likewise, g = logsigmoid(gate), lambda =
 * softplus(level):
 *
 *   o_t = sum_{s <= t} lambda_t[level(t, s)] exp(g_{s+1} + ... + g_t) (q^_t . k^_s) v_s
 *   level(t, s) = 0 if s = t, else min(bit_length(t xor s), levels - 1) (kn_fenwick_level)
 *
 * The last level takes all that is older, so streams never end. t counts from the stream's start.
 *   fenwick_clip   any T, O(T log T); continues from and updates the state if control.state is set
 *   fenwick_step   T = 1, O(log t); control.state must be set when it runs
 * Both leave the same state, so one may follow the other. Heads may share q and k: head h uses
 * group h / (H / G).
 */
struct kn_fenwick_args {
    struct kn_tensor q;          /* (N, T, G, D) f32 */
    struct kn_tensor k;          /* (N, T, G, D) f32 */
    struct kn_tensor v;          /* (N, T, H, D) f32; G divides H */
    struct kn_tensor gate;       /* (N, T, H) f32, logits */
    struct kn_tensor level;      /* (N, T, H * levels) f32, logits; head-major */
    struct kn_tensor out;        /* (N, T, H, D) f32 */
    struct kn_tensor control;    /* (B) control, B divides N */
    int64_t levels;              /* 2 .. KN_MAX_LEVELS */
    uint64_t state_offset_bytes; /* from control.state to this operation's; multiple of 256 */
};

/*
 * Mesa layer (von Oswald et al. 2025), per sequence n and head h, with q^, k^ as above, beta =
 * sigmoid(beta), gamma = sigmoid(gate), Lambda = diag(softplus(lambda) + 0.25):
 *
 *   H_t = gamma_t H_{t-1} + beta_t k^_t k^_t^T,   G_t = gamma_t G_{t-1} + beta_t k^_t v_t^T
 *   o_t = G_t^T (H_t + Lambda)^-1 q^_t
 *
 * solved by conjugate gradient with the stopping rule of kn_control (by Cholesky on "ref"). Each
 * row stops on its own residual: what one token does never changes another. Clip, step and state as
 * for Fenwick.
 */
struct kn_mesa_args {
    struct kn_tensor q;        /* (N, T, G, D) f32 */
    struct kn_tensor k;        /* (N, T, G, D) f32 */
    struct kn_tensor v;        /* (N, T, H, D) f32 */
    struct kn_tensor gate;     /* (N, T, H) f32, logits */
    struct kn_tensor beta;     /* (N, T, H) f32, logits */
    struct kn_tensor lambda;   /* (H, D) f32 in KN_SLOT_WEIGHTS, before softplus */
    struct kn_tensor out;      /* (N, T, H, D) f32 */
    struct kn_tensor solution; /* optional (N, T, H, D) f32: (H_t + Lambda)^-1 q^_t, for backward */
    struct kn_tensor control;  /* (B) control, B divides N */
    uint64_t state_offset_bytes;
};

/* ------------------------------------------------------------------------- operations: backward */

/*
 * Gradients of a scalar loss. "dx" is the gradient with respect to x, and so on; it has the dims of
 * x. Rules that hold for all of them:
 *   - Gradients of parameters lie in KN_SLOT_GRADS, are f32 (f64 on "ref") and dense, and are added
 *     to what is there: the caller clears them (kn_zero), so batches accumulate.
 *   - Gradients of activations are written, or added to what is there when accumulate is set.
 *   - Results do not depend on the number of threads, nor on anything but the operands.
 * Formulas: docs/mathematics.md, one section per operation.
 */

/* zero: out = 0. */
struct kn_zero_args {
    struct kn_tensor out; /* any rank and type but u8 */
};

/* relu_backward: dx = dy where y > 0, else 0. y: what the ReLU gave. */
struct kn_relu_backward_args {
    struct kn_tensor y;  /* (T, h, w, C) f32, f16 or bf16 */
    struct kn_tensor dy; /* as y */
    struct kn_tensor dx; /* as y; may be dy */
};

/*
 * conv_backward_data: dx (+)= sum over taps of W' dy, the gradient of conv's x, or of its past.
 * dy: gradient before bias and residual, that is of conv's output once relu_backward is through.
 */
struct kn_conv_backward_data_args {
    struct kn_tensor dy;     /* (T, h, w, O) f32, f16 or bf16 */
    struct kn_tensor weight; /* (O, I or 2I, k, k) f32 in KN_SLOT_WEIGHTS, as in conv */
    struct kn_tensor dx;     /* (T, h, w, I), dtype of dy */
    bool past;               /* of the second half of weight's inputs; weight then has 2I */
    bool accumulate;
};

/* conv_backward_weights: dweight += sum dy x^T over positions and taps, dbias += sum dy. */
struct kn_conv_backward_weights_args {
    struct kn_tensor x;       /* (T, h, w, I) f32, f16 or bf16 */
    struct kn_tensor past;    /* optional, as x */
    struct kn_tensor dy;      /* (T, h, w, O), dtype of x */
    struct kn_tensor dweight; /* (O, I or with past 2I, k, k) f32 in KN_SLOT_GRADS */
    struct kn_tensor dbias;   /* optional (O) f32 in KN_SLOT_GRADS */
};

/*
 * shift_backward: both inputs of a shift whose past is x, lag frames earlier in the same memory:
 * dx[t + lag, ..., n:] += dy[t, ..., n:], dx[t, ..., :n] += dy[t, ..., :n].
 */
struct kn_shift_backward_args {
    struct kn_tensor dy; /* (T, h, w, C) f32, f16 or bf16 */
    struct kn_tensor dx; /* (T + lag, h, w, C), dtype of dy; added to. Starts at the oldest past */
    int64_t channels;    /* n, 1 .. C */
    int64_t lag;         /* >= 1 */
};

/* linear_backward_data: dx (+)= dy W. */
struct kn_linear_backward_data_args {
    struct kn_tensor dy;     /* (M, N) f32, f16 or bf16 */
    struct kn_tensor weight; /* (N, K) f32 in KN_SLOT_WEIGHTS */
    struct kn_tensor dx;     /* (M, K) f32, f16 or bf16 */
    bool accumulate;
};

/* linear_backward_weights: dweight += dy^T x, dbias += sum of dy over rows. */
struct kn_linear_backward_weights_args {
    struct kn_tensor x;       /* (M, K) f32, f16 or bf16 */
    struct kn_tensor dy;      /* (M, N) f32, f16 or bf16 */
    struct kn_tensor dweight; /* (N, K) f32 in KN_SLOT_GRADS */
    struct kn_tensor dbias;   /* optional (N) f32 in KN_SLOT_GRADS */
};

/* layer_norm_backward: mean and variance are computed again from x. */
struct kn_layer_norm_backward_args {
    struct kn_tensor x;       /* (M, D) f32 */
    struct kn_tensor weight;  /* (D) f32 in KN_SLOT_WEIGHTS */
    struct kn_tensor dy;      /* (M, D) f32, f16 or bf16 */
    struct kn_tensor dx;      /* (M, D) f32 */
    struct kn_tensor dweight; /* (D) f32 in KN_SLOT_GRADS */
    struct kn_tensor dbias;   /* (D) f32 in KN_SLOT_GRADS */
    float epsilon;            /* as in layer_norm */
    bool accumulate;
};

/* gate_backward: of gate's o, z and weight. */
struct kn_gate_backward_args {
    struct kn_tensor o;       /* (M, D) f32 */
    struct kn_tensor z;       /* (M, D) f32 */
    struct kn_tensor weight;  /* (D) f32 in KN_SLOT_WEIGHTS */
    struct kn_tensor dy;      /* (M, D) f32, f16 or bf16 */
    struct kn_tensor d_o;     /* (M, D) f32, written */
    struct kn_tensor dz;      /* (M, D) f32, written */
    struct kn_tensor dweight; /* (D) f32 in KN_SLOT_GRADS */
    int64_t heads;
    float epsilon;
};

/*
 * fenwick_backward: gradients of the raw q, k, v and of the logits. Through chunks and the tree
 * over them, O(T log T); the gate's gradient is made of sums of products only, never of a
 * difference of long sums. control describes the state before the clip: state NULL or t = 0 or
 * reset means none, else control.state points to a copy from before the forward run; it is read
 * only, and no gradient flows into it.
 */
struct kn_fenwick_backward_args {
    struct kn_tensor q, k, v, gate, level;      /* as in fenwick */
    struct kn_tensor dout;                      /* (N, T, H, D) f32 */
    struct kn_tensor dq, dk, dv, dgate, dlevel; /* as q ...; written. q and k: summed over heads */
    struct kn_tensor control;
    int64_t levels;
    uint64_t state_offset_bytes;
};

/*
 * mesa_backward: implicit differentiation; the adjoint system (H_t + Lambda) y_t = G_t dout_t is
 * solved as in the forward direction, rows stop at cg_tolerance * |G_t dout_t|, so gradients scale
 * with the loss. control as for fenwick_backward; its mesa statistics count the adjoint rows.
 */
struct kn_mesa_backward_args {
    struct kn_tensor q, k, v, gate, beta, lambda; /* as in mesa */
    struct kn_tensor solution;                    /* as mesa wrote it */
    struct kn_tensor dout;                        /* (N, T, H, D) f32 */
    struct kn_tensor dq, dk, dv, dgate, dbeta; /* as q ...; written. q and k: summed over heads */
    struct kn_tensor dlambda;                  /* (H, D) f32 in KN_SLOT_GRADS */
    struct kn_tensor control;
    uint64_t state_offset_bytes;
};

/* ------------------------------------------------------------------------- operations: training */

/*
 * noise: out = what a camera, a channel or a quantiser makes of x, clip by clip as its kn_sample
 * says. Frames are in the order (time, clip): frame f belongs to clip f % B, and element i of a
 * clip counts time, row, column, channel. GAUSSIAN, POISSON and COMPRESSION take x for colours in
 * [-1, 1] as color_in gives them, and round and clamp the result to 8 bit; NONE and UNIFORM do
 * neither. A run fails on a kind outside the enum, and on COMPRESSION of other than 12 channels.
 */
struct kn_noise_args {
    struct kn_tensor x;      /* (T * B, h, w, C) f32 */
    struct kn_tensor out;    /* as x; may be x */
    struct kn_tensor sample; /* (B) struct kn_sample in KN_SLOT_CONTROL */
};

/* mask: out = x + mask where a frame is missing: missing[f] is 0 or 1. */
struct kn_mask_args {
    struct kn_tensor x;       /* (F, h, w, C) f32 */
    struct kn_tensor mask;    /* (C) f32 in KN_SLOT_WEIGHTS */
    struct kn_tensor missing; /* (F) f32 in KN_SLOT_CONTROL */
    struct kn_tensor out;     /* as x; may be x */
};

/* mask_backward: dmask += sum of missing[f] dy over positions. (dx is dy.) */
struct kn_mask_backward_args {
    struct kn_tensor dy;      /* (F, h, w, C) f32 */
    struct kn_tensor missing; /* (F) f32 in KN_SLOT_CONTROL */
    struct kn_tensor dmask;   /* (C) f32 in KN_SLOT_GRADS */
};

/*
 * Losses: value += the loss, dx += weight * d loss / d x; each is a mean, so that its size does not
 * depend on the batch. x and target are images of 12 channels as color_in gives them; "pixels" are
 * those of the pictures, twice as wide and high. Frames are in the order (time, clip), lag = clips.
 *   mean_square        mean of (x - target)^2
 *   charbonnier        mean of sqrt((x - target)^2 + 1e-6)
 *   temporal_difference  mean of sqrt(e^2 + 1e-6), e = (x - target)[f] - (x - target)[f - lag],
 *                      f >= lag; 0 when there is one frame
 *   laplacian          mean over up to 4 levels (while both sides are >= 8 pixels) of the mean of
 *                      sqrt(b^2 + 1e-6), b the bands of the Laplacian pyramid of x - target
 *                      (Burt and Adelson 1983; 5-tap binomial, edges repeated) without what the
 *                      coarsest one leaves; 0 for pictures below 8 pixels
 *   ms_ssim            1 - MS-SSIM (Wang, Simoncelli, Bovik 2003) of (x + 1) / 2 and
 *                      (target + 1) / 2 per frame and colour, averaged over frames and colours,
 *                      11-tap Gaussian of sigma 1.5 inside the picture only,
 *                      up to 3 scales (means of 2 x 2) while both sides are >= 11 pixels, the first
 *                      scales' exponents divided by their sum; factors below 0.01 count as 0.01, so
 *                      that powers of them have bounded slopes; 0 for pictures below 11 pixels
 */
struct kn_loss_args {
    struct kn_tensor x;      /* (F, h, w, 12) f32 */
    struct kn_tensor target; /* as x */
    struct kn_tensor dx;     /* optional, as x; added to */
    struct kn_tensor value;  /* (1) f64 in KN_SLOT_OUT; added to */
    int64_t lag;             /* clips B; divides F. Used by temporal_difference only */
    float weight;            /* of the gradient; finite */
};

/* square_sum: value += sum of x^2, in double. */
struct kn_square_sum_args {
    struct kn_tensor x;     /* (n) f32 */
    struct kn_tensor value; /* (1) f64 in KN_SLOT_OUT */
};

/*
 * adamw (Loshchilov and Hutter 2019): with g = scale * grad and r = rate[group], d = decay[group]
 *   first = beta1 first + (1 - beta1) g,   second = beta2 second + (1 - beta2) g^2
 *   param -= r d param + r (first / correction1) / (sqrt(second / correction2) + epsilon)
 *   averaged = average averaged + (1 - average) param
 * A group with rate 0 is left alone altogether (averaged too). bf16 moments are rounded
 * stochastically, by a hash of element and step.
 */
struct kn_adamw_args {
    struct kn_tensor param;    /* (n) f32 in KN_SLOT_WEIGHTS, n a multiple of 64; written, so
                                  that an exec made with weights refuses it */
    struct kn_tensor grad;     /* (n) f32 in KN_SLOT_GRADS */
    struct kn_tensor first;    /* (n) f32 or bf16 in KN_SLOT_OPTIMIZER */
    struct kn_tensor second;   /* as first */
    struct kn_tensor averaged; /* optional (n) f32 in KN_SLOT_OPTIMIZER */
    struct kn_tensor group;    /* (n / 64) u8 in KN_SLOT_OPTIMIZER, < KN_ADAMW_GROUPS, else the
                                  run fails */
    struct kn_tensor control;  /* (1) struct kn_adamw in KN_SLOT_CONTROL */
};

#define KN_MIN_LEVELS 2
#define KN_MAX_LEVELS 20
#define KN_MAX_HEAD_DIM 128 /* D of both attention operations is 1 .. 128 */

/* The table of operations: X(name, ENUM, args struct). Adding one: docs/architecture.md. */
#define KN_OPERATIONS(X)                                                         \
    X(color_in, COLOR_IN, color_in)                                              \
    X(color_out, COLOR_OUT, color_out)                                           \
    X(conv, CONV, conv)                                                          \
    X(shift, SHIFT, shift)                                                       \
    X(convert, CONVERT, convert)                                                 \
    X(linear, LINEAR, linear)                                                    \
    X(layer_norm, LAYER_NORM, layer_norm)                                        \
    X(gate, GATE, gate)                                                          \
    X(gather, GATHER, gather)                                                    \
    X(scatter, SCATTER, scatter)                                                 \
    X(fenwick_clip, FENWICK_CLIP, fenwick)                                       \
    X(fenwick_step, FENWICK_STEP, fenwick)                                       \
    X(mesa_clip, MESA_CLIP, mesa)                                                \
    X(mesa_step, MESA_STEP, mesa)                                                \
    X(zero, ZERO, zero)                                                          \
    X(relu_backward, RELU_BACKWARD, relu_backward)                               \
    X(conv_backward_data, CONV_BACKWARD_DATA, conv_backward_data)                \
    X(conv_backward_weights, CONV_BACKWARD_WEIGHTS, conv_backward_weights)       \
    X(shift_backward, SHIFT_BACKWARD, shift_backward)                            \
    X(linear_backward_data, LINEAR_BACKWARD_DATA, linear_backward_data)          \
    X(linear_backward_weights, LINEAR_BACKWARD_WEIGHTS, linear_backward_weights) \
    X(layer_norm_backward, LAYER_NORM_BACKWARD, layer_norm_backward)             \
    X(gate_backward, GATE_BACKWARD, gate_backward)                               \
    X(fenwick_backward, FENWICK_BACKWARD, fenwick_backward)                      \
    X(mesa_backward, MESA_BACKWARD, mesa_backward)                               \
    X(noise, NOISE, noise)                                                       \
    X(mask, MASK, mask)                                                          \
    X(mask_backward, MASK_BACKWARD, mask_backward)                               \
    X(mean_square, MEAN_SQUARE, loss)                                            \
    X(charbonnier, CHARBONNIER, loss)                                            \
    X(temporal_difference, TEMPORAL_DIFFERENCE, loss)                            \
    X(laplacian, LAPLACIAN, loss)                                                \
    X(ms_ssim, MS_SSIM, loss)                                                    \
    X(square_sum, SQUARE_SUM, square_sum)                                        \
    X(adamw, ADAMW, adamw)

enum kn_op {
#define X(name, NAME, args) KN_OP_##NAME,
    KN_OPERATIONS(X)
#undef X
        KN_OP_COUNT
};

/* "conv", "fenwick_step" ...; static storage. */
const char *kn_op_name(enum kn_op op);

/* level(t, s) of the formula above for s <= t. */
int kn_fenwick_level(uint64_t t, uint64_t s, int levels);
/*
 * States that hold something when token t is read: 1 (the token itself) + popcount(t), until bits
 * from levels - 2 on share the last level.
 */
int kn_fenwick_live(uint64_t t, int levels);

/* -------------------------------------------------------------------------------------- program */

/* One recorded operation. */
struct kn_node {
    enum kn_op op;
    char label[48]; /* where it comes from, e.g. "encoder.block0.conv1"; used in messages and tables
                     */
    union {
        struct kn_color_in_args color_in;
        struct kn_color_out_args color_out;
        struct kn_conv_args conv;
        struct kn_shift_args shift;
        struct kn_convert_args convert;
        struct kn_linear_args linear;
        struct kn_layer_norm_args layer_norm;
        struct kn_gate_args gate;
        struct kn_gather_args gather;
        struct kn_scatter_args scatter;
        struct kn_fenwick_args fenwick;
        struct kn_mesa_args mesa;
        struct kn_zero_args zero;
        struct kn_relu_backward_args relu_backward;
        struct kn_conv_backward_data_args conv_backward_data;
        struct kn_conv_backward_weights_args conv_backward_weights;
        struct kn_shift_backward_args shift_backward;
        struct kn_linear_backward_data_args linear_backward_data;
        struct kn_linear_backward_weights_args linear_backward_weights;
        struct kn_layer_norm_backward_args layer_norm_backward;
        struct kn_gate_backward_args gate_backward;
        struct kn_fenwick_backward_args fenwick_backward;
        struct kn_mesa_backward_args mesa_backward;
        struct kn_noise_args noise;
        struct kn_mask_args mask;
        struct kn_mask_backward_args mask_backward;
        struct kn_loss_args loss;
        struct kn_square_sum_args square_sum;
        struct kn_adamw_args adamw;
    } args;
};

/*
 * A program is a list of operations in the order in which they run. It owns its nodes and nothing
 * else. Thread-safety: one thread at a time while recording; read-only use from many threads
 * afterwards.
 */
struct kn_program;

KN_MUST_CHECK enum kn_status kn_program_new(struct kn_program **program, struct kn_err *err);
void kn_program_free(struct kn_program *program); /* NULL is fine */
size_t kn_program_size(const struct kn_program *program);
/* Node i < size; valid until the next recording or the program's end. */
const struct kn_node *kn_program_node(const struct kn_program *program, size_t i);

/*
 * kn_NAME(program, label, args, err): checks args and appends the operation. On failure the program
 * is unchanged and err holds the label, the condition and the values found. KN_ERR_RANGE says that
 * a size overflows, KN_ERR_ARG all else. The label is copied and must fit into kn_node.label.
 */
#define X(name, NAME, args)                                                               \
    KN_MUST_CHECK enum kn_status kn_##name(struct kn_program *program, const char *label, \
                                           const struct kn_##args##_args *a, struct kn_err *err);
KN_OPERATIONS(X)
#undef X

/* Multiply-accumulates of one run of a node: convolutions and linear layers, forward and backward;
 * else 0. */
uint64_t kn_node_macs(const struct kn_node *node);

/* --------------------------------------------------------------------------------------- device */

struct kn_dev_params {
    const char *name; /* "cpu", "ref", "cuda" or "cuda:N" */
    int threads;      /* 0..1024 for "cpu"; 0: as many as processors that this process may use */
};

/*
 * A device. Thread-safety: all functions, from any thread. On "cpu" programs run on the device's
 * own worker threads in the order in which they are handed in, so many streams share one team.
 */
struct kn_dev;

/* KN_ERR_NO_DEVICE or KN_ERR_LIBRARY with the reason where the device cannot be had. */
KN_MUST_CHECK enum kn_status kn_dev_open(struct kn_dev **dev, const struct kn_dev_params *params,
                                         struct kn_err *err);
/* Everything made on the device must be freed before. NULL is fine. */
void kn_dev_close(struct kn_dev *dev);

/* What the device is and can do; strings live as long as the device. */
struct kn_dev_info {
    const char *name;        /* as opened, index included: "cpu", "cuda:0" */
    const char *description; /* e.g. "AVX-512, bf16, 2 threads, oneDNN 2.6.3" */
    bool host_memory;        /* kn_buf_host() works; pictures and tensors are ordinary memory */
    bool float64;            /* KN_F64 operands are known: "ref" only */
    bool fast_bf16;          /* bf16 convolutions are native, so precision "auto" means bf16 */
    int threads;
};
void kn_dev_info(const struct kn_dev *dev, struct kn_dev_info *info);
/* Bytes of memory that the device has in all, whoever uses them; 0: not known. */
uint64_t kn_dev_memory(const struct kn_dev *dev);

/*
 * Bytes of attention state that a recorded Fenwick or Mesa operation needs per stream of its batch
 * (its layout is private to the device), 0 for other operations; a multiple of 256, so that the
 * states of several operations are laid out by adding up. KN_ERR_RANGE on overflow.
 */
KN_MUST_CHECK enum kn_status kn_dev_state_bytes(const struct kn_dev *dev,
                                                const struct kn_node *node, uint64_t *bytes,
                                                struct kn_err *err);

/* --------------------------------------------------------------------------------------- buffer */

/*
 * Device memory, 256-byte aligned, zeroed. Host memory is really there once it is granted: a
 * request beyond what the machine has left is KN_ERR_NOMEM. Thread-safety: distinct buffers are
 * independent.
 */
struct kn_buf;

/* 0 bytes are fine and have an address. */
KN_MUST_CHECK enum kn_status kn_buf_new(struct kn_buf **buf, struct kn_dev *dev, uint64_t bytes,
                                        struct kn_err *err);
void kn_buf_free(struct kn_buf *buf);           /* NULL is fine */
void *kn_buf_address(const struct kn_buf *buf); /* device address */
uint64_t kn_buf_bytes(const struct kn_buf *buf);
/* The memory as ordinary memory, or NULL where the device's is not. */
void *kn_buf_host(const struct kn_buf *buf);
/* Copies between ordinary memory and a buffer; complete on return. The range must lie inside the
 * buffer. */
KN_MUST_CHECK enum kn_status kn_buf_write(struct kn_buf *buf, uint64_t offset, const void *from,
                                          uint64_t bytes, struct kn_err *err);
KN_MUST_CHECK enum kn_status kn_buf_read(const struct kn_buf *buf, uint64_t offset, void *to,
                                         uint64_t bytes, struct kn_err *err);

/* Copies between two buffers of one device, or two ranges of one that do not overlap; complete on
 * return. */
KN_MUST_CHECK enum kn_status kn_buf_copy(struct kn_buf *to, uint64_t to_offset,
                                         const struct kn_buf *from, uint64_t from_offset,
                                         uint64_t bytes, struct kn_err *err);

/*
 * Parameters on a device: the f32 arena of KN_SLOT_WEIGHTS and whatever packed forms compiled
 * programs made of parts of it, made once and shared. Reference counted. Thread-safety: any thread.
 */
struct kn_weights;

/* Copies bytes from ordinary memory. */
KN_MUST_CHECK enum kn_status kn_weights_new(struct kn_weights **weights, struct kn_dev *dev,
                                            const void *from, uint64_t bytes, struct kn_err *err);
struct kn_weights *kn_weights_ref(struct kn_weights *weights);
void kn_weights_unref(struct kn_weights *weights); /* NULL is fine */
/* Bytes held now, packed forms included. */
uint64_t kn_weights_bytes(const struct kn_weights *weights);

/* --------------------------------------------------------------------------------------- stream */

/* An order of work on a device: runs of one stream happen one after the other. Thread-safety: one
 * thread at a time. */
struct kn_stream;

KN_MUST_CHECK enum kn_status kn_stream_new(struct kn_stream **stream, struct kn_dev *dev,
                                           struct kn_err *err);
void kn_stream_free(struct kn_stream *stream); /* waits for its work; NULL is fine */
/* Waits until everything handed in is done; returns the first failure since the last call that no
 * kn_exec_run() has returned. */
KN_MUST_CHECK enum kn_status kn_stream_sync(struct kn_stream *stream, struct kn_err *err);
/*
 * While cancel is true, runs of the stream end with KN_ERR_CANCELLED before their next operation,
 * also the one under way. What they were writing is then incomplete. Thread-safety: any thread, at
 * any time in the stream's life.
 */
void kn_stream_cancel(struct kn_stream *stream, bool cancel);

/*
 * A program compiled for a device and weights: library primitives, packed weights and scratch
 * memory made once. Holds a reference to the weights; the program may be freed. With weights NULL
 * the slot is bound for each run, and its values may change between runs. Tensors in
 * KN_SLOT_WEIGHTS must end inside the weights, where given.
 * Thread-safety: any thread; runs of one exec may come from several streams.
 */
struct kn_exec;

KN_MUST_CHECK enum kn_status kn_exec_new(struct kn_exec **exec, struct kn_dev *dev,
                                         const struct kn_program *program,
                                         struct kn_weights *weights, struct kn_err *err);
void kn_exec_free(struct kn_exec *exec); /* NULL is fine */
/* Scratch bytes that the exec holds besides what the caller binds. */
uint64_t kn_exec_scratch_bytes(const struct kn_exec *exec);

/*
 * What node i of a program cost so far, over all runs of an exec; zeros where unknown.
 */
struct kn_profile {
    uint64_t runs;
    uint64_t nanoseconds;
};
void kn_exec_profile(const struct kn_exec *exec, size_t i, struct kn_profile *profile);

/*
 * Device addresses of the slots for one run; those that the program does not use may be NULL. The
 * entry of KN_SLOT_WEIGHTS is ignored by an exec made with weights.
 */
struct kn_bindings {
    void *base[KN_SLOT_COUNT];
};

/*
 * Runs a compiled program. Work may still be under way on return: kn_stream_sync() before reading
 * results or freeing what was bound. No memory is allocated.
 */
KN_MUST_CHECK enum kn_status kn_exec_run(struct kn_exec *exec, struct kn_stream *stream,
                                         const struct kn_bindings *bindings, struct kn_err *err);

/* -------------------------------------------------------------------------------- communication */

/*
 * A group of processes that train together. Only the single-process group is built in; a module may
 * supply others. Thread-safety: one thread at a time, every rank in the same order.
 */
struct kn_comm {
    int rank; /* 0 .. size - 1 */
    int size; /* >= 1 */
    /* Sums count f32 values in place over all ranks. */
    enum kn_status (*all_reduce)(struct kn_comm *comm, struct kn_buf *buf, uint64_t offset,
                                 uint64_t count, struct kn_err *err);
    /* Makes bytes equal to those of rank root. */
    enum kn_status (*broadcast)(struct kn_comm *comm, struct kn_buf *buf, uint64_t offset,
                                uint64_t bytes, int root, struct kn_err *err);
    void *priv;
};

/* The group of this process alone: rank 0 of 1; both functions check their range and change
 * nothing. */
struct kn_comm kn_comm_self(void);

#endif
