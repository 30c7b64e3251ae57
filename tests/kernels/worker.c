/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The worker thread: order, results, settings. */
#include "worker.h"

#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "test.h"

struct task {
    struct kn_worker *worker;
    pthread_t ran_on;
    int *order, number;
    enum kn_status answer;
};

static enum kn_status note(void *user) {
    struct task *task = user;

    task->ran_on = pthread_self();
    if (task->order != NULL)
        task->order[task->number] = task->number;
    return task->answer;
}

START_TEST(runs_on_one_thread_of_its_own) {
    struct kn_worker *worker;
    struct task first = {.answer = KN_ERR_LOST}, second = {.answer = KN_OK};
    struct kn_err err;

    OK(kn_worker_new(&worker, 2, &err));
    ck_assert_int_eq(kn_worker_do(worker, note, &first), KN_ERR_LOST);
    ck_assert_int_eq(kn_worker_do(worker, note, &second), KN_OK);
    ck_assert(pthread_equal(first.ran_on, second.ran_on));
    ck_assert(!pthread_equal(first.ran_on, pthread_self()));
    kn_worker_free(worker);
    kn_worker_free(NULL);
}
END_TEST

static atomic_int inside, most;

static enum kn_status alone(void *user) {
    int *count = user;
    const int now = atomic_fetch_add(&inside, 1) + 1;

    if (now > atomic_load(&most))
        atomic_store(&most, now);
    ++*count;
    atomic_fetch_sub(&inside, 1);
    return KN_OK;
}

struct caller {
    struct kn_worker *worker;
    int done;
};

static void *call_often(void *user) {
    struct caller *caller = user;

    for (int i = 0; i < 500; i++)
        if (kn_worker_do(caller->worker, alone, &caller->done) != KN_OK)
            break;
    return NULL;
}

START_TEST(many_callers_one_at_a_time) {
    struct kn_worker *worker;
    struct caller caller[8];
    pthread_t thread[8];
    struct kn_err err;

    OK(kn_worker_new(&worker, 1, &err));
    for (int i = 0; i < 8; i++) {
        caller[i] = (struct caller){.worker = worker};
        ck_assert_int_eq(pthread_create(&thread[i], NULL, call_often, &caller[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(thread[i], NULL);
        ck_assert_int_eq(caller[i].done, 500);
    }
    ck_assert_int_eq(atomic_load(&most), 1);
    kn_worker_free(worker);
}
END_TEST

struct settings {
    volatile float tiny;
    float product[2];
    int threads;
    sigset_t blocked;
};

static enum kn_status look(void *user) {
    struct settings *settings = user;

    settings->threads = omp_get_max_threads();
    pthread_sigmask(SIG_SETMASK, NULL, &settings->blocked);
#pragma omp parallel num_threads(2)
    settings->product[omp_get_thread_num()] = settings->tiny * 0.5f;
    return KN_OK;
}

/* Subnormals are zero on the worker and its team, and nowhere else. */
START_TEST(settings_of_the_team) {
    struct settings settings = {.tiny = 1.5e-38f, .product = {1, 1}};
    struct kn_worker *worker;
    struct kn_err err;

    OK(kn_worker_new(&worker, 3, &err));
    OK(kn_worker_do(worker, look, &settings));
    ck_assert_int_eq(settings.threads, 3);
    ck_assert_int_eq(sigismember(&settings.blocked, SIGINT), 1);
#if defined(__SSE2__) || defined(__aarch64__)
    ck_assert(settings.product[0] == 0);
    ck_assert(settings.product[1] == 0);
#endif
    ck_assert(settings.tiny * 0.5f > 0);
    kn_worker_free(worker);
}
END_TEST

TESTS("worker", runs_on_one_thread_of_its_own, many_callers_one_at_a_time, settings_of_the_team)
