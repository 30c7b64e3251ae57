/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What cameras, channels and quantisers do to a picture, in bands of four rows, which are eight
 * rows of pixels. Random numbers go by their index, so bands need nothing of each other.
 */
#include <math.h>
#include <string.h>

#include "../kn_random.h"
#include "../kn_training.h"
#include "cpu.h"
#include "vec_math.h"

#define BAND 4   /* rows */
#define SOME 256 /* values at once: their random numbers stay in the first level cache */
#define SIDE 8   /* of a block of cosines, in pixels */

/* To the nearest of 256 codes; NaN becomes black. */
static inline float to_code(float value) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    float code = (value + 1.0f) * 127.5f;
    code = code > 0.0f ? code : 0.0f;
    code = code < 255.0f ? code : 255.0f;
    return ((code + magic) - magic) / 127.5f - 1.0f;
}

/* -------------------------------------------------------------------------------- single values */

/* SOME normal values, by Box and Muller. */
static void normals(float *to, uint64_t key, uint64_t first) {
    float above[SOME], below[SOME];

#pragma omp simd
    for (int i = 0; i < SOME; i++) {
        uint64_t bits = kn_random_bits(key, first + (uint64_t)i);
        above[i] = kn_random_above(bits);
        below[i] = kn_random_below(bits);
    }
#pragma omp simd
    for (int i = 0; i < SOME; i++)
        to[i] = sqrtf(-2.0f * kn_log(above[i])) * kn_cos_turns(below[i]);
}

static void gaussian(float *to, const float *x, const float *normal, float strength, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = to_code(x[i] + strength * normal[i]);
}

static void poisson(float *to, const float *x, const float *normal, const struct kn_sample *s,
                    int64_t n) {
    const float square = s->strength * s->strength, gain = s->gain;

#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float light = 0.5f * (x[i] + 1.0f);
        to[i] = to_code(x[i] + sqrtf(square + gain * (light > 0.0f ? light : 0.0f)) * normal[i]);
    }
}

static void uniform(float *to, const float *x, const struct kn_sample *s, uint64_t first,
                    int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = x[i] +
                s->strength * (kn_random_below(kn_random_bits(s->key, first + (uint64_t)i)) - 0.5f);
}

/* Values first ... of a clip. */
static void values(float *to, const float *x, const struct kn_sample *s, uint64_t first,
                   int64_t n) {
    float normal[SOME];

    for (int64_t i = 0; i < n; i += SOME) {
        const int64_t some = n - i < SOME ? n - i : SOME;
        if (s->kind == KN_NOISE_GAUSSIAN || s->kind == KN_NOISE_POISSON)
            normals(normal, s->key, first + (uint64_t)i);
        if (s->kind == KN_NOISE_GAUSSIAN)
            gaussian(to + i, x + i, normal, s->strength, some);
        else if (s->kind == KN_NOISE_POISSON)
            poisson(to + i, x + i, normal, s, some);
        else if (s->kind == KN_NOISE_UNIFORM)
            uniform(to + i, x + i, s, first + (uint64_t)i, some);
        else
            memmove(to + i, x + i, (size_t)some * sizeof *to);
    }
}

/* ---------------------------------------------------------------------------------- compression */

/*
 * In double, so that coefficients fall on the same side of a quantiser's edges as the reference's.
 * basis[k][i] is entry (k, i) of the orthonormal cosine transform.
 */
struct cosines {
    double basis[SIDE][SIDE];
    double transposed[SIDE][SIDE];
};

static void make_cosines(struct cosines *t) {
    for (int k = 0; k < SIDE; k++)
        for (int i = 0; i < SIDE; i++)
            t->basis[k][i] = t->transposed[i][k] =
                sqrt((k == 0 ? 1.0 : 2.0) / SIDE) * cos(3.141592653589793 / SIDE * (i + 0.5) * k);
}

/* to = a b */
static void multiply(double to[SIDE][SIDE], const double a[SIDE][SIDE],
                     const double b[SIDE][SIDE]) {
    for (int i = 0; i < SIDE; i++) {
        double row[SIDE] = {0};
        for (int k = 0; k < SIDE; k++)
#pragma omp simd
            for (int j = 0; j < SIDE; j++)
                row[j] += a[i][k] * b[k][j];
        memcpy(to[i], row, sizeof row);
    }
}

/* The step grows with the frequency, from a quarter of the finest coefficient's. */
static void quantise(double v[SIDE][SIDE], double strength) {
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            double step = strength * (1 + 3 * (i + j) / 14.0) / 4;
            v[i][j] = rint(v[i][j] / step) * step;
        }
}

static void lose_detail(double v[SIDE][SIDE], const struct cosines *t, double strength) {
    double half[SIDE][SIDE];

    if (!(strength > 0))
        return;
    multiply(half, t->basis, v);
    multiply(v, half, t->transposed);
    quantise(v, strength);
    multiply(half, t->transposed, v);
    multiply(v, half, t->basis);
}

static void share_chroma(double v[SIDE][SIDE]) {
    for (int y = 0; y < SIDE; y += 2)
        for (int x = 0; x < SIDE; x += 2) {
            double mean = (v[y][x] + v[y][x + 1] + v[y + 1][x] + v[y + 1][x + 1]) / 4;
            v[y][x] = v[y][x + 1] = v[y + 1][x] = v[y + 1][x + 1] = mean;
        }
}

/* RGB to luma and two differences of colours (BT.601), all in [-1, 1]. */
static void to_luma(double v[3][SIDE * SIDE]) {
    for (int i = 0; i < SIDE * SIDE; i++) {
        double r = v[0][i], b = v[2][i], y = 0.299 * r + 0.587 * v[1][i] + 0.114 * b;
        v[0][i] = y;
        v[1][i] = (b - y) / 1.772;
        v[2][i] = (r - y) / 1.402;
    }
}

static void from_luma(double v[3][SIDE * SIDE]) {
    for (int i = 0; i < SIDE * SIDE; i++) {
        double y = v[0][i], b = y + 1.772 * v[1][i], r = y + 1.402 * v[2][i];
        v[0][i] = r;
        v[1][i] = (y - 0.299 * r - 0.114 * b) / 0.587;
        v[2][i] = b;
    }
}

/* Where pixel (y, x) of the first colour lies in a band of `width` columns. */
static int64_t pixel_at(int64_t y, int64_t x, int64_t width) {
    return (y / 2 * width + x / 2) * 12 + 2 * (y & 1) + (x & 1);
}

/* Columns from left on (pixels) of a band of rows of 12 channels, which may be cut short. */
static void compress(float *to, const float *x, const struct cosines *t, double strength,
                     int64_t rows, int64_t width, int64_t left) {
    double v[3][SIDE][SIDE];
    const int64_t bottom = 2 * rows - 1, right = 2 * width - 1;

    for (int i = 0; i < SIDE * SIDE; i++) {
        const int64_t y = i / SIDE < bottom ? i / SIDE : bottom;
        const int64_t column = left + i % SIDE < right ? left + i % SIDE : right;
        for (int c = 0; c < 3; c++)
            v[c][i / SIDE][i % SIDE] = (double)x[pixel_at(y, column, width) + 4 * c];
    }
    to_luma((double(*)[SIDE * SIDE]) v);
    for (int c = 0; c < 3; c++) {
        if (c > 0)
            share_chroma(v[c]);
        lose_detail(v[c], t, strength);
    }
    from_luma((double(*)[SIDE * SIDE]) v);
    for (int64_t i = 0; i < SIDE * SIDE; i++)
        for (int c = 0; c < 3 && i / SIDE <= bottom && left + i % SIDE <= right; c++)
            to[pixel_at(i / SIDE, left + i % SIDE, width) + 4 * c] =
                to_code((float)v[c][i / SIDE][i % SIDE]);
}

/* ------------------------------------------------------------------------------------------ run */

static enum kn_status noise_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_noise_args *a = args;
    const struct kn_sample *sample = kn_at(call, &a->sample);
    const int64_t h = a->x.dim[1], w = a->x.dim[2], row = w * a->x.dim[3];
    const int64_t bands = (h + BAND - 1) / BAND, clips = a->sample.dim[0];
    const float *x = kn_at(call, &a->x);
    float *out = kn_at(call, &a->out);
    enum kn_status status = kn_noise_samples(a, sample, err);
    struct cosines cosines;

    if (status != KN_OK)
        return status;
    make_cosines(&cosines);
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < a->x.dim[0] * bands; i++) {
        const int64_t f = i / bands, y = i % bands * BAND, rows = h - y < BAND ? h - y : BAND;
        const struct kn_sample *s = &sample[f % clips];
        const float *from = x + f * a->x.stride[0] + y * row;
        float *to = out + f * a->out.stride[0] + y * row;
        if (s->kind != KN_NOISE_COMPRESSION)
            values(to, from, s, (uint64_t)((f / clips * h + y) * row), rows * row);
        else
            for (int64_t left = 0; left < 2 * w; left += SIDE)
                compress(to, from, &cosines, (double)s->strength, rows, w, left);
    }
    return KN_OK;
}

void KN_ISA_NAME(noise)(struct kn_table *table) {
    table->kernel[KN_OP_NOISE] = (struct kn_kernel){.run = noise_run};
}
