/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replay: {"since":N,"limit":M} (limit optional) is answered {"events":[...],"first":F,"last":L}:
 * events from N on, inclusive, at most M of them and fewer when they are big; F the oldest one
 * kept, L the newest. What is no request is answered {"error":"..."}. Any thread.
 */
#ifndef MR_REPLAY_H
#define MR_REPLAY_H

#include "eventlog.h"

#define MR_REPLAY_LIMIT_DEFAULT 100u
#define MR_REPLAY_LIMIT_MAX     1000u
#define MR_REPLAY_REQUEST_MAX   4096u              /* bytes of a request */
#define MR_REPLAY_PAGE_BYTES    (4u * 1024 * 1024) /* about; one event always fits */

struct mr_replay_request {
    uint64_t since; /* >= 1 */
    uint64_t limit; /* 1 .. MR_REPLAY_LIMIT_MAX: more is cut to it */
};

/* Strict: an object with since, perhaps limit, nothing else. -EPROTO with err. Pure. */
int mr_replay_parse(const char *data, size_t bytes, struct mr_replay_request *ret,
                    struct mr_err *err) MR_MUST_USE;

/* The page of at most `limit` events from `since` and about max_bytes, as owned text. -EAGAIN: it
 * is not certain where the log ends (mr_eventlog_is_newest). */
int mr_replay_page(struct mr_eventlog *log, uint64_t since, uint64_t limit, size_t max_bytes,
                   char **ret, size_t *ret_bytes) MR_MUST_USE;

/* {"error":"<text>"} as owned text, or NULL when out of memory. */
char *mr_replay_error(const char *text);

#endif
