/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A filter of packed RGB frames of noise through the bare model: what the benchmarks call. */
#ifndef BENCH_FRAME_H
#define BENCH_FRAME_H

#include "fw.h"

struct bench_frame {
    struct fw_model *model;
    struct fw_plan *plan;
    struct fw_stream *stream;
    int width, height;
    gsize bytes;
    guint8 *in, *out;
};

/*
 * weights and preset as in fw_model_params; precision NULL means float32. Close also after a
 * failure.
 */
gboolean bench_frame_open(struct bench_frame *b, const char *weights, const char *preset,
                          const char *precision, GError **error);
void bench_frame_close(struct bench_frame *b);
/* One frame; ms receives its wall time. */
gboolean bench_frame_run(struct bench_frame *b, double *ms, GError **error);
/*
 * "preset thin precision float32 size 640x480": how every line of results starts. Free with
 * g_free().
 */
char *bench_frame_title(const struct bench_frame *b);

#endif
