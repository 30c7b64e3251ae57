/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Matrix products by oneDNN over packed weights. */
#include <stdlib.h>
#include <string.h>

#include "onednn.h"

static void release(void *plan) {
    if (plan)
        kn_dnnl_clear(plan);
    free(plan);
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
    const char *data = kn_weights_data(arena);
    dnnl_memory_desc_t src, dst, any, residual, user;
    dnnl_dims_t dims = {t->dim[1], t->dim[0]}, strides = {1, t->stride[0]}, bias = {1, t->dim[0]};
    dnnl_data_type_t in, to;
    dnnl_matmul_desc_t m;
    struct kn_dnnl_weights w = {.arena = arena,
                                .layout = &user,
                                .data = (const float *)(data + t->offset_bytes),
                                .bias = a->bias.rank ? (const float *)(data + a->bias.offset_bytes)
                                                     : NULL};
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

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    struct kn_dnnl *d = calloc(1, sizeof *d);
    struct kn_err why;

    if (!d)
        return kn_fail_nomem(err, sizeof *d, "matrix product plan");
    int before = kn_dnnl_threads(prepare->threads);
    enum kn_status status = make(d, prepare->weights, &node->args.linear, &why);
    kn_dnnl_threads(before);
    if (status != KN_OK)
        release(d);
    if (status == KN_ERR_UNSUPPORTED) /* no plan: run() takes the reference */
        return kn_cpu_reference(KN_OP_LINEAR)->prepare(prepare, node, err);
    if (status != KN_OK) {
        if (err)
            *err = why;
        return status;
    }
    prepare->plan = d;
    prepare->scratch_bytes = d->scratch_bytes;
    return KN_OK;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_linear_args *a = args;

    if (!call->plan)
        return kn_cpu_reference(KN_OP_LINEAR)->run(call, args, err);
    kn_dnnl_threads(call->threads);
    return kn_dnnl_run(call->plan, kn_at(call, &a->x),
                       a->residual.rank ? kn_at(call, &a->residual) : NULL, kn_at(call, &a->out),
                       call->scratch, err);
}

const struct kn_kernel kn_cpu_linear = {.prepare = prepare, .run = run, .release = release};
