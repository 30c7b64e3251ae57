/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Gradient of the gated output norm, a row at a time. */
#include <math.h>
#include <omp.h>

#include "norm.h"

struct row {
    const float *o, *z, *weight, *dy;
    float *d_o, *dz, *dweight;
    float *scale, *dn; /* per column: 1 / RMS of its head; gradient of the normalised o */
    int64_t n, width;
};

static void find_scales(const struct row *r, float epsilon) {
    for (int64_t head = 0; head < r->n; head += r->width) {
        float mean = kn_square_sum_of(r->o + head, r->width) / (float)r->width;
        float scale = 1.0f / sqrtf(mean + epsilon);
        for (int64_t i = head; i < head + r->width; i++)
            r->scale[i] = scale;
    }
}

/* All but o; the bounds only keep infinities out of products with zero. */
static void gather(const struct row *r) {
    const float *o = r->o, *z = r->z, *weight = r->weight, *dy = r->dy, *scale = r->scale;
    float *dz = r->dz, *dweight = r->dweight, *dn = r->dn;

#pragma omp simd
    for (int64_t i = 0; i < r->n; i++) {
        float at = z[i] < -1e30f ? -1e30f : z[i];
        at = at > 1e30f ? 1e30f : at;
        float normal = o[i] * scale[i], sigmoid = kn_sigmoid(at), silu = at * sigmoid;
        dz[i] = dy[i] * normal * weight[i] * (sigmoid + silu * (1.0f - sigmoid));
        dweight[i] += dy[i] * normal * silu;
        dn[i] = dy[i] * weight[i] * silu;
    }
}

/*
 * dx = scale^3 ((mean + epsilon) dn - o mean(dn o)), in double: in narrow heads nearly all of it
 * cancels, of one column all but epsilon.
 */
static void spread(const struct row *r, double epsilon) {
    for (int64_t head = 0; head < r->n; head += r->width) {
        const float *o = r->o + head, *dn = r->dn + head;
        float *d_o = r->d_o + head;
        double square = 0, along = 0;
#pragma omp simd reduction(+ : square, along)
        for (int64_t i = 0; i < r->width; i++) {
            square += (double)o[i] * (double)o[i];
            along += (double)dn[i] * (double)o[i];
        }
        square = square / (double)r->width + epsilon;
        along /= (double)r->width;
        double scale = 1 / (square * sqrt(square));
#pragma omp simd
        for (int64_t i = 0; i < r->width; i++)
            d_o[i] = (float)(scale * (square * (double)dn[i] - along * (double)o[i]));
    }
}

#define ROWS 3 /* that a thread needs: scales, dn, dy */

static enum kn_status prepare(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err) {
    const struct kn_chunks c = kn_chunks(&node->args.gate_backward.o, 1, ROWS, NULL);

    (void)err;
    prepare->scratch_bytes = kn_chunks_bytes(&c, prepare->threads);
    return KN_OK;
}

static enum kn_status run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_gate_backward_args *a = args;
    const struct kn_chunks c = kn_chunks(&a->o, 1, ROWS, call->scratch);
    float *d_o = kn_at(call, &a->d_o), *dz = kn_at(call, &a->dz);

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t chunk = 0; chunk < c.count; chunk++) {
        float *some = kn_chunk_rows(&c, omp_get_thread_num());
        struct row r = {.weight = kn_at(call, &a->weight),
                        .dweight = kn_chunk_sum(&c, chunk, 0),
                        .scale = some,
                        .dn = some + c.D,
                        .n = c.D,
                        .width = c.D / a->heads};
        for (int64_t m = chunk * KN_CHUNK; m < kn_chunk_end(&c, chunk); m++) {
            r.o = (const float *)kn_at(call, &a->o) + m * a->o.stride[0];
            r.z = (const float *)kn_at(call, &a->z) + m * a->z.stride[0];
            r.dy = kn_row(call, &a->dy, m, some + 2 * c.D);
            r.d_o = d_o + m * a->d_o.stride[0];
            r.dz = dz + m * a->dz.stride[0];
            find_scales(&r, a->epsilon);
            gather(&r);
            spread(&r, (double)a->epsilon);
        }
    }
    kn_chunks_add(kn_at(call, &a->dweight), &c, 0);
    return KN_OK;
}

void KN_ISA_NAME(gate_backward)(struct kn_table *table) {
    table->kernel[KN_OP_GATE_BACKWARD] = (struct kn_kernel){.prepare = prepare, .run = run};
}
