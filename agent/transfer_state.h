/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the agent's protocol core share: the state of a session and of its movies.
 * Private to transfer*.c: transfer (life, movies), transfer_list (finding them), transfer_hear
 * (what the server says), transfer_say (what we say), transfer_slab (which slab is next).
 */
#ifndef MR_TRANSFER_STATE_H
#define MR_TRANSFER_STATE_H

#include "transfer.h"
#include "window.h"

enum movie_state {
    QUEUED, /* OPEN is to be sent */
    OPENING,
    LIVE,  /* OPENED: slabs go */
    ENDED, /* END sent */
    HELD,  /* until held_until_ns, then QUEUED */
    FAILING,
    ABANDONING,
};

struct movie {
    struct movie *next, *before; /* awake or resting */
    struct movie *next_id, *next_owner;
    uint64_t number; /* in the order they were added */
    bool resting;
    void *owner;
    struct mr_open open;
    enum movie_state state;
    uint32_t generation;
    uint64_t opening; /* which OPENED this is: picks of an earlier one are void */
    int64_t held_until_ns;
    int64_t not_before_ns; /* LIVE: it could not be read */
    uint64_t settled_from, settled_to;
    bool complete, send_fail, unreadable, send_abandon;
    bool packed;       /* the slab that was picked last: of a whole one, its only one */
    struct mr_end end; /* once complete */
    char reason[MR_TEXT_MAX];
    struct mr_window window;
    uint64_t packed_raw, packed_wire; /* bytes of its slabs that were sent */
};

struct movie_list {
    struct movie *first, *last;
};

#define MOVIE_BUCKETS 1024 /* a power of two; about as many as may be under way */

struct lane_credit {
    uint64_t granted, spent, reserved, returned; /* bytes, totals but for reserved */
    uint64_t in_flight;                          /* slabs picked and not yet acked */
    bool wanted;
    int64_t needed_ns;   /* when a slab last asked for credit here */
    int64_t progress_ns; /* last ack, or last slab sent on credit */
};

enum session_state { DOWN, CONNECTED, GREETED, READY, CLOSED };

struct mr_transfer {
    struct mr_transfer_config config;
    struct mr_transfer_ops ops;
    enum session_state state;
    uint64_t session, epoch;
    uint32_t sent_sequence, heard_sequence;
    int64_t heard_ns, pinged_ns;
    struct mr_backlog backlog;
    struct mr_packing packing;
    struct mr_transfer_flow flow; /* but for `waiting` */
    struct mr_welcome welcome;
    struct lane_credit lanes[MR_LANES_MAX];
    bool demand_due, pong_due, bye_due, confirm_due;
    bool lacks_credit; /* since the last pick */
    struct mr_confirm confirm;
    uint64_t pong_token, ping_token;
    uint64_t openings; /* OPENED taken so far */
    /* Awake: something may be read or said of them; in the order they were added. Resting: they
     * wait for the server's word, hundreds of small files at a time, and no loop passes them. */
    struct movie_list awake, resting;
    struct movie *by_id[MOVIE_BUCKETS], *by_owner[MOVIE_BUCKETS];
    uint64_t added;
    size_t count;
    uint64_t durable_bytes; /* of all of them */
};

/* ---- the lists (transfer_list.c) ---- */

void mr_transfer_list_add(struct mr_transfer *t, struct movie *m);    /* awake, as the last */
void mr_transfer_list_remove(struct mr_transfer *t, struct movie *m); /* does not free it */
/* It waits for the server's word, where its state and flags say so. */
void mr_transfer_rest(struct mr_transfer *t, struct movie *m);
/* Before its state or flags change. */
void mr_transfer_wake(struct mr_transfer *t, struct movie *m);

/* NULL: no such movie here. */
struct movie *mr_transfer_find_owner(struct mr_transfer *t, const void *owner);
struct movie *mr_transfer_find_id(struct mr_transfer *t, const struct mr_ulid *id);
void mr_transfer_remove(struct mr_transfer *t, struct movie *m); /* frees it */

/* All changes of a slab's state that touch what is in flight go through these. */
void mr_transfer_slab_durable(struct mr_transfer *t, struct movie *m, uint64_t slab);
void mr_transfer_slab_unpick(struct mr_transfer *t, struct movie *m, uint64_t slab);
void mr_transfer_window_reset(struct mr_transfer *t, struct movie *m);

/* Moves the window's cursor over what needs no attention. */
void mr_transfer_advance_cursor(struct movie *m);

#endif
