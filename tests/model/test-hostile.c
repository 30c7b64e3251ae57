/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Weights files that lie. Each must be refused with the documented code and one line of text, fast
 * and without allocating by what the file says.
 */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common.h"
#include "rng.h"

/* Long under sanitizers on a busy machine, short beside reading what a hostile header promises. */
#define SLOWEST_MS 2000

/* A valid file in pieces: header text and data. */
static char *header, *data;
static gsize data_bytes;
static char *path; /* where the forged one is written */

static void setup(void) {
    struct fw_config config = {16, 1, 64, 1, 1, 2, {8, "2"}, {8, "M"}};
    char *valid = test_weights(&config, 3, "valid.safetensors"), *bytes;
    gsize length;
    guint64 n;
    ck_assert(g_file_get_contents(valid, &bytes, &length, NULL));
    memcpy(&n, bytes, sizeof n);
    header = g_strndup(bytes + 8, n);
    data_bytes = length - 8 - n;
    data = g_memdup2(bytes + 8 + n, data_bytes);
    path = test_path("forged.safetensors");
    g_free(bytes);
    g_free(valid);
}

static void teardown(void) {
    g_free(header);
    g_free(data);
    g_free(path);
}

/* length: what the first eight bytes say. */
static void write_file(guint64 length, const char *text, gsize text_bytes, gsize bytes_of_data) {
    FILE *file = fopen(path, "wbe");
    ck_assert_ptr_nonnull(file);
    length = GUINT64_TO_LE(length);
    ck_assert(fwrite(&length, 8, 1, file) == 1);
    ck_assert(fwrite(text, 1, text_bytes, file) == text_bytes);
    ck_assert(fwrite(data, 1, bytes_of_data, file) == bytes_of_data);
    ck_assert(fclose(file) == 0);
}

static void forge(const char *text) {
    write_file(strlen(text), text, strlen(text), data_bytes);
}

static void is_refused(const char *at, enum fw_error code, const char *what) {
    GError *error = NULL;
    gint64 start = g_get_monotonic_time();
    struct fw_weights *weights = fw_weights_load(at, &error);
    double ms = (double)(g_get_monotonic_time() - start) * 1e-3;
    char *name = g_path_get_basename(at);
    ck_assert_msg(!error || strstr(error->message, name), "%s: no path in: %s", what,
                  error ? error->message : "");
    test_refused(weights == NULL, &error, code, what);
    ck_assert_msg(ms < SLOWEST_MS, "%s: took %g ms", what, ms);
    g_free(name);
}

static char *replace(const char *text, const char *find, const char *with) {
    const char *at = strstr(text, find);
    ck_assert_msg(at != NULL, "\"%s\" is not in the header", find);
    return g_strdup_printf("%.*s%s%s", (int)(at - text), text, with, at + strlen(find));
}

START_TEST(the_original_is_accepted) {
    GError *error = NULL;
    forge(header);
    struct fw_weights *weights = fw_weights_load(path, &error);
    ck_ok(weights, error);
    fw_weights_unref(weights);
}
END_TEST

/* -------------------------------------------------------------------------------------- header */

#define STEM \
    "\"decoder.block0.conv1.bias\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[0,32]}"
#define WEIGHT                                                                 \
    "\"decoder.block0.conv1.weight\":{\"dtype\":\"F32\",\"shape\":[8,16,3,3]," \
    "\"data_offsets\":[32,4640]}"

/*
 * Each replaces the first occurrence of a part of the header. says: a part of the message, where
 * another check, the checksum say, would refuse the file too.
 */
static const struct {
    const char *what, *find, *replace, *says;
} forged[] = {
    {"dtype F64", "F32", "F64"},
    {"dtype BF16", "F32", "BF16"},
    {"dtype F16 where the data is F32", "F32", "F16"},
    {"dtype of lower case", "F32", "f32"},
    {"dtype number", "\"F32\"", "32"},
    {"dtype missing", "\"dtype\":\"F32\",", ""},
    {"shape missing", "\"shape\":[8],", ""},
    {"shape of a wrong size", "[8]", "[9]"},
    {"shape 0", "[8]", "[0]"},
    {"shape negative", "[8]", "[-8]", "something else"},
    {"shape 2^31", "[8]", "[2147483648]"},
    {"shape 2^32 + 8", "[8]", "[4294967304]"},
    {"shape 2^63", "[8]", "[9223372036854775808]"},
    {"shape 2^64 + 8", "[8]", "[18446744073709551624]", "18 digits"},
    {"shape whose product overflows", "[8,16,3,3]", "[4294967296,4294967296,3,3]"},
    {"shape transposed", "[8,16,3,3]", "[16,8,3,3]"},
    {"shape flat", "[8,16,3,3]", "[1152]"},
    {"shape with a one too many", "[8]", "[8,1]"},
    {"rank 0", "[8]", "[]"},
    {"rank 9", "[8]", "[1,1,1,1,1,1,1,1,8]"},
    {"shape of strings", "[8]", "[\"8\"]"},
    {"shape fraction", "[8]", "[8.0]"},
    {"shape exponent", "[8]", "[8e0]"},
    {"shape octal", "[8]", "[010]", "leading zero"},
    {"shape string", "[8]", "\"8\""},
    {"shape object", "[8]", "{}"},
    {"shape null", "[8]", "null"},
    {"offsets missing", ",\"data_offsets\":[0,32]", ""},
    {"offsets of one number", "[0,32]", "[0]"},
    {"offsets of three numbers", "[0,32]", "[0,32,32]"},
    {"offsets backwards", "[0,32]", "[32,0]"},
    {"offsets empty", "[0,32]", "[0,0]"},
    {"offsets negative", "[0,32]", "[-32,0]"},
    {"offsets too short", "[0,32]", "[0,28]"},
    {"offsets too long", "[0,32]", "[0,36]"},
    {"offsets at 2^57", "[0,32]", "[144115188075855872,144115188075855904]", "starts at"},
    {"offsets at 2^62", "[0,32]", "[4611686018427387904,4611686018427387936]", "18 digits"},
    {"offsets that wrap", "[0,32]", "[18446744073709551600,16]"},
    {"a hole at the start", "[0,32]", "[32,64]", "starts at"},
    {"a hole in the middle", "[32,4640]", "[36,4644]", "starts at"},
    {"an overlap by one value", "[32,4640]", "[28,4636]", "starts at"},
    {"the same bytes twice", "[32,4640]", "[0,4608]", "starts at"},
    {"beyond the end", "[0,32]", "[100000000,100000032]", "starts at"},
    {"a tensor missing", STEM ",", ""},
    {"a tensor twice", STEM, STEM "," STEM},
    {"a tensor of another network", "encoder.stem.bias", "encoder.stem.gain"},
    {"a tensor too many", STEM,
     STEM ",\"x\":{\"dtype\":\"F32\",\"shape\":[1],"
          "\"data_offsets\":[0,4]}"},
    {"an internal name", "model.layer0.mesa.z.bias", "model.layer0.mesa.qkv.bias"},
    {"a name with control characters", "encoder.stem.bias", "encoder\\n\\u001b[31m"},
    {"a tensor that is a number", STEM, "\"decoder.block0.conv1.bias\":8"},
    {"a tensor that is null", STEM, "\"decoder.block0.conv1.bias\":null"},
    {"a tensor that is an array", STEM, "\"decoder.block0.conv1.bias\":[]"},
    {"a tensor that is empty", STEM, "\"decoder.block0.conv1.bias\":{}"},
    {"a key twice in a tensor", "\"shape\":[8]", "\"shape\":[8],\"shape\":[8]", "twice"},
    {"an unknown key in a tensor", "\"shape\":[8]", "\"shape\":[8],\"file\":\"/etc/passwd\""},
    {"no metadata", "__metadata__", "__metadatum__"},
    {"metadata that is a string", "\"__metadata__\":{", "\"__metadata__\":\"\",\"x\":{"},
    {"metadata twice", "{\"__metadata__\":", "{\"__metadata__\":{},\"__metadata__\":"},
    {"metadata with a number", "\"task\":\"restore\"", "\"task\":\"restore\",\"n\":1"},
    {"no config", "\"config\"", "\"confug\""},
    {"config number", "\"config\":\"", "\"config\":1,\"x\":\""},
    {"config not JSON", "\"config\":\"{", "\"config\":\"("},
    {"config of another patch", "\\\"patch\\\":1", "\\\"patch\\\":2"},
    {"config of two layers", "\\\"layers\\\":1", "\\\"layers\\\":2"},
    {"config of three levels", "\\\"levels\\\":2", "\\\"levels\\\":3"},
    {"config of two heads", "\\\"heads\\\":1", "\\\"heads\\\":2"},
    {"config of another block", "\\\"blocks\\\":\\\"2", "\\\"blocks\\\":\\\"S", "its autoencoder"},
    {"config of huge layers", "\\\"layers\\\":1", "\\\"layers\\\":1000000000"},
    {"no task", "\"task\"", "\"tusk\""},
    {"an unknown task", "restore", "destroy"},
    {"an empty task", "restore", ""},
    {"no checksum", "\"sha256\"", "\"sha255\""},
    {"a checksum too short", "\"sha256\":\"", "\"sha256\":\"00\",\"x\":\"", "hexadecimal"},
    {"no latent id", "\"latent_id\"", "\"latent_ix\""},
    {"a latent id of something else", "\"latent_id\":\"",
     "\"latent_id\":\"0123456789abcdef\",\"x\":\"", "its autoencoder"},
    {"a latent id of capitals", "\"latent_id\":\"", "\"latent_id\":\"0123456789ABCDEF\",\"x\":\""},
    {"a comment", "{\"dtype", "/**/{\"dtype", "something else"},
    {"a line comment", "{\"dtype", "//\n{\"dtype"},
    {"a trailing comma", "[0,32]}", "[0,32],}"},
    {"single quotes", "\"dtype\"", "'dtype'"},
    {"an assignment", "{\"__metadata__\"", "var x = {\"__metadata__\""},
    {"an array around it", "{\"__metadata__\"", "[{\"__metadata__\""},
    {"a space before it", "{\"__metadata__\"", " {\"__metadata__\"", "no object"},
    {"a byte order mark", "{\"__metadata__\"", "\xef\xbb\xbf{\"__metadata__\""},
    {"not UTF-8", "restore", "restor\xe9", "UTF-8"},
    {"a surrogate", "restore", "restor\\ud83d", "surrogate"},
    {"a surrogate pair", "restore", "\\ud83d\\ude00", "surrogate"},
    {"an escaped NUL", "restore", "restore\\u0000", "NUL"},
    {"a raw line feed", "restore", "restore\n", "control"},
    {"an unknown escape", "restore", "\\qestore", "escape"},
    {"deep nesting", "[8]", "[[[[[[[[[[[8]]]]]]]]]]]", "nesting"},
    {"something after it", "[0,32]}", "[0,32]}}{", "more than one"},
    {"empty objects in the way", "\"dtype\":\"F32\"", "\"dtype\":{\"F32\":{}}"},
};

START_TEST(forged_headers_are_refused) {
    char *text = replace(header, forged[_i].find, forged[_i].replace);
    GError *error = NULL;
    forge(text);
    is_refused(path, FW_ERROR_FORMAT, forged[_i].what);
    ck_assert_ptr_null(fw_weights_load(path, &error));
    ck_assert_msg(!forged[_i].says || strstr(error->message, forged[_i].says), "%s: %s",
                  forged[_i].what, error->message);
    g_error_free(error);
    g_free(text);
}
END_TEST

/* What is allowed: spaces, another order, unknown strings in the metadata, as other tools write. */
START_TEST(harmless_changes_are_accepted) {
    static const struct {
        const char *find, *replace;
    } harmless[] = {
        {"\"task\":\"restore\"", "\"task\":\"restore\",\"format\":\"pt\""},
        {"\"task\"", "\n \"task\" "},
        {STEM "," WEIGHT, WEIGHT "," STEM},
        {"\"dtype\":\"F32\",\"shape\":[8]", "\"shape\":[8],\"dtype\":\"F32\""},
    };
    for (gsize i = 0; i < G_N_ELEMENTS(harmless); i++) {
        GError *error = NULL;
        char *text = replace(header, harmless[i].find, harmless[i].replace);
        forge(text);
        struct fw_weights *weights = fw_weights_load(path, &error);
        ck_ok(weights, error);
        fw_weights_unref(weights);
        g_free(text);
    }
}
END_TEST

START_TEST(many_tensors_are_refused) {
    GString *text = g_string_new("{");
    for (int i = 0; text->len < 1000000; i++)
        g_string_append_printf(text, "\"t%d\":{},", i);
    g_string_append(text, header + 1);
    forge(text->str);
    is_refused(path, FW_ERROR_FORMAT, "tens of thousands of tensors");
    g_string_free(text, TRUE);
}
END_TEST

START_TEST(much_metadata_is_refused) {
    GString *pairs = g_string_new("\"__metadata__\":{");
    for (int i = 0; i < 100; i++)
        g_string_append_printf(pairs, "\"k%d\":\"\",", i);
    char *text = replace(header, "\"__metadata__\":{", pairs->str);
    forge(text);
    is_refused(path, FW_ERROR_FORMAT, "a hundred keys of metadata");
    g_free(text);
    g_string_free(pairs, TRUE);
}
END_TEST

START_TEST(every_length_of_the_header_is_refused) {
    gsize n = strlen(header);
    for (gsize length = 0; length < n; length++) {
        write_file(length, header, n, 64);
        is_refused(path, FW_ERROR_FORMAT, "a header cut short");
    }
}
END_TEST

START_TEST(hostile_header_lengths) {
    static const guint64 lengths[] = {0,
                                      1,
                                      2,
                                      0x100000,
                                      0x100001,
                                      100000000,
                                      G_MAXINT32,
                                      G_MAXUINT32,
                                      G_MAXINT64,
                                      G_GUINT64_CONSTANT(1) << 63,
                                      G_MAXUINT64 - 7,
                                      G_MAXUINT64};
    for (gsize i = 0; i < G_N_ELEMENTS(lengths); i++) {
        write_file(lengths[i], header, strlen(header), data_bytes);
        is_refused(path, FW_ERROR_FORMAT, "a header length");
    }
}
END_TEST

/* ---------------------------------------------------------------------------------------- size */

START_TEST(every_length_of_the_file_is_refused) {
    gsize head = 8 + strlen(header);
    guint64 key = fw_rng_key(1, 1);
    forge(header);
    for (guint64 i = 0; i < 500; i++) { /* data: ever shorter by a random step */
        gsize size = head + data_bytes - 1 - (gsize)((double)i / 500 * (double)data_bytes) -
                     (gsize)(fw_rng_bits(key, i) % 64);
        ck_assert_int_eq(truncate(path, (off_t)MAX(size, head)), 0);
        is_refused(path, FW_ERROR_FORMAT, "data cut short");
    }
    for (gsize size = head; size-- > 0;) {
        ck_assert_int_eq(truncate(path, (off_t)size), 0);
        is_refused(path, FW_ERROR_FORMAT, "a file cut short");
    }
}
END_TEST

START_TEST(longer_files_are_refused) {
    forge(header);
    off_t size = (off_t)(8 + strlen(header) + data_bytes);
    for (int more = 1; more < 9; more++) {
        ck_assert_int_eq(truncate(path, size + more), 0);
        is_refused(path, FW_ERROR_FORMAT, "bytes after the data");
    }
    if (truncate(path, (off_t)100 << 30) == 0)
        is_refused(path, FW_ERROR_FORMAT, "100 GiB");
    ck_assert_int_eq(truncate(path, 0), 0);
    if (truncate(path, (off_t)100 << 30) == 0)
        is_refused(path, FW_ERROR_FORMAT, "100 GiB of zeros");
}
END_TEST

/* --------------------------------------------------------------------------------------- values */

/* Any single bit of header or length, and bits all over the data. */
START_TEST(flipped_bits_are_refused) {
    gsize n = strlen(header), whole = 8 + n + data_bytes;
    guint64 key = fw_rng_key(2, 2);
    forge(header);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    for (guint64 i = 0; i < 8 + n + 300; i++) {
        guint64 random = fw_rng_bits(key, i);
        off_t at = (off_t)(i < 8 + n ? i : random % (whole - 8 - n) + 8 + n);
        guint8 byte, flipped;
        ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
        flipped = byte ^ (guint8)(1 << (random >> 32) % 8);
        ck_assert_int_eq(pwrite(fd, &flipped, 1, at), 1);
        is_refused(path, FW_ERROR_FORMAT, "a flipped bit");
        ck_assert_int_eq(pwrite(fd, &byte, 1, at), 1);
    }
    close(fd);
}
END_TEST

/* The file with its checksum made right, so that only the values are wrong. */
static void forge_values(void) {
    char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, (guchar *)data, data_bytes);
    char *at = strstr(header, "\"sha256\":\"");
    memcpy(at + 10, sum, 64);
    g_free(sum);
    forge(header);
}

START_TEST(values_that_are_not_finite) {
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    const gsize places[] = {0, data_bytes / 8 * 4, data_bytes - 4};
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++)
        for (gsize j = 0; j < G_N_ELEMENTS(places); j++) {
            float kept;
            memcpy(&kept, data + places[j], 4);
            memcpy(data + places[j], &bad[i], 4);
            forge_values();
            is_refused(path, FW_ERROR_NONFINITE, "NaN or infinity");
            memcpy(data + places[j], &kept, 4);
        }
}
END_TEST

/* A changed weight of the autoencoder under its old latent id: two networks with one name. */
START_TEST(a_wrong_latent_id) {
    data[4] ^= 1;
    forge_values();
    is_refused(path, FW_ERROR_FORMAT, "latents of another autoencoder");
}
END_TEST

START_TEST(a_scale_that_is_not_positive) {
    const char *at = strstr(header, "\"latent.scale\"");
    gsize begin = g_ascii_strtoull(strstr(at, "data_offsets\":[") + 15, NULL, 10);
    float zero = 0;
    GError *error = NULL;
    memcpy(data + begin, &zero, 4);
    forge_values();
    struct fw_weights *weights = fw_weights_load(path, &error);
    test_refused(weights == NULL, &error, FW_ERROR_FORMAT, "a scale of zero");
}
END_TEST

/* --------------------------------------------------------------------------------------- paths */

START_TEST(odd_paths_are_refused) {
    char *missing = test_path("missing.safetensors"), *under = test_path("valid.safetensors/x"),
         *fifo = test_path("fifo"), *folder = test_path("folder"), *loop = test_path("loop");
    is_refused(missing, FW_ERROR_NOT_FOUND, "a missing file");
    is_refused(under, FW_ERROR_NOT_FOUND, "a file under a file");
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    is_refused(fifo, FW_ERROR_READ, "a pipe that nobody writes");
    ck_assert_int_eq(g_mkdir(folder, 0700), 0);
    is_refused(folder, FW_ERROR_READ, "a folder");
    ck_assert_int_eq(symlink("loop", loop), 0);
    is_refused(loop, FW_ERROR_READ, "a link to itself");
    is_refused("/dev/zero", FW_ERROR_READ, "/dev/zero");
    is_refused("/dev/null", FW_ERROR_READ, "/dev/null");
    GError *error = NULL;
    struct fw_weights *weights = fw_weights_load("", &error);
    test_refused(weights == NULL, &error, FW_ERROR_NOT_FOUND, "no name");
    g_free(missing);
    g_free(under);
    g_free(fifo);
    g_free(folder);
    g_free(loop);
}
END_TEST

START_TEST(an_unreadable_file_is_refused) {
    forge(header);
    ck_assert_int_eq(chmod(path, 0), 0);
    if (geteuid() == 0 && seteuid(65534) != 0)
        return; /* root reads everything and cannot step down here */
    is_refused(path, FW_ERROR_READ, "a file without permission");
    ck_assert_int_eq(seteuid(getuid()), 0);
}
END_TEST

/* ---------------------------------------------------------------------------- what it may cost */

static gint64 peak_kib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* A header that asks for a gigabyte of weights, over a file that has not got them. */
START_TEST(nothing_is_allocated_by_what_a_file_says) {
    struct fw_config config = {64, 64, 512, 4, 16, 20, {512, "MMMMMMMMMMMMMMMM"}, {512, "M"}};
    char *json = fw_config_to_json(&config), *escaped = g_strescape(json, NULL);
    char *from = strstr(header, "\"config\":\""), *to = strstr(from + 10, "\",\"");
    char *text =
        g_strdup_printf("%.*s\"config\":\"%s%s", (int)(from - header), header, escaped, to);
    gint64 before = peak_kib();
    forge(text);
    is_refused(path, FW_ERROR_FORMAT, "a gigabyte of weights");
    gint64 grown = peak_kib() - before;
    ck_assert_msg(grown < 8192, "grew by %" G_GINT64_FORMAT " KiB", grown);
    g_free(text);
    g_free(escaped);
    g_free(json);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("hostile");
    TCase *tests = tcase_create("hostile");
    tcase_add_unchecked_fixture(tests, setup, teardown); /* once for all */
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, the_original_is_accepted);
    tcase_add_loop_test(tests, forged_headers_are_refused, 0, (int)G_N_ELEMENTS(forged));
    tcase_add_test(tests, harmless_changes_are_accepted);
    tcase_add_test(tests, many_tensors_are_refused);
    tcase_add_test(tests, much_metadata_is_refused);
    tcase_add_test(tests, every_length_of_the_header_is_refused);
    tcase_add_test(tests, hostile_header_lengths);
    tcase_add_test(tests, every_length_of_the_file_is_refused);
    tcase_add_test(tests, longer_files_are_refused);
    tcase_add_test(tests, flipped_bits_are_refused);
    tcase_add_test(tests, values_that_are_not_finite);
    tcase_add_test(tests, a_wrong_latent_id);
    tcase_add_test(tests, a_scale_that_is_not_positive);
    tcase_add_test(tests, odd_paths_are_refused);
    tcase_add_test(tests, an_unreadable_file_is_refused);
    tcase_add_test(tests, nothing_is_allocated_by_what_a_file_says);
    suite_add_tcase(suite, tests);
    return test_main(suite);
}
