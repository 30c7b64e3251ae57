/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Temporal shift: the first channels of every position come from the frame before. */
#include "cpu.h"

#include <string.h>

/* Bytes of one row of positions, and how many of each position are taken from the past. */
struct job {
    size_t pixel, taken;
    int64_t width;
    bool in_place;
};

/* A few bytes per position: whole vectors where they fit, for want of a call per position. */
static void take(char *to, const char *from, size_t bytes) {
    if (bytes % 16) {
        memcpy(to, from, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i += 16)
        memcpy(to + i, from + i, 16);
}

static void shift_row(const struct job *job, char *out, const char *x, const char *past) {
    if (!job->in_place)
        memcpy(out, x, (size_t)job->width * job->pixel);
    for (int64_t i = 0; i < job->width; i++) {
        char *to = out + (size_t)i * job->pixel;
        if (past)
            take(to, past + (size_t)i * job->pixel, job->taken);
        else
            memset(to, 0, job->taken);
    }
}

static char *row_at(const struct kn_call *call, const struct kn_tensor *t, int64_t frame,
                    int64_t y) {
    return (char *)kn_at(call, t) +
           (uint64_t)(frame * t->stride[0] + y * t->stride[1]) * kn_dtype_bytes(t->dtype);
}

static enum kn_status shift_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_shift_args *a = args;
    size_t bytes = kn_dtype_bytes(a->x.dtype);
    struct job job = {.pixel = (size_t)a->x.dim[3] * bytes,
                      .taken = (size_t)a->channels * bytes,
                      .width = a->x.dim[2],
                      .in_place = kn_at(call, &a->x) == kn_at(call, &a->out)};
    bool fresh = a->control.rank && ((const struct kn_control *)kn_at(call, &a->control))->reset;
    int64_t height = a->x.dim[1];

    (void)err;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < a->x.dim[0] * height; i++) {
        int64_t t = i / height, y = i % height;
        shift_row(&job, row_at(call, &a->out, t, y), row_at(call, &a->x, t, y),
                  fresh ? NULL : row_at(call, &a->past, t, y));
    }
    return KN_OK;
}

void KN_ISA_NAME(shift)(struct kn_table *table) {
    table->kernel[KN_OP_SHIFT] = (struct kn_kernel){.run = shift_run};
}
