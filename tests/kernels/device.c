/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices by name. What cannot be had says why. */
#include <unistd.h>

#include "test.h"

static enum kn_status try_open(const char *name, int threads, struct kn_err *err) {
    const struct kn_dev_params params = {.name = name, .threads = threads};
    struct kn_dev *dev = NULL;
    const enum kn_status status = kn_dev_open(&dev, &params, err);

    ck_assert((dev != NULL) == (status == KN_OK));
    kn_dev_close(dev);
    return status;
}

START_TEST(names) {
    static const char *const bad[] = {"nonsense", "",           "CPU",   "cpu ",
                                      "cpu:0",    "refs",       "cuda:", "cuda:-1",
                                      "cuda:1x",  "cuda:12345", "cuda0", "cuda: 1"};
    struct kn_err err;

    OK(try_open("cpu", 0, &err));
    OK(try_open("ref", 0, &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        FAILS(KN_ERR_ARG, "must be cpu, ref, cuda or cuda:N", try_open(bad[i], 0, &err));
        ck_assert_ptr_nonnull(strstr(err.msg, bad[i]));
    }
    FAILS(KN_ERR_ARG, "device name is NULL", try_open(NULL, 0, &err));
    FAILS(KN_ERR_ARG, "threads is -1", try_open("cpu", -1, &err));
    FAILS(KN_ERR_ARG, "threads is 1025", try_open("cpu", 1025, &err));
    FAILS(KN_ERR_ARG, "device is NULL", kn_dev_open(NULL, NULL, &err));
    kn_dev_close(NULL);
}
END_TEST

/* This version has no CUDA module; where one is installed this test has nothing to say. */
START_TEST(no_cuda_module) {
    struct kn_err err;

    if (access(KN_MODULE_DIR "/libfenwick-cuda.so", F_OK) == 0)
        return;
    FAILS(KN_ERR_LIBRARY, "no CUDA module (libfenwick-cuda.so not found in ",
          try_open("cuda", 0, &err));
    FAILS(KN_ERR_LIBRARY, KN_MODULE_DIR, try_open("cuda:9", 0, &err));
    FAILS(KN_ERR_LIBRARY, "not found", try_open("cuda:0", 0, &err));
    ck_assert_int_eq(try_open("cuda", 0, NULL), KN_ERR_LIBRARY);
}
END_TEST

START_TEST(info) {
    struct kn_dev *dev = test_open("cpu");
    struct kn_dev_info got;

    kn_dev_info(dev, &got);
    ck_assert_str_eq(got.name, "cpu");
    ck_assert_int_eq(got.threads, 2);
    ck_assert(got.host_memory);
    ck_assert(!got.float64);
    ck_assert_uint_gt(strlen(got.description), 0);
    kn_dev_close(dev);
    dev = test_open("ref");
    kn_dev_info(dev, &got);
    ck_assert_str_eq(got.name, "ref");
    ck_assert_int_eq(got.threads, 1);
    ck_assert(!got.fast_bf16);
    ck_assert(got.float64);
    kn_dev_close(dev);
}
END_TEST

START_TEST(threads_by_default) {
    const struct kn_dev_params params = {.name = "cpu"};
    struct kn_dev_info got;
    struct kn_dev *dev;
    struct kn_err err;

    OK(kn_dev_open(&dev, &params, &err));
    kn_dev_info(dev, &got);
    ck_assert_int_ge(got.threads, 1);
    ck_assert_int_le(got.threads, sysconf(_SC_NPROCESSORS_CONF));
    kn_dev_close(dev);
}
END_TEST

/* Both host devices have every operation, and state for attention only. */
START_TEST(tables_are_full) {
    static const char *const device[] = {"ref", "cpu"};
    struct kn_table table = {{{0}}};
    struct kn_cpu_traits traits;

    for (int i = 0; i < 2; i++) {
        kn_ref_fill(&table);
        if (i == 1)
            kn_cpu_fill(&table, &traits, 2);
        for (int op = 0; op < KN_OP_COUNT; op++) {
            const struct kn_kernel *kernel = &table.kernel[op];
            const bool attends = op >= KN_OP_FENWICK_CLIP && op <= KN_OP_MESA_STEP;
            ck_assert_msg(kernel->run != NULL, "%s has no %s", device[i],
                          kn_op_name((enum kn_op)op));
            ck_assert_msg((kernel->state_bytes != NULL) == attends, "%s: state of %s", device[i],
                          kn_op_name((enum kn_op)op));
        }
    }
}
END_TEST

START_TEST(many_devices) {
    struct kn_dev *dev[20];

    for (int i = 0; i < 20; i++)
        dev[i] = test_open(i % 2 ? "cpu" : "ref");
    for (int i = 0; i < 20; i++)
        kn_dev_close(dev[i]);
}
END_TEST

TESTS("device", names, no_cuda_module, info, threads_by_default, tables_are_full, many_devices)
