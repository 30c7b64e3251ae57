/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Raw video to the network's input and back: colour conversion and pixel-(un)shuffle by two. */
#include "ref.h"

static uint8_t *sample_at(const struct kn_picture *picture, const struct kn_video *video, int c,
                          int64_t x, int64_t y) {
    const struct kn_component *comp = &video->component[c];

    return (uint8_t *)picture->plane[comp->plane] + y * picture->stride_bytes[comp->plane] +
           comp->offset_bytes + x * comp->step_bytes;
}

static unsigned sample_read(const struct kn_picture *picture, const struct kn_video *video, int c,
                            int64_t x, int64_t y) {
    const uint8_t *p = sample_at(picture, video, c, x, y);
    unsigned word = video->sample_bytes == 2 ? p[0] | (unsigned)p[1] << 8 : p[0];

    return word >> video->component[c].shift;
}

static void sample_write(const struct kn_picture *picture, const struct kn_video *video, int c,
                         int64_t x, int64_t y, unsigned value) {
    uint8_t *p = sample_at(picture, video, c, x, y);
    unsigned word = value << video->component[c].shift;

    p[0] = (uint8_t)word;
    if (video->sample_bytes == 2)
        p[1] = (uint8_t)(word >> 8);
}

/* Only chroma is subsampled. */
static int sub_x(const struct kn_video *video, int c) {
    return c == 1 || c == 2 ? video->sub_x : 0;
}

static int sub_y(const struct kn_video *video, int c) {
    return c == 1 || c == 2 ? video->sub_y : 0;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* ------------------------------------------------------------------------------------------ in */

static void pixel_to_rgb(const struct kn_picture *picture, const struct kn_video *video, int64_t x,
                         int64_t y, double rgb[3]) {
    double code[3] = {0};

    for (int c = 0; c < video->components; c++)
        code[c] = sample_read(picture, video, c, x >> sub_x(video, c), y >> sub_y(video, c));
    for (int i = 0; i < 3; i++)
        rgb[i] = video->to_rgb[i][0] * code[0] + video->to_rgb[i][1] * code[1] +
                 video->to_rgb[i][2] * code[2] + video->to_rgb[i][3];
}

static enum kn_status color_in_run(const struct kn_call *call, const void *args,
                                   struct kn_err *err) {
    const struct kn_color_in_args *a = args;
    const struct kn_video *video = &a->video;
    const struct kn_picture *pictures =
        (const struct kn_picture *)call->base[KN_SLOT_IN] + a->first;
    struct kn_ref_view out = kn_ref_view(call, &a->out), half = kn_ref_view(call, &a->half);
    double rgb[3];

    for (int64_t t = 0; t < a->out.dim[0]; t++)
        for (int64_t y = 0; y < 2 * a->out.dim[1]; y++)
            for (int64_t x = 0; x < 2 * a->out.dim[2]; x++) {
                pixel_to_rgb(&pictures[t], video, least(x, video->width - 1),
                             least(y, video->height - 1), rgb);
                for (int c = 0; c < 3; c++) {
                    int64_t channel = 4 * c + 2 * (y & 1) + (x & 1);
                    kn_ref_set(&out, t, y / 2, x / 2, channel, rgb[c]);
                    kn_ref_set(&half, t, y / 2, x / 2, channel, (float)rgb[c]);
                }
            }
    return KN_OK;
}

const struct kn_kernel kn_ref_color_in = {.run = color_in_run};

/* ----------------------------------------------------------------------------------------- out */

/* Component c of one pixel in code values, neither clamped nor rounded. */
static double pixel_code(const struct kn_color_out_args *a, const struct kn_ref_view *in, int64_t t,
                         int64_t x, int64_t y, int c) {
    const float *row = a->video.from_rgb[c];
    double sum = row[3];

    for (int i = 0; i < 3; i++)
        sum += row[i] * kn_ref_get(in, t, y / 2, x / 2, 4 * i + 2 * (y & 1) + (x & 1));
    return sum;
}

static unsigned round_code(double value, int depth) {
    double most = (double)((1u << depth) - 1);

    /* written so that NaN becomes black and not an undefined conversion */
    return value > 0 ? (unsigned)rint(fmin(value, most)) : 0;
}

/* One plane: the mean over the pixels of each block that lie inside the picture. */
static void component_out(const struct kn_color_out_args *a, const struct kn_ref_view *in,
                          const struct kn_picture *picture, int64_t t, int c) {
    const struct kn_video *video = &a->video;
    int64_t bw = 1 << sub_x(video, c), bh = 1 << sub_y(video, c);

    for (int64_t y0 = 0; y0 < video->height; y0 += bh)
        for (int64_t x0 = 0; x0 < video->width; x0 += bw) {
            int64_t y1 = least(y0 + bh, video->height), x1 = least(x0 + bw, video->width);
            double sum = 0;
            for (int64_t y = y0; y < y1; y++)
                for (int64_t x = x0; x < x1; x++)
                    sum += pixel_code(a, in, t, x, y, c);
            sum /= (double)((y1 - y0) * (x1 - x0));
            sample_write(picture, video, c, x0 / bw, y0 / bh, round_code(sum, video->depth));
        }
}

static void alpha_out(const struct kn_color_out_args *a, const struct kn_picture *from,
                      const struct kn_picture *to) {
    const struct kn_video *video = &a->video;

    for (int64_t y = 0; y < video->height; y++)
        for (int64_t x = 0; x < video->width; x++)
            sample_write(to, video, 3, x, y,
                         a->copy_alpha ? sample_read(from, video, 3, x, y)
                                       : (1u << video->depth) - 1);
}

static enum kn_status color_out_run(const struct kn_call *call, const void *args,
                                    struct kn_err *err) {
    const struct kn_color_out_args *a = args;
    const struct kn_picture *from = call->base[KN_SLOT_IN], *to = call->base[KN_SLOT_OUT];
    struct kn_ref_view x = kn_ref_view(call, &a->x);

    for (int64_t t = 0; t < a->x.dim[0]; t++) {
        for (int c = 0; c < a->video.components; c++)
            component_out(a, &x, &to[t], t, c);
        if (a->video.alpha)
            alpha_out(a, a->copy_alpha ? &from[t] : NULL, &to[t]);
    }
    return KN_OK;
}

const struct kn_kernel kn_ref_color_out = {.run = color_out_run};
