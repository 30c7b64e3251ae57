/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Times training steps: forward, losses, backward, norm, AdamW, on a moving scene with noise.
 *
 *   bench-train [--preset NAME] [--batch B] [--frames T] [--crop S] [--steps N] [--threads N]
 *               [--loss LOSS] [--profile]
 */
#include <stdio.h>
#include <string.h>

#include "learner.h"
#include "rng.h"
#include "timer.h"

static char *preset = "tiny", *loss = "charbonnier";
static gint batch = 4, frames = 8, crop = 64, steps = 40, threads;
static gboolean profile;

static const GOptionEntry options[] = {
    {"preset", 0, 0, G_OPTION_ARG_STRING, &preset, "network (default tiny)", "NAME"},
    {"batch", 0, 0, G_OPTION_ARG_INT, &batch, "clips of a step (default 4)", "B"},
    {"frames", 0, 0, G_OPTION_ARG_INT, &frames, "frames of a clip (default 8)", "T"},
    {"crop", 0, 0, G_OPTION_ARG_INT, &crop, "side in pixels (default 64)", "S"},
    {"steps", 0, 0, G_OPTION_ARG_INT, &steps, "steps to time (default 40)", "N"},
    {"threads", 0, 0, G_OPTION_ARG_INT, &threads, "threads (default all)", "N"},
    {"loss", 0, 0, G_OPTION_ARG_STRING, &loss, "loss (default charbonnier)", "LOSS"},
    {"profile", 0, 0, G_OPTION_ARG_NONE, &profile, "print what every operation costs", NULL},
    {0},
};

/* Smooth pictures that move by a pixel a frame. */
static guint8 *scene(void) {
    const gsize side = (gsize)crop, images = (gsize)batch * (gsize)frames;
    guint8 *pictures = g_malloc(images * side * side * 3);
    for (gsize i = 0; i < images; i++)
        for (gsize y = 0; y < side; y++)
            for (gsize x = 0; x < side * 3; x++)
                pictures[(i * side + y) * side * 3 + x] =
                    (guint8)(128 + ((x / 3 + i / (gsize)batch) * 5 + y * 3 + x % 3 * 40) % 100);
    return pictures;
}

static struct fw_learner *make(GError **error) {
    struct fw_learner_params params = {.frames = frames,
                                       .batch = batch,
                                       .crop = crop,
                                       .threads = threads,
                                       .precision = FW_PRECISION_FLOAT32,
                                       .device = "cpu",
                                       .accumulate = 1,
                                       .moments = KN_F32,
                                       .cg_tolerance = 1e-4f};
    struct fw_config config;
    struct fw_learner *learner;
    if (!fw_config_preset(&config, preset, error) || !fw_loss_parse(loss, &params.loss, error))
        return NULL;
    params.weights = fw_weights_new(&config, FW_INIT_IDENTITY, 1, error);
    if (!params.weights)
        return NULL;
    learner = fw_learner_new(&params, error);
    fw_weights_unref(params.weights);
    return learner;
}

static gboolean one_step(struct fw_learner *learner, struct fw_batch *b, int step, double *ms,
                         GError **error) {
    struct kn_adamw adamw = {.beta1 = 0.9f, .beta2 = 0.98f, .epsilon = 1e-8f};
    struct fw_loss found;
    double begin = bench_now_ms(), norm;
    for (int i = 0; i < batch; i++)
        ((struct kn_sample *)b->noise)[i] =
            (struct kn_sample){.key = fw_rng_key((guint64)step, (guint64)i),
                               .kind = KN_NOISE_GAUSSIAN,
                               .strength = 0.2f};
    for (int i = 0; i < KN_ADAMW_GROUPS; i++)
        adamw.rate[i] = i == FW_GROUP_FROZEN ? 0 : 1e-4f;
    adamw.correction1 = adamw.correction2 = 1;
    if (!fw_learner_accumulate(learner, b, &found, error) ||
        !fw_learner_norm(learner, &norm, error))
        return FALSE;
    adamw.scale = norm > 0.2 ? (float)(0.2 / norm) : 1;
    adamw.step = (guint32)step;
    if (!fw_learner_update(learner, &adamw, error))
        return FALSE;
    *ms = bench_now_ms() - begin;
    return TRUE;
}

static gboolean measure(struct fw_learner *learner, GError **error) {
    guint8 *pictures = scene();
    struct kn_sample *noise = g_new0(struct kn_sample, (gsize)batch);
    struct fw_batch b = {.clean = pictures, .noise = noise, .reset = TRUE};
    double *ms = g_new0(double, (gsize)steps + 3), median;
    gboolean ok = TRUE;
    for (int i = 0; ok && i < steps + 3; i++)
        ok = one_step(learner, &b, i + 1, &ms[i], error);
    if (ok) {
        median = bench_median(ms + 3, steps);
        printf("%s batch %d frames %d crop %d first_ms %.1f ms_per_step %.2f steps_per_s %.2f "
               "memory_mb %.1f\n",
               preset, batch, frames, crop, ms[0], median, 1000 / median,
               (double)fw_learner_memory(learner) * 1e-6);
    }
    g_free(pictures);
    g_free(noise);
    g_free(ms);
    return ok;
}

int main(int argc, char **argv) {
    GOptionContext *context = g_option_context_new("- time training steps");
    struct fw_learner *learner = NULL;
    GError *error = NULL;
    gboolean ok;

    g_option_context_add_main_entries(context, options, NULL);
    ok = g_option_context_parse(context, &argc, &argv, &error) && batch > 0 && frames > 0 &&
         crop > 0 && steps > 0;
    g_option_context_free(context);
    ok = ok && (learner = make(&error)) != NULL && measure(learner, &error);
    if (ok && profile) {
        char *text = fw_learner_profile(learner);
        fputs(text, stdout);
        g_free(text);
    }
    if (!ok)
        fprintf(stderr, "bench-train: %s\n", error ? error->message : "sizes must be positive");
    g_clear_error(&error);
    fw_learner_free(learner);
    return !ok;
}
