/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Time of one operation at a time, at the shapes of the presets. */
#include "checkkernel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define RUNS 64     /* at most */
#define SECONDS 0.4 /* at most, once MINIMUM is reached */
#define MINIMUM 5

const struct ck_preset ck_presets[] = {
    {"thin", 240, 320, 32, 64, true, 4, 128, 4, 12},
    {"tiny", 240, 320, 32, 32, false, 4, 64, 4, 12},
    {0},
};

const struct ck_preset *ck_preset(const struct ck *ck, int i) {
    static const struct ck_preset none;

    if (!ck_presets[i].name)
        return NULL;
    if (ck->preset && strcmp(ck->preset, ck_presets[i].name) != 0)
        return &none;
    return &ck_presets[i];
}

double ck_seconds(void) {
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void ck_bench_line(enum kn_op op, const char *label, double best, double median,
                   struct ck_work work) {
    printf("%-23s %-44s %9.3f ms best %9.3f ms median ", kn_op_name(op), label, 1e3 * best,
           1e3 * median);
    if (work.flops > 0)
        printf("%8.1f GFLOP/s\n", 1e-9 * work.flops / best);
    else
        printf("%8.1f GB/s\n", 1e-9 * work.bytes / best);
    fflush(stdout);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

void ck_bench(struct ck_memory *memory, const char *label, enum kn_op op, const void *args,
              struct ck_work work) {
    struct ck *ck = memory->ck;
    struct ck_loaded loaded;
    struct kn_exec *exec = NULL;
    double time[RUNS], total = 0;
    int runs = 0;

    snprintf(ck->label, sizeof ck->label, "%s", label);
    if (ck_load(&loaded, memory, ck->dev, true, 0))
        exec = ck_compile(&loaded, op, args);
    if (exec && ck_run(&loaded, exec, 0, 0))
        while (runs < RUNS && (runs < MINIMUM || total < SECONDS)) {
            double from = ck_seconds();
            if (!ck_run(&loaded, exec, 0, 0))
                break;
            time[runs] = ck_seconds() - from;
            total += time[runs++];
        }
    if (runs > 0) {
        qsort(time, (size_t)runs, sizeof *time, ascending);
        ck_bench_line(op, label, time[0], time[runs / 2], work);
    }
    kn_exec_free(exec);
    ck_unload(&loaded);
}
