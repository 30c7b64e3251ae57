/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-fenwickmodel
 * @title: fenwickmodel
 * @short_description: Reads and rewrites latents with a memory of the past
 * @see_also: fenwickenc, fenwickdec, fenwickfilter
 *
 * The temporal model between fenwickenc and fenwickdec: log-linear attention
 * with a memory that grows with the logarithm of time, then a layer solved by
 * conjugate gradient. Latents in, latents of the same size out, one frame for
 * each frame. The types of both pads (float32, float16, and uint8 where the
 * weights have a scale) may differ; they are the same unless downstream wants
 * another.
 *
 * The weights must be those of the encoder, at least their autoencoder: caps
 * with another latent-id are refused.
 *
 * The memory is emptied at a new stream, after a flush, at a segment that does
 * not go on where the last one ended, when the size of the picture changes, at
 * a force-key-unit event (#GstFenwickModel:reset-on-key-unit), at buffers with
 * flag DISCONT (#GstFenwickModel:reset-on-discont), and where the encoder says
 * that it forgot: a frame without flag DELTA_UNIT among frames with it. Frames
 * at which the memory was emptied go out without DELTA_UNIT, all others with
 * it.
 *
 * With qos=true a late frame still goes into the memory; only its output is
 * dropped, and a QoS message is posted.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=100 ! fenwickenc preset=tiny ! \
 *     fenwickmodel preset=tiny ! fenwickdec preset=tiny ! videoconvert ! \
 *     autovideosink
 * ]| The three elements in a row.
 */
#include "gstfenwickmodel.h"

GST_DEBUG_CATEGORY_STATIC (gst_fenwick_model_debug);
#define GST_CAT_DEFAULT gst_fenwick_model_debug

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_LATENTS_CAPS));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_LATENTS_CAPS));

#define gst_fenwick_model_parent_class parent_class
G_DEFINE_TYPE (GstFenwickModel, gst_fenwick_model, GST_TYPE_BASE_TRANSFORM);
GST_ELEMENT_REGISTER_DEFINE (fenwickmodel, "fenwickmodel", GST_RANK_NONE,
    GST_TYPE_FENWICK_MODEL);

/* The same latents in any type; whether the weights know uint8 is checked when
 * it is chosen, so that the error can say so. */
static GstCaps *
gst_fenwick_model_transform_caps (GstBaseTransform * trans,
    GstPadDirection direction, GstCaps * caps, GstCaps * filter)
{
  GstCaps *other = gst_caps_copy (caps), *tmp;

  gst_fenwick_latents_caps_set_types (other);
  if (filter) {
    tmp = gst_caps_intersect_full (filter, other, GST_CAPS_INTERSECT_FIRST);
    gst_caps_unref (other);
    other = tmp;
  }
  return other;
}

static GstCaps *
gst_fenwick_model_fixate_caps (GstBaseTransform * trans,
    GstPadDirection direction, GstCaps * caps, GstCaps * other)
{
  const gchar *type =
      gst_structure_get_string (gst_caps_get_structure (caps, 0), "types");

  other = gst_caps_make_writable (gst_caps_truncate (other));
  if (type)
    gst_structure_fixate_field_string (gst_caps_get_structure (other, 0),
        "types", type);
  return gst_caps_fixate (other);
}

static gboolean
gst_fenwick_model_set_caps (GstBaseTransform * trans, GstCaps * incaps,
    GstCaps * outcaps)
{
  GstFenwickModel *self = GST_FENWICK_MODEL (trans);
  struct fw_plan_params params = { 0, };
  GstFenwickLatents in, out;
  GstFenwickReason reason;

  self->asked = TRUE;
  if (!gst_fenwick_latents_from_caps (&in, incaps, &reason)
      || !gst_fenwick_latents_from_caps (&out, outcaps, &reason)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT, ("%s.", reason.text),
        ("%" GST_PTR_FORMAT " to %" GST_PTR_FORMAT, incaps, outcaps));
    return FALSE;
  }
  if (!gst_fenwick_common_check_latents (&self->common, &in)
      || !gst_fenwick_common_check_latents (&self->common, &out))
    return FALSE;

  params.width = in.width;
  params.height = in.height;
  params.latents_in = in.type;
  params.latents_out = out.type;
  self->in_size = in.size;
  self->out_size = out.size;
  return gst_fenwick_common_configure (&self->common, &params);
}

static gboolean
gst_fenwick_model_propose_allocation (GstBaseTransform * trans,
    GstQuery * decide_query, GstQuery * query)
{
  return gst_fenwick_latents_propose (query);
}

static gboolean
gst_fenwick_model_decide_allocation (GstBaseTransform * trans, GstQuery * query)
{
  GstFenwickModel *self = GST_FENWICK_MODEL (trans);

  if (!gst_fenwick_latents_decide (query, self->out_size)) {
    GST_FENWICK_ERROR (&self->common, RESOURCE, NO_SPACE_LEFT,
        ("No buffers of %" G_GSIZE_FORMAT " bytes for latents can be had.",
            self->out_size), (NULL));
    return FALSE;
  }
  return TRUE;
}

static gboolean
gst_fenwick_model_sink_event (GstBaseTransform * trans, GstEvent * event)
{
  GstFenwickModel *self = GST_FENWICK_MODEL (trans);
  GstCaps *caps = NULL;
  gboolean ret;

  self->asked = FALSE;
  gst_fenwick_common_sink_event (&self->common, event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS) {
    gst_event_parse_caps (event, &caps);
    gst_caps_ref (caps);
  }
  ret = GST_BASE_TRANSFORM_CLASS (parent_class)->sink_event (trans, event);
  if (caps && !ret && !self->asked)
    gst_fenwick_common_refused (&self->common, trans->srcpad, caps);
  gst_clear_caps (&caps);
  return ret;
}

/* An encoder upstream answers requests for key units with a key unit, which
 * empties the memory when it arrives. Where nobody does, the model does. */
static gboolean
gst_fenwick_model_src_event (GstBaseTransform * trans, GstEvent * event)
{
  GstFenwickModel *self = GST_FENWICK_MODEL (trans);
  gboolean ret;

  gst_event_ref (event);
  ret = GST_BASE_TRANSFORM_CLASS (parent_class)->src_event (trans, event);
  if (!ret)
    ret = gst_fenwick_reset_src_event (&self->common.reset, event);
  gst_event_unref (event);
  return ret;
}

static GstFlowReturn
gst_fenwick_model_submit_input_buffer (GstBaseTransform * trans,
    gboolean discont, GstBuffer * input)
{
  GstFenwickModel *self = GST_FENWICK_MODEL (trans);
  GstFlowReturn ret;

  if (!gst_pad_has_current_caps (trans->sinkpad)) {
    gst_buffer_unref (input);
    return gst_fenwick_common_no_caps (&self->common);
  }
  gst_buffer_ref (input);
  ret = GST_BASE_TRANSFORM_CLASS (parent_class)->submit_input_buffer (trans,
      discont, input);
  if (ret == GST_BASE_TRANSFORM_FLOW_DROPPED)
    ret = gst_fenwick_common_run_late (trans, input);
  gst_buffer_unref (input);
  return ret;
}

static GstFlowReturn
gst_fenwick_model_run (GstFenwickModel * self, GstBuffer * input,
    const GstMapInfo * in, GstBuffer * output, const GstMapInfo * out)
{
  gboolean fresh;
  GstFlowReturn ret = gst_fenwick_common_run (&self->common, input,
      GST_FENWICK_RESET_LATENTS,
      gst_fenwick_common_align (&self->common, in->data, in->size), out->data,
      &fresh);

  if (fresh)
    GST_BUFFER_FLAG_UNSET (output, GST_BUFFER_FLAG_DELTA_UNIT);
  else
    GST_BUFFER_FLAG_SET (output, GST_BUFFER_FLAG_DELTA_UNIT);
  return ret;
}

static GstFlowReturn
gst_fenwick_model_transform (GstBaseTransform * trans, GstBuffer * input,
    GstBuffer * output)
{
  GstFenwickModel *self = GST_FENWICK_MODEL (trans);
  GstMapInfo in, out;
  GstFlowReturn ret;

  if (!gst_fenwick_common_map_latents (&self->common, &in, self->in_size,
          input, GST_MAP_READ))
    return GST_FLOW_ERROR;
  if (!gst_fenwick_common_map_latents (&self->common, &out, self->out_size,
          output, GST_MAP_WRITE)) {
    gst_buffer_unmap (input, &in);
    return GST_FLOW_ERROR;
  }
  ret = gst_fenwick_model_run (self, input, &in, output, &out);
  gst_buffer_unmap (output, &out);
  gst_buffer_unmap (input, &in);
  return ret;
}

static gboolean
gst_fenwick_model_transform_meta (GstBaseTransform * trans,
    GstBuffer * output, GstMeta * meta, GstBuffer * input)
{
  return meta->info->api != GST_VIDEO_META_API_TYPE;
}

static void
gst_fenwick_model_set_property (GObject * object, guint id,
    const GValue * value, GParamSpec * pspec)
{
  gst_fenwick_common_set_property (&GST_FENWICK_MODEL (object)->common, id,
      value, pspec);
}

static void
gst_fenwick_model_get_property (GObject * object, guint id, GValue * value,
    GParamSpec * pspec)
{
  gst_fenwick_common_get_property (&GST_FENWICK_MODEL (object)->common, id,
      value, pspec);
}

static GstStateChangeReturn
gst_fenwick_model_change_state (GstElement * element, GstStateChange transition)
{
  return gst_fenwick_common_change_state (&GST_FENWICK_MODEL (element)->common,
      GST_ELEMENT_CLASS (parent_class), transition);
}

static void
gst_fenwick_model_finalize (GObject * object)
{
  gst_fenwick_common_clear (&GST_FENWICK_MODEL (object)->common);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
gst_fenwick_model_init (GstFenwickModel * self)
{
  gst_fenwick_common_init (&self->common, GST_ELEMENT (self), FW_MODEL,
      GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_FAILED);
  gst_base_transform_set_qos_enabled (GST_BASE_TRANSFORM (self), FALSE);
}

static void
gst_fenwick_model_class_init (GstFenwickModelClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseTransformClass *trans_class = GST_BASE_TRANSFORM_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_fenwick_model_debug, "fenwickmodel", 0,
      "Fenwick temporal model");

  object_class->set_property = gst_fenwick_model_set_property;
  object_class->get_property = gst_fenwick_model_get_property;
  object_class->finalize = gst_fenwick_model_finalize;
  gst_fenwick_common_class_init (object_class, FW_MODEL);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class,
      "Fenwick temporal model", "Filter/Tensor",
      "Rewrites the latents of video with a memory of the frames before",
      GST_FENWICK_AUTHOR);
  element_class->change_state =
      GST_DEBUG_FUNCPTR (gst_fenwick_model_change_state);

  trans_class->transform_caps =
      GST_DEBUG_FUNCPTR (gst_fenwick_model_transform_caps);
  trans_class->fixate_caps = GST_DEBUG_FUNCPTR (gst_fenwick_model_fixate_caps);
  trans_class->set_caps = GST_DEBUG_FUNCPTR (gst_fenwick_model_set_caps);
  trans_class->propose_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_model_propose_allocation);
  trans_class->decide_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_model_decide_allocation);
  trans_class->sink_event = GST_DEBUG_FUNCPTR (gst_fenwick_model_sink_event);
  trans_class->src_event = GST_DEBUG_FUNCPTR (gst_fenwick_model_src_event);
  trans_class->submit_input_buffer =
      GST_DEBUG_FUNCPTR (gst_fenwick_model_submit_input_buffer);
  trans_class->transform = GST_DEBUG_FUNCPTR (gst_fenwick_model_transform);
  trans_class->transform_meta =
      GST_DEBUG_FUNCPTR (gst_fenwick_model_transform_meta);
  trans_class->passthrough_on_same_caps = FALSE;
}
