/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-fenwickdec
 * @title: fenwickdec
 * @short_description: Decodes latents of a neural autoencoder to video
 * @see_also: fenwickenc, fenwickmodel, fenwickfilter
 *
 * The decoder half of the network. Size, rate, pixel aspect ratio and colour
 * of the pictures come from the caps of the latents; without width and height
 * a picture is twice as wide and high as its latents.
 *
 * Of the formats that downstream accepts it takes the first in an order that
 * follows the colorimetry of the latents: RGB formats when the pictures were
 * RGB, 10 bit formats when the transfer function is one of high dynamic range,
 * GRAY8 when they were grey, else I420, NV12, YV12, and so on.
 *
 * Latents of another autoencoder (field latent-id) are refused, and buffers
 * of another size than the caps say.
 *
 * The memory of the frame before is emptied at a new stream, after a flush, at
 * a segment that does not go on where the last one ended, when the size of the
 * picture changes, at a force-key-unit event
 * (#GstFenwickDec:reset-on-key-unit), at buffers with flag DISCONT
 * (#GstFenwickDec:reset-on-discont), and at a frame without flag DELTA_UNIT
 * among frames with it.
 *
 * Played backwards, each picture is decoded by itself.
 *
 * With qos=true, the default of video decoders, frames that come too late are
 * decoded, for the memory's sake, and then dropped with a QoS message.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 filesrc location=clip.gdp ! gdpdepay ! \
 *     fenwickdec weights=restore-thin.safetensors ! videoconvert ! \
 *     autovideosink
 * ]| Latents from a file that fenwickenc ! gdppay wrote.
 * |[
 * gst-launch-1.0 filesrc location=clip.f32 blocksize=9830400 ! \
 *     "other/tensors,format=static,num_tensors=1,types=float32,\
 *     dimensions=(string)32:320:240:1,framerate=30/1" ! \
 *     fenwickdec preset=tiny ! videoconvert ! autovideosink
 * ]| The same from a file of bare numbers, 640x480.
 */
#include "gstfenwickdec.h"

#include <gst/video/gstvideometa.h>
#include <gst/video/gstvideopool.h>

GST_DEBUG_CATEGORY_STATIC (gst_fenwick_dec_debug);
#define GST_CAT_DEFAULT gst_fenwick_dec_debug

/* The base class reads caps of video only, so it gets to see latents under
 * this name. It never leaves the element. */
#define INNER_NAME "video/x-fenwick-latents"

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_LATENTS_CAPS));

static GstStaticPadTemplate src_template = GST_STATIC_PAD_TEMPLATE ("src",
    GST_PAD_SRC, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_VIDEO_CAPS));

#define gst_fenwick_dec_parent_class parent_class
G_DEFINE_TYPE (GstFenwickDec, gst_fenwick_dec, GST_TYPE_VIDEO_DECODER);
GST_ELEMENT_REGISTER_DEFINE (fenwickdec, "fenwickdec", GST_RANK_NONE,
    GST_TYPE_FENWICK_DEC);

/* ---------------------------------------------------------- negotiation */

/* The default asks downstream for a size, which elements that know only
 * tensors would write into their caps. */
static GstCaps *
gst_fenwick_dec_getcaps (GstVideoDecoder * decoder, GstCaps * filter)
{
  GstCaps *caps =
      gst_pad_get_pad_template_caps (GST_VIDEO_DECODER_SINK_PAD (decoder));

  if (filter) {
    GstCaps *both =
        gst_caps_intersect_full (filter, caps, GST_CAPS_INTERSECT_FIRST);

    gst_caps_unref (caps);
    caps = both;
  }
  return caps;
}

/* Pictures in this format, otherwise as the latents say. */
static gboolean
describe (GstFenwickDec * self, GstVideoFormat format, GstVideoInfo * info)
{
  const GstVideoInfo *from = &self->input->info;

  if (!gst_video_info_set_format (info, format, (guint) from->width,
          (guint) from->height))
    return FALSE;
  gst_fenwick_video_set_color (info, &from->colorimetry, from->chroma_site);
  info->flags = from->flags;
  info->par_n = from->par_n;
  info->par_d = from->par_d;
  info->fps_n = from->fps_n;
  info->fps_d = from->fps_d;
  info->views = from->views;
  GST_VIDEO_INFO_MULTIVIEW_MODE (info) = GST_VIDEO_INFO_MULTIVIEW_MODE (from);
  GST_VIDEO_INFO_MULTIVIEW_FLAGS (info) = GST_VIDEO_INFO_MULTIVIEW_FLAGS (from);
  return TRUE;
}

static gboolean
accepts (GstCaps * accepted, const GstVideoInfo * info)
{
  GstCaps *caps = gst_video_info_to_caps ((GstVideoInfo *) info);
  const gboolean yes = gst_caps_can_intersect (caps, accepted);

  gst_caps_unref (caps);
  return yes;
}

/* Downstream takes none of our formats, or not the size, rate or colour. */
static void
refused (GstFenwickDec * self)
{
  GstVideoInfo info;
  GstCaps *offer = NULL;

  if (describe (self, GST_VIDEO_FORMAT_I420, &info))
    offer = gst_video_info_to_caps (&info);
  gst_fenwick_common_refused (&self->common, GST_VIDEO_DECODER_SRC_PAD (self),
      offer);
  gst_clear_caps (&offer);
}

/* The best format that downstream takes. */
static gboolean
choose (GstFenwickDec * self, GstVideoInfo * info)
{
  GstPad *pad = GST_VIDEO_DECODER_SRC_PAD (self);
  GstCaps *template = gst_pad_get_pad_template_caps (pad);
  GstCaps *accepted = gst_pad_peer_query_caps (pad, template);
  GstVideoFormat format;
  gboolean found = FALSE;

  for (guint i = 0; !found; i++) {
    format = gst_fenwick_video_format (&self->input->info.colorimetry, i);
    if (format == GST_VIDEO_FORMAT_UNKNOWN)
      break;
    found = describe (self, format, info) && accepts (accepted, info);
  }
  gst_caps_unref (accepted);
  gst_caps_unref (template);
  if (!found)
    refused (self);
  return found;
}

/* Plans for pictures of info; the base class tells downstream when the next
 * frame asks for a buffer. */
static gboolean
apply (GstFenwickDec * self, const GstVideoInfo * info)
{
  struct fw_plan_params params = { 0, };
  GstVideoCodecState *state;
  GstFenwickReason reason;

  if (!gst_fenwick_video_from_info (&params.video_out, info, &reason)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT, ("%s.", reason.text),
        (NULL));
    return FALSE;
  }
  params.width = info->width;
  params.height = info->height;
  params.latents_in = self->type;
  if (!gst_fenwick_common_configure (&self->common, &params))
    return FALSE;

  self->info = *info;
  state = gst_video_decoder_set_output_state (GST_VIDEO_DECODER (self),
      GST_VIDEO_INFO_FORMAT (info), (guint) info->width, (guint) info->height,
      self->input);
  state->info.colorimetry = info->colorimetry;
  state->info.chroma_site = info->chroma_site;
  gst_video_codec_state_unref (state);
  gst_video_decoder_set_latency (GST_VIDEO_DECODER (self), 0, 0);
  return TRUE;
}

static gboolean
gst_fenwick_dec_set_format (GstVideoDecoder * decoder,
    GstVideoCodecState * state)
{
  GstFenwickDec *self = GST_FENWICK_DEC (decoder);
  GstFenwickLatents latents;
  GstFenwickReason reason;
  GstVideoInfo info;

  if (!gst_fenwick_latents_from_caps (&latents, state->caps, &reason)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT, ("%s.", reason.text),
        ("%" GST_PTR_FORMAT, state->caps));
    return FALSE;
  }
  if (GST_VIDEO_INFO_IS_INTERLACED (&state->info)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT,
        ("Latents are of whole pictures, not interlace-mode=%s.",
            gst_video_interlace_mode_to_string (state->info.interlace_mode)),
        (NULL));
    return FALSE;
  }
  if (!gst_fenwick_common_check_latents (&self->common, &latents))
    return FALSE;

  g_clear_pointer (&self->input, gst_video_codec_state_unref);
  self->input = gst_video_codec_state_ref (state);
  self->type = latents.type;
  self->size = latents.size;
  return choose (self, &info) && apply (self, &info);
}

/* Downstream asks for other caps. */
static gboolean
renegotiate (GstFenwickDec * self)
{
  GstVideoInfo info;

  if (G_LIKELY (!GST_PAD_NEEDS_RECONFIGURE (GST_VIDEO_DECODER_SRC_PAD (self))))
    return TRUE;
  if (!choose (self, &info))
    return FALSE;
  return gst_video_info_is_equal (&info, &self->info) || apply (self, &info);
}

/* Adds GstVideoMeta to the pool's buffers where downstream reads it. */
static gboolean
gst_fenwick_dec_decide_allocation (GstVideoDecoder * decoder, GstQuery * query)
{
  GstBufferPool *pool = NULL;
  GstStructure *config;

  if (!GST_VIDEO_DECODER_CLASS (parent_class)->decide_allocation (decoder,
          query))
    return FALSE;
  if (!gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL))
    return TRUE;

  gst_query_parse_nth_allocation_pool (query, 0, &pool, NULL, NULL, NULL);
  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  if (!gst_buffer_pool_set_config (pool, config))
    GST_DEBUG_OBJECT (decoder, "the pool keeps its settings");
  gst_object_unref (pool);
  return TRUE;
}

static gboolean
gst_fenwick_dec_propose_allocation (GstVideoDecoder * decoder, GstQuery * query)
{
  return gst_fenwick_latents_propose (query);
}

/* --------------------------------------------------------------- events */

/* Hands caps to the base class under a name that it reads, with the size of
 * the picture. Takes the event. */
static gboolean
rename_caps (GstFenwickDec * self, GstEvent * event)
{
  GstFenwickLatents latents;
  GstFenwickReason reason;
  GstEvent *inner;
  GstCaps *caps;
  gboolean ret;

  gst_event_parse_caps (event, &caps);
  if (!gst_fenwick_latents_from_caps (&latents, caps, &reason)) {
    GST_FENWICK_ERROR (&self->common, STREAM, FORMAT, ("%s.", reason.text),
        ("%" GST_PTR_FORMAT, caps));
    gst_event_unref (event);
    return FALSE;
  }
  caps = gst_caps_copy (caps);
  gst_structure_set_name (gst_caps_get_structure (caps, 0), INNER_NAME);
  gst_caps_set_simple (caps, "width", G_TYPE_INT, latents.width, "height",
      G_TYPE_INT, latents.height, NULL);
  inner = gst_event_new_caps (caps);
  gst_event_set_seqnum (inner, gst_event_get_seqnum (event));
  ret =
      GST_VIDEO_DECODER_CLASS (parent_class)->sink_event (GST_VIDEO_DECODER
      (self), inner);
  gst_caps_unref (caps);
  gst_event_unref (event);
  return ret;
}

static gboolean
gst_fenwick_dec_sink_event (GstVideoDecoder * decoder, GstEvent * event)
{
  GstFenwickDec *self = GST_FENWICK_DEC (decoder);

  gst_fenwick_common_sink_event (&self->common, event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_CAPS)
    return rename_caps (self, event);
  /* after a failure the base class would add an error that nothing was
   * decoded */
  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS
      && gst_fenwick_common_failed (&self->common))
    return gst_pad_push_event (GST_VIDEO_DECODER_SRC_PAD (self), event);
  return GST_VIDEO_DECODER_CLASS (parent_class)->sink_event (decoder, event);
}

/* As in fenwickmodel: an encoder upstream answers, else the decoder does. */
static gboolean
gst_fenwick_dec_src_event (GstVideoDecoder * decoder, GstEvent * event)
{
  GstFenwickDec *self = GST_FENWICK_DEC (decoder);
  gboolean ret;

  gst_event_ref (event);
  ret = GST_VIDEO_DECODER_CLASS (parent_class)->src_event (decoder, event);
  if (!ret)
    ret = gst_fenwick_reset_src_event (&self->common.reset, event);
  gst_event_unref (event);
  return ret;
}

/* --------------------------------------------------------------- frames */

static GstFlowReturn
decode_mapped (GstFenwickDec * self, GstVideoCodecFrame * frame,
    const GstMapInfo * in, const GstVideoFrame * out)
{
  struct kn_picture picture;
  gboolean fresh;

  gst_fenwick_picture_from_frame (&picture, out);
  return gst_fenwick_common_run (&self->common, frame->input_buffer,
      GST_FENWICK_RESET_LATENTS,
      gst_fenwick_common_align (&self->common, in->data, in->size), &picture,
      &fresh);
}

static GstFlowReturn
decode (GstFenwickDec * self, GstVideoCodecFrame * frame)
{
  GstMapInfo in;
  GstVideoFrame out;
  GstFlowReturn ret;

  if (!gst_fenwick_common_map_latents (&self->common, &in, self->size,
          frame->input_buffer, GST_MAP_READ))
    return GST_FLOW_ERROR;
  if (!gst_fenwick_common_map_video (&self->common, &out, &self->info,
          frame->output_buffer, GST_MAP_WRITE)) {
    gst_buffer_unmap (frame->input_buffer, &in);
    return GST_FLOW_ERROR;
  }
  ret = decode_mapped (self, frame, &in, &out);
  gst_video_frame_unmap (&out);
  gst_buffer_unmap (frame->input_buffer, &in);
  return ret;
}

/* A buffer for the picture; the base class negotiates where that is due. */
static GstFlowReturn
allocate (GstFenwickDec * self, GstVideoCodecFrame * frame)
{
  GstVideoDecoder *decoder = GST_VIDEO_DECODER (self);
  GstFlowReturn ret;

  if (!self->common.plan)
    return gst_fenwick_common_no_caps (&self->common);
  if (!renegotiate (self))
    return GST_FLOW_NOT_NEGOTIATED;
  ret = gst_video_decoder_allocate_output_frame (decoder, frame);
  if (ret == GST_FLOW_ERROR) {
    if (GST_PAD_IS_FLUSHING (GST_VIDEO_DECODER_SRC_PAD (self)))
      return GST_FLOW_FLUSHING;
    refused (self);
  }
  return ret;
}

static GstFlowReturn
gst_fenwick_dec_handle_frame (GstVideoDecoder * decoder,
    GstVideoCodecFrame * frame)
{
  GstFenwickDec *self = GST_FENWICK_DEC (decoder);
  GstFlowReturn ret = allocate (self, frame);

  if (ret == GST_FLOW_OK)
    ret = decode (self, frame);
  if (ret != GST_FLOW_OK) {
    gst_video_decoder_release_frame (decoder, frame);
    return ret;
  }
  if (GST_BUFFER_IS_DISCONT (frame->input_buffer))
    GST_BUFFER_FLAG_SET (frame->output_buffer, GST_BUFFER_FLAG_DISCONT);
  return gst_video_decoder_finish_frame (decoder, frame);
}

/* Played backwards, the base class keeps frames until one comes that stands
 * for itself and begins a new stretch: so each does, or latents of the whole
 * video would lie in memory. */
static GstFlowReturn
gst_fenwick_dec_chain (GstPad * pad, GstObject * parent, GstBuffer * buffer)
{
  if (GST_VIDEO_DECODER (parent)->input_segment.rate < 0) {
    buffer = gst_buffer_make_writable (buffer);
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
    GST_BUFFER_FLAG_UNSET (buffer, GST_BUFFER_FLAG_DELTA_UNIT);
  }
  return GST_FENWICK_DEC (parent)->chain (pad, parent, buffer);
}

/* Nothing is held back, so there is nothing to drain. */
static GstFlowReturn
gst_fenwick_dec_drain (GstVideoDecoder * decoder)
{
  return GST_FLOW_OK;
}

static gboolean
gst_fenwick_dec_transform_meta (GstVideoDecoder * decoder,
    GstVideoCodecFrame * frame, GstMeta * meta)
{
  return meta->info->api != GST_VIDEO_META_API_TYPE;
}

static gboolean
gst_fenwick_dec_stop (GstVideoDecoder * decoder)
{
  GstFenwickDec *self = GST_FENWICK_DEC (decoder);

  g_clear_pointer (&self->input, gst_video_codec_state_unref);
  return TRUE;
}

/* --------------------------------------------------------------- object */

static void
gst_fenwick_dec_set_property (GObject * object, guint id, const GValue * value,
    GParamSpec * pspec)
{
  gst_fenwick_common_set_property (&GST_FENWICK_DEC (object)->common, id,
      value, pspec);
}

static void
gst_fenwick_dec_get_property (GObject * object, guint id, GValue * value,
    GParamSpec * pspec)
{
  gst_fenwick_common_get_property (&GST_FENWICK_DEC (object)->common, id,
      value, pspec);
}

static GstStateChangeReturn
gst_fenwick_dec_change_state (GstElement * element, GstStateChange transition)
{
  return gst_fenwick_common_change_state (&GST_FENWICK_DEC (element)->common,
      GST_ELEMENT_CLASS (parent_class), transition);
}

static void
gst_fenwick_dec_finalize (GObject * object)
{
  gst_fenwick_common_clear (&GST_FENWICK_DEC (object)->common);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
gst_fenwick_dec_init (GstFenwickDec * self)
{
  GstPad *pad = GST_VIDEO_DECODER_SINK_PAD (self);

  gst_fenwick_common_init (&self->common, GST_ELEMENT (self), FW_DECODER,
      GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE);
  gst_video_decoder_set_packetized (GST_VIDEO_DECODER (self), TRUE);
  self->chain = GST_PAD_CHAINFUNC (pad);
  gst_pad_set_chain_function (pad, GST_DEBUG_FUNCPTR (gst_fenwick_dec_chain));
}

static void
gst_fenwick_dec_class_init (GstFenwickDecClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstVideoDecoderClass *decoder_class = GST_VIDEO_DECODER_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_fenwick_dec_debug, "fenwickdec", 0,
      "Fenwick decoder");

  object_class->set_property = gst_fenwick_dec_set_property;
  object_class->get_property = gst_fenwick_dec_get_property;
  object_class->finalize = gst_fenwick_dec_finalize;
  gst_fenwick_common_class_init (object_class, FW_DECODER);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_add_static_pad_template (element_class, &src_template);
  gst_element_class_set_static_metadata (element_class,
      "Fenwick video decoder", "Codec/Decoder/Video",
      "Decodes latents of a neural autoencoder to video", GST_FENWICK_AUTHOR);
  element_class->change_state =
      GST_DEBUG_FUNCPTR (gst_fenwick_dec_change_state);

  decoder_class->stop = GST_DEBUG_FUNCPTR (gst_fenwick_dec_stop);
  decoder_class->getcaps = GST_DEBUG_FUNCPTR (gst_fenwick_dec_getcaps);
  decoder_class->set_format = GST_DEBUG_FUNCPTR (gst_fenwick_dec_set_format);
  decoder_class->handle_frame =
      GST_DEBUG_FUNCPTR (gst_fenwick_dec_handle_frame);
  decoder_class->drain = GST_DEBUG_FUNCPTR (gst_fenwick_dec_drain);
  decoder_class->finish = GST_DEBUG_FUNCPTR (gst_fenwick_dec_drain);
  decoder_class->sink_event = GST_DEBUG_FUNCPTR (gst_fenwick_dec_sink_event);
  decoder_class->src_event = GST_DEBUG_FUNCPTR (gst_fenwick_dec_src_event);
  decoder_class->transform_meta =
      GST_DEBUG_FUNCPTR (gst_fenwick_dec_transform_meta);
  decoder_class->decide_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_dec_decide_allocation);
  decoder_class->propose_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_dec_propose_allocation);
}
