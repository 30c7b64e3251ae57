/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What a step sees and how it is taken: reservoir, sampler, schedule, guard, loss. */
#include <math.h>
#include <string.h>

#include "common.h"
#include "rng.h"
#include "sampler.h"
#include "schedule.h"

#define SIDE 16
#define FRAME (3 * SIDE * SIDE)

/* ---------------------------------------------------------------------------------- reservoir */

/* Frame n is filled with n, so that frames can be told apart. */
static void give(struct fw_reservoir *r, guint n, int width, int height, guint64 *order) {
    const gsize stride = 3 * (gsize)width + 5;
    guint8 *rgb = g_malloc(stride * (gsize)height);
    GError *error = NULL;
    memset(rgb, (int)n, stride * (gsize)height);
    ck_ok(fw_reservoir_append(r, rgb, stride, width, height, TRUE, &error), error);
    g_free(rgb);
    if (fw_reservoir_full_chunk(r)) {
        struct fw_chunk *chunk = fw_reservoir_close(r);
        chunk->order = (*order)++;
        fw_reservoir_add(r, chunk);
    }
}

static const struct fw_chunk *chunk(const struct fw_reservoir *r, guint i) {
    return g_ptr_array_index(r->chunk, i);
}

START_TEST(the_oldest_leaves_and_the_limit_holds) {
    struct fw_reservoir r;
    guint64 order = 0;
    fw_reservoir_init(&r, 2, 1, 5 * 4 * FRAME + 100);
    ck_assert_uint_eq(r.chunk_frames, 4);
    for (guint n = 0; n < 200; n++) {
        give(&r, n, SIDE, SIDE, &order);
        ck_assert_uint_le(r.bytes, r.limit);
        ck_assert_uint_eq(r.evicted, n >= 20);
    }
    ck_assert_uint_eq(r.chunk->len, 5);
    for (guint i = 0; i < 5; i++)
        for (guint f = 0; f < 4; f++)
            ck_assert_uint_eq(chunk(&r, i)->rgb[f * FRAME + 7], 180 + 4 * i + f);
    ck_assert_uint_eq(fw_reservoir_oldest(&r), 45);
    fw_reservoir_forget(&r, 48);
    ck_assert_uint_eq(fw_reservoir_oldest(&r), 48);
    ck_assert_uint_eq(r.bytes, 2 * 4 * FRAME);
    fw_reservoir_clear(&r);
}
END_TEST

START_TEST(a_short_end_is_kept_if_it_is_a_clip) {
    struct fw_reservoir r;
    guint64 order = 0;
    fw_reservoir_init(&r, 3, 4, 1 << 20);
    ck_assert_uint_eq(r.chunk_frames, 12);
    give(&r, 1, SIDE, SIDE, &order);
    give(&r, 2, SIDE, SIDE, &order);
    ck_assert_ptr_null(fw_reservoir_close(&r));
    ck_assert_uint_eq(r.bytes, 0);
    for (guint n = 0; n < 3; n++)
        give(&r, n, SIDE, SIDE, &order);
    struct fw_chunk *end = fw_reservoir_close(&r);
    ck_assert_ptr_nonnull(end);
    ck_assert_uint_eq(end->frames, 3);
    ck_assert_uint_eq(r.bytes, 3 * FRAME); /* what was not needed is free again */
    fw_reservoir_add(&r, end);
    fw_reservoir_clear(&r);
}
END_TEST

START_TEST(a_reservoir_too_small_says_so) {
    struct fw_reservoir r;
    GError *error = NULL;
    guint8 *frame = g_malloc0(FRAME);
    fw_reservoir_init(&r, 2, 1, 8 * FRAME - 1);
    gboolean ok = fw_reservoir_append(&r, frame, 3 * SIDE, SIDE, SIDE, TRUE, &error);
    ck_assert_ptr_nonnull(strstr(error->message, "6144"));
    test_refused(!ok, &error, FW_ERROR_NO_SPACE, "limit");
    ck_assert_uint_eq(r.bytes, 0);
    r.limit = G_MAXUINT64; /* more than there is */
    r.chunk_frames = 65536 * 1024u;
    ok = fw_reservoir_append(&r, frame, 0, 32768, 32768, TRUE, &error);
    test_refused(!ok, &error, FW_ERROR_NO_SPACE, "memory");
    r.chunk_frames = G_MAXUINT;
    ok = fw_reservoir_append(&r, frame, 0, G_MAXINT, G_MAXINT, TRUE, &error);
    test_refused(!ok, &error, FW_ERROR_ARGUMENT, "overflow");
    ck_assert_uint_eq(r.bytes, 0);
    fw_reservoir_clear(&r);
    g_free(frame);
}
END_TEST

/* A plain picture with noise, and steps of brightness between frames. */
static gboolean cuts(struct fw_reservoir *r, int level, guint64 seed) {
    guint8 rgb[64 * 48 * 3];
    guint64 key = fw_rng_key(seed, 9);
    for (gsize i = 0; i < sizeof rgb; i++)
        rgb[i] = (guint8)CLAMP(level + (int)(i % 97) + 10 * fw_rng_normal(key, i), 0, 255);
    return fw_reservoir_cuts(r, rgb, 64 * 3, 64, 48);
}

START_TEST(scenes_change_by_colour) {
    struct fw_reservoir r;
    fw_reservoir_init(&r, 2, 1, 1 << 20);
    ck_assert(!cuts(&r, 40, 0)); /* the first frame follows nothing */
    for (guint i = 1; i < 30; i++)
        ck_assert(!cuts(&r, 40 + (int)i, i)); /* noise and a fade */
    ck_assert(cuts(&r, 140, 0));
    ck_assert(!cuts(&r, 140, 1));
    r.open = g_new0(struct fw_chunk, 1);
    r.open->width = 64;
    r.open->height = 47;
    ck_assert(cuts(&r, 140, 2)); /* another size */
    fw_reservoir_clear(&r);
}
END_TEST

/* ------------------------------------------------------------------------------------ sampler */

struct bench {
    struct fw_trainer_params params;
    struct fw_reservoir reservoir;
    struct fw_sampler sampler;
};

/* chunks of 3 T frames or a few more, every pixel of which tells where it was. */
static void open_bench(struct bench *b, guint chunks, int width, int height) {
    GError *error = NULL;
    fw_reservoir_init(&b->reservoir, b->params.clip_length, b->params.carry_state, 1 << 24);
    for (guint i = 0; i < chunks; i++) {
        struct fw_chunk *c = g_new0(struct fw_chunk, 1);
        *c = (struct fw_chunk){.order = i, .width = width, .height = height};
        c->frames = b->params.clip_length * 3 + i % 2;
        c->bytes = 3 * (guint64)width * (guint64)height * c->frames;
        guint8 *at = c->rgb = g_malloc(c->bytes);
        for (guint f = 0; f < c->frames; f++)
            for (int y = 0; y < height; y++)
                for (int x = 0; x < width; x++, at += 3) {
                    at[0] = (guint8)x;
                    at[1] = (guint8)y;
                    at[2] = (guint8)(f + 40 * i);
                }
        fw_reservoir_add(&b->reservoir, c);
    }
    ck_ok(fw_sampler_init(&b->sampler, &b->params, &error), error);
}

static void close_bench(struct bench *b) {
    fw_sampler_clear(&b->sampler);
    fw_reservoir_clear(&b->reservoir);
}

static struct bench new_bench(void) {
    struct bench b = {0};
    fw_trainer_defaults(&b.params);
    b.params.clip_length = 4;
    b.params.crop_size = SIDE;
    return b;
}

static const guint8 *pixel(const struct bench *b, guint t, guint clip, guint y, guint x) {
    return b->sampler.clean + ((gsize)t * b->params.batch_size + clip) * FRAME + (y * SIDE + x) * 3;
}

START_TEST(clips_are_squares_of_frames_in_order) {
    struct bench b = new_bench();
    guint strides[3] = {0}, turned[8] = {0}, places[2] = {0};
    open_bench(&b, 6, 40, 21);
    for (guint64 k = 0; k < 200; k++) {
        struct fw_batch batch;
        fw_sampler_fill(&b.sampler, &b.reservoir, k, 0, &batch);
        ck_assert(batch.reset && !batch.input && !batch.missing && !batch.rounding);
        for (guint c = 0; c < b.params.batch_size; c++) {
            const guint8 *p = pixel(&b, 0, c, 0, 0), *right = pixel(&b, 0, c, 0, 1),
                         *below = pixel(&b, 0, c, 1, 0), *next = pixel(&b, 1, c, 0, 0),
                         *far = pixel(&b, 0, c, SIDE - 1, SIDE - 1);
            gboolean transpose = right[0] == p[0];
            int dx = transpose ? below[0] - p[0] : right[0] - p[0],
                dy = transpose ? right[1] - p[1] : below[1] - p[1];
            ck_assert(ABS(dx) == 1 && ABS(dy) == 1);
            ck_assert_int_eq(far[0], p[0] + dx * (SIDE - 1));
            ck_assert_int_eq(far[1], p[1] + dy * (SIDE - 1));
            ck_assert_int_eq(MIN(p[0], far[0]) % 2, 0);
            turned[(transpose ? 4 : 0) + (dx > 0 ? 2 : 0) + (dy > 0)]++;
            ck_assert(next[2] - p[2] == 1 || next[2] - p[2] == 2);
            strides[next[2] - p[2]]++;
            ck_assert_int_eq(pixel(&b, 3, c, 5, 5)[2] - p[2], 3 * (next[2] - p[2]));
            places[p[0] > 12]++;
            for (guint d = 0; d < c; d++) /* no chunk twice */
                ck_assert_int_ne(p[2] / 40, pixel(&b, 0, d, 0, 0)[2] / 40);
        }
    }
    ck_assert_msg(strides[2] > 200 && strides[2] < 340, "%u of 800", strides[2]);
    for (int i = 0; i < 8; i++)
        ck_assert_msg(turned[i] > 60 && turned[i] < 140, "turned %d: %u", i, turned[i]);
    ck_assert(places[0] > 200 && places[1] > 200);
    close_bench(&b);
}
END_TEST

START_TEST(a_batch_is_of_seed_and_step) {
    struct bench a = new_bench(), b = new_bench();
    struct fw_batch x, y;
    const gsize bytes = (gsize)a.params.batch_size * 4 * FRAME, samples = 4 * sizeof *x.noise;
    a.params.accumulate = b.params.accumulate = 2;
    open_bench(&a, 6, 40, 21);
    open_bench(&b, 6, 40, 21);
    for (guint64 k = 0; k < 20; k++)
        fw_sampler_fill(&a.sampler, &a.reservoir, k, (guint)k % 2, &x);
    fw_sampler_fill(&b.sampler, &b.reservoir, 19, 1, &y);
    ck_assert_mem_eq(x.clean, y.clean, bytes);
    ck_assert_mem_eq(x.noise, y.noise, samples);
    fw_sampler_fill(&b.sampler, &b.reservoir, 19, 0, &y);
    ck_assert_mem_ne(x.clean, y.clean, bytes);
    ck_assert_mem_ne(x.noise, y.noise, samples);
    b.params.seed = 2;
    fw_sampler_fill(&b.sampler, &b.reservoir, 19, 1, &y);
    ck_assert_mem_ne(x.clean, y.clean, bytes);
    a.params.fixed_noise = TRUE;
    fw_sampler_fill(&a.sampler, &a.reservoir, 5, 0, &x);
    struct kn_sample first[4];
    memcpy(first, x.noise, sizeof first);
    fw_sampler_fill(&a.sampler, &a.reservoir, 6, 0, &x);
    ck_assert_mem_eq(x.noise, first, sizeof first);
    close_bench(&a);
    close_bench(&b);
}
END_TEST

/* Every clip of a group goes on where it stopped, back and forth where there is nothing more. */
START_TEST(carried_clips_continue) {
    struct bench b = new_bench();
    struct fw_batch batch;
    b.params.carry_state = 5; /* 20 frames out of 12 or 13 */
    open_bench(&b, 6, 40, 21);
    for (guint64 group = 0; group < 20; group++) {
        int last[4] = {0}, at[4][2], ways[4] = {0};
        for (guint64 k = 0; k < 5; k++) {
            fw_sampler_fill(&b.sampler, &b.reservoir, 5 * group + k, 0, &batch);
            ck_assert_int_eq(batch.reset, k == 0);
            for (guint i = 0; i < 16; i++) {
                const guint c = i % 4, t = i / 4;
                const guint8 *p = pixel(&b, t, c, 0, 0);
                if (k + t > 0) {
                    ck_assert_int_eq(ABS(p[2] - last[c]), 1);
                    ways[c] |= p[2] > last[c] ? 1 : 2;
                    ck_assert(p[0] == at[c][0] && p[1] == at[c][1]);
                }
                last[c] = p[2];
                at[c][0] = p[0];
                at[c][1] = p[1];
            }
        }
        for (int c = 0; c < 4; c++)
            ck_assert_int_eq(ways[c], 3);
    }
    close_bench(&b);
}
END_TEST

START_TEST(frames_go_missing_in_runs) {
    struct bench b = new_bench();
    struct fw_batch batch;
    guint missing = 0, all = 0, run[4] = {0}, longest = 0;
    b.params.task = FW_TASK_PREDICT;
    b.params.carry_state = 2;
    b.params.augment = FALSE;
    open_bench(&b, 6, 40, 21);
    for (guint64 k = 0; k < 1000; k++) {
        fw_sampler_fill(&b.sampler, &b.reservoir, k, 0, &batch);
        ck_assert_ptr_nonnull(batch.input);
        for (guint i = 0; i < 16; i++, all++) {
            const guint8 *clean = batch.clean + i * FRAME, *input = batch.input + i * FRAME;
            const guint c = i % 4;
            if (k % 2 == 0 && i < 4) {
                ck_assert(batch.missing[i] == 0);
                run[c] = 0;
            }
            run[c] = batch.missing[i] > 0 ? run[c] + 1 : 0;
            missing += run[c] > 0;
            longest = MAX(longest, run[c]);
            ck_assert_int_eq(clean[2] - input[2], (int)run[c]); /* the last that was there */
            ck_assert_int_eq(clean[0], input[0]);
        }
    }
    ck_assert_uint_eq(longest, 3);
    ck_assert_msg(missing > all / 6 && missing < all / 3, "%u of %u", missing, all);
    close_bench(&b);
}
END_TEST

START_TEST(noise_is_as_strong_as_asked) {
    struct bench b = new_bench();
    struct fw_batch batch;
    guint kinds[5] = {0}, bits[9] = {0};
    double least = 255, most = 0;
    b.params.noise = FW_NOISE_MIXED;
    b.params.noise_min = 10;
    b.params.noise_max = 50;
    open_bench(&b, 6, 40, 21);
    for (guint64 k = 0; k < 300; k++) {
        fw_sampler_fill(&b.sampler, &b.reservoir, k, 0, &batch);
        for (int c = 0; c < 4; c++) {
            const struct kn_sample *s = &batch.noise[c];
            double strength = (double)s->strength, variance = strength * strength;
            if (s->kind == KN_NOISE_POISSON)
                variance += (double)s->gain / 2; /* at mid grey */
            if (s->kind == KN_NOISE_COMPRESSION)
                variance /= 12;
            double sigma = sqrt(variance) * 255 / 2;
            ck_assert(sigma > 9.999 && sigma < 50.001);
            least = fmin(least, sigma);
            most = fmax(most, sigma);
            kinds[s->kind]++;
        }
    }
    ck_assert(least < 11 && most > 49);
    ck_assert(kinds[KN_NOISE_NONE] == 0 && kinds[KN_NOISE_UNIFORM] == 0);
    for (int i = KN_NOISE_GAUSSIAN; i <= KN_NOISE_COMPRESSION; i++)
        ck_assert_uint_gt(kinds[i], 300);
    b.params.task = FW_TASK_RECONSTRUCT;
    for (guint64 k = 0; k < 100; k++) {
        fw_sampler_fill(&b.sampler, &b.reservoir, k, 0, &batch);
        for (int c = 0; c < 4; c++) {
            const struct kn_sample *s = &batch.rounding[c];
            ck_assert_int_eq(batch.noise[c].kind, KN_NOISE_NONE);
            bits[s->kind == KN_NOISE_NONE ? 0 : (int)lround(log2(8 / (double)s->strength))]++;
        }
    }
    ck_assert(bits[0] > 70 && bits[4] > 70 && bits[6] > 70 && bits[8] > 70);
    close_bench(&b);
}
END_TEST

START_TEST(batches_too_large_are_refused) {
    struct bench b = new_bench();
    GError *error = NULL;
    b.params.batch_size = 1024;
    b.params.clip_length = 65536;
    b.params.crop_size = 4096;
    gboolean ok = fw_sampler_init(&b.sampler, &b.params, &error);
    test_refused(!ok, &error, FW_ERROR_NO_SPACE, "3 PiB");
}
END_TEST

/* ----------------------------------------------------------------------------------- schedule */

START_TEST(rates_rise_and_fall) {
    struct fw_trainer_params p;
    fw_trainer_defaults(&p);
    p.steps = 1000;
    p.warmup = 100;
    ck_assert_double_eq_tol(fw_schedule_rate(&p, 0), 1e-5, 1e-15);
    ck_assert_double_eq_tol(fw_schedule_rate(&p, 49), 5e-4, 1e-15);
    ck_assert_double_eq_tol(fw_schedule_rate(&p, 99), 1e-3, 1e-15);
    ck_assert_double_eq_tol(fw_schedule_rate(&p, 100), 1e-3, 1e-15);
    ck_assert_double_eq_tol(fw_schedule_rate(&p, 550), 5e-4, 1e-12);
    ck_assert(fw_schedule_rate(&p, 999) > 0 && fw_schedule_rate(&p, 999) < 1e-8);
    ck_assert_double_eq(fw_schedule_rate(&p, 1000), 0);
    p.warmup = 5000; /* longer than the run */
    ck_assert_double_eq_tol(fw_schedule_rate(&p, 999), 2e-4, 1e-15);
    p.warmup = 0;
    ck_assert_double_eq_tol(fw_schedule_rate(&p, 0), 1e-3, 1e-15);
}
END_TEST

START_TEST(settings_of_a_step) {
    struct fw_trainer_params p;
    struct kn_adamw s;
    fw_trainer_defaults(&p);
    p.accumulate = 4;
    p.ema = 0.99;
    p.warmup = 0;
    fw_schedule_adamw(&p, 0, 0, 0.4, &s);
    ck_assert_float_eq_tol(s.scale, 0.5f / 4, 1e-7f);
    ck_assert_float_eq_tol(s.rate[FW_GROUP_DECAYED], 1e-3f, 1e-9f);
    ck_assert_float_eq_tol(s.rate[FW_GROUP_TEMPORAL_PLAIN], 3e-4f, 1e-9f);
    ck_assert_float_eq(s.rate[FW_GROUP_FROZEN], 0);
    ck_assert_float_eq(s.decay[FW_GROUP_PLAIN], 0);
    ck_assert_float_eq(s.decay[FW_GROUP_TEMPORAL_DECAYED], 1e-4f);
    ck_assert_float_eq_tol(s.correction1, 0.1f, 1e-7f);
    ck_assert_float_eq_tol(s.correction2, 0.02f, 1e-7f);
    ck_assert_float_eq_tol(s.average, 0.1f, 1e-7f);
    fw_schedule_adamw(&p, 4000, 3999, 0.1, &s);
    ck_assert_float_eq_tol(s.scale, 0.25f, 1e-7f);
    ck_assert_float_eq_tol(s.average, 0.99f, 1e-7f);
    ck_assert_uint_eq(s.step, 4000);
    p.grad_clip = 0;
    fw_schedule_adamw(&p, 0, 0, 1e9, &s);
    ck_assert_float_eq(s.scale, 0.25f);
}
END_TEST

START_TEST(the_guard_knows_spikes) {
    struct fw_guard g = {0};
    ck_assert(fw_guard_passes(&g, 1, 1000)); /* nothing is usual yet */
    g = (struct fw_guard){0};
    for (int i = 0; i < 50; i++)
        ck_assert(fw_guard_passes(&g, 1, 1));
    ck_assert(fw_guard_passes(&g, 1, 9.9));
    ck_assert_double_eq_tol(g.usual, 1.02, 1e-12);
    ck_assert(!fw_guard_passes(&g, 1, 10.3));
    ck_assert(!fw_guard_passes(&g, NAN, 1));
    ck_assert(!fw_guard_passes(&g, 1, NAN));
    ck_assert(!fw_guard_passes(&g, INFINITY, 1));
    ck_assert(!fw_guard_passes(&g, 1, INFINITY));
    ck_assert_uint_eq(g.in_a_row, 5);
    ck_assert_double_eq_tol(g.usual, 2.04, 1e-12);
    ck_assert(fw_guard_passes(&g, 1, 0));
    /* gradients that stay long become usual before patience ends */
    g = (struct fw_guard){0};
    for (int i = 0; i < 60; i++)
        ck_assert(fw_guard_passes(&g, 1, 1));
    for (int i = 0; i < 4; i++)
        ck_assert(!fw_guard_passes(&g, 1, 100));
    ck_assert(fw_guard_passes(&g, 1, 100));
    ck_assert_uint_eq(g.in_a_row, 0);
}
END_TEST

/* --------------------------------------------------------------------------------------- loss */

START_TEST(losses_as_text) {
    struct fw_loss loss;
    GError *error = NULL;
    ck_ok(fw_loss_parse("charbonnier", &loss, &error), error);
    ck_assert(loss.charbonnier == 1 && loss.mean_square == 0);
    ck_ok(fw_loss_parse("mean-square=2, ms-ssim=0.25,laplacian = 1e-3", &loss, &error), error);
    ck_assert(loss.mean_square == 2 && loss.ms_ssim == 0.25 && loss.laplacian == 1e-3 &&
              loss.charbonnier == 0 && loss.temporal_difference == 0);
    ck_ok(fw_loss_parse("perceptual", &loss, &error), error);
    ck_assert(loss.charbonnier == 1 && loss.laplacian == 0.5 && loss.temporal_difference == 0.5 &&
              loss.ms_ssim == 0.15 && loss.mean_square == 0);
    static const char *const bad[] = {"",
                                      ",",
                                      "charbonnier,",
                                      "mse",
                                      "Charbonnier",
                                      "charbonnier=",
                                      "charbonnier=x",
                                      "charbonnier=1x",
                                      "charbonnier=0",
                                      "charbonnier=-1",
                                      "charbonnier=nan",
                                      "charbonnier=inf",
                                      "charbonnier=1e7",
                                      "charbonnier=1=2",
                                      "charbonnier,charbonnier",
                                      "perceptual,charbonnier",
                                      "=1",
                                      "charbonnier=1,5",
                                      "a\n\x01"};
    struct fw_loss before = loss;
    for (gsize i = 0; i < G_N_ELEMENTS(bad); i++) {
        gboolean ok = fw_loss_parse(bad[i], &loss, &error);
        ck_assert_msg(ok || strstr(error->message, "temporal-difference"), "%s", bad[i]);
        test_refused(!ok, &error, FW_ERROR_ARGUMENT, bad[i]);
        ck_assert_mem_eq(&loss, &before, sizeof loss);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("sampling");
    TCase *c = tcase_create("sampling");
    tcase_set_timeout(c, 60);
    tcase_add_test(c, the_oldest_leaves_and_the_limit_holds);
    tcase_add_test(c, a_short_end_is_kept_if_it_is_a_clip);
    tcase_add_test(c, a_reservoir_too_small_says_so);
    tcase_add_test(c, scenes_change_by_colour);
    tcase_add_test(c, clips_are_squares_of_frames_in_order);
    tcase_add_test(c, a_batch_is_of_seed_and_step);
    tcase_add_test(c, carried_clips_continue);
    tcase_add_test(c, frames_go_missing_in_runs);
    tcase_add_test(c, noise_is_as_strong_as_asked);
    tcase_add_test(c, batches_too_large_are_refused);
    tcase_add_test(c, rates_rise_and_fall);
    tcase_add_test(c, settings_of_a_step);
    tcase_add_test(c, the_guard_knows_spikes);
    tcase_add_test(c, losses_as_text);
    suite_add_tcase(suite, c);
    return test_main(suite);
}
