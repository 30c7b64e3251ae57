/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef FENWICK_PICTURE_H
#define FENWICK_PICTURE_H

#include <gst/video/video.h>

G_BEGIN_DECLS

/* Writes two raw video frames side by side as a PNG. Small ones are magnified. */
gboolean picture_write (GstSample *left, GstSample *right, const gchar *path, GError **error);

G_END_DECLS

#endif
