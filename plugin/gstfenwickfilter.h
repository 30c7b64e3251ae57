/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_FILTER_H
#define GST_FENWICK_FILTER_H

#include <gst/base/gstbasetransform.h>

#include "gstfenwickcommon.h"

G_BEGIN_DECLS

#define GST_TYPE_FENWICK_FILTER (gst_fenwick_filter_get_type ())
G_DECLARE_FINAL_TYPE (GstFenwickFilter, gst_fenwick_filter, GST,
    FENWICK_FILTER, GstBaseTransform)

struct _GstFenwickFilter
{
  GstBaseTransform parent;

  GstFenwickCommon common;
  GstVideoInfo info;            /* of both pads */
  gboolean asked;               /* set_caps was called for these caps */
};

GST_ELEMENT_REGISTER_DECLARE (fenwickfilter);

G_END_DECLS

#endif
