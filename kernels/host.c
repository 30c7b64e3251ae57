/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two devices that run a table of kernels on ordinary memory. "ref" does so where it is called,
 * on one thread; "cpu" overlays the table and does everything on its worker thread.
 */
#include "kn_internal.h"

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "kn_size.h"
#include "worker.h"

struct host_dev {
    struct kn_table table;
    struct kn_cpu_traits traits;
    struct kn_worker *worker; /* NULL: jobs are done where they are handed in */
};

struct host_node {
    struct kn_node node;
    void *plan;
    bool prepared;
    struct kn_profile profile; /* under the exec's lock */
};

struct host_exec {
    pthread_mutex_t lock; /* scratch and plans serve one run at a time */
    void *scratch;
    size_t count;
    struct host_node node[];
};

static struct host_dev *host(const struct kn_dev *dev) {
    return dev->priv;
}

static enum kn_status host_do(const struct kn_dev *dev, enum kn_status (*do_it)(void *user),
                              void *user) {
    struct kn_worker *worker = host(dev)->worker;

    return worker != NULL ? kn_worker_do(worker, do_it, user) : do_it(user);
}

/* --------------------------------------------------------------------------------------- device */

static int count_processors(void) {
    cpu_set_t set;

    /* fails on machines with more processors than the set holds */
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return CPU_SETSIZE;
    return CPU_COUNT(&set);
}

static enum kn_status host_new(struct kn_dev *dev, struct kn_err *err) {
    struct host_dev *made = calloc(1, sizeof *made);

    if (made == NULL)
        return kn_fail_nomem(err, sizeof *made, "device");
    kn_ref_fill(&made->table);
    dev->priv = made;
    dev->info.name = dev->backend->name;
    dev->info.host_memory = true;
    dev->info.threads = 1;
    return KN_OK;
}

static void host_close(struct kn_dev *dev) {
    kn_worker_free(host(dev)->worker);
    free(dev->priv);
}

static enum kn_status ref_open(struct kn_dev *dev, const struct kn_dev_params *params,
                               struct kn_err *err) {
    dev->info.description = "reference, double accumulation, 1 thread";
    dev->info.float64 = true;
    return host_new(dev, err);
}

static enum kn_status cpu_open(struct kn_dev *dev, const struct kn_dev_params *params,
                               struct kn_err *err) {
    const int threads = params->threads > 0 ? params->threads : count_processors();
    enum kn_status status = host_new(dev, err);
    struct host_dev *made = dev->priv;

    if (status != KN_OK)
        return status;
    kn_cpu_fill(&made->table, &made->traits, threads);
    dev->info.threads = threads;
    dev->info.description = made->traits.description;
    dev->info.fast_bf16 = made->traits.fast_bf16;
    KN_TRY(kn_worker_new(&made->worker, threads, err));
    return KN_OK;
fail:
    free(made);
    return status;
}

static enum kn_status host_alloc(struct kn_dev *dev, uint64_t bytes, void **address,
                                 struct kn_err *err) {
    return kn_host_alloc(bytes, dev->info.name, address, err);
}

static uint64_t host_memory(const struct kn_dev *dev) {
    const long pages = sysconf(_SC_PHYS_PAGES), bytes = sysconf(_SC_PAGESIZE);

    return pages > 0 && bytes > 0 ? (uint64_t)pages * (uint64_t)bytes : 0;
}

static void host_release(struct kn_dev *dev, void *address) {
    free(address);
}

static enum kn_status host_copy(struct kn_dev *dev, void *to, const void *from, uint64_t bytes,
                                struct kn_err *err) {
    memcpy(to, from, (size_t)bytes);
    return KN_OK;
}

static bool host_state_bytes(const struct kn_dev *dev, const struct kn_node *node,
                             uint64_t *bytes) {
    const struct kn_kernel *kernel = &host(dev)->table.kernel[node->op];

    *bytes = 0;
    return kernel->state_bytes == NULL || kernel->state_bytes(&node->args, bytes);
}

/* --------------------------------------------------------------------------------------- stream */

/* Runs are complete when they return, so a stream has nothing to keep. */
static enum kn_status host_stream_open(struct kn_stream *stream, struct kn_err *err) {
    return KN_OK;
}

static void host_stream_close(struct kn_stream *stream) {
}

static enum kn_status host_sync(struct kn_stream *stream, struct kn_err *err) {
    return KN_OK;
}

/* ------------------------------------------------------------------------------------- programs */

struct open_job {
    struct kn_exec *exec;
    const struct kn_program *program;
    struct kn_err *err;
};

static enum kn_status prepare_node(struct kn_exec *exec, struct host_node *node,
                                   struct kn_err *err) {
    const struct kn_kernel *kernel = &host(exec->dev)->table.kernel[node->node.op];
    struct kn_prepare prepare = {
        .dev = exec->dev, .weights = exec->weights, .threads = exec->dev->info.threads};
    enum kn_status status;

    if (kernel->run == NULL)
        return kn_fail(err, KN_ERR_UNSUPPORTED, "%s: device %s has no operation %s",
                       node->node.label, exec->dev->info.name, kn_op_name(node->node.op));
    if (kernel->prepare == NULL)
        return KN_OK;
    status = kernel->prepare(&prepare, &node->node, err);
    if (status != KN_OK)
        return kn_fail_in(err, status, node->node.label);
    node->plan = prepare.plan;
    node->prepared = true;
    if (prepare.scratch_bytes > exec->scratch_bytes)
        exec->scratch_bytes = prepare.scratch_bytes;
    return KN_OK;
}

static enum kn_status open_exec(void *user) {
    const struct open_job *job = user;
    struct host_exec *made = job->exec->priv;
    enum kn_status status;

    for (size_t i = 0; i < made->count; i++) {
        made->node[i].node = *kn_program_node(job->program, i);
        KN_TRY(prepare_node(job->exec, &made->node[i], job->err));
    }
    if (job->exec->scratch_bytes > 0)
        KN_TRY(kn_host_alloc(job->exec->scratch_bytes, "scratch", &made->scratch, job->err));
    return KN_OK;
fail:
    return status;
}

static enum kn_status close_exec(void *user) {
    struct kn_exec *exec = user;
    struct host_exec *made = exec->priv;

    for (size_t i = 0; i < made->count; i++) {
        const struct kn_kernel *kernel = &host(exec->dev)->table.kernel[made->node[i].node.op];
        if (made->node[i].prepared && kernel->release != NULL)
            kernel->release(made->node[i].plan);
    }
    free(made->scratch);
    pthread_mutex_destroy(&made->lock);
    free(made);
    return KN_OK;
}

static void host_exec_close(struct kn_exec *exec) {
    host_do(exec->dev, close_exec, exec);
}

static enum kn_status host_exec_open(struct kn_exec *exec, const struct kn_program *program,
                                     struct kn_err *err) {
    struct open_job job = {exec, program, err};
    const size_t count = kn_program_size(program);
    struct host_exec *made;
    enum kn_status status;
    uint64_t bytes;

    if (!kn_size_mul(count, sizeof made->node[0], &bytes) ||
        !kn_size_add(bytes, sizeof *made, &bytes))
        return kn_fail(err, KN_ERR_RANGE, "%zu operations are too many", count);
    made = calloc(1, (size_t)bytes);
    if (made == NULL)
        return kn_fail_nomem(err, bytes, "compiled program");
    made->count = count;
    pthread_mutex_init(&made->lock, NULL);
    exec->priv = made;
    status = host_do(exec->dev, open_exec, &job);
    if (status != KN_OK)
        host_exec_close(exec);
    return status;
}

static uint64_t now(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

struct run_job {
    struct kn_exec *exec;
    struct kn_stream *stream;
    void *const *base;
    struct kn_err *err;
};

static enum kn_status run_exec(void *user) {
    const struct run_job *job = user;
    struct host_exec *exec = job->exec->priv;
    struct kn_dev *dev = job->exec->dev;
    struct kn_call call = {
        .base = job->base, .scratch = exec->scratch, .dev = dev, .threads = dev->info.threads};
    enum kn_status status = KN_OK;

    pthread_mutex_lock(&exec->lock);
    uint64_t begin = now();
    for (size_t i = 0; status == KN_OK && i < exec->count; i++) {
        struct host_node *node = &exec->node[i];
        if (atomic_load(&job->stream->cancelled)) {
            status = kn_fail(job->err, KN_ERR_CANCELLED, "cancelled before %s", node->node.label);
            break;
        }
        call.plan = node->plan;
        status = host(dev)->table.kernel[node->node.op].run(&call, &node->node.args, job->err);
        if (status != KN_OK)
            kn_fail_in(job->err, status, node->node.label);
        const uint64_t end = now();
        node->profile.runs++;
        node->profile.nanoseconds += end - begin;
        begin = end;
    }
    pthread_mutex_unlock(&exec->lock);
    return status;
}

static void host_profile(const struct kn_exec *exec, size_t i, struct kn_profile *profile) {
    struct host_exec *made = exec->priv;

    pthread_mutex_lock(&made->lock);
    if (i < made->count)
        *profile = made->node[i].profile;
    pthread_mutex_unlock(&made->lock);
}

static enum kn_status host_run(struct kn_exec *exec, struct kn_stream *stream,
                               const struct kn_bindings *bindings, struct kn_err *err) {
    struct kn_bindings bound = *bindings;
    struct run_job job = {exec, stream, bound.base, err};

    /* kernels only read through it; the binding is not const because the other slots are not */
    if (exec->weights != NULL)
        bound.base[KN_SLOT_WEIGHTS] = (void *)kn_weights_data(exec->weights);
    return host_do(exec->dev, run_exec, &job);
}

#define HOST_BACKEND(device, open_device)                                                          \
    {                                                                                              \
        .abi = KN_ABI, .size_bytes = sizeof(struct kn_backend), .name = device,                    \
        .open = open_device, .close = host_close, .alloc = host_alloc, .release = host_release,    \
        .write = host_copy, .read = host_copy, .copy = host_copy, .state_bytes = host_state_bytes, \
        .stream_open = host_stream_open, .stream_close = host_stream_close, .sync = host_sync,     \
        .exec_open = host_exec_open, .exec_close = host_exec_close, .run = host_run,               \
        .memory = host_memory, .profile = host_profile                                             \
    }

const struct kn_backend kn_ref_backend = HOST_BACKEND("ref", ref_open);
const struct kn_backend kn_cpu_backend = HOST_BACKEND("cpu", cpu_open);
