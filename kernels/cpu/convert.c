/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

void KN_ISA_NAME(convert)(struct kn_table *table) {
    (void)table;
}
