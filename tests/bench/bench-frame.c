/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Times whole frames of the stream form against the sum of the bare oneDNN primitives of the same
 * layers, in one run and in turn, and prints both and their ratio (1 would be: nothing but
 * convolutions and linears).
 *
 *   bench-frame [--weights FILE | --preset NAME] [--precision float32|bfloat16] [--size WxH]
 *               [--frames N] [--layers]
 */
#include <stdio.h>

#include "bare.h"
#include "frame.h"
#include "timer.h"

#define ROUNDS 3 /* frames and bare layers in turn */

static char *weights, *preset, *precision, *size;
static gint frames = 39;
static gboolean layers;

static const GOptionEntry options[] = {
    {"weights", 0, 0, G_OPTION_ARG_FILENAME, &weights, "weights file", "FILE"},
    {"preset", 0, 0, G_OPTION_ARG_STRING, &preset, "identity network (default thin)", "NAME"},
    {"precision", 0, 0, G_OPTION_ARG_STRING, &precision, "float32 (default) or bfloat16", "NAME"},
    {"size", 0, 0, G_OPTION_ARG_STRING, &size, "picture size (default 640x480)", "WxH"},
    {"frames", 0, 0, G_OPTION_ARG_INT, &frames, "frames to time (default 39)", "N"},
    {"layers", 0, 0, G_OPTION_ARG_NONE, &layers, "print every layer and operation", NULL},
    {0},
};

/*
 * Milliseconds of the bare primitives of all layers, each once; negative when oneDNN refuses one.
 */
static double bare_sum(const struct kn_program *program, gboolean print) {
    double sum = 0;
    for (size_t i = 0; i < kn_program_size(program); i++) {
        const struct kn_node *node = kn_program_node(program, i);
        if (node->op != KN_OP_CONV && node->op != KN_OP_LINEAR)
            continue;
        double ms = bench_bare_ms(node), macs = (double)kn_node_macs(node);
        if (ms < 0) {
            fprintf(stderr, "bench-frame: oneDNN refused %s\n", node->label);
            return -1;
        }
        if (print)
            printf("  %-32s %8.1f M macs %8.3f ms %8.1f GFLOP/s\n", node->label, macs * 1e-6, ms,
                   2e-6 * macs / ms);
        sum += ms;
    }
    return sum;
}

static gboolean measure(struct bench_frame *b, double *frame, double *bare, GError **error) {
    int per_round = frames / ROUNDS;
    double *ms = g_new(double, (gsize)(per_round * ROUNDS)), sum[ROUNDS];
    gboolean ok = TRUE;
    for (int round = 0; ok && round < ROUNDS; round++) {
        sum[round] = bare_sum(fw_plan_program(b->plan), layers && round == 0);
        ok = sum[round] >= 0;
        for (int i = 0; ok && i < per_round; i++)
            ok = bench_frame_run(b, &ms[round * per_round + i], error);
    }
    if (ok) {
        *frame = bench_median(ms, per_round * ROUNDS);
        *bare = bench_median(sum, ROUNDS);
    }
    g_free(ms);
    return ok;
}

static gboolean report(struct bench_frame *b, GError **error) {
    double frame, bare;
    if (!measure(b, &frame, &bare, error))
        return FALSE;
    struct fw_stream_stats stats;
    fw_stream_stats(b->stream, &stats);
    char *title = bench_frame_title(b);
    printf(
        "%s frame_ms %.3f bare_ms %.3f ratio %.3f cg_mean %.2f cg_max %u capped %" G_GUINT64_FORMAT
        "\n",
        title, frame, bare, bare / frame,
        (double)stats.mesa.iterations / MAX(1.0, (double)stats.mesa.rows),
        stats.mesa.max_iterations, stats.mesa.capped);
    g_free(title);
    if (layers) {
        char *profile = fw_plan_profile(b->plan);
        fputs(profile, stdout);
        g_free(profile);
    }
    return TRUE;
}

int main(int argc, char **argv) {
    GError *error = NULL;
    GOptionContext *context = g_option_context_new(NULL);
    g_option_context_add_main_entries(context, options, NULL);
    struct bench_frame b = {.width = 640, .height = 480};
    gboolean ok = g_option_context_parse(context, &argc, &argv, &error);
    g_option_context_free(context);
    if (!ok || argc > 1 || frames < ROUNDS ||
        (size && sscanf(size, "%dx%d", &b.width, &b.height) != 2)) {
        fprintf(stderr, "bench-frame: %s\n", error ? error->message : "bad arguments, see --help");
        return 2;
    }
    ok = bench_frame_open(&b, weights, preset, precision, &error) && report(&b, &error);
    if (error)
        fprintf(stderr, "bench-frame: %s\n", error->message);
    g_clear_error(&error);
    bench_frame_close(&b);
    return ok ? 0 : 1;
}
