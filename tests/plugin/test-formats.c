/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Pictures of every format, size and layout through the identity network, which
 * must give them back. */
#include "common.h"

#include <gst/video/gstvideometa.h>
#include <string.h>

static const gchar *const formats[] = {
  "I420", "NV12", "YV12", "NV21", "Y42B", "NV16", "Y444", "NV24", "YUY2",
  "UYVY", "AYUV", "P010_10LE", "I420_10LE", "I422_10LE", "Y444_10LE",
  "Y444_16LE", "RGB", "BGR", "RGBA", "BGRA", "ARGB", "ABGR", "RGBx", "BGRx",
  "xRGB", "xBGR", "GBR", "GRAY8", "GRAY16_LE"
};

/* How far a value may move: nothing at 8 bit without subsampling. 16 bit
 * values have more digits than the float32 that they go through. */
static gint
tolerance (const GstVideoInfo * info)
{
  if (GST_VIDEO_INFO_COMP_DEPTH (info, 0) == 16)
    return 2;
  if (GST_VIDEO_INFO_IS_YUV (info) && info->finfo->w_sub[1])
    return 1;
  return 0;
}

static void
expect_same (const GstVideoInfo * info, GstBuffer * in, GstBuffer * out)
{
  const gint worst = test_difference (info, in, out, -1);

  fail_unless (worst <= tolerance (info), "%s %dx%d: difference %d",
      GST_VIDEO_INFO_NAME (info), info->width, info->height, worst);
}

static void
through (const gchar * line, const gchar * format, gint width, gint height,
    guint frames)
{
  GstHarness *h = test_harness (line, format, width, height);
  GstVideoInfo info;

  test_info (&info, format, width, height);
  for (guint n = 0; n < frames; n++) {
    GstBuffer *in = test_picture (&info, n), *out;

    fail_unless_equals_int (gst_harness_push (h, gst_buffer_ref (in)),
        GST_FLOW_OK);
    out = gst_harness_pull (h);
    expect_same (&info, in, out);
    fail_unless (test_psnr (&info, in, out) >= 48, "%s", format);
    gst_buffer_unref (in);
    gst_buffer_unref (out);
  }
  gst_harness_teardown (h);
}

/* The list above is what the element says. */
GST_START_TEST (test_list)
{
  GstElement *filter = gst_element_factory_make ("fenwickfilter", NULL);
  GstPad *pad = gst_element_get_static_pad (filter, "sink");
  GstCaps *caps = gst_pad_query_caps (pad, NULL);
  const GValue *list =
      gst_structure_get_value (gst_caps_get_structure (caps, 0), "format");

  fail_unless_equals_int (gst_value_list_get_size (list),
      G_N_ELEMENTS (formats));
  for (guint i = 0; i < G_N_ELEMENTS (formats); i++)
    fail_unless_equals_string (g_value_get_string (gst_value_list_get_value
            (list, i)), formats[i]);
  gst_caps_unref (caps);
  gst_object_unref (pad);
  gst_object_unref (filter);
}

GST_END_TEST;

GST_START_TEST (test_filter_format)
{
  through (FILTER, formats[__i__], 18, 14, 2);
}

GST_END_TEST;

/* The decoder gives the format that downstream wants; 8 bit alpha is opaque
 * there, because latents have none. */
GST_START_TEST (test_chain_format)
{
  gchar *line =
      g_strdup_printf (CHAIN ("") "! capsfilter caps=video/x-raw,format=%s",
      formats[__i__]);
  GstHarness *h = test_harness (line, formats[__i__], 18, 14);
  GstVideoInfo info;
  GstBuffer *in, *out;

  test_info (&info, formats[__i__], 18, 14);
  in = test_picture (&info, 7);
  fail_unless_equals_int (gst_harness_push (h, gst_buffer_ref (in)),
      GST_FLOW_OK);
  out = gst_harness_pull (h);
  for (gint c = 0; c < MIN (3, (gint) GST_VIDEO_INFO_N_COMPONENTS (&info)); c++)
    fail_unless (test_difference (&info, in, out, c) <= tolerance (&info));
  if (GST_VIDEO_INFO_HAS_ALPHA (&info)) {
    GstVideoFrame frame;

    fail_unless (gst_video_frame_map (&frame, &info, out, GST_MAP_READ));
    fail_unless_equals_int (((guint8 *)
            GST_VIDEO_FRAME_COMP_DATA (&frame, 3))[0], 255);
    gst_video_frame_unmap (&frame);
  }
  gst_buffer_unref (in);
  gst_buffer_unref (out);
  gst_harness_teardown (h);
  g_free (line);
}

GST_END_TEST;

/* The byte beside the colours: the filter hands it on, the decoder writes 255. */
GST_START_TEST (test_filler)
{
  static const gchar *const some[] = { "RGBx", "BGRx", "xRGB", "xBGR" };
  static const guint at[] = { 3, 3, 0, 0 };

  for (guint i = 0; i < G_N_ELEMENTS (some); i++) {
    gchar *line = g_strdup_printf (CHAIN ("") "! capsfilter "
        "caps=video/x-raw,format=%s", some[i]);
    GstHarness *filter = test_harness (FILTER, some[i], 9, 5);
    GstHarness *chain = test_harness (line, some[i], 9, 5);
    GstVideoInfo info;
    GstBuffer *in, *out;
    guint8 byte;

    test_info (&info, some[i], 9, 5);
    in = test_picture (&info, i);
    gst_harness_push (filter, gst_buffer_ref (in));
    out = gst_harness_pull (filter);
    fail_unless (test_equal (in, out), "%s", some[i]);
    gst_buffer_unref (out);
    gst_harness_push (chain, in);
    out = gst_harness_pull (chain);
    fail_unless_equals_int (gst_buffer_extract (out, at[i], &byte, 1), 1);
    fail_unless_equals_int (byte, 255);
    gst_buffer_unref (out);
    gst_harness_teardown (filter);
    gst_harness_teardown (chain);
    g_free (line);
  }
}

GST_END_TEST;

static const gint sizes[][2] = {
  {1, 1}, {1, 2}, {2, 1}, {3, 3}, {1, 33}, {33, 1}, {7, 5}, {8, 8}, {9, 8},
  {15, 16}, {16, 15}, {17, 33}, {33, 17}
};

GST_START_TEST (test_size)
{
  static const gchar *const some[] = { "I420", "RGB", "YUY2", "P010_10LE" };
  const gint *size = sizes[__i__];

  for (guint i = 0; i < G_N_ELEMENTS (some); i++)
    through (FILTER, some[i], size[0], size[1], 1);
  through (CHAIN ("") "! capsfilter caps=video/x-raw,format=RGB", "RGB",
      size[0], size[1], 2);
}

GST_END_TEST;

/* Rows of any length, described by GstVideoMeta, change nothing. */
GST_START_TEST (test_padded_input)
{
  static const gchar *const some[] =
      { "I420", "NV12", "RGB", "BGRA", "GRAY8", "P010_10LE", "Y42B" };
  static const gint pads[] = { 2, 16, 62 };
  const gchar *line = __i__ ? CHAIN ("") : FILTER;

  for (guint i = 0; i < G_N_ELEMENTS (some); i++) {
    for (guint k = 0; k < G_N_ELEMENTS (pads); k++) {
      GstHarness *h = test_harness (line, some[i], 17, 9);
      GstBuffer *plain, *padded;
      GstVideoInfo info;
      GstSegment segment;
      GstCaps *caps;

      test_info (&info, some[i], 17, 9);
      fail_unless_equals_int (gst_harness_push (h, test_picture (&info, 3)),
          GST_FLOW_OK);
      plain = gst_harness_pull (h);
      gst_harness_push_event (h, gst_event_new_flush_start ());
      gst_harness_push_event (h, gst_event_new_flush_stop (TRUE));
      gst_segment_init (&segment, GST_FORMAT_TIME);
      gst_harness_push_event (h, gst_event_new_segment (&segment));
      fail_unless_equals_int (gst_harness_push (h, test_picture_padded (&info,
                  3, pads[k])), GST_FLOW_OK);
      padded = gst_harness_pull (h);
      caps = test_output_caps (h);
      fail_unless (gst_video_info_from_caps (&info, caps));
      fail_unless_equals_int (test_difference (&info, plain, padded, -1), 0);
      gst_caps_unref (caps);
      gst_buffer_unref (plain);
      gst_buffer_unref (padded);
      gst_harness_teardown (h);
    }
  }
}

GST_END_TEST;

static GstPadProbeReturn
propose (GstPad * pad, GstPadProbeInfo * probe, gpointer pool)
{
  GstQuery *query = GST_PAD_PROBE_INFO_QUERY (probe);

  if (GST_QUERY_TYPE (query) != GST_QUERY_ALLOCATION)
    return GST_PAD_PROBE_OK;
  gst_query_add_allocation_pool (query, pool, 17 * 9 * 3, 2, 0);
  gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
  return GST_PAD_PROBE_HANDLED;
}

/* Downstream may hand out a pool of padded buffers. */
GST_START_TEST (test_padded_output)
{
  GstHarness *h = gst_harness_new_parse (__i__ ? CHAIN ("") : FILTER);
  GstBufferPool *pool = gst_video_buffer_pool_new ();
  GstStructure *config = gst_buffer_pool_get_config (pool);
  GstCaps *caps = test_caps (__i__ ? "I420" : "RGB", 17, 9);
  GstVideoAlignment align;
  GstVideoMeta *meta;
  GstVideoInfo info;
  GstBuffer *in, *out;

  test_info (&info, __i__ ? "I420" : "RGB", 17, 9);
  gst_video_alignment_reset (&align);
  align.padding_left = 16;
  align.padding_right = 22;
  align.padding_top = 4;
  gst_buffer_pool_config_set_params (config, caps,
      (guint) GST_VIDEO_INFO_SIZE (&info), 0, 0);
  gst_buffer_pool_config_add_option (config, GST_BUFFER_POOL_OPTION_VIDEO_META);
  gst_buffer_pool_config_add_option (config,
      GST_BUFFER_POOL_OPTION_VIDEO_ALIGNMENT);
  gst_buffer_pool_config_set_video_alignment (config, &align);
  fail_unless (gst_buffer_pool_set_config (pool, config));
  gst_pad_add_probe (h->sinkpad, GST_PAD_PROBE_TYPE_QUERY_DOWNSTREAM, propose,
      pool, NULL);
  gst_harness_set_src_caps (h, caps);

  in = test_picture (&info, 5);
  fail_unless_equals_int (gst_harness_push (h, gst_buffer_ref (in)),
      GST_FLOW_OK);
  out = gst_harness_pull (h);
  meta = gst_buffer_get_video_meta (out);
  fail_unless (meta != NULL && out->pool == pool);
  fail_unless (meta->stride[0] > GST_VIDEO_INFO_PLANE_STRIDE (&info, 0));
  expect_same (&info, in, out);
  gst_buffer_unref (in);
  gst_buffer_unref (out);
  gst_object_unref (pool);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* Limited and full range, and both matrices, survive the way there and back. */
GST_START_TEST (test_colorimetry)
{
  static const gchar *const colors[] = {
    "bt601", "bt709", "bt2020", "1:3:5:1", "1:4:16:4", "smpte240m"
  };
  GstHarness *h = gst_harness_new_parse (FILTER);
  GstCaps *caps = test_caps ("Y444", 16, 8);
  GstVideoInfo info;

  gst_caps_set_simple (caps, "colorimetry", G_TYPE_STRING, colors[__i__], NULL);
  fail_unless (gst_video_info_from_caps (&info, caps));
  gst_harness_set_src_caps (h, caps);
  for (guint n = 0; n < 2; n++) {
    GstBuffer *in = test_picture (&info, n), *out;

    gst_harness_push (h, gst_buffer_ref (in));
    out = gst_harness_pull (h);
    expect_same (&info, in, out);
    gst_buffer_unref (in);
    gst_buffer_unref (out);
  }
  gst_harness_teardown (h);
}

GST_END_TEST;

/* One colour, and what it is in code values. */
static void
flat (const gchar * format, const gchar * color, gint c0, gint c1, gint c2,
    const gchar * to, gint r, gint g, gint b)
{
  gchar *line = g_strdup_printf ("fenwickenc" TINY "! fenwickdec" TINY
      "! capsfilter caps=video/x-raw,format=%s", to);
  GstHarness *h = gst_harness_new_parse (line);
  GstCaps *caps = test_caps (format, 8, 8), *out_caps;
  const gint in_value[] = { c0, c1, c2 }, out_value[] = { r, g, b };
  GstVideoInfo info;
  GstVideoFrame frame;
  GstBuffer *buffer;

  gst_caps_set_simple (caps, "colorimetry", G_TYPE_STRING, color, NULL);
  fail_unless (gst_video_info_from_caps (&info, caps));
  gst_harness_set_src_caps (h, caps);
  buffer = test_picture (&info, 0);
  fail_unless (gst_video_frame_map (&frame, &info, buffer, GST_MAP_WRITE));
  for (guint c = 0; c < 3; c++)
    for (gint y = 0; y < 8; y++)
      for (gint x = 0; x < 8; x++)
        ((guint8 *) GST_VIDEO_FRAME_COMP_DATA (&frame, c))[y *
            GST_VIDEO_FRAME_COMP_STRIDE (&frame, c) +
            x * GST_VIDEO_FRAME_COMP_PSTRIDE (&frame, c)] =
            (guint8) in_value[c];
  gst_video_frame_unmap (&frame);
  gst_harness_push (h, buffer);
  buffer = gst_harness_pull (h);
  out_caps = test_output_caps (h);
  fail_unless (gst_video_info_from_caps (&info, out_caps));
  gst_caps_unref (out_caps);
  fail_unless (gst_video_frame_map (&frame, &info, buffer, GST_MAP_READ));
  for (guint c = 0; c < 3; c++) {
    const gint value = ((guint8 *) GST_VIDEO_FRAME_COMP_DATA (&frame, c))[0];

    fail_unless (ABS (value - out_value[c]) <= 1, "%s: %d instead of %d", color,
        value, out_value[c]);
  }
  gst_video_frame_unmap (&frame);
  gst_buffer_unref (buffer);
  gst_harness_teardown (h);
  g_free (line);
}

/* Values by hand from ITU-R BT.601 and BT.709. */
GST_START_TEST (test_known_colors)
{
  flat ("Y444", "bt601", 81, 90, 240, "RGB", 254, 0, 0);
  flat ("Y444", "bt709", 63, 102, 240, "RGB", 255, 1, 0);
  flat ("Y444", "1:4:7:1", 76, 85, 255, "RGB", 254, 0, 0);
  flat ("Y444", "bt601", 16, 128, 128, "RGB", 0, 0, 0);
  flat ("Y444", "bt709", 235, 128, 128, "RGB", 255, 255, 255);
  flat ("RGB", "sRGB", 255, 255, 255, "Y444", 235, 128, 128);
  flat ("RGB", "sRGB", 0, 0, 0, "Y444", 16, 128, 128);
}

GST_END_TEST;

static Suite *
formats_suite (void)
{
  Suite *s = suite_create ("formats");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_list);
  tcase_add_loop_test (tc, test_filter_format, 0, G_N_ELEMENTS (formats));
  tcase_add_loop_test (tc, test_chain_format, 0, G_N_ELEMENTS (formats));
  tcase_add_test (tc, test_filler);
  tcase_add_loop_test (tc, test_size, 0, G_N_ELEMENTS (sizes));
  tcase_add_loop_test (tc, test_padded_input, 0, 2);
  tcase_add_loop_test (tc, test_padded_output, 0, 2);
  tcase_add_loop_test (tc, test_colorimetry, 0, 6);
  tcase_add_test (tc, test_known_colors);
  return s;
}

TEST_MAIN (formats)
