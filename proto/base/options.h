/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the mains of our daemons have in common: what is wrong with a command line, --set KEY=VALUE,
 * --help and the like, what SIGHUP came to. Statuses are sysexits(3)'s. Main thread.
 */
#ifndef MR_BASE_OPTIONS_H
#define MR_BASE_OPTIONS_H

#include "base/config.h"
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

/* 'b' debug, 'h' help, 'v' version; any other is an option that does not exist, of which getopt has
 * complained. Returns the exit status, or MR_OPTIONS_GO_ON. */
int mr_options_take_common(int letter, const char *program, const char *usage,
                           int (*print_version)(void)) MR_MUST_USE;

/* Logs for `stage` what reading `file` again came to. fresh NULL: it did not load, err says why. */
void mr_options_tell_reload(const struct mr_config_key *table, const void *running,
                            const void *fresh, const char *stage, const char *file,
                            struct mr_err *err);

#endif
