/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common.h"

#include <glib/gstdio.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "fw.h"

static gchar *folder;
static GHashTable *files;

gchar *
test_path (const gchar * name)
{
  if (!folder) {
    folder = g_dir_make_tmp ("fenwick-XXXXXX", NULL);
    files = g_hash_table_new_full (g_str_hash, g_str_equal, g_free, NULL);
  }
  fail_unless (folder != NULL);
  return g_build_filename (folder, name, NULL);
}

/* A folder and what is in it; suites make few and shallow ones. */
static void
remove_folder (const gchar * path)
{
  GDir *dir = g_dir_open (path, 0, NULL);
  const gchar *name;

  while (dir && (name = g_dir_read_name (dir))) {
    gchar *inside = g_build_filename (path, name, NULL);

    if (g_file_test (inside, G_FILE_TEST_IS_DIR))
      remove_folder (inside);
    else
      g_remove (inside);
    g_free (inside);
  }
  g_clear_pointer (&dir, g_dir_close);
  g_rmdir (path);
}

static void
remove_files (void)
{
  if (folder)
    remove_folder (folder);
  g_clear_pointer (&folder, g_free);
  g_clear_pointer (&files, g_hash_table_unref);
}

int
test_run (Suite * suite, const gchar * name, const gchar * file)
{
  const int failed = gst_check_run_suite (suite, name, file);

  remove_files ();
  return failed;
}

const gchar *
test_weights (const gchar * preset, guint seed)
{
  gchar *name = g_strdup_printf ("%s-%u.safetensors", preset, seed);
  gchar *path = test_path (name);
  const gchar *known = NULL;

  g_free (name);
  if (!g_hash_table_lookup_extended (files, path, (gpointer *) & known, NULL)) {
    struct fw_weights *weights;
    struct fw_config config;
    GError *error = NULL;

    fail_unless (fw_config_preset (&config, preset, &error));
    weights = fw_weights_new (&config, FW_INIT_RANDOM, seed, &error);
    fail_unless (weights != NULL);
    fail_unless (fw_weights_save (weights, path, FALSE, &error));
    fw_weights_unref (weights);
    g_hash_table_add (files, g_strdup (path));
    g_hash_table_lookup_extended (files, path, (gpointer *) & known, NULL);
  }
  g_free (path);
  return known;
}

/* ------------------------------------------------------------- pictures */

GstCaps *
test_caps (const gchar * format, gint width, gint height)
{
  return gst_caps_new_simple ("video/x-raw", "format", G_TYPE_STRING, format,
      "width", G_TYPE_INT, width, "height", G_TYPE_INT, height, "framerate",
      GST_TYPE_FRACTION, 25, 1, NULL);
}

void
test_info (GstVideoInfo * info, const gchar * format, gint width, gint height)
{
  GstCaps *caps = test_caps (format, width, height);

  fail_unless (gst_video_info_from_caps (info, caps), "%s", format);
  gst_caps_unref (caps);
}

/* A small generator, so that pictures are the same everywhere. */
static guint32
next (guint32 * state)
{
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

/* GStreamer counts the offset of P010's V in samples, others in bytes. */
static guint8 *
sample (const GstVideoFrame * frame, guint c, gint x, gint y)
{
  const gint depth = GST_VIDEO_FRAME_COMP_DEPTH (frame, c);
  const gint plane = GST_VIDEO_FRAME_COMP_PLANE (frame, c);
  gint offset = GST_VIDEO_FRAME_COMP_POFFSET (frame, c);

  if (depth > 8 && offset % 2)
    offset *= 2;
  offset += y * GST_VIDEO_FRAME_COMP_STRIDE (frame, c);
  offset += x * GST_VIDEO_FRAME_COMP_PSTRIDE (frame, c);
  return (guint8 *) GST_VIDEO_FRAME_PLANE_DATA (frame, plane) + offset;
}

static guint
get (const GstVideoFrame * frame, guint c, gint x, gint y)
{
  const guint8 *at = sample (frame, c, x, y);
  const guint shift = GST_VIDEO_FORMAT_INFO_SHIFT (frame->info.finfo, c);

  return GST_VIDEO_FRAME_COMP_DEPTH (frame, c) > 8
      ? (guint) GST_READ_UINT16_LE (at) >> shift : *at;
}

static void
put (const GstVideoFrame * frame, guint c, gint x, gint y, guint value)
{
  guint8 *at = sample (frame, c, x, y);
  const guint shift = GST_VIDEO_FORMAT_INFO_SHIFT (frame->info.finfo, c);

  if (GST_VIDEO_FRAME_COMP_DEPTH (frame, c) > 8)
    GST_WRITE_UINT16_LE (at, (guint16) (value << shift));
  else
    *at = (guint8) value;
}

static void
fill (GstBuffer * buffer, const GstVideoInfo * info, guint n)
{
  GstVideoFrame frame;
  guint32 state = n * 2654435761u + 12345u;

  gst_buffer_memset (buffer, 0, 0x55, gst_buffer_get_size (buffer));
  fail_unless (gst_video_frame_map (&frame, info, buffer, GST_MAP_WRITE));
  for (guint c = 0; c < GST_VIDEO_INFO_N_COMPONENTS (info); c++) {
    const guint mask = (1u << GST_VIDEO_INFO_COMP_DEPTH (info, c)) - 1;

    for (gint y = 0; y < GST_VIDEO_INFO_COMP_HEIGHT (info, c); y++)
      for (gint x = 0; x < GST_VIDEO_INFO_COMP_WIDTH (info, c); x++)
        put (&frame, c, x, y, next (&state) & mask);
  }
  gst_video_frame_unmap (&frame);
}

static void
stamp (GstBuffer * buffer, guint n)
{
  GST_BUFFER_PTS (buffer) = n * 40 * GST_MSECOND;
  GST_BUFFER_DURATION (buffer) = 40 * GST_MSECOND;
}

GstBuffer *
test_picture (const GstVideoInfo * info, guint n)
{
  GstBuffer *buffer =
      gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (info), NULL);

  fill (buffer, info, n);
  stamp (buffer, n);
  return buffer;
}

GstBuffer *
test_picture_padded (const GstVideoInfo * info, guint n, gint pad)
{
  gsize offset[GST_VIDEO_MAX_PLANES] = { 0, };
  gint stride[GST_VIDEO_MAX_PLANES] = { 0, };
  gsize size = (gsize) pad & ~(gsize) 1;
  GstBuffer *buffer;

  for (guint i = 0; i < GST_VIDEO_INFO_N_PLANES (info); i++) {
    gint rows = 0;

    for (guint c = 0; c < GST_VIDEO_INFO_N_COMPONENTS (info); c++)
      if (GST_VIDEO_INFO_COMP_PLANE (info, c) == i)
        rows = MAX (rows, GST_VIDEO_INFO_COMP_HEIGHT (info, c));
    offset[i] = size;
    stride[i] = GST_VIDEO_INFO_PLANE_STRIDE (info, i) + pad;
    size += (gsize) stride[i] * (gsize) rows + (gsize) pad;
  }
  buffer = gst_buffer_new_allocate (NULL, size, NULL);
  gst_buffer_add_video_meta_full (buffer, 0, GST_VIDEO_INFO_FORMAT (info),
      (guint) info->width, (guint) info->height,
      GST_VIDEO_INFO_N_PLANES (info), offset, stride);
  fill (buffer, info, n);
  stamp (buffer, n);
  return buffer;
}

GstBuffer *
test_latents (gsize bytes, guint n)
{
  GstBuffer *buffer = gst_buffer_new_allocate (NULL, bytes, NULL);
  guint32 state = n * 2654435761u + 999u;
  GstMapInfo map;

  fail_unless (gst_buffer_map (buffer, &map, GST_MAP_WRITE));
  for (gsize i = 0; i < bytes / sizeof (gfloat); i++)
    ((gfloat *) map.data)[i] = (gfloat) (next (&state) & 0xffff) / 32768 - 1;
  gst_buffer_unmap (buffer, &map);
  stamp (buffer, n);
  return buffer;
}

static gint
difference_of (const GstVideoFrame * a, const GstVideoFrame * b, guint c)
{
  gint worst = 0;

  for (gint y = 0; y < GST_VIDEO_FRAME_COMP_HEIGHT (a, c); y++) {
    for (gint x = 0; x < GST_VIDEO_FRAME_COMP_WIDTH (a, c); x++) {
      const gint d = (gint) get (a, c, x, y) - (gint) get (b, c, x, y);

      worst = MAX (worst, ABS (d));
    }
  }
  return worst;
}

gint
test_difference (const GstVideoInfo * info, GstBuffer * a, GstBuffer * b,
    gint component)
{
  GstVideoFrame fa, fb;
  gint worst = 0;

  fail_unless (gst_video_frame_map (&fa, info, a, GST_MAP_READ));
  fail_unless (gst_video_frame_map (&fb, info, b, GST_MAP_READ));
  for (guint c = 0; c < GST_VIDEO_INFO_N_COMPONENTS (info); c++)
    if (component < 0 || (guint) component == c)
      worst = MAX (worst, difference_of (&fa, &fb, c));
  gst_video_frame_unmap (&fb);
  gst_video_frame_unmap (&fa);
  return worst;
}

static GstBuffer *
to_rgb (const GstVideoInfo * info, GstBuffer * buffer, GstVideoInfo * rgb)
{
  GstVideoConverter *converter;
  GstVideoFrame from, to;
  GstBuffer *out;

  gst_video_info_set_format (rgb, GST_VIDEO_FORMAT_RGB, (guint) info->width,
      (guint) info->height);
  rgb->fps_n = info->fps_n;
  rgb->fps_d = info->fps_d;
  out = gst_buffer_new_allocate (NULL, GST_VIDEO_INFO_SIZE (rgb), NULL);
  converter = gst_video_converter_new (info, rgb, NULL);
  fail_unless (converter != NULL);
  fail_unless (gst_video_frame_map (&from, info, buffer, GST_MAP_READ));
  fail_unless (gst_video_frame_map (&to, rgb, out, GST_MAP_WRITE));
  gst_video_converter_frame (converter, &from, &to);
  gst_video_frame_unmap (&to);
  gst_video_frame_unmap (&from);
  gst_video_converter_free (converter);
  return out;
}

static gdouble
squares (const GstVideoFrame * a, const GstVideoFrame * b)
{
  gdouble sum = 0;

  for (guint c = 0; c < 3; c++) {
    for (gint y = 0; y < GST_VIDEO_FRAME_HEIGHT (a); y++) {
      for (gint x = 0; x < GST_VIDEO_FRAME_WIDTH (a); x++) {
        const gdouble d =
            (gdouble) get (a, c, x, y) - (gdouble) get (b, c, x, y);

        sum += d * d;
      }
    }
  }
  return sum;
}

gdouble
test_psnr (const GstVideoInfo * info, GstBuffer * a, GstBuffer * b)
{
  GstVideoInfo rgb;
  GstBuffer *ra = to_rgb (info, a, &rgb), *rb = to_rgb (info, b, &rgb);
  GstVideoFrame fa, fb;
  gdouble sum;

  fail_unless (gst_video_frame_map (&fa, &rgb, ra, GST_MAP_READ));
  fail_unless (gst_video_frame_map (&fb, &rgb, rb, GST_MAP_READ));
  sum = squares (&fa, &fb);
  gst_video_frame_unmap (&fb);
  gst_video_frame_unmap (&fa);
  gst_buffer_unref (ra);
  gst_buffer_unref (rb);
  if (sum == 0)
    return 1000;
  return 10 * log10 (255. * 255. * 3 * info->width * info->height / sum);
}

gboolean
test_equal (GstBuffer * a, GstBuffer * b)
{
  GstMapInfo map;
  gboolean equal;

  if (gst_buffer_get_size (a) != gst_buffer_get_size (b))
    return FALSE;
  fail_unless (gst_buffer_map (a, &map, GST_MAP_READ));
  equal = gst_buffer_memcmp (b, 0, map.data, map.size) == 0;
  gst_buffer_unmap (a, &map);
  return equal;
}

/* -------------------------------------------------------------- harness */

GstHarness *
test_harness (const gchar * line, const gchar * format, gint width, gint height)
{
  GstHarness *h = gst_harness_new_parse (line);

  fail_unless (h != NULL, "%s", line);
  gst_harness_set_src_caps (h, test_caps (format, width, height));
  return h;
}

GstCaps *
test_output_caps (GstHarness * h)
{
  return gst_pad_get_current_caps (h->sinkpad);
}

void
test_append_frames (GPtrArray * out, GstHarness * h, const GstVideoInfo * info,
    guint begin, guint n)
{
  for (guint i = 0; i < n; i++) {
    GstBuffer *buffer;

    fail_unless_equals_int (gst_harness_push (h, test_picture (info,
                begin + i)), GST_FLOW_OK);
    buffer = gst_harness_pull (h);
    fail_unless (buffer != NULL);
    g_ptr_array_add (out, buffer);
  }
}

GPtrArray *
test_run_frames (GstHarness * h, const GstVideoInfo * info, guint begin,
    guint n)
{
  GPtrArray *out =
      g_ptr_array_new_with_free_func ((GDestroyNotify) gst_buffer_unref);

  test_append_frames (out, h, info, begin, n);
  return out;
}

void
test_equal_frames (GPtrArray * a, GPtrArray * b)
{
  fail_unless_equals_int (a->len, b->len);
  for (guint i = 0; i < a->len; i++)
    fail_unless (test_equal (a->pdata[i], b->pdata[i]), "frame %u differs", i);
}

void
test_equal_pictures (const GstVideoInfo * info, GPtrArray * a, GPtrArray * b)
{
  fail_unless_equals_int (a->len, b->len);
  for (guint i = 0; i < a->len; i++)
    fail_unless_equals_int (test_difference (info, a->pdata[i], b->pdata[i],
            -1), 0);
}

guint64
test_stat (GstHarness * h, const gchar * factory, const gchar * field)
{
  GstElement *element = gst_harness_find_element (h, factory);
  GstStructure *stats;
  guint64 value = 0;
  guint small;
  gint number;

  fail_unless (element != NULL, "%s", factory);
  g_object_get (element, "stats", &stats, NULL);
  if (gst_structure_get_uint (stats, field, &small))
    value = small;
  else if (gst_structure_get_int (stats, field, &number))
    value = (guint64) number;
  else
    fail_unless (gst_structure_get_uint64 (stats, field, &value), "%s", field);
  gst_structure_free (stats);
  gst_object_unref (element);
  return value;
}

/* --------------------------------------------------------------- errors */

static gboolean
is_ours (GstObject * source)
{
  GstElementFactory *factory = GST_IS_ELEMENT (source)
      ? gst_element_get_factory (GST_ELEMENT (source)) : NULL;

  return factory && g_str_has_prefix (GST_OBJECT_NAME (factory), "fenwick");
}

/* The pipeline has said something; the first error of ours counts most. */
static void
note (GstMessage * message, GError ** first, guint * errors)
{
  GError *error;

  gst_message_parse_error (message, &error, NULL);
  if (is_ours (GST_MESSAGE_SRC (message)))
    *errors += 1;
  if (*first)
    g_error_free (error);
  else
    *first = error;
}

GError *
test_launch (const gchar * line, guint * errors)
{
  GError *first = NULL, *error = NULL;
  GstElement *pipeline = gst_parse_launch (line, &error);
  GstBus *bus;
  GstMessage *message;
  gboolean over = FALSE;

  fail_unless (pipeline != NULL && error == NULL, "%s: %s", line,
      error ? error->message : "");
  *errors = 0;
  bus = gst_element_get_bus (pipeline);
  if (gst_element_set_state (pipeline, GST_STATE_PLAYING)
      == GST_STATE_CHANGE_FAILURE)
    over = TRUE;
  /* after the first error wait a little for others, which must not come */
  while ((message = gst_bus_timed_pop_filtered (bus,
              over || first ? 100 * GST_MSECOND : 20 * GST_SECOND,
              GST_MESSAGE_ERROR | GST_MESSAGE_EOS))) {
    if (GST_MESSAGE_TYPE (message) == GST_MESSAGE_ERROR)
      note (message, &first, errors);
    else
      over = TRUE;
    gst_message_unref (message);
  }
  gst_element_set_state (pipeline, GST_STATE_NULL);
  gst_object_unref (bus);
  gst_object_unref (pipeline);
  fail_unless (over || first, "%s: neither error nor end", line);
  return first;
}

void
test_expect (GError * error, GQuark domain, gint code, ...)
{
  const gchar *word;
  va_list words;

  fail_unless (error != NULL, "no error");
  fail_unless (error->domain == domain && error->code == code,
      "%s %d instead of %s %d: %s", g_quark_to_string (error->domain),
      error->code, g_quark_to_string (domain), code, error->message);
  va_start (words, code);
  while ((word = va_arg (words, const gchar *)))
      fail_unless (strstr (error->message, word) != NULL, "\"%s\" not in: %s",
        word, error->message);
  va_end (words);
  g_error_free (error);
}
