/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Streams and compiled programs: what every backend has in common. */
#include "kn_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "kn_size.h"

enum kn_status kn_stream_new(struct kn_stream **stream, struct kn_dev *dev, struct kn_err *err) {
    enum kn_status status;
    struct kn_stream *made;

    if (stream == NULL || dev == NULL)
        return kn_fail(err, KN_ERR_ARG, "%s is NULL", stream == NULL ? "stream" : "device");
    *stream = NULL;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return kn_fail_nomem(err, sizeof *made, "stream");
    made->dev = dev;
    atomic_init(&made->cancelled, false);
    KN_TRY(dev->backend->stream_open(made, err));
    *stream = made;
    return KN_OK;
fail:
    free(made);
    return status;
}

void kn_stream_free(struct kn_stream *stream) {
    if (stream == NULL)
        return;
    stream->dev->backend->stream_close(stream);
    free(stream);
}

void kn_stream_cancel(struct kn_stream *stream, bool cancel) {
    if (stream != NULL)
        atomic_store(&stream->cancelled, cancel);
}

enum kn_status kn_stream_sync(struct kn_stream *stream, struct kn_err *err) {
    if (stream == NULL)
        return kn_fail(err, KN_ERR_ARG, "stream is NULL");
    return stream->dev->backend->sync(stream, err);
}

/* Offsets into the weights are known before anything runs, unlike those into bound memory. */
static enum kn_status check_weights(const struct kn_node *node, uint64_t available,
                                    struct kn_err *err) {
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];
    const int count = kn_node_tensors(node, tensor);

    for (int i = 0; i < count; i++) {
        uint64_t bytes = 0, end = 0;
        if (tensor[i]->slot != KN_SLOT_WEIGHTS)
            continue;
        if (!kn_tensor_extent(tensor[i], &bytes) ||
            !kn_size_add(tensor[i]->offset_bytes, bytes, &end) || end > available)
            return kn_fail(err, KN_ERR_RANGE,
                           "%s: %" PRIu64 " bytes at %" PRIu64 " exceed the weights of %" PRIu64,
                           node->label, bytes, tensor[i]->offset_bytes, available);
    }
    return KN_OK;
}

static bool is_sum(const struct kn_tensor *t) {
    return t->slot == KN_SLOT_OUT && t->rank == 1 && t->dim[0] == 1;
}

/* Sums are made in double everywhere, the rest only by the reference. */
static enum kn_status check_types(const struct kn_node *node, const struct kn_dev *dev,
                                  struct kn_err *err) {
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];
    const int count = kn_node_tensors(node, tensor);

    for (int i = 0; i < count && !dev->info.float64; i++)
        if (tensor[i]->dtype == KN_F64 && !is_sum(tensor[i]))
            return kn_fail(err, KN_ERR_UNSUPPORTED, "%s: device %s has no float64", node->label,
                           dev->info.name);
    return KN_OK;
}

static enum kn_status check_new(struct kn_exec **exec, struct kn_dev *dev,
                                const struct kn_program *program, struct kn_weights *weights,
                                struct kn_err *err) {
    const uint64_t available = weights != NULL ? kn_weights_buf(weights)->bytes : 0;
    enum kn_status status = KN_OK;

    if (exec == NULL || dev == NULL || program == NULL)
        return kn_fail(err, KN_ERR_ARG, "%s is NULL",
                       exec == NULL  ? "exec"
                       : dev == NULL ? "device"
                                     : "program");
    if (weights != NULL && kn_weights_buf(weights)->dev != dev)
        return kn_fail(err, KN_ERR_ARG, "the weights are of another device");
    for (size_t i = 0; status == KN_OK && i < kn_program_size(program); i++) {
        status = check_types(kn_program_node(program, i), dev, err);
        if (status == KN_OK && weights != NULL)
            status = check_weights(kn_program_node(program, i), available, err);
    }
    return status;
}

enum kn_status kn_exec_new(struct kn_exec **exec, struct kn_dev *dev,
                           const struct kn_program *program, struct kn_weights *weights,
                           struct kn_err *err) {
    enum kn_status status = check_new(exec, dev, program, weights, err);
    struct kn_exec *made = NULL;

    if (status != KN_OK)
        return status;
    *exec = NULL;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return kn_fail_nomem(err, sizeof *made, "compiled program");
    made->dev = dev;
    made->weights = weights != NULL ? kn_weights_ref(weights) : NULL;
    for (size_t i = 0; i < kn_program_size(program); i++)
        made->slots |= kn_node_slots(kn_program_node(program, i));
    KN_TRY(dev->backend->exec_open(made, program, err));
    *exec = made;
    return KN_OK;
fail:
    kn_weights_unref(made->weights);
    free(made);
    return status;
}

void kn_exec_free(struct kn_exec *exec) {
    if (exec == NULL)
        return;
    exec->dev->backend->exec_close(exec);
    kn_weights_unref(exec->weights);
    free(exec);
}

uint64_t kn_exec_scratch_bytes(const struct kn_exec *exec) {
    return exec->scratch_bytes;
}

void kn_exec_profile(const struct kn_exec *exec, size_t i, struct kn_profile *profile) {
    *profile = (struct kn_profile){0};
    if (exec->dev->backend->profile != NULL)
        exec->dev->backend->profile(exec, i, profile);
}

enum kn_status kn_exec_run(struct kn_exec *exec, struct kn_stream *stream,
                           const struct kn_bindings *bindings, struct kn_err *err) {
    if (exec == NULL || stream == NULL || bindings == NULL)
        return kn_fail(err, KN_ERR_ARG, "%s is NULL",
                       exec == NULL     ? "exec"
                       : stream == NULL ? "stream"
                                        : "bindings");
    if (exec->dev != stream->dev)
        return kn_fail(err, KN_ERR_ARG, "the stream is of another device");
    for (int slot = exec->weights != NULL ? KN_SLOT_WEIGHTS + 1 : KN_SLOT_WEIGHTS;
         slot < KN_SLOT_COUNT; slot++)
        if ((exec->slots >> slot & 1) != 0 && bindings->base[slot] == NULL)
            return kn_fail(err, KN_ERR_ARG, "the program uses slot %s, which is not bound",
                           kn_slot_name((enum kn_slot)slot));
    return exec->dev->backend->run(exec, stream, bindings, err);
}
