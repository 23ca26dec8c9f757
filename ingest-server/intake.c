/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions, movies and credit at the server. Decides what is answered and what is to be done; does
 * no I/O, holds no file, asks nobody for the time.
 */
#include "intake.h"

#include "base/clock.h"
#include "credit.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACK_RANGES    512
#define NO_SESSION    UINT32_MAX
#define BUSY_RETRY_MS 1000

enum movie_state {
    BERTHING,  /* being looked for or made */
    LIVE,      /* lanes take its slabs */
    LEAVING,   /* lanes are letting go of it */
    FINISHING, /* being committed, failed or discarded */
};

enum movie_next { NEXT_COMMIT, NEXT_FAIL, NEXT_DISCARD, NEXT_RELEASE };

struct entry {
    struct entry *next;
    enum movie_state state;
    enum movie_next after; /* what follows LEAVING */
    uint32_t session;      /* slot of its owner, or NO_SESSION */
    struct mr_hello from;  /* who opened it */
    int64_t clock_offset_ms, opened_ns;
    struct mr_open open;
    struct mr_movie *movie; /* NULL while BERTHING */
    uint8_t *durable;       /* bitmap */
    uint64_t durable_bytes, durable_count;
    uint64_t *unsaid; /* durable slabs not yet acked */
    size_t unsaid_count, unsaid_capacity;
    bool complete, tainted;
    struct mr_end end; /* once complete; blobs owned */
    struct mr_fail fail;
    struct mr_message hold; /* what to say after NEXT_RELEASE, where type is set */
};

enum session_state { FREE, WAITING, TALKING };

struct session {
    enum session_state state;
    struct mr_route route;
    struct mr_hello hello;
    uint64_t token;
    uint32_t sent_sequence, heard_sequence;
    int64_t heard_ns, sent_ns, clock_offset_ms;
    bool credit_due;
};

struct mr_intake {
    struct mr_intake_config config;
    struct mr_intake_ops ops;
    struct session sessions[MR_CREDIT_SLOTS];
    struct mr_credit_lane credit[MR_LANES_MAX];
    struct entry *entries;
    size_t entry_count;
    uint64_t last_token;
    int64_t now_ns; /* of the call in progress */
    bool stopping;
};

int mr_intake_new(const struct mr_intake_config *config, const struct mr_intake_ops *ops,
                  struct mr_intake **ret)
{
    struct mr_intake *in = calloc(1, sizeof(*in));
    if (in == NULL)
        return -ENOMEM;
    in->config = *config;
    in->ops = *ops;
    in->last_token = config->session_seed;
    for (uint16_t i = 0; i < config->lanes; i++)
        mr_credit_init(&in->credit[i], config->lane_budget, MR_SLAB_COST_MAX);
    *ret = in;
    return 0;
}

static void entry_free(struct entry *e)
{
    free(e->durable);
    free(e->unsaid);
    free((void *)e->end.metadata);
    free((void *)e->end.source_header);
    free(e);
}

void mr_intake_free(struct mr_intake *in)
{
    if (in == NULL)
        return;
    for (struct entry *e = in->entries, *next; e != NULL; e = next) {
        next = e->next;
        entry_free(e);
    }
    free(in);
}

bool mr_intake_idle(const struct mr_intake *in)
{
    return in->entries == NULL;
}

/* ---- finding -----------------------------------------------------------------------------------
 */

static struct entry *find_movie(const struct mr_intake *in, const struct mr_ulid *id)
{
    struct entry *e = in->entries;
    while (e != NULL && !mr_ulid_equal(&e->open.movie, id))
        e = e->next;
    return e;
}

static struct session *find_route(struct mr_intake *in, const struct mr_route *route)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        struct session *s = &in->sessions[i];
        if (s->state != FREE && s->route.size == route->size &&
            memcmp(s->route.bytes, route->bytes, route->size) == 0)
            return s;
    }
    return NULL;
}

static struct session *find_token(struct mr_intake *in, uint64_t token)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++)
        if (in->sessions[i].state == TALKING && in->sessions[i].token == token)
            return &in->sessions[i];
    return NULL;
}

static uint32_t slot_of(const struct mr_intake *in, const struct session *s)
{
    return (uint32_t)(s - in->sessions);
}

static struct session *owner_of(struct mr_intake *in, const struct entry *e)
{
    if (e->session == NO_SESSION || in->sessions[e->session].state != TALKING)
        return NULL;
    return &in->sessions[e->session];
}

/* ---- saying ------------------------------------------------------------------------------------
 */

static void say(struct mr_intake *in, struct session *s, struct mr_message *m)
{
    m->session = s->token;
    m->sequence = ++s->sent_sequence;
    s->sent_ns = in->now_ns;
    in->ops.send(in->ops.ctx, &s->route, m);
}

static void refuse(struct mr_intake *in, const struct mr_route *to, uint16_t code, const char *text)
{
    struct mr_message m = {.type = MR_REFUSED, .refused.code = code};
    snprintf(m.refused.text, sizeof(m.refused.text), "%s", text);
    in->ops.send(in->ops.ctx, to, &m);
}

static void say_hold(struct mr_intake *in, struct session *s, const struct mr_ulid *id,
                     uint16_t code, uint32_t retry_ms, const char *text)
{
    struct mr_message m = {.type = MR_HOLD,
                           .hold = {.movie = *id, .code = code, .retry_ms = retry_ms}};
    snprintf(m.hold.text, sizeof(m.hold.text), "%s", text);
    say(in, s, &m);
}

/* Acks as ranges: neighbours that became durable together are said together. */
static void say_acks(struct mr_intake *in, struct session *s, struct entry *e)
{
    uint8_t ranges[ACK_RANGES * 16];
    size_t at = 0;
    while (at < e->unsaid_count) {
        struct mr_message m = {
            .type = MR_ACK,
            .ack = {.movie = e->open.movie, .generation = e->movie->generation, .ranges = ranges}};
        while (at < e->unsaid_count && m.ack.range_count < ACK_RANGES) {
            struct mr_range range = {.first = e->unsaid[at++], .count = 1};
            while (at < e->unsaid_count && e->unsaid[at] == range.first + range.count) {
                range.count++;
                at++;
            }
            mr_message_put_range(ranges, m.ack.range_count++, range);
        }
        say(in, s, &m);
    }
    e->unsaid_count = 0;
}

static void say_credit(struct mr_intake *in, struct session *s)
{
    struct mr_message m = {.type = MR_CREDIT, .credit.lanes = in->config.lanes};
    for (uint16_t i = 0; i < in->config.lanes; i++)
        m.credit.granted[i] = in->credit[i].slots[slot_of(in, s)].granted;
    say(in, s, &m);
    s->credit_due = false;
}

/* ---- movies ------------------------------------------------------------------------------------
 */

static void forget(struct mr_intake *in, struct entry *e)
{
    struct entry **at = &in->entries;
    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    in->entry_count--;
    entry_free(e);
}

static void leave(struct mr_intake *in, struct entry *e, enum movie_next after)
{
    if (e->state == LEAVING) { /* letting go already: the stronger wish wins */
        if (e->after == NEXT_RELEASE || after == NEXT_DISCARD)
            e->after = after;
        return;
    }
    assert(e->state == LIVE);
    e->state = LEAVING;
    e->after = after;
    in->ops.detach(in->ops.ctx, e->movie);
}

static void seal_if_whole(struct mr_intake *in, struct entry *e)
{
    if (e->state == LIVE && e->complete && e->durable_count == e->end.slabs)
        leave(in, e, NEXT_COMMIT);
}

static struct mr_sender sender_of(const struct entry *e)
{
    return (struct mr_sender){.agent = e->from.name,
                              .ephemeral = e->from.ephemeral,
                              .clock_offset_ms = e->clock_offset_ms};
}

static int grow_bitmap(struct entry *e, uint64_t slab)
{
    uint64_t bytes = slab / 8 + 1;
    if (bytes <= e->durable_bytes)
        return 0;
    if (bytes < 2 * e->durable_bytes)
        bytes = 2 * e->durable_bytes;
    uint8_t *bigger = realloc(e->durable, bytes);
    if (bigger == NULL)
        return -ENOMEM;
    memset(bigger + e->durable_bytes, 0, bytes - e->durable_bytes);
    e->durable = bigger;
    e->durable_bytes = bytes;
    return 0;
}

/* True if it was not durable before. */
static bool mark_durable(struct entry *e, uint64_t slab)
{
    if (slab >= MR_SLABS_MAX || grow_bitmap(e, slab) < 0)
        return false;
    uint8_t bit = (uint8_t)(1u << (slab % 8));
    if (e->durable[slab / 8] & bit)
        return false;
    e->durable[slab / 8] |= bit;
    e->durable_count++;
    return true;
}

static void remember_unsaid(struct entry *e, uint64_t slab)
{
    if (e->unsaid_count == e->unsaid_capacity) {
        size_t capacity = e->unsaid_capacity == 0 ? 64 : 2 * e->unsaid_capacity;
        uint64_t *bigger = realloc(e->unsaid, capacity * sizeof(*bigger));
        if (bigger == NULL)
            return; /* not acked: sent again in the next session, which is harmless */
        e->unsaid = bigger;
        e->unsaid_capacity = capacity;
    }
    e->unsaid[e->unsaid_count++] = slab;
}

/* ---- sessions ----------------------------------------------------------------------------------
 */

static void end_session(struct mr_intake *in, struct session *s)
{
    uint32_t slot = slot_of(in, s);
    bool talked = s->state == TALKING;
    for (struct entry *e = in->entries; e != NULL; e = e->next) {
        if (e->session != slot)
            continue;
        e->session = NO_SESSION;
        if (e->state == LIVE)
            leave(in, e, NEXT_RELEASE);
    }
    for (uint16_t i = 0; talked && i < in->config.lanes; i++)
        mr_credit_leave(&in->credit[i], slot);
    s->state = FREE;
    if (talked)
        in->ops.presence(in->ops.ctx, &s->hello, false);
}

static void dismiss(struct mr_intake *in, struct session *s, uint16_t code, const char *text)
{
    struct mr_message m = {.type = MR_BYE, .bye.code = code};
    snprintf(m.bye.text, sizeof(m.bye.text), "%s", text);
    if (s->state == TALKING)
        say(in, s, &m);
    else
        refuse(in, &s->route, code, text);
    end_session(in, s);
}

/* Writes of an older session of the same instance are drained before the new one is answered, so
 * that the durable sets it is told are whole. */
static bool drained(const struct mr_intake *in, const struct session *s)
{
    for (const struct entry *e = in->entries; e != NULL; e = e->next)
        if (e->session == NO_SESSION && e->state == LEAVING &&
            memcmp(e->from.instance, s->hello.instance, sizeof(s->hello.instance)) == 0)
            return false;
    return true;
}

static void welcome_if_drained(struct mr_intake *in, struct session *s)
{
    if (s->state != WAITING || !drained(in, s))
        return;
    s->state = TALKING;
    s->token = ++in->last_token;
    struct mr_message m = {.type = MR_WELCOME,
                           .welcome = {.version = MR_PROTOCOL_VERSION_MAX,
                                       .heartbeat_ms = in->config.heartbeat_ms,
                                       .lanes = in->config.lanes}};
    memcpy(m.welcome.ports, in->config.ports, sizeof(m.welcome.ports));
    memcpy(m.welcome.server, in->config.server, sizeof(m.welcome.server));
    memcpy(m.welcome.site, in->config.site, sizeof(m.welcome.site));
    memcpy(m.welcome.software, in->config.software, sizeof(m.welcome.software));
    for (uint16_t i = 0; i < in->config.lanes; i++)
        mr_credit_join(&in->credit[i], slot_of(in, s));
    say(in, s, &m);
    in->ops.presence(in->ops.ctx, &s->hello, true);
}

/* Is there a live session the newcomer collides with? Replaces it, or says why not. */
static bool make_way(struct mr_intake *in, const struct mr_route *from,
                     const struct mr_hello *hello)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        struct session *s = &in->sessions[i];
        if (s->state == FREE || strcmp(s->hello.name, hello->name) != 0)
            continue;
        if (memcmp(s->hello.instance, hello->instance, sizeof(hello->instance)) == 0) {
            if (hello->epoch <= s->hello.epoch) {
                refuse(in, from, MR_REASON_STALE_EPOCH, "a newer session of this agent is live");
                return false;
            }
            end_session(in, s);
        } else if (!hello->ephemeral && !s->hello.ephemeral) {
            char text[MR_TEXT_MAX];
            snprintf(text, sizeof(text), "another agent named %s is connected from %s", hello->name,
                     s->hello.host);
            refuse(in, from, MR_REASON_NAME_IN_USE, text);
            return false;
        }
    }
    return true;
}

static void receive_hello(struct mr_intake *in, const struct mr_route *from,
                          const struct mr_hello *hello, int64_t real_ns)
{
    char text[MR_TEXT_MAX];
    if (hello->version_min > MR_PROTOCOL_VERSION_MAX ||
        hello->version_max < MR_PROTOCOL_VERSION_MIN) {
        snprintf(text, sizeof(text), "agent speaks protocol %u to %u, this server %u to %u",
                 hello->version_min, hello->version_max, MR_PROTOCOL_VERSION_MIN,
                 MR_PROTOCOL_VERSION_MAX);
        refuse(in, from, MR_REASON_VERSION, text);
        return;
    }
    if (in->stopping) {
        refuse(in, from, MR_REASON_STOPPING, "the server is stopping");
        return;
    }
    if (!make_way(in, from, hello))
        return;
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        struct session *s = &in->sessions[i];
        if (s->state != FREE)
            continue;
        *s = (struct session){.state = WAITING,
                              .route = *from,
                              .hello = *hello,
                              .heard_sequence = 1,
                              .heard_ns = in->now_ns,
                              .sent_ns = in->now_ns,
                              .clock_offset_ms = (hello->real_ns - real_ns) / MR_NS_PER_MS};
        welcome_if_drained(in, s);
        return;
    }
    refuse(in, from, MR_REASON_BUSY, "too many agents are connected");
}

/* ---- messages of a session ---------------------------------------------------------------------
 */

static void receive_open(struct mr_intake *in, struct session *s, const struct mr_open *open)
{
    struct entry *e = find_movie(in, &open->movie);
    if (e != NULL) {
        bool free_to_take = e->session == NO_SESSION && e->state != LEAVING;
        if (free_to_take)
            e->session = slot_of(in, s); /* answered when berth or seal answers */
        else
            say_hold(in, s, &open->movie, MR_REASON_BUSY, BUSY_RETRY_MS, "the movie is busy");
        return;
    }
    if (in->entry_count >= in->config.movies_max) {
        say_hold(in, s, &open->movie, MR_REASON_BUSY, BUSY_RETRY_MS, "too many movies in flight");
        return;
    }
    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        say_hold(in, s, &open->movie, MR_REASON_BUSY, BUSY_RETRY_MS, "out of memory");
        return;
    }
    e->session = slot_of(in, s);
    e->from = s->hello;
    e->clock_offset_ms = s->clock_offset_ms;
    e->open = *open;
    e->opened_ns = in->now_ns;
    e->next = in->entries;
    in->entries = e;
    in->entry_count++;
    struct mr_sender from = sender_of(e);
    in->ops.berth(in->ops.ctx, &from, &e->open);
}

static int copy_blob(const uint8_t **blob, uint32_t bytes)
{
    if (*blob == NULL || bytes == 0) {
        *blob = NULL;
        return 0;
    }
    uint8_t *copy = malloc(bytes);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, *blob, bytes);
    *blob = copy;
    return 0;
}

static void receive_end(struct mr_intake *in, struct session *s, struct entry *e,
                        const struct mr_end *end)
{
    if (e->state != LIVE || e->complete || end->generation != e->movie->generation)
        return;
    if (end->slabs != mr_slab_count(&e->movie->geometry, &end->extent) ||
        end->slabs > MR_SLABS_MAX) {
        dismiss(in, s, MR_REASON_BAD_REQUEST, "END: slab count does not follow from the extent");
        return;
    }
    struct mr_end copy = *end;
    if (copy_blob(&copy.metadata, copy.metadata_bytes) < 0 ||
        copy_blob(&copy.source_header, copy.source_header_bytes) < 0) {
        dismiss(in, s, MR_REASON_BUSY, "out of memory");
        return;
    }
    e->end = copy;
    e->complete = true;
    seal_if_whole(in, e);
}

static void receive_fail(struct mr_intake *in, struct entry *e, const struct mr_fail *fail)
{
    if (e->state != LIVE || fail->generation != e->movie->generation)
        return;
    e->fail = *fail;
    leave(in, e, NEXT_FAIL);
}

static void receive_abandon(struct mr_intake *in, struct session *s, const struct mr_ulid *id)
{
    struct entry *e = find_movie(in, id);
    if (e == NULL) {
        e = calloc(1, sizeof(*e));
        if (e == NULL)
            return;
        e->session = slot_of(in, s);
        e->from = s->hello;
        e->open.movie = *id;
        e->state = FINISHING;
        e->next = in->entries;
        in->entries = e;
        in->entry_count++;
        struct mr_sender from = sender_of(e);
        in->ops.finish(in->ops.ctx, MR_FINISH_DISCARD, &from, id, NULL, NULL, NULL);
    } else if (e->state == LIVE || e->state == LEAVING) {
        leave(in, e, NEXT_DISCARD);
    }
}

static void receive_demand(struct mr_intake *in, struct session *s, const struct mr_demand *demand)
{
    for (uint16_t i = 0; i < in->config.lanes && i < demand->lanes; i++)
        if (mr_credit_demand(&in->credit[i], slot_of(in, s), demand->wanted[i],
                             demand->returned[i]) < 0) {
            dismiss(in, s, MR_REASON_BAD_REQUEST, "DEMAND: more credit given back than was out");
            return;
        }
}

static void receive_of_movie(struct mr_intake *in, struct session *s, const struct mr_message *m)
{
    struct entry *e = find_movie(in, &m->end.movie);
    if (e == NULL || e->session != slot_of(in, s))
        return; /* it ended meanwhile; its verdict is on the way */
    if (m->type == MR_END)
        receive_end(in, s, e, &m->end);
    else
        receive_fail(in, e, &m->fail);
}

static void receive_talk(struct mr_intake *in, struct session *s, const struct mr_message *m,
                         int64_t real_ns)
{
    struct mr_message pong = {.type = MR_PONG,
                              .ping = {.token = m->ping.token, .real_ns = real_ns}};
    switch ((int)m->type) {
    case MR_OPEN:
        receive_open(in, s, &m->open);
        return;
    case MR_END:
    case MR_FAIL:
        receive_of_movie(in, s, m);
        return;
    case MR_ABANDON:
        receive_abandon(in, s, &m->abandon.movie);
        return;
    case MR_DEMAND:
        receive_demand(in, s, &m->demand);
        return;
    case MR_PING:
        say(in, s, &pong);
        return;
    case MR_PONG:
        return;
    case MR_BYE:
        end_session(in, s);
        return;
    default:
        dismiss(in, s, MR_REASON_BAD_REQUEST, "that message is not for a server");
    }
}

void mr_intake_receive(struct mr_intake *in, const struct mr_route *from,
                       const struct mr_message *m, int64_t now_ns, int64_t real_ns)
{
    in->now_ns = now_ns;
    struct session *s = find_route(in, from);
    if (m->type == MR_HELLO) {
        if (s != NULL)
            end_session(in, s);
        receive_hello(in, from, &m->hello, real_ns);
        return;
    }
    if (s == NULL || s->state != TALKING || m->session != s->token) {
        if (s == NULL)
            refuse(in, from, MR_REASON_BAD_REQUEST, "no session: say HELLO");
        return;
    }
    if (m->sequence != s->heard_sequence + 1) {
        dismiss(in, s, MR_REASON_BAD_REQUEST, "control messages were lost");
        return;
    }
    s->heard_sequence = m->sequence;
    s->heard_ns = now_ns;
    receive_talk(in, s, m, real_ns);
}

void mr_intake_garbage(struct mr_intake *in, const struct mr_route *from, const char *why)
{
    struct session *s = find_route(in, from);
    if (s != NULL)
        dismiss(in, s, MR_REASON_BAD_REQUEST, why);
    else
        refuse(in, from, MR_REASON_BAD_REQUEST, why);
}

/* ---- the passing of time -----------------------------------------------------------------------
 */

static void credit_changed(void *ctx, uint32_t slot)
{
    struct mr_intake *in = ctx;
    in->sessions[slot].credit_due = true;
}

static void tick_session(struct mr_intake *in, struct session *s, int64_t real_ns)
{
    int64_t beat_ns = in->config.heartbeat_ms * MR_NS_PER_MS;
    welcome_if_drained(in, s);
    if (s->state == WAITING)
        return;
    if (in->now_ns - s->heard_ns > 3 * beat_ns) {
        dismiss(in, s, MR_REASON_STOPPING, "nothing heard from this agent");
        return;
    }
    if (s->credit_due)
        say_credit(in, s);
    if (in->now_ns - s->sent_ns >= beat_ns) {
        struct mr_message ping = {.type = MR_PING, .ping.real_ns = real_ns};
        say(in, s, &ping);
    }
}

void mr_intake_tick(struct mr_intake *in, int64_t now_ns, int64_t real_ns)
{
    in->now_ns = now_ns;
    for (struct entry *e = in->entries; e != NULL; e = e->next) {
        struct session *s = owner_of(in, e);
        if (s != NULL && e->unsaid_count > 0)
            say_acks(in, s, e);
    }
    for (uint16_t i = 0; i < in->config.lanes; i++)
        mr_credit_share(&in->credit[i], credit_changed, in);
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++)
        if (in->sessions[i].state != FREE)
            tick_session(in, &in->sessions[i], real_ns);
}

/* ---- answers of the other stages ---------------------------------------------------------------
 */

static void say_opened(struct mr_intake *in, struct session *s, struct entry *e, bool resumed,
                       const struct mr_range *durable, size_t count)
{
    if (count > MR_RANGES_MAX)
        count = MR_RANGES_MAX; /* the rest is sent again: harmless */
    uint8_t *ranges = malloc(count * 16 + 1);
    if (ranges == NULL)
        count = 0;
    for (uint32_t i = 0; i < count; i++)
        mr_message_put_range(ranges, i, durable[i]);
    struct mr_message m = {.type = MR_OPENED,
                           .opened = {.movie = e->open.movie,
                                      .generation = e->movie->generation,
                                      .resumed = resumed,
                                      .range_count = (uint32_t)count,
                                      .ranges = ranges}};
    say(in, s, &m);
    free(ranges);
}

void mr_intake_berthed(struct mr_intake *in, struct mr_movie *movie, bool resumed,
                       const struct mr_range *durable, size_t count, int64_t now_ns)
{
    in->now_ns = now_ns;
    struct entry *e = find_movie(in, &movie->id);
    assert(e != NULL && e->state == BERTHING);
    e->movie = movie;
    struct session *s = owner_of(in, e);
    if (s == NULL || in->stopping) {
        in->ops.release(in->ops.ctx, movie, false);
        forget(in, e);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (uint64_t slab = durable[i].first; slab < durable[i].first + durable[i].count; slab++)
            mark_durable(e, slab);
    e->state = LIVE;
    in->ops.attach(in->ops.ctx, movie, s->token);
    say_opened(in, s, e, resumed, durable, count);
}

static void answer(struct mr_intake *in, struct entry *e, const struct mr_message *message)
{
    struct session *s = owner_of(in, e);
    struct mr_message m = *message;
    if (s != NULL)
        say(in, s, &m);
    forget(in, e);
}

void mr_intake_unberthed(struct mr_intake *in, const struct mr_ulid *id,
                         const struct mr_message *message)
{
    struct entry *e = find_movie(in, id);
    assert(e != NULL && e->state == BERTHING);
    answer(in, e, message);
}

void mr_intake_finished(struct mr_intake *in, const struct mr_ulid *id,
                        const struct mr_message *message)
{
    struct entry *e = find_movie(in, id);
    assert(e != NULL && e->state == FINISHING);
    answer(in, e, message);
}

void mr_intake_detached(struct mr_intake *in, struct mr_movie *movie)
{
    static const enum mr_finish finish[] = {[NEXT_COMMIT] = MR_FINISH_COMMIT,
                                            [NEXT_FAIL] = MR_FINISH_FAIL,
                                            [NEXT_DISCARD] = MR_FINISH_DISCARD};
    struct entry *e = find_movie(in, &movie->id);
    assert(e != NULL && e->state == LEAVING);
    if (e->after == NEXT_RELEASE) {
        struct session *s = owner_of(in, e);
        in->ops.release(in->ops.ctx, movie, e->tainted);
        if (s != NULL && e->hold.type == MR_HOLD)
            say(in, s, &e->hold);
        forget(in, e);
        return;
    }
    e->state = FINISHING;
    struct mr_sender from = sender_of(e);
    in->ops.finish(in->ops.ctx, finish[e->after], &from, &e->open.movie, movie,
                   e->after == NEXT_COMMIT ? &e->end : NULL,
                   e->after == NEXT_FAIL ? &e->fail : NULL);
}

void mr_intake_durable(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab)
{
    struct entry *e = find_movie(in, &movie->id);
    if (e == NULL || e->movie != movie)
        return;
    mark_durable(e, slab);
    remember_unsaid(e, slab);
    seal_if_whole(in, e);
}

void mr_intake_damaged(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab)
{
    struct entry *e = find_movie(in, &movie->id);
    struct session *s = e == NULL ? NULL : owner_of(in, e);
    if (s == NULL || e->state != LIVE)
        return;
    struct mr_message m = {
        .type = MR_RESEND,
        .resend = {.movie = movie->id, .generation = movie->generation, .slab = slab}};
    say(in, s, &m);
}

void mr_intake_used(struct mr_intake *in, uint64_t session, uint16_t lane, uint64_t bytes)
{
    struct session *s = find_token(in, session);
    if (s != NULL && mr_credit_use(&in->credit[lane], slot_of(in, s), bytes) < 0)
        dismiss(in, s, MR_REASON_BAD_REQUEST, "more was sent than credit was given");
}

void mr_intake_lane_gap(struct mr_intake *in, uint64_t session, uint16_t lane)
{
    struct session *s = find_token(in, session);
    char text[64];
    snprintf(text, sizeof(text), "slabs were lost on lane %u", lane);
    if (s != NULL)
        dismiss(in, s, MR_REASON_BAD_REQUEST, text);
}

void mr_intake_stuck(struct mr_intake *in, struct mr_movie *movie, bool tainted, uint16_t code,
                     const char *text)
{
    struct entry *e = find_movie(in, &movie->id);
    if (e == NULL || e->movie != movie || (e->state != LIVE && e->state != LEAVING))
        return;
    e->tainted |= tainted;
    e->hold = (struct mr_message){
        .type = MR_HOLD, .hold = {.movie = movie->id, .code = code, .retry_ms = 5 * BUSY_RETRY_MS}};
    snprintf(e->hold.hold.text, sizeof(e->hold.hold.text), "%s", text);
    if (e->state == LIVE)
        leave(in, e, NEXT_RELEASE);
    else if (e->after == NEXT_COMMIT)
        e->after = NEXT_RELEASE;
}

/* ---- end and status ----------------------------------------------------------------------------
 */

void mr_intake_stop(struct mr_intake *in)
{
    in->stopping = true;
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++)
        if (in->sessions[i].state != FREE)
            dismiss(in, &in->sessions[i], MR_REASON_STOPPING, "the server is stopping");
}

void mr_intake_each_movie(const struct mr_intake *in,
                          void (*visit)(void *ctx, const struct mr_intake_movie_view *v), void *ctx)
{
    static const char *const names[] = {"berthing", "receiving", "draining", "sealing"};
    for (const struct entry *e = in->entries; e != NULL; e = e->next) {
        struct mr_intake_movie_view view = {.movie = e->movie,
                                            .open = &e->open,
                                            .agent = e->from.name,
                                            .durable = e->durable_count,
                                            .slabs = e->complete ? e->end.slabs : 0,
                                            .opened_ns = e->opened_ns,
                                            .state = names[e->state]};
        visit(ctx, &view);
    }
}

void mr_intake_each_session(const struct mr_intake *in,
                            void (*visit)(void *ctx, const struct mr_intake_session_view *v),
                            void *ctx)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        const struct session *s = &in->sessions[i];
        if (s->state != TALKING)
            continue;
        struct mr_intake_session_view view = {.hello = &s->hello, .session = s->token};
        for (const struct entry *e = in->entries; e != NULL; e = e->next)
            view.movies += e->session == i;
        visit(ctx, &view);
    }
}
