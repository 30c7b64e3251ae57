/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The loss as text. */
#include <math.h>
#include <string.h>

#include "error.h"

#define ALLOWED                                                                                 \
    "mean-square, charbonnier, temporal-difference, laplacian, ms-ssim, perceptual, or a list " \
    "name=weight,name=weight"

static double *part_of(struct fw_loss *loss, const char *name) {
    struct {
        const char *name;
        double *weight;
    } const part[] = {{"mean-square", &loss->mean_square},
                      {"charbonnier", &loss->charbonnier},
                      {"temporal-difference", &loss->temporal_difference},
                      {"laplacian", &loss->laplacian},
                      {"ms-ssim", &loss->ms_ssim}};
    for (gsize i = 0; i < G_N_ELEMENTS(part); i++)
        if (strcmp(name, part[i].name) == 0)
            return part[i].weight;
    return NULL;
}

/* NULL, or what is wrong with "name=weight". */
static const char *add_part(struct fw_loss *loss, const char *text) {
    char **pair = g_strsplit(text, "=", 2), *end = NULL;
    double *weight = pair[0] ? part_of(loss, g_strstrip(pair[0])) : NULL, value;
    const char *wrong = NULL;

    if (!weight) {
        wrong = "no loss is called so";
    } else if (*weight != 0) {
        wrong = "is there twice";
    } else {
        value = pair[1] ? g_ascii_strtod(g_strstrip(pair[1]), &end) : 1;
        if (pair[1] && (end == pair[1] || *end))
            wrong = "its weight is not a number";
        else if (!(value > 0 && value <= 1e6))
            wrong = "its weight is not above 0 and at most 1000000";
        else
            *weight = value;
    }
    g_strfreev(pair);
    return wrong;
}

gboolean fw_loss_parse(const char *text, struct fw_loss *loss, GError **error) {
    struct fw_loss found = {0};
    const char *wrong = NULL;
    char quoted[FW_QUOTE_MAX];

    if (strcmp(text, "perceptual") == 0) {
        *loss = (struct fw_loss){
            .charbonnier = 1, .laplacian = 0.5, .temporal_difference = 0.5, .ms_ssim = 0.15};
        return TRUE;
    }
    char **part = g_strsplit(text, ",", 16);
    if (!part[0])
        wrong = "it is empty";
    for (int i = 0; part[i] && !wrong; i++) {
        wrong = add_part(&found, part[i]);
        if (wrong)
            fw_quote(quoted, part[i]);
    }
    g_strfreev(part);
    if (wrong)
        return fw_fail(error, FW_ERROR_ARGUMENT, "loss: \"%s\": %s; allowed are " ALLOWED,
                       *text ? quoted : "", wrong);
    *loss = found;
    return TRUE;
}
