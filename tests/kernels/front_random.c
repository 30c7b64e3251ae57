/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Arguments broken at random, many times: the front end answers with a status and a message, and
 * whatever it lets pass keeps inside the memory that its tensors name. Worth most under UBSan.
 */
#include "front.h"

static int64_t random_size(uint64_t *seed) {
    static const int64_t notable[] = {0,         -1,        1,         2,         3,
                                      INT64_MAX, INT64_MIN, INT32_MAX, 1LL << 32, 1LL << 62};
    const uint64_t r = test_random(seed);

    if (r % 3 == 0)
        return notable[r / 3 % 10];
    return (int64_t)(test_random(seed) >> (r / 3 % 64));
}

static void break_tensor(struct kn_tensor *t, uint64_t *seed) {
    const uint64_t r = test_random(seed);
    const int axis = (int)(r >> 8) % KN_MAX_RANK;

    switch (r % 8) {
    case 0:
        t->rank = (int)(r >> 20) % 8 - 1;
        break;
    case 1:
        t->slot = (enum kn_slot)((r >> 20) % (KN_SLOT_COUNT + 2));
        break;
    case 2:
        t->dtype = (enum kn_dtype)((r >> 20) % (KN_DTYPE_COUNT + 2));
        break;
    case 3:
        t->offset_bytes = (uint64_t)random_size(seed);
        break;
    case 4:
    case 5:
        t->stride[axis < 0 ? -axis : axis] = random_size(seed);
        break;
    default:
        t->dim[axis < 0 ? -axis : axis] = random_size(seed);
    }
}

/* Tensors are found by the list that devices use, so each of them has its turn. */
static void break_some(struct kn_node *node, uint64_t *seed) {
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];
    const int count = kn_node_tensors(node, tensor);
    const int times = 1 + (int)(test_random(seed) % 3);

    for (int i = 0; i < times; i++)
        break_tensor((struct kn_tensor *)tensor[test_random(seed) % (unsigned)count], seed);
}

static void check_passed(const struct kn_node *node) {
    const struct kn_tensor *tensor[KN_MAX_OPERANDS];
    const int count = kn_node_tensors(node, tensor);
    uint64_t bytes = 0;

    for (int i = 0; i < count; i++) {
        ck_assert(kn_tensor_extent(tensor[i], &bytes));
        ck_assert_uint_le(bytes, INT64_MAX);
        ck_assert_uint_le(tensor[i]->offset_bytes, INT64_MAX);
    }
    ck_assert_uint_lt(kn_node_slots(node), 1u << KN_SLOT_COUNT);
    (void)kn_node_macs(node);
}

START_TEST(random_arguments) {
    uint64_t seed = 4;
    int passed = 0, refused = 0;

    for (int i = 0; i < 200000; i++) {
        struct kn_node node = {.op = (enum kn_op)(i % KN_OP_COUNT)};
        union all_args args = good_args(node.op);
        struct kn_program *program;
        enum kn_status status;
        struct kn_err err = {0};
        memcpy(&node.args, &args, sizeof node.args);
        break_some(&node, &seed);
        memcpy(&args, &node.args, sizeof node.args);
        OK(kn_program_new(&program, &err));
        status = record(program, node.op, &args, &err);
        if (status == KN_OK)
            check_passed(kn_program_node(program, 0));
        else
            ck_assert(err.code == status && strncmp(err.msg, "node: ", 6) == 0);
        *(status == KN_OK ? &passed : &refused) += 1;
        kn_program_free(program);
    }
    ck_assert_int_gt(passed, 1000);
    ck_assert_int_gt(refused, 100000);
}
END_TEST

START_TEST(random_pictures) {
    uint64_t seed = 5;
    int refused = 0;

    for (int i = 0; i < 50000; i++) {
        union all_args args = good_args(KN_OP_COLOR_IN);
        struct kn_video *video = &args.color_in.video;
        struct kn_program *program;
        struct kn_err err;
        const uint64_t r = test_random(&seed);
        video->width = (int32_t)random_size(&seed);
        video->height = r % 2 ? video->height : (int32_t)random_size(&seed);
        video->components = (int32_t)(r >> 8) % 5;
        video->sample_bytes = (uint8_t)(r >> 16) % 4;
        video->depth = (uint8_t)(r >> 24) % 20;
        video->component[r % 4] = (struct kn_component){(uint8_t)(r >> 32), (uint8_t)(r >> 40),
                                                        (uint8_t)(r >> 48), (uint8_t)(r >> 56)};
        OK(kn_program_new(&program, &err));
        refused += kn_color_in(program, "node", &args.color_in, &err) != KN_OK;
        kn_program_free(program);
    }
    ck_assert_int_gt(refused, 1000);
}
END_TEST

TESTS("front_random", random_arguments, random_pictures)
