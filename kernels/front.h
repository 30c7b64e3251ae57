/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The validating front end: one function per struct of arguments, each a flat list of conditions.
 * The first condition that does not hold is written down and the others are skipped, so a check may
 * rely on all that stands above it.
 */
#ifndef KN_FRONT_H
#define KN_FRONT_H

#include "kn_internal.h"

struct kn_check {
    const char *label;
    struct kn_err *err;
    enum kn_status status;
};

void kn_refuse(struct kn_check *c, enum kn_status code, const char *format, ...) KN_PRINTF(3, 4);

/* The condition is evaluated only while all before it hold. */
#define KN_REQUIRE(c, condition, ...)                \
    do {                                             \
        if ((c)->status == KN_OK && !(condition))    \
            kn_refuse((c), KN_ERR_ARG, __VA_ARGS__); \
    } while (0)

/* Sets of types. */
#define KN_ONLY(dtype) (1u << (dtype))
#define KN_HALVES (KN_ONLY(KN_F16) | KN_ONLY(KN_BF16))
#define KN_FULL (KN_ONLY(KN_F32) | KN_ONLY(KN_F64))
#define KN_FLOATS (KN_FULL | KN_HALVES)
#define KN_ANY (KN_FLOATS | KN_ONLY(KN_U8))

#define KN_FREE (-1) /* an axis that may have any size */

static inline bool kn_given(const struct kn_tensor *t) {
    return t->rank != 0;
}

/* A tensor's dims as text, e.g. "(64, 12, 3, 3)". */
struct kn_text {
    char s[96];
};
struct kn_text kn_text_dims(int rank, const int64_t dim[KN_MAX_RANK]);

/* Memory: types, slot, strides, dims >= 1, extent. Every tensor goes through this first. */
void kn_check_tensor(struct kn_check *c, const char *name, const struct kn_tensor *t,
                     unsigned types);
/* The same for tensors that are written: their elements must have memory of their own. */
void kn_check_output(struct kn_check *c, const char *name, const struct kn_tensor *t,
                     unsigned types);
/* Parameters: f32, dense, in KN_SLOT_WEIGHTS. */
void kn_check_weight(struct kn_check *c, const char *name, const struct kn_tensor *t);
/* (frames, height, width, channels), dense inside a frame. */
void kn_check_image(struct kn_check *c, const char *name, const struct kn_tensor *t);
/* (rows, columns), rows apart. */
void kn_check_matrix(struct kn_check *c, const char *name, const struct kn_tensor *t);
/* Gradients of parameters: dense, in KN_SLOT_GRADS. */
void kn_check_grad(struct kn_check *c, const char *name, const struct kn_tensor *t);
/* A sum: one double in KN_SLOT_OUT. */
void kn_check_value(struct kn_check *c, const char *name, const struct kn_tensor *t);
/* count structs with that alignment in KN_SLOT_CONTROL; the dtype means nothing. */
void kn_check_entries(struct kn_check *c, const char *name, const struct kn_tensor *t,
                      int64_t count, size_t align);
/* (b) entries of struct kn_control, b dividing the batch; its dtype means nothing. */
void kn_check_control(struct kn_check *c, const struct kn_tensor *t, int64_t batch);

void kn_check_rank(struct kn_check *c, const char *name, const struct kn_tensor *t, int rank);
/* Dims must be those given; KN_FREE leaves an axis open. */
void kn_check_dims(struct kn_check *c, const char *name, const struct kn_tensor *t, int rank,
                   int64_t d0, int64_t d1, int64_t d2, int64_t d3);
void kn_check_same_dims(struct kn_check *c, const char *name, const struct kn_tensor *t,
                        const char *as_name, const struct kn_tensor *as);
void kn_check_same_type(struct kn_check *c, const char *name, const struct kn_tensor *t,
                        const char *as_name, const struct kn_tensor *as);
/* An output and another operand must not share memory; rank 0 is fine. */
void kn_check_apart(struct kn_check *c, const char *out_name, const struct kn_tensor *out,
                    const char *name, const struct kn_tensor *t);
/* The same, but both may be the very same tensor. */
void kn_check_apart_or_equal(struct kn_check *c, const char *out_name, const struct kn_tensor *out,
                             const char *name, const struct kn_tensor *t);

void kn_check_epsilon(struct kn_check *c, float epsilon);
void kn_check_video(struct kn_check *c, const struct kn_video *video);

/* One per struct of arguments. op tells clip and step apart. */
#define KN_CHECK(args) \
    void kn_check_##args(struct kn_check *c, enum kn_op op, const struct kn_##args##_args *a)
KN_CHECK(color_in);
KN_CHECK(color_out);
KN_CHECK(conv);
KN_CHECK(shift);
KN_CHECK(convert);
KN_CHECK(linear);
KN_CHECK(layer_norm);
KN_CHECK(gate);
KN_CHECK(gather);
KN_CHECK(scatter);
KN_CHECK(fenwick);
KN_CHECK(mesa);
KN_CHECK(zero);
KN_CHECK(relu_backward);
KN_CHECK(conv_backward_data);
KN_CHECK(conv_backward_weights);
KN_CHECK(shift_backward);
KN_CHECK(linear_backward_data);
KN_CHECK(linear_backward_weights);
KN_CHECK(layer_norm_backward);
KN_CHECK(gate_backward);
KN_CHECK(fenwick_backward);
KN_CHECK(mesa_backward);
KN_CHECK(noise);
KN_CHECK(mask);
KN_CHECK(mask_backward);
KN_CHECK(loss);
KN_CHECK(square_sum);
KN_CHECK(adamw);

#endif
