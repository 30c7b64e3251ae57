/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A case's memory on a device: sent, run over, read back and checked for stray writes. */
#include "checkkernel.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ref/ref.h"

/* ----------------------------------------------------------------------------------------- load */

/* Two poisons that differ in every byte and are NaN in every type: what keeps either was not
 * written. */
static uint8_t poison(int pass, uint64_t at) {
    if (pass == 0)
        return 0xff;
    return at % 2 ? 0x7f : 0xa1;
}

static void prepare_bytes(struct ck_loaded *loaded, int i) {
    const struct ck_image *image = &loaded->memory->image[i];

    loaded->bytes[i] = ck_alloc(image->size, 1);
    loaded->sent[i] = ck_alloc(image->size, 1);
    memcpy(loaded->sent[i], image->bytes, image->size);
    for (uint64_t at = 0; at < image->size; at++)
        if (image->role[at] == CK_OUT)
            loaded->sent[i][at] = poison(loaded->pass, at);
}

static void place_pointers(struct ck_loaded *loaded) {
    const struct ck_memory *memory = loaded->memory;

    for (int i = 0; i < memory->pointers; i++) {
        const struct ck_pointer *p = &memory->pointer[i];
        char *address = (char *)kn_buf_address(loaded->buf[p->target]) + p->target_offset;
        memcpy(loaded->sent[p->image] + p->offset, &address, sizeof address);
    }
}

static enum kn_status send(struct ck_loaded *loaded, struct kn_err *err) {
    enum kn_status status = KN_OK;

    for (int i = 0; i < CK_IMAGES && status == KN_OK; i++)
        status = kn_buf_new(&loaded->buf[i], loaded->dev, loaded->memory->image[i].size, err);
    if (status != KN_OK)
        return status;
    place_pointers(loaded);
    for (int i = 0; i < CK_IMAGES && status == KN_OK; i++)
        status =
            kn_buf_write(loaded->buf[i], 0, loaded->sent[i], loaded->memory->image[i].size, err);
    if (status == KN_OK)
        status = kn_weights_new(&loaded->weights, loaded->dev, loaded->sent[KN_SLOT_WEIGHTS],
                                loaded->memory->image[KN_SLOT_WEIGHTS].size, err);
    if (status == KN_OK)
        status = kn_stream_new(&loaded->stream, loaded->dev, err);
    return status;
}

bool ck_load(struct ck_loaded *loaded, struct ck_memory *memory, struct kn_dev *dev, bool tested,
             int pass) {
    struct kn_err err = {0};

    memset(loaded, 0, sizeof *loaded);
    loaded->memory = memory;
    loaded->dev = dev;
    loaded->tested = tested;
    loaded->pass = pass;
    for (int i = 0; i < CK_IMAGES; i++)
        prepare_bytes(loaded, i);
    if (send(loaded, &err) == KN_OK)
        return true;
    ck_fail(memory->ck, "memory: %s", err.msg);
    return false;
}

void ck_unload(struct ck_loaded *loaded) {
    kn_stream_free(loaded->stream);
    kn_weights_unref(loaded->weights);
    for (int i = 0; i < CK_IMAGES; i++) {
        kn_buf_free(loaded->buf[i]);
        free(loaded->bytes[i]);
        free(loaded->sent[i]);
    }
    memset(loaded, 0, sizeof *loaded);
}

/* ------------------------------------------------------------------------------------------ run */

bool ck_record(struct ck *ck, struct kn_program *program, enum kn_op op, const void *args) {
    struct kn_err err = {0};
    enum kn_status status = KN_ERR_ARG;

    switch (op) {
#define X(name, NAME, type)                              \
    case KN_OP_##NAME:                                   \
        status = kn_##name(program, "case", args, &err); \
        break;
        KN_OPERATIONS(X)
#undef X
    default:
        break;
    }
    if (status != KN_OK)
        ck_fail(ck, "recording: %s: %s", kn_status_name(status), err.msg);
    return status == KN_OK;
}

const void *ck_sabotage(struct ck *ck, enum kn_op op, const void *args, struct kn_node *copy) {
    int way = ck->fault - CK_FAULT_ARGS;

    switch (op) {
#define X(name, NAME, type)                                       \
    case KN_OP_##NAME:                                            \
        memcpy(&copy->args, args, sizeof copy->args.type);        \
        ck->planted += ck_sabotage_##name(&copy->args.type, way); \
        break;
        KN_OPERATIONS(X)
#undef X
    default:
        break;
    }
    return &copy->args;
}

struct kn_exec *ck_compile(struct ck_loaded *loaded, enum kn_op op, const void *args) {
    struct ck *ck = loaded->memory->ck;
    struct kn_program *program = NULL;
    struct kn_exec *exec = NULL;
    struct kn_node copy;
    struct kn_err err = {0};

    if (loaded->tested && ck->fault >= CK_FAULT_ARGS)
        args = ck_sabotage(ck, op, args, &copy);
    if (kn_program_new(&program, &err) != KN_OK) {
        ck_fail(ck, "program: %s", err.msg);
        return NULL;
    }
    if (!ck_record(ck, program, op, args))
        ck->refused |= loaded->tested;
    else if (kn_exec_new(&exec, loaded->dev, program,
                         loaded->pass || loaded->memory->bound ? NULL : loaded->weights,
                         &err) != KN_OK)
        ck_fail(ck, "compiling: %s: %s", kn_status_name(err.code), err.msg);
    kn_program_free(program);
    return exec;
}

bool ck_run(struct ck_loaded *loaded, struct kn_exec *exec, uint64_t shift, uint64_t shift_out) {
    struct kn_bindings bindings = {{0}};
    struct kn_err err = {0};
    enum kn_status status;

    for (int i = 0; i < KN_SLOT_COUNT; i++)
        bindings.base[i] = kn_buf_address(loaded->buf[i]);
    bindings.base[KN_SLOT_WORK] = (char *)bindings.base[KN_SLOT_WORK] + shift;
    bindings.base[KN_SLOT_OUT] = (char *)bindings.base[KN_SLOT_OUT] + shift_out;
    status = kn_exec_run(exec, loaded->stream, &bindings, &err);
    if (status == KN_OK)
        status = kn_stream_sync(loaded->stream, &err);
    if (status != KN_OK)
        ck_fail(loaded->memory->ck, "running: %s: %s", kn_status_name(status), err.msg);
    return status == KN_OK;
}

/* ------------------------------------------------------------------------------------ read back */

static const struct ck_region *find_region(const struct ck_memory *memory, bool output) {
    for (int i = 0; i < memory->regions; i++) {
        const struct ck_region *region = &memory->region[i];
        bool is_output = region->role == CK_OUT || region->role == CK_INOUT;
        if (is_output == output && region->role != CK_SCRATCH && region->image != KN_SLOT_WEIGHTS)
            return region;
    }
    return NULL;
}

/* Changes a value by 5 % of itself and of what is usual around it, a code by two. */
static void spoil(const struct ck_region *region, uint8_t *bytes, uint64_t at) {
    double rms = 0, value;
    int64_t count = ck_region_count(region);

    if (region->word || region->dtype == KN_U8) {
        bytes[at] ^= (uint8_t)(2 << (region->word ? region->shift : 0));
        return;
    }
    for (int64_t i = 0; i < count; i++)
        rms += pow(ck_value(region, bytes, i), 2) / (double)count;
    value = kn_ref_load(bytes + at, region->dtype, 0);
    kn_ref_store(bytes + at, region->dtype, 0,
                 value + copysign(0.05 * (fabs(value) + sqrt(rms) + 1e-6), value));
}

/* What a broken kernel would have left behind. */
static void plant(struct ck_loaded *loaded) {
    struct ck *ck = loaded->memory->ck;
    const struct ck_region *region = find_region(loaded->memory, ck->fault != CK_FAULT_INPUT);
    size_t element;
    uint64_t at;
    uint8_t *bytes;

    if (!region)
        return;
    bytes = loaded->bytes[region->image];
    element = region->word ? 2 : kn_dtype_bytes(region->dtype);
    at = ck_region_at(region, ck_below(ck, ck_region_count(region)));
    if (ck->fault == CK_FAULT_VALUE)
        spoil(region, bytes, at);
    else if (ck->fault == CK_FAULT_NAN && !region->word && region->dtype != KN_U8)
        kn_ref_store(bytes + at, region->dtype, 0, NAN);
    else if (ck->fault == CK_FAULT_UNWRITTEN && region->role == CK_OUT)
        memcpy(bytes + at, loaded->sent[region->image] + at, element);
    else if (ck->fault == CK_FAULT_GUARD) {
        while (at < loaded->memory->image[region->image].size - 1 &&
               loaded->memory->image[region->image].role[at] != CK_IN)
            at++;
        bytes[at] ^= 0x10;
    } else if (ck->fault == CK_FAULT_INPUT)
        bytes[at] ^= 0x10;
    else
        return;
    ck->planted++;
}

/* Bytes that no operation may touch. */
static void check_untouched(const struct ck_loaded *loaded, int i) {
    static const char *const name[CK_IMAGES] = {
        "weights", "work",      "past",      "present",     "control",     "in",
        "out",     "gradients", "optimizer", "pictures in", "pictures out"};
    const struct ck_image *image = &loaded->memory->image[i];

    for (uint64_t at = 0; at < image->size; at++)
        if (image->role[at] == CK_IN && loaded->bytes[i][at] != loaded->sent[i][at]) {
            ck_fail(loaded->memory->ck, "slot %s: byte %" PRIu64 " was overwritten", name[i], at);
            return;
        }
}

bool ck_read_back(struct ck_loaded *loaded) {
    struct ck *ck = loaded->memory->ck;
    struct kn_err err = {0};

    for (int i = 0; i < CK_IMAGES; i++)
        if (kn_buf_read(loaded->buf[i], 0, loaded->bytes[i], loaded->memory->image[i].size, &err) !=
            KN_OK) {
            ck_fail(ck, "reading back: %s", err.msg);
            return false;
        }
    if (loaded->tested && ck->fault != CK_SOUND && ck->fault < CK_FAULT_ARGS)
        plant(loaded);
    for (int i = 0; i < CK_IMAGES; i++)
        check_untouched(loaded, i);
    return true;
}

/* ---------------------------------------------------------------------------------------- check */

static bool run_once(struct ck_loaded *loaded, struct ck_memory *memory, struct kn_dev *dev,
                     int pass, bool tested, enum kn_op op, const void *args) {
    struct kn_exec *exec = NULL;
    bool ok = ck_load(loaded, memory, dev, tested, pass);

    if (ok)
        exec = ck_compile(loaded, op, args);
    ok = exec && ck_run(loaded, exec, 0, 0) && ck_read_back(loaded);
    kn_exec_free(exec);
    return ok;
}

/* Two runs over different poison, the second with parameters bound for the run, must leave the same
 * bits: everything is written, and only by the inputs. */
static void compare_passes(const struct ck_loaded *a, const struct ck_loaded *b) {
    for (int i = 0; i < CK_IMAGES; i++) {
        const struct ck_image *image = &a->memory->image[i];
        for (uint64_t at = 0; at < image->size; at++)
            if ((image->role[at] == CK_OUT || image->role[at] == CK_INOUT) &&
                a->bytes[i][at] != b->bytes[i][at]) {
                ck_fail(
                    a->memory->ck, "byte %" PRIu64 " differs between two runs: not written%s?", at,
                    a->dev != b->dev ? ", or made in an order that depends on the threads" : "");
                return;
            }
    }
}

void ck_check(struct ck_memory *memory, enum kn_op op, const void *args, double tolerance) {
    struct ck *ck = memory->ck;
    struct ck_loaded reference, first, second;
    bool ok = run_once(&reference, memory, ck->ref, 0, false, op, args);

    ok &= run_once(&first, memory, ck->dev, 0, true, op, args);
    /*
     * The number of threads must make no difference. Not so where the library may split the sums of
     * small outputs among them: forward convolutions and matrix products.
     */
    ok &= run_once(&second, memory, op == KN_OP_CONV || op == KN_OP_LINEAR ? ck->dev : ck->other, 1,
                   ck->fault == CK_FAULT_UNWRITTEN, op, args);
    if (ok) {
        /* faults other than an unwritten element must be seen by the comparison of values alone */
        if (ck->fault == CK_SOUND || ck->fault == CK_FAULT_UNWRITTEN)
            compare_passes(&first, &second);
        ck_compare_outputs(&reference, &first, tolerance);
    }
    ck_unload(&reference);
    ck_unload(&first);
    ck_unload(&second);
}

double *ck_outcome(struct ck_memory *memory, enum kn_op op, const void *args,
                   const struct kn_tensor *t) {
    struct ck_loaded loaded;
    struct ck_region region = {
        .image = (int)t->slot, .offset = t->offset_bytes, .dtype = t->dtype, .rank = t->rank};
    double *values = NULL;

    for (int i = 0; i < t->rank; i++) {
        region.dim[i] = t->dim[i];
        region.stride_bytes[i] = t->stride[i] * (int64_t)kn_dtype_bytes(t->dtype);
    }
    if (run_once(&loaded, memory, memory->ck->dev, 0, false, op, args)) {
        const int64_t count = ck_region_count(&region);
        values = ck_alloc((size_t)count, sizeof *values);
        for (int64_t i = 0; i < count; i++)
            values[i] = ck_value(&region, loaded.bytes[region.image], i);
    }
    ck_unload(&loaded);
    return values;
}
