/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* AdamW in one pass; a run of parameters shares its settings and stays in registers. */
#include <math.h>

#include "../kn_random.h"
#include "../kn_training.h"
#include "cpu.h"
#include "floats.h"

#define RUN KN_ADAMW_RUN

/* What is the same for all parameters of a group. */
struct group {
    float rate, decay;
};

static void step_run(const struct kn_adamw *s, const struct group *g, float *param,
                     const float *grad, float *first, float *second) {
    const float b1 = s->beta1, b2 = s->beta2, c1 = s->correction1, c2 = s->correction2;
    const float scale = s->scale, epsilon = s->epsilon;

#pragma omp simd
    for (int i = 0; i < RUN; i++) {
        float d = scale * grad[i];
        float m = b1 * first[i] + (1.0f - b1) * d;
        float v = b2 * second[i] + (1.0f - b2) * d * d;
        param[i] -= g->rate * (g->decay * param[i] + (m / c1) / (sqrtf(v / c2) + epsilon));
        first[i] = m;
        second[i] = v;
    }
}

static void average_run(float *averaged, const float *param, float average) {
#pragma omp simd
    for (int i = 0; i < RUN; i++)
        averaged[i] = average * averaged[i] + (1.0f - average) * param[i];
}

/* Up or down with the odds of the distance; infinities and NaN are cut. */
static uint16_t round_by(float value, uint32_t odds) {
    uint32_t bits = kn_float_bits(value), size = bits & 0x7fffffffu;

    bits = size < 0x7f800000u ? bits + odds : size > 0x7f800000u ? bits | 0x400000u : bits;
    return (uint16_t)(bits >> 16);
}

static void keep_halves(uint16_t *first, uint16_t *second, const float *m, const float *v,
                        uint64_t step, int64_t at) {
    uint32_t odds[RUN];

#pragma omp simd
    for (int i = 0; i < RUN; i++)
        odds[i] = (uint32_t)kn_random_bits(step, (uint64_t)(at + i));
#pragma omp simd
    for (int i = 0; i < RUN; i++) {
        first[i] = round_by(m[i], odds[i] & 0xffff);
        second[i] = round_by(v[i], odds[i] >> 16);
    }
}

struct job {
    const struct kn_adamw *settings;
    struct group group[KN_ADAMW_GROUPS];
    float *param, *averaged;
    const float *grad;
    void *first, *second;
    bool halves;
};

static void one_run(const struct job *job, const struct group *g, int64_t at) {
    uint16_t *first = (uint16_t *)job->first + at, *second = (uint16_t *)job->second + at;
    float m[RUN], v[RUN];

    if (job->halves) {
        kn_floats_load(m, KN_BF16, first, RUN);
        kn_floats_load(v, KN_BF16, second, RUN);
        step_run(job->settings, g, job->param + at, job->grad + at, m, v);
        keep_halves(first, second, m, v, job->settings->step, at);
    } else
        step_run(job->settings, g, job->param + at, job->grad + at, (float *)job->first + at,
                 (float *)job->second + at);
    if (job->averaged)
        average_run(job->averaged + at, job->param + at, job->settings->average);
}

static enum kn_status adamw_run(const struct kn_call *call, const void *args, struct kn_err *err) {
    const struct kn_adamw_args *a = args;
    const uint8_t *group = kn_at(call, &a->group);
    struct job job = {.settings = kn_at(call, &a->control),
                      .param = kn_at(call, &a->param),
                      .averaged = a->averaged.rank > 0 ? kn_at(call, &a->averaged) : NULL,
                      .grad = kn_at(call, &a->grad),
                      .first = kn_at(call, &a->first),
                      .second = kn_at(call, &a->second),
                      .halves = a->first.dtype == KN_BF16};
    enum kn_status status = kn_adamw_groups(a, group, err);

    for (int i = 0; i < KN_ADAMW_GROUPS; i++)
        job.group[i] = (struct group){job.settings->rate[i], job.settings->decay[i]};
    if (status != KN_OK)
        return status;
#pragma omp parallel for num_threads(call->threads) schedule(static)
    for (int64_t i = 0; i < a->group.dim[0]; i++)
        if (job.group[group[i]].rate != 0.0f)
            one_run(&job, &job.group[group[i]], i * RUN);
    return KN_OK;
}

void KN_ISA_NAME(adamw)(struct kn_table *table) {
    table->kernel[KN_OP_ADAMW] = (struct kn_kernel){.prepare = kn_adamw_prepare, .run = adamw_run};
}
