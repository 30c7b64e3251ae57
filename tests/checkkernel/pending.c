/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Entries of the table that are not written yet; each line goes when its operation comes. */
#include "checkkernel.h"

#define PENDING(name, args)                                        \
    void ck_test_##name(struct ck *ck) {                           \
    }                                                              \
    void ck_bench_##name(struct ck *ck) {                          \
    }                                                              \
    bool ck_sabotage_##name(struct kn_##args##_args *a, int way) { \
        return false;                                              \
    }
PENDING(noise, noise)
PENDING(square_sum, square_sum)
PENDING(adamw, adamw)
