/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "picture.h"

#define GAP 4     /* pixels between the two */
#define LEAST 128 /* magnify until the longer side has as many pixels */

/* Draws a frame at (x, 0), every pixel as a block of scale x scale. */
static gboolean
paste (GstVideoFrame *picture, gint x, gint scale, GstSample *sample)
{
  GstVideoInfo info;
  GstVideoFrame frame;
  GstVideoConverter *converter;
  GstStructure *options;

  if (!gst_video_info_from_caps (&info, gst_sample_get_caps (sample)))
    return FALSE;
  info.fps_n = picture->info.fps_n;
  info.fps_d = picture->info.fps_d;
  if (!gst_video_frame_map (&frame, &info, gst_sample_get_buffer (sample), GST_MAP_READ))
    return FALSE;
  options = gst_structure_new_empty ("options");
  gst_structure_set (options, GST_VIDEO_CONVERTER_OPT_DEST_X, G_TYPE_INT, x, NULL);
  gst_structure_set (options, GST_VIDEO_CONVERTER_OPT_DEST_Y, G_TYPE_INT, 0, NULL);
  gst_structure_set (
      options, GST_VIDEO_CONVERTER_OPT_DEST_WIDTH, G_TYPE_INT, info.width * scale, NULL);
  gst_structure_set (
      options, GST_VIDEO_CONVERTER_OPT_DEST_HEIGHT, G_TYPE_INT, info.height * scale, NULL);
  gst_structure_set (options, GST_VIDEO_CONVERTER_OPT_FILL_BORDER, G_TYPE_BOOLEAN, FALSE, NULL);
  gst_structure_set (options, GST_VIDEO_CONVERTER_OPT_RESAMPLER_METHOD,
      GST_TYPE_VIDEO_RESAMPLER_METHOD, GST_VIDEO_RESAMPLER_METHOD_NEAREST, NULL);
  converter = gst_video_converter_new (&info, &picture->info, options);
  if (converter) {
    gst_video_converter_frame (converter, &frame, picture);
    gst_video_converter_free (converter);
  }
  gst_video_frame_unmap (&frame);
  return converter != NULL;
}

/* Both frames in one RGB sample, or NULL. */
static GstSample *
join (GstSample *left, GstSample *right)
{
  GstVideoInfo a, b, both;
  GstVideoFrame picture;
  GstBuffer *buffer;
  GstSample *sample = NULL;
  gint scale = 1;

  if (!gst_video_info_from_caps (&a, gst_sample_get_caps (left)) ||
      !gst_video_info_from_caps (&b, gst_sample_get_caps (right)))
    return NULL;
  while (scale * MAX (a.width, a.height) < LEAST)
    scale++;
  gst_video_info_set_format (&both, GST_VIDEO_FORMAT_RGB, (a.width + b.width) * scale + GAP,
      MAX (a.height, b.height) * scale);
  /* The converter wants equal rates, and a picture has none. */
  both.fps_n = 0;
  both.fps_d = 1;
  buffer = gst_buffer_new_allocate (NULL, both.size, NULL);
  if (!buffer)
    return NULL;
  gst_buffer_memset (buffer, 0, 0xff, both.size);
  if (gst_video_frame_map (&picture, &both, buffer, GST_MAP_READWRITE)) {
    gboolean ok =
        paste (&picture, 0, scale, left) && paste (&picture, a.width * scale + GAP, scale, right);

    gst_video_frame_unmap (&picture);
    if (ok) {
      GstCaps *caps = gst_video_info_to_caps (&both);

      sample = gst_sample_new (buffer, caps, NULL, NULL);
      gst_caps_unref (caps);
    }
  }
  gst_buffer_unref (buffer);
  return sample;
}

gboolean
picture_write (GstSample *left, GstSample *right, const gchar *path, GError **error)
{
  GstSample *both = join (left, right), *png;
  GstCaps *caps;
  GstMapInfo map;
  gboolean ok = FALSE;

  if (!both) {
    g_set_error (
        error, GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "cannot turn the frames into a picture");
    return FALSE;
  }
  caps = gst_caps_new_empty_simple ("image/png");
  png = gst_video_convert_sample (both, caps, 60 * GST_SECOND, error);
  gst_caps_unref (caps);
  gst_sample_unref (both);
  if (!png)
    return FALSE;
  if (gst_buffer_map (gst_sample_get_buffer (png), &map, GST_MAP_READ)) {
    ok = g_file_set_contents (path, (const gchar *) map.data, (gssize) map.size, error);
    gst_buffer_unmap (gst_sample_get_buffer (png), &map);
  }
  gst_sample_unref (png);
  return ok;
}
