/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu.h"

void KN_ISA_NAME(color)(struct kn_table *table) {
    (void)table;
}
