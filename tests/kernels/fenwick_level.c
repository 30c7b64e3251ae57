/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The level table against the greedy decomposition that gives Fenwick trees their name. */
#include "test.h"

/*
 * [0, t) is tiled from the top: b0 = t, each next bound is the last one less its lowest set bit,
 * and what lies between has the level of that bit, plus one.
 */
static int greedy(uint64_t t, uint64_t s, int levels) {
    uint64_t bound = t;

    if (s == t)
        return 0;
    while (true) {
        const uint64_t low = bound & (~bound + 1);
        const int level = __builtin_ctzll(low) + 1;
        if (s >= bound - low)
            return level < levels - 1 ? level : levels - 1;
        bound -= low;
    }
}

START_TEST(small_t_exhaustively) {
    for (int levels = KN_MIN_LEVELS; levels <= KN_MAX_LEVELS; levels++)
        for (uint64_t t = 0; t < 300; t++)
            for (uint64_t s = 0; s <= t; s++)
                ck_assert_int_eq(kn_fenwick_level(t, s, levels), greedy(t, s, levels));
}
END_TEST

START_TEST(large_t_at_random) {
    uint64_t seed = 1;

    for (int i = 0; i < 200000; i++) {
        const uint64_t t = test_random(&seed) >> (24 + test_random(&seed) % 40);
        const uint64_t s = i % 2 == 0 ? t - test_random(&seed) % (t + 1)
                                      : t - (t < 1000 ? 0 : test_random(&seed) % 1000);
        const int levels = KN_MIN_LEVELS + (int)(test_random(&seed) % 60);
        ck_assert_uint_lt(t, UINT64_C(1) << 40);
        ck_assert_int_eq(kn_fenwick_level(t, s, levels), greedy(t, s, levels));
    }
}
END_TEST

START_TEST(last_level_saturates) {
    ck_assert_int_eq(kn_fenwick_level(UINT64_MAX, 0, 12), 11);
    ck_assert_int_eq(kn_fenwick_level(UINT64_MAX, UINT64_MAX, 12), 0);
    ck_assert_int_eq(kn_fenwick_level(1024, 1023, 12), 11);
    ck_assert_int_eq(kn_fenwick_level(1024, 1023, 11), 10);
    ck_assert_int_eq(kn_fenwick_level(1024, 0, 2), 1);
    ck_assert_int_eq(kn_fenwick_level(1023, 1022, 2), 1);
}
END_TEST

/* Levels that a token reads, by counting them. */
static int count_levels(uint64_t t, int levels) {
    uint32_t seen = 0;

    for (uint64_t s = 0; s <= t; s++)
        seen |= 1u << kn_fenwick_level(t, s, levels);
    return __builtin_popcount(seen);
}

START_TEST(live_states) {
    uint64_t seed = 2;

    for (int levels = KN_MIN_LEVELS; levels <= KN_MAX_LEVELS; levels++)
        for (uint64_t t = 0; t < 260; t++)
            ck_assert_int_eq(kn_fenwick_live(t, levels), count_levels(t, levels));
    for (int i = 0; i < 1000; i++) {
        const uint64_t t = test_random(&seed) >> 46; /* below the last level of 20 */
        ck_assert_int_eq(kn_fenwick_live(t, 20), 1 + __builtin_popcountll(t));
        ck_assert_int_le(kn_fenwick_live(test_random(&seed), 20), 20);
    }
    ck_assert_int_eq(kn_fenwick_live(UINT64_MAX, 20), 20);
    ck_assert_int_eq(kn_fenwick_live(UINT64_MAX, 66), 65);
}
END_TEST

TESTS("fenwick_level", small_t_exhaustively, large_t_at_random, last_level_saturates, live_states)
