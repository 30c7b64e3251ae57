/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* kn_NAME(): checks the arguments of an operation and records it. */
#include "front.h"

#include <string.h>

static enum kn_status begin(struct kn_check *c, const struct kn_program *program, const void *a) {
    const size_t room = sizeof(((struct kn_node *)0)->label);

    if (program == NULL || c->label == NULL || a == NULL)
        return kn_fail(c->err, KN_ERR_ARG, "%s is NULL",
                       program == NULL    ? "program"
                       : c->label == NULL ? "label"
                                          : "arguments");
    if (strnlen(c->label, room) == room)
        return kn_fail(c->err, KN_ERR_ARG, "label \"%.20s...\" is longer than %zu bytes", c->label,
                       room - 1);
    return KN_OK;
}

#define X(name, NAME, args)                                                          \
    enum kn_status kn_##name(struct kn_program *program, const char *label,          \
                             const struct kn_##args##_args *a, struct kn_err *err) { \
        struct kn_check c = {.label = label, .err = err};                            \
                                                                                     \
        c.status = begin(&c, program, a);                                            \
        if (c.status == KN_OK)                                                       \
            kn_check_##args(&c, KN_OP_##NAME, a);                                    \
        if (c.status != KN_OK)                                                       \
            return c.status;                                                         \
        return kn_program_append(program, KN_OP_##NAME, label, a, sizeof *a, err);   \
    }
KN_OPERATIONS(X)
#undef X
