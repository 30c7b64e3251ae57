/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Writes a weights file in which no tensor is zero, for tests of agreement, causality and equality.
 *
 *   random-weights PRESET SEED FILE [f16]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fw.h"

static int fail(GError *error) {
    fprintf(stderr, "random-weights: %s\n", error->message);
    g_error_free(error);
    return 1;
}

int main(int argc, char **argv) {
    struct fw_config config;
    struct fw_weights *weights;
    GError *error = NULL;
    guint64 seed;

    if (argc < 4 || argc > 5 || (argc == 5 && strcmp(argv[4], "f16") != 0)) {
        fprintf(stderr, "usage: random-weights PRESET SEED FILE [f16]\n");
        return 2;
    }
    if (!g_ascii_string_to_unsigned(argv[2], 10, 0, G_MAXUINT64, &seed, &error) ||
        !fw_config_preset(&config, argv[1], &error))
        return fail(error);
    weights = fw_weights_new(&config, FW_INIT_RANDOM, seed, &error);
    if (!weights)
        return fail(error);
    gboolean ok = fw_weights_save(weights, argv[3], argc == 5, &error);
    fw_weights_unref(weights);
    return ok ? 0 : fail(error);
}
