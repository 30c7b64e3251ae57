/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Convolutions by oneDNN. With weights frame by frame: so a clip computes each frame exactly as a
 * stream does, and frames may lie at any distance. Without (training) all frames at once, where
 * they are neighbours: those of a batch are small, and many.
 *
 * With past the sum of two convolutions stays in f32: the first one adds bias and residual and
 * leaves f32 in scratch (or in out, where out is f32), the second adds that and applies ReLU. This
 * measured 4 to 5 % above one convolution over concatenated channels, which would cost a copy.
 *
 * Types that oneDNN does not know on this processor are widened: each frame is copied to f32,
 * convolved, and rounded when it is stored.
 */
#include <stdlib.h>
#include <string.h>

#include "onednn.h"

struct conv_plan {
    struct kn_dnnl now;   /* of x; alone, or writing what the second one adds */
    struct kn_dnnl past;  /* of past, with past only */
    struct kn_dnnl alone; /* of x without past after a reset, with past and control only */
    int64_t frames;       /* that a primitive convolves at once */
    uint64_t sum_bytes;   /* f32 sums of them at the start of scratch; 0: none, or in out */
    uint64_t packed_at;   /* of scratch: parameters that are bound for each run */
    bool copy_residual;   /* to out, before the convolution adds to it */
    bool widened;
    struct kn_conv_args wide; /* of one frame, in scratch as slot "work" */
    uint64_t wide_bytes;
};

/* One convolution to make: which input channels of the weights, and where its result goes. */
struct part {
    const struct kn_conv_args *a;
    int64_t frames;
    const struct kn_tensor *from; /* x or past */
    int64_t first;                /* its first channel in the weights */
    dnnl_data_type_t to;
    bool bias, residual, in_place, sums_from_scratch, sums_from_out, relu;
};

static void release(void *plan) {
    struct conv_plan *p = plan;
    if (!p)
        return;
    kn_dnnl_clear(&p->now);
    kn_dnnl_clear(&p->past);
    kn_dnnl_clear(&p->alone);
    free(p);
}

static bool same_memory(const struct kn_tensor *a, const struct kn_tensor *b) {
    return a->slot == b->slot && a->offset_bytes == b->offset_bytes;
}

/* Frames of a tensor (T, h, w, C), as oneDNN counts: (n, C, h, w) with strides; n > 1: neighbours.
 */
static enum kn_status frame_layout(dnnl_memory_desc_t *m, const struct kn_tensor *t, int64_t n,
                                   dnnl_data_type_t type, struct kn_err *err) {
    dnnl_dims_t dims = {n, t->dim[3], t->dim[1], t->dim[2]};
    dnnl_dims_t strides = {t->dim[1] * t->stride[1], 1, t->stride[1], t->stride[2]};
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(m, 4, dims, type, strides);
    return status == dnnl_success ? KN_OK : kn_dnnl_fail(err, status, "frame layout");
}

static enum kn_status make_weights(struct kn_dnnl_weights *w, dnnl_memory_desc_t *layout,
                                   struct kn_weights *arena, const struct part *part,
                                   struct kn_err *err) {
    const struct kn_tensor *t = &part->a->weight, *bias = &part->a->bias;
    dnnl_dims_t dims = {t->dim[0], part->a->x.dim[3], t->dim[2], t->dim[3]};
    dnnl_dims_t strides = {t->stride[0], t->stride[1], t->stride[2], t->stride[3]};
    dnnl_dims_t outputs = {t->dim[0]};

    *w = (struct kn_dnnl_weights){
        .arena = arena,
        .layout = layout,
        .offset_bytes = t->offset_bytes + (uint64_t)(part->first * t->stride[1]) * sizeof(float),
        .bias = part->bias && bias->rank,
        .bias_offset_bytes = bias->offset_bytes,
    };
    dnnl_status_t status = dnnl_memory_desc_init_by_strides(layout, 4, dims, dnnl_f32, strides);
    if (status == dnnl_success)
        status = dnnl_memory_desc_init_by_tag(&w->bias_layout, 1, outputs, dnnl_f32, dnnl_a);
    return status == dnnl_success ? KN_OK : kn_dnnl_fail(err, status, "weights layout");
}

static enum kn_status make_part(struct kn_dnnl *d, struct kn_weights *arena,
                                const struct part *part, struct kn_err *err) {
    const struct kn_conv_args *a = part->a;
    dnnl_memory_desc_t src, dst, any, residual, sums, user;
    struct kn_dnnl_weights w;
    dnnl_data_type_t in, as;
    enum kn_status status;

    if (!kn_dnnl_type(a->x.dtype, &in) || !kn_dnnl_type(a->out.dtype, &as))
        return kn_fail(err, KN_ERR_UNSUPPORTED, "oneDNN has no float16 on this processor");
    KN_TRY(frame_layout(&src, part->from, part->frames, in, err));
    KN_TRY(frame_layout(&dst, &a->out, part->frames, part->to, err));
    KN_TRY(frame_layout(&sums, &a->out, part->frames, dnnl_f32, err));
    if (part->residual && a->residual.rank)
        KN_TRY(frame_layout(&residual, &a->residual, part->frames, as, err));
    KN_TRY(make_weights(&w, &user, arena, part, err));

    int64_t k = a->weight.dim[2];
    dnnl_dims_t one = {1, 1}, pad = {k / 2, k / 2};
    bool in_place = part->in_place && part->to == as;
    struct kn_dnnl_post post = {.relu = part->relu};
    if (part->residual && a->residual.rank) {
        post.sum = in_place;
        post.add = in_place ? NULL : &residual;
    }
    if (part->sums_from_out)
        post.sum = true;
    if (part->sums_from_scratch)
        post.add = &sums;

    any = user;
    any.data_type = in;
    any.format_kind = dnnl_format_kind_any;
    dnnl_convolution_desc_t c;
    dnnl_status_t made = dnnl_convolution_forward_desc_init(
        &c, dnnl_forward_inference, dnnl_convolution_direct, &src, &any,
        w.bias ? &w.bias_layout : NULL, &dst, one, pad, pad);
    if (made != dnnl_success)
        return kn_dnnl_fail(err, made, "convolution");
    status = kn_dnnl_make(d, &c, &post, &w, err);
fail:
    return status;
}

static enum kn_status make_parts(struct conv_plan *p, struct kn_weights *arena,
                                 const struct kn_conv_args *a, struct kn_err *err) {
    enum kn_status status;
    bool two = a->past.rank != 0, wide = a->out.dtype == KN_F32;
    dnnl_data_type_t to;
    struct part part = {.a = a,
                        .frames = p->frames,
                        .from = &a->x,
                        .bias = true,
                        .residual = true,
                        .in_place = p->copy_residual || same_memory(&a->residual, &a->out),
                        .relu = a->relu};

    (void)kn_dnnl_type(a->out.dtype, &to);
    part.to = to;
    if (!two)
        return make_part(&p->now, arena, &part, err);
    if (a->control.rank)
        KN_TRY(make_part(&p->alone, arena, &part, err));
    part.to = dnnl_f32;
    part.relu = false;
    KN_TRY(make_part(&p->now, arena, &part, err));
    part = (struct part){.a = a,
                         .frames = p->frames,
                         .from = &a->past,
                         .first = a->x.dim[3],
                         .to = to,
                         .sums_from_out = wide,
                         .sums_from_scratch = !wide,
                         .relu = a->relu};
    KN_TRY(make_part(&p->past, arena, &part, err));
fail:
    return status;
}

/* Bytes of f32 sums for frames laid out like out. */
static uint64_t sums_size(const struct kn_conv_args *a, int64_t frames) {
    if (!a->past.rank || a->out.dtype == KN_F32)
        return 0;
    uint64_t bytes = (uint64_t)(frames * a->out.dim[1] * a->out.stride[1]) * sizeof(float);
    return (bytes + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

static uint64_t max3(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t m = a > b ? a : b;
    return m > c ? m : c;
}

/* Version 2.6 counts the values of a tensor in 32 bits and divides by what is left of them. */
static bool is_countable(const struct kn_tensor *t, int64_t frames) {
    return t->dim[1] * t->dim[2] * t->dim[3] <= UINT32_MAX / frames;
}

static bool are_neighbours(const struct kn_tensor *t) {
    return t->rank == 0 || t->stride[0] == t->dim[1] * t->stride[1];
}

/* Before AVX2 the library multiplies matrices, whose sums depend on how many frames there are. */
static int64_t at_once(const struct kn_conv_args *a) {
    int64_t T = a->x.dim[0];
    bool all = kn_dnnl_adds() && are_neighbours(&a->x) && are_neighbours(&a->past) &&
               are_neighbours(&a->residual) && are_neighbours(&a->out) && is_countable(&a->x, T) &&
               is_countable(&a->out, T);
    return all ? T : 1;
}

static enum kn_status make_plan(struct conv_plan *p, struct kn_weights *arena,
                                const struct kn_conv_args *a, struct kn_err *err) {
    p->copy_residual = a->residual.rank && !same_memory(&a->residual, &a->out) && !kn_dnnl_adds();
    p->frames = arena ? 1 : at_once(a);
    enum kn_status status = make_parts(p, arena, a, err);
    if (status == KN_OK)
        p->sum_bytes = sums_size(a, p->frames);
    return status;
}

/* A dense frame of f32 values at *at of scratch. */
static void widen(struct kn_tensor *t, uint64_t *at) {
    int64_t dim[KN_MAX_RANK] = {1, t->dim[1], t->dim[2], t->dim[3]};

    *t = kn_tensor_dense(KN_SLOT_WORK, *at, KN_F32, 4, dim);
    *at += (uint64_t)t->stride[0] * sizeof(float);
    *at = (*at + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

static enum kn_status make_wide(struct conv_plan *p, struct kn_weights *arena,
                                const struct kn_conv_args *a, struct kn_err *err) {
    struct kn_conv_args *w = &p->wide;

    *w = *a;
    widen(&w->x, &p->wide_bytes);
    widen(&w->out, &p->wide_bytes);
    if (a->past.rank)
        widen(&w->past, &p->wide_bytes);
    if (a->residual.rank)
        w->residual = w->out;
    p->widened = true;
    kn_dnnl_clear(&p->now);
    kn_dnnl_clear(&p->past);
    kn_dnnl_clear(&p->alone);
    return make_plan(p, arena, w, err);
}

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_conv_args *a = &node->args.conv;
    struct conv_plan *p = calloc(1, sizeof *p);
    struct kn_err why;

    if (!p)
        return kn_fail_nomem(err, sizeof *p, "convolution plan");
    if (!is_countable(&a->x, 1) || !is_countable(&a->out, 1)) {
        release(p);
        return kn_fail(err, KN_ERR_UNSUPPORTED, "an image of 2^32 values or more");
    }
    int before = kn_dnnl_threads(prepare->threads);
    enum kn_status status = make_plan(p, prepare->weights, a, &why);
    if (status == KN_ERR_UNSUPPORTED)
        status = make_wide(p, prepare->weights, a, &why);
    kn_dnnl_threads(before);
    if (status == KN_ERR_UNSUPPORTED) { /* no plan: run() takes the reference */
        release(p);
        return kn_cpu_reference(KN_OP_CONV)->prepare(prepare, node, err);
    }
    if (status != KN_OK) {
        release(p);
        if (err)
            *err = why;
        return status;
    }
    prepare->plan = p;
    p->packed_at = p->wide_bytes + p->sum_bytes +
                   max3(p->now.scratch_bytes, p->past.scratch_bytes, p->alone.scratch_bytes);
    prepare->scratch_bytes =
        p->packed_at + p->now.packed_bytes + p->past.packed_bytes + p->alone.packed_bytes;
    return KN_OK;
}

/* Address of frame t. */
static void *frame(const struct kn_call *call, const struct kn_tensor *t, int64_t i) {
    if (!t->rank)
        return NULL;
    return (char *)kn_at(call, t) + (uint64_t)(i * t->stride[0]) * kn_dtype_bytes(t->dtype);
}

static enum kn_status bind(const struct kn_call *call, struct kn_err *err) {
    struct conv_plan *p = call->plan;
    struct kn_dnnl *part[] = {&p->now, &p->past, &p->alone};
    char *packed = (char *)call->scratch + p->packed_at;
    enum kn_status status = KN_OK;

    for (int i = 0; i < 3 && status == KN_OK; i++) {
        status = kn_dnnl_bind(part[i], call, packed, err);
        packed += part[i]->packed_bytes;
    }
    return status;
}

static enum kn_status run_frame(const struct kn_call *call, const struct kn_conv_args *a, int64_t t,
                                bool reset, struct kn_err *err) {
    struct conv_plan *p = call->plan;
    void *x = frame(call, &a->x, t), *out = frame(call, &a->out, t);
    void *residual = frame(call, &a->residual, t);
    void *pad = (char *)call->scratch + p->sum_bytes;

    if (p->copy_residual)
        memcpy(out, residual,
               (uint64_t)(p->frames * a->out.dim[1] * a->out.stride[1]) *
                   kn_dtype_bytes(a->out.dtype));
    if (!a->past.rank || reset)
        return kn_dnnl_run(a->past.rank ? &p->alone : &p->now, x, residual, out, pad, err);
    void *sums = p->sum_bytes ? call->scratch : out;
    enum kn_status status = kn_dnnl_run(&p->now, x, residual, sums, pad, err);
    if (status == KN_OK)
        status = kn_dnnl_run(&p->past, frame(call, &a->past, t), sums, out, pad, err);
    return status;
}

/* The values of a frame, row by row. */
static struct kn_cpu_rows rows(const struct kn_call *call, const struct kn_tensor *t, int64_t i) {
    int64_t n = t->dim[2] * t->dim[3];
    return (struct kn_cpu_rows){frame(call, t, i), t->dtype, t->dim[1], n, n};
}

static enum kn_status run_wide(const struct kn_call *call, const struct kn_conv_args *a, int64_t t,
                               bool reset, struct kn_err *err) {
    struct conv_plan *p = call->plan;
    const struct kn_conv_args *w = &p->wide;
    void *base[KN_SLOT_COUNT] = {[KN_SLOT_WORK] = call->scratch};
    struct kn_call inner = *call;

    inner.base = base;
    inner.scratch = (char *)call->scratch + p->wide_bytes;
    kn_cpu_widen(frame(&inner, &w->x, 0), rows(call, &a->x, t), call->threads);
    if (a->past.rank && !reset)
        kn_cpu_widen(frame(&inner, &w->past, 0), rows(call, &a->past, t), call->threads);
    if (a->residual.rank)
        kn_cpu_widen(frame(&inner, &w->out, 0), rows(call, &a->residual, t), call->threads);
    enum kn_status status = run_frame(&inner, w, 0, reset, err);
    if (status == KN_OK)
        kn_cpu_narrow(rows(call, &a->out, t), frame(&inner, &w->out, 0), call->threads);
    return status;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_conv_args *a = args;
    const struct conv_plan *p = call->plan;

    if (!p)
        return kn_cpu_reference(KN_OP_CONV)->run(call, args, err);
    bool reset = a->control.rank && ((const struct kn_control *)kn_at(call, &a->control))->reset;
    kn_dnnl_threads(call->threads);
    enum kn_status status = bind(call, err);
    for (int64_t t = 0; t < a->x.dim[0] && status == KN_OK; t += p->frames)
        status = (p->widened ? run_wide : run_frame)(call, a, t, reset, err);
    return status;
}

const struct kn_kernel kn_cpu_conv = {.prepare = prepare, .run = run, .release = release};
