/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test.h"

START_TEST(group_of_one) {
    struct kn_comm comm = kn_comm_self();
    struct kn_dev *dev = test_open("ref");
    const float values[4] = {1, -2, 3, -4};
    struct kn_buf *buf;
    struct kn_err err;
    float after[4];

    OK(kn_buf_new(&buf, dev, sizeof values, &err));
    OK(kn_buf_write(buf, 0, values, sizeof values, &err));
    ck_assert_int_eq(comm.rank, 0);
    ck_assert_int_eq(comm.size, 1);
    OK(comm.all_reduce(&comm, buf, 0, 4, &err));
    OK(comm.all_reduce(&comm, buf, 16, 0, &err));
    OK(comm.broadcast(&comm, buf, 3, 13, 0, &err));
    OK(kn_buf_read(buf, 0, after, sizeof after, &err));
    ck_assert_mem_eq(values, after, sizeof values);

    FAILS(KN_ERR_RANGE, "16 bytes", comm.all_reduce(&comm, buf, 4, 4, &err));
    FAILS(KN_ERR_ARG, "multiple of 4", comm.all_reduce(&comm, buf, 2, 1, &err));
    FAILS(KN_ERR_RANGE, "overflow", comm.all_reduce(&comm, buf, 0, UINT64_MAX / 2, &err));
    FAILS(KN_ERR_RANGE, "exceed", comm.broadcast(&comm, buf, UINT64_MAX, 2, 0, &err));
    FAILS(KN_ERR_RANGE, "exceed", comm.broadcast(&comm, buf, 0, 17, 0, &err));
    FAILS(KN_ERR_ARG, "root is 1", comm.broadcast(&comm, buf, 0, 1, 1, &err));
    FAILS(KN_ERR_ARG, "NULL", comm.broadcast(&comm, NULL, 0, 1, 0, &err));
    kn_buf_free(buf);
    kn_dev_close(dev);
}
END_TEST

TESTS("comm", group_of_one)
