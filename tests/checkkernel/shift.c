/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Temporal shift: a copy, so nothing may differ. */
#include "checkkernel.h"

#include <stdio.h>

static void one(struct ck *ck, int64_t frames, int64_t h, int64_t C, int64_t channels,
                enum kn_dtype dtype, bool in_place, int reset) {
    const int64_t dim[] = {frames, h, 5, C};
    struct kn_shift_args a = {.channels = channels};
    struct ck_memory *memory;

    if (!ck_begin(ck, "shift %d of %d channels, %d frames, %s%s%s", (int)channels, (int)C,
                  (int)frames, kn_dtype_name(dtype), in_place ? ", in place" : "",
                  reset == 1 ? ", reset" : ""))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_image(memory, in_place ? CK_INOUT : CK_IN, KN_SLOT_WORK, dtype, 0, dim);
    a.past = ck_image(memory, CK_IN, KN_SLOT_PAST, dtype, 0, dim);
    a.out = in_place ? a.x : ck_image(memory, CK_OUT, KN_SLOT_WORK, dtype, 0, dim);
    if (reset >= 0)
        a.control = ck_control(memory, reset);
    ck_check(memory, KN_OP_SHIFT, &a, CK_EXACT);
    ck_memory_free(memory);
}

void ck_test_shift(struct ck *ck) {
    static const int64_t channels[][2] = {{8, 2}, {1, 1}, {7, 3}, {32, 8}, {64, 64}, {33, 32}};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};

    for (size_t c = 0; c < CK_COUNT(channels); c++)
        for (size_t t = 0; t < CK_COUNT(type); t++)
            for (int i = 0; i < 10; i++) {
                int64_t frames = i % 5 < 3 ? 1 : i % 5 - 1;
                one(ck, frames, 1 + i % 3, channels[c][0], channels[c][1], type[t], i >= 5,
                    frames > 1 ? -1 : i % 5 - 1);
            }
}

bool ck_sabotage_shift(struct kn_shift_args *a, int way) {
    switch (way) {
    case 0:
        if (a->x.dim[3] == 1)
            return false;
        a->channels += a->channels < a->x.dim[3] ? 1 : -1;
        return true;
    case 1:
        if (a->control.rank == 0)
            return false;
        a->control.rank = 0;
        return true;
    default:
        return false;
    }
}

void ck_bench_shift(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t dim[] = {1, p->height, p->width, p->channels};
        struct kn_shift_args a = {.channels = p->channels / 4};
        struct ck_memory *memory;
        char label[40];
        if (!p->name || p->memory_blocks)
            continue;
        for (int half = 0; half < 2; half++) {
            enum kn_dtype dtype = half ? KN_BF16 : KN_F32;
            memory = ck_memory_new(ck);
            snprintf(label, sizeof label, "%s %s", p->name, kn_dtype_name(dtype));
            a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, 0, dim);
            a.past = ck_image(memory, CK_IN, KN_SLOT_PAST, dtype, 0, dim);
            a.out = ck_image(memory, CK_OUT, KN_SLOT_WORK, dtype, 0, dim);
            ck_bench(memory, label, KN_OP_SHIFT, &a,
                     (struct ck_work){.bytes = 2. * (double)(dim[1] * dim[2] * dim[3]) *
                                               (double)kn_dtype_bytes(dtype)});
            ck_memory_free(memory);
        }
    }
}
