/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Losses: sizes around the least ones, gaps between frames, errors from none to large. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct size {
    int64_t times, clips, height, width; /* at half the pictures' size */
};

/* How far x is from the target: far enough that every error is large, next to it, on it. */
static const double distances[] = {0.3, 1e-3, 0, 3};

static struct kn_loss_args operands(struct ck_memory *memory, enum kn_dtype dtype,
                                    const struct size *s, double distance, int64_t gap) {
    const int64_t dim[] = {s->times * s->clips, s->height, s->width, 12}, one = 1;
    struct kn_loss_args a = {.lag = s->clips};

    a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap, dim);
    a.target = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap / 2, dim);
    a.dx = ck_image(memory, CK_INOUT, KN_SLOT_WORK, dtype, 2 * gap, dim);
    a.value = ck_tensor(memory, CK_INOUT, KN_SLOT_OUT, KN_F64, 0, 1, &one);
    for (int64_t i = 0; i < dim[0] * dim[1] * dim[2] * 12; i++) {
        const int64_t at[] = {i / 12 / dim[2] / dim[1], i / 12 / dim[2] % dim[1], i / 12 % dim[2],
                              i % 12};
        void *x = ck_at(memory, &a.x, at[0], at[1], at[2], at[3]);
        void *target = ck_at(memory, &a.target, at[0], at[1], at[2], at[3]);
        if (dtype == KN_F32)
            *(float *)x = (float)((double)*(float *)target + distance * ck_normal(memory->ck));
        else
            *(double *)x = *(double *)target + distance * ck_normal(memory->ck);
    }
    return a;
}

/* What is added must be seen beside what is there: some cases add to nothing. */
static void clear(struct ck_memory *memory, const struct kn_loss_args *a) {
    for (int64_t f = 0; f < a->dx.dim[0]; f++)
        for (int64_t i = 0; i < a->dx.dim[1] * a->dx.dim[2] * 12; i++)
            if (a->dx.dtype == KN_F32)
                ((float *)ck_at(memory, &a->dx, f, 0, 0, 0))[i] = 0;
            else
                ((double *)ck_at(memory, &a->dx, f, 0, 0, 0))[i] = 0;
    *(double *)ck_at(memory, &a->value, 0, 0, 0, 0) = 0;
}

static void one(struct ck *ck, enum kn_op op, const struct size *s, double distance, int variant) {
    const double count = (double)(s->times * s->clips * s->height * s->width * 12);
    struct ck_memory *memory;
    struct kn_loss_args a;

    if (!ck_begin(ck, "%s (%d * %d, %d, %d, 12), %g from the target, variant %d", kn_op_name(op),
                  (int)s->times, (int)s->clips, (int)s->height, (int)s->width, distance, variant))
        return;
    memory = ck_memory_new(ck);
    a = operands(memory, KN_F32, s, distance, variant == 1 ? 0 : 1 + ck_below(ck, 40));
    a.weight = (float)(count * (variant == 0 ? 0.5 : -0.125));
    if (variant < 2 && distance > 0) /* nothing but rounding can be left of equal pictures */
        clear(memory, &a);
    if (variant == 3)
        a.dx.rank = 0;
    ck_check(memory, op, &a, CK_F32);
    ck_memory_free(memory);
}

static void cases(struct ck *ck, enum kn_op op) {
    static const struct size sizes[] = {{3, 2, 4, 5},   {1, 1, 24, 24}, {2, 3, 6, 7},
                                        {2, 1, 11, 13}, {1, 2, 1, 1},   {5, 1, 3, 40},
                                        {4, 1, 2, 3},   {2, 2, 33, 32}, {1, 1, 64, 65}};

    for (size_t s = 0; s < CK_COUNT(sizes); s++)
        for (size_t d = 0; d < CK_COUNT(distances); d++)
            for (int variant = 0; variant < 4; variant++)
                one(ck, op, &sizes[s], distances[d], variant);
}

static bool sabotage(struct kn_loss_args *a, int way, bool timed) {
    const struct kn_tensor x = a->x;

    switch (way) {
    case 0:
        a->x = a->target;
        a->target = x;
        return a->dx.rank > 0;
    case 1:
        a->weight *= 1.1f;
        return a->dx.rank > 0;
    case 2:
        a->dx.rank = 0;
        return true;
    default:
        a->lag = a->lag == 1 ? a->x.dim[0] : 1;
        return timed;
    }
}

/* --------------------------------------------------------------------------------- known values */

/* What all of a picture's values are in frame f: x = even or odd frame's, target. */
struct plain {
    double even, odd, target;
};

static void want_loss(struct ck_memory *memory, enum kn_op op, const struct kn_loss_args *a,
                      double want) {
    double *value;

    *(double *)ck_at(memory, &a->value, 0, 0, 0, 0) = 0;
    value = ck_outcome(memory, op, a, &a->value);
    ck_want(memory->ck, value && fabs(*value - want) <= 1e-6 * fabs(want) + 1e-12,
            "loss %.9g, should be %.9g", value ? *value : NAN, want);
    free(value);
}

static void known(struct ck *ck, enum kn_op op, const struct size *s, struct plain p, double want) {
    struct ck_memory *memory;
    struct kn_loss_args a;

    if (!ck_begin(ck, "%s of plain pictures, %g or %g where %g should be", kn_op_name(op), p.even,
                  p.odd, p.target))
        return;
    memory = ck_memory_new(ck);
    a = operands(memory, KN_F32, s, 0, 0);
    for (int64_t f = 0; f < a.x.dim[0]; f++)
        for (int64_t i = 0; i < a.x.dim[1] * a.x.dim[2] * 12; i++) {
            ((float *)ck_at(memory, &a.x, f, 0, 0, 0))[i] = (float)(f / a.lag % 2 ? p.odd : p.even);
            ((float *)ck_at(memory, &a.target, f, 0, 0, 0))[i] = (float)p.target;
        }
    want_loss(memory, op, &a, want);
    ck_memory_free(memory);
}

static void known_mean_square(struct ck *ck) {
    known(ck, KN_OP_MEAN_SQUARE, &(struct size){2, 3, 4, 5}, (struct plain){0.5, -0.25, 0.25},
          (0.0625 + 0.25) / 2);
}

static void known_charbonnier(struct ck *ck) {
    known(ck, KN_OP_CHARBONNIER, &(struct size){2, 3, 4, 5}, (struct plain){0.5, -0.25, 0.25},
          (sqrt(0.0625 + 1e-6) + sqrt(0.25 + 1e-6)) / 2);
}

static void known_temporal_difference(struct ck *ck) {
    const struct size s = {4, 3, 4, 5}, still = {1, 3, 4, 5};

    known(ck, KN_OP_TEMPORAL_DIFFERENCE, &s, (struct plain){0.5, 0.5, -1}, 1e-3);
    known(ck, KN_OP_TEMPORAL_DIFFERENCE, &s, (struct plain){0.5, 0.25, -1}, sqrt(0.0625 + 1e-6));
    known(ck, KN_OP_TEMPORAL_DIFFERENCE, &still, (struct plain){0.5, 0.25, -1}, 0);
}

/* No band holds what is the same everywhere. */
static void known_laplacian(struct ck *ck) {
    known(ck, KN_OP_LAPLACIAN, &(struct size){2, 1, 24, 17}, (struct plain){0.75, 0.5, -1}, 1e-3);
    known(ck, KN_OP_LAPLACIAN, &(struct size){2, 1, 3, 17}, (struct plain){0.75, 0.5, -1}, 0);
}

/* Two pictures of one colour, x and target, in [0, 1]. */
struct pair {
    int64_t height, width;
    double value[2][64 * 64];
};

/* One window by its definition, from sums of the deviations themselves. */
static double window(const struct pair *p, int64_t top, int64_t left, bool luminance) {
    double m[2] = {0}, v[3] = {0}, sum = 0;

    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < 121; i++) {
            const int64_t at = (top + i / 11) * p->width + left + i % 11;
            double tap = exp(-(pow(i / 11 - 5, 2) + pow(i % 11 - 5, 2)) / 4.5);
            sum += pass == 0 ? tap : 0;
            for (int k = 0; k < 2 && pass == 0; k++)
                m[k] += tap * p->value[k][at];
            for (int k = 0; k < 3 && pass == 1; k++)
                v[k] += tap / sum * (p->value[k / 2][at] - m[k / 2] / sum) *
                        (p->value[(k + 1) / 2][at] - m[(k + 1) / 2] / sum);
        }
    m[0] /= sum;
    m[1] /= sum;
    return (2 * v[1] + 9e-4) / (v[0] + v[2] + 9e-4) *
           (luminance ? (2 * m[0] * m[1] + 1e-4) / (m[0] * m[0] + m[1] * m[1] + 1e-4) : 1);
}

static double mean_of_windows(const struct pair *p, bool luminance) {
    const int64_t high = p->height - 10, wide = p->width - 10;
    double sum = 0;

    for (int64_t i = 0; i < high * wide; i++)
        sum += window(p, i / wide, i % wide, luminance);
    return sum / (double)(high * wide);
}

static void halve(struct pair *p) {
    const int64_t width = p->width;

    p->height /= 2;
    p->width /= 2;
    for (int k = 0; k < 2; k++)
        for (int64_t i = 0; i < p->height * p->width; i++) {
            const double *from = p->value[k] + 2 * (i / p->width * width + i % p->width);
            p->value[k][i] = (from[0] + from[1] + from[width] + from[width + 1]) / 4;
        }
}

/* MS-SSIM of one colour of the first frame. */
static double ms_ssim_of(struct ck_memory *memory, const struct kn_loss_args *a, int64_t c) {
    static const double exponent[] = {0.0448, 0.2856, 0.3001};
    struct pair p = {2 * a->x.dim[1], 2 * a->x.dim[2], {{0}}};
    double product = 1, sum = 0;
    int scales = 0;

    for (int64_t i = 0; i < p.height * p.width; i++) {
        const int64_t y = i / p.width, x = i % p.width, channel = 4 * c + 2 * (y % 2) + x % 2;
        for (int k = 0; k < 2; k++)
            p.value[k][i] = (1 + (double)*(float *)ck_at(memory, k ? &a->target : &a->x, 0, y / 2,
                                                         x / 2, channel)) /
                            2;
    }
    while (scales < 3 && p.height >> scales >= 11 && p.width >> scales >= 11)
        sum += exponent[scales++];
    for (int k = 0; k < scales; k++) {
        product *= pow(mean_of_windows(&p, k == scales - 1), exponent[k] / sum);
        halve(&p);
    }
    return product;
}

static void by_definition(struct ck *ck, const struct size *s) {
    struct kn_loss_args a;
    struct ck_memory *memory;
    double sum = 0;

    if (!ck_begin(ck, "ms_ssim of %d x %d pixels by its definition", (int)s->width * 2,
                  (int)s->height * 2))
        return;
    memory = ck_memory_new(ck);
    a = operands(memory, KN_F32, s, 0.3, 3);
    for (int64_t c = 0; c < 3; c++)
        sum += ms_ssim_of(memory, &a, c);
    want_loss(memory, KN_OP_MS_SSIM, &a, 1 - sum / 3);
    ck_memory_free(memory);
}

/* Plain pictures differ in luminance only; pictures of 12, 22 and 44 pixels have 1, 2, 3 scales. */
static void known_ms_ssim(struct ck *ck) {
    const double a = 0.75, b = 0.625, luminance = (2 * a * b + 1e-4) / (a * a + b * b + 1e-4);
    const struct size large = {1, 1, 24, 25}, small = {1, 1, 6, 6};
    struct ck_memory *memory;
    struct kn_loss_args args;

    known(ck, KN_OP_MS_SSIM, &large, (struct plain){0.5, 0.5, 0.5}, 0);
    known(ck, KN_OP_MS_SSIM, &large, (struct plain){0.5, 0.5, 0.25},
          1 - pow(luminance, 0.3001 / (0.0448 + 0.2856 + 0.3001)));
    known(ck, KN_OP_MS_SSIM, &small, (struct plain){0.5, 0.5, 0.25}, 1 - luminance);
    if (!ck_begin(ck, "ms_ssim of equal pictures"))
        return;
    memory = ck_memory_new(ck);
    args = operands(memory, KN_F32, &large, 0, 3);
    want_loss(memory, KN_OP_MS_SSIM, &args, 0);
    ck_memory_free(memory);
    by_definition(ck, &small);
    by_definition(ck, &(struct size){1, 1, 11, 14});
    by_definition(ck, &(struct size){1, 1, 22, 29});
}

/* ------------------------------------------------------------------------------------ gradients */

static void set_weight(struct ck_grad *grad, float s) {
    grad->backward[0].args.loss.weight = s;
}

static void grad_one(struct ck *ck, enum kn_op op, const struct size *s, double distance) {
    struct ck_grad grad = {.scale = set_weight, .tolerance = 1e-4};
    struct ck_memory *memory;
    struct kn_loss_args a, b;

    if (!ck_begin(ck, "%s (%d * %d, %d, %d, 12), %g from the target", kn_op_name(op), (int)s->times,
                  (int)s->clips, (int)s->height, (int)s->width, distance))
        return;
    /* smooth absolute values bend within 1e-3; 1 - MS-SSIM is a difference of larger values */
    grad.step = op == KN_OP_MS_SSIM ? 1e-3 : 1e-5;
    memory = ck_memory_new(ck);
    a = b = operands(memory, KN_F64, s, distance, 5);
    clear(memory, &a); /* slopes of 1e-6 times the loss drown in what they are added to */
    a.dx.rank = 0;
    grad.out = a.value;
    ck_grad_forward(&grad, op, &a);
    ck_grad_backward(&grad, op, &b);
    ck_grad_input(&grad, &b.x, &b.dx);
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}

static void grad_cases(struct ck *ck, enum kn_op op) {
    static const struct size sizes[] = {{2, 2, 6, 7}, {2, 1, 12, 11}, {3, 1, 7, 6}, {2, 1, 24, 23}};

    for (size_t s = 0; s < CK_COUNT(sizes); s++)
        for (size_t d = 0; d < 3; d++)
            grad_one(ck, op, &sizes[s], d < 2 ? distances[d] : 1);
}

/* ------------------------------------------------------------------------------------ benchmark */

static void bench(struct ck *ck, enum kn_op op) {
    const struct size s = {8, 4, 32, 32};
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_loss_args a = operands(memory, KN_F32, &s, 0.3, 0);

    a.weight = 1;
    ck_bench(memory, "4 clips of 8 frames of 64 x 64", op, &a,
             (struct ck_work){.bytes = 16. * 12 * 32 * 32 * 32});
    ck_memory_free(memory);
}

/* ----------------------------------------------------------------------------------- operations */

#define LOSS(name, NAME, timed)                                \
    void ck_test_##name(struct ck *ck) {                       \
        cases(ck, KN_OP_##NAME);                               \
        known_##name(ck);                                      \
    }                                                          \
    void ck_grad_##name(struct ck *ck) {                       \
        grad_cases(ck, KN_OP_##NAME);                          \
    }                                                          \
    void ck_bench_##name(struct ck *ck) {                      \
        bench(ck, KN_OP_##NAME);                               \
    }                                                          \
    bool ck_sabotage_##name(struct kn_loss_args *a, int way) { \
        return sabotage(a, way, timed);                        \
    }

LOSS(mean_square, MEAN_SQUARE, false)
LOSS(charbonnier, CHARBONNIER, false)
LOSS(temporal_difference, TEMPORAL_DIFFERENCE, true)
LOSS(laplacian, LAPLACIAN, false)
LOSS(ms_ssim, MS_SSIM, false)
