/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Backends that are shared objects of their own. */
#ifndef KN_MODULE_H
#define KN_MODULE_H

#include "kn_internal.h"

#define KN_CUDA_MODULE "libfenwick-cuda.so"

/*
 * The one symbol of the module. It answers NULL when it was built for another KN_ABI or another
 * size of struct kn_backend.
 */
typedef const struct kn_backend *(*kn_cuda_backend_fn)(uint32_t abi, uint32_t size_bytes);

/* Opens the module on the first call that finds it; it is never closed. */
enum kn_status kn_module_cuda(const struct kn_backend **backend, struct kn_err *err);

#endif
