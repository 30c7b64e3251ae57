/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "tensorboard.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "output.h"

struct fw_tensorboard {
    char *path;
    int fd;
};

guint32 fw_tensorboard_checksum(const void *bytes, gsize size) {
    const guint8 *at = bytes;
    guint32 crc = 0xffffffff;

    for (gsize i = 0; i < size; i++) {
        crc ^= at[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78 : 0); /* Castagnoli's polynomial */
    }
    crc = ~crc;
    return (crc >> 15 | crc << 17) + 0xa282ead8;
}

/* ------------------------------------------------------------------------------------ encoding */

enum wire { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };

static void put_varint(GByteArray *to, guint64 value) {
    do {
        guint8 byte = (guint8)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        g_byte_array_append(to, &byte, 1);
        value >>= 7;
    } while (value > 0);
}

static void put_key(GByteArray *to, guint field, enum wire wire) {
    put_varint(to, field << 3 | wire);
}

static void put_bytes(GByteArray *to, guint field, const void *bytes, gsize size) {
    put_key(to, field, BYTES);
    put_varint(to, size);
    g_byte_array_append(to, bytes, (guint)size);
}

static void put_32(GByteArray *to, guint32 value) {
    value = GUINT32_TO_LE(value);
    g_byte_array_append(to, (const guint8 *)&value, sizeof value);
}

static void put_64(GByteArray *to, guint64 value) {
    value = GUINT64_TO_LE(value);
    g_byte_array_append(to, (const guint8 *)&value, sizeof value);
}

static GByteArray *new_event(guint64 step) {
    GByteArray *event = g_byte_array_new();
    const double now = (double)g_get_real_time() * 1e-6;
    guint64 bits;

    memcpy(&bits, &now, sizeof bits);
    put_key(event, 1, FIXED64);
    put_64(event, bits);
    put_key(event, 2, VARINT);
    put_varint(event, step);
    return event;
}

static void put_scalar(GByteArray *summary, const struct fw_scalar *scalar) {
    GByteArray *value = g_byte_array_new();
    const float number = (float)scalar->value;
    guint32 bits;

    memcpy(&bits, &number, sizeof bits);
    put_bytes(value, 1, scalar->tag, strlen(scalar->tag));
    put_key(value, 2, FIXED32);
    put_32(value, bits);
    put_bytes(summary, 1, value->data, value->len);
    g_byte_array_unref(value);
}

/* ---------------------------------------------------------------------------------------- file */

/* Frees the event. In one write: a record is there or not, for who reads at the same time. */
static gboolean write_record(struct fw_tensorboard *b, GByteArray *event, GError **error) {
    GByteArray *record = g_byte_array_new();
    gboolean ok;

    put_64(record, event->len);
    put_32(record, fw_tensorboard_checksum(record->data, record->len));
    g_byte_array_append(record, event->data, event->len);
    put_32(record, fw_tensorboard_checksum(event->data, event->len));
    ok = fw_write_all(b->fd, b->path, record->data, record->len, error);
    g_byte_array_unref(record);
    g_byte_array_unref(event);
    return ok;
}

struct fw_tensorboard *fw_tensorboard_new(const char *folder, GError **error) {
    static const char version[] = "brain.Event:2";
    struct fw_tensorboard *b = g_new0(struct fw_tensorboard, 1);
    char *name =
        g_strdup_printf("events.out.tfevents.%010" G_GINT64_FORMAT ".%s.%d",
                        g_get_real_time() / G_USEC_PER_SEC, g_get_host_name(), (int)getpid());
    GByteArray *event;

    b->path = g_build_filename(folder, name, NULL);
    g_free(name);
    b->fd = -1;
    if (g_mkdir_with_parents(folder, 0777) == 0)
        b->fd = open(b->path, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (b->fd < 0) {
        fw_fail_write(error, b->path, "cannot be made");
        goto fail;
    }
    event = new_event(0);
    put_bytes(event, 3, version, strlen(version));
    if (write_record(b, event, error))
        return b;
fail:
    fw_tensorboard_free(b);
    return NULL;
}

gboolean fw_tensorboard_write(struct fw_tensorboard *b, guint64 step,
                              const struct fw_scalar *scalar, guint n, GError **error) {
    GByteArray *event = new_event(step), *summary = g_byte_array_new();

    for (guint i = 0; i < n; i++)
        if (!isnan(scalar[i].value))
            put_scalar(summary, &scalar[i]);
    put_bytes(event, 5, summary->data, summary->len);
    g_byte_array_unref(summary);
    return write_record(b, event, error);
}

void fw_tensorboard_free(struct fw_tensorboard *b) {
    if (!b)
        return;
    if (b->fd >= 0)
        close(b->fd);
    g_free(b->path);
    g_free(b);
}
