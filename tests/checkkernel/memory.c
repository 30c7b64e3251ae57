/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The bytes of a case: tensors between guard bands. */
#include "checkkernel.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ref/ref.h"

#define GUARD 64 /* bytes between neighbours */

void *ck_alloc(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);

    if (!p) {
        fprintf(stderr, "checkkernel: no memory for %zu times %zu bytes\n", count, size);
        exit(2);
    }
    return p;
}

struct ck_memory *ck_memory_new(struct ck *ck) {
    struct ck_memory *memory = ck_alloc(1, sizeof *memory);

    memory->ck = ck;
    /* every slot has an address, so that a needless access is seen and not a crash */
    for (int i = 0; i < CK_IMAGES; i++)
        ck_reserve(memory, i, 4, false);
    return memory;
}

void ck_memory_free(struct ck_memory *memory) {
    if (!memory)
        return;
    for (int i = 0; i < CK_IMAGES; i++) {
        free(memory->image[i].bytes);
        free(memory->image[i].role);
    }
    free(memory);
}

/* A pattern that is NaN in every floating-point type, at any even address. */
static void guard_fill(uint8_t *bytes, uint64_t from, uint64_t to) {
    for (uint64_t i = from; i < to; i++)
        bytes[i] = i % 2 ? 0xff : 0xc5;
}

uint64_t ck_reserve(struct ck_memory *memory, int image, uint64_t bytes, bool skew) {
    struct ck_image *m = &memory->image[image];
    uint64_t offset = (m->size + GUARD + 63) / 64 * 64, size;

    if (skew)
        offset += 4 * (ck_random(memory->ck) % 4); /* tensors need no more than their own type's */
    size = offset + bytes + GUARD;
    m->bytes = realloc(m->bytes, size);
    m->role = realloc(m->role, size);
    if (!m->bytes || !m->role) {
        fprintf(stderr, "checkkernel: no memory for %llu bytes\n", (unsigned long long)size);
        exit(2);
    }
    guard_fill(m->bytes, m->size, size);
    memset(m->role + m->size, CK_IN, size - m->size);
    m->size = size;
    return offset;
}

static size_t element_bytes(const struct ck_region *region) {
    return region->word ? 2 : kn_dtype_bytes(region->dtype);
}

void ck_region_add(struct ck_memory *memory, const struct ck_region *region) {
    int64_t count = ck_region_count(region);

    if (memory->regions == CK_MAX_REGIONS) {
        fprintf(stderr, "checkkernel: a case has more than %d tensors\n", CK_MAX_REGIONS);
        exit(2);
    }
    memory->region[memory->regions++] = *region;
    for (int64_t i = 0; i < count; i++)
        memset(memory->image[region->image].role + ck_region_at(region, i), region->role,
               element_bytes(region));
}

/* ------------------------------------------------------------------------------------- tensors */

static void fill_normal(struct ck_memory *memory, const struct ck_region *region, double scale) {
    uint8_t *bytes = memory->image[region->image].bytes;
    int64_t count = ck_region_count(region);

    for (int64_t i = 0; i < count; i++) {
        double value = region->dtype == KN_U8 ? (double)ck_below(memory->ck, 256)
                                              : scale * ck_normal(memory->ck);
        kn_ref_store(bytes + ck_region_at(region, i), region->dtype, 0, value);
    }
}

static struct kn_tensor add(struct ck_memory *memory, struct kn_tensor t, enum ck_role role,
                            double scale, bool skew) {
    struct ck_region region = {
        .role = role, .image = (int)t.slot, .dtype = t.dtype, .rank = t.rank};
    int64_t bytes = (int64_t)kn_dtype_bytes(t.dtype), extent = bytes;

    for (int i = 0; i < t.rank; i++) {
        region.dim[i] = t.dim[i];
        region.stride_bytes[i] = t.stride[i] * bytes;
        extent += (t.dim[i] - 1) * region.stride_bytes[i];
    }
    t.offset_bytes = ck_reserve(memory, region.image, (uint64_t)extent, skew && t.dtype != KN_F64);
    region.offset = t.offset_bytes;
    ck_region_add(memory, &region);
    if (role != CK_OUT)
        fill_normal(memory, &region, scale);
    return t;
}

/* dim holds no more than rank values. */
static struct kn_tensor dense(enum kn_slot slot, enum kn_dtype dtype, int rank,
                              const int64_t *dim) {
    int64_t all[KN_MAX_RANK] = {0};

    memcpy(all, dim, (size_t)rank * sizeof *dim);
    return kn_tensor_dense(slot, 0, dtype, rank, all);
}

struct kn_tensor ck_tensor(struct ck_memory *memory, enum ck_role role, enum kn_slot slot,
                           enum kn_dtype dtype, int64_t pad, int rank, const int64_t *dim) {
    struct kn_tensor t = dense(slot, dtype, rank, dim);

    for (int i = rank - 2; i >= 0; i--)
        t.stride[i] = i == rank - 2 ? dim[i + 1] + pad : dim[i + 1] * t.stride[i + 1];
    return add(memory, t, role, 1, true);
}

struct kn_tensor ck_image(struct ck_memory *memory, enum ck_role role, enum kn_slot slot,
                          enum kn_dtype dtype, int64_t gap, const int64_t *dim) {
    struct kn_tensor t = kn_tensor_dense(slot, 0, dtype, 4, dim);

    t.stride[0] += gap;
    return add(memory, t, role, 1, true);
}

struct kn_tensor ck_weight(struct ck_memory *memory, double scale, int rank, const int64_t *dim) {
    return add(memory, dense(KN_SLOT_WEIGHTS, KN_F32, rank, dim), CK_IN, scale, true);
}

void ck_round(struct ck_memory *memory, const struct kn_tensor *t, enum kn_dtype dtype) {
    float *values = (float *)(void *)(memory->image[t->slot].bytes + t->offset_bytes);
    int64_t count = 1;

    for (int i = 0; i < t->rank; i++)
        count *= t->dim[i];
    for (int64_t i = 0; i < count; i++)
        if (dtype == KN_BF16)
            values[i] = kn_ref_bf16_decode(kn_ref_bf16_encode(values[i]));
        else if (dtype == KN_F16)
            values[i] = kn_ref_f16_decode(kn_ref_f16_encode(values[i]));
}

struct kn_tensor ck_control(struct ck_memory *memory, bool reset) {
    const int64_t one[KN_MAX_RANK] = {1};
    struct kn_control control = {.t = 5, .cg_tolerance = 1e-3f, .cg_iterations = 30};
    struct kn_tensor t = kn_tensor_dense(KN_SLOT_CONTROL, 0, KN_U8, 1, one);

    control.reset = reset;
    t.offset_bytes = ck_reserve(memory, KN_SLOT_CONTROL, sizeof control, false);
    memcpy(memory->image[KN_SLOT_CONTROL].bytes + t.offset_bytes, &control, sizeof control);
    return t;
}

void *ck_at(struct ck_memory *memory, const struct kn_tensor *t, int64_t a, int64_t b, int64_t c,
            int64_t d) {
    const int64_t index[KN_MAX_RANK] = {a, b, c, d};
    int64_t at = 0;

    for (int i = 0; i < t->rank; i++)
        at += index[i] * t->stride[i];
    return memory->image[t->slot].bytes + t->offset_bytes + (uint64_t)at * kn_dtype_bytes(t->dtype);
}
