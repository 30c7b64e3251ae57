/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the suites of the plugin share. */
#ifndef FENWICK_TEST_COMMON_H
#define FENWICK_TEST_COMMON_H

#include <gst/check/gstcheck.h>
#include <gst/check/gstharness.h>
#include <gst/video/video.h>

G_BEGIN_DECLS

/* Elements under test, with the smallest network and one thread. */
#define TINY " preset=tiny threads=1 "
#define FILTER "fenwickfilter" TINY
#define CHAIN(between) "fenwickenc" TINY "!" between "fenwickmodel" TINY "!" \
  between "fenwickdec" TINY

/*
 * Runs the suite that name_suite() makes. The runner ends with gst_deinit(),
 * at which the leaks tracer warns of what is left; with G_DEBUG=fatal_warnings
 * that ends the test.
 */
#define TEST_MAIN(name) \
int \
main (int argc, char **argv) \
{ \
  gst_check_init (&argc, &argv); \
  return test_run (name ## _suite (), #name, __FILE__); \
}
int test_run (Suite * suite, const gchar * name, const gchar * file);

/* A file with random weights, made once for each pair; removed at the end. */
const gchar *test_weights (const gchar * preset, guint seed);
/* A path in the folder that goes away at the end; g_free(). */
gchar *test_path (const gchar * name);

/* Video of 25 frames/s. */
GstCaps *test_caps (const gchar * format, gint width, gint height);
void test_info (GstVideoInfo * info, const gchar * format, gint width,
    gint height);
/* Picture n of a video of noise: the same bytes for the same n, with time
 * stamps and duration. */
GstBuffer *test_picture (const GstVideoInfo * info, guint n);
/* The same with rows padded to stride + pad bytes and GstVideoMeta. */
GstBuffer *test_picture_padded (const GstVideoInfo * info, guint n, gint pad);
/* Frame n of noise latents of bytes. */
GstBuffer *test_latents (gsize bytes, guint n);

/* Largest difference of two pictures' values, of all components or of one;
 * strides may differ. Components from n_components on are not looked at. */
gint test_difference (const GstVideoInfo * info, GstBuffer * a, GstBuffer * b,
    gint component);
/* PSNR after conversion to 8 bit RGB; 1000 when equal. */
gdouble test_psnr (const GstVideoInfo * info, GstBuffer * a, GstBuffer * b);
gboolean test_equal (GstBuffer * a, GstBuffer * b);

/* A harness of line, with caps set on its source pad. */
GstHarness *test_harness (const gchar * line, const gchar * format, gint width,
    gint height);
/* Caps of what came out last. */
GstCaps *test_output_caps (GstHarness * h);
/* Pushes pictures begin .. begin + n - 1 and returns what comes out, a
 * GPtrArray of buffers. */
GPtrArray *test_run_frames (GstHarness * h, const GstVideoInfo * info,
    guint begin, guint n);
void test_append_frames (GPtrArray * out, GstHarness * h,
    const GstVideoInfo * info, guint begin, guint n);
void test_equal_frames (GPtrArray * a, GPtrArray * b);
/* The same without the bytes between rows, which nobody defines. */
void test_equal_pictures (const GstVideoInfo * info, GPtrArray * a,
    GPtrArray * b);

/* A figure of the stats of the element with this factory name. */
guint64 test_stat (GstHarness * h, const gchar * factory, const gchar * field);

/* Runs a gst-launch line to its first error or EOS. The error, if any, is the
 * caller's; errors counts those that come from elements of this project. */
GError *test_launch (const gchar * line, guint * errors);
/* Checks domain and code of an error, and that its text holds each of the
 * words, NULL-terminated; frees it. */
void test_expect (GError * error, GQuark domain, gint code, ...)
    G_GNUC_NULL_TERMINATED;

G_END_DECLS

#endif
