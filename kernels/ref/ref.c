/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The reference table: one entry per operation, none left out. */
#include "ref.h"

void kn_ref_fill(struct kn_table *table) {
#define X(name, NAME, args) table->kernel[KN_OP_##NAME] = kn_ref_##name;
    KN_OPERATIONS(X)
#undef X
}
