/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Change of element type: runs of contiguous values, shared among threads. */
#include "cpu.h"
#include "floats.h"

/* round(x / scale), -128 .. 127, stored with 128 added; NaN gives the lowest code */
static void quantise(uint8_t *to, const float *x, const float *scale, int64_t n) {
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to nearest, ties to even */
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        float q = x[i] / scale[i];
        q = q > -128.0f ? q : -128.0f;
        q = q > 127.0f ? 127.0f : q;
        to[i] = (uint8_t)(kn_float_bits(q + magic) + 128u);
    }
}

static void dequantise(float *to, const uint8_t *x, const float *scale, int64_t n) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++)
        to[i] = (float)(x[i] - 128) * scale[i];
}

struct job {
    enum kn_dtype from, to;
    const float *scale; /* per channel; NULL: none */
    int64_t channels;
};

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* n <= KN_FLOATS values by way of floats */
static void convert_some(const struct job *job, char *to, const char *x, const float *scale,
                         int64_t n) {
    float some[KN_FLOATS];

    if (job->from == KN_U8)
        dequantise(some, (const uint8_t *)x, scale, n);
    else
        kn_floats_load(some, job->from, x, n);
    if (job->to == KN_U8)
        quantise((uint8_t *)to, some, scale, n);
    else
        kn_floats_store(to, job->to, some, n);
}

/* n values from the start of a round of channels on; x is NULL for zeros */
static void convert_piece(const struct job *job, char *to, const char *x, int64_t n) {
    int64_t from_bytes = (int64_t)kn_dtype_bytes(job->from);
    int64_t to_bytes = (int64_t)kn_dtype_bytes(job->to);

    if (!x) {
        memset(to, 0, (size_t)(n * to_bytes));
    } else if (job->from == job->to) {
        memmove(to, x, (size_t)(n * to_bytes));
    } else if (job->from == KN_F32 && !job->scale) {
        kn_floats_store(to, job->to, (const float *)x, n);
    } else if (job->to == KN_F32 && !job->scale) {
        kn_floats_load((float *)to, job->from, x, n);
    } else {
        for (int64_t i = 0, c = 0, some; i < n; i += some, c = (c + some) % job->channels) {
            some = least(least(job->channels - c, KN_FLOATS), n - i);
            convert_some(job, to + i * to_bytes, x + i * from_bytes,
                         job->scale ? job->scale + c : NULL, some);
        }
    }
}

/* The tensor as rank 4 with leading axes of one. */
static struct kn_tensor widen(const struct kn_tensor *t) {
    struct kn_tensor wide = *t;
    int lead = KN_MAX_RANK - t->rank;

    for (int i = 0; i < KN_MAX_RANK; i++) {
        wide.dim[i] = i < lead ? 1 : t->dim[i - lead];
        wide.stride[i] = i < lead ? 0 : t->stride[i - lead];
    }
    wide.rank = KN_MAX_RANK;
    return wide;
}

/*
 * Joins an axis with the one before where both tensors are contiguous over the two, so that dense
 * tensors become one run, which is then cut into pieces of even size.
 */
static void join(struct kn_tensor *a, struct kn_tensor *b) {
    for (int last = KN_MAX_RANK - 1, i = last - 1; i >= 0; i--) {
        int64_t n = a->dim[last];
        if (a->dim[i] == 1)
            continue;
        if (a->stride[i] != n || b->stride[i] != n)
            break;
        a->dim[last] = b->dim[last] = n * a->dim[i];
        a->dim[i] = b->dim[i] = 1;
    }
}

static uint64_t run_at(const struct kn_tensor *t, int64_t i) {
    int64_t c = i % t->dim[2], b = i / t->dim[2] % t->dim[1], a = i / t->dim[2] / t->dim[1];
    return (uint64_t)(a * t->stride[0] + b * t->stride[1] + c * t->stride[2]) *
           kn_dtype_bytes(t->dtype);
}

#define PIECE 16384 /* values that a thread takes at once, about */

static enum kn_status convert_run(const struct kn_call *call, const void *args,
                                  struct kn_err *err) {
    const struct kn_convert_args *a = args;
    struct kn_tensor x = widen(&a->x), out = widen(&a->out);
    const char *from = kn_at(call, &a->x);
    char *to = kn_at(call, &a->out);
    bool fresh = a->control.rank && ((const struct kn_control *)kn_at(call, &a->control))->reset;
    struct job job = {.from = a->x.dtype,
                      .to = a->out.dtype,
                      .scale = a->scale.rank ? kn_at(call, &a->scale) : NULL,
                      .channels = x.dim[KN_MAX_RANK - 1]};
    int64_t piece = (PIECE + job.channels - 1) / job.channels * job.channels;

    (void)err;
    join(&x, &out);
    int64_t runs = x.dim[0] * x.dim[1] * x.dim[2], n = x.dim[3], pieces = (n + piece - 1) / piece;
    int64_t x_bytes = (int64_t)kn_dtype_bytes(job.from),
            out_bytes = (int64_t)kn_dtype_bytes(job.to);
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < runs * pieces; i++) {
        int64_t run = i / pieces, first = i % pieces * piece;
        convert_piece(&job, to + run_at(&out, run) + first * out_bytes,
                      fresh ? NULL : from + run_at(&x, run) + first * x_bytes,
                      least(piece, n - first));
    }
    return KN_OK;
}

void KN_ISA_NAME(convert)(struct kn_table *table) {
    table->kernel[KN_OP_CONVERT] = (struct kn_kernel){.run = convert_run};
}
