/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Change of element type; to and from 8 bit with a scale per channel. */
#include "ref.h"

/* The integers -128 .. 127 are stored with 128 added, so that an unsigned byte holds them. */
static double quantise(double value, double scale) {
    double q = rint(value / scale);

    return q > -128 ? fmin(q, 127) + 128 : 0; /* NaN becomes the lowest code */
}

static double convert_one(const struct kn_convert_args *a, double value, double scale) {
    if (a->out.dtype == KN_U8 && a->x.dtype != KN_U8)
        return quantise(value, scale);
    if (a->x.dtype == KN_U8 && a->out.dtype != KN_U8)
        return (value - 128) * scale;
    return value;
}

/* The tensor as rank 4 with leading axes of one. */
static void widen(const struct kn_tensor *t, struct kn_ref_view *view, int64_t dim[KN_MAX_RANK]) {
    int lead = KN_MAX_RANK - t->rank;

    for (int i = 0; i < KN_MAX_RANK; i++) {
        dim[i] = i < lead ? 1 : t->dim[i - lead];
        view->stride[i] = i < lead ? 0 : t->stride[i - lead];
    }
}

static enum kn_status convert_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_convert_args *a = args;
    struct kn_ref_view x = kn_ref_view(call, &a->x), out = kn_ref_view(call, &a->out);
    struct kn_ref_view scale = kn_ref_view(call, &a->scale);
    bool fresh = kn_ref_fresh(call, &a->control);
    int64_t dim[KN_MAX_RANK];

    widen(&a->out, &out, dim);
    widen(&a->x, &x, dim);
    for (int64_t i = 0; i < dim[0]; i++)
        for (int64_t j = 0; j < dim[1]; j++)
            for (int64_t k = 0; k < dim[2]; k++)
                for (int64_t c = 0; c < dim[3]; c++) {
                    double value = fresh ? 0 : kn_ref_get(&x, i, j, k, c);
                    double s = scale.base ? kn_ref_get(&scale, c, 0, 0, 0) : 1;
                    kn_ref_set(&out, i, j, k, c, fresh ? 0 : convert_one(a, value, s));
                }
    return KN_OK;
}

const struct kn_kernel kn_ref_convert = {.run = convert_run};
