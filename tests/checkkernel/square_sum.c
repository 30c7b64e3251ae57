/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sums of squares: lengths around the parts that are summed apart, values of all sizes. */
#include "checkkernel.h"

static void one(struct ck *ck, int64_t count, double scale, bool add) {
    const int64_t value = 1;
    struct kn_square_sum_args a;
    struct ck_memory *memory;

    if (!ck_begin(ck, "square_sum of %d values of about %g%s", (int)count, scale,
                  add ? ", added" : ""))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_GRADS, KN_F32, 0, 1, &count);
    a.value = ck_tensor(memory, CK_INOUT, KN_SLOT_OUT, KN_F64, 0, 1, &value);
    for (int64_t i = 0; i < count; i++)
        *(float *)ck_at(memory, &a.x, i, 0, 0, 0) *= (float)scale;
    if (!add)
        *(double *)ck_at(memory, &a.value, 0, 0, 0, 0) = 0;
    ck_check(memory, KN_OP_SQUARE_SUM, &a, 1e-24);
    ck_memory_free(memory);
}

void ck_test_square_sum(struct ck *ck) {
    static const int64_t counts[] = {100, 1, 17, 4095, 4096, 4097, 123456};
    static const double scales[] = {1, 1e-25, 1e25}; /* the squares are no floats */

    for (size_t i = 0; i < CK_COUNT(counts); i++)
        for (size_t s = 0; s < CK_COUNT(scales); s++)
            for (int add = 0; add < 2; add++)
                one(ck, counts[i], scales[s], add);
}

bool ck_sabotage_square_sum(struct kn_square_sum_args *a, int way) {
    if (way > 0 || a->x.dim[0] == 1)
        return false;
    a->x.dim[0]--;
    return true;
}

void ck_bench_square_sum(struct ck *ck) {
    const int64_t count = 1 << 20, value = 1;
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_square_sum_args a;

    a.x = ck_tensor(memory, CK_IN, KN_SLOT_GRADS, KN_F32, 0, 1, &count);
    a.value = ck_tensor(memory, CK_INOUT, KN_SLOT_OUT, KN_F64, 0, 1, &value);
    ck_bench(memory, "2^20 gradients", KN_OP_SQUARE_SUM, &a, (struct ck_work){.bytes = 4 << 20});
    ck_memory_free(memory);
}
