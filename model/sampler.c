/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sampler.h"

#include <math.h>
#include <string.h>

#include "kn_size.h"
#include "rng.h"

/* Sequences of random numbers of a seed. */
enum purpose { PICTURES = 1, NOISE, KEYS, GAPS, VALIDATION };

/* Random numbers that follow each other. */
struct dice {
    guint64 key, rolled;
};

static struct dice dice_for(guint64 seed, enum purpose purpose, guint64 step, guint64 clip) {
    guint64 key = fw_rng_key(fw_rng_key(seed, (guint64)purpose), step);
    return (struct dice){fw_rng_key(key, clip), 0};
}

static double roll_unit(struct dice *d) {
    return (double)(fw_rng_bits(d->key, d->rolled++) >> 11) * 0x1p-53;
}

/* 0 .. below - 1 */
static guint64 roll(struct dice *d, guint64 below) {
    guint64 value = (guint64)(roll_unit(d) * (double)below);
    return MIN(value, below - 1);
}

/* ------------------------------------------------------------------------------------- memory */

gsize fw_sampler_clip_bytes(const struct fw_trainer_params *p) {
    return 3 * (gsize)p->clip_length * p->crop_size * p->crop_size;
}

static gpointer take(struct fw_sampler *s, guint64 bytes) {
    s->bytes += bytes;
    return g_try_malloc0(bytes);
}

gboolean fw_sampler_init(struct fw_sampler *s, const struct fw_trainer_params *p, GError **error) {
    const guint64 clips = p->batch_size, frames = clips * p->clip_length;
    uint64_t pixels;

    *s = (struct fw_sampler){.params = p};
    if (!kn_size_mul(clips, fw_sampler_clip_bytes(p), &pixels))
        pixels = G_MAXUINT64;
    s->clean = take(s, pixels);
    s->input = p->task == FW_TASK_PREDICT ? take(s, pixels) : NULL;
    s->noise = take(s, clips * sizeof *s->noise);
    s->rounding = take(s, clips * sizeof *s->rounding);
    s->missing = take(s, frames * sizeof *s->missing);
    s->taken = take(s, clips * sizeof *s->taken);
    if (s->clean && (s->input || p->task != FW_TASK_PREDICT) && s->noise && s->rounding &&
        s->missing && s->taken)
        return TRUE;
    fw_fail(error, FW_ERROR_NO_SPACE,
            "no memory for a batch of %u clips: %" G_GUINT64_FORMAT " bytes wanted", p->batch_size,
            s->bytes);
    fw_sampler_clear(s);
    return FALSE;
}

void fw_sampler_clear(struct fw_sampler *s) {
    g_free(s->clean);
    g_free(s->input);
    g_free(s->noise);
    g_free(s->rounding);
    g_free(s->missing);
    g_free(s->taken);
    *s = (struct fw_sampler){0};
}

/* --------------------------------------------------------------------------------------- draws */

/* Steps that continue each other draw alike; the reservoir does not change between them. */
static guint64 group_of(const struct fw_trainer_params *p, guint64 k) {
    return k / p->carry_state;
}

static guint64 starts(const struct fw_chunk *chunk, guint clip_length) {
    return (guint64)chunk->frames - clip_length + 1;
}

/* Every position in the frames kept is as likely as every other. */
static const struct fw_chunk *roll_chunk(const struct fw_reservoir *r, struct dice *d) {
    guint64 total = 0, at;
    guint i = 0;

    for (guint c = 0; c < r->chunk->len; c++)
        total += starts(g_ptr_array_index(r->chunk, c), r->clip_length);
    at = roll(d, total);
    for (; at >= starts(g_ptr_array_index(r->chunk, i), r->clip_length); i++)
        at -= starts(g_ptr_array_index(r->chunk, i), r->clip_length);
    return g_ptr_array_index(r->chunk, i);
}

static gboolean is_taken(const struct fw_sampler *s, const struct fw_chunk *chunk, guint clips) {
    for (guint i = 0; i < clips; i++)
        if (s->taken[i] == chunk)
            return TRUE;
    return FALSE;
}

/* Neighbours in a source should not be neighbours in a batch: not the same chunk twice. */
static const struct fw_chunk *roll_other_chunk(struct fw_sampler *s, const struct fw_reservoir *r,
                                               guint clip, struct dice *d) {
    const struct fw_chunk *chunk = roll_chunk(r, d);
    for (int i = 0; i < 16 && r->chunk->len > clip && is_taken(s, chunk, clip); i++)
        chunk = roll_chunk(r, d);
    return chunk;
}

void fw_sampler_draw(struct fw_sampler *s, const struct fw_reservoir *r, guint64 k, guint index,
                     guint clip, struct fw_draw *draw) {
    const struct fw_trainer_params *p = s->params;
    struct dice d =
        dice_for(p->seed, PICTURES, group_of(p, k), (guint64)index * p->batch_size + clip);
    const struct fw_chunk *chunk = roll_other_chunk(s, r, clip, &d);
    const guint64 last = (guint64)p->clip_length * p->carry_state - 1; /* frame, at stride 1 */
    const gboolean fast = roll(&d, 3) == 0, mirror = roll(&d, 2), flip = roll(&d, 2),
                   transpose = roll(&d, 2);

    *draw = (struct fw_draw){.chunk = chunk, .stride = 1};
    s->taken[clip] = chunk;
    if (p->augment) {
        draw->stride = fast && 2 * last < chunk->frames ? 2 : 1;
        draw->mirror = mirror;
        draw->flip = flip;
        draw->transpose = transpose;
    }
    if (draw->stride * last < chunk->frames)
        draw->start = (guint)roll(&d, chunk->frames - draw->stride * last);
    draw->left = 2 * (int)roll(&d, ((guint64)chunk->width - p->crop_size) / 2 + 1);
    draw->top = 2 * (int)roll(&d, ((guint64)chunk->height - p->crop_size) / 2 + 1);
}

/* Frames of a chunk that is too short for a row of clips go back and forth. */
static guint frame_at(const struct fw_draw *d, guint64 i) {
    const guint64 n = d->chunk->frames, turn = MAX(1, 2 * (n - 1));
    guint64 at = (d->start + i * d->stride) % turn;
    return (guint)(at < n ? at : turn - at);
}

/* One square of a frame, turned as drawn. */
static void cut_frame(const struct fw_draw *d, guint frame, guint size, guint8 *to) {
    const struct fw_chunk *c = d->chunk;
    const gsize line = 3 * (gsize)c->width;
    const guint8 *from = c->rgb + line * (gsize)c->height * frame + line * (gsize)d->top;

    for (guint y = 0; y < size; y++)
        for (guint x = 0; x < size; x++, to += 3) {
            guint u = d->transpose ? y : x, v = d->transpose ? x : y;
            u = d->mirror ? size - 1 - u : u;
            v = d->flip ? size - 1 - v : v;
            memcpy(to, from + line * v + 3 * ((gsize)u + (gsize)d->left), 3);
        }
}

/* --------------------------------------------------------------------------------------- noise */

static enum kn_noise_kind kind_of(enum fw_noise noise, guint64 mixed) {
    static const enum kn_noise_kind kind[] = {KN_NOISE_GAUSSIAN, KN_NOISE_POISSON,
                                              KN_NOISE_COMPRESSION};
    return kind[noise == FW_NOISE_MIXED ? mixed : noise];
}

/* Noise of standard deviation sigma in 8-bit levels. share: of its variance that photons make. */
static void set_noise(struct kn_sample *to, enum kn_noise_kind kind, double sigma, double share) {
    const double strength = 2 * sigma / 255;

    to->kind = kind;
    to->strength = (float)strength;
    if (kind == KN_NOISE_POISSON) { /* gain is that of white, mid grey has half of it */
        to->strength = (float)(strength * sqrt(1 - share));
        to->gain = (float)(2 * strength * strength * share);
    } else if (kind == KN_NOISE_COMPRESSION) { /* rounding to a step has its square / 12 */
        to->strength = (float)(strength * sqrt(12));
    }
}

/* Latents rounded to that many bits over their range of 8; 0: as they are. */
static void set_rounding(struct kn_sample *to, guint bits) {
    to->kind = bits ? KN_NOISE_UNIFORM : KN_NOISE_NONE;
    to->strength = bits ? 8.0f / (float)(1u << bits) : 0;
}

static void draw_samples(struct fw_sampler *s, guint64 k, guint index, guint clip) {
    static const guint bits[] = {0, 8, 6, 4};
    const struct fw_trainer_params *p = s->params;
    const guint64 place = (guint64)index * p->batch_size + clip, step = p->fixed_noise ? 0 : k;
    struct dice d = dice_for(p->seed, NOISE, group_of(p, step), place),
                keys = dice_for(p->seed, KEYS, step, place);
    double sigma = p->noise_min + (p->noise_max - p->noise_min) * roll_unit(&d);
    double share = roll_unit(&d);
    enum kn_noise_kind kind = kind_of(p->noise, roll(&d, 3));

    s->noise[clip] = (struct kn_sample){.key = fw_rng_bits(keys.key, 0)};
    s->rounding[clip] = (struct kn_sample){.key = fw_rng_bits(keys.key, 1)};
    if (p->task == FW_TASK_RESTORE)
        set_noise(&s->noise[clip], kind, sigma, share);
    if (p->task == FW_TASK_RECONSTRUCT)
        set_rounding(&s->rounding[clip], bits[roll(&d, G_N_ELEMENTS(bits))]);
}

/* --------------------------------------------------------------------------------- lost frames */

/*
 * Frames of a row of clips go missing one to three at a time, about a quarter of them: a run begins
 * at one of six frames that could, and the frame after it is there.
 */
struct gaps {
    struct dice dice;
    guint left;
    guint64 next, present; /* frame that comes, last one that was there */
};

static gboolean next_is_missing(struct gaps *g) {
    const gboolean may_begin = g->next > 0 && g->present + 1 == g->next;
    gboolean missing = g->left > 0;

    if (missing)
        g->left--;
    else if (may_begin && roll(&g->dice, 6) == 0)
        missing = TRUE, g->left = (guint)roll(&g->dice, 3);
    if (!missing)
        g->present = g->next;
    g->next++;
    return missing;
}

/* --------------------------------------------------------------------------------------- batch */

static struct fw_batch batch_of(const struct fw_sampler *s, guint index) {
    const gboolean predict = s->params->task == FW_TASK_PREDICT;
    return (struct fw_batch){
        .clean = s->clean,
        .input = predict ? s->input : NULL,
        .noise = s->noise,
        .rounding = s->params->task == FW_TASK_RECONSTRUCT ? s->rounding : NULL,
        .missing = predict ? s->missing : NULL,
        .index = (int)index,
        .reset = TRUE,
    };
}

/* Frames from on of the row of clips that the draw begins. */
static void fill_clip(struct fw_sampler *s, const struct fw_draw *draw, struct gaps *gaps,
                      guint64 from, guint clip) {
    const struct fw_trainer_params *p = s->params;
    const gsize bytes = 3 * (gsize)p->crop_size * p->crop_size;

    while (s->input && gaps->next < from)
        next_is_missing(gaps);
    for (guint t = 0; t < p->clip_length; t++) {
        const gsize at = (gsize)t * p->batch_size + clip;
        cut_frame(draw, frame_at(draw, from + t), p->crop_size, s->clean + at * bytes);
        if (!s->input)
            continue;
        s->missing[at] = next_is_missing(gaps);
        cut_frame(draw, frame_at(draw, gaps->present), p->crop_size, s->input + at * bytes);
    }
}

void fw_sampler_fill(struct fw_sampler *s, const struct fw_reservoir *r, guint64 k, guint index,
                     struct fw_batch *batch) {
    const struct fw_trainer_params *p = s->params;
    const guint64 phase = k % p->carry_state;

    for (guint clip = 0; clip < p->batch_size; clip++) {
        struct gaps gaps = {
            .dice = dice_for(p->seed, GAPS, group_of(p, k), (guint64)index * p->batch_size + clip)};
        struct fw_draw draw;
        fw_sampler_draw(s, r, k, index, clip, &draw);
        fill_clip(s, &draw, &gaps, phase * p->clip_length, clip);
        draw_samples(s, k, index, clip);
    }
    *batch = batch_of(s, index);
    batch->reset = phase == 0;
}

/* ---------------------------------------------------------------------------------- validation */

void fw_sampler_cut(const struct fw_trainer_params *p, const struct fw_chunk *chunk, guint8 *to) {
    const gsize bytes = 3 * (gsize)p->crop_size * p->crop_size;
    const struct fw_draw middle = {.chunk = chunk,
                                   .left = (chunk->width - (int)p->crop_size) / 4 * 2,
                                   .top = (chunk->height - (int)p->crop_size) / 4 * 2};
    for (guint t = 0; t < p->clip_length; t++)
        cut_frame(&middle, t, p->crop_size, to + t * bytes);
}

/* Sigma 25, which denoisers are compared by, where training covers it. */
static double validation_sigma(const struct fw_trainer_params *p) {
    return p->noise_min <= 25 && p->noise_max >= 25 ? 25 : (p->noise_min + p->noise_max) / 2;
}

static void validation_clip(struct fw_sampler *s, const guint8 *kept, guint64 place, guint clip) {
    const struct fw_trainer_params *p = s->params;
    const gsize bytes = 3 * (gsize)p->crop_size * p->crop_size;
    struct gaps gaps = {.dice = dice_for(p->seed, VALIDATION, 0, place)};
    const guint64 key = gaps.dice.key;

    s->noise[clip] = (struct kn_sample){.key = fw_rng_bits(key, 1)};
    s->rounding[clip] = (struct kn_sample){.key = fw_rng_bits(key, 2)};
    if (p->task == FW_TASK_RESTORE)
        set_noise(&s->noise[clip], kind_of(p->noise, place % 3), validation_sigma(p), 0.5);
    if (p->task == FW_TASK_RECONSTRUCT)
        set_rounding(&s->rounding[clip], 6);
    for (guint t = 0; t < p->clip_length; t++) {
        const gsize at = (gsize)t * p->batch_size + clip;
        memcpy(s->clean + at * bytes, kept + t * bytes, bytes);
        if (!s->input)
            continue;
        s->missing[at] = next_is_missing(&gaps);
        memcpy(s->input + at * bytes, kept + gaps.present * bytes, bytes);
    }
}

void fw_sampler_validation(struct fw_sampler *s, const GPtrArray *clips, guint first,
                           struct fw_batch *batch) {
    for (guint clip = 0; clip < s->params->batch_size; clip++) {
        guint place = MIN(first + clip, clips->len - 1);
        validation_clip(s, g_ptr_array_index(clips, place), place, clip);
    }
    *batch = batch_of(s, 0);
}
