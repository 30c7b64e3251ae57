/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Watches a filter element: counts frames, times them and compares what comes out with what went
 * in, before any encoder has touched it. */
#ifndef FENWICK_MEASURE_H
#define FENWICK_MEASURE_H

#include <gst/video/video.h>

G_BEGIN_DECLS

typedef struct _Measure Measure;

typedef struct
{
  guint64 frames;         /* that came out */
  gdouble seconds;        /* from the first frame in to the last frame out */
  gdouble filter_seconds; /* sum over frames of the time between in and out */
  GstVideoInfo info;      /* of the last frame that came out */
  gboolean compared;      /* FALSE when format or size changed inside the filter */
  gdouble psnr;           /* dB over all samples but alpha; infinite when equal */
  gdouble largest;        /* largest difference of one sample, in code values */
} MeasureResult;

/* Watches the pads "sink" and "src" of filter. */
Measure *measure_new (GstElement *filter);
void measure_free (Measure *measure);

/* From any thread, at any time. */
guint64 measure_frames (Measure *measure);
GstClockTime measure_position (Measure *measure);

/* After the pipeline has stopped. */
void measure_result (Measure *measure, MeasureResult *result);
/* One frame as it went in and as it came out; FALSE when there was none. Unref both. */
gboolean measure_pair (Measure *measure, GstSample **in, GstSample **out);

G_END_DECLS

#endif
