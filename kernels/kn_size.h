/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes by checked arithmetic: each function is false on overflow and then leaves *out alone. */
#ifndef KN_SIZE_H
#define KN_SIZE_H

#include <stdbool.h>
#include <stdint.h>

static inline bool kn_size_mul(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t r;
    if (__builtin_mul_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

static inline bool kn_size_add(uint64_t a, uint64_t b, uint64_t *out) {
    uint64_t r;
    if (__builtin_add_overflow(a, b, &r))
        return false;
    *out = r;
    return true;
}

/* Rounds up to a multiple of align, a power of two. */
static inline bool kn_size_align(uint64_t a, uint64_t align, uint64_t *out) {
    uint64_t r;
    if (!kn_size_add(a, align - 1, &r))
        return false;
    *out = r & ~(align - 1);
    return true;
}

/* The product of n factors, all of which must be >= 0. */
static inline bool kn_size_product(const int64_t *factor, int n, uint64_t *out) {
    uint64_t r = 1;
    for (int i = 0; i < n; i++)
        if (factor[i] < 0 || !kn_size_mul(r, (uint64_t)factor[i], &r))
            return false;
    *out = r;
    return true;
}

#endif
