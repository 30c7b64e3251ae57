/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Matrix products by oneDNN over packed weights. Types that it does not know on this processor are
 * widened to f32 and rounded when they are stored.
 */
#include <stdlib.h>
#include <string.h>

#include "onednn.h"

struct linear_plan {
    struct kn_dnnl product;
    bool widened;
    struct kn_linear_args wide; /* dense f32 in scratch as slot "work" */
    uint64_t wide_bytes;
    uint64_t packed_at; /* of scratch: parameters that are bound for each run */
};

static void release(void *plan) {
    struct linear_plan *p = plan;
    if (p)
        kn_dnnl_clear(&p->product);
    free(p);
}

static dnnl_status_t rows_layout(dnnl_memory_desc_t *m, const struct kn_tensor *t,
                                 dnnl_data_type_t type) {
    dnnl_dims_t dims = {t->dim[0], t->dim[1]}, strides = {t->stride[0], 1};
    return dnnl_memory_desc_init_by_strides(m, 2, dims, type, strides);
}

/* The sum post-op reads what the output holds: right where residual is the output. */
static bool in_place(const struct kn_linear_args *a) {
    return a->residual.slot == a->out.slot && a->residual.offset_bytes == a->out.offset_bytes &&
           a->residual.stride[0] == a->out.stride[0];
}

static enum kn_status make(struct kn_dnnl *d, struct kn_weights *arena,
                           const struct kn_linear_args *a, struct kn_err *err) {
    const struct kn_tensor *t = &a->weight;
    dnnl_memory_desc_t src, dst, any, residual, user;
    dnnl_dims_t dims = {t->dim[1], t->dim[0]}, strides = {t->stride[1], t->stride[0]},
                bias = {1, t->dim[0]};
    dnnl_data_type_t in, to;
    dnnl_matmul_desc_t m;
    struct kn_dnnl_weights w = {.arena = arena,
                                .layout = &user,
                                .offset_bytes = t->offset_bytes,
                                .bias = a->bias.rank != 0,
                                .bias_offset_bytes = a->bias.offset_bytes};
    struct kn_dnnl_post post = {0};

    if (!kn_dnnl_type(a->x.dtype, &in) || !kn_dnnl_type(a->out.dtype, &to))
        return kn_fail(err, KN_ERR_UNSUPPORTED, "oneDNN has no float16 on this processor");
    if (a->residual.rank) {
        post.sum = in_place(a);
        post.add = post.sum ? NULL : &residual;
    }
    dnnl_status_t s = rows_layout(&src, &a->x, in);
    if (s == dnnl_success)
        s = rows_layout(&dst, &a->out, to);
    if (s == dnnl_success && a->residual.rank)
        s = rows_layout(&residual, &a->residual, to);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_strides(&user, 2, dims, dnnl_f32, strides);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_tag(&any, 2, dims, in, dnnl_format_tag_any);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_tag(&w.bias_layout, 2, bias, dnnl_f32, dnnl_ab);
    if (s == dnnl_success)
        s = dnnl_matmul_desc_init(&m, &src, &any, w.bias ? &w.bias_layout : NULL, &dst);
    return s == dnnl_success ? kn_dnnl_make(d, &m, &post, &w, err)
                             : kn_dnnl_fail(err, s, "matrix product");
}

/* Dense f32 rows at *at of scratch. */
static void widen(struct kn_tensor *t, uint64_t *at) {
    *t = kn_tensor_dense(KN_SLOT_WORK, *at, KN_F32, 2, t->dim);
    *at += (uint64_t)(t->dim[0] * t->dim[1]) * sizeof(float);
    *at = (*at + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

static enum kn_status make_wide(struct linear_plan *p, struct kn_weights *arena,
                                const struct kn_linear_args *a, struct kn_err *err) {
    struct kn_linear_args *w = &p->wide;

    *w = *a;
    widen(&w->x, &p->wide_bytes);
    widen(&w->out, &p->wide_bytes);
    if (a->residual.rank)
        w->residual = w->out;
    p->widened = true;
    return make(&p->product, arena, w, err);
}

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_linear_args *a = &node->args.linear;
    struct linear_plan *p = calloc(1, sizeof *p);
    struct kn_err why;

    if (!p)
        return kn_fail_nomem(err, sizeof *p, "matrix product plan");
    int before = kn_dnnl_threads(prepare->threads);
    enum kn_status status = make(&p->product, prepare->weights, a, &why);
    if (status == KN_ERR_UNSUPPORTED)
        status = make_wide(p, prepare->weights, a, &why);
    kn_dnnl_threads(before);
    if (status != KN_OK)
        release(p);
    if (status == KN_ERR_UNSUPPORTED) /* no plan: run() takes the reference */
        return kn_cpu_reference(KN_OP_LINEAR)->prepare(prepare, node, err);
    if (status != KN_OK) {
        if (err)
            *err = why;
        return status;
    }
    prepare->plan = p;
    p->packed_at = p->wide_bytes + p->product.scratch_bytes;
    prepare->scratch_bytes = p->packed_at + p->product.packed_bytes;
    return KN_OK;
}

static struct kn_cpu_rows rows(const struct kn_call *call, const struct kn_tensor *t) {
    return (struct kn_cpu_rows){kn_at(call, t), t->dtype, t->dim[0], t->dim[1], t->stride[0]};
}

static enum kn_status run_wide(const struct kn_call *call, const struct kn_linear_args *a,
                               struct kn_err *err) {
    struct linear_plan *p = call->plan;
    char *scratch = call->scratch;
    float *x = (float *)(scratch + p->wide.x.offset_bytes);
    float *out = (float *)(scratch + p->wide.out.offset_bytes);

    kn_cpu_widen(x, rows(call, &a->x), call->threads);
    if (a->residual.rank)
        kn_cpu_widen(out, rows(call, &a->residual), call->threads);
    enum kn_status status = kn_dnnl_run(&p->product, x, NULL, out, scratch + p->wide_bytes, err);
    if (status == KN_OK)
        kn_cpu_narrow(rows(call, &a->out), out, call->threads);
    return status;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_linear_args *a = args;
    struct linear_plan *p = call->plan;
    enum kn_status status;

    if (!p)
        return kn_cpu_reference(KN_OP_LINEAR)->run(call, args, err);
    kn_dnnl_threads(call->threads);
    status = kn_dnnl_bind(&p->product, call, (char *)call->scratch + p->packed_at, err);
    if (status != KN_OK)
        return status;
    if (p->widened)
        return run_wide(call, a, err);
    return kn_dnnl_run(&p->product, kn_at(call, &a->x),
                       a->residual.rank ? kn_at(call, &a->residual) : NULL, kn_at(call, &a->out),
                       call->scratch, err);
}

const struct kn_kernel kn_cpu_linear = {.prepare = prepare, .run = run, .release = release};
