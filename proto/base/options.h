/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What command lines of our daemons have in common: what is wrong with one, --set KEY=VALUE, the
 * end of what --help and the like print. Statuses are sysexits(3)'s. Main thread.
 */
#ifndef MR_BASE_OPTIONS_H
#define MR_BASE_OPTIONS_H

#include "base/err.h"

#define MR_OPTIONS_GO_ON    (-1) /* no exit status: there is more to do */
#define MR_OPTIONS_SETS_MAX 64

/* Borrowed from argv */
struct mr_options_sets {
    const char *items[MR_OPTIONS_SETS_MAX];
    size_t count;
};

/* Says so on stderr, and where there is help. Returns EX_USAGE. */
int mr_options_wrong(const char *program, const char *fmt, ...) MR_PRINTF(2, 3);

/* MR_OPTIONS_GO_ON, or as above where it is no KEY=VALUE or there are too many. */
int mr_options_add_set(const char *program, struct mr_options_sets *sets,
                       const char *assignment) MR_MUST_USE;

/* All that was printed on stdout arrived: EX_OK; else EX_IOERR. */
int mr_options_printed(void) MR_MUST_USE;

#endif
