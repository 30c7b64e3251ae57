/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conditions that several operations share. */
#include "front.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "kn_size.h"

void kn_refuse(struct kn_check *c, enum kn_status code, const char *format, ...) {
    char msg[200];
    va_list args;

    va_start(args, format);
    vsnprintf(msg, sizeof msg, format, args);
    va_end(args);
    c->status = kn_fail(c->err, code, "%s: %s", c->label, msg);
}

struct kn_text kn_text_dims(int rank, const int64_t dim[KN_MAX_RANK]) {
    struct kn_text text = {"("};
    size_t at = 1;

    for (int i = 0; i < rank && i < KN_MAX_RANK; i++)
        at += (size_t)snprintf(text.s + at, sizeof text.s - at, "%s%" PRId64, i > 0 ? ", " : "",
                               dim[i]);
    snprintf(text.s + at, sizeof text.s - at, ")");
    return text;
}

static struct kn_text dims(const struct kn_tensor *t) {
    return kn_text_dims(t->rank, t->dim);
}

static bool dims_are_positive(const struct kn_tensor *t) {
    for (int i = 0; i < t->rank; i++)
        if (t->dim[i] < 1)
            return false;
    return true;
}

static bool strides_are_valid(const struct kn_tensor *t) {
    for (int i = 0; i < t->rank; i++)
        if (t->stride[i] < 0)
            return false;
    return t->stride[t->rank - 1] == 1;
}

/* Offset and extent together must be countable, and every element aligned. */
static void check_place(struct kn_check *c, const char *name, const struct kn_tensor *t) {
    uint64_t bytes, end;

    KN_REQUIRE(c, t->offset_bytes % kn_dtype_bytes(t->dtype) == 0,
               "%s lies at byte %" PRIu64 ", must be a multiple of its element's %zu", name,
               t->offset_bytes, kn_dtype_bytes(t->dtype));
    if (c->status == KN_OK && (!kn_tensor_extent(t, &bytes) ||
                               !kn_size_add(t->offset_bytes, bytes, &end) || end > INT64_MAX))
        kn_refuse(c, KN_ERR_RANGE, "%s is %s with strides %s at byte %" PRIu64 ", which overflows",
                  name, dims(t).s, kn_text_dims(t->rank, t->stride).s, t->offset_bytes);
}

void kn_check_tensor(struct kn_check *c, const char *name, const struct kn_tensor *t,
                     unsigned types) {
    KN_REQUIRE(c, t->rank != 0, "%s is missing", name);
    KN_REQUIRE(c, t->rank >= 1 && t->rank <= KN_MAX_RANK, "%s has rank %d, must be 1 to %d", name,
               t->rank, KN_MAX_RANK);
    KN_REQUIRE(c, (unsigned)t->slot < KN_SLOT_COUNT, "%s lies in slot %d, there are 0 to %d", name,
               (int)t->slot, KN_SLOT_COUNT - 1);
    KN_REQUIRE(c, (unsigned)t->dtype < KN_DTYPE_COUNT && (types >> t->dtype & 1) != 0,
               "%s is %s, which is no type for it", name, kn_dtype_name(t->dtype));
    KN_REQUIRE(c, dims_are_positive(t), "%s is %s, every axis must be >= 1", name, dims(t).s);
    KN_REQUIRE(c, strides_are_valid(t), "%s has strides %s, must be >= 0 and the last one 1", name,
               kn_text_dims(t->rank, t->stride).s);
    check_place(c, name, t);
}

/* From the innermost axis outwards, each stride must step over all that lies inside it. */
static bool elements_are_distinct(const struct kn_tensor *t) {
    bool used[KN_MAX_RANK] = {false};
    uint64_t span = 1; /* elements from the first to the last of the axes seen so far */

    for (int round = 0; round < t->rank; round++) {
        int next = -1;
        for (int i = 0; i < t->rank; i++)
            if (!used[i] && t->dim[i] > 1 && (next < 0 || t->stride[i] < t->stride[next]))
                next = i;
        if (next < 0)
            return true;
        if ((uint64_t)t->stride[next] < span)
            return false;
        span += (uint64_t)t->stride[next] * ((uint64_t)t->dim[next] - 1);
        used[next] = true;
    }
    return true;
}

void kn_check_output(struct kn_check *c, const char *name, const struct kn_tensor *t,
                     unsigned types) {
    kn_check_tensor(c, name, t, types);
    KN_REQUIRE(c, t->slot != KN_SLOT_WEIGHTS && t->slot != KN_SLOT_CONTROL,
               "%s is written and lies in slot %s, which is only read", name,
               kn_slot_name(t->slot));
    KN_REQUIRE(c, elements_are_distinct(t), "%s is %s with strides %s: its elements overlap", name,
               dims(t).s, kn_text_dims(t->rank, t->stride).s);
}

static bool is_dense(const struct kn_tensor *t, int from) {
    int64_t stride = 1;

    for (int i = t->rank - 1; i >= from; i--) {
        if (t->stride[i] != stride)
            return false;
        stride *= t->dim[i];
    }
    return true;
}

void kn_check_weight(struct kn_check *c, const char *name, const struct kn_tensor *t) {
    kn_check_tensor(c, name, t, KN_FULL);
    KN_REQUIRE(c, t->slot == KN_SLOT_WEIGHTS, "%s lies in slot %s, must be in weights", name,
               kn_slot_name(t->slot));
    KN_REQUIRE(c, is_dense(t, 0), "%s is %s with strides %s, must be dense", name, dims(t).s,
               kn_text_dims(t->rank, t->stride).s);
}

void kn_check_grad(struct kn_check *c, const char *name, const struct kn_tensor *t) {
    kn_check_output(c, name, t, KN_FULL);
    KN_REQUIRE(c, t->slot == KN_SLOT_GRADS, "%s lies in slot %s, must be in gradients", name,
               kn_slot_name(t->slot));
    KN_REQUIRE(c, is_dense(t, 0), "%s is %s with strides %s, must be dense", name, dims(t).s,
               kn_text_dims(t->rank, t->stride).s);
}

void kn_check_value(struct kn_check *c, const char *name, const struct kn_tensor *t) {
    kn_check_output(c, name, t, KN_ONLY(KN_F64));
    kn_check_dims(c, name, t, 1, 1, 0, 0, 0);
    KN_REQUIRE(c, t->slot == KN_SLOT_OUT, "%s lies in slot %s, must be in out", name,
               kn_slot_name(t->slot));
}

void kn_check_image(struct kn_check *c, const char *name, const struct kn_tensor *t) {
    kn_check_rank(c, name, t, 4);
    KN_REQUIRE(c, is_dense(t, 1), "%s is %s with strides %s, a frame must be dense", name,
               dims(t).s, kn_text_dims(t->rank, t->stride).s);
}

void kn_check_matrix(struct kn_check *c, const char *name, const struct kn_tensor *t) {
    kn_check_rank(c, name, t, 2);
    KN_REQUIRE(c, t->dim[0] == 1 || t->stride[0] >= t->dim[1],
               "%s is %s with strides %s: its rows overlap", name, dims(t).s,
               kn_text_dims(t->rank, t->stride).s);
}

/* One axis of structs that the host writes. */
static void check_structs(struct kn_check *c, const char *name, const struct kn_tensor *t,
                          size_t align) {
    KN_REQUIRE(c, t->rank == 1, "%s has rank %d, must be 1", name, t->rank);
    KN_REQUIRE(c, t->slot == KN_SLOT_CONTROL, "%s lies in slot %d, must be in control", name,
               (int)t->slot);
    KN_REQUIRE(c, t->dim[0] >= 1, "%s has %" PRId64 " entries, must be >= 1", name, t->dim[0]);
    KN_REQUIRE(c, t->stride[0] == 1, "%s has stride %" PRId64 ", must be 1", name, t->stride[0]);
    KN_REQUIRE(c, t->offset_bytes % align == 0,
               "%s lies at byte %" PRIu64 ", must be a multiple of %zu", name, t->offset_bytes,
               align);
    KN_REQUIRE(c, t->offset_bytes <= INT64_MAX, "%s lies at byte %" PRIu64, name, t->offset_bytes);
}

void kn_check_entries(struct kn_check *c, const char *name, const struct kn_tensor *t,
                      int64_t count, size_t align) {
    check_structs(c, name, t, align);
    KN_REQUIRE(c, t->dim[0] == count, "%s has %" PRId64 " entries, must be %" PRId64, name,
               t->dim[0], count);
}

void kn_check_control(struct kn_check *c, const struct kn_tensor *t, int64_t batch) {
    check_structs(c, "control", t, _Alignof(struct kn_control));
    KN_REQUIRE(c, batch % t->dim[0] == 0,
               "control has %" PRId64 " entries, which must divide a batch of %" PRId64, t->dim[0],
               batch);
}

void kn_check_rank(struct kn_check *c, const char *name, const struct kn_tensor *t, int rank) {
    KN_REQUIRE(c, t->rank == rank, "%s is %s, must have %d axes", name, dims(t).s, rank);
}

void kn_check_dims(struct kn_check *c, const char *name, const struct kn_tensor *t, int rank,
                   int64_t d0, int64_t d1, int64_t d2, int64_t d3) {
    const int64_t want[KN_MAX_RANK] = {d0, d1, d2, d3};

    kn_check_rank(c, name, t, rank);
    for (int i = 0; i < rank; i++)
        KN_REQUIRE(c, want[i] == KN_FREE || t->dim[i] == want[i],
                   "%s is %s, axis %d must be %" PRId64, name, dims(t).s, i, want[i]);
}

void kn_check_same_dims(struct kn_check *c, const char *name, const struct kn_tensor *t,
                        const char *as_name, const struct kn_tensor *as) {
    KN_REQUIRE(c, t->rank == as->rank, "%s is %s, must be as %s, which is %s", name, dims(t).s,
               as_name, dims(as).s);
    for (int i = 0; c->status == KN_OK && i < t->rank; i++)
        KN_REQUIRE(c, t->dim[i] == as->dim[i], "%s is %s, must be as %s, which is %s", name,
                   dims(t).s, as_name, dims(as).s);
}

void kn_check_same_type(struct kn_check *c, const char *name, const struct kn_tensor *t,
                        const char *as_name, const struct kn_tensor *as) {
    KN_REQUIRE(c, t->dtype == as->dtype, "%s is %s, must be as %s, which is %s", name,
               kn_dtype_name(t->dtype), as_name, kn_dtype_name(as->dtype));
}

void kn_check_epsilon(struct kn_check *c, float epsilon) {
    KN_REQUIRE(c, epsilon > 0 && isfinite(epsilon), "epsilon is %g, must be > 0", (double)epsilon);
}

/* ------------------------------------------------------------------------------------- overlaps */

/*
 * Bytes that t spans inside one pitch, its axes being either multiples of the pitch or smaller.
 * False when it has an axis that is neither.
 */
static bool span_in_pitch(const struct kn_tensor *t, uint64_t pitch, uint64_t *bytes) {
    struct kn_tensor inner = *t;

    for (int i = 0; i < t->rank; i++) {
        const uint64_t step = (uint64_t)t->stride[i] * kn_dtype_bytes(t->dtype);
        if (t->dim[i] == 1 || step < pitch)
            continue;
        if (step % pitch != 0)
            return false;
        inner.dim[i] = 1;
    }
    return kn_tensor_extent(&inner, bytes);
}

/* Within the pitch, from a's first byte on: a ends before b begins, and b before a comes again. */
static bool apart_in_pitch(const struct kn_tensor *a, const struct kn_tensor *b, uint64_t pitch) {
    const uint64_t gap = (b->offset_bytes % pitch + pitch - a->offset_bytes % pitch) % pitch;
    uint64_t bytes_a, bytes_b;

    if (!span_in_pitch(a, pitch, &bytes_a) || !span_in_pitch(b, pitch, &bytes_b))
        return false;
    return bytes_a <= gap && bytes_b <= pitch - gap;
}

/* Views of different columns of one matrix interleave without sharing an element. */
static bool interleave(const struct kn_tensor *a, const struct kn_tensor *b) {
    for (int i = 0; i < a->rank; i++) {
        const uint64_t pitch = (uint64_t)a->stride[i] * kn_dtype_bytes(a->dtype);
        if (a->dim[i] > 1 && pitch > 0 && apart_in_pitch(a, b, pitch))
            return true;
    }
    return false;
}

static bool overlap(const struct kn_tensor *a, const struct kn_tensor *b) {
    uint64_t bytes_a, bytes_b;

    if (a->slot != b->slot || !kn_tensor_extent(a, &bytes_a) || !kn_tensor_extent(b, &bytes_b))
        return false;
    if (a->offset_bytes + bytes_a <= b->offset_bytes ||
        b->offset_bytes + bytes_b <= a->offset_bytes)
        return false;
    return !interleave(a, b) && !interleave(b, a);
}

static bool is_same_view(const struct kn_tensor *a, const struct kn_tensor *b) {
    if (a->slot != b->slot || a->offset_bytes != b->offset_bytes || a->dtype != b->dtype ||
        a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i] || (a->dim[i] > 1 && a->stride[i] != b->stride[i]))
            return false;
    return true;
}

void kn_check_apart(struct kn_check *c, const char *out_name, const struct kn_tensor *out,
                    const char *name, const struct kn_tensor *t) {
    if (kn_given(t))
        KN_REQUIRE(c, !overlap(out, t), "%s overlaps %s in slot %s", out_name, name,
                   kn_slot_name(t->slot));
}

void kn_check_apart_or_equal(struct kn_check *c, const char *out_name, const struct kn_tensor *out,
                             const char *name, const struct kn_tensor *t) {
    if (c->status == KN_OK && kn_given(t) && !is_same_view(out, t))
        kn_check_apart(c, out_name, out, name, t);
}
