/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Comparisons. Each is written so that a NaN fails it; nothing here is built with -ffast-math. */
#include "checkkernel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ref/ref.h"

/* One element may be this many times as far off as the whole is on average. */
#define OUTLIER 20

void ck_error_add(struct ck_error *error, double reference, double value) {
    double d = value - reference;

    error->difference += d * d;
    error->power += reference * reference;
    error->count++;
    if (!(d == 0))
        error->wrong++;
    if (!(fabs(d) <= error->worst)) {
        error->worst = fabs(d);
        error->worst_reference = fabs(reference);
    }
}

double ck_error_nmse(const struct ck_error *error) {
    if (error->power > 0)
        return error->difference / error->power;
    return error->difference == 0 ? 0 : INFINITY;
}

void ck_error_check(struct ck *ck, const struct ck_error *error, double tolerance,
                    const char *what) {
    double nmse = ck_error_nmse(error), rms, most;

    if (error->count == 0)
        return;
    if (tolerance < 0) {
        ck_want(ck, error->wrong == 0, "%s: %" PRId64 " of %" PRId64 " values differ", what,
                error->wrong, error->count);
        return;
    }
    rms = sqrt(error->power / (double)error->count);
    most = OUTLIER * sqrt(tolerance) * (rms + error->worst_reference);
    if (!(nmse <= ck->worst))
        ck->worst = nmse;
    if (!(nmse <= tolerance))
        ck_fail(ck, "%s: NMSE %.3g of %" PRId64 " values, at most %.3g allowed", what, nmse,
                error->count, tolerance);
    else if (!(error->worst <= most))
        ck_fail(ck, "%s: one of %" PRId64 " values is %.3g off at %.3g, at most %.3g allowed", what,
                error->count, error->worst, error->worst_reference, most);
}

void ck_compare(struct ck *ck, const float *reference, const float *value, int64_t count,
                double tolerance, const char *what) {
    struct ck_error error = {0};

    for (int64_t i = 0; i < count; i++)
        ck_error_add(&error, reference[i], value[i]);
    ck_error_check(ck, &error, tolerance, what);
}

void ck_same(struct ck *ck, const float *a, const float *b, int64_t count, const char *what) {
    for (int64_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0) {
            ck_fail(ck, "%s: value %" PRId64 " is %.9g and %.9g", what, i, (double)a[i],
                    (double)b[i]);
            return;
        }
}

/* ------------------------------------------------------------------------------------- regions */

int64_t ck_region_count(const struct ck_region *region) {
    int64_t count = 1;

    for (int i = 0; i < region->rank; i++)
        count *= region->dim[i];
    return count;
}

uint64_t ck_region_at(const struct ck_region *region, int64_t i) {
    int64_t at = (int64_t)region->offset;

    for (int axis = region->rank - 1; axis >= 0; axis--) {
        at += i % region->dim[axis] * region->stride_bytes[axis];
        i /= region->dim[axis];
    }
    return (uint64_t)at;
}

double ck_value(const struct ck_region *region, const uint8_t *bytes, int64_t i) {
    const uint8_t *p = bytes + ck_region_at(region, i);
    unsigned code;

    if (!region->word)
        return kn_ref_load(p, region->dtype, 0);
    code = p[0] | (unsigned)p[1] << 8;
    /* bits below the code must be clear; a fraction shows when they are not */
    return (double)code / (1 << region->shift);
}

/* Rounding to 16 bit does not make a difference where nothing may differ. */
static double tolerance_for(const struct ck_region *region, double tolerance) {
    bool full = region->dtype == KN_F32 || region->dtype == KN_F64;

    return full || tolerance < 0 ? tolerance : fmax(tolerance, CK_HALF);
}

/* Codes may differ by one where a value lies on the edge between two. */
static void compare_codes(struct ck *ck, const struct ck_error *error, const char *what) {
    if (!(error->worst <= 1) || error->wrong > 1 + error->count / 200)
        ck_fail(ck, "%s: %" PRId64 " of %" PRId64 " codes differ, by at most %.3g", what,
                error->wrong, error->count, error->worst);
}

void ck_compare_outputs(struct ck_loaded *reference, struct ck_loaded *tested, double tolerance) {
    struct ck_memory *memory = reference->memory;

    for (int r = 0; r < memory->regions; r++) {
        const struct ck_region *region = &memory->region[r];
        struct ck_error error = {0};
        char what[48];
        if (region->role != CK_OUT && region->role != CK_INOUT)
            continue;
        snprintf(what, sizeof what, "output %d (%s)", r,
                 region->word ? "codes" : kn_dtype_name(region->dtype));
        for (int64_t i = 0; i < ck_region_count(region); i++)
            ck_error_add(&error, ck_value(region, reference->bytes[region->image], i),
                         ck_value(region, tested->bytes[region->image], i));
        if (region->word || region->dtype == KN_U8)
            compare_codes(memory->ck, &error, what);
        else
            ck_error_check(memory->ck, &error, tolerance_for(region, tolerance), what);
    }
}
