/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Opens the CUDA backend. It is looked for beside the file that holds this code and where it is
 * installed, nowhere else: no environment variable or working directory decides what is loaded.
 */
#include "module.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const struct kn_backend *opened; /* guarded by lock */

/* The folder of the library or program that this code was linked into. */
static bool own_folder(char folder[PATH_MAX]) {
    static const char here;
    char *slash;
    Dl_info info;

    if (dladdr(&here, &info) == 0 || info.dli_fname == NULL)
        return false;
    /* for a program the name is what it was started as, which need not be a path */
    if (strchr(info.dli_fname, '/') == NULL)
        info.dli_fname = "/proc/self/exe";
    if (realpath(info.dli_fname, folder) == NULL)
        return false;
    slash = strrchr(folder, '/');
    *slash = 0;
    return true;
}

static bool find_in(const char *folder, char path[PATH_MAX]) {
    const int length = snprintf(path, PATH_MAX, "%s/%s", folder, KN_CUDA_MODULE);

    return length > 0 && length < PATH_MAX && access(path, R_OK) == 0;
}

static enum kn_status not_found(const char *folder, struct kn_err *err) {
    /* the driver is only asked for its presence; it stays loaded, as it does not unload cleanly */
    const bool driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL) != NULL;

    return kn_fail(err, KN_ERR_LIBRARY, "no CUDA module (%s not found in %.70s or %.70s)%s",
                   KN_CUDA_MODULE, folder, KN_MODULE_DIR,
                   driver ? "" : ", and no CUDA driver (libcuda.so.1 not found)");
}

static enum kn_status open_module(const char *path, struct kn_err *err) {
    kn_cuda_backend_fn get = NULL;
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol;

    if (module == NULL)
        return kn_fail(err, KN_ERR_LIBRARY, "the CUDA module does not load: %s", dlerror());
    symbol = dlsym(module, "kn_cuda_backend");
    if (symbol == NULL)
        return kn_fail(err, KN_ERR_LIBRARY, "%s has no symbol kn_cuda_backend", path);
    /* C has no conversion from an object pointer to a function pointer; POSIX grants the copy */
    memcpy(&get, &symbol, sizeof get);
    opened = get(KN_ABI, sizeof(struct kn_backend));
    if (opened != NULL && opened->abi == KN_ABI && opened->size_bytes == sizeof *opened)
        return KN_OK;
    opened = NULL;
    return kn_fail(err, KN_ERR_LIBRARY, "%s is of another version (interface %d, %zu bytes wanted)",
                   path, KN_ABI, sizeof(struct kn_backend));
}

static enum kn_status find_and_open(struct kn_err *err) {
    char folder[PATH_MAX], path[PATH_MAX];
    const bool known = own_folder(folder);

    if ((known && find_in(folder, path)) || find_in(KN_MODULE_DIR, path))
        return open_module(path, err);
    return not_found(known ? folder : ".", err);
}

enum kn_status kn_module_cuda(const struct kn_backend **backend, struct kn_err *err) {
    enum kn_status status = KN_OK;

    pthread_mutex_lock(&lock);
    if (opened == NULL)
        status = find_and_open(err);
    if (status == KN_OK)
        *backend = opened;
    pthread_mutex_unlock(&lock);
    return status;
}
