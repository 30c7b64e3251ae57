/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Checkpoints in a folder, by their steps. */
#include <errno.h>
#include <glib/gstdio.h>
#include <string.h>

#include "checkpoint.h"

#define PREFIX "step-"
#define SUFFIX ".safetensors"

char *fw_checkpoint_path(const char *folder, guint64 step) {
    char name[64];
    g_snprintf(name, sizeof name, PREFIX "%08" G_GUINT64_FORMAT SUFFIX, step);
    return g_build_filename(folder, name, NULL);
}

/* The step of "step-00001234.safetensors" and nothing else; after: what stands behind it. */
static gboolean parse_name(const char *name, const char *after, guint64 *step) {
    const char *digits = name + strlen(PREFIX);
    char *end;

    if (!g_str_has_prefix(name, PREFIX) || !g_ascii_isdigit(*digits))
        return FALSE;
    errno = 0;
    *step = g_ascii_strtoull(digits, &end, 10);
    return errno == 0 && (end - digits == 8 || (end - digits > 8 && *digits != '0')) &&
           g_str_has_prefix(end, SUFFIX) && strcmp(end + strlen(SUFFIX), after) == 0;
}

static gint newest_first(gconstpointer a, gconstpointer b) {
    const guint64 x = *(const guint64 *)a, y = *(const guint64 *)b;
    return x > y ? -1 : x < y;
}

/* The steps of a folder's checkpoints, newest first; empty when it cannot be read. */
static GArray *list_steps(const char *folder) {
    GArray *steps = g_array_new(FALSE, FALSE, sizeof(guint64));
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    guint64 step;

    while (dir && (name = g_dir_read_name(dir)))
        if (parse_name(name, "", &step))
            g_array_append_val(steps, step);
    if (dir)
        g_dir_close(dir);
    g_array_sort(steps, newest_first);
    return steps;
}

gboolean fw_checkpoint_newest(struct fw_checkpoint *c, const char *folder, gboolean *found,
                              GError **error) {
    GArray *steps = list_steps(folder);
    GError *first = NULL;

    *found = FALSE;
    for (guint i = 0; i < steps->len && !*found; i++) {
        char *path = fw_checkpoint_path(folder, g_array_index(steps, guint64, i));
        *found = fw_checkpoint_open(c, path, first ? NULL : &first);
        g_free(path);
    }
    g_array_free(steps, TRUE);
    if (*found || !first) { /* an older whole one is better than none */
        g_clear_error(&first);
        return TRUE;
    }
    g_propagate_error(error, first);
    return FALSE;
}

static void remove_leftovers(const char *folder) {
    GDir *dir = g_dir_open(folder, 0, NULL);
    const char *name;
    guint64 step;

    while (dir && (name = g_dir_read_name(dir))) {
        char *path = parse_name(name, ".tmp", &step) ? g_build_filename(folder, name, NULL) : NULL;
        if (path)
            g_unlink(path);
        g_free(path);
    }
    if (dir)
        g_dir_close(dir);
}

void fw_checkpoint_prune(const char *folder, guint64 step, guint keep) {
    GArray *steps = list_steps(folder);
    guint kept = 0;

    remove_leftovers(folder);
    for (guint i = 0; i < steps->len && keep > 0; i++) {
        guint64 at = g_array_index(steps, guint64, i);
        /* Later ones are left of a run that went further and were found broken. */
        if (at > step || kept++ < keep)
            continue;
        char *path = fw_checkpoint_path(folder, at);
        g_unlink(path);
        g_free(path);
    }
    g_array_free(steps, TRUE);
}
