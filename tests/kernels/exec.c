/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Compiled programs: what is refused before a run, labels of failures, runs from many threads. */
#include <pthread.h>

#include "test.h"

#define ROWS 5
#define IN 6
#define OUT 10

/* x W^T + b from slot IN into slot WORK, then a copy into slot OUT. */
static struct kn_program *record(void) {
    const struct kn_linear_args linear = {
        .x = test_f32(KN_SLOT_IN, 0, 2, DIMS(ROWS, IN)),
        .weight = test_f32(KN_SLOT_WEIGHTS, 0, 2, DIMS(OUT, IN)),
        .bias = test_f32(KN_SLOT_WEIGHTS, 4 * OUT * IN, 1, DIMS(OUT)),
        .out = test_f32(KN_SLOT_WORK, 0, 2, DIMS(ROWS, OUT)),
    };
    const struct kn_convert_args convert = {
        .x = test_f32(KN_SLOT_WORK, 0, 2, DIMS(ROWS, OUT)),
        .out = test_f32(KN_SLOT_OUT, 0, 2, DIMS(ROWS, OUT)),
    };
    struct kn_program *program;
    struct kn_err err;

    OK(kn_program_new(&program, &err));
    OK(kn_linear(program, "first.linear", &linear, &err));
    OK(kn_convert(program, "second.copy", &convert, &err));
    return program;
}

static float values[OUT * IN + OUT];

static struct kn_weights *make_weights(struct kn_dev *dev, size_t bytes) {
    struct kn_weights *weights;
    struct kn_err err;

    for (int i = 0; i < OUT * IN + OUT; i++)
        values[i] = (float)(i % 13 - 6);
    OK(kn_weights_new(&weights, dev, values, bytes, &err));
    return weights;
}

/* Small whole numbers, so every order of additions gives the same. */
static int count_wrong(const float *x, const float *out) {
    int wrong = 0;

    for (int i = 0; i < ROWS * OUT; i++) {
        float want = values[OUT * IN + i % OUT];
        for (int k = 0; k < IN; k++)
            want += values[i % OUT * IN + k] * x[i / OUT * IN + k];
        wrong += !(out[i] == want);
    }
    return wrong;
}

static void run_on(const char *name) {
    struct kn_dev *dev = test_open(name);
    struct kn_weights *weights = make_weights(dev, sizeof values);
    struct kn_program *program = record();
    float x[ROWS * IN], work[ROWS * OUT], out[ROWS * OUT] = {0};
    struct kn_bindings bindings = {
        .base = {[KN_SLOT_IN] = x, [KN_SLOT_WORK] = work, [KN_SLOT_OUT] = out}};
    struct kn_stream *stream;
    struct kn_exec *exec;
    struct kn_err err;

    OK(kn_exec_new(&exec, dev, program, weights, &err));
    kn_program_free(program);
    kn_weights_unref(weights);
    OK(kn_stream_new(&stream, dev, &err));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < ROWS * IN; i++)
            x[i] = (float)((i + round) % 7 - 3);
        OK(kn_exec_run(exec, stream, &bindings, &err));
        OK(kn_stream_sync(stream, &err));
        ck_assert_int_eq(count_wrong(x, out), 0);
    }
    bindings.base[KN_SLOT_WORK] = NULL;
    FAILS(KN_ERR_ARG, "slot work", kn_exec_run(exec, stream, &bindings, &err));
    FAILS(KN_ERR_ARG, "bindings", kn_exec_run(exec, stream, NULL, &err));
    FAILS(KN_ERR_ARG, "stream", kn_exec_run(exec, NULL, &bindings, &err));
    FAILS(KN_ERR_ARG, "exec", kn_exec_run(NULL, stream, &bindings, &err));
    FAILS(KN_ERR_ARG, "stream", kn_stream_sync(NULL, &err));
    kn_stream_free(stream);
    kn_exec_free(exec);
    kn_dev_close(dev);
}

START_TEST(runs) {
    run_on("ref");
    run_on("cpu");
    kn_exec_free(NULL);
    kn_stream_free(NULL);
}
END_TEST

START_TEST(refused) {
    struct kn_dev *dev = test_open("cpu"), *other = test_open("ref");
    struct kn_weights *weights = make_weights(dev, sizeof values);
    struct kn_weights *cut = make_weights(dev, sizeof values - 1);
    struct kn_program *program = record();
    struct kn_bindings bindings = {{0}};
    struct kn_stream *stream;
    struct kn_exec *exec = NULL;
    struct kn_err err;

    FAILS(KN_ERR_RANGE, "first.linear: ", kn_exec_new(&exec, dev, program, cut, &err));
    FAILS(KN_ERR_ARG, "another device", kn_exec_new(&exec, other, program, weights, &err));
    FAILS(KN_ERR_ARG, "program is NULL", kn_exec_new(&exec, dev, NULL, weights, &err));
    FAILS(KN_ERR_ARG, "device is NULL", kn_exec_new(&exec, NULL, program, weights, &err));
    FAILS(KN_ERR_ARG, "exec is NULL", kn_exec_new(NULL, dev, program, weights, &err));
    ck_assert_ptr_null(exec);
    FAILS(KN_ERR_ARG, "NULL", kn_stream_new(NULL, dev, &err));
    FAILS(KN_ERR_ARG, "NULL", kn_stream_new(&stream, NULL, &err));
    OK(kn_exec_new(&exec, dev, program, weights, &err));
    OK(kn_stream_new(&stream, other, &err));
    FAILS(KN_ERR_ARG, "another device", kn_exec_run(exec, stream, &bindings, &err));
    kn_stream_free(stream);
    kn_exec_free(exec);
    kn_program_free(program);
    kn_weights_unref(cut);
    kn_weights_unref(weights);
    kn_dev_close(other);
    kn_dev_close(dev);
}
END_TEST

START_TEST(empty_program) {
    struct kn_dev *dev = test_open("cpu");
    const struct kn_bindings bindings = {{0}};
    struct kn_program *program;
    struct kn_stream *stream;
    struct kn_exec *exec;
    struct kn_err err;

    OK(kn_program_new(&program, &err));
    OK(kn_exec_new(&exec, dev, program, NULL, &err));
    OK(kn_stream_new(&stream, dev, &err));
    OK(kn_exec_run(exec, stream, &bindings, &err));
    OK(kn_stream_sync(stream, &err));
    ck_assert_uint_eq(kn_exec_scratch_bytes(exec), 0);
    kn_stream_free(stream);
    kn_exec_free(exec);
    kn_program_free(program);
    kn_dev_close(dev);
}
END_TEST

/* ------------------------------------------------------------------------------ several at once */

struct user {
    struct kn_dev *dev;
    struct kn_exec *exec;
    int failed, wrong;
};

/* Counts instead of asserting: Check leaves a test by its own thread only. */
static void *use(void *data) {
    struct user *user = data;
    float x[ROWS * IN], work[ROWS * OUT], out[ROWS * OUT];
    const struct kn_bindings bindings = {
        .base = {[KN_SLOT_IN] = x, [KN_SLOT_WORK] = work, [KN_SLOT_OUT] = out}};
    struct kn_stream *stream = NULL;

    user->failed += kn_stream_new(&stream, user->dev, NULL) != KN_OK;
    for (int round = 0; stream != NULL && round < 300; round++) {
        for (int i = 0; i < ROWS * IN; i++)
            x[i] = (float)((i + round) % 11 - 5);
        user->failed += kn_exec_run(user->exec, stream, &bindings, NULL) != KN_OK;
        user->failed += kn_stream_sync(stream, NULL) != KN_OK;
        user->wrong += count_wrong(x, out);
    }
    kn_stream_free(stream);
    return NULL;
}

/* own: an exec for each thread, else one for all. */
static void use_at_once(const char *name, bool own) {
    struct kn_dev *dev = test_open(name);
    struct kn_weights *weights = make_weights(dev, sizeof values);
    struct kn_program *program = record();
    struct user user[4] = {{0}};
    pthread_t thread[4];
    uint64_t bytes = 0;
    struct kn_err err;

    for (int i = 0; i < 4; i++) {
        user[i] = (struct user){.dev = dev, .exec = user[0].exec};
        if (i == 0 || own)
            OK(kn_exec_new(&user[i].exec, dev, program, weights, &err));
        /* whatever packed forms there are, the second exec adds none */
        ck_assert(i == 0 || kn_weights_bytes(weights) == bytes);
        bytes = kn_weights_bytes(weights);
    }
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&thread[i], NULL, use, &user[i]), 0);
    for (int i = 0; i < 4; i++) {
        pthread_join(thread[i], NULL);
        ck_assert_int_eq(user[i].failed, 0);
        ck_assert_int_eq(user[i].wrong, 0);
    }
    for (int i = 0; i < (own ? 4 : 1); i++)
        kn_exec_free(user[i].exec);
    kn_program_free(program);
    kn_weights_unref(weights);
    kn_dev_close(dev);
}

START_TEST(several_threads_and_execs) {
    use_at_once("cpu", true);
    use_at_once("cpu", false);
    use_at_once("ref", true);
    use_at_once("ref", false);
}
END_TEST

TESTS("exec", runs, refused, empty_program, several_threads_and_execs)
