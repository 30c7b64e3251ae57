/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_ENC_H
#define GST_FENWICK_ENC_H

#include <gst/video/gstvideoencoder.h>

#include "gstfenwickcommon.h"

G_BEGIN_DECLS

#define GST_TYPE_FENWICK_ENC (gst_fenwick_enc_get_type ())
G_DECLARE_FINAL_TYPE (GstFenwickEnc, gst_fenwick_enc, GST, FENWICK_ENC,
    GstVideoEncoder)

struct _GstFenwickEnc
{
  GstVideoEncoder parent;

  GstFenwickCommon common;
  GstPadChainFunction chain;    /* the base class's */
  GstVideoCodecState *input;    /* caps that came in, or NULL */
  struct kn_video video;        /* the same for the network */
  GstCaps *offer;               /* latents of this size in every type, or NULL */
  gsize size;                   /* bytes of a frame of latents */
  GstBufferPool *pool;          /* active, or NULL */
};

GST_ELEMENT_REGISTER_DECLARE (fenwickenc);

G_END_DECLS

#endif
