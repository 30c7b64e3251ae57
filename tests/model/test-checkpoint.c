/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checkpoint files: whole or refused, old or new, whatever happens. */
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint.h"
#include "common.h"

#define VALUES 50

static char *const facts[] = {
    "format=test", "run.config={\"a\":1,\"b\":\"M2\"}", "step=12", "empty=", "real=-1.5e-300",
    NULL};
static const struct fw_part parts[] = {{"params", "F32", 4 * VALUES},
                                       {"averaged", "F32", 0},
                                       {"first", "BF16", 2 * VALUES},
                                       {"state", "U8", 7}};

/* Part i is filled with bytes of its own that depend on *user. */
static gboolean fetch(void *user, guint i, void *bytes, GError **error) {
    memset(bytes, (int)(*(guint *)user + i), parts[i].bytes);
    return TRUE;
}

static gboolean take(void *user, guint i, void *bytes, GError **error) {
    const guint8 *at = bytes;
    for (guint64 k = 0; k < parts[i].bytes; k++)
        if (at[k] != (guint8)(*(guint *)user + i))
            return fw_fail(error, FW_ERROR_FAILED, "byte %u of %s", (guint)k, parts[i].name);
    return TRUE;
}

static gboolean cannot(void *user, guint i, void *bytes, GError **error) {
    return fw_fail(error, FW_ERROR_FAILED, "the device");
}

static gboolean write_to(const char *path, guint value, GError **error) {
    return fw_checkpoint_write(path, facts, parts, G_N_ELEMENTS(parts), fetch, &value, error);
}

static void is_whole(const char *path, guint value) {
    struct fw_checkpoint c;
    GError *error = NULL;
    ck_ok(fw_checkpoint_open(&c, path, &error), error);
    ck_ok(fw_checkpoint_load(&c, parts, G_N_ELEMENTS(parts), take, &value, &error), error);
    fw_checkpoint_close(&c);
}

START_TEST(round_trip) {
    char *path = test_path("a.safetensors"), *other = test_path("b.safetensors"), *a, *b;
    GError *error = NULL;
    struct fw_checkpoint c;
    gsize n, m;
    ck_ok(write_to(path, 3, &error), error);
    ck_ok(write_to(other, 3, &error), error);
    is_whole(path, 3);
    ck_assert(g_file_get_contents(path, &a, &n, NULL) && g_file_get_contents(other, &b, &m, NULL));
    ck_assert_uint_eq(n, m);
    ck_assert_mem_eq(a, b, n);
    ck_ok(fw_checkpoint_open(&c, path, &error), error);
    for (int i = 0; facts[i]; i++)
        ck_assert_str_eq(c.facts[i], facts[i]);
    ck_assert_str_eq(fw_checkpoint_fact(&c, "run.config"), "{\"a\":1,\"b\":\"M2\"}");
    ck_assert_str_eq(fw_checkpoint_fact(&c, "empty"), "");
    ck_assert_ptr_null(fw_checkpoint_fact(&c, "run"));
    fw_checkpoint_close(&c);
    g_free(a);
    g_free(b);
    g_free(path);
    g_free(other);
}
END_TEST

static void refused(const char *path, const char *bytes, gsize n, const char *what) {
    struct fw_checkpoint c;
    GError *error = NULL;
    FILE *file = fopen(path, "wb"); /* thousands of times: not to the disk */
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
    ck_assert_int_eq(fclose(file), 0);
    gboolean ok = fw_checkpoint_open(&c, path, &error);
    test_refused(!ok, &error, FW_ERROR_FORMAT, what);
}

START_TEST(every_truncation_and_bit_is_noticed) {
    char *path = test_path("a.safetensors"), *bytes;
    GError *error = NULL;
    gsize n;
    ck_ok(write_to(path, 3, &error), error);
    ck_assert(g_file_get_contents(path, &bytes, &n, NULL));
    for (gsize i = 0; i < n; i++) {
        char what[64];
        g_snprintf(what, sizeof what, "cut at %u", (guint)i);
        refused(path, bytes, i, what);
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] = (char)(bytes[i] ^ 1 << bit);
            g_snprintf(what, sizeof what, "bit %d of byte %u", bit, (guint)i);
            refused(path, bytes, n, what);
            bytes[i] = (char)(bytes[i] ^ 1 << bit);
        }
    }
    bytes = g_realloc(bytes, n + 1);
    bytes[n] = 0;
    refused(path, bytes, n + 1, "a byte more");
    g_free(bytes);
    g_free(path);
}
END_TEST

START_TEST(other_parts_are_a_mismatch) {
    char *path = test_path("a.safetensors");
    struct fw_part other[G_N_ELEMENTS(parts)];
    GError *error = NULL;
    struct fw_checkpoint c;
    guint value = 3;
    ck_ok(write_to(path, value, &error), error);
    ck_ok(fw_checkpoint_open(&c, path, &error), error);
    for (int i = 0; i < 5; i++) {
        memcpy(other, parts, sizeof parts);
        if (i == 0)
            other[0].bytes = G_MAXINT64; /* never allocated */
        else if (i == 1)
            other[1].bytes = 4;
        else if (i == 2)
            g_strlcpy(other[2].dtype, "F32", sizeof other[2].dtype);
        else if (i == 3)
            other[3].bytes = 0;
        else
            g_strlcpy(other[3].name, "stat", sizeof other[3].name);
        gboolean ok = fw_checkpoint_load(&c, other, G_N_ELEMENTS(parts), take, &value, &error);
        test_refused(!ok, &error, FW_ERROR_MISMATCH, "part");
    }
    fw_checkpoint_close(&c);
    g_free(path);
}
END_TEST

/* ------------------------------------------------------------------------------------ failures */

static void no_leftover(const char *path) {
    char *beside = g_strconcat(path, ".tmp", NULL);
    ck_assert(!g_file_test(beside, G_FILE_TEST_EXISTS));
    g_free(beside);
}

/* The limit is met everywhere: in the header, in each part. */
START_TEST(a_full_disk_leaves_the_old_file) {
    char *path = test_path("a.safetensors");
    GError *error = NULL;
    ck_ok(write_to(path, 3, &error), error);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t at = 0; at < 700; at += 61) {
        struct rlimit limit = {at, RLIM_INFINITY};
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        gboolean ok = write_to(path, 4, &error);
        limit.rlim_cur = RLIM_INFINITY;
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        test_refused(!ok, &error, FW_ERROR_DISK_FULL, "file size limit");
        no_leftover(path);
        is_whole(path, 3);
    }
    ck_ok(write_to(path, 4, &error), error);
    is_whole(path, 4);
    g_free(path);
}
END_TEST

START_TEST(failures_leave_the_old_file) {
    char *path = test_path("a.safetensors"), *missing = test_path("none/a.safetensors"),
         *folder = test_path("folder"), *beside = g_strconcat(path, ".tmp", NULL);
    GError *error = NULL;
    ck_ok(write_to(path, 3, &error), error);
    gboolean ok =
        fw_checkpoint_write(path, facts, parts, G_N_ELEMENTS(parts), cannot, NULL, &error);
    test_refused(!ok, &error, FW_ERROR_FAILED, "the device");
    no_leftover(path);
    ok = write_to(missing, 4, &error);
    ck_assert_ptr_nonnull(strstr(error->message, "none"));
    test_refused(!ok, &error, FW_ERROR_WRITE, "a folder that is not there");
    ck_assert_int_eq(symlink("/dev/full", beside), 0);
    ok = write_to(path, 4, &error);
    test_refused(!ok, &error, FW_ERROR_WRITE, "a link in the way");
    g_unlink(beside);
    ck_assert_int_eq(g_mkdir(folder, 0700), 0);
    ok = write_to(folder, 4, &error);
    test_refused(!ok, &error, FW_ERROR_WRITE, "a folder in the way");
    no_leftover(folder);
    is_whole(path, 3);
    int full = open("/dev/full", O_WRONLY);
    ok = fw_write_all(full, "/dev/full", "a", 1, &error);
    test_refused(!ok, &error, FW_ERROR_DISK_FULL, "/dev/full");
    close(full);
    g_rmdir(folder);
    g_free(beside);
    g_free(folder);
    g_free(missing);
    g_free(path);
}
END_TEST

/* ------------------------------------------------------------------------------------- folders */

static char *new_folder(const char *name) {
    char *path = test_path(name);
    ck_assert_int_eq(g_mkdir(path, 0700), 0);
    return path;
}

static void empty_folder(char *path) {
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
        g_free(file);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(path);
    g_free(path);
}

static void write_step(const char *folder, guint64 step) {
    char *path = fw_checkpoint_path(folder, step);
    GError *error = NULL;
    ck_ok(write_to(path, (guint)step, &error), error);
    g_free(path);
}

static void put(const char *folder, const char *name, const char *text) {
    char *path = g_build_filename(folder, name, NULL);
    ck_assert(g_file_set_contents(path, text, -1, NULL));
    g_free(path);
}

static gboolean there(const char *folder, guint64 step) {
    char *path = fw_checkpoint_path(folder, step);
    gboolean is = g_file_test(path, G_FILE_TEST_EXISTS);
    g_free(path);
    return is;
}

/* The step of what is found, -1: none. */
static int newest(const char *folder, GError **error) {
    struct fw_checkpoint c;
    gboolean found;
    int step = -1;
    if (!fw_checkpoint_newest(&c, folder, &found, error))
        return -2;
    if (found) {
        const char *name = strrchr(c.path, '-');
        step = (int)g_ascii_strtoll(name + 1, NULL, 10);
        fw_checkpoint_close(&c);
    }
    return step;
}

START_TEST(the_newest_whole_one_is_found) {
    char *folder = new_folder("points");
    GError *error = NULL;
    put(folder, "notes.txt", "");
    put(folder, "step-9.safetensors", "");
    put(folder, "step-00000099.safetensors.tmp", "");
    put(folder, "step-000000099.safetensors", "");
    ck_assert_int_eq(newest(folder, &error), -1);
    write_step(folder, 5);
    write_step(folder, 99999999);
    write_step(folder, 100000001);
    ck_assert_int_eq(newest(folder, &error), 100000001);
    put(folder, "step-100000001.safetensors", "torn");
    ck_assert_int_eq(newest(folder, &error), 99999999);
    put(folder, "step-99999999.safetensors", "");
    ck_assert_int_eq(newest(folder, &error), 5);
    put(folder, "step-00000005.safetensors", "12345678");
    gboolean ok = newest(folder, &error) != -2;
    ck_assert_ptr_nonnull(strstr(error->message, "step-100000001"));
    test_refused(!ok, &error, FW_ERROR_FORMAT, "none is whole");
    empty_folder(folder);
    folder = test_path("nowhere");
    ck_assert_int_eq(newest(folder, &error), -1);
    g_free(folder);
}
END_TEST

START_TEST(only_the_newest_stay) {
    char *folder = new_folder("points");
    for (guint64 step = 1; step <= 6; step++)
        write_step(folder, step);
    put(folder, "step-00000002.safetensors.tmp", "");
    put(folder, "mine.safetensors.tmp", "");
    fw_checkpoint_prune(folder, 5, 0);
    for (guint64 step = 1; step <= 6; step++)
        ck_assert(there(folder, step));
    fw_checkpoint_prune(folder, 5, 2); /* 6: of a run that is not this one */
    for (guint64 step = 1; step <= 6; step++)
        ck_assert_int_eq(there(folder, step), step >= 4);
    char *left = g_build_filename(folder, "step-00000002.safetensors.tmp", NULL),
         *mine = g_build_filename(folder, "mine.safetensors.tmp", NULL);
    ck_assert(!g_file_test(left, G_FILE_TEST_EXISTS));
    ck_assert(g_file_test(mine, G_FILE_TEST_EXISTS));
    g_free(left);
    g_free(mine);
    empty_folder(folder);
}
END_TEST

/* Writes checkpoints until it is killed. */
static void write_for_ever(const char *folder, guint64 step) {
    for (;; step++) {
        char *path = fw_checkpoint_path(folder, step);
        if (!write_to(path, (guint)step, NULL))
            _exit(1);
        fw_checkpoint_prune(folder, step, 2);
        g_free(path);
    }
}

START_TEST(killed_at_any_time) {
    char *folder = new_folder("points");
    int last = 0;
    write_step(folder, 0);
    for (guint i = 0; i < 30; i++) {
        pid_t child = fork();
        int status, now;
        GError *error = NULL;
        if (child == 0)
            write_for_ever(folder, (guint64)last + 1);
        g_usleep(4000 + i * 7919 % 30000);
        kill(child, SIGKILL);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        now = newest(folder, &error);
        ck_ok(now >= last, error);
        char *path = fw_checkpoint_path(folder, (guint64)now);
        is_whole(path, (guint)now); /* the newest of all, not one before it */
        g_free(path);
        ck_assert(!there(folder, (guint64)now + 1));
        last = now;
    }
    ck_assert_int_gt(last, 5);
    empty_folder(folder);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("checkpoint");
    TCase *c = tcase_create("checkpoint");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, round_trip);
    tcase_add_test(c, every_truncation_and_bit_is_noticed);
    tcase_add_test(c, other_parts_are_a_mismatch);
    tcase_add_test(c, a_full_disk_leaves_the_old_file);
    tcase_add_test(c, failures_leave_the_old_file);
    tcase_add_test(c, the_newest_whole_one_is_found);
    tcase_add_test(c, only_the_newest_stay);
    tcase_add_test(c, killed_at_any_time);
    suite_add_tcase(suite, c);
    return test_main(suite);
}
