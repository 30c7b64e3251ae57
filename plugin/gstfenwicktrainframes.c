/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the buffers of fenwicktrain to packed RGB. */
#include "gstfenwicktrain.h"

#include "gstfenwickcaps.h"

void
gst_fenwick_train_drop_converter (GstFenwickTrain * self)
{
  g_clear_pointer (&self->converter, gst_video_converter_free);
  gst_clear_buffer (&self->picture);
  gst_video_info_init (&self->info);
}

static gboolean
make_converter (GstFenwickTrain * self)
{
  const GstVideoInfo *info = &self->info;
  gpointer bytes;
  gsize size;

  if (!gst_video_info_set_format (&self->rgb, GST_VIDEO_FORMAT_RGB,
          (guint) info->width, (guint) info->height))
    return FALSE;
  self->rgb.fps_n = info->fps_n;
  self->rgb.fps_d = info->fps_d;
  size = GST_VIDEO_INFO_SIZE (&self->rgb);
  bytes = g_try_malloc (size);
  if (!bytes)
    return FALSE;
  self->picture = gst_buffer_new_wrapped_full (0, bytes, size, 0, size, bytes,
      g_free);
  self->converter = gst_video_converter_new (info, &self->rgb,
      gst_structure_new ("options", GST_VIDEO_CONVERTER_OPT_THREADS,
          G_TYPE_UINT, 1, NULL));
  return self->converter != NULL;
}

gboolean
gst_fenwick_train_set_caps (GstBaseSink * sink, GstCaps * caps)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (sink);
  GstFenwickReason reason = { "The caps of the video cannot be read" };
  struct kn_video video;

  gst_fenwick_train_drop_converter (self);
  if (!gst_video_info_from_caps (&self->info, caps)
      || !gst_fenwick_video_from_info (&video, &self->info, &reason)) {
    gst_fenwick_train_fail (self, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        g_strdup_printf ("%s.", reason.text));
    gst_video_info_init (&self->info);
    return FALSE;
  }
  if (GST_VIDEO_INFO_FORMAT (&self->info) != GST_VIDEO_FORMAT_RGB
      && !make_converter (self)) {
    gst_fenwick_train_fail (self, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        g_strdup_printf ("Pictures of %s %dx%d cannot be converted to RGB.",
            GST_VIDEO_INFO_NAME (&self->info), self->info.width,
            self->info.height));
    gst_fenwick_train_drop_converter (self);
    return FALSE;
  }
  return TRUE;
}

static gboolean
give (GstFenwickTrain * self, const GstVideoFrame * frame)
{
  GError *error = NULL;
  gboolean ok;

  gst_fenwick_train_enter (self);
  ok = fw_trainer_frame (self->trainer, GST_VIDEO_FRAME_PLANE_DATA (frame, 0),
      (gsize) GST_VIDEO_FRAME_PLANE_STRIDE (frame, 0), self->info.width,
      self->info.height, &error);
  gst_fenwick_train_leave (self);
  if (!ok)
    gst_fenwick_train_error (self, error, g_error_matches (error, FW_ERROR,
            FW_ERROR_NO_SPACE) ? "Raise reservoir-bytes, or scale the video "
        "down." : NULL);
  return ok;
}

static gboolean
give_converted (GstFenwickTrain * self, const GstVideoFrame * frame)
{
  GstVideoFrame rgb;
  gboolean ok;

  if (!self->converter)
    return give (self, frame);
  if (!gst_video_frame_map (&rgb, &self->rgb, self->picture, (GstMapFlags)
          (GST_MAP_READWRITE | GST_VIDEO_FRAME_MAP_FLAG_NO_REF)))
    return FALSE;
  gst_video_converter_frame (self->converter, frame, &rgb);
  ok = give (self, &rgb);
  gst_video_frame_unmap (&rgb);
  return ok;
}

gboolean
gst_fenwick_train_give (GstFenwickTrain * self, GstBuffer * buffer)
{
  GstFenwickReason reason = { "A buffer cannot be mapped" };
  GstVideoFrame frame;
  gboolean ok;

  if (GST_VIDEO_INFO_FORMAT (&self->info) == GST_VIDEO_FORMAT_UNKNOWN) {
    gst_fenwick_train_fail (self, GST_CORE_ERROR, GST_CORE_ERROR_NEGOTIATION,
        g_strdup ("Data came in without caps: put a capsfilter, a parser or a "
            "decoder before this element."));
    return FALSE;
  }
  if (!gst_fenwick_video_check (buffer, &self->info, &reason)
      || !gst_video_frame_map (&frame, &self->info, buffer, (GstMapFlags)
          (GST_MAP_READ | GST_VIDEO_FRAME_MAP_FLAG_NO_REF))) {
    gst_fenwick_train_fail (self, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        g_strdup_printf ("%s.", reason.text));
    return FALSE;
  }
  ok = give_converted (self, &frame);
  gst_video_frame_unmap (&frame);
  return ok;
}
