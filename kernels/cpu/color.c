/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Raw video to the network's input and back. Rows of latents are shared among threads; each is done
 * in strips of STRIP pixels, small enough that all steps of a strip find their values in the first
 * level cache: samples to code values, codes to RGB, unshuffle (and back).
 */
#include "color_samples.h"
#include "cpu.h"
#include "floats.h"

static int sub_x(const struct kn_video *video, int c) {
    return c == 1 || c == 2 ? video->sub_x : 0;
}

static int sub_y(const struct kn_video *video, int c) {
    return c == 1 || c == 2 ? video->sub_y : 0;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static uint8_t *row_of(const struct kn_picture *picture, const struct kn_video *video, int c,
                       int64_t y) {
    int plane = video->component[c].plane;
    return (uint8_t *)picture->plane[plane] + (y >> sub_y(video, c)) * picture->stride_bytes[plane];
}

/* ------------------------------------------------------------------------------------------ in */

/* One strip of two pixel rows. Planar; 64-byte rows, so that vector loads do not straddle lines. */
struct strip {
    _Alignas(64) float rgb[3][2][STRIP];
    _Alignas(64) uint16_t half[3][2][STRIP];
};

/* Component c of count pixels from x on, as code values; repeats the last pixel of the picture. */
static void read_codes(float *to, const struct kn_picture *picture, const struct kn_video *video,
                       int c, int64_t x, int64_t y, int64_t count) {
    int64_t inside = least(count, video->width - x);
    const uint8_t *row = row_of(picture, video, c, y);

    if (inside > 0)
        read_samples(to, row, video, c, x >> sub_x(video, c), inside, sub_x(video, c));
    else
        read_samples(to, row, video, c, (video->width - 1) >> sub_x(video, c), inside = 1, 0);
    for (int64_t i = inside; i < count; i++)
        to[i] = to[inside - 1];
}

/* rgb = to_rgb * (codes, 1), in place of the codes */
static void codes_to_rgb(float *a, float *b, float *c, const float m[3][4], int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float u = a[i], v = b[i], w = c[i];
        a[i] = m[0][0] * u + (m[0][1] * v + (m[0][2] * w + m[0][3]));
        b[i] = m[1][0] * u + (m[1][1] * v + (m[1][2] * w + m[1][3]));
        c[i] = m[2][0] * u + (m[2][1] * v + (m[2][2] * w + m[2][3]));
    }
}

static void grey_to_rgb(float *a, float *b, float *c, const float m[3][4], int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float u = a[i];
        a[i] = m[0][0] * u + m[0][3];
        b[i] = m[1][0] * u + m[1][3];
        c[i] = m[2][0] * u + m[2][3];
    }
}

/* Pixel rows 2y and 2y + 1 of a strip, as RGB. */
static void read_strip(struct strip *s, const struct kn_picture *picture,
                       const struct kn_video *video, int64_t x, int64_t y, int64_t count) {
    for (int r = 0; r < 2; r++) {
        int64_t from = least(2 * y + r, video->height - 1);
        for (int c = 0; c < video->components; c++)
            read_codes(s->rgb[c][r], picture, video, c, x, from, count);
        if (video->components == 3)
            codes_to_rgb(s->rgb[0][r], s->rgb[1][r], s->rgb[2][r], video->to_rgb, count);
        else
            grey_to_rgb(s->rgb[0][r], s->rgb[1][r], s->rgb[2][r], video->to_rgb, count);
    }
}

static void unshuffle(float *to, const struct strip *s, int64_t columns) {
    for (int64_t x = 0; x < columns; x++)
        for (int k = 0; k < 6; k++)
            memcpy(to + 12 * x + 2 * k, &s->rgb[k / 2][k % 2][2 * x], 2 * sizeof *to);
}

static void unshuffle_half(uint16_t *to, struct strip *s, int64_t columns, enum kn_dtype dtype) {
    for (int k = 0; k < 6; k++)
        kn_floats_store(s->half[k / 2][k % 2], dtype, s->rgb[k / 2][k % 2], 2 * columns);
    for (int64_t x = 0; x < columns; x++)
        for (int k = 0; k < 6; k++)
            memcpy(to + 12 * x + 2 * k, &s->half[k / 2][k % 2][2 * x], 2 * sizeof *to);
}

/* A row of latents: strips over its columns. */
static void color_in_row(const struct kn_call *call, const struct kn_color_in_args *a, int64_t t,
                         int64_t y) {
    const struct kn_picture *picture =
        (const struct kn_picture *)call->base[KN_SLOT_IN] + a->first + t;
    int64_t width = a->out.dim[2];
    float *out = (float *)kn_at(call, &a->out) + t * a->out.stride[0] + y * 12 * width;
    uint16_t *half = NULL;
    struct strip s;

    if (a->half.rank)
        half = (uint16_t *)kn_at(call, &a->half) + t * a->half.stride[0] + y * 12 * width;
    for (int64_t x = 0; x < width; x += STRIP / 2) {
        int64_t columns = least(STRIP / 2, width - x);
        read_strip(&s, picture, &a->video, 2 * x, y, 2 * columns);
        unshuffle(out + 12 * x, &s, columns);
        if (half)
            unshuffle_half(half + 12 * x, &s, columns, a->half.dtype);
    }
}

static enum kn_status color_in_run(const struct kn_call *call, const void *args,
                                   struct kn_err *err) {
    const struct kn_color_in_args *a = args;
    int64_t frames = a->out.dim[0], height = a->out.dim[1];

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < frames * height; i++)
        color_in_row(call, a, i / height, i % height);
    return KN_OK;
}

/* ----------------------------------------------------------------------------------------- out */

/* Pixel rows of a strip: RGB turned into code values, and sums of chroma over blocks. */
struct strip_out {
    _Alignas(64) float code[3][2][STRIP];
    _Alignas(64) float sum[2][STRIP];
    _Alignas(64) uint16_t word[3][STRIP];
};

static void shuffle(struct strip_out *s, const float *from, int64_t columns) {
    for (int64_t x = 0; x < columns; x++)
        for (int k = 0; k < 6; k++)
            memcpy(&s->code[k / 2][k % 2][2 * x], from + 12 * x + 2 * k, 2 * sizeof *from);
}

/* Values to the nearest code in 0 .. most; NaN gives 0. 2^23 puts the integer in the low bits. */
static void round_codes(uint16_t *to, const float *from, float most, int64_t count) {
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        float v = from[i] > 0.0f ? from[i] : 0.0f;
        v = v > most ? most : v;
        to[i] = (uint16_t)kn_float_bits(v + 8388608.0f);
    }
}

/* Adds a pixel row to the sums of its blocks; count pixels lie inside the picture. */
static void add_blocks(float *sum, const float *row, int sub, int64_t count) {
    int64_t block = (int64_t)1 << sub, whole = count >> sub;

    if (sub == 0) {
#pragma omp simd
        for (int64_t i = 0; i < whole; i++)
            sum[i] += row[i];
    } else if (sub == 1) {
#pragma omp simd
        for (int64_t i = 0; i < whole; i++)
            sum[i] += row[2 * i] + row[2 * i + 1];
    } else {
#pragma omp simd
        for (int64_t i = 0; i < whole; i++)
            sum[i] += (row[4 * i] + row[4 * i + 1]) + (row[4 * i + 2] + row[4 * i + 3]);
    }
    for (int64_t i = whole * block; i < count; i++)
        sum[whole] += row[i];
}

/* Sums to means: all blocks hold rows x 2^sub pixels but the last, which the picture may cut. */
static void mean_blocks(float *sum, int sub, int64_t rows, int64_t count) {
    int64_t blocks = (count + (1 << sub) - 1) >> sub, last = count - ((blocks - 1) << sub);
    float scale = 1.0f / (float)(rows << sub);

#pragma omp simd
    for (int64_t i = 0; i < blocks - 1; i++)
        sum[i] *= scale;
    sum[blocks - 1] *= 1.0f / (float)(rows * last);
}

struct out_job {
    const struct kn_color_out_args *a;
    const struct kn_picture *from, *to; /* from: NULL without alpha to copy */
    const float *x;                     /* the frame */
    float most;
};

/* Writes full-resolution components of one pixel row. */
static void write_row(const struct out_job *job, struct strip_out *s, int r, int64_t x, int64_t y,
                      int64_t count) {
    const struct kn_video *video = &job->a->video;
    int n = video->components == 3 && !video->sub_x && !video->sub_y ? 3 : 1;

    for (int c = 0; c < n; c++)
        round_codes(s->word[c], s->code[c][r], job->most, count);
    if (is_packed(video)) {
        const uint8_t *alpha = job->from ? row_of(job->from, video, 0, y) : NULL;
        write_packed(row_of(job->to, video, 0, y), alpha, video, s->word, x, count);
        return;
    }
    for (int c = 0; c < n; c++)
        write_samples(row_of(job->to, video, c, y), video, c, s->word[c], x, count);
    if (video->alpha)
        write_alpha(row_of(job->to, video, 3, y), job->from ? row_of(job->from, video, 3, y) : NULL,
                    video, x, count);
}

static void rgb_to_codes(struct strip_out *s, int r, const struct kn_video *video, int64_t count) {
    float *a = s->code[0][r], *b = s->code[1][r], *c = s->code[2][r];

    if (video->components == 3) {
        codes_to_rgb(a, b, c, video->from_rgb, count);
        return;
    }
    const float *m = video->from_rgb[0];
#pragma omp simd
    for (int64_t i = 0; i < count; i++)
        a[i] = m[0] * a[i] + (m[1] * b[i] + (m[2] * c[i] + m[3]));
}

/* Blocks of chroma rows y .. y + rows that were summed up in s. */
static void write_chroma(const struct out_job *job, struct strip_out *s, int64_t x, int64_t y,
                         int64_t rows, int64_t count) {
    const struct kn_video *video = &job->a->video;
    int sub = video->sub_x;
    int64_t blocks = (count + (1 << sub) - 1) >> sub;

    for (int c = 0; c < 2; c++) {
        mean_blocks(s->sum[c], sub, rows, count);
        round_codes(s->word[c], s->sum[c], job->most, blocks);
    }
    if (is_paired(video))
        write_pairs(row_of(job->to, video, 1, y), video, s->word, x >> sub, blocks);
    else
        for (int c = 0; c < 2; c++)
            write_samples(row_of(job->to, video, c + 1, y), video, c + 1, s->word[c], x >> sub,
                          blocks);
}

/* One strip of as many pixel rows as a block of chroma has (at least two). */
static void write_strip(const struct out_job *job, struct strip_out *s, int64_t x, int64_t y,
                        int64_t rows, int64_t columns) {
    const struct kn_video *video = &job->a->video;
    int64_t width = job->a->x.dim[2], count = least(2 * columns, video->width - x);
    bool blocks = video->components == 3 && (video->sub_x || video->sub_y);

    for (int64_t r = 0; r < rows; r++) {
        int64_t block = r & ((1 << video->sub_y) - 1), left = rows - r;
        if (r % 2 == 0)
            shuffle(s, job->x + ((y + r) / 2 * width + x / 2) * 12, columns);
        rgb_to_codes(s, r % 2, video, 2 * columns);
        write_row(job, s, r % 2, x, y + r, count);
        if (!blocks)
            continue;
        if (block == 0)
            memset(s->sum, 0, sizeof s->sum);
        for (int c = 0; c < 2; c++)
            add_blocks(s->sum[c], s->code[c + 1][r % 2], video->sub_x, count);
        if (block + 1 == 1 << video->sub_y || left == 1)
            write_chroma(job, s, x, y + r, block + 1, count);
    }
}

static void color_out_rows(const struct kn_call *call, const struct kn_color_out_args *a, int64_t t,
                           int64_t y, int64_t rows) {
    const struct kn_video *video = &a->video;
    struct out_job job = {
        .a = a,
        .to = (const struct kn_picture *)call->base[KN_SLOT_OUT] + t,
        .from = a->copy_alpha ? (const struct kn_picture *)call->base[KN_SLOT_IN] + t : NULL,
        .x = (const float *)kn_at(call, &a->x) + t * a->x.stride[0],
        .most = (float)((1u << video->depth) - 1)};
    struct strip_out s;

    for (int64_t x = 0; x < video->width; x += STRIP)
        write_strip(&job, &s, x, y, least(rows, video->height - y),
                    least(STRIP / 2, (video->width - x + 1) / 2));
}

static enum kn_status color_out_run(const struct kn_call *call, const void *args,
                                    struct kn_err *err) {
    const struct kn_color_out_args *a = args;
    int64_t rows = a->video.sub_y == 2 ? 4 : 2, frames = a->x.dim[0];
    int64_t groups = (a->video.height + rows - 1) / rows;

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < frames * groups; i++)
        color_out_rows(call, a, i / groups, i % groups * rows, rows);
    return KN_OK;
}

void KN_ISA_NAME(color)(struct kn_table *table) {
    table->kernel[KN_OP_COLOR_IN] = (struct kn_kernel){.run = color_in_run};
    table->kernel[KN_OP_COLOR_OUT] = (struct kn_kernel){.run = color_out_run};
}
