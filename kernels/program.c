/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Programs: lists of recorded operations, and what can be asked of one. */
#include "kn_internal.h"

#include <stdlib.h>
#include <string.h>

#include "kn_size.h"

struct kn_program {
    struct kn_node *node;
    size_t count, capacity;
};

const char *kn_op_name(enum kn_op op) {
    static const char *const name[KN_OP_COUNT] = {
#define X(name, NAME, args) #name,
        KN_OPERATIONS(X)
#undef X
    };

    return (unsigned)op < KN_OP_COUNT ? name[op] : "unknown operation";
}

enum kn_status kn_program_new(struct kn_program **program, struct kn_err *err) {
    if (program == NULL)
        return kn_fail(err, KN_ERR_ARG, "program is NULL");
    *program = calloc(1, sizeof **program);
    return *program != NULL ? KN_OK : kn_fail_nomem(err, sizeof **program, "program");
}

void kn_program_free(struct kn_program *program) {
    if (program == NULL)
        return;
    free(program->node);
    free(program);
}

size_t kn_program_size(const struct kn_program *program) {
    return program->count;
}

const struct kn_node *kn_program_node(const struct kn_program *program, size_t i) {
    return i < program->count ? &program->node[i] : NULL;
}

static enum kn_status grow(struct kn_program *program, struct kn_err *err) {
    const size_t capacity = program->capacity > 0 ? program->capacity * 2 : 16;
    uint64_t bytes;
    struct kn_node *node = NULL;

    if (!kn_size_mul(capacity, sizeof *node, &bytes) || bytes > SIZE_MAX)
        return kn_fail(err, KN_ERR_RANGE, "%zu operations are too many", program->count);
    node = realloc(program->node, (size_t)bytes);
    if (node == NULL)
        return kn_fail_nomem(err, bytes, "program");
    program->node = node;
    program->capacity = capacity;
    return KN_OK;
}

enum kn_status kn_program_append(struct kn_program *program, enum kn_op op, const char *label,
                                 const void *args, size_t bytes, struct kn_err *err) {
    enum kn_status status = KN_OK;
    struct kn_node *node;

    if (program->count == program->capacity)
        status = grow(program, err);
    if (status != KN_OK)
        return status;
    node = &program->node[program->count++];
    memset(node, 0, sizeof *node);
    node->op = op;
    memcpy(node->label, label, strlen(label));
    memcpy(&node->args, args, bytes);
    return KN_OK;
}

/* ---------------------------------------------------------------------------- tensors of a node */

/* Every struct of arguments names its tensors here once; whoever needs them all walks the list. */
#define AT(args, field) ((uint16_t)offsetof(struct kn_##args##_args, field))
static const struct list {
    uint16_t count, at[KN_MAX_OPERANDS];
} color_in = {2, {AT(color_in, out), AT(color_in, half)}}, color_out = {1, {AT(color_out, x)}},
  conv = {7,
          {AT(conv, x), AT(conv, past), AT(conv, weight), AT(conv, bias), AT(conv, residual),
           AT(conv, out), AT(conv, control)}},
  shift = {4, {AT(shift, x), AT(shift, past), AT(shift, out), AT(shift, control)}},
  convert = {4, {AT(convert, x), AT(convert, out), AT(convert, scale), AT(convert, control)}},
  linear = {5,
            {AT(linear, x), AT(linear, weight), AT(linear, bias), AT(linear, residual),
             AT(linear, out)}},
  layer_norm = {4,
                {AT(layer_norm, x), AT(layer_norm, weight), AT(layer_norm, bias),
                 AT(layer_norm, out)}},
  gate = {4, {AT(gate, o), AT(gate, z), AT(gate, weight), AT(gate, out)}},
  gather = {2, {AT(gather, z), AT(gather, out)}},
  scatter = {4, {AT(scatter, x), AT(scatter, z), AT(scatter, out), AT(scatter, half)}},
  fenwick = {7,
             {AT(fenwick, q), AT(fenwick, k), AT(fenwick, v), AT(fenwick, gate), AT(fenwick, level),
              AT(fenwick, out), AT(fenwick, control)}},
  mesa = {9,
          {AT(mesa, q), AT(mesa, k), AT(mesa, v), AT(mesa, gate), AT(mesa, beta), AT(mesa, lambda),
           AT(mesa, out), AT(mesa, solution), AT(mesa, control)}},
  zero = {1, {AT(zero, out)}},
  relu_backward = {3, {AT(relu_backward, y), AT(relu_backward, dy), AT(relu_backward, dx)}},
  conv_backward_data = {3,
                        {AT(conv_backward_data, dy), AT(conv_backward_data, weight),
                         AT(conv_backward_data, dx)}},
  conv_backward_weights = {5,
                           {AT(conv_backward_weights, x), AT(conv_backward_weights, past),
                            AT(conv_backward_weights, dy), AT(conv_backward_weights, dweight),
                            AT(conv_backward_weights, dbias)}},
  shift_backward = {2, {AT(shift_backward, dy), AT(shift_backward, dx)}},
  linear_backward_data = {3,
                          {AT(linear_backward_data, dy), AT(linear_backward_data, weight),
                           AT(linear_backward_data, dx)}},
  linear_backward_weights = {4,
                             {AT(linear_backward_weights, x), AT(linear_backward_weights, dy),
                              AT(linear_backward_weights, dweight),
                              AT(linear_backward_weights, dbias)}},
  layer_norm_backward = {6,
                         {AT(layer_norm_backward, x), AT(layer_norm_backward, weight),
                          AT(layer_norm_backward, dy), AT(layer_norm_backward, dx),
                          AT(layer_norm_backward, dweight), AT(layer_norm_backward, dbias)}},
  gate_backward = {7,
                   {AT(gate_backward, o), AT(gate_backward, z), AT(gate_backward, weight),
                    AT(gate_backward, dy), AT(gate_backward, d_o), AT(gate_backward, dz),
                    AT(gate_backward, dweight)}},
  fenwick_backward = {12,
                      {AT(fenwick_backward, q), AT(fenwick_backward, k), AT(fenwick_backward, v),
                       AT(fenwick_backward, gate), AT(fenwick_backward, level),
                       AT(fenwick_backward, dout), AT(fenwick_backward, dq),
                       AT(fenwick_backward, dk), AT(fenwick_backward, dv),
                       AT(fenwick_backward, dgate), AT(fenwick_backward, dlevel),
                       AT(fenwick_backward, control)}},
  mesa_backward = {15,
                   {AT(mesa_backward, q), AT(mesa_backward, k), AT(mesa_backward, v),
                    AT(mesa_backward, gate), AT(mesa_backward, beta), AT(mesa_backward, lambda),
                    AT(mesa_backward, solution), AT(mesa_backward, dout), AT(mesa_backward, dq),
                    AT(mesa_backward, dk), AT(mesa_backward, dv), AT(mesa_backward, dgate),
                    AT(mesa_backward, dbeta), AT(mesa_backward, dlambda),
                    AT(mesa_backward, control)}},
  noise = {3, {AT(noise, x), AT(noise, out), AT(noise, sample)}},
  mask = {4, {AT(mask, x), AT(mask, mask), AT(mask, missing), AT(mask, out)}},
  mask_backward = {3,
                   {AT(mask_backward, dy), AT(mask_backward, missing), AT(mask_backward, dmask)}},
  loss = {4, {AT(loss, x), AT(loss, target), AT(loss, dx), AT(loss, value)}},
  square_sum = {2, {AT(square_sum, x), AT(square_sum, value)}},
  adamw = {7,
           {AT(adamw, param), AT(adamw, grad), AT(adamw, first), AT(adamw, second),
            AT(adamw, averaged), AT(adamw, group), AT(adamw, control)}};
#undef AT

int kn_node_tensors(const struct kn_node *node, const struct kn_tensor *tensor[KN_MAX_OPERANDS]) {
    static const struct list *const lists[KN_OP_COUNT] = {
#define X(name, NAME, args) &args,
        KN_OPERATIONS(X)
#undef X
    };
    const struct list *list = lists[node->op];
    int count = 0;

    for (int i = 0; i < list->count; i++) {
        const void *field = (const char *)&node->args + list->at[i];
        const struct kn_tensor *t = field;
        if (t->rank > 0)
            tensor[count++] = t;
    }
    return count;
}

uint32_t kn_node_slots(const struct kn_node *node) {
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];
    const int count = kn_node_tensors(node, tensor);
    uint32_t slots = 0;

    for (int i = 0; i < count; i++)
        slots |= 1u << tensor[i]->slot;
    if (node->op == KN_OP_COLOR_IN)
        slots |= 1u << KN_SLOT_IN;
    if (node->op == KN_OP_COLOR_OUT)
        slots |= 1u << KN_SLOT_OUT | (uint32_t)node->args.color_out.copy_alpha << KN_SLOT_IN;
    return slots;
}

/* Positions (all axes of rows but the last) times the sizes of a weight. */
static uint64_t count_macs(const struct kn_tensor *rows, const struct kn_tensor *weight) {
    uint64_t positions = 1, size = 1, macs;

    if (!kn_size_product(rows->dim, rows->rank - 1, &positions) ||
        !kn_size_product(weight->dim, weight->rank, &size) || !kn_size_mul(positions, size, &macs))
        return UINT64_MAX;
    return macs;
}

/* Convolution and linear layers multiply every output position by the whole weight. */
uint64_t kn_node_macs(const struct kn_node *node) {
    struct kn_tensor half;

    switch (node->op) {
    case KN_OP_CONV:
        return count_macs(&node->args.conv.out, &node->args.conv.weight);
    case KN_OP_CONV_BACKWARD_DATA:
        half = node->args.conv_backward_data.weight;
        half.dim[1] = node->args.conv_backward_data.dx.dim[3]; /* of x or of past, not of both */
        return count_macs(&node->args.conv_backward_data.dy, &half);
    case KN_OP_CONV_BACKWARD_WEIGHTS:
        return count_macs(&node->args.conv_backward_weights.dy,
                          &node->args.conv_backward_weights.dweight);
    case KN_OP_LINEAR:
        return count_macs(&node->args.linear.out, &node->args.linear.weight);
    case KN_OP_LINEAR_BACKWARD_DATA:
        return count_macs(&node->args.linear_backward_data.dy,
                          &node->args.linear_backward_data.weight);
    case KN_OP_LINEAR_BACKWARD_WEIGHTS:
        return count_macs(&node->args.linear_backward_weights.dy,
                          &node->args.linear_backward_weights.dweight);
    default:
        return 0;
    }
}
