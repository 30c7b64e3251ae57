/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Smooth absolute errors in the bands of a Laplacian pyramid. One thread does one colour of one
 * frame at a time, whose pyramid stays in the second level cache. Down and up between levels are
 * separable: whole rows are combined first, then neighbours in a row that has room at both ends for
 * the repeated edge. Backwards each step is the transpose of itself: what falls on the room at the
 * ends is folded back onto the edge.
 */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "loss.h"

#define ROOM 2 /* values at each end of a row */

struct pyramid {
    struct kn_levels size;
    float *value[KN_BANDS + 1], *slope[KN_BANDS + 1];
    float *wide, *narrow; /* one row of the full size each, with room */
};

static int64_t inside(int64_t i, int64_t n) {
    return i < 0 ? 0 : i >= n ? n - 1 : i;
}

static void add_row(float *to, const float *from, float weight, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] += weight * from[i];
}

/* The row's edges into the room at its ends. */
static void repeat(float *row, int64_t n) {
    for (int i = 1; i <= ROOM; i++) {
        row[-i] = row[0];
        row[n - 1 + i] = row[n - 1];
    }
}

static void fold(float *row, int64_t n) {
    for (int i = 1; i <= ROOM; i++) {
        row[0] += row[-i];
        row[n - 1] += row[n - 1 + i];
    }
}

static void clear(float *row, int64_t n) {
    memset(row - ROOM, 0, (size_t)(n + 2 * ROOM) * sizeof *row);
}

/* --------------------------------------------------------------------------------------- reduce */

static const float binomial[5] = {0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f};

static void reduce(const struct pyramid *p, int k) {
    const int64_t height = p->size.height[k], width = p->size.width[k];
    const int64_t half = p->size.width[k + 1];
    const float *r = p->wide;

    for (int64_t y = 0; y < p->size.height[k + 1]; y++) {
        float *to = p->value[k + 1] + y * half;
        clear(p->wide, width);
        for (int i = 0; i < 5; i++)
            add_row(p->wide, p->value[k] + inside(2 * y + i - 2, height) * width, binomial[i],
                    width);
        repeat(p->wide, width);
        for (int64_t x = 0; x < half; x++)
            to[x] = 0.0625f * (r[2 * x - 2] + r[2 * x + 2]) +
                    0.25f * (r[2 * x - 1] + r[2 * x + 1]) + 0.375f * r[2 * x];
    }
}

static void reduce_backward(const struct pyramid *p, int k) {
    const int64_t height = p->size.height[k], width = p->size.width[k];
    const int64_t half = p->size.width[k + 1];
    float *r = p->wide;

    for (int64_t y = 0; y < p->size.height[k + 1]; y++) {
        const float *from = p->slope[k + 1] + y * half;
        clear(r, width);
        for (int64_t x = 0; x < half; x++)
            for (int i = 0; i < 5; i++)
                r[2 * x + i - 2] += binomial[i] * from[x];
        fold(r, width);
        for (int i = 0; i < 5; i++)
            add_row(p->slope[k] + inside(2 * y + i - 2, height) * width, r, binomial[i], width);
    }
}

/* ---------------------------------------------------------------------------------------- bands */

/* Weights of rows y / 2 - 1 ... y / 2 + 1 in row y of twice the size. */
static const float expansion[2][3] = {{0.125f, 0.75f, 0.125f}, {0, 0.5f, 0.5f}};

/* p->narrow = the rows of level k + 1 that make row y of level k */
static void expand_rows(const struct pyramid *p, int k, int64_t y) {
    const int64_t height = p->size.height[k + 1], width = p->size.width[k + 1];

    clear(p->narrow, width);
    for (int i = 0; i < 3; i++)
        add_row(p->narrow, p->value[k + 1] + inside(y / 2 + i - 1, height) * width,
                expansion[y & 1][i], width);
    repeat(p->narrow, width);
}

/* to = from - the row of half as many values, twice as wide */
static void subtract_expanded(float *to, const float *from, const float *half, int64_t width) {
    for (int64_t x = 0; x + 1 < width; x += 2) {
        const float *h = half + x / 2;
        to[x] = from[x] - (0.125f * (h[-1] + h[1]) + 0.75f * h[0]);
        to[x + 1] = from[x + 1] - 0.5f * (h[0] + h[1]);
    }
    if (width % 2) {
        const float *h = half + width / 2;
        to[width - 1] = from[width - 1] - (0.125f * (h[-1] + h[1]) + 0.75f * h[0]);
    }
}

static float absolute_sum(const float *b, int64_t n) {
    float sum = 0.0f;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += sqrtf(b[i] * b[i] + (float)KN_LOSS_ROOT);
    return sum;
}

/* b = share times its slopes, which level k is given */
static void slopes_of(float *slope, float *b, int64_t n, float share) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        b[i] *= share / sqrtf(b[i] * b[i] + (float)KN_LOSS_ROOT);
        slope[i] += b[i];
    }
}

/* Takes a row's slopes, which lie in p->wide, from level k + 1. */
static void expand_backward(const struct pyramid *p, int k, int64_t y) {
    const int64_t height = p->size.height[k + 1], width = p->size.width[k + 1];
    float *half = p->narrow;

    clear(half, width);
    for (int64_t x = 0; x < p->size.width[k]; x++)
        for (int i = 0; i < 3; i++)
            half[x / 2 + i - 1] += expansion[x & 1][i] * p->wide[x];
    fold(half, width);
    for (int i = 0; i < 3; i++)
        add_row(p->slope[k + 1] + inside(y / 2 + i - 1, height) * width, half, -expansion[y & 1][i],
                width);
}

static double band(const struct pyramid *p, int k, bool slopes, double weight) {
    const int64_t height = p->size.height[k], width = p->size.width[k];
    const double share = 1 / ((double)(height * width) * (double)p->size.used);
    double sum = 0;

    for (int64_t y = 0; y < height; y++) {
        expand_rows(p, k, y);
        subtract_expanded(p->wide, p->value[k] + y * width, p->narrow, width);
        sum += (double)absolute_sum(p->wide, width);
        if (!slopes)
            continue;
        slopes_of(p->slope[k] + y * width, p->wide, width, (float)(weight * share));
        expand_backward(p, k, y);
    }
    return sum * share;
}

/* --------------------------------------------------------------------------------------- planes */

static void load(const struct kn_loss *l, const struct pyramid *p, int64_t f, int64_t colour) {
    for (int64_t y = 0; y < 2 * l->height; y++) {
        const float *x = l->x + f * l->x_step + kn_loss_pixels(l, colour, y);
        const float *target = l->target + f * l->target_step + kn_loss_pixels(l, colour, y);
        float *to = p->value[0] + y * 2 * l->width;
        for (int64_t i = 0; i < 2 * l->width; i++)
            to[i] = x[i / 2 * 12 + i % 2] - target[i / 2 * 12 + i % 2];
    }
}

static void store(const struct kn_loss *l, const struct pyramid *p, int64_t f, int64_t colour) {
    for (int64_t y = 0; y < 2 * l->height; y++) {
        float *dx = l->dx + f * l->dx_step + kn_loss_pixels(l, colour, y);
        const float *from = p->slope[0] + y * 2 * l->width;
        for (int64_t i = 0; i < 2 * l->width; i++)
            dx[i / 2 * 12 + i % 2] += from[i];
    }
}

/* weight: of one plane's slopes */
static double plane(const struct kn_loss *l, const struct pyramid *p, int64_t f, int64_t colour,
                    double weight) {
    double sum = 0;

    load(l, p, f, colour);
    for (int k = 0; k < p->size.used; k++)
        reduce(p, k);
    for (int k = 0; k <= p->size.used && l->dx; k++)
        memset(p->slope[k], 0,
               (size_t)(p->size.height[k] * p->size.width[k]) * sizeof *p->slope[k]);
    for (int k = 0; k < p->size.used; k++)
        sum += band(p, k, l->dx != NULL, weight);
    for (int k = p->size.used - 1; k >= 0 && l->dx; k--)
        reduce_backward(p, k);
    if (l->dx)
        store(l, p, f, colour);
    return sum;
}

/* ------------------------------------------------------------------------------------------ run */

/* Of one thread: values and slopes, less than twice a picture each, and two rows. */
static bool pyramid_floats(const struct kn_tensor *x, uint64_t *floats) {
    const int64_t pixels[] = {2 * 2 * 4, x->dim[1], x->dim[2]}, rows[] = {2 * 2, x->dim[2]};
    uint64_t more;

    return kn_size_product(pixels, 3, floats) && kn_size_product(rows, 2, &more) &&
           kn_size_add(more, 4 * ROOM, &more) && kn_size_add(*floats, more, floats);
}

/* Sums of planes, then a pyramid per thread. */
static bool scratch_bytes(const struct kn_tensor *x, int threads, uint64_t *planes,
                          uint64_t *bytes) {
    const int64_t factor[] = {3 * (int64_t)sizeof(double), x->dim[0]};
    uint64_t floats;

    return kn_size_product(factor, 2, planes) && pyramid_floats(x, &floats) &&
           kn_size_mul(floats, (uint64_t)threads * sizeof(float), bytes) &&
           kn_size_add(*bytes, *planes, bytes);
}

static enum kn_status laplacian_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                        struct kn_err *err) {
    uint64_t planes;

    if (!scratch_bytes(&node->args.loss.x, prepare->threads, &planes, &prepare->scratch_bytes))
        return kn_fail(err, KN_ERR_RANGE, "%s: scratch overflows", node->label);
    return KN_OK;
}

static struct pyramid pyramid_in(float *memory, const struct kn_loss *l) {
    struct pyramid p = {.size = kn_laplacian_levels(2 * l->height, 2 * l->width)};

    for (int k = 0; k <= p.size.used; k++) {
        const int64_t pixels = p.size.height[k] * p.size.width[k];
        p.value[k] = memory;
        p.slope[k] = memory + pixels;
        memory += 2 * pixels;
    }
    p.wide = memory + ROOM;
    p.narrow = p.wide + 2 * l->width + 2 * ROOM;
    return p;
}

static enum kn_status laplacian_run(const struct kn_call *call, const void *args,
                                    struct kn_err *err) {
    const struct kn_loss_args *a = args;
    const struct kn_loss l = kn_loss(call, a);
    const int64_t planes = 3 * l.frames;
    double *part = call->scratch;
    uint64_t floats = 0;

    (void)err;
    if (kn_laplacian_levels(2 * l.height, 2 * l.width).used == 0)
        return KN_OK;
    if (!pyramid_floats(&a->x, &floats))
        return KN_ERR_RANGE;
#pragma omp parallel num_threads(call->threads)
    {
        float *memory = (float *)(part + planes) + (uint64_t)omp_get_thread_num() * floats;
        const struct pyramid p = pyramid_in(memory, &l);
#pragma omp for schedule(static)
        for (int64_t i = 0; i < planes; i++)
            part[i] = plane(&l, &p, i / 3, i % 3, l.weight / (double)planes);
    }
    *(double *)kn_at(call, &a->value) += kn_loss_add_up(part, planes) / (double)planes;
    return KN_OK;
}

void KN_ISA_NAME(laplacian)(struct kn_table *table) {
    table->kernel[KN_OP_LAPLACIAN] =
        (struct kn_kernel){.prepare = laplacian_prepare, .run = laplacian_run};
}
