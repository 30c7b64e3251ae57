/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_RESET_H
#define GST_FENWICK_RESET_H

#include <gst/gst.h>

G_BEGIN_DECLS

/*
 * When the network must forget. All elements ask the same questions of the
 * same data - events, and flags and times of the buffers that come in - so
 * that enc ! model ! dec forgets at exactly the frames at which the filter
 * does.
 *
 * Thread-safety: any thread; frames and serialized events from the streaming
 * thread.
 */
typedef struct
{
  GMutex lock;
  gboolean pending;             /* the next frame begins with empty memory */
  gchar *stream_id;             /* of the last STREAM_START, or NULL */
  GstSegment segment;           /* format UNDEFINED: none yet */
  GstClockTime expected;        /* when the frame after the last is due */
  gboolean seen_delta;          /* upstream marks frames that go on */
  GQueue key_units;             /* running times, GstClockTime * */
  GstClockTime last_reset;      /* running time of the last reset, or NONE */
} GstFenwickReset;

void gst_fenwick_reset_init (GstFenwickReset * reset);
void gst_fenwick_reset_clear (GstFenwickReset * reset);
/* Back to the state after init: the element starts or stops. */
void gst_fenwick_reset_start (GstFenwickReset * reset);

/* The next frame begins with empty memory. */
void gst_fenwick_reset_now (GstFenwickReset * reset);
/* Looks at an event that came in on the sink pad. */
void gst_fenwick_reset_sink_event (GstFenwickReset * reset, GstEvent * event);
/* Looks at an event from downstream; FALSE when it asks for nothing. */
gboolean gst_fenwick_reset_src_event (GstFenwickReset * reset,
    GstEvent * event);

typedef enum
{
  GST_FENWICK_RESET_ON_DISCONT = 1 << 0,
  GST_FENWICK_RESET_ON_KEY_UNIT = 1 << 1,
  GST_FENWICK_RESET_LATENTS = 1 << 2, /* DELTA_UNIT speaks of the encoder */
  GST_FENWICK_RESET_FORCED = 1 << 3,  /* the base class asks for a key unit */
} GstFenwickResetFlags;

/* To be asked once for each frame, in order: whether memory is empty when this
 * frame begins. */
gboolean gst_fenwick_reset_frame (GstFenwickReset * reset,
    GstBuffer * buffer, GstFenwickResetFlags flags);

G_END_DECLS

#endif
