/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Memory of the host. Linux grants more than it has and kills a process that uses it, so a request
 * is compared with what is really available first, and every page is touched before it is handed
 * out: after that, running cannot fail for memory.
 */
#include "kn_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "kn_size.h"

/* The number after "key" in a file of "key number" lines; an empty key takes the first line. */
static bool read_number(const char *path, const char *key, uint64_t *value) {
    char line[160];
    const size_t length = strlen(key);
    bool found = false;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        return false;
    while (!found && fgets(line, sizeof line, file) != NULL)
        found = strncmp(line, key, length) == 0 && sscanf(line + length, "%" SCNu64, value) == 1;
    fclose(file);
    return found;
}

/* What the control group of a container leaves: its limit less what cannot be dropped. */
static uint64_t group_available(void) {
    uint64_t limit, used, clean = 0, part;

    if (!read_number("/sys/fs/cgroup/memory.max", "", &limit) ||
        !read_number("/sys/fs/cgroup/memory.current", "", &used))
        return UINT64_MAX;
    if (read_number("/sys/fs/cgroup/memory.stat", "inactive_file ", &part))
        clean += part;
    if (read_number("/sys/fs/cgroup/memory.stat", "active_file ", &part))
        clean += part;
    used = used > clean ? used - clean : 0;
    return limit > used ? limit - used : 0;
}

uint64_t kn_host_available(void) {
    const uint64_t group = group_available();
    uint64_t kib;

    if (!read_number("/proc/meminfo", "MemAvailable:", &kib))
        return group == UINT64_MAX ? 0 : group;
    return kib * 1024 < group ? kib * 1024 : group;
}

/* Walking states and activations costs a page-table walk every 4 KiB without this. */
#define HUGE_PAGE ((uint64_t)2 << 20)

enum kn_status kn_host_alloc(uint64_t bytes, const char *what, void **address, struct kn_err *err) {
    const uint64_t available = kn_host_available();
    const bool large = bytes >= 4 * HUGE_PAGE;
    uint64_t whole;

    if (!kn_size_align(bytes > 0 ? bytes : 1, KN_ALIGN, &whole) || whole > PTRDIFF_MAX ||
        (available != 0 && whole > available))
        return kn_fail_memory(err, bytes, available, what);
    if (posix_memalign(address, large ? HUGE_PAGE : KN_ALIGN, (size_t)whole) != 0)
        return kn_fail_memory(err, bytes, available, what);
    if (large)
        madvise(*address, (size_t)whole, MADV_HUGEPAGE); /* a wish; kernels without it say no */
    memset(*address, 0, (size_t)whole);
    return KN_OK;
}
