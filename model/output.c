/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

gboolean fw_fail_write(GError **error, const char *path, const char *what) {
    int number = errno;
    gboolean full = number == ENOSPC || number == EDQUOT || number == EFBIG;
    char *name = g_filename_display_name(path);
    fw_fail(error, full ? FW_ERROR_DISK_FULL : FW_ERROR_WRITE, "%s: %s: %s", name, what,
            g_strerror(number));
    g_free(name);
    return FALSE;
}

gboolean fw_write_all(int fd, const char *path, const void *bytes, gsize size, GError **error) {
    for (gsize done = 0; done < size;) {
        ssize_t n = write(fd, (const char *)bytes + done, size - done);
        if (n >= 0)
            done += (gsize)n;
        else if (errno != EINTR)
            return fw_fail_write(error, path, "cannot be written");
    }
    return TRUE;
}

gboolean fw_output_begin(struct fw_output *out, const char *path, GError **error) {
    *out = (struct fw_output){g_strdup(path), g_strconcat(path, ".tmp", NULL), -1};
    out->fd = open(out->beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (out->fd >= 0)
        return TRUE;
    fw_fail_write(error, out->beside, "cannot be made");
    g_free(out->beside);
    g_free(out->path);
    return FALSE;
}

gboolean fw_output_write(struct fw_output *out, const void *bytes, gsize size, GError **error) {
    return fw_write_all(out->fd, out->beside, bytes, size, error);
}

gboolean fw_output_rewrite(struct fw_output *out, const void *bytes, gsize size, GError **error) {
    if (lseek(out->fd, 0, SEEK_SET) != 0)
        return fw_fail_write(error, out->beside, "cannot be written");
    return fw_output_write(out, bytes, size, error);
}

/* A new name is on the disk only when its folder is. */
static gboolean sync_folder(const char *path, GError **error) {
    char *folder = g_path_get_dirname(path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Some file systems cannot sync a folder and say EINVAL: the file itself is safe there too. */
    gboolean ok = fd >= 0 && (fsync(fd) == 0 || errno == EINVAL);
    if (!ok)
        fw_fail_write(error, folder, "cannot be synchronised");
    if (fd >= 0)
        close(fd);
    g_free(folder);
    return ok;
}

gboolean fw_output_end(struct fw_output *out, gboolean good, GError **error) {
    if (good && fsync(out->fd) != 0)
        good = fw_fail_write(error, out->beside, "cannot be synchronised");
    if (close(out->fd) != 0 && good)
        good = fw_fail_write(error, out->beside, "cannot be closed");
    if (good && rename(out->beside, out->path) != 0)
        good = fw_fail_write(error, out->path, "cannot be replaced");
    if (!good)
        unlink(out->beside);
    good = good && sync_folder(out->path, error);
    g_free(out->beside);
    g_free(out->path);
    return good;
}
