/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clearing tensors of any rank, with gaps that must be left alone. */
#include "checkkernel.h"

#include <stdio.h>

static void one(struct ck *ck, int rank, const int64_t *dim, enum kn_dtype dtype, int64_t pad) {
    struct kn_zero_args a = {{0}};
    struct ck_memory *memory;

    if (!ck_begin(ck, "zero %d axes from %d, %s, pad %d", rank, (int)dim[0], kn_dtype_name(dtype),
                  (int)pad))
        return;
    memory = ck_memory_new(ck);
    a.out = ck_tensor(memory, CK_OUT, pad ? KN_SLOT_WORK : KN_SLOT_GRADS, dtype, pad, rank, dim);
    ck_check(memory, KN_OP_ZERO, &a, CK_EXACT);
    ck_memory_free(memory);
}

void ck_test_zero(struct ck *ck) {
    static const int64_t dims[][KN_MAX_RANK] = {{3, 5, 7, 9}, {1, 1, 1, 1}, {2, 33, 17, 64}};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};

    for (size_t d = 0; d < CK_COUNT(dims); d++)
        for (int rank = 1; rank <= KN_MAX_RANK; rank++)
            for (int i = 0; i < 6; i++)
                one(ck, rank, dims[d] + KN_MAX_RANK - rank, type[i % 3], i < 3 ? 0 : 3);
}

bool ck_sabotage_zero(struct kn_zero_args *a, int way) {
    int64_t *last = &a->out.dim[a->out.rank - 1];

    if (way > 0 || *last == 1)
        return false;
    --*last;
    return true;
}

void ck_bench_zero(struct ck *ck) {
    const int64_t count = 1 << 24;
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_zero_args a = {
        ck_tensor(memory, CK_OUT, KN_SLOT_GRADS, KN_F32, 0, 1, &count),
    };

    ck_bench(memory, "64 MiB", KN_OP_ZERO, &a, (struct ck_work){.bytes = 4. * (double)count});
    ck_memory_free(memory);
}
