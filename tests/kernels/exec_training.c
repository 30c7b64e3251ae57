/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What training asks of compiled programs: parameters bound per run, float64, cancelling. */
#include <pthread.h>
#include <unistd.h>

#include "test.h"

#define SIDE 6
#define IN 8
#define OUT 5

/* A convolution and a linear layer over its pixels; both add to what is compared. */
static struct kn_program *record(enum kn_dtype dtype) {
    const uint64_t bytes = kn_dtype_bytes(dtype);
    const struct kn_conv_args conv = {
        .x = kn_tensor_dense(KN_SLOT_IN, 0, dtype, 4, DIMS(1, SIDE, SIDE, IN)),
        .weight = kn_tensor_dense(KN_SLOT_WEIGHTS, 0, dtype, 4, DIMS(OUT, IN, 3, 3)),
        .out = kn_tensor_dense(KN_SLOT_WORK, 0, dtype, 4, DIMS(1, SIDE, SIDE, OUT)),
    };
    const struct kn_linear_args linear = {
        .x = kn_tensor_dense(KN_SLOT_WORK, 0, dtype, 2, DIMS(SIDE * SIDE, OUT)),
        .weight = kn_tensor_dense(KN_SLOT_WEIGHTS, OUT * IN * 9 * bytes, dtype, 2, DIMS(OUT, OUT)),
        .out = kn_tensor_dense(KN_SLOT_OUT, 0, dtype, 2, DIMS(SIDE * SIDE, OUT)),
    };
    struct kn_program *program;
    struct kn_err err;

    OK(kn_program_new(&program, &err));
    OK(kn_conv(program, "first.conv", &conv, &err));
    OK(kn_linear(program, "second.linear", &linear, &err));
    return program;
}

#define PARAMS (OUT * IN * 9 + OUT * OUT)

/* Inputs are ones and every filter has one weight, so the sums are counted by hand. */
static float expected(const float *params, int y, int x, int out) {
    const int rows = y == 0 || y == SIDE - 1 ? 2 : 3, columns = x == 0 || x == SIDE - 1 ? 2 : 3;
    float sum = 0;

    for (int o = 0; o < OUT; o++)
        sum += params[OUT * IN * 9 + out * OUT + o] * params[o * IN * 9] *
               (float)(rows * columns * IN);
    return sum;
}

static void set_params(float *params, int round) {
    for (int i = 0; i < PARAMS; i++)
        params[i] = (float)((i < OUT * IN * 9 ? i / (IN * 9) : i) % 5 - 2 + round);
}

static void check_bound(const char *name) {
    float params[PARAMS], x[SIDE * SIDE * IN], work[SIDE * SIDE * OUT], out[SIDE * SIDE * OUT];
    struct kn_bindings bindings = {.base = {[KN_SLOT_WEIGHTS] = params,
                                            [KN_SLOT_IN] = x,
                                            [KN_SLOT_WORK] = work,
                                            [KN_SLOT_OUT] = out}};
    struct kn_program *program = record(KN_F32);
    struct kn_dev *dev = test_open(name);
    struct kn_stream *stream;
    struct kn_exec *exec;
    struct kn_err err;

    for (int i = 0; i < SIDE * SIDE * IN; i++)
        x[i] = 1;
    OK(kn_exec_new(&exec, dev, program, NULL, &err));
    kn_program_free(program);
    OK(kn_stream_new(&stream, dev, &err));
    for (int round = 0; round < 3; round++) {
        set_params(params, round);
        OK(kn_exec_run(exec, stream, &bindings, &err));
        OK(kn_stream_sync(stream, &err));
        for (int i = 0; i < SIDE * SIDE * OUT; i++)
            ck_assert_float_eq(out[i], expected(params, i / OUT / SIDE, i / OUT % SIDE, i % OUT));
    }
    bindings.base[KN_SLOT_WEIGHTS] = NULL;
    FAILS(KN_ERR_ARG, "slot weights", kn_exec_run(exec, stream, &bindings, &err));
    kn_stream_free(stream);
    kn_exec_free(exec);
    kn_dev_close(dev);
}

START_TEST(parameters_bound_for_each_run) {
    check_bound("ref");
    check_bound("cpu");
}
END_TEST

/* ------------------------------------------------------------------------------------- float64 */

START_TEST(double_is_for_the_reference) {
    double params[PARAMS] = {0}, x[SIDE * SIDE * IN], work[SIDE * SIDE * OUT];
    double out[SIDE * SIDE * OUT];
    const struct kn_bindings bindings = {.base = {[KN_SLOT_WEIGHTS] = params,
                                                  [KN_SLOT_IN] = x,
                                                  [KN_SLOT_WORK] = work,
                                                  [KN_SLOT_OUT] = out}};
    struct kn_dev *ref = test_open("ref"), *cpu = test_open("cpu");
    struct kn_program *program = record(KN_F64);
    struct kn_stream *stream;
    struct kn_exec *exec = NULL;
    struct kn_err err;

    FAILS(KN_ERR_UNSUPPORTED, "first.conv: device cpu has no float64",
          kn_exec_new(&exec, cpu, program, NULL, &err));
    ck_assert_ptr_null(exec);
    OK(kn_exec_new(&exec, ref, program, NULL, &err));
    OK(kn_stream_new(&stream, ref, &err));
    for (int i = 0; i < SIDE * SIDE * IN; i++)
        x[i] = 1 + 0x1p-40; /* more than a float could tell from one */
    params[4] = 1;          /* the centre of the first filter */
    params[OUT * IN * 9] = 1;
    OK(kn_exec_run(exec, stream, &bindings, &err));
    for (int i = 0; i < SIDE * SIDE; i++)
        ck_assert(out[i * OUT] == 1 + 0x1p-40 && out[i * OUT + 1] == 0);
    kn_stream_free(stream);
    kn_exec_free(exec);
    kn_program_free(program);
    kn_dev_close(cpu);
    kn_dev_close(ref);
}
END_TEST

/* A sum in double is no double operand: every device has it. */
START_TEST(sums_are_double_everywhere) {
    const struct kn_square_sum_args sum = {
        .x = test_f32(KN_SLOT_GRADS, 0, 1, DIMS(1000)),
        .value = kn_tensor_dense(KN_SLOT_OUT, 0, KN_F64, 1, DIMS(1)),
    };
    static const char *const device[] = {"ref", "cpu"};
    struct kn_program *program;
    struct kn_err err;

    OK(kn_program_new(&program, &err));
    OK(kn_square_sum(program, "norm", &sum, &err));
    for (int i = 0; i < 2; i++) {
        struct kn_dev *dev = test_open(device[i]);
        struct kn_exec *exec;
        OK(kn_exec_new(&exec, dev, program, NULL, &err));
        kn_exec_free(exec);
        kn_dev_close(dev);
    }
    kn_program_free(program);
}
END_TEST

/* ----------------------------------------------------------------------------------- cancelling */

#define COPIES 2000

static struct kn_exec *many_copies(struct kn_dev *dev) {
    const struct kn_convert_args copy = {
        .x = test_f32(KN_SLOT_IN, 0, 1, DIMS(1000)),
        .out = test_f32(KN_SLOT_OUT, 0, 1, DIMS(1000)),
    };
    struct kn_program *program;
    struct kn_exec *exec;
    struct kn_err err;

    OK(kn_program_new(&program, &err));
    for (int i = 0; i < COPIES; i++)
        OK(kn_convert(program, "copy", &copy, &err));
    OK(kn_exec_new(&exec, dev, program, NULL, &err));
    kn_program_free(program);
    return exec;
}

struct runner {
    struct kn_exec *exec;
    struct kn_stream *stream;
    enum kn_status status;
    struct kn_err err;
};

static void *run_on(void *user) {
    static float x[1000], out[1000];
    const struct kn_bindings bindings = {.base = {[KN_SLOT_IN] = x, [KN_SLOT_OUT] = out}};
    struct runner *runner = user;

    for (int i = 0; runner->status == KN_OK && i < 1000000; i++) {
        runner->status = kn_exec_run(runner->exec, runner->stream, &bindings, &runner->err);
        if (runner->status == KN_OK)
            runner->status = kn_stream_sync(runner->stream, &runner->err);
    }
    return NULL;
}

static void check_cancelling(const char *name) {
    static float x[1000], out[1000];
    const struct kn_bindings bindings = {.base = {[KN_SLOT_IN] = x, [KN_SLOT_OUT] = out}};
    struct kn_dev *dev = test_open(name);
    struct runner runner = {.exec = many_copies(dev)};
    struct kn_stream *other;
    pthread_t thread;
    struct kn_err err;

    OK(kn_stream_new(&runner.stream, dev, &err));
    OK(kn_stream_new(&other, dev, &err));
    kn_stream_cancel(runner.stream, true);
    FAILS(KN_ERR_CANCELLED, "cancelled before copy",
          kn_exec_run(runner.exec, runner.stream, &bindings, &err));
    OK(kn_exec_run(runner.exec, other, &bindings, &err)); /* nobody else's business */
    kn_stream_cancel(runner.stream, false);
    OK(kn_exec_run(runner.exec, runner.stream, &bindings, &err));
    ck_assert_int_eq(pthread_create(&thread, NULL, run_on, &runner), 0);
    usleep(20000);
    kn_stream_cancel(runner.stream, true);
    pthread_join(thread, NULL);
    ck_assert_int_eq(runner.status, KN_ERR_CANCELLED);
    ck_assert_str_eq(runner.err.msg, "cancelled before copy");
    OK(kn_stream_sync(runner.stream, &err)); /* a run has said so already */
    kn_stream_cancel(NULL, true);
    kn_stream_free(other);
    kn_stream_free(runner.stream);
    kn_exec_free(runner.exec);
    kn_dev_close(dev);
}

START_TEST(cancelling) {
    check_cancelling("ref");
    check_cancelling("cpu");
}
END_TEST

/* Parameters that others share must not change. */
START_TEST(shared_parameters_stay) {
    static const float zeros[64];
    const struct kn_adamw_args args = {
        .param = test_f32(KN_SLOT_WEIGHTS, 0, 1, DIMS(64)),
        .grad = test_f32(KN_SLOT_GRADS, 0, 1, DIMS(64)),
        .first = test_f32(KN_SLOT_OPTIMIZER, 0, 1, DIMS(64)),
        .second = test_f32(KN_SLOT_OPTIMIZER, 256, 1, DIMS(64)),
        .group = kn_tensor_dense(KN_SLOT_OPTIMIZER, 512, KN_U8, 1, DIMS(1)),
        .control = kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_U8, 1, DIMS(1)),
    };
    static const char *const names[] = {"ref", "cpu"};

    for (int i = 0; i < 2; i++) {
        struct kn_dev *dev = test_open(names[i]);
        struct kn_program *program;
        struct kn_weights *weights;
        struct kn_exec *exec;
        struct kn_err err;
        OK(kn_program_new(&program, &err));
        OK(kn_adamw(program, "step", &args, &err));
        OK(kn_weights_new(&weights, dev, zeros, sizeof zeros, &err));
        FAILS(KN_ERR_UNSUPPORTED, "step: parameters cannot change",
              kn_exec_new(&exec, dev, program, weights, &err));
        OK(kn_exec_new(&exec, dev, program, NULL, &err));
        kn_exec_free(exec);
        kn_weights_unref(weights);
        kn_program_free(program);
        kn_dev_close(dev);
    }
}
END_TEST

TESTS("exec_training", shared_parameters_stay, parameters_bound_for_each_run,
      double_is_for_the_reference, sums_are_double_everywhere, cancelling)
