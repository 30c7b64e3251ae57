/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Conditions of the operations on tokens. */
#include "front.h"

#include <inttypes.h>

/* One parameter per column. */
static void check_columns(struct kn_check *c, const char *name, const struct kn_tensor *t,
                          int64_t columns) {
    kn_check_weight(c, name, t);
    kn_check_dims(c, name, t, 1, columns, 0, 0, 0);
}

KN_CHECK(linear) {
    kn_check_tensor(c, "x", &a->x, KN_FLOATS);
    kn_check_matrix(c, "x", &a->x);
    kn_check_weight(c, "weight", &a->weight);
    if (c->status == KN_OK)
        kn_check_dims(c, "weight", &a->weight, 2, KN_FREE, a->x.dim[1], 0, 0);
    if (kn_given(&a->bias))
        check_columns(c, "bias", &a->bias, a->weight.dim[0]);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    kn_check_dims(c, "out", &a->out, 2, a->x.dim[0], a->weight.dim[0], 0, 0);
    if (kn_given(&a->residual)) {
        kn_check_tensor(c, "residual", &a->residual, KN_FLOATS);
        kn_check_matrix(c, "residual", &a->residual);
        kn_check_same_dims(c, "residual", &a->residual, "out", &a->out);
        kn_check_same_type(c, "residual", &a->residual, "out", &a->out);
    }
    kn_check_apart(c, "out", &a->out, "x", &a->x);
    kn_check_apart_or_equal(c, "out", &a->out, "residual", &a->residual);
}

KN_CHECK(layer_norm) {
    kn_check_tensor(c, "x", &a->x, KN_FULL);
    kn_check_matrix(c, "x", &a->x);
    check_columns(c, "weight", &a->weight, a->x.dim[1]);
    check_columns(c, "bias", &a->bias, a->x.dim[1]);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    kn_check_same_dims(c, "out", &a->out, "x", &a->x);
    kn_check_epsilon(c, a->epsilon);
    kn_check_apart(c, "out", &a->out, "x", &a->x);
}

KN_CHECK(gate) {
    kn_check_tensor(c, "o", &a->o, KN_FULL);
    kn_check_matrix(c, "o", &a->o);
    kn_check_tensor(c, "z", &a->z, KN_FULL);
    kn_check_matrix(c, "z", &a->z);
    kn_check_same_dims(c, "z", &a->z, "o", &a->o);
    check_columns(c, "weight", &a->weight, a->o.dim[1]);
    kn_check_output(c, "out", &a->out, KN_FLOATS);
    kn_check_same_dims(c, "out", &a->out, "o", &a->o);
    KN_REQUIRE(c, a->heads >= 1 && a->o.dim[1] % a->heads == 0,
               "heads is %" PRId64 ", must divide %" PRId64 " columns", a->heads, a->o.dim[1]);
    kn_check_epsilon(c, a->epsilon);
    kn_check_apart(c, "out", &a->out, "o", &a->o);
    kn_check_apart(c, "out", &a->out, "z", &a->z);
}
