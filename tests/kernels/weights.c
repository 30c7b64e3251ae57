/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Packed forms are made once, shared and counted. */
#include <pthread.h>

#include "test.h"

static int made, dropped; /* under the lock of the weights */

static void start_counting(void) {
    made = dropped = 0;
}

static void drop(void *data) {
    dropped++;
    free(data);
}

static enum kn_status make(struct kn_packed *packed, void *user, struct kn_err *err) {
    made++;
    if (user == NULL)
        return kn_fail(err, KN_ERR_UNSUPPORTED, "no such layout");
    *packed = (struct kn_packed){.data = malloc(100), .bytes = 100, .drop = drop};
    memcpy(packed->data, user, 4);
    return KN_OK;
}

START_TEST(packed_once) {
    struct kn_dev *dev = test_open("ref");
    const float values[3] = {1, 2, 3};
    const struct kn_packed *first, *second, *other;
    struct kn_weights *weights;
    struct kn_err err;

    start_counting();
    OK(kn_weights_new(&weights, dev, values, sizeof values, &err));
    ck_assert_mem_eq(kn_weights_data(weights), values, sizeof values);
    ck_assert_uint_eq(kn_weights_bytes(weights), 12);
    OK(kn_weights_pack(weights, "a", make, "one", &first, &err));
    OK(kn_weights_pack(weights, "a", make, "two", &second, &err));
    OK(kn_weights_pack(weights, "b", make, "two", &other, &err));
    ck_assert_ptr_eq(first, second);
    ck_assert_ptr_ne(first, other);
    ck_assert_str_eq(first->data, "one");
    ck_assert_int_eq(made, 2);
    ck_assert_uint_eq(kn_weights_bytes(weights), 212);
    FAILS(KN_ERR_UNSUPPORTED, "layout", kn_weights_pack(weights, "c", make, NULL, &second, &err));
    ck_assert_ptr_eq(first, second);
    OK(kn_weights_pack(weights, "c", make, "six", &second, &err));
    ck_assert_uint_eq(kn_weights_bytes(weights), 312);
    ck_assert_ptr_eq(kn_weights_ref(weights), weights);
    kn_weights_unref(weights);
    ck_assert_int_eq(dropped, 0);
    kn_weights_unref(weights);
    ck_assert_int_eq(dropped, 3);
    kn_weights_unref(NULL);
    kn_dev_close(dev);
}
END_TEST

struct share {
    struct kn_weights *weights;
    const struct kn_packed *packed[50];
};

static void *pack_many(void *user) {
    struct share *share = user;
    struct kn_err err;

    for (int i = 0; i < 50; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        if (kn_weights_pack(kn_weights_ref(share->weights), key, make, key, &share->packed[i],
                            &err) != KN_OK)
            share->packed[i] = NULL;
        kn_weights_unref(share->weights);
    }
    return NULL;
}

START_TEST(packed_by_many_threads) {
    struct kn_dev *dev = test_open("ref");
    struct share share[4];
    pthread_t thread[4];
    struct kn_weights *weights;
    struct kn_err err;

    start_counting();
    OK(kn_weights_new(&weights, dev, "abcd", 4, &err));
    for (int i = 0; i < 4; i++) {
        share[i].weights = weights;
        ck_assert_int_eq(pthread_create(&thread[i], NULL, pack_many, &share[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 50; i++) {
        ck_assert_ptr_nonnull(share[0].packed[i]);
        for (int j = 1; j < 4; j++)
            ck_assert_ptr_eq(share[0].packed[i], share[j].packed[i]);
    }
    ck_assert_int_eq(made, 50);
    ck_assert_uint_eq(kn_weights_bytes(weights), 4 + 50 * 100);
    kn_weights_unref(weights);
    ck_assert_int_eq(dropped, 50);
    kn_dev_close(dev);
}
END_TEST

START_TEST(bad_arguments) {
    struct kn_dev *dev = test_open("ref");
    struct kn_weights *weights;
    struct kn_err err;

    FAILS(KN_ERR_ARG, "source", kn_weights_new(&weights, dev, NULL, 4, &err));
    FAILS(KN_ERR_ARG, "device", kn_weights_new(&weights, NULL, "abcd", 4, &err));
    FAILS(KN_ERR_ARG, "weights", kn_weights_new(NULL, dev, "abcd", 4, &err));
    FAILS(KN_ERR_NOMEM, "wanted", kn_weights_new(&weights, dev, "abcd", UINT64_C(1) << 60, &err));
    ck_assert_ptr_null(weights);
    OK(kn_weights_new(&weights, dev, NULL, 0, &err));
    kn_weights_unref(weights);
    kn_dev_close(dev);
}
END_TEST

TESTS("weights", packed_once, packed_by_many_threads, bad_arguments)
