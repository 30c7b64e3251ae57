/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "schedule.h"

#include <math.h>

#include "learner.h"

#define BETA1 0.9
#define BETA2 0.98 /* gradients of few clips are noisy, and change as the network does */

double fw_schedule_rate(const struct fw_trainer_params *p, guint64 k) {
    if (k < p->warmup)
        return p->learning_rate * (double)(k + 1) / (double)p->warmup;
    if (k >= p->steps)
        return 0;
    return p->learning_rate * 0.5 *
           (1 + cos(G_PI * (double)(k - p->warmup) / (double)(p->steps - p->warmup)));
}

/* Averages over few steps first: the weights that training starts from are not worth keeping. */
static double average(const struct fw_trainer_params *p, guint64 updates) {
    return MIN(p->ema, (1 + (double)updates) / (10 + (double)updates));
}

void fw_schedule_adamw(const struct fw_trainer_params *p, guint64 k, guint64 updates, double norm,
                       struct kn_adamw *s) {
    double rate = fw_schedule_rate(p, k), temporal = rate * p->temporal_learning_rate;
    double clip = p->grad_clip > 0 && norm > p->grad_clip ? p->grad_clip / norm : 1;

    *s = (struct kn_adamw){
        .rate = {[FW_GROUP_PLAIN] = (float)rate,
                 [FW_GROUP_DECAYED] = (float)rate,
                 [FW_GROUP_TEMPORAL_PLAIN] = (float)temporal,
                 [FW_GROUP_TEMPORAL_DECAYED] = (float)temporal},
        .decay = {[FW_GROUP_DECAYED] = (float)p->weight_decay,
                  [FW_GROUP_TEMPORAL_DECAYED] = (float)p->weight_decay},
        .beta1 = (float)BETA1,
        .beta2 = (float)BETA2,
        .epsilon = 1e-8f,
        .correction1 = (float)(1 - pow(BETA1, (double)updates + 1)),
        .correction2 = (float)(1 - pow(BETA2, (double)updates + 1)),
        .scale = (float)(clip / p->accumulate),
        .average = (float)average(p, updates),
        .step = (guint32)k,
    };
}

gboolean fw_guard_passes(struct fw_guard *g, double loss, double norm) {
    gboolean finite = isfinite(loss) && isfinite(norm);

    if (!finite || (g->taken >= FW_GUARD_LEARNS && !(norm <= FW_GUARD_SPIKE * g->usual))) {
        if (finite)
            g->usual *= 2;
        g->in_a_row++;
        return FALSE;
    }
    if (g->taken < FW_GUARD_LEARNS)
        g->usual += (norm - g->usual) / (double)(g->taken + 1);
    else
        g->usual += (MIN(norm, 2 * g->usual) - g->usual) / FW_GUARD_LEARNS;
    g->taken++;
    g->in_a_row = 0;
    return TRUE;
}
