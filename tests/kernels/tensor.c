/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "test.h"

START_TEST(types) {
    ck_assert_uint_eq(kn_dtype_bytes(KN_F32), 4);
    ck_assert_uint_eq(kn_dtype_bytes(KN_F16), 2);
    ck_assert_uint_eq(kn_dtype_bytes(KN_BF16), 2);
    ck_assert_uint_eq(kn_dtype_bytes(KN_U8), 1);
    ck_assert_uint_eq(kn_dtype_bytes(KN_DTYPE_COUNT), 0);
    ck_assert_uint_eq(kn_dtype_bytes((enum kn_dtype) - 1), 0);
    ck_assert_str_eq(kn_dtype_name(KN_BF16), "bfloat16");
    ck_assert_str_eq(kn_dtype_name((enum kn_dtype)99), "unknown type");
    ck_assert_str_eq(kn_slot_name(KN_SLOT_PRESENT), "present");
    ck_assert_str_eq(kn_slot_name((enum kn_slot)99), "unknown slot");
}
END_TEST

START_TEST(dense) {
    const struct kn_tensor t = kn_tensor_dense(KN_SLOT_OUT, 64, KN_BF16, 3, DIMS(5, 7, 3, 99));
    int64_t count = 0;
    uint64_t bytes = 0;

    ck_assert_int_eq(t.rank, 3);
    ck_assert_int_eq(t.slot, KN_SLOT_OUT);
    ck_assert_int_eq(t.stride[0], 21);
    ck_assert_int_eq(t.stride[1], 3);
    ck_assert_int_eq(t.stride[2], 1);
    ck_assert_int_eq(t.dim[3], 0);
    ck_assert(kn_tensor_count(&t, &count) && count == 105);
    ck_assert(kn_tensor_extent(&t, &bytes) && bytes == 210);
}
END_TEST

START_TEST(strided) {
    struct kn_tensor t = test_f32(KN_SLOT_WORK, 0, 2, DIMS(4, 3));
    uint64_t bytes = 0;

    t.stride[0] = 10;
    ck_assert(kn_tensor_extent(&t, &bytes) && bytes == 4 * (3 * 10 + 3));
    t.stride[0] = 0;
    ck_assert(kn_tensor_extent(&t, &bytes) && bytes == 12);
    t.dim[0] = 0;
    ck_assert(kn_tensor_extent(&t, &bytes) && bytes == 0);
    t.rank = 0;
    ck_assert(kn_tensor_extent(&t, &bytes) && bytes == 0);
}
END_TEST

START_TEST(overflow) {
    struct kn_tensor t = test_f32(KN_SLOT_WORK, 0, 3, DIMS(INT64_MAX, 2, 2));
    int64_t count = 7;
    uint64_t bytes = 7;

    ck_assert(!kn_tensor_count(&t, &count));
    t = test_f32(KN_SLOT_WORK, 0, 2, DIMS(INT64_MAX, 1));
    ck_assert(!kn_tensor_extent(&t, &bytes));
    t.dtype = KN_U8;
    bytes = 0;
    ck_assert(kn_tensor_extent(&t, &bytes) && bytes == INT64_MAX);
    t.stride[0] = 2;
    bytes = 7;
    ck_assert(!kn_tensor_extent(&t, &bytes));
    t = test_f32(KN_SLOT_WORK, 0, 2, DIMS(2, -2));
    ck_assert(!kn_tensor_count(&t, &count));
    t = test_f32(KN_SLOT_WORK, 0, 2, DIMS(2, 2));
    t.stride[0] = -1;
    ck_assert(!kn_tensor_extent(&t, &bytes));
    t.rank = 5;
    ck_assert(!kn_tensor_count(&t, &count));
    t.rank = -1;
    ck_assert(!kn_tensor_count(&t, &count));
    ck_assert_int_eq(count, 7);
    ck_assert_uint_eq(bytes, 7);
}
END_TEST

TESTS("tensor", types, dense, strided, overflow)
