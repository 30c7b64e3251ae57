/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* State changes of every element, with what it has by default and without. */
#include "common.h"

static const gchar *const names[] = {
  "fenwickenc", "fenwickmodel", "fenwickdec", "fenwickfilter"
};

static GstElement *
make (guint i)
{
  GstElement *element = gst_element_factory_make (names[i], NULL);

  fail_unless (element != NULL, "%s", names[i]);
  return element;
}

static void
go (GstElement * element, GstState state)
{
  fail_unless (gst_element_set_state (element, state)
      != GST_STATE_CHANGE_FAILURE, "%s to %s", GST_ELEMENT_NAME (element),
      gst_element_state_get_name (state));
}

GST_START_TEST (test_registered)
{
  GstElement *element = make (__i__);
  GstElementFactory *factory = gst_element_get_factory (element);

  fail_unless_equals_int (gst_plugin_feature_get_rank (GST_PLUGIN_FEATURE
          (factory)), GST_RANK_NONE);
  gst_object_unref (element);
}

GST_END_TEST;

GST_START_TEST (test_default_properties)
{
  GstElement *element = make (__i__);

  go (element, GST_STATE_PLAYING);
  go (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST;

GST_START_TEST (test_cycles)
{
  GstElement *element = make (__i__);

  g_object_set (element, "preset", "tiny", NULL);
  for (guint i = 0; i < 20; i++) {
    go (element, GST_STATE_READY);
    go (element, GST_STATE_PAUSED);
    go (element, GST_STATE_PLAYING);
    go (element, GST_STATE_PAUSED);
    go (element, GST_STATE_READY);
    go (element, GST_STATE_PAUSED);
    go (element, GST_STATE_PLAYING);
    go (element, GST_STATE_NULL);
  }
  gst_object_unref (element);
}

GST_END_TEST;

/* Without a start nothing may be held. */
GST_START_TEST (test_ready_only)
{
  GstElement *element = make (__i__);
  gchar *device;

  go (element, GST_STATE_READY);
  g_object_get (element, "device-in-use", &device, NULL);
  fail_unless (device == NULL);
  go (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST;

static void
count_notify (GObject * object, GParamSpec * pspec, gpointer user_data)
{
  *(guint *) user_data += 1;
}

GST_START_TEST (test_device_in_use)
{
  GstElement *element = make (__i__);
  guint notified = 0;
  gchar *device;

  g_object_set (element, "preset", "tiny", "device", "cpu", NULL);
  g_signal_connect (element, "notify::device-in-use",
      G_CALLBACK (count_notify), &notified);
  go (element, GST_STATE_PAUSED);
  fail_unless_equals_int (notified, 1);
  g_object_get (element, "device-in-use", &device, NULL);
  fail_unless_equals_string (device, "cpu");
  g_free (device);
  go (element, GST_STATE_NULL);
  fail_unless_equals_int (notified, 2);
  g_object_get (element, "device-in-use", &device, NULL);
  fail_unless (device == NULL);
  gst_object_unref (element);
}

GST_END_TEST;

static guint
count_messages (GstBus * bus, GstMessageType type)
{
  GstMessage *message;
  guint n = 0;

  while ((message = gst_bus_pop_filtered (bus, type))) {
    n++;
    gst_message_unref (message);
  }
  return n;
}

/* Fails twice in the same way, one error each time, and works when the
 * property is set right. */
GST_START_TEST (test_failed_start)
{
  GstElement *element = make (__i__);
  GstBus *bus = gst_bus_new ();

  gst_element_set_bus (element, bus);
  g_object_set (element, "weights", "/no/such/file", NULL);
  for (guint i = 0; i < 2; i++) {
    fail_unless_equals_int (gst_element_set_state (element, GST_STATE_PLAYING),
        GST_STATE_CHANGE_FAILURE);
    fail_unless_equals_int (count_messages (bus, GST_MESSAGE_ERROR), 1);
    go (element, GST_STATE_NULL);
  }
  g_object_set (element, "weights", NULL, "preset", "tiny", NULL);
  go (element, GST_STATE_PLAYING);
  fail_unless_equals_int (count_messages (bus, GST_MESSAGE_ERROR), 0);
  go (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST;

/* The identity network says so once for each start; weights are silent. */
GST_START_TEST (test_identity_warning)
{
  GstElement *element = make (__i__);
  GstBus *bus = gst_bus_new ();

  gst_element_set_bus (element, bus);
  g_object_set (element, "preset", "tiny", NULL);
  for (guint i = 0; i < 2; i++) {
    gst_bus_set_flushing (bus, FALSE);
    go (element, GST_STATE_PLAYING);
    fail_unless_equals_int (count_messages (bus, GST_MESSAGE_WARNING), 1);
    go (element, GST_STATE_NULL);
  }
  gst_bus_set_flushing (bus, FALSE);
  g_object_set (element, "weights", test_weights ("tiny", 1), NULL);
  go (element, GST_STATE_PLAYING);
  fail_unless_equals_int (count_messages (bus, GST_MESSAGE_WARNING), 0);
  go (element, GST_STATE_NULL);
  gst_element_set_bus (element, NULL);
  gst_object_unref (bus);
  gst_object_unref (element);
}

GST_END_TEST;

static void
wait_for (GstElement * pipeline, GstState state)
{
  go (pipeline, state);
  fail_unless_equals_int (gst_element_get_state (pipeline, NULL, NULL,
          20 * GST_SECOND), GST_STATE_CHANGE_SUCCESS);
}

/* In the middle of a stream, up and down. */
GST_START_TEST (test_pipeline)
{
  GstElement *pipeline =
      gst_parse_launch ("videotestsrc ! video/x-raw,width=16,height=16 ! "
      CHAIN ("") " ! " FILTER " ! fakesink", NULL);

  for (guint i = 0; i < 10; i++) {
    wait_for (pipeline, GST_STATE_PAUSED);
    wait_for (pipeline, GST_STATE_PLAYING);
    if (i % 3 == 0)
      wait_for (pipeline, GST_STATE_PAUSED);
    wait_for (pipeline, i % 2 ? GST_STATE_NULL : GST_STATE_READY);
  }
  go (pipeline, GST_STATE_NULL);
  gst_object_unref (pipeline);
}

GST_END_TEST;

/* What is fixed while the network is open stays as it was; the rest moves. */
GST_START_TEST (test_mutability)
{
  GstElement *element = make (__i__);
  gchar *preset;
  gint threads;
  gboolean discont;

  g_object_set (element, "preset", "tiny", "threads", 1, NULL);
  go (element, GST_STATE_PAUSED);
  g_object_set (element, "preset", "full", "threads", 2, "reset-on-discont",
      FALSE, NULL);
  g_object_get (element, "preset", &preset, "threads", &threads,
      "reset-on-discont", &discont, NULL);
  fail_unless_equals_string (preset, "tiny");
  fail_unless_equals_int (threads, 1);
  fail_unless (!discont);
  g_free (preset);
  go (element, GST_STATE_READY);
  g_object_set (element, "preset", "seed", NULL);
  g_object_get (element, "preset", &preset, NULL);
  fail_unless_equals_string (preset, "seed");
  g_free (preset);
  go (element, GST_STATE_NULL);
  gst_object_unref (element);
}

GST_END_TEST;

static Suite *
states_suite (void)
{
  Suite *s = suite_create ("states");
  TCase *tc = tcase_create ("general");
  const gint n = G_N_ELEMENTS (names);

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_registered, 0, n);
  tcase_add_loop_test (tc, test_default_properties, 0, n);
  tcase_add_loop_test (tc, test_cycles, 0, n);
  tcase_add_loop_test (tc, test_ready_only, 0, n);
  tcase_add_loop_test (tc, test_device_in_use, 0, n);
  tcase_add_loop_test (tc, test_failed_start, 0, n);
  tcase_add_loop_test (tc, test_identity_warning, 0, n);
  tcase_add_loop_test (tc, test_mutability, 0, n);
  tcase_add_test (tc, test_pipeline);
  return s;
}

TEST_MAIN (states)
