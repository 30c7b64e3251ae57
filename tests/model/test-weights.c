/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Weights in memory and in files. */
#include <glib/gstdio.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"
#include "half.h"
#include "weights.h"

/* Asserts write a log for every success: too slow for millions of values. */
#define each(condition, ...)           \
    do {                               \
        if (!(condition))              \
            ck_abort_msg(__VA_ARGS__); \
    } while (0)

#define GOLDEN_SHA "e73d1daa288cd316bc12b46f7ffab86cd6f0df67f6800c99e007cbd18b24eab2"

static struct fw_weights *random_weights(const struct fw_config *config, guint64 seed) {
    GError *error = NULL;
    struct fw_weights *weights = fw_weights_new(config, FW_INIT_RANDOM, seed, &error);
    ck_ok(weights, error);
    return weights;
}

static struct fw_weights *load(const char *path) {
    GError *error = NULL;
    struct fw_weights *weights = fw_weights_load(path, &error);
    ck_ok(weights, error);
    return weights;
}

static void save(const struct fw_weights *weights, const char *path, gboolean half) {
    GError *error = NULL;
    ck_ok(fw_weights_save(weights, path, half, &error), error);
}

static char *contents(const char *path, gsize *length) {
    char *bytes = NULL;
    ck_assert(g_file_get_contents(path, &bytes, length, NULL));
    return bytes;
}

static void same_bytes(const char *a, const char *b) {
    gsize n, m;
    char *x = contents(a, &n), *y = contents(b, &m);
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(x, y, n);
    g_free(x);
    g_free(y);
}

/* Values of both, tensor by tensor, through the public door; as F16 when half. */
static void same_values(const struct fw_weights *a, const struct fw_weights *b, gboolean half) {
    for (gint i = 0; i < a->params.count; i++) {
        const struct fw_param *param = &a->params.item[i];
        gsize n = (gsize)param->count;
        float *x = g_new(float, n), *y = g_new(float, n);
        if (!param->internal) {
            ck_assert(fw_weights_get(a, param->name, x, n));
            ck_assert(fw_weights_get(b, param->name, y, n));
            for (gsize j = 0; half && j < n; j++)
                x[j] = fw_half_to_float(fw_half_from_float(x[j]));
            ck_assert_mem_eq(x, y, n * sizeof *x);
        }
        g_free(x);
        g_free(y);
    }
}

START_TEST(round_trip_f32) {
    struct fw_config config = test_config();
    struct fw_weights *made = random_weights(&config, 5), *loaded;
    char *path = test_path("a.safetensors"), *second = test_path("b.safetensors");
    save(made, path, FALSE);
    loaded = load(path);
    same_values(made, loaded, FALSE);
    ck_assert(fw_config_equal(fw_weights_config(loaded), &config));
    ck_assert_str_eq(fw_weights_task(loaded), "restore");
    ck_assert_str_eq(fw_weights_latent_id(loaded), fw_weights_latent_id(made));
    ck_assert(fw_weights_has_scale(loaded));
    save(loaded, second, FALSE);
    same_bytes(path, second);
    save(made, second, FALSE); /* over an existing file */
    same_bytes(path, second);
    fw_weights_unref(made);
    fw_weights_unref(loaded);
    g_free(path);
    g_free(second);
}
END_TEST

START_TEST(round_trip_f16) {
    struct fw_config config = test_config();
    struct fw_weights *made = random_weights(&config, 5), *loaded;
    char *path = test_path("a.safetensors"), *second = test_path("b.safetensors");
    save(made, path, TRUE);
    loaded = load(path);
    same_values(made, loaded, TRUE);
    save(loaded, second, TRUE);
    same_bytes(path, second);
    ck_assert_str_ne(fw_weights_latent_id(loaded), fw_weights_latent_id(made));
    fw_weights_unref(made);
    fw_weights_unref(loaded);
    g_free(path);
    g_free(second);
}
END_TEST

/* Every preset has its file, and identities lose nothing by F16. */
START_TEST(identities_of_all_presets) {
    const char *const *names = fw_preset_names();
    char *path = test_path("a.safetensors");
    for (int i = 0; names[i]; i++) {
        struct fw_config config;
        GError *error = NULL;
        fw_config_preset(&config, names[i], NULL);
        struct fw_weights *made = fw_weights_new(&config, FW_INIT_IDENTITY, 0, &error);
        ck_ok(made, error);
        ck_assert_str_eq(fw_weights_task(made), "identity");
        ck_assert(!fw_weights_has_scale(made));
        ck_assert_uint_eq(strlen(fw_weights_latent_id(made)), 16);
        save(made, path, FALSE);
        struct fw_weights *loaded = load(path);
        ck_assert_str_eq(fw_config_name(fw_weights_config(loaded)), names[i]);
        fw_weights_unref(loaded);
        fw_weights_unref(made);
    }
    g_free(path);
}
END_TEST

/* Figures taken once: a seed means the same file on every machine and in every version. */
START_TEST(a_seed_fixes_the_file) {
    struct fw_config config = test_config();
    struct fw_weights *made = random_weights(&config, 42);
    char *path = test_path("a.safetensors");
    gsize length;
    save(made, path, FALSE);
    char *bytes = contents(path, &length);
    char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)bytes, length);
    ck_assert_str_eq(sum, GOLDEN_SHA);
    struct fw_weights *other = random_weights(&config, 43);
    ck_assert_str_ne(fw_weights_latent_id(made), fw_weights_latent_id(other));
    fw_weights_unref(other);
    fw_weights_unref(made);
    g_free(sum);
    g_free(bytes);
    g_free(path);
}
END_TEST

START_TEST(random_weights_hold_no_zero) {
    const char *const *names = fw_preset_names();
    for (int i = 0; names[i]; i++) {
        struct fw_config config;
        fw_config_preset(&config, names[i], NULL);
        struct fw_weights *weights = random_weights(&config, 1);
        for (gint p = 0; p < weights->params.count; p++) {
            const struct fw_param *param = &weights->params.item[p];
            for (gint64 j = 0; !param->internal && j < param->count; j++) {
                float value = fw_weights_value(weights, param, j);
                each(value != 0 && isfinite(value), "%s", param->name);
            }
        }
        fw_weights_unref(weights);
    }
}
END_TEST

START_TEST(random_values_are_normal) {
    struct fw_config config;
    fw_config_preset(&config, "thin", NULL);
    struct fw_weights *weights = random_weights(&config, 1);
    gsize n = 128 * 512;
    float *w = g_new(float, n);
    double mean = 0, square = 0, fourth = 0;
    ck_assert(fw_weights_get(weights, "model.in.weight", w, n));
    for (gsize i = 0; i < n; i++) {
        double x = (double)w[i] * sqrt(512);
        mean += x / (double)n;
        square += x * x / (double)n;
        fourth += x * x * x * x / (double)n;
    }
    ck_assert_msg(fabs(mean) < 0.02 && fabs(square - 1) < 0.02 && fabs(fourth - 2.7) < 0.1,
                  "mean %g, square %g, fourth %g", mean, square, fourth);
    g_free(w);
    fw_weights_unref(weights);
}
END_TEST

START_TEST(get_knows_names_and_counts) {
    struct fw_config config = test_config();
    struct fw_weights *weights = random_weights(&config, 1);
    float value[64];
    ck_assert(fw_weights_get(weights, "encoder.stem.bias", value, 16));
    ck_assert(!fw_weights_get(weights, "encoder.stem.bias", value, 15));
    ck_assert(!fw_weights_get(weights, "encoder.stem", value, 16));
    ck_assert(!fw_weights_get(weights, "model.layer0.mesa.qkv.bias", value, 64));
    fw_weights_unref(weights);
}
END_TEST

START_TEST(seed_has_the_parameters_it_started_from) {
    struct fw_config config;
    fw_config_preset(&config, "seed", NULL);
    GError *error = NULL;
    struct fw_weights *weights = fw_weights_new(&config, FW_INIT_IDENTITY, 0, &error);
    ck_ok(weights, error);
    double millions = (double)fw_weights_count(weights) * 1e-6;
    printf("seed: %.3f million parameters\n", millions);
    ck_assert_msg(fabs(millions / 8.5 - 1) <= 0.03, "%g million", millions);
    fw_weights_unref(weights);
}
END_TEST

/* Layout of the arena, up to the largest table there can be. */
START_TEST(the_arena_has_no_overlaps) {
    struct fw_config configs[] = {
        test_config(),
        {64, 64, 512, 512, 16, 20, {512, "MMMMMMMMMMMMMMMM"}, {512, "S2S2S2S2S2S2S2S2"}}};
    for (gsize c = 0; c < G_N_ELEMENTS(configs); c++) {
        struct fw_params params;
        guint64 at = 0;
        fw_params_init(&params, &configs[c]);
        for (gint i = 0; i < params.count; i++) {
            const struct fw_param *param = &params.item[i];
            gboolean fused = strstr(param->name, ".gate.") || strstr(param->name, ".level.") ||
                             strstr(param->name, ".beta.") || strstr(param->name, ".z.");
            each(fused ? param->offset == at : param->offset == (at + 255) / 256 * 256, "%s",
                 param->name);
            each(fw_params_find(&params, param->name) == param, "%s twice", param->name);
            at = param->offset + (guint64)param->count * sizeof(float);
        }
        ck_assert_uint_eq(params.bytes, (at + 255) / 256 * 256);
        fw_params_clear(&params);
    }
}
END_TEST

/* Files flatten a patch by channel, row, column; the arena by row, column, channel. */
START_TEST(patches_are_permuted) {
    struct fw_config config = test_config();
    struct fw_weights *weights = random_weights(&config, 1);
    const struct fw_params *params = &weights->params;
    const struct fw_param *in = fw_params_find(params, "model.in.weight"),
                          *out = fw_params_find(params, "model.out.weight"),
                          *bias = fw_params_find(params, "model.out.bias");
    const gint64 p = 2, channels = 16, dim = 64, token = p * p * channels;
    for (gint64 c = 0; c < channels; c++)
        for (gint64 r = 0; r < p; r++)
            for (gint64 s = 0; s < p; s++)
                for (gint64 d = 0; d < dim; d++) {
                    gint64 file = (c * p + r) * p + s, arena = (r * p + s) * channels + c;
                    each(fw_param_place(params, in, d * token + file) == d * token + arena, "in");
                    each(fw_param_place(params, out, file * dim + d) == arena * dim + d, "out");
                    each(fw_param_place(params, bias, file) == arena, "bias");
                }
    fw_weights_unref(weights);
}
END_TEST

/* ----------------------------------------------------------------------------------- latent id */

static char *id_of(const struct fw_config *config, guint64 seed) {
    struct fw_weights *weights = random_weights(config, seed);
    char *id = g_strdup(fw_weights_latent_id(weights));
    fw_weights_unref(weights);
    return id;
}

START_TEST(latent_id_is_of_the_autoencoder) {
    struct fw_config config = test_config(), temporal = config, encoder = config, decoder = config;
    temporal.dim = 128;
    temporal.patch = 8;
    temporal.levels = 9;
    encoder.encoder.blocks[1] = '2'; /* the same shapes, another network */
    decoder.decoder.width = 24;
    char *id = id_of(&config, 1), *same = id_of(&temporal, 1);
    char *other[] = {id_of(&encoder, 1), id_of(&decoder, 1), id_of(&config, 2)};
    ck_assert_str_eq(id, same);
    for (gsize i = 0; i < G_N_ELEMENTS(other); i++) {
        ck_assert_str_ne(id, other[i]);
        g_free(other[i]);
    }
    g_free(same);
    g_free(id);
}
END_TEST

/* ------------------------------------------------------------------------------------- writing */

static void cannot_save(const char *path, const char *what) {
    struct fw_config config = test_config();
    struct fw_weights *weights = random_weights(&config, 1);
    GError *error = NULL;
    gboolean ok = fw_weights_save(weights, path, FALSE, &error);
    test_refused(!ok, &error, FW_ERROR_WRITE, what);
    fw_weights_unref(weights);
}

START_TEST(failures_of_writing) {
    char *missing = test_path("no-such-folder/a.safetensors"), *folder = test_path("folder"),
         *link = test_path("link.safetensors"), *beside = g_strconcat(link, ".tmp", NULL);
    cannot_save(missing, "folder that is not there");
    ck_assert_int_eq(g_mkdir(folder, 0700), 0);
    cannot_save(folder, "a folder's name");
    ck_assert_int_eq(symlink("/dev/null", beside), 0);
    cannot_save(link, "a link where the file is made");
    char *left = g_strconcat(folder, ".tmp", NULL);
    ck_assert(!g_file_test(left, G_FILE_TEST_EXISTS));
    g_free(left);
    g_free(beside);
    g_free(link);
    g_free(folder);
    g_free(missing);
}
END_TEST

/* The kernel says that the disk is full in the middle of the file: the old file stays. */
START_TEST(a_full_disk_leaves_the_old_file) {
    struct fw_config config = test_config();
    struct fw_weights *old = random_weights(&config, 1), *new = random_weights(&config, 2);
    char *path = test_path("a.safetensors"), *copy = test_path("copy.safetensors");
    GError *error = NULL;
    struct rlimit limit = {20000, 20000};
    save(old, path, FALSE);
    save(old, copy, FALSE);
    signal(SIGXFSZ, SIG_IGN);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    gboolean ok = fw_weights_save(new, path, FALSE, &error);
    test_refused(!ok, &error, FW_ERROR_DISK_FULL, "file size limit");
    same_bytes(path, copy);
    char *beside = g_strconcat(path, ".tmp", NULL);
    ck_assert(!g_file_test(beside, G_FILE_TEST_EXISTS));
    g_free(beside);
    g_free(copy);
    g_free(path);
    fw_weights_unref(new);
    fw_weights_unref(old);
}
END_TEST

START_TEST(too_large_for_f16) {
    struct fw_config config = test_config();
    struct fw_weights *weights = random_weights(&config, 1);
    char *path = test_path("a.safetensors");
    GError *error = NULL;
    weights->arena[0] = 65520;
    gboolean ok = fw_weights_save(weights, path, TRUE, &error);
    ck_assert_ptr_nonnull(strstr(error->message, "encoder.stem.weight"));
    test_refused(!ok, &error, FW_ERROR_ARGUMENT, "65520");
    weights->arena[0] = 65519;
    ck_ok(fw_weights_save(weights, path, TRUE, &error), error);
    fw_weights_unref(weights);
    g_free(path);
}
END_TEST

/* ------------------------------------------------------------------------------ half precision */

START_TEST(halves_round_trip) {
    for (guint h = 0; h < 65536; h++) {
        float value = fw_half_to_float((guint16)h);
        if ((h & 0x7fff) > 0x7c00)
            each(isnan(value) && isnan(fw_half_to_float(fw_half_from_float(value))), "%x", h);
        else
            each(fw_half_from_float(value) == h, "%x", h);
    }
}
END_TEST

/* Between neighbours: nearest, and the even one in the middle. */
START_TEST(halves_round_to_nearest_even) {
    for (guint h = 0; h < 0x7bff; h++) {
        double low = (double)fw_half_to_float((guint16)h),
               high = (double)fw_half_to_float((guint16)(h + 1)), middle = (low + high) / 2;
        guint even = h % 2 ? h + 1 : h;
        each(fw_half_from_float((float)middle) == even, "%x", h);
        each(fw_half_from_float(nextafterf((float)middle, 0)) == h, "%x", h);
        each(fw_half_from_float(nextafterf((float)middle, INFINITY)) == h + 1, "%x", h);
        each(fw_half_from_float((float)-middle) == (even | 0x8000), "%x", h);
    }
    ck_assert_uint_eq(fw_half_from_float(65519.996f), 0x7bff);
    ck_assert_uint_eq(fw_half_from_float(65520), 0x7c00);
    ck_assert_uint_eq(fw_half_from_float(INFINITY), 0x7c00);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("weights");
    TCase *tests = tcase_create("weights");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, round_trip_f32);
    tcase_add_test(tests, round_trip_f16);
    tcase_add_test(tests, identities_of_all_presets);
    tcase_add_test(tests, a_seed_fixes_the_file);
    tcase_add_test(tests, random_weights_hold_no_zero);
    tcase_add_test(tests, random_values_are_normal);
    tcase_add_test(tests, get_knows_names_and_counts);
    tcase_add_test(tests, seed_has_the_parameters_it_started_from);
    tcase_add_test(tests, the_arena_has_no_overlaps);
    tcase_add_test(tests, patches_are_permuted);
    tcase_add_test(tests, latent_id_is_of_the_autoencoder);
    tcase_add_test(tests, failures_of_writing);
    tcase_add_test(tests, a_full_disk_leaves_the_old_file);
    tcase_add_test(tests, too_large_for_f16);
    tcase_add_test(tests, halves_round_trip);
    tcase_add_test(tests, halves_round_to_nearest_even);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
