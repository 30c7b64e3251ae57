/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clears a tensor: runs of contiguous values, cut into pieces and shared among threads. */
#include <string.h>

#include "cpu.h"

#define PIECE 65536 /* bytes that a thread clears at once, at most */

/* How many of the last axes lie in one run, and how long it is. */
static int64_t run_of(const struct kn_tensor *t, int *axes) {
    int64_t n = 1;
    int i = t->rank;

    while (i > 0 && (t->stride[i - 1] == n || t->dim[i - 1] == 1))
        n *= t->dim[--i];
    *axes = i;
    return n;
}

/* Offset, in values, of run i. */
static int64_t run_at(const struct kn_tensor *t, int axes, int64_t i) {
    int64_t at = 0;

    for (int axis = axes - 1; axis >= 0; axis--) {
        at += i % t->dim[axis] * t->stride[axis];
        i /= t->dim[axis];
    }
    return at;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_zero_args *a = args;
    const int64_t value = (int64_t)kn_dtype_bytes(a->out.dtype);
    char *out = kn_at(call, &a->out);
    int axes;
    int64_t bytes = run_of(&a->out, &axes) * value, pieces = (bytes + PIECE - 1) / PIECE, runs = 1;

    (void)err;
    for (int i = 0; i < axes; i++)
        runs *= a->out.dim[i];
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < runs * pieces; i++) {
        int64_t first = i % pieces * PIECE, n = bytes - first < PIECE ? bytes - first : PIECE;
        memset(out + run_at(&a->out, axes, i / pieces) * value + first, 0, (size_t)n);
    }
    return KN_OK;
}

void KN_ISA_NAME(zero)(struct kn_table *table) {
    table->kernel[KN_OP_ZERO] = (struct kn_kernel){.run = run};
}
