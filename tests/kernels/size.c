/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kn_size.h"
#include "test.h"

START_TEST(mul_and_add) {
    uint64_t r = 9;

    ck_assert(kn_size_mul(UINT64_C(1) << 32, (UINT64_C(1) << 32) - 1, &r));
    ck_assert_uint_eq(r, UINT64_MAX - 0xffffffff);
    r = 9;
    ck_assert(!kn_size_mul(UINT64_C(1) << 32, UINT64_C(1) << 32, &r));
    ck_assert(!kn_size_add(UINT64_MAX, 1, &r));
    ck_assert_uint_eq(r, 9);
    ck_assert(kn_size_add(UINT64_MAX - 1, 1, &r));
    ck_assert_uint_eq(r, UINT64_MAX);
    ck_assert(kn_size_mul(0, UINT64_MAX, &r));
    ck_assert_uint_eq(r, 0);
}
END_TEST

START_TEST(align) {
    uint64_t r = 9;

    ck_assert(kn_size_align(0, 256, &r) && r == 0);
    ck_assert(kn_size_align(1, 256, &r) && r == 256);
    ck_assert(kn_size_align(256, 256, &r) && r == 256);
    ck_assert(kn_size_align(257, 256, &r) && r == 512);
    ck_assert(kn_size_align(UINT64_MAX - 255, 256, &r) && r == UINT64_MAX - 255);
    r = 9;
    ck_assert(!kn_size_align(UINT64_MAX - 254, 256, &r));
    ck_assert_uint_eq(r, 9);
}
END_TEST

START_TEST(product) {
    const int64_t fine[4] = {3, 5, 7, 11}, none[3] = {4, 0, INT64_MAX};
    const int64_t huge[3] = {INT64_MAX, 2, 2}, negative[2] = {2, -1};
    uint64_t r = 9;

    ck_assert(kn_size_product(fine, 4, &r) && r == 1155);
    ck_assert(kn_size_product(fine, 0, &r) && r == 1);
    ck_assert(kn_size_product(none, 3, &r) && r == 0);
    r = 9;
    ck_assert(!kn_size_product(huge, 3, &r));
    ck_assert(!kn_size_product(negative, 2, &r));
    ck_assert_uint_eq(r, 9);
}
END_TEST

TESTS("size", mul_and_add, align, product)
