/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What cameras, channels and quantisers do to a picture. */
#include "../kn_random.h"
#include "../kn_training.h"
#include "loss.h"

#define SIDE 8 /* of a block of cosines, in pixels */

/* To the nearest of 256 codes; NaN becomes black. */
static double to_code(double value) {
    double code = (value + 1) * 127.5;

    return (code > 0 ? rint(fmin(code, 255)) : 0) / 127.5 - 1;
}

/* Normal, by Box and Muller. */
static double normal(uint64_t bits) {
    return sqrt(-2 * log((double)kn_random_above(bits))) *
           cos(6.283185307179586 * (double)kn_random_below(bits));
}

static double disturb(const struct kn_sample *s, double x, uint64_t i) {
    const double strength = (double)s->strength, gain = (double)s->gain;
    const uint64_t bits = kn_random_bits(s->key, i);

    switch (s->kind) {
    case KN_NOISE_GAUSSIAN:
        return to_code(x + strength * normal(bits));
    case KN_NOISE_POISSON:
        return to_code(x + sqrt(strength * strength + gain * fmax(0, (x + 1) / 2)) * normal(bits));
    case KN_NOISE_UNIFORM:
        return x + strength * ((double)kn_random_below(bits) - 0.5);
    default:
        return x;
    }
}

/* ---------------------------------------------------------------------------------- compression */

struct block {
    double value[3][SIDE][SIDE];
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* BT.601: luma and two differences of colours, all in [-1, 1]. */
static void to_luma(double v[3]) {
    double r = v[0], g = v[1], b = v[2], y = 0.299 * r + 0.587 * g + 0.114 * b;

    v[0] = y;
    v[1] = (b - y) / 1.772;
    v[2] = (r - y) / 1.402;
}

static void from_luma(double v[3]) {
    double y = v[0], b = y + 1.772 * v[1], r = y + 1.402 * v[2];

    v[0] = r;
    v[1] = (y - 0.299 * r - 0.114 * b) / 0.587;
    v[2] = b;
}

static void each_pixel(struct block *b, void (*change)(double v[3])) {
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            double v[3] = {b->value[0][y][x], b->value[1][y][x], b->value[2][y][x]};
            change(v);
            for (int c = 0; c < 3; c++)
                b->value[c][y][x] = v[c];
        }
}

/* Colour at half the size: four pixels share their mean. */
static void share_chroma(double v[SIDE][SIDE]) {
    for (int y = 0; y < SIDE; y += 2)
        for (int x = 0; x < SIDE; x += 2) {
            double mean = (v[y][x] + v[y][x + 1] + v[y + 1][x] + v[y + 1][x + 1]) / 4;
            v[y][x] = v[y][x + 1] = v[y + 1][x] = v[y + 1][x + 1] = mean;
        }
}

/* Entry (k, i) of the orthonormal cosine transform. */
static double cosine(int k, int i) {
    return sqrt(k == 0 ? 1.0 / SIDE : 2.0 / SIDE) * cos(3.141592653589793 / SIDE * (i + 0.5) * k);
}

/* v = m v m', or with inverse m' v m */
static void transform(double v[SIDE][SIDE], const double m[SIDE][SIDE], bool inverse) {
    double half[SIDE][SIDE];

    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            half[i][j] = 0;
            for (int k = 0; k < SIDE; k++)
                half[i][j] += (inverse ? m[k][i] : m[i][k]) * v[k][j];
        }
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            v[i][j] = 0;
            for (int k = 0; k < SIDE; k++)
                v[i][j] += half[i][k] * (inverse ? m[k][j] : m[j][k]);
        }
}

/* The step grows with the frequency, from a quarter of the finest coefficient's. */
static void quantise(double v[SIDE][SIDE], double strength) {
    if (!(strength > 0))
        return;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            double step = strength * (1 + 3 * (i + j) / 14.0) / 4;
            v[i][j] = rint(v[i][j] / step) * step;
        }
}

/* The block at pixel (top, left) of frame f; beyond the picture its last row and column. */
static void compress(const struct kn_noise_args *a, const struct kn_ref_view *in,
                     const struct kn_ref_view *out, double strength, int64_t f, int64_t top,
                     int64_t left) {
    int64_t height = 2 * a->x.dim[1], width = 2 * a->x.dim[2];
    double basis[SIDE][SIDE];
    struct block b;

    for (int i = 0; i < SIDE * SIDE; i++) {
        int64_t y = least(top + i / SIDE, height - 1), x = least(left + i % SIDE, width - 1);
        basis[i / SIDE][i % SIDE] = cosine(i / SIDE, i % SIDE);
        for (int c = 0; c < 3; c++)
            b.value[c][i / SIDE][i % SIDE] = kn_ref_get(in, f, y / 2, x / 2, kn_ref_pixel(c, y, x));
    }
    each_pixel(&b, to_luma);
    for (int c = 0; c < 3; c++) {
        if (c > 0)
            share_chroma(b.value[c]);
        transform(b.value[c], basis, false);
        quantise(b.value[c], strength);
        transform(b.value[c], basis, true);
    }
    each_pixel(&b, from_luma);
    for (int64_t y = top; y < least(top + SIDE, height); y++)
        for (int64_t x = left; x < least(left + SIDE, width); x++)
            for (int c = 0; c < 3; c++)
                kn_ref_set(out, f, y / 2, x / 2, kn_ref_pixel(c, y, x),
                           to_code(b.value[c][y - top][x - left]));
}

static void noise_frame(const struct kn_noise_args *a, const struct kn_ref_view *in,
                        const struct kn_ref_view *out, const struct kn_sample *s, int64_t f) {
    const int64_t h = a->x.dim[1], w = a->x.dim[2], C = a->x.dim[3];
    uint64_t i = (uint64_t)(f / a->sample.dim[0] * h * w * C);

    if (s->kind == KN_NOISE_COMPRESSION) {
        for (int64_t y = 0; y < 2 * h; y += SIDE)
            for (int64_t x = 0; x < 2 * w; x += SIDE)
                compress(a, in, out, (double)s->strength, f, y, x);
        return;
    }
    for (int64_t y = 0; y < h; y++)
        for (int64_t x = 0; x < w; x++)
            for (int64_t c = 0; c < C; c++)
                kn_ref_set(out, f, y, x, c, disturb(s, kn_ref_get(in, f, y, x, c), i++));
}

static enum kn_status noise_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_noise_args *a = args;
    const struct kn_sample *sample = kn_at(call, &a->sample);
    struct kn_ref_view in = kn_ref_view(call, &a->x), out = kn_ref_view(call, &a->out);
    enum kn_status status = kn_noise_samples(a, sample, err);

    for (int64_t f = 0; f < a->x.dim[0] && status == KN_OK; f++)
        noise_frame(a, &in, &out, &sample[f % a->sample.dim[0]], f);
    return status;
}

const struct kn_kernel kn_ref_noise = {.run = noise_run};
