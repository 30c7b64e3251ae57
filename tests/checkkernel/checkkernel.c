/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * checkkernel [options]
 *
 *   --mode test     compares every operation of a device with the reference (default)
 *   --mode grad     compares backward operations of the reference with differences in double
 *   --mode bench    times the operations at the network's shapes for 640 x 480
 *   --selftest      mode test and grad: plants faults in every operation; fails unless each one is
 *                   found
 *   --list          prints the operations
 *   --op NAME       only this operation; may be given more than once
 *   --device NAME   the device tested or timed (cpu)
 *   --threads N     its threads (all)
 *   --preset NAME   bench: only this preset
 *   --seed N        of the random inputs (1)
 *   --slow          long clips besides
 *   --verbose       every case, and the iterations of the conjugate gradient
 *
 * Exits with 0 when all is well, 1 on a failure, 2 on wrong usage, 77 without the device.
 */
#include "checkkernel.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct op {
    const char *name;
    void (*test)(struct ck *ck);
    void (*bench)(struct ck *ck);
} ops[KN_OP_COUNT] = {
#define X(name, NAME, args) {#name, ck_test_##name, ck_bench_##name},
    KN_OPERATIONS(X)
#undef X
};

static void (*const grads[KN_OP_COUNT])(struct ck *ck) = {
#define X(name, NAME) [KN_OP_##NAME] = ck_grad_##name,
    CK_GRADS(X)
#undef X
};

struct options {
    const char *device, *preset;
    int threads;
    uint64_t seed;
    bool bench, grad, selftest, list, slow, verbose;
    bool only[KN_OP_COUNT], some;
};

/* --------------------------------------------------------------------------------------- cases */

static void close_case(struct ck *ck) {
    if (ck->label[0] && ck->failing)
        ck->failed++;
    ck->failing = false;
}

void ck_end(struct ck *ck) {
    close_case(ck);
    ck->label[0] = 0;
}

/* A quick run takes the first cases and a thin sample of the others. */
static bool wanted(const struct ck *ck) {
    return !ck->quick || ck->cases <= 8 || (ck->cases % 13 == 0 && ck->cases <= 200);
}

bool ck_begin(struct ck *ck, const char *format, ...) {
    va_list list;

    close_case(ck);
    ck->cases++;
    va_start(list, format);
    vsnprintf(ck->label, sizeof ck->label, format, list);
    va_end(list);
    if (ck->verbose)
        printf("  %s\n", ck->label);
    return wanted(ck);
}

void ck_fail(struct ck *ck, const char *format, ...) {
    va_list list;

    ck->failing = true;
    if (ck->quiet)
        return;
    printf("FAIL %s: ", ck->label);
    va_start(list, format);
    vprintf(format, list);
    va_end(list);
    printf("\n");
}

void ck_want(struct ck *ck, bool ok, const char *format, ...) {
    char text[200];
    va_list list;

    if (ok)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ck_fail(ck, "%s", text);
}

/* ------------------------------------------------------------------------------ random numbers */

uint64_t ck_random(struct ck *ck) {
    uint64_t z = ck->random += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

int64_t ck_below(struct ck *ck, int64_t n) {
    return (int64_t)(ck_random(ck) % (uint64_t)n);
}

double ck_uniform(struct ck *ck) {
    return (double)(ck_random(ck) >> 11) * 0x1p-53;
}

double ck_normal(struct ck *ck) {
    double radius = sqrt(-2 * log(1 - ck_uniform(ck)));

    return radius * cos(6.283185307179586 * ck_uniform(ck));
}

/* ---------------------------------------------------------------------------------------- tests */

/* Every operation starts from the same numbers, whichever others run. */
static void start(struct ck *ck, const struct options *options, int op) {
    ck->random = options->seed * 1000003 + (uint64_t)op;
    ck->cases = ck->failed = 0;
    ck->worst = 0;
    ck->planted = 0;
    ck->refused = false;
}

/* Cases of an operation in the mode chosen; NULL: none. */
static void (*cases_of(const struct options *options, int op))(struct ck *ck) {
    if (!options->only[op])
        return NULL;
    return options->grad ? grads[op] : ops[op].test;
}

static unsigned test(struct ck *ck, const struct options *options, unsigned *passed) {
    unsigned failed = 0;

    for (int i = 0; i < KN_OP_COUNT; i++) {
        if (!cases_of(options, i))
            continue;
        start(ck, options, i);
        double from = ck_seconds();
        cases_of(options, i)(ck);
        ck_end(ck);
        printf("%-23s %5u cases, %u failed, worst %s %.2g, %.1f s\n", ops[i].name, ck->cases,
               ck->failed, options->grad ? "relative error" : "NMSE", ck->worst,
               ck_seconds() - from);
        fflush(stdout);
        failed += ck->failed;
        *passed += ck->cases - ck->failed;
    }
    return failed;
}

/* ------------------------------------------------------------------------------------ self-test */

static const char *fault_name(int fault) {
    static const char *const name[] = {"none",         "wrong value",  "NaN",
                                       "not written",  "write beyond", "input overwritten",
                                       "wrong args 0", "wrong args 1", "wrong args 2",
                                       "wrong args 3"};

    return name[fault];
}

/* One fault in one operation: found means that a case fails and that it was planted at all. */
static bool find_fault(struct ck *ck, const struct options *options, int op, int fault,
                       bool *missed) {
    start(ck, options, op);
    ck->fault = fault;
    cases_of(options, op)(ck);
    ck_end(ck);
    *missed =
        ck->refused || (fault == CK_SOUND ? ck->failed > 0 : ck->planted > 0 && ck->failed == 0);
    return fault != CK_SOUND && ck->planted > 0 && !*missed;
}

static unsigned selftest(struct ck *ck, const struct options *options, unsigned *passed) {
    unsigned failed = 0;

    ck->quiet = !ck->verbose;
    ck->quick = true;
    for (int i = 0; i < KN_OP_COUNT; i++) {
        unsigned found = 0;
        bool missed;
        if (!cases_of(options, i))
            continue;
        for (int fault = CK_SOUND; fault < CK_FAULT_ARGS + CK_SABOTAGES; fault++) {
            found += find_fault(ck, options, i, fault, &missed);
            if (missed) {
                printf("FAIL %s: %s\n", ops[i].name,
                       fault == CK_SOUND ? "fails without a fault" : fault_name(fault));
                failed++;
            }
        }
        /* one of them is always a wrong value: an operation without any is not tested */
        failed += found == 0;
        *passed += found;
        printf("%-23s %u planted faults found\n", ops[i].name, found);
        fflush(stdout);
    }
    return failed;
}

/* ------------------------------------------------------------------------------------- options */

static bool choose(struct options *options, const char *name) {
    options->some = true;
    for (int i = 0; i < KN_OP_COUNT; i++)
        if (strcmp(ops[i].name, name) == 0) {
            options->only[i] = true;
            return true;
        }
    fprintf(stderr, "checkkernel: no operation '%s'; --list prints them\n", name);
    return false;
}

static bool choose_mode(struct options *options, const char *name) {
    options->bench = strcmp(name, "bench") == 0;
    options->grad = strcmp(name, "grad") == 0;
    if (options->bench || options->grad || strcmp(name, "test") == 0)
        return true;
    fprintf(stderr, "checkkernel: --mode is test, grad or bench, not '%s'\n", name);
    return false;
}

static bool take(struct options *options, int option) {
    switch (option) {
    case 'm':
        return choose_mode(options, optarg);
    case 'o':
        return choose(options, optarg);
    case 'd':
        options->device = optarg;
        return true;
    case 't':
        options->threads = atoi(optarg);
        return true;
    case 'p':
        options->preset = optarg;
        return true;
    case 's':
        options->seed = strtoull(optarg, NULL, 0);
        return true;
    case 'f':
        return options->selftest = true;
    case 'l':
        return options->list = true;
    case 'w':
        return options->slow = true;
    case 'v':
        return options->verbose = true;
    default:
        return false;
    }
}

static bool parse(struct options *options, int argc, char **argv) {
    static const struct option known[] = {{"mode", required_argument, NULL, 'm'},
                                          {"op", required_argument, NULL, 'o'},
                                          {"device", required_argument, NULL, 'd'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"preset", required_argument, NULL, 'p'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"selftest", no_argument, NULL, 'f'},
                                          {"list", no_argument, NULL, 'l'},
                                          {"slow", no_argument, NULL, 'w'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1)
        if (!take(options, option))
            return false;
    for (int i = 0; i < KN_OP_COUNT && !options->some; i++)
        options->only[i] = true;
    return optind == argc;
}

/* ---------------------------------------------------------------------------------------- main */

static struct kn_dev *open_device(const char *name, int threads) {
    const struct kn_dev_params params = {.name = name, .threads = threads};
    struct kn_dev_info info;
    struct kn_dev *dev = NULL;
    struct kn_err err = {0};

    if (kn_dev_open(&dev, &params, &err) != KN_OK) {
        fprintf(stderr, "checkkernel: device %s: %s\n", name, err.msg);
        return NULL;
    }
    kn_dev_info(dev, &info);
    printf("%s: %s\n", info.name, info.description);
    return dev;
}

static int run(struct ck *ck, const struct options *options) {
    unsigned passed = 0, failed;

    if (options->bench) {
        for (int i = 0; i < KN_OP_COUNT; i++)
            if (options->only[i]) {
                start(ck, options, i);
                ops[i].bench(ck);
                ck_end(ck);
            }
        return 0;
    }
    failed = options->selftest ? selftest(ck, options, &passed) : test(ck, options, &passed);
    printf("%u passed, %u failed\n", passed, failed);
    return failed ? 1 : 0;
}

int main(int argc, char **argv) {
    struct options options = {.device = "cpu", .seed = 1};
    struct ck ck = {0};
    int result = 77;

    if (!parse(&options, argc, argv)) {
        fprintf(stderr,
                "usage: checkkernel [--mode test|grad|bench] [--selftest] [--list] [--op NAME] "
                "[--device NAME]\n                   [--threads N] [--preset NAME] "
                "[--seed N] [--slow] [--verbose]\n");
        return 2;
    }
    if (options.list) {
        for (int i = 0; i < KN_OP_COUNT; i++)
            printf("%s\n", ops[i].name);
        return 0;
    }
    ck.verbose = options.verbose;
    ck.slow = options.slow;
    ck.preset = options.preset;
    const char *name = options.selftest || options.grad ? "ref" : options.device;
    ck.ref = open_device("ref", 1);
    ck.dev = open_device(name, options.threads);
    ck.other = open_device(name, options.threads == 3 ? 2 : 3);
    if (ck.ref && ck.dev && ck.other)
        result = run(&ck, &options);
    kn_dev_close(ck.other);
    kn_dev_close(ck.dev);
    kn_dev_close(ck.ref);
    return result;
}
