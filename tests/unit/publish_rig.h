/* SPDX-License-Identifier: Apache-2.0 */
/* An event log and the publishing stage over it, on a thread of its own. Which ports it is to have
 * is the test's affair. */
#ifndef MR_TESTS_PUBLISH_RIG_H
#define MR_TESTS_PUBLISH_RIG_H

#include "publish.h"
#include "scratch.h"

struct server {
    struct scratch s;
    struct mr_eventlog *log;
    struct mr_link *link;
    struct mr_publish *publish; /* the test's mr_publish_new() */
    struct mr_thread *thread;
    char events[64], replay[64];
};

static inline struct server server_open(uint64_t segment_bytes)
{
    struct server v = {.s = scratch_make()};
    struct mr_err err = {0};
    ck_assert_msg(mr_eventlog_open(v.s.fd, segment_bytes, &v.log, NULL, &err) == 0, "%s", err.text);
    ck_assert_int_eq(mr_link_new(1, &v.link), 0);
    return v;
}

static inline void server_start(struct server *v)
{
    struct mr_err err = {0};
    ck_assert_int_eq(mr_thread_start(&mr_publish_stage, v->publish, &err, &v->thread), 0);
}

/* It stops when all is out. */
static inline void server_down(struct server *v)
{
    mr_publish_stop(v->publish);
    mr_thread_join(v->thread);
    ck_assert_uint_eq(mr_publish_last(v->publish), mr_eventlog_last(v->log));
    mr_publish_free(v->publish);
    mr_link_free(v->link);
    mr_eventlog_close(v->log);
    scratch_remove(&v->s);
}

#endif
