/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What host devices check of the values that a training operation is given when it runs. */
#ifndef KN_TRAINING_H
#define KN_TRAINING_H

#include <inttypes.h>

#include "kn_internal.h"

/* adamw writes parameters, which an exec made with weights shares with others. */
static inline enum kn_status kn_adamw_prepare(struct kn_prepare *prepare,
                                              const struct kn_node *node, struct kn_err *err) {
    if (!prepare->weights)
        return KN_OK;
    return kn_fail(err, KN_ERR_UNSUPPORTED,
                   "%s: parameters cannot change in an exec made with weights", node->label);
}

/* Every run of parameters must be in a group that there is. */
static inline enum kn_status kn_adamw_groups(const struct kn_adamw_args *a, const uint8_t *group,
                                             struct kn_err *err) {
    for (int64_t i = 0; i < a->group.dim[0]; i++)
        if (group[i] >= KN_ADAMW_GROUPS)
            return kn_fail(err, KN_ERR_ARG, "adamw: group %" PRId64 " is %d, there are 0 to %d", i,
                           group[i], KN_ADAMW_GROUPS - 1);
    return KN_OK;
}

static inline enum kn_status kn_noise_samples(const struct kn_noise_args *a,
                                              const struct kn_sample *sample, struct kn_err *err) {
    for (int64_t b = 0; b < a->sample.dim[0]; b++) {
        if (sample[b].kind < KN_NOISE_NONE || sample[b].kind > KN_NOISE_UNIFORM)
            return kn_fail(err, KN_ERR_ARG, "noise: sample %" PRId64 " is of kind %d", b,
                           (int)sample[b].kind);
        if (sample[b].kind == KN_NOISE_COMPRESSION && a->x.dim[3] != 12)
            return kn_fail(err, KN_ERR_ARG,
                           "noise: sample %" PRId64
                           " compresses pictures of 12 channels, x has %" PRId64,
                           b, a->x.dim[3]);
    }
    return KN_OK;
}

#endif
