/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* enc ! model ! dec gives the same bits as the filter, whatever lies between
 * the three and whatever happens to the stream. */
#include "common.h"

#include <string.h>

#define END " ! capsfilter caps=video/x-raw,format=%s"

static const gchar *const presets[] = { "tiny", "thin", "full", "seed" };

static gchar *
filter_line (const gchar * preset, const gchar * more)
{
  return g_strdup_printf ("fenwickfilter weights=%s %s",
      test_weights (preset, 5), more);
}

static gchar *
split_line (const gchar * preset, const gchar * between, const gchar * format,
    const gchar * more)
{
  const gchar *w = test_weights (preset, 5);

  return g_strdup_printf ("fenwickenc weights=%s %s ! %s fenwickmodel "
      "weights=%s %s ! %s fenwickdec weights=%s %s" END, w, more, between, w,
      more, between, w, more, format);
}

/* Takes both lines. */
static void
compare (gchar * a, gchar * b, const gchar * format, gint width, gint height,
    guint frames)
{
  gchar *const lines[] = { a, b };
  GPtrArray *out[2];
  GstVideoInfo info;

  test_info (&info, format, width, height);
  for (guint i = 0; i < 2; i++) {
    GstHarness *h = test_harness (lines[i], format, width, height);

    out[i] = test_run_frames (h, &info, 0, frames);
    gst_harness_teardown (h);
  }
  test_equal_pictures (&info, out[0], out[1]);
  for (guint i = 0; i < 2; i++)
    g_ptr_array_unref (out[i]);
  g_free (a);
  g_free (b);
}

GST_START_TEST (test_preset)
{
  const gchar *preset = presets[__i__];
  const guint frames = strcmp (preset, "seed") == 0 ? 4 : 8;

  compare (filter_line (preset, "precision=float32"),
      split_line (preset, "", "I420", "precision=float32"), "I420", 18, 10,
      frames);
}

GST_END_TEST;

GST_START_TEST (test_precision)
{
  static const gchar *const precisions[] = {
    "precision=auto", "precision=float32", "precision=bfloat16"
  };

  compare (filter_line ("tiny", precisions[__i__]), split_line ("tiny", "",
          "RGB", precisions[__i__]), "RGB", 21, 13, 10);
}

GST_END_TEST;

GST_START_TEST (test_between)
{
  static const gchar *const between[] = {
    "queue !", "gdppay ! gdpdepay !", "queue ! gdppay ! gdpdepay ! queue !",
    "identity !", "capsfilter caps=other/tensors,types=float32 !"
  };

  compare (filter_line ("tiny", ""), split_line ("tiny", between[__i__], "NV12",
          ""), "NV12", 16, 16, 12);
}

GST_END_TEST;

/* Runs a pipeline whose sink keeps what comes. */
static void
keep (GstElement * sink, GstBuffer * buffer, GstPad * pad, gpointer frames)
{
  g_ptr_array_add (frames, gst_buffer_ref (buffer));
}

static GPtrArray *
run (gchar * line)
{
  GPtrArray *frames =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
  GError *error = NULL;
  GstElement *pipeline = gst_parse_launch (line, &error);
  GstElement *sink;
  GstMessage *message;
  GstBus *bus;

  fail_unless (pipeline != NULL && error == NULL, "%s", line);
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "out");
  if (sink) {
    g_object_set (sink, "signal-handoffs", TRUE, "sync", FALSE, NULL);
    g_signal_connect (sink, "handoff", G_CALLBACK (keep), frames);
    gst_object_unref (sink);
  }
  bus = gst_element_get_bus (pipeline);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (bus, 30 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless (message != NULL
      && GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS, "%s", line);
  gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  g_free (line);
  return frames;
}

#define SOURCE "videotestsrc pattern=ball num-buffers=10 ! " \
  "video/x-raw,format=I420,width=40,height=24,framerate=25/1 ! "
#define SINK " ! video/x-raw,format=I420 ! fakesink name=out"

/* Through a file that keeps caps, times and flags. */
GST_START_TEST (test_gdp_file)
{
  const gchar *w = test_weights ("tiny", 5);
  gchar *path = test_path ("latents.gdp");
  GPtrArray *a, *b;

  a = run (g_strdup_printf (SOURCE "fenwickfilter weights=%s" SINK, w));
  g_ptr_array_unref (run (g_strdup_printf (SOURCE "fenwickenc weights=%s ! "
              "gdppay ! filesink location=%s", w, path)));
  b = run (g_strdup_printf ("filesrc location=%s ! gdpdepay ! fenwickmodel "
          "weights=%s ! fenwickdec weights=%s" SINK, path, w, w));
  fail_unless_equals_int (a->len, 10);
  test_equal_frames (a, b);
  for (guint i = 0; i < a->len; i++) {
    fail_unless_equals_uint64 (GST_BUFFER_PTS (a->pdata[i]),
        GST_BUFFER_PTS (b->pdata[i]));
    fail_unless_equals_uint64 (GST_BUFFER_DURATION (a->pdata[i]),
        GST_BUFFER_DURATION (b->pdata[i]));
  }
  g_ptr_array_unref (a);
  g_ptr_array_unref (b);
  g_free (path);
}

GST_END_TEST;

/* Bare numbers from a file, with caps by hand. */
GST_START_TEST (test_raw_file)
{
  const gchar *w = test_weights ("tiny", 5);
  gchar *path = test_path ("latents.f32");
  GPtrArray *a, *b;

  a = run (g_strdup_printf (SOURCE "fenwickfilter weights=%s" SINK, w));
  g_ptr_array_unref (run (g_strdup_printf (SOURCE "fenwickenc weights=%s ! "
              "filesink location=%s", w, path)));
  b = run (g_strdup_printf ("filesrc location=%s blocksize=%d ! "
          "other/tensors,format=static,num_tensors=1,types=float32,"
          "dimensions=(string)32:20:12:1,framerate=25/1,colorimetry=bt601 ! "
          "fenwickmodel weights=%s ! fenwickdec weights=%s" SINK, path,
          32 * 20 * 12 * 4, w, w));
  fail_unless_equals_int (b->len, 10);
  test_equal_frames (a, b);
  for (guint i = 0; i < b->len; i++)
    fail_unless_equals_uint64 (GST_BUFFER_PTS (b->pdata[i]),
        i * 40 * GST_MSECOND);
  g_ptr_array_unref (a);
  g_ptr_array_unref (b);
  g_free (path);
}

GST_END_TEST;

/* One video after another, of another size, in one stream. */
#define TWO " concat name=c videotestsrc pattern=ball num-buffers=6 ! " \
  "video/x-raw,format=I420,width=40,height=24,framerate=25/1 ! c. " \
  "videotestsrc pattern=smpte num-buffers=6 ! " \
  "video/x-raw,format=I420,width=%d,height=16,framerate=25/1 ! c. c. ! "

GST_START_TEST (test_concat)
{
  const gchar *w = test_weights ("tiny", 5);
  const gint width = __i__ ? 24 : 40;
  GPtrArray *a, *b;

  a = run (g_strdup_printf (TWO "fenwickfilter weights=%s" SINK, width, w));
  b = run (g_strdup_printf (TWO "fenwickenc weights=%s ! queue ! fenwickmodel "
          "weights=%s ! queue ! fenwickdec weights=%s" SINK, width, w, w, w));
  fail_unless_equals_int (a->len, 12);
  test_equal_frames (a, b);
  for (guint i = 0; i < a->len; i++)
    fail_unless_equals_uint64 (GST_BUFFER_PTS (a->pdata[i]),
        GST_BUFFER_PTS (b->pdata[i]));
  g_ptr_array_unref (a);
  g_ptr_array_unref (b);
}

GST_END_TEST;

/* What happens to a stream, in the same way to both. */
typedef void (*Happening) (GstHarness * h, guint frame, GstBuffer * buffer);

static void
caps_change (GstHarness * h, guint frame, GstBuffer * buffer)
{
  static const gchar *const formats[] = { "I420", "NV12", "I420", "YV12" };

  if (frame % 3 == 0)
    gst_harness_set_src_caps (h, test_caps (formats[frame / 3 % 4], 16, 16));
}

static void
seek (GstHarness * h, guint frame, GstBuffer * buffer)
{
  GstSegment segment;

  if (frame != 4 && frame != 9)
    return;
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.position = segment.time = frame * 40 * GST_MSECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

static void
discont (GstHarness * h, guint frame, GstBuffer * buffer)
{
  if (frame % 5 == 3)
    GST_BUFFER_FLAG_SET (buffer, GST_BUFFER_FLAG_DISCONT);
}

static void
segments (GstHarness * h, guint frame, GstBuffer * buffer)
{
  GstSegment segment;

  if (frame % 4 != 2)
    return;
  /* goes on, or does not */
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = frame * 40 * GST_MSECOND - (frame % 8 == 2 ? 0
      : 5 * GST_MSECOND);
  segment.position = segment.time = segment.start;
  segment.base = frame * GST_MSECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

static void
key_units (GstHarness * h, guint frame, GstBuffer * buffer)
{
  if (frame == 3)
    gst_harness_push_event (h,
        gst_video_event_new_downstream_force_key_unit (GST_CLOCK_TIME_NONE,
            GST_CLOCK_TIME_NONE, 250 * GST_MSECOND, TRUE, 1));
  if (frame == 5)
    gst_harness_push_upstream_event (h,
        gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE,
            1));
  if (frame == 9)
    gst_harness_push_event (h,
        gst_video_event_new_downstream_force_key_unit (GST_CLOCK_TIME_NONE,
            GST_CLOCK_TIME_NONE, 0, TRUE, 2));
}

static void
clipped (GstHarness * h, guint frame, GstBuffer * buffer)
{
  GstSegment segment;

  if (frame != 4)
    return;
  /* frames 4 and 5 come before this segment */
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.start = segment.position = segment.time = 6 * 40 * GST_MSECOND;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
}

static const Happening happenings[] = {
  caps_change, seek, discont, segments, key_units, clipped
};

static GPtrArray *
live (gchar * line, Happening happening)
{
  GstHarness *h = test_harness (line, "I420", 16, 16);
  GPtrArray *out =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);
  GstBuffer *buffer;
  GstVideoInfo info;

  for (guint i = 0; i < 14; i++) {
    test_info (&info, "I420", 16, 16);
    buffer = test_picture (&info, i);
    happening (h, i, buffer);
    fail_unless_equals_int (gst_harness_push (h, buffer), GST_FLOW_OK);
    while ((buffer = gst_harness_try_pull (h)))
      g_ptr_array_add (out, buffer);
  }
  gst_harness_teardown (h);
  g_free (line);
  return out;
}

/* The converter after the filter only moves planes: formats differ in layout. */
GST_START_TEST (test_happening)
{
  const gchar *more = "reset-on-key-unit=true";
  const gchar *w = test_weights ("tiny", 5);
  GPtrArray *a, *b;

  a = live (g_strdup_printf ("fenwickfilter weights=%s %s ! videoconvert" END,
          w, more, "I420"), happenings[__i__]);
  b = live (split_line ("tiny", "", "I420", more), happenings[__i__]);
  fail_unless (a->len >= 12);
  test_equal_frames (a, b);
  g_ptr_array_unref (a);
  g_ptr_array_unref (b);
}

GST_END_TEST;

/* Weights with no tensor zero do change the picture: else all of the above
 * would hold for an element that does nothing. */
GST_START_TEST (test_not_identity)
{
  gchar *line = filter_line ("tiny", "");
  GstHarness *h = test_harness (line, "RGB", 16, 16);
  GstVideoInfo info;
  GPtrArray *out;
  GstBuffer *in;

  test_info (&info, "RGB", 16, 16);
  out = test_run_frames (h, &info, 0, 2);
  in = test_picture (&info, 1);
  fail_unless (test_difference (&info, in, out->pdata[1], -1) > 8);
  gst_buffer_unref (in);
  g_ptr_array_unref (out);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

static Suite *
split_suite (void)
{
  Suite *s = suite_create ("split");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_not_identity);
  tcase_add_loop_test (tc, test_preset, 0, G_N_ELEMENTS (presets));
  tcase_add_loop_test (tc, test_precision, 0, 3);
  tcase_add_loop_test (tc, test_between, 0, 5);
  tcase_add_test (tc, test_gdp_file);
  tcase_add_test (tc, test_raw_file);
  tcase_add_loop_test (tc, test_concat, 0, 2);
  tcase_add_loop_test (tc, test_happening, 0, G_N_ELEMENTS (happenings));
  return s;
}

TEST_MAIN (split)
