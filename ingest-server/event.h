/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event's text: CloudEvents 1.0 as JSON, on one line. An event is written once without its
 * sequence (that is what a SEALED record keeps); the event log puts the sequence in when it
 * appends. Pure.
 */
#ifndef MR_EVENT_H
#define MR_EVENT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MR_EVENT_ID_MAX   63 /* bytes, without NUL */
#define MR_EVENT_TYPE_MAX 63
#define MR_EVENT_TEXT_MAX (1000u * 1024) /* a whole event; a record holds it and its number */

#define MR_EVENT_MOVIE_STARTED "millrace.movie.started.v1"
#define MR_EVENT_MOVIE_READY   "millrace.movie.ready.v1"
#define MR_EVENT_MOVIE_FAILED  "millrace.movie.failed.v1"
#define MR_EVENT_FILE_READY    "millrace.file.ready.v1"
#define MR_EVENT_AGENT_ONLINE  "millrace.agent.online.v1"
#define MR_EVENT_AGENT_OFFLINE "millrace.agent.offline.v1"
#define MR_EVENT_STORE_FULL    "millrace.store.full.v1"
#define MR_EVENT_STORE_SPACE   "millrace.store.space.v1"

/* Every pointer borrowed */
struct mr_event {
    const char *type;     /* [A-Za-z0-9._-]{1,63} */
    const char *id;       /* the same; stable for ever: "<ULID>.ready", "<ULID>.ready.r2" */
    const char *source;   /* "/millrace/storage1/k3-krios1" */
    const char *subject;  /* "grid7/movie_0001.mrc"; NULL or "": left out */
    int64_t time_real_ns; /* server's clock, UTC */
    const char *data;     /* a JSON object's text without newlines; NULL: left out */
};

/* The event's JSON without a sequence. Returns owned text (free). -EINVAL: type or id out of
 * alphabet, a newline in data; -EILSEQ: source or subject not UTF-8; -EMSGSIZE; -ENOMEM. */
int mr_event_encode(const struct mr_event *event, char **ret, size_t *ret_bytes) MR_MUST_USE;

/* Type and id of a text that mr_event_encode made (with or without sequence), into
 * ret_type (MR_EVENT_TYPE_MAX + 1) and ret_id (MR_EVENT_ID_MAX + 1). -EPROTO: not such a text.
 * Only the front is looked at; the rest is not parsed. */
int mr_event_names(const char *json, size_t bytes, char *ret_type, char *ret_id) MR_MUST_USE;

/* The same event with "sequence":"<n>" behind its id, into ret (size bytes), NUL-terminated;
 * *ret_bytes without the NUL. -EPROTO: not such a text, or it has a sequence; -ENOSPC. */
int mr_event_number(const char *json, size_t bytes, uint64_t sequence, char *ret, size_t size,
                    size_t *ret_bytes) MR_MUST_USE;

#endif
