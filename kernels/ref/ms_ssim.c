/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Structural similarity at several scales, window by window. */
#include "loss.h"

struct scales {
    struct kn_levels size;
    double *x[KN_SCALES], *y[KN_SCALES], *slope[KN_SCALES];
    double tap[KN_SSIM_TAPS];
};

/* One window: means, variances, covariance; what they make; and what its slopes are made of. */
struct window {
    double mean_x, mean_y, luminance, structure;
    double a, b; /* denominators of the two */
};

static struct window window_at(const struct scales *s, int k, int64_t top, int64_t left) {
    double mx = 0, my = 0, xx = 0, yy = 0, xy = 0;
    struct window w;

    for (int64_t i = 0; i < KN_SSIM_TAPS * KN_SSIM_TAPS; i++) {
        const int64_t at = (top + i / KN_SSIM_TAPS) * s->size.width[k] + left + i % KN_SSIM_TAPS;
        const double tap = s->tap[i / KN_SSIM_TAPS] * s->tap[i % KN_SSIM_TAPS];
        mx += tap * s->x[k][at];
        my += tap * s->y[k][at];
        xx += tap * s->x[k][at] * s->x[k][at];
        yy += tap * s->y[k][at] * s->y[k][at];
        xy += tap * s->x[k][at] * s->y[k][at];
    }
    w.mean_x = mx;
    w.mean_y = my;
    w.a = mx * mx + my * my + KN_SSIM_C1;
    w.b = xx - mx * mx + yy - my * my + KN_SSIM_C2;
    w.luminance = (2 * mx * my + KN_SSIM_C1) / w.a;
    w.structure = (2 * (xy - mx * my) + KN_SSIM_C2) / w.b;
    return w;
}

static int64_t windows_high(const struct scales *s, int k) {
    return s->size.height[k] - KN_SSIM_TAPS + 1;
}

static int64_t windows_wide(const struct scales *s, int k) {
    return s->size.width[k] - KN_SSIM_TAPS + 1;
}

/* The coarsest scale alone counts luminance. */
static double factor(const struct scales *s, int k) {
    const bool last = k == s->size.used - 1;
    double sum = 0;

    for (int64_t y = 0; y < windows_high(s, k); y++)
        for (int64_t x = 0; x < windows_wide(s, k); x++) {
            struct window w = window_at(s, k, y, x);
            sum += last ? w.luminance * w.structure : w.structure;
        }
    return sum / (double)(windows_high(s, k) * windows_wide(s, k));
}

/* Adds to the slopes what one window's value, times share, changes with each of its pixels. */
static void window_backward(const struct scales *s, int k, int64_t top, int64_t left,
                            double share) {
    const bool last = k == s->size.used - 1;
    struct window w = window_at(s, k, top, left);
    double even = last ? w.structure * 2 * (w.mean_y - w.luminance * w.mean_x) / w.a : 0;
    double along = 2 / w.b * (last ? w.luminance : 1);

    for (int64_t i = 0; i < KN_SSIM_TAPS * KN_SSIM_TAPS; i++) {
        const int64_t at = (top + i / KN_SSIM_TAPS) * s->size.width[k] + left + i % KN_SSIM_TAPS;
        const double tap = s->tap[i / KN_SSIM_TAPS] * s->tap[i % KN_SSIM_TAPS];
        s->slope[k][at] +=
            share * tap *
            (even + along * (s->y[k][at] - w.mean_y - w.structure * (s->x[k][at] - w.mean_x)));
    }
}

static void factor_backward(const struct scales *s, int k, double share) {
    share /= (double)(windows_high(s, k) * windows_wide(s, k));
    for (int64_t y = 0; y < windows_high(s, k); y++)
        for (int64_t x = 0; x < windows_wide(s, k); x++)
            window_backward(s, k, y, x, share);
}

static double mean_of_four(const double *plane, int64_t width, int64_t y, int64_t x) {
    const double *p = plane + 2 * y * width + 2 * x;

    return (p[0] + p[1] + p[width] + p[width + 1]) / 4;
}

static void shrink(const struct scales *s, int k) {
    for (int64_t y = 0; y < s->size.height[k]; y++)
        for (int64_t x = 0; x < s->size.width[k]; x++) {
            const int64_t at = y * s->size.width[k] + x;
            s->x[k][at] = mean_of_four(s->x[k - 1], s->size.width[k - 1], y, x);
            s->y[k][at] = mean_of_four(s->y[k - 1], s->size.width[k - 1], y, x);
        }
}

static void shrink_backward(const struct scales *s, int k) {
    for (int64_t y = 0; y < 2 * s->size.height[k]; y++)
        for (int64_t x = 0; x < 2 * s->size.width[k]; x++)
            s->slope[k - 1][y * s->size.width[k - 1] + x] +=
                s->slope[k][y / 2 * s->size.width[k] + x / 2] / 4;
}

/* 1 - the product of all factors, each to its power; slopes are those of the loss. */
static double scales_loss(const struct scales *s) {
    double value[KN_SCALES], product = 1;

    for (int k = 0; k < s->size.used; k++) {
        if (k > 0)
            shrink(s, k);
        value[k] = factor(s, k);
        product *= pow(kn_ssim_above_floor(value[k]), kn_ssim_exponent(k, s->size.used));
    }
    for (int k = s->size.used - 1; k >= 0; k--) {
        if (!(value[k] <= KN_SSIM_FLOOR))
            factor_backward(s, k, -product * kn_ssim_exponent(k, s->size.used) / value[k]);
        if (k > 0)
            shrink_backward(s, k);
    }
    return 1 - product;
}

static struct scales scales_in(double *memory, const struct kn_tensor *image) {
    struct scales s = {.size = kn_ssim_levels(2 * image->dim[1], 2 * image->dim[2])};
    const int64_t third = kn_ref_pyramid(image);
    double sum = 0;
    int64_t at = 0;

    memset(memory, 0, 3 * (size_t)third * sizeof *memory);
    for (int k = 0; k < s.size.used; k++) {
        s.x[k] = memory + at;
        s.y[k] = memory + third + at;
        s.slope[k] = memory + 2 * third + at;
        at += s.size.height[k] * s.size.width[k];
    }
    for (int i = 0; i < KN_SSIM_TAPS; i++)
        sum += s.tap[i] = exp(-0.5 * pow((i - KN_SSIM_TAPS / 2) / KN_SSIM_SIGMA, 2));
    for (int i = 0; i < KN_SSIM_TAPS; i++)
        s.tap[i] /= sum;
    return s;
}

static double ms_ssim_plane(const struct kn_ref_loss *l, double *memory, int64_t f, int64_t c) {
    const int64_t height = 2 * l->shape->dim[1], width = 2 * l->shape->dim[2];
    const double share = 1 / (3 * (double)l->shape->dim[0]);
    struct scales s = scales_in(memory, l->shape);
    double loss;

    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++) {
            int64_t channel = kn_ref_pixel(c, y, x);
            s.x[0][y * width + x] = (kn_ref_get(&l->x, f, y / 2, x / 2, channel) + 1) / 2;
            s.y[0][y * width + x] = (kn_ref_get(&l->target, f, y / 2, x / 2, channel) + 1) / 2;
        }
    loss = scales_loss(&s);
    for (int64_t y = 0; y < height; y++)
        for (int64_t x = 0; x < width; x++)
            kn_ref_add(&l->dx, f, y / 2, x / 2, kn_ref_pixel(c, y, x),
                       l->weight * share / 2 * s.slope[0][y * width + x]);
    return share * loss;
}

static enum kn_status ms_ssim_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                      struct kn_err *err) {
    const struct kn_tensor *x = &node->args.loss.x;
    const int64_t factor[] = {3 * 2 * 4, x->dim[1], x->dim[2]};

    return kn_ref_scratch(prepare, factor, 3, 0, node, err);
}

static enum kn_status ms_ssim_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    struct kn_ref_loss l = kn_ref_loss(call, args);

    if (kn_ssim_levels(2 * l.shape->dim[1], 2 * l.shape->dim[2]).used == 0)
        return KN_OK;
    for (int64_t f = 0; f < l.shape->dim[0]; f++)
        for (int64_t c = 0; c < 3; c++)
            *l.value += ms_ssim_plane(&l, call->scratch, f, c);
    return KN_OK;
}

const struct kn_kernel kn_ref_ms_ssim = {.prepare = ms_ssim_prepare, .run = ms_ssim_run};
