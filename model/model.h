/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What model.c, plan.c and stream.c share. */
#ifndef FW_MODEL_MODEL_H
#define FW_MODEL_MODEL_H

#include "network.h"
#include "weights.h"

/* A device, shared in the process. */
struct fw_device {
    guint refs;  /* under the registry's lock */
    char *name;  /* as info has it, index included */
    int threads; /* as asked for */
    struct kn_dev *dev;
    struct kn_dev_info info;
};

/* By name ("auto", "cpu" ...; NULL: "auto"); NULL and error. Any thread. */
struct fw_device *fw_device_get(const char *name, int threads, GError **error);
void fw_device_put(struct fw_device *device); /* NULL is fine */

struct fw_model {
    guint users; /* opens; under the registry's lock, as holds */
    guint holds; /* plans */
    char *key;   /* what is shared: file or preset, device, precision */
    struct fw_device *device;
    struct kn_dev *dev; /* the device's */
    struct kn_weights *on_device;
    struct fw_weights *weights;
    enum fw_precision precision;
    gboolean identity;
};

/* The weights of params alone, on no device. */
struct fw_weights *fw_model_read_weights(const struct fw_model_params *params, GError **error);

/* A plan's share of a model: keeps it alive, is no user. */
struct fw_model *fw_model_hold(struct fw_model *model);
void fw_model_release(struct fw_model *model);

/* Type of convolution bodies and of inputs of linear layers. */
enum kn_dtype fw_model_half(const struct fw_model *model);

/* describe.c: fw_plan_profile() of any program. */
char *fw_describe_profile(const struct kn_program *program, const struct kn_exec *exec);

struct fw_plan {
    gint refs; /* atomic */
    struct fw_model *model;
    struct fw_plan_params params;
    struct fw_latents latents;
    struct kn_program *program;
    struct kn_exec *exec;
    uint64_t work_bytes, past_bytes, state_bytes; /* past: of one of the two */
    guint64 bytes[FW_BYTES_COUNT];
};

#endif
