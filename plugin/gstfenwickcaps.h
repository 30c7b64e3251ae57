/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_CAPS_H
#define GST_FENWICK_CAPS_H

#include <gst/gst.h>
#include <gst/video/video.h>

#include "fw.h"

G_BEGIN_DECLS

/* Raw video: what struct kn_video can describe, in the order of preference. */
#define GST_FENWICK_VIDEO_FORMATS "{ I420, NV12, YV12, NV21, Y42B, NV16, " \
  "Y444, NV24, YUY2, UYVY, AYUV, P010_10LE, I420_10LE, I422_10LE, " \
  "Y444_10LE, Y444_16LE, RGB, BGR, RGBA, BGRA, ARGB, ABGR, RGBx, BGRx, " \
  "xRGB, xBGR, GBR, GRAY8, GRAY16_LE }"
#define GST_FENWICK_VIDEO_CAPS "video/x-raw, " \
  "format = (string) " GST_FENWICK_VIDEO_FORMATS ", " \
  "width = (int) [ 1, 32768 ], height = (int) [ 1, 32768 ], " \
  "framerate = (fraction) [ 0/1, max ]"

/* Latents: tensors as NNStreamer has them, innermost dimension first. */
#define GST_FENWICK_LATENTS_NAME "other/tensors"
#define GST_FENWICK_LATENTS_CAPS GST_FENWICK_LATENTS_NAME ", " \
  "format = (string) static, num_tensors = (int) 1, " \
  "types = (string) { float32, float16, uint8 }, " \
  "framerate = (fraction) [ 0/1, max ]"

/* A failure to read caps: a sentence for the user, without trailing period. */
typedef struct
{
  gchar text[256];
} GstFenwickReason;

/* Fills reason and returns FALSE. */
gboolean gst_fenwick_refuse (GstFenwickReason * reason, const gchar * format,
    ...) G_GNUC_PRINTF (2, 3);

/*
 * The pictures of info for the network. FALSE when info is interlaced or of a
 * format or a colour matrix that kn_video cannot describe.
 */
gboolean gst_fenwick_video_from_info (struct kn_video *video,
    const GstVideoInfo * info, GstFenwickReason * reason);
/* Where the planes of a mapped frame lie. */
void gst_fenwick_picture_from_frame (struct kn_picture *picture,
    const GstVideoFrame * frame);
/* Whether buffer holds a picture of info: the GstVideoMeta agrees, and the
 * bytes are there. */
gboolean gst_fenwick_video_check (GstBuffer * buffer,
    const GstVideoInfo * info, GstFenwickReason * reason);

/* Colour of video in the format of info, as near to reference as the format
 * allows: YUV formats need a matrix and RGB formats have none. */
void gst_fenwick_video_set_color (GstVideoInfo * info,
    const GstVideoColorimetry * reference, GstVideoChromaSite site);
/* The n-th best format for pictures that had this colour, UNKNOWN after the
 * last. */
GstVideoFormat gst_fenwick_video_format (const GstVideoColorimetry * color,
    guint n);

/* What latents caps say. */
typedef struct
{
  struct fw_latents dims;
  enum kn_dtype type;
  gsize size;                   /* bytes of a frame */
  gint width, height;           /* of the picture; 2w x 2h unless given */
  const gchar *latent_id;       /* lies in the caps, or NULL */
} GstFenwickLatents;

/* Reads fixed caps, whatever their name is. */
gboolean gst_fenwick_latents_from_caps (GstFenwickLatents * latents,
    const GstCaps * caps, GstFenwickReason * reason);
/* Bytes of a frame of these dims; FALSE on overflow. */
gboolean gst_fenwick_latents_size (const struct fw_latents *dims,
    enum kn_dtype type, gsize * size);
/* The n-th type of latents, best first, or NULL after the last. */
const gchar *gst_fenwick_latents_type (guint n);
/* Caps with the list of all types. */
GstCaps *gst_fenwick_latents_caps_new (const struct fw_latents *dims,
    const gchar * latent_id);
/* Sets field types of every structure to that list. */
void gst_fenwick_latents_caps_set_types (GstCaps * caps);

/* A pool of buffers of size bytes, aligned for vector instructions, or NULL. */
GstBufferPool *gst_fenwick_pool_new (GstCaps * caps, gsize size);
/* Answers an ALLOCATION query for latents. */
gboolean gst_fenwick_latents_propose (GstQuery * query);
/* Leaves one pool for latents of size bytes in an answered ALLOCATION query:
 * downstream's if it fits, else our own. */
gboolean gst_fenwick_latents_decide (GstQuery * query, gsize size);

G_END_DECLS

#endif
