/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dnnl.h>
#include <stdio.h>

#include "onednn.h"

void kn_cpu_onednn_describe(char *text, size_t size) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

void kn_cpu_onednn_fill(struct kn_table *table, enum kn_cpu_isa isa) {
    (void)table;
    (void)isa;
}
