/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Runs the whole network over raw frames, for comparison with another implementation of it.
 *
 *   run-network WEIGHTS IN.rgb OUT.f32 WIDTH HEIGHT [DEVICE [FRAMES [PRECISION]]]
 *
 * IN holds packed 8 bit RGB frames, OUT gets float32 RGB in 0..1, read from 16 bit codes, so that
 * differences far below one of 255 show. FRAMES are run at a time (1).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fw.h"

struct job {
    struct fw_plan_params params;
    struct fw_model *model;
    struct fw_plan *plan;
    struct fw_stream *stream;
};

static struct kn_video packed_rgb(int width, int height, int bytes) {
    struct kn_video video = {.width = width,
                             .height = height,
                             .components = 3,
                             .sample_bytes = (uint8_t)bytes,
                             .depth = (uint8_t)(8 * bytes)};
    for (int c = 0; c < 3; c++)
        video.component[c] =
            (struct kn_component){0, (uint8_t)(c * bytes), (uint8_t)(3 * bytes), 0};
    kn_video_set_rgb(&video, 0, bytes == 1 ? 255 : 65535);
    return video;
}

static gboolean prepare(struct job *job, char **argv, int argc, GError **error) {
    struct fw_model_params model = {.weights = argv[1],
                                    .device = argc > 6 ? argv[6] : "cpu",
                                    .precision = FW_PRECISION_FLOAT32};
    int width = atoi(argv[4]), height = atoi(argv[5]);
    if (argc > 8 && strcmp(argv[8], "bfloat16") == 0)
        model.precision = FW_PRECISION_BFLOAT16;
    job->params = (struct fw_plan_params){.parts = FW_FILTER,
                                          .width = width,
                                          .height = height,
                                          .frames = argc > 7 ? atoi(argv[7]) : 1,
                                          .video_in = packed_rgb(width, height, 1),
                                          .video_out = packed_rgb(width, height, 2)};
    job->model = fw_model_open(&model, error);
    job->plan = job->model ? fw_plan_new(job->model, &job->params, error) : NULL;
    job->stream = job->plan ? fw_stream_new(job->plan, error) : NULL;
    if (job->stream)
        fw_stream_set_cg(job->stream, 1e-6f, 1000);
    return job->stream != NULL;
}

static gboolean run(struct job *job, const guchar *in, gsize frames, FILE *to, GError **error) {
    gsize values = (gsize)job->params.width * (gsize)job->params.height * 3;
    gsize each = (gsize)job->params.frames;
    struct kn_picture *from = g_new0(struct kn_picture, each),
                      *into = g_new0(struct kn_picture, each);
    guint16 *codes = g_new(guint16, values * each);
    gboolean ok = TRUE;

    for (gsize t = 0; ok && t + each <= frames; t += each) {
        for (gsize i = 0; i < each; i++) {
            from[i].plane[0] = (void *)(in + (t + i) * values);
            from[i].stride_bytes[0] = job->params.width * 3;
            into[i].plane[0] = codes + i * values;
            into[i].stride_bytes[0] = job->params.width * 6;
        }
        ok = fw_stream_run(job->stream, job->plan, from, into, error);
        for (gsize i = 0; ok && i < values * each; i++) {
            float value = (float)codes[i] / 65535;
            ok = fwrite(&value, sizeof value, 1, to) == 1;
        }
    }
    g_free(codes);
    g_free(into);
    g_free(from);
    return ok;
}

int main(int argc, char **argv) {
    struct job job = {0};
    GError *error = NULL;
    char *in = NULL;
    gsize length = 0;
    FILE *to = NULL;
    gboolean ok = FALSE;

    if (argc < 6 || argc > 9) {
        fprintf(stderr, "usage: run-network WEIGHTS IN.rgb OUT.f32 WIDTH HEIGHT "
                        "[DEVICE [FRAMES [PRECISION]]]\n");
        return 2;
    }
    if (prepare(&job, argv, argc, &error) && g_file_get_contents(argv[2], &in, &length, &error)) {
        gsize size = (gsize)job.params.width * (gsize)job.params.height * 3;
        to = fopen(argv[3], "wbe");
        ok = to && run(&job, (const guchar *)in, length / size, to, &error);
        ok = to && fclose(to) == 0 && ok;
    }
    if (!ok)
        fprintf(stderr, "run-network: %s\n", error ? error->message : "cannot write");
    g_clear_error(&error);
    g_free(in);
    fw_stream_free(job.stream);
    fw_plan_unref(job.plan);
    fw_model_unref(job.model);
    return ok ? 0 : 1;
}
