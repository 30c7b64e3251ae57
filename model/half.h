/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* IEEE 754 half precision, for F16 storage. */
#ifndef FW_MODEL_HALF_H
#define FW_MODEL_HALF_H

#include <glib.h>

float fw_half_to_float(guint16 half);
/* Rounds to nearest, ties to even; beyond 65519 infinity. */
guint16 fw_half_from_float(float value);

#endif
