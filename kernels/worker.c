/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The worker thread of a "cpu" device. oneDNN and our own loops open OpenMP regions, and OpenMP
 * keeps a team of threads for every thread that opens one: so all streams of a device hand their
 * work to one thread, and 16 streams are not 16 teams.
 */
#include "worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif
#ifdef __SSE2__
#include <immintrin.h>
#endif

/* Lives on the stack of the thread that waits for it. */
struct job {
    struct job *next;
    enum kn_status (*do_it)(void *user);
    void *user;
    enum kn_status status;
    bool done;
    pthread_cond_t finished;
};

struct kn_worker {
    pthread_t thread;
    int threads;
    pthread_mutex_t lock; /* guards all below and every job's done */
    pthread_cond_t arrived;
    struct job *first, **end;
    bool stop;
};

/*
 * Attention states that decay pass through subnormal numbers, which cost a hundred cycles each on
 * many processors. This thread is ours alone, so it may count them as zero; the OpenMP threads that
 * it starts inherit the setting.
 */
static void flush_subnormals(void) {
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040); /* flush to zero, subnormals are zero */
#elif defined(__aarch64__)
    uint64_t fpcr;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" : : "r"(fpcr | UINT64_C(1) << 24));
#endif
}

static struct job *take(struct kn_worker *worker) {
    struct job *job = worker->first;

    worker->first = job->next;
    if (worker->first == NULL)
        worker->end = &worker->first;
    return job;
}

static void *work(void *user) {
    struct kn_worker *worker = user;

    flush_subnormals();
#ifdef _OPENMP
    omp_set_num_threads(worker->threads);
#endif
    pthread_mutex_lock(&worker->lock);
    while (!worker->stop || worker->first != NULL) {
        struct job *job;
        if (worker->first == NULL) {
            pthread_cond_wait(&worker->arrived, &worker->lock);
            continue;
        }
        job = take(worker);
        pthread_mutex_unlock(&worker->lock);
        job->status = job->do_it(job->user);
        pthread_mutex_lock(&worker->lock);
        job->done = true;
        pthread_cond_signal(&job->finished);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

/* The application's signals are not for this thread, nor for those that it starts. */
static int start(struct kn_worker *worker) {
    sigset_t all, before;
    int failed;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&worker->thread, NULL, work, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed == 0)
        pthread_setname_np(worker->thread, "fenwick-cpu");
    return failed;
}

enum kn_status kn_worker_new(struct kn_worker **worker, int threads, struct kn_err *err) {
    struct kn_worker *made = calloc(1, sizeof *made);
    int failed;

    if (made == NULL)
        return kn_fail_nomem(err, sizeof *made, "worker thread");
    made->threads = threads;
    made->end = &made->first;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->arrived, NULL);
    failed = start(made);
    if (failed != 0) {
        pthread_cond_destroy(&made->arrived);
        pthread_mutex_destroy(&made->lock);
        free(made);
        return kn_fail(err, KN_ERR_FAILED, "worker thread: %s", strerror(failed));
    }
    *worker = made;
    return KN_OK;
}

void kn_worker_free(struct kn_worker *worker) {
    if (worker == NULL)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->stop = true;
    pthread_cond_signal(&worker->arrived);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    pthread_cond_destroy(&worker->arrived);
    pthread_mutex_destroy(&worker->lock);
    free(worker);
}

enum kn_status kn_worker_do(struct kn_worker *worker, enum kn_status (*do_it)(void *user),
                            void *user) {
    struct job job = {.do_it = do_it, .user = user, .finished = PTHREAD_COND_INITIALIZER};

    pthread_mutex_lock(&worker->lock);
    *worker->end = &job;
    worker->end = &job.next;
    pthread_cond_signal(&worker->arrived);
    while (!job.done)
        pthread_cond_wait(&job.finished, &worker->lock);
    pthread_mutex_unlock(&worker->lock);
    pthread_cond_destroy(&job.finished);
    return job.status;
}
