/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * embed [OPTION...]: how an application sends frames from its own memory through fenwickfilter and
 * has each one back before it makes the next.
 *
 *   appsrc ! fenwickfilter ! appsink
 *
 * Frames are lent to the pipeline, not copied; the filter has no delay, so one frame in gives one
 * frame out.
 */
#include <gst/app/gstappsink.h>
#include <gst/app/gstappsrc.h>
#include <gst/video/video.h>
#include <locale.h>

#define WIDTH 320
#define HEIGHT 240
#define RATE 30
#define FRAME_BYTES (WIDTH * HEIGHT * 3) /* RGB; the row size is divisible by four */

typedef struct
{
  GstElement *pipeline;
  GstAppSrc *in;
  GstAppSink *out;
} Filter;

/* ---- the filter, as the application sees it ---- */

static gboolean
filter_open (Filter *filter, const gchar *properties, GError **error)
{
  gchar *line = g_strdup_printf (
      "appsrc name=in is-live=false format=time block=true "
      "caps=video/x-raw,format=RGB,width=%d,height=%d,framerate=%d/1 ! fenwickfilter %s ! "
      "appsink name=out sync=false",
      WIDTH, HEIGHT, RATE, properties);

  filter->pipeline = gst_parse_launch_full (line, NULL, GST_PARSE_FLAG_FATAL_ERRORS, error);
  g_free (line);
  if (!filter->pipeline)
    return FALSE;
  filter->in = GST_APP_SRC (gst_bin_get_by_name (GST_BIN (filter->pipeline), "in"));
  filter->out = GST_APP_SINK (gst_bin_get_by_name (GST_BIN (filter->pipeline), "out"));
  gst_element_set_state (filter->pipeline, GST_STATE_PLAYING);
  return TRUE;
}

static gboolean
filter_failed (Filter *filter, GError **error)
{
  GstBus *bus = gst_element_get_bus (filter->pipeline);
  GstMessage *message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);

  if (message) {
    gst_message_parse_error (message, error, NULL);
    gst_message_unref (message);
  }
  gst_object_unref (bus);
  return message != NULL;
}

/* Gives the frame in pixels to the filter, and returns what comes out; NULL and an error on
 * failure. The pixels must stay as they are until the sample is there. */
static GstSample *
filter_frame (Filter *filter, guint8 *pixels, guint64 number, GError **error)
{
  GstBuffer *buffer = gst_buffer_new_wrapped_full (
      GST_MEMORY_FLAG_READONLY, pixels, FRAME_BYTES, 0, FRAME_BYTES, NULL, NULL);

  GstSample *sample = NULL;

  GST_BUFFER_PTS (buffer) = gst_util_uint64_scale (number, GST_SECOND, RATE);
  GST_BUFFER_DURATION (buffer) = GST_SECOND / RATE;
  gst_app_src_push_buffer (filter->in, buffer);
  /* What goes wrong is told on the bus; the sink alone would wait for ever. */
  while (!sample && !filter_failed (filter, error))
    sample = gst_app_sink_try_pull_sample (filter->out, 50 * GST_MSECOND);
  return sample;
}

static void
filter_close (Filter *filter)
{
  if (!filter->pipeline)
    return;
  gst_element_set_state (filter->pipeline, GST_STATE_NULL);
  gst_object_unref (filter->in);
  gst_object_unref (filter->out);
  gst_object_unref (filter->pipeline);
}

/* ---- the application ---- */

/* A picture that moves, with noise. */
static void
draw (guint8 *pixels, guint number, GRand *noise)
{
  for (guint y = 0; y < HEIGHT; y++)
    for (guint x = 0; x < WIDTH; x++)
      for (guint c = 0; c < 3; c++)
        *pixels++ = ((x + 2 * number) * (c + 1) + y) % 224 + g_rand_int_range (noise, 0, 32);
}

/* Mean difference of the samples, in code values. */
static gdouble
difference (const guint8 *pixels, GstSample *sample)
{
  GstMapInfo map;
  guint64 sum = 0;

  if (!gst_buffer_map (gst_sample_get_buffer (sample), &map, GST_MAP_READ))
    return 0;
  for (gsize i = 0; i < MIN (map.size, FRAME_BYTES); i++)
    sum += ABS (pixels[i] - map.data[i]);
  gst_buffer_unmap (gst_sample_get_buffer (sample), &map);
  return (gdouble) sum / FRAME_BYTES;
}

static gboolean
run (Filter *filter, gint frames, GError **error)
{
  guint8 *pixels = g_malloc (FRAME_BYTES);
  GRand *noise = g_rand_new_with_seed (1);
  gdouble sum = 0;
  gint done;

  for (done = 0; done < frames; done++) {
    GstSample *sample;

    draw (pixels, done, noise);
    sample = filter_frame (filter, pixels, done, error);
    if (!sample)
      break;
    sum += difference (pixels, sample);
    gst_sample_unref (sample);
  }
  if (done == frames)
    g_print ("%d frames in, %d frames out, mean change %.3f of 255\n", frames, done,
        sum / MAX (done, 1));
  g_rand_free (noise);
  g_free (pixels);
  return done == frames;
}

int
main (int argc, char **argv)
{
  gchar *properties = NULL;
  gint frames = 30;
  const GOptionEntry entries[] = {
    { "frames", 'n', 0, G_OPTION_ARG_INT, &frames, "Frames to make (30)", "N" },
    { "properties", 'p', 0, G_OPTION_ARG_STRING, &properties,
        "Properties of fenwickfilter, e.g. \"preset=tiny weights=FILE\"", "TEXT" },
    { NULL },
  };
  GOptionContext *context = g_option_context_new (NULL);
  Filter filter = { NULL };
  GError *error = NULL;
  gboolean ok;

  setlocale (LC_ALL, "");
  g_option_context_set_summary (context,
      "Makes frames in memory, sends each one through "
      "fenwickfilter and compares it with what comes back.");
  g_option_context_add_main_entries (context, entries, NULL);
  g_option_context_add_group (context, gst_init_get_option_group ());
  ok = g_option_context_parse (context, &argc, &argv, &error) &&
      filter_open (&filter, properties ? properties : "", &error) && run (&filter, frames, &error);
  if (!ok)
    g_printerr ("embed: %s\n", error->message);
  filter_close (&filter);
  g_option_context_free (context);
  g_clear_error (&error);
  g_free (properties);
  gst_deinit ();
  return ok ? 0 : 1;
}
