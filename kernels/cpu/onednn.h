/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What conv.c and linear.c share of oneDNN. Compiled only where the library is there. */
#ifndef KN_CPU_ONEDNN_H
#define KN_CPU_ONEDNN_H

#include "cpu.h"

/* onednn.c: puts convolutions and matrix products into the table. */
void kn_cpu_onednn_fill(struct kn_table *table, enum kn_cpu_isa isa);
/* "oneDNN 2.6.3" */
void kn_cpu_onednn_describe(char *text, size_t size);

#endif
