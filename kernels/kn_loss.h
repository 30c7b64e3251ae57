/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Numbers that define the losses. */
#ifndef KN_LOSS_H
#define KN_LOSS_H

#include <stdint.h>

#define KN_LOSS_ROOT 1e-6 /* under the square root of the smooth absolute value */

/* Laplacian pyramid. */
#define KN_BANDS 4     /* at most */
#define KN_BAND_SIDE 8 /* least side of a picture that has a band */

/* Multi-scale structural similarity. */
#define KN_SCALES 3     /* at most */
#define KN_SSIM_TAPS 11 /* of the window, and least side of a picture */
#define KN_SSIM_SIGMA 1.5
#define KN_SSIM_C1 1e-4 /* (0.01 of the range)^2 */
#define KN_SSIM_C2 9e-4 /* (0.03 of the range)^2 */
#define KN_SSIM_FLOOR 0.01

/* Pictures that get smaller: how many are used, and their sizes. */
struct kn_levels {
    int used;
    int64_t height[KN_BANDS + 1], width[KN_BANDS + 1];
};

/* Bands, and below them what the last one leaves. */
static inline struct kn_levels kn_laplacian_levels(int64_t height, int64_t width) {
    struct kn_levels s = {0, {height}, {width}};

    while (s.used < KN_BANDS && s.height[s.used] >= KN_BAND_SIDE &&
           s.width[s.used] >= KN_BAND_SIDE) {
        s.height[s.used + 1] = (s.height[s.used] + 1) / 2;
        s.width[s.used + 1] = (s.width[s.used] + 1) / 2;
        s.used++;
    }
    return s;
}

static inline struct kn_levels kn_ssim_levels(int64_t height, int64_t width) {
    struct kn_levels s = {0, {height}, {width}};

    while (s.used < KN_SCALES && s.height[s.used] >= KN_SSIM_TAPS &&
           s.width[s.used] >= KN_SSIM_TAPS) {
        s.height[s.used + 1] = s.height[s.used] / 2;
        s.width[s.used + 1] = s.width[s.used] / 2;
        s.used++;
    }
    return s;
}

/* Exponent of a scale among those used. */
static inline double kn_ssim_exponent(int scale, int used) {
    static const double exponent[KN_SCALES] = {0.0448, 0.2856, 0.3001};
    double sum = 0;

    for (int i = 0; i < used; i++)
        sum += exponent[i];
    return exponent[scale] / sum;
}

/* NaN stays NaN. */
static inline double kn_ssim_above_floor(double value) {
    return value < KN_SSIM_FLOOR ? KN_SSIM_FLOOR : value;
}

#endif
