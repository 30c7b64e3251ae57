/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame.h"

#include <string.h>

#include "timer.h"

/* Packed RGB on both sides, the cheapest format to convert. */
static struct kn_video rgb_video(int width, int height) {
    struct kn_video v = {
        .width = width, .height = height, .components = 3, .sample_bytes = 1, .depth = 8};
    for (guint8 c = 0; c < 3; c++)
        v.component[c] = (struct kn_component){.offset_bytes = c, .step_bytes = 3};
    kn_video_set_rgb(&v, 0, 255);
    return v;
}

gboolean bench_frame_open(struct bench_frame *b, const char *weights, const char *preset,
                          const char *precision, GError **error) {
    struct fw_model_params model = {.weights = weights, .preset = preset, .device = "cpu"};
    model.precision = precision && strcmp(precision, "bfloat16") == 0 ? FW_PRECISION_BFLOAT16
                                                                      : FW_PRECISION_FLOAT32;
    struct fw_plan_params plan = {.parts = FW_FILTER, .frames = 1};
    plan.width = b->width;
    plan.height = b->height;
    plan.video_in = plan.video_out = rgb_video(b->width, b->height);
    if (!(b->model = fw_model_open(&model, error)) ||
        !(b->plan = fw_plan_new(b->model, &plan, error)) ||
        !(b->stream = fw_stream_new(b->plan, error)))
        return FALSE;
    b->bytes = (gsize)b->width * (gsize)b->height * 3;
    b->in = g_malloc(b->bytes);
    b->out = g_malloc0(b->bytes);
    GRand *rand = g_rand_new_with_seed(1);
    for (gsize i = 0; i < b->bytes; i++)
        b->in[i] = (guint8)g_rand_int_range(rand, 0, 256);
    g_rand_free(rand);
    return TRUE;
}

void bench_frame_close(struct bench_frame *b) {
    fw_stream_free(b->stream);
    fw_plan_unref(b->plan);
    fw_model_unref(b->model);
    g_free(b->in);
    g_free(b->out);
}

gboolean bench_frame_run(struct bench_frame *b, double *ms, GError **error) {
    struct kn_picture in = {{b->in}, {b->width * 3}}, out = {{b->out}, {b->width * 3}};
    double start = bench_now_ms();
    gboolean ok = fw_stream_run(b->stream, b->plan, &in, &out, error);
    *ms = bench_now_ms() - start;
    return ok;
}

char *bench_frame_title(const struct bench_frame *b) {
    gboolean half = fw_model_precision(b->model) == FW_PRECISION_BFLOAT16;
    return g_strdup_printf("preset %s precision %s size %dx%d",
                           fw_config_name(fw_weights_config(fw_model_weights(b->model))),
                           half ? "bfloat16" : "float32", b->width, b->height);
}
