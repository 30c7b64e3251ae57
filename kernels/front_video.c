/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a struct kn_video must be, and the two operations that move pictures. */
#include "front.h"

#include <inttypes.h>
#include <math.h>

static void check_component(struct kn_check *c, const struct kn_video *video, int i) {
    const struct kn_component *component = &video->component[i];
    const int bytes = video->sample_bytes;

    KN_REQUIRE(c, component->plane < KN_MAX_PLANES, "component %d lies in plane %d, must be < %d",
               i, component->plane, KN_MAX_PLANES);
    KN_REQUIRE(c, component->step_bytes >= bytes, "component %d has step %d, must be >= %d", i,
               component->step_bytes, bytes);
    KN_REQUIRE(c, component->offset_bytes % bytes == 0 && component->step_bytes % bytes == 0,
               "component %d lies at %d with step %d, must be multiples of %d", i,
               component->offset_bytes, component->step_bytes, bytes);
    KN_REQUIRE(c, component->shift + video->depth <= 8 * bytes,
               "component %d has %d bits shifted by %d, must fit %d bytes", i, video->depth,
               component->shift, bytes);
}

static bool is_finite(const float m[3][4]) {
    for (int i = 0; i < 12; i++)
        if (!isfinite(m[i / 4][i % 4]))
            return false;
    return true;
}

void kn_check_video(struct kn_check *c, const struct kn_video *video) {
    KN_REQUIRE(c, video->width >= 1 && video->height >= 1,
               "the picture is %d x %d, must be at least 1 x 1", (int)video->width,
               (int)video->height);
    KN_REQUIRE(c, video->components == 1 || video->components == 3,
               "the picture has %d components, must be 1 or 3", (int)video->components);
    KN_REQUIRE(c, video->sample_bytes == 1 || video->sample_bytes == 2,
               "a sample has %d bytes, must be 1 or 2", video->sample_bytes);
    KN_REQUIRE(c, video->depth >= 8 && video->depth <= 16, "depth is %d, must be 8 to 16",
               video->depth);
    KN_REQUIRE(c, video->sub_x <= 2 && video->sub_y <= 2,
               "chroma is subsampled by 2^%d x 2^%d, must be at most 2^2", video->sub_x,
               video->sub_y);
    for (int i = 0; c->status == KN_OK && i < video->components; i++)
        check_component(c, video, i);
    if (c->status == KN_OK && video->alpha)
        check_component(c, video, 3);
    KN_REQUIRE(c, is_finite(video->to_rgb) && is_finite(video->from_rgb),
               "a colour matrix holds a value that is not finite");
}

/* (T, h, w, 12), covering the picture. */
static void check_pixels(struct kn_check *c, const char *name, const struct kn_tensor *t,
                         const struct kn_video *video) {
    kn_check_image(c, name, t);
    kn_check_dims(c, name, t, 4, KN_FREE, KN_FREE, KN_FREE, 12);
    /* halves rounded up, as twice a dim could overflow */
    KN_REQUIRE(c,
               t->dim[1] >= ((int64_t)video->height + 1) / 2 &&
                   t->dim[2] >= ((int64_t)video->width + 1) / 2,
               "%s is %s, must cover half of %d x %d pixels", name, kn_text_dims(t->rank, t->dim).s,
               (int)video->width, (int)video->height);
}

KN_CHECK(color_in) {
    kn_check_video(c, &a->video);
    kn_check_output(c, "out", &a->out, KN_FULL);
    check_pixels(c, "out", &a->out, &a->video);
    KN_REQUIRE(c, a->first >= 0, "the first picture is %" PRId64 ", must be >= 0", a->first);
    if (!kn_given(&a->half))
        return;
    kn_check_output(c, "half", &a->half, KN_HALVES);
    kn_check_image(c, "half", &a->half);
    kn_check_same_dims(c, "half", &a->half, "out", &a->out);
    kn_check_apart(c, "half", &a->half, "out", &a->out);
}

KN_CHECK(color_out) {
    kn_check_video(c, &a->video);
    kn_check_tensor(c, "x", &a->x, KN_FULL);
    check_pixels(c, "x", &a->x, &a->video);
    KN_REQUIRE(c, !a->copy_alpha || a->video.alpha,
               "copy_alpha is set, but the picture has no alpha");
}
