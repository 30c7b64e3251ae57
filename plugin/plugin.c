/* SPDX-License-Identifier: LGPL-2.1-or-later */
/**
 * plugin-fenwick:
 *
 * Neural video elements with a memory of the past.
 */
#include <gst/gst.h>

#include "gstfenwickdec.h"
#include "gstfenwickenc.h"
#include "gstfenwickfilter.h"
#include "gstfenwickmodel.h"
#include "gstfenwicktrain.h"

GST_DEBUG_CATEGORY_EXTERN (gst_fenwick_debug);

/* Elements are always registered: what device there is shows when they
 * start, and the registry must not remember it. */
static gboolean
plugin_init (GstPlugin * plugin)
{
  gboolean ret = FALSE;

  GST_DEBUG_CATEGORY_INIT (gst_fenwick_debug, "fenwick", 0,
      "What all Fenwick elements share");

  ret |= GST_ELEMENT_REGISTER (fenwickenc, plugin);
  ret |= GST_ELEMENT_REGISTER (fenwickmodel, plugin);
  ret |= GST_ELEMENT_REGISTER (fenwickdec, plugin);
  ret |= GST_ELEMENT_REGISTER (fenwickfilter, plugin);
  ret |= GST_ELEMENT_REGISTER (fenwicktrain, plugin);
  return ret;
}

GST_PLUGIN_DEFINE (GST_VERSION_MAJOR, GST_VERSION_MINOR, fenwick,
    "Neural video elements with a memory of the past", plugin_init,
    PACKAGE_VERSION, "LGPL", PACKAGE_NAME, PACKAGE_ORIGIN)
