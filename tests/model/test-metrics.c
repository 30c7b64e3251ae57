/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures of training in files. */
#include <glib/gstdio.h>
#include <locale.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>

#include "common.h"
#include "tensorboard.h"

static struct fw_train_report report(guint64 step) {
    return (struct fw_train_report){.step = step,
                                    .steps = 100,
                                    .epoch = 2,
                                    .skipped = 1,
                                    .loss = 0.125 / (double)(step + 1),
                                    .loss_mean = 0.5,
                                    .psnr = 30.25,
                                    .part = {1e-9, 0.25, NAN, NAN, NAN},
                                    .gradient_norm = 12345678,
                                    .learning_rate = 1e-3,
                                    .validation_psnr = NAN,
                                    .validation_input_psnr = NAN};
}

static void write_steps(const char *path, guint64 from, guint64 to) {
    GError *error = NULL;
    struct fw_metrics *m = fw_metrics_new(path, NULL, &error);
    ck_ok(m, error);
    for (guint64 step = from; step <= to; step++) {
        struct fw_train_report r = report(step);
        ck_ok(fw_metrics_write(m, &r, (double)step / 4, &error), error);
    }
    fw_metrics_free(m);
}

static char **lines_of(const char *path) {
    char *text;
    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    ck_assert(g_str_has_suffix(text, "\n"));
    text[strlen(text) - 1] = 0;
    char **lines = g_strsplit(text, "\n", -1);
    g_free(text);
    return lines;
}

START_TEST(rows_of_a_run) {
    char *path = test_path("a.csv"), **lines;
    setlocale(LC_ALL, "de_DE.UTF-8"); /* where it is there: a comma would spoil the row */
    write_steps(path, 1, 3);
    lines = lines_of(path);
    ck_assert_uint_eq(g_strv_length(lines), 4);
    ck_assert_str_eq(lines[0],
                     "step,epoch,seconds,loss,loss_mean,psnr,mean_square,charbonnier,"
                     "temporal_difference,laplacian,ms_ssim,gradient_norm,learning_rate,skipped,"
                     "validation_psnr,validation_input_psnr");
    ck_assert_str_eq(lines[1], "1,2,0.25,0.0625,0.5,30.25,1e-09,0.25,,,,12345678,0.001,1,,");
    g_strfreev(lines);
    g_free(path);
}
END_TEST

START_TEST(validation_is_a_row_once) {
    char *path = test_path("a.csv"), **lines;
    GError *error = NULL;
    struct fw_metrics *m = fw_metrics_new(path, NULL, &error);
    ck_ok(m, error);
    for (guint64 step = 1; step < 5; step++) {
        struct fw_train_report r = report(step);
        r.validation_psnr = step >= 2 ? 31.5 : NAN;
        r.validation_input_psnr = 20;
        r.validation_step = step >= 2 ? 2 : 0;
        ck_ok(fw_metrics_write(m, &r, 1, &error), error);
    }
    fw_metrics_free(m);
    lines = lines_of(path);
    for (int i = 1; i < 5; i++)
        ck_assert_int_eq(g_str_has_suffix(lines[i], ",31.5,20"), i == 2);
    g_strfreev(lines);
    g_free(path);
}
END_TEST

/* A run that was killed after step 8's checkpoint wrote rows that come again. */
START_TEST(resumed_rows_replace_those_that_come_again) {
    char *path = test_path("a.csv"), *text, **lines;
    write_steps(path, 1, 20);
    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    text[strlen(text) - 10] = 0; /* killed while writing */
    ck_assert(g_file_set_contents(path, text, -1, NULL));
    g_free(text);
    write_steps(path, 9, 12);
    lines = lines_of(path);
    ck_assert_uint_eq(g_strv_length(lines), 13);
    for (guint i = 1; i <= 12; i++)
        ck_assert_uint_eq(g_ascii_strtoull(lines[i], NULL, 10), i);
    g_strfreev(lines);
    g_free(path);
}
END_TEST

START_TEST(half_a_row_is_dropped) {
    char *path = test_path("a.csv"), *text, **lines;
    write_steps(path, 1, 5);
    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    text[strlen(text) - 10] = 0;
    ck_assert(g_file_set_contents(path, text, -1, NULL));
    g_free(text);
    write_steps(path, 7, 7);
    lines = lines_of(path);
    ck_assert_uint_eq(g_strv_length(lines), 6);
    ck_assert(g_str_has_prefix(lines[4], "4,") && g_str_has_prefix(lines[5], "7,"));
    g_strfreev(lines);
    g_free(path);
}
END_TEST

static void refused(const char *csv, const char *board, enum fw_error code) {
    GError *error = NULL;
    struct fw_metrics *m = fw_metrics_new(csv, board, &error);
    test_refused(!m, &error, code, csv ? csv : board);
}

START_TEST(what_is_no_file_of_metrics_is_left_alone) {
    char *path = test_path("a.csv"), *text, *inside = g_build_filename(path, "b.csv", NULL);
    GError *error = NULL;
    ck_assert(g_file_set_contents(path, "my thesis\n", -1, NULL));
    refused(path, NULL, FW_ERROR_FORMAT);
    ck_assert(g_file_get_contents(path, &text, NULL, NULL));
    ck_assert_str_eq(text, "my thesis\n");
    ck_assert(g_file_set_contents(path, "no end of line", -1, NULL));
    refused(path, NULL, FW_ERROR_FORMAT);
    refused(inside, NULL, FW_ERROR_WRITE);
    refused(NULL, inside, FW_ERROR_WRITE);
    g_unlink(path);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    refused(path, NULL, FW_ERROR_ARGUMENT);
    g_unlink(path);
    refused("/dev/full", NULL, FW_ERROR_DISK_FULL);
    struct fw_metrics *m = fw_metrics_new("/dev/null", NULL, &error);
    struct fw_train_report r = report(1);
    ck_ok(m, error);
    ck_ok(fw_metrics_write(m, &r, 0, &error), error);
    fw_metrics_free(m);
    g_free(text);
    g_free(inside);
    g_free(path);
}
END_TEST

/* -------------------------------------------------------------------------------- TensorBoard */

START_TEST(checksums_are_those_of_the_standard) {
    guint8 zeros[32] = {0};
    guint32 crc = 0x8a9136aa; /* of 32 zeros, and of "123456789": RFC 3720, B.4 */
    ck_assert_uint_eq(fw_tensorboard_checksum(zeros, 32), (crc >> 15 | crc << 17) + 0xa282ead8);
    crc = 0xe3069283;
    ck_assert_uint_eq(fw_tensorboard_checksum("123456789", 9),
                      (crc >> 15 | crc << 17) + 0xa282ead8);
}
END_TEST

static guint32 read_32(const char *at) {
    guint32 value;
    memcpy(&value, at, sizeof value);
    return GUINT32_FROM_LE(value);
}

/* The bytes of the record at *at, which moves on. */
static GByteArray *next_record(const char *bytes, gsize n, gsize *at) {
    guint64 length;
    ck_assert_uint_le(*at + 16, n);
    memcpy(&length, bytes + *at, 8);
    ck_assert_uint_eq(read_32(bytes + *at + 8), fw_tensorboard_checksum(bytes + *at, 8));
    ck_assert_uint_le(*at + 16 + length, n);
    GByteArray *record = g_byte_array_new();
    g_byte_array_append(record, (const guint8 *)bytes + *at + 12, (guint)length);
    ck_assert_uint_eq(read_32(bytes + *at + 12 + length),
                      fw_tensorboard_checksum(record->data, record->len));
    *at += 16 + length;
    return record;
}

static char *only_file(const char *folder) {
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name = g_dir_read_name(dir);
    ck_assert_ptr_nonnull(name);
    ck_assert(g_str_has_prefix(name, "events.out.tfevents."));
    char *path = g_build_filename(folder, name, NULL);
    ck_assert_ptr_null(g_dir_read_name(dir));
    g_dir_close(dir);
    return path;
}

START_TEST(events_can_be_read) {
    static const guint8 loss[] = {0x0a, 10,  't', 'r',  'a', 'i', 'n',  '/', 'l',
                                  'o',  's', 's', 0x15, 0,   0,   0x80, 0x3d};
    char *folder = test_path("board"), *path, *bytes;
    struct fw_train_report r = report(1);
    GError *error = NULL;
    gsize n, at = 0;
    struct fw_metrics *m = fw_metrics_new(NULL, folder, &error);
    ck_ok(m, error);
    ck_ok(fw_metrics_write(m, &r, 1, &error), error);
    r.step = 300;
    ck_ok(fw_metrics_write(m, &r, 1, &error), error);
    fw_metrics_free(m);
    path = only_file(folder);
    ck_assert(g_file_get_contents(path, &bytes, &n, NULL));
    GByteArray *version = next_record(bytes, n, &at), *first = next_record(bytes, n, &at),
               *second = next_record(bytes, n, &at);
    ck_assert_uint_eq(at, n);
    ck_assert_uint_eq(version->len, 9 + 2 + 2 + 13);
    ck_assert_mem_eq(version->data + 11,
                     "\x1a\x0d"
                     "brain.Event:2",
                     15);
    ck_assert_mem_eq(first->data + 9, "\x10\x01\x2a", 3);
    ck_assert_uint_eq(first->data[12], first->len - 13); /* the summary is the rest */
    ck_assert_mem_eq(first->data + 13, "\x0a\x11", 2);
    ck_assert_mem_eq(first->data + 15, loss, sizeof loss);
    ck_assert_mem_eq(second->data + 9, "\x10\xac\x02\x2a", 4); /* 300 as a varint */
    g_byte_array_unref(version);
    g_byte_array_unref(first);
    g_byte_array_unref(second);
    g_unlink(path);
    g_rmdir(folder);
    g_free(bytes);
    g_free(path);
    g_free(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("metrics");
    TCase *c = tcase_create("metrics");
    tcase_set_timeout(c, 30);
    tcase_add_test(c, rows_of_a_run);
    tcase_add_test(c, validation_is_a_row_once);
    tcase_add_test(c, resumed_rows_replace_those_that_come_again);
    tcase_add_test(c, half_a_row_is_dropped);
    tcase_add_test(c, what_is_no_file_of_metrics_is_left_alone);
    tcase_add_test(c, checksums_are_those_of_the_standard);
    tcase_add_test(c, events_can_be_read);
    suite_add_tcase(suite, c);
    return test_main(suite);
}
