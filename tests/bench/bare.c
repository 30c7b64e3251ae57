/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "bare.h"

#include <dnnl.h>
#include <stdlib.h>

#include "timer.h"

#define RUNS 15

struct bare {
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    dnnl_exec_arg_t arg[4];
    int args;
};

static dnnl_data_type_t data_type(enum kn_dtype dtype) {
    return dtype == KN_BF16 ? dnnl_bf16 : dtype == KN_F16 ? dnnl_f16 : dnnl_f32;
}

/* Makes memory of the layout that the primitive chose. */
static bool add_arg(struct bare *b, int index, dnnl_query_t what) {
    const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(b->desc, what, 0);
    if (!md || md->ndims == 0)
        return true;
    dnnl_exec_arg_t *arg = &b->arg[b->args];
    arg->arg = index;
    if (dnnl_memory_create(&arg->memory, md, b->engine, DNNL_MEMORY_ALLOCATE) != dnnl_success)
        return false;
    b->args++;
    return true;
}

static bool describe_conv(struct bare *b, const struct kn_conv_args *a,
                          dnnl_primitive_attr_t attr) {
    const int64_t *d = a->x.dim, *w = a->weight.dim;
    dnnl_dims_t src = {d[0], w[1], d[1], d[2]}, dst = {d[0], w[0], d[1], d[2]};
    dnnl_dims_t weights = {w[0], w[1], w[2], w[3]}, bias = {w[0]};
    dnnl_dims_t stride = {1, 1}, pad = {w[2] / 2, w[3] / 2};
    dnnl_memory_desc_t src_md, dst_md, weights_md, bias_md;
    dnnl_memory_desc_init_by_tag(&src_md, 4, src, data_type(a->x.dtype), dnnl_nhwc);
    dnnl_memory_desc_init_by_tag(&dst_md, 4, dst, data_type(a->out.dtype), dnnl_nhwc);
    dnnl_memory_desc_init_by_tag(&weights_md, 4, weights, data_type(a->x.dtype),
                                 dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&bias_md, 1, bias, dnnl_f32, dnnl_a);
    dnnl_convolution_desc_t desc;
    if (dnnl_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct,
                                           &src_md, &weights_md, a->bias.rank ? &bias_md : NULL,
                                           &dst_md, stride, pad, pad) != dnnl_success)
        return false;
    return dnnl_primitive_desc_create(&b->desc, &desc, attr, b->engine, NULL) == dnnl_success;
}

static bool describe_linear(struct bare *b, const struct kn_linear_args *a,
                            dnnl_primitive_attr_t attr) {
    int64_t m = a->x.dim[0], k = a->x.dim[1], n = a->out.dim[1];
    dnnl_dims_t src = {m, k}, weights = {k, n}, bias = {1, n}, dst = {m, n};
    dnnl_memory_desc_t src_md, dst_md, weights_md, bias_md;
    dnnl_memory_desc_init_by_tag(&src_md, 2, src, data_type(a->x.dtype), dnnl_ab);
    dnnl_memory_desc_init_by_tag(&dst_md, 2, dst, data_type(a->out.dtype), dnnl_ab);
    dnnl_memory_desc_init_by_tag(&weights_md, 2, weights, data_type(a->x.dtype),
                                 dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&bias_md, 2, bias, dnnl_f32, dnnl_ab);
    dnnl_matmul_desc_t desc;
    if (dnnl_matmul_desc_init(&desc, &src_md, &weights_md, a->bias.rank ? &bias_md : NULL,
                              &dst_md) != dnnl_success)
        return false;
    return dnnl_primitive_desc_create(&b->desc, &desc, attr, b->engine, NULL) == dnnl_success;
}

static bool describe(struct bare *b, const struct kn_node *node) {
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    bool ok = dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_post_ops_create(&ops) == dnnl_success;
    if (ok && node->op == KN_OP_CONV && node->args.conv.relu)
        ok = dnnl_post_ops_append_eltwise(ops, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f) == dnnl_success;
    ok = ok && dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    if (ok)
        ok = node->op == KN_OP_CONV ? describe_conv(b, &node->args.conv, attr)
                                    : describe_linear(b, &node->args.linear, attr);
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return ok;
}

static double time_runs(struct bare *b) {
    double ms[RUNS];
    for (int i = -2; i < RUNS; i++) {
        double start = bench_now_ms();
        if (dnnl_primitive_execute(b->primitive, b->stream, b->args, b->arg) != dnnl_success ||
            dnnl_stream_wait(b->stream) != dnnl_success)
            return -1.0;
        if (i >= 0)
            ms[i] = bench_now_ms() - start;
    }
    return bench_median(ms, RUNS);
}

double bench_bare_ms(const struct kn_node *node) {
    struct bare b = {0};
    double ms = -1.0;
    if (dnnl_engine_create(&b.engine, dnnl_cpu, 0) == dnnl_success &&
        dnnl_stream_create(&b.stream, b.engine, dnnl_stream_default_flags) == dnnl_success &&
        describe(&b, node) && dnnl_primitive_create(&b.primitive, b.desc) == dnnl_success &&
        add_arg(&b, DNNL_ARG_SRC, dnnl_query_src_md) &&
        add_arg(&b, DNNL_ARG_DST, dnnl_query_dst_md) &&
        add_arg(&b, DNNL_ARG_WEIGHTS, dnnl_query_weights_md)) {
        const dnnl_memory_desc_t *bias =
            dnnl_primitive_desc_query_md(b.desc, dnnl_query_weights_md, 1);
        if (bias && bias->ndims &&
            dnnl_memory_create(&b.arg[b.args].memory, bias, b.engine, DNNL_MEMORY_ALLOCATE) ==
                dnnl_success)
            b.arg[b.args++].arg = DNNL_ARG_BIAS;
        ms = time_runs(&b);
    }
    for (int i = 0; i < b.args; i++)
        dnnl_memory_destroy(b.arg[i].memory);
    if (b.primitive)
        dnnl_primitive_destroy(b.primitive);
    if (b.desc)
        dnnl_primitive_desc_destroy(b.desc);
    if (b.stream)
        dnnl_stream_destroy(b.stream);
    if (b.engine)
        dnnl_engine_destroy(b.engine);
    return ms;
}
