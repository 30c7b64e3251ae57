/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random numbers by counter: value i of a sequence needs no value before it, and integer arithmetic
 * alone decides it, so that a seed means the same weights on every machine.
 */
#ifndef FW_MODEL_RNG_H
#define FW_MODEL_RNG_H

#include <glib.h>

/* The key of a sequence of a seed. */
guint64 fw_rng_key(guint64 seed, guint64 sequence);
/* 64 random bits. */
guint64 fw_rng_bits(guint64 key, guint64 i);
/*
 * Mean 0, variance 1, close to normal within 2.5 standard deviations and never beyond 3.5: the sum
 * of four uniform values.
 */
double fw_rng_normal(guint64 key, guint64 i);

#endif
