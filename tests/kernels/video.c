/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The colour matrices against the definitions of BT.601 and BT.709. */
#include <math.h>

#include "test.h"

struct point {
    double c[3];
};

static struct point apply(const float m[3][4], struct point p) {
    struct point r;

    for (int i = 0; i < 3; i++)
        r.c[i] = m[i][0] * p.c[0] + m[i][1] * p.c[1] + m[i][2] * p.c[2] + m[i][3];
    return r;
}

/* Fails for NaN, too. */
static void check_near(struct point got, double r, double g, double b, double tolerance) {
    const double want[3] = {r, g, b};

    for (int i = 0; i < 3; i++)
        ck_assert_msg(fabs(got.c[i] - want[i]) <= tolerance, "component %d is %.9g, must be %.9g",
                      i, got.c[i], want[i]);
}

static struct kn_video video(int components, int depth) {
    return (struct kn_video){.width = 4,
                             .height = 4,
                             .components = components,
                             .sample_bytes = depth > 8 ? 2 : 1,
                             .depth = (uint8_t)depth};
}

static const struct {
    double kr, kb;
} standard[] = {{0.299, 0.114}, {0.2126, 0.0722}, {0.2627, 0.0593}};

/* One YUV code from RGB in [0, 1], as the recommendations write it. */
static struct point encode(double kr, double kb, bool full, int depth, const double rgb[3]) {
    const double scale = pow(2, depth - 8), top = pow(2, depth) - 1;
    const double y = kr * rgb[0] + (1 - kr - kb) * rgb[1] + kb * rgb[2];
    const double u = (rgb[2] - y) / (2 * (1 - kb)), v = (rgb[0] - y) / (2 * (1 - kr));

    if (full)
        return (struct point){{y * top, u * top + 128 * scale, v * top + 128 * scale}};
    return (struct point){
        {(16 + 219 * y) * scale, (128 + 224 * u) * scale, (128 + 224 * v) * scale}};
}

static void check_yuv(double kr, double kb, bool full, int depth) {
    struct kn_video v = video(3, depth);
    const double unit = pow(2, depth - 8);

    kn_video_set_yuv(&v, kr, kb, full);
    for (int i = 0; i < 5 * 5 * 5; i++) {
        const double rgb[3] = {i % 5 / 4., i / 5 % 5 / 4., i / 25 / 4.};
        const struct point signs = {{2 * rgb[0] - 1, 2 * rgb[1] - 1, 2 * rgb[2] - 1}};
        const struct point code = encode(kr, kb, full, depth, rgb);
        check_near(apply(v.from_rgb, signs), code.c[0], code.c[1], code.c[2], 2e-4 * unit);
        check_near(apply(v.to_rgb, code), signs.c[0], signs.c[1], signs.c[2], 2e-6);
    }
}

START_TEST(yuv_equals_the_definition) {
    for (int i = 0; i < 3; i++)
        for (int full = 0; full < 2; full++) {
            check_yuv(standard[i].kr, standard[i].kb, full, 8);
            check_yuv(standard[i].kr, standard[i].kb, full, 10);
            check_yuv(standard[i].kr, standard[i].kb, full, 16);
        }
}
END_TEST

/* Codes far outside of what RGB can hold come back as well: the maps are inverses. */
START_TEST(yuv_round_trip) {
    uint64_t seed = 3;

    for (int i = 0; i < 12; i++) {
        const int depth = i % 2 ? 10 : 8;
        struct kn_video v = video(3, depth);
        kn_video_set_yuv(&v, standard[i / 4].kr, standard[i / 4].kb, i / 2 % 2);
        for (int j = 0; j < 1000; j++) {
            struct point code;
            for (int c = 0; c < 3; c++)
                code.c[c] = (double)(test_random(&seed) % (1u << depth));
            check_near(apply(v.from_rgb, apply(v.to_rgb, code)), code.c[0], code.c[1], code.c[2],
                       0.01);
        }
    }
}
END_TEST

START_TEST(known_colours) {
    struct kn_video v = video(3, 8);

    kn_video_set_yuv(&v, 0.299, 0.114, false);
    check_near(apply(v.to_rgb, (struct point){{16, 128, 128}}), -1, -1, -1, 1e-6);
    check_near(apply(v.to_rgb, (struct point){{235, 128, 128}}), 1, 1, 1, 1e-6);
    check_near(apply(v.from_rgb, (struct point){{1, -1, -1}}), 81.481, 90.203, 240, 1e-3);
    kn_video_set_yuv(&v, 0.2126, 0.0722, false);
    check_near(apply(v.from_rgb, (struct point){{-1, -1, 1}}), 31.812, 240, 117.727, 1e-2);
    kn_video_set_rgb(&v, 0, 255);
    check_near(apply(v.to_rgb, (struct point){{0, 255, 127.5}}), -1, 1, 0, 1e-6);
    kn_video_set_rgb(&v, 16, 235);
    check_near(apply(v.to_rgb, (struct point){{16, 235, 125.5}}), -1, 1, 0, 1e-6);
    check_near(apply(v.from_rgb, (struct point){{-1, 1, 0}}), 16, 235, 125.5, 1e-4);
}
END_TEST

START_TEST(grey) {
    struct kn_video v = video(1, 10);

    for (int form = 0; form < 3; form++) {
        if (form == 0)
            kn_video_set_rgb(&v, 0, 1023);
        else
            kn_video_set_yuv(&v, 0.2126, 0.0722, form == 1);
        for (int code = 0; code < 1024; code++) {
            /* what else stands in the components must not matter */
            const struct point rgb = apply(v.to_rgb, (struct point){{code, 1e6, -1e6}});
            const double first = rgb.c[0];
            check_near(rgb, first, first, first, 0);
            check_near(apply(v.from_rgb, rgb), code, 0, 0, 1e-3);
        }
    }
    check_near(apply(v.to_rgb, (struct point){{64, 0, 0}}), -1, -1, -1, 1e-6);
}
END_TEST

TESTS("video", yuv_equals_the_definition, yuv_round_trip, known_colours, grey)
