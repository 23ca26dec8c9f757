/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One movie on one lane's landing: which of its slabs are written, which group is being synced,
 * which of landing.h's steps comes next. Part of landing, whose thread calls it; nobody else does.
 */
#ifndef MR_STRIP_H
#define MR_STRIP_H

#include "base/recordlog.h"
#include "landing.h"

#include <sys/queue.h>

#define MR_STRIP_LINE_BYTES (MR_PLACEMENT_TEXT + MR_RECORD_AROUND)

/* A slab, from put to durable. */
struct mr_item {
    /* in exactly one of: spare, waiting, in flight (none), filling, syncing */
    STAILQ_ENTRY(mr_item) link;
    struct mr_strip *strip;
    struct mr_placement placement;
    struct mr_buffer *buffer; /* NULL once written */
    size_t padded_bytes;
};
STAILQ_HEAD(mr_item_list, mr_item);

/* Of its group that is being synced; each step is taken by who is named:
 *
 *   IDLE -- advance: a group is due --> PART_WANTED -- advance: the engine takes it --> PART
 *   PART -- done --> JOURNAL_WANTED, its lines appended -- advance --> JOURNAL -- done --> IDLE
 *
 * and durable is said. From PART and JOURNAL a failure, from any other state a tainted movie, leads
 * to IDLE, and the groups are dropped. */
enum mr_strip_state {
    MR_STRIP_IDLE,
    MR_STRIP_PART_WANTED,    /* a group is closed, the engine had no room for its fdatasync yet */
    MR_STRIP_PART,           /* fdatasync(part) in flight */
    MR_STRIP_JOURNAL_WANTED, /* lines appended */
    MR_STRIP_JOURNAL,        /* fdatasync(journal) in flight */
};

struct mr_strip_group {
    struct mr_item_list items;
    uint32_t count;
    uint64_t bytes;
};

/* One movie on this lane. */
struct mr_strip {
    TAILQ_ENTRY(mr_strip) link;
    struct mr_movie *movie;        /* a reference */
    int part_fd, journal_fd;       /* open files of this lane's own: see mr_landing_attach */
    uint32_t writing;              /* items waiting for the engine or in flight */
    struct mr_strip_group filling; /* written, not yet being synced */
    int64_t filling_since_ns;
    struct mr_strip_group syncing;
    enum mr_strip_state state;
    bool detaching;
    enum mr_landing_failure failure; /* gravest of this lane's own; 0: none */
};

/* What the strips of a lane share. */
struct mr_strip_shared {
    /* set once */
    struct mr_landing_config config; /* defaults filled in */
    struct mr_landing_callbacks callbacks;
    struct mr_uring *engine;
    /* items that hold no slab */
    struct mr_item_list spare;
    uint32_t spare_count;
    /* scratch of one call */
    struct mr_placement *durable; /* group_slabs of them, for the callback */
    char *lines;                  /* group_slabs x MR_STRIP_LINE_BYTES, for the append */
};

/* Holds a reference of movie and opens its files anew. Returns owned. */
int mr_strip_open(struct mr_movie *movie, struct mr_err *err, struct mr_strip **ret) MR_MUST_USE;
void mr_strip_close(struct mr_strip *strip); /* NULL and half-opened allowed */

/* Tainted, by whichever lane: nothing more of it is written, synced or reported. */
bool mr_strip_is_dropped(const struct mr_strip *strip);
/* Nothing in flight, waiting or to be synced. */
bool mr_strip_is_idle(const struct mr_strip *strip);

/* Out of the spare ones; NULL: none. */
struct mr_item *mr_strip_take_item(struct mr_strip_shared *s);
/* Back to the spare ones, and its buffer, if it has one, to the pool. */
void mr_strip_spare_item(struct mr_strip_shared *s, struct mr_item *item);
/* It was put, and its movie is tainted: it is not written any more. */
void mr_strip_drop_item(struct mr_strip_shared *s, struct mr_item *item);

/* What the engine is to say when the item's write is done. */
uint64_t mr_strip_token(const struct mr_item *item);
/* A write or an fdatasync is done. Calls back. */
void mr_strip_done(struct mr_strip_shared *s, const struct mr_uring_done *done, int64_t now_ns);

/* When a group is due for its age alone (monotonic); INT64_MAX: none is, or a completion moves it
 * before. */
int64_t mr_strip_deadline_ns(const struct mr_strip_shared *s, const struct mr_strip *strip);

/* Closes a group that is due and starts the fdatasync that is wanted; an engine that is full is
 * asked again at the next step. */
int mr_strip_advance(struct mr_strip_shared *s, struct mr_strip *strip, int64_t now_ns) MR_MUST_USE;

#endif
