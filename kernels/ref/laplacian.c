/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Smooth absolute errors in the bands of a Laplacian pyramid. Reducing and expanding are written as
 * lists of taps, which the gradient follows backwards.
 */
#include "loss.h"

struct taps {
    int count;
    int64_t at[5];
    double weight[5];
};

static int64_t inside(int64_t i, int64_t n) {
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

/* What value j of half as many comes from, out of n. */
static struct taps reduced_from(int64_t j, int64_t n) {
    static const double binomial[5] = {0.0625, 0.25, 0.375, 0.25, 0.0625};
    struct taps t = {.count = 5};

    for (int k = 0; k < 5; k++) {
        t.at[k] = inside(2 * j + k - 2, n);
        t.weight[k] = binomial[k];
    }
    return t;
}

/* What value i of twice as many comes from, out of n. */
static struct taps expanded_from(int64_t i, int64_t n) {
    static const double even[3] = {0.125, 0.75, 0.125}, odd[3] = {0, 0.5, 0.5};
    struct taps t = {.count = 3};

    for (int k = 0; k < 3; k++) {
        t.at[k] = inside(i / 2 + k - 1, n);
        t.weight[k] = i % 2 ? odd[k] : even[k];
    }
    return t;
}

static double gather(const double *plane, int64_t width, const struct taps *y,
                     const struct taps *x) {
    double sum = 0;

    for (int i = 0; i < y->count; i++)
        for (int j = 0; j < x->count; j++)
            sum += y->weight[i] * x->weight[j] * plane[y->at[i] * width + x->at[j]];
    return sum;
}

static void scatter(double *plane, int64_t width, const struct taps *y, const struct taps *x,
                    double value) {
    for (int i = 0; i < y->count; i++)
        for (int j = 0; j < x->count; j++)
            plane[y->at[i] * width + x->at[j]] += y->weight[i] * x->weight[j] * value;
}

struct pyramid {
    struct kn_levels size;
    double *value[KN_BANDS + 1], *slope[KN_BANDS + 1];
};

static void pyramid_reduce(const struct pyramid *p, int k) {
    for (int64_t y = 0; y < p->size.height[k + 1]; y++)
        for (int64_t x = 0; x < p->size.width[k + 1]; x++) {
            struct taps v = reduced_from(y, p->size.height[k]);
            struct taps h = reduced_from(x, p->size.width[k]);
            p->value[k + 1][y * p->size.width[k + 1] + x] =
                gather(p->value[k], p->size.width[k], &v, &h);
        }
}

static void pyramid_reduce_backward(const struct pyramid *p, int k) {
    for (int64_t y = 0; y < p->size.height[k + 1]; y++)
        for (int64_t x = 0; x < p->size.width[k + 1]; x++) {
            struct taps v = reduced_from(y, p->size.height[k]);
            struct taps h = reduced_from(x, p->size.width[k]);
            scatter(p->slope[k], p->size.width[k], &v, &h,
                    p->slope[k + 1][y * p->size.width[k + 1] + x]);
        }
}

/* Mean over band k; its slopes go to the levels on both sides. */
static double band(const struct pyramid *p, int k) {
    const int64_t height = p->size.height[k], width = p->size.width[k];
    const double share = 1 / (double)(height * width * p->size.used);
    double sum = 0;

    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            struct taps v = expanded_from(y, p->size.height[k + 1]);
            struct taps h = expanded_from(x, p->size.width[k + 1]);
            double b =
                p->value[k][y * width + x] - gather(p->value[k + 1], p->size.width[k + 1], &v, &h);
            double slope = share * b / kn_ref_smooth(b);
            sum += share * kn_ref_smooth(b);
            p->slope[k][y * width + x] += slope;
            scatter(p->slope[k + 1], p->size.width[k + 1], &v, &h, -slope);
        }
    return sum;
}

static double pyramid_loss(const struct pyramid *p) {
    double sum = 0;

    for (int k = 0; k < p->size.used; k++)
        pyramid_reduce(p, k);
    for (int k = 0; k < p->size.used; k++)
        sum += band(p, k);
    for (int k = p->size.used - 1; k >= 0; k--)
        pyramid_reduce_backward(p, k);
    return sum;
}

static struct pyramid pyramid_in(double *memory, const struct kn_tensor *image) {
    struct pyramid p = {.size = kn_laplacian_levels(2 * image->dim[1], 2 * image->dim[2])};
    const int64_t half = kn_ref_pyramid(image);
    int64_t at = 0;

    memset(memory, 0, 2 * (size_t)half * sizeof *memory);
    for (int k = 0; k <= p.size.used; k++) {
        p.value[k] = memory + at;
        p.slope[k] = memory + half + at;
        at += p.size.height[k] * p.size.width[k];
    }
    return p;
}

static double laplacian_plane(const struct kn_ref_loss *l, double *memory, int64_t f, int64_t c) {
    const int64_t height = 2 * l->shape->dim[1], width = 2 * l->shape->dim[2];
    const double share = 1 / (3 * (double)l->shape->dim[0]);
    struct pyramid p = pyramid_in(memory, l->shape);
    double loss;

    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            p.value[0][y * width + x] = kn_ref_error(l, f, y / 2, x / 2, kn_ref_pixel(c, y, x));
    loss = pyramid_loss(&p);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            kn_ref_add(&l->dx, f, y / 2, x / 2, kn_ref_pixel(c, y, x),
                       l->weight * share * p.slope[0][y * width + x]);
    return share * loss;
}

static enum kn_status laplacian_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                        struct kn_err *err) {
    const struct kn_tensor *x = &node->args.loss.x;
    const int64_t factor[] = {2 * 2 * 4, x->dim[1], x->dim[2]};

    return kn_ref_scratch(prepare, factor, 3, 0, node, err);
}

static enum kn_status laplacian_run(const struct kn_call *call, const void *args,
                                    struct kn_err *err) {
    struct kn_ref_loss l = kn_ref_loss(call, args);

    for (int64_t f = 0; f < l.shape->dim[0]; f++)
        for (int64_t c = 0; c < 3; c++)
            *l.value += laplacian_plane(&l, call->scratch, f, c);
    return KN_OK;
}

const struct kn_kernel kn_ref_laplacian = {.prepare = laplacian_prepare, .run = laplacian_run};
