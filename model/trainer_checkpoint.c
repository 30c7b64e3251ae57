/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A trainer goes to a file, and comes back. */
#include "trainer.h"

#include <errno.h>
#include <math.h>
#include <string.h>

/* --------------------------------------------------------------------------------------- facts */

static void add_whole(GPtrArray *facts, const char *key, guint64 value) {
    g_ptr_array_add(facts, g_strdup_printf("%s=%" G_GUINT64_FORMAT, key, value));
}

/* Text that reads back as the same bits, whatever the locale is, and is short where it can be. */
static void add_real(GPtrArray *facts, const char *key, double value) {
    char text[G_ASCII_DTOSTR_BUF_SIZE];
    g_ascii_formatd(text, sizeof text, "%.15g", value);
    if (g_ascii_strtod(text, NULL) != value)
        g_ascii_dtostr(text, sizeof text, value);
    g_ptr_array_add(facts, g_strconcat(key, "=", text, NULL));
}

/* What a run must share with the checkpoint that it continues. Prefix "run.". */
static void add_run(GPtrArray *facts, const struct fw_trainer *t) {
    static const char *const task[] = {"restore", "reconstruct", "predict"};
    static const char *const noise[] = {"gaussian", "poisson-gaussian", "compression", "mixed"};
    const struct fw_trainer_params *p = &t->params;

    g_ptr_array_add(facts, g_strconcat("run.config=", t->config, NULL));
    g_ptr_array_add(facts, g_strconcat("run.task=", task[p->task], NULL));
    add_real(facts, "run.loss mean-square", p->loss.mean_square);
    add_real(facts, "run.loss charbonnier", p->loss.charbonnier);
    add_real(facts, "run.loss temporal-difference", p->loss.temporal_difference);
    add_real(facts, "run.loss laplacian", p->loss.laplacian);
    add_real(facts, "run.loss ms-ssim", p->loss.ms_ssim);
    g_ptr_array_add(facts, g_strconcat("run.noise-type=", noise[p->noise], NULL));
    add_real(facts, "run.noise-min", p->noise_min);
    add_real(facts, "run.noise-max", p->noise_max);
    add_whole(facts, "run.fixed-noise", p->fixed_noise != FALSE);
    add_whole(facts, "run.augment", p->augment != FALSE);
    add_whole(facts, "run.batch-size", p->batch_size);
    add_whole(facts, "run.clip-length", p->clip_length);
    add_whole(facts, "run.crop-size", p->crop_size);
    add_whole(facts, "run.accumulate", p->accumulate);
    add_whole(facts, "run.carry-state", p->carry_state);
    add_whole(facts, "run.steps", p->steps);
    add_real(facts, "run.learning-rate", p->learning_rate);
    add_real(facts, "run.temporal-learning-rate", p->temporal_learning_rate);
    add_real(facts, "run.weight-decay", p->weight_decay);
    add_whole(facts, "run.warmup", p->warmup);
    add_real(facts, "run.grad-clip", p->grad_clip);
    add_real(facts, "run.ema", p->ema);
    g_ptr_array_add(facts,
                    g_strconcat("run.optimizer-precision=", kn_dtype_name(p->moments), NULL));
    add_whole(facts, "run.seed", p->seed);
    add_whole(facts, "run.reservoir-bytes", p->reservoir_bytes);
    add_whole(facts, "run.validation-interval", p->validation_interval);
}

/* Where a fact of the run's place is kept. Exactly one of the two is set. */
struct place {
    const char *key;
    guint64 *whole;
    double *real;
};

/* What changes from step to step, besides what the learner has. */
struct progress {
    struct fw_cursor at;
    guint64 step, skipped, in_a_row, prefilled, complete;
    struct fw_guard guard;
    double loss, loss_mean, finite_loss;
};

#define PLACES 17

static void places_of(struct progress *p, struct place place[PLACES]) {
    const struct place all[PLACES] = {
        {"step", &p->step, NULL},
        {"skipped", &p->skipped, NULL},
        {"guard.usual", NULL, &p->guard.usual},
        {"guard.taken", &p->guard.taken, NULL},
        {"guard.in-a-row", &p->in_a_row, NULL},
        {"source.epoch", &p->at.epoch, NULL},
        {"source.seen", &p->at.seen, NULL},
        {"source.trained", &p->at.trained, NULL},
        {"source.credit", &p->at.credit, NULL},
        {"source.oldest", &p->at.oldest, NULL},
        {"source.pass-seen", &p->at.pass_seen, NULL},
        {"source.pass-trained", &p->at.pass_trained, NULL},
        {"source.prefilled", &p->prefilled, NULL},
        {"source.complete", &p->complete, NULL},
        {"loss.last", NULL, &p->loss},
        {"loss.mean", NULL, &p->loss_mean},
        {"loss.finite", NULL, &p->finite_loss},
    };
    memcpy(place, all, sizeof all);
}

static char **make_facts(const struct fw_trainer *t) {
    struct progress p = {t->at,          t->step,  t->skipped, t->guard.in_a_row, t->at.prefilled,
                         t->at.complete, t->guard, t->loss,    t->loss_mean,      t->finite_loss};
    GPtrArray *facts = g_ptr_array_new();
    struct place place[PLACES];

    p.at.oldest = fw_reservoir_oldest(&t->reservoir);
    places_of(&p, place);
    g_ptr_array_add(facts, g_strdup("format=fenwick checkpoint 1"));
    add_run(facts, t);
    for (int i = 0; i < PLACES; i++)
        if (place[i].whole)
            add_whole(facts, place[i].key, *place[i].whole);
        else
            add_real(facts, place[i].key, *place[i].real);
    g_ptr_array_add(facts, NULL);
    return (char **)g_ptr_array_free(facts, FALSE);
}

/* --------------------------------------------------------------------------------------- parts */

static const enum fw_learned learned[] = {FW_LEARNED_PARAMS, FW_LEARNED_FIRST, FW_LEARNED_SECOND,
                                          FW_LEARNED_AVERAGED, FW_LEARNED_STATE};
#define PARTS G_N_ELEMENTS(learned)

static void make_parts(const struct fw_trainer *t, struct fw_part part[PARTS]) {
    const char *moments = t->params.moments == KN_BF16 ? "BF16" : "F32";
    const struct {
        const char *name, *dtype;
    } form[PARTS] = {{"params", "F32"},
                     {"first", moments},
                     {"second", moments},
                     {"averaged", "F32"},
                     {"state", "U8"}};

    for (guint i = 0; i < PARTS; i++) {
        g_strlcpy(part[i].name, form[i].name, sizeof part[i].name);
        g_strlcpy(part[i].dtype, form[i].dtype, sizeof part[i].dtype);
        part[i].bytes = fw_learner_bytes(t->learner, learned[i]);
    }
}

static gboolean fetch(void *user, guint i, void *bytes, GError **error) {
    struct fw_trainer *t = user;
    return fw_learner_read(t->learner, learned[i], bytes, error);
}

/* Values that no step leaves would only be noticed by a step. */
static gboolean take(void *user, guint i, void *bytes, GError **error) {
    struct fw_trainer *t = user;
    const float *value = bytes;
    const guint64 n = fw_learner_bytes(t->learner, learned[i]) / sizeof *value;

    for (guint64 k = 0; learned[i] == FW_LEARNED_PARAMS && k < n; k++)
        if (!isfinite(value[k]))
            return fw_fail(error, FW_ERROR_NONFINITE, "a checkpoint holds NaN or infinity");
    return fw_learner_write(t->learner, learned[i], bytes, error);
}

/* ------------------------------------------------------------------------------------- writing */

gboolean fw_trainer_checkpoint(struct fw_trainer *t, const char *folder, guint keep,
                               GError **error) {
    struct fw_part part[PARTS];
    char *path, **facts;
    gboolean ok;

    if (t->replaying)
        return TRUE; /* what it would say is what it was made of */
    path = fw_checkpoint_path(folder, t->step);
    facts = make_facts(t);
    make_parts(t, part);
    ok = fw_checkpoint_write(path, facts, part, PARTS, fetch, t, error);
    if (ok)
        fw_checkpoint_prune(folder, t->step, keep);
    g_strfreev(facts);
    g_free(path);
    return ok;
}

/* ------------------------------------------------------------------------------------- reading */

static gboolean read_whole(const char *text, guint64 *value) {
    char *end;
    if (!g_ascii_isdigit(*text))
        return FALSE;
    errno = 0;
    *value = g_ascii_strtoull(text, &end, 10);
    return errno == 0 && *end == 0;
}

static gboolean read_real(const char *text, double *value) {
    char *end;
    *value = g_ascii_strtod(text, &end);
    return end != text && *end == 0;
}

static gboolean compare_run(const struct fw_trainer *t, const struct fw_checkpoint *c,
                            GError **error) {
    GPtrArray *facts = g_ptr_array_new_with_free_func(g_free);
    gboolean ok = TRUE;

    add_run(facts, t);
    for (guint i = 0; ok && i < facts->len; i++) {
        char *key = g_ptr_array_index(facts, i), *mine = strchr(key, '=');
        char quoted[FW_QUOTE_MAX];
        *mine++ = 0;
        const char *other = fw_checkpoint_fact(c, key);
        if (!other || strcmp(other, mine) != 0)
            ok = fw_fail(error, FW_ERROR_MISMATCH, "%s was made with %s %s, this run has %.300s",
                         c->path, key + strlen("run."), fw_quote(quoted, other ? other : "unknown"),
                         mine);
    }
    g_ptr_array_unref(facts);
    return ok;
}

/* Counts that a trainer could have had. */
static gboolean is_sound(const struct progress *p, const struct fw_trainer *t) {
    const struct fw_cursor *a = &p->at;
    const guint64 most = G_MAXINT32; /* of chunks in a pass, and passes: no product overflows */

    return p->step <= t->params.steps && p->skipped <= p->step &&
           p->in_a_row <= FW_GUARD_PATIENCE && p->guard.taken <= p->step &&
           isfinite(p->guard.usual) && p->guard.usual >= 0 && a->epoch <= most && a->seen <= most &&
           a->trained <= a->seen && a->pass_seen <= most && a->pass_trained <= a->pass_seen &&
           (a->pass_trained > 0) == (a->epoch > 0) && a->credit <= G_MAXINT64 &&
           a->oldest <= G_MAXINT64 && p->prefilled <= 1 && p->complete <= 1;
}

static gboolean read_progress(const struct fw_checkpoint *c, const struct fw_trainer *t,
                              struct progress *p, GError **error) {
    struct place place[PLACES];

    *p = (struct progress){0};
    places_of(p, place);
    for (int i = 0; i < PLACES; i++) {
        const char *text = fw_checkpoint_fact(c, place[i].key);
        if (!text ||
            (place[i].whole ? !read_whole(text, place[i].whole) : !read_real(text, place[i].real)))
            return fw_fail(error, FW_ERROR_FORMAT, "%s: %s is missing or no number", c->path,
                           place[i].key);
    }
    return is_sound(p, t) || fw_fail(error, FW_ERROR_FORMAT, "%s: counts that cannot be", c->path);
}

static void go_on(struct fw_trainer *t, const struct progress *p) {
    t->step = p->step;
    t->skipped = p->skipped;
    t->guard = p->guard;
    t->guard.in_a_row = (guint)p->in_a_row;
    t->loss = p->loss;
    t->loss_mean = p->loss_mean;
    t->finite_loss = p->finite_loss;
    t->goal = p->at;
    t->goal.prefilled = (guint)p->prefilled;
    t->goal.complete = (guint)p->complete;
    t->replaying = TRUE;
    if (t->goal.epoch > 0) { /* one pass holds all that the reservoir held before this one */
        t->at = t->goal;
        t->at.epoch--;
        t->at.seen = t->at.trained = t->at.credit = 0;
    }
    fw_trainer_reach(t);
}

static gboolean resume(struct fw_trainer *t, const struct fw_checkpoint *c, guint64 *step,
                       GError **error) {
    const char *format = fw_checkpoint_fact(c, "format");
    struct fw_part part[PARTS];
    struct progress progress;

    if (!format || strcmp(format, "fenwick checkpoint 1") != 0)
        return fw_fail(error, FW_ERROR_FORMAT, "%s: not a checkpoint", c->path);
    make_parts(t, part);
    if (!compare_run(t, c, error) || !read_progress(c, t, &progress, error) ||
        !fw_checkpoint_load(c, part, PARTS, take, t, error))
        return FALSE;
    go_on(t, &progress);
    *step = t->step;
    return TRUE;
}

gboolean fw_trainer_resume(struct fw_trainer *t, const char *path, guint64 *step, GError **error) {
    struct fw_checkpoint c;
    gboolean found = TRUE, ok;

    *step = 0;
    if (t->frames > 0 || t->step > 0)
        return fw_fail(error, FW_ERROR_ARGUMENT, "only a run that has not begun can be resumed");
    if (!(g_file_test(path, G_FILE_TEST_IS_DIR) ? fw_checkpoint_newest(&c, path, &found, error)
                                                : fw_checkpoint_open(&c, path, error)))
        return FALSE;
    if (!found)
        return TRUE;
    ok = resume(t, &c, step, error);
    fw_checkpoint_close(&c);
    return ok;
}
