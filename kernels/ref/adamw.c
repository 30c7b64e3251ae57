/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* AdamW with groups of parameters and moments that may be kept in 16 bit. */
#include "../kn_random.h"
#include "../kn_training.h"
#include "ref.h"

/* Up or down with the odds of the distance; infinities and NaN are cut. */
static void keep(const struct kn_ref_view *v, int64_t i, double value, unsigned odds) {
    uint32_t bits = kn_ref_to_bits((float)value);

    if (v->dtype != KN_BF16) {
        kn_ref_set(v, i, 0, 0, 0, value);
        return;
    }
    if (isfinite((float)value))
        bits += odds;
    else if (isnan(value))
        bits |= 0x400000;
    ((uint16_t *)(void *)v->base)[i] = (uint16_t)(bits >> 16);
}

static void step_one(const struct kn_adamw *s, const struct kn_ref_view view[5], unsigned group,
                     int64_t i) {
    double rate = (double)s->rate[group], decay = (double)s->decay[group];
    double g = (double)s->scale * kn_ref_get(&view[1], i, 0, 0, 0);
    double b1 = (double)s->beta1, b2 = (double)s->beta2;
    double first = b1 * kn_ref_get(&view[2], i, 0, 0, 0) + (1 - b1) * g;
    double second = b2 * kn_ref_get(&view[3], i, 0, 0, 0) + (1 - b2) * g * g;
    double param = kn_ref_get(&view[0], i, 0, 0, 0);
    uint64_t bits = kn_random_bits(s->step, (uint64_t)i);

    param -=
        rate * (decay * param + first / (double)s->correction1 /
                                    (sqrt(second / (double)s->correction2) + (double)s->epsilon));
    kn_ref_set(&view[0], i, 0, 0, 0, param);
    keep(&view[2], i, first, bits & 0xffff);
    keep(&view[3], i, second, bits >> 16 & 0xffff);
    if (view[4].base)
        kn_ref_set(&view[4], i, 0, 0, 0,
                   (double)s->average * kn_ref_get(&view[4], i, 0, 0, 0) +
                       (1 - (double)s->average) * param);
}

static enum kn_status adamw_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_adamw_args *a = args;
    const struct kn_adamw *settings = kn_at(call, &a->control);
    const uint8_t *group = kn_at(call, &a->group);
    const struct kn_ref_view view[5] = {kn_ref_view(call, &a->param), kn_ref_view(call, &a->grad),
                                        kn_ref_view(call, &a->first), kn_ref_view(call, &a->second),
                                        kn_ref_view(call, &a->averaged)};
    enum kn_status status = kn_adamw_groups(a, group, err);

    for (int64_t i = 0; i < a->param.dim[0] && status == KN_OK; i++)
        if (settings->rate[group[i / KN_ADAMW_RUN]] != 0)
            step_one(settings, view, group[i / KN_ADAMW_RUN], i);
    return status;
}

const struct kn_kernel kn_ref_adamw = {.prepare = kn_adamw_prepare, .run = adamw_run};
