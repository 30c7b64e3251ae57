/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A plan as text. */
#include "model.h"

/* What an operation writes; color_out writes pictures, so what it reads. */
static const struct kn_tensor *result_of(const struct kn_node *node) {
    switch (node->op) {
    case KN_OP_COLOR_IN:
        return &node->args.color_in.out;
    case KN_OP_COLOR_OUT:
        return &node->args.color_out.x;
    case KN_OP_CONV:
        return &node->args.conv.out;
    case KN_OP_SHIFT:
        return &node->args.shift.out;
    case KN_OP_CONVERT:
        return &node->args.convert.out;
    case KN_OP_LINEAR:
        return &node->args.linear.out;
    case KN_OP_LAYER_NORM:
        return &node->args.layer_norm.out;
    case KN_OP_GATE:
        return &node->args.gate.out;
    case KN_OP_GATHER:
        return &node->args.gather.out;
    case KN_OP_SCATTER:
        return &node->args.scatter.out;
    case KN_OP_FENWICK_CLIP:
    case KN_OP_FENWICK_STEP:
        return &node->args.fenwick.out;
    case KN_OP_MESA_CLIP:
    case KN_OP_MESA_STEP:
        return &node->args.mesa.out;
    default:
        return NULL;
    }
}

static void append_node(GString *text, const struct kn_node *node) {
    const struct kn_tensor *out = result_of(node);
    GString *shape = g_string_new(NULL);
    for (int i = 0; out && i < out->rank; i++)
        g_string_append_printf(shape, "%s%" G_GINT64_FORMAT, i ? " x " : "", out->dim[i]);
    g_string_append_printf(text, "%-32s %-12s %-8s %-28s %16" G_GUINT64_FORMAT "\n", node->label,
                           kn_op_name(node->op), out ? kn_dtype_name(out->dtype) : "", shape->str,
                           (guint64)kn_node_macs(node));
    g_string_free(shape, TRUE);
}

static void append_bytes(GString *text, const struct fw_plan *plan) {
    static const char *const names[] = {"weights", "work", "scratch", "past", "fenwick", "mesa"};
    G_STATIC_ASSERT(G_N_ELEMENTS(names) == FW_BYTES_COUNT);
    for (int i = 0; i < FW_BYTES_COUNT; i++)
        g_string_append_printf(text, "%-32s %16" G_GUINT64_FORMAT " bytes\n", names[i],
                               plan->bytes[i]);
    g_string_append_printf(text, "%-32s %16" G_GUINT64_FORMAT " bytes\n", "total",
                           fw_plan_bytes_total(plan));
}

char *fw_plan_describe(const struct fw_plan *plan) {
    GString *text = g_string_new(NULL);
    guint64 macs = 0;

    g_string_append_printf(text, "%d x %d, %d frame%s a run, preset %s, %s on %s\n",
                           plan->params.width, plan->params.height, plan->params.frames,
                           plan->params.frames == 1 ? "" : "s",
                           fw_config_name(&plan->model->weights->params.config),
                           kn_dtype_name(fw_model_half(plan->model)), fw_model_device(plan->model));
    g_string_append_printf(text, "%-32s %-12s %-8s %-28s %16s\n", "layer", "operation", "type",
                           "result", "multiply-adds");
    for (gsize i = 0; i < kn_program_size(plan->program); i++) {
        const struct kn_node *node = kn_program_node(plan->program, i);
        append_node(text, node);
        macs += kn_node_macs(node);
    }
    g_string_append_printf(text, "%-32s %-12s %-8s %-28s %16" G_GUINT64_FORMAT "\n", "total", "",
                           "", "", macs);
    append_bytes(text, plan);
    return g_string_free(text, FALSE);
}

char *fw_describe_profile(const struct kn_program *program, const struct kn_exec *exec) {
    GString *text = g_string_new(NULL);
    double total = 0;

    g_string_append_printf(text, "%-40s %-24s %10s %10s\n", "layer", "operation", "ms", "GFLOP/s");
    for (gsize i = 0; i < kn_program_size(program); i++) {
        const struct kn_node *node = kn_program_node(program, i);
        struct kn_profile profile;
        kn_exec_profile(exec, i, &profile);
        double ms = (double)profile.nanoseconds * 1e-6 / (double)MAX(profile.runs, 1);
        double flops = 2.0 * (double)kn_node_macs(node);
        g_string_append_printf(text, "%-40s %-24s %10.3f", node->label, kn_op_name(node->op), ms);
        if (flops > 0 && ms > 0)
            g_string_append_printf(text, " %10.1f", flops / ms * 1e-6);
        g_string_append_c(text, '\n');
        total += ms;
    }
    g_string_append_printf(text, "%-40s %-24s %10.3f\n", "total", "", total);
    return g_string_free(text, FALSE);
}

char *fw_plan_profile(const struct fw_plan *plan) {
    return fw_describe_profile(plan->program, plan->exec);
}
