/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One thread that does jobs in the order in which they are handed in. */
#ifndef KN_WORKER_H
#define KN_WORKER_H

#include "kn_internal.h"

struct kn_worker;

/* threads: how many OpenMP threads parallel regions of its jobs get unless they say otherwise. */
enum kn_status kn_worker_new(struct kn_worker **worker, int threads, struct kn_err *err);
/* All jobs must be done. NULL is fine. */
void kn_worker_free(struct kn_worker *worker);
/* Runs do_it(user) on the worker and returns its result. Any thread but the worker itself. */
enum kn_status kn_worker_do(struct kn_worker *worker, enum kn_status (*do_it)(void *user),
                            void *user);

#endif
