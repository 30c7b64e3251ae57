/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fw: the network, its state and its files.
 *
 * This is the only public header of model/. It knows kn.h and GLib, no GStreamer, no CUDA, no
 * oneDNN. From weights to pictures:
 *
 *   struct fw_model *model = fw_model_open(&params, &error);   weights on a device, shared in the
 * process struct fw_plan *plan = fw_plan_new(model, &size, &error);   every shape and byte,
 * programs compiled struct fw_stream *stream = fw_stream_new(plan, &error);     what survives a
 * frame fw_stream_run(stream, plan, in, out, &error);               a frame (or a clip of
 * plan->frames)
 *
 * The network is docs/mathematics.md; file format: "Weights file" below.
 *
 * Failures: functions return NULL or FALSE and set a GError of domain FW_ERROR; nothing here aborts
 * on input, and sizes that come from input never reach g_malloc(). Objects without a thread-safety
 * note: one thread at a time. Reference-counted objects may be used and released from any thread.
 */
#ifndef FW_H
#define FW_H

#include <glib.h>

#include "kn.h"

G_BEGIN_DECLS

/* -------------------------------------------------------------------------------------- errors */

#define FW_ERROR (fw_error_quark())
GQuark fw_error_quark(void);

enum fw_error {
    FW_ERROR_ARGUMENT,  /* a parameter outside its documented range */
    FW_ERROR_NOT_FOUND, /* no such file */
    FW_ERROR_READ,      /* the file exists and cannot be read */
    FW_ERROR_WRITE,     /* a file cannot be written */
    FW_ERROR_FORMAT, /* not a weights file as documented: structure, names, shapes, types, checksum
                      */
    FW_ERROR_NONFINITE,   /* weights hold NaN or infinity */
    FW_ERROR_MISMATCH,    /* valid, but not the network asked for */
    FW_ERROR_NO_DEVICE,   /* the device cannot be had */
    FW_ERROR_LIBRARY,     /* a driver or library is missing or too old */
    FW_ERROR_NO_SPACE,    /* memory or memory limit; the message holds bytes wanted and available */
    FW_ERROR_UNSUPPORTED, /* the device cannot run this network at this size */
    FW_ERROR_FAILED,      /* a library or the device failed while running */
};

/* -------------------------------------------------------------------------------------- config */

#define FW_MAX_BLOCKS 16

/* One half of the autoencoder. blocks: 'M' sees the frame before, 'S' shifts a quarter of the
 * channels, '2' plain. */
struct fw_side {
    int width; /* channels of the residual stream; 8..512, divisible by 8 */
    char blocks[FW_MAX_BLOCKS + 1];
};

/* Everything that fixes the network's shapes. Plain data, copied freely. */
struct fw_config {
    int latent_channels; /* C: 16, 32 or 64 */
    int patch;           /* p: a token is p x p latents; 1..64 */
    int dim;             /* d: 64..512, divisible by 64 */
    int heads;           /* divides d; d / heads <= 128 */
    int layers;          /* [Fenwick, Mesa] pairs; 1..16 */
    int levels;          /* Fenwick levels; 2..20 */
    struct fw_side encoder, decoder;
};

/* Names of the presets, NULL-terminated: "thin" (first: the default), "full", "tiny", "seed",
 * "large". Static. */
const char *const *fw_preset_names(void);
/* FALSE and FW_ERROR_ARGUMENT, listing the names, when there is no such preset. */
gboolean fw_config_preset(struct fw_config *config, const char *name, GError **error);
/* The preset with exactly this config, or "custom". Static storage. */
const char *fw_config_name(const struct fw_config *config);
/* Ranges above; FW_ERROR_ARGUMENT names the field, the range and the value. */
gboolean fw_config_check(const struct fw_config *config, GError **error);
gboolean fw_config_equal(const struct fw_config *a, const struct fw_config *b);
/* The JSON of metadata "config"; keys in a fixed order. Free with g_free(). */
char *fw_config_to_json(const struct fw_config *config);
/* Strict: exactly the documented keys; nesting bounded. */
gboolean fw_config_from_json(struct fw_config *config, const char *json, gsize length,
                             GError **error);

/* -------------------------------------------------------------------------------- weights file */

/*
 * Weights in ordinary memory: f32 values in the order and layout of the parameter table (params.h),
 * which is the arena that devices get. Immutable after making; reference counted.
 *
 * File: safetensors. Metadata "config" (JSON), "task" ("restore", "reconstruct", "predict",
 * "identity"), "latent_id" (16 hex digits: hash of the autoencoder's config and tensors), "sha256"
 * (of the data section). F32 or F16 storage. Exactly the tensors of the parameter table, besides
 * optionally "latent.scale" (C) and "model.mask" (C). Nothing in a file refers to anything outside
 * it.
 */
struct fw_weights;

enum fw_init {
    FW_INIT_IDENTITY, /* lossless: docs/mathematics.md, "Initialisation" */
    FW_INIT_RANDOM,   /* every tensor non-zero, activations of order one; for tests */
};

/* seed fixes every value, on every machine. */
struct fw_weights *fw_weights_new(const struct fw_config *config, enum fw_init init, guint64 seed,
                                  GError **error);
/*
 * Reads and checks a file: regular file, header, metadata, every tensor against the parameter
 * table, checksum, finite values - structure before anything sized by the file is allocated.
 */
struct fw_weights *fw_weights_load(const char *path, GError **error);
/* Writes path.tmp, fsync, rename, fsync of the folder. half: F16 storage. The file is a pure
 * function of weights and task. */
gboolean fw_weights_save(const struct fw_weights *weights, const char *path, gboolean half,
                         GError **error);
struct fw_weights *fw_weights_ref(struct fw_weights *weights);
void fw_weights_unref(struct fw_weights *weights); /* NULL is fine */

const struct fw_config *fw_weights_config(const struct fw_weights *weights);
const char *fw_weights_task(const struct fw_weights *weights);
const char *fw_weights_latent_id(const struct fw_weights *weights);
/* Whether "latent.scale" is there, so that uint8 latents can be had. */
gboolean fw_weights_has_scale(const struct fw_weights *weights);
/* Number of trained values, e.g. 8.5 million for "seed". */
guint64 fw_weights_count(const struct fw_weights *weights);
/* A tensor's values in file layout by its file name: copies count floats to out; FALSE when there
 * is none. For tests and tools. */
gboolean fw_weights_get(const struct fw_weights *weights, const char *name, float *out,
                        gsize count);

/* --------------------------------------------------------------------------------------- model */

enum fw_precision {
    FW_PRECISION_AUTO,
    FW_PRECISION_FLOAT32,
    FW_PRECISION_BFLOAT16,
    FW_PRECISION_FLOAT16
};

struct fw_model_params {
    const char *weights; /* path, or NULL: the identity network of preset */
    const char
        *preset; /* NULL: "thin" without weights, any with; else the file must be of this preset */
    const char *device;          /* "auto", "cpu", "ref", "cuda", "cuda:N"; NULL: "auto" */
    enum fw_precision precision; /* AUTO: bf16 where it is native, else f32 */
    int threads;                 /* CPU worker threads; 0: all */
};

/*
 * A network on a device. Opened models are shared: the same file (device, inode, size, modification
 * time), device and precision give the same object and one copy of the weights. Reference counted;
 * thread-safe.
 */
struct fw_model;

struct fw_model *fw_model_open(const struct fw_model_params *params, GError **error);
struct fw_model *fw_model_ref(struct fw_model *model);
void fw_model_unref(struct fw_model *model); /* NULL is fine */

struct fw_weights *fw_model_weights(struct fw_model *model); /* borrowed */
gboolean fw_model_is_identity(struct fw_model *model);       /* opened without a file */
const char *fw_model_device(struct fw_model *model);         /* "cpu", "cuda:0" */
const char *fw_model_device_description(struct fw_model *model);
enum fw_precision fw_model_precision(struct fw_model *model); /* never AUTO */
/* Opens that hold this model now, weights bytes on the device. */
guint fw_model_users(struct fw_model *model);
guint64 fw_model_weights_bytes(struct fw_model *model);

/* ---------------------------------------------------------------------------------------- plan */

enum fw_parts {
    FW_ENCODER = 1 << 0, /* pictures or ... in, latents out */
    FW_MODEL = 1 << 1,   /* latents in, latents out */
    FW_DECODER = 1 << 2, /* latents in, pictures out */
    FW_FILTER = FW_ENCODER | FW_MODEL | FW_DECODER,
};

struct fw_plan_params {
    unsigned parts;            /* of enum fw_parts, consecutive */
    int width, height;         /* pixels of the picture, 1..32768 */
    int frames;                /* T per run: 1 for a stream, up to 65536 for clips */
    struct kn_video video_in;  /* when parts begin with the encoder */
    struct kn_video video_out; /* when parts end with the decoder */
    enum kn_dtype latents_in;  /* else: f32, f16, or u8 where the weights have a scale */
    enum kn_dtype latents_out;
    guint64 memory_limit; /* bytes of device memory for plan and one stream; 0: none */
};

/*
 * All shapes and bytes for a model, a size and a clip length, and the compiled programs. Refuses
 * with FW_ERROR_NO_SPACE and the number of bytes before anything is allocated. Reference counted;
 * thread-safe.
 */
struct fw_plan;

struct fw_plan *fw_plan_new(struct fw_model *model, const struct fw_plan_params *params,
                            GError **error);
struct fw_plan *fw_plan_ref(struct fw_plan *plan);
void fw_plan_unref(struct fw_plan *plan); /* NULL is fine */

/* Latents of one frame: (h, w, C), h and w covering the picture padded to whole patches. */
struct fw_latents {
    int width, height, channels;
};
/* The geometry without a plan: what caps negotiation needs. FALSE outside the ranges. */
gboolean fw_latents_for(const struct fw_config *config, int width, int height,
                        struct fw_latents *latents);
void fw_plan_latents(const struct fw_plan *plan, struct fw_latents *latents);

enum fw_purpose {
    FW_BYTES_WEIGHTS,
    FW_BYTES_WORK,
    FW_BYTES_SCRATCH,
    FW_BYTES_PAST,
    FW_BYTES_FENWICK,
    FW_BYTES_MESA,
    FW_BYTES_COUNT
};
/* Bytes that a plan with one stream holds, by purpose; "weights" counts the f32 arena. */
guint64 fw_plan_bytes(const struct fw_plan *plan, enum fw_purpose purpose);
guint64 fw_plan_bytes_total(const struct fw_plan *plan);
/* The table of those bytes and of the operations with their multiply-accumulates, as text.
 * g_free(). */
char *fw_plan_describe(const struct fw_plan *plan);
/*
 * The same bytes for any size without allocating or compiling: fills bytes[FW_BYTES_COUNT] (scratch
 * is 0). How "memory of every preset at 480p, 1080p and 8K" is printed.
 */
gboolean fw_plan_predict(struct fw_model *model, const struct fw_plan_params *params,
                         guint64 *bytes, GError **error);
/*
 * What each operation cost over all runs of the plan so far, as text: mean milliseconds a run, and
 * GFLOP/s of convolutions and linear layers. g_free().
 */
char *fw_plan_profile(const struct fw_plan *plan);
/* The recorded program, for tests, benchmarks and counting. Borrowed. */
const struct kn_program *fw_plan_program(const struct fw_plan *plan);
int fw_plan_frames(const struct fw_plan *plan);

/* -------------------------------------------------------------------------------------- stream */

/* Everything of one video that survives a frame, and the memory that a run works in. One thread at
 * a time. */
struct fw_stream;

struct fw_stream *fw_stream_new(struct fw_plan *plan, GError **error);
void fw_stream_free(struct fw_stream *stream); /* NULL is fine */
/* The next run starts a new video. Costs nothing. */
void fw_stream_reset(struct fw_stream *stream);
/* Stopping rule of the Mesa layers: relative residual (1e-12..1) and iterations (1..1000). Default
 * 1e-4 and 30. */
void fw_stream_set_cg(struct fw_stream *stream, float tolerance, guint iterations);

/*
 * Runs plan->frames frames. plan may be the stream's own or another one of the same model, parts
 * and size (a clip plan before a step plan, say): state carries over. in and out point at an array
 * of kn_picture (parts that begin with the encoder, end with the decoder) or at dense latents
 * (frames, h, w, C) of the plan's type, in device memory. Complete on return. On failure the stream
 * is reset.
 */
gboolean fw_stream_run(struct fw_stream *stream, struct fw_plan *plan, const void *in, void *out,
                       GError **error);

struct fw_stream_stats {
    guint64 frames;       /* since the last reset: the stream's time t */
    guint64 frames_total; /* since the stream was made */
    guint64 resets;
    struct kn_mesa_stats mesa; /* since the stream was made */
    int live_states;           /* Fenwick states read by the last frame, per head */
};
void fw_stream_stats(const struct fw_stream *stream, struct fw_stream_stats *stats);

G_END_DECLS

#endif
