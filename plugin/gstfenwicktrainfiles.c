/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The files of fenwicktrain: what can be written is found out at the start. */
#include "gstfenwicktrain.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <unistd.h>

/* Finds out now what would else be found out after hours. */
static gboolean
can_write_in (GstFenwickTrain * self, const gchar * folder,
    const gchar * property)
{
  gchar *name = g_build_filename (folder, ".fenwick-XXXXXX", NULL);
  const gint fd = g_mkstemp (name);
  const gint number = errno;

  if (fd >= 0) {
    close (fd);
    g_unlink (name);
  } else {
    gst_fenwick_train_fail (self, GST_RESOURCE_ERROR, number == ENOSPC
        || number == EDQUOT ? GST_RESOURCE_ERROR_NO_SPACE_LEFT :
        GST_RESOURCE_ERROR_OPEN_WRITE,
        g_strdup_printf ("Nothing can be written in the folder %s of %s: %s.",
            folder, property, g_strerror (number)));
  }
  g_free (name);
  return fd >= 0;
}

static gboolean
check_location (GstFenwickTrain * self)
{
  const gchar *location = self->settings.location;
  gchar *folder;
  gboolean ok;

  if (!gst_fenwick_is_set (location)) {
    gst_fenwick_train_fail (self, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, g_strdup ("No file for the trained "
            "weights is set. Set location=FILE, for example "
            "location=restore.safetensors."));
    return FALSE;
  }
  if (g_file_test (location, G_FILE_TEST_IS_DIR)) {
    gst_fenwick_train_fail (self, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_OPEN_WRITE, g_strdup_printf ("%s is a folder; "
            "location names the file for the trained weights.", location));
    return FALSE;
  }
  folder = g_path_get_dirname (location);
  ok = can_write_in (self, folder, "location");
  g_free (folder);
  return ok;
}

static gboolean
holds_checkpoints (const gchar * folder)
{
  GDir *dir = g_dir_open (folder, 0, NULL);
  const gchar *name;
  gboolean found = FALSE;

  while (dir && !found && (name = g_dir_read_name (dir)))
    found = g_str_has_prefix (name, "step-")
        && g_str_has_suffix (name, ".safetensors");
  if (dir)
    g_dir_close (dir);
  return found;
}

static gboolean
check_checkpoints (GstFenwickTrain * self)
{
  const gchar *folder = self->settings.checkpoint_location;

  if (!gst_fenwick_is_set (folder)) {
    if (!self->settings.resume)
      return TRUE;
    gst_fenwick_train_fail (self, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, g_strdup ("resume=true wants the folder "
            "of the checkpoints: set checkpoint-location=FOLDER."));
    return FALSE;
  }
  if (g_mkdir_with_parents (folder, 0777) != 0) {
    gst_fenwick_train_fail (self, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_OPEN_WRITE, g_strdup_printf ("The folder %s of "
            "checkpoint-location cannot be made: %s.", folder,
            g_strerror (errno)));
    return FALSE;
  }
  if (!self->settings.resume && holds_checkpoints (folder)) {
    gst_fenwick_train_fail (self, GST_RESOURCE_ERROR,
        GST_RESOURCE_ERROR_SETTINGS, g_strdup_printf ("The folder %s holds "
            "checkpoints of another run. Set resume=true to continue it, or "
            "another checkpoint-location.", folder));
    return FALSE;
  }
  return can_write_in (self, folder, "checkpoint-location");
}

gboolean
gst_fenwick_train_check_files (GstFenwickTrain * self)
{
  return check_location (self) && check_checkpoints (self);
}

static gboolean
write_failed (GstFenwickTrain * self, GError * error)
{
  self->spoilt = TRUE;
  gst_fenwick_train_error (self, error, NULL);
  return FALSE;
}

static gboolean
write_weights (GstFenwickTrain * self)
{
  GError *error = NULL;
  gboolean ok;

  if (self->saved == self->figures.now.step)
    return TRUE;
  gst_fenwick_train_enter (self);
  ok = fw_trainer_save (self->trainer, self->settings.location, &error);
  gst_fenwick_train_leave (self);
  if (!ok)
    return write_failed (self, error);
  self->saved = self->figures.now.step;
  return TRUE;
}

gboolean
gst_fenwick_train_write_checkpoint (GstFenwickTrain * self)
{
  const gchar *folder = self->settings.checkpoint_location;
  const guint64 step = self->figures.now.step;
  GError *error = NULL;
  gboolean ok;

  if (!gst_fenwick_is_set (folder) || self->checkpointed == step)
    return TRUE;
  gst_fenwick_train_enter (self);
  ok = fw_trainer_checkpoint (self->trainer, folder,
      self->settings.checkpoint_keep, &error);
  gst_fenwick_train_leave (self);
  if (!ok)
    return write_failed (self, error);
  self->checkpointed = step;
  GST_OBJECT_LOCK (self);
  g_free (self->figures.checkpoint);
  self->figures.checkpoint = g_strdup_printf ("%s%sstep-%08" G_GUINT64_FORMAT
      ".safetensors", folder, g_str_has_suffix (folder, "/") ? "" : "/", step);
  GST_OBJECT_UNLOCK (self);
  gst_fenwick_train_progress (self, GST_PROGRESS_TYPE_COMPLETE, "checkpoint",
      "%s", self->figures.checkpoint);
  return TRUE;
}

/* Everything that the steps since the start have earned. */
gboolean
gst_fenwick_train_write_all (GstFenwickTrain * self)
{
  if (self->figures.now.step == 0)
    return TRUE;
  if (self->reported != self->figures.now.step
      && !gst_fenwick_train_report (self)) {
    self->spoilt = TRUE;
    return FALSE;
  }
  return write_weights (self) && gst_fenwick_train_write_checkpoint (self);
}
