/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams that do not end: memory and values after a hundred thousand frames. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common.h"

#define SIZE 8
#define STEPS 100000
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

START_TEST(a_hundred_thousand_frames) {
    struct fw_config config = {16, 4, 64, 4, 1, 12, {8, "M"}, {8, "S"}};
    char *path = test_weights(&config, 1, "long.safetensors");
    /* One thread: a team for a frame of 64 pixels would only wait for each other. */
    struct fw_model_params model = {
        .weights = path, .device = "cpu", .precision = FW_PRECISION_FLOAT32, .threads = 1};
    struct fw_plan_params plan = {.parts = FW_ENCODER | FW_MODEL,
                                  .width = SIZE,
                                  .height = SIZE,
                                  .frames = 1,
                                  .video_in = test_video(SIZE, SIZE, 1)};
    struct test_net net = test_open_plan(&model, &plan);
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
    ck_assert_msg(grown < 256, "grew by %d KiB", (int)grown);
    ck_assert_uint_eq(stats.frames, STEPS);
    ck_assert_int_eq(stats.live_states, kn_fenwick_live(STEPS - 1, 12));
    ck_assert_uint_eq(stats.mesa.capped, 0);
    g_free(out);
    g_free(scene);
    test_close(&net);
    g_free(path);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("long");
    TCase *tests = tcase_create("long");
    tcase_set_timeout(tests, 600);
    tcase_add_test(tests, a_hundred_thousand_frames);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
