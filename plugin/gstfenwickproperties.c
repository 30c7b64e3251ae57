/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The properties that all elements share. */
#include "gstfenwickcommon.h"

GST_DEBUG_CATEGORY_EXTERN (gst_fenwick_debug);
#define GST_CAT_DEFAULT gst_fenwick_debug

#define DEFAULT_DEVICE "auto"
#define DEFAULT_PRECISION FW_PRECISION_AUTO
#define DEFAULT_CG_TOLERANCE 1e-4
#define DEFAULT_CG_ITERATIONS 30

#define READY (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | \
  GST_PARAM_MUTABLE_READY)
#define PLAYING (G_PARAM_READWRITE | G_PARAM_STATIC_STRINGS | \
  GST_PARAM_MUTABLE_PLAYING)
#define READ (G_PARAM_READABLE | G_PARAM_STATIC_STRINGS)

GType
gst_fenwick_precision_get_type (void)
{
  static gsize type = 0;
  static const GEnumValue values[] = {
    {FW_PRECISION_AUTO, "bfloat16 where the device has it, else float32",
        "auto"},
    {FW_PRECISION_FLOAT32, "Single precision", "float32"},
    {FW_PRECISION_BFLOAT16, "bfloat16 with float32 accumulation", "bfloat16"},
    {FW_PRECISION_FLOAT16, "float16 with float32 accumulation", "float16"},
    {0, NULL, NULL}
  };

  if (g_once_init_enter (&type)) {
    const GType made = g_enum_register_static ("GstFenwickPrecision", values);

    gst_type_mark_as_plugin_api (made, 0);
    g_once_init_leave (&type, made);
  }
  return type;
}

static void
install_model (GObjectClass * klass)
{
  g_object_class_install_property (klass, GST_FENWICK_PROP_WEIGHTS,
      g_param_spec_string ("weights", "Weights",
          "File with the network's weights (safetensors); without one the "
          "identity network of preset runs, which changes nothing", NULL,
          READY));
  g_object_class_install_property (klass, GST_FENWICK_PROP_PRESET,
      g_param_spec_string ("preset", "Preset",
          "Network: thin, full, tiny, seed or large; thin when unset. With "
          "weights: the network that the file must hold", NULL, READY));
  g_object_class_install_property (klass, GST_FENWICK_PROP_DEVICE,
      g_param_spec_string ("device", "Device",
          "Where to compute: auto, cpu, cuda or cuda:N (or ref, the slow "
          "reference)", DEFAULT_DEVICE, READY));
  g_object_class_install_property (klass, GST_FENWICK_PROP_DEVICE_IN_USE,
      g_param_spec_string ("device-in-use", "Device in use",
          "Where it computes, while PAUSED or PLAYING", NULL, READ));
  g_object_class_install_property (klass, GST_FENWICK_PROP_PRECISION,
      g_param_spec_enum ("precision", "Precision",
          "Number format of convolutions and matrix products; the temporal "
          "memory is always float32", GST_TYPE_FENWICK_PRECISION,
          DEFAULT_PRECISION, READY));
  g_object_class_install_property (klass, GST_FENWICK_PROP_THREADS,
      g_param_spec_int ("threads", "Threads",
          "Threads of device=cpu, shared by all elements; 0: one for each "
          "processor", 0, 1024, 0, READY));
  g_object_class_install_property (klass, GST_FENWICK_PROP_MEMORY_LIMIT,
      g_param_spec_uint64 ("memory-limit", "Memory limit",
          "Bytes that weights, work memory and temporal memory may take "
          "together; 0: no limit", 0, G_MAXUINT64, 0, READY));
  g_object_class_install_property (klass, GST_FENWICK_PROP_STATS,
      g_param_spec_boxed ("stats", "Statistics",
          "Figures of the frames since the element started",
          GST_TYPE_STRUCTURE, READ));
}

static void
install_reset (GObjectClass * klass, unsigned parts)
{
  const gboolean on_key_unit = parts != FW_FILTER;

  g_object_class_install_property (klass, GST_FENWICK_PROP_RESET_ON_DISCONT,
      g_param_spec_boolean ("reset-on-discont", "Reset on discont",
          "Forget what came before at a buffer with flag DISCONT", TRUE,
          PLAYING));
  g_object_class_install_property (klass, GST_FENWICK_PROP_RESET_ON_KEY_UNIT,
      g_param_spec_boolean ("reset-on-key-unit", "Reset on key unit",
          "Forget what came before at a force-key-unit event", on_key_unit,
          PLAYING));
}

static void
install_cg (GObjectClass * klass)
{
  g_object_class_install_property (klass, GST_FENWICK_PROP_CG_TOLERANCE,
      g_param_spec_double ("cg-tolerance", "CG tolerance",
          "Relative residual at which the conjugate gradient of the Mesa "
          "layers stops", 1e-12, 1.0, DEFAULT_CG_TOLERANCE, PLAYING));
  g_object_class_install_property (klass, GST_FENWICK_PROP_CG_ITERATIONS,
      g_param_spec_uint ("cg-iterations", "CG iterations",
          "Iterations after which the conjugate gradient stops in any case",
          1, 1000, DEFAULT_CG_ITERATIONS, PLAYING));
}

void
gst_fenwick_common_class_init (GObjectClass * klass, unsigned parts)
{
  install_model (klass);
  install_reset (klass, parts);
  if (parts & FW_MODEL)
    install_cg (klass);
  if (!(parts & FW_ENCODER))
    g_object_class_install_property (klass, GST_FENWICK_PROP_CHECK_LATENT_ID,
        g_param_spec_boolean ("check-latent-id", "Check latent-id",
            "Refuse latents that another autoencoder made", TRUE, READY));
}

void
gst_fenwick_common_init (GstFenwickCommon * common, GstElement * element,
    unsigned parts, GQuark run_domain, gint run_code)
{
  GstFenwickSettings *settings = &common->settings;

  common->element = element;
  common->parts = parts;
  common->run_domain = run_domain;
  common->run_code = run_code;
  settings->device = g_strdup (DEFAULT_DEVICE);
  settings->precision = DEFAULT_PRECISION;
  settings->reset_on_discont = TRUE;
  settings->reset_on_key_unit = parts != FW_FILTER;
  settings->cg_tolerance = DEFAULT_CG_TOLERANCE;
  settings->cg_iterations = DEFAULT_CG_ITERATIONS;
  settings->check_latent_id = TRUE;
  gst_fenwick_reset_init (&common->reset);
}

void
gst_fenwick_common_clear (GstFenwickCommon * common)
{
  gst_fenwick_reset_clear (&common->reset);
  g_clear_pointer (&common->settings.weights, g_free);
  g_clear_pointer (&common->settings.preset, g_free);
  g_clear_pointer (&common->settings.device, g_free);
}

static void
set_string (gchar ** to, const GValue * value)
{
  g_free (*to);
  *to = g_value_dup_string (value);
}

/* With the object lock. */
static void
set_locked (GstFenwickSettings * to, guint id, const GValue * value)
{
  switch (id) {
    case GST_FENWICK_PROP_WEIGHTS:
      set_string (&to->weights, value);
      break;
    case GST_FENWICK_PROP_PRESET:
      set_string (&to->preset, value);
      break;
    case GST_FENWICK_PROP_DEVICE:
      set_string (&to->device, value);
      break;
    case GST_FENWICK_PROP_PRECISION:
      to->precision = (enum fw_precision) g_value_get_enum (value);
      break;
    case GST_FENWICK_PROP_THREADS:
      to->threads = g_value_get_int (value);
      break;
    case GST_FENWICK_PROP_MEMORY_LIMIT:
      to->memory_limit = g_value_get_uint64 (value);
      break;
    case GST_FENWICK_PROP_RESET_ON_DISCONT:
      to->reset_on_discont = g_value_get_boolean (value);
      break;
    case GST_FENWICK_PROP_RESET_ON_KEY_UNIT:
      to->reset_on_key_unit = g_value_get_boolean (value);
      break;
    case GST_FENWICK_PROP_CG_TOLERANCE:
      if (g_value_get_double (value) > 0)       /* not a number passes CLAMP */
        to->cg_tolerance = g_value_get_double (value);
      break;
    case GST_FENWICK_PROP_CG_ITERATIONS:
      to->cg_iterations = g_value_get_uint (value);
      break;
    case GST_FENWICK_PROP_CHECK_LATENT_ID:
      to->check_latent_id = g_value_get_boolean (value);
      break;
    default:
      break;
  }
}

void
gst_fenwick_common_set_property (GstFenwickCommon * common, guint id,
    const GValue * value, GParamSpec * pspec)
{
  gboolean refused;

  if (id == GST_FENWICK_PROP_0 || id >= GST_FENWICK_PROP_LAST) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID (common->element, id, pspec);
    return;
  }
  GST_OBJECT_LOCK (common->element);
  refused = common->model && !(pspec->flags & GST_PARAM_MUTABLE_PLAYING);
  if (!refused)
    set_locked (&common->settings, id, value);
  GST_OBJECT_UNLOCK (common->element);
  if (refused)
    GST_WARNING_OBJECT (common->element,
        "%s can be set in NULL and READY only, kept as it was", pspec->name);
}

static void
add_mesa (GstStructure * s, const struct kn_mesa_stats *mesa)
{
  const gdouble mean =
      mesa->rows ? (gdouble) mesa->iterations / (gdouble) mesa->rows : 0;

  gst_structure_set (s,
      "cg-rows", G_TYPE_UINT64, mesa->rows,
      "cg-iterations", G_TYPE_UINT64, mesa->iterations,
      "cg-iterations-mean", G_TYPE_DOUBLE, mean,
      "cg-iterations-max", G_TYPE_UINT, mesa->max_iterations,
      "cg-capped", G_TYPE_UINT64, mesa->capped,
      "cg-worst-residual", G_TYPE_DOUBLE, (gdouble) mesa->worst_residual, NULL);
}

static const gchar *
precision_name (enum fw_precision precision)
{
  GEnumClass *klass = g_type_class_ref (GST_TYPE_FENWICK_PRECISION);
  const GEnumValue *value = g_enum_get_value (klass, (gint) precision);
  const gchar *name = value ? value->value_nick : "auto";

  g_type_class_unref (klass);
  return name;
}

/* What is known only while the model is open. */
static void
add_model (GstStructure * s, struct fw_model *model)
{
  gst_structure_set (s,
      "weights-bytes", G_TYPE_UINT64, fw_model_weights_bytes (model),
      "weights-refs", G_TYPE_UINT, fw_model_users (model),
      "device", G_TYPE_STRING, fw_model_device (model),
      "device-description", G_TYPE_STRING, fw_model_device_description (model),
      "precision", G_TYPE_STRING,
      precision_name (fw_model_precision (model)), NULL);
}

/* With the object lock. */
static GstStructure *
stats (GstFenwickCommon * common)
{
  const GstFenwickTotals *t = &common->totals;
  GstStructure *s = gst_structure_new ("fenwick-stats",
      "frames", G_TYPE_UINT64, t->frames, "resets", G_TYPE_UINT64, t->resets,
      "latency-last", G_TYPE_UINT64, t->last,
      "latency-mean", G_TYPE_UINT64, t->frames ? t->sum / t->frames : 0,
      "state-bytes", G_TYPE_UINT64, t->state_bytes,
      "threads", G_TYPE_INT, common->settings.threads, NULL);

  if (common->parts & FW_MODEL) {
    gst_structure_set (s, "live-states", G_TYPE_INT, t->live_states, NULL);
    add_mesa (s, &t->mesa);
  }
  if (common->model)
    add_model (s, common->model);
  return s;
}

/* With the object lock. */
static void
get_locked (GstFenwickCommon * common, guint id, GValue * value)
{
  const GstFenwickSettings *from = &common->settings;

  switch (id) {
    case GST_FENWICK_PROP_WEIGHTS:
      g_value_set_string (value, from->weights);
      break;
    case GST_FENWICK_PROP_PRESET:
      g_value_set_string (value, from->preset);
      break;
    case GST_FENWICK_PROP_DEVICE:
      g_value_set_string (value, from->device);
      break;
    case GST_FENWICK_PROP_DEVICE_IN_USE:
      g_value_set_string (value,
          common->model ? fw_model_device (common->model) : NULL);
      break;
    case GST_FENWICK_PROP_PRECISION:
      g_value_set_enum (value, (gint) from->precision);
      break;
    case GST_FENWICK_PROP_THREADS:
      g_value_set_int (value, from->threads);
      break;
    case GST_FENWICK_PROP_MEMORY_LIMIT:
      g_value_set_uint64 (value, from->memory_limit);
      break;
    case GST_FENWICK_PROP_STATS:
      g_value_take_boxed (value, stats (common));
      break;
    case GST_FENWICK_PROP_RESET_ON_DISCONT:
      g_value_set_boolean (value, from->reset_on_discont);
      break;
    case GST_FENWICK_PROP_RESET_ON_KEY_UNIT:
      g_value_set_boolean (value, from->reset_on_key_unit);
      break;
    case GST_FENWICK_PROP_CG_TOLERANCE:
      g_value_set_double (value, from->cg_tolerance);
      break;
    case GST_FENWICK_PROP_CG_ITERATIONS:
      g_value_set_uint (value, from->cg_iterations);
      break;
    case GST_FENWICK_PROP_CHECK_LATENT_ID:
      g_value_set_boolean (value, from->check_latent_id);
      break;
    default:
      break;
  }
}

void
gst_fenwick_common_get_property (GstFenwickCommon * common, guint id,
    GValue * value, GParamSpec * pspec)
{
  if (id == GST_FENWICK_PROP_0 || id >= GST_FENWICK_PROP_LAST) {
    G_OBJECT_WARN_INVALID_PROPERTY_ID (common->element, id, pspec);
    return;
  }
  GST_OBJECT_LOCK (common->element);
  get_locked (common, id, value);
  GST_OBJECT_UNLOCK (common->element);
}
