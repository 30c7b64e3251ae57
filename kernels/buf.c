/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Buffers: memory of a device. */
#include "kn_internal.h"

#include <inttypes.h>
#include <stdlib.h>

#include "kn_size.h"

enum kn_status kn_buf_new(struct kn_buf **buf, struct kn_dev *dev, uint64_t bytes,
                          struct kn_err *err) {
    enum kn_status status;
    struct kn_buf *made;

    if (buf == NULL || dev == NULL)
        return kn_fail(err, KN_ERR_ARG, "%s is NULL", buf == NULL ? "buffer" : "device");
    *buf = NULL;
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return kn_fail_nomem(err, sizeof *made, "buffer");
    made->dev = dev;
    made->bytes = bytes;
    KN_TRY(dev->backend->alloc(dev, bytes, &made->address, err));
    *buf = made;
    return KN_OK;
fail:
    free(made);
    return status;
}

void kn_buf_free(struct kn_buf *buf) {
    if (buf == NULL)
        return;
    buf->dev->backend->release(buf->dev, buf->address);
    free(buf);
}

void *kn_buf_address(const struct kn_buf *buf) {
    return buf->address;
}

uint64_t kn_buf_bytes(const struct kn_buf *buf) {
    return buf->bytes;
}

void *kn_buf_host(const struct kn_buf *buf) {
    return buf->dev->info.host_memory ? buf->address : NULL;
}

enum kn_status kn_buf_check(const struct kn_buf *buf, uint64_t offset, uint64_t bytes,
                            struct kn_err *err) {
    uint64_t end;

    if (buf == NULL)
        return kn_fail(err, KN_ERR_ARG, "buffer is NULL");
    if (!kn_size_add(offset, bytes, &end) || end > buf->bytes)
        return kn_fail(err, KN_ERR_RANGE,
                       "%" PRIu64 " bytes at %" PRIu64 " exceed the buffer of %" PRIu64, bytes,
                       offset, buf->bytes);
    return KN_OK;
}

enum kn_status kn_buf_write(struct kn_buf *buf, uint64_t offset, const void *from, uint64_t bytes,
                            struct kn_err *err) {
    const enum kn_status status = kn_buf_check(buf, offset, bytes, err);

    if (status != KN_OK || bytes == 0)
        return status;
    if (from == NULL)
        return kn_fail(err, KN_ERR_ARG, "source is NULL");
    return buf->dev->backend->write(buf->dev, (char *)buf->address + offset, from, bytes, err);
}

enum kn_status kn_buf_read(const struct kn_buf *buf, uint64_t offset, void *to, uint64_t bytes,
                           struct kn_err *err) {
    const enum kn_status status = kn_buf_check(buf, offset, bytes, err);

    if (status != KN_OK || bytes == 0)
        return status;
    if (to == NULL)
        return kn_fail(err, KN_ERR_ARG, "destination is NULL");
    return buf->dev->backend->read(buf->dev, to, (const char *)buf->address + offset, bytes, err);
}

enum kn_status kn_buf_copy(struct kn_buf *to, uint64_t to_offset, const struct kn_buf *from,
                           uint64_t from_offset, uint64_t bytes, struct kn_err *err) {
    enum kn_status status = kn_buf_check(to, to_offset, bytes, err);

    if (status == KN_OK)
        status = kn_buf_check(from, from_offset, bytes, err);
    if (status != KN_OK || bytes == 0)
        return status;
    if (to->dev != from->dev)
        return kn_fail(err, KN_ERR_ARG, "the buffers are of two devices");
    return to->dev->backend->copy(to->dev, (char *)to->address + to_offset,
                                  (const char *)from->address + from_offset, bytes, err);
}
