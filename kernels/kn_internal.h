/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the front end and the devices of kernels/ share. Not installed.
 *
 * A device is a struct kn_backend. The two host devices ("ref", "cpu") are both host.c over a table
 * of kernels: one struct kn_kernel per operation. "cpu" starts from the reference's table and
 * overlays it (kn_ref_fill, then kn_cpu_fill), so a table is never half filled and a new kernel is
 * one line.
 */
#ifndef KN_INTERNAL_H
#define KN_INTERNAL_H

#include <stdatomic.h>

#include "kn.h"

#define KN_ALIGN 256 /* bytes, of every buffer */
#define KN_ABI 1     /* of struct kn_backend; a module with another one is refused */

/* Writes a failure and returns its code, so that "return kn_fail(...)" is the whole error path. */
enum kn_status kn_fail(struct kn_err *err, enum kn_status code, const char *format, ...)
    KN_PRINTF(3, 4);
/* The same for memory: fills wanted_bytes. */
enum kn_status kn_fail_nomem(struct kn_err *err, uint64_t wanted_bytes, const char *what);

/* The same with the bytes that are free in the memory in question; 0: not known. */
enum kn_status kn_fail_memory(struct kn_err *err, uint64_t wanted, uint64_t available,
                              const char *what);
/* Puts a node's label in front of the message of a failure, unless it is there. Returns code. */
enum kn_status kn_fail_in(struct kn_err *err, enum kn_status code, const char *label);

/* for use where err is at hand and a label "fail:" cleans up */
#define KN_TRY(call)         \
    do {                     \
        status = (call);     \
        if (status != KN_OK) \
            goto fail;       \
    } while (0)

/* "work", "past" ...; static storage. */
const char *kn_slot_name(enum kn_slot slot);

/* -------------------------------------------------------------------------------------- memory */

/* Bytes that this process may still use, by the kernel and the control group; 0: not known. */
uint64_t kn_host_available(void);
/* Zeroed, KN_ALIGN aligned; freed with free(). Refused when more than kn_host_available(). */
enum kn_status kn_host_alloc(uint64_t bytes, const char *what, void **address, struct kn_err *err);

/* ------------------------------------------------------------------------------------- programs */

#define KN_MAX_OPERANDS 16 /* tensors of one operation */

/* The tensors of a node that are not left out; returns how many. */
int kn_node_tensors(const struct kn_node *node, const struct kn_tensor *tensor[KN_MAX_OPERANDS]);
/* Bit s is set when a run of the node reads or writes slot s. */
uint32_t kn_node_slots(const struct kn_node *node);
/* Appends a checked operation. label fits in kn_node.label, args in kn_node.args. */
enum kn_status kn_program_append(struct kn_program *program, enum kn_op op, const char *label,
                                 const void *args, size_t bytes, struct kn_err *err);

/* ------------------------------------------------------------------------------------- kernels */

/* What a kernel sees of a run. Scratch is the exec's, sized as its prepare asked, KN_ALIGN aligned.
 */
struct kn_call {
    void *const *base; /* addresses of the slots, KN_SLOT_WEIGHTS included */
    void *scratch;
    void *plan; /* what prepare made, or NULL */
    struct kn_dev *dev;
    int threads; /* how many a kernel may use */
};

static inline void *kn_at(const struct kn_call *call, const struct kn_tensor *t) {
    return (char *)call->base[t->slot] + t->offset_bytes;
}

/* What prepare is given and what it leaves. */
struct kn_prepare {
    struct kn_dev *dev;
    struct kn_weights *weights; /* host address of its data: kn_weights_data(); NULL: bound per run,
                                   so nothing may be packed before */
    int threads;
    void *plan;             /* out: freed by the kernel's release */
    uint64_t scratch_bytes; /* out: scratch wanted at run time */
};

/* One operation of a host device; args is the operation's struct inside the node. */
struct kn_kernel {
    /* optional: makes primitives, packs weights, asks for scratch. KN_ERR_UNSUPPORTED: shape not
     * for me */
    enum kn_status (*prepare)(struct kn_prepare *prepare, const struct kn_node *node,
                              struct kn_err *err);
    enum kn_status (*run)(const struct kn_call *call, const void *args, struct kn_err *err);
    void (*release)(void *plan); /* optional, given exactly when prepare makes a plan */
    /* Fenwick and Mesa only: bytes of state per stream; false on overflow */
    bool (*state_bytes)(const void *args, uint64_t *bytes);
};

struct kn_table {
    struct kn_kernel kernel[KN_OP_COUNT];
};

/* The reference: fills every entry. */
void kn_ref_fill(struct kn_table *table);

/* ------------------------------------------------------------------------------------- devices */

struct kn_backend {
    uint32_t abi;        /* KN_ABI */
    uint32_t size_bytes; /* of this struct */
    const char *name;
    enum kn_status (*open)(struct kn_dev *dev, const struct kn_dev_params *params,
                           struct kn_err *err);
    void (*close)(struct kn_dev *dev);
    enum kn_status (*alloc)(struct kn_dev *dev, uint64_t bytes, void **address,
                            struct kn_err *err); /* zeroed */
    void (*release)(struct kn_dev *dev, void *address);
    enum kn_status (*write)(struct kn_dev *dev, void *to, const void *from, uint64_t bytes,
                            struct kn_err *err);
    enum kn_status (*read)(struct kn_dev *dev, void *to, const void *from, uint64_t bytes,
                           struct kn_err *err);
    enum kn_status (*copy)(struct kn_dev *dev, void *to, const void *from, uint64_t bytes,
                           struct kn_err *err);
    bool (*state_bytes)(const struct kn_dev *dev, const struct kn_node *node, uint64_t *bytes);
    enum kn_status (*stream_open)(struct kn_stream *stream, struct kn_err *err);
    void (*stream_close)(struct kn_stream *stream);
    enum kn_status (*sync)(struct kn_stream *stream, struct kn_err *err);
    enum kn_status (*exec_open)(struct kn_exec *exec, const struct kn_program *program,
                                struct kn_err *err);
    void (*exec_close)(struct kn_exec *exec);
    enum kn_status (*run)(struct kn_exec *exec, struct kn_stream *stream,
                          const struct kn_bindings *bindings, struct kn_err *err);
    uint64_t (*memory)(const struct kn_dev *dev);
    /* optional */
    void (*profile)(const struct kn_exec *exec, size_t i, struct kn_profile *profile);
};

struct kn_dev {
    const struct kn_backend *backend;
    struct kn_dev_info info;
    void *priv; /* the backend's */
};

struct kn_buf {
    struct kn_dev *dev;
    void *address;
    uint64_t bytes;
};

/* KN_ERR_RANGE unless the range lies inside the buffer. */
enum kn_status kn_buf_check(const struct kn_buf *buf, uint64_t offset, uint64_t bytes,
                            struct kn_err *err);

struct kn_stream {
    struct kn_dev *dev;
    atomic_bool cancelled; /* kn_stream_cancel() */
    void *priv;
};

struct kn_exec {
    struct kn_dev *dev;
    struct kn_weights *weights; /* NULL: the program uses none */
    uint64_t scratch_bytes;
    uint32_t slots; /* kn_node_slots() of all nodes */
    void *priv;
};

/* host.c: the two devices that run a table of kernels on ordinary memory. */
extern const struct kn_backend kn_ref_backend;
extern const struct kn_backend kn_cpu_backend;

/*
 * cpu/cpu.c. Opening chooses the instruction set (KN_CPU_ISA=baseline|avx2|avx512 lowers it, for
 * tests) and overlays the table; kn_cpu_describe says what was chosen.
 */
struct kn_cpu_traits {
    char description[160];
    bool fast_bf16;
};
void kn_cpu_fill(struct kn_table *table, struct kn_cpu_traits *traits, int threads);

/* ------------------------------------------------------------------------------------- weights */

/* Host devices: the f32 parameters. */
const void *kn_weights_data(const struct kn_weights *weights);
const struct kn_buf *kn_weights_buf(const struct kn_weights *weights);

/*
 * A packed form of part of the weights, made once per key by make() and shared by every exec; freed
 * with the weights by drop(). The key must say everything the form depends on (offset and layout).
 * make() runs under the weights' lock, so it must not pack in turn; on failure it leaves nothing.
 * *packed is valid as long as the weights and is left alone on failure.
 */
struct kn_packed {
    void *data;
    uint64_t bytes;
    void (*drop)(void *data);
};
enum kn_status kn_weights_pack(struct kn_weights *weights, const char *key,
                               enum kn_status (*make)(struct kn_packed *packed, void *user,
                                                      struct kn_err *err),
                               void *user, const struct kn_packed **packed, struct kn_err *err);

#endif
