/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arena.h"

#include <string.h>

#include "kn_size.h"

gboolean fw_arena_take(struct fw_arena *arena, guint64 bytes, guint64 *offset) {
    uint64_t size, end;
    guint64 begin = 0;
    int at = 0;

    if (arena->count == FW_ARENA_BLOCKS || !kn_size_align(MAX(bytes, 1), FW_ARENA_ALIGN, &size))
        return FALSE;
    for (; at < arena->count && arena->block[at].begin - begin < size; at++)
        begin = arena->block[at].end;
    if (!kn_size_add(begin, size, &end))
        return FALSE;
    memmove(&arena->block[at + 1], &arena->block[at],
            (gsize)(arena->count - at) * sizeof arena->block[0]);
    arena->block[at].begin = begin;
    arena->block[at].end = end;
    arena->count++;
    arena->bytes = MAX(arena->bytes, end);
    *offset = begin;
    return TRUE;
}

void fw_arena_give(struct fw_arena *arena, guint64 offset) {
    for (int i = 0; i < arena->count; i++)
        if (arena->block[i].begin == offset) {
            arena->count--;
            memmove(&arena->block[i], &arena->block[i + 1],
                    (gsize)(arena->count - i) * sizeof arena->block[0]);
            return;
        }
}
