/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* When the network forgets: the filter and the three elements alike. */
#include "common.h"

#define WIDTH 16
#define HEIGHT 8
#define BEFORE 3
#define AFTER 2

/* The same settings in both; reset-on-key-unit is off in the filter unless
 * said. */
#define SETTINGS " precision=float32 threads=1 weights=%s %s "

typedef struct
{
  GstHarness *h;
  const gchar *model;           /* the element whose stats count */
} Setup;

static gchar *
line_of (guint which, const gchar * extra)
{
  const gchar *w = test_weights ("tiny", 3);

  if (which == 0)
    return g_strdup_printf ("fenwickfilter" SETTINGS, w, extra);
  return g_strdup_printf ("fenwickenc" SETTINGS "! fenwickmodel" SETTINGS
      "! fenwickdec" SETTINGS "! capsfilter caps=video/x-raw,format=I420",
      w, extra, w, extra, w, extra);
}

static void
setup (Setup * s, guint which, const gchar * extra)
{
  gchar *line = line_of (which, extra);

  s->h = test_harness (line, "I420", WIDTH, HEIGHT);
  s->model = which == 0 ? "fenwickfilter" : "fenwickmodel";
  g_free (line);
}

/* Frames AFTER what happened, as a network gives them that never saw those
 * BEFORE (fresh) or that saw them without interruption. */
static GPtrArray *
expected (guint which, gboolean fresh)
{
  GstVideoInfo info;
  GPtrArray *out;
  Setup s;

  setup (&s, which, "");
  test_info (&info, "I420", WIDTH, HEIGHT);
  out = test_run_frames (s.h, &info, fresh ? BEFORE : 0,
      AFTER + (fresh ? 0 : BEFORE));
  if (!fresh)
    g_ptr_array_remove_range (out, 0, BEFORE);
  gst_harness_teardown (s.h);
  return out;
}

typedef void (*Happening) (Setup * s, const GstVideoInfo * info);

/* Runs frames, lets it happen, runs frames: do the latter show that the
 * network forgot? */
static void
check (guint which, const gchar * extra, Happening happening, gboolean forgets)
{
  GPtrArray *want = expected (which, forgets);
  GPtrArray *other = expected (which, !forgets);
  GPtrArray *have;
  GstVideoInfo info;
  Setup s;

  /* memory shows, or this test shows nothing */
  fail_if (test_equal (want->pdata[0], other->pdata[0]));
  setup (&s, which, extra);
  test_info (&info, "I420", WIDTH, HEIGHT);
  have = test_run_frames (s.h, &info, 0, BEFORE);
  g_ptr_array_set_size (have, 0);
  happening (&s, &info);
  test_append_frames (have, s.h, &info, BEFORE, AFTER);
  test_equal_frames (have, want);
  fail_unless_equals_int (test_stat (s.h, s.model, "resets"), forgets ? 1 : 0);
  gst_harness_teardown (s.h);
  g_ptr_array_unref (have);
  g_ptr_array_unref (want);
  g_ptr_array_unref (other);
}

static void
nothing (Setup * s, const GstVideoInfo * info)
{
}

static void
send_segment (Setup * s, GstClockTime start, gdouble rate)
{
  GstSegment segment;

  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = rate;
  segment.start = segment.position = segment.time = start;
  fail_unless (gst_harness_push_event (s->h, gst_event_new_segment (&segment)));
}

static void
same_segment (Setup * s, const GstVideoInfo * info)
{
  send_segment (s, 0, 1.0);
}

/* Begins where the last frame ended. */
static void
next_segment (Setup * s, const GstVideoInfo * info)
{
  send_segment (s, BEFORE * 40 * GST_MSECOND, 1.0);
}

static void
other_segment (Setup * s, const GstVideoInfo * info)
{
  send_segment (s, (BEFORE * 40 - 20) * GST_MSECOND, 1.0);
}

static void
other_rate (Setup * s, const GstVideoInfo * info)
{
  send_segment (s, 0, 2.0);
}

static void
new_stream (Setup * s, const GstVideoInfo * info)
{
  gst_harness_push_event (s->h, gst_event_new_stream_start ("another"));
}

static void
same_stream (Setup * s, const GstVideoInfo * info)
{
  GstEvent *event =
      gst_pad_get_sticky_event (s->h->srcpad, GST_EVENT_STREAM_START, 0);
  const gchar *id;

  gst_event_parse_stream_start (event, &id);
  gst_harness_push_event (s->h, gst_event_new_stream_start (id));
  gst_event_unref (event);
}

static void
flush (Setup * s, const GstVideoInfo * info)
{
  gst_harness_push_event (s->h, gst_event_new_flush_start ());
  gst_harness_push_event (s->h, gst_event_new_flush_stop (TRUE));
  send_segment (s, 0, 1.0);
}

static void
gap (Setup * s, const GstVideoInfo * info)
{
  gst_harness_push_event (s->h, gst_event_new_gap (BEFORE * 40 * GST_MSECOND,
          GST_MSECOND));
}

/* Another size and back. */
static void
geometry (Setup * s, const GstVideoInfo * info)
{
  gst_harness_set_src_caps (s->h, test_caps ("I420", WIDTH + 2, HEIGHT));
  gst_harness_set_src_caps (s->h, test_caps ("I420", WIDTH, HEIGHT));
}

/* Another size that pads to the same latents. */
static void
small_geometry (Setup * s, const GstVideoInfo * info)
{
  gst_harness_set_src_caps (s->h, test_caps ("I420", WIDTH - 1, HEIGHT));
  gst_harness_set_src_caps (s->h, test_caps ("I420", WIDTH, HEIGHT));
}

/* Another format and back, without a frame in between. */
static void
format (Setup * s, const GstVideoInfo * info)
{
  gst_harness_set_src_caps (s->h, test_caps ("RGB", WIDTH, HEIGHT));
  gst_harness_set_src_caps (s->h, test_caps ("I420", WIDTH, HEIGHT));
}

static void
key_unit_down (Setup * s, const GstVideoInfo * info)
{
  gst_harness_push_event (s->h,
      gst_video_event_new_downstream_force_key_unit (GST_CLOCK_TIME_NONE,
          GST_CLOCK_TIME_NONE, BEFORE * 40 * GST_MSECOND, TRUE, 1));
}

static void
key_unit_up (Setup * s, const GstVideoInfo * info)
{
  gst_harness_push_upstream_event (s->h,
      gst_video_event_new_upstream_force_key_unit (GST_CLOCK_TIME_NONE, TRUE,
          1));
}

#define WITH "reset-on-key-unit=true"
#define WITHOUT "reset-on-key-unit=false"

static const struct
{
  const gchar *name;
  Happening happening;
  const gchar *extra;
  gboolean forgets;
} cases[] = {
  {"nothing", nothing, "", FALSE},
  {"the same segment again", same_segment, "", FALSE},
  {"a segment that goes on", next_segment, "", FALSE},
  {"a segment elsewhere", other_segment, "", TRUE},
  {"another rate", other_rate, "", TRUE},
  {"a new stream", new_stream, "", TRUE},
  {"the same stream again", same_stream, "", FALSE},
  {"a flush", flush, "", TRUE},
  {"a gap", gap, "", FALSE},
  {"another size", geometry, "", TRUE},
  {"another size of the same latents", small_geometry, "", TRUE},
  {"another format", format, "", FALSE},
  {"a key unit from upstream", key_unit_down, WITH, TRUE},
  {"a key unit from upstream, unheeded", key_unit_down, WITHOUT, FALSE},
  {"a key unit for downstream", key_unit_up, WITH, TRUE},
  {"a key unit for downstream, unheeded", key_unit_up, WITHOUT, FALSE},
};

GST_START_TEST (test_case)
{
  const guint i = (guint) __i__ / 2, which = (guint) __i__ % 2;

  GST_INFO ("%s", cases[i].name);
  check (which, cases[i].extra, cases[i].happening, cases[i].forgets);
}

GST_END_TEST;

/* By default the filter stays calm at a key unit, the encoder answers. */
GST_START_TEST (test_key_unit_defaults)
{
  check (0, "", key_unit_down, FALSE);
  check (1, "", key_unit_down, TRUE);
  check (0, "", key_unit_up, FALSE);
  check (1, "", key_unit_up, TRUE);
}

GST_END_TEST;

/* A key unit asked for later comes later. */
GST_START_TEST (test_key_unit_time)
{
  GstVideoInfo info;
  Setup s;

  test_info (&info, "I420", WIDTH, HEIGHT);
  setup (&s, (guint) __i__, WITH);
  gst_harness_push_event (s.h,
      gst_video_event_new_downstream_force_key_unit (GST_CLOCK_TIME_NONE,
          GST_CLOCK_TIME_NONE, 100 * GST_MSECOND, TRUE, 1));
  g_ptr_array_unref (test_run_frames (s.h, &info, 0, 3));
  fail_unless_equals_int (test_stat (s.h, s.model, "resets"), 0);
  g_ptr_array_unref (test_run_frames (s.h, &info, 3, 3));
  fail_unless_equals_int (test_stat (s.h, s.model, "resets"), 1);
  gst_harness_teardown (s.h);
}

GST_END_TEST;

/* DISCONT on a buffer, by property. */
static void
check_discont (guint which, const gchar * extra, gboolean forgets)
{
  GstVideoInfo info;
  GstBuffer *in, *out;
  GPtrArray *want;
  Setup s;

  want = expected (which, forgets);
  test_info (&info, "I420", WIDTH, HEIGHT);
  setup (&s, which, extra);
  g_ptr_array_unref (test_run_frames (s.h, &info, 0, BEFORE));
  in = test_picture (&info, BEFORE);
  GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT);
  fail_unless_equals_int (gst_harness_push (s.h, in), GST_FLOW_OK);
  out = gst_harness_pull (s.h);
  fail_unless (test_equal (out, want->pdata[0]));
  fail_unless_equals_int (test_stat (s.h, s.model, "resets"), forgets ? 1 : 0);
  gst_buffer_unref (out);
  g_ptr_array_unref (want);
  gst_harness_teardown (s.h);
}

GST_START_TEST (test_discont)
{
  check_discont ((guint) __i__, "", TRUE);
  check_discont ((guint) __i__, "reset-on-discont=false", FALSE);
}

GST_END_TEST;

/* Stopping forgets. */
GST_START_TEST (test_ready)
{
  GPtrArray *want = expected ((guint) __i__, TRUE), *have;
  GstVideoInfo info;
  Setup s;

  test_info (&info, "I420", WIDTH, HEIGHT);
  setup (&s, (guint) __i__, "");
  g_ptr_array_unref (test_run_frames (s.h, &info, 0, BEFORE));
  gst_element_set_state (s.h->element, GST_STATE_READY);
  gst_element_set_state (s.h->element, GST_STATE_PLAYING);
  gst_harness_set_src_caps (s.h, test_caps ("I420", WIDTH, HEIGHT));
  have = test_run_frames (s.h, &info, BEFORE, AFTER);
  test_equal_frames (have, want);
  fail_unless_equals_int (test_stat (s.h, s.model, "frames"), AFTER);
  g_ptr_array_unref (have);
  g_ptr_array_unref (want);
  gst_harness_teardown (s.h);
}

GST_END_TEST;

/* Latents whose encoder forgot: model and decoder follow the flag alone; where
 * no frame has it, it says nothing. */
GST_START_TEST (test_delta_unit)
{
  const gboolean flagged = __i__ == 1;
  const gsize bytes = 32 * 8 * 4 * 4;
  gchar *line = g_strdup_printf ("fenwickmodel" SETTINGS "! fenwickdec"
      SETTINGS, test_weights ("tiny", 3), "", test_weights ("tiny", 3), "");
  GstHarness *h = gst_harness_new_parse (line);

  gst_harness_set_src_caps_str (h, "other/tensors,format=static,num_tensors=1,"
      "types=float32,dimensions=(string)32:8:4:1,framerate=25/1");
  for (guint i = 0; i < 6; i++) {
    GstBuffer *in = test_latents (bytes, i);

    if (flagged && i % 3 != 0)
      GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DELTA_UNIT);
    fail_unless_equals_int (gst_harness_push (h, in), GST_FLOW_OK);
    gst_buffer_unref (gst_harness_pull (h));
  }
  fail_unless_equals_int (test_stat (h, "fenwickmodel", "resets"), flagged);
  fail_unless_equals_int (test_stat (h, "fenwickdec", "resets"), flagged);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

static Suite *
resets_suite (void)
{
  Suite *s = suite_create ("resets");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_case, 0, 2 * G_N_ELEMENTS (cases));
  tcase_add_test (tc, test_key_unit_defaults);
  tcase_add_loop_test (tc, test_key_unit_time, 0, 2);
  tcase_add_loop_test (tc, test_discont, 0, 2);
  tcase_add_loop_test (tc, test_ready, 0, 2);
  tcase_add_loop_test (tc, test_delta_unit, 0, 2);
  return s;
}

TEST_MAIN (resets)
