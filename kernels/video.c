/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Colour matrices between code values and R, G, B in [-1, 1]; docs/mathematics.md, "color_in". */
#include "kn_internal.h"

#include <math.h>

/* An affine map of three values, in double until it is stored. */
struct affine {
    double m[3][4];
};

static void store(float to[3][4], const struct affine *from) {
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 4; j++)
            to[i][j] = (float)from->m[i][j];
}

/*
 * Composes codes and RGB: component i has value (code - zero[i]) / span[i], values give R, G, B in
 * [0, 1] by the matrix "rgb", and back by "values".
 */
static void set(struct kn_video *video, const double zero[3], const double span[3],
                const double rgb[3][3], const double values[3][3]) {
    struct affine to = {{{0}}}, from = {{{0}}};

    for (int i = 0; i < 3; i++) {
        to.m[i][3] = -1;
        from.m[i][3] = zero[i];
        for (int j = 0; j < 3; j++) {
            if (span[j] != 0) {
                to.m[i][j] = 2 * rgb[i][j] / span[j];
                to.m[i][3] -= 2 * rgb[i][j] * zero[j] / span[j];
            }
            from.m[i][j] = span[i] * values[i][j] / 2;
            from.m[i][3] += span[i] * values[i][j] / 2;
        }
    }
    store(video->to_rgb, &to);
    store(video->from_rgb, &from);
}

void kn_video_set_rgb(struct kn_video *video, double black, double white) {
    static const double colour[3][3] = {{1, 0, 0}, {0, 1, 0}, {0, 0, 1}};
    static const double from_grey[3][3] = {{1, 0, 0}, {1, 0, 0}, {1, 0, 0}};
    static const double to_grey[3][3] = {{1. / 3, 1. / 3, 1. / 3}, {0}, {0}};
    const bool grey = video->components == 1;
    const double zero[3] = {black, grey ? 0 : black, grey ? 0 : black};
    const double span[3] = {white - black, grey ? 0 : white - black, grey ? 0 : white - black};

    set(video, zero, span, grey ? from_grey : colour, grey ? to_grey : colour);
}

void kn_video_set_yuv(struct kn_video *video, double kr, double kb, bool full_range) {
    const double kg = 1 - kr - kb, unit = ldexp(1, video->depth - 8);
    const double top = 256 * unit - 1, chroma = video->components == 1 ? 0 : 1;
    const double zero[3] = {full_range ? 0 : 16 * unit, chroma * 128 * unit, chroma * 128 * unit};
    const double wide = full_range ? top : 224 * unit;
    const double span[3] = {full_range ? top : 219 * unit, chroma * wide, chroma * wide};
    const double u = 2 * (1 - kb), v = 2 * (1 - kr); /* B - Y and R - Y per unit of U and V */
    const double rgb[3][3] = {{1, 0, v}, {1, -u * kb / kg, -v * kr / kg}, {1, u, 0}};
    const double yuv[3][3] = {
        {kr, kg, kb}, {-kr / u, -kg / u, (1 - kb) / u}, {(1 - kr) / v, -kg / v, -kb / v}};

    set(video, zero, span, rgb, yuv);
}
