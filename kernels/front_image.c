/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions of the operations on images. */
#include "front.h"

#include <inttypes.h>

/* An optional control whose reset makes one frame forget its past. */
static void check_reset(struct kn_check *c, const struct kn_tensor *control) {
    if (kn_given(control))
        kn_check_control(c, control, 1);
}

static void check_reset_frame(struct kn_check *c, const struct kn_tensor *control,
                              const struct kn_tensor *x) {
    check_reset(c, control);
    KN_REQUIRE(c, !kn_given(control) || x->dim[0] == 1, "x is %s, control needs a single frame",
               kn_text_dims(x->rank, x->dim).s);
}

static void check_conv_weight(struct kn_check *c, const struct kn_conv_args *a) {
    const struct kn_tensor *w = &a->weight;
    const int64_t sides = kn_given(&a->past) ? 2 : 1;

    kn_check_weight(c, "weight", w);
    kn_check_rank(c, "weight", w, 4);
    KN_REQUIRE(c, w->dim[2] == w->dim[3] && (w->dim[2] == 1 || w->dim[2] == 3),
               "weight is %s, kernel must be 1x1 or 3x3", kn_text_dims(w->rank, w->dim).s);
    KN_REQUIRE(c, w->dim[1] % sides == 0 && w->dim[1] / sides == a->x.dim[3],
               "weight is %s, axis 1 must be %s the %" PRId64 " channels of x",
               kn_text_dims(w->rank, w->dim).s, sides == 2 ? "twice" : "equal to", a->x.dim[3]);
    if (!kn_given(&a->bias))
        return;
    kn_check_weight(c, "bias", &a->bias);
    KN_REQUIRE(c, a->bias.rank == 1 && a->bias.dim[0] == w->dim[0],
               "bias is %s, must be one value per output channel of weight, which is %s",
               kn_text_dims(a->bias.rank, a->bias.dim).s, kn_text_dims(w->rank, w->dim).s);
}

static void check_conv_inputs(struct kn_check *c, const struct kn_conv_args *a) {
    kn_check_tensor(c, "x", &a->x, KN_FLOATS);
    kn_check_image(c, "x", &a->x);
    if (!kn_given(&a->past))
        return;
    kn_check_tensor(c, "past", &a->past, KN_FLOATS);
    kn_check_image(c, "past", &a->past);
    kn_check_same_dims(c, "past", &a->past, "x", &a->x);
    kn_check_same_type(c, "past", &a->past, "x", &a->x);
}

KN_CHECK(conv) {
    check_conv_inputs(c, a);
    if (c->status == KN_OK)
        check_conv_weight(c, a);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    kn_check_image(c, "out", &a->out);
    if (c->status == KN_OK)
        kn_check_dims(c, "out", &a->out, 4, a->x.dim[0], a->x.dim[1], a->x.dim[2],
                      a->weight.dim[0]);
    if (kn_given(&a->residual)) {
        kn_check_tensor(c, "residual", &a->residual, KN_FLOATS);
        kn_check_image(c, "residual", &a->residual);
        kn_check_same_dims(c, "residual", &a->residual, "out", &a->out);
        kn_check_same_type(c, "residual", &a->residual, "out", &a->out);
    }
    check_reset_frame(c, &a->control, &a->x);
    kn_check_apart(c, "out", &a->out, "x", &a->x);
    kn_check_apart(c, "out", &a->out, "past", &a->past);
    kn_check_apart_or_equal(c, "out", &a->out, "residual", &a->residual);
}

KN_CHECK(shift) {
    kn_check_tensor(c, "x", &a->x, KN_ANY);
    kn_check_image(c, "x", &a->x);
    kn_check_tensor(c, "past", &a->past, KN_ANY);
    kn_check_image(c, "past", &a->past);
    kn_check_same_dims(c, "past", &a->past, "x", &a->x);
    kn_check_same_type(c, "past", &a->past, "x", &a->x);
    kn_check_output(c, "out", &a->out, KN_ANY);
    kn_check_image(c, "out", &a->out);
    kn_check_same_dims(c, "out", &a->out, "x", &a->x);
    kn_check_same_type(c, "out", &a->out, "x", &a->x);
    KN_REQUIRE(c, a->channels >= 1 && a->channels <= a->x.dim[3],
               "channels is %" PRId64 ", must be 1 to %" PRId64, a->channels, a->x.dim[3]);
    check_reset_frame(c, &a->control, &a->x);
    kn_check_apart_or_equal(c, "out", &a->out, "x", &a->x);
    kn_check_apart(c, "out", &a->out, "past", &a->past);
}

static void check_scale(struct kn_check *c, const struct kn_convert_args *a) {
    const bool packs = (a->x.dtype == KN_U8) != (a->out.dtype == KN_U8);
    const int64_t channels = a->x.dim[a->x.rank - 1];

    KN_REQUIRE(c, kn_given(&a->scale) == packs,
               "scale is %s, must be given exactly when one side "
               "is uint8: x is %s, out is %s",
               kn_given(&a->scale) ? "given" : "missing", kn_dtype_name(a->x.dtype),
               kn_dtype_name(a->out.dtype));
    if (!packs)
        return;
    KN_REQUIRE(c, a->x.dtype == KN_F32 || a->out.dtype == KN_F32,
               "uint8 converts from and to float32 only: x is %s, out is %s",
               kn_dtype_name(a->x.dtype), kn_dtype_name(a->out.dtype));
    kn_check_weight(c, "scale", &a->scale);
    kn_check_dims(c, "scale", &a->scale, 1, channels, 0, 0, 0);
}

KN_CHECK(convert) {
    kn_check_tensor(c, "x", &a->x, KN_ANY);
    kn_check_output(c, "out", &a->out, KN_ANY);
    kn_check_same_dims(c, "out", &a->out, "x", &a->x);
    if (c->status == KN_OK)
        check_scale(c, a);
    check_reset(c, &a->control);
    kn_check_apart(c, "out", &a->out, "x", &a->x);
}

/* Latents z of whole patches, and how many tokens of which size they make. */
static void check_patches(struct kn_check *c, const struct kn_tensor *z, int64_t patch,
                          const char *name, const struct kn_tensor *tokens) {
    kn_check_image(c, "z", z);
    KN_REQUIRE(c, patch >= 1, "patch is %" PRId64 ", must be >= 1", patch);
    KN_REQUIRE(c, z->dim[1] % patch == 0 && z->dim[2] % patch == 0,
               "z is %s, height and width must be multiples of the patch, %" PRId64,
               kn_text_dims(z->rank, z->dim).s, patch);
    /* neither product can overflow: patch <= height and width, and the elements of z are counted */
    if (c->status == KN_OK)
        kn_check_dims(c, name, tokens, 2, z->dim[0] * (z->dim[1] / patch) * (z->dim[2] / patch),
                      patch * patch * z->dim[3], 0, 0);
}

KN_CHECK(gather) {
    kn_check_tensor(c, "z", &a->z, KN_FULL);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    check_patches(c, &a->z, a->patch, "out", &a->out);
    kn_check_apart(c, "out", &a->out, "z", &a->z);
}

KN_CHECK(scatter) {
    kn_check_tensor(c, "x", &a->x, KN_FULL);
    kn_check_tensor(c, "z", &a->z, KN_FULL);
    check_patches(c, &a->z, a->patch, "x", &a->x);
    kn_check_matrix(c, "x", &a->x);
    kn_check_output(c, "out", &a->out, KN_FULL);
    kn_check_image(c, "out", &a->out);
    kn_check_same_dims(c, "out", &a->out, "z", &a->z);
    kn_check_apart(c, "out", &a->out, "x", &a->x);
    kn_check_apart_or_equal(c, "out", &a->out, "z", &a->z);
    if (!kn_given(&a->half))
        return;
    kn_check_output(c, "half", &a->half, KN_HALVES);
    kn_check_image(c, "half", &a->half);
    kn_check_same_dims(c, "half", &a->half, "z", &a->z);
    kn_check_apart(c, "half", &a->half, "x", &a->x);
    kn_check_apart(c, "half", &a->half, "z", &a->z);
    kn_check_apart(c, "half", &a->half, "out", &a->out);
}
