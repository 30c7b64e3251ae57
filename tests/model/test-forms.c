/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The forms of the network agree: clip, frame by frame, one continued by the other, parts and
 * whole, the reference and the processor. All with random weights, in which every path matters.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"
#include "half.h"

#define WIDTH 33
#define HEIGHT 17
#define LONGEST 75
#define TOLERANCE 1e-5

static char *small; /* weights */
static guint8 *scene;

static void setup(void) {
    struct fw_config config = test_config();
    small = test_weights(&config, 11, "small.safetensors");
    scene = test_scene(WIDTH, HEIGHT, LONGEST, 1);
}

static void teardown(void) {
    g_free(small);
    g_free(scene);
}

/* Another plan of a net's model and size. */
static struct fw_plan *plan_of(const struct test_net *net, int frames) {
    struct fw_plan_params params = net->params;
    GError *error = NULL;
    params.frames = frames;
    struct fw_plan *plan = fw_plan_new(net->model, &params, &error);
    ck_ok(plan, error);
    return plan;
}

/* frames through a stream of their own in runs of the given lengths, repeated; the output. */
static void *run_in(struct test_net *net, const void *in, int frames, const int *runs) {
    GError *error = NULL;
    struct fw_stream *stream = fw_stream_new(net->plan, &error);
    char *out = g_malloc0((gsize)frames * test_out_bytes(net));
    ck_ok(stream, error);
    fw_stream_set_cg(stream, 1e-6f, 1000);
    for (int t = 0, i = 0; t < frames; t += runs[i++]) {
        struct fw_plan *plan = plan_of(net, runs[i]);
        test_run(net, stream, plan, (const char *)in + (gsize)t * test_in_bytes(net),
                 out + (gsize)t * test_out_bytes(net), runs[i]);
        fw_plan_unref(plan);
    }
    fw_stream_free(stream);
    return out;
}

/* One frame at a time through a stream of their own. */
static void *run_single(struct test_net *net, const void *in, int frames) {
    int ones[LONGEST];
    for (int i = 0; i < LONGEST; i++)
        ones[i] = 1;
    return run_in(net, in, frames, ones);
}

/* -------------------------------------------------------------------------------- clip and step */

/* Runs that add up to frames. The reference is slow: it does the first few only. */
#define REF_CUTS 7
static const struct {
    int frames, runs[8];
} cuts[] = {
    {1, {1}},           {2, {2}},         {5, {5}},   {6, {1, 1, 1, 3}}, {7, {2, 1, 1, 3}},
    {12, {3, 3, 3, 3}}, {70, {64, 1, 5}}, {64, {64}}, {70, {70}},        {75, {5, 64, 1, 1, 4}},
};

START_TEST(clip_equals_stream) {
    const char *device = test_devices[_i >= REF_CUTS];
    int cut = _i >= REF_CUTS ? _i - REF_CUTS : _i, frames = cuts[cut].frames;
    struct test_net net =
        test_open(small, device, FW_PRECISION_FLOAT32, FW_ENCODER | FW_MODEL, WIDTH, HEIGHT, 1);
    float *want = run_single(&net, scene, frames),
          *got = run_in(&net, scene, frames, cuts[cut].runs);
    double apart = test_difference(got, want, (gsize)frames * test_out_bytes(&net) / 4);
    ck_assert_msg(apart <= TOLERANCE, "%s, cut %d: %g", device, cut, apart);
    test_close(&net);

    /* and the decoder, seen through 16 bit codes */
    struct fw_model_params model = {
        .weights = small, .device = device, .precision = FW_PRECISION_FLOAT32};
    struct fw_plan_params params = {.parts = FW_DECODER,
                                    .width = WIDTH,
                                    .height = HEIGHT,
                                    .frames = 1,
                                    .video_out = test_video(WIDTH, HEIGHT, 2)};
    struct test_net decoder = test_open_plan(&model, &params);
    guint16 *a = run_single(&decoder, want, frames),
            *b = run_in(&decoder, want, frames, cuts[cut].runs);
    int worst = 0;
    for (int i = 0; i < frames * WIDTH * HEIGHT * 3; i++)
        worst = MAX(worst, abs(a[i] - b[i]));
    ck_assert_msg(worst <= 2, "%s, cut %d: decoder %d of 65535", device, cut, worst);
    test_close(&decoder);
    g_free(a);
    g_free(b);
    g_free(want);
    g_free(got);
}
END_TEST

/* Every preset, a few frames: what only large shapes do. */
START_TEST(presets_agree) {
    const char *preset = fw_preset_names()[_i];
    struct fw_config config;
    fw_config_preset(&config, preset, NULL);
    char *path = test_weights(&config, 5, "preset.safetensors");
    int three[] = {3};
    float *first = NULL;
    for (int d = 0; d < 2; d++) {
        struct test_net net =
            test_open(path, test_devices[d], FW_PRECISION_FLOAT32, FW_ENCODER | FW_MODEL, 10, 6, 1);
        gsize values = 3 * test_out_bytes(&net) / 4;
        float *step = run_single(&net, scene, 3), *clip = run_in(&net, scene, 3, three);
        double apart = test_difference(clip, step, values);
        ck_assert_msg(apart <= TOLERANCE, "%s, clip on %s: %g", preset, test_devices[d], apart);
        if (first) {
            /* Four attention layers magnify rounding: PyTorch's float32 is 5e-5 off there. */
            double most = config.layers > 1 ? 5 * TOLERANCE : TOLERANCE;
            apart = test_difference(step, first, values);
            printf("%s: cpu and ref differ by %.1e\n", preset, apart);
            ck_assert_msg(apart <= most, "%s, devices: %g", preset, apart);
        }
        g_free(clip);
        g_free(first);
        first = step;
        test_close(&net);
    }
    g_free(first);
    g_free(path);
}
END_TEST

START_TEST(cpu_equals_ref) {
    float *out[2];
    gsize values = 0;
    for (int d = 0; d < 2; d++) {
        struct test_net net = test_open(small, test_devices[d], FW_PRECISION_FLOAT32,
                                        FW_ENCODER | FW_MODEL, WIDTH, HEIGHT, 1);
        values = LONGEST * test_out_bytes(&net) / 4;
        out[d] = run_single(&net, scene, LONGEST);
        test_close(&net);
    }
    double apart = test_difference(out[1], out[0], values);
    ck_assert_msg(apart <= TOLERANCE, "%g", apart);
    g_free(out[0]);
    g_free(out[1]);
}
END_TEST

/* Low precision is not another network: the picture stays the same to a few percent. */
START_TEST(low_precision_is_near) {
    const char *device = test_devices[_i % 2];
    enum fw_precision low = _i / 2 ? FW_PRECISION_FLOAT16 : FW_PRECISION_BFLOAT16;
    guint8 *out[2];
    gsize bytes = 0;
    double sum = 0;
    for (int p = 0; p < 2; p++) {
        struct test_net net =
            test_open(small, device, p ? low : FW_PRECISION_FLOAT32, FW_FILTER, WIDTH, HEIGHT, 1);
        bytes = 20 * test_out_bytes(&net);
        out[p] = run_single(&net, scene, 20);
        test_close(&net);
    }
    for (gsize i = 0; i < bytes; i++)
        sum += pow(out[0][i] - out[1][i], 2);
    double psnr = 10 * log10(255 * 255 * (double)bytes / sum);
    printf("%s on %s: %.1f dB\n", _i / 2 ? "float16" : "bfloat16", device, psnr);
    ck_assert_msg(sum > 0 && psnr > 35, "%g dB", psnr);
    g_free(out[0]);
    g_free(out[1]);
}
END_TEST

/* ----------------------------------------------------------------------------------- causality */

START_TEST(the_future_changes_nothing) {
    const char *device = test_devices[_i % 2];
    enum fw_precision precision = _i / 2 ? FW_PRECISION_BFLOAT16 : FW_PRECISION_FLOAT32;
    const int frames = 70, changed = 41, whole[] = {70};
    gsize frame = (gsize)WIDTH * HEIGHT * 3;
    struct test_net net = test_open(small, device, precision, FW_FILTER, WIDTH, HEIGHT, 1);
    guint8 *other = g_memdup2(scene, frame * LONGEST);
    for (gsize i = changed * frame; i < frame * LONGEST; i++)
        other[i] ^= 0x55;
    guint8 *a = run_in(&net, scene, frames, whole), *b = run_in(&net, other, frames, whole);
    ck_assert_mem_eq(a, b, changed * frame);
    ck_assert(memcmp(a + changed * frame, b + changed * frame, frame) != 0);
    g_free(a);
    g_free(b);
    g_free(other);
    test_close(&net);
}
END_TEST

/* And the past changes all that follows: the temporal paths are there. */
START_TEST(the_past_changes_the_present) {
    gsize frame = (gsize)WIDTH * HEIGHT * 3;
    struct test_net net =
        test_open(small, test_devices[_i], FW_PRECISION_FLOAT32, FW_FILTER, WIDTH, HEIGHT, 1);
    guint8 *other = g_memdup2(scene, frame * LONGEST);
    for (gsize i = 0; i < frame; i++)
        other[i] ^= 0x55;
    guint8 *a = run_single(&net, scene, 20), *b = run_single(&net, other, 20);
    for (int t = 0; t < 20; t++)
        ck_assert_msg(memcmp(a + (gsize)t * frame, b + (gsize)t * frame, frame) != 0, "frame %d",
                      t);
    g_free(a);
    g_free(b);
    g_free(other);
    test_close(&net);
}
END_TEST

/* ----------------------------------------------------------------------------- parts and whole */

/* Everything that goes through three parts one after the other, latents of that type between. */
static guint8 *run_parts(const char *device, enum fw_precision precision, enum kn_dtype latents,
                         int width, int height, int frames) {
    static const unsigned parts[] = {FW_ENCODER, FW_MODEL, FW_DECODER};
    void *now = g_memdup2(scene, (gsize)width * (gsize)height * 3 * (gsize)frames);
    for (gsize i = 0; i < 3; i++) {
        struct fw_model_params model = {.weights = small, .device = device, .precision = precision};
        struct fw_plan_params plan = {.parts = parts[i],
                                      .width = width,
                                      .height = height,
                                      .frames = 1,
                                      .latents_in = latents,
                                      .latents_out = latents,
                                      .video_in = test_video(width, height, 1),
                                      .video_out = test_video(width, height, 1)};
        struct test_net net = test_open_plan(&model, &plan);
        void *next = run_single(&net, now, frames);
        g_free(now);
        now = next;
        test_close(&net);
    }
    return now;
}

START_TEST(parts_equal_the_whole) {
    static const int sizes[][2] = {{WIDTH, HEIGHT}, {1, 1}, {16, 8}, {2, 17}};
    const char *device = test_devices[_i % 2];
    enum fw_precision precision = _i / 2 ? FW_PRECISION_BFLOAT16 : FW_PRECISION_FLOAT32;
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++) {
        int w = sizes[i][0], h = sizes[i][1];
        struct test_net net = test_open(small, device, precision, FW_FILTER, w, h, 1);
        guint8 *whole = run_single(&net, scene, 9);
        guint8 *split = run_parts(device, precision, KN_F32, w, h, 9);
        ck_assert_mem_eq(whole, split, 9 * test_out_bytes(&net));
        g_free(split);
        g_free(whole);
        test_close(&net);
    }
}
END_TEST

static double psnr(const guint8 *a, const guint8 *b, gsize n) {
    double sum = 0;
    for (gsize i = 0; i < n; i++)
        sum += pow(a[i] - b[i], 2);
    return sum > 0 ? 10 * log10(255 * 255 * (double)n / sum) : INFINITY;
}

START_TEST(small_latents_are_near) {
    struct test_net net =
        test_open(small, test_devices[_i], FW_PRECISION_FLOAT32, FW_FILTER, WIDTH, HEIGHT, 1);
    gsize bytes = 9 * test_out_bytes(&net);
    guint8 *whole = run_single(&net, scene, 9);
    guint8 *f16 = run_parts(test_devices[_i], FW_PRECISION_FLOAT32, KN_F16, WIDTH, HEIGHT, 9);
    guint8 *u8 = run_parts(test_devices[_i], FW_PRECISION_FLOAT32, KN_U8, WIDTH, HEIGHT, 9);
    double a = psnr(f16, whole, bytes), b = psnr(u8, whole, bytes);
    printf("latents on %s: f16 %.1f dB, u8 %.1f dB\n", test_devices[_i], a, b);
    ck_assert_msg(a > 60 && b > 30 && b < a, "f16 %g dB, u8 %g dB", a, b);
    g_free(u8);
    g_free(f16);
    g_free(whole);
    test_close(&net);
}
END_TEST

/* The latents of an encoder in that type, one frame. */
static void *encode(const char *device, enum kn_dtype dtype, struct test_net *net) {
    struct fw_model_params model = {
        .weights = small, .device = device, .precision = FW_PRECISION_FLOAT32};
    struct fw_plan_params plan = {.parts = FW_ENCODER,
                                  .width = WIDTH,
                                  .height = HEIGHT,
                                  .frames = 1,
                                  .latents_out = dtype,
                                  .video_in = test_video(WIDTH, HEIGHT, 1)};
    *net = test_open_plan(&model, &plan);
    return run_single(net, scene, 1);
}

START_TEST(latents_are_converted_as_documented) {
    const char *device = test_devices[_i];
    struct test_net net, net16, net8;
    float *z = encode(device, KN_F32, &net), scale[16];
    guint16 *half = encode(device, KN_F16, &net16);
    guint8 *codes = encode(device, KN_U8, &net8);
    ck_assert(fw_weights_get(fw_model_weights(net.model), "latent.scale", scale, 16));
    for (gsize i = 0; i < test_out_bytes(&net) / 4; i++) {
        if (half[i] != fw_half_from_float(z[i]))
            ck_abort_msg("f16 %zu: %04x, not %04x", i, half[i], fw_half_from_float(z[i]));
        double exact = (double)z[i] / (double)scale[i % 16];
        double code = CLAMP(exact, -128, 127) + 128;
        if (!(fabs(codes[i] - code) <= 0.5001))
            ck_abort_msg("u8 %zu: %d, not %g", i, codes[i], code);
    }
    g_free(z);
    g_free(half);
    g_free(codes);
    test_close(&net);
    test_close(&net16);
    test_close(&net8);
}
END_TEST

/* ------------------------------------------------------------------------------------ identity */

static void lossless(const char *preset, const char *device, enum fw_precision precision, int width,
                     int height, int frames) {
    struct fw_model_params model = {.preset = preset, .device = device, .precision = precision};
    struct fw_plan_params plan = {.parts = FW_FILTER,
                                  .width = width,
                                  .height = height,
                                  .frames = frames,
                                  .video_in = test_video(width, height, 1),
                                  .video_out = test_video(width, height, 1)};
    struct test_net net = test_open_plan(&model, &plan);
    guint8 *out = g_malloc0(2 * (gsize)frames * test_out_bytes(&net));
    ck_assert(fw_model_is_identity(net.model));
    test_run(&net, net.stream, net.plan, scene, out, 2 * frames);
    ck_assert_msg(memcmp(out, scene, 2 * (gsize)frames * test_out_bytes(&net)) == 0,
                  "%s on %s, %d x %d", preset, device, width, height);
    g_free(out);
    test_close(&net);
}

START_TEST(an_untrained_network_is_lossless) {
    static const int sizes[][3] = {{1, 1, 1}, {9, 5, 1}, {16, 16, 3}};
    static const enum fw_precision precisions[] = {FW_PRECISION_FLOAT32, FW_PRECISION_BFLOAT16};
    const char *preset = fw_preset_names()[_i];
    for (gsize p = 0; p < G_N_ELEMENTS(precisions); p++) {
        lossless(preset, "ref", precisions[p], 3, 2, 1);
        for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++)
            lossless(preset, "cpu", precisions[p], sizes[i][0], sizes[i][1], sizes[i][2]);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("forms");
    TCase *tests = tcase_create("forms");
    tcase_add_unchecked_fixture(tests, setup, teardown); /* once for all */
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, clip_equals_stream, 0, REF_CUTS + (int)G_N_ELEMENTS(cuts));
    tcase_add_loop_test(tests, presets_agree, 0, 5);
    tcase_add_test(tests, cpu_equals_ref);
    tcase_add_loop_test(tests, low_precision_is_near, 0, 4);
    tcase_add_loop_test(tests, the_future_changes_nothing, 0, 4);
    tcase_add_loop_test(tests, the_past_changes_the_present, 0, 2);
    tcase_add_loop_test(tests, parts_equal_the_whole, 0, 4);
    tcase_add_loop_test(tests, small_latents_are_near, 0, 2);
    tcase_add_loop_test(tests, latents_are_converted_as_documented, 0, 2);
    tcase_add_loop_test(tests, an_untrained_network_is_lossless, 0, 5);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
