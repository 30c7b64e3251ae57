/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * video-digest FILE: what a video file decodes to, in one line:
 *
 *   frames=90 width=320 height=240 format=I420 first=0 last=2966000000 sha256=...
 *
 * The hash covers the visible samples of every frame and nothing else, so that two files have the
 * same one exactly when they hold the same pictures. first and last are timestamps.
 */
#include <gst/app/gstappsink.h>
#include <gst/video/video.h>

typedef struct
{
  GstVideoInfo info;
  guint64 frames;
  GstClockTime first, last;
  GChecksum *hash;
} Digest;

static void
add_component (Digest *digest, const GstVideoFrame *frame, guint c)
{
  gint width = GST_VIDEO_FRAME_COMP_WIDTH (frame, c);
  gint height = GST_VIDEO_FRAME_COMP_HEIGHT (frame, c);
  gint step = GST_VIDEO_FRAME_COMP_PSTRIDE (frame, c);
  gint bytes = (GST_VIDEO_INFO_COMP_DEPTH (&frame->info, c) + 7) / 8;
  guint8 *row = g_malloc ((gsize) width * bytes);

  for (gint y = 0; y < height; y++) {
    const guint8 *from = (const guint8 *) GST_VIDEO_FRAME_COMP_DATA (frame, c) +
        (gssize) y * GST_VIDEO_FRAME_COMP_STRIDE (frame, c);

    for (gint x = 0; x < width; x++)
      for (gint b = 0; b < bytes; b++)
        row[x * bytes + b] = from[x * step + b];
    g_checksum_update (digest->hash, row, width * bytes);
  }
  g_free (row);
}

static gboolean
add_sample (Digest *digest, GstSample *sample)
{
  GstBuffer *buffer = gst_sample_get_buffer (sample);
  GstVideoFrame frame;

  if (!gst_video_info_from_caps (&digest->info, gst_sample_get_caps (sample)) ||
      !gst_video_frame_map (&frame, &digest->info, buffer, GST_MAP_READ))
    return FALSE;
  for (guint c = 0; c < GST_VIDEO_FRAME_N_COMPONENTS (&frame); c++)
    add_component (digest, &frame, c);
  gst_video_frame_unmap (&frame);
  if (digest->frames++ == 0)
    digest->first = GST_BUFFER_PTS (buffer);
  digest->last = GST_BUFFER_PTS (buffer);
  return TRUE;
}

/* The next frame, or NULL at the end or on an error: an element that fails does not always say so
 * to the sink. */
static GstSample *
next_sample (GstElement *pipeline, GstAppSink *sink)
{
  GstBus *bus = gst_element_get_bus (pipeline);
  GstSample *sample = NULL;
  gboolean failed = FALSE;

  while (!sample && !failed && !gst_app_sink_is_eos (sink)) {
    GstMessage *message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);

    failed = message != NULL;
    g_clear_pointer (&message, gst_message_unref);
    if (!failed)
      sample = gst_app_sink_try_pull_sample (sink, 100 * GST_MSECOND);
  }
  gst_object_unref (bus);
  return sample;
}

static gboolean
read_all (GstElement *pipeline, Digest *digest)
{
  GstAppSink *sink = GST_APP_SINK (gst_bin_get_by_name (GST_BIN (pipeline), "sink"));
  GstSample *sample;
  gboolean ok = TRUE;

  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  while (ok && (sample = next_sample (pipeline, sink))) {
    ok = add_sample (digest, sample);
    gst_sample_unref (sample);
  }
  ok = ok && digest->frames > 0 && gst_app_sink_is_eos (sink);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (sink);
  return ok;
}

int
main (int argc, char **argv)
{
  Digest digest = { .frames = 0 };
  GstElement *pipeline, *source;
  gboolean ok;

  gst_init (&argc, &argv);
  if (argc != 2) {
    g_printerr ("usage: video-digest FILE\n");
    return 2;
  }
  pipeline = gst_parse_launch ("filesrc name=source ! decodebin ! video/x-raw ! "
                               "appsink name=sink sync=false max-buffers=4",
      NULL);
  if (!pipeline)
    return 1;
  source = gst_bin_get_by_name (GST_BIN (pipeline), "source");
  g_object_set (source, "location", argv[1], NULL);
  gst_object_unref (source);
  digest.hash = g_checksum_new (G_CHECKSUM_SHA256);
  ok = read_all (pipeline, &digest);
  if (ok)
    g_print ("frames=%" G_GUINT64_FORMAT " width=%d height=%d format=%s first=%" G_GUINT64_FORMAT
             " last=%" G_GUINT64_FORMAT " sha256=%s\n",
        digest.frames, digest.info.width, digest.info.height,
        gst_video_format_to_string (GST_VIDEO_INFO_FORMAT (&digest.info)), digest.first,
        digest.last, g_checksum_get_string (digest.hash));
  else
    g_printerr ("video-digest: %s: cannot be read as video\n", argv[1]);
  g_checksum_free (digest.hash);
  gst_object_unref (pipeline);
  gst_deinit ();
  return ok ? 0 : 1;
}
