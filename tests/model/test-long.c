/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams that do not end: memory and values after a hundred thousand frames. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

#define SIZE 8
#define STEPS 100000
#define LONGEST 65536
#define SCENE 256 /* frames, repeated */

/* Resident memory of the process in KiB. */
static gint64 resident(void) {
    char *text = NULL;
    long pages = 0;
    ck_assert(g_file_get_contents("/proc/self/statm", &text, NULL, NULL));
    ck_assert_int_eq(sscanf(text, "%*d %ld", &pages), 1);
    g_free(text);
    return pages * 4;
}

/* Encoder and model on one thread: a team for 64 pixels would only wait for each other. */
static struct test_net open_long(const char *path, int size) {
    struct fw_model_params model = {
        .weights = path, .device = "cpu", .precision = FW_PRECISION_FLOAT32, .threads = 1};
    struct fw_plan_params plan = {.parts = FW_ENCODER | FW_MODEL,
                                  .width = size,
                                  .height = size,
                                  .frames = 1,
                                  .video_in = test_video(size, size, 1)};
    return test_open_plan(&model, &plan);
}

static char *long_weights(void) {
    struct fw_config config = {16, 4, 64, 4, 1, 12, {8, "M"}, {8, "S"}};
    return test_weights(&config, 1, "long.safetensors");
}

START_TEST(a_hundred_thousand_frames) {
    char *path = long_weights();
    struct test_net net = open_long(path, SIZE);
    gsize values = test_out_bytes(&net) / sizeof(float);
    guint8 *scene = test_scene(SIZE, SIZE, SCENE, 1);
    float *out = g_new(float, values);
    struct fw_stream_stats stats;
    GError *error = NULL;
    gint64 before = 0, start = g_get_monotonic_time();
    double largest = 0;

    fw_stream_set_cg(net.stream, 1e-3f, 30);
    for (int t = 0; t < STEPS; t++) {
        struct kn_picture in = {{scene + (gsize)(t % SCENE) * SIZE * SIZE * 3}, {SIZE * 3}};
        if (!fw_stream_run(net.stream, net.plan, &in, out, &error))
            ck_abort_msg("frame %d: %s", t, error->message);
        for (gsize i = 0; i < values; i++)
            if (!(fabsf(out[i]) < 100))
                ck_abort_msg("frame %d: value %zu is %g", t, i, (double)out[i]);
            else
                largest = fmax(largest, fabs((double)out[i]));
        if (t == 4999)
            before = resident();
    }
    gint64 grown = resident() - before;
    fw_stream_stats(net.stream, &stats);
    printf("%d frames in %.1f s, largest value %.2f, memory grew by %d KiB, %d states live, "
           "%.2f iterations a row, %d capped\n",
           STEPS, (double)(g_get_monotonic_time() - start) * 1e-6, largest, (int)grown,
           stats.live_states, (double)stats.mesa.iterations / (double)MAX(stats.mesa.rows, 1),
           (int)stats.mesa.capped);
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
    ck_assert_msg(grown < 256, "grew by %d KiB", (int)grown);
#endif
    ck_assert_uint_eq(stats.frames, STEPS);
    ck_assert_int_eq(stats.live_states, kn_fenwick_live(STEPS - 1, 12));
    ck_assert_uint_eq(stats.mesa.capped, 0);
    g_free(out);
    g_free(scene);
    test_close(&net);
    g_free(path);
}
END_TEST

/* The longest clip there is, against as many single frames. */
START_TEST(the_longest_clip) {
    char *path = long_weights();
    struct test_net net = open_long(path, 1);
    struct fw_plan_params params = net.params;
    guint8 *scene = test_scene(1, 1, LONGEST, 3);
    gsize bytes = test_out_bytes(&net);
    float *clip = g_malloc0(LONGEST * bytes), *step = g_malloc0(LONGEST * bytes);
    GError *error = NULL;
    params.frames = LONGEST;
    struct fw_plan *plan = fw_plan_new(net.model, &params, &error);
    ck_ok(plan, error);
    struct fw_stream *stream = fw_stream_new(plan, &error);
    ck_ok(stream, error);
    fw_stream_set_cg(stream, 1e-6f, 1000);
    gint64 start = g_get_monotonic_time(), middle;
    test_run(&net, stream, plan, scene, clip, LONGEST);
    middle = g_get_monotonic_time();
    test_run(&net, net.stream, net.plan, scene, step, LONGEST);
    double apart = test_difference(clip, step, LONGEST * bytes / sizeof(float));
    printf("%d frames: clip %.1f s, single %.1f s, difference %.1e\n", LONGEST,
           (double)(middle - start) * 1e-6, (double)(g_get_monotonic_time() - middle) * 1e-6,
           apart);
    ck_assert_msg(apart <= 1e-5, "%g", apart);
    g_free(step);
    g_free(clip);
    g_free(scene);
    fw_stream_free(stream);
    fw_plan_unref(plan);
    test_close(&net);
    g_free(path);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("long");
    TCase *tests = tcase_create("long");
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, a_hundred_thousand_frames);
    tcase_add_test(tests, the_longest_clip);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
