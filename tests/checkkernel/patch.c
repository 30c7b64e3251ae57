/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Latents to tokens and back: copies and one sum. */
#include "checkkernel.h"

#include <stdio.h>

struct shape {
    int64_t frames, rows, columns, channels, patch; /* rows and columns of patches */
};

static const struct shape shapes[] = {
    {1, 2, 3, 5, 2}, {1, 1, 1, 1, 1}, {2, 3, 1, 16, 4},  {1, 1, 5, 32, 4}, {3, 2, 2, 3, 3},
    {1, 1, 2, 7, 8}, {2, 4, 3, 8, 1}, {1, 1, 1, 32, 32}, {1, 5, 7, 64, 4},
};

static void dims(const struct shape *s, int64_t latents[4], int64_t tokens[2]) {
    latents[0] = s->frames;
    latents[1] = s->rows * s->patch;
    latents[2] = s->columns * s->patch;
    latents[3] = s->channels;
    tokens[0] = s->frames * s->rows * s->columns;
    tokens[1] = s->patch * s->patch * s->channels;
}

static const enum kn_dtype types[] = {KN_F32, KN_BF16, KN_F16};

static void one_gather(struct ck *ck, const struct shape *s, enum kn_dtype to, int64_t pad) {
    struct kn_gather_args a = {.patch = s->patch};
    struct ck_memory *memory;
    int64_t latents[4], tokens[2];

    if (!ck_begin(ck, "gather %d frames of %dx%d patches of %d, %d channels, to %s, pad %d",
                  (int)s->frames, (int)s->rows, (int)s->columns, (int)s->patch, (int)s->channels,
                  kn_dtype_name(to), (int)pad))
        return;
    memory = ck_memory_new(ck);
    dims(s, latents, tokens);
    a.z = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, latents);
    a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, pad, 2, tokens);
    ck_check(memory, KN_OP_GATHER, &a, CK_EXACT);
    ck_memory_free(memory);
}

void ck_test_gather(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (size_t t = 0; t < CK_COUNT(types); t++)
            for (int64_t pad = 0; pad <= 3; pad += 3)
                one_gather(ck, &shapes[s], types[t], pad);
}

static void one_scatter(struct ck *ck, const struct shape *s, bool in_place, int half,
                        int64_t pad) {
    struct kn_scatter_args a = {.patch = s->patch};
    struct ck_memory *memory;
    int64_t latents[4], tokens[2];

    if (!ck_begin(ck, "scatter %d frames of %dx%d patches of %d, %d channels%s, half %d, pad %d",
                  (int)s->frames, (int)s->rows, (int)s->columns, (int)s->patch, (int)s->channels,
                  in_place ? ", in place" : "", half, (int)pad))
        return;
    memory = ck_memory_new(ck);
    dims(s, latents, tokens);
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, pad, 2, tokens);
    a.z = ck_image(memory, in_place ? CK_INOUT : CK_IN, KN_SLOT_WORK, KN_F32, 0, latents);
    a.out = in_place ? a.z : ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 0, latents);
    if (half)
        a.half = ck_image(memory, CK_OUT, KN_SLOT_WORK, types[half], 0, latents);
    ck_check(memory, KN_OP_SCATTER, &a, CK_F32);
    ck_memory_free(memory);
}

void ck_test_scatter(struct ck *ck) {
    for (size_t s = 0; s < CK_COUNT(shapes); s++)
        for (int i = 0; i < 6; i++)
            one_scatter(ck, &shapes[s], i / 3, i % 3, i % 2 ? 5 : 0);
}

bool ck_sabotage_gather(struct kn_gather_args *a, int way) {
    if (way > 0)
        return false;
    a->z.offset_bytes += sizeof(float); /* everything comes from the place beside it */
    return true;
}

bool ck_sabotage_scatter(struct kn_scatter_args *a, int way) {
    switch (way) {
    case 0:
        if (a->half.rank == 0)
            return false;
        a->half.rank = 0;
        return true;
    case 1:
        a->x.offset_bytes += sizeof(float);
        return true;
    default:
        return false;
    }
}

/* ----------------------------------------------------------------------------------- benchmark */

void ck_bench_gather(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++)
        for (int half = 0; half < 2 && p->name; half++) {
            const struct shape s = {1, p->height / p->patch, p->width / p->patch, p->latents,
                                    p->patch};
            struct kn_gather_args a = {.patch = s.patch};
            struct ck_memory *memory = ck_memory_new(ck);
            enum kn_dtype to = half ? KN_BF16 : KN_F32;
            int64_t latents[4], tokens[2];
            char label[40];
            snprintf(label, sizeof label, "%s to %s", p->name, kn_dtype_name(to));
            dims(&s, latents, tokens);
            a.z = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, latents);
            a.out = ck_tensor(memory, CK_OUT, KN_SLOT_WORK, to, 0, 2, tokens);
            ck_bench(memory, label, KN_OP_GATHER, &a,
                     (struct ck_work){.bytes = (double)(tokens[0] * tokens[1]) *
                                               (4 + (double)kn_dtype_bytes(to))});
            ck_memory_free(memory);
        }
}

void ck_bench_scatter(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++)
        for (int half = 0; half < 2 && p->name; half++) {
            const struct shape s = {1, p->height / p->patch, p->width / p->patch, p->latents,
                                    p->patch};
            struct kn_scatter_args a = {.patch = s.patch};
            struct ck_memory *memory = ck_memory_new(ck);
            int64_t latents[4], tokens[2];
            char label[40];
            snprintf(label, sizeof label, "%s%s", p->name, half ? ", bfloat16 besides" : "");
            dims(&s, latents, tokens);
            a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, 2, tokens);
            a.z = ck_image(memory, CK_IN, KN_SLOT_WORK, KN_F32, 0, latents);
            a.out = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F32, 0, latents);
            if (half)
                a.half = ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_BF16, 0, latents);
            ck_bench(memory, label, KN_OP_SCATTER, &a,
                     (struct ck_work){.bytes = (double)(tokens[0] * tokens[1]) * (12 + 2. * half)});
            ck_memory_free(memory);
        }
}
