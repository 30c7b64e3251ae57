/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the reference kernels share: every value is read into a double and rounded once when it is
 * stored, whatever the type in memory and however the tensor is strided.
 */
#ifndef KN_REF_H
#define KN_REF_H

#include <math.h>
#include <string.h>

#include "../kn_internal.h"
#include "../kn_size.h"

/* -------------------------------------------------------------------------------- element types */

static inline float kn_ref_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t kn_ref_to_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float kn_ref_bf16_decode(uint16_t h) {
    return kn_ref_from_bits((uint32_t)h << 16);
}

static inline uint16_t kn_ref_bf16_encode(float f) {
    uint32_t bits = kn_ref_to_bits(f);

    if (isnan(f))
        return (uint16_t)(bits >> 16 | 0x40); /* rounding could carry a NaN into infinity */
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static inline float kn_ref_f16_decode(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 0x1f, mantissa = h & 0x3ff;

    if (exponent == 0x1f)
        return kn_ref_from_bits(sign | 0x7f800000 | mantissa << 13);
    if (exponent == 0)
        return copysignf(ldexpf((float)mantissa, -24), sign ? -1.0f : 1.0f);
    return kn_ref_from_bits(sign | (exponent + 112) << 23 | mantissa << 13);
}

static inline uint16_t kn_ref_f16_encode(float f) {
    uint16_t sign = (uint16_t)(kn_ref_to_bits(f) >> 16 & 0x8000);
    float a = fabsf(f);
    uint32_t bits = kn_ref_to_bits(a);

    if (isnan(f))
        return sign | 0x7e00;
    if (a >= 65520.0f) /* halfway between the largest value and the next power of two */
        return sign | 0x7c00;
    if (a < 0x1p-14f) /* subnormal: a multiple of 2^-24, and 0x400 is the first normal value */
        return (uint16_t)(sign | (uint16_t)rintf(ldexpf(a, 24)));
    bits += 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | ((bits >> 13) - (112u << 10)));
}

/* Element i of an array as a double. */
static inline double kn_ref_load(const void *base, enum kn_dtype dtype, int64_t i) {
    switch (dtype) {
    case KN_F32:
        return ((const float *)base)[i];
    case KN_F16:
        return kn_ref_f16_decode(((const uint16_t *)base)[i]);
    case KN_BF16:
        return kn_ref_bf16_decode(((const uint16_t *)base)[i]);
    case KN_F64:
        return ((const double *)base)[i];
    default:
        return ((const uint8_t *)base)[i];
    }
}

static inline void kn_ref_store(void *base, enum kn_dtype dtype, int64_t i, double value) {
    switch (dtype) {
    case KN_F32:
        ((float *)base)[i] = (float)value;
        break;
    case KN_F16:
        ((uint16_t *)base)[i] = kn_ref_f16_encode((float)value);
        break;
    case KN_BF16:
        ((uint16_t *)base)[i] = kn_ref_bf16_encode((float)value);
        break;
    case KN_F64:
        ((double *)base)[i] = value;
        break;
    default:
        ((uint8_t *)base)[i] = (uint8_t)value;
        break;
    }
}

/* --------------------------------------------------------------------------------------- views */

/* A tensor with its slot resolved. Indices beyond the rank count as stride 0. */
struct kn_ref_view {
    char *base; /* NULL: an optional tensor that was left out */
    enum kn_dtype dtype;
    int64_t stride[KN_MAX_RANK];
};

static inline struct kn_ref_view kn_ref_view(const struct kn_call *call,
                                             const struct kn_tensor *t) {
    struct kn_ref_view view = {0};

    if (t->rank == 0)
        return view;
    view.base = kn_at(call, t);
    view.dtype = t->dtype;
    for (int i = 0; i < t->rank; i++)
        view.stride[i] = t->stride[i];
    return view;
}

static inline int64_t kn_ref_index(const struct kn_ref_view *v, int64_t a, int64_t b, int64_t c,
                                   int64_t d) {
    return a * v->stride[0] + b * v->stride[1] + c * v->stride[2] + d * v->stride[3];
}

static inline double kn_ref_get(const struct kn_ref_view *v, int64_t a, int64_t b, int64_t c,
                                int64_t d) {
    return kn_ref_load(v->base, v->dtype, kn_ref_index(v, a, b, c, d));
}

/* Does nothing where the tensor was left out. */
static inline void kn_ref_set(const struct kn_ref_view *v, int64_t a, int64_t b, int64_t c,
                              int64_t d, double value) {
    if (v->base)
        kn_ref_store(v->base, v->dtype, kn_ref_index(v, a, b, c, d), value);
}

/* ------------------------------------------------------------------------------------- control */

/* Entry for sequence n of N; NULL where no control tensor is given. */
static inline struct kn_control *kn_ref_control(const struct kn_call *call,
                                                const struct kn_tensor *control, int64_t n,
                                                int64_t count) {
    if (control->rank == 0)
        return NULL;
    return (struct kn_control *)kn_at(call, control) + n / (count / control->dim[0]);
}

/* Whether the past counts as zero. */
static inline bool kn_ref_fresh(const struct kn_call *call, const struct kn_tensor *control) {
    const struct kn_control *c = kn_ref_control(call, control, 0, 1);

    return c && c->reset;
}

/* ------------------------------------------------------------------------------ shared formulas */

static inline double kn_ref_sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static inline double kn_ref_softplus(double x) {
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

static inline double kn_ref_logsigmoid(double x) {
    return -kn_ref_softplus(-x);
}

/* out = x / max(|x|, 1e-6) for the D values at (n, t, g). */
static inline void kn_ref_normalise(const struct kn_ref_view *x, int64_t n, int64_t t, int64_t g,
                                    int64_t D, double *out) {
    double sum = 0;

    for (int64_t i = 0; i < D; i++) {
        out[i] = kn_ref_get(x, n, t, g, i);
        sum += out[i] * out[i];
    }
    sum = fmax(sqrt(sum), 1e-6);
    for (int64_t i = 0; i < D; i++)
        out[i] /= sum;
}

/*
 * The k x k pixels around (y, col) of frame t, row by row, channels innermost; zeros outside the
 * image. Returns the end of what it wrote.
 */
static inline double *kn_ref_patch(double *to, const struct kn_ref_view *x, const int64_t *dim,
                                   int64_t k, int64_t t, int64_t y, int64_t col) {
    for (int64_t r = y - k / 2; r <= y + k / 2; r++)
        for (int64_t s = col - k / 2; s <= col + k / 2; s++) {
            bool inside = r >= 0 && r < dim[1] && s >= 0 && s < dim[2];
            for (int64_t i = 0; i < dim[3]; i++)
                *to++ = inside ? kn_ref_get(x, t, r, s, i) : 0;
        }
    return to;
}

static inline double kn_ref_dot(const double *a, const double *b, int64_t n) {
    double sum = 0;

    for (int64_t i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* t += value, rounded once. */
static inline void kn_ref_add(const struct kn_ref_view *v, int64_t a, int64_t b, int64_t c,
                              int64_t d, double value) {
    if (v->base)
        kn_ref_set(v, a, b, c, d, kn_ref_get(v, a, b, c, d) + value);
}

/* A gradient that is written, or added to what is there. */
static inline void kn_ref_give(const struct kn_ref_view *v, bool accumulate, int64_t a, int64_t b,
                               int64_t c, int64_t d, double value) {
    kn_ref_set(v, a, b, c, d, accumulate ? kn_ref_get(v, a, b, c, d) + value : value);
}

/*
 * The gradient of x from that of x / max(|x|, 1e-6), written at (n, t, g): what points along x is
 * lost, but where x is next to nothing.
 */
static inline void kn_ref_normalise_backward(const struct kn_ref_view *x,
                                             const struct kn_ref_view *dx, int64_t n, int64_t t,
                                             int64_t g, int64_t D, const double *d_hat) {
    double square = 0, along = 0, norm;

    for (int64_t i = 0; i < D; i++) {
        square += kn_ref_get(x, n, t, g, i) * kn_ref_get(x, n, t, g, i);
        along += kn_ref_get(x, n, t, g, i) * d_hat[i];
    }
    norm = sqrt(square);
    if (norm >= 1e-6)
        along /= square;
    else
        along = 0;
    for (int64_t i = 0; i < D; i++)
        kn_ref_set(dx, n, t, g, i,
                   (d_hat[i] - kn_ref_get(x, n, t, g, i) * along) / fmax(norm, 1e-6));
}

/* Scratch of count doubles, counted with checked arithmetic. */
static inline enum kn_status kn_ref_scratch(struct kn_prepare *prepare, const int64_t *factor,
                                            int n, uint64_t more, const struct kn_node *node,
                                            struct kn_err *err) {
    uint64_t count, bytes;

    if (!kn_size_product(factor, n, &count) || !kn_size_add(count, more, &count) ||
        !kn_size_mul(count, sizeof(double), &bytes))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    prepare->scratch_bytes = bytes;
    return KN_OK;
}

/* ------------------------------------------------------------------------------------- kernels */

#define X(name, NAME, args) extern const struct kn_kernel kn_ref_##name;
KN_OPERATIONS(X)
#undef X

#endif
