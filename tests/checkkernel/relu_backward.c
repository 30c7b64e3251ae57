/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of the ReLU: a choice, so nothing may differ. */
#include "checkkernel.h"

#include <stdio.h>

/* Half of the outputs of a ReLU are zero, some of them negative zero. */
static void clip(struct ck_memory *memory, const struct kn_tensor *y) {
    for (int64_t t = 0; t < y->dim[0]; t++)
        for (int64_t r = 0; r < y->dim[1]; r++)
            for (int64_t col = 0; col < y->dim[2]; col++)
                for (int64_t c = 0; c < y->dim[3]; c++) {
                    uint8_t *p = ck_at(memory, y, t, r, col, c);
                    size_t bytes = kn_dtype_bytes(y->dtype);
                    bool negative = p[bytes - 1] >> 7;
                    for (size_t i = 0; negative && i < bytes; i++)
                        p[i] = i == bytes - 1 ? (uint8_t)(c % 5 == 0 ? 0x80 : 0) : 0;
                }
}

static void one(struct ck *ck, int64_t frames, int64_t h, int64_t C, enum kn_dtype dtype,
                bool in_place, int64_t gap) {
    const int64_t dim[] = {frames, h, 5, C};
    struct kn_relu_backward_args a = {{0}};
    struct ck_memory *memory;

    if (!ck_begin(ck, "relu_backward (%d,%d,5,%d) %s%s, gap %d", (int)frames, (int)h, (int)C,
                  kn_dtype_name(dtype), in_place ? ", in place" : "", (int)gap))
        return;
    memory = ck_memory_new(ck);
    a.y = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, gap, dim);
    clip(memory, &a.y);
    a.dy = ck_image(memory, in_place ? CK_INOUT : CK_IN, KN_SLOT_WORK, dtype, gap / 2, dim);
    a.dx = in_place ? a.dy : ck_image(memory, CK_OUT, KN_SLOT_WORK, dtype, 0, dim);
    ck_check(memory, KN_OP_RELU_BACKWARD, &a, CK_EXACT);
    ck_memory_free(memory);
}

void ck_test_relu_backward(struct ck *ck) {
    static const int64_t size[][2] = {{3, 7}, {1, 1}, {13, 32}, {40, 64}};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};

    for (size_t s = 0; s < CK_COUNT(size); s++)
        for (int i = 0; i < 24; i++)
            one(ck, 1 + i / 12, size[s][0], size[s][1], type[i % 3], i / 3 % 2, i / 6 % 2 * 6);
}

bool ck_sabotage_relu_backward(struct kn_relu_backward_args *a, int way) {
    struct kn_tensor y = a->y;

    if (way > 0 || a->dx.offset_bytes == a->dy.offset_bytes)
        return false;
    a->y = a->dy;
    a->dy = y;
    return true;
}

/* The residual of a 1x1 convolution goes straight into its ReLU. */
static void grad_one(struct ck *ck, int64_t frames, int64_t h, int64_t w, int64_t C) {
    const int64_t dim[] = {frames, h, w, C}, weight[] = {C, C, 1, 1};
    struct ck_memory *memory;
    struct kn_conv_args a = {.relu = true};
    struct kn_relu_backward_args b = {{0}};
    struct ck_grad grad = {.kinks = true};

    if (!ck_begin(ck, "relu_backward (%d,%d,%d,%d)", (int)frames, (int)h, (int)w, (int)C))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 0, dim);
    a.residual = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 2, dim);
    a.weight = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 4, weight);
    a.out = b.y = grad.out = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 3, dim);
    b.dy = grad.dout = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 1, dim);
    b.dx = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 0, dim);
    ck_grad_forward(&grad, KN_OP_CONV, &a);
    ck_grad_backward(&grad, KN_OP_RELU_BACKWARD, &b);
    ck_grad_input(&grad, &a.residual, &b.dx);
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}

void ck_grad_relu_backward(struct ck *ck) {
    grad_one(ck, 1, 3, 5, 4);
    grad_one(ck, 3, 1, 1, 7);
    grad_one(ck, 2, 7, 3, 2);
}

void ck_bench_relu_backward(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        const int64_t dim[] = {32, 32, 32, p->channels};
        struct kn_relu_backward_args a;
        struct ck_memory *memory;
        if (!p->name)
            continue;
        memory = ck_memory_new(ck);
        a.y = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, dim);
        a.dy = a.dx = ck_image(memory, CK_INOUT, KN_SLOT_WORK, KN_F32, 0, dim);
        ck_bench(memory, p->name, KN_OP_RELU_BACKWARD, &a,
                 (struct ck_work){.bytes = 12. * (double)(dim[0] * dim[1] * dim[2] * dim[3])});
        ck_memory_free(memory);
    }
}
