/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The properties of fenwicktrain: one table that says where each is kept. */
#include "gstfenwicktrain.h"

#include <stddef.h>

#define DEFAULT_DEVICE "auto"
#define DEFAULT_CHECKPOINT_INTERVAL 500
#define DEFAULT_CHECKPOINT_KEEP 3
#define DEFAULT_REPORT_INTERVAL 10

static const GEnumValue tasks[] = {
  {FW_TASK_RESTORE, "Clean frames from noisy ones", "restore"},
  {FW_TASK_RECONSTRUCT, "The frame itself, through latents rounded to 8, 6 or "
        "4 bit", "reconstruct"},
  {FW_TASK_PREDICT, "Frames that are missing, from those before", "predict"},
  {0, NULL, NULL}
};

static const GEnumValue noises[] = {
  {FW_NOISE_GAUSSIAN, "Gaussian", "gaussian"},
  {FW_NOISE_POISSON_GAUSSIAN, "Photons and sensor", "poisson-gaussian"},
  {FW_NOISE_COMPRESSION, "Blocks with their fine detail quantised away",
      "compression"},
  {FW_NOISE_MIXED, "Each clip one of the others", "mixed"},
  {0, NULL, NULL}
};

static const GEnumValue precisions[] = {
  {KN_F32, "float32", "float32"},
  {KN_BF16, "bfloat16, half the memory", "bfloat16"},
  {0, NULL, NULL}
};

static GType
register_enum (gsize * type, const gchar * name, const GEnumValue * values)
{
  if (g_once_init_enter (type)) {
    const GType made = g_enum_register_static (name, values);

    gst_type_mark_as_plugin_api (made, 0);
    g_once_init_leave (type, made);
  }
  return *type;
}

static GType
task_type (void)
{
  static gsize type = 0;

  return register_enum (&type, "GstFenwickTask", tasks);
}

static GType
noise_type (void)
{
  static gsize type = 0;

  return register_enum (&type, "GstFenwickNoise", noises);
}

static GType
precision_type (void)
{
  static gsize type = 0;

  return register_enum (&type, "GstFenwickOptimizerPrecision", precisions);
}

const gchar *
gst_fenwick_train_task_name (gint task)
{
  return tasks[CLAMP (task, 0, FW_TASK_PREDICT)].value_nick;
}

typedef enum
{
  STRING,
  BOOLEAN,
  INT,
  UINT,
  UINT64,
  DOUBLE,
  ENUM,
} Kind;

typedef struct
{
  const gchar *name, *nick, *blurb;
  Kind kind;
  gsize offset;                 /* in GstFenwickTrainSettings */
  gdouble min, max;             /* max 0: the largest of the kind */
    GType (*type) (void);       /* of ENUM */
} Property;

#define AT(field) offsetof (GstFenwickTrainSettings, field)
#define IN(field) offsetof (GstFenwickTrainSettings, params.field)

static const Property properties[] = {
  {"location", "Location", "File that the trained weights are written to "
        "(safetensors)", STRING, AT (location)},
  {"weights", "Weights", "File with weights to start from; without one the "
        "identity network of preset", STRING, AT (weights)},
  {"preset", "Preset", "Network: thin, full, tiny, seed or large; thin when "
        "unset. With weights: the network that the file must hold", STRING,
      AT (preset)},
  {"device", "Device", "Where to compute: auto, cpu, cuda or cuda:N (or ref, "
        "the slow reference)", STRING, AT (device)},
  {"threads", "Threads", "Threads of device=cpu, shared by all elements; 0: "
        "one for each processor", INT, IN (threads), 0, 1024},
  {"task", "Task", "What the network is to learn", ENUM, AT (task), 0, 0,
      task_type},
  {"noise-type", "Noise type", "What spoils the frames of task restore", ENUM,
      AT (noise_type), 0, 0, noise_type},
  {"noise-min", "Smallest noise", "Smallest standard deviation of noise, in 8 "
        "bit levels; drawn for each clip", DOUBLE, IN (noise_min), 0, 255},
  {"noise-max", "Largest noise", "Largest standard deviation of noise, in 8 bit "
        "levels", DOUBLE, IN (noise_max), 0, 255},
  {"fixed-noise", "Fixed noise", "The same noise in every step: to test "
        "training itself", BOOLEAN, IN (fixed_noise)},
  {"augment", "Augment", "Flip clips and stride through time at random",
      BOOLEAN, IN (augment)},
  {"loss", "Loss", "What is made small: mean-square, charbonnier, "
        "temporal-difference, laplacian, ms-ssim, perceptual (a mix), or a list "
        "like charbonnier=1,laplacian=0.5", STRING, AT (loss)},
  {"batch-size", "Batch size", "Clips of a batch", UINT, IN (batch_size), 1,
      1024},
  {"clip-length", "Clip length", "Frames of a clip", UINT, IN (clip_length), 1,
      65536},
  {"crop-size", "Crop size", "Side of the square that is cut out of a clip, in "
        "pixels; even", UINT, IN (crop_size), 16, 4096},
  {"accumulate", "Accumulate", "Batches whose gradients make one step", UINT,
      IN (accumulate), 1, 1024},
  {"carry-state", "Carry state", "Clips in a row that continue each other, with "
        "the memory of the one before; 1: none", UINT, IN (carry_state), 1,
      1024},
  {"steps", "Steps", "Steps of the whole run, to which the schedule of the "
        "learning rate belongs", UINT64, IN (steps), 1},
  {"epochs", "Epochs", "Passes over the source after which training ends "
        "earlier; 0: no limit", UINT64, IN (epochs)},
  {"learning-rate", "Learning rate", "Largest learning rate, after the warm-up",
      DOUBLE, IN (learning_rate), 0, 1000},
  {"temporal-learning-rate", "Temporal learning rate", "Factor on the learning "
        "rate of the temporal layers; 0: they stay as they are", DOUBLE,
      IN (temporal_learning_rate), 0, 1000},
  {"weight-decay", "Weight decay", "Decay of weights, as a factor on the "
        "learning rate", DOUBLE, IN (weight_decay), 0, 1000},
  {"warmup", "Warm-up", "Steps in which the learning rate rises; a cosine leads "
        "it down to 0 at the last step", UINT64, IN (warmup)},
  {"grad-clip", "Gradient clipping", "Largest norm of the gradient, longer ones "
        "are scaled down; 0: no limit", DOUBLE, IN (grad_clip)},
  {"ema", "Averaged weights", "Decay of averaged weights, which are then those "
        "that are written; 0: none", DOUBLE, IN (ema), 0, 0.99999},
  {"optimizer-precision", "Optimizer precision", "Number format of the "
        "optimizer's moments", ENUM, AT (moments), 0, 0, precision_type},
  {"seed", "Seed", "Fixes everything that is drawn at random", UINT64,
      IN (seed)},
  {"reservoir-bytes", "Reservoir", "Bytes of frames kept to draw clips from",
      UINT64, IN (reservoir_bytes), 1},
  {"validation-interval", "Validation interval", "Steps between tests on clips "
        "that are kept apart; 0: none", UINT64, IN (validation_interval)},
  {"checkpoint-location", "Checkpoint location", "Folder for checkpoints, from "
        "which training can be resumed", STRING, AT (checkpoint_location)},
  {"checkpoint-interval", "Checkpoint interval", "Steps between checkpoints; 0: "
        "only at the end", UINT, AT (checkpoint_interval)},
  {"checkpoint-keep", "Checkpoints kept", "Newest checkpoints that stay in the "
        "folder; 0: all", UINT, AT (checkpoint_keep)},
  {"resume", "Resume", "Continue from the newest checkpoint in "
        "checkpoint-location, or begin where there is none", BOOLEAN,
      AT (resume)},
  {"metrics-location", "Metrics location", "CSV file that figures are added to",
      STRING, AT (metrics_location)},
  {"tensorboard-location", "TensorBoard location", "Folder for an event file of "
        "TensorBoard", STRING, AT (tensorboard_location)},
  {"report-interval", "Report interval", "Steps between reports on the bus and "
        "in the metrics", UINT, AT (report_interval), 1},
};

#define N_PROPERTIES G_N_ELEMENTS (properties)
#define PROP_DEVICE_IN_USE (N_PROPERTIES + 1)
#define PROP_STATS (N_PROPERTIES + 2)

#define READY (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | \
  GST_PARAM_MUTABLE_READY)
#define READ (G_PARAM_READABLE | G_PARAM_STATIC_STRINGS)

static gpointer
field_of (const GstFenwickTrainSettings * settings, const Property * p)
{
  return (guint8 *) settings + p->offset;
}

/* The name that the loss of params has, or NULL. */
static const gchar *
loss_name (const struct fw_loss *loss)
{
  static const gchar *const names[] = { "perceptual", "mean-square",
    "charbonnier", "temporal-difference", "laplacian", "ms-ssim"
  };

  for (guint i = 0; i < G_N_ELEMENTS (names); i++) {
    struct fw_loss named;

    if (fw_loss_parse (names[i], &named, NULL)
        && named.mean_square == loss->mean_square
        && named.charbonnier == loss->charbonnier
        && named.temporal_difference == loss->temporal_difference
        && named.laplacian == loss->laplacian
        && named.ms_ssim == loss->ms_ssim)
      return names[i];
  }
  return NULL;
}

void
gst_fenwick_train_settings_init (GstFenwickTrainSettings * settings)
{
  fw_trainer_defaults (&settings->params);
  settings->device = g_strdup (DEFAULT_DEVICE);
  settings->loss = g_strdup (loss_name (&settings->params.loss));
  settings->task = (gint) settings->params.task;
  settings->noise_type = (gint) settings->params.noise;
  settings->moments = (gint) settings->params.moments;
  settings->checkpoint_interval = DEFAULT_CHECKPOINT_INTERVAL;
  settings->checkpoint_keep = DEFAULT_CHECKPOINT_KEEP;
  settings->report_interval = DEFAULT_REPORT_INTERVAL;
}

void
gst_fenwick_train_settings_copy (GstFenwickTrainSettings * to,
    const GstFenwickTrainSettings * from)
{
  *to = *from;
  for (guint i = 0; i < N_PROPERTIES; i++) {
    gchar **text = field_of (to, &properties[i]);

    if (properties[i].kind == STRING)
      *text = g_strdup (*text);
  }
}

void
gst_fenwick_train_settings_clear (GstFenwickTrainSettings * settings)
{
  for (guint i = 0; i < N_PROPERTIES; i++)
    if (properties[i].kind == STRING)
      g_clear_pointer ((gchar **) field_of (settings, &properties[i]), g_free);
}

static GParamSpec *
spec (const Property * p, const GstFenwickTrainSettings * defaults)
{
  const gpointer at = field_of (defaults, p);

  switch (p->kind) {
    case STRING:
      return g_param_spec_string (p->name, p->nick, p->blurb, *(gchar **) at,
          READY);
    case BOOLEAN:
      return g_param_spec_boolean (p->name, p->nick, p->blurb,
          *(gboolean *) at, READY);
    case INT:
      return g_param_spec_int (p->name, p->nick, p->blurb, (gint) p->min,
          p->max > 0 ? (gint) p->max : G_MAXINT, *(gint *) at, READY);
    case UINT:
      return g_param_spec_uint (p->name, p->nick, p->blurb, (guint) p->min,
          p->max > 0 ? (guint) p->max : G_MAXUINT, *(guint *) at, READY);
    case UINT64:
      return g_param_spec_uint64 (p->name, p->nick, p->blurb, (guint64) p->min,
          p->max > 0 ? (guint64) p->max : G_MAXUINT64, *(guint64 *) at, READY);
    case DOUBLE:
      return g_param_spec_double (p->name, p->nick, p->blurb, p->min,
          p->max > 0 ? p->max : G_MAXDOUBLE, *(gdouble *) at, READY);
    default:
      return g_param_spec_enum (p->name, p->nick, p->blurb, p->type (),
          *(gint *) at, READY);
  }
}

void
gst_fenwick_train_install (GObjectClass * klass)
{
  GstFenwickTrainSettings defaults = { NULL, };

  gst_fenwick_train_settings_init (&defaults);
  for (guint i = 0; i < N_PROPERTIES; i++)
    g_object_class_install_property (klass, i + 1, spec (&properties[i],
            &defaults));
  gst_fenwick_train_settings_clear (&defaults);

  g_object_class_install_property (klass, PROP_DEVICE_IN_USE,
      g_param_spec_string ("device-in-use", "Device in use",
          "Where it computes, while PAUSED or PLAYING", NULL, READ));
  g_object_class_install_property (klass, PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics", "Where training stands",
          GST_TYPE_STRUCTURE, READ));
}

static void
store (GstFenwickTrainSettings * to, const Property * p, const GValue * value)
{
  gpointer at = field_of (to, p);

  switch (p->kind) {
    case STRING:
      g_free (*(gchar **) at);
      *(gchar **) at = g_value_dup_string (value);
      break;
    case BOOLEAN:
      *(gboolean *) at = g_value_get_boolean (value);
      break;
    case INT:
      *(gint *) at = g_value_get_int (value);
      break;
    case UINT:
      *(guint *) at = g_value_get_uint (value);
      break;
    case UINT64:
      *(guint64 *) at = g_value_get_uint64 (value);
      break;
    case DOUBLE:
      if (g_value_get_double (value) >= p->min) /* not a number passes CLAMP */
        *(gdouble *) at = g_value_get_double (value);
      break;
    default:
      *(gint *) at = g_value_get_enum (value);
      break;
  }
}

void
gst_fenwick_train_set_property (GObject * object, guint id,
    const GValue * value, GParamSpec * pspec)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (object);
  gboolean refused;

  if (id < 1 || id > N_PROPERTIES) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
    return;
  }
  GST_OBJECT_LOCK (self);
  refused = self->trainer != NULL;
  if (!refused)
    store (&self->settings, &properties[id - 1], value);
  GST_OBJECT_UNLOCK (self);
  if (refused)
    GST_WARNING_OBJECT (self,
        "%s can be set in NULL and READY only, kept as it was", pspec->name);
}

static void
load (const GstFenwickTrainSettings * from, const Property * p, GValue * value)
{
  const gpointer at = field_of (from, p);

  switch (p->kind) {
    case STRING:
      g_value_set_string (value, *(gchar **) at);
      break;
    case BOOLEAN:
      g_value_set_boolean (value, *(gboolean *) at);
      break;
    case INT:
      g_value_set_int (value, *(gint *) at);
      break;
    case UINT:
      g_value_set_uint (value, *(guint *) at);
      break;
    case UINT64:
      g_value_set_uint64 (value, *(guint64 *) at);
      break;
    case DOUBLE:
      g_value_set_double (value, *(gdouble *) at);
      break;
    default:
      g_value_set_enum (value, *(gint *) at);
      break;
  }
}

void
gst_fenwick_train_get_property (GObject * object, guint id, GValue * value,
    GParamSpec * pspec)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (object);

  if (id == PROP_STATS) {
    g_value_take_boxed (value, gst_fenwick_train_stats (self,
            "fenwick-training"));
    return;
  }
  GST_OBJECT_LOCK (self);
  if (id == PROP_DEVICE_IN_USE)
    g_value_set_string (value, self->trainer ? self->figures.device : NULL);
  else if (id >= 1 && id <= N_PROPERTIES)
    load (&self->settings, &properties[id - 1], value);
  else
    G_OBJECT_WARN_INVALID_PROPERTY_ID (object, id, pspec);
  GST_OBJECT_UNLOCK (self);
}
