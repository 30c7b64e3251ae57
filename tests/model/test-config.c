/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The config: presets, ranges, JSON. */
#include <string.h>

#include "common.h"

START_TEST(presets_are_as_documented) {
    const char *const *names = fw_preset_names();
    ck_assert_str_eq(names[0], "thin");
    ck_assert_uint_eq(g_strv_length((char **)names), 5);
    for (int i = 0; names[i]; i++) {
        struct fw_config config;
        GError *error = NULL;
        ck_ok(fw_config_preset(&config, names[i], &error), error);
        ck_ok(fw_config_check(&config, &error), error);
        ck_assert_str_eq(fw_config_name(&config), names[i]);
        config.levels = 11;
        ck_assert_str_eq(fw_config_name(&config), "custom");
    }
}
END_TEST

START_TEST(an_unknown_preset_is_refused) {
    struct fw_config config;
    GError *error = NULL;
    gboolean ok = fw_config_preset(&config, "thick\n", &error);
    ck_assert_ptr_nonnull(strstr(error->message, "large"));
    test_refused(!ok, &error, FW_ERROR_ARGUMENT, "thick");
}
END_TEST

START_TEST(json_round_trip) {
    const char *const *names = fw_preset_names();
    for (int i = 0; names[i]; i++) {
        struct fw_config config, again;
        GError *error = NULL;
        ck_ok(fw_config_preset(&config, names[i], &error), error);
        char *json = fw_config_to_json(&config);
        ck_ok(fw_config_from_json(&again, json, strlen(json), &error), error);
        ck_assert(fw_config_equal(&config, &again));
        g_free(json);
    }
}
END_TEST

START_TEST(json_in_another_order_with_spaces) {
    const char *json = "{ \"decoder\" : {\"blocks\":\"2\",\"width\":8},\t\"levels\":2,\n"
                       "\"layers\":1,\"heads\":1,\"dim\":64,\"patch\":1,\"latent_channels\":16,"
                       "\"encoder\":{\"width\":8,\"blocks\":\"\\u004d\"} } ";
    struct fw_config config;
    GError *error = NULL;
    ck_ok(fw_config_from_json(&config, json, strlen(json), &error), error);
    ck_assert_str_eq(config.encoder.blocks, "M");
}
END_TEST

static const char valid[] =
    "{\"latent_channels\":32,\"patch\":4,\"dim\":128,\"heads\":4,"
    "\"layers\":1,\"levels\":12,\"encoder\":{\"width\":64,\"blocks\":\"M2M\"},"
    "\"decoder\":{\"width\":64,\"blocks\":\"M2M2\"}}";

/* Each replaces the first occurrence of a part of the text above. */
static const struct {
    const char *find, *replace;
} hostile[] = {
    {"32", "33"},
    {"32", "0"},
    {"32", "-32"},
    {"32", "32.0"},
    {"32", "3.2e1"},
    {"32", "0x20"},
    {"32", "032"},
    {"32", "\"32\""},
    {"32", "null"},
    {"32", "true"},
    {"32", "[32]"},
    {"32", "{}"},
    {"32", "99999999999999999999999999999"},
    {"32", "9223372036854775808"},
    {"32", "4294967328"}, /* 2^32 + 32 */
    {"\"patch\":4", "\"patch\":0"},
    {"\"patch\":4", "\"patch\":65"},
    {"\"patch\":4", "\"patch\":4,\"patch\":4"},
    {"\"patch\":4,", ""},
    {"\"patch\"", "\"Patch\""},
    {"\"patch\"", "\"extra\":1,\"patch\""},
    {"\"patch\"", "/* no */\"patch\""},
    {"\"patch\"", "'patch'"},
    {"\"patch\"", "patch"},
    {"128", "32"},
    {"128", "576"},
    {"128", "100"},
    {"\"heads\":4", "\"heads\":3"},
    {"\"heads\":4", "\"heads\":0"},
    {"\"heads\":4,\"layers\":1", "\"heads\":4,\"layers\":17"},
    {"\"dim\":128,\"heads\":4", "\"dim\":512,\"heads\":2"}, /* 256 columns a head */
    {"12", "1"},
    {"\"levels\":12", "\"levels\":21"},
    {"\"levels\":12", "\"levels\":1"},
    {"64", "60"},
    {"64", "0"},
    {"64", "520"},
    {"M2M", ""},
    {"M2M", "M3M"},
    {"M2M", "m2m"},
    {"M2M", "22222222222222222"}, /* 17 */
    {"M2M", "M\\u0000M"},
    {"M2M", "M\\ud800M"},
    {"M2M", "M\\q"},
    {"M2M", "M\nM"},
    {"M2M", "M\xff"},
    {"\"M2M\"", "2"},
    {"\"encoder\":{", "\"encoder\":[{"},
    {"\"encoder\":{\"width\":64,\"blocks\":\"M2M\"}", "\"encoder\":\"thin\""},
    {"\"encoder\":{\"width\":64", "\"encoder\":{\"width\":64,\"width\":64"},
    {"\"encoder\":{\"width\":64", "\"encoder\":{\"depth\":3,\"width\":64"},
    {"\"encoder\":{\"width\":64", "\"encoder\":{\"x\":[[[[[[[[1]]]]]]]],\"width\":64"},
    {"}}", "}"},
    {"}}", "}}}"},
    {"}}", "}}{}"},
    {"}}", "}}0"},
    {"}}", "},}"},
    {"{\"latent", "[{\"latent"},
    {"{\"latent", " {\"latent"},
    {"{\"latent", "\xef\xbb\xbf{\"latent"},
    {":32", "32"},
    {":32", "::32"},
};

static char *replace(const char *text, const char *find, const char *with) {
    const char *at = strstr(text, find);
    ck_assert_ptr_nonnull(at);
    return g_strdup_printf("%.*s%s%s", (int)(at - text), text, with, at + strlen(find));
}

START_TEST(hostile_json_is_refused) {
    struct fw_config config, before;
    GError *error = NULL;
    memset(&config, 7, sizeof config);
    before = config;
    char *text = replace(valid, hostile[_i].find, hostile[_i].replace);
    gboolean ok = fw_config_from_json(&config, text, strlen(text), &error);
    test_refused(!ok, &error, FW_ERROR_FORMAT, text);
    ck_assert_mem_eq(&config, &before, sizeof config);
    g_free(text);
}
END_TEST

START_TEST(every_prefix_is_refused) {
    struct fw_config config;
    GError *error = NULL;
    for (gsize n = 0; n < sizeof valid - 1; n++) {
        gboolean ok = fw_config_from_json(&config, valid, n, &error);
        test_refused(!ok, &error, FW_ERROR_FORMAT, "prefix");
    }
    ck_ok(fw_config_from_json(&config, valid, sizeof valid - 1, &error), error);
}
END_TEST

START_TEST(deep_json_is_refused_before_it_is_parsed) {
    struct fw_config config;
    GError *error = NULL;
    char *text = g_strnfill(1000000, '[');
    memcpy(text, "{\"a\":", 5);
    gboolean ok = fw_config_from_json(&config, text, 1000000, &error);
    test_refused(!ok, &error, FW_ERROR_FORMAT, "a million brackets");
    g_free(text);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("config");
    TCase *tests = tcase_create("config");
    tcase_add_test(tests, presets_are_as_documented);
    tcase_add_test(tests, an_unknown_preset_is_refused);
    tcase_add_test(tests, json_round_trip);
    tcase_add_test(tests, json_in_another_order_with_spaces);
    tcase_add_loop_test(tests, hostile_json_is_refused, 0, (int)G_N_ELEMENTS(hostile));
    tcase_add_test(tests, every_prefix_is_refused);
    tcase_add_test(tests, deep_json_is_refused_before_it_is_parsed);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
