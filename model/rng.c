/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "rng.h"

#define GOLDEN G_GUINT64_CONSTANT(0x9e3779b97f4a7c15) /* 2^64 / golden ratio: SplitMix64's step */

/* The finaliser of SplitMix64 (Steele, Lea, Flood 2014). */
static guint64 mix(guint64 x) {
    x ^= x >> 30;
    x *= G_GUINT64_CONSTANT(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= G_GUINT64_CONSTANT(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

guint64 fw_rng_key(guint64 seed, guint64 sequence) {
    return mix(mix(seed + GOLDEN) ^ (sequence + 1) * GOLDEN);
}

guint64 fw_rng_bits(guint64 key, guint64 i) {
    return mix(key + (i + 1) * GOLDEN);
}

double fw_rng_normal(guint64 key, guint64 i) {
    guint64 bits = fw_rng_bits(key, i);
    gint64 sum = 0;
    for (int part = 0; part < 4; part++)
        sum += (gint64)(bits >> (16 * part) & 0xffff);
    /* Each part has mean 65535 / 2 and variance (65536^2 - 1) / 12. */
    return (double)(sum - 2 * 65535) / 37837.227239;
}
