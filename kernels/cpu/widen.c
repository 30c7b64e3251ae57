/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Rows of 16-bit floats to f32 and back, around primitives that know only f32. */
#include "floats.h"
#include "onednn.h"

static void *row_of(const struct kn_cpu_rows *r, int64_t row) {
    return (char *)r->data + (uint64_t)(row * r->stride) * kn_dtype_bytes(r->dtype);
}

void kn_cpu_widen(float *to, struct kn_cpu_rows from, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < from.rows; i++)
        kn_floats_load(to + i * from.columns, from.dtype, row_of(&from, i), from.columns);
}

void kn_cpu_narrow(struct kn_cpu_rows to, const float *from, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < to.rows; i++)
        kn_floats_store(row_of(&to, i), to.dtype, from + i * to.columns, to.columns);
}
