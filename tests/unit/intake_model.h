/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's core as a few rules: who owns which movie, what follows when it leaves, what may be
 * said to whom. The test moves the model first; whatever the core then asks for or sends has to
 * follow from it.
 */
#ifndef MR_TESTS_INTAKE_MODEL_H
#define MR_TESTS_INTAKE_MODEL_H

#include "dice.h"
#include "suite.h"

#include "base/clock.h"
#include "intake.h"

#include <stdio.h>
#include <string.h>

enum { PEERS = 6, MOVIES = 8, SLABS = 24, LANES = 2, MOVIES_MAX = 6 };

enum state { NONE, BERTHING, LIVE, LEAVING, FINISHING };

static struct model {
    enum state state;
    int owner; /* peer, or -1 */
    const char *agent;
    unsigned path; /* of its OPEN */
    struct mr_movie *movie;
    bool asked; /* op detach was */
    bool discard, complete, distrusted, holds;
    enum mr_finish after;
    uint64_t slabs;
    bool durable[SLABS];
    int unsaid[SLABS];
} movies[MOVIES];

static struct peer {
    enum { GONE, WAITING, TALKING } state;
    const char *name;
    uint8_t instance;
    bool push;
    uint64_t epoch, token;
    uint32_t said, heard;
    uint64_t granted[LANES], used[LANES], returned[LANES];
} peers[PEERS];

static struct mr_intake *in;
static int64_t now;
static bool paused, stopping;
static int online;
static unsigned berths, attached, commits, fails, discards, releases;

static inline struct mr_ulid id_of(size_t i)
{
    return (struct mr_ulid){{(uint8_t)(i + 1)}};
}

static inline struct model *model_of(const struct mr_ulid *id)
{
    ck_assert_uint_ge(id->bytes[0], 1);
    ck_assert_uint_le(id->bytes[0], MOVIES);
    return &movies[id->bytes[0] - 1];
}

/* ---- the rules ---- */

static inline void forget(struct model *e)
{
    mr_movie_release(e->movie);
    *e = (struct model){.state = NONE, .owner = -1};
}

static inline void leave(struct model *e, enum mr_finish after)
{
    if (e->state == LEAVING) {
        if (e->after == MR_FINISH_RELEASE || after == MR_FINISH_DISCARD)
            e->after = after;
        return;
    }
    ck_assert_int_eq(e->state, LIVE);
    e->state = LEAVING;
    e->after = after;
    e->asked = false;
}

static inline bool whole(const struct model *e)
{
    for (uint64_t i = 0; i < e->slabs; i++)
        if (!e->durable[i])
            return false;
    return e->complete;
}

static inline void end_of(int peer)
{
    peers[peer].state = GONE;
    for (size_t i = 0; i < MOVIES; i++) {
        struct model *e = &movies[i];
        if (e->state == NONE || e->owner != peer)
            continue;
        e->owner = -1;
        if (e->state == LIVE)
            leave(e, MR_FINISH_RELEASE);
    }
}

static inline bool is_its(const struct model *e, int peer)
{
    return strcmp(e->agent, peers[peer].name) == 0;
}

static inline size_t in_flight(void)
{
    size_t count = 0;
    for (size_t i = 0; i < MOVIES; i++)
        count += movies[i].state != NONE;
    return count;
}

static inline void enter(struct model *e, int peer, enum state state, unsigned path)
{
    *e = (struct model){.state = state, .owner = peer, .agent = peers[peer].name, .path = path};
}

/* ---- what the core asks for ---- */

static inline void hear_ranges(const struct mr_message *m)
{
    struct model *e = model_of(&m->ack.movie);
    ck_assert_uint_eq(m->ack.generation, e->movie == NULL ? 1 : e->movie->generation);
    for (uint32_t i = 0; i < m->ack.range_count; i++) {
        struct mr_range r = mr_message_range(m->ack.ranges, i);
        for (uint64_t slab = r.first; slab < r.first + r.count; slab++) {
            ck_assert_uint_lt(slab, SLABS);
            ck_assert(e->durable[slab]);
            ck_assert_int_ge(--e->unsaid[slab], 0);
        }
    }
}

static inline void hear_credit(struct peer *p, const struct mr_credit *credit)
{
    ck_assert_uint_eq(credit->lanes, LANES);
    for (size_t i = 0; i < LANES; i++) {
        ck_assert_uint_ge(credit->granted[i], p->granted[i]);
        ck_assert(!paused || credit->granted[i] == p->granted[i]);
        p->granted[i] = credit->granted[i];
    }
}

static void op_send(void *ctx, const struct mr_route *to, const struct mr_message *m)
{
    struct peer *p = &peers[to->bytes[0]];
    (void)ctx;
    if (m->type == MR_REFUSED) {
        end_of(to->bytes[0]);
        return;
    }
    if (m->type == MR_WELCOME) {
        ck_assert_int_eq(p->state, WAITING);
        ck_assert(!stopping);
        p->state = TALKING;
        p->token = m->session;
        p->heard = 0;
        memset(p->granted, 0, sizeof(p->granted));
        memset(p->used, 0, sizeof(p->used));
        memset(p->returned, 0, sizeof(p->returned));
    }
    ck_assert_int_eq(p->state, TALKING);
    ck_assert_uint_eq(m->session, p->token);
    ck_assert_uint_eq(m->sequence, ++p->heard);
    if (m->type == MR_BYE)
        end_of(to->bytes[0]);
    else if (m->type == MR_ACK)
        hear_ranges(m);
    else if (m->type == MR_CREDIT)
        hear_credit(p, &m->credit);
    if (m->type == MR_ACK || m->type == MR_OPENED || m->type == MR_COMMITTED ||
        m->type == MR_FAILED || m->type == MR_ABANDONED || m->type == MR_RESEND)
        ck_assert_int_eq(model_of(&m->ack.movie)->owner, to->bytes[0]); /* nobody else's business */
}

static void op_berth(void *ctx, const struct mr_sender *from, const struct mr_open *open)
{
    struct model *e = model_of(&open->movie);
    (void)ctx;
    ck_assert_int_eq(e->state, BERTHING);
    ck_assert_str_eq(from->agent, e->agent);
    ck_assert(from->ephemeral == peers[e->owner].push);
    berths++;
}

static void op_attach(void *ctx, struct mr_movie *movie, uint64_t session)
{
    struct model *e = model_of(&movie->id);
    (void)ctx;
    ck_assert_int_eq(e->state, LIVE);
    ck_assert_uint_eq(session, peers[e->owner].token);
    attached++;
}

static void op_detach(void *ctx, struct mr_movie *movie)
{
    struct model *e = model_of(&movie->id);
    (void)ctx;
    ck_assert_int_eq(e->state, LEAVING);
    ck_assert(!e->asked);
    e->asked = true;
}

static void op_finish(void *ctx, enum mr_finish how, const struct mr_sender *from,
                      const struct mr_ulid *id, struct mr_movie *movie, const struct mr_end *end,
                      const struct mr_fail *fail)
{
    struct model *e = model_of(id);
    (void)ctx;
    ck_assert_str_eq(from->agent, e->agent);
    ck_assert_ptr_eq(movie, e->movie);
    ck_assert_int_eq(e->state, FINISHING);
    ck_assert_int_eq(how, e->after);
    ck_assert((fail != NULL) == (how == MR_FINISH_FAIL));
    if (how == MR_FINISH_COMMIT) {
        ck_assert(whole(e));
        ck_assert_uint_eq(end->slabs, e->slabs);
    }
    for (size_t i = 0; i < SLABS && e->owner >= 0; i++)
        ck_assert_int_eq(e->unsaid[i], 0); /* acks go first */
    commits += how == MR_FINISH_COMMIT;
    fails += how == MR_FINISH_FAIL;
    discards += how == MR_FINISH_DISCARD;
}

static void op_release(void *ctx, struct mr_movie *movie, bool distrusted)
{
    struct model *e = model_of(&movie->id);
    (void)ctx;
    ck_assert_ptr_eq(e->movie, movie);
    ck_assert(e->state == LEAVING ? e->after == MR_FINISH_RELEASE : e->state == BERTHING);
    ck_assert(distrusted == e->distrusted);
    releases++;
}

static void op_confirm(void *ctx, uint64_t session, const struct mr_confirm *confirm)
{
    (void)ctx;
    (void)session;
    (void)confirm;
}

static void op_presence(void *ctx, const struct mr_hello *hello, bool is_online)
{
    (void)ctx;
    (void)hello;
    online += is_online ? 1 : -1;
}

#endif
