/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* oneDNN primitives with packed weights; the only file that knows engines and streams. */
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onednn.h"

/*
 * One engine and stream for the process. A CPU stream of the OpenMP build holds no state: executing
 * means running the primitive on the calling thread's team, so devices do not disturb each other.
 */
static pthread_once_t library_once = PTHREAD_ONCE_INIT;
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static dnnl_status_t library_status;
static struct kn_table reference;

static void open_library(void) {
    library_status = dnnl_engine_create(&engine, dnnl_cpu, 0);
    if (library_status == dnnl_success)
        library_status = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags);
    kn_ref_fill(&reference);
}

const struct kn_kernel *kn_cpu_reference(enum kn_op op) {
    pthread_once(&library_once, open_library);
    return &reference.kernel[op];
}

void kn_cpu_onednn_describe(char *text, size_t size) {
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

void kn_cpu_onednn_fill(struct kn_table *table, enum kn_cpu_isa isa, bool lowered) {
    /* Only before the library's first use; later it keeps what it has, which changes nothing but
     * which of its paths a test reaches. */
    if (lowered)
        (void)dnnl_set_max_cpu_isa(isa == KN_CPU_AVX2 ? dnnl_cpu_isa_avx2 : dnnl_cpu_isa_sse41);
    table->kernel[KN_OP_CONV] = kn_cpu_conv;
    table->kernel[KN_OP_LINEAR] = kn_cpu_linear;
    table->kernel[KN_OP_CONV_BACKWARD_DATA] = kn_cpu_conv_backward_data;
    table->kernel[KN_OP_CONV_BACKWARD_WEIGHTS] = kn_cpu_conv_backward_weights;
    table->kernel[KN_OP_LINEAR_BACKWARD_DATA] = kn_cpu_linear_backward_data;
    table->kernel[KN_OP_LINEAR_BACKWARD_WEIGHTS] = kn_cpu_linear_backward_weights;
}

int kn_dnnl_threads(int threads) {
    int before = omp_get_max_threads();
    if (before != threads)
        omp_set_num_threads(threads);
    return before;
}

bool kn_dnnl_type(enum kn_dtype dtype, dnnl_data_type_t *type) {
    *type = dtype == KN_BF16 ? dnnl_bf16 : dnnl_f32;
    return dtype == KN_BF16 || dtype == KN_F32;
}

enum kn_status kn_dnnl_fail(struct kn_err *err, dnnl_status_t status, const char *what) {
    switch (status) {
    case dnnl_out_of_memory:
        return kn_fail_nomem(err, 0, what);
    case dnnl_unimplemented:
    case dnnl_iterator_ends:
        return kn_fail(err, KN_ERR_UNSUPPORTED, "oneDNN has nothing for this: %s", what);
    default:
        return kn_fail(err, KN_ERR_FAILED, "oneDNN: %s: status %d", what, (int)status);
    }
}

#define DNNL_TRY(call)                               \
    do {                                             \
        dnnl_status_t dnnl = (call);                 \
        if (dnnl != dnnl_success) {                  \
            status = kn_dnnl_fail(err, dnnl, #call); \
            goto fail;                               \
        }                                            \
    } while (0)

static enum kn_status make_attributes(dnnl_primitive_attr_t *attr, const struct kn_dnnl_post *post,
                                      struct kn_err *err) {
    enum kn_status status = KN_OK;
    dnnl_post_ops_t list = NULL;

    DNNL_TRY(dnnl_primitive_attr_create(attr));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user));
    DNNL_TRY(dnnl_post_ops_create(&list));
    /* the binary addition comes first, so that its argument is always post-op 0 */
    if (post->add)
        DNNL_TRY(dnnl_post_ops_append_binary(list, dnnl_binary_add, post->add));
    if (post->sum)
        DNNL_TRY(dnnl_post_ops_append_sum(list, 1.0f));
    if (post->relu)
        DNNL_TRY(dnnl_post_ops_append_eltwise(list, 1.0f, dnnl_eltwise_relu, 0.0f, 0.0f));
    DNNL_TRY(dnnl_primitive_attr_set_post_ops(*attr, list));
fail:
    dnnl_post_ops_destroy(list);
    return status;
}

/* ------------------------------------------------------------------------------------- weights */

struct pack {
    const dnnl_memory_desc_t *from, *to;
    const float *data;
};

/* The primitive that brings weights from one layout and type into another, or adds them there. */
static enum kn_status make_reorder(dnnl_primitive_t *reorder, const dnnl_memory_desc_t *from,
                                   const dnnl_memory_desc_t *to, bool sum, struct kn_err *err) {
    const struct kn_dnnl_post post = {.sum = sum};
    enum kn_status status = KN_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t descriptor = NULL;

    KN_TRY(make_attributes(&attr, &post, err));
    DNNL_TRY(dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_library));
    DNNL_TRY(dnnl_reorder_primitive_desc_create(&descriptor, from, engine, to, engine, attr));
    DNNL_TRY(dnnl_primitive_create(reorder, descriptor));
fail:
    dnnl_primitive_desc_destroy(descriptor);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

static dnnl_status_t run_reorder(dnnl_primitive_t reorder, dnnl_memory_t from, dnnl_memory_t to) {
    dnnl_exec_arg_t arg[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    return dnnl_primitive_execute(reorder, stream, 2, arg);
}

static enum kn_status reorder(const struct pack *pack, void *to, struct kn_err *err) {
    enum kn_status status = KN_OK;
    dnnl_primitive_t primitive = NULL;
    dnnl_memory_t in = NULL, out = NULL;

    DNNL_TRY(dnnl_memory_create(&in, pack->from, engine, (void *)pack->data));
    DNNL_TRY(dnnl_memory_create(&out, pack->to, engine, to));
    KN_TRY(make_reorder(&primitive, pack->from, pack->to, false, err));
    DNNL_TRY(run_reorder(primitive, in, out));
fail:
    dnnl_primitive_destroy(primitive);
    dnnl_memory_destroy(in);
    dnnl_memory_destroy(out);
    return status;
}

static enum kn_status make_packed(struct kn_packed *packed, void *user, struct kn_err *err) {
    const struct pack *pack = user;
    uint64_t bytes = dnnl_memory_desc_get_size(pack->to);
    void *data = NULL;

    if (posix_memalign(&data, KN_ALIGN, bytes ? bytes : 1))
        return kn_fail_nomem(err, bytes, "packed weights");
    memset(data, 0, bytes);
    /* one thread: a team made here would outlive the call on a thread that needs none */
    int before = kn_dnnl_threads(1);
    enum kn_status status = reorder(pack, data, err);
    kn_dnnl_threads(before);
    if (status != KN_OK) {
        free(data);
        return status;
    }
    *packed = (struct kn_packed){.data = data, .bytes = bytes, .drop = free};
    return KN_OK;
}

static uint64_t hash(uint64_t h, const void *data, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        h = (h ^ ((const uint8_t *)data)[i]) * 1099511628211u;
    return h;
}

/* Everything that a layout says, in 64 bits; with 64 more of another start none will collide. */
static uint64_t layout_hash(const dnnl_memory_desc_t *m, uint64_t start) {
    size_t axes = (size_t)m->ndims * sizeof(dnnl_dim_t);
    uint64_t h = hash(start, &m->ndims, sizeof m->ndims);
    h = hash(h, m->dims, axes);
    h = hash(h, m->padded_dims, axes);
    h = hash(h, &m->data_type, sizeof m->data_type);
    h = hash(h, &m->format_kind, sizeof m->format_kind);
    if (m->format_kind == dnnl_blocked) {
        const dnnl_blocking_desc_t *b = &m->format_desc.blocking;
        size_t inner = (size_t)b->inner_nblks * sizeof(dnnl_dim_t);
        h = hash(h, b->strides, axes);
        h = hash(h, b->inner_blks, inner);
        h = hash(h, b->inner_idxs, inner);
    } else {
        h = hash(h, &m->format_desc, sizeof m->format_desc);
    }
    return hash(h, &m->extra.flags, sizeof m->extra.flags);
}

static const void *at(const void *base, uint64_t offset_bytes) {
    return (const char *)base + offset_bytes;
}

static enum kn_status pack_weights(const struct kn_dnnl_weights *w, const dnnl_memory_desc_t *to,
                                   const void **data, struct kn_err *err) {
    char key[160];
    const struct kn_packed *packed;
    struct pack pack = {
        .from = w->layout, .to = to, .data = at(kn_weights_data(w->arena), w->offset_bytes)};

    snprintf(key, sizeof key, "onednn %llu %016llx %016llx %016llx",
             (unsigned long long)w->offset_bytes,
             (unsigned long long)layout_hash(w->layout, 14695981039346656037u),
             (unsigned long long)layout_hash(to, 14695981039346656037u),
             (unsigned long long)layout_hash(to, 1));
    enum kn_status status = kn_weights_pack(w->arena, key, make_packed, &pack, &packed, err);
    if (status == KN_OK)
        *data = packed->data;
    return status;
}

/* ---------------------------------------------------------------------------------- primitives */

static enum kn_status add_argument(struct kn_dnnl *d, int index, dnnl_memory_t *memory,
                                   const dnnl_memory_desc_t *layout, const void *data,
                                   struct kn_err *err) {
    dnnl_status_t status = dnnl_memory_create(memory, layout, engine, (void *)data);
    if (status != dnnl_success)
        return kn_dnnl_fail(err, status, "dnnl_memory_create");
    d->arg[d->args++] = (dnnl_exec_arg_t){index, *memory};
    return KN_OK;
}

static uint64_t aligned(uint64_t bytes) {
    return (bytes + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

/* Packed weights of the arena, or what kn_dnnl_bind() needs to make them in each run. */
static enum kn_status add_weights(struct kn_dnnl *d, const dnnl_memory_desc_t *wanted,
                                  const struct kn_dnnl_weights *w, struct kn_err *err) {
    const void *packed = DNNL_MEMORY_NONE, *bias = DNNL_MEMORY_NONE;
    enum kn_status status = KN_OK;

    if (!w)
        return add_argument(d, DNNL_ARG_WEIGHTS, &d->weights, wanted, DNNL_MEMORY_NONE, err);
    d->bound = !w->arena;
    d->offset_bytes = w->offset_bytes;
    d->bias_offset_bytes = w->bias_offset_bytes;
    bool plain = dnnl_memory_desc_equal(wanted, w->layout);
    if (w->arena) {
        bias = at(kn_weights_data(w->arena), w->bias_offset_bytes);
        packed = at(kn_weights_data(w->arena), w->offset_bytes);
        if (!plain)
            KN_TRY(pack_weights(w, wanted, &packed, err));
    } else if (!plain) {
        d->packed_bytes = aligned(dnnl_memory_desc_get_size(wanted));
        KN_TRY(make_reorder(&d->pack, w->layout, wanted, false, err));
        DNNL_TRY(dnnl_memory_create(&d->unpacked, w->layout, engine, DNNL_MEMORY_NONE));
    }
    KN_TRY(add_argument(d, DNNL_ARG_WEIGHTS, &d->weights, wanted, packed, err));
    if (w->bias)
        KN_TRY(add_argument(d, DNNL_ARG_BIAS, &d->bias, &w->bias_layout, bias, err));
fail:
    return status;
}

/* The memory objects of a primitive; those that move from run to run get their address then. */
static enum kn_status make_arguments(struct kn_dnnl *d, const_dnnl_primitive_desc_t p,
                                     const struct kn_dnnl_post *post,
                                     const struct kn_dnnl_weights *w, struct kn_err *err) {
    const dnnl_memory_desc_t *src = dnnl_primitive_desc_query_md(p, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *dst = dnnl_primitive_desc_query_md(p, dnnl_query_dst_md, 0);
    const dnnl_memory_desc_t *weights = dnnl_primitive_desc_query_md(p, dnnl_query_weights_md, 0);
    const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(p, dnnl_query_scratchpad_md, 0);
    enum kn_status status;

    d->scratch_bytes = aligned(dnnl_memory_desc_get_size(pad));
    KN_TRY(add_argument(d, DNNL_ARG_SRC, &d->src, src, DNNL_MEMORY_NONE, err));
    KN_TRY(add_weights(d, weights, w, err));
    KN_TRY(add_argument(d, DNNL_ARG_DST, &d->dst, dst, DNNL_MEMORY_NONE, err));
    KN_TRY(add_argument(d, DNNL_ARG_SCRATCHPAD, &d->scratch, pad, DNNL_MEMORY_NONE, err));
    if (post->add)
        KN_TRY(add_argument(d, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, &d->add,
                            post->add, DNNL_MEMORY_NONE, err));
fail:
    return status;
}

bool kn_dnnl_adds(void) {
    dnnl_cpu_isa_t isa = dnnl_get_effective_cpu_isa();
    return isa != dnnl_cpu_isa_sse41 && isa != dnnl_cpu_isa_avx;
}

/*
 * Not the library's reference, which is slower than ours, and not its SSE4.1 convolutions, which
 * fault on tensors that are not aligned to 16 bytes.
 */
static bool is_refused(const char *name) {
    return !strncmp(name, "ref", 3) || strstr(name, "sse41");
}

/* The library's first choice that is not refused. */
static enum kn_status choose(struct kn_dnnl *d, dnnl_primitive_desc_t *p,
                             const_dnnl_op_desc_t descriptor, const_dnnl_primitive_attr_t attr,
                             const_dnnl_primitive_desc_t forward, struct kn_err *err) {
    enum kn_status status = KN_OK;
    dnnl_primitive_desc_iterator_t list = NULL;
    const char *name = "";

    DNNL_TRY(dnnl_primitive_desc_iterator_create(&list, descriptor, attr, engine, forward));
    for (;;) {
        *p = dnnl_primitive_desc_iterator_fetch(list);
        DNNL_TRY(dnnl_primitive_desc_query(*p, dnnl_query_impl_info_str, 0, &name));
        if (!is_refused(name))
            break;
        dnnl_primitive_desc_destroy(*p);
        *p = NULL;
        DNNL_TRY(dnnl_primitive_desc_iterator_next(list));
    }
    d->uneven = strstr(name, "gemm") != NULL;
fail:
    dnnl_primitive_desc_iterator_destroy(list);
    return status;
}

enum kn_status kn_dnnl_make(struct kn_dnnl *d, const_dnnl_op_desc_t descriptor,
                            const struct kn_dnnl_post *post, const struct kn_dnnl_weights *weights,
                            struct kn_err *err) {
    enum kn_status status = KN_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t p = NULL;

    memset(d, 0, sizeof *d);
    pthread_once(&library_once, open_library);
    DNNL_TRY(library_status);
    KN_TRY(make_attributes(&attr, post, err));
    KN_TRY(choose(d, &p, descriptor, attr, NULL, err));
    DNNL_TRY(dnnl_primitive_create(&d->primitive, p));
    KN_TRY(make_arguments(d, p, post, weights, err));
fail:
    dnnl_primitive_desc_destroy(p);
    dnnl_primitive_attr_destroy(attr);
    if (status != KN_OK)
        kn_dnnl_clear(d);
    return status;
}

static enum kn_status make_gradient_arguments(struct kn_dnnl *d, const_dnnl_primitive_desc_t p,
                                              const dnnl_memory_desc_t *to, bool bias,
                                              struct kn_err *err) {
    const dnnl_memory_desc_t *src = dnnl_primitive_desc_query_md(p, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *dy = dnnl_primitive_desc_query_md(p, dnnl_query_diff_dst_md, 0);
    const dnnl_memory_desc_t *dw = dnnl_primitive_desc_query_md(p, dnnl_query_diff_weights_md, 0);
    const dnnl_memory_desc_t *db = dnnl_primitive_desc_query_md(p, dnnl_query_diff_weights_md, 1);
    const dnnl_memory_desc_t *pad = dnnl_primitive_desc_query_md(p, dnnl_query_scratchpad_md, 0);
    enum kn_status status;

    d->scratch_bytes = aligned(dnnl_memory_desc_get_size(pad));
    d->packed_bytes = aligned(dnnl_memory_desc_get_size(dw));
    KN_TRY(add_argument(d, DNNL_ARG_SRC, &d->src, src, DNNL_MEMORY_NONE, err));
    KN_TRY(add_argument(d, DNNL_ARG_DIFF_DST, &d->dst, dy, DNNL_MEMORY_NONE, err));
    KN_TRY(add_argument(d, DNNL_ARG_DIFF_WEIGHTS, &d->weights, dw, DNNL_MEMORY_NONE, err));
    if (bias)
        KN_TRY(add_argument(d, DNNL_ARG_DIFF_BIAS, &d->bias, db, DNNL_MEMORY_NONE, err));
    KN_TRY(add_argument(d, DNNL_ARG_SCRATCHPAD, &d->scratch, pad, DNNL_MEMORY_NONE, err));
    KN_TRY(make_reorder(&d->pack, dw, to, true, err));
    DNNL_TRY(dnnl_memory_create(&d->unpacked, to, engine, DNNL_MEMORY_NONE));
fail:
    return status;
}

enum kn_status kn_dnnl_make_gradient(struct kn_dnnl *d, const dnnl_convolution_desc_t *forward,
                                     const dnnl_convolution_desc_t *backward,
                                     const dnnl_memory_desc_t *to, bool bias, struct kn_err *err) {
    const struct kn_dnnl_post none = {0};
    enum kn_status status = KN_OK;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_primitive_desc_t hint = NULL, p = NULL;

    memset(d, 0, sizeof *d);
    pthread_once(&library_once, open_library);
    DNNL_TRY(library_status);
    KN_TRY(make_attributes(&attr, &none, err));
    DNNL_TRY(dnnl_primitive_desc_create(&hint, forward, NULL, engine, NULL));
    KN_TRY(choose(d, &p, backward, attr, hint, err));
    DNNL_TRY(dnnl_primitive_create(&d->primitive, p));
    KN_TRY(make_gradient_arguments(d, p, to, bias, err));
fail:
    dnnl_primitive_desc_destroy(hint);
    dnnl_primitive_desc_destroy(p);
    dnnl_primitive_attr_destroy(attr);
    if (status != KN_OK)
        kn_dnnl_clear(d);
    return status;
}

enum kn_status kn_dnnl_point(struct kn_dnnl *d, const void *weights, const void *bias,
                             struct kn_err *err) {
    enum kn_status status = KN_OK;

    DNNL_TRY(dnnl_memory_set_data_handle(d->weights, (void *)weights));
    if (d->bias)
        DNNL_TRY(dnnl_memory_set_data_handle(d->bias, (void *)bias));
fail:
    return status;
}

enum kn_status kn_dnnl_add(struct kn_dnnl *d, const void *gradient, void *to, struct kn_err *err) {
    enum kn_status status = KN_OK;

    DNNL_TRY(dnnl_memory_set_data_handle(d->weights, (void *)gradient));
    DNNL_TRY(dnnl_memory_set_data_handle(d->unpacked, to));
    DNNL_TRY(run_reorder(d->pack, d->weights, d->unpacked));
fail:
    return status;
}

enum kn_status kn_dnnl_bind(struct kn_dnnl *d, const struct kn_call *call, void *packed,
                            struct kn_err *err) {
    const void *base = call->base[KN_SLOT_WEIGHTS];
    enum kn_status status = KN_OK;

    if (!d->bound)
        return KN_OK;
    void *weights = (void *)at(base, d->offset_bytes);
    DNNL_TRY(dnnl_memory_set_data_handle(d->weights, d->pack ? packed : weights));
    if (d->bias)
        DNNL_TRY(dnnl_memory_set_data_handle(d->bias, (void *)at(base, d->bias_offset_bytes)));
    if (d->pack) {
        DNNL_TRY(dnnl_memory_set_data_handle(d->unpacked, weights));
        DNNL_TRY(run_reorder(d->pack, d->unpacked, d->weights));
    }
fail:
    return status;
}

enum kn_status kn_dnnl_run(struct kn_dnnl *d, const void *src, const void *add, void *dst,
                           void *scratch, struct kn_err *err) {
    enum kn_status status = KN_OK;

    DNNL_TRY(dnnl_memory_set_data_handle(d->src, (void *)src));
    DNNL_TRY(dnnl_memory_set_data_handle(d->dst, dst));
    DNNL_TRY(dnnl_memory_set_data_handle(d->scratch, scratch));
    if (d->add)
        DNNL_TRY(dnnl_memory_set_data_handle(d->add, (void *)add));
    DNNL_TRY(dnnl_primitive_execute(d->primitive, stream, d->args, d->arg));
fail:
    return status;
}

void kn_dnnl_clear(struct kn_dnnl *d) {
    dnnl_primitive_destroy(d->primitive);
    dnnl_primitive_destroy(d->pack);
    dnnl_memory_t memory[] = {d->src, d->dst, d->add, d->scratch, d->weights, d->bias, d->unpacked};
    for (size_t i = 0; i < sizeof memory / sizeof *memory; i++)
        dnnl_memory_destroy(memory[i]);
    memset(d, 0, sizeof *d);
}
