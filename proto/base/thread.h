/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A named thread around one stage. mr_thread_start returns after the stage's start function has
 * succeeded on the new thread (or with its error, the thread gone): a half-started program does not
 * exist. All signals are blocked in the thread; main owns them.
 */
#ifndef MR_BASE_THREAD_H
#define MR_BASE_THREAD_H

#include "base/err.h"

struct mr_thread;

struct mr_stage {
    const char *name; /* at most 15 characters; borrowed, must outlive */
    int (*start)(void *stage, struct mr_err *err); /* may be NULL */
    void (*run)(void *stage);                      /* returns when its input is closed */
};

/* Returns owned. The stage pointer is borrowed until mr_thread_join. */
int mr_thread_start(const struct mr_stage *ops, void *stage, struct mr_err *err,
                    struct mr_thread **ret) MR_MUST_USE;
void mr_thread_join(struct mr_thread *thread); /* waits and frees; NULL allowed */

#endif
