/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of convolutions by oneDNN.
 *
 * Of the input: the forward convolution with input and output channels of the weights exchanged and
 * the taps turned around, which version 2.6 does no slower than its own backward one (measured),
 * and which can add to what is there.
 *
 * Of the parameters: frames, or bands of rows where frames are few, are cut into a fixed number of
 * groups, each summed by one thread; then groups are added up in order. So results do not depend on
 * the number of threads, and nobody waits for anybody inside the library.
 */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "onednn.h"

static uint64_t aligned(uint64_t bytes) {
    return (bytes + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
}

/* --------------------------------------------------------------------------------- of the input */

/* Before AVX2 the library's sums depend on the number of threads that it plans for. */
static int threads_for(int threads) {
    return kn_dnnl_adds() ? threads : 1;
}

struct data_plan {
    struct kn_node conv; /* its weights are the turned ones, in scratch as slot "weights" */
    void *plan;
    uint64_t turned_bytes;
};

static void release_data(void *plan) {
    struct data_plan *p = plan;
    if (p && p->plan)
        kn_cpu_conv.release(p->plan);
    free(p);
}

static enum kn_status prepare_data(struct kn_prepare *prepare, const struct kn_node *node,
                                   struct kn_err *err) {
    const struct kn_conv_backward_data_args *a = &node->args.conv_backward_data;
    const int64_t k = a->weight.dim[2], I = a->dx.dim[3], O = a->dy.dim[3];
    const int64_t dim[KN_MAX_RANK] = {I, O, k, k};
    struct kn_prepare inner = {.dev = prepare->dev, .threads = threads_for(prepare->threads)};
    struct data_plan *p = calloc(1, sizeof *p);

    if (!p)
        return kn_fail_nomem(err, sizeof *p, "convolution plan");
    p->conv.op = KN_OP_CONV;
    p->conv.args.conv = (struct kn_conv_args){
        .x = a->dy,
        .weight = kn_tensor_dense(KN_SLOT_WEIGHTS, 0, KN_F32, 4, dim),
        .out = a->dx,
    };
    if (a->accumulate)
        p->conv.args.conv.residual = a->dx;
    p->turned_bytes = aligned((uint64_t)(I * O * k * k) * sizeof(float));
    enum kn_status status = kn_cpu_conv.prepare(&inner, &p->conv, err);
    if (status != KN_OK) {
        release_data(p);
        return status;
    }
    p->plan = inner.plan;
    prepare->plan = p;
    prepare->scratch_bytes = p->turned_bytes + inner.scratch_bytes;
    return KN_OK;
}

/* (O, I or 2I, k, k) to (I, O, k, k), taps from last to first. */
static void turn(float *to, const float *weight, const struct kn_conv_backward_data_args *a) {
    const int64_t I = a->dx.dim[3], O = a->dy.dim[3], taps = a->weight.stride[1];

    if (a->past)
        weight += I * taps;
    for (int64_t i = 0; i < I; i++)
        for (int64_t o = 0; o < O; o++)
            for (int64_t k = 0; k < taps; k++)
                *to++ = weight[o * a->weight.stride[0] + i * taps + taps - 1 - k];
}

static enum kn_status run_data(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_conv_backward_data_args *a = args;
    const struct data_plan *p = call->plan;
    void *base[KN_SLOT_COUNT];
    struct kn_call inner = *call;

    turn(call->scratch, kn_at(call, &a->weight), a);
    memcpy(base, call->base, sizeof base);
    base[KN_SLOT_WEIGHTS] = call->scratch;
    inner.base = base;
    inner.plan = p->plan;
    inner.threads = threads_for(call->threads);
    inner.scratch = (char *)call->scratch + p->turned_bytes;
    return kn_cpu_conv.run(&inner, &p->conv.args.conv, err);
}

const struct kn_kernel kn_cpu_conv_backward_data = {
    .prepare = prepare_data, .run = run_data, .release = release_data};

/* ---------------------------------------------------------------------------- of the parameters */

#define GROUPS 16 /* at most */

/* Frames and rows of dy that are summed together: several frames, or a band of one. */
struct group {
    int64_t first, frames, row, rows;
    int64_t above, below; /* rows of x beside the band that the kernel reaches */
};

struct weights_plan {
    int64_t groups, bands; /* bands of a frame; 1 where a group holds whole frames */
    /* one per group, as each has memory objects of its own */
    struct kn_dnnl now[GROUPS], past[GROUPS];
    bool copied;                       /* a group, to dense f32: other types, and gaps */
    uint64_t x_bytes, dy_bytes;        /* of the copies of a group */
    uint64_t pad_bytes;                /* for the library, and copies: of a thread */
    uint64_t weights_bytes, sum_bytes; /* of a group's sums: of one half of weights; all */
};

static void release_weights(void *plan) {
    struct weights_plan *p = plan;
    for (int g = 0; p && g < GROUPS; g++) {
        kn_dnnl_clear(&p->now[g]);
        kn_dnnl_clear(&p->past[g]);
    }
    free(p);
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void choose_groups(struct weights_plan *p, const struct kn_conv_backward_weights_args *a) {
    int64_t T = a->x.dim[0], tall = (a->x.dim[1] + 7) / 8; /* bands of 8 rows or more */

    p->bands = T < GROUPS ? least(GROUPS / T, tall) : 1;
    p->groups = least(T, GROUPS) * p->bands;
}

static struct group group_of(const struct weights_plan *p,
                             const struct kn_conv_backward_weights_args *a, int64_t g) {
    int64_t T = a->x.dim[0], height = a->x.dim[1], reach = a->dweight.dim[2] / 2;
    int64_t parts = p->groups / p->bands, part = g / p->bands, band = g % p->bands;
    struct group group = {.first = T * part / parts, .row = height * band / p->bands};

    group.frames = T * (part + 1) / parts - group.first;
    group.rows = height * (band + 1) / p->bands - group.row;
    group.above = least(reach, group.row);
    group.below = least(reach, height - group.row - group.rows);
    return group;
}

static dnnl_status_t layout(dnnl_memory_desc_t *m, const struct kn_tensor *t, int64_t frames,
                            int64_t rows) {
    dnnl_dims_t dims = {frames, t->dim[3], rows, t->dim[2]};
    return dnnl_memory_desc_init_by_tag(m, 4, dims, dnnl_f32, dnnl_nhwc);
}

/*
 * Of x and the first half of weights, or of past and the second one. The gradient is laid out as
 * that of `like`; NULL: as the library wants.
 */
static enum kn_status make_group(struct kn_dnnl *d, const struct kn_conv_backward_weights_args *a,
                                 const struct group *g, const struct kn_dnnl *like, bool bias,
                                 struct kn_err *err) {
    const struct kn_tensor *t = &a->dweight;
    dnnl_dims_t dims = {t->dim[0], a->x.dim[3], t->dim[2], t->dim[3]}, outputs = {t->dim[0]};
    dnnl_dims_t strides = {t->stride[0], t->stride[1], t->stride[2], t->stride[3]};
    dnnl_dim_t reach = t->dim[2] / 2;
    dnnl_dims_t one = {1, 1}, top = {reach - g->above, reach}, bottom = {reach - g->below, reach};
    dnnl_memory_desc_t src, dst, any, to, b;
    const dnnl_memory_desc_t *weights = &any;
    dnnl_convolution_desc_t forward, backward;
    dnnl_status_t s = layout(&src, &a->x, g->frames, g->above + g->rows + g->below);

    if (s == dnnl_success)
        s = layout(&dst, &a->dy, g->frames, g->rows);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_tag(&any, 4, dims, dnnl_f32, dnnl_format_tag_any);
    if (s == dnnl_success && like)
        s = dnnl_memory_get_memory_desc(like->weights, &weights);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_strides(&to, 4, dims, dnnl_f32, strides);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_tag(&b, 1, outputs, dnnl_f32, dnnl_a);
    if (s == dnnl_success)
        s = dnnl_convolution_forward_desc_init(&forward, dnnl_forward_training,
                                               dnnl_convolution_direct, &src, weights, NULL, &dst,
                                               one, top, bottom);
    if (s == dnnl_success)
        s = dnnl_convolution_backward_weights_desc_init(&backward, dnnl_convolution_direct, &src,
                                                        weights, bias ? &b : NULL, &dst, one, top,
                                                        bottom);
    return s == dnnl_success ? kn_dnnl_make_gradient(d, &forward, &backward, &to, bias, err)
                             : kn_dnnl_fail(err, s, "gradient of a convolution");
}

static enum kn_status make_groups(struct weights_plan *p,
                                  const struct kn_conv_backward_weights_args *a,
                                  struct kn_err *err) {
    enum kn_status status = KN_OK;

    for (int64_t i = 0; i < p->groups; i++) {
        const struct group g = group_of(p, a, i);
        const struct kn_dnnl *like = i > 0 ? &p->now[0] : NULL;
        KN_TRY(make_group(&p->now[i], a, &g, like, a->dbias.rank != 0, err));
        if (a->past.rank)
            KN_TRY(make_group(&p->past[i], a, &g, &p->now[0], false, err));
        if (p->pad_bytes < p->now[i].scratch_bytes)
            p->pad_bytes = p->now[i].scratch_bytes;
        if (p->pad_bytes < p->past[i].scratch_bytes)
            p->pad_bytes = p->past[i].scratch_bytes;
    }
fail:
    return status;
}

static bool are_neighbours(const struct kn_tensor *t) {
    return t->rank == 0 || t->stride[0] == t->dim[1] * t->stride[1];
}

/* Version 2.6 counts the values of a tensor in 32 bits. */
static bool is_countable(const struct kn_tensor *t, int64_t frames) {
    return t->dim[1] * t->dim[2] * t->dim[3] <= UINT32_MAX / frames;
}

static void choose_sizes(struct weights_plan *p, const struct kn_conv_backward_weights_args *a,
                         int64_t most) {
    p->copied = a->x.dtype != KN_F32 ||
                (most > 1 &&
                 !(are_neighbours(&a->x) && are_neighbours(&a->past) && are_neighbours(&a->dy)));
    if (p->copied) {
        p->x_bytes = aligned((uint64_t)(most * a->x.dim[1] * a->x.stride[1]) * sizeof(float));
        p->dy_bytes = aligned((uint64_t)(most * a->dy.dim[1] * a->dy.stride[1]) * sizeof(float));
        p->pad_bytes += p->x_bytes + p->dy_bytes;
    }
    p->weights_bytes = p->now[0].packed_bytes;
    p->sum_bytes = p->weights_bytes * (a->past.rank ? 2 : 1) +
                   aligned((uint64_t)a->dweight.dim[0] * sizeof(float));
}

static enum kn_status prepare_weights(struct kn_prepare *prepare, const struct kn_node *node,
                                      struct kn_err *err) {
    const struct kn_conv_backward_weights_args *a = &node->args.conv_backward_weights;
    const int64_t most = (a->x.dim[0] + GROUPS - 1) / GROUPS;
    struct weights_plan *p = calloc(1, sizeof *p);
    enum kn_status status = KN_ERR_UNSUPPORTED;
    struct kn_err why;

    if (!p)
        return kn_fail_nomem(err, sizeof *p, "convolution plan");
    choose_groups(p, a);
    int before = kn_dnnl_threads(1);
    if (is_countable(&a->x, most) && is_countable(&a->dy, most))
        status = make_groups(p, a, &why);
    kn_dnnl_threads(before);
    if (status != KN_OK)
        release_weights(p);
    if (status == KN_ERR_UNSUPPORTED) /* no plan: run() takes the reference */
        return kn_cpu_reference(KN_OP_CONV_BACKWARD_WEIGHTS)->prepare(prepare, node, err);
    if (status != KN_OK) {
        if (err)
            *err = why;
        return status;
    }
    choose_sizes(p, a, most);
    prepare->plan = p;
    prepare->scratch_bytes =
        (uint64_t)p->groups * p->sum_bytes + (uint64_t)prepare->threads * p->pad_bytes;
    return KN_OK;
}

static char *sums_of(const struct kn_call *call, int64_t g) {
    const struct weights_plan *p = call->plan;
    return (char *)call->scratch + (uint64_t)g * p->sum_bytes;
}

static float *bias_of(const struct kn_call *call, const struct kn_conv_backward_weights_args *a,
                      int64_t g) {
    const struct weights_plan *p = call->plan;
    return (float *)(sums_of(call, g) + p->weights_bytes * (a->past.rank ? 2 : 1));
}

/* Rows of some frames, as they lie or copied. */
static void *rows(const struct kn_call *call, const struct kn_tensor *t, const struct group *g,
                  int64_t row, int64_t count, float *copy) {
    const struct weights_plan *p = call->plan;
    char *from = (char *)kn_at(call, t) + (uint64_t)(g->first * t->stride[0] + row * t->stride[1]) *
                                              kn_dtype_bytes(t->dtype);

    if (!p->copied)
        return from;
    kn_cpu_widen(
        copy, (struct kn_cpu_rows){from, t->dtype, g->frames, count * t->stride[1], t->stride[0]},
        1);
    return copy;
}

static enum kn_status run_group(const struct kn_call *call,
                                const struct kn_conv_backward_weights_args *a, int64_t i,
                                struct kn_err *err) {
    struct weights_plan *p = call->plan;
    const struct group g = group_of(p, a, i);
    const int64_t row = g.row - g.above, count = g.above + g.rows + g.below;
    char *own = sums_of(call, p->groups) + (uint64_t)omp_get_thread_num() * p->pad_bytes;
    float *copy = (float *)own;
    void *pad = own + p->x_bytes + p->dy_bytes;
    void *dy = rows(call, &a->dy, &g, g.row, g.rows, (float *)(own + p->x_bytes));
    enum kn_status status;

    KN_TRY(kn_dnnl_point(&p->now[i], sums_of(call, i), bias_of(call, a, i), err));
    KN_TRY(kn_dnnl_run(&p->now[i], rows(call, &a->x, &g, row, count, copy), NULL, dy, pad, err));
    if (a->past.rank) {
        KN_TRY(kn_dnnl_point(&p->past[i], sums_of(call, i) + p->weights_bytes, NULL, err));
        KN_TRY(kn_dnnl_run(&p->past[i], rows(call, &a->past, &g, row, count, copy), NULL, dy, pad,
                           err));
    }
fail:
    return status;
}

/* Adds the sums of all groups to those of the first. */
static void add_groups(const struct kn_call *call) {
    const struct weights_plan *p = call->plan;
    const int64_t values = (int64_t)(p->sum_bytes / sizeof(float)), block = 4096;

#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t first = 0; first < values; first += block) {
        int64_t n = values - first < block ? values - first : block;
        float *to = (float *)sums_of(call, 0) + first;
        for (int64_t g = 1; g < p->groups; g++) {
            const float *from = (const float *)sums_of(call, g) + first;
#pragma omp simd
            for (int64_t i = 0; i < n; i++)
                to[i] += from[i];
        }
    }
}

static enum kn_status store(const struct kn_call *call,
                            const struct kn_conv_backward_weights_args *a, struct kn_err *err) {
    struct weights_plan *p = call->plan;
    float *dweight = kn_at(call, &a->dweight);
    enum kn_status status = kn_dnnl_add(&p->now[0], sums_of(call, 0), dweight, err);

    if (status == KN_OK && a->past.rank)
        status = kn_dnnl_add(&p->past[0], sums_of(call, 0) + p->weights_bytes,
                             dweight + a->x.dim[3] * a->dweight.stride[1], err);
    if (a->dbias.rank) {
        float *dbias = kn_at(call, &a->dbias);
        const float *sum = bias_of(call, a, 0);
        for (int64_t o = 0; o < a->dbias.dim[0]; o++)
            dbias[o] += sum[o];
    }
    return status;
}

static enum kn_status run_weights(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_conv_backward_weights_args *a = args;
    const struct weights_plan *p = call->plan;
    enum kn_status status = KN_OK;
    struct kn_err why;

    if (!p)
        return kn_cpu_reference(KN_OP_CONV_BACKWARD_WEIGHTS)->run(call, args, err);
    kn_dnnl_threads(call->threads);
#pragma omp parallel for num_threads(call->threads) schedule(dynamic)
    for (int64_t g = 0; g < p->groups; g++) {
        struct kn_err mine;
        kn_dnnl_threads(1); /* of this thread, until the loop ends */
        enum kn_status one = run_group(call, a, g, &mine);
        if (one != KN_OK)
#pragma omp critical(conv_backward)
        {
            status = one;
            why = mine;
        }
    }
    if (status != KN_OK) {
        if (err)
            *err = why;
        return status;
    }
    add_groups(call);
    return store(call, a, err);
}

const struct kn_kernel kn_cpu_conv_backward_weights = {
    .prepare = prepare_weights, .run = run_weights, .release = release_weights};
