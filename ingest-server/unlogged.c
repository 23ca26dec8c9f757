/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of events in front of the log. Movies do not stand in it: seal keeps those itself, with
 * all that is to be done for them.
 */
#include "unlogged.h"

#include "base/recordlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* An event that is logged already, or none, is done with too. */
static int log_one(struct mr_eventlog *log, const char *event, struct mr_err *err)
{
    uint64_t sequence;
    int r = mr_eventlog_append_unless_logged(log, event, strlen(event), &sequence, err);
    return r == -EEXIST || r == -EINVAL ? 0 : r;
}

int mr_unlogged_flush(struct mr_unlogged *u, struct mr_eventlog *log, struct mr_err *err)
{
    size_t done = 0;
    int r = 0;
    for (; done < u->count && (r = log_one(log, u->events[done], err)) == 0; done++)
        free(u->events[done]);
    u->count -= done;
    memmove(u->events, u->events + done, u->count * sizeof(u->events[0]));
    int synced = mr_eventlog_sync(log, r == 0 ? err : NULL);
    return synced < 0 ? synced : r;
}

int mr_unlogged_add(struct mr_unlogged *u, struct mr_eventlog *log, char *event, struct mr_err *err)
{
    if (u->count == MR_UNLOGGED_MAX) {
        free(event);
        return mr_err_set(err, -ENOBUFS, "%d events wait for room already", MR_UNLOGGED_MAX);
    }
    u->events[u->count++] = event;
    return mr_unlogged_flush(u, log, err);
}

void mr_unlogged_fini(struct mr_unlogged *u)
{
    for (size_t i = 0; i < u->count; i++)
        free(u->events[i]);
    u->count = 0;
}
