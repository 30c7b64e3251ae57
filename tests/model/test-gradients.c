/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Gradients of the whole network: against differences in double on the reference, between
 * reference and processor, and their scale.
 */
#include <math.h>
#include <string.h>

#include "common.h"
#include "learner.h"
#include "rng.h"

/* So small that hardly any ReLU changes sides between the two losses. */
#define STEP 1e-7
#define TOLERANCE 1e-4 /* relative to the norm of a tensor's gradient */

/* A learner of random weights, a batch of its own, and what was computed from them. */
struct probe {
    struct fw_weights *weights;
    struct fw_learner_params params;
    struct fw_learner *learner;
    struct fw_batch batch;
    guint8 *pictures, *input;
    struct kn_sample *noise, *rounding;
    float *missing;
    guint64 values;
};

static const struct fw_loss every_loss = {1, 0.7, 0.5, 0.3, 0.2};

static struct fw_config preset(const char *name) {
    struct fw_config config;
    GError *error = NULL;
    ck_ok(fw_config_preset(&config, name, &error), error);
    return config;
}

/* Preset "seed" with everything smaller but its shape. */
static struct fw_config small_seed(void) {
    struct fw_config config = preset("seed");
    config.latent_channels = 16;
    config.patch = 8;
    config.dim = 64;
    config.levels = 5;
    config.encoder.width = config.decoder.width = 8;
    return config;
}

/* One token, and every kind of block. */
static struct fw_config narrow(void) {
    struct fw_config config = small_seed();
    config.patch = 2;
    config.heads = 4;
    g_strlcpy(config.encoder.blocks, "S2", sizeof config.encoder.blocks);
    g_strlcpy(config.decoder.blocks, "M2M", sizeof config.decoder.blocks);
    return config;
}

static void fill_batch(struct probe *p) {
    const gsize clips = (gsize)p->params.batch, frames = clips * (gsize)p->params.frames;
    const gsize side = (gsize)p->params.crop;

    p->pictures = test_scene((int)side, (int)side, (int)frames, 5);
    p->noise = g_new0(struct kn_sample, clips);
    p->rounding = g_new0(struct kn_sample, clips);
    p->missing = g_new0(float, frames);
    for (gsize i = 0; i < clips; i++) {
        p->noise[i] = (struct kn_sample){
            .key = 17 + i, .kind = (int)(1 + i % 3), .strength = 0.2f, .gain = 0.05f};
        p->rounding[i] =
            (struct kn_sample){.key = 99 + i, .kind = KN_NOISE_UNIFORM, .strength = 0.1f};
    }
    for (gsize i = clips; i < frames; i++)
        p->missing[i] = i % 3 == 0;
    p->batch = (struct fw_batch){.clean = p->pictures, .noise = p->noise, .reset = TRUE};
    if (p->params.task == FW_TASK_RECONSTRUCT)
        p->batch.rounding = p->rounding;
    if (p->params.task == FW_TASK_PREDICT) {
        p->input = test_scene((int)side, (int)side, (int)frames, 6);
        p->batch.input = p->input;
        p->batch.missing = p->missing;
    }
}

static struct probe make(struct fw_config config, const char *device, enum fw_task task, int batch,
                         int frames, int crop, struct fw_loss loss) {
    GError *error = NULL;
    struct probe p = {.weights = fw_weights_new(&config, FW_INIT_RANDOM, 3, &error)};
    ck_ok(p.weights, error);
    p.params = (struct fw_learner_params){
        .weights = p.weights,
        .device = device,
        .precision = strcmp(device, "ref") == 0 ? FW_PRECISION_FLOAT64 : FW_PRECISION_FLOAT32,
        .threads = 2,
        .task = task,
        .loss = loss,
        .batch = batch,
        .frames = frames,
        .crop = crop,
        .accumulate = 1,
        .moments = KN_F32,
        .cg_tolerance = 1e-12f,
    };
    p.values = p.weights->params.bytes / sizeof(float);
    fill_batch(&p);
    return p;
}

static void start(struct probe *p) {
    GError *error = NULL;
    p->learner = fw_learner_new(&p->params, &error);
    ck_ok(p->learner, error);
}

static void stop(struct probe *p) {
    fw_learner_free(p->learner);
    fw_weights_unref(p->weights);
    g_free(p->pictures);
    g_free(p->input);
    g_free(p->noise);
    g_free(p->rounding);
    g_free(p->missing);
}

/* ---------------------------------------------------------------------------------- differences */

static double run(struct probe *p) {
    const struct fw_loss *w = &p->params.loss;
    struct fw_loss loss;
    GError *error = NULL;
    ck_ok(fw_learner_accumulate(p->learner, &p->batch, &loss, &error), error);
    return w->mean_square * loss.mean_square + w->charbonnier * loss.charbonnier +
           w->temporal_difference * loss.temporal_difference + w->laplacian * loss.laplacian +
           w->ms_ssim * loss.ms_ssim;
}

static double *read_values(struct probe *p, enum fw_learned what) {
    GError *error = NULL;
    double *values = g_new(double, p->values);
    ck_assert_uint_eq(fw_learner_bytes(p->learner, what), p->values * sizeof(double));
    ck_ok(fw_learner_read(p->learner, what, values, &error), error);
    return values;
}

/* Gradients of this batch alone. */
static double *gradients(struct probe *p) {
    GError *error = NULL;
    ck_ok(fw_learner_clear(p->learner, &error), error);
    run(p);
    return read_values(p, FW_LEARNED_GRADIENTS);
}

/* The loss with step * direction added to a tensor; direction: signs by counter. */
static double loss_at(struct probe *p, const double *params, const struct fw_param *param,
                      guint64 key, double step) {
    GError *error = NULL;
    double *moved = g_memdup2(params, p->values * sizeof *params);
    for (gint64 i = 0; i < param->count; i++)
        moved[param->offset / 4 + (guint64)i] += fw_rng_bits(key, (guint64)i) & 1 ? step : -step;
    ck_ok(fw_learner_write(p->learner, FW_LEARNED_PARAMS, moved, &error), error);
    g_free(moved);
    return run(p);
}

static void check_tensor(struct probe *p, const double *params, const double *grad,
                         const struct fw_param *param) {
    const guint64 key = fw_rng_key(23, param->offset);
    double slope = 0, norm = 0;

    for (gint64 i = 0; i < param->count; i++) {
        double g = grad[param->offset / 4 + (guint64)i];
        slope += fw_rng_bits(key, (guint64)i) & 1 ? g : -g;
        norm += g * g;
    }
    double difference =
        (loss_at(p, params, param, key, STEP) - loss_at(p, params, param, key, -STEP)) / (2 * STEP);
    double error = fabs(difference - slope);
    /* one frame has no past: its gates and the past halves of its filters mean nothing */
    ck_assert_msg(norm > 0 || p->params.frames == 1, "%s: gradient is zero", param->name);
    ck_assert_msg(error <= (norm > 0 ? TOLERANCE * sqrt(norm) : TOLERANCE),
                  "%s: gradient %.10g of norm %.10g, difference %.10g", param->name, slope,
                  sqrt(norm), difference);
}

static gboolean is_learned(const struct probe *p, const struct fw_param *param) {
    if (param->internal || param->role == FW_ROLE_LATENT_SCALE)
        return FALSE;
    return param->role != FW_ROLE_MASK || p->params.task == FW_TASK_PREDICT;
}

static void check_all(struct probe *p) {
    const struct fw_params *table = &p->weights->params;
    double *params = read_values(p, FW_LEARNED_PARAMS), *grad = gradients(p);
    GError *error = NULL;

    for (gint i = 0; i < table->count; i++)
        if (is_learned(p, &table->item[i]))
            check_tensor(p, params, grad, &table->item[i]);
    ck_ok(fw_learner_write(p->learner, FW_LEARNED_PARAMS, params, &error), error);
    g_free(params);
    g_free(grad);
}

static void check_network(struct fw_config config, enum fw_task task, int batch, int frames,
                          int crop) {
    struct probe p = make(config, "ref", task, batch, frames, crop, every_loss);
    start(&p);
    check_all(&p);
    stop(&p);
}

START_TEST(presets_match_differences) {
    check_network(small_seed(), FW_TASK_RESTORE, 2, 3, 16);
    check_network(preset("tiny"), FW_TASK_RESTORE, 1, 3, 16);
    check_network(preset("thin"), FW_TASK_RESTORE, 1, 2, 8);
}
END_TEST

START_TEST(tasks_match_differences) {
    check_network(narrow(), FW_TASK_RECONSTRUCT, 2, 3, 12);
    check_network(narrow(), FW_TASK_PREDICT, 2, 5, 12);
}
END_TEST

START_TEST(clips_of_any_length_match_differences) {
    static const int length[] = {1, 63, 64, 65, 130, 203};
    check_network(narrow(), FW_TASK_RESTORE, 1, length[_i], 4);
}
END_TEST

/* What was carried counts as a constant, and changes the gradients. */
START_TEST(carried_state_matches_differences) {
    struct probe p = make(narrow(), "ref", FW_TASK_RESTORE, 2, 5, 8, every_loss);
    p.params.carry = TRUE;
    start(&p);
    double *fresh = gradients(&p), *carried;
    for (int i = 0; i < 3; i++) {
        run(&p);
        fw_learner_keep_state(p.learner);
        p.batch.reset = FALSE;
    }
    check_all(&p);
    carried = gradients(&p);
    ck_assert_mem_ne(fresh, carried, p.values * sizeof *fresh);
    g_free(fresh);
    g_free(carried);
    stop(&p);
}
END_TEST

/* ------------------------------------------------------------------------------ the processor */

static float *float_gradients(struct probe *p) {
    GError *error = NULL;
    float *grad = g_new(float, p->values);
    ck_ok(fw_learner_clear(p->learner, &error), error);
    run(p);
    ck_ok(fw_learner_read(p->learner, FW_LEARNED_GRADIENTS, grad, &error), error);
    return grad;
}

/* Relative error of every tensor's gradient, each against its own norm. */
static void compare(const struct probe *p, const float *found, const double *wanted, double scale,
                    double tolerance) {
    const struct fw_params *table = &p->weights->params;
    for (gint i = 0; i < table->count; i++) {
        const struct fw_param *param = &table->item[i];
        double error = 0, norm = 0;
        for (gint64 j = 0; is_learned(p, param) && j < param->count; j++) {
            double w = wanted[param->offset / 4 + (guint64)j] * scale;
            double f = found[param->offset / 4 + (guint64)j];
            error += (f - w) * (f - w);
            norm += w * w;
        }
        ck_assert_msg(!is_learned(p, param) || sqrt(error) <= tolerance * sqrt(norm),
                      "%s: relative error %g at scale %g", param->name, sqrt(error / norm), scale);
    }
}

static void compare_devices(struct fw_config config, enum fw_task task, int batch, int frames,
                            int crop, gboolean carry) {
    struct probe ref = make(config, "ref", task, batch, frames, crop, every_loss);
    struct probe cpu = make(config, "cpu", task, batch, frames, crop, every_loss);
    ref.params.carry = cpu.params.carry = carry;
    cpu.params.cg_tolerance = 1e-6f;
    start(&ref);
    start(&cpu);
    for (int i = 0; i < (carry ? 3 : 1); i++) {
        double *wanted = gradients(&ref);
        float *found = float_gradients(&cpu);
        compare(&cpu, found, wanted, 1, 1e-3);
        g_free(wanted);
        g_free(found);
        fw_learner_keep_state(ref.learner);
        fw_learner_keep_state(cpu.learner);
        ref.batch.reset = cpu.batch.reset = FALSE;
    }
    stop(&ref);
    stop(&cpu);
}

START_TEST(the_processor_matches_the_reference) {
    compare_devices(preset("tiny"), FW_TASK_RESTORE, 2, 9, 24, FALSE);
    compare_devices(small_seed(), FW_TASK_RECONSTRUCT, 2, 3, 16, FALSE);
    compare_devices(narrow(), FW_TASK_PREDICT, 3, 7, 20, FALSE);
    compare_devices(narrow(), FW_TASK_RESTORE, 1, 70, 8, TRUE);
    compare_devices(narrow(), FW_TASK_RESTORE, 2, 5, 8, TRUE);
}
END_TEST

/* No absolute constant may hide in the way back: gradients of s * loss are s * gradients. */
START_TEST(gradients_scale_with_the_loss) {
    static const double scale[] = {1e-6, 1e-3, 1e3};
    struct probe p = make(preset("tiny"), "ref", FW_TASK_RESTORE, 1, 5, 16, every_loss);
    start(&p);
    double *wanted = gradients(&p);
    stop(&p);
    for (gsize i = 0; i < G_N_ELEMENTS(scale); i++) {
        const double s = scale[i];
        struct fw_loss scaled = {every_loss.mean_square * s, every_loss.charbonnier * s,
                                 every_loss.temporal_difference * s, every_loss.laplacian * s,
                                 every_loss.ms_ssim * s};
        p = make(preset("tiny"), "cpu", FW_TASK_RESTORE, 1, 5, 16, scaled);
        p.params.cg_tolerance = 1e-6f;
        start(&p);
        float *found = float_gradients(&p);
        compare(&p, found, wanted, s, 1e-3);
        g_free(found);
        stop(&p);
    }
    g_free(wanted);
}
END_TEST

/* Batches add up, a step clears, and equal runs are equal bit for bit. */
START_TEST(gradients_accumulate_and_repeat) {
    struct probe p = make(preset("tiny"), "cpu", FW_TASK_RESTORE, 2, 4, 32, every_loss);
    GError *error = NULL;
    double norm, twice;
    start(&p);
    float *once = float_gradients(&p), *again = float_gradients(&p);
    ck_assert_mem_eq(once, again, p.values * sizeof *once);
    ck_ok(fw_learner_norm(p.learner, &norm, &error), error);
    run(&p);
    ck_ok(fw_learner_norm(p.learner, &twice, &error), error);
    ck_assert_double_eq_tol(twice, 2 * norm, 1e-5 * norm);
    ck_ok(fw_learner_clear(p.learner, &error), error);
    ck_ok(fw_learner_norm(p.learner, &norm, &error), error);
    ck_assert_double_eq(norm, 0);
    g_free(once);
    g_free(again);
    stop(&p);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("gradients");
    TCase *differences = tcase_create("differences"), *processor = tcase_create("processor");

    tcase_set_timeout(differences, 600);
    tcase_set_timeout(processor, 300);
    tcase_add_test(differences, presets_match_differences);
    tcase_add_test(differences, tasks_match_differences);
    tcase_add_loop_test(differences, clips_of_any_length_match_differences, 0, 6);
    tcase_add_test(differences, carried_state_matches_differences);
    tcase_add_test(processor, the_processor_matches_the_reference);
    tcase_add_test(processor, gradients_scale_with_the_loss);
    tcase_add_test(processor, gradients_accumulate_and_repeat);
    suite_add_tcase(suite, differences);
    suite_add_tcase(suite, processor);
    return test_main(suite);
}
