/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Mode grad: what backward operations say, against differences of the forward ones. */
#include "checkkernel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ref/ref.h"

#define DIRECTIONS 3 /* at random over all elements, per input */
#define SINGLES 4    /* one element at a time, per input */
#define DRAWS 20     /* of a direction, until it meets no kink */

/* A tensor as a region, for its elements in row-major order. */
static struct ck_region region_of(const struct kn_tensor *t) {
    struct ck_region region = {
        .image = (int)t->slot, .offset = t->offset_bytes, .dtype = t->dtype, .rank = t->rank};

    for (int i = 0; i < t->rank; i++) {
        region.dim[i] = t->dim[i];
        region.stride_bytes[i] = t->stride[i] * (int64_t)kn_dtype_bytes(t->dtype);
    }
    return region;
}

static void append(struct ck_grad *grad, struct kn_node *nodes, int *count, enum kn_op op,
                   const void *args) {
    if (*count == CK_GRAD_NODES) {
        fprintf(stderr, "checkkernel: more than %d operations in a direction\n", CK_GRAD_NODES);
        exit(2);
    }
    memset(&nodes[*count], 0, sizeof *nodes);
    nodes[*count].op = op;
    switch (op) {
#define X(name, NAME, type)                                                \
    case KN_OP_##NAME:                                                     \
        memcpy(&nodes[*count].args, args, sizeof nodes[*count].args.type); \
        break;
        KN_OPERATIONS(X)
#undef X
    default:
        break;
    }
    ++*count;
}

void ck_grad_forward(struct ck_grad *grad, enum kn_op op, const void *args) {
    append(grad, grad->forward, &grad->forwards, op, args);
}

void ck_grad_backward(struct ck_grad *grad, enum kn_op op, const void *args) {
    append(grad, grad->backward, &grad->backwards, op, args);
}

void ck_grad_input(struct ck_grad *grad, const struct kn_tensor *x, const struct kn_tensor *dx) {
    if (grad->inputs == CK_GRAD_INPUTS) {
        fprintf(stderr, "checkkernel: more than %d inputs\n", CK_GRAD_INPUTS);
        exit(2);
    }
    grad->input[grad->inputs++] = (struct ck_grad_input){*x, *dx};
}

/* -------------------------------------------------------------------------------------- session */

/* A check under way. */
struct session {
    struct ck *ck;
    struct ck_memory *memory;
    struct ck_grad *grad;
    struct ck_region out;
    double *w;               /* one per element of out */
    bool *zero;              /* which elements of out are zero, at the point itself */
    double power;            /* sum of |w out| there: how finely the loss can be told */
    struct ck_loaded loaded; /* forward direction */
    struct kn_exec *exec;
    uint8_t *bytes[CK_IMAGES]; /* what is sent for one evaluation */
};

static struct kn_exec *compile(struct session *s, struct ck_loaded *loaded, bool backward) {
    struct ck *ck = s->ck;
    const struct ck_grad *grad = s->grad;
    struct kn_program *program = NULL;
    struct kn_exec *exec = NULL;
    struct kn_err err = {0};
    bool ok = kn_program_new(&program, &err) == KN_OK;

    for (int i = 0; ok && i < grad->forwards; i++)
        ok = ck_record(ck, program, grad->forward[i].op, &grad->forward[i].args);
    for (int i = 0; ok && backward && i < grad->backwards; i++) {
        const void *args = &grad->backward[i].args;
        struct kn_node copy;
        if (ck->fault >= CK_FAULT_ARGS)
            args = ck_sabotage(ck, grad->backward[i].op, args, &copy);
        ok = ck_record(ck, program, grad->backward[i].op, args);
        ck->refused |= !ok;
    }
    /* parameters are bound for each run, as differences are taken of them too */
    if (ok && kn_exec_new(&exec, loaded->dev, program, NULL, &err) != KN_OK)
        ck_fail(ck, "compiling: %s: %s", kn_status_name(err.code), err.msg);
    kn_program_free(program);
    return exec;
}

/* ----------------------------------------------------------------------------------------- loss */

/* The loss at what is in s->bytes; false where it cannot be had or a kink was stepped over. */
static bool evaluate(struct session *s, double *loss, bool *smooth) {
    struct kn_err err = {0};
    int64_t count = ck_region_count(&s->out);

    for (int i = 0; i < CK_IMAGES; i++)
        if (kn_buf_write(s->loaded.buf[i], 0, s->bytes[i], s->memory->image[i].size, &err) !=
            KN_OK) {
            ck_fail(s->ck, "writing: %s", err.msg);
            return false;
        }
    if (!ck_run(&s->loaded, s->exec, 0, 0))
        return false;
    *loss = 0;
    *smooth = true;
    for (int64_t i = 0; i < count; i++) {
        double out =
            ck_value(&s->out, (const uint8_t *)kn_buf_host(s->loaded.buf[s->out.image]), i);
        *loss += s->w[i] * out;
        *smooth &= !s->grad->kinks || (out == 0) == s->zero[i];
    }
    return true;
}

/* Moves an input: x + step * direction. */
static void move(struct session *s, const struct ck_region *x, const double *direction,
                 double step) {
    int64_t count = ck_region_count(x);

    for (int64_t i = 0; i < count; i++)
        kn_ref_store(s->bytes[x->image] + ck_region_at(x, i), x->dtype, 0,
                     ck_value(x, s->loaded.sent[x->image], i) + step * direction[i]);
}

/* Central difference of fourth order along a direction. */
static bool difference(struct session *s, const struct ck_region *x, const double *direction,
                       double step, double *slope, bool *smooth) {
    static const int at[] = {-2, -1, 1, 2};
    static const double weight[] = {1. / 12, -8. / 12, 8. / 12, -1. / 12};
    bool ok = true;

    *slope = 0;
    *smooth = true;
    for (int i = 0; ok && i < 4; i++) {
        double loss = 0;
        bool same = true;
        move(s, x, direction, at[i] * step);
        ok = evaluate(s, &loss, &same);
        *slope += weight[i] * loss / step;
        *smooth &= same;
    }
    move(s, x, direction, 0);
    return ok;
}

/* ------------------------------------------------------------------------------------ gradients */

/* Faults of the self-test, planted in one gradient. */
static void spoil(struct ck *ck, double *gradient, int64_t count) {
    double square = 0, *one = gradient + ck_below(ck, count);

    for (int64_t i = 0; i < count; i++)
        square += gradient[i] * gradient[i] / (double)count;
    if (ck->fault == CK_FAULT_VALUE)
        *one += 0.05 * (sqrt(square) + 1e-6);
    else if (ck->fault == CK_FAULT_NAN)
        *one = NAN;
    else
        return;
    ck->planted++;
}

/* The gradient of one input as a run left it. */
static double *take(const struct session *s, const struct ck_loaded *loaded, int input) {
    struct ck_region dx = region_of(&s->grad->input[input].dx);
    const struct ck_image *image = &s->memory->image[dx.image];
    int64_t count = ck_region_count(&dx);
    double *gradient = ck_alloc((size_t)count, sizeof *gradient);

    for (int64_t i = 0; i < count; i++) {
        gradient[i] = ck_value(&dx, loaded->bytes[dx.image], i);
        if (image->role[ck_region_at(&dx, i)] == CK_INOUT)
            gradient[i] -= ck_value(&dx, loaded->sent[dx.image], i);
    }
    return gradient;
}

static void set_scale(struct session *s, double scale) {
    struct ck_region dout = region_of(&s->grad->dout);

    if (s->grad->scale)
        s->grad->scale(s->grad, (float)scale);
    if (s->grad->dout.rank == 0)
        return;
    for (int64_t i = 0; i < ck_region_count(&dout); i++)
        kn_ref_store(s->memory->image[dout.image].bytes + ck_region_at(&dout, i), dout.dtype, 0,
                     scale * s->w[i]);
}

/* Both directions, over one of two poisons; makes one gradient per input. */
static bool backward(struct session *s, double scale, int pass, double **gradient) {
    struct ck_loaded loaded;
    struct kn_exec *exec = NULL;
    bool ok;

    set_scale(s, scale);
    ok = ck_load(&loaded, s->memory, s->ck->ref, false, pass);
    if (ok)
        exec = compile(s, &loaded, true);
    ok = exec && ck_run(&loaded, exec, 0, 0) && ck_read_back(&loaded);
    for (int i = 0; ok && i < s->grad->inputs; i++)
        gradient[i] = take(s, &loaded, i);
    kn_exec_free(exec);
    ck_unload(&loaded);
    return ok;
}

static double norm(const double *values, int64_t count) {
    double square = 0;

    for (int64_t i = 0; i < count; i++)
        square += values[i] * values[i];
    return sqrt(square);
}

/* --------------------------------------------------------------------------------------- checks */

/* size: what a usual slope is, so that one that happens to be small is not judged by itself. */
static void judge(struct session *s, int input, const char *what, double slope, double gradient,
                  double size) {
    double tolerance = s->grad->tolerance > 0 ? s->grad->tolerance : 1e-7;
    double step = s->grad->step > 0 ? s->grad->step : 1e-3;
    double noise = 4 * 0x1p-52 * s->power / step, off = fabs(slope - gradient), error;

    size = fmax(0.1 * size, fmax(fabs(slope), fabs(gradient)));
    error = off / fmax(size, noise / tolerance); /* below the noise nothing can be told */
    if (!(error <= s->ck->worst))
        s->ck->worst = error;
    if (!(error <= tolerance))
        ck_fail(s->ck, "input %d, %s: gradient %.12g, difference %.12g, relative error %.2g", input,
                what, gradient, slope, error);
}

static void draw(struct ck *ck, double *direction, int64_t count, bool single) {
    int64_t one = ck_below(ck, count);

    for (int64_t i = 0; i < count; i++)
        direction[i] = single ? i == one : ck_normal(ck);
}

static void check_direction(struct session *s, int input, const double *gradient, bool single) {
    struct ck_region x = region_of(&s->grad->input[input].x);
    int64_t count = ck_region_count(&x);
    double *direction = ck_alloc((size_t)count, sizeof *direction), slope = 0, along = 0;
    double step = s->grad->step > 0 ? s->grad->step : 1e-3;
    bool ok = true, smooth = false;

    for (int i = 0; ok && !smooth && i < DRAWS; i++) {
        draw(s->ck, direction, count, single);
        /* the more outputs there are, the shorter must a step be that crosses no kink */
        ok = difference(s, &x, direction, step * pow(0.7, i), &slope, &smooth);
    }
    if (ok && !smooth)
        ck_fail(s->ck, "input %d: no direction without a kink", input);
    for (int64_t i = 0; i < count; i++)
        along += direction[i] * gradient[i];
    if (ok && smooth)
        judge(s, input, single ? "one element" : "a direction", slope, along,
              norm(gradient, count) * (single ? 1 / sqrt((double)count) : 1));
    free(direction);
}

static void check_input(struct session *s, int input, const double *gradient) {
    for (int i = 0; i < DIRECTIONS + SINGLES; i++)
        check_direction(s, input, gradient, i >= DIRECTIONS);
}

/* Gradients of a loss s times as big are s times as big; powers of two, so that nothing rounds. */
static void check_scales(struct session *s, double **gradient) {
    static const double scales[] = {0x1p-20, 0x1p-10, 0x1p10};

    for (size_t k = 0; k < CK_COUNT(scales); k++) {
        double *scaled[CK_GRAD_INPUTS] = {0};
        bool ok = backward(s, scales[k], 0, scaled);
        for (int i = 0; i < s->grad->inputs; i++) {
            struct ck_region dx = region_of(&s->grad->input[i].dx);
            int64_t count = ck_region_count(&dx);
            double size = norm(gradient[i], count) + 1e-3; /* added to values of about one */
            for (int64_t j = 0; ok && j < count; j++)
                scaled[i][j] = scaled[i][j] / scales[k] - gradient[i][j];
            if (ok)
                ck_want(s->ck, norm(scaled[i], count) <= 1e-8 * size * sqrt((double)count),
                        "input %d: gradients of %g times the loss are %g off", i, scales[k],
                        norm(scaled[i], count) / size);
            free(scaled[i]);
        }
    }
}

static void check_passes(struct session *s, double **a, double **b) {
    for (int i = 0; i < s->grad->inputs; i++) {
        struct ck_region dx = region_of(&s->grad->input[i].dx);
        ck_want(s->ck, memcmp(a[i], b[i], (size_t)ck_region_count(&dx) * sizeof **a) == 0,
                "input %d: gradients differ between two runs: not written?", i);
    }
}

static bool begin(struct session *s) {
    struct ck_grad *grad = s->grad;
    int64_t count;
    double loss;
    bool smooth;

    s->out = region_of(&grad->out);
    count = ck_region_count(&s->out);
    s->w = ck_alloc((size_t)count, sizeof *s->w);
    s->zero = ck_alloc((size_t)count, sizeof *s->zero);
    for (int64_t i = 0; i < count; i++)
        s->w[i] = grad->dout.rank > 0 ? ck_normal(s->ck) : 1;
    set_scale(s, 1);
    if (!ck_load(&s->loaded, s->memory, s->ck->ref, false, 0))
        return false;
    s->exec = compile(s, &s->loaded, false);
    for (int i = 0; i < CK_IMAGES; i++) {
        s->bytes[i] = ck_alloc(s->memory->image[i].size, 1);
        memcpy(s->bytes[i], s->loaded.sent[i], s->memory->image[i].size);
    }
    if (!s->exec || !evaluate(s, &loss, &smooth))
        return false;
    for (int64_t i = 0; i < count; i++) {
        double out =
            ck_value(&s->out, (const uint8_t *)kn_buf_host(s->loaded.buf[s->out.image]), i);
        s->zero[i] = out == 0;
        s->power += fabs(s->w[i] * out);
    }
    ck_want(s->ck, isfinite(s->power), "the loss is not finite");
    return isfinite(s->power);
}

static void end(struct session *s) {
    kn_exec_free(s->exec);
    ck_unload(&s->loaded);
    for (int i = 0; i < CK_IMAGES; i++)
        free(s->bytes[i]);
    free(s->w);
    free(s->zero);
}

void ck_grad_check(struct ck_memory *memory, struct ck_grad *grad) {
    struct session s = {.ck = memory->ck, .memory = memory, .grad = grad};
    double *first[CK_GRAD_INPUTS] = {0}, *second[CK_GRAD_INPUTS] = {0};

    if (begin(&s) && backward(&s, 1, 0, first) && backward(&s, 1, 1, second)) {
        check_passes(&s, first, second);
        for (int i = 0; i < grad->inputs; i++) {
            struct ck_region dx = region_of(&grad->input[i].dx);
            spoil(s.ck, first[i], ck_region_count(&dx));
            check_input(&s, i, first[i]);
        }
        check_scales(&s, second);
    }
    for (int i = 0; i < grad->inputs; i++) {
        free(first[i]);
        free(second[i]);
    }
    end(&s);
}
