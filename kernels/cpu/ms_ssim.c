/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Structural similarity at several scales, in double, since variances are small differences. One
 * thread does one colour of one frame at a time. Windows are weighted sums that are separable:
 * columns first, then rows. Backwards, a window's slope at its pixels (x, y) is tap (P + Q y + R x)
 * with three numbers per window, so three maps are spread by the transposed sums.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "loss.h"

#define TAPS KN_SSIM_TAPS

enum { SUM_X, SUM_Y, SUM_XX, SUM_YY, SUM_XY, SUMS };
enum { MAP_P, MAP_Q, MAP_R, MAPS };

struct scales {
    struct kn_levels size;
    double *x[KN_SCALES], *y[KN_SCALES], *slope[KN_SCALES], *map[KN_SCALES][MAPS];
    double *row[SUMS]; /* of the full width, with room for windows at both ends */
    double tap[TAPS];
};

static int64_t windows_high(const struct scales *s, int k) {
    return s->size.height[k] - TAPS + 1;
}

static int64_t windows_wide(const struct scales *s, int k) {
    return s->size.width[k] - TAPS + 1;
}

/* -------------------------------------------------------------------------------------- windows */

/* Sums along columns from row y on; the taps innermost, so that sums stay in registers. */
static void sum_columns(const struct scales *s, int k, int64_t y) {
    const int64_t width = s->size.width[k];
    const double *x0 = s->x[k] + y * width, *y0 = s->y[k] + y * width, *tap = s->tap;
    double *mx = s->row[SUM_X], *my = s->row[SUM_Y], *xx = s->row[SUM_XX], *yy = s->row[SUM_YY];
    double *xy = s->row[SUM_XY];

#pragma omp simd
    for (int64_t i = 0; i < width; i++) {
        double sum[SUMS] = {0};
#pragma GCC unroll 11
        for (int t = 0; t < TAPS; t++) {
            const double a = x0[t * width + i], b = y0[t * width + i];
            const double tap_a = tap[t] * a, tap_b = tap[t] * b;
            sum[SUM_X] += tap_a;
            sum[SUM_Y] += tap_b;
            sum[SUM_XX] += tap_a * a;
            sum[SUM_YY] += tap_b * b;
            sum[SUM_XY] += tap_a * b;
        }
        mx[i] = sum[SUM_X];
        my[i] = sum[SUM_Y];
        xx[i] = sum[SUM_XX];
        yy[i] = sum[SUM_YY];
        xy[i] = sum[SUM_XY];
    }
}

/* Sums along a row, in place: value i is made of values i ... i + TAPS - 1, which come later. */
static void along_row(double *row, const double *tap, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double sum = 0;
#pragma GCC unroll 11
        for (int k = 0; k < TAPS; k++)
            sum += tap[k] * row[i + k];
        row[n + TAPS - 1 + i] = sum;
    }
    memcpy(row, row + n + TAPS - 1, (size_t)n * sizeof *row);
}

/* A row of windows: what they add to the factor, and with maps what their slopes are made of. */
static double judge_row(const struct scales *s, int k, int64_t n, double *const map[MAPS]) {
    const double *mx = s->row[SUM_X], *my = s->row[SUM_Y], *xx = s->row[SUM_XX];
    const double *yy = s->row[SUM_YY], *xy = s->row[SUM_XY];
    const double last = k == s->size.used - 1; /* 1 where luminance counts */
    double *p = map[MAP_P], *q = map[MAP_Q], *r = map[MAP_R], sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
        double a = mx[i] * mx[i] + my[i] * my[i] + KN_SSIM_C1;
        double b = xx[i] - mx[i] * mx[i] + yy[i] - my[i] * my[i] + KN_SSIM_C2;
        double share = 1 / (a * b), over_a = share * b, over_b = share * a;
        double l = (2 * mx[i] * my[i] + KN_SSIM_C1) * over_a;
        double c = (2 * (xy[i] - mx[i] * my[i]) + KN_SSIM_C2) * over_b;
        double along = 2 * over_b * (last * l + 1 - last);
        sum += c * (last * l + 1 - last);
        p[i] = last * c * 2 * (my[i] - l * mx[i]) * over_a - along * (my[i] - c * mx[i]);
        q[i] = along;
        r[i] = -along * c;
    }
    return sum;
}

static double factor(const struct scales *s, int k) {
    const int64_t wide = windows_wide(s, k), high = windows_high(s, k);
    double sum = 0;

    for (int64_t y = 0; y < high; y++) {
        double *map[MAPS];
        sum_columns(s, k, y);
        for (int i = 0; i < SUMS; i++)
            along_row(s->row[i], s->tap, wide);
        for (int i = 0; i < MAPS; i++)
            map[i] = s->map[k][i] + y * wide;
        sum += judge_row(s, k, wide, map);
    }
    return sum / (double)(high * wide);
}

/* ------------------------------------------------------------------------------------ backwards */

/* row = column sums of a map at pixel row y, between TAPS - 1 zeros at both ends */
static void spread_columns(const struct scales *s, int k, int i, int64_t y, double *row) {
    const int64_t wide = windows_wide(s, k), high = windows_high(s, k);
    const int from = y < high ? 0 : (int)(y - high + 1), to = y < TAPS - 1 ? (int)y + 1 : TAPS;
    const double *map = s->map[k][i] + y * wide, *tap = s->tap;

    memset(row, 0, (size_t)(wide + 2 * (TAPS - 1)) * sizeof *row);
#pragma omp simd
    for (int64_t x = 0; x < wide; x++) {
        double sum = 0;
        for (int t = from; t < to; t++)
            sum += tap[t] * map[x - t * wide];
        row[TAPS - 1 + x] = sum;
    }
}

static void factor_backward(const struct scales *s, int k, double share) {
    const int64_t width = s->size.width[k];

    share /= (double)(windows_high(s, k) * windows_wide(s, k));
    for (int64_t y = 0; y < s->size.height[k]; y++) {
        const double *px = s->x[k] + y * width, *py = s->y[k] + y * width;
        double *slope = s->slope[k] + y * width;
        for (int i = 0; i < MAPS; i++) {
            spread_columns(s, k, i, y, s->row[i]);
            along_row(s->row[i], s->tap, width); /* the taps are symmetric */
        }
        const double *p = s->row[MAP_P], *q = s->row[MAP_Q], *r = s->row[MAP_R];
#pragma omp simd
        for (int64_t x = 0; x < width; x++)
            slope[x] += share * (p[x] + q[x] * py[x] + r[x] * px[x]);
    }
}

/* --------------------------------------------------------------------------------------- scales */

static void shrink(double *to, const double *from, const struct kn_levels *size, int k) {
    const int64_t width = size->width[k - 1];

    for (int64_t y = 0; y < size->height[k]; y++)
        for (int64_t x = 0; x < size->width[k]; x++) {
            const double *p = from + 2 * y * width + 2 * x;
            to[y * size->width[k] + x] = (p[0] + p[1] + p[width] + p[width + 1]) / 4;
        }
}

static void shrink_backward(const struct scales *s, int k) {
    const int64_t width = s->size.width[k - 1];

    for (int64_t y = 0; y < 2 * s->size.height[k]; y++)
        for (int64_t x = 0; x < 2 * s->size.width[k]; x++)
            s->slope[k - 1][y * width + x] += s->slope[k][y / 2 * s->size.width[k] + x / 2] / 4;
}

/* Slopes of the loss, from the factors and their product. */
static void scales_backward(const struct scales *s, const double *value, double product) {
    for (int k = 0; k < s->size.used; k++)
        memset(s->slope[k], 0,
               (size_t)(s->size.height[k] * s->size.width[k]) * sizeof *s->slope[k]);
    for (int k = s->size.used - 1; k >= 0; k--) {
        if (!(value[k] <= KN_SSIM_FLOOR))
            factor_backward(s, k, -product * kn_ssim_exponent(k, s->size.used) / value[k]);
        if (k > 0)
            shrink_backward(s, k);
    }
}

static double scales_loss(const struct scales *s, bool slopes) {
    double value[KN_SCALES], product = 1;

    for (int k = 0; k < s->size.used; k++) {
        if (k > 0) {
            shrink(s->x[k], s->x[k - 1], &s->size, k);
            shrink(s->y[k], s->y[k - 1], &s->size, k);
        }
        value[k] = factor(s, k);
        product *= pow(kn_ssim_above_floor(value[k]), kn_ssim_exponent(k, s->size.used));
    }
    if (slopes)
        scales_backward(s, value, product);
    return 1 - product;
}

/* --------------------------------------------------------------------------------------- planes */

/* Colours from [-1, 1] to [0, 1]. */
static void load(double *to, const float *image, const struct kn_loss *l, int64_t colour) {
    for (int64_t y = 0; y < 2 * l->height; y++) {
        const float *from = image + kn_loss_pixels(l, colour, y);
        for (int64_t i = 0; i < 2 * l->width; i++)
            *to++ = ((double)from[i / 2 * 12 + i % 2] + 1) / 2;
    }
}

static void store(const struct kn_loss *l, const double *slope, int64_t f, int64_t colour,
                  double weight) {
    for (int64_t y = 0; y < 2 * l->height; y++) {
        float *dx = l->dx + f * l->dx_step + kn_loss_pixels(l, colour, y);
        for (int64_t i = 0; i < 2 * l->width; i++)
            dx[i / 2 * 12 + i % 2] += (float)(weight / 2 * *slope++);
    }
}

static double plane(const struct kn_loss *l, const struct scales *s, int64_t f, int64_t colour,
                    double weight) {
    double loss;

    load(s->x[0], l->x + f * l->x_step, l, colour);
    load(s->y[0], l->target + f * l->target_step, l, colour);
    loss = scales_loss(s, l->dx != NULL);
    if (l->dx)
        store(l, s->slope[0], f, colour, weight);
    return loss;
}

/* ------------------------------------------------------------------------------------------ run */

/* Doubles of a row: its windows' sums are made behind it. */
static int64_t row_doubles(int64_t width) {
    return 2 * (2 * width + 2 * TAPS);
}

/* Of one thread: x, y, slopes and maps, less than twice a picture each, and rows. */
static bool scales_doubles(const struct kn_tensor *x, uint64_t *doubles) {
    const int64_t pixels[] = {(3 + MAPS) * 2 * 4, x->dim[1], x->dim[2]};
    uint64_t rows;

    return x->dim[2] < INT64_MAX / 64 && kn_size_product(pixels, 3, doubles) &&
           kn_size_mul(SUMS, (uint64_t)row_doubles(x->dim[2]), &rows) &&
           kn_size_add(*doubles, rows, doubles);
}

/* Losses of planes, then scales per thread. */
static bool scratch_bytes(const struct kn_tensor *x, int threads, uint64_t *bytes) {
    const int64_t factor[] = {3 * (int64_t)sizeof(double), x->dim[0]};
    uint64_t planes, doubles;

    return kn_size_product(factor, 2, &planes) && scales_doubles(x, &doubles) &&
           kn_size_mul(doubles, (uint64_t)threads * sizeof(double), bytes) &&
           kn_size_add(*bytes, planes, bytes);
}

static enum kn_status ms_ssim_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                      struct kn_err *err) {
    if (!scratch_bytes(&node->args.loss.x, prepare->threads, &prepare->scratch_bytes))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    return KN_OK;
}

static struct scales scales_in(double *memory, const struct kn_loss *l) {
    struct scales s = {.size = kn_ssim_levels(2 * l->height, 2 * l->width)};
    double sum = 0;

    for (int k = 0; k < s.size.used; k++) {
        const int64_t pixels = s.size.height[k] * s.size.width[k];
        s.x[k] = memory;
        s.y[k] = memory + pixels;
        s.slope[k] = memory + 2 * pixels;
        for (int i = 0; i < MAPS; i++)
            s.map[k][i] = memory + (3 + i) * pixels;
        memory += (3 + MAPS) * pixels;
    }
    for (int i = 0; i < SUMS; i++)
        s.row[i] = memory + i * row_doubles(l->width);
    for (int i = 0; i < TAPS; i++)
        sum += s.tap[i] = exp(-0.5 * pow((i - TAPS / 2) / KN_SSIM_SIGMA, 2));
    for (int i = 0; i < TAPS; i++)
        s.tap[i] /= sum;
    return s;
}

static enum kn_status ms_ssim_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_loss_args *a = args;
    const struct kn_loss l = kn_loss(call, a);
    const int64_t planes = 3 * l.frames;
    double *part = call->scratch;
    uint64_t doubles = 0;

    (void)err;
    if (kn_ssim_levels(2 * l.height, 2 * l.width).used == 0)
        return KN_OK;
    if (!scales_doubles(&a->x, &doubles))
        return KN_ERR_RANGE;
#pragma omp parallel num_threads(call->threads)
    {
        double *memory = part + planes + (uint64_t)omp_get_thread_num() * doubles;
        const struct scales s = scales_in(memory, &l);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < planes; i++)
            part[i] = plane(&l, &s, i / 3, i % 3, l.weight / (double)planes);
    }
    *(double *)kn_at(call, &a->value) += kn_loss_add_up(part, planes) / (double)planes;
    return KN_OK;
}

void KN_ISA_NAME(ms_ssim)(struct kn_table *table) {
    table->kernel[KN_OP_MS_SSIM] =
        (struct kn_kernel){.prepare = ms_ssim_prepare, .run = ms_ssim_run};
}
