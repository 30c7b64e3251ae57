/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-fenwickfilter
 * @title: fenwickfilter
 * @short_description: Runs video through a neural network with memory
 * @see_also: fenwickenc, fenwickmodel, fenwickdec
 *
 * Encodes each frame to latents, lets a causal temporal model read and rewrite
 * them, and decodes them again, all in one element: one frame in, one frame
 * out, no frame of delay. What the network does - remove noise, say - depends
 * on the #GstFenwickFilter:weights.
 *
 * Both pads have the same caps. Alpha is handed through, as are times, flags,
 * offsets and metas. Interlaced video is refused: insert deinterlace.
 *
 * The network forgets what came before at a new stream, after a flush, at a
 * segment that does not go on where the last one ended, when the size of the
 * picture changes, and at buffers with flag DISCONT (property
 * #GstFenwickFilter:reset-on-discont). A force-key-unit event makes it forget
 * only with #GstFenwickFilter:reset-on-key-unit: else a viewer who asks an
 * encoder downstream to recover would see the picture flash. A new pixel
 * format of the same size is no reason to forget.
 *
 * With qos=true a late frame still goes into the memory; only its output is
 * dropped, and a QoS message is posted.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! \
 *     fenwickfilter weights=restore-thin.safetensors ! videoconvert ! \
 *     autovideosink
 * ]| Watch a file, restored.
 * |[
 * gst-launch-1.0 videotestsrc is-live=true ! \
 *     video/x-raw,width=640,height=480 ! \
 *     fenwickfilter preset=tiny device=cpu ! videoconvert ! autovideosink
 * ]| A live source through the identity network.
 */
#include "gstfenwickfilter.h"

#include <gst/video/gstvideometa.h>
#include <gst/video/gstvideopool.h>

GST_DEBUG_CATEGORY_STATIC (gst_fenwick_filter_debug);
#define GST_CAT_DEFAULT gst_fenwick_filter_debug

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_VIDEO_CAPS));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_VIDEO_CAPS));

#define gst_fenwick_filter_parent_class parent_class
G_DEFINE_TYPE (GstFenwickFilter, gst_fenwick_filter, GST_TYPE_BASE_TRANSFORM);
GST_ELEMENT_REGISTER_DEFINE (fenwickfilter, "fenwickfilter", GST_RANK_NONE,
    GST_TYPE_FENWICK_FILTER);

static gboolean
gst_fenwick_filter_set_caps (GstBaseTransform * trans, GstCaps * incaps,
    GstCaps * outcaps)
{
  GstFenwickFilter *self = GST_FENWICK_FILTER (trans);
  struct fw_plan_params params = { 0, };
  GstFenwickReason reason;

  self->asked = TRUE;
  if (!gst_video_info_from_caps (&self->info, incaps)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT,
        ("The caps of the video cannot be read."),
        ("%" GST_PTR_FORMAT, incaps));
    return FALSE;
  }
  if (!gst_fenwick_video_from_info (&params.video_in, &self->info, &reason)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT, ("%s.", reason.text),
        ("%" GST_PTR_FORMAT, incaps));
    return FALSE;
  }
  params.video_out = params.video_in;
  params.width = self->info.width;
  params.height = self->info.height;
  return gst_fenwick_common_configure (&self->common, &params);
}

static gboolean
gst_fenwick_filter_propose_allocation (GstBaseTransform * trans,
    GstQuery * decide_query, GstQuery * query)
{
  GstBufferPool *pool = NULL;
  GstStructure *config;
  GstVideoInfo info;
  GstCaps *caps;
  gboolean need_pool;
  guint size;

  gst_query_parse_allocation (query, &caps, &need_pool);
  if (!caps || !gst_video_info_from_caps (&info, caps))
    return FALSE;
  size = (guint) GST_VIDEO_INFO_SIZE (&info);

  if (need_pool) {
    pool = gst_video_buffer_pool_new ();
    config = gst_buffer_pool_get_config (pool);
    gst_buffer_pool_config_set_params (config, caps, size, 0, 0);
    if (!gst_buffer_pool_set_config (pool, config))
      gst_clear_object (&pool);
  }
  /* without a pool too: it says how much a buffer of somebody else's needs */
  gst_query_add_allocation_pool (query, pool, size, 0, 0);
  gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
  gst_clear_object (&pool);
  return TRUE;
}

static gboolean
gst_fenwick_filter_decide_allocation (GstBaseTransform * trans,
    GstQuery * query)
{
  GstFenwickFilter *self = GST_FENWICK_FILTER (trans);
  const gboolean proposed = gst_query_get_n_allocation_pools (query) > 0;
  GstBufferPool *pool = NULL;
  GstStructure *config;
  GstCaps *caps;
  guint size = (guint) GST_VIDEO_INFO_SIZE (&self->info), min = 0, max = 0;

  gst_query_parse_allocation (query, &caps, NULL);
  if (proposed) {
    guint theirs;

    gst_query_parse_nth_allocation_pool (query, 0, &pool, &theirs, &min, &max);
    size = MAX (size, theirs);
  }
  if (!pool)
    pool = gst_video_buffer_pool_new ();

  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_set_params (config, caps, size, min, max);
  gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (!gst_buffer_pool_set_config (pool, config))
    GST_DEBUG_OBJECT (self, "the pool of downstream changes its settings");

  if (proposed)
    gst_query_set_nth_allocation_pool (query, 0, pool, size, min, max);
  else
    gst_query_add_allocation_pool (query, pool, size, min, max);
  gst_object_unref (pool);
  return GST_BASE_TRANSFORM_CLASS (parent_class)->decide_allocation (trans,
      query);
}

static gboolean
gst_fenwick_filter_sink_event (GstBaseTransform * trans, GstEvent * event)
{
  GstFenwickFilter *self = GST_FENWICK_FILTER (trans);
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

static gboolean
gst_fenwick_filter_src_event (GstBaseTransform * trans, GstEvent * event)
{
  GstFenwickFilter *self = GST_FENWICK_FILTER (trans);

  gst_fenwick_reset_src_event (&self->common.reset, event);
  return GST_BASE_TRANSFORM_CLASS (parent_class)->src_event (trans, event);
}

/* A frame outside the segment is not part of the video: sinks would drop it,
 * as fenwickenc does, and the memory must not see it either. */
static gboolean
outside (GstBaseTransform * trans, GstBuffer * buffer)
{
  const GstClockTime start = GST_BUFFER_PTS (buffer);
  GstClockTime stop = GST_CLOCK_TIME_NONE;

  if (trans->segment.format != GST_FORMAT_TIME
      || !GST_CLOCK_TIME_IS_VALID (start))
    return FALSE;
  if (GST_BUFFER_DURATION_IS_VALID (buffer))
    stop = start + GST_BUFFER_DURATION (buffer);
  return !gst_segment_clip (&trans->segment, GST_FORMAT_TIME, start, stop, NULL,
      NULL);
}

static GstFlowReturn
gst_fenwick_filter_submit_input_buffer (GstBaseTransform * trans,
    gboolean discont, GstBuffer * input)
{
  GstFenwickFilter *self = GST_FENWICK_FILTER (trans);
  GstFlowReturn ret;

  if (!gst_pad_has_current_caps (trans->sinkpad)) {
    gst_buffer_unref (input);
    return gst_fenwick_common_no_caps (&self->common);
  }
  if (outside (trans, input)) {
    gst_buffer_unref (input);
    return GST_BASE_TRANSFORM_FLOW_DROPPED;
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
gst_fenwick_filter_run (GstFenwickFilter * self, GstVideoFrame * in,
    GstVideoFrame * out)
{
  struct kn_picture from, to;
  gboolean fresh;

  gst_fenwick_picture_from_frame (&from, in);
  gst_fenwick_picture_from_frame (&to, out);
  return gst_fenwick_common_run (&self->common, in->buffer, 0, &from, &to,
      &fresh);
}

static GstFlowReturn
gst_fenwick_filter_transform (GstBaseTransform * trans, GstBuffer * input,
    GstBuffer * output)
{
  GstFenwickFilter *self = GST_FENWICK_FILTER (trans);
  GstVideoFrame in, out;
  GstFlowReturn ret;

  if (!gst_fenwick_common_map_video (&self->common, &in, &self->info, input,
          GST_MAP_READ))
    return GST_FLOW_ERROR;
  if (!gst_fenwick_common_map_video (&self->common, &out, &self->info, output,
          GST_MAP_WRITE)) {
    gst_video_frame_unmap (&in);
    return GST_FLOW_ERROR;
  }
  ret = gst_fenwick_filter_run (self, &in, &out);
  gst_video_frame_unmap (&out);
  gst_video_frame_unmap (&in);
  return ret;
}

/* All metas go along; GstVideoMeta describes the buffer that it lies in. */
static gboolean
gst_fenwick_filter_transform_meta (GstBaseTransform * trans,
    GstBuffer * output, GstMeta * meta, GstBuffer * input)
{
  return meta->info->api != GST_VIDEO_META_API_TYPE;
}

static void
gst_fenwick_filter_set_property (GObject * object, guint id,
    const GValue * value, GParamSpec * pspec)
{
  gst_fenwick_common_set_property (&GST_FENWICK_FILTER (object)->common, id,
      value, pspec);
}

static void
gst_fenwick_filter_get_property (GObject * object, guint id, GValue * value,
    GParamSpec * pspec)
{
  gst_fenwick_common_get_property (&GST_FENWICK_FILTER (object)->common, id,
      value, pspec);
}

static GstStateChangeReturn
gst_fenwick_filter_change_state (GstElement * element,
    GstStateChange transition)
{
  return gst_fenwick_common_change_state (&GST_FENWICK_FILTER (element)->common,
      GST_ELEMENT_CLASS (parent_class), transition);
}

static void
gst_fenwick_filter_finalize (GObject * object)
{
  gst_fenwick_common_clear (&GST_FENWICK_FILTER (object)->common);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
gst_fenwick_filter_init (GstFenwickFilter * self)
{
  gst_fenwick_common_init (&self->common, GST_ELEMENT (self), FW_FILTER,
      GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_FAILED);
  gst_base_transform_set_qos_enabled (GST_BASE_TRANSFORM (self), FALSE);
}

static void
gst_fenwick_filter_class_init (GstFenwickFilterClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseTransformClass *trans_class = GST_BASE_TRANSFORM_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_fenwick_filter_debug, "fenwickfilter", 0,
      "Fenwick filter");

  object_class->set_property = gst_fenwick_filter_set_property;
  object_class->get_property = gst_fenwick_filter_get_property;
  object_class->finalize = gst_fenwick_filter_finalize;
  gst_fenwick_common_class_init (object_class, FW_FILTER);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class,
      "Fenwick video filter", "Filter/Effect/Video",
      "Runs video through encoder, temporal model and decoder of a neural "
      "network", GST_FENWICK_AUTHOR);
  element_class->change_state =
      GST_DEBUG_FUNCPTR (gst_fenwick_filter_change_state);

  trans_class->set_caps = GST_DEBUG_FUNCPTR (gst_fenwick_filter_set_caps);
  trans_class->propose_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_filter_propose_allocation);
  trans_class->decide_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_filter_decide_allocation);
  trans_class->sink_event = GST_DEBUG_FUNCPTR (gst_fenwick_filter_sink_event);
  trans_class->src_event = GST_DEBUG_FUNCPTR (gst_fenwick_filter_src_event);
  trans_class->submit_input_buffer =
      GST_DEBUG_FUNCPTR (gst_fenwick_filter_submit_input_buffer);
  trans_class->transform = GST_DEBUG_FUNCPTR (gst_fenwick_filter_transform);
  trans_class->transform_meta =
      GST_DEBUG_FUNCPTR (gst_fenwick_filter_transform_meta);
  trans_class->passthrough_on_same_caps = FALSE;
}
