/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A module in the place of the CUDA backend. KN_FAKE_MODULE says what is wrong with it. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"

static int opened;

static enum kn_status fake_open(struct kn_dev *dev, const struct kn_dev_params *params,
                                struct kn_err *err) {
    if (strcmp(params->name, "cuda:9") == 0) {
        *err = (struct kn_err){.code = KN_ERR_NO_DEVICE};
        snprintf(err->msg, sizeof err->msg, "no device 9 among %d", ++opened);
        return KN_ERR_NO_DEVICE;
    }
    dev->info.name = "fake";
    dev->info.threads = ++opened;
    return KN_OK;
}

static void fake_close(struct kn_dev *dev) {
}

const struct kn_backend *kn_cuda_backend(uint32_t abi, uint32_t size_bytes);

const struct kn_backend *kn_cuda_backend(uint32_t abi, uint32_t size_bytes) {
    static struct kn_backend backend = {.abi = KN_ABI,
                                        .size_bytes = sizeof backend,
                                        .name = "cuda",
                                        .open = fake_open,
                                        .close = fake_close};
    const char *fault = getenv("KN_FAKE_MODULE");

    if (abi != KN_ABI || size_bytes != sizeof backend)
        return NULL;
    if (fault != NULL && strcmp(fault, "refuses") == 0)
        return NULL;
    if (fault != NULL && strcmp(fault, "abi") == 0)
        backend.abi++;
    if (fault != NULL && strcmp(fault, "size") == 0)
        backend.size_bytes -= 8;
    return &backend;
}
