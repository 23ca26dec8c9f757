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
    struct mr_landing_config config; /* defaults filled in */
    struct mr_landing_callbacks callbacks;
    struct mr_uring *engine;
    struct mr_item_list spare;
    uint32_t spare_count;
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

/* Returns the item to the spare ones and its buffer, if it has one, to the pool. */
void mr_strip_spare_item(struct mr_strip_shared *s, struct mr_item *item);

/* Completions: of an item's write, of the strip's fdatasync (the engine's token is the strip's
 * pointer with its lowest bit set; an item's is its pointer). They call back. */
void mr_strip_write_done(struct mr_strip_shared *s, struct mr_item *item, int64_t result,
                         int64_t now_ns);
void mr_strip_sync_done(struct mr_strip_shared *s, struct mr_strip *strip, int64_t result);

/* Closes a group that is due and starts the fdatasync that is wanted; an engine that is full is
 * asked again at the next step. */
int mr_strip_advance(struct mr_strip_shared *s, struct mr_strip *strip, int64_t now_ns) MR_MUST_USE;

#endif
