/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Figures of training as rows of text. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "output.h"
#include "tensorboard.h"

static const char columns[] =
    "step,epoch,seconds,loss,loss_mean,psnr,mean_square,charbonnier,temporal_difference,laplacian,"
    "ms_ssim,gradient_norm,learning_rate,skipped,validation_psnr,validation_input_psnr\n";

struct fw_metrics {
    char *path;
    int fd;                  /* -1: none */
    gboolean continued;      /* there may be rows of steps that come again */
    guint64 validation_step; /* the last one written */
    struct fw_tensorboard *board;
};

/* ------------------------------------------------------------------------------------ old rows */

static gboolean fail_read(const struct fw_metrics *m, const char *what, GError **error) {
    return fw_fail(error, FW_ERROR_FORMAT, "%s: %s, so it is left alone", m->path, what);
}

/* A line up to 4096 bytes from a place in the file; 0: there is no whole one. */
static gsize read_line(const struct fw_metrics *m, off_t at, char line[4097]) {
    ssize_t n = pread(m->fd, line, 4096, at);
    line[MAX(n, 0)] = 0;
    char *end = strchr(line, '\n');
    return end ? (gsize)(end + 1 - line) : 0;
}

/* Cuts off what an interrupted run wrote of this step and later ones, and half a row. */
static gboolean drop_rows(struct fw_metrics *m, guint64 step, GError **error) {
    char line[4097];
    off_t at = (off_t)strlen(columns);
    gsize n;

    while ((n = read_line(m, at, line)) > 0 && g_ascii_strtoull(line, NULL, 10) < step)
        at += (off_t)n;
    if (ftruncate(m->fd, at) != 0 || lseek(m->fd, at, SEEK_SET) != at)
        return fw_fail_write(error, m->path, "cannot be shortened");
    return TRUE;
}

static gboolean open_csv(struct fw_metrics *m, GError **error) {
    char line[4097];
    struct stat st;

    m->fd = open(m->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
    if (m->fd < 0 || fstat(m->fd, &st) != 0)
        return fw_fail_write(error, m->path, "cannot be opened");
    if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
        return fw_fail(error, FW_ERROR_ARGUMENT, "%s: neither a file nor a device", m->path);
    m->continued = S_ISREG(st.st_mode) && st.st_size > 0;
    if (!m->continued)
        return fw_write_all(m->fd, m->path, columns, strlen(columns), error);
    if (read_line(m, 0, line) != strlen(columns) || strncmp(line, columns, strlen(columns)) != 0)
        return fail_read(m, "its first line is not that of a file of metrics", error);
    return TRUE;
}

/* ---------------------------------------------------------------------------------------- rows */

static void append_whole(GString *row, guint64 value) {
    g_string_append_printf(row, "%s%" G_GUINT64_FORMAT, row->len ? "," : "", value);
}

/* Nothing for a figure that is not there; a point whatever the locale is. */
static void append_real(GString *row, double value) {
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    g_string_append_c(row, ',');
    if (!isnan(value))
        g_string_append(row, g_ascii_formatd(text, sizeof text, "%.9g", value));
}

static gboolean write_csv(struct fw_metrics *m, const struct fw_train_report *r, double seconds,
                          gboolean validated, GError **error) {
    const double value[] = {seconds,
                            r->loss,
                            r->loss_mean,
                            r->psnr,
                            r->part.mean_square,
                            r->part.charbonnier,
                            r->part.temporal_difference,
                            r->part.laplacian,
                            r->part.ms_ssim,
                            r->gradient_norm,
                            r->learning_rate};
    GString *row = g_string_new(NULL);
    gboolean ok;

    append_whole(row, r->step);
    append_whole(row, r->epoch);
    for (gsize i = 0; i < G_N_ELEMENTS(value); i++)
        append_real(row, value[i]);
    append_whole(row, r->skipped);
    append_real(row, validated ? r->validation_psnr : NAN);
    append_real(row, validated ? r->validation_input_psnr : NAN);
    g_string_append_c(row, '\n');
    ok = fw_write_all(m->fd, m->path, row->str, row->len, error);
    g_string_free(row, TRUE);
    return ok;
}

static gboolean write_board(struct fw_metrics *m, const struct fw_train_report *r,
                            gboolean validated, GError **error) {
    const struct fw_scalar scalar[] = {
        {"train/loss", r->loss},
        {"train/psnr", r->psnr},
        {"train/gradient_norm", r->gradient_norm},
        {"train/learning_rate", r->learning_rate},
        {"validation/psnr", validated ? r->validation_psnr : NAN},
    };
    return fw_tensorboard_write(m->board, r->step, scalar, G_N_ELEMENTS(scalar), error);
}

struct fw_metrics *fw_metrics_new(const char *csv, const char *tensorboard, GError **error) {
    struct fw_metrics *m = g_new0(struct fw_metrics, 1);

    m->fd = -1;
    m->path = csv ? g_filename_display_name(csv) : NULL;
    if ((csv && !open_csv(m, error)) ||
        (tensorboard && !(m->board = fw_tensorboard_new(tensorboard, error)))) {
        fw_metrics_free(m);
        return NULL;
    }
    return m;
}

gboolean fw_metrics_write(struct fw_metrics *m, const struct fw_train_report *r, double seconds,
                          GError **error) {
    const gboolean validated = !isnan(r->validation_psnr) && r->validation_step > 0 &&
                               r->validation_step != m->validation_step;

    if (m->continued && !drop_rows(m, r->step, error))
        return FALSE;
    m->continued = FALSE;
    if (validated)
        m->validation_step = r->validation_step;
    return (m->fd < 0 || write_csv(m, r, seconds, validated, error)) &&
           (!m->board || write_board(m, r, validated, error));
}

void fw_metrics_free(struct fw_metrics *m) {
    if (!m)
        return;
    if (m->fd >= 0)
        close(m->fd);
    fw_tensorboard_free(m->board);
    g_free(m->path);
    g_free(m);
}
