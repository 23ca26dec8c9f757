/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named places at which a test lets something happen, once.
 * - MILLRACE_CRASH_AT=<name> or <name>:<n>: the n-th time the place is passed the process ends as
 * by kill -9.
 * - MILLRACE_STOP_AT, likewise: it stands still, as by SIGSTOP, until somebody sends SIGCONT.
 * - MILLRACE_FAIL_AT=<name>:<n>:<fault>: the n-th result that passes is another one: -errno by its
 *   name ("EIO"), or "short", half of it. That is said on stderr.
 * Any thread.
 */
#ifndef MR_BASE_FAILPOINT_H
#define MR_BASE_FAILPOINT_H

#include <stdatomic.h>
#include <stdbool.h>

void mr_failpoint(const char *name); /* costs a call: not for the data path */

extern atomic_bool mr_failpoint_is_armed; /* true also until the environment has been read */
int mr_failpoint_replace(const char *name, int result);

/* The result of an operation, or what a test wants it to be. Costs a branch that is not taken. */
static inline int mr_failpoint_result(const char *name, int result)
{
    bool armed = atomic_load_explicit(&mr_failpoint_is_armed, memory_order_relaxed);
    return __builtin_expect(armed, false) ? mr_failpoint_replace(name, result) : result;
}

#endif
