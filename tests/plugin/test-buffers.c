/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Times, flags, metas and memory of buffers on their way through. */
#include "common.h"

#include <gst/video/gstvideometa.h>
#include <gst/video/video-anc.h>

static const gchar *const lines[] = {
  FILTER, "fenwickenc" TINY "! fenwickdec" TINY, CHAIN (""),
  CHAIN ("queue !") "! queue"
};

static GstBuffer *
push_one (GstHarness * h, GstBuffer * in)
{
  GstBuffer *out;

  fail_unless_equals_int (gst_harness_push (h, in), GST_FLOW_OK);
  out = gst_harness_pull (h);
  fail_unless (out != NULL);
  return out;
}

GST_START_TEST (test_times)
{
  static const guint64 pts[] = { 0, 40, 80, 120, 1000, 1013, 1013, 5000 };
  static const guint64 durations[] = { 40, 40, 40, 880, 13, 0, 1, 40 };
  GstHarness *h = test_harness (lines[__i__], "I420", 16, 8);
  GstVideoInfo info;

  test_info (&info, "I420", 16, 8);
  for (guint i = 0; i < G_N_ELEMENTS (pts); i++) {
    GstBuffer *in = test_picture (&info, i), *out;

    GST_BUFFER_PTS (in) = pts[i] * GST_MSECOND + 7;
    GST_BUFFER_DURATION (in) = durations[i] * GST_MSECOND + 3;
    out = push_one (h, in);
    fail_unless_equals_uint64 (GST_BUFFER_PTS (out), pts[i] * GST_MSECOND + 7);
    fail_unless_equals_uint64 (GST_BUFFER_DURATION (out),
        durations[i] * GST_MSECOND + 3);
    gst_buffer_unref (out);
  }
  gst_harness_teardown (h);
}

GST_END_TEST;

/* The filter keeps every field of a buffer. */
GST_START_TEST (test_filter_fields)
{
  GstHarness *h = test_harness (FILTER, "I420", 16, 8);
  GstVideoInfo info;
  GstBuffer *in, *out;

  test_info (&info, "I420", 16, 8);
  gst_buffer_unref (push_one (h, test_picture (&info, 0)));
  in = test_picture (&info, 1);
  GST_BUFFER_DTS (in) = 17;
  GST_BUFFER_OFFSET (in) = 18;
  GST_BUFFER_OFFSET_END (in) = 19;
  GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT | GST_BUFFER_FLAG_CORRUPTED
      | GST_BUFFER_FLAG_DROPPABLE | GST_BUFFER_FLAG_MARKER);
  out = push_one (h, in);
  fail_unless_equals_uint64 (GST_BUFFER_DTS (out), 17);
  fail_unless_equals_uint64 (GST_BUFFER_OFFSET (out), 18);
  fail_unless_equals_uint64 (GST_BUFFER_OFFSET_END (out), 19);
  fail_unless (GST_BUFFER_FLAG_IS_SET (out, GST_BUFFER_FLAG_DISCONT));
  fail_unless (GST_BUFFER_FLAG_IS_SET (out, GST_BUFFER_FLAG_CORRUPTED));
  fail_unless (GST_BUFFER_FLAG_IS_SET (out, GST_BUFFER_FLAG_DROPPABLE));
  fail_unless (GST_BUFFER_FLAG_IS_SET (out, GST_BUFFER_FLAG_MARKER));
  gst_buffer_unref (out);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* A discontinuity reaches the end of the chain. */
GST_START_TEST (test_discont)
{
  GstHarness *h = test_harness (lines[__i__], "I420", 16, 8);
  static const gboolean wanted[] = { TRUE, FALSE, FALSE, TRUE, FALSE };
  GstVideoInfo info;

  test_info (&info, "I420", 16, 8);
  for (guint i = 0; i < G_N_ELEMENTS (wanted); i++) {
    GstBuffer *in = test_picture (&info, i), *out;

    if (wanted[i])
      GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT);
    out = push_one (h, in);
    fail_unless (GST_BUFFER_IS_DISCONT (out) == wanted[i], "buffer %u", i);
    fail_if (GST_BUFFER_FLAG_IS_SET (out, GST_BUFFER_FLAG_DELTA_UNIT));
    gst_buffer_unref (out);
  }
  gst_harness_teardown (h);
}

GST_END_TEST;

static guint
count_metas (GstBuffer * buffer, GType api)
{
  return gst_buffer_get_n_meta (buffer, api);
}

/* Region of interest, time code, captions, cropping, any custom meta: all of
 * them come out, and one GstVideoMeta at most. */
GST_START_TEST (test_metas)
{
  GstHarness *h = test_harness (lines[__i__], "I420", 16, 8);
  static const guint8 captions[] = { 0x14, 0x20, 0x80 };
  GstCaps *caps = gst_caps_new_empty_simple ("timestamp/x-unix");
  GstVideoRegionOfInterestMeta *roi;
  GstVideoCropMeta *crop;
  GstVideoInfo info;
  GstBuffer *in, *out;

  test_info (&info, "I420", 16, 8);
  in = test_picture_padded (&info, 0, 16);
  gst_buffer_add_video_region_of_interest_meta (in, "face", 1, 2, 3, 4);
  gst_buffer_add_video_time_code_meta_full (in, 25, 1, NULL, 0, 1, 2, 3, 4, 0);
  gst_buffer_add_video_caption_meta (in, GST_VIDEO_CAPTION_TYPE_CEA608_RAW,
      captions, sizeof (captions));
  crop = gst_buffer_add_video_crop_meta (in);
  crop->width = 5;
  gst_buffer_add_reference_timestamp_meta (in, caps, 123, GST_CLOCK_TIME_NONE);
  gst_caps_unref (caps);

  out = push_one (h, in);
  roi = (GstVideoRegionOfInterestMeta *) gst_buffer_get_meta (out,
      GST_VIDEO_REGION_OF_INTEREST_META_API_TYPE);
  fail_unless (roi && roi->x == 1 && roi->h == 4);
  fail_unless_equals_int (count_metas (out,
          GST_VIDEO_TIME_CODE_META_API_TYPE), 1);
  fail_unless_equals_int (count_metas (out, GST_VIDEO_CAPTION_META_API_TYPE),
      1);
  fail_unless_equals_int (count_metas (out,
          GST_REFERENCE_TIMESTAMP_META_API_TYPE), 1);
  fail_unless (count_metas (out, GST_VIDEO_META_API_TYPE) <= 1);
  gst_buffer_unref (out);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* The first frame of latents stands for itself, the others do not; offsets and
 * discontinuities go along. */
GST_START_TEST (test_latents_flags)
{
  GstHarness *h = test_harness (__i__ ? "fenwickenc" TINY "! fenwickmodel" TINY
      : "fenwickenc" TINY, "I420", 16, 8);
  GstVideoInfo info;

  test_info (&info, "I420", 16, 8);
  for (guint i = 0; i < 4; i++) {
    GstBuffer *in = test_picture (&info, i), *out;

    GST_BUFFER_OFFSET (in) = i + 10;
    GST_BUFFER_OFFSET_END (in) = i + 11;
    if (i == 2)
      GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT);
    out = push_one (h, in);
    fail_unless (GST_BUFFER_FLAG_IS_SET (out, GST_BUFFER_FLAG_DELTA_UNIT)
        == (i == 1 || i == 3), "frame %u", i);
    fail_unless (GST_BUFFER_IS_DISCONT (out) == (i == 0 || i == 2));
    fail_unless_equals_uint64 (GST_BUFFER_OFFSET (out), i + 10);
    fail_unless_equals_uint64 (GST_BUFFER_OFFSET_END (out), i + 11);
    fail_unless_equals_int (gst_buffer_n_memory (out), 1);
    fail_unless_equals_int (gst_buffer_get_size (out), 32 * 8 * 4 * 4);
    gst_buffer_unref (out);
  }
  gst_harness_teardown (h);
}

GST_END_TEST;

/* Once it runs, buffers come from pools: the same few addresses again. */
GST_START_TEST (test_pools)
{
  static const gchar *const all[] = {
    FILTER, "fenwickenc" TINY, "fenwickenc" TINY "! fenwickmodel" TINY,
    CHAIN ("")
  };
  GstHarness *h = test_harness (all[__i__], "I420", 16, 8);
  GHashTable *seen = g_hash_table_new (NULL, NULL);
  GstVideoInfo info;

  test_info (&info, "I420", 16, 8);
  for (guint i = 0; i < 20; i++) {
    GstBuffer *out = push_one (h, test_picture (&info, i));

    fail_unless (out->pool != NULL);
    g_hash_table_add (seen, gst_buffer_peek_memory (out, 0));
    gst_buffer_unref (out);
  }
  fail_unless (g_hash_table_size (seen) <= 2);
  g_hash_table_unref (seen);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* What the elements offer upstream: a pool of the right size, and any strides
 * where pictures go in. */
static void
expect_offer (const gchar * line, GstCaps * caps, guint size, gboolean meta)
{
  GstHarness *h = gst_harness_new_parse (line);
  GstQuery *query = gst_query_new_allocation (caps, TRUE);
  GstBufferPool *pool;
  guint offered;

  gst_harness_set_src_caps (h, gst_caps_ref (caps));
  fail_unless (gst_pad_peer_query (h->srcpad, query));
  fail_unless (gst_query_get_n_allocation_pools (query) > 0, "%s", line);
  gst_query_parse_nth_allocation_pool (query, 0, &pool, &offered, NULL, NULL);
  fail_unless (pool != NULL);
  fail_unless_equals_int (offered, size);
  gst_object_unref (pool);
  fail_unless (gst_query_find_allocation_meta (query, GST_VIDEO_META_API_TYPE,
          NULL) == meta, "%s", line);
  gst_query_unref (query);
  gst_caps_unref (caps);
  gst_harness_teardown (h);
}

GST_START_TEST (test_propose_allocation)
{
  const gchar *latents = "other/tensors,format=static,num_tensors=1,"
      "types=float16,dimensions=(string)32:12:8:1,framerate=25/1";

  expect_offer (FILTER, test_caps ("RGB", 16, 8), 16 * 8 * 3, TRUE);
  expect_offer ("fenwickenc" TINY, test_caps ("RGB", 16, 8), 16 * 8 * 3, TRUE);
  expect_offer ("fenwickmodel" TINY, gst_caps_from_string (latents),
      32 * 12 * 8 * 2, FALSE);
  expect_offer ("fenwickdec" TINY, gst_caps_from_string (latents),
      32 * 12 * 8 * 2, FALSE);
}

GST_END_TEST;

/* No frame of delay, whatever upstream adds. */
GST_START_TEST (test_latency)
{
  GstHarness *h = test_harness (lines[__i__], "I420", 16, 8);
  GstVideoInfo info;

  test_info (&info, "I420", 16, 8);
  gst_buffer_unref (push_one (h, test_picture (&info, 0)));
  gst_harness_set_upstream_latency (h, 0);
  fail_unless_equals_uint64 (gst_harness_query_latency (h), 0);
  gst_harness_set_upstream_latency (h, 30 * GST_MSECOND);
  fail_unless_equals_uint64 (gst_harness_query_latency (h), 30 * GST_MSECOND);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* Buffers without time stamps are frames too. */
GST_START_TEST (test_no_times)
{
  GstHarness *h = test_harness (lines[__i__], "RGB", 16, 8);
  GstVideoInfo info;

  test_info (&info, "RGB", 16, 8);
  for (guint i = 0; i < 3; i++) {
    GstBuffer *in = test_picture (&info, i);

    GST_BUFFER_PTS (in) = GST_BUFFER_DURATION (in) = GST_CLOCK_TIME_NONE;
    gst_buffer_unref (push_one (h, in));
  }
  gst_harness_teardown (h);
}

GST_END_TEST;

/* An empty stream ends; a gap goes through. */
GST_START_TEST (test_gap_and_eos)
{
  GstHarness *h = test_harness (lines[__i__], "I420", 16, 8);
  gboolean gap = FALSE, eos = FALSE;
  GstEvent *event;

  fail_unless (gst_harness_push_event (h, gst_event_new_gap (0, GST_SECOND)));
  fail_unless (gst_harness_push_event (h, gst_event_new_eos ()));
  while (!eos && (event = gst_harness_pull_event (h))) {
    gap |= GST_EVENT_TYPE (event) == GST_EVENT_GAP;
    eos |= GST_EVENT_TYPE (event) == GST_EVENT_EOS;
    gst_event_unref (event);
  }
  fail_unless (gap && eos);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* Played backwards: every frame comes out, in the order in which it came, and
 * none is kept back for longer than the next. */
GST_START_TEST (test_backwards)
{
  GstHarness *h = test_harness (lines[__i__], "I420", 16, 8);
  const guint n = 8;
  GstSegment segment;
  GstVideoInfo info;
  GstBuffer *out;
  guint frames = 0;

  test_info (&info, "I420", 16, 8);
  gst_segment_init (&segment, GST_FORMAT_TIME);
  segment.rate = -1.0;
  segment.stop = n * 40 * GST_MSECOND;
  segment.position = segment.stop;
  gst_harness_push_event (h, gst_event_new_segment (&segment));
  for (guint i = 0; i < n; i++) {
    fail_unless_equals_int (gst_harness_push (h, test_picture (&info,
                n - 1 - i)), GST_FLOW_OK);
    if (__i__ < 3)
      fail_unless (gst_harness_buffers_received (h) >= i);
  }
  fail_unless (gst_harness_push_event (h, gst_event_new_eos ()));
  while (frames < n && (out = gst_harness_pull (h))) {
    fail_unless_equals_uint64 (GST_BUFFER_PTS (out),
        (n - 1 - frames) * 40 * GST_MSECOND);
    frames++;
    gst_buffer_unref (out);
  }
  fail_unless_equals_int (frames, n);
  gst_harness_teardown (h);
}

GST_END_TEST;

static Suite *
buffers_suite (void)
{
  Suite *s = suite_create ("buffers");
  TCase *tc = tcase_create ("general");
  const gint n = G_N_ELEMENTS (lines);

  suite_add_tcase (s, tc);
  tcase_add_loop_test (tc, test_times, 0, n);
  tcase_add_test (tc, test_filter_fields);
  tcase_add_loop_test (tc, test_discont, 0, n);
  tcase_add_loop_test (tc, test_metas, 0, n);
  tcase_add_loop_test (tc, test_latents_flags, 0, 2);
  tcase_add_loop_test (tc, test_pools, 0, 4);
  tcase_add_test (tc, test_propose_allocation);
  tcase_add_loop_test (tc, test_latency, 0, n);
  tcase_add_loop_test (tc, test_no_times, 0, n);
  tcase_add_loop_test (tc, test_gap_and_eos, 0, n);
  tcase_add_loop_test (tc, test_backwards, 0, n);
  return s;
}

TEST_MAIN (buffers)
