/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One file on its way: what track last said of it, which movie it is, and where it stands. Plain
 * data and the list of all of them; used by the tail thread alone.
 */
#ifndef MR_AGENT_SHIPMENT_H
#define MR_AGENT_SHIPMENT_H

#include "base/fs.h"
#include "journal.h"
#include "source.h"
#include "track.h"
#include "uncache.h"

enum mr_shipment_state {
    MR_SHIPMENT_IDLE,    /* nothing to ship (yet): still unknown, or done */
    MR_SHIPMENT_WAITING, /* has a movie id, waits for room in the transfer */
    MR_SHIPMENT_MOVING,  /* in the transfer */
    MR_SHIPMENT_LEAVING, /* in the transfer, to be abandoned */
};

enum mr_shipment_end { MR_END_NOT_YET, MR_END_COMMITTED, MR_END_FAILED };

/* The source as the last END described it, of this run or of an earlier one. */
struct mr_shipment_said {
    uint64_t size;
    int64_t mtime_ns;
    struct mr_journal_source source;
};

struct mr_shipment {
    struct mr_shipment *next_hash, *next_waiting;
    uint64_t file; /* track's number */
    enum mr_shipment_state state;
    enum mr_shipment_end end;
    uint32_t watch;
    const char *root; /* borrowed from the configuration */
    char *path;       /* owned; below root */

    /* what track said last */
    enum mr_growth_kind kind;
    struct mr_fs_facts facts;
    struct mr_source_view view;
    int64_t first_seen_real_ns, decided_real_ns;
    char *reason; /* owned; BROKEN: why. NULL otherwise */

    /* the movie; valid from WAITING on, and of the last one while IDLE after an end */
    struct mr_ulid id;
    uint32_t revision;
    enum mr_output output;
    enum mr_codec_id codec;   /* of its OPEN */
    enum mr_codec_id travels; /* codec auto: what its slabs are packed with, once weighed */
    bool weighed;
    struct mr_geometry geometry;
    /* as it was when its END, refusal or failure was decided, what CHANGED compares with; zero:
     * with nothing, it is read again */
    struct mr_fs_facts shipped;
    struct mr_shipment_said said; /* what purge may rely on; zero: no END that is known of */
    size_t room;                  /* what it takes of what may be under way, in small files */
    unsigned tries; /* times it began again because it read as other bytes than before */
    uint64_t failed_slab;
    int64_t failing_since_ns; /* monotonic: that slab cannot be read; 0: all can */
    int64_t failed_ns;        /* likewise: when it last could not */
    uint16_t held_code;       /* of the last HOLD; 0: not held */
    uint32_t held_ms;         /* what all its HOLDs come to */
    bool held_too_long;       /* of a command that ends: abandoned for that */
    uint64_t counted_bytes;   /* in the counts */
    int64_t not_before_ns;    /* WAITING: monotonic; a file that could not be opened */
    int fd;                   /* -1 unless it is being read */
    struct mr_uncache_run uncache;
    uint8_t *head; /* owned; source's header for STREAM and CHUNKS */
    uint32_t head_bytes;
    bool identified; /* the journal was asked, or has nothing to say */
    bool again;      /* track said CHANGED or REPLACED since the last end */
    bool replaced;   /* REPLACED: it is no revision of what was shipped */
    bool stale;      /* could not be opened as track described it */
    bool unreadable; /* said aloud */
    bool read_early; /* some of it while it grew: nobody would see that rewritten */
    bool gone;
};

/* All of them, by track's number. */
struct mr_shipments {
    struct mr_shipment **buckets;
    size_t bucket_count, count;
    struct mr_shipment *waiting_first, *waiting_last;
    size_t waiting_count;
};

int mr_shipments_init(struct mr_shipments *all) MR_MUST_USE;
void mr_shipments_fini(struct mr_shipments *all);

struct mr_shipment *mr_shipments_find(const struct mr_shipments *all, uint64_t file);
/* A new one with path copied; NULL: out of memory. */
struct mr_shipment *mr_shipments_add(struct mr_shipments *all, const struct mr_growth *growth);
void mr_shipments_remove(struct mr_shipments *all, struct mr_shipment *s); /* frees it */

/* Growing movies go before what is complete already. */
void mr_shipments_wait(struct mr_shipments *all, struct mr_shipment *s);
void mr_shipments_wait_last(struct mr_shipments *all, struct mr_shipment *s);
/* Out of the line; NULL: none waits. */
struct mr_shipment *mr_shipments_next(struct mr_shipments *all);
void mr_shipments_unwait(struct mr_shipments *all, struct mr_shipment *s);

/* Copies what growth says into s. */
void mr_shipment_note(struct mr_shipment *s, const struct mr_growth *growth);
bool mr_shipment_growing(const struct mr_shipment *s);
bool mr_shipment_complete(const struct mr_shipment *s);
void mr_shipment_close(struct mr_shipment *s); /* fd and head */

#endif
