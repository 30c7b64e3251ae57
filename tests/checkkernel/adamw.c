/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* AdamW: groups, types of the moments, its first steps in closed form, rounding that is fair. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct kn_adamw usual = {
    .rate = {1e-3f, 0, 1e-2f, 3e-4f, 0, 1, 1e-4f, 2e-3f},
    .decay = {0.1f, 0.1f, 0, 0.01f, 0, 0.5f, 0, 1},
    .beta1 = 0.9f,
    .beta2 = 0.99f,
    .epsilon = 1e-8f,
    .correction1 = 1 - 0.9f * 0.9f * 0.9f,
    .correction2 = 1 - 0.99f * 0.99f * 0.99f,
    .scale = 0.75f,
    .average = 0.995f,
    .step = 3,
};

static struct kn_tensor settings(struct ck_memory *memory, const struct kn_adamw *s) {
    const int64_t one[KN_MAX_RANK] = {1};
    struct kn_tensor t = kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_U8, 1, one);

    t.offset_bytes = ck_reserve(memory, KN_SLOT_CONTROL, sizeof *s, false);
    memcpy(memory->image[KN_SLOT_CONTROL].bytes + t.offset_bytes, s, sizeof *s);
    return t;
}

/* Squares are kept in second, so it has no sign. */
static void make_positive(struct ck_memory *memory, const struct kn_tensor *t) {
    for (int64_t i = 0; i < t->dim[0]; i++) {
        uint8_t *last = ck_at(memory, t, i, 0, 0, 0);
        last[kn_dtype_bytes(t->dtype) - 1] &= 0x7f;
    }
}

static struct kn_adamw_args operands(struct ck_memory *memory, int64_t n, enum kn_dtype moments,
                                     bool averaged, const struct kn_adamw *s) {
    const int64_t groups = n / KN_ADAMW_RUN;
    struct kn_adamw_args a = {{0}};

    memory->bound = true;
    a.first = ck_tensor(memory, CK_INOUT, KN_SLOT_OPTIMIZER, moments, 0, 1, &n);
    a.param = ck_tensor(memory, CK_INOUT, KN_SLOT_WEIGHTS, KN_F32, 0, 1, &n);
    a.grad = ck_tensor(memory, CK_IN, KN_SLOT_GRADS, KN_F32, 0, 1, &n);
    a.second = ck_tensor(memory, CK_INOUT, KN_SLOT_OPTIMIZER, moments, 0, 1, &n);
    if (averaged)
        a.averaged = ck_tensor(memory, CK_INOUT, KN_SLOT_OPTIMIZER, KN_F32, 0, 1, &n);
    a.group = ck_tensor(memory, CK_IN, KN_SLOT_OPTIMIZER, KN_U8, 0, 1, &groups);
    a.control = settings(memory, s);
    make_positive(memory, &a.second);
    for (int64_t i = 0; i < groups; i++)
        *(uint8_t *)ck_at(memory, &a.group, i, 0, 0, 0) &= KN_ADAMW_GROUPS - 1;
    return a;
}

static void one(struct ck *ck, int64_t n, enum kn_dtype moments, bool averaged, bool small) {
    struct ck_memory *memory;
    struct kn_adamw_args a;

    if (!ck_begin(ck, "adamw of %d, moments %s%s%s", (int)n, kn_dtype_name(moments),
                  averaged ? ", averaged" : "", small ? ", small gradients" : ""))
        return;
    memory = ck_memory_new(ck);
    a = operands(memory, n, moments, averaged, &usual);
    for (int64_t i = 0; small && i < n; i++)
        *(float *)ck_at(memory, &a.grad, i, 0, 0, 0) *= 1e-12f;
    ck_check(memory, KN_OP_ADAMW, &a, CK_F32);
    ck_memory_free(memory);
}

/* ----------------------------------------------------------------------------------- properties */

static void fill(struct ck_memory *memory, const struct kn_tensor *t, float value) {
    for (int64_t i = 0; i < t->dim[0]; i++)
        if (t->dtype == KN_F32)
            *(float *)ck_at(memory, t, i, 0, 0, 0) = value;
        else
            *(uint16_t *)ck_at(memory, t, i, 0, 0, 0) = 0;
}

/* All parameters 0.5 in one group, with the same gradient and no past. */
static struct kn_adamw_args plain(struct ck_memory *memory, int64_t n, enum kn_dtype moments,
                                  int group, float grad) {
    struct kn_adamw_args a = operands(memory, n, moments, false, &usual);

    fill(memory, &a.param, 0.5f);
    fill(memory, &a.grad, grad);
    fill(memory, &a.first, 0);
    fill(memory, &a.second, 0);
    memset(ck_at(memory, &a.group, 0, 0, 0, 0), group, (size_t)a.group.dim[0]);
    return a;
}

/* Runs a step and keeps what it leaves for the next one. */
static bool step(struct ck_memory *memory, const struct kn_adamw_args *a) {
    const struct kn_tensor *const kept[] = {&a->param, &a->first, &a->second};
    double *after[3];
    bool ok = true;

    for (int k = 0; k < 3; k++)
        ok &= (after[k] = ck_outcome(memory, KN_OP_ADAMW, a, kept[k])) != NULL;
    for (int k = 0; k < 3; k++) {
        for (int64_t i = 0; ok && i < kept[k]->dim[0]; i++)
            *(float *)ck_at(memory, kept[k], i, 0, 0, 0) = (float)after[k][i];
        free(after[k]);
    }
    return ok;
}

/*
 * With the same gradient at every step the corrected moments are the gradient and its square, so a
 * step is p = (1 - r d) p - r g / (|g| + epsilon).
 */
static void closed_form(struct ck *ck, float grad) {
    struct ck_memory *memory;
    struct kn_adamw_args a;
    struct kn_adamw s = usual;
    double want = 0.5, g = (double)s.scale * (double)grad, r = (double)s.rate[3];

    if (!ck_begin(ck, "adamw: first steps in closed form, gradient %g", (double)grad))
        return;
    memory = ck_memory_new(ck);
    a = plain(memory, 256, KN_F32, 3, grad);
    for (s.step = 1; s.step <= 6; s.step++) {
        s.correction1 = (float)(1 - pow((double)s.beta1, s.step));
        s.correction2 = (float)(1 - pow((double)s.beta2, s.step));
        memcpy(memory->image[KN_SLOT_CONTROL].bytes + a.control.offset_bytes, &s, sizeof s);
        want = (1 - r * (double)s.decay[3]) * want - r * g / (fabs(g) + (double)s.epsilon);
        if (!step(memory, &a))
            break;
        for (int64_t i = 0; i < 256; i++) {
            double param = (double)*(float *)ck_at(memory, &a.param, i, 0, 0, 0);
            ck_want(ck, fabs(param - want) <= 1e-6 * s.step * 0.1,
                    "step %d: parameter %d is %.9g, should be %.9g", (int)s.step, (int)i, param,
                    want);
        }
    }
    ck_memory_free(memory);
}

/* A rate of 0 leaves parameters, moments and average as they are, bit for bit. */
static void left_alone(struct ck *ck, enum kn_dtype moments) {
    struct ck_memory *memory;
    struct kn_adamw_args a;

    if (!ck_begin(ck, "adamw: a rate of 0, moments %s", kn_dtype_name(moments)))
        return;
    memory = ck_memory_new(ck);
    a = operands(memory, 192, moments, true, &usual);
    memset(ck_at(memory, &a.group, 0, 0, 0, 0), 1, 3);
    const struct kn_tensor *const kept[] = {&a.param, &a.first, &a.second, &a.averaged};
    for (int k = 0; k < 4; k++) {
        double *after = ck_outcome(memory, KN_OP_ADAMW, &a, kept[k]), *moved;
        int changed = 0;
        *(uint8_t *)ck_at(memory, &a.group, 0, 0, 0, 0) = 3;
        moved = ck_outcome(memory, KN_OP_ADAMW, &a, kept[k]);
        *(uint8_t *)ck_at(memory, &a.group, 0, 0, 0, 0) = 1;
        for (int64_t i = 0; after && moved && i < 192; i++) {
            uint64_t at = kept[k]->offset_bytes + (uint64_t)i * kn_dtype_bytes(kept[k]->dtype);
            struct ck_region one = {.offset = at, .dtype = kept[k]->dtype};
            double was = ck_value(&one, memory->image[kept[k]->slot].bytes, 0);
            ck_want(ck, after[i] == was, "tensor %d: %g became %g", k, was, after[i]);
            changed += moved[i] != was;
        }
        /* the first 64 do change in a group that has a rate, but for what rounding keeps */
        ck_want(ck, changed > 32 && changed <= 64, "tensor %d: %d values changed", k, changed);
        free(after);
        free(moved);
    }
    ck_memory_free(memory);
}

/* Moments of 16 bit are right on average, and otherwise rounded in the next step. */
static void fair_rounding(struct ck *ck) {
    const int64_t n = 64 * 512;
    const double g = 0.75 * (double)0.0123f, first = 0.1 * g, second = 0.01 * g * g;
    struct ck_memory *memory;
    struct kn_adamw_args a;
    double *v[3], same = 0;

    if (!ck_begin(ck, "adamw: 16 bit moments are rounded fairly"))
        return;
    memory = ck_memory_new(ck);
    a = plain(memory, n, KN_BF16, 3, 0.0123f);
    v[0] = ck_outcome(memory, KN_OP_ADAMW, &a, &a.first);
    v[1] = ck_outcome(memory, KN_OP_ADAMW, &a, &a.second);
    ((struct kn_adamw *)(void *)(memory->image[KN_SLOT_CONTROL].bytes + a.control.offset_bytes))
        ->step++;
    v[2] = ck_outcome(memory, KN_OP_ADAMW, &a, &a.first);
    if (v[0] && v[1] && v[2]) {
        double mean[2] = {0}, together = 0;
        for (int64_t i = 0; i < n; i++) {
            for (int k = 0; k < 2; k++)
                mean[k] += v[k][i] / (double)n;
            same += v[0][i] == v[2][i];
        }
        for (int64_t i = 0; i < n; i++)
            together += (v[0][i] - mean[0]) * (v[1][i] - mean[1]) / (double)n;
        /* one unit is at most 2^-7 of the value; 5 sigma of the mean of n two-valued numbers */
        ck_want(ck, fabs(mean[0] / first - 1) <= 0x1p-7 / 2 * 5 / sqrt((double)n),
                "mean of the first moment %.9g, should be %.9g", mean[0], first);
        ck_want(ck, fabs(mean[1] / second - 1) <= 0x1p-7 / 2 * 5 / sqrt((double)n),
                "mean of the second moment %.9g, should be %.9g", mean[1], second);
        ck_want(ck, fabs(together) <= first * second * 0x1p-16 * 5 / sqrt((double)n),
                "the moments are rounded together");
        ck_want(ck, same < 0.95 * (double)n, "%g of %d values are rounded as before", same, (int)n);
    }
    for (int k = 0; k < 3; k++)
        free(v[k]);
    ck_memory_free(memory);
}

/* Groups that do not exist fail the run and not the process. */
static void refusal(struct ck *ck) {
    struct ck quiet = *ck;
    struct ck_memory *memory;
    struct kn_adamw_args a;
    double *after;

    if (!ck_begin(ck, "adamw refuses group 8"))
        return;
    quiet.quiet = true;
    memory = ck_memory_new(&quiet);
    a = plain(memory, 128, KN_F32, 0, 1);
    *(uint8_t *)ck_at(memory, &a.group, 1, 0, 0, 0) = KN_ADAMW_GROUPS;
    after = ck_outcome(memory, KN_OP_ADAMW, &a, &a.param);
    ck_want(ck, !after, "the run succeeded");
    free(after);
    ck_memory_free(memory);
}

void ck_test_adamw(struct ck *ck) {
    static const int64_t counts[] = {640, 64, 4096 + 64, 20032};

    for (size_t i = 0; i < CK_COUNT(counts); i++)
        for (int k = 0; k < 8; k++)
            one(ck, counts[i], k % 2 ? KN_BF16 : KN_F32, k / 2 % 2, k / 4);
    closed_form(ck, 0.02f);
    closed_form(ck, -3);
    left_alone(ck, KN_F32);
    left_alone(ck, KN_BF16);
    fair_rounding(ck);
    refusal(ck);
}

bool ck_sabotage_adamw(struct kn_adamw_args *a, int way) {
    const struct kn_tensor first = a->first;

    switch (way) {
    case 0:
        if (a->averaged.rank == 0)
            return false;
        a->averaged.rank = 0;
        return true;
    case 1:
        a->first = a->second;
        a->second = first;
        return true;
    default:
        return false;
    }
}

void ck_bench_adamw(struct ck *ck) {
    const int64_t n = 1 << 20;

    for (int half = 0; half < 2; half++) {
        struct ck_memory *memory = ck_memory_new(ck);
        struct kn_adamw_args a = operands(memory, n, half ? KN_BF16 : KN_F32, true, &usual);
        memset(ck_at(memory, &a.group, 0, 0, 0, 0), 3, (size_t)a.group.dim[0]);
        ck_bench(memory, half ? "2^20 parameters, bfloat16 moments" : "2^20 parameters",
                 KN_OP_ADAMW, &a, (struct ck_work){.bytes = (half ? 28. : 36.) * (double)n});
        ck_memory_free(memory);
    }
}
