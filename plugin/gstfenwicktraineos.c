/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The end of a source: fenwicktrain asks for it again, or ends. */
#include "gstfenwicktrain.h"

GST_DEBUG_CATEGORY_EXTERN (gst_fenwick_train_debug);
#define GST_CAT_DEFAULT gst_fenwick_train_debug

/* EOS this much before the end that the source told is an early one: sound may
 * be longer than pictures. */
#define EARLY_FRAMES 2
#define EARLY_FRACTION 20

static GstClockTime
duration_of (GstFenwickTrain * self, GstBuffer * buffer)
{
  if (buffer && GST_BUFFER_DURATION_IS_VALID (buffer))
    return GST_BUFFER_DURATION (buffer);
  if (self->info.fps_n <= 0)
    return 0;
  return gst_util_uint64_scale_int (GST_SECOND, self->info.fps_d,
      self->info.fps_n);
}

void
gst_fenwick_train_note_frame (GstFenwickTrain * self, GstBuffer * buffer)
{
  const GstSegment *segment = &GST_BASE_SINK (self)->segment;

  self->frames++;
  self->pass_frames++;
  self->end = GST_CLOCK_TIME_NONE;
  if (segment->format == GST_FORMAT_TIME && GST_BUFFER_PTS_IS_VALID (buffer))
    self->end = gst_segment_to_stream_time (segment, GST_FORMAT_TIME,
        GST_BUFFER_PTS (buffer));
  if (GST_CLOCK_TIME_IS_VALID (self->end))
    self->end += duration_of (self, buffer);
}

static gboolean
ended_early (GstFenwickTrain * self)
{
  const GstSegment *segment = &GST_BASE_SINK (self)->segment;
  const guint64 some = EARLY_FRAMES * duration_of (self, NULL);
  gint64 duration;
  guint64 stop;

  /* several streams in a row: the duration is that of one of them */
  if (self->streams > 1 || !GST_CLOCK_TIME_IS_VALID (self->end)
      || !gst_pad_peer_query_duration (GST_BASE_SINK_PAD (self),
          GST_FORMAT_TIME, &duration) || duration <= 0)
    return FALSE;
  stop = gst_segment_to_stream_time (segment, GST_FORMAT_TIME, segment->stop);
  if (GST_CLOCK_TIME_IS_VALID (stop))
    duration = MIN (duration, (gint64) stop);
  if (self->end + MAX (some, (guint64) duration / EARLY_FRACTION)
      >= (guint64) duration)
    return FALSE;
  GST_ELEMENT_WARNING (self, STREAM, FAILED,
      ("The source ended after %.3f of %.3f seconds, so training ends.",
          (gdouble) self->end / GST_SECOND, (gdouble) duration / GST_SECOND),
      (NULL));
  return TRUE;
}

/* On a thread of its own: a flushing seek stops the streaming thread. */
static void
seek_to_start (GstElement * element, gpointer serial)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (element);
  GstBaseSink *sink = GST_BASE_SINK (element);
  const gboolean ok = gst_pad_push_event (GST_BASE_SINK_PAD (sink),
      gst_event_new_seek (1.0, GST_FORMAT_TIME, (GstSeekFlags)
          (GST_SEEK_FLAG_FLUSH | GST_SEEK_FLAG_ACCURATE), GST_SEEK_TYPE_SET, 0,
          GST_SEEK_TYPE_NONE, GST_CLOCK_STIME_NONE));

  GST_DEBUG_OBJECT (self, "seek to the start %s", ok ? "accepted" : "refused");
  GST_BASE_SINK_PREROLL_LOCK (sink);
  if (self->seek_serial == GPOINTER_TO_UINT (serial)) {
    self->seek = ok ? GST_FENWICK_SEEK_ACCEPTED : GST_FENWICK_SEEK_REFUSED;
    GST_BASE_SINK_PREROLL_BROADCAST (sink);
  }
  GST_BASE_SINK_PREROLL_UNLOCK (sink);
}

/* Asks the source to begin again; FALSE when it cannot. */
static gboolean
rewind_source (GstFenwickTrain * self)
{
  GstBaseSink *sink = GST_BASE_SINK (self);

  self->pass_frames = 0;
  self->streams = 0;
  self->seek = GST_FENWICK_SEEK_PENDING;
  self->seek_serial++;
  gst_element_call_async (GST_ELEMENT (self), seek_to_start,
      GUINT_TO_POINTER (self->seek_serial), NULL);
  while (self->seek == GST_FENWICK_SEEK_PENDING && !sink->flushing)
    GST_BASE_SINK_PREROLL_WAIT (sink);
  return self->seek != GST_FENWICK_SEEK_REFUSED || sink->flushing;
}

/* What the reservoir holds must do. FALSE: no EOS may follow. */
static gboolean
go_on_alone (GstFenwickTrain * self)
{
  GError *error = NULL;
  gboolean ok;

  gst_fenwick_train_enter (self);
  ok = fw_trainer_without_source (self->trainer, &error);
  gst_fenwick_train_leave (self);
  if (!ok) {
    gst_fenwick_train_fail (self, GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SEEK,
        g_strdup_printf ("The source cannot be sent back to its start: %s. "
            "Raise reservoir-bytes, use one file or an endless source "
            "(multifilesrc loop=true), or set epochs=1.", error->message));
    g_error_free (error);
    return FALSE;
  }
  GST_INFO_OBJECT (self, "the source cannot be sent back to its start: all "
      "steps draw from the reservoir");
  return gst_fenwick_train_run_steps (self) == GST_FLOW_OK && gst_fenwick_train_finish (self,
      g_atomic_int_get (&self->stop) ? "ended" : "done");
}

/* The source has ended of itself. FALSE: no EOS may follow. */
static gboolean
end_pass (GstFenwickTrain * self)
{
  enum fw_source next;
  GError *error = NULL;

  gst_fenwick_train_enter (self);
  next = fw_trainer_end (self->trainer, &error);
  gst_fenwick_train_leave (self);
  if (next == FW_SOURCE_FAILED) {
    if (g_error_matches (error, FW_ERROR, FW_ERROR_ARGUMENT))
      gst_fenwick_train_fail (self, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
          g_strdup_printf ("%s. Lower clip-length, or use longer videos.",
              error->message));
    gst_fenwick_train_error (self, error,
        "It must be the same each time it is given.");
    return FALSE;
  }
  gst_fenwick_train_update (self);
  if (gst_fenwick_train_run_steps (self) != GST_FLOW_OK)
    return FALSE;
  if (g_atomic_int_get (&self->stop))
    return gst_fenwick_train_finish (self, "ended");
  if (next == FW_SOURCE_DONE || fw_trainer_finished (self->trainer))
    return gst_fenwick_train_finish (self, "done");
  return !rewind_source (self) && go_on_alone (self);
}

/* How long a source that was told to end may take to say EOS, and an
 * application that hears EOS to end. */
#define PATIENCE (2 * GST_SECOND)

static void
send_eos (GstElement * element, gpointer unused)
{
  gst_pad_send_event (GST_BASE_SINK_PAD (element), gst_event_new_eos ());
}

/*
 * Bins of 1.22 pass EOS on only while they believe to have said that they are
 * PLAYING, and can lose that belief for good when several children (decodebins)
 * begin at once: two threads post the bin's states, and the older one may be
 * the last to leave its mark. A state that is lost and found again makes the
 * bin say PLAYING once more. Where EOS went through, nothing follows from it.
 */
static void
renew_playing (GstElement * element, gpointer unused)
{
  if (GST_STATE_TARGET (element) != GST_STATE_PLAYING)
    return;
  GST_INFO_OBJECT (element, "still here after EOS");
  gst_element_post_message (element,
      gst_message_new_async_start (GST_OBJECT (element)));
  gst_element_post_message (element,
      gst_message_new_async_done (GST_OBJECT (element), GST_CLOCK_TIME_NONE));
}

static gboolean
lose_patience (GstClock * clock, GstClockTime time, GstClockID id, gpointer train)
{
  GstFenwickTrain *self = train;
  const gboolean ended = g_atomic_int_get (&self->ended);

  gst_element_call_async (GST_ELEMENT (train), ended ? renew_playing : send_eos,
      NULL, NULL);
  return TRUE;
}

/*
 * GST_FLOW_EOS makes nearly every source say EOS, also each input of "concat"
 * in turn. To post EOS at once would have the pipeline taken down while those
 * still begin, which some of them post as errors.
 */
void
gst_fenwick_train_start_patience (GstFenwickTrain * self)
{
  GstClock *clock = gst_system_clock_obtain ();
  GstClockID id = NULL;

  GST_OBJECT_LOCK (self);
  if (!self->patience)
    id = self->patience = gst_clock_id_ref (gst_clock_new_single_shot_id (clock,
            gst_clock_get_time (clock) + PATIENCE));
  GST_OBJECT_UNLOCK (self);
  if (id) {
    gst_clock_id_wait_async (id, lose_patience, gst_object_ref (self),
        gst_object_unref);
    gst_clock_id_unref (id);
  }
  gst_object_unref (clock);
}

void
gst_fenwick_train_end_patience (GstFenwickTrain * self)
{
  GstClockID id;

  GST_OBJECT_LOCK (self);
  id = self->patience;
  self->patience = NULL;
  GST_OBJECT_UNLOCK (self);
  if (id) {
    gst_clock_id_unschedule (id);
    gst_clock_id_unref (id);
  }
}

/*
 * Training ends before its source does. What else the source has then (the
 * other inputs of "concat", say) must hear EOS and nothing worse: the base
 * class would refuse their events, which demuxers post as errors.
 */
static GstPadProbeReturn
hide_after_end (GstPad * pad, GstPadProbeInfo * info, gpointer train)
{
  GstFenwickTrain *self = train;
  GstEvent *event = GST_PAD_PROBE_INFO_EVENT (info);

  if (GST_EVENT_TYPE (event) == GST_EVENT_FLUSH_STOP)
    g_atomic_int_set (&self->ended, FALSE);
  else if (g_atomic_int_get (&self->ended) && GST_EVENT_IS_SERIALIZED (event))
    return GST_PAD_PROBE_DROP;
  return GST_PAD_PROBE_OK;
}

void
gst_fenwick_train_watch_end (GstFenwickTrain * self)
{
  gst_pad_add_probe (GST_BASE_SINK_PAD (self), (GstPadProbeType)
      (GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM | GST_PAD_PROBE_TYPE_EVENT_FLUSH),
      hide_after_end, self, NULL);
}

/* FALSE: the EOS is ours to keep. */
gboolean
gst_fenwick_train_take_eos (GstFenwickTrain * self)
{
  if (g_atomic_int_get (&self->failed))
    return FALSE;
  if (self->finished)
    return TRUE;
  if (g_atomic_int_get (&self->stop))
    return gst_fenwick_train_finish (self, "ended");
  if (self->frames == 0) {
    gst_fenwick_train_fail (self, GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED,
        g_strdup ("The source ended without a single frame."));
    return FALSE;
  }
  if (self->pass_frames == 0)
    return gst_fenwick_train_finish (self, "the source gave no more frames");
  if (ended_early (self))
    return gst_fenwick_train_finish (self, "the source ended early");
  return end_pass (self);
}
