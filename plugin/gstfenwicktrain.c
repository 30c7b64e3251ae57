/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * SECTION:element-fenwicktrain
 * @title: fenwicktrain
 * @short_description: Fits a neural network to the video that comes in
 * @see_also: fenwickfilter
 *
 * A sink that learns. Frames of any size and rate become clips in a bounded
 * reservoir, from which steps draw crops at random; steps run on the streaming
 * thread, so that what step k sees depends on the frames before it and on
 * #GstFenwickTrain:seed, and on no clock. Whoever feeds it waits meanwhile.
 *
 * When the source ends it is sent back to its start, until
 * #GstFenwickTrain:steps or #GstFenwickTrain:epochs are done. A source that
 * cannot be sent back is fine as long as all of it fits the reservoir. EOS
 * reaches the bus after the weights are on disk. Training ends early, with the
 * weights written, when the application sends EOS to the pipeline (Ctrl-C with
 * gst-launch-1.0 -e), when EOS comes before the duration that the source told,
 * when the source gives no frame after it was sent back, with the action signal
 * #GstFenwickTrain::stop, and when the element goes to READY.
 *
 * Progress is told in messages: PROGRESS, which gst-launch-1.0 prints, and
 * ELEMENT messages named fenwick-training with the fields of
 * #GstFenwickTrain:stats, each #GstFenwickTrain:report-interval steps.
 *
 * ## Example launch lines
 * |[
 * gst-launch-1.0 -e filesrc location=clip.mkv ! decodebin ! videoconvert ! \
 *     fenwicktrain preset=tiny task=restore noise-max=50 steps=5000 \
 *     location=restore-tiny.safetensors checkpoint-location=checkpoints
 * ]| Learn to remove noise from a file. With resume=true the same line goes on
 * from the newest checkpoint.
 */
#include "gstfenwicktrain.h"

#include <gst/video/gstvideometa.h>

#include "gstfenwickcaps.h"
#include "gstfenwickcommon.h"

GST_DEBUG_CATEGORY (gst_fenwick_train_debug);
#define GST_CAT_DEFAULT gst_fenwick_train_debug

static GstStaticPadTemplate sink_template = GST_STATIC_PAD_TEMPLATE ("sink",
    GST_PAD_SINK, GST_PAD_ALWAYS, GST_STATIC_CAPS (GST_FENWICK_VIDEO_CAPS));

#define gst_fenwick_train_parent_class parent_class
G_DEFINE_TYPE (GstFenwickTrain, gst_fenwick_train, GST_TYPE_BASE_SINK);
GST_ELEMENT_REGISTER_DEFINE (fenwicktrain, "fenwicktrain", GST_RANK_NONE,
    GST_TYPE_FENWICK_TRAIN);

/* ------------------------------------------------------- start and stop */

static gboolean
make_trainer (GstFenwickTrain * self, struct fw_trainer **trainer)
{
  GstFenwickTrainSettings *s = &self->settings;
  struct fw_trainer_params params = s->params;
  GError *error = NULL;

  params.weights = gst_fenwick_is_set (s->weights) ? s->weights : NULL;
  params.preset = gst_fenwick_is_set (s->preset) ? s->preset : NULL;
  params.device = s->device;
  params.task = (enum fw_task) s->task;
  params.noise = (enum fw_noise) s->noise_type;
  params.moments = (enum kn_dtype) s->moments;
  if ((!gst_fenwick_is_set (s->loss) || fw_loss_parse (s->loss, &params.loss, &error))
      && (*trainer = fw_trainer_new (&params, &error)))
    return TRUE;
  gst_fenwick_train_error (self, error, NULL);
  return FALSE;
}

static gboolean
resume (GstFenwickTrain * self, struct fw_trainer *trainer)
{
  guint64 step = 0;
  GError *error = NULL;

  if (!self->settings.resume)
    return TRUE;
  if (!fw_trainer_resume (trainer, self->settings.checkpoint_location, &step,
          &error)) {
    gst_fenwick_train_error (self, error, "The rest of the line must be as it "
        "was in that run; for a new run set another checkpoint-location.");
    return FALSE;
  }
  GST_INFO_OBJECT (self, "resumed at step %" G_GUINT64_FORMAT, step);
  return TRUE;
}

static gboolean
open_metrics (GstFenwickTrain * self)
{
  const GstFenwickTrainSettings *s = &self->settings;
  GError *error = NULL;

  if (!gst_fenwick_is_set (s->metrics_location) && !gst_fenwick_is_set (s->tensorboard_location))
    return TRUE;
  self->metrics = fw_metrics_new (gst_fenwick_is_set (s->metrics_location) ?
      s->metrics_location : NULL, gst_fenwick_is_set (s->tensorboard_location) ?
      s->tensorboard_location : NULL, &error);
  if (self->metrics)
    return TRUE;
  gst_fenwick_train_error (self, error, g_error_matches (error, FW_ERROR,
          FW_ERROR_FORMAT) ? "Set another metrics-location." : NULL);
  return FALSE;
}

/* Where a run begins. */
static void
begin (GstFenwickTrain * self)
{
  GstFenwickTrainFigures *f = &self->figures;

  GST_OBJECT_LOCK (self);
  f->clips_per_second = 0;
  f->left = GST_CLOCK_TIME_NONE;
  g_clear_pointer (&f->checkpoint, g_free);
  g_strlcpy (f->device, fw_trainer_device (self->trainer), sizeof (f->device));
  GST_OBJECT_UNLOCK (self);
  gst_fenwick_train_update (self);

  self->begun = self->reported = self->checkpointed = f->now.step;
  self->saved = 0;              /* location may hold anything */
  g_atomic_int_set (&self->stop, FALSE);
  g_atomic_int_set (&self->ended, FALSE);
  self->spoilt = self->started = self->finished = FALSE;
  self->frames = self->pass_frames = 0;
  self->streams = 0;
  self->end = GST_CLOCK_TIME_NONE;
  self->paused = 0;
  self->report_clips = f->now.clips;
  gst_fenwick_reset_start (&self->reset);
}

static gboolean
start (GstFenwickTrain * self)
{
  struct fw_trainer *trainer = NULL;

  g_atomic_int_set (&self->failed, FALSE);
  if (!gst_fenwick_train_check_files (self) || !make_trainer (self, &trainer))
    return FALSE;
  if (!resume (self, trainer) || !open_metrics (self)) {
    fw_trainer_free (trainer);
    return FALSE;
  }
  GST_OBJECT_LOCK (self);
  self->trainer = trainer;
  GST_OBJECT_UNLOCK (self);
  begin (self);
  GST_INFO_OBJECT (self, "on %s: %s", fw_trainer_device (trainer),
      fw_trainer_device_description (trainer));
  g_object_notify (G_OBJECT (self), "device-in-use");
  return TRUE;
}

/* Nothing that was learned gets lost. */
static void
stop (GstFenwickTrain * self)
{
  if (!self->trainer)
    return;
  gst_fenwick_train_end_patience (self);
  if (self->started && !self->finished && !self->spoilt && gst_fenwick_train_write_all (self)
      && !g_atomic_int_get (&self->failed))
    gst_fenwick_train_progress (self, GST_PROGRESS_TYPE_CANCELED, "training",
        "stopped after step %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT,
        self->figures.now.step, self->figures.now.steps);
  gst_fenwick_train_drop_converter (self);
  g_clear_pointer (&self->metrics, fw_metrics_free);
}

/*
 * Memory goes later than READY: while a sink is on its way there, what lies
 * before it still pushes, is refused, and some elements post that as errors.
 */
static void
release (GstFenwickTrain * self)
{
  struct fw_trainer *trainer;

  if (!self->trainer)
    return;
  gst_fenwick_train_enter (self);
  GST_OBJECT_LOCK (self);
  trainer = self->trainer;
  self->trainer = NULL;
  GST_OBJECT_UNLOCK (self);
  gst_fenwick_train_leave (self);
  fw_trainer_free (trainer);
  g_object_notify (G_OBJECT (self), "device-in-use");
}

static GstStateChangeReturn
gst_fenwick_train_change_state (GstElement * element, GstStateChange transition)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (element);
  GstStateChangeReturn ret;

  if (transition == GST_STATE_CHANGE_READY_TO_PAUSED) {
    release (self);
    if (!start (self))
      return GST_STATE_CHANGE_FAILURE;
  }

  ret = GST_ELEMENT_CLASS (parent_class)->change_state (element, transition);

  if (transition == GST_STATE_CHANGE_PAUSED_TO_READY
      || (transition == GST_STATE_CHANGE_READY_TO_PAUSED
          && ret == GST_STATE_CHANGE_FAILURE))
    stop (self);
  if (transition == GST_STATE_CHANGE_READY_TO_NULL)
    release (self);
  return ret;
}

/* Ends the stream before the source does, which answers with its own EOS. */
static GstFlowReturn
end_stream (GstFenwickTrain * self, const gchar * why)
{
  if (!self->finished && !gst_fenwick_train_finish (self, why))
    return GST_FLOW_ERROR;
  gst_fenwick_train_start_patience (self);
  return GST_FLOW_EOS;
}

/* --------------------------------------------------------------- frames */

static gboolean
gst_fenwick_train_propose_allocation (GstBaseSink * sink, GstQuery * query)
{
  gst_query_add_allocation_meta (query, GST_VIDEO_META_API_TYPE, NULL);
  return TRUE;
}

static GstFlowReturn
gst_fenwick_train_render (GstBaseSink * sink, GstBuffer * buffer)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (sink);
  GstFlowReturn ret;

  if (g_atomic_int_get (&self->failed))
    return GST_FLOW_ERROR;
  if (!self->started)
    gst_fenwick_train_announce (self);
  ret = gst_fenwick_train_run_steps (self);       /* those that a flush kept from running */
  if (ret != GST_FLOW_OK)
    return ret;
  if (g_atomic_int_get (&self->stop))
    return end_stream (self, "ended");
  if (self->finished || fw_trainer_finished (self->trainer))
    return end_stream (self, "done");

  if (gst_fenwick_reset_frame (&self->reset, buffer,
          GST_FENWICK_RESET_ON_DISCONT))
    fw_trainer_cut (self->trainer);
  if (!gst_fenwick_train_give (self, buffer))
    return GST_FLOW_ERROR;
  gst_fenwick_train_note_frame (self, buffer);
  gst_fenwick_train_update (self);
  ret = gst_fenwick_train_run_steps (self);
  if (ret == GST_FLOW_OK && fw_trainer_finished (self->trainer))
    ret = end_stream (self, "done");
  else if (ret == GST_FLOW_OK && g_atomic_int_get (&self->stop))
    ret = end_stream (self, "ended");
  return ret;
}

/* --------------------------------------------------------------- events */

static gboolean
pass_eos (GstFenwickTrain * self, GstEvent * event)
{
  gboolean ret;

  if (!gst_fenwick_train_take_eos (self)) {
    gst_event_unref (event);
    return TRUE;
  }
  gst_fenwick_train_end_patience (self);
  g_atomic_int_set (&self->ended, TRUE);
  ret = GST_BASE_SINK_CLASS (parent_class)->event (GST_BASE_SINK (self), event);
  gst_fenwick_train_start_patience (self);
  return ret;
}

static gboolean
gst_fenwick_train_event (GstBaseSink * sink, GstEvent * event)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (sink);

  gst_fenwick_reset_sink_event (&self->reset, event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS)
    return pass_eos (self, event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_STREAM_START)
    self->streams++;
  return GST_BASE_SINK_CLASS (parent_class)->event (sink, event);
}

/*
 * EOS for the whole pipeline goes to its sources, of which this element says
 * to be one: so it ends training at once, however much is on its way and
 * whether or not anything comes any more.
 */
static gboolean
gst_fenwick_train_send_event (GstElement * element, GstEvent * event)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (element);

  if (GST_EVENT_IS_UPSTREAM (event))
    return GST_ELEMENT_CLASS (parent_class)->send_event (element, event);
  if (GST_EVENT_TYPE (event) == GST_EVENT_EOS)
    g_atomic_int_set (&self->stop, TRUE);
  gst_event_unref (event);
  return TRUE;
}

static gboolean
gst_fenwick_train_unlock (GstBaseSink * sink)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (sink);

  if (self->trainer)
    fw_trainer_cancel (self->trainer, TRUE);
  return TRUE;
}

static gboolean
gst_fenwick_train_unlock_stop (GstBaseSink * sink)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (sink);

  if (self->trainer)
    fw_trainer_cancel (self->trainer, FALSE);
  return TRUE;
}

/* --------------------------------------------------------- applications */

static gboolean
gst_fenwick_train_save (GstFenwickTrain * self, const gchar * path)
{
  gboolean ok = FALSE;
  GError *error = NULL;

  g_atomic_int_inc (&self->savers);
  g_mutex_lock (&self->trainer_lock);
  if (self->trainer)
    ok = fw_trainer_save (self->trainer, gst_fenwick_is_set (path) ? path :
        self->settings.location, &error);
  if (g_atomic_int_dec_and_test (&self->savers))
    g_cond_broadcast (&self->served);
  g_mutex_unlock (&self->trainer_lock);
  if (error) {
    GST_ELEMENT_WARNING (self, RESOURCE, WRITE, ("%s.", error->message),
        ("action signal save"));
    g_error_free (error);
  }
  return ok;
}

static void
gst_fenwick_train_stop (GstFenwickTrain * self)
{
  g_atomic_int_set (&self->stop, TRUE);
}

/* How far training is, in steps or as a share. */
static gboolean
get_progress (GstFenwickTrain * self, GstFormat format, gint64 * position,
    gint64 * duration)
{
  guint64 step, steps;

  GST_OBJECT_LOCK (self);
  step = self->figures.now.step;
  steps = self->figures.now.steps;
  GST_OBJECT_UNLOCK (self);
  if (format == GST_FORMAT_PERCENT && steps > 0) {
    step = gst_util_uint64_scale (step, GST_FORMAT_PERCENT_MAX, steps);
    steps = GST_FORMAT_PERCENT_MAX;
  } else if (format != GST_FORMAT_BUFFERS) {
    return FALSE;
  }
  *position = (gint64) step;
  *duration = (gint64) steps;
  return TRUE;
}

static gboolean
gst_fenwick_train_query (GstElement * element, GstQuery * query)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (element);
  gint64 position, duration;
  GstFormat format;

  switch (GST_QUERY_TYPE (query)) {
    case GST_QUERY_POSITION:
      gst_query_parse_position (query, &format, NULL);
      if (!get_progress (self, format, &position, &duration))
        break;
      gst_query_set_position (query, format, position);
      return TRUE;
    case GST_QUERY_DURATION:
      gst_query_parse_duration (query, &format, NULL);
      if (!get_progress (self, format, &position, &duration))
        break;
      gst_query_set_duration (query, format, duration);
      return TRUE;
    default:
      break;
  }
  return GST_ELEMENT_CLASS (parent_class)->query (element, query);
}

/* --------------------------------------------------------------- object */

static void
gst_fenwick_train_finalize (GObject * object)
{
  GstFenwickTrain *self = GST_FENWICK_TRAIN (object);

  gst_fenwick_train_settings_clear (&self->settings);
  g_free (self->figures.checkpoint);
  gst_fenwick_reset_clear (&self->reset);
  g_mutex_clear (&self->trainer_lock);
  g_cond_clear (&self->served);
  G_OBJECT_CLASS (parent_class)->finalize (object);
}

static void
gst_fenwick_train_init (GstFenwickTrain * self)
{
  GstBaseSink *sink = GST_BASE_SINK (self);

  gst_fenwick_train_settings_init (&self->settings);
  gst_fenwick_reset_init (&self->reset);
  g_mutex_init (&self->trainer_lock);
  g_cond_init (&self->served);
  gst_video_info_init (&self->info);
  self->figures.left = GST_CLOCK_TIME_NONE;
  GST_OBJECT_FLAG_SET (self, GST_ELEMENT_FLAG_SOURCE);
  gst_base_sink_set_sync (sink, FALSE);
  gst_base_sink_set_last_sample_enabled (sink, FALSE);
  gst_fenwick_train_watch_end (self);
}

static void
install_signals (GstFenwickTrainClass * klass)
{
  /**
   * GstFenwickTrain::save:
   * @path: (nullable): file to write, NULL: the location property
   *
   * Writes the weights as they are now. Waits for the current step.
   *
   * Returns: whether they are on disk
   */
  g_signal_new_class_handler ("save", G_TYPE_FROM_CLASS (klass),
      G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
      G_CALLBACK (gst_fenwick_train_save), NULL, NULL, NULL, G_TYPE_BOOLEAN, 1,
      G_TYPE_STRING);
  /**
   * GstFenwickTrain::stop:
   *
   * Ends training after the current step, or at the next frame: the weights
   * are written, then EOS is posted.
   */
  g_signal_new_class_handler ("stop", G_TYPE_FROM_CLASS (klass),
      G_SIGNAL_RUN_LAST | G_SIGNAL_ACTION,
      G_CALLBACK (gst_fenwick_train_stop), NULL, NULL, NULL, G_TYPE_NONE, 0);
}

static void
gst_fenwick_train_class_init (GstFenwickTrainClass * klass)
{
  GObjectClass *object_class = G_OBJECT_CLASS (klass);
  GstElementClass *element_class = GST_ELEMENT_CLASS (klass);
  GstBaseSinkClass *sink_class = GST_BASE_SINK_CLASS (klass);

  GST_DEBUG_CATEGORY_INIT (gst_fenwick_train_debug, "fenwicktrain", 0,
      "Fenwick trainer");

  object_class->set_property = gst_fenwick_train_set_property;
  object_class->get_property = gst_fenwick_train_get_property;
  object_class->finalize = gst_fenwick_train_finalize;
  gst_fenwick_train_install (object_class);
  install_signals (klass);

  gst_element_class_add_static_pad_template (element_class, &sink_template);
  gst_element_class_set_static_metadata (element_class,
      "Fenwick trainer", "Sink/Video/Trainer",
      "Fits a neural network with a memory of the past to video",
      GST_FENWICK_AUTHOR);
  element_class->change_state =
      GST_DEBUG_FUNCPTR (gst_fenwick_train_change_state);
  element_class->send_event = GST_DEBUG_FUNCPTR (gst_fenwick_train_send_event);
  element_class->query = GST_DEBUG_FUNCPTR (gst_fenwick_train_query);

  sink_class->set_caps = GST_DEBUG_FUNCPTR (gst_fenwick_train_set_caps);
  sink_class->propose_allocation =
      GST_DEBUG_FUNCPTR (gst_fenwick_train_propose_allocation);
  sink_class->render = GST_DEBUG_FUNCPTR (gst_fenwick_train_render);
  sink_class->event = GST_DEBUG_FUNCPTR (gst_fenwick_train_event);
  sink_class->unlock = GST_DEBUG_FUNCPTR (gst_fenwick_train_unlock);
  sink_class->unlock_stop = GST_DEBUG_FUNCPTR (gst_fenwick_train_unlock_stop);
}
