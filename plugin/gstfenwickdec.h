/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_DEC_H
#define GST_FENWICK_DEC_H

#include <gst/video/gstvideodecoder.h>

#include "gstfenwickcommon.h"

G_BEGIN_DECLS

#define GST_TYPE_FENWICK_DEC (gst_fenwick_dec_get_type ())
G_DECLARE_FINAL_TYPE (GstFenwickDec, gst_fenwick_dec, GST, FENWICK_DEC,
    GstVideoDecoder)

struct _GstFenwickDec
{
  GstVideoDecoder parent;

  GstFenwickCommon common;
  GstPadChainFunction chain;    /* the base class's */
  GstVideoCodecState *input;    /* caps that came in, renamed, or NULL */
  enum kn_dtype type;           /* of the latents */
  gsize size;                   /* bytes of a frame of latents */
  GstVideoInfo info;            /* of the pictures that go out */
};

GST_ELEMENT_REGISTER_DECLARE (fenwickdec);

G_END_DECLS

#endif
