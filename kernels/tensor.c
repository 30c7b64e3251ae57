/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Types and strided views. */
#include "kn_internal.h"

#include "kn_size.h"

size_t kn_dtype_bytes(enum kn_dtype dtype) {
    static const size_t bytes[KN_DTYPE_COUNT] = {
        [KN_F32] = 4, [KN_F16] = 2, [KN_BF16] = 2, [KN_U8] = 1, [KN_F64] = 8};

    return (unsigned)dtype < KN_DTYPE_COUNT ? bytes[dtype] : 0;
}

const char *kn_dtype_name(enum kn_dtype dtype) {
    static const char *const name[KN_DTYPE_COUNT] = {[KN_F32] = "float32",
                                                     [KN_F16] = "float16",
                                                     [KN_BF16] = "bfloat16",
                                                     [KN_U8] = "uint8",
                                                     [KN_F64] = "float64"};

    return (unsigned)dtype < KN_DTYPE_COUNT ? name[dtype] : "unknown type";
}

struct kn_tensor kn_tensor_dense(enum kn_slot slot, uint64_t offset_bytes, enum kn_dtype dtype,
                                 int rank, const int64_t dim[KN_MAX_RANK]) {
    struct kn_tensor t = {.dtype = dtype, .slot = slot, .rank = rank, .offset_bytes = offset_bytes};
    /* unsigned, because dims are checked by recording only and may overflow here */
    uint64_t stride = 1;

    for (int i = (rank < KN_MAX_RANK ? rank : KN_MAX_RANK) - 1; i >= 0; i--) {
        t.dim[i] = dim[i];
        t.stride[i] = (int64_t)stride;
        stride *= (uint64_t)dim[i];
    }
    return t;
}

static bool rank_is_valid(const struct kn_tensor *t) {
    return t->rank >= 0 && t->rank <= KN_MAX_RANK;
}

bool kn_tensor_count(const struct kn_tensor *t, int64_t *count) {
    uint64_t n;

    if (!rank_is_valid(t) || !kn_size_product(t->dim, t->rank, &n) || n > INT64_MAX)
        return false;
    *count = t->rank == 0 ? 0 : (int64_t)n;
    return true;
}

bool kn_tensor_extent(const struct kn_tensor *t, uint64_t *bytes) {
    uint64_t last = 0, step;
    int64_t count;

    if (!kn_tensor_count(t, &count))
        return false;
    for (int i = 0; count > 0 && i < t->rank; i++)
        if (t->stride[i] < 0 ||
            !kn_size_mul((uint64_t)t->dim[i] - 1, (uint64_t)t->stride[i], &step) ||
            !kn_size_add(last, step, &last))
            return false;
    /* positions beyond INT64_MAX bytes cannot be addressed */
    if (count > 0 && (!kn_size_add(last, 1, &last) ||
                      !kn_size_mul(last, kn_dtype_bytes(t->dtype), &last) || last > INT64_MAX))
        return false;
    *bytes = last;
    return true;
}

const char *kn_slot_name(enum kn_slot slot) {
    static const char *const name[KN_SLOT_COUNT] = {[KN_SLOT_WEIGHTS] = "weights",
                                                    [KN_SLOT_WORK] = "work",
                                                    [KN_SLOT_PAST] = "past",
                                                    [KN_SLOT_PRESENT] = "present",
                                                    [KN_SLOT_CONTROL] = "control",
                                                    [KN_SLOT_IN] = "in",
                                                    [KN_SLOT_OUT] = "out",
                                                    [KN_SLOT_GRADS] = "gradients",
                                                    [KN_SLOT_OPTIMIZER] = "optimizer"};

    return (unsigned)slot < KN_SLOT_COUNT ? name[slot] : "unknown slot";
}
