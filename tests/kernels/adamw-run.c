/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * adamw-run DEVICE COUNT STEPS RATE DECAY BETA1 BETA2 EPSILON SCALE
 *
 * Reads COUNT parameters and then, for each step, as many gradients from its input (float32), and
 * writes the parameters after the last step.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "kn_internal.h"

struct run {
    struct kn_dev *dev;
    struct kn_stream *stream;
    struct kn_exec *exec;
    struct kn_buf *slot[KN_SLOT_COUNT];
    struct kn_bindings bindings;
    int64_t count;
};

static struct kn_tensor vector(enum kn_slot slot, int part, enum kn_dtype dtype, int64_t count) {
    const int64_t dim[KN_MAX_RANK] = {count};
    uint64_t offset = (uint64_t)part * (uint64_t)count * sizeof(float);

    return kn_tensor_dense(slot, offset, dtype, 1, dim);
}

static enum kn_status open_run(struct run *r, const char *device, struct kn_err *err) {
    const struct kn_dev_params params = {.name = device, .threads = 2};
    const struct kn_adamw_args args = {
        .param = vector(KN_SLOT_WEIGHTS, 0, KN_F32, r->count),
        .grad = vector(KN_SLOT_GRADS, 0, KN_F32, r->count),
        .first = vector(KN_SLOT_OPTIMIZER, 0, KN_F32, r->count),
        .second = vector(KN_SLOT_OPTIMIZER, 1, KN_F32, r->count),
        .group = kn_tensor_dense(KN_SLOT_OPTIMIZER, (uint64_t)r->count * 8, KN_U8, 1,
                                 (int64_t[KN_MAX_RANK]){r->count / KN_ADAMW_RUN}),
        .control = vector(KN_SLOT_CONTROL, 0, KN_U8, 1),
    };
    struct kn_program *program = NULL;
    enum kn_status status;

    KN_TRY(kn_dev_open(&r->dev, &params, err));
    KN_TRY(kn_stream_new(&r->stream, r->dev, err));
    for (int i = 0; i < KN_SLOT_COUNT; i++) {
        KN_TRY(kn_buf_new(&r->slot[i], r->dev, (uint64_t)r->count * 12 + 256, err));
        r->bindings.base[i] = kn_buf_address(r->slot[i]);
    }
    KN_TRY(kn_program_new(&program, err));
    KN_TRY(kn_adamw(program, "adamw", &args, err));
    KN_TRY(kn_exec_new(&r->exec, r->dev, program, NULL, err));
fail:
    kn_program_free(program);
    return status;
}

static enum kn_status read_floats(struct run *r, enum kn_slot slot, float *values,
                                  struct kn_err *err) {
    if (fread(values, sizeof *values, (size_t)r->count, stdin) != (size_t)r->count)
        return kn_fail(err, KN_ERR_FAILED, "the input ends early");
    return kn_buf_write(r->slot[slot], 0, values, (uint64_t)r->count * sizeof *values, err);
}

static enum kn_status steps(struct run *r, struct kn_adamw s, unsigned count, float *values,
                            struct kn_err *err) {
    enum kn_status status = read_floats(r, KN_SLOT_WEIGHTS, values, err);

    for (s.step = 1; status == KN_OK && s.step <= count; s.step++) {
        s.correction1 = (float)(1 - pow((double)s.beta1, s.step));
        s.correction2 = (float)(1 - pow((double)s.beta2, s.step));
        KN_TRY(kn_buf_write(r->slot[KN_SLOT_CONTROL], 0, &s, sizeof s, err));
        KN_TRY(read_floats(r, KN_SLOT_GRADS, values, err));
        KN_TRY(kn_exec_run(r->exec, r->stream, &r->bindings, err));
        KN_TRY(kn_stream_sync(r->stream, err));
    }
    if (status == KN_OK)
        status = kn_buf_read(r->slot[KN_SLOT_WEIGHTS], 0, values,
                             (uint64_t)r->count * sizeof *values, err);
fail:
    return status;
}

static void close_run(struct run *r) {
    kn_exec_free(r->exec);
    kn_stream_free(r->stream);
    for (int i = 0; i < KN_SLOT_COUNT; i++)
        kn_buf_free(r->slot[i]);
    kn_dev_close(r->dev);
}

int main(int argc, char **argv) {
    struct run r = {.count = argc == 10 ? atoll(argv[2]) : 0};
    struct kn_err err = {0};
    struct kn_adamw s;
    float *values;
    bool ok;

    if (argc != 10) {
        fprintf(stderr,
                "usage: adamw-run DEVICE COUNT STEPS RATE DECAY BETA1 BETA2 EPSILON SCALE\n");
        return 2;
    }
    s = (struct kn_adamw){.rate = {strtof(argv[4], NULL)},
                          .decay = {strtof(argv[5], NULL)},
                          .beta1 = strtof(argv[6], NULL),
                          .beta2 = strtof(argv[7], NULL),
                          .epsilon = strtof(argv[8], NULL),
                          .scale = strtof(argv[9], NULL)};
    values = calloc((size_t)r.count + 1, sizeof *values);
    ok = values && open_run(&r, argv[1], &err) == KN_OK &&
         steps(&r, s, (unsigned)atoi(argv[3]), values, &err) == KN_OK &&
         fwrite(values, sizeof *values, (size_t)r.count, stdout) == (size_t)r.count;
    if (!ok)
        fprintf(stderr, "adamw-run: %s\n", err.msg);
    close_run(&r);
    free(values);
    return ok ? 0 : 1;
}
