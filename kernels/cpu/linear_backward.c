/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of linear layers by oneDNN: of the input by linear.c with the weights transposed, of
 * the weights tile by tile, each by one thread, so that results do not depend on their number.
 */
#include <stdlib.h>

#include "onednn.h"

/* -------------------------------------------------------------------------------- of the input */

struct data_plan {
    struct kn_node linear;
    void *plan;
};

static void release_data(void *plan) {
    struct data_plan *p = plan;
    if (p && p->plan)
        kn_cpu_linear.release(p->plan);
    free(p);
}

static enum kn_status prepare_data(struct kn_prepare *prepare, const struct kn_node *node,
                                   struct kn_err *err) {
    const struct kn_linear_backward_data_args *a = &node->args.linear_backward_data;
    struct data_plan *p = calloc(1, sizeof *p);
    struct kn_linear_args *l;

    if (!p)
        return kn_fail_nomem(err, sizeof *p, "matrix product plan");
    p->linear.op = KN_OP_LINEAR;
    l = &p->linear.args.linear;
    *l = (struct kn_linear_args){.x = a->dy, .weight = a->weight, .out = a->dx};
    if (a->accumulate)
        l->residual = a->dx;
    for (int i = 0; i < 2; i++) {
        l->weight.dim[i] = a->weight.dim[1 - i];
        l->weight.stride[i] = a->weight.stride[1 - i];
    }
    enum kn_status status = kn_cpu_linear.prepare(prepare, &p->linear, err);
    if (status != KN_OK) {
        release_data(p);
        return status;
    }
    p->plan = prepare->plan;
    prepare->plan = p;
    return KN_OK;
}

static enum kn_status run_data(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct data_plan *p = call->plan;
    struct kn_call inner = *call;

    (void)args;
    inner.plan = p->plan;
    return kn_cpu_linear.run(&inner, &p->linear.args.linear, err);
}

const struct kn_kernel kn_cpu_linear_backward_data = {
    .prepare = prepare_data, .run = run_data, .release = release_data};

/* ------------------------------------------------------------------------------- of the weights */

#define MOST 8 /* tiles along each side of the matrix */

struct weights_plan {
    int64_t rows, columns;  /* of a tile */
    int64_t down, across;   /* tiles */
    bool wide_x, wide_dy;   /* copied to f32 */
    struct kn_tensor x, dy; /* as they are read: where they lie, or in scratch */
    uint64_t copies_bytes;  /* of scratch */
    uint64_t pad_bytes;     /* of a tile, for the library */
    struct kn_dnnl tile[MOST * MOST];
};

static void release_weights(void *plan) {
    struct weights_plan *p = plan;
    for (int i = 0; p && i < MOST * MOST; i++)
        kn_dnnl_clear(&p->tile[i]);
    free(p);
}

/* The size of tiles for n rows or columns: a multiple of 16, and MOST tiles at most. */
static int64_t tile_size(int64_t n, int64_t least) {
    int64_t size = (n + MOST - 1) / MOST;
    size = (size + 15) / 16 * 16;
    return size > least ? size : least;
}

static int64_t extent(int64_t size, int64_t n, int64_t i) {
    return n - i * size < size ? n - i * size : size;
}

/* rows x columns of dweight: (M, rows)^T times (M, columns). */
static enum kn_status make_tile(struct kn_dnnl *d, const struct weights_plan *p,
                                const struct kn_linear_backward_weights_args *a, int64_t rows,
                                int64_t columns, struct kn_err *err) {
    dnnl_dims_t dy_dims = {rows, a->dy.dim[0]}, dy_strides = {1, p->dy.stride[0]};
    dnnl_dims_t x_dims = {a->x.dim[0], columns}, x_strides = {p->x.stride[0], 1};
    dnnl_dims_t dw_dims = {rows, columns}, dw_strides = {a->dweight.stride[0], 1};
    const struct kn_dnnl_post post = {.sum = true};
    dnnl_memory_desc_t dy, x, dw;
    dnnl_matmul_desc_t m;
    dnnl_status_t s = dnnl_memory_desc_init_by_strides(&dy, 2, dy_dims, dnnl_f32, dy_strides);

    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_strides(&x, 2, x_dims, dnnl_f32, x_strides);
    if (s == dnnl_success)
        s = dnnl_memory_desc_init_by_strides(&dw, 2, dw_dims, dnnl_f32, dw_strides);
    if (s == dnnl_success)
        s = dnnl_matmul_desc_init(&m, &dy, &x, NULL, &dw);
    return s == dnnl_success ? kn_dnnl_make(d, &m, &post, NULL, err)
                             : kn_dnnl_fail(err, s, "gradient of a matrix product");
}

static enum kn_status make_tiles(struct weights_plan *p,
                                 const struct kn_linear_backward_weights_args *a,
                                 struct kn_err *err) {
    const int64_t N = a->dweight.dim[0], K = a->dweight.dim[1];
    enum kn_status status = KN_OK;

    p->rows = tile_size(N, 64);
    p->columns = tile_size(K, 128);
    p->down = (N + p->rows - 1) / p->rows;
    p->across = (K + p->columns - 1) / p->columns;
    for (int64_t i = 0; i < p->down * p->across; i++) {
        KN_TRY(make_tile(&p->tile[i], p, a, extent(p->rows, N, i / p->across),
                         extent(p->columns, K, i % p->across), err));
        if (p->pad_bytes < p->tile[i].scratch_bytes)
            p->pad_bytes = p->tile[i].scratch_bytes;
    }
fail:
    return status;
}

/* Dense f32 rows at *at of scratch where t is of another type. */
static bool widen(struct kn_tensor *t, uint64_t *at) {
    if (t->dtype == KN_F32)
        return false;
    *t = kn_tensor_dense(KN_SLOT_WORK, *at, KN_F32, 2, t->dim);
    *at += ((uint64_t)(t->dim[0] * t->dim[1]) * sizeof(float) + KN_ALIGN - 1) / KN_ALIGN * KN_ALIGN;
    return true;
}

static enum kn_status prepare_weights(struct kn_prepare *prepare, const struct kn_node *node,
                                      struct kn_err *err) {
    const struct kn_linear_backward_weights_args *a = &node->args.linear_backward_weights;
    struct weights_plan *p = calloc(1, sizeof *p);
    struct kn_err why;

    if (!p)
        return kn_fail_nomem(err, sizeof *p, "matrix product plan");
    p->x = a->x;
    p->dy = a->dy;
    p->wide_x = widen(&p->x, &p->copies_bytes);
    p->wide_dy = widen(&p->dy, &p->copies_bytes);
    int before = kn_dnnl_threads(1);
    enum kn_status status = make_tiles(p, a, &why);
    kn_dnnl_threads(before);
    if (status != KN_OK)
        release_weights(p);
    if (status == KN_ERR_UNSUPPORTED) /* no plan: run() takes the reference */
        return KN_OK;
    if (status != KN_OK) {
        if (err)
            *err = why;
        return status;
    }
    prepare->plan = p;
    prepare->scratch_bytes = p->copies_bytes + (uint64_t)(p->down * p->across) * p->pad_bytes;
    return KN_OK;
}

/* The values of t as f32, copied to where the plan says if they are of another type. */
static const float *values(const struct kn_call *call, const struct kn_tensor *t,
                           const struct kn_tensor *wide, bool copied) {
    if (!copied)
        return kn_at(call, t);
    float *copy = (float *)((char *)call->scratch + wide->offset_bytes);
    struct kn_cpu_rows rows = {kn_at(call, t), t->dtype, t->dim[0], t->dim[1], t->stride[0]};
    kn_cpu_widen(copy, rows, call->threads);
    return copy;
}

static enum kn_status run_tile(const struct kn_call *call, float *dweight, int64_t stride,
                               int64_t i, const float *x, const float *dy, struct kn_err *err) {
    struct weights_plan *p = call->plan;
    int64_t row = i / p->across * p->rows, column = i % p->across * p->columns;
    void *pad = (char *)call->scratch + p->copies_bytes + (uint64_t)i * p->pad_bytes;
    enum kn_status status = kn_dnnl_point(&p->tile[i], x + column, NULL, err);

    if (status == KN_OK)
        status =
            kn_dnnl_run(&p->tile[i], dy + row, NULL, dweight + row * stride + column, pad, err);
    return status;
}

#define COLUMNS 16 /* that are summed at once: a cache line */
#define ROWS 128   /* that are summed in float before the sum goes on in double */

/* to[c] += sum of rows: each column is summed by one thread, from the first row to the last. */
static void add_columns(float *to, const float *from, const struct kn_tensor *t, int64_t column) {
    int64_t n = t->dim[1] - column < COLUMNS ? t->dim[1] - column : COLUMNS;
    double total[COLUMNS] = {0};

    for (int64_t m = 0; m < t->dim[0];) {
        float sum[COLUMNS] = {0};
        for (int64_t end = m + ROWS; m < end && m < t->dim[0]; m++) {
            const float *row = from + m * t->stride[0] + column;
            if (n == COLUMNS)
#pragma omp simd
                for (int64_t i = 0; i < COLUMNS; i++)
                    sum[i] += row[i];
            else
                for (int64_t i = 0; i < n; i++)
                    sum[i] += row[i];
        }
        for (int64_t i = 0; i < COLUMNS; i++)
            total[i] += (double)sum[i];
    }
    for (int64_t i = 0; i < n; i++)
        to[column + i] += (float)total[i];
}

static enum kn_status run_weights(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_linear_backward_weights_args *a = args;
    const struct weights_plan *p = call->plan;
    enum kn_status status = KN_OK;
    struct kn_err why;

    if (!p)
        return kn_cpu_reference(KN_OP_LINEAR_BACKWARD_WEIGHTS)->run(call, args, err);
    kn_dnnl_threads(call->threads);
    const float *x = values(call, &a->x, &p->x, p->wide_x);
    const float *dy = values(call, &a->dy, &p->dy, p->wide_dy);
    float *dweight = kn_at(call, &a->dweight);
#pragma omp parallel for num_threads(call->threads) schedule(dynamic)
    for (int64_t i = 0; i < p->down * p->across; i++) {
        struct kn_err mine;
        kn_dnnl_threads(1); /* of this thread, until the loop ends */
        enum kn_status one = run_tile(call, dweight, a->dweight.stride[0], i, x, dy, &mine);
        if (one != KN_OK)
#pragma omp critical(linear_backward)
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
    if (!a->dbias.rank)
        return KN_OK;
    float *dbias = kn_at(call, &a->dbias);
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t c = 0; c < p->dy.dim[1]; c += COLUMNS)
        add_columns(dbias, dy, &p->dy, c);
    return KN_OK;
}

const struct kn_kernel kn_cpu_linear_backward_weights = {
    .prepare = prepare_weights, .run = run_weights, .release = release_weights};
