/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The way of a frame that all elements share: open, configure, run. */
#include "gstfenwickcommon.h"

#include <string.h>

#include "gstfenwickerror.h"

GST_DEBUG_CATEGORY (gst_fenwick_debug);
#define GST_CAT_DEFAULT gst_fenwick_debug

/* Input below this alignment is copied before it is read. */
#define INPUT_ALIGNMENT 16

gboolean
gst_fenwick_common_fail (GstFenwickCommon * common)
{
  return g_atomic_int_compare_and_exchange (&common->failed, FALSE, TRUE);
}

gboolean
gst_fenwick_common_failed (GstFenwickCommon * common)
{
  return g_atomic_int_get (&common->failed);
}

static void
forgive (GstFenwickCommon * common)
{
  g_atomic_int_set (&common->failed, FALSE);
}

/* "weights=..., preset=...", for the debug text of an error. */
static gchar *
describe (GstFenwickCommon * common)
{
  const GstFenwickSettings *s = &common->settings;
  gchar *text;

  GST_OBJECT_LOCK (common->element);
  text = g_strdup_printf ("weights=%s, preset=%s, device=%s, memory-limit=%"
      G_GUINT64_FORMAT, s->weights ? s->weights : "(unset)",
      s->preset ? s->preset : "(unset)", s->device ? s->device : "(unset)",
      s->memory_limit);
  GST_OBJECT_UNLOCK (common->element);
  return text;
}

/* Posts an error of the model, and frees it. */
static void
post (GstFenwickCommon * common, GError * error, const gchar * function,
    gint line)
{
  GstFenwickError to;

  gst_fenwick_error_from (&to, error, common->run_domain, common->run_code);
  if (gst_fenwick_common_fail (common))
    gst_element_message_full (common->element, GST_MESSAGE_ERROR, to.domain,
        to.code, g_strdup_printf ("%s.%s%s", error->message,
            to.hint ? " " : "", to.hint ? to.hint : ""), describe (common),
        __FILE__, function, line);
  g_error_free (error);
}

/* ------------------------------------------------------- start and stop */

static struct fw_model *
open_model (GstFenwickCommon * common, GError ** error)
{
  const GstFenwickSettings *s = &common->settings;
  struct fw_model_params params = { 0, };
  struct fw_model *model;
  gchar *weights, *preset, *device;

  GST_OBJECT_LOCK (common->element);
  params.weights = weights = g_strdup (s->weights);
  params.preset = preset = g_strdup (s->preset);
  params.device = device = g_strdup (s->device);
  params.precision = s->precision;
  params.threads = s->threads;
  GST_OBJECT_UNLOCK (common->element);

  model = fw_model_open (&params, error);
  g_free (weights);
  g_free (preset);
  g_free (device);
  return model;
}

static void
warn_identity (GstFenwickCommon * common, struct fw_model *model)
{
  const gchar *preset =
      fw_config_name (fw_weights_config (fw_model_weights (model)));

  GST_ELEMENT_WARNING (common->element, RESOURCE, NOT_FOUND,
      ("No weights are set: the identity network of preset %s runs, which "
          "gives back what it gets. Set weights=FILE.", preset),
      ("preset=%s", preset));
}

static gboolean
start (GstFenwickCommon * common)
{
  GError *error = NULL;
  struct fw_model *model;

  forgive (common);
  model = open_model (common, &error);
  if (!model) {
    post (common, error, GST_FUNCTION, __LINE__);
    return FALSE;
  }
  GST_INFO_OBJECT (common->element, "%s on %s: %s",
      fw_config_name (fw_weights_config (fw_model_weights (model))),
      fw_model_device (model), fw_model_device_description (model));

  gst_fenwick_reset_start (&common->reset);
  GST_OBJECT_LOCK (common->element);
  common->model = model;
  memset (&common->totals, 0, sizeof (common->totals));
  memset (&common->before, 0, sizeof (common->before));
  GST_OBJECT_UNLOCK (common->element);

  g_object_notify (G_OBJECT (common->element), "device-in-use");
  if (fw_model_is_identity (model))
    warn_identity (common, model);
  return TRUE;
}

/* Drops what belongs to one size of picture. */
static void
drop_stream (GstFenwickCommon * common)
{
  g_clear_pointer (&common->stream, fw_stream_free);
  g_clear_pointer (&common->plan, fw_plan_unref);
  g_clear_pointer (&common->aligned, g_free);
  common->aligned_size = 0;
  GST_OBJECT_LOCK (common->element);
  common->before = common->totals;
  common->totals.state_bytes = 0;
  GST_OBJECT_UNLOCK (common->element);
}

static void
stop (GstFenwickCommon * common)
{
  struct fw_model *model;

  drop_stream (common);
  gst_fenwick_reset_start (&common->reset);
  GST_OBJECT_LOCK (common->element);
  model = common->model;
  common->model = NULL;
  GST_OBJECT_UNLOCK (common->element);
  fw_model_unref (model);
  g_object_notify (G_OBJECT (common->element), "device-in-use");
}

GstStateChangeReturn
gst_fenwick_common_change_state (GstFenwickCommon * common,
    GstElementClass * parent, GstStateChange transition)
{
  GstStateChangeReturn ret;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED && !start (common))
    return GST_STATE_CHANGE_FAILURE;

  ret = parent->change_state (common->element, transition);

  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED
          && ret == GST_STATE_CHANGE_FAILURE))
    stop (common);
  return ret;
}

/* ------------------------------------------------------------ configure */

static gboolean
same_size (const struct fw_plan_params *a, const struct fw_plan_params *b)
{
  return a->width == b->width && a->height == b->height;
}

/* The bytes that survive a frame. */
static guint64
state_bytes (const struct fw_plan *plan)
{
  return fw_plan_bytes (plan, FW_BYTES_PAST)
      + fw_plan_bytes (plan, FW_BYTES_FENWICK)
      + fw_plan_bytes (plan, FW_BYTES_MESA);
}

static gboolean
make_stream (GstFenwickCommon * common, GError ** error)
{
  common->stream = fw_stream_new (common->plan, error);
  if (!common->stream)
    return FALSE;
  common->cg_tolerance = 0;
  common->cg_iterations = 0;
  gst_fenwick_reset_now (&common->reset);
  GST_OBJECT_LOCK (common->element);
  common->totals.state_bytes = state_bytes (common->plan);
  GST_OBJECT_UNLOCK (common->element);
  return TRUE;
}

/* Takes a plan over; the stream stays when it fits. */
static gboolean
replan (GstFenwickCommon * common, const struct fw_plan_params *params,
    GError ** error)
{
  struct fw_plan *plan;

  if (common->plan && !same_size (&common->params, params))
    drop_stream (common);       /* first, so that not both sizes lie in memory */
  plan = fw_plan_new (common->model, params, error);
  if (!plan)
    return FALSE;
  g_clear_pointer (&common->plan, fw_plan_unref);
  common->plan = plan;
  common->params = *params;
  return common->stream || make_stream (common, error);
}

gboolean
gst_fenwick_common_configure (GstFenwickCommon * common,
    struct fw_plan_params *params)
{
  GError *error = NULL;

  params->parts = common->parts;
  params->frames = 1;
  GST_OBJECT_LOCK (common->element);
  params->memory_limit = common->settings.memory_limit;
  GST_OBJECT_UNLOCK (common->element);

  if (!common->stream || !common->plan
      || memcmp (params, &common->params, sizeof (*params)) != 0) {
    if (!replan (common, params, &error)) {
      drop_stream (common);
      post (common, error, GST_FUNCTION, __LINE__);
      return FALSE;
    }
    GST_DEBUG_OBJECT (common->element, "%dx%d, %" G_GUINT64_FORMAT " bytes",
        params->width, params->height, fw_plan_bytes_total (common->plan));
  }
  forgive (common);
  return TRUE;
}

static gboolean
check_latent_id (GstFenwickCommon * common, const gchar * theirs,
    const gchar * ours)
{
  gboolean wanted;

  GST_OBJECT_LOCK (common->element);
  wanted = common->settings.check_latent_id;
  GST_OBJECT_UNLOCK (common->element);
  if (!wanted || !theirs || g_strcmp0 (theirs, ours) == 0)
    return TRUE;
  GST_FENWICK_ERROR (common, CORE, NEGOTIATION,
      ("The latents were made by autoencoder %s, the weights of this element "
          "belong to autoencoder %s. Use the same weights in all elements.",
          theirs, ours), ("latent-id of the caps against that of the weights; "
          "check-latent-id=false lets it pass"));
  return FALSE;
}

gboolean
gst_fenwick_common_check_latents (GstFenwickCommon * common,
    const GstFenwickLatents * latents)
{
  const struct fw_latents *have = &latents->dims;
  const struct fw_weights *weights = fw_model_weights (common->model);
  struct fw_latents want = { 0, };

  if (!check_latent_id (common, latents->latent_id,
          fw_weights_latent_id (weights)))
    return FALSE;
  if (!fw_latents_for (fw_weights_config (weights), latents->width,
          latents->height, &want)) {
    GST_FENWICK_ERROR (common, STREAM, FORMAT,
        ("Latents of a picture of %dx%d cannot be processed: a picture has 1 "
            "to 32768 pixels each way.", latents->width, latents->height),
        (NULL));
    return FALSE;
  }
  if (have->width != want.width || have->height != want.height
      || have->channels != want.channels) {
    GST_FENWICK_ERROR (common, STREAM, FORMAT,
        ("Latents of dimensions=%d:%d:%d:1 do not fit: for a picture of %dx%d "
            "these weights have %d:%d:%d:1.", have->channels, have->width,
            have->height, latents->width, latents->height, want.channels,
            want.width, want.height), ("channels:width:height:1"));
    return FALSE;
  }
  if (latents->type == KN_U8 && !fw_weights_has_scale (weights)) {
    GST_FENWICK_ERROR (common, STREAM, FORMAT,
        ("Latents of types=uint8 need weights with a latent.scale, which these "
            "do not have. Use float32 or float16."), (NULL));
    return FALSE;
  }
  return TRUE;
}

void
gst_fenwick_common_refused (GstFenwickCommon * common, GstPad * pad,
    const GstCaps * offer)
{
  GstCaps *accepted;

  if (GST_PAD_IS_FLUSHING (pad))
    return;
  accepted = gst_pad_peer_query_caps (pad, NULL);
  GST_FENWICK_ERROR (common, CORE, NEGOTIATION,
      ("The next element accepts nothing that can be made here. Check the caps "
          "after this element, or insert videoconvert where pictures come out."),
      ("offered %" GST_PTR_FORMAT ", accepted %" GST_PTR_FORMAT, offer,
          accepted));
  gst_caps_unref (accepted);
}

GstFlowReturn
gst_fenwick_common_no_caps (GstFenwickCommon * common)
{
  GST_FENWICK_ERROR (common, CORE, NEGOTIATION,
      ("Data came in without caps: put a capsfilter, a parser or a decoder "
          "before this element."), (NULL));
  return GST_FLOW_NOT_NEGOTIATED;
}

/* ------------------------------------------------------------------ run */

gboolean
gst_fenwick_common_map_video (GstFenwickCommon * common,
    GstVideoFrame * frame, const GstVideoInfo * info, GstBuffer * buffer,
    GstMapFlags flags)
{
  GstFenwickReason reason = { "A buffer cannot be mapped" };

  if (gst_fenwick_video_check (buffer, info, &reason)
      && gst_video_frame_map (frame, info, buffer,
          (GstMapFlags) (flags | GST_VIDEO_FRAME_MAP_FLAG_NO_REF)))
    return TRUE;
  GST_FENWICK_ERROR (common, STREAM, FORMAT, ("%s.", reason.text), (NULL));
  return FALSE;
}

gboolean
gst_fenwick_common_map_latents (GstFenwickCommon * common, GstMapInfo * map,
    gsize size, GstBuffer * buffer, GstMapFlags flags)
{
  const gsize have = gst_buffer_get_size (buffer);

  if (have != size) {
    GST_FENWICK_ERROR (common, STREAM, FORMAT,
        ("A buffer of latents has %" G_GSIZE_FORMAT " bytes, the caps say %"
            G_GSIZE_FORMAT ".", have, size), (NULL));
    return FALSE;
  }
  if (!gst_buffer_map (buffer, map, flags)) {
    GST_FENWICK_ERROR (common, RESOURCE, READ,
        ("A buffer of latents cannot be mapped."), (NULL));
    return FALSE;
  }
  return TRUE;
}

static void
apply_settings (GstFenwickCommon * common, GstFenwickResetFlags * flags)
{
  const GstFenwickSettings *s = &common->settings;
  gfloat tolerance;
  guint iterations;

  GST_OBJECT_LOCK (common->element);
  if (s->reset_on_discont)
    *flags |= GST_FENWICK_RESET_ON_DISCONT;
  if (s->reset_on_key_unit)
    *flags |= GST_FENWICK_RESET_ON_KEY_UNIT;
  tolerance = (gfloat) s->cg_tolerance;
  iterations = s->cg_iterations;
  GST_OBJECT_UNLOCK (common->element);

  if (tolerance != common->cg_tolerance || iterations != common->cg_iterations) {
    fw_stream_set_cg (common->stream, tolerance, iterations);
    common->cg_tolerance = tolerance;
    common->cg_iterations = iterations;
  }
}

static void
add_mesa (struct kn_mesa_stats *to, const struct kn_mesa_stats *before,
    const struct kn_mesa_stats *now)
{
  to->rows = before->rows + now->rows;
  to->iterations = before->iterations + now->iterations;
  to->capped = before->capped + now->capped;
  to->max_iterations = MAX (before->max_iterations, now->max_iterations);
  to->worst_residual = MAX (before->worst_residual, now->worst_residual);
}

static void
count (GstFenwickCommon * common, gboolean fresh, GstClockTime took)
{
  GstFenwickTotals *totals = &common->totals;
  struct fw_stream_stats now;

  fw_stream_stats (common->stream, &now);
  GST_OBJECT_LOCK (common->element);
  if (fresh && totals->frames > 0)
    totals->resets++;
  totals->frames++;
  totals->live_states = now.live_states;
  totals->last = took;
  totals->sum += took;
  add_mesa (&totals->mesa, &common->before.mesa, &now.mesa);
  GST_OBJECT_UNLOCK (common->element);
}

GstFlowReturn
gst_fenwick_common_run (GstFenwickCommon * common, GstBuffer * buffer,
    GstFenwickResetFlags flags, gconstpointer in, gpointer out,
    gboolean * fresh)
{
  GError *error = NULL;
  GstClockTime begin;

  apply_settings (common, &flags);
  *fresh = gst_fenwick_reset_frame (&common->reset, buffer, flags);
  if (*fresh) {
    GST_DEBUG_OBJECT (common->element, "empty memory at %" GST_TIME_FORMAT,
        GST_TIME_ARGS (GST_BUFFER_PTS (buffer)));
    fw_stream_reset (common->stream);
  }

  begin = gst_util_get_timestamp ();
  if (!fw_stream_run (common->stream, common->plan, in, out, &error)) {
    gst_fenwick_reset_now (&common->reset);
    post (common, error, GST_FUNCTION, __LINE__);
    return GST_FLOW_ERROR;
  }
  count (common, *fresh, gst_util_get_timestamp () - begin);
  return GST_FLOW_OK;
}

GstFlowReturn
gst_fenwick_common_run_late (GstBaseTransform * trans, GstBuffer * input)
{
  GstBaseTransformClass *klass = GST_BASE_TRANSFORM_GET_CLASS (trans);
  GstBuffer *unused = NULL;
  GstFlowReturn ret;

  ret = klass->prepare_output_buffer (trans, input, &unused);
  if (ret == GST_FLOW_OK)
    ret = klass->transform (trans, input, unused);
  gst_clear_buffer (&unused);
  return ret == GST_FLOW_OK ? GST_BASE_TRANSFORM_FLOW_DROPPED : ret;
}

gconstpointer
gst_fenwick_common_align (GstFenwickCommon * common, gconstpointer data,
    gsize size)
{
  if (GPOINTER_TO_SIZE (data) % INPUT_ALIGNMENT == 0)
    return data;
  if (common->aligned_size != size) {
    g_free (common->aligned);
    common->aligned = g_try_malloc (size);
    common->aligned_size = common->aligned ? size : 0;
  }
  if (!common->aligned)
    return data;
  memcpy (common->aligned, data, size);
  return common->aligned;
}

void
gst_fenwick_common_sink_event (GstFenwickCommon * common, GstEvent * event)
{
  gst_fenwick_reset_sink_event (&common->reset, event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_STOP)
    forgive (common);
}
