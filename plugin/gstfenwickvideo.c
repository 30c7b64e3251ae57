/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw video between GStreamer's description and the network's. */
#include "gstfenwickcaps.h"

#include <string.h>

/* The filler byte of RGBx and its like goes the way of alpha, so that no byte
 * of a pixel is left undefined. */
static void
set_filler (struct kn_video *video, const GstVideoFormatInfo * format)
{
  const guint used = format->poffset[0] + format->poffset[1]
      + format->poffset[2];

  video->alpha = true;
  video->component[3].plane = 0;
  video->component[3].offset_bytes = (uint8_t) (0 + 1 + 2 + 3 - used);
  video->component[3].step_bytes = 4;
  video->component[3].shift = 0;
}

/* From the start of a row to the first sample. GStreamer counts that of P010's
 * V in samples, all others in bytes. */
static guint
sample_offset (const GstVideoFormatInfo * f, guint component)
{
  const guint bytes = f->depth[component] > 8 ? 2 : 1;
  const guint offset = f->poffset[component];

  return offset % bytes == 0 ? offset : offset * bytes;
}

static void
set_layout (struct kn_video *video, const GstVideoInfo * info)
{
  const GstVideoFormatInfo *f = info->finfo;

  video->width = info->width;
  video->height = info->height;
  video->components = GST_VIDEO_FORMAT_INFO_IS_GRAY (f) ? 1 : 3;
  video->alpha = GST_VIDEO_FORMAT_INFO_HAS_ALPHA (f);
  video->depth = (uint8_t) f->depth[0];
  video->sample_bytes = f->depth[0] > 8 ? 2 : 1;
  video->sub_x = video->components == 3 ? (uint8_t) f->w_sub[1] : 0;
  video->sub_y = video->components == 3 ? (uint8_t) f->h_sub[1] : 0;
  for (guint i = 0; i < MIN (f->n_components, 4); i++) {
    video->component[i].plane = (uint8_t) f->plane[i];
    video->component[i].offset_bytes = (uint8_t) sample_offset (f, i);
    video->component[i].step_bytes = (uint8_t) f->pixel_stride[i];
    video->component[i].shift = (uint8_t) f->shift[i];
  }
  if (GST_VIDEO_FORMAT_INFO_IS_RGB (f) && f->n_components == 3
      && f->pixel_stride[0] == 4)
    set_filler (video, f);
}

static gboolean
set_matrix (struct kn_video *video, const GstVideoInfo * info)
{
  const GstVideoColorimetry *c = &info->colorimetry;
  const gboolean full = c->range == GST_VIDEO_COLOR_RANGE_0_255;
  gdouble kr = 0.2126, kb = 0.0722;

  if (GST_VIDEO_INFO_IS_RGB (info)) {
    gint offset[GST_VIDEO_MAX_COMPONENTS], scale[GST_VIDEO_MAX_COMPONENTS];

    gst_video_color_range_offsets (c->range, info->finfo, offset, scale);
    kn_video_set_rgb (video, offset[0], offset[0] + scale[0]);
    return TRUE;
  }
  /* Grey has no chroma, so its matrix does not matter. */
  if (!gst_video_color_matrix_get_Kr_Kb (c->matrix, &kr, &kb)
      && !GST_VIDEO_INFO_IS_GRAY (info))
    return FALSE;
  kn_video_set_yuv (video, kr, kb, full);
  return TRUE;
}

gboolean
gst_fenwick_video_from_info (struct kn_video *video, const GstVideoInfo * info,
    GstFenwickReason * reason)
{
  memset (video, 0, sizeof (*video));
  if (GST_VIDEO_INFO_IS_INTERLACED (info))
    return gst_fenwick_refuse (reason, "Interlaced video (interlace-mode=%s) "
        "cannot be processed: insert deinterlace before this element",
        gst_video_interlace_mode_to_string (info->interlace_mode));
  set_layout (video, info);
  if (!set_matrix (video, info)) {
    gchar *color = gst_video_colorimetry_to_string (&info->colorimetry);

    gst_fenwick_refuse (reason, "Video of format %s with colorimetry %s has no "
        "known colour matrix: insert videoconvert before this element",
        GST_VIDEO_INFO_NAME (info), color ? color : "unknown");
    g_free (color);
    return FALSE;
  }
  return TRUE;
}

void
gst_fenwick_picture_from_frame (struct kn_picture *picture,
    const GstVideoFrame * frame)
{
  memset (picture, 0, sizeof (*picture));
  for (guint i = 0; i < GST_VIDEO_FRAME_N_PLANES (frame); i++) {
    picture->plane[i] = GST_VIDEO_FRAME_PLANE_DATA (frame, i);
    picture->stride_bytes[i] = GST_VIDEO_FRAME_PLANE_STRIDE (frame, i);
  }
}

/* The last byte of plane that a picture touches, with these strides. */
static guint64
plane_end (const GstVideoInfo * info, guint plane, gsize offset, gint stride)
{
  guint64 end = 0;

  for (guint i = 0; i < GST_VIDEO_INFO_N_COMPONENTS (info); i++) {
    if (GST_VIDEO_INFO_COMP_PLANE (info, i) == plane) {
      const guint64 rows = GST_VIDEO_INFO_COMP_HEIGHT (info, i);
      const guint64 row = (guint64) (GST_VIDEO_INFO_COMP_WIDTH (info, i) - 1)
          * GST_VIDEO_INFO_COMP_PSTRIDE (info, i)
          + sample_offset (info->finfo, i)
          + (GST_VIDEO_INFO_COMP_DEPTH (info, i) > 8 ? 2 : 1);

      end = MAX (end, offset + (rows - 1) * (guint64) MAX (stride, 0) + row);
    }
  }
  return end;
}

gboolean
gst_fenwick_video_check (GstBuffer * buffer, const GstVideoInfo * info,
    GstFenwickReason * reason)
{
  const GstVideoMeta *meta = gst_buffer_get_video_meta (buffer);
  const gsize size = gst_buffer_get_size (buffer);
  const gchar *name = GST_VIDEO_INFO_NAME (info);

  if (meta && (meta->format != GST_VIDEO_INFO_FORMAT (info)
          || meta->width < (guint) info->width
          || meta->height < (guint) info->height
          || meta->n_planes != GST_VIDEO_INFO_N_PLANES (info)))
    return gst_fenwick_refuse (reason, "A buffer holds a picture of %s %ux%u, "
        "the caps say %s %dx%d", gst_video_format_to_string (meta->format),
        meta->width, meta->height, name, info->width, info->height);
  for (guint i = 0; i < GST_VIDEO_INFO_N_PLANES (info); i++) {
    const guint64 end = plane_end (info, i,
        meta ? meta->offset[i] : GST_VIDEO_INFO_PLANE_OFFSET (info, i),
        meta ? meta->stride[i] : GST_VIDEO_INFO_PLANE_STRIDE (info, i));

    if (end > size)
      return gst_fenwick_refuse (reason, "A buffer has %" G_GSIZE_FORMAT
          " bytes, a picture of %s %dx%d needs %" G_GUINT64_FORMAT, size, name,
          info->width, info->height, end);
  }
  return TRUE;
}

void
gst_fenwick_video_set_color (GstVideoInfo * info,
    const GstVideoColorimetry * reference, GstVideoChromaSite site)
{
  const gboolean rgb = reference->matrix == GST_VIDEO_COLOR_MATRIX_RGB;
  const gboolean known = reference->matrix != GST_VIDEO_COLOR_MATRIX_UNKNOWN;
  const gboolean same = known && rgb == GST_VIDEO_INFO_IS_RGB (info);

  /* matrix and range belong to the format, the rest to the picture */
  if (same) {
    info->colorimetry.matrix = reference->matrix;
    info->colorimetry.range = reference->range;
  }
  if (same || reference->primaries != GST_VIDEO_COLOR_PRIMARIES_UNKNOWN)
    info->colorimetry.primaries = reference->primaries;
  if (same || reference->transfer != GST_VIDEO_TRANSFER_UNKNOWN)
    info->colorimetry.transfer = reference->transfer;
  info->chroma_site = GST_VIDEO_INFO_IS_YUV (info)
      && info->finfo->w_sub[1] ? site : GST_VIDEO_CHROMA_SITE_UNKNOWN;
}

/* Families of formats, best first in each. */
static const GstVideoFormat yuv[] = {
  GST_VIDEO_FORMAT_I420, GST_VIDEO_FORMAT_NV12, GST_VIDEO_FORMAT_YV12,
  GST_VIDEO_FORMAT_NV21, GST_VIDEO_FORMAT_Y42B, GST_VIDEO_FORMAT_NV16,
  GST_VIDEO_FORMAT_YUY2, GST_VIDEO_FORMAT_UYVY, GST_VIDEO_FORMAT_Y444,
  GST_VIDEO_FORMAT_NV24, GST_VIDEO_FORMAT_AYUV
};

static const GstVideoFormat deep[] = {
  GST_VIDEO_FORMAT_P010_10LE, GST_VIDEO_FORMAT_I420_10LE,
  GST_VIDEO_FORMAT_I422_10LE, GST_VIDEO_FORMAT_Y444_10LE,
  GST_VIDEO_FORMAT_Y444_16LE
};

static const GstVideoFormat rgb[] = {
  GST_VIDEO_FORMAT_RGB, GST_VIDEO_FORMAT_BGR, GST_VIDEO_FORMAT_RGBx,
  GST_VIDEO_FORMAT_BGRx, GST_VIDEO_FORMAT_xRGB, GST_VIDEO_FORMAT_xBGR,
  GST_VIDEO_FORMAT_RGBA, GST_VIDEO_FORMAT_BGRA, GST_VIDEO_FORMAT_ARGB,
  GST_VIDEO_FORMAT_ABGR, GST_VIDEO_FORMAT_GBR
};

static const GstVideoFormat grey[] = {
  GST_VIDEO_FORMAT_GRAY8, GST_VIDEO_FORMAT_GRAY16_LE
};

typedef struct
{
  const GstVideoFormat *format;
  guint n;
} Family;

#define FAMILY(array) { array, G_N_ELEMENTS (array) }

static const Family yuv_first[] =
    { FAMILY (yuv), FAMILY (deep), FAMILY (rgb), FAMILY (grey) };
static const Family deep_first[] =
    { FAMILY (deep), FAMILY (yuv), FAMILY (rgb), FAMILY (grey) };
static const Family rgb_first[] =
    { FAMILY (rgb), FAMILY (yuv), FAMILY (deep), FAMILY (grey) };
static const Family grey_first[] =
    { FAMILY (grey), FAMILY (yuv), FAMILY (deep), FAMILY (rgb) };

/* Colour tells what the pictures were before they became latents: RGB has its
 * own matrix, high dynamic range its own transfer functions, and grey has no
 * primaries. */
static const Family *
families (const GstVideoColorimetry * color)
{
  if (color->matrix == GST_VIDEO_COLOR_MATRIX_RGB)
    return rgb_first;
  if (color->transfer == GST_VIDEO_TRANSFER_SMPTE2084
      || color->transfer == GST_VIDEO_TRANSFER_ARIB_STD_B67
      || color->transfer == GST_VIDEO_TRANSFER_BT2020_10)
    return deep_first;
  if (color->range == GST_VIDEO_COLOR_RANGE_0_255
      && color->matrix == GST_VIDEO_COLOR_MATRIX_BT601
      && color->transfer == GST_VIDEO_TRANSFER_UNKNOWN
      && color->primaries == GST_VIDEO_COLOR_PRIMARIES_UNKNOWN)
    return grey_first;
  return yuv_first;
}

GstVideoFormat
gst_fenwick_video_format (const GstVideoColorimetry * color, guint n)
{
  const Family *family = families (color);

  for (guint i = 0; i < G_N_ELEMENTS (yuv_first); i++) {
    if (n < family[i].n)
      return family[i].format[n];
    n -= family[i].n;
  }
  return GST_VIDEO_FORMAT_UNKNOWN;
}
