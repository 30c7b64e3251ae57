/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the element costs besides the network: frames through appsrc ! fenwickfilter ! fakesink
 * against bare fw_stream_run() calls on the same frames, in turn in one run.
 *
 *   bench-element [--weights FILE | --preset NAME] [--precision float32|bfloat16] [--size WxH]
 *                 [--frames N]
 */
#include <gst/gst.h>
#include <stdio.h>

#include "frame.h"
#include "timer.h"

#define ROUNDS 5

static char *weights, *preset, *precision, *size;
static gint frames = 20;

static const GOptionEntry options[] = {
    {"weights", 0, 0, G_OPTION_ARG_FILENAME, &weights, "weights file", "FILE"},
    {"preset", 0, 0, G_OPTION_ARG_STRING, &preset, "identity network (default thin)", "NAME"},
    {"precision", 0, 0, G_OPTION_ARG_STRING, &precision, "float32 (default) or bfloat16", "NAME"},
    {"size", 0, 0, G_OPTION_ARG_STRING, &size, "picture size (default 640x480)", "WxH"},
    {"frames", 0, 0, G_OPTION_ARG_INT, &frames, "frames a round (default 20)", "N"},
    {0},
};

/* The pipeline with the same network; appsrc blocks, so that one frame is in flight. */
static GstElement *make_pipeline(const struct bench_frame *b, GError **error) {
    char *line = g_strdup_printf(
        "appsrc name=src block=true max-buffers=1 format=time "
        "caps=video/x-raw,format=RGB,width=%d,height=%d,framerate=30/1 ! "
        "fenwickfilter name=filter device=cpu ! fakesink name=sink sync=false signal-handoffs=true",
        b->width, b->height);
    GstElement *pipeline = gst_parse_launch(line, error);
    g_free(line);
    if (!pipeline)
        return NULL;
    GstElement *filter = gst_bin_get_by_name(GST_BIN(pipeline), "filter");
    gst_util_set_object_arg(G_OBJECT(filter), "precision", precision ? precision : "float32");
    if (weights)
        g_object_set(filter, "weights", weights, NULL);
    if (preset)
        g_object_set(filter, "preset", preset, NULL);
    gst_object_unref(filter);
    return pipeline;
}

/* The sink's end of a frame. */
struct arrival {
    GMutex lock;
    GCond cond;
    int count;
};

static void on_handoff(GstElement *sink, GstBuffer *buffer, GstPad *pad, struct arrival *a) {
    g_mutex_lock(&a->lock);
    a->count++;
    g_cond_signal(&a->cond);
    g_mutex_unlock(&a->lock);
}

/* Pushes one frame and waits until the sink has its output. */
static gboolean push_frame(GstElement *src, GstBuffer *frame, struct arrival *a, double *ms) {
    GstFlowReturn flow;
    GstBuffer *buffer = gst_buffer_copy(frame);
    gint64 deadline = g_get_monotonic_time() + 60 * G_TIME_SPAN_SECOND;
    double start = bench_now_ms();
    g_mutex_lock(&a->lock);
    int before = a->count;
    g_signal_emit_by_name(src, "push-buffer", buffer, &flow);
    gboolean ok = flow == GST_FLOW_OK;
    while (ok && a->count == before)
        ok = g_cond_wait_until(&a->cond, &a->lock, deadline);
    g_mutex_unlock(&a->lock);
    *ms = bench_now_ms() - start;
    gst_buffer_unref(buffer);
    return ok;
}

static gboolean measure(struct bench_frame *b, GstElement *src, GstBuffer *frame, struct arrival *a,
                        GError **error) {
    double *bare = g_new(double, (gsize)(frames * ROUNDS));
    double *element = g_new(double, (gsize)(frames * ROUNDS)), warm;
    gboolean ok = push_frame(src, frame, a, &warm) && bench_frame_run(b, &warm, error);
    for (int i = 0; ok && i < frames * ROUNDS; i++)
        ok = bench_frame_run(b, &bare[i], error) && push_frame(src, frame, a, &element[i]);
    if (ok) {
        double call = bench_median(bare, frames * ROUNDS);
        double piped = bench_median(element, frames * ROUNDS);
        char *title = bench_frame_title(b);
        printf("%s element_ms %.3f call_ms %.3f overhead %.1f %%\n", title, piped, call,
               100 * (piped / call - 1));
        g_free(title);
    } else if (error && !*error) {
        g_set_error(error, FW_ERROR, FW_ERROR_FAILED, "the pipeline gave no frame");
    }
    g_free(bare);
    g_free(element);
    return ok;
}

static gboolean run(struct bench_frame *b, GError **error) {
    GstElement *pipeline = make_pipeline(b, error);
    if (!pipeline)
        return FALSE;
    struct arrival arrival = {.count = 0};
    GstElement *src = gst_bin_get_by_name(GST_BIN(pipeline), "src");
    GstElement *sink = gst_bin_get_by_name(GST_BIN(pipeline), "sink");
    GstBuffer *frame = gst_buffer_new_allocate(NULL, b->bytes, NULL);
    gst_buffer_fill(frame, 0, b->in, b->bytes);
    g_signal_connect(sink, "handoff", G_CALLBACK(on_handoff), &arrival);
    gst_element_set_state(pipeline, GST_STATE_PLAYING);
    gboolean ok = measure(b, src, frame, &arrival, error);
    gst_element_set_state(pipeline, GST_STATE_NULL);
    gst_buffer_unref(frame);
    gst_object_unref(src);
    gst_object_unref(sink);
    gst_object_unref(pipeline);
    return ok;
}

int main(int argc, char **argv) {
    GError *error = NULL;
    GOptionContext *context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, options, NULL);
    g_option_context_add_group(context, gst_init_get_option_group());
    struct bench_frame b = {.width = 640, .height = 480};
    gboolean ok = g_option_context_parse(context, &argc, &argv, &error);
    g_option_context_free(context);
    if (!ok || argc > 1 || frames < 1 ||
        (size && sscanf(size, "%dx%d", &b.width, &b.height) != 2)) {
        fprintf(stderr, "bench-element: %s\n",
                error ? error->message : "bad arguments, see --help");
        return 2;
    }
    ok = bench_frame_open(&b, weights, preset, precision, &error) && run(&b, &error);
    if (error)
        fprintf(stderr, "bench-element: %s\n", error->message);
    g_clear_error(&error);
    bench_frame_close(&b);
    return ok ? 0 : 1;
}
