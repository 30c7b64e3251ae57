/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of the temporal shift: sums of two, added to what is there. */
#include "checkkernel.h"

#include <stdio.h>

static void one(struct ck *ck, int64_t frames, int64_t lag, int64_t h, int64_t C, int64_t channels,
                enum kn_dtype dtype, int64_t gap) {
    const int64_t dim[] = {frames, h, 5, C}, longer[] = {frames + lag, h, 5, C};
    struct kn_shift_backward_args a = {.channels = channels, .lag = lag};
    struct ck_memory *memory;

    if (!ck_begin(ck, "shift_backward %d of %d channels, %d frames, lag %d, %s, gap %d",
                  (int)channels, (int)C, (int)frames, (int)lag, kn_dtype_name(dtype), (int)gap))
        return;
    memory = ck_memory_new(ck);
    a.dy = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap / 2, dim);
    a.dx = ck_image(memory, CK_INOUT, KN_SLOT_WORK, dtype, gap, longer);
    ck_check(memory, KN_OP_SHIFT_BACKWARD, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_shift_backward(struct ck *ck) {
    static const int64_t channels[][2] = {{8, 2}, {1, 1}, {7, 3}, {32, 8}, {64, 64}, {33, 32}};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};

    for (size_t c = 0; c < CK_COUNT(channels); c++)
        for (size_t t = 0; t < CK_COUNT(type); t++)
            for (int i = 0; i < 8; i++)
                one(ck, 1 + i % 4, 1 + i / 2 % 3, 1 + i % 3, channels[c][0], channels[c][1],
                    type[t], i % 2 * 6);
}

bool ck_sabotage_shift_backward(struct kn_shift_backward_args *a, int way) {
    if (way == 0 && a->dy.dim[3] > 1) {
        a->channels += a->channels < a->dy.dim[3] ? 1 : -1;
        return true;
    }
    if (way == 1 && a->lag > 1 && a->channels < a->dy.dim[3]) {
        a->lag--;
        a->dx.dim[0]--;
        return true;
    }
    return false;
}

static void grad_one(struct ck *ck, int64_t frames, int64_t lag, int64_t C, int64_t channels) {
    const int64_t dim[] = {frames, 3, 2, C}, longer[] = {frames + lag, 3, 2, C};
    struct ck_memory *memory;
    struct kn_tensor all;
    struct kn_shift_args a = {.channels = channels};
    struct kn_shift_backward_args b = {.channels = channels, .lag = lag};
    struct ck_grad grad = {0};

    if (!ck_begin(ck, "shift_backward %d of %d channels, %d frames, lag %d", (int)channels, (int)C,
                  (int)frames, (int)lag))
        return;
    memory = ck_memory_new(ck);
    all = a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 3, longer);
    a.x.dim[0] = frames;
    a.past = a.x;
    a.x.offset_bytes += (uint64_t)(lag * a.x.stride[0]) * sizeof(double);
    a.out = grad.out = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 0, dim);
    b.dy = grad.dout = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 1, dim);
    b.dx = ck_image(memory, CK_INOUT, KN_SLOT_WORK, KN_F64, 2, longer);
    ck_grad_forward(&grad, KN_OP_SHIFT, &a);
    ck_grad_backward(&grad, KN_OP_SHIFT_BACKWARD, &b);
    ck_grad_input(&grad, &all, &b.dx);
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}

void ck_grad_shift_backward(struct ck *ck) {
    grad_one(ck, 1, 1, 8, 2);
    grad_one(ck, 4, 2, 7, 3);
    grad_one(ck, 3, 3, 2, 2);
    grad_one(ck, 2, 1, 1, 1);
}

void ck_bench_shift_backward(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t dim[] = {32, 32, 32, p->channels};
        const int64_t longer[] = {36, 32, 32, p->channels};
        struct kn_shift_backward_args a = {.channels = p->channels / 4, .lag = 4};
        struct ck_memory *memory;
        if (!p->name || p->memory_blocks)
            continue;
        memory = ck_memory_new(ck);
        a.dy = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, dim);
        a.dx = ck_image(memory, CK_INOUT, KN_SLOT_WORK, KN_F32, 0, longer);
        ck_bench(memory, p->name, KN_OP_SHIFT_BACKWARD, &a,
                 (struct ck_work){.bytes = 12. * (double)(dim[0] * dim[1] * dim[2] * dim[3])});
        ck_memory_free(memory);
    }
}
