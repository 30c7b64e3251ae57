/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Initialisation. The identity is lossless: everything that would add to the two linear skips is
 * zero, and the skips pass the 12 values of a 2x2 block of pixels through unchanged. What is not
 * zero is normal, scaled by fan-in, so that training has a gradient everywhere but never two zeros
 * in a row. Random weights hold no zero at all, so that a test sees every path; they keep values of
 * order one from end to end.
 */
#include "init.h"

#include <math.h>

#include "learner.h"
#include "rng.h"

#define LAMBDA_ONE 0.11064653495964616 /* softplus of it + 0.25 is 1 */
#define GATE_BIAS 3.0                  /* sigmoid: forgets 5 % a frame */
#define SMALLEST (1.0 / 1048576)       /* stands in for zero in random weights */

/* value = mean + deviation * normal */
struct rule {
    double mean, deviation;
};

/* Inputs that one output sums over. */
static double fan_in(const struct fw_param *p) {
    return (double)(p->count / p->dim[0]);
}

/* Row and column of element i of a matrix or kernel (columns are input channels). */
static gint64 row_of(const struct fw_param *p, gint64 i) {
    return i / (p->count / p->dim[0]);
}

static gint64 column_of(const struct fw_param *p, gint64 i) {
    gint64 kernel = p->rank == 4 ? p->dim[2] * p->dim[3] : 1;
    return p->rank > 1 ? i / kernel % p->dim[1] : 0;
}

static struct rule normal(double gain, double inputs) {
    return (struct rule){0, gain / sqrt(inputs)};
}

static struct rule constant(double value) {
    return (struct rule){value, 0};
}

static struct rule identity_rule(const struct fw_param *p, gint64 i) {
    switch (p->role) {
    case FW_ROLE_CONV:
    case FW_ROLE_LINEAR:
        return normal(1, fan_in(p));
    case FW_ROLE_CONV1:
        return normal(G_SQRT2, fan_in(p)); /* a ReLU follows */
    case FW_ROLE_CONV1_MEMORY:             /* starts as if it saw one frame */
        return column_of(p, i) < p->dim[1] / 2 ? normal(G_SQRT2, fan_in(p) / 2) : constant(0);
    case FW_ROLE_TO_LATENT:
        return row_of(p, i) < 12 ? constant(0) : normal(1, fan_in(p));
    case FW_ROLE_SKIP:
        return constant(row_of(p, i) == column_of(p, i));
    case FW_ROLE_NORM:
        return constant(1);
    case FW_ROLE_GATE_BIAS:
        return constant(GATE_BIAS);
    case FW_ROLE_LAMBDA:
        return constant(LAMBDA_ONE);
    default:
        return constant(0);
    }
}

static struct rule random_rule(const struct fw_param *p, gint64 i) {
    switch (p->role) {
    case FW_ROLE_CONV:
    case FW_ROLE_LINEAR:
        return normal(1, fan_in(p));
    case FW_ROLE_CONV1:
    case FW_ROLE_CONV1_MEMORY:
        return normal(G_SQRT2, fan_in(p));
    case FW_ROLE_CONV2:
    case FW_ROLE_TO_LATENT:
    case FW_ROLE_OUT:
        return p->rank > 1 ? normal(0.5, fan_in(p)) : (struct rule){0, 0.1};
    case FW_ROLE_TO_PIXELS: /* small: what leaves [-1, 1] is clamped and says nothing */
        return p->rank > 1 ? normal(0.2, fan_in(p)) : (struct rule){0, 0.05};
    case FW_ROLE_SKIP:
        return (struct rule){0.8 * (row_of(p, i) == column_of(p, i)), 0.05};
    case FW_ROLE_NORM:
        return (struct rule){1, 0.2};
    case FW_ROLE_GATE_BIAS:
        return (struct rule){GATE_BIAS, 0.5};
    case FW_ROLE_LAMBDA:
        return (struct rule){LAMBDA_ONE, 0.3};
    case FW_ROLE_LATENT_SCALE:
        return (struct rule){FW_LATENT_SCALE, FW_LATENT_SCALE / 8};
    case FW_ROLE_INTERNAL_ZERO:
        return constant(0);
    default:
        return (struct rule){0, 0.1};
    }
}

/* Element i of tensor number n, in file order: the order of the arena may change, a seed may not.
 */
static float random_value(const struct rule *rule, guint64 key, gint64 i) {
    double value = rule->mean + rule->deviation * fw_rng_normal(key, (guint64)i);
    return (float)(rule->deviation > 0 && fabs(value) < SMALLEST ? SMALLEST : value);
}

void fw_init_fill(const struct fw_params *params, float *arena, enum fw_init init, guint64 seed) {
    for (gint n = 0; n < params->count; n++) {
        const struct fw_param *p = &params->item[n];
        float *to = arena + p->offset / sizeof *arena;
        guint64 key = fw_rng_key(seed, (guint64)n);
        for (gint64 i = 0; i < p->count; i++) {
            struct rule rule = init == FW_INIT_RANDOM ? random_rule(p, i) : identity_rule(p, i);
            float value = rule.deviation > 0 ? random_value(&rule, key, i) : (float)rule.mean;
            to[fw_param_place(params, p, i)] = value;
        }
    }
}
