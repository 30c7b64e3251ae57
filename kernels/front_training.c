/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions of the operations that only training has: noise, masks, losses, optimiser. */
#include "front.h"

#include <inttypes.h>
#include <math.h>

static void check_picture(struct kn_check *c, const char *name, const struct kn_tensor *t) {
    kn_check_tensor(c, name, t, KN_FULL);
    kn_check_image(c, name, t);
}

/* An image that is as x and may be written. */
static void check_written(struct kn_check *c, const char *name, const struct kn_tensor *t,
                          const struct kn_tensor *x) {
    kn_check_output(c, name, t, KN_FULL);
    kn_check_image(c, name, t);
    kn_check_same_dims(c, name, t, "x", x);
    kn_check_same_type(c, name, t, "x", x);
}

KN_CHECK(noise) {
    check_picture(c, "x", &a->x);
    check_written(c, "out", &a->out, &a->x);
    kn_check_apart_or_equal(c, "out", &a->out, "x", &a->x);
    kn_check_entries(c, "sample", &a->sample, a->sample.dim[0], _Alignof(struct kn_sample));
    KN_REQUIRE(c, a->x.dim[0] % a->sample.dim[0] == 0,
               "sample has %" PRId64 " entries, which must divide %" PRId64 " frames",
               a->sample.dim[0], a->x.dim[0]);
}

/* ---------------------------------------------------------------------------------------- masks */

static void check_missing(struct kn_check *c, const struct kn_tensor *t, int64_t frames) {
    kn_check_tensor(c, "missing", t, KN_ONLY(KN_F32));
    kn_check_dims(c, "missing", t, 1, frames, 0, 0, 0);
    KN_REQUIRE(c, t->slot == KN_SLOT_CONTROL, "missing lies in slot %s, must be in control",
               kn_slot_name(t->slot));
}

KN_CHECK(mask) {
    check_picture(c, "x", &a->x);
    check_written(c, "out", &a->out, &a->x);
    kn_check_apart_or_equal(c, "out", &a->out, "x", &a->x);
    kn_check_weight(c, "mask", &a->mask);
    kn_check_dims(c, "mask", &a->mask, 1, a->x.dim[3], 0, 0, 0);
    check_missing(c, &a->missing, a->x.dim[0]);
}

KN_CHECK(mask_backward) {
    check_picture(c, "dy", &a->dy);
    check_missing(c, &a->missing, a->dy.dim[0]);
    kn_check_grad(c, "dmask", &a->dmask);
    kn_check_dims(c, "dmask", &a->dmask, 1, a->dy.dim[3], 0, 0, 0);
    kn_check_apart(c, "dmask", &a->dmask, "dy", &a->dy);
}

/* --------------------------------------------------------------------------------------- losses */

KN_CHECK(loss) {
    check_picture(c, "x", &a->x);
    kn_check_dims(c, "x", &a->x, 4, KN_FREE, KN_FREE, KN_FREE, 12);
    check_picture(c, "target", &a->target);
    kn_check_same_dims(c, "target", &a->target, "x", &a->x);
    kn_check_same_type(c, "target", &a->target, "x", &a->x);
    kn_check_value(c, "value", &a->value);
    kn_check_apart(c, "value", &a->value, "x", &a->x);
    kn_check_apart(c, "value", &a->value, "target", &a->target);
    KN_REQUIRE(c, a->lag >= 1 && a->x.dim[0] % a->lag == 0,
               "lag is %" PRId64 ", must divide %" PRId64 " frames", a->lag, a->x.dim[0]);
    KN_REQUIRE(c, isfinite(a->weight), "weight is %g, must be finite", (double)a->weight);
    if (!kn_given(&a->dx))
        return;
    check_written(c, "dx", &a->dx, &a->x);
    kn_check_apart(c, "dx", &a->dx, "x", &a->x);
    kn_check_apart(c, "dx", &a->dx, "target", &a->target);
    kn_check_apart(c, "value", &a->value, "dx", &a->dx);
}

/* ------------------------------------------------------------------------------------ optimiser */

KN_CHECK(square_sum) {
    kn_check_tensor(c, "x", &a->x, KN_FULL);
    kn_check_rank(c, "x", &a->x, 1);
    kn_check_value(c, "value", &a->value);
    kn_check_apart(c, "value", &a->value, "x", &a->x);
}

/* One value, or one byte, of what the optimiser keeps. */
static void check_kept(struct kn_check *c, const char *name, const struct kn_tensor *t,
                       unsigned types, int64_t count) {
    kn_check_output(c, name, t, types);
    kn_check_dims(c, name, t, 1, count, 0, 0, 0);
    KN_REQUIRE(c, t->slot == KN_SLOT_OPTIMIZER, "%s lies in slot %s, must be in optimizer", name,
               kn_slot_name(t->slot));
}

/* param is the one parameter that is written: an exec made with weights refuses it. */
KN_CHECK(adamw) {
    const struct kn_tensor *const kept[] = {&a->first, &a->second, &a->averaged, &a->group};
    static const char *const name[] = {"first", "second", "averaged", "group"};
    const int64_t n = a->param.dim[0];

    kn_check_weight(c, "param", &a->param);
    kn_check_rank(c, "param", &a->param, 1);
    KN_REQUIRE(c, n % KN_ADAMW_RUN == 0, "param is (%" PRId64 "), must be a multiple of %d", n,
               KN_ADAMW_RUN);
    kn_check_grad(c, "grad", &a->grad);
    kn_check_same_dims(c, "grad", &a->grad, "param", &a->param);
    kn_check_same_type(c, "grad", &a->grad, "param", &a->param);
    check_kept(c, "first", &a->first, KN_FULL | KN_ONLY(KN_BF16), n);
    check_kept(c, "second", &a->second, KN_FULL | KN_ONLY(KN_BF16), n);
    kn_check_same_type(c, "second", &a->second, "first", &a->first);
    if (kn_given(&a->averaged)) {
        check_kept(c, "averaged", &a->averaged, KN_FULL, n);
        kn_check_same_type(c, "averaged", &a->averaged, "param", &a->param);
    }
    check_kept(c, "group", &a->group, KN_ONLY(KN_U8), n / KN_ADAMW_RUN);
    for (int i = 0; i < 4; i++)
        for (int j = 0; j < i && kn_given(kept[i]); j++)
            kn_check_apart(c, name[i], kept[i], name[j], kept[j]);
    kn_check_entries(c, "control", &a->control, 1, _Alignof(struct kn_adamw));
}
