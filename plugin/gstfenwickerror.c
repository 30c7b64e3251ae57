/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* From the model's errors to GStreamer's: one table, so that the same failure
 * has the same domain and code in every element. */
#include "gstfenwickerror.h"

#include "fw.h"

#define HINT_MEMORY "Use smaller pictures, a smaller preset, or raise or " \
  "unset memory-limit."
#define HINT_DEVICE "Use device=cpu, or device=auto to take what is there."
#define HINT_PRECISION "Use precision=auto, or another device."
#define HINT_FILE "The weights property needs a file that was written by " \
  "fenwick, unchanged."
#define HINT_DISK "Make room, or write somewhere else."
#define HINT_PRESET "Leave preset unset to take the network that the file " \
  "holds."

static void
set (GstFenwickError * to, GQuark domain, gint code, const gchar * hint)
{
  to->domain = domain;
  to->code = code;
  to->hint = hint;
}

void
gst_fenwick_error_from (GstFenwickError * to, const GError * from,
    GQuark run_domain, gint run_code)
{
  const GQuark resource = GST_RESOURCE_ERROR;
  const GQuark stream = GST_STREAM_ERROR;

  set (to, run_domain, run_code, NULL);
  if (from->domain != FW_ERROR)
    return;

  switch ((enum fw_error) from->code) {
    case FW_ERROR_ARGUMENT:
      set (to, resource, GST_RESOURCE_ERROR_SETTINGS, NULL);
      break;
    case FW_ERROR_NOT_FOUND:
      set (to, resource, GST_RESOURCE_ERROR_NOT_FOUND, NULL);
      break;
    case FW_ERROR_READ:
      set (to, resource, GST_RESOURCE_ERROR_OPEN_READ, NULL);
      break;
    case FW_ERROR_WRITE:
      set (to, resource, GST_RESOURCE_ERROR_OPEN_WRITE, NULL);
      break;
    case FW_ERROR_FORMAT:
    case FW_ERROR_NONFINITE:
      set (to, stream, GST_STREAM_ERROR_WRONG_TYPE, HINT_FILE);
      break;
    case FW_ERROR_MISMATCH:
      set (to, resource, GST_RESOURCE_ERROR_SETTINGS, HINT_PRESET);
      break;
    case FW_ERROR_NO_DEVICE:
    case FW_ERROR_LIBRARY:
      set (to, resource, GST_RESOURCE_ERROR_NOT_FOUND, HINT_DEVICE);
      break;
    case FW_ERROR_NO_SPACE:
      set (to, resource, GST_RESOURCE_ERROR_NO_SPACE_LEFT, HINT_MEMORY);
      break;
    case FW_ERROR_UNSUPPORTED:
      set (to, stream, GST_STREAM_ERROR_FORMAT, HINT_PRECISION);
      break;
    case FW_ERROR_DISK_FULL:
      set (to, resource, GST_RESOURCE_ERROR_NO_SPACE_LEFT, HINT_DISK);
      break;
    case FW_ERROR_CANCELLED:
    case FW_ERROR_FAILED:
      break;
  }
}
