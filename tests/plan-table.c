/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Prints the memory of every preset at 480p, 1080p and 8K as a Markdown table, from the plans
 * themselves and without allocating any of it.
 *
 *   plan-table [DEVICE [float32|bfloat16]]
 */
#include <stdio.h>
#include <string.h>

#include "fw.h"

static const struct { int width, height; } sizes[] = {{640, 480}, {1920, 1080}, {7680, 4320}};

static gboolean print_row(struct fw_model *model, const char *preset, int width, int height,
                          GError **error) {
    struct fw_plan_params params = {
        .parts = FW_FILTER, .width = width, .height = height, .frames = 1};
    guint64 bytes[FW_BYTES_COUNT], total = 0;

    params.video_in = (struct kn_video){
        .width = width,
        .height = height,
        .components = 3,
        .sample_bytes = 1,
        .depth = 8,
        .component = {{0, 0, 3, 0}, {0, 1, 3, 0}, {0, 2, 3, 0}},
    };
    kn_video_set_rgb(&params.video_in, 0, 255);
    params.video_out = params.video_in;
    if (!fw_plan_predict(model, &params, bytes, error))
        return FALSE;
    printf("| %-6s | %4d x %-4d |", preset, width, height);
    for (int i = 0; i < FW_BYTES_COUNT; i++) {
        total += bytes[i];
        if (i != FW_BYTES_SCRATCH)
            printf(" %14" G_GUINT64_FORMAT " |", bytes[i]);
    }
    printf(" %14" G_GUINT64_FORMAT " |\n", total);
    return TRUE;
}

static gboolean print_preset(const char *preset, const char *device, enum fw_precision precision,
                             GError **error) {
    struct fw_model_params params = {.preset = preset, .device = device, .precision = precision};
    struct fw_model *model = fw_model_open(&params, error);
    gboolean ok = model != NULL;

    for (gsize i = 0; ok && i < G_N_ELEMENTS(sizes); i++)
        ok = print_row(model, preset, sizes[i].width, sizes[i].height, error);
    fw_model_unref(model);
    return ok;
}

int main(int argc, char **argv) {
    const char *const *names = fw_preset_names();
    const char *device = argc > 1 ? argv[1] : "cpu";
    enum fw_precision precision =
        argc > 2 && strcmp(argv[2], "bfloat16") == 0 ? FW_PRECISION_BFLOAT16 : FW_PRECISION_FLOAT32;
    GError *error = NULL;

    printf("Bytes of one stream on %s in %s; the weights are shared between streams.\n\n", device,
           precision == FW_PRECISION_FLOAT32 ? "float32" : "bfloat16");
    printf("| preset | size        |        weights |           work |    frame before |"
           "        fenwick |           mesa |          total |\n");
    printf("|--------|-------------|---------------:|---------------:|----------------:|"
           "---------------:|---------------:|---------------:|\n");
    for (int i = 0; names[i]; i++)
        if (!print_preset(names[i], device, precision, &error)) {
            fprintf(stderr, "plan-table: %s\n", error->message);
            g_error_free(error);
            return 1;
        }
    return 0;
}
