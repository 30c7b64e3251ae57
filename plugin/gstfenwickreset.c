/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "gstfenwickreset.h"

#include <gst/video/video.h>

/* Two segments that meet within this time are one stretch of video. */
#define TOLERANCE GST_MSECOND

void
gst_fenwick_reset_init (GstFenwickReset * reset)
{
  g_mutex_init (&reset->lock);
  g_queue_init (&reset->key_units);
  reset->stream_id = NULL;
  gst_fenwick_reset_start (reset);
}

void
gst_fenwick_reset_clear (GstFenwickReset * reset)
{
  gst_fenwick_reset_start (reset);
  g_mutex_clear (&reset->lock);
}

/* What a flush forgets: everything but the stream's name. */
static void
flush (GstFenwickReset * reset)
{
  reset->pending = TRUE;
  gst_segment_init (&reset->segment, GST_FORMAT_UNDEFINED);
  reset->expected = GST_CLOCK_TIME_NONE;
  reset->last_reset = GST_CLOCK_TIME_NONE;
  g_queue_clear_full (&reset->key_units, g_free);
}

void
gst_fenwick_reset_start (GstFenwickReset * reset)
{
  g_mutex_lock (&reset->lock);
  flush (reset);
  reset->seen_delta = FALSE;
  g_clear_pointer (&reset->stream_id, g_free);
  g_mutex_unlock (&reset->lock);
}

void
gst_fenwick_reset_now (GstFenwickReset * reset)
{
  g_mutex_lock (&reset->lock);
  reset->pending = TRUE;
  g_mutex_unlock (&reset->lock);
}

static void
stream_start (GstFenwickReset * reset, GstEvent * event)
{
  const gchar *id;

  gst_event_parse_stream_start (event, &id);
  if (g_strcmp0 (id, reset->stream_id) == 0)
    return;
  g_free (reset->stream_id);
  reset->stream_id = g_strdup (id);
  reset->pending = TRUE;
  reset->seen_delta = FALSE;
}

/* Whether frames of segment b go on where those of segment a ended: the same
 * stretch announced again (its end or position may differ), or one that begins
 * where the last frame ended. */
static gboolean
continues (const GstSegment * a, const GstSegment * b, GstClockTime expected)
{
  if (a->format != b->format || a->rate != b->rate
      || a->applied_rate != b->applied_rate)
    return FALSE;
  if (a->start == b->start && a->base == b->base && a->offset == b->offset
      && a->time == b->time)
    return TRUE;
  return b->format == GST_FORMAT_TIME && GST_CLOCK_TIME_IS_VALID (expected)
      && ABS (GST_CLOCK_DIFF (expected, b->start)) <= (gint64) TOLERANCE;
}

static void
segment (GstFenwickReset * reset, GstEvent * event)
{
  const GstSegment *next;

  gst_event_parse_segment (event, &next);
  if (!continues (&reset->segment, next, reset->expected))
    reset->pending = TRUE;
  gst_segment_copy_into (next, &reset->segment);
}

static void
key_unit (GstFenwickReset * reset, GstClockTime running_time)
{
  GstClockTime *time = g_new (GstClockTime, 1);

  *time = running_time;
  g_queue_push_tail (&reset->key_units, time);
}

void
gst_fenwick_reset_sink_event (GstFenwickReset * reset, GstEvent * event)
{
  GstClockTime time;

  g_mutex_lock (&reset->lock);
  switch (GST_EVENT_TYPE (event)) {
    case GST_EVENT_STREAM_START:
      stream_start (reset, event);
      break;
    case GST_EVENT_SEGMENT:
      segment (reset, event);
      break;
    case GST_EVENT_FLUSH_STOP:
      flush (reset);
      break;
    case GST_EVENT_CUSTOM_DOWNSTREAM:
      if (gst_video_event_is_force_key_unit (event)
          && gst_video_event_parse_downstream_force_key_unit (event, NULL,
              NULL, &time, NULL, NULL))
        key_unit (reset, time);
      break;
    default:
      break;
  }
  g_mutex_unlock (&reset->lock);
}

gboolean
gst_fenwick_reset_src_event (GstFenwickReset * reset, GstEvent * event)
{
  GstClockTime time;

  if (GST_EVENT_TYPE (event) != GST_EVENT_CUSTOM_UPSTREAM
      || !gst_video_event_is_force_key_unit (event)
      || !gst_video_event_parse_upstream_force_key_unit (event, &time, NULL,
          NULL))
    return FALSE;

  g_mutex_lock (&reset->lock);
  key_unit (reset, time);
  g_mutex_unlock (&reset->lock);
  return TRUE;
}

/* Takes the requests that are due at a frame; TRUE when one of them is later
 * than the last reset, which would have served it already. GstVideoEncoder
 * counts in the same way. */
static gboolean
take_key_units (GstFenwickReset * reset, GstClockTime now)
{
  gboolean wanted = FALSE;
  GList *l = reset->key_units.head;

  while (l) {
    GList *next = l->next;
    const GstClockTime time = *(GstClockTime *) l->data;

    if (!GST_CLOCK_TIME_IS_VALID (time) || time <= now) {
      if (!GST_CLOCK_TIME_IS_VALID (time)
          || !GST_CLOCK_TIME_IS_VALID (reset->last_reset)
          || time > reset->last_reset)
        wanted = TRUE;
      g_free (l->data);
      g_queue_delete_link (&reset->key_units, l);
    }
    l = next;
  }
  return wanted;
}

/* A frame without DELTA_UNIT among frames with it is one at which the encoder
 * forgot. Where no frame has it - latents from a headerless file - the flag
 * says nothing. */
static gboolean
marked (GstFenwickReset * reset, GstBuffer * buffer)
{
  if (GST_BUFFER_FLAG_IS_SET (buffer, GST_BUFFER_FLAG_DELTA_UNIT)) {
    reset->seen_delta = TRUE;
    return FALSE;
  }
  return reset->seen_delta;
}

/* When the frame ends, not later than its segment: GstVideoEncoder cuts the
 * duration there, and all elements must see the same. */
static GstClockTime
end_of (GstBuffer * buffer, const GstSegment * in)
{
  GstClockTime end;

  if (!GST_BUFFER_PTS_IS_VALID (buffer)
      || !GST_BUFFER_DURATION_IS_VALID (buffer))
    return GST_CLOCK_TIME_NONE;
  end = GST_BUFFER_PTS (buffer) + GST_BUFFER_DURATION (buffer);
  if (in->format == GST_FORMAT_TIME && GST_CLOCK_TIME_IS_VALID (in->stop))
    end = MIN (end, in->stop);
  return end;
}

gboolean
gst_fenwick_reset_frame (GstFenwickReset * reset, GstBuffer * buffer,
    GstFenwickResetFlags flags)
{
  GstClockTime now = GST_CLOCK_TIME_NONE;
  gboolean fresh;

  g_mutex_lock (&reset->lock);
  if (reset->segment.format == GST_FORMAT_TIME)
    now = gst_segment_to_running_time (&reset->segment, GST_FORMAT_TIME,
        GST_BUFFER_PTS (buffer));

  fresh = reset->pending;
  if (take_key_units (reset, now) && (flags & GST_FENWICK_RESET_ON_KEY_UNIT))
    fresh = TRUE;
  if ((flags & GST_FENWICK_RESET_LATENTS) && marked (reset, buffer))
    fresh = TRUE;
  if ((flags & GST_FENWICK_RESET_ON_DISCONT) && GST_BUFFER_IS_DISCONT (buffer))
    fresh = TRUE;
  if ((flags & GST_FENWICK_RESET_FORCED)
      && (flags & GST_FENWICK_RESET_ON_KEY_UNIT))
    fresh = TRUE;

  reset->pending = FALSE;
  reset->expected = end_of (buffer, &reset->segment);
  if (fresh)
    reset->last_reset = now;
  g_mutex_unlock (&reset->lock);
  return fresh;
}
