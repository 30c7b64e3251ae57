/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The parameter table: the one list of what a network is made of. It allocates, initialises, checks
 * a file, saves, counts and documents. It holds no values: those lie in an arena of f32 that the
 * table's offsets describe, the same in ordinary memory and on a device.
 *
 * The arena: every tensor starts at a multiple of 256 bytes, except that of each attention layer
 * the weights of qkv, gate, level or beta, and z follow each other without a gap, and so do their
 * biases (with zeros for qkv, which has none in the file): one matrix product computes all four.
 */
#ifndef FW_MODEL_PARAMS_H
#define FW_MODEL_PARAMS_H

#include "fw.h"

#define FW_PARAM_NAME 48

/* What a tensor is for: decides how it starts (init.c) and whether training decays it. */
enum fw_role {
    FW_ROLE_CONV,          /* convolution that no ReLU follows at once */
    FW_ROLE_CONV1,         /* first of a block */
    FW_ROLE_CONV1_MEMORY,  /* first of an M block: the second half of its inputs is the past */
    FW_ROLE_CONV2,         /* second of a block, its bias too: zero in an identity */
    FW_ROLE_TO_LATENT,     /* its first 12 rows are zero in an identity */
    FW_ROLE_TO_PIXELS,     /* zero in an identity, its bias too */
    FW_ROLE_SKIP,          /* identity */
    FW_ROLE_LINEAR,        /* linear layer */
    FW_ROLE_OUT,           /* model.out: zero in an identity, its bias too */
    FW_ROLE_NORM,          /* gain of a norm: one */
    FW_ROLE_BIAS,          /* zero */
    FW_ROLE_GATE_BIAS,     /* three: a memory of about twenty frames */
    FW_ROLE_LAMBDA,        /* softplus of it + 0.25 is one */
    FW_ROLE_LATENT_SCALE,  /* optional */
    FW_ROLE_MASK,          /* optional */
    FW_ROLE_INTERNAL_ZERO, /* in the arena only */
};

/* How the arena orders a tensor whose file order is that of its name. */
enum fw_order {
    FW_ORDER_PLAIN,
    FW_ORDER_PATCH_COLUMNS, /* columns are a patch: channel, row, column in the file; row, column,
                               channel here */
    FW_ORDER_PATCH_ROWS,    /* the same for rows */
};

struct fw_param {
    char name[FW_PARAM_NAME];
    enum fw_role role;
    enum fw_order order;
    int rank;
    gint64 dim[4];
    gint64 count;   /* elements */
    guint64 offset; /* bytes from the start of the arena */
    gboolean optional, internal, decay;
};

struct fw_params {
    struct fw_config config;
    struct fw_param *item;
    gint count;
    guint64 bytes; /* of the arena */
};

/* config must have passed fw_config_check(). */
void fw_params_init(struct fw_params *params, const struct fw_config *config);
void fw_params_clear(struct fw_params *params);

/* By name, or NULL. */
const struct fw_param *fw_params_find(const struct fw_params *params, const char *name);
/* By a name made of its parts, which must exist. */
const struct fw_param *fw_params_get(const struct fw_params *params, const char *prefix,
                                     const char *suffix);

/* Where element i of a tensor in file order lies in its memory, in elements. */
gint64 fw_param_place(const struct fw_params *params, const struct fw_param *param, gint64 i);
/* "(64, 128, 3, 3)" */
void fw_param_shape(const struct fw_param *param, char *out, gsize size);

#endif
