/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sum of squares, in double; parts of fixed length are added up in their order. */
#include "../kn_size.h"
#include "cpu.h"

#define PART 4096

static double part_sum(const float *x, int64_t n) {
    double sum = 0;

#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static int64_t parts_of(const struct kn_square_sum_args *a) {
    return (a->x.dim[0] - 1) / PART + 1;
}

static enum kn_status square_sum_prepare(struct kn_prepare *prepare, const struct kn_node *node,
                                         struct kn_err *err) {
    (void)err;
    prepare->scratch_bytes = (uint64_t)parts_of(&node->args.square_sum) * sizeof(double);
    return KN_OK;
}

static enum kn_status square_sum_run(const struct kn_call *call, const void *args,
                                     struct kn_err *err) {
    const struct kn_square_sum_args *a = args;
    const int64_t parts = parts_of(a), n = a->x.dim[0];
    const float *x = kn_at(call, &a->x);
    double *part = call->scratch, sum = 0;

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < parts; i++)
        part[i] = part_sum(x + i * PART, i == parts - 1 ? n - i * PART : PART);
    for (int64_t i = 0; i < parts; i++)
        sum += part[i];
    *(double *)kn_at(call, &a->value) += sum;
    return KN_OK;
}

void KN_ISA_NAME(square_sum)(struct kn_table *table) {
    table->kernel[KN_OP_SQUARE_SUM] =
        (struct kn_kernel){.prepare = square_sum_prepare, .run = square_sum_run};
}
