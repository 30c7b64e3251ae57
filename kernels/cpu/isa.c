/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The kernels of one instruction set; compiled once for each. */
#include "cpu.h"

void KN_ISA_NAME(overlay)(struct kn_table *table) {
#define X(file) KN_ISA_NAME(file)(table);
    KN_CPU_FILES(X)
#undef X
}
