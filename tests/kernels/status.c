/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test.h"

START_TEST(names) {
    for (int i = KN_OK; i <= KN_ERR_CANCELLED; i++) {
        ck_assert_str_ne(kn_status_name((enum kn_status)i), "unknown status");
        for (int j = KN_OK; j < i; j++)
            ck_assert_str_ne(kn_status_name((enum kn_status)i), kn_status_name((enum kn_status)j));
    }
    ck_assert_str_eq(kn_status_name(KN_OK), "ok");
    ck_assert_str_eq(kn_status_name(KN_ERR_CANCELLED), "cancelled");
    ck_assert_str_eq(kn_status_name((enum kn_status)77), "unknown status");
    ck_assert_str_eq(kn_status_name((enum kn_status) - 1), "unknown status");
}
END_TEST

START_TEST(fail_writes_everything) {
    struct kn_err err;

    memset(&err, 0x55, sizeof err);
    ck_assert_int_eq(kn_fail(&err, KN_ERR_RANGE, "%d of %s", 7, "nine"), KN_ERR_RANGE);
    ck_assert_int_eq(err.code, KN_ERR_RANGE);
    ck_assert_str_eq(err.msg, "7 of nine");
    ck_assert_uint_eq(err.wanted_bytes, 0);
    ck_assert_uint_eq(err.available_bytes, 0);
    ck_assert_int_eq(kn_fail(NULL, KN_ERR_LOST, "%d", 1), KN_ERR_LOST);
}
END_TEST

START_TEST(fail_cuts_long_messages) {
    char text[2000];
    struct kn_err err;

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = 0;
    kn_fail(&err, KN_ERR_ARG, "%s", text);
    ck_assert_uint_eq(strlen(err.msg), sizeof err.msg - 1);
    kn_fail_in(&err, KN_ERR_ARG, "label");
    ck_assert_uint_lt(strlen(err.msg), sizeof err.msg);
    ck_assert(strncmp(err.msg, "label: aaa", 10) == 0);
}
END_TEST

START_TEST(fail_memory) {
    struct kn_err err;

    ck_assert_int_eq(kn_fail_nomem(&err, 12345, "thing"), KN_ERR_NOMEM);
    ck_assert_uint_eq(err.wanted_bytes, 12345);
    ck_assert_uint_gt(err.available_bytes, 0);
    ck_assert_ptr_nonnull(strstr(err.msg, "thing: 12345 bytes wanted"));
    kn_fail_memory(&err, 5, 0, "device");
    ck_assert_str_eq(err.msg, "device: 5 bytes wanted");
    ck_assert_int_eq(kn_fail_nomem(NULL, 1, "x"), KN_ERR_NOMEM);
}
END_TEST

START_TEST(fail_in_puts_the_label_once) {
    struct kn_err err;

    kn_fail(&err, KN_ERR_FAILED, "broken");
    ck_assert_int_eq(kn_fail_in(&err, KN_ERR_FAILED, "a.b"), KN_ERR_FAILED);
    ck_assert_str_eq(err.msg, "a.b: broken");
    kn_fail_in(&err, KN_ERR_FAILED, "a.b");
    ck_assert_str_eq(err.msg, "a.b: broken");
    err = (struct kn_err){0};
    kn_fail_in(&err, KN_ERR_LOST, "a.b");
    ck_assert_str_eq(err.msg, "a.b: device lost");
    ck_assert_int_eq(err.code, KN_ERR_LOST);
    ck_assert_int_eq(kn_fail_in(NULL, KN_ERR_LOST, "a"), KN_ERR_LOST);
}
END_TEST

TESTS("status", names, fail_writes_everything, fail_cuts_long_messages, fail_memory,
      fail_in_puts_the_label_once)
