/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Cases that the gradients of both attentions share. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention_backward.h"

bool ck_begin_backward(struct ck *ck, const struct ck_shape *shape, enum ck_past kind, int64_t past,
                       const char *what) {
    static const char *const found[] = {"no state", "a state", "a state at its start", "a reset"};

    return ck_begin(ck, "%s, N %d T %d G %d H %d D %d levels %d, %d streams, %s, %s of %d", what,
                    (int)shape->N, (int)shape->T, (int)shape->G, (int)shape->H, (int)shape->D,
                    (int)shape->levels, (int)shape->B, shape->by_frame ? "by frame" : "by sequence",
                    found[kind], kind == CK_CARRIED ? (int)past : 0);
}

void ck_case_backward(struct ck *ck, const struct ck_shape *shape, enum ck_past kind,
                      int64_t past) {
    struct ck_backward *b;

    if (!ck_begin_backward(ck, shape, kind, past, "clip"))
        return;
    b = ck_backward_new(ck, shape, kind, past, KN_F32);
    ck_backward_compare(b);
    ck_backward_free(b);
}

/* ---------------------------------------------------------------------------------- differences */

void ck_case_backward_grad(struct ck *ck, const struct ck_shape *shape, enum ck_past kind,
                           int64_t past) {
    struct ck_grad grad = {0};
    struct ck_backward *b;
    struct kn_node node;
    enum kn_op op;

    if (!ck_begin_backward(ck, shape, kind, past, "differences"))
        return;
    b = ck_backward_new(ck, shape, kind, past, KN_F64);
    ck_backward_scale(b, &b->q, 3); /* steps must be short beside the vectors */
    ck_backward_scale(b, &b->k, 3);
    grad.out = b->out;
    grad.dout = b->dout;
    op = ck_backward_forward(b, &node);
    ck_grad_forward(&grad, op, &node.args);
    op = ck_backward_node(b, &node);
    ck_grad_backward(&grad, op, &node.args);
    ck_grad_input(&grad, &b->q, &b->dq);
    ck_grad_input(&grad, &b->k, &b->dk);
    ck_grad_input(&grad, &b->v, &b->dv);
    ck_grad_input(&grad, &b->gate, &b->dgate);
    ck_grad_input(&grad, &b->extra, &b->dextra);
    if (shape->mesa)
        ck_grad_input(&grad, &b->lambda, &b->dlambda);
    if (ck_backward_state(b, ck->ref))
        ck_grad_check(b->memory, &grad);
    ck_backward_free(b);
}

/* --------------------------------------------------------------------------------------- scales */

/* Relative to the whole gradient. */
static void compare_scaled(struct ck_backward *b, const struct ck_loaded *one,
                           const struct ck_loaded *scaled, double scale) {
    for (int r = 0; r < b->memory->regions; r++) {
        const struct ck_region *region = &b->memory->region[r];
        struct ck_error error = {0};
        if (region->role != CK_OUT && region->role != CK_INOUT)
            continue;
        for (int64_t i = 0; i < ck_region_count(region); i++)
            ck_error_add(&error, ck_value(region, one->bytes[region->image], i),
                         ck_value(region, scaled->bytes[region->image], i) / scale);
        ck_error_check(b->ck, &error, CK_F32, "gradients of a scaled loss");
    }
}

void ck_case_backward_scales(struct ck *ck, bool mesa) {
    static const double scales[] = {1e-6, 1e-3, 0.1, 10, 1e3};
    const struct ck_shape shape = ck_shape_of(mesa, 75, 6, 24, 3);
    struct ck_loaded one = {0}, scaled = {0};
    struct ck_backward *b;

    if (!ck_begin_backward(ck, &shape, CK_CARRIED, 21, "loss scaled"))
        return;
    b = ck_backward_new(ck, &shape, CK_CARRIED, 21, KN_F32);
    if (mesa)
        ck_backward_scale(b, &b->dlambda, 0);
    if (ck_backward_state(b, ck->ref) && ck_backward_solve(b) && ck_backward_state(b, ck->dev) &&
        ck_backward_run(b, ck->dev, false, 0, &one))
        for (size_t i = 0; i < CK_COUNT(scales); i++) {
            ck_backward_scale(b, &b->dout, scales[i]);
            if (ck_backward_run(b, ck->dev, true, 0, &scaled))
                compare_scaled(b, &one, &scaled, scales[i]);
            ck_unload(&scaled);
            ck_backward_scale(b, &b->dout, 1 / scales[i]);
        }
    ck_unload(&one);
    ck_backward_free(b);
}

/* ------------------------------------------------------------------------------------- extremes */

static void mix_gates(struct ck_backward *b) {
    for (int64_t n = 0; n < b->shape.N; n++)
        for (int64_t t = -b->past; t < b->shape.T; t++)
            for (int64_t h = 0; h < b->shape.H; h++) {
                double logit = ck_below(b->ck, 4) ? 40 : ck_below(b->ck, 2) ? -20 : -80;
                ck_backward_set(b, &b->gate, n, t, h, 0, logit);
            }
}

static void equal_keys(struct ck_backward *b, double value) {
    for (int64_t n = 0; n < b->shape.N; n++)
        for (int64_t t = -b->past; t < b->shape.T; t++)
            for (int64_t g = 0; g < b->shape.G; g++)
                for (int64_t i = 0; i < b->shape.D; i++)
                    ck_backward_set(b, &b->k, n, t, g, i, value * (double)(i + 1));
}

void ck_case_backward_extremes(struct ck *ck, bool mesa) {
    static const char *const what[] = {"gates shut", "gates open",   "mixed gates", "equal keys",
                                       "zero keys",  "tiny queries", "huge values"};

    for (int i = 0; i < (int)CK_COUNT(what); i++) {
        const struct ck_shape shape = ck_shape_of(mesa, 150, 12, 32, 0);
        struct ck_backward *b;
        if (!ck_begin_backward(ck, &shape, CK_CARRIED, 40, what[i]))
            continue;
        b = ck_backward_new(ck, &shape, CK_CARRIED, 40, KN_F32);
        if (i < 2)
            ck_backward_draw(b, i ? 80 : -40, 0); /* -80: gradients would be subnormal */
        if (i == 2)
            mix_gates(b);
        if (i == 3 || i == 4)
            equal_keys(b, i == 3 ? 1 : 0);
        if (i == 5)
            ck_backward_scale(b, &b->q, 1e-8);
        if (i == 6)
            ck_backward_scale(b, &b->v, 1e4);
        ck_backward_compare(b);
        ck_backward_free(b);
    }
}

/* -------------------------------------------------------------------------------- time and size */

static double best_of(struct ck_backward *b, struct ck_loaded *loaded, int runs, double *median) {
    struct kn_exec *exec = NULL;
    struct kn_node node;
    enum kn_op op = ck_backward_node(b, &node);
    double best = INFINITY, all[64];

    runs = runs > (int)CK_COUNT(all) ? (int)CK_COUNT(all) : runs;
    exec = ck_compile(loaded, op, &node.args);
    for (int i = 0; exec && i < runs; i++) {
        double from = ck_seconds();
        if (!ck_run(loaded, exec, 0, 0))
            break;
        all[i] = ck_seconds() - from;
        best = fmin(best, all[i]);
    }
    *median = all[runs / 2];
    kn_exec_free(exec);
    return best;
}

static double seconds_of(struct ck *ck, const struct ck_shape *shape, int runs, double *median) {
    struct ck_backward *b = ck_backward_new(ck, shape, CK_NO_STATE, 0, KN_F32);
    struct ck_loaded loaded;
    double best = 0;

    if (ck_load(&loaded, b->memory, ck->dev, false, 0))
        best = best_of(b, &loaded, runs, median);
    ck_unload(&loaded);
    ck_backward_free(b);
    return best;
}

void ck_case_backward_growth(struct ck *ck, bool mesa) {
    struct ck_shape shape = {
        .mesa = mesa, .N = 1, .T = 4096, .G = 2, .H = 2, .D = 32, .levels = 20, .B = 1};
    double first = 0, last = 0, median, limit = 1;

    if (!ck_begin_backward(ck, &shape, CK_NO_STATE, 0, "time and size"))
        return;
    for (; shape.T <= 65536; shape.T *= 2) {
        last = seconds_of(ck, &shape, 5, &median);
        if (ck->verbose)
            printf("    T %d: %.2f ms\n", (int)shape.T, 1e3 * last);
        limit *= first > 0 ? 2.3 : 1;
        first = first > 0 ? first : last;
    }
    /* four doublings at once: other work on the machine disturbs a single one */
    ck_want(ck, last <= limit * first, "16 times as many tokens take %.1f times as long",
            last / first);
}

static void bench(struct ck *ck, const struct ck_shape *shape, const char *name) {
    double median = 0, best = seconds_of(ck, shape, shape->T > 1000 ? 5 : 30, &median);
    double rows = (double)(shape->N * shape->H * shape->T), area = (double)(shape->D * shape->D);
    char label[80];

    snprintf(label, sizeof label, "%s N %d T %d H %d D %d", name, (int)shape->N, (int)shape->T,
             (int)shape->H, (int)shape->D);
    /* counted as ten products of a vector with a matrix per token */
    ck_bench_line(shape->mesa ? KN_OP_MESA_BACKWARD : KN_OP_FENWICK_BACKWARD, label, best, median,
                  (struct ck_work){.flops = rows * area * 20});
}

void ck_bench_backward(struct ck *ck, bool mesa) {
    const struct ck_preset *p;

    for (int i = 0; (p = ck_preset(ck, i)); i++) {
        struct ck_shape shape = {.mesa = mesa,
                                 .N = 256,
                                 .T = 8,
                                 .G = p->heads,
                                 .H = p->heads,
                                 .levels = p->levels,
                                 .B = 1,
                                 .by_frame = true};
        if (!p->name)
            continue;
        shape.D = p->dim / p->heads;
        bench(ck, &shape, p->name);
        shape.N = 1;
        shape.T = 8192;
        bench(ck, &shape, p->name);
    }
}
