/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publishing stage, thread "publish": every durable event in order on PUB, once per life of the
 * server, from the one after the last that was durable when mr_publish_new was called (so call it
 * before recovery appends); and replay, from the log. A message is a doorbell: whoever misses one
 * sees the gap in the sequence and asks for replay.
 *
 * Replay: {"since":N,"limit":M} (limit optional) -> {"events":[...],"first":F,"last":L} with at
 * most limit events, and less when they are big; or {"error":"..."}.
 */
#ifndef MR_PUBLISH_H
#define MR_PUBLISH_H

#include "base/thread.h"
#include "eventlog.h"
#include "wire/link.h"

#define MR_REPLAY_LIMIT_DEFAULT 100u
#define MR_REPLAY_LIMIT_MAX     1000u
#define MR_REPLAY_REQUEST_MAX   4096u              /* bytes of a request */
#define MR_REPLAY_REPLY_MAX     (8u * 1024 * 1024) /* bytes of a reply */

struct mr_publish;

/* Binds both endpoints ("tcp://127.0.0.1:5580"; replay: the port after, mr_endpoint_text). link and
 * log are borrowed until mr_publish_free. Returns owned. */
int mr_publish_new(struct mr_link *link, struct mr_eventlog *log, const char *events,
                   const char *replay, struct mr_publish **ret, struct mr_err *err) MR_MUST_USE;
void mr_publish_free(struct mr_publish *publish); /* after the join; NULL allowed */

extern const struct mr_stage
    mr_publish_stage; /* mr_thread_start(&mr_publish_stage, publish, ...) */

/* Any thread: publish what is durable by now, then end the stage. */
void mr_publish_stop(struct mr_publish *publish);

/* Any thread. */
uint64_t mr_publish_last(struct mr_publish *publish);    /* sequence of the last event sent */
uint64_t mr_publish_replays(struct mr_publish *publish); /* requests answered */
/* 0, or the error that stopped the stage (the log cannot be read). */
int mr_publish_error(struct mr_publish *publish);

struct mr_replay_request {
    uint64_t since; /* >= 1 */
    uint64_t limit; /* 1 .. MR_REPLAY_LIMIT_MAX: more is cut to it */
};
/* Strict: an object with since, perhaps limit, nothing else. -EPROTO with err. Pure. */
int mr_publish_parse_request(const char *data, size_t bytes, struct mr_replay_request *ret,
                             struct mr_err *err) MR_MUST_USE;

#endif
