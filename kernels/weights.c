/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Parameters on a device, and the packed forms that compiled programs share. */
#include "kn_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct entry *next;
    struct kn_packed packed;
    char key[];
};

struct kn_weights {
    struct kn_dev *dev;
    struct kn_buf *data;
    atomic_uint users;
    pthread_mutex_t lock; /* guards all below */
    struct entry *entries;
    uint64_t packed_bytes;
};

enum kn_status kn_weights_new(struct kn_weights **weights, struct kn_dev *dev, const void *from,
                              uint64_t bytes, struct kn_err *err) {
    enum kn_status status;
    struct kn_weights *made;

    if (weights == NULL || dev == NULL || (from == NULL && bytes > 0))
        return kn_fail(err, KN_ERR_ARG, "%s is NULL",
                       weights == NULL ? "weights"
                       : dev == NULL   ? "device"
                                       : "source");
    *weights = NULL;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return kn_fail_nomem(err, sizeof *made, "weights");
    made->dev = dev;
    atomic_init(&made->users, 1);
    KN_TRY(kn_buf_new(&made->data, dev, bytes, err));
    KN_TRY(kn_buf_write(made->data, 0, from, bytes, err));
    if (pthread_mutex_init(&made->lock, NULL) != 0) {
        status = kn_fail(err, KN_ERR_FAILED, "pthread_mutex_init failed");
        goto fail;
    }
    *weights = made;
    return KN_OK;
fail:
    kn_buf_free(made->data);
    free(made);
    return status;
}

struct kn_weights *kn_weights_ref(struct kn_weights *weights) {
    atomic_fetch_add_explicit(&weights->users, 1, memory_order_relaxed);
    return weights;
}

void kn_weights_unref(struct kn_weights *weights) {
    if (weights == NULL || atomic_fetch_sub_explicit(&weights->users, 1, memory_order_acq_rel) != 1)
        return;
    while (weights->entries != NULL) {
        struct entry *entry = weights->entries;
        weights->entries = entry->next;
        entry->packed.drop(entry->packed.data);
        free(entry);
    }
    pthread_mutex_destroy(&weights->lock);
    kn_buf_free(weights->data);
    free(weights);
}

uint64_t kn_weights_bytes(const struct kn_weights *weights) {
    /* the lock is no part of what the caller sees as constant */
    struct kn_weights *open = (struct kn_weights *)weights;
    uint64_t bytes;

    pthread_mutex_lock(&open->lock);
    bytes = weights->data->bytes + weights->packed_bytes;
    pthread_mutex_unlock(&open->lock);
    return bytes;
}

const void *kn_weights_data(const struct kn_weights *weights) {
    return weights->data->address;
}

const struct kn_buf *kn_weights_buf(const struct kn_weights *weights) {
    return weights->data;
}

static enum kn_status add(struct kn_weights *weights, const char *key,
                          enum kn_status (*make)(struct kn_packed *packed, void *user,
                                                 struct kn_err *err),
                          void *user, struct kn_err *err) {
    const size_t length = strlen(key) + 1;
    struct entry *entry = calloc(1, sizeof *entry + length);
    enum kn_status status;

    if (entry == NULL)
        return kn_fail_nomem(err, sizeof *entry + length, "packed weights");
    status = make(&entry->packed, user, err);
    if (status != KN_OK) {
        free(entry);
        return status;
    }
    memcpy(entry->key, key, length);
    entry->next = weights->entries;
    weights->entries = entry;
    weights->packed_bytes += entry->packed.bytes;
    return KN_OK;
}

static const struct entry *find(const struct kn_weights *weights, const char *key) {
    const struct entry *entry = weights->entries;

    while (entry != NULL && strcmp(entry->key, key) != 0)
        entry = entry->next;
    return entry;
}

enum kn_status kn_weights_pack(struct kn_weights *weights, const char *key,
                               enum kn_status (*make)(struct kn_packed *packed, void *user,
                                                      struct kn_err *err),
                               void *user, const struct kn_packed **packed, struct kn_err *err) {
    enum kn_status status = KN_OK;

    pthread_mutex_lock(&weights->lock);
    if (find(weights, key) == NULL)
        status = add(weights, key, make, user, err);
    if (status == KN_OK)
        *packed = &find(weights, key)->packed;
    pthread_mutex_unlock(&weights->lock);
    return status;
}
