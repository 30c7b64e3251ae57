/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The kernel harness: every operation of kn.h on a tested device against the reference, on the same
 * random inputs, inside guard bands, with outputs poisoned before each run.
 *
 * A case is a struct ck_memory (the bytes of every slot, and which of them an operation may write)
 * and one operation. Operations with a state are played in pieces: see sequence.h.
 */
#ifndef CHECKKERNEL_H
#define CHECKKERNEL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kn.h"

#define CK_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CK_PRINTF(f, a) __attribute__((format(printf, f, a)))

#define CK_F32 1e-10   /* NMSE that float32 may differ by: relative error 1e-5 */
#define CK_HALF 1e-6   /* the same for results stored in 16 bit: both sides round the same sums */
#define CK_PACKED 1e-4 /* where a device may round float32 parameters to the type of the input */
#define CK_EXACT -1.0  /* nothing may differ */

/* ------------------------------------------------------------------------------------- harness */

/* Faults that the self-test plants in what the tested device returned, or in what it was told. */
enum ck_fault {
    CK_SOUND,
    CK_FAULT_VALUE,     /* one output element is a little off */
    CK_FAULT_NAN,       /* one output element is NaN */
    CK_FAULT_UNWRITTEN, /* one output element keeps what was there before */
    CK_FAULT_GUARD,     /* a byte behind an output is overwritten */
    CK_FAULT_INPUT,     /* a byte of an input is overwritten */
    CK_FAULT_ARGS,      /* the first way of ck_sabotage_NAME(); more follow */
};

struct ck {
    struct kn_dev *ref, *dev; /* the same device in the self-test */
    struct kn_dev *other;     /* as dev, with another number of threads */
    bool verbose, slow, quick, quiet;
    int fault;
    int planted;        /* how often the fault could be planted */
    bool refused;       /* wrong arguments were not even recorded, so nothing was compared */
    const char *preset; /* of the benchmarks; NULL: all */
    uint64_t random;

    char label[160]; /* of the case under way */
    bool failing;    /* the case under way has failed */
    unsigned cases, failed;
    double worst; /* NMSE over all cases; mode grad: relative error */
};

/*
 * Starts a case: what follows belongs to it until the next one. False when enough cases have run (a
 * quick run needs one of each kind only): the caller then skips it.
 */
bool ck_begin(struct ck *ck, const char *format, ...) CK_PRINTF(2, 3);
/* Closes the last case of an operation. */
void ck_end(struct ck *ck);
/* Says why the case under way fails. */
void ck_fail(struct ck *ck, const char *format, ...) CK_PRINTF(2, 3);
/* Fails the case when ok is false. */
void ck_want(struct ck *ck, bool ok, const char *format, ...) CK_PRINTF(3, 4);

/* Memory that must be had: says so and exits otherwise. Zeroed. */
void *ck_alloc(size_t count, size_t size);

/* ------------------------------------------------------------------------------ random numbers */

uint64_t ck_random(struct ck *ck);
int64_t ck_below(struct ck *ck, int64_t n); /* 0 .. n - 1 */
double ck_uniform(struct ck *ck);           /* 0 .. 1 */
double ck_normal(struct ck *ck);

/* -------------------------------------------------------------------------------------- memory */

/* The slots, and memory that slots point to. */
enum ck_image_id {
    CK_PICTURES_IN = KN_SLOT_COUNT, /* the samples behind KN_SLOT_IN */
    CK_PICTURES_OUT,                /* ... and behind KN_SLOT_OUT */
    CK_IMAGES
};

enum ck_role {
    CK_IN,     /* must be the same after a run */
    CK_OUT,    /* every element must be written */
    CK_INOUT,  /* input and output in one */
    CK_SCRATCH /* may be written, is not compared */
};

/* Something of regular shape inside an image: a tensor, or the samples of a component. */
struct ck_region {
    enum ck_role role;
    int image;
    uint64_t offset;
    bool word;           /* codes of 16 bit, shifted */
    int shift;           /* of codes */
    enum kn_dtype dtype; /* where word is false */
    int rank;
    int64_t dim[KN_MAX_RANK];
    int64_t stride_bytes[KN_MAX_RANK]; /* may be negative */
};

struct ck_image {
    uint8_t *bytes;
    uint8_t *role; /* one per byte, enum ck_role; guard bands count as CK_IN */
    uint64_t size;
};

#define CK_MAX_REGIONS 32
#define CK_MAX_POINTERS 64

struct ck_memory {
    struct ck *ck;
    struct ck_image image[CK_IMAGES];
    struct ck_region region[CK_MAX_REGIONS];
    int regions;
    struct ck_pointer { /* an address to be written into an image when it is loaded */
        int image, target;
        uint64_t offset, target_offset;
    } pointer[CK_MAX_POINTERS];
    int pointers;
    bool bound; /* parameters are bound for each run, not given when compiling */
};

struct ck_memory *ck_memory_new(struct ck *ck);
void ck_memory_free(struct ck_memory *memory);

/*
 * Reserves bytes in an image behind a guard band and returns their offset; they are inputs until
 * said otherwise.
 */
uint64_t ck_reserve(struct ck_memory *memory, int image, uint64_t bytes, bool skew);
/* Makes a region known; its bytes take its role. */
void ck_region_add(struct ck_memory *memory, const struct ck_region *region);

/*
 * A tensor in a slot, filled with normal random values unless it is an output. pad: elements
 * between the rows of the last axis.
 */
struct kn_tensor ck_tensor(struct ck_memory *memory, enum ck_role role, enum kn_slot slot,
                           enum kn_dtype dtype, int64_t pad, int rank, const int64_t *dim);
/* (frames, height, width, channels), dense inside a frame; gap: elements between frames. */
struct kn_tensor ck_image(struct ck_memory *memory, enum ck_role role, enum kn_slot slot,
                          enum kn_dtype dtype, int64_t gap, const int64_t *dim);
/* The same for parameters: float32, dense, values scaled. */
struct kn_tensor ck_weight(struct ck_memory *memory, double scale, int rank, const int64_t *dim);
/* Makes values exact in another type, so that a device may pack them in it. */
void ck_round(struct ck_memory *memory, const struct kn_tensor *t, enum kn_dtype dtype);
/* One control entry with or without its reset set. */
struct kn_tensor ck_control(struct ck_memory *memory, bool reset);

/* Address of an element of a tensor in the memory's image. */
void *ck_at(struct ck_memory *memory, const struct kn_tensor *t, int64_t a, int64_t b, int64_t c,
            int64_t d);

/* --------------------------------------------------------------------------------------- device */

/* Memory on a device. */
struct ck_loaded {
    struct ck_memory *memory;
    struct kn_dev *dev;
    bool tested; /* faults may be planted */
    struct kn_weights *weights;
    struct kn_stream *stream;
    struct kn_buf *buf[CK_IMAGES];
    uint8_t *bytes[CK_IMAGES]; /* as sent, later as read back */
    uint8_t *sent[CK_IMAGES];
    int pass;
};

/* Copies the memory to a device; outputs are poisoned in one of two ways. False: said by ck_fail().
 */
bool ck_load(struct ck_loaded *loaded, struct ck_memory *memory, struct kn_dev *dev, bool tested,
             int pass);
/*
 * Reads everything back, checks that nothing but outputs has changed, and plants the fault asked
 * for.
 */
bool ck_read_back(struct ck_loaded *loaded);
void ck_unload(struct ck_loaded *loaded);

/* Records and compiles one operation; sabotages its arguments when the self-test wants it. */
struct kn_exec *ck_compile(struct ck_loaded *loaded, enum kn_op op, const void *args);
/* A copy of the arguments, wrong in the way that the self-test asks for. */
const void *ck_sabotage(struct ck *ck, enum kn_op op, const void *args, struct kn_node *copy);
/* Runs it and waits. shift: bytes added to the base of KN_SLOT_WORK, and of KN_SLOT_OUT. */
bool ck_run(struct ck_loaded *loaded, struct kn_exec *exec, uint64_t shift, uint64_t shift_out);
/* Records one operation; false: said by ck_fail(). */
bool ck_record(struct ck *ck, struct kn_program *program, enum kn_op op, const void *args);

/*
 * The case under way: runs one operation on the reference and twice on the tested device, and
 * compares all outputs.
 */
void ck_check(struct ck_memory *memory, enum kn_op op, const void *args, double tolerance);
/*
 * A tensor's values in row-major order as the tested device leaves them, to be freed; NULL: said by
 * ck_fail().
 */
double *ck_outcome(struct ck_memory *memory, enum kn_op op, const void *args,
                   const struct kn_tensor *t);

/* -------------------------------------------------------------------------------------- compare */

/* Grows with every pair of values; NaN in it never passes. */
struct ck_error {
    double difference, power, worst; /* sums of squares; largest single error */
    double worst_reference;
    int64_t count, wrong;
};

void ck_error_add(struct ck_error *error, double reference, double value);
double ck_error_nmse(const struct ck_error *error);
/* Fails the case when the error is above tolerance, or one element is far off. */
void ck_error_check(struct ck *ck, const struct ck_error *error, double tolerance,
                    const char *what);
/* Two arrays of floats. */
void ck_compare(struct ck *ck, const float *reference, const float *value, int64_t count,
                double tolerance, const char *what);
/* Bit for bit. */
void ck_same(struct ck *ck, const float *a, const float *b, int64_t count, const char *what);
/* Element i of a region in row-major order. */
double ck_value(const struct ck_region *region, const uint8_t *bytes, int64_t i);
int64_t ck_region_count(const struct ck_region *region);
uint64_t ck_region_at(const struct ck_region *region, int64_t i);
/* The case under way: outputs of two loaded memories. */
void ck_compare_outputs(struct ck_loaded *reference, struct ck_loaded *tested, double tolerance);

/* ------------------------------------------------------------------------------------ benchmark */

/* What a benchmark counts: exactly one of the two is given. */
struct ck_work {
    double flops, bytes;
};

/* Times one operation on the tested device and prints a line. */
void ck_bench(struct ck_memory *memory, const char *label, enum kn_op op, const void *args,
              struct ck_work work);
/* Seconds of a clock that never goes back. */
double ck_seconds(void);
void ck_bench_line(enum kn_op op, const char *label, double best, double median,
                   struct ck_work work);

/* Shapes of a preset at 640 x 480, as far as operations need them. */
struct ck_preset {
    const char *name;
    int64_t height, width, latents, channels; /* (h, w) at half size; C; W */
    bool memory_blocks;                       /* M, else S */
    int64_t patch, dim, heads, levels;
};
extern const struct ck_preset ck_presets[];
/* Preset i as the options want it; NULL at the end. */
const struct ck_preset *ck_preset(const struct ck *ck, int i);

/* ----------------------------------------------------------------------------------- gradients */

#define CK_GRAD_NODES 4
#define CK_GRAD_INPUTS 8

/*
 * A backward operation against differences, in double on the reference: loss = sum of w * out with
 * random w. All tensors are KN_F64 (parameters: ck_tensor() in KN_SLOT_WEIGHTS without pad). Use:
 *
 *   struct ck_grad grad = {.out = a.out, .dout = b.dy};    b.dy: CK_IN, filled by the harness
 *   ck_grad_forward(&grad, KN_OP_LINEAR, &a);              what is differentiated, in order
 *   ck_grad_backward(&grad, KN_OP_LINEAR_BACKWARD_DATA, &b);
 *   ck_grad_input(&grad, &a.x, &b.dx);                     gradient of a.x; as many as there are
 *   ck_grad_check(memory, &grad);
 *
 * A gradient with the role CK_OUT must be written whole, one with CK_INOUT is added to. What only
 * the backward direction needs (activations, solutions) is an output of the forward nodes; backward
 * nodes run right after them. A loss leaves dout out and sets its weight in scale(); its value is
 * out, and its node is both directions in one.
 */
struct ck_grad {
    struct kn_node forward[CK_GRAD_NODES], backward[CK_GRAD_NODES];
    int forwards, backwards;
    struct kn_tensor out, dout;
    void (*scale)(struct ck_grad *grad, float s); /* optional: makes all gradients s times as big */
    struct ck_grad_input {
        struct kn_tensor x, dx;
    } input[CK_GRAD_INPUTS];
    int inputs;
    double tolerance; /* relative error; 0: 1e-7 */
    double step;      /* of the differences; 0: 1e-3 */
    bool kinks;       /* out has a ReLU: steps over a kink are drawn again */
};

void ck_grad_forward(struct ck_grad *grad, enum kn_op op, const void *args);
void ck_grad_backward(struct ck_grad *grad, enum kn_op op, const void *args);
void ck_grad_input(struct ck_grad *grad, const struct kn_tensor *x, const struct kn_tensor *dx);
/*
 * The case under way: directions at random and single elements of every input, poison of two kinds,
 * and gradients of s times the loss for s from 1e-6 to 1e3.
 */
void ck_grad_check(struct ck_memory *memory, struct ck_grad *grad);

/* The operations that mode grad checks: a backward operation, or a loss. Adding one is a line. */
#define CK_GRADS(X)                                     \
    X(mask_backward, MASK_BACKWARD)                     \
    X(mean_square, MEAN_SQUARE)                         \
    X(charbonnier, CHARBONNIER)                         \
    X(temporal_difference, TEMPORAL_DIFFERENCE)         \
    X(laplacian, LAPLACIAN)                             \
    X(ms_ssim, MS_SSIM)                                 \
    X(relu_backward, RELU_BACKWARD)                     \
    X(conv_backward_data, CONV_BACKWARD_DATA)           \
    X(conv_backward_weights, CONV_BACKWARD_WEIGHTS)     \
    X(shift_backward, SHIFT_BACKWARD)                   \
    X(linear_backward_data, LINEAR_BACKWARD_DATA)       \
    X(linear_backward_weights, LINEAR_BACKWARD_WEIGHTS) \
    X(layer_norm_backward, LAYER_NORM_BACKWARD)         \
    X(gate_backward, GATE_BACKWARD)                     \
    X(fenwick_backward, FENWICK_BACKWARD)               \
    X(mesa_backward, MESA_BACKWARD)

#define X(name, NAME) void ck_grad_##name(struct ck *ck);
CK_GRADS(X)
#undef X

/* ----------------------------------------------------------------------------------- operations */

/*
 * For every operation of the table: cases, benchmark, and ways to get its arguments wrong that a
 * comparison must notice. ck_sabotage_NAME() is false when way does not apply to these arguments.
 */
#define X(name, NAME, args)              \
    void ck_test_##name(struct ck *ck);  \
    void ck_bench_##name(struct ck *ck); \
    bool ck_sabotage_##name(struct kn_##args##_args *a, int way);
KN_OPERATIONS(X)
#undef X

#define CK_SABOTAGES 4 /* most ways that an operation offers */

#endif
