/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Latents to tokens and back. Rows of latents are walked in order, so that one side of the copy is
 * sequential; the other moves in runs of patch x channels.
 */
#include "cpu.h"
#include "floats.h"

/* Where things lie for a row of latents. */
struct rows {
    int64_t patch, across, run; /* patches per row; values per row of a patch */
    int64_t height, token_step; /* rows of latents per frame; values from token to token */
};

static struct rows rows_of(const struct kn_tensor *z, const struct kn_tensor *tokens,
                           int64_t patch) {
    return (struct rows){.patch = patch,
                         .across = z->dim[2] / patch,
                         .run = patch * z->dim[3],
                         .height = z->dim[1],
                         .token_step = tokens->stride[0]};
}

/* Offset, in values, of the first token's part of row y of frame t. */
static int64_t tokens_at(const struct rows *r, int64_t t, int64_t y) {
    int64_t down = r->height / r->patch, band = t * down + y / r->patch;
    return band * r->across * r->token_step + y % r->patch * r->run;
}

static enum kn_status gather_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_gather_args *a = args;
    const struct rows r = rows_of(&a->z, &a->out, a->patch);
    const float *z = kn_at(call, &a->z);
    int64_t bytes = (int64_t)kn_dtype_bytes(a->out.dtype);
    char *out = kn_at(call, &a->out);

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < a->z.dim[0] * r.height; i++) {
        int64_t t = i / r.height, y = i % r.height;
        const float *from = z + t * a->z.stride[0] + y * a->z.stride[1];
        char *to = out + tokens_at(&r, t, y) * bytes;
        for (int64_t x = 0; x < r.across; x++)
            kn_floats_store(to + x * r.token_step * bytes, a->out.dtype, from + x * r.run, r.run);
    }
    return KN_OK;
}

static void add(float *to, const float *x, const float *y, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = x[i] + y[i];
}

static enum kn_status scatter_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_scatter_args *a = args;
    const struct rows r = rows_of(&a->z, &a->x, a->patch);
    const float *z = kn_at(call, &a->z), *x = kn_at(call, &a->x);
    float *out = kn_at(call, &a->out);
    uint16_t *half = a->half.rank ? kn_at(call, &a->half) : NULL;

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < a->z.dim[0] * r.height; i++) {
        int64_t t = i / r.height, y = i % r.height;
        const float *from = z + t * a->z.stride[0] + y * a->z.stride[1];
        const float *tokens = x + tokens_at(&r, t, y);
        float *to = out + t * a->out.stride[0] + y * a->out.stride[1];
        for (int64_t p = 0; p < r.across; p++)
            add(to + p * r.run, from + p * r.run, tokens + p * r.token_step, r.run);
        if (half)
            kn_floats_store(half + t * a->half.stride[0] + y * a->half.stride[1], a->half.dtype, to,
                            r.across * r.run);
    }
    return KN_OK;
}

void KN_ISA_NAME(patch)(struct kn_table *table) {
    table->kernel[KN_OP_GATHER] = (struct kn_kernel){.run = gather_run};
    table->kernel[KN_OP_SCATTER] = (struct kn_kernel){.run = scatter_run};
}
