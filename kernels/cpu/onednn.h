/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What convolutions and linear layers share of oneDNN. Compiled only where the library is there.
 *
 * A kn_dnnl is one primitive with its memory objects, made once in prepare; a run only moves their
 * handles. Scratchpads are the caller's. Thread-safety: one thread at a time, as for the exec that
 * owns it.
 */
#ifndef KN_CPU_ONEDNN_H
#define KN_CPU_ONEDNN_H

#include <dnnl.h>

#include "cpu.h"

/* Puts convolutions and matrix products into the table, and holds oneDNN to the instruction set. */
void kn_cpu_onednn_fill(struct kn_table *table, enum kn_cpu_isa isa, bool lowered);
/* "oneDNN 2.6.3" */
void kn_cpu_onednn_describe(char *text, size_t size);

extern const struct kn_kernel kn_cpu_conv, kn_cpu_linear;
extern const struct kn_kernel kn_cpu_conv_backward_data, kn_cpu_conv_backward_weights;
extern const struct kn_kernel kn_cpu_linear_backward_data, kn_cpu_linear_backward_weights;
/* The reference's kernel of an operation, for shapes and types that oneDNN lacks. */
const struct kn_kernel *kn_cpu_reference(enum kn_op op);

/* What happens to the product and bias before they are stored, in this order. */
struct kn_dnnl_post {
    bool sum;                      /* add what the output holds */
    const dnnl_memory_desc_t *add; /* add another tensor; NULL: none */
    bool relu;
};

/* The parameters of a primitive: where they lie in KN_SLOT_WEIGHTS. */
struct kn_dnnl_weights {
    struct kn_weights *arena;         /* NULL: the slot is bound for each run */
    const dnnl_memory_desc_t *layout; /* f32, of the part used */
    uint64_t offset_bytes;            /* of that part */
    bool bias;
    uint64_t bias_offset_bytes;
    dnnl_memory_desc_t bias_layout;
};

struct kn_dnnl {
    dnnl_primitive_t primitive;
    dnnl_memory_t src, dst, add, scratch, weights, bias;
    dnnl_exec_arg_t arg[6];
    int args;
    uint64_t scratch_bytes; /* a multiple of KN_ALIGN */
    bool uneven;            /* sums may depend on the number of threads that it was made for */
    /* for kn_dnnl_bind() */
    bool bound;
    uint64_t offset_bytes, bias_offset_bytes;
    uint64_t packed_bytes; /* a multiple of KN_ALIGN; 0: the parameters are used as they lie */
    dnnl_primitive_t pack;
    dnnl_memory_t unpacked;
};

/* The thread count that oneDNN plans and runs with; returns the one before, to be put back. */
int kn_dnnl_threads(int threads);
/*
 * Makes a primitive for an operation descriptor (convolution or matmul). KN_ERR_UNSUPPORTED when
 * oneDNN has none but its own reference. On failure nothing is left behind. weights NULL: an
 * operand like the others, for kn_dnnl_point().
 */
enum kn_status kn_dnnl_make(struct kn_dnnl *d, const_dnnl_op_desc_t descriptor,
                            const struct kn_dnnl_post *post, const struct kn_dnnl_weights *weights,
                            struct kn_err *err);
/*
 * Gives a primitive made without an arena the parameters of this run, before its first
 * kn_dnnl_run(); packed holds packed_bytes until after the last one. Else does nothing.
 */
enum kn_status kn_dnnl_bind(struct kn_dnnl *d, const struct kn_call *call, void *packed,
                            struct kn_err *err);
/*
 * The gradient of a convolution's parameters: src is the input and dst the output's gradient, which
 * kn_dnnl_run() reads; kn_dnnl_point() says where the gradients go, packed_bytes in a layout of the
 * library's own, from which kn_dnnl_add() adds them to f32 in the layout "to".
 */
enum kn_status kn_dnnl_make_gradient(struct kn_dnnl *d, const dnnl_convolution_desc_t *forward,
                                     const dnnl_convolution_desc_t *backward,
                                     const dnnl_memory_desc_t *to, bool bias, struct kn_err *err);
enum kn_status kn_dnnl_point(struct kn_dnnl *d, const void *weights, const void *bias,
                             struct kn_err *err);
enum kn_status kn_dnnl_add(struct kn_dnnl *d, const void *gradient, void *to, struct kn_err *err);
/* add is ignored where the primitive adds nothing; scratch holds scratch_bytes. */
enum kn_status kn_dnnl_run(struct kn_dnnl *d, const void *src, const void *add, void *dst,
                           void *scratch, struct kn_err *err);
void kn_dnnl_clear(struct kn_dnnl *d); /* also one that was never made */

/*
 * Rows of any floating type to dense f32 rows and back: how types that oneDNN does not know on this
 * processor get through it.
 */
struct kn_cpu_rows {
    void *data;
    enum kn_dtype dtype;
    int64_t rows, columns, stride;
};
void kn_cpu_widen(float *to, struct kn_cpu_rows from, int threads);
void kn_cpu_narrow(struct kn_cpu_rows to, const float *from, int threads);

/* False where adding another tensor in a convolution gives wrong sums: version 2.6 before AVX2. */
bool kn_dnnl_adds(void);
/* False for a type that oneDNN does not know on the CPU. */
bool kn_dnnl_type(enum kn_dtype dtype, dnnl_data_type_t *type);
enum kn_status kn_dnnl_fail(struct kn_err *err, dnnl_status_t status, const char *what);

#endif
