/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What an application hears of training: progress, figures, errors. */
#include "gstfenwicktrain.h"

#include <math.h>

#include "gstfenwickerror.h"

GST_DEBUG_CATEGORY_EXTERN (gst_fenwick_train_debug);
#define GST_CAT_DEFAULT gst_fenwick_train_debug

#define HINT_MEMORY "Lower batch-size, clip-length, crop-size or " \
  "reservoir-bytes, or use a smaller preset."

void
gst_fenwick_train_progress (GstFenwickTrain * self, GstProgressType type,
    const gchar * code, const gchar * format, ...)
{
  va_list args;
  gchar *text;

  va_start (args, format);
  text = g_strdup_vprintf (format, args);
  va_end (args);
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_progress (GST_OBJECT (self), type, code, text));
  g_free (text);
}

/* --------------------------------------------------------------- errors */

void
gst_fenwick_train_fail (GstFenwickTrain * self, GQuark domain, gint code,
    gchar * text)
{
  gchar *debug;

  if (!g_atomic_int_compare_and_exchange (&self->failed, FALSE, TRUE)) {
    g_free (text);
    return;
  }
  GST_OBJECT_LOCK (self);
  debug = g_strdup_printf ("location=%s, checkpoint-location=%s, step %"
      G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT, self->settings.location ?
      self->settings.location : "(unset)", self->settings.checkpoint_location ?
      self->settings.checkpoint_location : "(unset)", self->figures.now.step,
      self->figures.now.steps);
  GST_OBJECT_UNLOCK (self);
  if (self->started)
    gst_fenwick_train_progress (self, GST_PROGRESS_TYPE_ERROR, "training",
        "failed after step %" G_GUINT64_FORMAT, self->figures.now.step);
  gst_element_message_full (GST_ELEMENT (self), GST_MESSAGE_ERROR, domain, code,
      text, debug, __FILE__, GST_FUNCTION, __LINE__);
}

void
gst_fenwick_train_error (GstFenwickTrain * self, GError * error,
    const gchar * hint)
{
  GstFenwickError to;

  gst_fenwick_error_from (&to, error, GST_STREAM_ERROR,
      GST_STREAM_ERROR_FAILED);
  if (!hint && g_error_matches (error, FW_ERROR, FW_ERROR_NO_SPACE))
    hint = HINT_MEMORY;
  if (!hint)
    hint = to.hint;
  gst_fenwick_train_fail (self, to.domain, to.code,
      g_strdup_printf ("%s.%s%s", error->message, hint ? " " : "",
          hint ? hint : ""));
  g_error_free (error);
}

/* -------------------------------------------------------------- figures */

void
gst_fenwick_train_update (GstFenwickTrain * self)
{
  struct fw_train_report now;

  fw_trainer_report (self->trainer, &now);
  GST_OBJECT_LOCK (self);
  self->figures.now = now;
  GST_OBJECT_UNLOCK (self);
}

/* With the object lock. */
static void
add_state (GstStructure * s, const GstFenwickTrainFigures * f)
{
  const struct fw_train_report *r = &f->now;

  gst_structure_set (s,
      "clips-per-second", G_TYPE_DOUBLE, f->clips_per_second,
      "time-left", GST_TYPE_CLOCK_TIME, f->left,
      "device", G_TYPE_STRING, f->device,
      "checkpoint", G_TYPE_STRING, f->checkpoint,
      "frames", G_TYPE_UINT64, r->frames,
      "reservoir-clips", G_TYPE_UINT64, r->reservoir_clips,
      "reservoir-bytes", G_TYPE_UINT64, r->reservoir_bytes,
      "bytes", G_TYPE_UINT64, r->bytes,
      "cg-iterations-max", G_TYPE_UINT, r->mesa.max_iterations,
      "cg-capped", G_TYPE_UINT64, r->mesa.capped, NULL);
}

GstStructure *
gst_fenwick_train_stats (GstFenwickTrain * self, const gchar * name)
{
  const struct fw_train_report *r = &self->figures.now;
  GstStructure *s;

  GST_OBJECT_LOCK (self);
  s = gst_structure_new (name,
      "step", G_TYPE_UINT64, r->step, "steps", G_TYPE_UINT64, r->steps,
      "epoch", G_TYPE_UINT64, r->epoch, "skipped", G_TYPE_UINT64, r->skipped,
      "samples", G_TYPE_UINT64, r->clips,
      "loss", G_TYPE_DOUBLE, r->loss, "loss-mean", G_TYPE_DOUBLE, r->loss_mean,
      "psnr", G_TYPE_DOUBLE, r->psnr,
      "validation-psnr", G_TYPE_DOUBLE, r->validation_psnr,
      "validation-input-psnr", G_TYPE_DOUBLE, r->validation_input_psnr,
      "validation-step", G_TYPE_UINT64, r->validation_step,
      "learning-rate", G_TYPE_DOUBLE, r->learning_rate,
      "gradient-norm", G_TYPE_DOUBLE, r->gradient_norm, NULL);
  add_state (s, &self->figures);
  GST_OBJECT_UNLOCK (self);
  return s;
}

/* Time of steps since the run began, without the time in PAUSED; seconds. */
static gdouble
seconds (GstFenwickTrain * self, gint64 now)
{
  return (gdouble) (now - self->clock - self->paused) / G_USEC_PER_SEC;
}

static void
measure (GstFenwickTrain * self, gint64 now)
{
  GstFenwickTrainFigures *f = &self->figures;
  const struct fw_train_report *r = &f->now;
  const guint64 done = r->step - self->begun;
  const gdouble since = (gdouble) (now - self->report_clock) / G_USEC_PER_SEC;

  GST_OBJECT_LOCK (self);
  if (since > 0)
    f->clips_per_second = (gdouble) (r->clips - self->report_clips) / since;
  f->left = GST_CLOCK_TIME_NONE;
  if (done > 0 && r->steps >= r->step && self->settings.params.epochs == 0)
    f->left = (GstClockTime) (seconds (self, now) * GST_SECOND
        * (gdouble) (r->steps - r->step) / (gdouble) done);
  GST_OBJECT_UNLOCK (self);
  self->report_clock = now;
  self->report_clips = r->clips;
}

static void
append_left (GString * text, GstClockTime left)
{
  const guint64 s = left / GST_SECOND;

  if (!GST_CLOCK_TIME_IS_VALID (left))
    return;
  if (s >= 3600)
    g_string_append_printf (text, ", %" G_GUINT64_FORMAT ":%02u:%02u left",
        s / 3600, (guint) (s / 60 % 60), (guint) (s % 60));
  else
    g_string_append_printf (text, ", %u:%02u left", (guint) (s / 60),
        (guint) (s % 60));
}

/* "step 120/5000, loss 0.0231, PSNR 33.1 dB, ..." */
static gchar *
line (const GstFenwickTrainFigures * f, gboolean validated)
{
  const struct fw_train_report *r = &f->now;
  GString *text = g_string_new (NULL);

  g_string_printf (text, "step %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT
      ", loss %.4g", r->step, r->steps, r->loss);
  if (isfinite (r->psnr))
    g_string_append_printf (text, ", PSNR %.1f dB", r->psnr);
  if (validated)
    g_string_append_printf (text, ", validation %.1f dB (input %.1f dB)",
        r->validation_psnr, r->validation_input_psnr);
  g_string_append_printf (text, ", rate %.1e, %.1f clips/s", r->learning_rate,
      f->clips_per_second);
  if (r->skipped)
    g_string_append_printf (text, ", %" G_GUINT64_FORMAT " skipped",
        r->skipped);
  append_left (text, f->left);
  return g_string_free (text, FALSE);
}

gboolean
gst_fenwick_train_report (GstFenwickTrain * self)
{
  const gint64 now = g_get_monotonic_time ();
  GError *error = NULL;
  gchar *text;

  measure (self, now);
  text = line (&self->figures,
      self->figures.now.validation_step > self->reported);
  self->reported = self->figures.now.step;
  gst_fenwick_train_progress (self, GST_PROGRESS_TYPE_CONTINUE, "training",
      "%s", text);
  g_free (text);
  gst_element_post_message (GST_ELEMENT (self),
      gst_message_new_element (GST_OBJECT (self),
          gst_fenwick_train_stats (self, "fenwick-training")));
  if (!self->metrics || fw_metrics_write (self->metrics, &self->figures.now,
          seconds (self, now), &error))
    return TRUE;
  gst_fenwick_train_error (self, error, NULL);
  return FALSE;
}
