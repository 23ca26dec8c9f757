/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events that are to be logged, in their order, and wait where the log has no room: a store that is
 * full must still be able to say so, once it can. Used by the event log's writer (seal).
 */
#ifndef MR_UNLOGGED_H
#define MR_UNLOGGED_H

#include "eventlog.h"

#define MR_UNLOGGED_MAX 1024 /* events that wait at once */

struct mr_unlogged {
    char *events[MR_UNLOGGED_MAX]; /* owned */
    size_t count;
};

/* Logs event (takes it) durably behind those that wait, or lets it wait with them: then what the
 * log said (mr_recordlog_is_whole). -ENOBUFS: as many wait as may, this one is lost. Other errors:
 * the log is broken. */
int mr_unlogged_add(struct mr_unlogged *u, struct mr_eventlog *log, char *event,
                    struct mr_err *err) MR_MUST_USE;

/* Logs what waits. 0 also where nothing does; else as above. */
int mr_unlogged_flush(struct mr_unlogged *u, struct mr_eventlog *log,
                      struct mr_err *err) MR_MUST_USE;

void mr_unlogged_fini(struct mr_unlogged *u);

#endif
