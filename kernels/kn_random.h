/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random numbers by counter: bits i of a key are the finaliser of SplitMix64 (Steele, Lea, Flood
 * 2014) over key + (i + 1) times its step, so any of them can be had in any order.
 */
#ifndef KN_RANDOM_H
#define KN_RANDOM_H

#include <stdint.h>

static inline uint64_t kn_random_bits(uint64_t key, uint64_t i) {
    uint64_t x = key + (i + 1) * UINT64_C(0x9e3779b97f4a7c15);

    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Two numbers of 24 bits, which float holds exactly: one in (0, 1], one in [0, 1). */
static inline float kn_random_above(uint64_t bits) {
    return (float)((int32_t)(bits >> 40) + 1) * 0x1p-24f;
}

static inline float kn_random_below(uint64_t bits) {
    return (float)((int32_t)bits & 0xffffff) * 0x1p-24f;
}

#endif
