/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Opening and reading what a user named: any path may be anything. */
#include "weights.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static gboolean fail_errno(GError **error, const char *path, const char *what, int number) {
    gboolean missing = number == ENOENT || number == ENOTDIR;
    char *name = g_filename_display_name(path);
    fw_fail(error, missing ? FW_ERROR_NOT_FOUND : FW_ERROR_READ, "%s: %s: %s", name, what,
            g_strerror(number));
    g_free(name);
    return FALSE;
}

static const char *kind_of(mode_t mode) {
    return S_ISDIR(mode)    ? "a directory"
           : S_ISFIFO(mode) ? "a pipe"
           : S_ISSOCK(mode) ? "a socket"
                            : "a device";
}

gboolean fw_file_open(struct fw_file *file, const char *path, GError **error) {
    struct stat st;
    *file = (struct fw_file){.fd = -1};
    /* O_NONBLOCK: opening a pipe that nobody writes would wait for ever. */
    do
        file->fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    while (file->fd < 0 && errno == EINTR);
    if (file->fd < 0)
        return fail_errno(error, path, "cannot be opened", errno);
    if (fstat(file->fd, &st) != 0) {
        fail_errno(error, path, "cannot be examined", errno);
        goto fail;
    }
    if (!S_ISREG(st.st_mode)) {
        char *name = g_filename_display_name(path);
        fw_fail(error, FW_ERROR_READ, "%s: %s, not a regular file", name, kind_of(st.st_mode));
        g_free(name);
        goto fail;
    }
    file->size = (guint64)st.st_size;
    file->device = (guint64)st.st_dev;
    file->inode = (guint64)st.st_ino;
    file->changed = (gint64)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
    return TRUE;
fail:
    fw_file_close(file);
    return FALSE;
}

void fw_file_close(struct fw_file *file) {
    if (file->fd >= 0)
        close(file->fd);
    file->fd = -1;
}

gboolean fw_file_read(const struct fw_file *file, const char *path, guint64 offset, void *to,
                      gsize size, GError **error) {
    for (gsize done = 0; done < size;) {
        ssize_t n = pread(file->fd, (char *)to + done, size - done, (off_t)(offset + done));
        if (n > 0)
            done += (gsize)n;
        else if (n == 0)
            return fw_fail(error, FW_ERROR_READ, "%s: ended at byte %" G_GUINT64_FORMAT, path,
                           offset + done);
        else if (errno != EINTR)
            return fail_errno(error, path, "cannot be read", errno);
    }
    return TRUE;
}
