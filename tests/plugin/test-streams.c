/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Several streams at once, settings in the middle of one, lateness, seeking,
 * and what the stats property says of it. */
#include "common.h"

#define WIDTH 16
#define HEIGHT 8

static gchar *
line_of (guint seed, const gchar * more)
{
  return g_strdup_printf ("fenwickfilter threads=1 precision=float32 "
      "weights=%s %s", test_weights ("tiny", seed), more);
}

static GPtrArray *
alone (const gchar * line, guint begin, guint n)
{
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);
  GstVideoInfo info;
  GPtrArray *out;

  test_info (&info, "RGB", WIDTH, HEIGHT);
  out = test_run_frames (h, &info, begin, n);
  gst_harness_teardown (h);
  return out;
}

/* Two streams in turns give what each gives alone, from one copy of the
 * weights. */
GST_START_TEST (test_two_streams)
{
  gchar *line = line_of (1, "");
  GPtrArray *want[2], *have[2];
  GstHarness *h[2];
  GstVideoInfo info;

  test_info (&info, "RGB", WIDTH, HEIGHT);
  for (guint i = 0; i < 2; i++) {
    want[i] = alone (line, 100 * i, 6);
    h[i] = test_harness (line, "RGB", WIDTH, HEIGHT);
    have[i] = g_ptr_array_new_with_free_func ((GDestroyNotify)
        gst_buffer_unref);
  }
  for (guint n = 0; n < 6; n++)
    for (guint i = 0; i < 2; i++)
      test_append_frames (have[i], h[i], &info, 100 * i + n, 1);
  for (guint i = 0; i < 2; i++) {
    test_equal_frames (have[i], want[i]);
    fail_unless_equals_int (test_stat (h[i], "fenwickfilter", "weights-refs"),
        2);
  }
  gst_harness_teardown (h[1]);
  fail_unless_equals_int (test_stat (h[0], "fenwickfilter", "weights-refs"), 1);
  gst_harness_teardown (h[0]);
  for (guint i = 0; i < 2; i++) {
    g_ptr_array_unref (want[i]);
    g_ptr_array_unref (have[i]);
  }
  g_free (line);
}

GST_END_TEST;

/* The same in threads of their own, at the same time. */
typedef struct
{
  gchar *line;
  guint begin;
  GPtrArray *out;
} Job;

static gpointer
work (gpointer data)
{
  Job *job = data;

  job->out = alone (job->line, job->begin, 12);
  return NULL;
}

GST_START_TEST (test_parallel_streams)
{
  Job job[4];
  GThread *thread[4];

  for (guint i = 0; i < 4; i++) {
    job[i].line = line_of (1 + i / 2, "");
    job[i].begin = 50 * i;
    thread[i] = g_thread_new ("stream", work, &job[i]);
  }
  for (guint i = 0; i < 4; i++) {
    GPtrArray *want;

    g_thread_join (thread[i]);
    want = alone (job[i].line, job[i].begin, 12);
    test_equal_frames (job[i].out, want);
    g_ptr_array_unref (want);
    g_ptr_array_unref (job[i].out);
    g_free (job[i].line);
  }
}

GST_END_TEST;

/* Other weights are another copy. */
GST_START_TEST (test_other_weights)
{
  gchar *a = line_of (1, ""), *b = line_of (2, "");
  GstHarness *ha = test_harness (a, "RGB", WIDTH, HEIGHT);
  GstHarness *hb = test_harness (b, "RGB", WIDTH, HEIGHT);
  GPtrArray *fa, *fb;

  fail_unless_equals_int (test_stat (ha, "fenwickfilter", "weights-refs"), 1);
  fail_unless_equals_int (test_stat (hb, "fenwickfilter", "weights-refs"), 1);
  gst_harness_teardown (ha);
  gst_harness_teardown (hb);
  fa = alone (a, 0, 1);
  fb = alone (b, 0, 1);
  fail_if (test_equal (fa->pdata[0], fb->pdata[0]));
  g_ptr_array_unref (fa);
  g_ptr_array_unref (fb);
  g_free (a);
  g_free (b);
}

GST_END_TEST;

/* All three elements of a chain take their weights from one copy too. */
GST_START_TEST (test_chain_shares)
{
  const gchar *w = test_weights ("tiny", 1);
  gchar *line = g_strdup_printf ("fenwickenc weights=%s ! fenwickmodel weights="
      "%s ! fenwickdec weights=%s", w, w, w);
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);

  fail_unless_equals_int (test_stat (h, "fenwickmodel", "weights-refs"), 3);
  fail_unless (test_stat (h, "fenwickmodel", "weights-bytes") > 100000);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

GST_START_TEST (test_stats)
{
  gchar *line = line_of (1, "");
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);
  const gchar *const name = "fenwickfilter";
  GstVideoInfo info;
  GstElement *element;
  GstStructure *stats;
  gdouble mean, worst;

  test_info (&info, "RGB", WIDTH, HEIGHT);
  g_ptr_array_unref (test_run_frames (h, &info, 0, 4));
  fail_unless_equals_int (test_stat (h, name, "frames"), 4);
  fail_unless_equals_int (test_stat (h, name, "resets"), 0);
  /* 2 patches, 4 heads, 4 frames, 1 layer */
  fail_unless_equals_int (test_stat (h, name, "cg-rows"), 2 * 4 * 4);
  fail_unless (test_stat (h, name, "cg-iterations") >= 2 * 4 * 4);
  fail_unless (test_stat (h, name, "cg-iterations-max") >= 1);
  fail_unless_equals_int (test_stat (h, name, "cg-capped"), 0);
  /* t = 3: the token itself and two levels */
  fail_unless_equals_int (test_stat (h, name, "live-states"), 3);
  fail_unless (test_stat (h, name, "state-bytes") > 0);
  fail_unless (test_stat (h, name, "latency-last") > 0);
  fail_unless (test_stat (h, name, "latency-mean") > 0);

  element = gst_harness_find_element (h, name);
  g_object_get (element, "stats", &stats, NULL);
  fail_unless (gst_structure_get_double (stats, "cg-iterations-mean", &mean));
  fail_unless (mean >= 1 && mean <= 30);
  fail_unless (gst_structure_get_double (stats, "cg-worst-residual", &worst));
  fail_unless (worst >= 0 && worst <= 1e-4);
  fail_unless_equals_string (gst_structure_get_string (stats, "device"), "cpu");
  fail_unless_equals_string (gst_structure_get_string (stats, "precision"),
      "float32");
  gst_structure_free (stats);
  gst_object_unref (element);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

/* Figures go on over a change of size, which counts as a reset. */
GST_START_TEST (test_stats_add_up)
{
  gchar *line = line_of (1, "");
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);
  GstVideoInfo info;

  test_info (&info, "RGB", WIDTH, HEIGHT);
  g_ptr_array_unref (test_run_frames (h, &info, 0, 2));
  gst_harness_set_src_caps (h, test_caps ("RGB", 8, 8));
  test_info (&info, "RGB", 8, 8);
  g_ptr_array_unref (test_run_frames (h, &info, 2, 2));
  fail_unless_equals_int (test_stat (h, "fenwickfilter", "frames"), 4);
  fail_unless_equals_int (test_stat (h, "fenwickfilter", "resets"), 1);
  fail_unless_equals_int (test_stat (h, "fenwickfilter", "cg-rows"),
      (2 * 2 + 2) * 4);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

/* A tighter tolerance takes more iterations, from the next frame on; a lid on
 * them is counted where it acts. */
GST_START_TEST (test_cg_settings)
{
  gchar *line = line_of (1, "cg-tolerance=0.1");
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);
  GstElement *element = gst_harness_find_element (h, "fenwickfilter");
  GstVideoInfo info;
  guint64 loose, tight;

  test_info (&info, "RGB", WIDTH, HEIGHT);
  g_ptr_array_unref (test_run_frames (h, &info, 0, 8));
  loose = test_stat (h, "fenwickfilter", "cg-iterations");
  g_object_set (element, "cg-tolerance", 1e-6, NULL);
  g_ptr_array_unref (test_run_frames (h, &info, 8, 8));
  tight = test_stat (h, "fenwickfilter", "cg-iterations") - loose;
  fail_unless (tight > loose);
  fail_unless_equals_int (test_stat (h, "fenwickfilter", "cg-capped"), 0);
  g_object_set (element, "cg-iterations", 1, NULL);
  g_ptr_array_unref (test_run_frames (h, &info, 16, 4));
  fail_unless (test_stat (h, "fenwickfilter", "cg-capped") > 0);
  gst_object_unref (element);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

/* Settings change and figures are read from another thread all the while. */
static gint stop;

static gpointer
fiddle (gpointer data)
{
  GstElement *element = data;
  guint n = 0;

  while (!g_atomic_int_get (&stop)) {
    GstStructure *stats;
    gchar *device;

    g_object_set (element, "cg-tolerance", n % 2 ? 1e-2 : 1e-4,
        "cg-iterations", 10 + n % 20, "reset-on-discont", n % 2 == 0,
        "reset-on-key-unit", n % 2 == 1, "preset", "full", "weights",
        "/no/such/file", NULL);
    g_object_get (element, "stats", &stats, "device-in-use", &device, NULL);
    gst_structure_free (stats);
    g_free (device);
    n++;
    g_usleep (200);
  }
  return NULL;
}

GST_START_TEST (test_fiddling)
{
  gchar *line = line_of (1, "");
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);
  GstElement *element = gst_harness_find_element (h, "fenwickfilter");
  GThread *thread;
  GstVideoInfo info;

  g_atomic_int_set (&stop, FALSE);
  thread = g_thread_new ("fiddle", fiddle, element);
  test_info (&info, "RGB", WIDTH, HEIGHT);
  for (guint i = 0; i < 3; i++) {
    g_ptr_array_unref (test_run_frames (h, &info, 20 * i, 20));
    gst_harness_set_src_caps (h, test_caps ("RGB", WIDTH + 8 * (gint) (i % 2),
            HEIGHT));
    test_info (&info, "RGB", WIDTH + 8 * (gint) (i % 2), HEIGHT);
  }
  g_atomic_int_set (&stop, TRUE);
  g_thread_join (thread);
  fail_unless_equals_int (test_stat (h, "fenwickfilter", "frames"), 60);
  gst_object_unref (element);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

/* A late frame with qos=true: no output, a QoS message, and the memory saw it:
 * what follows is as if nothing had been late. */
static void
late (const gchar * line, const gchar * name)
{
  GPtrArray *want, *have;
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);
  GstBus *bus = gst_bus_new ();
  GstVideoInfo info;
  GstMessage *message;

  test_info (&info, "RGB", WIDTH, HEIGHT);
  want = test_run_frames (h, &info, 0, 6);
  gst_harness_teardown (h);

  h = test_harness (line, "RGB", WIDTH, HEIGHT);
  gst_element_set_bus (h->element, bus);
  have = test_run_frames (h, &info, 0, 2);
  gst_harness_push_upstream_event (h, gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW,
          2.0, 0, (3 * 40 + 1) * GST_MSECOND));
  for (guint i = 2; i < 4; i++) {
    fail_unless_equals_int (gst_harness_push (h, test_picture (&info, i)),
        GST_FLOW_OK);
    fail_unless (gst_harness_try_pull (h) == NULL, "frame %u came out", i);
    message = gst_bus_pop_filtered (bus, GST_MESSAGE_QOS);
    fail_unless (message != NULL);
    gst_message_unref (message);
  }
  test_append_frames (have, h, &info, 4, 2);
  g_ptr_array_remove_range (want, 2, 2);
  test_equal_frames (have, want);
  fail_unless_equals_int (test_stat (h, name, "frames"), 6);
  g_ptr_array_unref (want);
  g_ptr_array_unref (have);
  gst_bus_set_flushing (bus, TRUE);
  gst_element_set_bus (h->element, NULL);
  gst_object_unref (bus);
  gst_harness_teardown (h);
}

GST_START_TEST (test_qos)
{
  gchar *line = line_of (1, "qos=true");

  late (line, "fenwickfilter");
  g_free (line);
}

GST_END_TEST;

/* Encoder and model likewise, when asked. */
GST_START_TEST (test_latents_qos)
{
  const gchar *w = test_weights ("thin", 1);
  gchar *line = g_strdup_printf ("fenwickenc weights=%s qos=true", w);

  late (line, "fenwickenc");
  g_free (line);
  line = g_strdup_printf ("fenwickenc weights=%s ! fenwickmodel weights=%s "
      "qos=true", w, w);
  late (line, "fenwickmodel");
  g_free (line);
}

GST_END_TEST;

/* The decoder has qos=true by default and keeps the frame in its memory. */
GST_START_TEST (test_decoder_qos)
{
  const gchar *w = test_weights ("thin", 1);
  gchar *line =
      g_strdup_printf ("fenwickenc weights=%s ! fenwickdec weights=%s "
      "! capsfilter caps=video/x-raw,format=RGB", w, w);

  late (line, "fenwickdec");
  g_free (line);
}

GST_END_TEST;

/* Without qos nothing is dropped, however late. */
GST_START_TEST (test_no_qos)
{
  gchar *line = line_of (1, "");
  GstHarness *h = test_harness (line, "RGB", WIDTH, HEIGHT);
  GstVideoInfo info;

  test_info (&info, "RGB", WIDTH, HEIGHT);
  g_ptr_array_unref (test_run_frames (h, &info, 0, 1));
  gst_harness_push_upstream_event (h, gst_event_new_qos (GST_QOS_TYPE_UNDERFLOW,
          2.0, GST_SECOND, GST_SECOND));
  g_ptr_array_unref (test_run_frames (h, &info, 1, 3));
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

static void
wait_for (GstElement * pipeline, GstState state)
{
  gst_element_set_state (pipeline, state);
  fail_unless_equals_int (gst_element_get_state (pipeline, NULL, NULL,
          20 * GST_SECOND), GST_STATE_CHANGE_SUCCESS);
}

/* Flushing and segment seeks in a running pipeline. */
GST_START_TEST (test_seek)
{
  GstElement *pipeline = gst_parse_launch (__i__
      ? "videotestsrc ! video/x-raw,width=16,height=16,framerate=25/1 ! "
      CHAIN ("queue !") "! fakesink sync=false"
      : "videotestsrc ! video/x-raw,width=16,height=16,framerate=25/1 ! "
      FILTER "! fakesink sync=false", NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstMessage *message;

  wait_for (pipeline, GST_STATE_PAUSED);
  for (guint i = 0; i < 8; i++) {
    fail_unless (gst_element_seek (pipeline, 1.0, GST_FORMAT_TIME,
            GST_SEEK_FLAG_FLUSH | (i % 2 ? GST_SEEK_FLAG_ACCURATE : 0),
            GST_SEEK_TYPE_SET, i * GST_SECOND, GST_SEEK_TYPE_SET,
            i * GST_SECOND + 400 * GST_MSECOND));
    wait_for (pipeline, i % 3 ? GST_STATE_PLAYING : GST_STATE_PAUSED);
  }
  wait_for (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (bus, 20 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless (message && GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS);
  gst_message_unref (message);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
}

GST_END_TEST;

/* A live source: the pipeline is live, answers LATENCY, and ends on EOS. */
GST_START_TEST (test_live)
{
  GstElement *pipeline =
      gst_parse_launch ("videotestsrc is-live=true num-buffers=10 ! "
      "video/x-raw,width=16,height=16,framerate=50/1 ! " CHAIN ("queue !")
      "! fakesink sync=true name=s", NULL);
  GstBus *bus = gst_element_get_bus (pipeline);
  GstQuery *query = gst_query_new_latency ();
  GstElement *sink;
  GstPad *pad;
  GstMessage *message;
  GstClockTime min;
  gboolean is_live;

  fail_unless_equals_int (gst_element_set_state (pipeline, GST_STATE_PAUSED),
      GST_STATE_CHANGE_NO_PREROLL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  message = gst_bus_timed_pop_filtered (bus, 20 * GST_SECOND,
      GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless (message && GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS);
  gst_message_unref (message);
  sink = gst_bin_get_by_name (GST_BIN (pipeline), "s");
  pad = gst_element_get_static_pad (sink, "sink");
  fail_unless (gst_pad_peer_query (pad, query));
  gst_object_unref (pad);
  gst_object_unref (sink);
  gst_query_parse_latency (query, &is_live, &min, NULL);
  fail_unless (is_live);
  /* a frame of the source, none of ours */
  fail_unless_equals_uint64 (min, 20 * GST_MSECOND);
  gst_query_unref (query);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
}

GST_END_TEST;

/* tee: two filters of one source do not disturb each other. */
GST_START_TEST (test_tee)
{
  guint ours;
  GError *error = test_launch ("videotestsrc num-buffers=10 ! "
      "video/x-raw,width=16,height=16 ! tee name=t t. ! queue ! " FILTER
      "! fakesink t. ! queue ! " CHAIN ("") "! fakesink", &ours);

  fail_unless (error == NULL);
}

GST_END_TEST;

static Suite *
streams_suite (void)
{
  Suite *s = suite_create ("streams");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_two_streams);
  tcase_add_test (tc, test_parallel_streams);
  tcase_add_test (tc, test_other_weights);
  tcase_add_test (tc, test_chain_shares);
  tcase_add_test (tc, test_stats);
  tcase_add_test (tc, test_stats_add_up);
  tcase_add_test (tc, test_cg_settings);
  tcase_add_test (tc, test_fiddling);
  tcase_add_test (tc, test_qos);
  tcase_add_test (tc, test_latents_qos);
  tcase_add_test (tc, test_decoder_qos);
  tcase_add_test (tc, test_no_qos);
  tcase_add_loop_test (tc, test_seek, 0, 2);
  tcase_add_test (tc, test_live);
  tcase_add_test (tc, test_tee);
  return s;
}

TEST_MAIN (streams)
