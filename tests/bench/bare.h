/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What bare oneDNN needs for a layer: the primitive alone, timed over many executions in one
 * thread.
 */
#ifndef BENCH_BARE_H
#define BENCH_BARE_H

#include "kn.h"

/*
 * Median milliseconds of the oneDNN primitive that computes a recorded convolution or linear layer,
 * with the layer's shapes and types, NHWC activations, weights in the format that oneDNN prefers,
 * bias and ReLU, and without whatever else the layer does (residual, second input, strides).
 * Negative: oneDNN refused. Runs on the calling thread's OpenMP team.
 */
double bench_bare_ms(const struct kn_node *node);

#endif
