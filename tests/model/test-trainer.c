/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The trainer as a whole: what it learns, and that the same frames lead to the same weights. */
#include <glib/gstdio.h>
#include <math.h>
#include <string.h>

#include "common.h"
#include "trainer.h"

#define SIDE 16

static char *start; /* weights of a small network */

static void make_start(void) {
    struct fw_config config = test_config();
    GError *error = NULL;
    struct fw_weights *weights = fw_weights_new(&config, FW_INIT_IDENTITY, 3, &error);
    ck_ok(weights, error);
    start = test_path("start.safetensors");
    ck_ok(fw_weights_save(weights, start, FALSE, &error), error);
    fw_weights_unref(weights);
}

static struct fw_trainer_params small(guint64 steps) {
    struct fw_trainer_params p;
    fw_trainer_defaults(&p);
    p.weights = start;
    p.device = "cpu";
    p.threads = 1;
    p.batch_size = 2;
    p.clip_length = 2;
    p.crop_size = SIDE;
    p.steps = steps;
    p.warmup = 4;
    p.reservoir_bytes = 1 << 20;
    return p;
}

static struct fw_trainer *make(const struct fw_trainer_params *params) {
    GError *error = NULL;
    struct fw_trainer *t = fw_trainer_new(params, &error);
    ck_ok(t, error);
    return t;
}

/* ------------------------------------------------------------------------------------- source */

#define SHOTS 9
#define WIDTH 24
#define HEIGHT 20

/* A video of shots, each of 13 frames: pieces of 4, 4, 4 and one frame that is too few. */
struct source {
    guint8 *shot[SHOTS];
    guint frame; /* next */
    guint shots;
};

static struct source make_source(guint shots) {
    struct source s = {.shots = shots};
    for (guint i = 0; i < shots; i++)
        s.shot[i] = test_scene(WIDTH, HEIGHT, 13, i);
    return s;
}

static void free_source(struct source *s) {
    for (guint i = 0; i < s->shots; i++)
        g_free(s->shot[i]);
}

static void give(struct fw_trainer *t, struct source *s) {
    const guint shot = s->frame / 13, frame = s->frame % 13;
    GError *error = NULL;
    if (frame == 0)
        fw_trainer_cut(t);
    ck_ok(fw_trainer_frame(t, s->shot[shot] + frame * 3 * WIDTH * HEIGHT, 3 * WIDTH, WIDTH, HEIGHT,
                           &error),
          error);
    s->frame++;
}

static void step(struct fw_trainer *t) {
    GError *error = NULL;
    enum fw_step result = fw_trainer_step(t, &error);
    ck_ok(result == FW_STEP_DONE, error);
}

/* Runs until a step or the end. */
static void run(struct fw_trainer *t, struct source *s, guint64 until) {
    struct fw_train_report report;
    GError *error = NULL;
    for (int guard = 0; guard < 100000; guard++) {
        while (fw_trainer_due(t) > 0) {
            fw_trainer_report(t, &report);
            if (report.step == until)
                return;
            step(t);
        }
        if (fw_trainer_finished(t))
            return;
        if (s->frame < 13 * s->shots) {
            give(t, s);
            continue;
        }
        s->frame = 0;
        ck_ok(fw_trainer_end(t, &error) != FW_SOURCE_FAILED, error);
    }
    ck_abort_msg("training does not end");
}

static char *sha_of(struct fw_trainer *t, enum fw_learned what) {
    guint64 bytes = fw_learner_bytes(t->learner, what);
    guchar *values = g_malloc(bytes);
    GError *error = NULL;
    ck_ok(fw_learner_read(t->learner, what, values, &error), error);
    char *sum = g_compute_checksum_for_data(G_CHECKSUM_SHA256, values, bytes);
    g_free(values);
    return sum;
}

static char *weights_sha(struct fw_trainer *t) {
    return sha_of(t, FW_LEARNED_PARAMS);
}

/* A folder of the test's own, empty. */
static char *make_folder(const char *name) {
    char *path = test_path(name);
    ck_assert_int_eq(g_mkdir(path, 0700), 0);
    return path;
}

static void remove_folder(char *path) {
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;
    while (dir && (name = g_dir_read_name(dir))) {
        char *file = g_build_filename(path, name, NULL);
        g_unlink(file);
        g_free(file);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(path);
    g_free(path);
}

/* ------------------------------------------------------------------------------------- resume */

/* Steps straight, or stopped after some, forgotten, and resumed from the checkpoint. */
static char *train(const struct fw_trainer_params *p, guint shots, guint64 stop) {
    struct source source = make_source(shots);
    struct fw_trainer *t = make(p);
    char *folder = stop ? make_folder("resume") : NULL, *sum;
    GError *error = NULL;
    guint64 at;

    if (stop) {
        run(t, &source, stop);
        ck_ok(fw_trainer_checkpoint(t, folder, 1, &error), error);
        fw_trainer_free(t);
        t = make(p);
        source.frame = 0;
        ck_ok(fw_trainer_resume(t, folder, &at, &error), error);
        ck_assert_uint_eq(at, stop);
        remove_folder(folder);
    }
    run(t, &source, G_MAXUINT64);
    ck_assert_uint_eq(t->step, p->steps);
    sum = weights_sha(t);
    fw_trainer_free(t);
    free_source(&source);
    return sum;
}

static void resumes(const struct fw_trainer_params *p, guint shots, guint64 stop) {
    char *straight = train(p, shots, 0), *resumed = train(p, shots, stop);
    ck_assert_str_eq(straight, resumed);
    g_free(straight);
    g_free(resumed);
}

/* The reservoir holds all: later passes only count. */
START_TEST(resume_is_exact_when_all_fits) {
    struct fw_trainer_params p = small(20);
    resumes(&p, 1, 8);
    resumes(&p, 1, 15);
}
END_TEST

/* 27 chunks of 5760 bytes, of which 7 fit: the window slides, over the end of a pass too. */
START_TEST(resume_is_exact_with_a_sliding_window) {
    struct fw_trainer_params p = small(200);
    p.reservoir_bytes = 7 * 5760;
    resumes(&p, SHOTS, 17);  /* in the first pass */
    resumes(&p, SHOTS, 94);  /* early in the second */
    resumes(&p, SHOTS, 155); /* late in it */
}
END_TEST

START_TEST(resume_is_exact_with_everything_on) {
    struct fw_trainer_params p = small(40);
    p.accumulate = 2;
    p.carry_state = 3;
    p.ema = 0.99;
    p.moments = KN_BF16;
    p.validation_interval = 4;
    p.noise = FW_NOISE_MIXED;
    fw_loss_parse("perceptual", &p.loss, NULL);
    resumes(&p, 4, 13);
    p.task = FW_TASK_PREDICT;
    resumes(&p, 4, 16);
    p.task = FW_TASK_RECONSTRUCT;
    resumes(&p, 4, 21);
}
END_TEST

/* ----------------------------------------------------------------------------------- learning */

static struct fw_train_report report_of(struct fw_trainer *t) {
    struct fw_train_report report;
    fw_trainer_report(t, &report);
    return report;
}

static double mean_square_after(struct fw_trainer *t, struct source *s, guint64 steps) {
    run(t, s, steps);
    return report_of(t).part.mean_square;
}

/* One clip under one draw of noise can be learned by heart. */
START_TEST(a_clip_is_learned) {
    struct fw_trainer_params p = small(600);
    struct source source = {.shots = 1, .shot = {test_scene(WIDTH, HEIGHT, 13, 1)}};
    p.noise_min = p.noise_max = 25;
    p.fixed_noise = TRUE;
    p.augment = FALSE;
    p.learning_rate = 3e-3;
    p.temporal_learning_rate = 1;
    p.validation_interval = 100;
    struct fw_trainer *t = make(&p);
    double first = mean_square_after(t, &source, 1), last = mean_square_after(t, &source, 600);
    struct fw_train_report r = report_of(t);
    ck_assert_msg(last < first / 4, "mean square %g, then %g", first, last);
    ck_assert_double_eq_tol(r.psnr, 10 * log10(4 / last), 1e-9);
    ck_assert(r.loss_mean > 0 && r.gradient_norm > 0 && r.learning_rate > 0 && r.skipped == 0);
    ck_assert(r.clips == 1200 && r.step == 600 && r.bytes > r.reservoir_bytes);
    ck_assert(isnan(r.validation_psnr)); /* three pieces have none to spare */
    fw_trainer_free(t);
    free_source(&source);
}
END_TEST

START_TEST(validation_shows_input_and_output) {
    struct fw_trainer_params p = small(60);
    struct source source = make_source(8);
    p.validation_interval = 30;
    p.learning_rate = 1e-30; /* stays the identity */
    struct fw_trainer *t = make(&p);
    run(t, &source, G_MAXUINT64);
    struct fw_train_report r = report_of(t);
    ck_assert_uint_eq(t->kept->len, 2);
    ck_assert_uint_eq(t->at.pass_seen, 24);
    ck_assert_uint_eq(t->at.pass_trained, 22);
    ck_assert_uint_eq(r.validation_step, 60);
    /* sigma 25, less what clipping takes away */
    ck_assert_msg(r.validation_input_psnr > 19.9 && r.validation_input_psnr < 21.5, "%g dB",
                  r.validation_input_psnr);
    ck_assert_double_eq(r.validation_psnr, r.validation_input_psnr);
    fw_trainer_free(t);
    free_source(&source);
}
END_TEST

START_TEST(threads_change_nothing) {
    struct fw_trainer_params p = small(12);
    char *one = train(&p, 2, 0), *two;
    p.threads = 3;
    two = train(&p, 2, 0);
    ck_assert_str_eq(one, two);
    p.seed = 2;
    g_free(two);
    two = train(&p, 2, 0);
    ck_assert_str_ne(one, two);
    g_free(one);
    g_free(two);
}
END_TEST

START_TEST(weights_can_be_used) {
    struct fw_trainer_params p = small(8);
    struct source source = make_source(1);
    char *path = test_path("trained.safetensors");
    GError *error = NULL;
    p.ema = 0.9;
    struct fw_trainer *t = make(&p);
    run(t, &source, G_MAXUINT64);
    ck_ok(fw_trainer_save(t, path, &error), error);
    struct fw_weights *weights = fw_weights_load(path, &error);
    ck_ok(weights, error);
    ck_assert_str_eq(fw_weights_task(weights), "restore");
    fw_weights_unref(weights);
    gboolean ok = fw_trainer_save(t, "/dev/null/a", &error);
    test_refused(!ok, &error, FW_ERROR_WRITE, "no folder");
    fw_trainer_free(t);
    free_source(&source);
    g_free(path);
}
END_TEST

/* ------------------------------------------------------------------------------------ not well */

START_TEST(a_cancelled_step_is_as_if_not_begun) {
    struct fw_trainer_params p = small(12);
    struct source source = make_source(2);
    struct fw_trainer *t = make(&p);
    char *straight = train(&p, 2, 0);
    for (guint64 k = 0; k < 12; k++) {
        run(t, &source, k);
        char *before = weights_sha(t);
        fw_trainer_cancel(t, TRUE);
        for (int i = 0; i < 2; i++)
            ck_assert_int_eq(fw_trainer_step(t, NULL), FW_STEP_CANCELLED);
        fw_trainer_cancel(t, FALSE);
        char *after = weights_sha(t);
        ck_assert_str_eq(before, after);
        ck_assert_uint_eq(t->step, k);
        g_free(before);
        g_free(after);
    }
    run(t, &source, G_MAXUINT64);
    char *sum = weights_sha(t);
    ck_assert_str_eq(sum, straight);
    g_free(sum);
    g_free(straight);
    fw_trainer_free(t);
    free_source(&source);
}
END_TEST

static gpointer cancel_at_random(gpointer data) {
    struct fw_trainer *t = data;
    for (guint i = 0; i < 150; i++) {
        g_usleep(200 + i * 7919 % 3000);
        fw_trainer_cancel(t, i % 2 == 0);
    }
    fw_trainer_cancel(t, FALSE);
    return NULL;
}

START_TEST(cancelled_at_any_time) {
    struct fw_trainer_params p = small(80);
    struct source source = make_source(2);
    p.carry_state = 2;
    p.accumulate = 2;
    char *straight = train(&p, 2, 0);
    struct fw_trainer *t = make(&p);
    GThread *thread = g_thread_new("cancel", cancel_at_random, t);
    guint cancelled = 0;
    GError *error = NULL;
    while (!fw_trainer_finished(t)) {
        if (fw_trainer_due(t) == 0) {
            if (source.frame == 26) {
                source.frame = 0;
                ck_ok(fw_trainer_end(t, &error) != FW_SOURCE_FAILED, error);
            } else {
                give(t, &source);
            }
            continue;
        }
        enum fw_step result = fw_trainer_step(t, &error);
        ck_ok(result == FW_STEP_DONE || result == FW_STEP_CANCELLED, error);
        cancelled += result == FW_STEP_CANCELLED;
    }
    g_thread_join(thread);
    ck_assert_uint_gt(cancelled, 0);
    char *sum = weights_sha(t);
    ck_assert_str_eq(sum, straight);
    g_free(sum);
    g_free(straight);
    fw_trainer_free(t);
    free_source(&source);
}
END_TEST

/* Parameters become NaN as a broken step would leave them; those of a file cannot. */
static void poison(struct fw_trainer *t, float with, float *keep) {
    guint64 bytes = fw_learner_bytes(t->learner, FW_LEARNED_PARAMS);
    float *values = g_malloc(bytes);
    GError *error = NULL;
    ck_ok(fw_learner_read(t->learner, FW_LEARNED_PARAMS, values, &error), error);
    *keep = values[0];
    values[0] = with;
    ck_ok(fw_learner_write(t->learner, FW_LEARNED_PARAMS, values, &error), error);
    g_free(values);
}

START_TEST(broken_steps_are_skipped) {
    struct fw_trainer_params p = small(40);
    struct source source = make_source(2);
    struct fw_trainer *t = make(&p);
    char *folder = make_folder("skipped");
    GError *error = NULL;
    float keep, nan;
    run(t, &source, 3);
    char *good = weights_sha(t);
    poison(t, NAN, &keep);
    char *before = weights_sha(t);
    for (guint64 k = 3; k < 12; k++) {
        run(t, &source, k);
        ck_assert_int_eq(fw_trainer_step(t, &error), FW_STEP_SKIPPED);
        ck_assert_uint_eq(t->step, k + 1);
    }
    char *after = weights_sha(t);
    ck_assert_str_eq(before, after);
    poison(t, keep, &nan);
    g_free(after);
    after = weights_sha(t);
    ck_assert_str_eq(good, after);
    run(t, &source, 14); /* and goes on */
    ck_assert_uint_eq(report_of(t).skipped, 9);
    ck_ok(fw_trainer_checkpoint(t, folder, 0, &error), error);
    struct fw_trainer *resumed = make(&p);
    guint64 at;
    ck_ok(fw_trainer_resume(resumed, folder, &at, &error), error);
    ck_assert_uint_eq(resumed->skipped, 9);
    ck_assert(resumed->guard.taken == 5 && resumed->guard.usual == t->guard.usual);
    ck_assert(resumed->finite_loss == t->finite_loss && resumed->loss_mean == t->loss_mean);
    fw_trainer_free(resumed);
    remove_folder(folder);
    poison(t, NAN, &keep);
    for (guint64 k = 14; k < 23; k++) {
        run(t, &source, k);
        ck_assert_int_eq(fw_trainer_step(t, &error), FW_STEP_SKIPPED);
    }
    run(t, &source, 23);
    enum fw_step result = fw_trainer_step(t, &error);
    ck_assert_ptr_nonnull(strstr(error->message, "step 23"));
    test_refused(result == FW_STEP_FAILED, &error, FW_ERROR_NONFINITE, "ten in a row");
    fw_trainer_free(t);
    free_source(&source);
    g_free(good);
    g_free(before);
    g_free(after);
}
END_TEST

/* -------------------------------------------------------------------------------------- source */

START_TEST(sources_that_do_not_do) {
    struct fw_trainer_params p = small(500);
    struct source source = make_source(9);
    GError *error = NULL;
    struct fw_trainer *t = make(&p);
    gboolean ok = fw_trainer_frame(t, source.shot[0], 3 * SIDE, SIDE, SIDE - 1, &error);
    ck_assert_ptr_nonnull(strstr(error->message, "16x16"));
    test_refused(!ok, &error, FW_ERROR_ARGUMENT, "a small frame");
    ok = fw_trainer_frame(t, source.shot[0], 0, G_MAXINT, G_MAXINT, &error);
    test_refused(!ok, &error, FW_ERROR_ARGUMENT, "a huge frame");
    give(t, &source);
    enum fw_source end = fw_trainer_end(t, &error);
    ck_assert_ptr_nonnull(strstr(error->message, "2 frames"));
    test_refused(end == FW_SOURCE_FAILED, &error, FW_ERROR_ARGUMENT, "a single frame");
    ck_assert_int_eq(fw_trainer_step(t, &error), FW_STEP_FAILED);
    test_refused(TRUE, &error, FW_ERROR_ARGUMENT, "no step is due");
    fw_trainer_free(t);

    p.reservoir_bytes = 7 * 5760; /* another pass that is not like the first */
    t = make(&p);
    source.frame = 0;
    while (source.frame < 9 * 13) {
        give(t, &source);
        while (fw_trainer_due(t))
            step(t);
    }
    ck_assert_int_eq(fw_trainer_end(t, &error), FW_SOURCE_REWIND);
    ok = fw_trainer_without_source(t, &error);
    test_refused(!ok, &error, FW_ERROR_NO_SPACE, "without source");
    source.frame = 0;
    while (source.frame < 5 * 13)
        give(t, &source);
    end = fw_trainer_end(t, &error);
    ck_assert_ptr_nonnull(strstr(error->message, "15"));
    test_refused(end == FW_SOURCE_FAILED, &error, FW_ERROR_READ, "half a pass");
    ck_assert_uint_le(report_of(t).reservoir_bytes, p.reservoir_bytes);
    fw_trainer_free(t);
    free_source(&source);
}
END_TEST

START_TEST(epochs_end_a_run) {
    struct fw_trainer_params p = small(10000);
    struct source source = make_source(2);
    GError *error = NULL;
    p.epochs = 3;
    struct fw_trainer *t = make(&p);
    run(t, &source, G_MAXUINT64);
    ck_assert_uint_eq(t->step, 3 * 6 * FW_STEPS_PER_CLIP);
    ck_assert_uint_eq(report_of(t).epoch, 3);
    fw_trainer_free(t);

    t = make(&p); /* the source cannot be given again: the same number of steps */
    for (source.frame = 0; source.frame < 26;)
        give(t, &source);
    ck_assert_int_eq(fw_trainer_end(t, &error), FW_SOURCE_REWIND);
    ck_ok(fw_trainer_without_source(t, &error), error);
    while (fw_trainer_due(t) > 0)
        step(t);
    ck_assert_uint_eq(t->step, 3 * 6 * FW_STEPS_PER_CLIP);
    ck_assert(fw_trainer_finished(t));
    fw_trainer_free(t);
    free_source(&source);
}
END_TEST

/* The reservoir must not change under clips that continue each other. */
START_TEST(steps_that_carry_state_are_due_together) {
    struct fw_trainer_params p = small(50);
    struct source source = make_source(SHOTS);
    p.carry_state = 3;
    p.reservoir_bytes = 7 * 8640; /* pieces of six frames, two of a shot */
    struct fw_trainer *t = make(&p);
    while (source.frame < 13 * SHOTS) {
        give(t, &source);
        guint64 end = t->step + fw_trainer_due(t);
        ck_assert(end % 3 == 0 || end == 50);
        while (fw_trainer_due(t) > 0) {
            char *before = sha_of(t, FW_LEARNED_STATE), *after;
            step(t);
            after = sha_of(t, FW_LEARNED_STATE);
            ck_assert_str_ne(before, after); /* what the step left is carried on */
            g_free(before);
            g_free(after);
        }
    }
    ck_assert_uint_eq(t->step, 48); /* 12 of 18 pieces came after the reservoir was full */
    fw_trainer_free(t);
    free_source(&source);
    resumes(&p, SHOTS, 16);
}
END_TEST

/* -------------------------------------------------------------------------------- checkpoints */

static void cannot_resume(const struct fw_trainer_params *p, const char *path, enum fw_error code,
                          const char *says) {
    struct fw_trainer *t = make(p);
    GError *error = NULL;
    guint64 at;
    gboolean ok = fw_trainer_resume(t, path, &at, &error);
    ck_assert_msg(ok || strstr(error->message, says), "%s: %s", says, error->message);
    test_refused(!ok, &error, code, says);
    fw_trainer_free(t);
}

START_TEST(another_run_is_not_continued) {
    struct fw_trainer_params p = small(20);
    struct source source = make_source(2);
    struct fw_trainer *t = make(&p);
    char *folder = make_folder("other");
    GError *error = NULL;
    guint64 at = 7;
    ck_ok(fw_trainer_resume(t, folder, &at, &error), error);
    ck_assert_uint_eq(at, 0);
    run(t, &source, 9);
    ck_ok(fw_trainer_checkpoint(t, folder, 0, &error), error);
    gboolean ok = fw_trainer_checkpoint(t, "/dev/null", 0, &error);
    test_refused(!ok, &error, FW_ERROR_WRITE, "a folder that is none");
    fw_trainer_free(t);

    struct fw_trainer_params other = p;
    other.steps = 21;
    cannot_resume(&other, folder, FW_ERROR_MISMATCH, "steps 20");
    other = p;
    other.learning_rate = 2e-3;
    cannot_resume(&other, folder, FW_ERROR_MISMATCH, "learning-rate 0.001");
    other = p;
    other.moments = KN_BF16;
    cannot_resume(&other, folder, FW_ERROR_MISMATCH, "optimizer-precision");
    other = p;
    other.weights = NULL;
    other.preset = "tiny";
    cannot_resume(&other, folder, FW_ERROR_MISMATCH, "config");
    cannot_resume(&p, start, FW_ERROR_FORMAT, "start.safetensors");
    cannot_resume(&p, "/dev/zero", FW_ERROR_READ, "device");

    t = make(&p); /* a source that ends before it did */
    ck_ok(fw_trainer_resume(t, folder, &at, &error), error);
    ck_assert_uint_eq(at, 9);
    source.frame = 0;
    give(t, &source);
    give(t, &source);
    ck_assert_uint_eq(fw_trainer_due(t), 0);
    ck_assert_int_eq(fw_trainer_end(t, &error), FW_SOURCE_FAILED);
    test_refused(TRUE, &error, FW_ERROR_MISMATCH, "a shorter source");
    fw_trainer_free(t);
    remove_folder(folder);
    free_source(&source);
}
END_TEST

static void bad(const struct fw_trainer_params *p, enum fw_error code, const char *says) {
    GError *error = NULL;
    struct fw_trainer *t = fw_trainer_new(p, &error);
    ck_assert_msg(t || strstr(error->message, says), "%s: %s", says, error->message);
    test_refused(!t, &error, code, says);
}

#define BAD(field, value, says)             \
    do {                                    \
        struct fw_trainer_params p_ = good; \
        p_.field = value;                   \
        bad(&p_, FW_ERROR_ARGUMENT, says);  \
    } while (0)

START_TEST(parameters_out_of_range) {
    const struct fw_trainer_params good = small(20);
    BAD(batch_size, 0, "batch-size");
    BAD(batch_size, 1025, "batch-size");
    BAD(clip_length, 0, "clip-length");
    BAD(clip_length, 65537, "clip-length");
    BAD(crop_size, 14, "crop-size");
    BAD(crop_size, 33, "crop-size");
    BAD(crop_size, 4098, "crop-size");
    BAD(accumulate, 0, "accumulate");
    BAD(carry_state, 0, "carry-state");
    BAD(steps, 0, "steps");
    BAD(threads, -1, "threads");
    BAD(noise_min, -1, "noise-min");
    BAD(noise_min, 56, "noise-min");
    BAD(noise_max, (double)NAN, "noise-max");
    BAD(learning_rate, (double)NAN, "learning-rate");
    BAD(learning_rate, -1, "learning-rate");
    BAD(temporal_learning_rate, (double)INFINITY, "temporal-learning-rate");
    BAD(weight_decay, -1, "weight-decay");
    BAD(grad_clip, (double)NAN, "grad-clip");
    BAD(ema, 1, "ema");
    BAD(loss.charbonnier, 0, "loss");
    BAD(loss.charbonnier, -1, "charbonnier");
    BAD(task, (enum fw_task)3, "task");
    BAD(noise, (enum fw_noise)4, "noise-type");
    BAD(moments, KN_U8, "moments");
    struct fw_trainer_params p = good;
    p.preset = "tiny";
    bad(&p, FW_ERROR_MISMATCH, "tiny");
    p.weights = "/nowhere";
    bad(&p, FW_ERROR_NOT_FOUND, "/nowhere");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("trainer");
    TCase *c = tcase_create("trainer");

    tcase_set_timeout(c, 120);
    tcase_add_unchecked_fixture(c, make_start, NULL);
    tcase_add_test(c, resume_is_exact_when_all_fits);
    tcase_add_test(c, resume_is_exact_with_a_sliding_window);
    tcase_add_test(c, resume_is_exact_with_everything_on);
    tcase_add_test(c, a_clip_is_learned);
    tcase_add_test(c, validation_shows_input_and_output);
    tcase_add_test(c, threads_change_nothing);
    tcase_add_test(c, weights_can_be_used);
    tcase_add_test(c, a_cancelled_step_is_as_if_not_begun);
    tcase_add_test(c, cancelled_at_any_time);
    tcase_add_test(c, broken_steps_are_skipped);
    tcase_add_test(c, sources_that_do_not_do);
    tcase_add_test(c, epochs_end_a_run);
    tcase_add_test(c, steps_that_carry_state_are_due_together);
    tcase_add_test(c, another_run_is_not_continued);
    tcase_add_test(c, parameters_out_of_range);
    suite_add_tcase(suite, c);
    return test_main(suite);
}
