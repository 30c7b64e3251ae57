/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Convolutions: shapes, types, and random combinations of everything optional. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>

struct variant {
    int64_t frames, kernel, gap;
    bool past, reset, bias, residual, in_place, relu, rounded, bound;
};

static struct variant choose(struct ck *ck) {
    struct variant v = {
        .frames = ck_below(ck, 3) ? 1 : 2 + ck_below(ck, 2),
        .kernel = ck_below(ck, 4) ? 3 : 1,
        .gap = ck_below(ck, 4) ? 0 : 1 + ck_below(ck, 8),
        .past = ck_below(ck, 2),
        .reset = ck_below(ck, 2),
        .bias = ck_below(ck, 4) != 0,
        .residual = ck_below(ck, 2),
        .in_place = ck_below(ck, 2),
        .relu = ck_below(ck, 2),
        .rounded = ck_below(ck, 4) != 0,
        .bound = ck_below(ck, 3) == 0,
    };

    v.reset = v.reset && v.past && v.frames == 1;
    v.in_place = v.in_place && v.residual;
    return v;
}

/* x and the same one frame back: neighbours in memory for a clip, two slots for a stream. */
static void add_inputs(struct ck_memory *memory, struct kn_conv_args *a, const struct variant *v,
                       enum kn_dtype dtype, const int64_t *dim) {
    const int64_t longer[] = {dim[0] + 1, dim[1], dim[2], dim[3]};

    if (!v->past) {
        a->x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, v->gap, dim);
    } else if (v->frames == 1) {
        a->x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, v->gap, dim);
        a->past = ck_image(memory, CK_IN, KN_SLOT_PAST, dtype, v->gap, dim);
    } else {
        a->x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, v->gap, longer);
        a->x.dim[0]--;
        a->past = a->x;
        a->x.offset_bytes += (uint64_t)a->x.stride[0] * kn_dtype_bytes(dtype);
    }
    if (v->past && v->frames == 1 && (v->reset || ck_below(memory->ck, 2)))
        a->control = ck_control(memory, v->reset);
}

static void add_outputs(struct ck_memory *memory, struct kn_conv_args *a, const struct variant *v,
                        enum kn_dtype dtype, const int64_t *dim) {
    a->out = ck_image(memory, v->in_place ? CK_INOUT : CK_OUT, KN_SLOT_WORK, dtype, v->gap, dim);
    if (v->in_place)
        a->residual = a->out;
    else if (v->residual)
        a->residual = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, 0, dim);
}

static void one(struct ck *ck, int64_t h, int64_t w, int64_t I, int64_t O, enum kn_dtype from,
                enum kn_dtype to) {
    struct variant v = choose(ck);
    const int64_t in[] = {v.frames, h, w, I}, out[] = {v.frames, h, w, O};
    const int64_t weight[] = {O, v.past ? 2 * I : I, v.kernel, v.kernel};
    double taps = (double)(weight[1] * v.kernel * v.kernel);
    struct kn_conv_args a = {.relu = v.relu};
    struct ck_memory *memory;

    if (!ck_begin(ck, "conv %dx%d of (%d,%d,%d,%d) to %d, %s to %s%s%s%s%s%s%s%s, gap %d",
                  (int)v.kernel, (int)v.kernel, (int)in[0], (int)h, (int)w, (int)I, (int)O,
                  kn_dtype_name(from), kn_dtype_name(to), v.past ? ", past" : "",
                  v.reset ? ", reset" : "", v.bias ? ", bias" : "", v.residual ? ", residual" : "",
                  v.in_place ? " in place" : "", v.relu ? ", relu" : "", v.bound ? ", bound" : "",
                  (int)v.gap))
        return;
    memory = ck_memory_new(ck);
    memory->bound = v.bound;
    add_inputs(memory, &a, &v, from, in);
    a.weight = ck_weight(memory, 1 / sqrt(taps), 4, weight);
    if (v.rounded)
        ck_round(memory, &a.weight, from);
    if (v.bias)
        a.bias = ck_weight(memory, 1, 1, &O);
    add_outputs(memory, &a, &v, to, out);
    ck_check(memory, KN_OP_CONV, &a, v.rounded || from == KN_F32 ? CK_F32 : CK_PACKED);
    ck_memory_free(memory);
}

void ck_test_conv(struct ck *ck) {
    static const int64_t size[][2] = {{3, 5}, {1, 1}, {1, 9}, {7, 1}, {13, 17}, {24, 32}};
    static const int64_t channels[][2] = {{12, 32}, {32, 32}, {1, 1},  {64, 12},
                                          {32, 64}, {5, 7},   {16, 16}};
    static const enum kn_dtype type[] = {KN_F32, KN_BF16, KN_F16};

    for (size_t s = 0; s < CK_COUNT(size); s++)
        for (size_t c = 0; c < CK_COUNT(channels); c++)
            for (size_t i = 0; i < 9; i++)
                one(ck, size[s][0], size[s][1], channels[c][0], channels[c][1], type[i % 3],
                    type[i / 3]);
}

bool ck_sabotage_conv(struct kn_conv_args *a, int way) {
    switch (way) {
    case 0:
        a->relu = !a->relu;
        return true;
    case 1:
        if (a->bias.rank == 0)
            return false;
        a->bias.rank = 0;
        return true;
    case 2:
        if (a->residual.rank == 0)
            return false;
        a->residual.rank = 0;
        return true;
    default:
        if (a->control.rank == 0)
            return false;
        a->control.rank = 0;
        return true;
    }
}

/* ----------------------------------------------------------------------------------- benchmark */

struct layer {
    const char *name;
    int64_t in, out, kernel;
    bool past, residual, relu;
};

static void bench_layer(struct ck *ck, const struct ck_preset *p, const struct layer *l,
                        enum kn_dtype dtype, enum kn_dtype to) {
    const int64_t in[] = {1, p->height, p->width, l->in}, out[] = {1, p->height, p->width, l->out};
    const int64_t weight[] = {l->out, l->past ? 2 * l->in : l->in, l->kernel, l->kernel};
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_conv_args a = {.relu = l->relu};
    char label[80];
    double macs = (double)(p->height * p->width * l->out * weight[1] * l->kernel * l->kernel);

    snprintf(label, sizeof label, "%s %s %s", p->name, l->name, kn_dtype_name(dtype));
    a.x = ck_image(memory, CK_IN, KN_SLOT_WORK, dtype, 0, in);
    if (l->past)
        a.past = ck_image(memory, CK_IN, KN_SLOT_PAST, dtype, 0, in);
    a.weight = ck_weight(memory, 0.05, 4, weight);
    a.bias = ck_weight(memory, 1, 1, &l->out);
    a.out = ck_image(memory, l->residual ? CK_INOUT : CK_OUT, KN_SLOT_WORK, to, 0, out);
    if (l->residual)
        a.residual = a.out;
    ck_bench(memory, label, KN_OP_CONV, &a, (struct ck_work){.flops = 2 * macs});
    ck_memory_free(memory);
}

static void bench_preset(struct ck *ck, const struct ck_preset *p, enum kn_dtype dtype) {
    const int64_t W = p->channels, C = p->latents;
    const struct layer body[] = {
        {"stem", 12, W, 3, false, false, false},
        {"conv1 of M", W, W, 3, true, false, true},
        {"conv1", W, W, 3, false, false, true},
        {"conv2", W, W, 3, false, true, false},
        {"conv2, last of its side", W, W, 3, false, true, true},
        {"from_latent", C, W, 3, false, false, false},
    };
    const struct layer ends[] = {
        {"to_latent", W, C, 3, false, true, false},
        {"to_pixels", W, 12, 3, false, true, false},
    };
    const struct layer skips[] = {
        {"encoder skip", 12, C, 1, false, false, false},
        {"decoder skip", C, 12, 1, false, false, false},
    };

    for (size_t i = 0; i < CK_COUNT(body); i++)
        if (p->memory_blocks || !body[i].past)
            bench_layer(ck, p, &body[i], dtype, dtype);
    for (size_t i = 0; i < CK_COUNT(ends); i++)
        bench_layer(ck, p, &ends[i], dtype, KN_F32);
    for (size_t i = 0; i < CK_COUNT(skips) && dtype == KN_F32; i++)
        bench_layer(ck, p, &skips[i], KN_F32, KN_F32);
}

void ck_bench_conv(struct ck *ck) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++)
        if (p->name) {
            bench_preset(ck, p, KN_F32);
            bench_preset(ck, p, KN_BF16);
        }
}
