/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions of the backward operations on images and tokens. */
#include "front.h"

#include <inttypes.h>

KN_CHECK(zero) {
    kn_check_output(c, "out", &a->out, KN_FLOATS);
}

/* An image that must be as another one. */
static void check_like(struct kn_check *c, const char *name, const struct kn_tensor *t,
                       const char *as_name, const struct kn_tensor *as) {
    kn_check_tensor(c, name, t, KN_FLOATS);
    kn_check_image(c, name, t);
    kn_check_same_dims(c, name, t, as_name, as);
    kn_check_same_type(c, name, t, as_name, as);
}

KN_CHECK(relu_backward) {
    kn_check_tensor(c, "y", &a->y, KN_FLOATS);
    kn_check_image(c, "y", &a->y);
    check_like(c, "dy", &a->dy, "y", &a->y);
    kn_check_output(c, "dx", &a->dx, KN_FLOATS);
    check_like(c, "dx", &a->dx, "y", &a->y);
    kn_check_apart(c, "dx", &a->dx, "y", &a->y);
    kn_check_apart_or_equal(c, "dx", &a->dx, "dy", &a->dy);
}

/* --------------------------------------------------------------------------------- convolutions */

/* (outputs, inputs, k, k), where twice says that a past has as many inputs as x. */
static void check_kernel(struct kn_check *c, const char *name, const struct kn_tensor *w,
                         const struct kn_tensor *dy, int64_t inputs, bool once, bool twice) {
    kn_check_rank(c, name, w, 4);
    KN_REQUIRE(c, w->dim[2] == w->dim[3] && (w->dim[2] == 1 || w->dim[2] == 3),
               "%s is %s, kernel must be 1x1 or 3x3", name, kn_text_dims(w->rank, w->dim).s);
    KN_REQUIRE(c, w->dim[0] == dy->dim[3],
               "%s is %s, axis 0 must be equal to the %" PRId64 " channels of dy", name,
               kn_text_dims(w->rank, w->dim).s, dy->dim[3]);
    KN_REQUIRE(c,
               (once && w->dim[1] == inputs) ||
                   (twice && w->dim[1] % 2 == 0 && w->dim[1] / 2 == inputs),
               "%s is %s, axis 1 must be %s the %" PRId64 " inputs", name,
               kn_text_dims(w->rank, w->dim).s, !twice ? "equal to" : "twice", inputs);
}

KN_CHECK(conv_backward_data) {
    kn_check_tensor(c, "dy", &a->dy, KN_FLOATS);
    kn_check_image(c, "dy", &a->dy);
    kn_check_output(c, "dx", &a->dx, KN_FLOATS);
    kn_check_image(c, "dx", &a->dx);
    kn_check_same_type(c, "dx", &a->dx, "dy", &a->dy);
    if (c->status == KN_OK)
        kn_check_dims(c, "dx", &a->dx, 4, a->dy.dim[0], a->dy.dim[1], a->dy.dim[2], KN_FREE);
    kn_check_weight(c, "weight", &a->weight);
    if (c->status == KN_OK)
        check_kernel(c, "weight", &a->weight, &a->dy, a->dx.dim[3], !a->past, true);
    kn_check_apart(c, "dx", &a->dx, "dy", &a->dy);
}

KN_CHECK(conv_backward_weights) {
    const bool past = kn_given(&a->past);

    kn_check_tensor(c, "x", &a->x, KN_FLOATS);
    kn_check_image(c, "x", &a->x);
    if (past)
        check_like(c, "past", &a->past, "x", &a->x);
    kn_check_tensor(c, "dy", &a->dy, KN_FLOATS);
    kn_check_image(c, "dy", &a->dy);
    kn_check_same_type(c, "dy", &a->dy, "x", &a->x);
    if (c->status == KN_OK)
        kn_check_dims(c, "dy", &a->dy, 4, a->x.dim[0], a->x.dim[1], a->x.dim[2], KN_FREE);
    kn_check_grad(c, "dweight", &a->dweight);
    if (c->status == KN_OK)
        check_kernel(c, "dweight", &a->dweight, &a->dy, a->x.dim[3], !past, past);
    kn_check_apart(c, "dweight", &a->dweight, "x", &a->x);
    kn_check_apart(c, "dweight", &a->dweight, "past", &a->past);
    kn_check_apart(c, "dweight", &a->dweight, "dy", &a->dy);
    if (!kn_given(&a->dbias))
        return;
    kn_check_grad(c, "dbias", &a->dbias);
    kn_check_dims(c, "dbias", &a->dbias, 1, a->dy.dim[3], 0, 0, 0);
    kn_check_apart(c, "dbias", &a->dbias, "x", &a->x);
    kn_check_apart(c, "dbias", &a->dbias, "past", &a->past);
    kn_check_apart(c, "dbias", &a->dbias, "dy", &a->dy);
    kn_check_apart(c, "dbias", &a->dbias, "dweight", &a->dweight);
}

KN_CHECK(shift_backward) {
    kn_check_tensor(c, "dy", &a->dy, KN_FLOATS);
    kn_check_image(c, "dy", &a->dy);
    kn_check_output(c, "dx", &a->dx, KN_FLOATS);
    kn_check_image(c, "dx", &a->dx);
    kn_check_same_type(c, "dx", &a->dx, "dy", &a->dy);
    KN_REQUIRE(c, a->lag >= 1, "lag is %" PRId64 ", must be >= 1", a->lag);
    KN_REQUIRE(c, a->dx.dim[0] - a->dy.dim[0] == a->lag,
               "dx is %s, must have %" PRId64 " frames more than dy, which is %s",
               kn_text_dims(a->dx.rank, a->dx.dim).s, a->lag,
               kn_text_dims(a->dy.rank, a->dy.dim).s);
    kn_check_dims(c, "dx", &a->dx, 4, KN_FREE, a->dy.dim[1], a->dy.dim[2], a->dy.dim[3]);
    KN_REQUIRE(c, a->channels >= 1 && a->channels <= a->dy.dim[3],
               "channels is %" PRId64 ", must be 1 to %" PRId64, a->channels, a->dy.dim[3]);
    kn_check_apart(c, "dx", &a->dx, "dy", &a->dy);
}

/* --------------------------------------------------------------------------------------- tokens */

static void check_rows(struct kn_check *c, const char *name, const struct kn_tensor *t,
                       unsigned types, int64_t rows, int64_t columns) {
    kn_check_tensor(c, name, t, types);
    kn_check_matrix(c, name, t);
    kn_check_dims(c, name, t, 2, rows, columns, 0, 0);
}

static void check_rows_out(struct kn_check *c, const char *name, const struct kn_tensor *t,
                           unsigned types, int64_t rows, int64_t columns) {
    kn_check_output(c, name, t, types);
    check_rows(c, name, t, types, rows, columns);
}

/* The gradient of one parameter per column, apart from all that is read. */
static void check_columns_grad(struct kn_check *c, const char *name, const struct kn_tensor *t,
                               int64_t columns) {
    kn_check_grad(c, name, t);
    kn_check_dims(c, name, t, 1, columns, 0, 0, 0);
}

KN_CHECK(linear_backward_data) {
    check_rows(c, "dy", &a->dy, KN_FLOATS, KN_FREE, KN_FREE);
    kn_check_weight(c, "weight", &a->weight);
    if (c->status == KN_OK)
        kn_check_dims(c, "weight", &a->weight, 2, a->dy.dim[1], KN_FREE, 0, 0);
    check_rows_out(c, "dx", &a->dx, KN_FLOATS, a->dy.dim[0], a->weight.dim[1]);
    kn_check_apart(c, "dx", &a->dx, "dy", &a->dy);
}

KN_CHECK(linear_backward_weights) {
    check_rows(c, "x", &a->x, KN_FLOATS, KN_FREE, KN_FREE);
    check_rows(c, "dy", &a->dy, KN_FLOATS, a->x.dim[0], KN_FREE);
    kn_check_grad(c, "dweight", &a->dweight);
    kn_check_dims(c, "dweight", &a->dweight, 2, a->dy.dim[1], a->x.dim[1], 0, 0);
    kn_check_apart(c, "dweight", &a->dweight, "x", &a->x);
    kn_check_apart(c, "dweight", &a->dweight, "dy", &a->dy);
    if (!kn_given(&a->dbias))
        return;
    check_columns_grad(c, "dbias", &a->dbias, a->dy.dim[1]);
    kn_check_apart(c, "dbias", &a->dbias, "x", &a->x);
    kn_check_apart(c, "dbias", &a->dbias, "dy", &a->dy);
    kn_check_apart(c, "dbias", &a->dbias, "dweight", &a->dweight);
}

KN_CHECK(layer_norm_backward) {
    const struct kn_tensor *const out[] = {&a->dx, &a->dweight, &a->dbias};
    static const char *const name[] = {"dx", "dweight", "dbias"};

    check_rows(c, "x", &a->x, KN_FULL, KN_FREE, KN_FREE);
    kn_check_weight(c, "weight", &a->weight);
    kn_check_dims(c, "weight", &a->weight, 1, a->x.dim[1], 0, 0, 0);
    check_rows(c, "dy", &a->dy, KN_FLOATS, a->x.dim[0], a->x.dim[1]);
    check_rows_out(c, "dx", &a->dx, KN_FULL, a->x.dim[0], a->x.dim[1]);
    check_columns_grad(c, "dweight", &a->dweight, a->x.dim[1]);
    check_columns_grad(c, "dbias", &a->dbias, a->x.dim[1]);
    kn_check_epsilon(c, a->epsilon);
    for (int i = 0; i < 3; i++) {
        kn_check_apart(c, name[i], out[i], "x", &a->x);
        kn_check_apart(c, name[i], out[i], "dy", &a->dy);
        for (int j = 0; j < i; j++)
            kn_check_apart(c, name[i], out[i], name[j], out[j]);
    }
}

KN_CHECK(gate_backward) {
    const struct kn_tensor *const out[] = {&a->d_o, &a->dz, &a->dweight};
    static const char *const name[] = {"d_o", "dz", "dweight"};

    check_rows(c, "o", &a->o, KN_FULL, KN_FREE, KN_FREE);
    check_rows(c, "z", &a->z, KN_FULL, a->o.dim[0], a->o.dim[1]);
    kn_check_weight(c, "weight", &a->weight);
    kn_check_dims(c, "weight", &a->weight, 1, a->o.dim[1], 0, 0, 0);
    check_rows(c, "dy", &a->dy, KN_FLOATS, a->o.dim[0], a->o.dim[1]);
    check_rows_out(c, "d_o", &a->d_o, KN_FULL, a->o.dim[0], a->o.dim[1]);
    check_rows_out(c, "dz", &a->dz, KN_FULL, a->o.dim[0], a->o.dim[1]);
    check_columns_grad(c, "dweight", &a->dweight, a->o.dim[1]);
    KN_REQUIRE(c, a->heads >= 1 && a->o.dim[1] % a->heads == 0,
               "heads is %" PRId64 ", must divide %" PRId64 " columns", a->heads, a->o.dim[1]);
    kn_check_epsilon(c, a->epsilon);
    for (int i = 0; i < 3; i++) {
        kn_check_apart(c, name[i], out[i], "o", &a->o);
        kn_check_apart(c, name[i], out[i], "z", &a->z);
        kn_check_apart(c, name[i], out[i], "dy", &a->dy);
        for (int j = 0; j < i; j++)
            kn_check_apart(c, name[i], out[i], name[j], out[j]);
    }
}
