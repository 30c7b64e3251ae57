/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Linear layers: shapes, types, strided rows, bias and residual. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>

struct shape {
    int64_t M, N, K;
};

static void one(struct ck *ck, const struct shape *s, enum kn_dtype from, enum kn_dtype to) {
    const int64_t x[] = {s->M, s->K}, w[] = {s->N, s->K}, out[] = {s->M, s->N};
    int64_t pad = ck_below(ck, 2) ? 0 : 1 + ck_below(ck, 9), more = ck_below(ck, 2) ? 0 : 4;
    bool bias = ck_below(ck, 3) != 0, residual = ck_below(ck, 2), in_place = ck_below(ck, 2);
    bool rounded = from == KN_F32 || ck_below(ck, 4) != 0, bound = ck_below(ck, 3) == 0;
    struct kn_linear_args a = {0};
    struct ck_memory *memory;

    if (!ck_begin(ck, "linear (%d,%d) to %d, %s to %s%s%s%s, pads %d %d", (int)s->M, (int)s->K,
                  (int)s->N, kn_dtype_name(from), kn_dtype_name(to), bias ? ", bias" : "",
                  !residual  ? ""
                  : in_place ? ", residual in place"
                             : ", residual",
                  bound ? ", bound" : "", (int)pad, (int)more))
        return;
    memory = ck_memory_new(ck);
    memory->bound = bound;
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, from, pad, 2, x);
    a.weight = ck_weight(memory, 1 / sqrt((double)s->K), 2, w);
    if (rounded)
        ck_round(memory, &a.weight, from);
    if (bias)
        a.bias = ck_weight(memory, 1, 1, &s->N);
    a.out =
        ck_tensor(memory, residual && in_place ? CK_INOUT : CK_OUT, KN_SLOT_WORK, to, more, 2, out);
    if (residual)
        a.residual = in_place ? a.out : ck_tensor(memory, CK_IN, KN_SLOT_WORK, to, pad / 2, 2, out);
    ck_check(memory, KN_OP_LINEAR, &a, rounded ? CK_F32 : CK_PACKED);
    ck_memory_free(memory);
}

void ck_test_linear(struct ck *ck) {
    static const struct shape shapes[] = {
        {3, 5, 7},     {1, 1, 1},    {1, 17, 64},    {17, 1, 33},   {64, 130, 64}, {5, 244, 64},
        {31, 64, 512}, {8, 512, 64}, {13, 436, 128}, {3, 33, 4096}, {129, 16, 16}, {2, 128, 1},
    };
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};

    for (int round = 0; round < 3; round++)
        for (size_t s = 0; s < CK_COUNT(shapes); s++)
            for (size_t i = 0; i < 9; i++)
                one(ck, &shapes[s], type[i % 3], type[i / 3]);
}

bool ck_sabotage_linear(struct kn_linear_args *a, int way) {
    switch (way) {
    case 0:
        if (a->bias.rank == 0)
            return false;
        a->bias.rank = 0;
        return true;
    case 1:
        if (a->residual.rank == 0)
            return false;
        a->residual.rank = 0;
        return true;
    case 2:
        a->weight.offset_bytes += sizeof(float);
        return true;
    default:
        return false;
    }
}

/* ----------------------------------------------------------------------------------- benchmark */

struct layer {
    const char *name;
    int64_t N, K;
    bool bias, residual;
};

static void bench_layer(struct ck *ck, const struct ck_preset *p, const struct layer *l,
                        enum kn_dtype dtype) {
    const int64_t M = p->height / p->patch * (p->width / p->patch);
    const int64_t x[] = {M, l->K}, w[] = {l->N, l->K}, out[] = {M, l->N};
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_linear_args a = {0};
    char label[80];

    snprintf(label, sizeof label, "%s %s (%d,%d) to %d %s", p->name, l->name, (int)M, (int)l->K,
             (int)l->N, kn_dtype_name(dtype));
    a.x = ck_tensor(memory, CK_IN, KN_SLOT_WORK, dtype, 0, 2, x);
    a.weight = ck_weight(memory, 0.05, 2, w);
    if (l->bias)
        a.bias = ck_weight(memory, 1, 1, &l->N);
    a.out = ck_tensor(memory, l->residual ? CK_INOUT : CK_OUT, KN_SLOT_WORK, KN_F32, 0, 2, out);
    if (l->residual)
        a.residual = a.out;
    ck_bench(memory, label, KN_OP_LINEAR, &a,
             (struct ck_work){.flops = 2. * (double)M * (double)l->N * (double)l->K});
    ck_memory_free(memory);
}

void ck_bench_linear(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        int64_t token = p->patch * p->patch * p->latents, d = p->dim;
        const struct layer layers[] = {
            {"model.in", d, token, true, false},
            {"fenwick qkv, gate, level, z", 4 * d + p->heads * (1 + p->levels), d, true, false},
            {"mesa qkv, gate, beta, z", 4 * d + 2 * p->heads, d, true, false},
            {"o", d, d, true, true},
            {"model.out", token, d, true, false},
        };
        for (size_t l = 0; p->name && l < CK_COUNT(layers); l++) {
            bench_layer(ck, p, &layers[l], KN_F32);
            bench_layer(ck, p, &layers[l], KN_BF16);
        }
    }
}
