/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Places in the memory of activations, by lifetime: recording takes a block when a tensor is
 * written first and gives it back after its last use, and the largest extent that was ever in use
 * is what a run needs. First fit; no memory is touched.
 */
#ifndef FW_MODEL_ARENA_H
#define FW_MODEL_ARENA_H

#include <glib.h>

#define FW_ARENA_ALIGN 256
/* Alive at once: fewer than ten when running; training keeps 5 of a block and 8 of a layer. */
#define FW_ARENA_BLOCKS 512

struct fw_arena {
    struct {
        guint64 begin, end;
    } block[FW_ARENA_BLOCKS]; /* by begin */
    int count;
    guint64 bytes; /* the largest end so far */
};

/* FALSE when the sum overflows or too many blocks are alive. */
gboolean fw_arena_take(struct fw_arena *arena, guint64 bytes, guint64 *offset);
/* The block at offset, which must be alive. */
void fw_arena_give(struct fw_arena *arena, guint64 offset);

#endif
