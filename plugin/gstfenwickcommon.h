/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_COMMON_H
#define GST_FENWICK_COMMON_H

#include <gst/gst.h>
#include <gst/base/gstbasetransform.h>

#include "fw.h"
#include "gstfenwickcaps.h"
#include "gstfenwickreset.h"

G_BEGIN_DECLS

#define GST_FENWICK_AUTHOR "The Fenwick authors"

/* Ids of the properties that all elements share; an element's own begin at
 * LAST. */
enum
{
  GST_FENWICK_PROP_0,
  GST_FENWICK_PROP_WEIGHTS,
  GST_FENWICK_PROP_PRESET,
  GST_FENWICK_PROP_DEVICE,
  GST_FENWICK_PROP_DEVICE_IN_USE,
  GST_FENWICK_PROP_PRECISION,
  GST_FENWICK_PROP_THREADS,
  GST_FENWICK_PROP_MEMORY_LIMIT,
  GST_FENWICK_PROP_STATS,
  GST_FENWICK_PROP_RESET_ON_DISCONT,
  GST_FENWICK_PROP_RESET_ON_KEY_UNIT,
  GST_FENWICK_PROP_CG_TOLERANCE,
  GST_FENWICK_PROP_CG_ITERATIONS,
  GST_FENWICK_PROP_CHECK_LATENT_ID,
  GST_FENWICK_PROP_LAST
};

typedef struct
{
  gchar *weights;
  gchar *preset;
  gchar *device;
  enum fw_precision precision;
  gint threads;
  guint64 memory_limit;
  gboolean reset_on_discont;
  gboolean reset_on_key_unit;
  gdouble cg_tolerance;
  guint cg_iterations;
  gboolean check_latent_id;
} GstFenwickSettings;

/* What the stats property shows of the frames since the element started. */
typedef struct
{
  guint64 frames, resets;
  struct kn_mesa_stats mesa;
  gint live_states;
  guint64 state_bytes;
  GstClockTime last, sum;       /* time of the last frame, of all */
} GstFenwickTotals;

/*
 * What all elements have in common: settings, the open model, the plan and
 * stream of the negotiated size, the errors and the figures. Embedded in each
 * element.
 *
 * Locking: settings, model and totals under the element's object lock; plan
 * and stream belong to the streaming thread.
 */
typedef struct
{
  GstElement *element;
  unsigned parts;               /* of enum fw_parts */
  GQuark run_domain;            /* of an error in the middle of a stream */
  gint run_code;

  GstFenwickSettings settings;
  struct fw_model *model;       /* between start and stop */
  GstFenwickTotals totals;
  GstFenwickTotals before;      /* the part of totals of earlier streams */

  struct fw_plan *plan;
  struct fw_plan_params params; /* of plan */
  struct fw_stream *stream;
  gfloat cg_tolerance;          /* as the stream has them */
  guint cg_iterations;
  gpointer aligned;             /* a copy of input that lies badly, or NULL */
  gsize aligned_size;

  GstFenwickReset reset;
  gint failed;                  /* atomic: an error is posted already */
} GstFenwickCommon;

GType gst_fenwick_precision_get_type (void);
#define GST_TYPE_FENWICK_PRECISION (gst_fenwick_precision_get_type ())

/* Installs the properties of an element that does these parts. */
void gst_fenwick_common_class_init (GObjectClass * klass, unsigned parts);
void gst_fenwick_common_init (GstFenwickCommon * common, GstElement * element,
    unsigned parts, GQuark run_domain, gint run_code);
void gst_fenwick_common_clear (GstFenwickCommon * common);

void gst_fenwick_common_set_property (GstFenwickCommon * common, guint id,
    const GValue * value, GParamSpec * pspec);
void gst_fenwick_common_get_property (GstFenwickCommon * common, guint id,
    GValue * value, GParamSpec * pspec);

/*
 * The element's change_state: opens the model before the base class hears of
 * READY to PAUSED (base classes add an error of their own when start fails),
 * and lets go of everything after PAUSED to READY.
 */
GstStateChangeReturn gst_fenwick_common_change_state (GstFenwickCommon *
    common, GstElementClass * parent, GstStateChange transition);

/*
 * Prepares for these sizes and formats; parts, frames and memory_limit are
 * filled in. What survives a frame stays unless the size of the picture is
 * another one: a new pixel format is no reason to forget. Posts the error and
 * returns FALSE on failure.
 */
gboolean gst_fenwick_common_configure (GstFenwickCommon * common,
    struct fw_plan_params *params);
/* Checks latents caps against the open weights: channels, size, latent-id. */
gboolean gst_fenwick_common_check_latents (GstFenwickCommon * common,
    const GstFenwickLatents * latents);

/*
 * Runs a frame: buffer is the input, asked for flags and times, in and out are
 * for fw_stream_run(). fresh says whether memory was empty. Posts the error
 * and returns GST_FLOW_ERROR on failure.
 */
GstFlowReturn gst_fenwick_common_run (GstFenwickCommon * common,
    GstBuffer * buffer, GstFenwickResetFlags flags, gconstpointer in,
    gpointer out, gboolean * fresh);
/* Runs a frame that the base class drops because it is late, for the memory's
 * sake. Returns GST_BASE_TRANSFORM_FLOW_DROPPED, or the failure. */
GstFlowReturn gst_fenwick_common_run_late (GstBaseTransform * trans,
    GstBuffer * input);
/* Latents that came in at data, where vector instructions can read them. */
gconstpointer gst_fenwick_common_align (GstFenwickCommon * common,
    gconstpointer data, gsize size);

/* Maps a picture after checking that the buffer holds one. Posts the error and
 * returns FALSE on failure. */
gboolean gst_fenwick_common_map_video (GstFenwickCommon * common,
    GstVideoFrame * frame, const GstVideoInfo * info, GstBuffer * buffer,
    GstMapFlags flags);
/* Maps latents of size bytes, likewise. */
gboolean gst_fenwick_common_map_latents (GstFenwickCommon * common,
    GstMapInfo * map, gsize size, GstBuffer * buffer, GstMapFlags flags);
/* Data without caps: posts the error, returns GST_FLOW_NOT_NEGOTIATED. */
GstFlowReturn gst_fenwick_common_no_caps (GstFenwickCommon * common);
/* Caps that found no way through: posts the error unless pad is flushing. */
void gst_fenwick_common_refused (GstFenwickCommon * common, GstPad * pad,
    const GstCaps * offer);

/* TRUE for the first failure since the element started, flushed or accepted
 * caps: one failure, one error on the bus. */
gboolean gst_fenwick_common_fail (GstFenwickCommon * common);
gboolean gst_fenwick_common_failed (GstFenwickCommon * common);
/* To be called with each event on the sink pad before the base class. */
void gst_fenwick_common_sink_event (GstFenwickCommon * common,
    GstEvent * event);

#define GST_FENWICK_ERROR(common, domain, code, text, debug) \
G_STMT_START { \
  if (gst_fenwick_common_fail (common)) \
    GST_ELEMENT_ERROR ((common)->element, domain, code, text, debug); \
} G_STMT_END

G_END_DECLS

#endif
