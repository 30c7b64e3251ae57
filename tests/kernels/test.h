/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the suites of kernels/ share. */
#ifndef TEST_H
#define TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kn_internal.h"

/* The call must succeed; its message is shown when it does not. err is a variable of the caller. */
#define OK(call)                                                                                \
    do {                                                                                        \
        err = (struct kn_err){0};                                                               \
        const enum kn_status status_ = (call);                                                  \
        ck_assert_msg(status_ == KN_OK, "%s: %s: %s", #call, kn_status_name(status_), err.msg); \
    } while (0)

/* The call must fail with this code and a message that holds the text. */
#define FAILS(code_, text, call)                                                                  \
    do {                                                                                          \
        err = (struct kn_err){0};                                                                 \
        const enum kn_status status_ = (call);                                                    \
        ck_assert_msg(status_ == (code_) && err.code == (code_) && strstr(err.msg, text) != NULL, \
                      "%s: %s: \"%s\" lacks \"%s\"", #call, kn_status_name(status_), err.msg,     \
                      text);                                                                      \
    } while (0)

/* One suite per program. */
static inline int test_run(const char *name, const TTest *const *tests, size_t count) {
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    SRunner *runner;
    int failed;

    tcase_set_timeout(tcase, 50);
    for (size_t i = 0; i < count; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

#define TESTS(name, ...)                                                       \
    int main(void) {                                                           \
        const TTest *const tests[] = {__VA_ARGS__};                            \
        return test_run("kernels/" name, tests, sizeof tests / sizeof *tests); \
    }

/* A generator whose values are the same everywhere (splitmix64). */
static inline uint64_t test_random(uint64_t *state) {
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline struct kn_dev *test_open(const char *name) {
    const struct kn_dev_params params = {.name = name, .threads = 2};
    struct kn_dev *dev;
    struct kn_err err;

    OK(kn_dev_open(&dev, &params, &err));
    return dev;
}

/* Dense f32 tensors of the usual ranks. */
#define DIMS(...) ((const int64_t[KN_MAX_RANK]){__VA_ARGS__})
static inline struct kn_tensor test_f32(enum kn_slot slot, uint64_t offset, int rank,
                                        const int64_t dim[KN_MAX_RANK]) {
    return kn_tensor_dense(slot, offset, KN_F32, rank, dim);
}

#endif
