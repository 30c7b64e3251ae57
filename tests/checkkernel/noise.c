/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Noise: every kind, mixed batches, what its numbers are like, and what they depend on. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shape {
    int64_t times, clips, height, width, channels;
};

static struct kn_tensor samples(struct ck_memory *memory, int64_t clips,
                                const struct kn_sample *sample) {
    const int64_t dim[KN_MAX_RANK] = {clips};
    struct kn_tensor t = kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_U8, 1, dim);
    size_t bytes = (size_t)clips * sizeof *sample;

    t.offset_bytes = ck_reserve(memory, KN_SLOT_CONTROL, bytes, false);
    memcpy(memory->image[KN_SLOT_CONTROL].bytes + t.offset_bytes, sample, bytes);
    return t;
}

static struct kn_noise_args operands(struct ck_memory *memory, const struct shape *s,
                                     const struct kn_sample *sample, bool same, int64_t gap) {
    const int64_t dim[] = {s->times * s->clips, s->height, s->width, s->channels};
    struct kn_noise_args a;

    a.x = ck_image(memory, same ? CK_INOUT : CK_IN, KN_SLOT_WORK, KN_F32, gap, dim);
    a.out = same ? a.x : ck_image(memory, CK_OUT, KN_SLOT_WORK, KN_F32, gap / 2, dim);
    a.sample = samples(memory, s->clips, sample);
    return a;
}

/* Sets all of x, or scales it to about the range of colours. */
static void colours(struct ck_memory *memory, const struct kn_tensor *x, double scale,
                    double value) {
    for (int64_t f = 0; f < x->dim[0]; f++) {
        float *p = ck_at(memory, x, f, 0, 0, 0);
        for (int64_t i = 0; i < x->dim[1] * x->dim[2] * x->dim[3]; i++)
            p[i] = (float)(scale * (double)p[i] + value);
    }
}

/* -------------------------------------------------------------------------------------- devices */

/*
 * A value on the edge between two of 256 codes may become either: one code is 1/127.5. Other values
 * are equal but for rounding.
 */
static void compare_codes(struct ck *ck, const double *a, const double *b, int64_t count) {
    int64_t wrong = 0;
    double worst = 0;

    for (int64_t i = 0; i < count; i++) {
        double off = fabs(a[i] - b[i]);
        wrong += !(off <= 1e-5 * (1 + fabs(a[i])));
        if (!(off <= worst))
            worst = off;
    }
    ck_want(ck, worst <= 1.01 / 127.5 && wrong <= 1 + count / 2000,
            "%d of %d values differ, by at most %g", (int)wrong, (int)count, worst);
}

static void one(struct ck *ck, const struct shape *s, int first, bool same) {
    static const char *const name[] = {"none", "gaussian", "poisson", "compression", "uniform"};
    struct kn_sample sample[8];
    struct ck_memory *memory;
    struct kn_noise_args a;
    struct kn_dev *dev = ck->dev;
    double *got, *want;

    if (!ck_begin(ck, "noise (%d * %d, %d, %d, %d) from %s on%s", (int)s->times, (int)s->clips,
                  (int)s->height, (int)s->width, (int)s->channels, name[first],
                  same ? ", in place" : ""))
        return;
    memory = ck_memory_new(ck);
    for (int64_t b = 0; b < s->clips; b++) {
        int kind = (int)(first + b) % 5;
        if (kind == KN_NOISE_COMPRESSION && s->channels != 12)
            kind = KN_NOISE_UNIFORM;
        sample[b] = (struct kn_sample){.key = ck_random(ck),
                                       .kind = kind,
                                       .strength = (float)(0.5 * ck_uniform(ck)),
                                       .gain = (float)(0.1 * ck_uniform(ck))};
    }
    a = operands(memory, s, sample, same, ck_below(ck, 2) ? 0 : 1 + ck_below(ck, 30));
    colours(memory, &a.x, 0.5, 0);
    ck_check(memory, KN_OP_NOISE, &a, CK_HALF);
    got = ck_outcome(memory, KN_OP_NOISE, &a, &a.out);
    ck->dev = ck->ref;
    want = ck_outcome(memory, KN_OP_NOISE, &a, &a.out);
    ck->dev = dev;
    if (got && want)
        compare_codes(ck, want, got, s->times * s->clips * s->height * s->width * s->channels);
    free(got);
    free(want);
    ck_memory_free(memory);
}

/* ------------------------------------------------------------------------------------ behaviour */

/* What comes out of one case with x = value (+ scale normal). */
static double *outcome(struct ck *ck, const struct shape *s, const struct kn_sample *sample,
                       double scale, double value) {
    struct ck_memory *memory = ck_memory_new(ck);
    struct kn_noise_args a = operands(memory, s, sample, false, 0);
    double *out;

    colours(memory, &a.x, scale, value);
    out = ck_outcome(memory, KN_OP_NOISE, &a, &a.out);
    ck_memory_free(memory);
    return out;
}

/* Moments of n values, those expected and how far off n such values may be (5 sigma). */
static void want_moments(struct ck *ck, const double *x, int64_t n, double mean, double deviation,
                         double kurtosis) {
    double m[5] = {0}, root = 5 / sqrt((double)n);

    for (int64_t i = 0; i < n; i++)
        m[1] += x[i] / (double)n;
    for (int64_t i = 0; i < n; i++)
        for (int k = 2; k < 5; k++)
            m[k] += pow(x[i] - m[1], k) / (double)n;
    m[3] /= pow(m[2], 1.5);
    m[4] /= m[2] * m[2];
    ck_want(ck, fabs(m[1] - mean) <= deviation * root, "mean %g, should be %g", m[1], mean);
    ck_want(ck, fabs(m[2] / deviation / deviation - 1) <= sqrt(kurtosis - 1) * root,
            "variance %g, should be %g", m[2], deviation * deviation);
    ck_want(ck, fabs(m[3]) <= 4 * root, "skewness %g", m[3]);
    ck_want(ck, fabs(m[4] - kurtosis) <= 5 * root, "kurtosis %g, should be %g", m[4], kurtosis);
}

static double correlation(const double *x, const double *y, int64_t n) {
    double m[2] = {0}, v[3] = {0};

    for (int64_t i = 0; i < n; i++) {
        m[0] += x[i] / (double)n;
        m[1] += y[i] / (double)n;
    }
    for (int64_t i = 0; i < n; i++) {
        v[0] += (x[i] - m[0]) * (x[i] - m[0]);
        v[1] += (x[i] - m[0]) * (y[i] - m[1]);
        v[2] += (y[i] - m[1]) * (y[i] - m[1]);
    }
    return v[1] / sqrt(v[0] * v[2]);
}

/* Rounding to codes adds a twelfth of a squared code. */
static double with_rounding(double deviation) {
    return sqrt(deviation * deviation + 1 / 127.5 / 127.5 / 12);
}

static void statistics(struct ck *ck, int kind, double value, double deviation, double kurtosis) {
    const struct shape s = {20, 1, 32, 32, 12};
    const int64_t n = 20 * 32 * 32 * 12, frame = 32 * 32 * 12;
    struct kn_sample sample = {.kind = kind, .strength = 0.15f, .gain = 0.02f};
    double *x, *y;

    if (!ck_begin(ck, "noise of kind %d: moments and correlations", kind))
        return;
    sample.key = ck_random(ck);
    x = outcome(ck, &s, &sample, 0, value);
    sample.key++;
    y = outcome(ck, &s, &sample, 0, value);
    if (x && y) {
        static const int64_t lags[] = {1, 2, 12, 32 * 12, frame};
        want_moments(ck, x, n, value, deviation, kurtosis);
        ck_want(ck, fabs(correlation(x, y, n)) <= 5 / sqrt((double)n),
                "neighbouring keys correlate by %g", correlation(x, y, n));
        for (size_t i = 0; i < CK_COUNT(lags); i++)
            ck_want(ck,
                    fabs(correlation(x, x + lags[i], n - lags[i])) <= 5 / sqrt((double)(n - frame)),
                    "values %d apart correlate by %g", (int)lags[i],
                    correlation(x, x + lags[i], n - lags[i]));
    }
    free(x);
    free(y);
}

/* Value i of a clip is the same alone or beside others, in short clips and in long ones. */
static void independence(struct ck *ck, int kind) {
    const struct shape batch = {5, 3, 7, 5, 12}, alone = {3, 1, 7, 5, 12};
    const int64_t frame = 7 * 5 * 12;
    struct kn_sample sample[3];
    double *x, *y;

    if (!ck_begin(ck, "noise of kind %d: alone and in a batch", kind))
        return;
    for (int i = 0; i < 3; i++)
        sample[i] = (struct kn_sample){ck_random(ck), i == 1 ? kind : KN_NOISE_NONE, 0.3f, 0.1f, 0};
    x = outcome(ck, &batch, sample, 0, 0.25);
    y = outcome(ck, &alone, sample + 1, 0, 0.25);
    for (int64_t f = 0; x && y && f < 3; f++)
        ck_want(ck, memcmp(x + (3 * f + 1) * frame, y + f * frame, (size_t)frame * sizeof *x) == 0,
                "frame %d differs", (int)f);
    free(x);
    free(y);
}

/* Compression changes little of what is plain, and of all else more the coarser it is. */
static void compression(struct ck *ck) {
    const struct shape s = {1, 1, 12, 12, 12};
    const int64_t n = 12 * 12 * 12;
    double error[4] = {0}, *clean, *out;

    if (!ck_begin(ck, "noise: compression loses more with larger steps"))
        return;
    for (int i = 0; i < 4; i++) {
        const struct kn_sample none = {0}, sample = {.kind = KN_NOISE_COMPRESSION,
                                                     .strength = (float)i * 0.25f};
        uint64_t from = ck->random;
        clean = outcome(ck, &s, &none, 0.2, 0);
        ck->random = from;
        out = outcome(ck, &s, &sample, 0.2, 0);
        for (int64_t j = 0; clean && out && j < n; j++)
            error[i] += (clean[j] - out[j]) * (clean[j] - out[j]) / (double)n;
        free(clean);
        free(out);
        out = outcome(ck, &s, &sample, 0, 0.2);
        for (int64_t j = 0; out && j < n; j++)
            ck_want(ck, fabs(out[j] - 0.2) <= (double)sample.strength / 64 + 0.51 / 127.5,
                    "a plain grey of 0.2 becomes %g", out[j]);
        free(out);
    }
    /* without steps only chroma is shared, which is less than all that deviates by 0.2 */
    ck_want(ck, error[0] > 0.005 && error[0] < 0.04 && error[1] < error[2] && error[2] < error[3],
            "errors %g, %g, %g, %g", error[0], error[1], error[2], error[3]);
}

/* What may not be asked for fails the run and not the process. */
static void refusals(struct ck *ck) {
    const struct kn_sample bad[] = {{.kind = 5}, {.kind = -1}, {.kind = KN_NOISE_COMPRESSION}};

    for (int i = 0; i < 3; i++) {
        const struct shape s = {1, 1, 2, 2, 8};
        struct ck quiet = *ck;
        double *out;
        if (!ck_begin(ck, "noise refuses kind %d of 8 channels", (int)bad[i].kind))
            continue;
        quiet.quiet = true;
        out = outcome(&quiet, &s, &bad[i], 1, 0);
        ck_want(ck, !out, "the run succeeded");
        free(out);
    }
}

void ck_test_noise(struct ck *ck) {
    static const struct shape shapes[] = {
        {2, 5, 6, 7, 12}, {1, 2, 1, 1, 12}, {3, 4, 4, 8, 12}, {2, 3, 5, 3, 7}, {1, 8, 33, 20, 12}};
    static const struct shape one_value = {1, 1, 1, 1, 1};

    for (int first = 0; first < 5; first++)
        for (int same = 0; same < 2; same++)
            for (size_t s = 0; s < CK_COUNT(shapes); s++)
                one(ck, &shapes[s], first, same);
    one(ck, &one_value, KN_NOISE_GAUSSIAN, false);
    statistics(ck, KN_NOISE_GAUSSIAN, 0, with_rounding((double)0.15f), 3);
    statistics(ck, KN_NOISE_POISSON, 0.1, with_rounding(sqrt(0.15 * 0.15 + 0.02 * 0.55)), 3);
    statistics(ck, KN_NOISE_UNIFORM, 0.5, 0.15 / sqrt(12), 1.8);
    for (int kind = 0; kind < 5; kind++)
        independence(ck, kind);
    compression(ck);
    refusals(ck);
}

bool ck_sabotage_noise(struct kn_noise_args *a, int way) {
    switch (way) {
    case 0: /* the next entry: another key, or none at all */
        if (a->sample.dim[0] == 1)
            return false;
        a->sample.dim[0] = 1;
        return true;
    case 1:
        if (a->x.dim[1] == 1)
            return false;
        a->x.dim[1]--;
        a->out.dim[1]--;
        return true;
    default:
        return false;
    }
}

void ck_bench_noise(struct ck *ck) {
    static const char *const name[] = {"none", "gaussian", "poisson", "compression", "uniform"};
    const struct shape s = {8, 4, 32, 32, 12};

    for (int kind = 0; kind < 5; kind++) {
        struct ck_memory *memory = ck_memory_new(ck);
        struct kn_sample sample[4];
        struct kn_noise_args a;
        char label[60];
        for (int i = 0; i < 4; i++)
            sample[i] = (struct kn_sample){(uint64_t)i, kind, 0.1f, 0.1f, 0};
        a = operands(memory, &s, sample, false, 0);
        colours(memory, &a.x, 0.5, 0);
        snprintf(label, sizeof label, "4 clips of 8 frames of 64 x 64, %s", name[kind]);
        ck_bench(memory, label, KN_OP_NOISE, &a, (struct ck_work){.bytes = 8. * 32 * 32 * 32 * 12});
        ck_memory_free(memory);
    }
}
