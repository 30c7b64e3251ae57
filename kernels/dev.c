/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Devices by name. */
#include "kn_internal.h"

#include <stdlib.h>
#include <string.h>

#include "kn_size.h"
#include "module.h"

#define MAX_THREADS 1024

/* "cuda" or "cuda:N", N in decimal and at most four digits; the module reads N itself. */
static bool is_cuda(const char *name) {
    size_t digits;

    if (strncmp(name, "cuda", 4) != 0)
        return false;
    if (name[4] == 0)
        return true;
    digits = strspn(name + 5, "0123456789");
    return name[4] == ':' && digits >= 1 && digits <= 4 && name[5 + digits] == 0;
}

static enum kn_status find_backend(const struct kn_backend **backend, const char *name,
                                   struct kn_err *err) {
    if (strcmp(name, "cpu") == 0)
        *backend = &kn_cpu_backend;
    else if (strcmp(name, "ref") == 0)
        *backend = &kn_ref_backend;
    else if (is_cuda(name))
        return kn_module_cuda(backend, err);
    else
        return kn_fail(err, KN_ERR_ARG, "device is \"%.40s\", must be cpu, ref, cuda or cuda:N",
                       name);
    return KN_OK;
}

enum kn_status kn_dev_open(struct kn_dev **dev, const struct kn_dev_params *params,
                           struct kn_err *err) {
    const struct kn_backend *backend = NULL;
    struct kn_dev *made = NULL;
    enum kn_status status;

    if (dev == NULL || params == NULL || params->name == NULL)
        return kn_fail(err, KN_ERR_ARG, "%s is NULL", dev == NULL ? "device" : "device name");
    *dev = NULL;
    if (params->threads < 0 || params->threads > MAX_THREADS)
        return kn_fail(err, KN_ERR_ARG, "threads is %d, must be 0 to %d", params->threads,
                       MAX_THREADS);
    KN_TRY(find_backend(&backend, params->name, err));
    made = calloc(1, sizeof *made);
    if (made == NULL)
        return kn_fail_nomem(err, sizeof *made, "device");
    made->backend = backend;
    KN_TRY(backend->open(made, params, err));
    *dev = made;
    return KN_OK;
fail:
    free(made);
    return status;
}

void kn_dev_close(struct kn_dev *dev) {
    if (dev == NULL)
        return;
    dev->backend->close(dev);
    free(dev);
}

uint64_t kn_dev_memory(const struct kn_dev *dev) {
    return dev->backend->memory(dev);
}

void kn_dev_info(const struct kn_dev *dev, struct kn_dev_info *info) {
    *info = dev->info;
}

enum kn_status kn_dev_state_bytes(const struct kn_dev *dev, const struct kn_node *node,
                                  uint64_t *bytes, struct kn_err *err) {
    uint64_t exact = 0;

    if (dev == NULL || node == NULL || bytes == NULL)
        return kn_fail(err, KN_ERR_ARG, "%s is NULL",
                       dev == NULL    ? "device"
                       : node == NULL ? "node"
                                      : "bytes");
    /* whole units, so that states of several operations can be laid out by adding up */
    if (!dev->backend->state_bytes(dev, node, &exact) || !kn_size_align(exact, KN_ALIGN, &exact))
        return kn_fail(err, KN_ERR_RANGE, "%s: the size of its state overflows", node->label);
    *bytes = exact;
    return KN_OK;
}
