/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of layer norm, a row at a time; mean and variance are computed again. */
#include <math.h>
#include <omp.h>

#include "norm.h"

struct row {
    const float *x, *weight, *dy;
    float *g;          /* dy weight, kept: a fused product would not be the one that was averaged */
    float mean, scale; /* 1 / standard deviation */
    int64_t n;
};

/* Adds to the gradients of weight and bias; gives g and the means of g and of g x^. */
static void gather(const struct row *r, float *dweight, float *dbias, float mean[2]) {
    const float *x = r->x, *weight = r->weight, *dy = r->dy, m = r->mean, scale = r->scale;
    float *g = r->g, plain = 0.0f, along = 0.0f;

#pragma omp simd reduction(+ : plain, along)
    for (int64_t i = 0; i < r->n; i++) {
        float normal = (x[i] - m) * scale;
        g[i] = dy[i] * weight[i];
        dweight[i] += dy[i] * normal;
        dbias[i] += dy[i];
        plain += g[i];
        along += g[i] * normal;
    }
    mean[0] = plain / (float)r->n;
    mean[1] = along / (float)r->n;
}

static void spread(const struct row *r, float *dx, const float mean[2], bool accumulate) {
    const float *x = r->x, *g = r->g, m = r->mean, scale = r->scale;
    const float plain = mean[0], along = mean[1];

    if (accumulate)
#pragma omp simd
        for (int64_t i = 0; i < r->n; i++)
            dx[i] += scale * (g[i] - plain - (x[i] - m) * scale * along);
    else
#pragma omp simd
        for (int64_t i = 0; i < r->n; i++)
            dx[i] = scale * (g[i] - plain - (x[i] - m) * scale * along);
}

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_chunks c = kn_chunks(&node->args.layer_norm_backward.x, 2, 2, NULL);

    (void)err;
    prepare->scratch_bytes = kn_chunks_bytes(&c, prepare->threads);
    return KN_OK;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_layer_norm_backward_args *a = args;
    const struct kn_chunks c = kn_chunks(&a->x, 2, 2, call->scratch);
    float *dx = kn_at(call, &a->dx);

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t chunk = 0; chunk < c.count; chunk++) {
        float *dweight = kn_chunk_sum(&c, chunk, 0), *dbias = kn_chunk_sum(&c, chunk, 1), mean[2];
        float *some = kn_chunk_rows(&c, omp_get_thread_num());
        struct row r = {.weight = kn_at(call, &a->weight), .g = some + c.D, .n = c.D};
        for (int64_t m = chunk * KN_CHUNK; m < kn_chunk_end(&c, chunk); m++) {
            r.x = (const float *)kn_at(call, &a->x) + m * a->x.stride[0];
            r.dy = kn_row(call, &a->dy, m, some);
            r.mean = kn_mean(r.x, r.n);
            r.scale = 1.0f / sqrtf(kn_variance(r.x, r.mean, r.n) + a->epsilon);
            gather(&r, dweight, dbias, mean);
            spread(&r, dx + m * a->dx.stride[0], mean, a->accumulate);
        }
    }
    kn_chunks_add(kn_at(call, &a->dweight), &c, 0);
    kn_chunks_add(kn_at(call, &a->dbias), &c, 1);
    return KN_OK;
}

void KN_ISA_NAME(layer_norm_backward)(struct kn_table *table) {
    table->kernel[KN_OP_LAYER_NORM_BACKWARD] = (struct kn_kernel){.prepare = prepare, .run = run};
}
