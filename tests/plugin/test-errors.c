/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One failure, one error on the bus: its domain, its code, and what it says;
 * and the element works afterwards. */
#include "common.h"

#include <string.h>

#include "fw.h"

#define SOURCE "videotestsrc num-buffers=2 ! " \
  "video/x-raw,format=I420,width=16,height=8,framerate=25/1 ! "

/* Runs a line that must fail, with one error of ours. */
static GError *
failure (gchar * line)
{
  guint ours;
  GError *error = test_launch (line, &ours);

  fail_unless (error != NULL, "no error: %s", line);
  fail_unless_equals_int (ours, 1);
  g_free (line);
  return error;
}

/* The same line with nothing wrong in it. */
static void
success (gchar * line)
{
  guint ours;
  GError *error = test_launch (line, &ours);

  fail_unless (error == NULL, "%s: %s", line, error ? error->message : "");
  g_free (line);
}

/* Elements by themselves, with what feeds them. */
static gchar *
line_of (guint which, const gchar * properties)
{
  switch (which) {
    case 0:
      return g_strdup_printf (SOURCE "fenwickfilter %s ! fakesink", properties);
    case 1:
      return g_strdup_printf (SOURCE "fenwickenc %s ! fakesink", properties);
    case 2:
      return g_strdup_printf (SOURCE "fenwickenc" TINY
          "! fenwickmodel check-latent-id=false %s ! fakesink", properties);
    default:
      return g_strdup_printf (SOURCE "fenwickenc" TINY
          "! fenwickdec check-latent-id=false %s ! fakesink", properties);
  }
}

#define ELEMENTS 4

GST_START_TEST (test_missing_weights)
{
  test_expect (failure (line_of ((guint) __i__,
              "weights=/no/such/file.safetensors")), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NOT_FOUND, "/no/such/file.safetensors", NULL);
}

GST_END_TEST;

GST_START_TEST (test_unreadable_weights)
{
  gchar *folder = g_path_get_dirname (test_weights ("tiny", 1));
  gchar *properties = g_strdup_printf ("weights=%s", folder);
  GError *error = failure (line_of ((guint) __i__, properties));

  /* a folder is not a file of weights, however that is put */
  fail_unless (error->domain == GST_RESOURCE_ERROR
      || error->domain == GST_STREAM_ERROR);
  fail_unless (strstr (error->message, folder) != NULL);
  g_error_free (error);
  g_free (properties);
  g_free (folder);
}

GST_END_TEST;

/* A copy of good weights, cut or changed. */
static gchar *
spoil (const gchar * name, gsize keep, gsize at, const gchar * with)
{
  gchar *path = test_path (name), *data;
  gsize size;

  fail_unless (g_file_get_contents (test_weights ("tiny", 1), &data, &size,
          NULL));
  if (keep)
    size = MIN (size, keep);
  if (with)
    memcpy (data + at, with, strlen (with));
  fail_unless (g_file_set_contents (path, data, (gssize) size, NULL));
  g_free (data);
  return path;
}

static const struct
{
  gsize keep, at;
  const gchar *with;
} spoilt[] = {
  {1, 0, NULL},                 /* shorter than a length */
  {8, 0, NULL},                 /* a length and nothing */
  {100, 0, NULL},               /* half a header */
  {100000, 0, NULL},            /* half the data */
  {0, 0, "\377\377\377\377\377\377\377\177"},   /* a header of 2^63 bytes */
  {0, 8, "[[[[[[[["},           /* not the JSON that it should be */
  {0, 200000, "\377\377\377\377"},      /* values, against the checksum */
};

GST_START_TEST (test_spoilt_weights)
{
  gchar *path = spoil ("spoilt.safetensors", spoilt[__i__].keep,
      spoilt[__i__].at, spoilt[__i__].with);
  gchar *properties = g_strdup_printf ("weights=%s", path);

  for (guint i = 0; i < ELEMENTS; i++)
    test_expect (failure (line_of (i, properties)), GST_STREAM_ERROR,
        GST_STREAM_ERROR_WRONG_TYPE, path, NULL);
  g_free (properties);
  g_free (path);
}

GST_END_TEST;

GST_START_TEST (test_settings)
{
  gchar *properties = g_strdup_printf ("preset=thin weights=%s",
      test_weights ("tiny", 1));

  test_expect (failure (line_of ((guint) __i__, properties)),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "tiny", "thin", NULL);
  g_free (properties);
  test_expect (failure (line_of ((guint) __i__, "preset=huge")),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "huge", "thin", "tiny",
      NULL);
  test_expect (failure (line_of ((guint) __i__, "device=toaster")),
      GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS, "toaster", NULL);
}

GST_END_TEST;

/* No GPU: said at once, with the library's name, and the processor is fine. */
GST_START_TEST (test_no_cuda)
{
  static const gchar *const names[] = {
    "fenwickfilter", "fenwickenc", "fenwickmodel", "fenwickdec"
  };
  GstElement *element = gst_element_factory_make (names[__i__], NULL);
  GstClockTime begin;
  GError *error;

  g_object_set (element, "preset", "tiny", "device", "cuda", NULL);
  begin = gst_util_get_timestamp ();
  if (gst_element_set_state (element, GST_STATE_PAUSED)
      != GST_STATE_CHANGE_FAILURE) {
    gchar *device;

    g_object_get (element, "device-in-use", &device, NULL);
    fail_unless (g_str_has_prefix (device, "cuda"));
    g_free (device);
  } else {
    fail_unless (gst_util_get_timestamp () - begin < 100 * GST_MSECOND);
    error = failure (line_of ((guint) __i__, "preset=tiny device=cuda"));
    fail_unless (strstr (error->message, "libcuda") != NULL
        || strstr (error->message, "libfenwick-cuda") != NULL);
    test_expect (error, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND,
        "cuda", "device=cpu", NULL);
    gst_element_set_state (element, GST_STATE_NULL);
    g_object_set (element, "device", "cpu", NULL);
    fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PAUSED),
        GST_STATE_CHANGE_SUCCESS);
  }
  gst_element_set_state (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST;

GST_START_TEST (test_memory_limit)
{
  test_expect (failure (line_of ((guint) __i__,
              "preset=tiny memory-limit=1000")), GST_RESOURCE_ERROR,
      GST_RESOURCE_ERROR_NO_SPACE_LEFT, "1000", "bytes", "memory-limit", NULL);
  success (line_of ((guint) __i__, "preset=tiny memory-limit=100000000"));
}

GST_END_TEST;

GST_START_TEST (test_interlaced)
{
  static const gchar *const modes[] = { "interleaved", "mixed" };

  for (guint i = 0; i < G_N_ELEMENTS (modes); i++)
    test_expect (failure (g_strdup_printf ("videotestsrc num-buffers=2 ! "
                "video/x-raw,width=16,height=8,interlace-mode=%s ! %s%s ! "
                "fakesink", modes[i], __i__ ? "fenwickenc" : "fenwickfilter",
                TINY)), GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT,
        "deinterlace", modes[i], NULL);
}

GST_END_TEST;

/* deinterlace, as the message says, makes it work. */
GST_START_TEST (test_deinterlaced)
{
  success (g_strdup ("videotestsrc num-buffers=4 ! video/x-raw,width=16,"
          "height=8,interlace-mode=interleaved ! deinterlace ! " FILTER
          " ! fakesink"));
}

GST_END_TEST;

/* Latents of another autoencoder. */
GST_START_TEST (test_latent_id)
{
  const gchar *a = test_weights ("tiny", 1), *b = test_weights ("tiny", 2);
  struct fw_weights *wa = fw_weights_load (a, NULL);
  struct fw_weights *wb = fw_weights_load (b, NULL);
  const gchar *ida = fw_weights_latent_id (wa);
  const gchar *idb = fw_weights_latent_id (wb);

  test_expect (failure (g_strdup_printf (SOURCE "fenwickenc weights=%s ! "
              "fenwickdec weights=%s ! fakesink", a, b)), GST_CORE_ERROR,
      GST_CORE_ERROR_NEGOTIATION, ida, idb, NULL);
  test_expect (failure (g_strdup_printf (SOURCE "fenwickenc weights=%s ! "
              "fenwickmodel weights=%s ! fenwickdec weights=%s ! fakesink", a,
              b, a)), GST_CORE_ERROR, GST_CORE_ERROR_NEGOTIATION, ida, idb,
      NULL);
  test_expect (failure (g_strdup_printf (SOURCE "fenwickenc weights=%s ! "
              "queue ! fenwickmodel weights=%s ! queue ! fenwickdec weights=%s "
              "! fakesink", a, a, b)), GST_CORE_ERROR,
      GST_CORE_ERROR_NEGOTIATION, ida, idb, NULL);
  success (g_strdup_printf (SOURCE "fenwickenc weights=%s ! fenwickmodel "
          "weights=%s ! fenwickdec weights=%s ! fakesink", a, a, a));
  fw_weights_unref (wa);
  fw_weights_unref (wb);
}

GST_END_TEST;

/* Bytes that are not a frame of latents; channels of another network. */
GST_START_TEST (test_wrong_latents)
{
  const gchar *name = __i__ ? "fenwickmodel" : "fenwickdec";
  const gchar *caps = "other/tensors,format=static,num_tensors=1,types=float32,"
      "framerate=25/1,dimensions=(string)";
  const gchar *file = test_weights ("tiny", 1);

  test_expect (failure (g_strdup_printf ("filesrc location=%s blocksize=1000 ! "
              "%s32:8:4:1 ! %s" TINY "! fakesink", file, caps, name)),
      GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "1000", "4096", NULL);
  test_expect (failure (g_strdup_printf ("filesrc location=%s blocksize=2048 ! "
              "%s16:8:4:1 ! %s" TINY "! fakesink", file, caps, name)),
      GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "16:8:4:1", "32:8:4:1", NULL);
  test_expect (failure (g_strdup_printf ("filesrc location=%s blocksize=2048 ! "
              "%s32:7:4:1 ! %s" TINY "! fakesink", file, caps, name)),
      GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "32:7:4:1", NULL);
  test_expect (failure (g_strdup_printf ("filesrc location=%s blocksize=1024 ! "
              "other/tensors,format=static,num_tensors=1,types=uint8,"
              "dimensions=(string)32:8:4:1,framerate=25/1 ! %s" TINY
              "! fakesink", file, name)), GST_STREAM_ERROR,
      GST_STREAM_ERROR_FORMAT, "uint8", "latent.scale", NULL);
}

GST_END_TEST;

/* No caps at all. */
GST_START_TEST (test_no_caps)
{
  static const gchar *const names[] = {
    "fenwickfilter", "fenwickenc", "fenwickmodel", "fenwickdec"
  };

  test_expect (failure (g_strdup_printf ("filesrc location=%s ! %s" TINY
              "! fakesink", test_weights ("tiny", 1), names[__i__])),
      GST_CORE_ERROR, GST_CORE_ERROR_NEGOTIATION, "caps", NULL);
}

GST_END_TEST;

/* Downstream wants what cannot be. */
GST_START_TEST (test_refused)
{
  test_expect (failure (g_strdup (SOURCE "fenwickenc" TINY
              "! fenwickdec" TINY "! video/x-raw,width=32 ! fakesink")),
      GST_CORE_ERROR, GST_CORE_ERROR_NEGOTIATION, "caps", NULL);
  test_expect (failure (g_strdup (SOURCE "fenwickenc" TINY
              "! other/tensors,dimensions=(string)1:2:3:1 ! fakesink")),
      GST_CORE_ERROR, GST_CORE_ERROR_NEGOTIATION, "caps", NULL);
  test_expect (failure (g_strdup (SOURCE "fenwickenc" TINY
              "! other/tensors,types=uint8 ! fakesink")), GST_STREAM_ERROR,
      GST_STREAM_ERROR_FORMAT, "uint8", NULL);
  test_expect (failure (g_strdup (SOURCE "fenwickenc" TINY "! fenwickmodel"
              TINY "! other/tensors,types=uint8 ! fakesink")),
      GST_STREAM_ERROR, GST_STREAM_ERROR_FORMAT, "uint8", NULL);
}

GST_END_TEST;

static guint
count_errors (GstBus * bus)
{
  GstMessage *message;
  guint n = 0;

  while ((message = gst_bus_pop_filtered (bus, GST_MESSAGE_ERROR))) {
    n++;
    gst_message_unref (message);
  }
  return n;
}

/* A picture shorter than its caps say: one error however many come, and the
 * same element works after a flush. */
GST_START_TEST (test_short_picture)
{
  GstHarness *h = test_harness (__i__ ? "fenwickenc" TINY : FILTER, "RGB", 16,
      8);
  GstBus *bus = gst_bus_new ();
  GstVideoInfo info;
  GstSegment segment;

  test_info (&info, "RGB", 16, 8);
  gst_element_set_bus (h->element, bus);
  for (guint i = 0; i < 3; i++) {
    GstBuffer *in = test_picture (&info, i);

    gst_buffer_set_size (in, 16 * 8 * 3 - 1);
    fail_unless_equals_int (gst_harness_push (h, in), GST_FLOW_ERROR);
  }
  fail_unless_equals_int (count_errors (bus), 1);
  gst_harness_push_event (h, gst_event_new_flush_start ());
  gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
  gst_segment_init (&segment, GST_FORMAT_TIME);
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  fail_unless_equals_int (gst_harness_push (h, test_picture (&info, 0)),
      GST_FLOW_OK);
  gst_buffer_unref (gst_harness_pull (h));
  fail_unless_equals_int (count_errors (bus), 0);
  gst_bus_set_flushing (bus, TRUE);
  gst_element_set_bus (h->element, NULL);
  gst_object_unref (bus);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* GstVideoMeta that lies is an error, not a crash. */
GST_START_TEST (test_lying_meta)
{
  GstHarness *h = test_harness (__i__ ? "fenwickenc" TINY : FILTER, "RGB", 16,
      8);
  gsize offset[GST_VIDEO_MAX_PLANES] = { 0, };
  gint stride[GST_VIDEO_MAX_PLANES] = { 48, };
  GstVideoInfo info;
  GstBuffer *in;

  test_info (&info, "RGB", 16, 8);
  for (guint i = 0; i < 4; i++) {
    in = test_picture (&info, i);
    offset[0] = i == 0 ? 1000000 : 0;
    stride[0] = i == 1 ? 100000 : 48;
    gst_buffer_add_video_meta_full (in, 0, i == 2 ? GST_VIDEO_FORMAT_BGR
        : GST_VIDEO_FORMAT_RGB, i == 3 ? 15 : 16, 8, 1, offset, stride);
    fail_unless_equals_int (gst_harness_push (h, in), GST_FLOW_ERROR);
  }
  gst_harness_teardown (h);
}

GST_END_TEST;

/* After an error of any kind the same element runs with good settings. */
GST_START_TEST (test_works_afterwards)
{
  GstElement *pipeline = gst_parse_launch (SOURCE "fenwickenc name=e" TINY
      "! fenwickmodel" TINY "! fenwickdec" TINY "! fakesink", NULL);
  GstElement *enc = gst_bin_get_by_name (GST_BIN (pipeline), "e");
  GstBus *bus = gst_element_get_bus (pipeline);
  static const GstMessageType ends = GST_MESSAGE_ERROR | GST_MESSAGE_EOS;

  for (guint i = 0; i < 6; i++) {
    const gboolean good = i % 2;
    GstMessage *message;

    if (i < 4)
      g_object_set (enc, "device", good ? "cpu" : "toaster", NULL);
    else
      g_object_set (enc, "memory-limit", (guint64) (good ? 0 : 10), NULL);
    gst_element_set_state (pipeline, GST_STATE_PLAYING);
    message = gst_bus_timed_pop_filtered (bus, 20 * GST_SECOND, ends);
    fail_unless (message != NULL);
    fail_unless_equals_int (GST_MESSAGE_TYPE (message),
        good ? GST_MESSAGE_EOS : GST_MESSAGE_ERROR);
    gst_message_unref (message);
    gst_element_set_state (pipeline, GST_STATE_NULL);
  }
  gst_object_unref (bus);
  gst_object_unref (enc);
  gst_object_unref (pipeline);
}

GST_END_TEST;

static Suite *
errors_suite (void)
{
  Suite *s = suite_create ("errors");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_missing_weights, 0, ELEMENTS);
  tcase_add_loop_test (tc, test_unreadable_weights, 0, ELEMENTS);
  tcase_add_loop_test (tc, test_spoilt_weights, 0, G_N_ELEMENTS (spoilt));
  tcase_add_loop_test (tc, test_settings, 0, ELEMENTS);
  tcase_add_loop_test (tc, test_no_cuda, 0, ELEMENTS);
  tcase_add_loop_test (tc, test_memory_limit, 0, ELEMENTS);
  tcase_add_loop_test (tc, test_interlaced, 0, 2);
  tcase_add_test (tc, test_deinterlaced);
  tcase_add_test (tc, test_latent_id);
  tcase_add_loop_test (tc, test_wrong_latents, 0, 2);
  tcase_add_loop_test (tc, test_no_caps, 0, ELEMENTS);
  tcase_add_test (tc, test_refused);
  tcase_add_loop_test (tc, test_short_picture, 0, 2);
  tcase_add_loop_test (tc, test_lying_meta, 0, 2);
  tcase_add_test (tc, test_works_afterwards);
  return s;
}

TEST_MAIN (errors)
