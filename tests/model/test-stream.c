/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams and the sharing of models: who keeps what, and who does not. */
#include <glib/gstdio.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

#define WIDTH 20
#define HEIGHT 12
#define FRAMES 24

static char *small;
static guint8 *scene[2];
static const gsize frame_bytes = WIDTH * HEIGHT * 3;

static void setup(void) {
    struct fw_config config = test_config();
    small = test_weights(&config, 21, "small.safetensors");
    for (guint64 i = 0; i < 2; i++)
        scene[i] = test_scene(WIDTH, HEIGHT, FRAMES, i);
}

static void teardown(void) {
    g_free(small);
    g_free(scene[0]);
    g_free(scene[1]);
}

static struct test_net open_filter(const char *device) {
    return test_open(small, device, FW_PRECISION_FLOAT32, FW_FILTER, WIDTH, HEIGHT, 1);
}

static struct fw_stream *new_stream(struct test_net *net) {
    GError *error = NULL;
    struct fw_stream *stream = fw_stream_new(net->plan, &error);
    ck_ok(stream, error);
    fw_stream_set_cg(stream, 1e-6f,
                     1000); /* as test_open() does: results are compared bit by bit */
    return stream;
}

/* All frames of a scene through a fresh stream. */
static guint8 *alone(struct test_net *net, int which) {
    struct fw_stream *stream = new_stream(net);
    guint8 *out = g_malloc0(FRAMES * frame_bytes);
    test_run(net, stream, net->plan, scene[which], out, FRAMES);
    fw_stream_free(stream);
    return out;
}

/* ------------------------------------------------------------------------------- independence */

START_TEST(streams_do_not_touch_each_other) {
    struct test_net net = open_filter(test_devices[_i]);
    struct fw_stream *stream[2] = {new_stream(&net), new_stream(&net)};
    guint8 *want[2] = {alone(&net, 0), alone(&net, 1)}, *got[2];
    for (int s = 0; s < 2; s++)
        got[s] = g_malloc0(FRAMES * frame_bytes);
    for (int t = 0; t < FRAMES; t++)
        for (int s = 0; s < 2; s++)
            test_run(&net, stream[s], net.plan, scene[s] + (gsize)t * frame_bytes,
                     got[s] + (gsize)t * frame_bytes, 1);
    for (int s = 0; s < 2; s++) {
        ck_assert_mem_eq(got[s], want[s], FRAMES * frame_bytes);
        fw_stream_free(stream[s]);
        g_free(got[s]);
        g_free(want[s]);
    }
    test_close(&net);
}
END_TEST

struct worker {
    struct test_net *net;
    int which;
    guint8 *out;
};

static gpointer work(gpointer user) {
    struct worker *w = user;
    struct fw_model_params params = {
        .weights = small, .device = "cpu", .precision = FW_PRECISION_FLOAT32};
    for (int i = 0; i < 3; i++) { /* the sharing is under way at the same time */
        struct fw_model *model = fw_model_open(&params, NULL);
        g_free(w->out);
        w->out = alone(w->net, w->which);
        fw_model_unref(model);
    }
    return NULL;
}

START_TEST(threads_do_not_touch_each_other) {
    struct test_net net = open_filter("cpu");
    guint8 *want[2] = {alone(&net, 0), alone(&net, 1)};
    struct worker worker[4];
    GThread *thread[4];
    for (int i = 0; i < 4; i++) {
        worker[i] = (struct worker){&net, i % 2, NULL};
        thread[i] = g_thread_new("worker", work, &worker[i]);
    }
    for (int i = 0; i < 4; i++) {
        g_thread_join(thread[i]);
        ck_assert_mem_eq(worker[i].out, want[i % 2], FRAMES * frame_bytes);
        g_free(worker[i].out);
    }
    ck_assert_uint_eq(fw_model_users(net.model), 1);
    g_free(want[0]);
    g_free(want[1]);
    test_close(&net);
}
END_TEST

/* --------------------------------------------------------------------------------------- reset */

START_TEST(a_reset_forgets_everything) {
    struct test_net net = open_filter(test_devices[_i]);
    struct fw_stream *stream = new_stream(&net);
    struct fw_stream_stats stats;
    guint8 *want = alone(&net, 1), *got = g_malloc0(FRAMES * frame_bytes);
    test_run(&net, stream, net.plan, scene[0], got, 7);
    fw_stream_stats(stream, &stats);
    ck_assert(stats.frames == 7 && stats.frames_total == 7 && stats.resets == 0);
    ck_assert_int_eq(stats.live_states, kn_fenwick_live(6, 4));
    fw_stream_reset(stream);
    fw_stream_reset(stream); /* twice is once */
    fw_stream_stats(stream, &stats);
    ck_assert(stats.frames == 0 && stats.frames_total == 7 && stats.resets == 1);
    ck_assert_int_eq(stats.live_states, 0);
    test_run(&net, stream, net.plan, scene[1], got, FRAMES);
    ck_assert_mem_eq(got, want, FRAMES * frame_bytes);
    g_free(got);
    g_free(want);
    fw_stream_free(stream);
    test_close(&net);
}
END_TEST

START_TEST(a_reset_before_a_clip) {
    struct test_net net = open_filter(test_devices[_i]);
    struct fw_plan_params params = net.params;
    GError *error = NULL;
    params.frames = FRAMES;
    struct fw_plan *clip = fw_plan_new(net.model, &params, &error);
    ck_ok(clip, error);
    guint8 *want = g_malloc0(FRAMES * frame_bytes), *got = g_malloc0(FRAMES * frame_bytes);
    test_run(&net, net.stream, clip, scene[1], want, FRAMES);
    struct fw_stream *stream = new_stream(&net);
    test_run(&net, stream, net.plan, scene[0], got, 7);
    for (int i = 0; i < 2; i++) {
        fw_stream_reset(stream);
        test_run(&net, stream, clip, scene[1], got, FRAMES);
        ck_assert_mem_eq(got, want, FRAMES * frame_bytes);
    }
    g_free(got);
    g_free(want);
    fw_plan_unref(clip);
    fw_stream_free(stream);
    test_close(&net);
}
END_TEST

START_TEST(a_failed_run_resets) {
    struct test_net net = open_filter(test_devices[_i]);
    struct fw_stream *stream = new_stream(&net);
    guint8 *want = alone(&net, 1), *got = g_malloc0(FRAMES * frame_bytes);
    struct fw_stream_stats stats;
    GError *error = NULL;
    test_run(&net, stream, net.plan, scene[0], got, 5);
    gboolean ok = fw_stream_run(stream, net.plan, NULL, NULL, &error);
    test_refused(!ok, &error, FW_ERROR_ARGUMENT, "no pictures");
    fw_stream_stats(stream, &stats);
    ck_assert(stats.frames == 0 && stats.frames_total == 5 && stats.resets == 1);
    test_run(&net, stream, net.plan, scene[1], got, FRAMES);
    ck_assert_mem_eq(got, want, FRAMES * frame_bytes);
    g_free(got);
    g_free(want);
    fw_stream_free(stream);
    test_close(&net);
}
END_TEST

START_TEST(a_plan_of_something_else_is_refused) {
    struct test_net net = open_filter("ref");
    struct test_net other =
        test_open(small, "ref", FW_PRECISION_FLOAT32, FW_FILTER, WIDTH, HEIGHT + 1, 1);
    struct test_net low =
        test_open(small, "ref", FW_PRECISION_BFLOAT16, FW_FILTER, WIDTH, HEIGHT, 1);
    struct test_net part =
        test_open(small, "ref", FW_PRECISION_FLOAT32, FW_ENCODER | FW_MODEL, WIDTH, HEIGHT, 1);
    struct fw_plan *plans[] = {other.plan, low.plan, part.plan};
    for (gsize i = 0; i < G_N_ELEMENTS(plans); i++) {
        GError *error = NULL;
        gboolean ok = fw_stream_run(net.stream, plans[i], NULL, NULL, &error);
        test_refused(!ok, &error, FW_ERROR_ARGUMENT, "another plan");
    }
    test_close(&net);
    test_close(&other);
    test_close(&low);
    test_close(&part);
}
END_TEST

/* ---------------------------------------------------------------------------------------- mesa */

static guint64 mesa_iterations(float tolerance, guint most, struct kn_mesa_stats *mesa) {
    struct test_net net = open_filter("cpu");
    struct fw_stream_stats stats;
    guint8 *out = g_malloc0(FRAMES * frame_bytes);
    fw_stream_set_cg(net.stream, tolerance, most);
    test_run(&net, net.stream, net.plan, scene[0], out, FRAMES);
    fw_stream_stats(net.stream, &stats);
    g_free(out);
    *mesa = stats.mesa;
    /* 15 patches, 2 heads, 1 layer */
    ck_assert_uint_eq(stats.mesa.rows, FRAMES * 5 * 3 * 2);
    test_close(&net);
    return stats.mesa.iterations;
}

START_TEST(the_stopping_rule_reaches_the_device) {
    struct kn_mesa_stats loose, tight, capped;
    guint64 few = mesa_iterations(1e-2f, 100, &loose), many = mesa_iterations(1e-6f, 100, &tight);
    mesa_iterations(1e-6f, 1, &capped);
    printf("iterations a row: %.2f at 1e-2, %.2f at 1e-6\n", (double)few / (double)loose.rows,
           (double)many / (double)tight.rows);
    ck_assert_uint_lt(few, many);
    ck_assert_uint_eq(loose.capped + tight.capped, 0);
    ck_assert(loose.worst_residual <= 1e-2f && tight.worst_residual <= 1e-6f);
    ck_assert_uint_gt(capped.capped, 0);
    ck_assert_uint_eq(capped.max_iterations, 1);
}
END_TEST

/* ------------------------------------------------------------------------------------- sharing */

static struct fw_model *open_model(const char *path, const char *device,
                                   enum fw_precision precision) {
    struct fw_model_params params = {.weights = path, .device = device, .precision = precision};
    GError *error = NULL;
    struct fw_model *model = fw_model_open(&params, &error);
    ck_ok(model, error);
    return model;
}

START_TEST(a_file_is_loaded_once) {
    char *hard = test_path("hard.safetensors"), *soft = test_path("soft.safetensors");
    struct fw_model *a = open_model(small, "cpu", FW_PRECISION_FLOAT32);
    guint64 bytes = fw_model_weights_bytes(a);
    ck_assert_int_eq(link(small, hard), 0);
    ck_assert_int_eq(symlink(small, soft), 0);
    struct fw_model *b = open_model(hard, "cpu", FW_PRECISION_FLOAT32);
    struct fw_model *c = open_model(soft, "cpu", FW_PRECISION_FLOAT32);
    ck_assert(a == b && b == c);
    ck_assert_uint_eq(fw_model_users(a), 3);
    ck_assert_uint_eq(fw_model_weights_bytes(a), bytes);
    ck_assert(fw_model_ref(a) == a);
    ck_assert_uint_eq(fw_model_users(a), 4);
    fw_model_unref(a);
    fw_model_unref(b);
    fw_model_unref(c);
    ck_assert_uint_eq(fw_model_users(a), 1);
    struct fw_model *other = open_model(small, "ref", FW_PRECISION_FLOAT32);
    ck_assert(other != a && !fw_model_is_identity(other));
    ck_assert_str_eq(fw_model_device(a), "cpu");
    ck_assert_str_eq(fw_model_device(other), "ref");
    struct fw_model *low = open_model(small, "cpu", FW_PRECISION_BFLOAT16);
    ck_assert(low != a);
    ck_assert_int_eq(fw_model_precision(low), FW_PRECISION_BFLOAT16);
    fw_model_unref(low);
    fw_model_unref(other);
    fw_model_unref(a);
    fw_model_unref(NULL);
    g_free(hard);
    g_free(soft);
}
END_TEST

START_TEST(plans_and_streams_share_packed_weights) {
    struct test_net a = open_filter("cpu");
    guint64 bytes = fw_model_weights_bytes(a.model);
    struct test_net b = open_filter("cpu");
    ck_assert(a.model == b.model);
    ck_assert_uint_eq(fw_model_weights_bytes(a.model), bytes);
    test_close(&b);
    test_close(&a);
}
END_TEST

/* A plan keeps its model although nobody has it open any more. */
START_TEST(a_plan_outlives_its_opener) {
    struct test_net net = open_filter("cpu");
    guint8 *want = alone(&net, 0), *got = g_malloc0(FRAMES * frame_bytes);
    fw_model_unref(net.model);
    ck_assert_uint_eq(fw_model_users(net.model), 0);
    test_run(&net, net.stream, net.plan, scene[0], got, FRAMES);
    ck_assert_mem_eq(got, want, FRAMES * frame_bytes);
    net.model = open_model(small, "cpu", FW_PRECISION_FLOAT32);
    ck_assert_uint_eq(fw_model_users(net.model), 1);
    g_free(got);
    g_free(want);
    test_close(&net);
}
END_TEST

START_TEST(a_replaced_file_is_another_model) {
    struct fw_config config = test_config();
    struct test_net old = open_filter("cpu");
    guint8 *want = alone(&old, 0);
    char *id = g_strdup(fw_weights_latent_id(fw_model_weights(old.model)));
    g_free(test_weights(&config, 22, "small.safetensors")); /* by rename */
    struct test_net new = open_filter("cpu");
    ck_assert(new.model != old.model);
    ck_assert_str_ne(id, fw_weights_latent_id(fw_model_weights(new.model)));
    ck_assert_int_eq(g_unlink(small), 0);
    guint8 *got = alone(&old, 0); /* goes on undisturbed */
    ck_assert_mem_eq(got, want, FRAMES * frame_bytes);
    struct fw_model_params params = {.weights = small, .device = "cpu"};
    GError *error = NULL;
    test_refused(fw_model_open(&params, &error) == NULL, &error, FW_ERROR_NOT_FOUND, "unlinked");
    g_free(got);
    g_free(want);
    g_free(id);
    test_close(&new);
    test_close(&old);
}
END_TEST

START_TEST(auto_takes_what_is_there) {
    struct fw_model *model = open_model(small, NULL, FW_PRECISION_AUTO);
    ck_assert(g_str_has_prefix(fw_model_device(model), "c"));
    ck_assert_int_ne(fw_model_precision(model), FW_PRECISION_AUTO);
    ck_assert_uint_gt(strlen(fw_model_device_description(model)), 0);
    printf("auto: %s, %s, precision %d\n", fw_model_device(model),
           fw_model_device_description(model), fw_model_precision(model));
    fw_model_unref(model);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("stream");
    TCase *tests = tcase_create("stream");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, streams_do_not_touch_each_other, 0, 2);
    tcase_add_test(tests, threads_do_not_touch_each_other);
    tcase_add_loop_test(tests, a_reset_forgets_everything, 0, 2);
    tcase_add_loop_test(tests, a_reset_before_a_clip, 0, 2);
    tcase_add_loop_test(tests, a_failed_run_resets, 0, 2);
    tcase_add_test(tests, a_plan_of_something_else_is_refused);
    tcase_add_test(tests, the_stopping_rule_reaches_the_device);
    tcase_add_test(tests, a_file_is_loaded_once);
    tcase_add_test(tests, plans_and_streams_share_packed_weights);
    tcase_add_test(tests, a_plan_outlives_its_opener);
    tcase_add_test(tests, a_replaced_file_is_another_model);
    tcase_add_test(tests, auto_takes_what_is_there);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
