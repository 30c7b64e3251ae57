/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Which bucket of a Fenwick tree holds a token; docs/mathematics.md, "Fenwick attention". */
#include "kn.h"

int kn_fenwick_level(uint64_t t, uint64_t s, int levels) {
    const uint64_t differ = t ^ s;
    const int length = differ == 0 ? 0 : 64 - __builtin_clzll(differ);

    return length < levels - 1 ? length : levels - 1;
}

int kn_fenwick_live(uint64_t t, int levels) {
    const int own = levels - 2; /* bits below have a level of their own, the others share one */

    if (own <= 0)
        return 1 + (t != 0);
    if (own >= 64)
        return 1 + __builtin_popcountll(t);
    return 1 + __builtin_popcountll(t & ((UINT64_C(1) << own) - 1)) + (t >> own != 0);
}
