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
    FW_ERROR_CANCELLED,   /* fw_trainer_cancel() */
    FW_ERROR_DISK_FULL,   /* a file cannot be written, for lack of room */
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
    FW_PRECISION_FLOAT16,
    FW_PRECISION_FLOAT64 /* device "ref" only: for tests of gradients */
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

/* ------------------------------------------------------------------------------------ training */

enum fw_task {
    FW_TASK_RESTORE,     /* clean frames from noisy ones */
    FW_TASK_RECONSTRUCT, /* the frame itself, through latents rounded to 8, 6 or 4 bit */
    FW_TASK_PREDICT,     /* frames that are missing, from those before */
};

/* What makes noisy frames of clean ones. */
enum fw_noise {
    FW_NOISE_GAUSSIAN,
    FW_NOISE_POISSON_GAUSSIAN, /* photons and sensor */
    FW_NOISE_COMPRESSION,      /* blocks with their fine detail quantised away */
    FW_NOISE_MIXED,            /* each clip one of the three */
};

/* Weights of the parts of a loss; what each part is: kn_loss_args in kn.h. 0: left out. */
struct fw_loss {
    double mean_square, charbonnier, temporal_difference, laplacian, ms_ssim;
};
/*
 * From text: a name ("mean-square", "charbonnier", "temporal-difference", "laplacian", "ms-ssim"),
 * "perceptual" (charbonnier=1, laplacian=0.5, temporal-difference=0.5, ms-ssim=0.15), or a list
 * "name=weight,name=weight". FALSE and FW_ERROR_ARGUMENT, naming what is allowed.
 */
gboolean fw_loss_parse(const char *text, struct fw_loss *loss, GError **error);

struct fw_trainer_params {
    const char *weights; /* to start from, or NULL: the identity of preset */
    const char *preset;  /* as in fw_model_params */
    const char *device;  /* likewise */
    int threads;
    enum fw_task task;
    struct fw_loss loss;
    enum fw_noise noise;
    double noise_min, noise_max; /* standard deviation in 8-bit levels, 0..255; drawn per clip */
    gboolean fixed_noise;        /* the same noise in every step: for tests of training itself */
    gboolean augment;            /* flips and time strides */
    guint batch_size;            /* clips of a step, 1..1024 */
    guint clip_length;           /* frames of a clip, 1..65536 */
    guint crop_size;             /* side of the square that is cut out, pixels; 16..4096, even */
    guint accumulate;            /* batches whose gradients make one step, 1..1024 */
    guint carry_state;           /* clips in a row that continue each other, 1: none; 1..1024 */
    guint64 steps;               /* of the whole run, >= 1: the schedule belongs to it */
    guint64 epochs;              /* passes over the source after which the run ends; 0: no limit */
    double learning_rate,
        temporal_learning_rate; /* the latter a factor; 0: layers stay as they are */
    double weight_decay;
    guint64 warmup;        /* steps of linear warm-up; then a cosine down to 0 at steps */
    double grad_clip;      /* largest global norm of the gradient; 0: no limit */
    double ema;            /* decay of averaged weights, 0: none; 0..0.99999 */
    enum kn_dtype moments; /* KN_F32 or KN_BF16 */
    guint64 seed;
    guint64 reservoir_bytes;     /* largest size of the frames kept */
    guint64 validation_interval; /* steps; 0: no clips are kept apart */
};
/* The documented defaults; what the element shows too. */
void fw_trainer_defaults(struct fw_trainer_params *params);

/*
 * Fits a network to frames. Who has frames gives them one by one and runs steps when they are due:
 *
 *   fw_trainer_frame(t, ...);
 *   while (fw_trainer_due(t)) fw_trainer_step(t, ...);
 *
 * so what step k sees depends on the frames given before it, on k and on the seed, and on no clock
 * or thread. Frames become clips of frames that follow each other; a cut, a new size or a scene
 * change (by a histogram) ends a clip; clips fill a reservoir, from which steps draw crops. The
 * first step is due when 64 clips are there, the reservoir is full, or the source has ended; then
 * each new clip makes FW_STEPS_PER_CLIP steps due, as every clip does of a source that ends before.
 * Steps that carry state on from each other are due together. When a source ends, fw_trainer_end()
 * says whether it should be given again from its start; a clip that the reservoir already holds
 * from an earlier pass is not stored twice.
 * Thread-safety: one thread at a time, except where noted.
 */
struct fw_trainer;

#define FW_STEPS_PER_CLIP 4

struct fw_trainer *fw_trainer_new(const struct fw_trainer_params *params, GError **error);
void fw_trainer_free(struct fw_trainer *trainer); /* NULL is fine */

/* Packed RGB, 8 bit. A frame smaller than crop_size is FW_ERROR_ARGUMENT; nothing is lost by it. */
gboolean fw_trainer_frame(struct fw_trainer *trainer, const guint8 *rgb, gsize stride, int width,
                          int height, GError **error);
/* The next frame does not follow the last one. */
void fw_trainer_cut(struct fw_trainer *trainer);
/* Steps to run before the next frame is given. */
guint fw_trainer_due(const struct fw_trainer *trainer);

enum fw_source {
    FW_SOURCE_FAILED, /* error is set: not a single clip of clip_length frames, say */
    FW_SOURCE_REWIND, /* give the source again from its start */
    FW_SOURCE_DONE,   /* all steps or epochs are done */
};
/*
 * The source has ended of itself. When it then cannot be given again, fw_trainer_without_source()
 * makes the remaining steps due at once if the reservoir holds all of it, else fails.
 */
enum fw_source fw_trainer_end(struct fw_trainer *trainer, GError **error);
gboolean fw_trainer_without_source(struct fw_trainer *trainer, GError **error);
/* All steps or epochs are done. */
gboolean fw_trainer_finished(const struct fw_trainer *trainer);

enum fw_step {
    FW_STEP_DONE,
    FW_STEP_SKIPPED,   /* loss or gradient not finite, or a spike: weights as before */
    FW_STEP_CANCELLED, /* by fw_trainer_cancel(): as if it had not begun */
    FW_STEP_FAILED,    /* error is set; ten skipped in a row among others */
};
/* One step. */
enum fw_step fw_trainer_step(struct fw_trainer *trainer, GError **error);
/* While cancel is TRUE steps return FW_STEP_CANCELLED as soon as they can. From any thread. */
void fw_trainer_cancel(struct fw_trainer *trainer, gboolean cancel);

/* The weights (averaged ones when ema is on) as a file for the other elements. */
gboolean fw_trainer_save(struct fw_trainer *trainer, const char *path, GError **error);
/*
 * folder/step-00001234.safetensors: weights, moments, averaged weights, carried state, step and
 * reservoir cursor; the whole file or none. Only the newest keep (0: all) stay.
 */
gboolean fw_trainer_checkpoint(struct fw_trainer *trainer, const char *folder, guint keep,
                               GError **error);
/*
 * Before the first frame: continues from the newest whole checkpoint of folder, or from a file.
 * Frames must then be given from the source's start; those that only refill the reservoir make no
 * step due. TRUE with *step = 0 when folder has none. FW_ERROR_MISMATCH names the parameter that
 * differs from the run's.
 */
gboolean fw_trainer_resume(struct fw_trainer *trainer, const char *path, guint64 *step,
                           GError **error);

/* Where training stands; doubles are NAN where there is no figure yet. */
struct fw_train_report {
    guint64 step, steps, epoch, skipped;
    guint64 clips, frames; /* clips drawn by steps; frames received */
    guint64 reservoir_clips, reservoir_bytes;
    double loss, psnr;   /* of the last step; psnr: of mean square, [-1, 1] as 255 */
    double loss_mean;    /* moving mean over about 100 steps */
    struct fw_loss part; /* unweighted parts of the last loss; NAN where the weight is 0 */
    double validation_psnr, validation_input_psnr; /* output and input against the clean clips */
    guint64 validation_step;                       /* when */
    double gradient_norm, learning_rate;
    guint64 bytes; /* of memory: activations, weights, moments, reservoir */
    struct kn_mesa_stats mesa;
};
void fw_trainer_report(const struct fw_trainer *trainer, struct fw_train_report *report);
const char *fw_trainer_device(const struct fw_trainer *trainer);
const char *fw_trainer_device_description(const struct fw_trainer *trainer);

/*
 * Rows of figures: CSV with a header line, or a TensorBoard event file in a folder. Flushed after
 * each row. A CSV file of that form that is there already goes on: rows from the first new one's
 * step on, which an interrupted run left behind, are dropped. Any other file is FW_ERROR_FORMAT.
 */
struct fw_metrics;
struct fw_metrics *fw_metrics_new(const char *csv, const char *tensorboard, GError **error);
gboolean fw_metrics_write(struct fw_metrics *metrics, const struct fw_train_report *report,
                          double seconds, GError **error);
void fw_metrics_free(struct fw_metrics *metrics); /* NULL is fine */

G_END_DECLS

#endif
