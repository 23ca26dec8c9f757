/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table that says what a program of ours waits for: per thread CPU time, work, waits, items and
 * bytes (base/tally), per queue and pool how full it was. Printed to stderr on SIGUSR1, by a thread
 * of its own, so also while the program drains; and at the end where that is wanted. How to read
 * it: docs/PERFORMANCE.md.
 */
#ifndef MR_BASE_TALLY_SHEET_H
#define MR_BASE_TALLY_SHEET_H

#include "base/pool.h"
#include "base/queue.h"
#include "base/tally.h"

#include <stdio.h>

#define MR_TALLY_LEVELS_MAX 96

/* One queue or one pool; borrowed until _close. */
struct mr_tally_level {
    const char *name; /* copied, at most 15 characters */
    struct mr_queue *queue;
    struct mr_pool *pool;
};

struct mr_tally_sheet;

/* From here SIGUSR1 prints the table, with what happened since it was printed last (first: since
 * now). program: borrowed. SIGUSR1 has to be blocked in every thread (mr_process_take_signals).
 * Returns owned. */
int mr_tally_sheet_open(const char *program, const struct mr_tally_level *levels, size_t count,
                        struct mr_err *err, struct mr_tally_sheet **ret) MR_MUST_USE;
/* at_end: prints the table once more, with all since _open. NULL allowed. Call it while the pools
 * and queues are there still, best when the threads have ended. */
void mr_tally_sheet_close(struct mr_tally_sheet *sheet, bool at_end);

/* What SIGUSR1 does, to out; whole: since _open. One call at a time, and none once SIGUSR1 may
 * come. */
void mr_tally_sheet_print(struct mr_tally_sheet *sheet, bool whole, FILE *out);

#endif
