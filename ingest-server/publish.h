/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The publishing stage, thread "publish": every durable event in order on PUB, once per life of the
 * server, from the one after the last that was durable when mr_publish_new was called (so call it
 * before recovery appends); and replay, from the log. A message is a doorbell: whoever misses one
 * sees the gap in the sequence and asks for replay (replay.h).
 */
#ifndef MR_PUBLISH_H
#define MR_PUBLISH_H

#include "base/thread.h"
#include "eventlog.h"
#include "wire/link.h"

struct mr_publish;

/* Binds both endpoints ("tcp://127.0.0.1:5580"; replay: the port after, mr_endpoint_text). link and
 * log are borrowed until mr_publish_free. Returns owned. */
int mr_publish_new(struct mr_link *link, struct mr_eventlog *log, const char *events,
                   const char *replay, struct mr_publish **ret, struct mr_err *err) MR_MUST_USE;
void mr_publish_free(struct mr_publish *publish); /* after the join; NULL allowed */

/* The ports bound, where an endpoint said "*". */
void mr_publish_ports(const struct mr_publish *publish, uint16_t *ret_events, uint16_t *ret_replay);

extern const struct mr_stage
    mr_publish_stage; /* mr_thread_start(&mr_publish_stage, publish, ...) */

/* Any thread: publish what is durable by now, then end the stage. */
void mr_publish_stop(struct mr_publish *publish);

/* Any thread. */
uint64_t mr_publish_last(struct mr_publish *publish);    /* sequence of the last event sent */
uint64_t mr_publish_replays(struct mr_publish *publish); /* requests answered */
/* 0, or why the log cannot be read at the moment (the stage logs it, and tries again each
 * second). */
int mr_publish_error(struct mr_publish *publish);

#endif
