/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-fenwickenc
 * @title: fenwickenc
 * @short_description: Encodes video to the latents of a neural autoencoder
 * @see_also: fenwickmodel, fenwickdec, fenwickfilter
 *
 * The encoder half of the network: each picture becomes a tensor of half its
 * width and height, padded to whole patches. Caps of the latents are those of
 * tensors in NNStreamer (other/tensors, format=static, dimensions innermost
 * first) with the size, colour and rate of the pictures added, and latent-id,
 * which names the autoencoder. A frame is one buffer with one memory.
 *
 * Types are float32, float16, and uint8 with weights that have a scale, in this
 * order of preference; downstream chooses.
 *
 * A frame at which the memory of the past was emptied goes out without flag
 * DELTA_UNIT, all others with it. It is emptied at a new stream, after a
 * flush, at a segment that does not go on where the last one ended, when the
 * size of the picture changes, at a force-key-unit event from either side
 * (#GstFenwickEnc:reset-on-key-unit) and at buffers with flag DISCONT
 * (#GstFenwickEnc:reset-on-discont).
 *
 * With qos=true a late frame still goes into the memory; only its output is
 * dropped, and a QoS message is posted.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 filesrc location=in.mp4 ! decodebin ! videoconvert ! \
 *     fenwickenc weights=restore-thin.safetensors ! gdppay ! \
 *     filesink location=clip.gdp
 * ]| Latents to a file that keeps caps and times.
 * |[
 * gst-launch-1.0 videotestsrc num-buffers=1 ! \
 *     video/x-raw,width=640,height=480 ! fenwickenc preset=tiny ! \
 *     fakesink dump=true
 * ]| Look at the latents of a picture.
 */
#include "gstfenwickenc.h"

#include <gst/video/gstvideometa.h>

GST_DEBUG_CATEGORY_STATIC (gst_fenwick_enc_debug);
#define GST_CAT_DEFAULT gst_fenwick_enc_debug

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_VIDEO_CAPS));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_LATENTS_CAPS));

#define gst_fenwick_enc_parent_class parent_class
G_DEFINE_TYPE (GstFenwickEnc, gst_fenwick_enc, GST_TYPE_VIDEO_ENCODER);
GST_ELEMENT_REGISTER_DEFINE (fenwickenc, "fenwickenc", GST_RANK_NONE,
    GST_TYPE_FENWICK_ENC);

/* ---------------------------------------------------------- negotiation */

/* Latents of the input's size in every type. */
static gboolean
make_offer (GstFenwickEnc * self)
{
  const GstVideoInfo *info = &self->input->info;
  struct fw_weights *weights = fw_model_weights (self->common.model);
  struct fw_latents dims;

  if (!fw_latents_for (fw_weights_config (weights), info->width, info->height,
          &dims)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT,
        ("Pictures of %dx%d cannot be processed: a picture has 1 to 32768 "
            "pixels each way.", info->width, info->height), (NULL));
    return FALSE;
  }
  gst_caps_take (&self->offer, gst_fenwick_latents_caps_new (&dims,
          fw_weights_latent_id (weights)));
  return TRUE;
}

/* The best of our offer that downstream takes, or NULL. */
static GstCaps *
choose (GstFenwickEnc * self)
{
  GstPad *pad = GST_VIDEO_ENCODER_SRC_PAD (self);
  GstCaps *taken = gst_pad_peer_query_caps (pad, self->offer);
  GstCaps *chosen = NULL;

  for (guint i = 0; gst_fenwick_latents_type (i) && !chosen; i++) {
    GstCaps *one = gst_caps_copy (self->offer);

    gst_caps_set_simple (one, "types", G_TYPE_STRING,
        gst_fenwick_latents_type (i), NULL);
    if (gst_caps_can_intersect (one, taken))
      chosen = gst_caps_ref (one);
    gst_caps_unref (one);
  }
  gst_caps_unref (taken);
  return chosen;
}

/* Plans for latents of these caps and tells downstream. */
static gboolean
apply (GstFenwickEnc * self, GstCaps * caps)
{
  GstVideoEncoder *encoder = GST_VIDEO_ENCODER (self);
  struct fw_plan_params params = { 0, };
  GstFenwickLatents latents;
  GstFenwickReason reason;

  if (!gst_fenwick_latents_from_caps (&latents, caps, &reason)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT, ("%s.", reason.text),
        ("%" GST_PTR_FORMAT, caps));
    return FALSE;
  }
  latents.width = self->video.width;
  latents.height = self->video.height;
  if (!gst_fenwick_common_check_latents (&self->common, &latents))
    return FALSE;
  params.video_in = self->video;
  params.width = self->video.width;
  params.height = self->video.height;
  params.latents_out = latents.type;
  self->size = latents.size;
  if (!gst_fenwick_common_configure (&self->common, &params))
    return FALSE;

  gst_video_codec_state_unref (gst_video_encoder_set_output_state (encoder,
          gst_caps_ref (caps), self->input));
  gst_video_encoder_set_latency (encoder, 0, 0);
  return gst_video_encoder_negotiate (encoder);
}

static gboolean
negotiate (GstFenwickEnc * self)
{
  GstCaps *caps = choose (self);
  gboolean ret;

  if (!caps) {
    gst_fenwick_common_refused (&self->common,
        GST_VIDEO_ENCODER_SRC_PAD (self), self->offer);
    return FALSE;
  }
  ret = apply (self, caps);
  gst_caps_unref (caps);
  return ret;
}

static gboolean
gst_fenwick_enc_set_format (GstVideoEncoder * encoder,
    GstVideoCodecState * state)
{
  GstFenwickEnc *self = GST_FENWICK_ENC (encoder);
  GstFenwickReason reason;

  if (!gst_fenwick_video_from_info (&self->video, &state->info, &reason)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT, ("%s.", reason.text),
        ("%" GST_PTR_FORMAT, state->caps));
    return FALSE;
  }
  g_clear_pointer (&self->input, gst_video_codec_state_unref);
  self->input = gst_video_codec_state_ref (state);
  return make_offer (self) && negotiate (self);
}

/* Downstream asks for other caps: only the type can be another. */
static gboolean
renegotiate (GstFenwickEnc * self)
{
  if (G_LIKELY (!GST_PAD_NEEDS_RECONFIGURE (GST_VIDEO_ENCODER_SRC_PAD (self))))
    return TRUE;
  return negotiate (self);
}

static void
drop_pool (GstFenwickEnc * self)
{
  if (self->pool)
    gst_buffer_pool_set_active (self->pool, FALSE);
  gst_clear_object (&self->pool);
}

static gboolean
gst_fenwick_enc_decide_allocation (GstVideoEncoder * encoder, GstQuery * query)
{
  GstFenwickEnc *self = GST_FENWICK_ENC (encoder);

  drop_pool (self);
  if (gst_fenwick_latents_decide (query, self->size))
    gst_query_parse_nth_allocation_pool (query, 0, &self->pool, NULL, NULL,
        NULL);
  if (!self->pool || !gst_buffer_pool_set_active (self->pool, TRUE)) {
    gst_clear_object (&self->pool);
    GST_FENWICK_ERROR (&self->common, RESOURCE, NO_SPACE_LEFT,
        ("No buffers of %" G_GSIZE_FORMAT " bytes for latents can be had.",
            self->size), (NULL));
    return FALSE;
  }
  return GST_VIDEO_ENCODER_CLASS (parent_class)->decide_allocation (encoder,
      query);
}

/* --------------------------------------------------------------- frames */

static GstFlowReturn
encode_mapped (GstFenwickEnc * self, GstVideoCodecFrame * frame,
    const GstVideoFrame * in, const GstMapInfo * out)
{
  GstFenwickResetFlags flags = GST_VIDEO_CODEC_FRAME_IS_FORCE_KEYFRAME (frame)
      ? GST_FENWICK_RESET_FORCED : 0;
  struct kn_picture picture;
  gboolean fresh;
  GstFlowReturn ret;

  gst_fenwick_picture_from_frame (&picture, in);
  ret = gst_fenwick_common_run (&self->common, frame->input_buffer, flags,
      &picture, out->data, &fresh);
  if (fresh)
    GST_VIDEO_CODEC_FRAME_SET_SYNC_POINT (frame);
  return ret;
}

static GstFlowReturn
encode (GstFenwickEnc * self, GstVideoCodecFrame * frame, GstBuffer * output)
{
  GstVideoFrame in;
  GstMapInfo out;
  GstFlowReturn ret;

  if (!gst_fenwick_common_map_video (&self->common, &in, &self->input->info,
          frame->input_buffer, GST_MAP_READ))
    return GST_FLOW_ERROR;
  if (!gst_fenwick_common_map_latents (&self->common, &out, self->size, output,
          GST_MAP_WRITE)) {
    gst_video_frame_unmap (&in);
    return GST_FLOW_ERROR;
  }
  ret = encode_mapped (self, frame, &in, &out);
  gst_buffer_unmap (output, &out);
  gst_video_frame_unmap (&in);
  return ret;
}

/* What the base class does not copy. */
static void
copy_fields (GstBuffer * to, GstBuffer * from)
{
  GST_BUFFER_OFFSET (to) = GST_BUFFER_OFFSET (from);
  GST_BUFFER_OFFSET_END (to) = GST_BUFFER_OFFSET_END (from);
  if (GST_BUFFER_IS_DISCONT (from))
    GST_BUFFER_FLAG_SET (to, GST_BUFFER_FLAG_DISCONT);
}

static GstFlowReturn
gst_fenwick_enc_handle_frame (GstVideoEncoder * encoder,
    GstVideoCodecFrame * frame)
{
  GstFenwickEnc *self = GST_FENWICK_ENC (encoder);
  GstBuffer *output = NULL;
  GstFlowReturn ret = GST_FLOW_NOT_NEGOTIATED;

  if (renegotiate (self))
    ret = gst_buffer_pool_acquire_buffer (self->pool, &output, NULL);
  if (ret == GST_FLOW_OK)
    ret = encode (self, frame, output);
  if (ret != GST_FLOW_OK) {
    gst_clear_buffer (&output);
    gst_video_codec_frame_unref (frame);
    return ret;
  }

  copy_fields (output, frame->input_buffer);
  /* a frame that tells the others to forget must not get lost */
  if (gst_video_encoder_is_qos_enabled (encoder)
      && gst_video_encoder_get_max_encode_time (encoder, frame) < 0
      && !GST_VIDEO_CODEC_FRAME_IS_SYNC_POINT (frame))
    gst_clear_buffer (&output);
  frame->output_buffer = output;
  return gst_video_encoder_finish_frame (encoder, frame);
}

/* The base class knows no more to say than that it was not initialised. */
static GstFlowReturn
gst_fenwick_enc_chain (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  GstFenwickEnc *self = GST_FENWICK_ENC (parent);

  if (!gst_pad_has_current_caps (pad)) {
    gst_buffer_unref (buffer);
    return gst_fenwick_common_no_caps (&self->common);
  }
  return self->chain (pad, parent, buffer);
}

static gboolean
gst_fenwick_enc_sink_event (GstVideoEncoder * encoder, GstEvent * event)
{
  GstFenwickEnc *self = GST_FENWICK_ENC (encoder);

  /* the base class finds the frames that force-key-unit events mean */
  if (GST_EVENT_TYPE (event) != GST_EVENT_CUSTOM_DOWNSTREAM)
    gst_fenwick_common_sink_event (&self->common, event);
  return GST_VIDEO_ENCODER_CLASS (parent_class)->sink_event (encoder, event);
}

static gboolean
gst_fenwick_enc_transform_meta (GstVideoEncoder * encoder,
    GstVideoCodecFrame * frame, GstMeta * meta)
{
  return meta->info->api != GST_VIDEO_META_API_TYPE;
}

static gboolean
gst_fenwick_enc_stop (GstVideoEncoder * encoder)
{
  GstFenwickEnc *self = GST_FENWICK_ENC (encoder);

  drop_pool (self);
  g_clear_pointer (&self->input, gst_video_codec_state_unref);
  gst_clear_caps (&self->offer);
  return TRUE;
}

/* --------------------------------------------------------------- object */

static void
gst_fenwick_enc_set_property (GObject * object, guint id, const GValue * value,
    GParamSpec * pspec)
{
  gst_fenwick_common_set_property (&GST_FENWICK_ENC (object)->common, id,
      value, pspec);
}

static void
gst_fenwick_enc_get_property (GObject * object, guint id, GValue * value,
    GParamSpec * pspec)
{
  gst_fenwick_common_get_property (&GST_FENWICK_ENC (object)->common, id,
      value, pspec);
}

static GstStateChangeReturn
gst_fenwick_enc_change_state (GstElement * element, GstStateChange transition)
{
  return gst_fenwick_common_change_state (&GST_FENWICK_ENC (element)->common,
      GST_ELEMENT_CLASS (parent_class), transition);
}

static void
gst_fenwick_enc_finalize (GObject * object)
{
  gst_fenwick_common_clear (&GST_FENWICK_ENC (object)->common);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
gst_fenwick_enc_init (GstFenwickEnc * self)
{
  GstPad *pad = GST_VIDEO_ENCODER_SINK_PAD (self);

  gst_fenwick_common_init (&self->common, GST_ELEMENT (self), FW_ENCODER,
      GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_ENCODE);
  self->chain = GST_PAD_CHAINFUNC (pad);
  gst_pad_set_chain_function (pad, GST_DEBUG_FUNCPTR (gst_fenwick_enc_chain));
}

static void
gst_fenwick_enc_class_init (GstFenwickEncClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstVideoEncoderClass *encoder_class = GST_VIDEO_ENCODER_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_fenwick_enc_debug, "fenwickenc", 0,
      "Fenwick encoder");

  object_class->set_property = gst_fenwick_enc_set_property;
  object_class->get_property = gst_fenwick_enc_get_property;
  object_class->finalize = gst_fenwick_enc_finalize;
  gst_fenwick_common_class_init (object_class, FW_ENCODER);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class,
      "Fenwick video encoder", "Codec/Encoder/Video",
      "Encodes video to the latents of a neural autoencoder",
      GST_FENWICK_AUTHOR);
  element_class->change_state =
      GST_DEBUG_FUNCPTR (gst_fenwick_enc_change_state);

  encoder_class->stop = GST_DEBUG_FUNCPTR (gst_fenwick_enc_stop);
  encoder_class->set_format = GST_DEBUG_FUNCPTR (gst_fenwick_enc_set_format);
  encoder_class->handle_frame =
      GST_DEBUG_FUNCPTR (gst_fenwick_enc_handle_frame);
  encoder_class->sink_event = GST_DEBUG_FUNCPTR (gst_fenwick_enc_sink_event);
  encoder_class->transform_meta =
      GST_DEBUG_FUNCPTR (gst_fenwick_enc_transform_meta);
  encoder_class->decide_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_enc_decide_allocation);
}
