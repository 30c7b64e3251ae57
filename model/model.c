/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Models: weights on a device, shared in the process. Devices are shared too, so that many models
 * have one team of threads. One lock guards both lists and every count; loading happens under it,
 * so that two elements that start together load a file once.
 */
#include "model.h"

#include <string.h>

static GMutex lock;
static GList *models, *devices; /* under lock */

/* -------------------------------------------------------------------------------------- device */

static struct fw_device *find_device(const char *name, int threads) {
    for (GList *l = devices; l; l = l->next) {
        struct fw_device *device = l->data;
        if (strcmp(device->name, name) == 0 && device->threads == threads) {
            device->refs++;
            return device;
        }
    }
    return NULL;
}

static void drop_device(struct fw_device *device) {
    if (--device->refs > 0)
        return;
    devices = g_list_remove(devices, device);
    kn_dev_close(device->dev);
    g_free(device->name);
    g_free(device);
}

/* A device by its name; NULL and err. */
static struct fw_device *open_device(const char *name, int threads, struct kn_err *err) {
    struct kn_dev_params params = {name, threads};
    struct kn_dev_info info;
    struct kn_dev *dev = NULL;
    struct fw_device *device = find_device(name, threads);

    if (device)
        return device;
    if (kn_dev_open(&dev, &params, err) != KN_OK)
        return NULL;
    kn_dev_info(dev, &info);
    device = find_device(info.name, threads); /* "cuda" is "cuda:0" */
    if (device) {
        kn_dev_close(dev);
        return device;
    }
    device = g_new0(struct fw_device, 1);
    *device = (struct fw_device){1, g_strdup(info.name), threads, dev, info};
    devices = g_list_prepend(devices, device);
    return device;
}

/* "auto": a GPU if there is one, else the CPU. A GPU that is there and fails is an error. */
static struct fw_device *choose_device(const char *name, int threads, GError **error) {
    struct kn_err err = {0};
    struct fw_device *device;
    if (name && strcmp(name, "auto") != 0) {
        device = open_device(name, threads, &err);
    } else {
        device = open_device("cuda", threads, &err);
        if (!device && (err.code == KN_ERR_NO_DEVICE || err.code == KN_ERR_LIBRARY))
            device = open_device("cpu", threads, &err);
    }
    if (!device) {
        char quoted[FW_QUOTE_MAX], *what;
        what = g_strdup_printf("device \"%s\"", fw_quote(quoted, name ? name : "auto"));
        fw_fail_kn(error, what, &err);
        g_free(what);
    }
    return device;
}

struct fw_device *fw_device_get(const char *name, int threads, GError **error) {
    g_mutex_lock(&lock);
    struct fw_device *device = choose_device(name, threads, error);
    g_mutex_unlock(&lock);
    return device;
}

void fw_device_put(struct fw_device *device) {
    if (!device)
        return;
    g_mutex_lock(&lock);
    drop_device(device);
    g_mutex_unlock(&lock);
}

/* --------------------------------------------------------------------------------------- model */

static struct fw_model *find_model(const char *key) {
    for (GList *l = models; l; l = l->next)
        if (strcmp(((struct fw_model *)l->data)->key, key) == 0)
            return l->data;
    return NULL;
}

static void free_model(struct fw_model *model) {
    models = g_list_remove(models, model);
    kn_weights_unref(model->on_device);
    fw_weights_unref(model->weights);
    if (model->device)
        drop_device(model->device);
    g_free(model->key);
    g_free(model);
}

static const char *const field_names[] = {"latent_channels", "patch",        "dim",
                                          "heads",           "layers",       "levels",
                                          "encoder.width",   "decoder.width"};

static void fields_of(const struct fw_config *c, int out[G_N_ELEMENTS(field_names)]) {
    const int value[] = {c->latent_channels, c->patch,  c->dim,           c->heads,
                         c->layers,          c->levels, c->encoder.width, c->decoder.width};
    G_STATIC_ASSERT(sizeof value == sizeof field_names / sizeof *field_names * sizeof *value);
    memcpy(out, value, sizeof value);
}

/* Says where a file's network differs from the preset asked for. */
static gboolean fail_mismatch(const char *path, const struct fw_config *found,
                              const struct fw_config *wanted, GError **error) {
    int a[G_N_ELEMENTS(field_names)], b[G_N_ELEMENTS(field_names)];
    char *name = g_filename_display_name(path);
    gsize i = 0;
    fields_of(found, a);
    fields_of(wanted, b);
    while (i < G_N_ELEMENTS(a) && a[i] == b[i])
        i++;
    if (i < G_N_ELEMENTS(a))
        fw_fail(error, FW_ERROR_MISMATCH, "%s holds a %s network, not %s: %s is %d, not %d", name,
                fw_config_name(found), fw_config_name(wanted), field_names[i], a[i], b[i]);
    else
        fw_fail(error, FW_ERROR_MISMATCH,
                "%s holds a %s network, not %s: blocks are %s and %s, not %s and %s", name,
                fw_config_name(found), fw_config_name(wanted), found->encoder.blocks,
                found->decoder.blocks, wanted->encoder.blocks, wanted->decoder.blocks);
    g_free(name);
    return FALSE;
}

/* The weights of params; file is open when a path is given. */
static struct fw_weights *read_weights(const struct fw_model_params *params,
                                       const struct fw_file *file, GError **error) {
    struct fw_config config;
    if (params->weights)
        return fw_safetensors_read(file, params->weights, error);
    if (!fw_config_preset(&config, params->preset ? params->preset : "thin", error))
        return NULL;
    return fw_weights_new(&config, FW_INIT_IDENTITY, 0, error);
}

/* A file found to be of another network stays out, whether it was read now or before. */
static gboolean check_preset(const struct fw_model_params *params, const struct fw_weights *weights,
                             GError **error) {
    struct fw_config wanted;
    if (!params->preset)
        return TRUE;
    if (!fw_config_preset(&wanted, params->preset, error))
        return FALSE;
    if (!params->weights || fw_config_equal(&wanted, fw_weights_config(weights)))
        return TRUE;
    return fail_mismatch(params->weights, fw_weights_config(weights), &wanted, error);
}

struct fw_weights *fw_model_read_weights(const struct fw_model_params *params, GError **error) {
    struct fw_file file = {.fd = -1};
    struct fw_weights *weights;
    if (params->weights && !fw_file_open(&file, params->weights, error))
        return NULL;
    weights = read_weights(params, &file, error);
    fw_file_close(&file);
    if (weights && !check_preset(params, weights, error))
        g_clear_pointer(&weights, fw_weights_unref);
    return weights;
}

static char *make_key(const struct fw_model_params *params, const struct fw_file *file,
                      const struct fw_device *device, enum fw_precision precision) {
    if (!params->weights)
        return g_strdup_printf("preset:%s:%p:%d", params->preset ? params->preset : "thin",
                               (const void *)device, (int)precision);
    return g_strdup_printf("file:%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT
                           ":%" G_GINT64_FORMAT ":%p:%d",
                           file->device, file->inode, file->size, file->changed,
                           (const void *)device, (int)precision);
}

/* Takes over key and the device; both are freed with the model. */
static struct fw_model *load_model(const struct fw_model_params *params, const struct fw_file *file,
                                   char *key, struct fw_device *device, enum fw_precision precision,
                                   GError **error) {
    struct fw_model *model = g_new0(struct fw_model, 1);
    struct kn_err err;
    model->key = key;
    model->device = device;
    model->dev = device->dev;
    model->precision = precision;
    model->identity = params->weights == NULL;
    model->weights = read_weights(params, file, error);
    if (!model->weights || !check_preset(params, model->weights, error))
        goto fail;
    if (kn_weights_new(&model->on_device, model->dev, model->weights->arena,
                       model->weights->params.bytes, &err) != KN_OK) {
        fw_fail_kn(error, "no memory for the weights on the device", &err);
        goto fail;
    }
    models = g_list_prepend(models, model);
    return model;
fail:
    free_model(model);
    return NULL;
}

static gboolean check_params(const struct fw_model_params *params, GError **error) {
    if (params->threads < 0 || params->threads > 1024)
        return fw_fail(error, FW_ERROR_ARGUMENT, "threads is %d, allowed is 0 to 1024",
                       params->threads);
    if ((guint)params->precision > FW_PRECISION_FLOAT16)
        return fw_fail(error, FW_ERROR_ARGUMENT, "precision is %d, which is none",
                       (int)params->precision);
    return TRUE;
}

static struct fw_model *open_locked(const struct fw_model_params *params,
                                    const struct fw_file *file, GError **error) {
    struct fw_device *device = choose_device(params->device, params->threads, error);
    enum fw_precision precision = params->precision;
    if (!device)
        return NULL;
    if (precision == FW_PRECISION_AUTO)
        precision = device->info.fast_bf16 ? FW_PRECISION_BFLOAT16 : FW_PRECISION_FLOAT32;
    char *key = make_key(params, file, device, precision);
    struct fw_model *model = find_model(key);
    if (!model)
        return load_model(params, file, key, device, precision, error);
    g_free(key);
    drop_device(device);
    return check_preset(params, model->weights, error) ? model : NULL;
}

struct fw_model *fw_model_open(const struct fw_model_params *params, GError **error) {
    struct fw_file file = {.fd = -1};
    struct fw_model *model;
    if (!check_params(params, error) ||
        (params->weights && !fw_file_open(&file, params->weights, error)))
        return NULL;
    g_mutex_lock(&lock);
    model = open_locked(params, &file, error);
    if (model)
        model->users++;
    g_mutex_unlock(&lock);
    fw_file_close(&file);
    return model;
}

/* -------------------------------------------------------------------------------------- counts */

/* Adds to one of a model's counts; the model goes with the last of both. */
static void count(struct fw_model *model, guint *which, int by) {
    g_mutex_lock(&lock);
    *which = (guint)((int)*which + by);
    if (model->users == 0 && model->holds == 0)
        free_model(model);
    g_mutex_unlock(&lock);
}

struct fw_model *fw_model_ref(struct fw_model *model) {
    count(model, &model->users, 1);
    return model;
}

void fw_model_unref(struct fw_model *model) {
    if (model)
        count(model, &model->users, -1);
}

struct fw_model *fw_model_hold(struct fw_model *model) {
    count(model, &model->holds, 1);
    return model;
}

void fw_model_release(struct fw_model *model) {
    count(model, &model->holds, -1);
}

guint fw_model_users(struct fw_model *model) {
    g_mutex_lock(&lock);
    guint users = model->users;
    g_mutex_unlock(&lock);
    return users;
}

/* ------------------------------------------------------------------------------------- queries */

struct fw_weights *fw_model_weights(struct fw_model *model) {
    return model->weights;
}

gboolean fw_model_is_identity(struct fw_model *model) {
    return model->identity;
}

const char *fw_model_device(struct fw_model *model) {
    return model->device->info.name;
}

const char *fw_model_device_description(struct fw_model *model) {
    return model->device->info.description;
}

enum fw_precision fw_model_precision(struct fw_model *model) {
    return model->precision;
}

guint64 fw_model_weights_bytes(struct fw_model *model) {
    return kn_weights_bytes(model->on_device);
}

enum kn_dtype fw_model_half(const struct fw_model *model) {
    return model->precision == FW_PRECISION_BFLOAT16  ? KN_BF16
           : model->precision == FW_PRECISION_FLOAT16 ? KN_F16
                                                      : KN_F32;
}
