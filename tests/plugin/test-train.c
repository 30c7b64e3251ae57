/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trainer: runs, ends, pauses, rewinds, resumes. */
#include "common.h"

#include <string.h>

#include "fw.h"

/* Steps of a few milliseconds. */
#define SMALL " preset=tiny threads=1 crop-size=16 clip-length=2 batch-size=1 " \
  "warmup=1 device=cpu "
#define SOURCE "videotestsrc pattern=ball ! " \
  "video/x-raw,format=I420,width=40,height=32,framerate=25/1 ! "
/* Steps of a second or so. */
#define LARGE " preset=thin threads=1 crop-size=64 clip-length=8 batch-size=2 "

typedef struct
{
  GstElement *pipeline, *train;
  GstBus *bus;
  gchar *location;
} Run;

/* A line with one trainer that writes to file name. */
static void
run_open (Run * run, const gchar * source, const gchar * properties,
    const gchar * name)
{
  GError *error = NULL;
  gchar *line;

  run->location = test_path (name);
  line = g_strdup_printf ("%s fenwicktrain name=t %s location=%s", source,
      properties, run->location);
  run->pipeline = gst_parse_launch (line, &error);
  fail_unless (run->pipeline != NULL && error == NULL, "%s: %s", line,
      error ? error->message : "");
  run->train = gst_bin_get_by_name (GST_BIN (run->pipeline), "t");
  run->bus = gst_element_get_bus (run->pipeline);
  g_free (line);
}

static void
run_close (Run * run)
{
  gst_element_set_state (run->pipeline, GST_STATE_NULL);
  gst_object_unref (run->bus);
  gst_object_unref (run->train);
  gst_object_unref (run->pipeline);
  g_free (run->location);
}

static void
run_play (Run * run)
{
  fail_unless (gst_element_set_state (run->pipeline, GST_STATE_PLAYING)
      != GST_STATE_CHANGE_FAILURE);
}

static GstMessage *
run_wait (Run * run, GstMessageType types)
{
  GstMessage *message = gst_bus_timed_pop_filtered (run->bus,
      30 * GST_SECOND, (GstMessageType) (types | GST_MESSAGE_ERROR));
  GError *error;

  fail_unless (message != NULL, "nothing came");
  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR) {
    gst_message_parse_error (message, &error, NULL);
    fail ("%s", error->message);
  }
  return message;
}

/* To EOS, after which the file is there. */
static void
run_to_end (Run * run)
{
  gst_message_unref (run_wait (run, GST_MESSAGE_EOS));
  fail_unless (g_file_test (run->location, G_FILE_TEST_EXISTS));
}

static guint64
run_stat (Run * run, const gchar * field)
{
  GstStructure *stats;
  guint64 value;

  g_object_get (run->train, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint64 (stats, field, &value), "%s", field);
  gst_structure_free (stats);
  return value;
}

static void
run_until_step (Run * run, guint64 step)
{
  for (guint i = 0; i < 3000 && run_stat (run, "step") < step; i++)
    g_usleep (10000);
  fail_unless (run_stat (run, "step") >= step);
}

static gchar *
digest (const gchar * path)
{
  gchar *data, *sum;
  gsize size;

  fail_unless (g_file_get_contents (path, &data, &size, NULL), "%s", path);
  sum = g_compute_checksum_for_data (G_CHECKSUM_SHA256, (guchar *) data, size);
  g_free (data);
  return sum;
}

static void
same_files (const gchar * a, const gchar * b)
{
  gchar *da = digest (a), *db = digest (b);

  fail_unless_equals_string (da, db);
  g_free (da);
  g_free (db);
}

/* ----------------------------------------------------------------- ends */

typedef struct
{
  gchar *location;
  gint ends, missing, complete;
} Watch;

/* Sees each message before anybody can wait for the file. */
static GstBusSyncReply
watch (GstBus * bus, GstMessage * message, gpointer data)
{
  Watch *w = data;
  GstProgressType type;

  if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS) {
    w->ends++;
    if (!g_file_test (w->location, G_FILE_TEST_EXISTS))
      w->missing++;
  } else if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_PROGRESS) {
    gst_message_parse_progress (message, &type, NULL, NULL);
    if (type == GST_PROGRESS_TYPE_COMPLETE)
      w->complete++;
  }
  return GST_BUS_PASS;
}

/* An endless source: EOS comes by itself, once, after the file. */
GST_START_TEST (test_endless)
{
  Watch w = { NULL, };
  Run run;
  struct fw_weights *weights;

  run_open (&run, SOURCE, SMALL "steps=6", "endless.safetensors");
  w.location = run.location;
  gst_bus_set_sync_handler (run.bus, watch, &w, NULL);
  run_play (&run);
  run_to_end (&run);
  g_usleep (100000);
  fail_unless_equals_int (w.ends, 1);
  fail_unless_equals_int (w.missing, 0);
  fail_unless_equals_int (w.complete, 1);
  fail_unless_equals_uint64 (run_stat (&run, "step"), 6);
  weights = fw_weights_load (run.location, NULL);
  fail_unless (weights != NULL);
  fail_unless_equals_string (fw_weights_task (weights), "restore");
  fw_weights_unref (weights);
  run_close (&run);
}

GST_END_TEST;

static GstPadProbeReturn
swallow_eos (GstPad * pad, GstPadProbeInfo * info, gpointer unused)
{
  return GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_EOS ?
      GST_PAD_PROBE_DROP : GST_PAD_PROBE_OK;
}

static GstState
next_state (Run * run)
{
  GstState state = GST_STATE_NULL;
  GstMessage *message;

  do {
    message = run_wait (run, GST_MESSAGE_STATE_CHANGED);
    if (GST_MESSAGE_SRC (message) == GST_OBJECT (run->pipeline))
      gst_message_parse_state_changed (message, NULL, &state, NULL);
    gst_message_unref (message);
  } while (state == GST_STATE_NULL);
  return state;
}

/* A source that does not answer with EOS does not keep the pipeline; and a
 * pipeline that goes on after EOS hears that it is PLAYING, but no second EOS. */
GST_START_TEST (test_silent_source)
{
  Run run;
  GstElement *before;
  GstPad *pad;

  run_open (&run, SOURCE "identity name=i !", SMALL "steps=6",
      "silent.safetensors");
  before = gst_bin_get_by_name (GST_BIN (run.pipeline), "i");
  pad = gst_element_get_static_pad (before, "src");
  gst_pad_add_probe (pad, GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, swallow_eos,
      NULL, NULL);
  run_play (&run);
  run_to_end (&run);
  fail_unless_equals_int (next_state (&run), GST_STATE_PAUSED);
  while (next_state (&run) != GST_STATE_PLAYING);
  fail_unless (gst_bus_timed_pop_filtered (run.bus, GST_SECOND / 2,
          GST_MESSAGE_EOS) == NULL);
  gst_object_unref (pad);
  gst_object_unref (before);
  run_close (&run);
}

GST_END_TEST;

static void
stop_by_signal (Run * run)
{
  g_signal_emit_by_name (run->train, "stop");
}

static void
stop_by_eos (Run * run)
{
  fail_unless (gst_element_send_event (run->pipeline, gst_event_new_eos ()));
}

static void
stop_by_null (Run * run)
{
  gst_element_set_state (run->pipeline, GST_STATE_NULL);
}

static void (*const stops[]) (Run *) = {
  stop_by_signal, stop_by_eos, stop_by_null
};

/* In the middle, in each way: what was learned is on disk. */
GST_START_TEST (test_stop)
{
  const guint way = (guint) __i__;
  gchar *name = g_strdup_printf ("stop-%u.safetensors", way);
  Run run;

  run_open (&run, SOURCE, SMALL "steps=1000000 report-interval=1000", name);
  run_play (&run);
  run_until_step (&run, 3);
  fail_unless (!g_file_test (run.location, G_FILE_TEST_EXISTS));
  stops[way] (&run);
  if (stops[way] == stop_by_null)
    fail_unless (g_file_test (run.location, G_FILE_TEST_EXISTS));
  else
    run_to_end (&run);
  run_close (&run);
  g_free (name);
}

GST_END_TEST;

/* READY does not wait for a long step. */
GST_START_TEST (test_ready)
{
  GstClockTime begin;
  Run run;

  run_open (&run, "videotestsrc pattern=ball ! video/x-raw,format=RGB,"
      "width=160,height=128,framerate=25/1 ! ", LARGE "steps=1000",
      "ready.safetensors");
  run_play (&run);
  for (guint i = 0; i < 3000 && run_stat (&run, "frames") < 500; i++)
    g_usleep (10000);
  g_usleep (1000000);
  begin = gst_util_get_timestamp ();
  gst_element_set_state (run.pipeline, GST_STATE_READY);
  fail_unless (gst_util_get_timestamp () - begin < 2 * GST_SECOND);
  run_close (&run);
}

GST_END_TEST;

/* Pausing in the middle of steps changes nothing of the result. */
GST_START_TEST (test_pause)
{
  Run straight, paused;

  run_open (&straight, SOURCE, SMALL "steps=40", "straight.safetensors");
  run_open (&paused, SOURCE, SMALL "steps=40", "paused.safetensors");
  run_play (&straight);
  run_to_end (&straight);
  run_play (&paused);
  for (guint i = 0; i < 8; i++) {
    g_usleep (20000 + 1000 * i);
    gst_element_set_state (paused.pipeline, GST_STATE_PAUSED);
    gst_element_get_state (paused.pipeline, NULL, NULL, 5 * GST_SECOND);
    run_play (&paused);
  }
  run_to_end (&paused);
  same_files (straight.location, paused.location);
  run_close (&straight);
  run_close (&paused);
}

GST_END_TEST;

/* --------------------------------------------------------- the harness */

typedef struct
{
  GstHarness *h;
  GstVideoInfo info;
  gchar *location;
  GstBus *bus;
  GArray *types;                /* of messages, GstMessageType */
  guint next;                   /* frame */
} Feed;

static void
feed_open (Feed * feed, const gchar * properties, const gchar * name)
{
  gchar *line;

  feed->location = test_path (name);
  line = g_strdup_printf ("fenwicktrain %s location=%s", properties,
      feed->location);
  feed->h = gst_harness_new_parse (line);
  feed->bus = gst_bus_new ();
  feed->types = g_array_new (FALSE, FALSE, sizeof (GstMessageType));
  feed->next = 0;
  gst_element_set_bus (feed->h->element, feed->bus);
  gst_harness_set_src_caps (feed->h, test_caps ("RGB", 40, 32));
  test_info (&feed->info, "RGB", 40, 32);
  g_free (line);
}

static void
feed_close (Feed * feed)
{
  gst_bus_set_flushing (feed->bus, TRUE);
  gst_element_set_bus (feed->h->element, NULL);
  gst_object_unref (feed->bus);
  gst_harness_teardown (feed->h);
  g_array_free (feed->types, TRUE);
  g_free (feed->location);
}

static GstFlowReturn
feed_frames (Feed * feed, guint n)
{
  GstFlowReturn ret = GST_FLOW_OK;

  for (guint i = 0; i < n && ret == GST_FLOW_OK; i++)
    ret = gst_harness_push (feed->h, test_picture (&feed->info,
            feed->next++));
  return ret;
}

static void
feed_eos (Feed * feed)
{
  gst_harness_push_event (feed->h, gst_event_new_eos ());
}

/* How many messages of a type came since the feed began. */
static guint
feed_count (Feed * feed, GstMessageType type)
{
  GstMessage *message;
  guint n = 0;

  while ((message = gst_bus_pop (feed->bus))) {
    g_array_append_val (feed->types, GST_MESSAGE_TYPE (message));
    gst_message_unref (message);
  }
  for (guint i = 0; i < feed->types->len; i++)
    n += g_array_index (feed->types, GstMessageType, i) == type;
  return n;
}

/* What a source does that is asked to begin again. */
static void
feed_rewind (Feed * feed)
{
  GstSegment segment;
  GstEvent *event = NULL;
  GstSeekFlags flags;
  GstFormat format;
  gint64 begin;

  do {
    gst_clear_event (&event);
    event = gst_harness_pull_upstream_event (feed->h);
    fail_unless (event != NULL, "no seek");
  } while (GST_EVENT_TYPE (event) != GST_EVENT_SEEK);
  gst_event_parse_seek (event, NULL, &format, &flags, NULL, &begin, NULL, NULL);
  fail_unless_equals_int (format, GST_FORMAT_TIME);
  fail_unless (flags & GST_SEEK_FLAG_FLUSH);
  fail_unless_equals_int64 (begin, 0);
  gst_event_unref (event);

  gst_harness_push_event (feed->h, gst_event_new_flush_start ());
  gst_harness_push_event (feed->h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (feed->h, gst_event_new_segment (&segment));
  feed->next = 0;
}

/* Passes over a source, to the last step and not further. */
GST_START_TEST (test_rewind)
{
  GstFlowReturn ret;
  guint passes = 0;
  Feed feed;

  feed_open (&feed, SMALL "steps=60", "rewind.safetensors");
  while ((ret = feed_frames (&feed, 10)) == GST_FLOW_OK && passes < 20) {
    feed_eos (&feed);
    if (feed_count (&feed, GST_MESSAGE_EOS))
      break;
    fail_unless (!g_file_test (feed.location, G_FILE_TEST_EXISTS));
    feed_rewind (&feed);
    passes++;
  }
  fail_unless (passes >= 1);
  fail_unless (g_file_test (feed.location, G_FILE_TEST_EXISTS));
  /* nothing more goes in, and EOS is not said twice */
  fail_unless_equals_int (feed_frames (&feed, 1), GST_FLOW_EOS);
  feed_eos (&feed);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_EOS), 1);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_ERROR), 0);
  feed_close (&feed);
}

GST_END_TEST;

/* epochs=2: the second end of the source is the last. */
GST_START_TEST (test_epochs)
{
  Feed feed;

  feed_open (&feed, SMALL "steps=1000000 epochs=2", "epochs.safetensors");
  fail_unless_equals_int (feed_frames (&feed, 10), GST_FLOW_OK);
  feed_eos (&feed);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_EOS), 0);
  feed_rewind (&feed);
  fail_unless_equals_int (feed_frames (&feed, 10), GST_FLOW_OK);
  feed_eos (&feed);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_EOS), 1);
  fail_unless (g_file_test (feed.location, G_FILE_TEST_EXISTS));
  feed_close (&feed);
}

GST_END_TEST;

/* After a rewind nothing comes: that is the end. */
GST_START_TEST (test_nothing_new)
{
  Feed feed;

  feed_open (&feed, SMALL "steps=1000000", "nothing.safetensors");
  fail_unless_equals_int (feed_frames (&feed, 10), GST_FLOW_OK);
  feed_eos (&feed);
  feed_rewind (&feed);
  feed_eos (&feed);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_EOS), 1);
  fail_unless (g_file_test (feed.location, G_FILE_TEST_EXISTS));
  feed_close (&feed);
}

GST_END_TEST;

static gboolean
refuse (GstPad * pad, GstObject * parent, GstEvent * event)
{
  gst_event_unref (event);
  return FALSE;
}

/* A source that cannot go back, small enough for the reservoir: all steps run
 * at its end. */
GST_START_TEST (test_refused_seek)
{
  Feed feed;

  feed_open (&feed, SMALL "steps=30", "refused.safetensors");
  gst_pad_set_event_function (feed.h->srcpad, refuse);
  fail_unless_equals_int (feed_frames (&feed, 6), GST_FLOW_OK);
  feed_eos (&feed);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_ERROR), 0);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_EOS), 1);
  fail_unless_equals_uint64 (test_stat (feed.h, "fenwicktrain", "step"), 30);
  fail_unless (g_file_test (feed.location, G_FILE_TEST_EXISTS));
  feed_close (&feed);
}

GST_END_TEST;

static GstClockTime told;

static gboolean
tell_duration (GstPad * pad, GstObject * parent, GstQuery * query)
{
  if (GST_QUERY_TYPE (query) != GST_QUERY_DURATION)
    return gst_pad_query_default (pad, parent, query);
  gst_query_set_duration (query, GST_FORMAT_TIME, (gint64) told);
  return TRUE;
}

/* EOS long before the duration ends training; EOS a frame before it does
 * not. */
GST_START_TEST (test_early_eos)
{
  const gboolean early = __i__;
  Feed feed;

  feed_open (&feed, SMALL "steps=1000000", "early.safetensors");
  told = (early ? 100 : 11) * 40 * GST_MSECOND;
  gst_pad_set_query_function (feed.h->srcpad, tell_duration);
  fail_unless_equals_int (feed_frames (&feed, 10), GST_FLOW_OK);
  feed_eos (&feed);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_EOS), early);
  fail_unless_equals_int (feed_count (&feed, GST_MESSAGE_WARNING), early);
  feed_close (&feed);
}

GST_END_TEST;

/* -------------------------------------------------------- applications */

GST_START_TEST (test_save)
{
  gchar *other = test_path ("saved.safetensors");
  gboolean ok = TRUE;
  Run run;

  run_open (&run, SOURCE, SMALL "steps=1000000 report-interval=1000",
      "save.safetensors");
  g_signal_emit_by_name (run.train, "save", other, &ok);
  fail_unless (!ok);
  run_play (&run);
  run_until_step (&run, 2);
  g_signal_emit_by_name (run.train, "save", other, &ok);
  fail_unless (ok);
  fail_unless (g_file_test (other, G_FILE_TEST_EXISTS));
  fail_unless (!g_file_test (run.location, G_FILE_TEST_EXISTS));
  g_signal_emit_by_name (run.train, "save", NULL, &ok);
  fail_unless (ok);
  fail_unless (g_file_test (run.location, G_FILE_TEST_EXISTS));
  g_signal_emit_by_name (run.train, "save", "/no/such/folder/x", &ok);
  fail_unless (!ok);
  gst_message_unref (run_wait (&run, GST_MESSAGE_WARNING));
  run_close (&run);
  g_free (other);
}

GST_END_TEST;

static const gchar *const fields[] = {
  "step", "steps", "epoch", "samples", "loss", "loss-mean", "psnr",
  "validation-psnr", "learning-rate", "gradient-norm", "clips-per-second",
  "device", "checkpoint", "time-left", "skipped"
};

/* Each report as an ELEMENT message, with every field. */
GST_START_TEST (test_messages)
{
  guint reports = 0;
  gdouble loss;
  Run run;

  run_open (&run, SOURCE, SMALL "steps=9 report-interval=3",
      "messages.safetensors");
  run_play (&run);
  for (;;) {
    GstMessage *message = run_wait (&run, (GstMessageType)
        (GST_MESSAGE_ELEMENT | GST_MESSAGE_EOS));
    const GstStructure *s = gst_message_get_structure (message);

    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_EOS) {
      gst_message_unref (message);
      break;
    }
    fail_unless (gst_structure_has_name (s, "fenwick-training"));
    for (guint i = 0; i < G_N_ELEMENTS (fields); i++)
      fail_unless (gst_structure_has_field (s, fields[i]), "%s", fields[i]);
    fail_unless (gst_structure_get_double (s, "loss", &loss));
    fail_unless (loss >= 0 && loss < 10);
    reports++;
    gst_message_unref (message);
  }
  fail_unless_equals_int (reports, 4);  /* 1, 3, 6, 9 */
  run_close (&run);
}

GST_END_TEST;

GST_START_TEST (test_queries)
{
  gint64 value;
  Run run;

  run_open (&run, SOURCE, SMALL "steps=6", "queries.safetensors");
  run_play (&run);
  run_to_end (&run);
  fail_unless (gst_element_query_duration (run.train, GST_FORMAT_BUFFERS,
          &value));
  fail_unless_equals_int64 (value, 6);
  fail_unless (gst_element_query_position (run.train, GST_FORMAT_PERCENT,
          &value));
  fail_unless_equals_int64 (value, GST_FORMAT_PERCENT_MAX);
  run_close (&run);
}

GST_END_TEST;

/* Rows of figures: a header and one for each report. */
GST_START_TEST (test_metrics)
{
  gchar *csv = test_path ("metrics.csv"), *text, **lines;
  gchar *properties =
      g_strdup_printf (SMALL "steps=6 report-interval=2 metrics-location=%s",
      csv);
  Run run;

  run_open (&run, SOURCE, properties, "metrics.safetensors");
  run_play (&run);
  run_to_end (&run);
  run_close (&run);
  fail_unless (g_file_get_contents (csv, &text, NULL, NULL));
  lines = g_strsplit (g_strchomp (text), "\n", -1);
  fail_unless_equals_int (g_strv_length (lines), 1 + 4);        /* 1, 2, 4, 6 */
  fail_unless (strstr (lines[0], "step") && strstr (lines[0], "loss"));
  g_strfreev (lines);
  g_free (text);
  g_free (properties);
  g_free (csv);
}

GST_END_TEST;

/* Stopped after a checkpoint and resumed: the same bits as in one go. */
GST_START_TEST (test_resume)
{
  gchar *folder = test_path ("checkpoints");
  gchar *properties = g_strdup_printf (SMALL "steps=24 checkpoint-interval=5 "
      "checkpoint-location=%s", folder);
  Run run, straight;

  run_open (&straight, SOURCE, SMALL "steps=24", "one-go.safetensors");
  run_play (&straight);
  run_to_end (&straight);

  run_open (&run, SOURCE, properties, "resumed.safetensors");
  run_play (&run);
  run_until_step (&run, 7);
  gst_element_set_state (run.pipeline, GST_STATE_NULL);
  g_object_set (run.train, "resume", TRUE, NULL);
  run_play (&run);
  run_to_end (&run);
  fail_unless_equals_uint64 (run_stat (&run, "step"), 24);
  same_files (run.location, straight.location);
  run_close (&run);
  run_close (&straight);
  g_free (properties);
  g_free (folder);
}

GST_END_TEST;

/* Every format that the pads offer. */
GST_START_TEST (test_formats)
{
  GstElementFactory *factory = gst_element_factory_find ("fenwicktrain");
  const GstStaticPadTemplate *template =
      gst_element_factory_get_static_pad_templates (factory)->data;
  GstCaps *caps = gst_static_caps_get ((GstStaticCaps *)
      & template->static_caps);
  const GValue *formats =
      gst_structure_get_value (gst_caps_get_structure (caps, 0), "format");

  for (guint i = 0; i < gst_value_list_get_size (formats); i++) {
    const gchar *format =
        g_value_get_string (gst_value_list_get_value (formats, i));
    gchar *source = g_strdup_printf ("videotestsrc ! videoconvert ! "
        "video/x-raw,format=%s,width=34,height=22,framerate=25/1 ! ", format);
    Run run;

    run_open (&run, source, SMALL "steps=1", "format.safetensors");
    run_play (&run);
    run_to_end (&run);
    run_close (&run);
    g_free (source);
  }
  gst_caps_unref (caps);
  gst_object_unref (factory);
}

GST_END_TEST;

/* What was trained runs in the filter. */
GST_START_TEST (test_runs_in_filter)
{
  gchar *line;
  guint ours;
  Run run;

  run_open (&run, SOURCE, SMALL "steps=6", "filter.safetensors");
  run_play (&run);
  run_to_end (&run);
  line = g_strdup_printf ("videotestsrc num-buffers=3 ! video/x-raw,width=16,"
      "height=16 ! fenwickfilter weights=%s threads=1 ! fakesink",
      run.location);
  fail_unless (test_launch (line, &ours) == NULL);
  g_free (line);
  run_close (&run);
}

GST_END_TEST;

static Suite *
train_suite (void)
{
  Suite *s = suite_create ("train");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_endless);
  tcase_add_test (tc, test_silent_source);
  tcase_add_loop_test (tc, test_stop, 0, G_N_ELEMENTS (stops));
  tcase_add_test (tc, test_ready);
  tcase_add_test (tc, test_pause);
  tcase_add_test (tc, test_rewind);
  tcase_add_test (tc, test_epochs);
  tcase_add_test (tc, test_nothing_new);
  tcase_add_test (tc, test_refused_seek);
  tcase_add_loop_test (tc, test_early_eos, 0, 2);
  tcase_add_test (tc, test_save);
  tcase_add_test (tc, test_messages);
  tcase_add_test (tc, test_queries);
  tcase_add_test (tc, test_metrics);
  tcase_add_test (tc, test_resume);
  tcase_add_test (tc, test_formats);
  tcase_add_test (tc, test_runs_in_filter);
  return s;
}

TEST_MAIN (train)
