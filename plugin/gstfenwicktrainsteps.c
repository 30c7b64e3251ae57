/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The steps of fenwicktrain, on the streaming thread. */
#include "gstfenwicktrain.h"

GST_DEBUG_CATEGORY_EXTERN (gst_fenwick_train_debug);
#define GST_CAT_DEFAULT gst_fenwick_train_debug

/* The trainer, between two calls of whoever waits for it. */
void
gst_fenwick_train_enter (GstFenwickTrain * self)
{
  g_mutex_lock (&self->trainer_lock);
  while (g_atomic_int_get (&self->savers) > 0)
    g_cond_wait (&self->served, &self->trainer_lock);
}

void
gst_fenwick_train_leave (GstFenwickTrain * self)
{
  g_mutex_unlock (&self->trainer_lock);
}

void
gst_fenwick_train_announce (GstFenwickTrain * self)
{
  const GstFenwickTrainFigures *f = &self->figures;

  self->started = TRUE;
  self->clock = self->report_clock = g_get_monotonic_time ();
  gst_fenwick_train_progress (self, GST_PROGRESS_TYPE_START, "training",
      "%s on %s, from step %" G_GUINT64_FORMAT " to %" G_GUINT64_FORMAT,
      gst_fenwick_train_task_name (self->settings.task), f->device,
      f->now.step, f->now.steps);
}

static gboolean
step_done (GstFenwickTrain * self)
{
  const GstFenwickTrainSettings *s = &self->settings;
  guint64 step;

  gst_fenwick_train_update (self);
  step = self->figures.now.step;
  if (step != self->reported && (step % s->report_interval == 0
          || step == self->begun + 1) && !gst_fenwick_train_report (self)) {
    self->spoilt = TRUE;
    return FALSE;
  }
  return s->checkpoint_interval == 0 || step % s->checkpoint_interval != 0
      || gst_fenwick_train_write_checkpoint (self);
}

static void
step_failed (GstFenwickTrain * self, GError * error)
{
  gchar *hint = NULL;

  self->spoilt = TRUE;
  gst_fenwick_train_update (self);
  if (self->figures.checkpoint)
    hint = g_strdup_printf ("The last checkpoint is %s.",
        self->figures.checkpoint);
  /* not a fault of any file */
  if (g_error_matches (error, FW_ERROR, FW_ERROR_NONFINITE))
    error->code = FW_ERROR_FAILED;
  gst_fenwick_train_error (self, error, hint);
  g_free (hint);
}

/* A step was cancelled: waits until PLAYING. */
static GstFlowReturn
wait_for_playing (GstFenwickTrain * self)
{
  const gint64 since = g_get_monotonic_time ();
  const GstFlowReturn ret =
      gst_base_sink_wait_preroll (GST_BASE_SINK (self));
  const gint64 took = g_get_monotonic_time () - since;

  self->paused += took;
  self->report_clock += took;
  return ret;
}

/* One step if it is due. */
static GstFlowReturn
run_step (GstFenwickTrain * self, gboolean * due)
{
  enum fw_step result = FW_STEP_DONE;
  GError *error = NULL;

  gst_fenwick_train_enter (self);
  *due = fw_trainer_due (self->trainer) > 0;
  if (*due)
    result = fw_trainer_step (self->trainer, &error);
  gst_fenwick_train_leave (self);

  if (*due && result == FW_STEP_CANCELLED)
    return wait_for_playing (self);
  if (result == FW_STEP_FAILED) {
    step_failed (self, error);
    return GST_FLOW_ERROR;
  }
  if (result == FW_STEP_SKIPPED)
    GST_WARNING_OBJECT (self, "a step was skipped: loss or gradient not finite");
  return !*due || step_done (self) ? GST_FLOW_OK : GST_FLOW_ERROR;
}

GstFlowReturn
gst_fenwick_train_run_steps (GstFenwickTrain * self)
{
  GstFlowReturn ret = GST_FLOW_OK;
  gboolean due = TRUE;

  while (ret == GST_FLOW_OK && due && !g_atomic_int_get (&self->stop))
    ret = run_step (self, &due);
  return ret;
}

/* All is written; EOS may follow. */
gboolean
gst_fenwick_train_finish (GstFenwickTrain * self, const gchar * why)
{
  const struct fw_train_report *now = &self->figures.now;

  if (!gst_fenwick_train_write_all (self))
    return FALSE;
  self->finished = TRUE;
  if (now->step == 0)
    gst_fenwick_train_progress (self, GST_PROGRESS_TYPE_COMPLETE, "training",
        "%s before the first step: nothing was written", why);
  else
    gst_fenwick_train_progress (self, GST_PROGRESS_TYPE_COMPLETE, "training",
        "%s after step %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT ": %s",
        why, now->step, now->steps, self->settings.location);
  return TRUE;
}
