/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Matrix products by oneDNN over packed weights. Types that it does not know on this processor are
 * widened to f32 and rounded when they are stored. Where its sums depend on the number of threads
 * (version 2.6 without AVX-512), blocks of rows are multiplied by one thread each.
 */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "onednn.h"

#define BLOCK 128 /* rows */

struct linear_plan {
    struct kn_dnnl product; /* of all rows; with blocks: of those behind the last whole one */
    struct kn_dnnl *block;  /* of BLOCK rows, one per thread; NULL: no blocks */
    int threads;
    uint64_t pad_bytes; /* for the library: of a thread */
    bool widened;
    struct kn_linear_args wide; /* dense f32 in scratch as slot "work" */
    uint64_t wide_bytes;
    uint64_t packed_at; /* of scratch: parameters that are bound for each run */
};

static void clear(struct linear_plan *p) {
    kn_dnnl_clear(&p->product);
    for (int i = 0; p->block && i < p->threads; i++)
        kn_dnnl_clear(&p->block[i]);
    free(p->block);
    p->block = NULL;
}

static void release(void *plan) {
    if (plan)
        clear(plan);
    free(plan);
}

static dnnl_status_t rows_layout(dnnl_memory_desc_t *m, const struct kn_tensor *t, int64_t rows,
                                 dnnl_data_type_t type) {
    dnnl_dims_t dims = {rows, t->dim[1]}, strides = {t->stride[0], 1};
    return dnnl_memory_desc_init_by_strides(m, 2, dims, type, strides);
}

/* The sum post-op reads what the output holds: right where residual is the output. */
static bool in_place(const struct kn_linear_args *a) {
    return a->residual.slot == a->out.slot && a->residual.offset_bytes == a->out.offset_bytes &&
           a->residual.stride[0] == a->out.stride[0];
}

/* plain: the weights are used as they lie, so that many blocks share them. */
static enum kn_status make(struct kn_dnnl *d, struct kn_weights *arena,
                           const struct kn_linear_args *a, int64_t rows, bool plain,
                           struct kn_err *err) {
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
    dnnl_status_t s = rows_layout(&src, &a->x, rows, in);
    if (s == dnnl_success)
        s = rows_layout(&dst, &a->out, rows, to);
    if (s == dnnl_success && a->residual.rank)
        s = rows_layout(&residual, &a->residual, rows, to);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_strides(&user, 2, dims, dnnl_f32, strides);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_tag(&any, 2, dims, in, dnnl_format_tag_any);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_tag(&w.bias_layout, 2, bias, dnnl_f32, dnnl_ab);
    if (s == dnnl_success)
        s = dnnl_matmul_desc_init(&m, &src, plain ? &user : &any, w.bias ? &w.bias_layout : NULL,
                                  &dst);
    return s == dnnl_success ? kn_dnnl_make(d, &m, &post, &w, err)
                             : kn_dnnl_fail(err, s, "matrix product");
}

static enum kn_status make_blocks(struct linear_plan *p, struct kn_weights *arena,
                                  const struct kn_linear_args *a, struct kn_err *err) {
    const int64_t rest = a->x.dim[0] % BLOCK;
    enum kn_status status = KN_OK;

    p->block = calloc((size_t)p->threads, sizeof *p->block);
    if (!p->block)
        return kn_fail_nomem(err, (uint64_t)p->threads * sizeof *p->block, "matrix product plan");
    kn_dnnl_threads(1);
    for (int i = 0; i < p->threads && a->x.dim[0] >= BLOCK; i++)
        KN_TRY(make(&p->block[i], arena, a, BLOCK, true, err));
    if (rest)
        KN_TRY(make(&p->product, arena, a, rest, true, err));
fail:
    if (status != KN_OK)
        clear(p);
    return status;
}

/* Leaves the library's number of threads changed. */
static enum kn_status make_plan(struct linear_plan *p, struct kn_weights *arena,
                                const struct kn_linear_args *a, struct kn_err *err) {
    kn_dnnl_threads(p->threads);
    enum kn_status status = make(&p->product, arena, a, a->x.dim[0], false, err);

    if (status == KN_OK && p->product.uneven && a->x.dtype == KN_F32) {
        kn_dnnl_clear(&p->product);
        status = make_blocks(p, arena, a, err);
    }
    p->pad_bytes = p->product.scratch_bytes;
    if (p->block && p->pad_bytes < p->block[0].scratch_bytes)
        p->pad_bytes = p->block[0].scratch_bytes;
    return status;
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
    return make_plan(p, arena, w, err);
}

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_linear_args *a = &node->args.linear;
    struct linear_plan *p = calloc(1, sizeof *p);
    struct kn_err why;

    if (!p)
        return kn_fail_nomem(err, sizeof *p, "matrix product plan");
    p->threads = prepare->threads;
    int before = kn_dnnl_threads(prepare->threads);
    enum kn_status status = make_plan(p, prepare->weights, a, &why);
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
    p->packed_at = p->wide_bytes + (uint64_t)(p->block ? p->threads : 1) * p->pad_bytes;
    prepare->scratch_bytes = p->packed_at + p->product.packed_bytes;
    return KN_OK;
}

static struct kn_cpu_rows rows(const struct kn_call *call, const struct kn_tensor *t) {
    return (struct kn_cpu_rows){kn_at(call, t), t->dtype, t->dim[0], t->dim[1], t->stride[0]};
}

/* Row i of memory that holds t. */
static void *row(const struct kn_tensor *t, const void *data, int64_t i) {
    uint64_t bytes = (uint64_t)(i * t->stride[0]) * kn_dtype_bytes(t->dtype);
    return data ? (char *)data + bytes : NULL;
}

static enum kn_status multiply(const struct kn_call *call, const struct kn_linear_args *a,
                               const void *x, const void *residual, void *out, char *pad,
                               struct kn_err *err) {
    struct linear_plan *p = call->plan;
    const int64_t rows = a->x.dim[0];
    enum kn_status status = KN_OK;
    struct kn_err why;

    if (!p->block)
        return kn_dnnl_run(&p->product, x, residual, out, pad, err);
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < rows; i += BLOCK) {
        struct kn_err mine;
        int thread = omp_get_thread_num();
        kn_dnnl_threads(1); /* of this thread, until the loop ends */
        enum kn_status one =
            kn_dnnl_run(rows - i < BLOCK ? &p->product : &p->block[thread], row(&a->x, x, i),
                        row(&a->residual, residual, i), row(&a->out, out, i),
                        pad + (uint64_t)thread * p->pad_bytes, &mine);
        if (one != KN_OK)
#pragma omp critical(linear)
        {
            status = one;
            why = mine;
        }
    }
    if (status != KN_OK && err)
        *err = why;
    return status;
}

static enum kn_status bind(const struct kn_call *call, struct kn_err *err) {
    struct linear_plan *p = call->plan;
    enum kn_status status =
        kn_dnnl_bind(&p->product, call, (char *)call->scratch + p->packed_at, err);

    for (int i = 0; p->block && i < p->threads && status == KN_OK; i++)
        status = kn_dnnl_bind(&p->block[i], call, NULL, err);
    return status;
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
    enum kn_status status = multiply(call, &p->wide, x, NULL, out, scratch + p->wide_bytes, err);
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
    status = bind(call, err);
    if (status != KN_OK)
        return status;
    if (p->widened)
        return run_wide(call, a, err);
    return multiply(call, a, kn_at(call, &a->x),
                    a->residual.rank ? kn_at(call, &a->residual) : NULL, kn_at(call, &a->out),
                    call->scratch, err);
}

const struct kn_kernel kn_cpu_linear = {.prepare = prepare, .run = run, .release = release};
