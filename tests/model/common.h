/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the suites of model/ share. */
#ifndef TEST_MODEL_COMMON_H
#define TEST_MODEL_COMMON_H

#include <check.h>

#include "fw.h"

/* A failure with the message of a GError. */
#define ck_ok(condition, error) \
    ck_assert_msg((condition), "%s", (error) ? (error)->message : "no error was set")
/* The call failed with that code and a message of one line. */
void test_refused(gboolean failed, GError **error, enum fw_error code, const char *what);

/* Both host devices; "cpu" last. */
extern const char *const test_devices[2];

/* A file in a folder that goes when the process ends. Free with g_free(). */
char *test_path(const char *name);

/* A network so small that the reference runs seventy frames of it at once. */
struct fw_config test_config(void);
/* Random weights of config in a file of that name; its path. */
char *test_weights(const struct fw_config *config, guint64 seed, const char *name);

struct kn_video test_video(int width, int height, int sample_bytes);

/* A model, plan and stream of a file. */
struct test_net {
    struct fw_model *model;
    struct fw_plan *plan;
    struct fw_stream *stream;
    struct fw_plan_params params;
    struct fw_latents latents;
};

/* Opens model and plan and makes a stream; path NULL: identity of preset thin. */
struct test_net test_open(const char *path, const char *device, enum fw_precision precision,
                          unsigned parts, int width, int height, int frames);
/* The same with everything chosen. */
struct test_net test_open_plan(const struct fw_model_params *model,
                               const struct fw_plan_params *plan);
void test_close(struct test_net *net);
/* Bytes of one frame that goes in or comes out. */
gsize test_in_bytes(const struct test_net *net);
gsize test_out_bytes(const struct test_net *net);
/* Runs frames through a stream, plan->frames at a time; their number must divide. */
void test_run(struct test_net *net, struct fw_stream *stream, struct fw_plan *plan, const void *in,
              void *out, int frames);

/* frames pictures of packed RGB: gradients and noise that move; another one for each seed. */
guint8 *test_scene(int width, int height, int frames, guint64 seed);
/* max |a - b| / max |b|; NaN when a value is not finite or b is zero. */
double test_difference(const float *a, const float *b, gsize count);

/* Runs a suite and returns main()'s status. */
int test_main(Suite *suite);

#endif
