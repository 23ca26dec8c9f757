/* SPDX-License-Identifier: Apache-2.0 */
/* Control's loop around intake, and what intake may never do. Writes no slab, seals nothing. */
#include "serverside.h"

#include "intake_state.h"

#include <stdlib.h>
#include <string.h>

#define SCRATCH (256 * 1024)

/* A call of this life of the server. */
struct planned {
    uint32_t life;
    struct serverside *server;
    timeline_fire fire;
    void *ctx, *payload;
};

/* ---- calls that end with the server's life ---- */

static void fire_if_alive(void *ctx, uint64_t a, void *payload)
{
    struct planned p = *(struct planned *)payload;
    (void)ctx;
    free(payload);
    if (p.server->life == p.life && p.server->intake != NULL)
        p.fire(p.ctx, a, p.payload);
    else
        free(p.payload);
}

void serverside_in(struct serverside *s, int64_t at_ns, timeline_fire fire, void *ctx, uint64_t a,
                   void *payload)
{
    struct planned *p = malloc(sizeof(*p));
    if (p == NULL)
        abort();
    *p = (struct planned){
        .life = s->life, .server = s, .fire = fire, .ctx = ctx, .payload = payload};
    timeline_at(&s->world->time, at_ns, fire_if_alive, NULL, a, p);
}

/* ---- what intake says ---- */

static void check_durable(struct serverside *s, const struct mr_ulid *id, uint32_t generation,
                          const uint8_t *ranges, uint32_t count, const char *what)
{
    const struct record *r = shelf_find(s->world->shelf, id);
    PROMISE(s->world, r != NULL && r->state == SHELF_PART && r->generation == generation,
            "%s of a movie or generation that is not on the shelf", what);
    for (uint32_t i = 0; i < count; i++) {
        struct mr_range range = mr_message_range(ranges, i);
        for (uint64_t slab = range.first; slab < range.first + range.count; slab++)
            PROMISE(s->world, slab < WORLD_SLABS && r->durable[slab],
                    "%s of slab %llu, which is not durable", what, (unsigned long long)slab);
    }
}

static void check_verdict(struct serverside *s, const struct mr_message *m)
{
    const struct record *r = shelf_find(s->world->shelf, &m->abandon.movie);
    if (m->type == MR_COMMITTED)
        PROMISE(s->world, r != NULL && r->state == SHELF_COMMITTED, "COMMITTED is not true");
    if (m->type == MR_FAILED)
        PROMISE(s->world, r == NULL || r->state == SHELF_FAILED, "FAILED is not true");
    if (m->type == MR_ABANDONED)
        PROMISE(s->world, r == NULL || r->state == SHELF_NOTHING, "ABANDONED is not true");
}

static void judge(struct serverside *s, const struct cable *to, const struct mr_message *m)
{
    if (m->type == MR_ACK)
        check_durable(s, &m->ack.movie, m->ack.generation, m->ack.ranges, m->ack.range_count,
                      "ACK");
    else if (m->type == MR_OPENED)
        check_durable(s, &m->opened.movie, m->opened.generation, m->opened.ranges,
                      m->opened.range_count, "OPENED");
    else if (m->type == MR_BYE && m->bye.code == MR_REASON_BAD_REQUEST)
        PROMISE(s->world, to->rogue || to->tampered || !to->open,
                "an honest agent is sent away: %s", m->bye.text);
    else
        check_verdict(s, m);
}

static void op_send(void *ctx, const struct mr_route *to, const struct mr_message *m)
{
    struct serverside *s = ctx;
    uint32_t number;
    size_t bytes;
    memcpy(&number, to->bytes, sizeof(number));
    struct cable *c = cable_find(s->world, number);
    judge(s, c, m);
    int r = mr_message_encode(m, s->scratch, SCRATCH, &bytes);
    PROMISE(s->world, r == 0, "%s cannot be encoded", mr_message_name(m->type));
    TRACE(s->world, "server -> cable %u: %s %u%s%s", number, mr_message_name(m->type), m->sequence,
          m->type == MR_BYE || m->type == MR_REFUSED ? ": " : "",
          m->type == MR_BYE || m->type == MR_REFUSED ? m->bye.text : "");
    cable_send(c, CABLE_DOWN, s->scratch, bytes);
}

static void op_attach(void *ctx, struct mr_movie *movie, uint64_t session)
{
    struct serverside *s = ctx;
    struct held *h = serverside_held(s, movie);
    PROMISE(s->world, h != NULL && !h->attached && !h->leaving, "attach of a movie not berthed");
    simlane_attach(h, session);
}

static void op_detach(void *ctx, struct mr_movie *movie)
{
    struct serverside *s = ctx;
    struct held *h = serverside_held(s, movie);
    PROMISE(s->world, h != NULL && h->attached && !h->leaving, "detach of a movie not attached");
    simlane_detach(h);
}

static void op_presence(void *ctx, const struct mr_hello *hello, bool online)
{
    struct serverside *s = ctx;
    PROMISE(s->world, online || s->online > 0, "%s goes offline twice", hello->name);
    s->online += online ? 1u : UINT32_MAX;
}

/* ---- what must hold at every moment ---- */

static void check_books(const struct serverside *s)
{
    const struct mr_intake *in = s->intake;
    for (uint16_t i = 0; i < s->world->lanes; i++) {
        const struct mr_credit_lane *lane = &in->credit[i];
        uint64_t out = 0;
        for (uint32_t slot = 0; slot < MR_CREDIT_SLOTS; slot++) {
            const struct mr_credit_slot *c = &lane->slots[slot];
            PROMISE(s->world, c->used + c->returned <= c->granted, "lane %u: credit is negative",
                    i);
            out += c->granted - c->used - c->returned;
        }
        PROMISE(s->world, out == lane->out && out <= lane->budget,
                "lane %u: %llu bytes out, %llu in the books, budget %llu", i,
                (unsigned long long)out, (unsigned long long)lane->out,
                (unsigned long long)lane->budget);
    }
}

/* ---- its loop ---- */

static void turn(void *ctx, uint64_t a, void *payload)
{
    struct serverside *s = ctx;
    (void)a;
    (void)payload;
    s->tick_planned = false;
    mr_intake_tick(s->intake, s->world->time.now_ns, s->world->time.now_ns);
    check_books(s);
    if (s->stopping && mr_intake_idle(s->intake))
        serverside_crash(s); /* by now there is nothing it could lose */
}

void serverside_soon(struct serverside *s)
{
    if (s->tick_planned || s->intake == NULL)
        return;
    s->tick_planned = true;
    serverside_in(s, s->world->time.now_ns + MS / 2, turn, s, 0, NULL);
}

static void timer(void *ctx, uint64_t a, void *payload)
{
    struct serverside *s = ctx;
    (void)payload;
    serverside_soon(s);
    serverside_in(s, s->world->time.now_ns + s->world->heartbeat_ms / 3 * MS, timer, s, a, NULL);
}

void serverside_hear(struct serverside *s, struct cable *from, const uint8_t *data, size_t bytes)
{
    struct mr_route route = {.size = sizeof(from->number)};
    struct mr_err err = {0};
    memcpy(route.bytes, &from->number, sizeof(from->number));
    if (mr_message_decode(data, bytes, s->heard, &err) < 0) {
        PROMISE(s->world, from->tampered || from->rogue, "an honest message is not understood: %s",
                err.text);
        mr_intake_garbage(s->intake, &route, err.text);
    } else {
        TRACE(s->world, "server <- cable %u: %s %u", from->number, mr_message_name(s->heard->type),
              s->heard->sequence);
        mr_intake_receive(s->intake, &route, s->heard, s->world->time.now_ns,
                          s->world->time.now_ns);
    }
    serverside_soon(s);
}

/* ---- life ---- */

struct serverside *serverside_new(struct world *w)
{
    struct serverside *s = calloc(1, sizeof(*s));
    if (s == NULL)
        abort();
    s->world = w;
    s->heard = malloc(sizeof(*s->heard));
    s->scratch = malloc(SCRATCH);
    if (s->heard == NULL || s->scratch == NULL)
        abort();
    return s;
}

uint32_t serverside_life(const struct serverside *s)
{
    return s->intake == NULL ? 0 : s->life;
}

bool serverside_down(const struct serverside *s)
{
    return s->intake == NULL;
}

void serverside_start(struct serverside *s)
{
    struct world *w = s->world;
    const struct mr_intake_ops ops = {.ctx = s,
                                      .send = op_send,
                                      .berth = simstore_berth,
                                      .attach = op_attach,
                                      .detach = op_detach,
                                      .finish = simstore_finish,
                                      .release = simstore_release,
                                      .presence = op_presence};
    struct mr_intake_config config = {.server = "store",
                                      .lanes = w->lanes,
                                      .lane_budget = (uint64_t)chance_between(&w->chance, 1, 6) *
                                                         MR_SLAB_COST_MAX +
                                                     chance_below(&w->chance, MR_SLAB_COST_MAX),
                                      .heartbeat_ms = w->heartbeat_ms,
                                      .credit_limit_ms = 5000,
                                      .movies_max = (uint32_t)chance_between(&w->chance, 3, 20),
                                      .session_seed = chance_next(&w->chance) >> 1};
    s->life++;
    for (uint16_t i = 0; i < w->lanes; i++) {
        config.ports[i] = (uint16_t)(5571 + i);
        s->lanes[i] = (struct simlane){.index = i};
    }
    s->stopping = s->tick_planned = false;
    s->berth_ns = s->seal_ns = 0;
    s->online = 0;
    if (mr_intake_new(&config, &ops, &s->intake) < 0)
        abort();
    TRACE(w, "the server starts, %u lanes of %llu slabs' credit", w->lanes,
          (unsigned long long)(config.lane_budget / MR_SLAB_COST_MAX));
    timer(s, 0, NULL);
}

void serverside_crash(struct serverside *s)
{
    TRACE(s->world, "the server is gone");
    for (struct held *h = s->held, *next; h != NULL; h = next) {
        next = h->next;
        PROMISE(s->world, !s->stopping || h->movie == NULL || !mr_intake_idle(s->intake),
                "a movie was neither finished nor released");
        mr_movie_release(h->movie);
        free(h);
    }
    s->held = NULL;
    mr_intake_free(s->intake);
    s->intake = NULL;
    for (struct cable *c = s->world->cables; c != NULL; c = c->next)
        if (c->open && c->server_life == s->life)
            cable_cut(c, true);
}

void serverside_stop(struct serverside *s)
{
    s->stopping = true;
    mr_intake_stop(s->intake);
    PROMISE(s->world, s->online == 0, "agents are left online");
    serverside_soon(s);
}

void serverside_free(struct serverside *s)
{
    if (s->intake != NULL)
        serverside_crash(s);
    free(s->heard);
    free(s->scratch);
    free(s);
}

void serverside_describe(const struct serverside *s)
{
    for (uint16_t i = 0; s->intake != NULL && i < s->world->lanes; i++) {
        const struct mr_credit_lane *lane = &s->intake->credit[i];
        TRACE(s->world, "lane %u: %llu out of %llu", i, (unsigned long long)lane->out,
              (unsigned long long)lane->budget);
        for (uint32_t slot = 0; slot < MR_CREDIT_SLOTS; slot++) {
            const struct mr_credit_slot *c = &lane->slots[slot];
            if (c->joined)
                TRACE(s->world, "  %s: %llu granted, %llu used, %llu returned, wanted %d",
                      s->intake->sessions[slot].hello.name, (unsigned long long)c->granted,
                      (unsigned long long)c->used, (unsigned long long)c->returned, c->wanted);
        }
    }
}
