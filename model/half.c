/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "half.h"

#include <string.h>

static float from_bits(guint32 bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static guint32 to_bits(float value) {
    guint32 bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

float fw_half_to_float(guint16 half) {
    guint32 sign = (guint32)(half & 0x8000) << 16, exponent = half >> 10 & 31, low = half & 1023;
    if (exponent == 31)
        return from_bits(sign | 0x7f800000 | low << 13);
    if (exponent > 0)
        return from_bits(sign | (exponent + 112) << 23 | low << 13);
    float tiny = (float)low / 16777216; /* exact: low * 2^-24 */
    return sign ? -tiny : tiny;
}

/* value >> shift, to nearest, ties to even. */
static guint32 round_shift(guint32 value, int shift) {
    guint32 half = 1u << (shift - 1), rest = value & ((1u << shift) - 1), out = value >> shift;
    return out + (rest > half || (rest == half && (out & 1)));
}

guint16 fw_half_from_float(float value) {
    guint32 bits = to_bits(value), sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (guint16)(sign | 0x7e00);
    if (magnitude >= 0x47800000) /* 65536 and beyond */
        return (guint16)(sign | 0x7c00);
    if (magnitude >= 0x38800000) /* normal: a carry out of the mantissa raises the exponent */
        return (guint16)(sign | round_shift(magnitude - 0x38000000, 13));
    int exponent = (int)(magnitude >> 23);
    if (exponent < 102) /* below half of the smallest */
        return (guint16)sign;
    guint32 mantissa = (magnitude & 0x7fffff) | 0x800000;
    return (guint16)(sign | round_shift(mantissa, 126 - exponent));
}
