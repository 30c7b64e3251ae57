/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "common.h"

#include <glib/gstdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rng.h"

const char *const test_devices[2] = {"ref", "cpu"};

void test_refused(gboolean failed, GError **error, enum fw_error code, const char *what) {
    ck_assert_msg(failed, "%s: was accepted", what);
    ck_assert_msg(*error != NULL, "%s: no error was set", what);
    ck_assert_msg((*error)->domain == FW_ERROR && (*error)->code == (gint)code,
                  "%s: code %d, not %d: %s", what, (*error)->code, (int)code, (*error)->message);
    gsize length = strlen((*error)->message);
    ck_assert_msg(length > 0 && length < 600 && !strchr((*error)->message, '\n'),
                  "%s: not a one-line message: %s", what, (*error)->message);
    g_clear_error(error);
}

/* --------------------------------------------------------------------------------------- files */

static char *folder;
static pid_t owner; /* tests are processes that share what was made before them */

static void remove_folder(void) {
    if (getpid() != owner)
        return;
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        char *path = g_build_filename(folder, name, NULL);
        g_remove(path);
        g_free(path);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(folder);
    g_free(folder);
}

char *test_path(const char *name) {
    if (!folder) {
        folder = g_dir_make_tmp("fenwick-test-XXXXXX", NULL);
        ck_assert_ptr_nonnull(folder);
        owner = getpid();
        atexit(remove_folder);
    }
    return g_build_filename(folder, name, NULL);
}

struct fw_config test_config(void) {
    return (struct fw_config){16, 2, 64, 2, 1, 4, {16, "MS2"}, {16, "SM2"}};
}

char *test_weights(const struct fw_config *config, guint64 seed, const char *name) {
    GError *error = NULL;
    char *path = test_path(name);
    struct fw_weights *weights = fw_weights_new(config, FW_INIT_RANDOM, seed, &error);
    ck_ok(weights, error);
    ck_ok(fw_weights_save(weights, path, FALSE, &error), error);
    fw_weights_unref(weights);
    return path;
}

/* ----------------------------------------------------------------------------------------- net */

struct kn_video test_video(int width, int height, int sample_bytes) {
    struct kn_video video = {.width = width,
                             .height = height,
                             .components = 3,
                             .sample_bytes = (uint8_t)sample_bytes,
                             .depth = (uint8_t)(8 * sample_bytes)};
    for (int c = 0; c < 3; c++)
        video.component[c] =
            (struct kn_component){0, (uint8_t)(c * sample_bytes), (uint8_t)(3 * sample_bytes), 0};
    kn_video_set_rgb(&video, 0, sample_bytes == 1 ? 255 : 65535);
    return video;
}

struct test_net test_open_plan(const struct fw_model_params *model,
                               const struct fw_plan_params *plan) {
    struct test_net net = {.params = *plan};
    GError *error = NULL;
    net.model = fw_model_open(model, &error);
    ck_ok(net.model, error);
    net.plan = fw_plan_new(net.model, plan, &error);
    ck_ok(net.plan, error);
    net.stream = fw_stream_new(net.plan, &error);
    ck_ok(net.stream, error);
    /* Forms are compared with each other and with a direct solution. */
    fw_stream_set_cg(net.stream, 1e-6f, 1000);
    fw_plan_latents(net.plan, &net.latents);
    return net;
}

struct test_net test_open(const char *path, const char *device, enum fw_precision precision,
                          unsigned parts, int width, int height, int frames) {
    struct fw_model_params model = {.weights = path, .device = device, .precision = precision};
    struct fw_plan_params plan = {.parts = parts,
                                  .width = width,
                                  .height = height,
                                  .frames = frames,
                                  .video_in = test_video(width, height, 1),
                                  .video_out = test_video(width, height, 1)};
    return test_open_plan(&model, &plan);
}

void test_close(struct test_net *net) {
    fw_stream_free(net->stream);
    fw_plan_unref(net->plan);
    fw_model_unref(net->model);
}

static gsize picture_bytes(const struct kn_video *video) {
    return (gsize)video->width * (gsize)video->height * 3 * video->sample_bytes;
}

static gsize latent_bytes(const struct fw_latents *l, enum kn_dtype dtype) {
    return (gsize)l->width * (gsize)l->height * (gsize)l->channels * kn_dtype_bytes(dtype);
}

gsize test_in_bytes(const struct test_net *net) {
    return net->params.parts & FW_ENCODER ? picture_bytes(&net->params.video_in)
                                          : latent_bytes(&net->latents, net->params.latents_in);
}

gsize test_out_bytes(const struct test_net *net) {
    return net->params.parts & FW_DECODER ? picture_bytes(&net->params.video_out)
                                          : latent_bytes(&net->latents, net->params.latents_out);
}

static void point(struct kn_picture *picture, const struct kn_video *video, const void *at) {
    memset(picture, 0, sizeof *picture);
    picture->plane[0] = (void *)at;
    picture->stride_bytes[0] = video->width * 3 * video->sample_bytes;
}

void test_run(struct test_net *net, struct fw_stream *stream, struct fw_plan *plan, const void *in,
              void *out, int frames) {
    int each = fw_plan_frames(plan);
    struct kn_picture *from = g_new(struct kn_picture, each),
                      *into = g_new(struct kn_picture, each);
    gsize in_bytes = test_in_bytes(net), out_bytes = test_out_bytes(net);
    GError *error = NULL;

    ck_assert_int_eq(frames % each, 0);
    for (int t = 0; t < frames; t += each) {
        const char *a = (const char *)in + (gsize)t * in_bytes;
        char *b = (char *)out + (gsize)t * out_bytes;
        for (int i = 0; i < each; i++) {
            point(&from[i], &net->params.video_in, a + (gsize)i * in_bytes);
            point(&into[i], &net->params.video_out, b + (gsize)i * out_bytes);
        }
        ck_ok(fw_stream_run(stream, plan, net->params.parts & FW_ENCODER ? (const void *)from : a,
                            net->params.parts & FW_DECODER ? (void *)into : b, &error),
              error);
    }
    g_free(into);
    g_free(from);
}

/* -------------------------------------------------------------------------------------- values */

guint8 *test_scene(int width, int height, int frames, guint64 seed) {
    guint8 *scene = g_malloc((gsize)width * (gsize)height * (gsize)frames * 3), *at = scene;
    guint64 key = fw_rng_key(seed, 0), n = 0;
    for (int t = 0; t < frames; t++)
        for (int y = 0; y < height; y++)
            for (int x = 0; x < width; x++)
                for (int c = 0; c < 3; c++, n++) {
                    double ramp = 127 + 60 * sin(0.3 * x + 0.2 * t + 2 * c) + 40 * cos(0.4 * y - t);
                    *at++ = (guint8)CLAMP(ramp + 12 * fw_rng_normal(key, n), 0, 255);
                }
    return scene;
}

double test_difference(const float *a, const float *b, gsize count) {
    double worst = 0, scale = 0;
    for (gsize i = 0; i < count; i++) {
        if (!isfinite(a[i]) || !isfinite(b[i]))
            return NAN;
        worst = fmax(worst, fabs((double)a[i] - (double)b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return scale > 0 ? worst / scale : NAN;
}

int test_main(Suite *suite) {
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
