/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_MODEL_H
#define GST_FENWICK_MODEL_H

#include <gst/base/gstbasetransform.h>

#include "gstfenwickcommon.h"

G_BEGIN_DECLS

#define GST_TYPE_FENWICK_MODEL (gst_fenwick_model_get_type ())
G_DECLARE_FINAL_TYPE (GstFenwickModel, gst_fenwick_model, GST, FENWICK_MODEL,
    GstBaseTransform)

struct _GstFenwickModel
{
  GstBaseTransform parent;

  GstFenwickCommon common;
  gsize in_size, out_size;      /* bytes of a frame */
  gboolean asked;               /* set_caps was called for these caps */
};

GST_ELEMENT_REGISTER_DECLARE (fenwickmodel);

G_END_DECLS

#endif
