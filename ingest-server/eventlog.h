/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The numbered, durable log of events: the truth about what happened in this store. Files
 * <root>/.millrace/events/<sequence of the first record>.log (segments.h), records "<sequence>
 * <type> <id> <json>". Sequences run 1, 2, 3 ... without a gap, over every segment.
 *
 * One thread writes (seal): append, append ..., sync. What is synced, and only that, is seen by
 * readers, of which there may be any number on any threads; each uses fds of its own, so a slow
 * reader never holds up the writer. When a sync fails, or an append but for want of room, the log
 * is broken for good (-EIO from then on): the caller ends the server, and the next start finds the
 * truth on disk. Where there is no room (mr_recordlog_is_whole) nothing is appended and the log
 * stays good; the caller tries again.
 */
#ifndef MR_EVENTLOG_H
#define MR_EVENTLOG_H

#include "event.h"
#include "mend.h"

#define MR_EVENTLOG_SEGMENT_BYTES (64u * 1024 * 1024)

struct mr_eventlog;

/* millrace_dir: <root>/.millrace, borrowed for the call; "events" below it is made if missing,
 * durably. segment_bytes: a segment that has reached it is followed by a new one. Reads every
 * record once. note (may be NULL): what was cut from the last segment, for the caller to log.
 * -EUCLEAN: damage, a gap, or a number twice; err names file and offset, and the server must not
 * start. Returns owned. */
int mr_eventlog_open(int millrace_dir, uint64_t segment_bytes, struct mr_eventlog **ret,
                     struct mr_mend_note *note, struct mr_err *err) MR_MUST_USE;
void mr_eventlog_close(struct mr_eventlog *log); /* NULL allowed; does not sync */

/* ---- writer's thread ---- */

/* Appends one event (json as mr_event_encode made it, without sequence) and gives its sequence. Not
 * yet durable, not yet visible. -EINVAL: not such a text, nothing written, the log stays good;
 * -ENOSPC, -EDQUOT, -EROFS: neither; -EIO and other write errors: broken. */
int mr_eventlog_append(struct mr_eventlog *log, const char *json, size_t bytes,
                       uint64_t *ret_sequence, struct mr_err *err) MR_MUST_USE;

/* The same, unless an event of this id is logged already: then -EEXIST, and *ret_sequence is that
 * event's (written in this case too). Exact over all segments. For recovery, and wherever a
 * commit may be entered a second time. */
int mr_eventlog_append_unless_logged(struct mr_eventlog *log, const char *json, size_t bytes,
                                     uint64_t *ret_sequence, struct mr_err *err) MR_MUST_USE;

/* The sequence of the event of this id; 0: there is none. -errno of I/O. */
int mr_eventlog_find(struct mr_eventlog *log, const char *id, uint64_t *ret_sequence,
                     struct mr_err *err) MR_MUST_USE;

/* Before anything else is done with it: prove(ctx) is called between an fdatasync and what it makes
 * visible, and returns only if the store is still this server's. is_newest(ctx) says, on any thread
 * and without waiting, whether that is certain. Either may be NULL. */
void mr_eventlog_guard(struct mr_eventlog *log, void (*prove)(void *ctx),
                       bool (*is_newest)(void *ctx), void *ctx);

/* One fdatasync for all appends before it; then they are visible and the doorbell rings. -EIO,
 * whatever the disk said: it is not tried again, and no reason to wait. */
int mr_eventlog_sync(struct mr_eventlog *log, struct mr_err *err) MR_MUST_USE;

/* ---- any thread ---- */

/* Sequence of the last durable event (0: none yet) and of the first one kept (1 while empty). */
uint64_t mr_eventlog_last(struct mr_eventlog *log);
uint64_t mr_eventlog_first(struct mr_eventlog *log);

/* To be asked between reading the last sequence and telling it: true where no other server can have
 * appended to the log before. A subscriber that has heard more would take this for another store.
 */
bool mr_eventlog_is_newest(const struct mr_eventlog *log);

/* Was "full" the last event about the store's room, synced or not? Writer's thread, or at start. */
bool mr_eventlog_says_full(const struct mr_eventlog *log);

/* An eventfd that becomes readable at every sync that made something visible. One waiter (publish),
 * which reads it to re-arm. Borrowed. */
int mr_eventlog_doorbell(const struct mr_eventlog *log);

/* Json borrowed for the visit */
struct mr_eventlog_record {
    uint64_t sequence;
    char type[MR_EVENT_TYPE_MAX + 1], id[MR_EVENT_ID_MAX + 1];
    const char *json; /* with sequence, NUL-terminated */
    size_t json_bytes;
};
typedef int (*mr_eventlog_visit)(void *ctx, const struct mr_eventlog_record *record);

/* Visits durable events from `since` (inclusive; older than the first kept: from the first), at
 * most `limit`, in order. A non-zero result of visit ends it and is returned. Nothing there: 0 and
 * no visit. -EUCLEAN: the file was damaged under us; -errno of I/O. */
int mr_eventlog_read(struct mr_eventlog *log, uint64_t since, uint64_t limit,
                     mr_eventlog_visit visit, void *ctx) MR_MUST_USE;

/* A record's text (NUL-terminated) taken apart; json points into it. -EPROTO. Pure. */
int mr_eventlog_parse(const char *text, size_t bytes, struct mr_eventlog_record *ret) MR_MUST_USE;

#endif
