/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What can go wrong with the trainer: one error each, with its domain and
 * code, and a text that helps. */
#include "common.h"

#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "fw.h"

#define SMALL " preset=tiny threads=1 crop-size=16 clip-length=2 batch-size=1 " \
  "warmup=1 device=cpu "
#define SOURCE "videotestsrc pattern=ball ! " \
  "video/x-raw,format=I420,width=40,height=32,framerate=25/1 ! "
#define FINITE "videotestsrc num-buffers=3 ! " \
  "video/x-raw,format=I420,width=40,height=32,framerate=25/1 ! "

/* Runs a trainer that must fail, with one error. */
static GError *
failure (const gchar * source, const gchar * properties)
{
  gchar *location = test_path ("out.safetensors");
  gchar *line = strstr (properties, "location=") == properties
      ? g_strdup_printf ("%s fenwicktrain %s" SMALL, source, properties)
      : g_strdup_printf ("%s fenwicktrain " SMALL " location=%s %s", source,
      location, properties);
  guint ours;
  GError *error = test_launch (line, &ours);

  fail_unless (error != NULL, "no error: %s", line);
  fail_unless_equals_int (ours, 1);
  g_free (line);
  g_free (location);
  return error;
}

/* No location: twice in the same way, and then it works. */
GST_START_TEST (test_no_location)
{
  GstElement *element = gst_element_factory_make ("fenwicktrain", NULL);
  GstBus *bus = gst_bus_new ();
  gchar *location = test_path ("now.safetensors");
  GstMessage *message;
  GError *error;

  gst_element_set_bus (element, bus);
  for (guint i = 0; i < 2; i++) {
    fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PLAYING),
        GST_STATE_CHANGE_FAILURE);
    message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
    fail_unless (message != NULL);
    gst_message_parse_error (message, &error, NULL);
    test_expect (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS,
        "location=", NULL);
    gst_message_unref (message);
    fail_unless (gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR) == NULL);
    gst_element_set_state (element, GST_STATE_NULL);
  }
  g_object_set (element, "location", location, "preset", "tiny", NULL);
  fail_unless (gst_element_set_state (element, GST_STATE_PLAYING)
      != GST_STATE_CHANGE_FAILURE);
  gst_element_set_state (element, GST_STATE_NULL);
  fail_unless (!g_file_test (location, G_FILE_TEST_EXISTS));
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
  g_free (location);
}

GST_END_TEST;

/* Found out at the start; /proc refuses even root. */
GST_START_TEST (test_unwritable)
{
  gchar *folder = g_path_get_dirname (test_weights ("tiny", 1));
  gchar *properties = g_strdup_printf ("location=%s", folder);

  test_expect (failure (SOURCE, "location=/proc/out.safetensors"),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE, "/proc", "location",
      NULL);
  test_expect (failure (SOURCE, "location=/no/such/folder/out.safetensors"),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE, "/no/such/folder",
      NULL);
  test_expect (failure (SOURCE, properties), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_OPEN_WRITE, folder, "folder", NULL);
  test_expect (failure (SOURCE, "checkpoint-location=/proc/checkpoints"),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE, "/proc/checkpoints",
      "checkpoint-location", NULL);
  test_expect (failure (SOURCE, "checkpoint-location=/proc"),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE, "/proc", NULL);
  test_expect (failure (SOURCE, "metrics-location=/no/such/folder/x.csv"),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_WRITE, "/no/such/folder",
      NULL);
  g_free (properties);
  g_free (folder);
}

GST_END_TEST;

GST_START_TEST (test_settings)
{
  test_expect (failure (SOURCE, "loss=kindness"), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, "kindness", "charbonnier", NULL);
  test_expect (failure (SOURCE, "preset=huge"), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, "huge", "tiny", NULL);
  test_expect (failure (SOURCE, "device=toaster"), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, "toaster", NULL);
  test_expect (failure (SOURCE, "crop-size=17"), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, "17", NULL);
  test_expect (failure (SOURCE, "resume=true"), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, "checkpoint-location=", NULL);
  test_expect (failure (SOURCE, "weights=/no/such/file"), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NOT_FOUND, "/no/such/file", NULL);
}

GST_END_TEST;

GST_START_TEST (test_frames)
{
  /* too small for a crop */
  test_expect (failure (SOURCE, "crop-size=34"), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, "40x32", "crop-size", NULL);
  test_expect (failure ("videotestsrc ! video/x-raw,width=40,height=32,"
          "interlace-mode=interleaved ! ", ""), GST_STREAM_ERROR,
      GST_STREAM_ERROR_FORMAT, "deinterlace", NULL);
  /* no frame at all, and fewer than a clip has */
  test_expect (failure ("videotestsrc num-buffers=0 ! video/x-raw,width=40,"
          "height=32 ! ", ""), GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
      "without a single frame", NULL);
  test_expect (failure (FINITE, "clip-length=4"), GST_STREAM_ERROR,
      GST_STREAM_ERROR_FAILED, "clip-length", "4", NULL);
}

GST_END_TEST;

static gboolean
refuse (GstPad * pad, GstObject * parent, GstEvent * event)
{
  gst_event_unref (event);
  return FALSE;
}

/* The source cannot go back, and the reservoir holds a part of it only. */
GST_START_TEST (test_unseekable)
{
  gchar *location = test_path ("unseekable.safetensors");
  gchar *line = g_strdup_printf ("fenwicktrain " SMALL "steps=1000000 "
      "reservoir-bytes=40000 location=%s", location);
  GstHarness *h = gst_harness_new_parse (line);
  GstBus *bus = gst_bus_new ();
  GstVideoInfo info;
  GstMessage *message;
  GError *error;

  gst_element_set_bus (h->element, bus);
  gst_harness_set_src_caps (h, test_caps ("RGB", 40, 32));
  gst_pad_set_event_function (h->srcpad, refuse);
  test_info (&info, "RGB", 40, 32);
  for (guint i = 0; i < 60; i++)
    fail_unless_equals_int (gst_harness_push (h, test_picture (&info, i)),
        GST_FLOW_OK);
  gst_harness_push_event (h, gst_event_new_eos ());
  message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR);
  fail_unless (message != NULL);
  gst_message_parse_error (message, &error, NULL);
  test_expect (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SEEK,
      "reservoir-bytes", "multifilesrc", NULL);
  gst_message_unref (message);
  fail_unless (gst_bus_pop_filtered (bus, (GstMessageType) (GST_MESSAGE_ERROR
              | GST_MESSAGE_EOS)) == NULL);
  /* the steps before it are not lost */
  gst_element_set_state (h->element, GST_STATE_NULL);
  fail_unless (g_file_test (location, G_FILE_TEST_EXISTS));
  gst_element_set_bus (h->element, NULL);
  gst_object_unref (bus);
  gst_harness_teardown (h);
  g_free (line);
  g_free (location);
}

GST_END_TEST;

/* Files larger than limit cannot be written: what a full disk says as well. */
static void
limit_files (rlim_t limit)
{
  struct rlimit now;

  signal (SIGXFSZ, SIG_IGN);
  fail_unless (getrlimit (RLIMIT_FSIZE, &now) == 0);
  now.rlim_cur = limit == 0 ? now.rlim_max : limit;
  fail_unless (setrlimit (RLIMIT_FSIZE, &now) == 0);
}

static guint
count_files (const gchar * folder, const gchar * suffix)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  const gchar *name;
  guint n = 0;

  while (dir && (name = g_dir_read_name (dir)))
    n += g_str_has_suffix (name, suffix);
  g_clear_pointer (&dir, g_dir_close);
  return n;
}

GST_START_TEST (test_disk_full)
{
  GError *error;

  limit_files (100000);
  error = failure (SOURCE, "steps=3");
  limit_files (0);
  test_expect (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
      "out.safetensors", NULL);
}

GST_END_TEST;

/* A checkpoint that cannot be written: the ones before it are whole. */
GST_START_TEST (test_disk_full_checkpoint)
{
  gchar *folder = test_path ("full");
  gchar *properties = g_strdup_printf ("steps=1000000 checkpoint-interval=2 "
      "checkpoint-location=%s", folder);
  gchar *resumed = g_strdup_printf ("videotestsrc pattern=ball ! video/x-raw,"
      "format=I420,width=40,height=32,framerate=25/1 ! fenwicktrain " SMALL
      "steps=1000000 checkpoint-location=%s resume=true epochs=1 "
      "location=%s-out.safetensors name=t", folder, folder);
  GstElement *pipeline, *train;
  GstStructure *stats;
  guint64 step = 0;
  GError *error;

  /* a run that writes one and is then out of room */
  pipeline = gst_parse_launch (resumed, NULL);
  train = gst_bin_get_by_name (GST_BIN (pipeline), "t");
  g_object_set (train, "checkpoint-interval", 2, NULL);
  gst_element_set_state (pipeline, GST_STATE_PLAYING);
  for (guint i = 0; i < 2000 && count_files (folder, ".safetensors") == 0; i++)
    g_usleep (5000);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  fail_unless (count_files (folder, ".safetensors") >= 1);

  g_free (properties);
  properties = g_strdup_printf ("steps=1000000 checkpoint-interval=2 "
      "resume=true checkpoint-location=%s", folder);
  limit_files (100000);
  error = failure (SOURCE, properties);
  limit_files (0);
  test_expect (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT,
      "step-", NULL);
  fail_unless_equals_int (count_files (folder, ".tmp"), 0);

  fail_unless (gst_element_set_state (pipeline, GST_STATE_PAUSED)
      != GST_STATE_CHANGE_FAILURE);
  g_object_get (train, "stats", &stats, NULL);
  fail_unless (gst_structure_get_uint64 (stats, "step", &step));
  fail_unless (step >= 2);
  gst_structure_free (stats);
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (train);
  gst_object_unref (pipeline);
  g_free (resumed);
  g_free (properties);
  g_free (folder);
}

GST_END_TEST;

/* Checkpoints of another run are not mixed with those of this one. */
GST_START_TEST (test_other_run)
{
  gchar *folder = test_path ("other");
  gchar *file = g_build_filename (folder, "step-00000002.safetensors", NULL);
  gchar *properties = g_strdup_printf ("checkpoint-location=%s", folder);

  fail_unless (g_mkdir (folder, 0777) == 0);
  fail_unless (g_file_set_contents (file, "x", 1, NULL));
  test_expect (failure (SOURCE, properties), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_SETTINGS, folder, "resume=true", NULL);
  g_free (properties);
  g_free (file);
  g_free (folder);
}

GST_END_TEST;

/* A learning rate at which the network explodes: the guard ends it. */
GST_START_TEST (test_explosion)
{
  test_expect (failure (SOURCE, "steps=100000 learning-rate=1000 grad-clip=0 "
          "ema=0"), GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED, "step", NULL);
}

GST_END_TEST;

GST_START_TEST (test_no_caps)
{
  gchar *source = g_strdup_printf ("filesrc location=%s ! ",
      test_weights ("tiny", 1));

  test_expect (failure (source, ""), GST_CORE_ERROR,
      GST_CORE_ERROR_NEGOTIATION, "caps", NULL);
  g_free (source);
}

GST_END_TEST;

/* Nothing changes while it runs. */
GST_START_TEST (test_properties)
{
  GstElement *element = gst_element_factory_make ("fenwicktrain", NULL);
  gchar *location = test_path ("properties.safetensors");
  guint64 steps;

  g_object_set (element, "location", location, "preset", "tiny",
      "steps", G_GUINT64_CONSTANT (7), NULL);
  fail_unless (gst_element_set_state (element, GST_STATE_PAUSED)
      != GST_STATE_CHANGE_FAILURE);
  g_object_set (element, "steps", G_GUINT64_CONSTANT (9), NULL);
  g_object_get (element, "steps", &steps, NULL);
  fail_unless_equals_uint64 (steps, 7);
  gst_element_set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
  g_free (location);
}

GST_END_TEST;

static Suite *
train_errors_suite (void)
{
  Suite *s = suite_create ("train-errors");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_no_location);
  tcase_add_test (tc, test_unwritable);
  tcase_add_test (tc, test_settings);
  tcase_add_test (tc, test_frames);
  tcase_add_test (tc, test_unseekable);
  tcase_add_test (tc, test_disk_full);
  tcase_add_test (tc, test_disk_full_checkpoint);
  tcase_add_test (tc, test_other_run);
  tcase_add_test (tc, test_explosion);
  tcase_add_test (tc, test_no_caps);
  tcase_add_test (tc, test_properties);
  return s;
}

TEST_MAIN (train_errors)
