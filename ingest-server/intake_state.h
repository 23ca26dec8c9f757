/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the server's protocol core share: sessions and movies in flight. Private to
 * intake*.c: intake (life, time, what the other stages answer), intake_session (who may talk),
 * intake_hear (what agents say), intake_movie (a movie's durable set and its leaving).
 */
#ifndef MR_INTAKE_STATE_H
#define MR_INTAKE_STATE_H

#include "credit.h"
#include "intake.h"

#define NO_SESSION UINT32_MAX

enum movie_state {
    BERTHING,  /* being looked for or made */
    LIVE,      /* lanes take its slabs */
    LEAVING,   /* lanes are letting go of it */
    FINISHING, /* being committed, failed or discarded */
};

struct entry {
    struct entry *next, *before;
    struct entry *next_id; /* of the same bucket */
    enum movie_state state;
    enum mr_finish after; /* what follows LEAVING */
    uint32_t session;     /* slot of its owner, or NO_SESSION */
    struct mr_hello from; /* who opened it */
    int64_t clock_offset_ms, opened_ns;
    struct mr_open open;
    struct mr_movie *movie; /* NULL while BERTHING and FINISHING: then it is another stage's */
    uint32_t generation;    /* of movie */
    uint8_t *durable;       /* bitmap */
    uint64_t durable_bytes, durable_count;
    uint64_t *unsaid; /* durable slabs not yet acked */
    size_t unsaid_count, unsaid_capacity;
    bool complete, distrusted;
    bool small;   /* its slab counts where it is aboard, and is not durable before its commit */
    bool discard; /* ABANDON came while BERTHING */
    struct mr_end end; /* once complete; blobs owned */
    struct mr_fail fail;
    struct mr_message hold; /* what to say after MR_FINISH_RELEASE, where type is set */
};

enum session_state { FREE, WAITING, TALKING };

struct session {
    enum session_state state;
    struct mr_route route;
    struct mr_hello hello;
    uint64_t token;
    uint32_t sent_sequence, heard_sequence;
    int64_t heard_ns, sent_ns, since_ns, clock_offset_ms;
    bool credit_due;
    struct mr_backlog backlog; /* as its agent last told */
    struct mr_packing packing; /* likewise */
};

#define ENTRY_BUCKETS MR_MOVIES_MAX /* a power of two */

struct mr_intake {
    struct mr_intake_config config;
    struct mr_intake_ops ops;
    struct session sessions[MR_CREDIT_SLOTS];
    struct mr_credit_lane credit[MR_LANES_MAX];
    struct entry *entries;
    struct entry *by_id[ENTRY_BUCKETS];
    size_t entry_count;
    bool unsaid; /* there may be slabs that no ACK has told of yet */
    uint64_t last_token;
    int64_t now_ns; /* of the call in progress */
    bool stopping;
    bool paused; /* no credit for anybody */
};

/* ---- sessions (intake_session.c); NULL: no such ---- */
struct session *mr_intake_find_route(struct mr_intake *in, const struct mr_route *route);
struct session *mr_intake_find_token(struct mr_intake *in, uint64_t token);
struct session *mr_intake_owner_of(struct mr_intake *in, const struct entry *e);
uint32_t mr_intake_slot_of(const struct mr_intake *in, const struct session *s);

void mr_intake_say(struct mr_intake *in, struct session *s, struct mr_message *m);
void mr_intake_refuse(struct mr_intake *in, const struct mr_route *to, uint16_t code,
                      const char *text);
void mr_intake_say_hold(struct mr_intake *in, struct session *s, const struct mr_ulid *id,
                        uint16_t code, uint32_t retry_ms, const char *text);
void mr_intake_say_credit(struct mr_intake *in, struct session *s);

void mr_intake_greet(struct mr_intake *in, const struct mr_route *from,
                     const struct mr_hello *hello, int64_t real_ns);
void mr_intake_welcome_if_drained(struct mr_intake *in, struct session *s);
/* Says so, then ends it. */
void mr_intake_dismiss(struct mr_intake *in, struct session *s, uint16_t code, const char *text);
void mr_intake_end_session(struct mr_intake *in, struct session *s);

/* ---- movies (intake_movie.c) ---- */
struct entry *mr_intake_find_movie(const struct mr_intake *in, const struct mr_ulid *id);
struct mr_sender mr_intake_sender_of(const struct entry *e);
void mr_intake_leave(struct mr_intake *in, struct entry *e, enum mr_finish after);
void mr_intake_forget(struct mr_intake *in, struct entry *e); /* takes it out and frees it */
void mr_intake_entry_free(struct entry *e);
/* NULL: there are as many as may be. */
struct entry *mr_intake_new_entry(struct mr_intake *in, struct session *s, const struct mr_ulid *id,
                                  enum movie_state state);
void mr_intake_take_over(struct mr_intake *in, struct entry *e, struct session *s);
void mr_intake_finish(struct mr_intake *in, struct entry *e, enum mr_finish how);
/* It is to fail: for what it is, which the agent's saying it again would not mend. */
void mr_intake_condemn(struct mr_intake *in, struct entry *e, uint16_t code,
                       const struct mr_extent *extent, const char *text);
void mr_intake_seal_if_whole(struct mr_intake *in, struct entry *e);
bool mr_intake_is_durable(const struct entry *e, uint64_t slab);
void mr_intake_mark_durable(struct entry *e, uint64_t slab);
void mr_intake_remember_unsaid(struct mr_intake *in, struct entry *e, uint64_t slab);
void mr_intake_say_acks(struct mr_intake *in, struct session *s, struct entry *e);
void mr_intake_say_opened(struct mr_intake *in, struct session *s, struct entry *e, bool resumed,
                          const struct mr_range *durable, size_t count);

#endif
