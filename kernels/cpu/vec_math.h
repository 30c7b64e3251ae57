/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Scalar functions without branches or calls, for loops under "#pragma omp simd": the compiler
 * makes vector code of them for whatever instruction set the file is built for. Relative error of
 * exp, sigmoid, silu, softplus and logsigmoid: below 3e-7 over all floats, except where the result
 * (for silu: the sigmoid) is subnormal. Infinities and NaN give what the mathematics gives.
 */
#ifndef KN_VEC_MATH_H
#define KN_VEC_MATH_H

#include <stdint.h>
#include <string.h>

static inline uint32_t kn_float_bits(float x) {
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

static inline float kn_bits_float(uint32_t u) {
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}

/* |x|; fabsf() is a call for some compilers when it is not optimised. */
static inline float kn_abs(float x) {
    return kn_bits_float(kn_float_bits(x) & 0x7fffffffu);
}

/*
 * exp(x) = 2^n exp(r), n = rint(x / ln 2), |r| <= ln(2) / 2. The bounds only keep n in range:
 * beyond them the result is 0 or infinity anyway. 2^n is applied in two halves, for subnormal
 * results.
 */
static inline float kn_exp(float x) {
    const float magic =
        12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer in the low bits */
    x = x < -105.0f ? -105.0f : x;
    x = x > 90.0f ? 90.0f : x;
    float shifted = x * 1.44269504f + magic;
    float n = shifted - magic;
    float r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 0.00138146f;
    p = p * r + 0.00836872f;
    p = p * r + 0.04166839f;
    p = p * r + 0.16666521f;
    p = p * r + 0.49999993f;
    float e = r * r * p + r + 1.0f;
    int32_t i = (int32_t)(kn_float_bits(shifted) - kn_float_bits(magic));
    int32_t half = i >> 1;
    float a = kn_bits_float((uint32_t)(half + 127) << 23);
    float b = kn_bits_float((uint32_t)(i - half + 127) << 23);
    return e * a * b;
}

/*
 * log(1 + e) for -0.3 <= e <= 1, by 2 artanh(e / (2 + e)); exact in the relative sense for small e.
 */
static inline float kn_log1p_unit(float e) {
    float s = e / (2.0f + e);
    float u = s * s;
    float q = 0.28012665f;
    q = q * u + 0.28001678f;
    q = q * u + 0.40021534f;
    q = q * u + 0.66666416f;
    return 2.0f * s + s * u * q;
}

/* log(x) for positive normal x, by 2 artanh of the mantissa about 1. */
static inline float kn_log(float x) {
    /* exponents of numbers in [sqrt(1/2), sqrt(2)) times a power of two */
    int32_t bits = (int32_t)kn_float_bits(x) - 0x3f3504f3;
    float m = kn_bits_float((uint32_t)(bits & 0x7fffff) + 0x3f3504f3u), n = (float)(bits >> 23);
    return n * 0.69314718f + kn_log1p_unit(m - 1.0f);
}

/* cos(2 pi x) for 0 <= x < 1: a sine of the distance to a quarter, which is exact. */
static inline float kn_cos_turns(float x) {
    float a = 0.25f - kn_abs(x - (x < 0.5f ? 0.0f : 1.0f)), t = 6.2831853f * a, u = t * t;
    float p = -2.5052108e-8f;
    p = p * u + 2.7557319e-6f;
    p = p * u - 1.9841270e-4f;
    p = p * u + 8.3333333e-3f;
    p = p * u - 0.16666667f;
    return t + t * u * p;
}

static inline float kn_sigmoid(float x) {
    float e = kn_exp(-kn_abs(x));
    return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

/* x sigmoid(x); the bound makes it 0 at -infinity. */
static inline float kn_silu(float x) {
    x = x < -1e30f ? -1e30f : x;
    return x * kn_sigmoid(x);
}

/* log(1 + exp(x)) */
static inline float kn_softplus(float x) {
    return (x > 0.0f ? x : 0.0f) + kn_log1p_unit(kn_exp(-kn_abs(x)));
}

/* log(sigmoid(x)) = -softplus(-x) */
static inline float kn_logsigmoid(float x) {
    return (x < 0.0f ? x : 0.0f) - kn_log1p_unit(kn_exp(-kn_abs(x)));
}

static inline float kn_bf16_float(uint16_t h) {
    return kn_bits_float((uint32_t)h << 16);
}

/* Nearest, ties to even; NaN stays NaN. */
static inline uint16_t kn_float_bf16(float x) {
    uint32_t u = kn_float_bits(x);
    uint32_t nearest = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : nearest);
}

static inline float kn_f16_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, body = h & 0x7fffu;
    /* subnormals: the integer times 2^-24; normals: a new bias; infinity, NaN: all bits set */
    uint32_t small = kn_float_bits((float)(int32_t)body * 5.9604644775390625e-8f);
    uint32_t normal = (body << 13) + (112u << 23);
    uint32_t top = (body << 13) | 0x7f800000u;
    uint32_t u = body < 0x0400u ? small : normal;
    return kn_bits_float(sign | (body >= 0x7c00u ? top : u));
}

/* Nearest, ties to even; overflow gives infinity, NaN stays NaN. */
static inline uint16_t kn_float_f16(float x) {
    uint32_t u = kn_float_bits(x), sign = (u >> 16) & 0x8000u, body = u & 0x7fffffffu;
    uint32_t normal = (body - (112u << 23) + 0x0fffu + ((body >> 13) & 1u)) >> 13;
    /* below 2^-14: adding 0.5 leaves the value in units of 2^-24 in the low bits, rounded */
    uint32_t small = kn_float_bits(kn_bits_float(body) + 0.5f) - 0x3f000000u;
    uint32_t r = body < 0x38800000u ? small : normal;
    r = body >= 0x477ff000u ? 0x7c00u : r; /* 65520 and more */
    r = body > 0x7f800000u ? 0x7e00u | ((body >> 13) & 0x3ffu) : r;
    return (uint16_t)(sign | r);
}

#endif
