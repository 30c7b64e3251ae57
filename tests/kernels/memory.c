/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Buffers and the memory behind them. */
#include "test.h"

START_TEST(zeroed_and_aligned) {
    static const uint64_t sizes[] = {0, 1, 255, 256, 257, 65536, 9 << 20};
    struct kn_dev *dev = test_open("ref");
    uint64_t filled = 0;
    struct kn_err err;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct kn_buf *buf;
        const unsigned char *host;
        OK(kn_buf_new(&buf, dev, sizes[i], &err));
        host = kn_buf_host(buf);
        ck_assert_ptr_nonnull(host);
        ck_assert_ptr_eq(host, kn_buf_address(buf));
        ck_assert_uint_eq((uintptr_t)host % KN_ALIGN, 0);
        ck_assert_uint_eq(kn_buf_bytes(buf), sizes[i]);
        for (uint64_t j = 0; j < sizes[i]; j++)
            filled += host[j] != 0;
        ck_assert_uint_eq(filled, 0);
        kn_buf_free(buf);
    }
    kn_buf_free(NULL);
    kn_dev_close(dev);
}
END_TEST

START_TEST(ranges) {
    struct kn_dev *dev = test_open("cpu");
    unsigned char some[8] = {1, 2, 3, 4, 5, 6, 7, 8}, back[8] = {0};
    struct kn_buf *buf;
    struct kn_err err;

    OK(kn_buf_new(&buf, dev, 10, &err));
    OK(kn_buf_write(buf, 2, some, 8, &err));
    OK(kn_buf_read(buf, 3, back, 7, &err));
    ck_assert_mem_eq(back, some + 1, 7);
    OK(kn_buf_write(buf, 10, NULL, 0, &err));
    FAILS(KN_ERR_RANGE, "8 bytes at 3", kn_buf_write(buf, 3, some, 8, &err));
    FAILS(KN_ERR_RANGE, "at 11", kn_buf_write(buf, 11, some, 0, &err));
    FAILS(KN_ERR_RANGE, "exceed", kn_buf_write(buf, UINT64_MAX, some, 8, &err));
    FAILS(KN_ERR_RANGE, "exceed", kn_buf_read(buf, UINT64_MAX - 3, some, 8, &err));
    FAILS(KN_ERR_RANGE, "exceed", kn_buf_read(buf, 0, some, 11, &err));
    FAILS(KN_ERR_ARG, "NULL", kn_buf_read(buf, 0, NULL, 1, &err));
    FAILS(KN_ERR_ARG, "NULL", kn_buf_write(buf, 0, NULL, 1, &err));
    FAILS(KN_ERR_ARG, "NULL", kn_buf_write(NULL, 0, some, 1, &err));
    FAILS(KN_ERR_ARG, "NULL", kn_buf_new(NULL, dev, 1, &err));
    FAILS(KN_ERR_ARG, "NULL", kn_buf_new(&buf, NULL, 1, &err));
    OK(kn_buf_read(buf, 2, back, 8, &err));
    ck_assert_mem_eq(back, some, 8);
    kn_buf_free(buf);
    kn_dev_close(dev);
}
END_TEST

START_TEST(huge_requests_are_refused) {
    static const uint64_t sizes[] = {UINT64_MAX, UINT64_MAX - 255, INT64_MAX, UINT64_C(1) << 50};
    struct kn_dev *dev = test_open("cpu");
    struct kn_err err;

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct kn_buf *buf = (struct kn_buf *)&err;
        FAILS(KN_ERR_NOMEM, "bytes wanted", kn_buf_new(&buf, dev, sizes[i], &err));
        ck_assert_uint_eq(err.wanted_bytes, sizes[i]);
        ck_assert_uint_gt(err.available_bytes, 0);
        ck_assert_uint_lt(err.available_bytes, sizes[i]);
        ck_assert_ptr_null(buf);
    }
    kn_dev_close(dev);
}
END_TEST

/* One byte more than there is: what Linux would grant, and kill the process for using. */
START_TEST(more_than_available_is_refused) {
    const uint64_t available = kn_host_available();
    void *address = NULL;
    struct kn_err err;

    ck_assert_uint_gt(available, 0);
    FAILS(KN_ERR_NOMEM, "test", kn_host_alloc(available + available / 2, "test", &address, &err));
    ck_assert_ptr_null(address);
}
END_TEST

TESTS("memory", zeroed_and_aligned, ranges, huge_requests_are_refused,
      more_than_available_is_refused)
