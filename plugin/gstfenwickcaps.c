/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Caps of latents, and the pools for them. Raw video: gstfenwickvideo.c. */
#include "gstfenwickcaps.h"

#include <string.h>

#include "kn_size.h"

#define MAX_RANK 16
#define ALIGNMENT 63            /* mask, as GstAllocationParams has it */

gboolean
gst_fenwick_refuse (GstFenwickReason * reason, const gchar * format, ...)
{
  va_list args;

  va_start (args, format);
  g_vsnprintf (reason->text, sizeof (reason->text), format, args);
  va_end (args);
  return FALSE;
}

gboolean
gst_fenwick_latents_size (const struct fw_latents *dims, enum kn_dtype type,
    gsize * size)
{
  const int64_t factor[] = { dims->width, dims->height, dims->channels,
    (int64_t) kn_dtype_bytes (type)
  };
  uint64_t bytes;

  if (!kn_size_product (factor, G_N_ELEMENTS (factor), &bytes)
      || bytes == 0 || bytes > G_MAXSSIZE)
    return FALSE;
  *size = bytes;
  return TRUE;
}

/* Best first. */
static const enum kn_dtype types[] = { KN_F32, KN_F16, KN_U8 };

const gchar *
gst_fenwick_latents_type (guint n)
{
  return n < G_N_ELEMENTS (types) ? kn_dtype_name (types[n]) : NULL;
}

static gboolean
parse_type (const gchar * name, enum kn_dtype *type)
{
  for (guint i = 0; i < G_N_ELEMENTS (types); i++) {
    if (name && strcmp (name, kn_dtype_name (types[i])) == 0) {
      *type = types[i];
      return TRUE;
    }
  }
  return FALSE;
}

/* "C:w:h" and any number of ":1": decimal digits only, at least 1, no more
 * than fits a gint. */
static gboolean
parse_dimensions (const gchar * text, struct fw_latents *dims)
{
  gint value[MAX_RANK];
  guint rank = 0;

  for (;;) {
    guint64 n = 0;
    const gchar *start = text;

    while (g_ascii_isdigit (*text) && n <= G_MAXINT)
      n = n * 10 + (guint64) (*text++ - '0');
    if (text == start || n < 1 || n > G_MAXINT || rank == MAX_RANK)
      return FALSE;
    value[rank++] = (gint) n;
    if (*text == '\0')
      break;
    if (*text++ != ':')
      return FALSE;
  }

  for (guint i = 3; i < rank; i++)
    if (value[i] != 1)
      return FALSE;
  dims->channels = value[0];
  dims->width = rank > 1 ? value[1] : 0;
  dims->height = rank > 2 ? value[2] : 0;
  return rank >= 3;
}

/* The size of the picture: both fields or none. */
static gboolean
parse_picture (const GstStructure * s, GstFenwickLatents * latents)
{
  const gboolean wide = gst_structure_has_field (s, "width");
  const gboolean high = gst_structure_has_field (s, "height");

  if (!wide && !high) {
    if (latents->dims.width > G_MAXINT / 2
        || latents->dims.height > G_MAXINT / 2)
      return FALSE;
    latents->width = 2 * latents->dims.width;
    latents->height = 2 * latents->dims.height;
    return TRUE;
  }
  return gst_structure_get_int (s, "width", &latents->width)
      && gst_structure_get_int (s, "height", &latents->height)
      && latents->width >= 1 && latents->height >= 1;
}

gboolean
gst_fenwick_latents_from_caps (GstFenwickLatents * latents,
    const GstCaps * caps, GstFenwickReason * reason)
{
  const GstStructure *s = gst_caps_get_structure (caps, 0);
  const gchar *format = gst_structure_get_string (s, "format");
  const gchar *dims = gst_structure_get_string (s, "dimensions");
  const gchar *type = gst_structure_get_string (s, "types");
  gint tensors = 1;

  memset (latents, 0, sizeof (*latents));
  gst_structure_get_int (s, "num_tensors", &tensors);
  if (g_strcmp0 (format, "static") != 0 || tensors != 1)
    return gst_fenwick_refuse (reason,
        "Latents are one tensor of format=static, not %d of format=%s", tensors,
        format ? format : "(none)");
  if (!parse_type (type, &latents->type))
    return gst_fenwick_refuse (reason,
        "Latents are float32, float16 or uint8, not types=%.40s",
        type ? type : "(none)");
  if (!dims || !parse_dimensions (dims, &latents->dims))
    return gst_fenwick_refuse (reason,
        "Latents have dimensions=channels:width:height:1, not "
        "dimensions=%.80s", dims ? dims : "(none)");
  if (!gst_fenwick_latents_size (&latents->dims, latents->type, &latents->size))
    return gst_fenwick_refuse (reason,
        "Latents of dimensions=%.80s are too large", dims);
  if (!parse_picture (s, latents))
    return gst_fenwick_refuse (reason,
        "Caps of latents carry both width and height of the picture, or "
        "neither");
  latents->latent_id = gst_structure_get_string (s, "latent-id");
  return TRUE;
}

void
gst_fenwick_latents_caps_set_types (GstCaps * caps)
{
  GValue list = G_VALUE_INIT, type = G_VALUE_INIT;

  g_value_init (&list, GST_TYPE_LIST);
  g_value_init (&type, G_TYPE_STRING);
  for (guint i = 0; i < G_N_ELEMENTS (types); i++) {
    g_value_set_static_string (&type, kn_dtype_name (types[i]));
    gst_value_list_append_value (&list, &type);
  }
  gst_caps_set_value (caps, "types", &list);
  g_value_unset (&type);
  g_value_unset (&list);
}

GstCaps *
gst_fenwick_latents_caps_new (const struct fw_latents *dims,
    const gchar * latent_id)
{
  gchar *text = g_strdup_printf ("%d:%d:%d:1", dims->channels, dims->width,
      dims->height);
  GstCaps *caps = gst_caps_new_simple (GST_FENWICK_LATENTS_NAME,
      "format", G_TYPE_STRING, "static", "num_tensors", G_TYPE_INT, 1,
      "dimensions", G_TYPE_STRING, text, "latent-id", G_TYPE_STRING, latent_id,
      NULL);

  gst_fenwick_latents_caps_set_types (caps);
  g_free (text);
  return caps;
}

GstBufferPool *
gst_fenwick_pool_new (GstCaps * caps, gsize size)
{
  GstAllocationParams params = { 0, ALIGNMENT, 0, 0, };
  GstBufferPool *pool;
  GstStructure *config;

  if (size > G_MAXUINT)         /* what a pool can count */
    return NULL;
  pool = gst_buffer_pool_new ();
  config = gst_buffer_pool_get_config (pool);
  gst_buffer_pool_config_set_params (config, caps, (guint) size, 0, 0);
  gst_buffer_pool_config_set_allocator (config, NULL, &params);
  if (!gst_buffer_pool_set_config (pool, config))
    gst_clear_object (&pool);
  return pool;
}

gboolean
gst_fenwick_latents_propose (GstQuery * query)
{
  GstAllocationParams params = { 0, ALIGNMENT, 0, 0, };
  GstFenwickLatents latents;
  GstFenwickReason reason;
  GstBufferPool *pool = NULL;
  GstCaps *caps;
  gboolean need_pool;

  gst_query_parse_allocation (query, &caps, &need_pool);
  if (!caps || !gst_fenwick_latents_from_caps (&latents, caps, &reason))
    return FALSE;

  if (need_pool)
    pool = gst_fenwick_pool_new (caps, latents.size);
  if (pool) {
    gst_query_add_allocation_pool (query, pool, (guint) latents.size, 0, 0);
    gst_object_unref (pool);
  }
  gst_query_add_allocation_param (query, NULL, &params);
  return TRUE;
}

gboolean
gst_fenwick_latents_decide (GstQuery * query, gsize size)
{
  GstBufferPool *pool = NULL;
  GstCaps *caps;
  guint have = 0, min = 0, max = 0;
  const gboolean proposed = gst_query_get_n_allocation_pools (query) > 0;

  gst_query_parse_allocation (query, &caps, NULL);
  if (proposed)
    gst_query_parse_nth_allocation_pool (query, 0, &pool, &have, &min, &max);
  if (pool && have != size)
    gst_clear_object (&pool);
  if (!pool) {
    min = max = 0;
    pool = gst_fenwick_pool_new (caps, size);
  }
  if (!pool)
    return FALSE;

  if (proposed)
    gst_query_set_nth_allocation_pool (query, 0, pool, (guint) size, min, max);
  else
    gst_query_add_allocation_pool (query, pool, (guint) size, min, max);
  gst_object_unref (pool);
  return TRUE;
}
