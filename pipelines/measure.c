/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "measure.h"

#include <math.h>

/* The pair that is kept for the picture: this frame, or the last one of a shorter video. */
#define PICTURE_FRAME 30

typedef struct
{
  GstBuffer *buffer;
  GstVideoInfo info;
  gint64 time; /* monotonic, microseconds */
} Frame;

struct _Measure
{
  GMutex lock;
  GstPad *pads[2]; /* in, out */
  gulong probes[2];
  GstVideoInfo info[2]; /* current caps of the pads; format unknown before there are any */
  GQueue waiting;       /* Frame: went in, has not come out */

  guint64 frames;
  GstClockTime position;
  gint64 first_time, last_time, filter_time;
  gboolean differing; /* a frame changed its format or size */
  gdouble error, samples, peak, largest;
  GstSample *picture[2];
};

static void
frame_free (Frame *frame)
{
  gst_buffer_unref (frame->buffer);
  g_free (frame);
}

/* ---- comparing two pictures ---- */

static inline gint
read_sample (const guint8 *p, gboolean wide, guint shift)
{
  return (wide ? GST_READ_UINT16_LE (p) : *p) >> shift;
}

/* Adds one component's squared differences to error and samples. */
static void
compare_component (Measure *m, const GstVideoFrame *a, const GstVideoFrame *b, guint component)
{
  gint width = GST_VIDEO_FRAME_COMP_WIDTH (a, component);
  gint height = GST_VIDEO_FRAME_COMP_HEIGHT (a, component);
  gint step = GST_VIDEO_FRAME_COMP_PSTRIDE (a, component);
  guint shift = GST_VIDEO_FORMAT_INFO_SHIFT (a->info.finfo, component);
  gboolean wide = GST_VIDEO_INFO_COMP_DEPTH (&a->info, component) > 8;
  gint largest = 0;

  for (gint y = 0; y < height; y++) {
    const guint8 *p = GST_VIDEO_FRAME_COMP_DATA (a, component);
    const guint8 *q = GST_VIDEO_FRAME_COMP_DATA (b, component);
    guint64 sum = 0;

    p += (gssize) y * GST_VIDEO_FRAME_COMP_STRIDE (a, component);
    q += (gssize) y * GST_VIDEO_FRAME_COMP_STRIDE (b, component);
    for (gint x = 0; x < width; x++) {
      gint d = read_sample (p + x * step, wide, shift) - read_sample (q + x * step, wide, shift);
      sum += (guint64) ((gint64) d * d);
      largest = MAX (largest, ABS (d));
    }
    m->error += (gdouble) sum;
  }
  m->samples += (gdouble) width * height;
  m->largest = MAX (m->largest, largest);
}

static void
compare (Measure *m, const Frame *in, GstBuffer *buffer, const GstVideoInfo *info)
{
  GstVideoFrame a, b;

  if (in->info.finfo != info->finfo || in->info.width != info->width ||
      in->info.height != info->height) {
    m->differing = TRUE;
    return;
  }
  if (!gst_video_frame_map (&a, &in->info, in->buffer, GST_MAP_READ))
    return;
  if (gst_video_frame_map (&b, info, buffer, GST_MAP_READ)) {
    guint colours = MIN (GST_VIDEO_INFO_N_COMPONENTS (info), 3);

    for (guint i = 0; i < colours; i++)
      compare_component (m, &a, &b, i);
    m->peak = (1 << GST_VIDEO_INFO_COMP_DEPTH (info, 0)) - 1;
    gst_video_frame_unmap (&b);
  }
  gst_video_frame_unmap (&a);
}

/* ---- the two probes ---- */

static void
frame_in (Measure *m, GstBuffer *buffer)
{
  Frame *frame = g_new0 (Frame, 1);

  frame->buffer = gst_buffer_ref (buffer);
  frame->time = g_get_monotonic_time ();
  g_mutex_lock (&m->lock);
  frame->info = m->info[0];
  if (m->first_time == 0)
    m->first_time = frame->time;
  g_queue_push_tail (&m->waiting, frame);
  g_mutex_unlock (&m->lock);
}

/* The frame that went in with the timestamp of the one that came out. Frames before it have been
 * dropped on the way. */
static Frame *
take_matching (Measure *m, GstClockTime pts)
{
  Frame *frame;

  while ((frame = g_queue_pop_head (&m->waiting))) {
    if (!GST_CLOCK_TIME_IS_VALID (pts) || GST_BUFFER_PTS (frame->buffer) == pts)
      return frame;
    frame_free (frame);
  }
  return NULL;
}

static void
keep_picture (Measure *m, const Frame *in, GstBuffer *out, const GstVideoInfo *info)
{
  GstCaps *caps[2] = { gst_video_info_to_caps (&in->info), gst_video_info_to_caps (info) };

  for (guint i = 0; i < 2; i++) {
    g_clear_pointer (&m->picture[i], gst_sample_unref);
    m->picture[i] = gst_sample_new (i ? out : in->buffer, caps[i], NULL, NULL);
    gst_caps_unref (caps[i]);
  }
}

static void
frame_out (Measure *m, GstBuffer *buffer)
{
  gint64 now = g_get_monotonic_time ();
  GstVideoInfo info;
  Frame *in;

  g_mutex_lock (&m->lock);
  info = m->info[1];
  in = take_matching (m, GST_BUFFER_PTS (buffer));
  m->frames++;
  m->position = GST_BUFFER_PTS (buffer);
  m->last_time = now;
  if (in)
    m->filter_time += now - in->time;
  g_mutex_unlock (&m->lock);

  if (in) {
    compare (m, in, buffer, &info);
    if (m->frames <= PICTURE_FRAME)
      keep_picture (m, in, buffer, &info);
    frame_free (in);
  }
}

static GstPadProbeReturn
on_data (GstPad *pad, GstPadProbeInfo *info, gpointer user_data)
{
  Measure *m = user_data;
  guint side = pad == m->pads[1];

  if (info->type & GST_PAD_PROBE_TYPE_BUFFER) {
    (side ? frame_out : frame_in) (m, GST_PAD_PROBE_INFO_BUFFER (info));
  } else if (GST_EVENT_TYPE (GST_PAD_PROBE_INFO_EVENT (info)) == GST_EVENT_CAPS) {
    GstCaps *caps;

    gst_event_parse_caps (GST_PAD_PROBE_INFO_EVENT (info), &caps);
    g_mutex_lock (&m->lock);
    if (!gst_video_info_from_caps (&m->info[side], caps))
      gst_video_info_init (&m->info[side]);
    g_mutex_unlock (&m->lock);
  }
  return GST_PAD_PROBE_OK;
}

/* ---- public ---- */

Measure *
measure_new (GstElement *filter)
{
  static const gchar *const names[2] = { "sink", "src" };
  Measure *m = g_new0 (Measure, 1);

  g_mutex_init (&m->lock);
  g_queue_init (&m->waiting);
  m->position = GST_CLOCK_TIME_NONE;
  for (guint i = 0; i < 2; i++) {
    gst_video_info_init (&m->info[i]);
    m->pads[i] = gst_element_get_static_pad (filter, names[i]);
    m->probes[i] = gst_pad_add_probe (m->pads[i],
        GST_PAD_PROBE_TYPE_BUFFER | GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, on_data, m, NULL);
  }
  return m;
}

void
measure_free (Measure *m)
{
  for (guint i = 0; i < 2; i++) {
    gst_pad_remove_probe (m->pads[i], m->probes[i]);
    gst_object_unref (m->pads[i]);
    g_clear_pointer (&m->picture[i], gst_sample_unref);
  }
  g_queue_clear_full (&m->waiting, (GDestroyNotify) frame_free);
  g_mutex_clear (&m->lock);
  g_free (m);
}

guint64
measure_frames (Measure *m)
{
  guint64 frames;

  g_mutex_lock (&m->lock);
  frames = m->frames;
  g_mutex_unlock (&m->lock);
  return frames;
}

GstClockTime
measure_position (Measure *m)
{
  GstClockTime position;

  g_mutex_lock (&m->lock);
  position = m->position;
  g_mutex_unlock (&m->lock);
  return position;
}

void
measure_result (Measure *m, MeasureResult *result)
{
  result->frames = m->frames;
  result->seconds = (m->last_time - m->first_time) / 1e6;
  result->filter_seconds = m->filter_time / 1e6;
  result->info = m->info[1];
  result->compared = m->samples > 0 && !m->differing;
  result->psnr = m->error > 0 ? 10 * log10 (m->samples * m->peak * m->peak / m->error) : INFINITY;
  result->largest = m->largest;
}

gboolean
measure_pair (Measure *m, GstSample **in, GstSample **out)
{
  if (!m->picture[0])
    return FALSE;
  *in = gst_sample_ref (m->picture[0]);
  *out = gst_sample_ref (m->picture[1]);
  return TRUE;
}
