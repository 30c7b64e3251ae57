/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Runs of floats to and from the element types of tensors. */
#ifndef KN_FLOATS_H
#define KN_FLOATS_H

#include "kn_internal.h"
#include "vec_math.h"

/* Elements that a kernel converts at once where it needs them as floats: 2 KiB of stack. */
#define KN_FLOATS 512

static inline void kn_floats_store(void *to, enum kn_dtype dtype, const float *from,
                                   int64_t count) {
    float *f = to;
    uint16_t *h = to;

    switch (dtype) {
    case KN_F32:
        memmove(f, from, (size_t)count * sizeof *f);
        break;
    case KN_BF16:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            h[i] = kn_float_bf16(from[i]);
        break;
    default:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            h[i] = kn_float_f16(from[i]);
    }
}

static inline void kn_floats_load(float *to, enum kn_dtype dtype, const void *from, int64_t count) {
    const uint16_t *h = from;

    switch (dtype) {
    case KN_F32:
        memmove(to, from, (size_t)count * sizeof *to);
        break;
    case KN_BF16:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = kn_bf16_float(h[i]);
        break;
    default:
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = kn_f16_float(h[i]);
    }
}

#endif
