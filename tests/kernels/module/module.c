/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Finding, refusing and using a module; one stands beside this program. */
#include "test.h"

static enum kn_status open_cuda(struct kn_dev **dev, const char *name, struct kn_err *err) {
    const struct kn_dev_params params = {.name = name};

    return kn_dev_open(dev, &params, err);
}

/* Each test has a process of its own, so each opens the module anew. */
START_TEST(used) {
    struct kn_dev *first, *second, *third;
    struct kn_dev_info info;
    struct kn_err err;

    OK(open_cuda(&first, "cuda", &err));
    OK(open_cuda(&second, "cuda:1", &err));
    kn_dev_info(second, &info);
    ck_assert_str_eq(info.name, "fake");
    ck_assert_int_eq(info.threads, 2); /* the same module both times */
    FAILS(KN_ERR_NO_DEVICE, "no device 9", open_cuda(&third, "cuda:9", &err));
    ck_assert_ptr_null(third);
    kn_dev_close(first);
    kn_dev_close(second);
}
END_TEST

START_TEST(of_another_version) {
    static const char *const faults[] = {"refuses", "abi", "size"};
    struct kn_dev *dev;
    struct kn_err err;

    setenv("KN_FAKE_MODULE", faults[_i], 1);
    FAILS(KN_ERR_LIBRARY, "is of another version", open_cuda(&dev, "cuda", &err));
    ck_assert_ptr_nonnull(strstr(err.msg, "libfenwick-cuda.so"));
    ck_assert_ptr_null(dev);
    /* a refusal is not remembered */
    FAILS(KN_ERR_LIBRARY, "is of another version", open_cuda(&dev, "cuda:0", &err));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("kernels/module");
    TCase *tcase = tcase_create("module");
    SRunner *runner;
    int failed;

    tcase_add_test(tcase, used);
    tcase_add_loop_test(tcase, of_another_version, 0, 3);
    suite_add_tcase(suite, tcase);
    runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
