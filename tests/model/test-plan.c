/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Plans: ranges, bytes, what is allocated and when, and what the recorded programs cost. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common.h"

/* ------------------------------------------------------- what is allocated (linked by --wrap) */

static guint64 device_bytes, allocations;

enum kn_status __real_kn_buf_new(struct kn_buf **buf, struct kn_dev *dev, uint64_t bytes,
                                 struct kn_err *err);
enum kn_status __wrap_kn_buf_new(struct kn_buf **buf, struct kn_dev *dev, uint64_t bytes,
                                 struct kn_err *err);
enum kn_status __wrap_kn_buf_new(struct kn_buf **buf, struct kn_dev *dev, uint64_t bytes,
                                 struct kn_err *err) {
    device_bytes += bytes;
    return __real_kn_buf_new(buf, dev, bytes, err);
}

#define WRAP(name, parameters, ...)                            \
    void *__real_##name parameters;                            \
    void *__wrap_##name parameters;                            \
    void *__wrap_##name parameters {                           \
        __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED); \
        return __real_##name(__VA_ARGS__);                     \
    }
WRAP(malloc, (size_t size), size)
WRAP(calloc, (size_t count, size_t size), count, size)
WRAP(realloc, (void *from, size_t size), from, size)
WRAP(g_malloc, (gsize size), size)
WRAP(g_malloc0, (gsize size), size)
WRAP(g_malloc_n, (gsize count, gsize size), count, size)

int __real_posix_memalign(void **to, size_t align, size_t size);
int __wrap_posix_memalign(void **to, size_t align, size_t size);
int __wrap_posix_memalign(void **to, size_t align, size_t size) {
    __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED);
    return __real_posix_memalign(to, align, size);
}

/* --------------------------------------------------------------------------------------- plans */

static struct fw_model *open_preset(const char *preset, const char *device) {
    struct fw_model_params params = {
        .preset = preset, .device = device, .precision = FW_PRECISION_FLOAT32};
    GError *error = NULL;
    struct fw_model *model = fw_model_open(&params, &error);
    ck_ok(model, error);
    return model;
}

static struct fw_plan_params params_for(unsigned parts, int width, int height, int frames) {
    return (struct fw_plan_params){.parts = parts,
                                   .width = width,
                                   .height = height,
                                   .frames = frames,
                                   .video_in = test_video(width, height, 1),
                                   .video_out = test_video(width, height, 1)};
}

static struct fw_plan *plan_for(struct fw_model *model, const struct fw_plan_params *params) {
    GError *error = NULL;
    struct fw_plan *plan = fw_plan_new(model, params, &error);
    ck_ok(plan, error);
    return plan;
}

START_TEST(latents_cover_the_picture) {
    static const struct {
        const char *preset;
        int width, height, w, h;
    } cases[] = {{"thin", 1, 1, 4, 4},           {"thin", 8, 8, 4, 4},
                 {"thin", 9, 8, 8, 4},           {"thin", 641, 359, 324, 180},
                 {"thin", 1920, 1080, 960, 540}, {"seed", 64, 64, 32, 32},
                 {"seed", 65, 1, 64, 32},        {"thin", 32768, 32768, 16384, 16384}};
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct fw_config config;
        struct fw_latents latents;
        fw_config_preset(&config, cases[i].preset, NULL);
        ck_assert(fw_latents_for(&config, cases[i].width, cases[i].height, &latents));
        ck_assert_int_eq(latents.width, cases[i].w);
        ck_assert_int_eq(latents.height, cases[i].h);
        ck_assert_int_eq(latents.channels, 32);
        ck_assert(!fw_latents_for(&config, 0, 1, &latents));
        ck_assert(!fw_latents_for(&config, 1, -1, &latents));
        ck_assert(!fw_latents_for(&config, 32769, 1, &latents));
        ck_assert(!fw_latents_for(&config, 1, G_MAXINT, &latents));
    }
}
END_TEST

static void refused_plan(struct fw_model *model, struct fw_plan_params params, enum fw_error code,
                         const char *what) {
    GError *error = NULL;
    struct fw_plan *plan = fw_plan_new(model, &params, &error);
    test_refused(plan == NULL, &error, code, what);
}

START_TEST(parameters_out_of_range) {
    struct fw_model *model = open_preset("tiny", "ref");
    static const int sizes[][2] = {{0, 1}, {1, 0}, {-1, 1}, {32769, 1}, {1, G_MAXINT}};
    static const unsigned parts[] = {0, FW_ENCODER | FW_DECODER, 8, FW_FILTER | 8};
    struct fw_plan_params p;
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++)
        refused_plan(model, params_for(FW_FILTER, sizes[i][0], sizes[i][1], 1), FW_ERROR_ARGUMENT,
                     "a size");
    for (gsize i = 0; i < G_N_ELEMENTS(parts); i++)
        refused_plan(model, params_for(parts[i], 8, 8, 1), FW_ERROR_ARGUMENT, "parts");
    refused_plan(model, params_for(FW_FILTER, 8, 8, 0), FW_ERROR_ARGUMENT, "no frame");
    refused_plan(model, params_for(FW_FILTER, 8, 8, 65537), FW_ERROR_ARGUMENT, "65537 frames");
    p = params_for(FW_FILTER, 8, 8, 1);
    p.video_out.width = 7;
    refused_plan(model, p, FW_ERROR_ARGUMENT, "a video of another size");
    p = params_for(FW_FILTER, 8, 8, 1);
    p.video_in.depth = 99;
    refused_plan(model, p, FW_ERROR_ARGUMENT, "a depth of 99");
    p = params_for(FW_MODEL, 8, 8, 1);
    p.latents_in = KN_BF16;
    refused_plan(model, p, FW_ERROR_ARGUMENT, "bfloat16 latents");
    p.latents_in = (enum kn_dtype)17;
    refused_plan(model, p, FW_ERROR_ARGUMENT, "latents of type 17");
    p.latents_in = KN_U8; /* an identity has no scale */
    refused_plan(model, p, FW_ERROR_UNSUPPORTED, "uint8 latents without scale");
    fw_model_unref(model);
}
END_TEST

START_TEST(opening_with_bad_parameters) {
    static const struct {
        struct fw_model_params params;
        enum fw_error code;
    } cases[] = {
        {{.preset = "thick"}, FW_ERROR_ARGUMENT},
        {{.device = "gpu"}, FW_ERROR_ARGUMENT},
        {{.device = ""}, FW_ERROR_ARGUMENT},
        {{.device = "cuda:x"}, FW_ERROR_ARGUMENT},
        {{.threads = -1}, FW_ERROR_ARGUMENT},
        {{.threads = 100000}, FW_ERROR_ARGUMENT},
        {{.precision = (enum fw_precision)9}, FW_ERROR_ARGUMENT},
        {{.weights = "/no/such/file"}, FW_ERROR_NOT_FOUND},
        {{.weights = "/dev/zero"}, FW_ERROR_READ},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(cases); i++) {
        GError *error = NULL;
        struct fw_model *model = fw_model_open(&cases[i].params, &error);
        test_refused(model == NULL, &error, cases[i].code, "a parameter of a model");
    }
}
END_TEST

START_TEST(a_file_of_another_preset) {
    struct fw_config config;
    fw_config_preset(&config, "tiny", NULL);
    char *path = test_weights(&config, 1, "tiny.safetensors");
    struct fw_model_params params = {.weights = path, .preset = "thin", .device = "ref"};
    GError *error = NULL;
    struct fw_model *model = fw_model_open(&params, &error);
    ck_assert_msg(strstr(error->message, "tiny") && strstr(error->message, "thin") &&
                      strstr(error->message, "dim is 64, not 128"),
                  "%s", error->message);
    test_refused(model == NULL, &error, FW_ERROR_MISMATCH, "tiny for thin");
    params.preset = "tiny";
    model = fw_model_open(&params, &error);
    ck_ok(model, error);
    params.preset = "full"; /* also when it is open already */
    test_refused(fw_model_open(&params, &error) == NULL, &error, FW_ERROR_MISMATCH, "full");
    ck_assert_uint_eq(fw_model_users(model), 1);
    fw_model_unref(model);
    g_free(path);
}
END_TEST

/* --------------------------------------------------------------------------------------- bytes */

/* What plan and prediction say is what is allocated, to the byte. weights: bytes of the model. */
static void check_bytes(struct fw_model *model, unsigned parts, int frames, guint64 weights) {
    struct fw_plan_params params = params_for(parts, 20, 12, frames);
    guint64 predicted[FW_BYTES_COUNT];
    GError *error = NULL;
    ck_ok(fw_plan_predict(model, &params, predicted, &error), error);
    device_bytes = weights;
    struct fw_plan *plan = plan_for(model, &params);
    struct fw_stream *stream = fw_stream_new(plan, &error);
    ck_ok(stream, error);
    ck_assert_uint_eq(fw_plan_bytes_total(plan) - fw_plan_bytes(plan, FW_BYTES_SCRATCH),
                      device_bytes);
    for (int b = 0; b < FW_BYTES_COUNT; b++)
        if (b != FW_BYTES_SCRATCH)
            ck_assert_uint_eq(fw_plan_bytes(plan, b), predicted[b]);
    fw_stream_free(stream);
    fw_plan_unref(plan);
}

START_TEST(bytes_are_those_allocated) {
    static const unsigned parts[] = {FW_FILTER, FW_ENCODER, FW_MODEL, FW_DECODER};
    for (int d = 0; d < 2; d++) {
        device_bytes = 0;
        struct fw_model *model = open_preset(fw_preset_names()[_i], test_devices[d]);
        guint64 weights = device_bytes;
        ck_assert_uint_gt(weights, 0);
        for (gsize i = 0; i < G_N_ELEMENTS(parts); i++) {
            check_bytes(model, parts[i], 1, weights);
            check_bytes(model, parts[i], 3, weights);
        }
        fw_model_unref(model);
    }
}
END_TEST

START_TEST(the_limit_is_kept) {
    struct fw_model *model = open_preset("thin", test_devices[_i]);
    struct fw_plan_params params = params_for(FW_FILTER, 64, 48, 1);
    struct fw_plan *plan = plan_for(model, &params);
    guint64 total = fw_plan_bytes_total(plan), before = fw_model_weights_bytes(model);
    char number[32];
    GError *error = NULL;
    fw_plan_unref(plan);
    params.memory_limit = total;
    fw_plan_unref(plan_for(model, &params));
    params.memory_limit = total - 1;
    ck_assert_ptr_null(fw_plan_new(model, &params, &error));
    g_snprintf(number, sizeof number, "%" G_GUINT64_FORMAT, total - 1);
    ck_assert_ptr_nonnull(strstr(error->message, number));
    test_refused(TRUE, &error, FW_ERROR_NO_SPACE, "one byte too few");
    /* The greatest picture is refused by its number of bytes, without being tried. */
    params = params_for(FW_FILTER, 32768, 32768, 65536);
    params.memory_limit = 1;
    refused_plan(model, params, FW_ERROR_NO_SPACE, "the greatest");
    ck_assert_uint_eq(fw_model_weights_bytes(model), before);
    fw_model_unref(model);
}
END_TEST

/* Without a limit the device says no with the bytes; nothing is killed, nothing is left behind. */
START_TEST(more_than_the_machine_has) {
    struct fw_model *model = open_preset("large", test_devices[_i]);
    struct fw_plan_params params = params_for(FW_FILTER, 32768, 32768, 1);
    GError *error = NULL;
    struct fw_plan *plan = fw_plan_new(model, &params, &error);
    struct fw_stream *stream = plan ? fw_stream_new(plan, &error) : NULL;
    gboolean too_large_for_device = error && error->code == FW_ERROR_UNSUPPORTED;
    test_refused(stream == NULL, &error,
                 too_large_for_device ? FW_ERROR_UNSUPPORTED : FW_ERROR_NO_SPACE, "terabytes");
    fw_plan_unref(plan);
    fw_model_unref(model);
}
END_TEST

START_TEST(predictions_of_all_sizes) {
    static const int sizes[][2] = {{1, 1}, {640, 480}, {7680, 4320}, {32768, 32768}, {32768, 1}};
    struct fw_model *model = open_preset(fw_preset_names()[_i], "cpu");
    for (gsize i = 0; i < G_N_ELEMENTS(sizes); i++)
        for (int frames = 1; frames <= 65536; frames *= 256) {
            struct fw_plan_params params = params_for(FW_FILTER, sizes[i][0], sizes[i][1], frames);
            guint64 bytes[FW_BYTES_COUNT];
            GError *error = NULL;
            ck_ok(fw_plan_predict(model, &params, bytes, &error), error);
            guint64 pixels = (guint64)sizes[i][0] * (guint64)sizes[i][1] * (guint64)frames;
            ck_assert_uint_gt(bytes[FW_BYTES_WORK], pixels * 3); /* 12 floats for 4 pixels */
            ck_assert_uint_lt(bytes[FW_BYTES_WORK], G_MAXINT64);
        }
    fw_model_unref(model);
}
END_TEST

START_TEST(running_allocates_nothing) {
    struct fw_config config = test_config();
    char *path = test_weights(&config, 1, "small.safetensors");
    struct test_net net =
        test_open(path, test_devices[_i], FW_PRECISION_FLOAT32, FW_FILTER, 33, 17, 1);
    guint8 *in = test_scene(33, 17, 1, 1), *out = g_malloc0(33 * 17 * 3);
    struct kn_picture from = {{in}, {99}}, into = {{out}, {99}};
    GError *error = NULL;
    for (int t = 0; t < 60; t++) {
        if (t == 5)
            allocations = 0;
        if (t % 20 == 19)
            fw_stream_reset(net.stream);
        if (!fw_stream_run(net.stream, net.plan, &from, &into, &error))
            ck_abort_msg("%s", error->message);
    }
    ck_assert_uint_eq(allocations, 0);
    g_free(out);
    g_free(in);
    test_close(&net);
    g_free(path);
}
END_TEST

/* -------------------------------------------------------------------- what programs consist of */

static const struct kn_node *node_of(const struct fw_plan *plan, const char *label) {
    const struct kn_program *program = fw_plan_program(plan);
    for (gsize i = 0; i < kn_program_size(program); i++)
        if (strcmp(kn_program_node(program, i)->label, label) == 0)
            return kn_program_node(program, i);
    ck_abort_msg("no operation is called %s", label);
    return NULL;
}

/* Multiply-accumulates of the decoder: its blocks, and all of it. */
static void decoder_macs(const char *preset, guint64 *body, guint64 *total) {
    struct fw_model *model = open_preset(preset, "ref");
    struct fw_plan_params params = params_for(FW_DECODER, 64, 48, 1);
    struct fw_plan *plan = plan_for(model, &params);
    const struct kn_program *program = fw_plan_program(plan);
    *body = *total = 0;
    for (gsize i = 0; i < kn_program_size(program); i++) {
        const struct kn_node *node = kn_program_node(program, i);
        *total += kn_node_macs(node);
        if (g_str_has_prefix(node->label, "decoder.block"))
            *body += kn_node_macs(node);
    }
    fw_plan_unref(plan);
    fw_model_unref(model);
}

START_TEST(the_thin_decoder_is_sixteen_times_thinner) {
    guint64 full_body, full_total, thin_body, thin_total;
    decoder_macs("full", &full_body, &full_total);
    decoder_macs("thin", &thin_body, &thin_total);
    double body = (double)full_body / (double)thin_body,
           total = (double)full_total / (double)thin_total;
    printf("full / thin decoder: body %.3f, total %.3f multiply-accumulates\n", body, total);
    ck_assert_uint_eq(full_body, 16 * thin_body);
    ck_assert_msg(total >= 15, "%g", total);
    /* 98.6 thousand a pixel of the picture */
    ck_assert_uint_eq(thin_total, (guint64)64 * 48 * 98592);
}
END_TEST

static void has_shape(const struct kn_tensor *t, int rank, int64_t a, int64_t b, int64_t c,
                      int64_t d, const char *what) {
    const int64_t want[] = {a, b, c, d};
    printf("  %-28s", what);
    for (int i = 0; i < t->rank; i++)
        printf("%s%d", i ? " x " : "", (int)t->dim[i]);
    printf("\n");
    ck_assert_int_eq(t->rank, rank);
    for (int i = 0; i < rank; i++)
        ck_assert_msg(t->dim[i] == want[i], "%s: axis %d is %d", what, i, (int)t->dim[i]);
}

/* 1 x 3 x 8 x 64 x 64 -> 1 x 32 x 8 x 32 x 32 -> 8 x 32768 -> 8 x 128 and back; ours are NHWC. */
START_TEST(seed_has_the_shapes_it_started_from) {
    struct fw_model *model = open_preset("seed", "ref");
    struct fw_plan_params params = params_for(FW_FILTER, 64, 64, 8);
    struct fw_plan *plan = plan_for(model, &params);
    const struct kn_color_in_args *in = &node_of(plan, "encoder.color")->args.color_in;
    const struct kn_color_out_args *out = &node_of(plan, "decoder.color")->args.color_out;
    ck_assert(in->video.width == 64 && in->video.height == 64);
    has_shape(&in->out, 4, 8, 32, 32, 12, "pixels, unshuffled");
    has_shape(&node_of(plan, "encoder.to_latent")->args.conv.out, 4, 8, 32, 32, 32, "latents");
    has_shape(&node_of(plan, "model.gather")->args.gather.out, 2, 8, 32768, 0, 0, "tokens");
    has_shape(&node_of(plan, "model.in")->args.linear.out, 2, 8, 128, 0, 0, "model.in");
    has_shape(&node_of(plan, "model.layer0.fenwick")->args.fenwick.out, 4, 1, 8, 4, 32, "fenwick");
    has_shape(&node_of(plan, "model.layer0.mesa")->args.mesa.out, 4, 1, 8, 4, 32, "mesa");
    has_shape(&node_of(plan, "model.out")->args.linear.out, 2, 8, 32768, 0, 0, "model.out");
    has_shape(&node_of(plan, "model.scatter")->args.scatter.out, 4, 8, 32, 32, 32, "latents again");
    has_shape(&out->x, 4, 8, 32, 32, 12, "pixels, unshuffled");
    ck_assert(out->video.width == 64 && out->video.height == 64);
    fw_plan_unref(plan);
    fw_model_unref(model);
}
END_TEST

START_TEST(the_description_holds_the_figures) {
    struct fw_model *model = open_preset("tiny", "ref");
    struct fw_plan_params params = params_for(FW_FILTER, 20, 12, 1);
    struct fw_plan *plan = plan_for(model, &params);
    char *text = fw_plan_describe(plan), total[64];
    g_snprintf(total, sizeof total, "%" G_GUINT64_FORMAT " bytes", fw_plan_bytes_total(plan));
    ck_assert_ptr_nonnull(strstr(text, total));
    ck_assert_ptr_nonnull(strstr(text, "encoder.block0.conv1"));
    ck_assert_ptr_nonnull(strstr(text, "20 x 12"));
    ck_assert_ptr_nonnull(strstr(text, "preset tiny"));
    printf("%s", text);
    g_free(text);
    fw_plan_unref(plan);
    fw_model_unref(model);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("plan");
    TCase *tests = tcase_create("plan");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, latents_cover_the_picture);
    tcase_add_test(tests, parameters_out_of_range);
    tcase_add_test(tests, opening_with_bad_parameters);
    tcase_add_test(tests, a_file_of_another_preset);
    tcase_add_loop_test(tests, bytes_are_those_allocated, 0, 5);
    tcase_add_loop_test(tests, the_limit_is_kept, 0, 2);
    tcase_add_loop_test(tests, more_than_the_machine_has, 0, 2);
    tcase_add_loop_test(tests, predictions_of_all_sizes, 0, 5);
    tcase_add_loop_test(tests, running_allocates_nothing, 0, 2);
    tcase_add_test(tests, the_thin_decoder_is_sixteen_times_thinner);
    tcase_add_test(tests, seed_has_the_shapes_it_started_from);
    tcase_add_test(tests, the_description_holds_the_figures);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
