/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Caps of latents, and what becomes of them on the way. */
#include "common.h"

#define LATENTS "other/tensors,format=static,num_tensors=1,types=float32," \
  "framerate=25/1,"

static void
expect_field (GstCaps * caps, const gchar * field, const gchar * value)
{
  const GValue *have =
      gst_structure_get_value (gst_caps_get_structure (caps, 0), field);
  gchar *text = have ? gst_value_serialize (have) : g_strdup ("(none)");

  fail_unless_equals_string (text, value);
  g_free (text);
}

static GstCaps *
encode (const gchar * line, const gchar * text)
{
  GstHarness *h = gst_harness_new_parse (line);
  GstCaps *caps;

  gst_harness_set_src_caps_str (h, text);
  caps = test_output_caps (h);
  fail_unless (caps != NULL);
  gst_harness_teardown (h);
  return caps;
}

/* Exactly what NNStreamer reads, and what a decoder needs. */
GST_START_TEST (test_encoder)
{
  GstCaps *caps = encode ("fenwickenc" TINY,
      "video/x-raw,format=I420,width=641,height=359,framerate=30000/1001,"
      "pixel-aspect-ratio=16/15,colorimetry=bt709,chroma-site=mpeg2");

  fail_unless_equals_string (gst_structure_get_name (gst_caps_get_structure
          (caps, 0)), "other/tensors");
  expect_field (caps, "format", "static");
  expect_field (caps, "num_tensors", "1");
  expect_field (caps, "types", "float32");
  /* 641 and 359 pixels in patches of 8 are 81 and 45, of 4 latents each */
  expect_field (caps, "dimensions", "32:324:180:1");
  expect_field (caps, "framerate", "30000/1001");
  expect_field (caps, "width", "641");
  expect_field (caps, "height", "359");
  expect_field (caps, "pixel-aspect-ratio", "16/15");
  expect_field (caps, "colorimetry", "bt709");
  expect_field (caps, "interlace-mode", "progressive");
  fail_unless (gst_structure_has_field_typed (gst_caps_get_structure (caps, 0),
          "latent-id", G_TYPE_STRING));
  gst_caps_unref (caps);
}

GST_END_TEST;

GST_START_TEST (test_encoder_types)
{
  static const gchar *const types[] = { "float32", "float16" };

  for (guint i = 0; i < G_N_ELEMENTS (types); i++) {
    gchar *line = g_strdup_printf ("fenwickenc" TINY
        "! capsfilter caps=other/tensors,types=%s", types[i]);
    GstCaps *caps = encode (line,
        "video/x-raw,format=RGB,width=16,height=16,framerate=25/1");

    expect_field (caps, "types", types[i]);
    gst_caps_unref (caps);
    g_free (line);
  }
}

GST_END_TEST;

/* float16 on the way is nearly float32, and half as long. */
GST_START_TEST (test_half)
{
  GstHarness *h = test_harness ("fenwickenc" TINY
      "! capsfilter caps=other/tensors,types=float16 ! fenwickmodel" TINY
      "! capsfilter caps=other/tensors,types=float16 ! fenwickdec" TINY, "RGB",
      24, 16);
  GstVideoInfo info;
  GstBuffer *in, *out;

  test_info (&info, "RGB", 24, 16);
  in = test_picture (&info, 1);
  gst_harness_push (h, gst_buffer_ref (in));
  out = gst_harness_pull (h);
  fail_unless (test_difference (&info, in, out, -1) <= 1);
  gst_buffer_unref (in);
  gst_buffer_unref (out);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* uint8 where the weights have a scale: a byte for each value, and a picture
 * that is much like that of float32 latents. */
GST_START_TEST (test_quantised)
{
  const gchar *w = test_weights ("tiny", 1);
  gchar *line = g_strdup_printf ("fenwickenc weights=%s ! capsfilter "
      "caps=other/tensors,types=uint8", w);
  gchar *fine =
      g_strdup_printf ("fenwickenc weights=%s ! fenwickdec weights=%s",
      w, w);
  gchar *coarse = g_strdup_printf ("%s ! fenwickdec weights=%s", line, w);
  GstHarness *h = test_harness (line, "RGB", 24, 16);
  GPtrArray *a, *b;
  GstVideoInfo info;
  GstBuffer *out;

  test_info (&info, "RGB", 24, 16);
  fail_unless_equals_int (gst_harness_push (h, test_picture (&info, 0)),
      GST_FLOW_OK);
  out = gst_harness_pull (h);
  fail_unless_equals_int (gst_buffer_get_size (out), 32 * 12 * 8);
  gst_buffer_unref (out);
  gst_harness_teardown (h);

  h = test_harness (fine, "RGB", 24, 16);
  a = test_run_frames (h, &info, 0, 3);
  gst_harness_teardown (h);
  h = test_harness (coarse, "RGB", 24, 16);
  b = test_run_frames (h, &info, 0, 3);
  gst_harness_teardown (h);
  for (guint i = 0; i < 3; i++) {
    const gdouble psnr = test_psnr (&info, a->pdata[i], b->pdata[i]);

    fail_unless (psnr > 15 && psnr < 1000, "%g dB", psnr);
  }
  g_ptr_array_unref (a);
  g_ptr_array_unref (b);
  g_free (line);
  g_free (fine);
  g_free (coarse);
}

GST_END_TEST;

/* Everything that is not the type goes through the model. */
GST_START_TEST (test_model_keeps)
{
  GstCaps *caps = encode ("fenwickmodel" TINY "! capsfilter "
      "caps=other/tensors,types=float16", LATENTS
      "dimensions=(string)32:12:8:1,width=23,height=15,colorimetry=bt601,"
      "pixel-aspect-ratio=4/3,something=else");

  expect_field (caps, "types", "float16");
  expect_field (caps, "dimensions", "32:12:8:1");
  expect_field (caps, "width", "23");
  expect_field (caps, "pixel-aspect-ratio", "4/3");
  expect_field (caps, "colorimetry", "bt601");
  expect_field (caps, "something", "else");
  gst_caps_unref (caps);
  caps = encode ("fenwickmodel" TINY, LATENTS "dimensions=(string)32:12:8:1");
  expect_field (caps, "types", "float32");
  gst_caps_unref (caps);
}

GST_END_TEST;

/* One frame of latents, so that the decoder tells its caps. */
static GstCaps *
decode (const gchar * line, const gchar * text, gsize bytes)
{
  GstHarness *h = gst_harness_new_parse (line);
  GstCaps *caps;

  gst_harness_set_src_caps_str (h, text);
  fail_unless_equals_int (gst_harness_push (h, test_latents (bytes, 0)),
      GST_FLOW_OK);
  gst_buffer_unref (gst_harness_pull (h));
  caps = test_output_caps (h);
  gst_harness_teardown (h);
  return caps;
}

/* A picture gets back what the encoder knew of it. */
GST_START_TEST (test_decoder_restores)
{
  GstCaps *caps = decode ("fenwickdec" TINY, LATENTS
      "dimensions=(string)32:12:8:1,width=23,height=15,colorimetry=bt601,"
      "pixel-aspect-ratio=4/3,chroma-site=jpeg", 32 * 12 * 8 * 4);

  fail_unless_equals_string (gst_structure_get_name (gst_caps_get_structure
          (caps, 0)), "video/x-raw");
  expect_field (caps, "format", "I420");
  expect_field (caps, "width", "23");
  expect_field (caps, "height", "15");
  expect_field (caps, "pixel-aspect-ratio", "4/3");
  expect_field (caps, "framerate", "25/1");
  expect_field (caps, "colorimetry", "bt601");
  expect_field (caps, "chroma-site", "jpeg");
  gst_caps_unref (caps);
}

GST_END_TEST;

/* Bare tensors: twice the size, any rank of ones. */
GST_START_TEST (test_decoder_bare)
{
  static const gchar *const dims[] = {
    "32:12:8", "32:12:8:1", "32:12:8:1:1:1"
  };

  for (guint i = 0; i < G_N_ELEMENTS (dims); i++) {
    gchar *text = g_strdup_printf (LATENTS "dimensions=(string)%s", dims[i]);
    GstCaps *caps = decode ("fenwickdec" TINY, text, 32 * 12 * 8 * 4);

    expect_field (caps, "width", "24");
    expect_field (caps, "height", "16");
    gst_caps_unref (caps);
    g_free (text);
  }
}

GST_END_TEST;

/* The colour tells which format the pictures had. */
GST_START_TEST (test_decoder_format)
{
  static const gchar *const expected[][2] = {
    {"sRGB", "RGB"}, {"bt709", "I420"}, {"bt601", "I420"},
    {"bt2100-pq", "P010_10LE"}, {"1:4:0:0", "GRAY8"}
  };

  for (guint i = 0; i < G_N_ELEMENTS (expected); i++) {
    gchar *text = g_strdup_printf (LATENTS "dimensions=(string)32:12:8:1,"
        "colorimetry=%s", expected[i][0]);
    GstCaps *caps = decode ("fenwickdec" TINY, text, 32 * 12 * 8 * 4);

    expect_field (caps, "format", expected[i][1]);
    gst_caps_unref (caps);
    g_free (text);
  }
}

GST_END_TEST;

/* Downstream has the last word, and colour follows the format. */
GST_START_TEST (test_decoder_choice)
{
  GstCaps *caps = decode ("fenwickdec" TINY "! capsfilter caps=\"video/x-raw,"
      "format={BGRx,RGBA}\"", LATENTS "dimensions=(string)32:12:8:1,"
      "colorimetry=bt709", 32 * 12 * 8 * 4);

  expect_field (caps, "format", "BGRx");
  expect_field (caps, "colorimetry", "1:1:5:1");
  gst_caps_unref (caps);
  caps = decode ("fenwickdec" TINY "! capsfilter caps=video/x-raw,format=NV12",
      LATENTS "dimensions=(string)32:12:8:1,colorimetry=sRGB", 32 * 12 * 8 * 4);
  expect_field (caps, "format", "NV12");
  fail_unless (!gst_structure_has_field (gst_caps_get_structure (caps, 0),
          "chroma-site"));
  gst_caps_unref (caps);
}

GST_END_TEST;

/* The sink pad says tensors whatever is downstream: other elements would
 * write a size into caps that have none. */
GST_START_TEST (test_decoder_getcaps)
{
  GstHarness *h = gst_harness_new_parse ("fenwickdec" TINY
      "! capsfilter caps=video/x-raw,width=24,height=16");
  GstCaps *caps = gst_pad_peer_query_caps (h->srcpad, NULL);

  fail_unless_equals_int (gst_caps_get_size (caps), 1);
  fail_if (gst_structure_has_field (gst_caps_get_structure (caps, 0), "width"));
  gst_caps_unref (caps);
  gst_harness_teardown (h);
}

GST_END_TEST;

static const gchar *const bad[] = {
  "dimensions=(string)32:12",
  "dimensions=(string)32",
  "dimensions=(string)\"\"",
  "dimensions=(string)32:12:8:2",
  "dimensions=(string)32:12:8:1:1:1:1:1:1:1:1:1:1:1:1:1:1:1",
  "dimensions=(string)32:0:8:1",
  "dimensions=(string)32:-12:8:1",
  "dimensions=(string)32:12:8:1:",
  "dimensions=(string)32::8:1",
  "dimensions=(string)32:12:8:1.3:4:5:1",
  "dimensions=(string)\"32:12:8:1,3:4:5:1\"",
  "dimensions=(string)0x20:12:8:1",
  "dimensions=(string)\" 32:12:8:1\"",
  "dimensions=(string)99999999999999999999:12:8:1",
  "dimensions=(string)2147483647:2147483647:2147483647:1",
  "dimensions=(string)32:2147483647:1:1",
  "dimensions=(string)16:12:8:1",
  "dimensions=(string)33:12:8:1",
  "dimensions=(string)32:13:8:1",
  "dimensions=(int)32",
  "width=24",
  "dimensions=(string)32:12:8:1,width=24",
  "dimensions=(string)32:12:8:1,width=0,height=16",
  "dimensions=(string)32:12:8:1,width=-24,height=16",
  "dimensions=(string)32:12:8:1,width=25,height=16",
  "dimensions=(string)32:12:8:1,width=32769,height=16",
  "dimensions=(string)32:12:8:1,types=(string)int8",
  "dimensions=(string)32:12:8:1,types=(string)\"float32,float32\"",
  "dimensions=(string)32:12:8:1,types=(string)uint8",
  "dimensions=(string)32:12:8:1,num_tensors=2",
  "dimensions=(string)32:12:8:1,format=(string)flexible",
  "dimensions=(string)32:12:8:1,latent-id=(string)0000000000000000",
};

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

/* Caps that lie, straight to the element: no error or one, never two, and the
 * right caps work afterwards. */
static void
feed (const gchar * line, const gchar * text)
{
  GstHarness *h = gst_harness_new_parse (line);
  GstBus *bus = gst_bus_new ();
  GstCaps *caps = gst_caps_from_string (LATENTS "dimensions=(string)32:12:8:1");
  GstCaps *wrong = gst_caps_from_string (text), *good;

  fail_unless (wrong != NULL, "%s", text);
  good = gst_caps_copy (caps);
  for (gint i = 0; i < gst_structure_n_fields (gst_caps_get_structure (wrong,
              0)); i++) {
    const gchar *name =
        gst_structure_nth_field_name (gst_caps_get_structure (wrong, 0),
        (guint) i);

    gst_caps_set_value (caps, name,
        gst_structure_get_value (gst_caps_get_structure (wrong, 0), name));
  }
  if (!gst_structure_has_field (gst_caps_get_structure (wrong, 0),
          "dimensions"))
    gst_structure_remove_field (gst_caps_get_structure (caps, 0), "dimensions");

  gst_element_set_bus (h->element, bus);
  gst_harness_set_src_caps (h, gst_caps_copy (good));
  fail_unless_equals_int (count_errors (bus), 0);
  /* a source pad keeps caps that were refused and offers them again */
  gst_harness_push_event (h, gst_event_new_caps (caps));
  fail_if (gst_harness_push (h, test_latents (32 * 12 * 8 * 4, 0)) ==
      GST_FLOW_OK, "%s", text);
  fail_unless (count_errors (bus) <= 1, "%s", text);
  fail_unless (gst_harness_push_event (h, gst_event_new_caps (good)));
  fail_unless_equals_int (gst_harness_push (h, test_latents (32 * 12 * 8 * 4,
              0)), GST_FLOW_OK);
  fail_unless_equals_int (count_errors (bus), 0);

  gst_bus_set_flushing (bus, TRUE);
  gst_element_set_bus (h->element, NULL);
  gst_object_unref (bus);
  gst_caps_unref (caps);
  gst_caps_unref (good);
  gst_caps_unref (wrong);
  gst_harness_teardown (h);
}

GST_START_TEST (test_bad_latents)
{
  gchar *text = g_strdup_printf ("other/tensors,%s", bad[__i__]);

  feed ("fenwickdec" TINY, text);
  feed ("fenwickmodel" TINY, text);
  g_free (text);
}

GST_END_TEST;

/* The check of latent-id can be switched off. */
GST_START_TEST (test_other_latent_id)
{
  GstCaps *caps = decode ("fenwickmodel" TINY "check-latent-id=false ! "
      "fenwickdec" TINY "check-latent-id=false", LATENTS
      "dimensions=(string)32:12:8:1,latent-id=(string)0000000000000000",
      32 * 12 * 8 * 4);

  expect_field (caps, "width", "24");
  gst_caps_unref (caps);
}

GST_END_TEST;

/* Latents that lie at any address are read. */
GST_START_TEST (test_unaligned)
{
  const gsize bytes = 32 * 12 * 8 * 4;
  GstHarness *h = gst_harness_new_parse ("fenwickmodel" TINY);
  GstBuffer *plain, *expected = NULL;

  gst_harness_set_src_caps_str (h, LATENTS "dimensions=(string)32:12:8:1");
  plain = test_latents (bytes, 4);
  for (guint shift = 0; shift < 20; shift++) {
    GstBuffer *in = gst_buffer_new_allocate (NULL, bytes + 64, NULL), *out;
    GstMapInfo map;

    gst_buffer_map (plain, &map, GST_MAP_READ);
    gst_buffer_fill (in, shift, map.data, bytes);
    gst_buffer_unmap (plain, &map);
    gst_buffer_resize (in, (gssize) shift, (gssize) bytes);
    GST_BUFFER_FLAG_SET (in, GST_BUFFER_FLAG_DISCONT);
    fail_unless_equals_int (gst_harness_push (h, in), GST_FLOW_OK);
    out = gst_harness_pull (h);
    if (expected) {
      fail_unless (test_equal (expected, out));
      gst_buffer_unref (out);
    } else {
      expected = out;
    }
  }
  gst_buffer_unref (expected);
  gst_buffer_unref (plain);
  gst_harness_teardown (h);
}

GST_END_TEST;

/* A new format, rate or colour at the same size plans anew and goes on. */
GST_START_TEST (test_renegotiate)
{
  GstHarness *h = gst_harness_new_parse (__i__ ? CHAIN ("") : FILTER);
  static const gchar *const texts[] = {
    "video/x-raw,format=I420,width=24,height=16,framerate=25/1",
    "video/x-raw,format=RGB,width=24,height=16,framerate=25/1",
    "video/x-raw,format=GRAY8,width=24,height=16,framerate=30/1",
    "video/x-raw,format=RGB,width=8,height=40,framerate=30/1",
    "video/x-raw,format=NV12,width=1,height=1,framerate=30/1",
    "video/x-raw,format=I420,width=24,height=16,framerate=25/1",
  };

  for (guint i = 0; i < G_N_ELEMENTS (texts); i++) {
    GstCaps *caps = gst_caps_from_string (texts[i]), *out_caps;
    GstVideoInfo info, out_info;
    GstBuffer *in, *out;

    fail_unless (gst_video_info_from_caps (&info, caps));
    gst_harness_set_src_caps (h, caps);
    in = test_picture (&info, i);
    fail_unless_equals_int (gst_harness_push (h, gst_buffer_ref (in)),
        GST_FLOW_OK);
    out = gst_harness_pull (h);
    out_caps = test_output_caps (h);
    fail_unless (gst_video_info_from_caps (&out_info, out_caps));
    fail_unless_equals_int (out_info.width, info.width);
    fail_unless_equals_int (out_info.height, info.height);
    fail_unless_equals_int (out_info.fps_n, info.fps_n);
    if (GST_VIDEO_INFO_FORMAT (&out_info) == GST_VIDEO_INFO_FORMAT (&info))
      fail_unless (test_difference (&info, in, out, -1) <= 1);
    gst_caps_unref (out_caps);
    gst_buffer_unref (in);
    gst_buffer_unref (out);
  }
  gst_harness_teardown (h);
}

GST_END_TEST;

/* Downstream changes its mind in the middle of the stream. */
GST_START_TEST (test_reconfigure)
{
  GstHarness *h = test_harness (CHAIN ("") "! capsfilter name=f "
      "caps=video/x-raw,format=I420", "RGB", 16, 16);
  static const gchar *const wanted[] = { "I420", "RGB", "NV12" };
  GstElement *filter = gst_bin_get_by_name (GST_BIN (h->element), "f");
  GstVideoInfo info;

  test_info (&info, "RGB", 16, 16);
  for (guint i = 0; i < G_N_ELEMENTS (wanted); i++) {
    GstCaps *caps = gst_caps_new_simple ("video/x-raw", "format",
        G_TYPE_STRING, wanted[i], NULL);

    g_object_set (filter, "caps", caps, NULL);
    gst_caps_unref (caps);
    fail_unless_equals_int (gst_harness_push (h, test_picture (&info, i)),
        GST_FLOW_OK);
    gst_buffer_unref (gst_harness_pull (h));
    caps = test_output_caps (h);
    expect_field (caps, "format", wanted[i]);
    gst_caps_unref (caps);
  }
  fail_unless_equals_int (test_stat (h, "fenwickdec", "resets"), 0);
  gst_object_unref (filter);
  gst_harness_teardown (h);
}

GST_END_TEST;

static Suite *
caps_suite (void)
{
  Suite *s = suite_create ("caps");
  TCase *tc = tcase_create ("general");

  suite_add_tcase (s, tc);
  tcase_add_test (tc, test_encoder);
  tcase_add_test (tc, test_encoder_types);
  tcase_add_test (tc, test_half);
  tcase_add_test (tc, test_quantised);
  tcase_add_test (tc, test_model_keeps);
  tcase_add_test (tc, test_decoder_restores);
  tcase_add_test (tc, test_decoder_bare);
  tcase_add_test (tc, test_decoder_format);
  tcase_add_test (tc, test_decoder_choice);
  tcase_add_test (tc, test_decoder_getcaps);
  tcase_add_loop_test (tc, test_bad_latents, 0, G_N_ELEMENTS (bad));
  tcase_add_test (tc, test_other_latent_id);
  tcase_add_test (tc, test_unaligned);
  tcase_add_loop_test (tc, test_renegotiate, 0, 2);
  tcase_add_test (tc, test_reconfigure);
  return s;
}

TEST_MAIN (caps)
