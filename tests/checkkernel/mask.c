/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Masks of missing frames and their gradient. */
#include "checkkernel.h"

struct shape {
    int64_t frames, height, width, channels;
};

static const struct shape shapes[] = {
    {3, 4, 5, 32}, {1, 1, 1, 1}, {7, 3, 2, 17}, {2, 33, 9, 8}, {16, 4, 4, 48}};

/* every: the frames 0, every, 2 every ... are missing; 0: none. */
static struct kn_tensor missing(struct ck_memory *memory, int64_t frames, int64_t every) {
    struct kn_tensor t = ck_tensor(memory, CK_IN, KN_SLOT_CONTROL, KN_F32, 0, 1, &frames);

    for (int64_t f = 0; f < frames; f++)
        *(float *)ck_at(memory, &t, f, 0, 0, 0) = every > 0 && f % every == 0;
    return t;
}

static void one(struct ck *ck, const struct shape *s, int64_t every, bool same) {
    const int64_t dim[] = {s->frames, s->height, s->width, s->channels};
    struct kn_mask_args a;
    struct ck_memory *memory;

    if (!ck_begin(ck, "mask (%d,%d,%d,%d), missing every %d%s", (int)dim[0], (int)dim[1],
                  (int)dim[2], (int)dim[3], (int)every, same ? ", in place" : ""))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_image(memory, same ? CK_INOUT : CK_IN, KN_SLOT_WORK, KN_F32, 3, dim);
    a.mask = ck_weight(memory, 1, 1, &dim[3]);
    a.missing = missing(memory, dim[0], every);
    a.out = same ? a.x : ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 5, dim);
    ck_check(memory, KN_OP_MASK, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_mask(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (int64_t every = 0; every < 4; every++)
            for (int same = 0; same < 2; same++)
                one(ck, &shapes[s], every, same);
}

bool ck_sabotage_mask(struct kn_mask_args *a, int way) {
    if (way > 0 || a->missing.dim[0] == 1)
        return false;
    a->x.dim[0]--;
    a->out.dim[0]--;
    a->missing.dim[0]--;
    return true;
}

void ck_bench_mask(struct ck *ck) {
    const int64_t dim[] = {32, 32, 32, 32};
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_mask_args a;

    a.x = a.out = ck_image(memory, CK_INOUT, KN_SLOT_WORK, KN_F32, 0, dim);
    a.mask = ck_weight(memory, 1, 1, &dim[3]);
    a.missing = missing(memory, dim[0], 4);
    ck_bench(memory, "4 clips of 8 frames of 64 x 64, 32 latents", KN_OP_MASK, &a,
             (struct ck_work){.bytes = 8. * 32 * 32 * 32 * 32});
    ck_memory_free(memory);
}

/* ------------------------------------------------------------------------------------- backward */

static struct kn_mask_backward_args operands(struct ck_memory *memory, const struct shape *s,
                                             int64_t every) {
    const int64_t dim[] = {s->frames, s->height, s->width, s->channels};
    struct kn_mask_backward_args a;

    a.dy = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F32, 3, dim);
    a.missing = missing(memory, dim[0], every);
    a.dmask = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F32, 0, 1, &dim[3]);
    return a;
}

void ck_test_mask_backward(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (int64_t every = 0; every < 4; every++) {
            struct ck_memory *memory;
            struct kn_mask_backward_args a;
            if (!ck_begin(ck, "mask_backward (%d,%d,%d,%d), missing every %d",
                          (int)shapes[s].frames, (int)shapes[s].height, (int)shapes[s].width,
                          (int)shapes[s].channels, (int)every))
                continue;
            memory = ck_memory_new(ck);
            a = operands(memory, &shapes[s], every);
            ck_check(memory, KN_OP_MASK_BACKWARD, &a, CK_F32);
            ck_memory_free(memory);
        }
}

bool ck_sabotage_mask_backward(struct kn_mask_backward_args *a, int way) {
    if (way > 0 || a->missing.dim[0] == 1)
        return false;
    a->dy.dim[0] = a->missing.dim[0] = 1;
    return true;
}

void ck_bench_mask_backward(struct ck *ck) {
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_mask_backward_args a = operands(memory, &(struct shape){32, 32, 32, 32}, 4);

    ck_bench(memory, "4 clips of 8 frames of 64 x 64, 32 latents", KN_OP_MASK_BACKWARD, &a,
             (struct ck_work){.bytes = 4. * 8 * 32 * 32 * 32});
    ck_memory_free(memory);
}

void ck_grad_mask_backward(struct ck *ck) {
    const int64_t dim[] = {5, 3, 4, 6};
    struct ck_memory *memory;
    struct kn_mask_args a;
    struct kn_mask_backward_args b;
    struct ck_grad grad = {0};

    if (!ck_begin(ck, "mask (5,3,4,6), two frames missing"))
        return;
    memory = ck_memory_new(ck);
    a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 3, dim);
    a.mask = ck_tensor(memory, CK_IN, KN_SLOT_WEIGHTS, KN_F64, 0, 1, &dim[3]);
    a.missing = b.missing = missing(memory, dim[0], 3);
    a.out = grad.out = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F64, 0, dim);
    b.dy = grad.dout = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F64, 1, dim);
    b.dmask = ck_tensor(memory, CK_INOUT, KN_SLOT_GRADS, KN_F64, 0, 1, &dim[3]);
    ck_grad_forward(&grad, KN_OP_MASK, &a);
    ck_grad_backward(&grad, KN_OP_MASK_BACKWARD, &b);
    ck_grad_input(&grad, &a.mask, &b.dmask);
    ck_grad_check(memory, &grad);
    ck_memory_free(memory);
}
