/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Clock and median of the benchmarks. */
#ifndef BENCH_TIMER_H
#define BENCH_TIMER_H

#include <stdlib.h>
#include <time.h>

static inline double bench_now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1e3 + ts.tv_nsec * 1e-6;
}

static inline int bench_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the values. */
static inline double bench_median(double *value, int count) {
    qsort(value, (size_t)count, sizeof *value, bench_compare);
    return value[count / 2];
}

#endif
