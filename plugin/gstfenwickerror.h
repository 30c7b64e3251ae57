/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef GST_FENWICK_ERROR_H
#define GST_FENWICK_ERROR_H

#include <gst/gst.h>

G_BEGIN_DECLS

/* Which GStreamer error a failure becomes, and what the user can do about
 * it. */
typedef struct
{
  GQuark domain;
  gint code;
  const gchar *hint; /* whole sentence, or NULL; static */
} GstFenwickError;

/* Maps an error of domain FW_ERROR. run_domain and run_code are the element's
 * own for a library that fails in the middle of a stream. */
void gst_fenwick_error_from (GstFenwickError * to, const GError * from,
    GQuark run_domain, gint run_code);

G_END_DECLS

#endif
