/* SPDX-License-Identifier: Apache-2.0 */
/* Tail, pack and uplink of a schedule, around transfer. Keeps no file and packs no byte. */
#include "agentside.h"

#include "serverside.h"
#include "transfer_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCRATCH (64 * 1024)

/* A slab in somebody's hands. */
struct work {
    uint64_t life;
    struct mr_pick pick;
};

static void plan_connect(struct agentside *a, int64_t delay_ns);

/* ---- connection ---- */

static void drop(struct agentside *a, const char *why)
{
    TRACE(a->world, "agent %s leaves cable %u: %s", a->hello.host, a->cable->number, why);
    cable_close(a->cable);
    a->cable = NULL;
    a->endpoint++;
    mr_transfer_disconnected(a->transfer);
    if (!a->finished)
        plan_connect(a, chance_between(&a->world->chance, 10, 500) * MS);
}

static void hear(void *ctx, struct cable *c, const uint8_t *data, size_t bytes)
{
    struct agentside *a = ctx;
    struct mr_err err = {0};
    if (mr_message_decode(data, bytes, a->heard, &err) < 0) {
        PROMISE(a->world, c->tampered, "the server is not understood: %s", err.text);
        return; /* dropped: the gap will show */
    }
    TRACE(a->world, "agent %s <- %s %u", a->hello.host, mr_message_name(a->heard->type),
          a->heard->sequence);
    if (a->heard->type == MR_ACK)
        a->progress_ns = a->world->time.now_ns;
    int r = mr_transfer_receive(a->transfer, a->heard, a->world->time.now_ns, &err);
    PROMISE(a->world, r != -EPROTO || c->tampered, "an honest server is not followed: %s",
            err.text);
    if (r == -ECONNREFUSED)
        a->refused_ns = a->world->time.now_ns;
    if (r < 0)
        drop(a, err.text);
    agentside_soon(a);
}

static void broken(void *ctx, struct cable *c)
{
    struct agentside *a = ctx;
    if (a->cable == c)
        drop(a, "the connection broke");
}

static void connect(void *ctx, uint64_t life, void *payload)
{
    struct agentside *a = ctx;
    (void)payload;
    if (life != a->life || a->transfer == NULL)
        return;
    a->connect_planned = false;
    if (a->cable != NULL || a->finished)
        return;
    struct serverside *server = a->world->servers[a->endpoint % a->world->server_count];
    if (serverside_life(server) == 0) {
        a->endpoint++;
        plan_connect(a, chance_between(&a->world->chance, 10, 300) * MS);
        return;
    }
    const struct cable_end end = {.ctx = a, .hear = hear, .broken = broken};
    a->cable = cable_new(server, &end);
    if (a->epoch == 0 || !chance_one_in(&a->world->chance, 4))
        a->epoch++;
    memset(a->sequence, 0, sizeof(a->sequence));
    mr_transfer_connected(a->transfer, a->epoch, a->world->time.now_ns);
    TRACE(a->world, "agent %s connects by cable %u", a->hello.host, a->cable->number);
    agentside_soon(a);
}

static void plan_connect(struct agentside *a, int64_t delay_ns)
{
    if (a->connect_planned)
        return;
    a->connect_planned = true;
    world_in(a->world, delay_ns, connect, a, a->life, NULL);
}

/* ---- slabs ---- */

static void send_slab(struct agentside *a, const struct reel *r, struct mr_parcel *parcel)
{
    uint8_t bytes[MR_SLAB_HEADER_BYTES];
    const struct mr_pick *pick = &parcel->pick;
    struct mr_slab_header *h = &parcel->header;
    PROMISE(a->world, !(r->told_session == pick->session && r->told[pick->slab]),
            "%s: slab %llu is sent though OPENED said it is durable", r->open.path,
            (unsigned long long)pick->slab);
    h->session = pick->session;
    h->sequence = ++a->sequence[pick->lane];
    h->lane = pick->lane;
    mr_slab_header_encode(h, bytes);
    cable_send_slab(a->cable, pick->lane, bytes, parcel->buffer->data, h->wire_bytes);
    a->progress_ns = a->world->time.now_ns;
    a->world->slabs_sent++;
}

static void packed(void *ctx, uint64_t unused, void *payload)
{
    static _Alignas(64) uint8_t bytes[MR_PARCEL_BYTES];
    struct mr_buffer buffer = {.data = bytes, .capacity = sizeof(bytes)};
    struct agentside *a = ctx;
    struct work work = *(struct work *)payload;
    (void)unused;
    free(payload);
    if (work.life != a->life)
        return;
    a->hands--;
    agentside_soon(a);
    struct reel *r = work.pick.owner;
    if (world_mishap(a->world, 60)) {
        mr_transfer_unpick(a->transfer, &work.pick, 0);
        return;
    }
    struct mr_parcel parcel = {
        .pick = work.pick, .geometry = r->open.geometry, .codec = r->open.codec, .buffer = &buffer};
    reel_content(r->contents, work.pick.span.source_offset, bytes, work.pick.span.source_bytes);
    mr_pack_do(a->pack, &parcel);
    int code =
        mr_transfer_packed(a->transfer, &work.pick, parcel.header.crc_raw, parcel.header.crc_pixels,
                           parcel.header.wire_bytes, a->world->time.now_ns);
    if (code == -ESTALE) {
        PROMISE(a->world, r->changed, "%s did not change", r->open.path);
        mr_transfer_abandon(a->transfer, r);
    }
    /* nobody holds back what was packed: only the end of its session does */
    PROMISE(a->world, code < 0 || !work.pick.send || a->cable != NULL,
            "a slab is to be sent without a session");
    if (work.pick.send && a->cable != NULL && work.pick.session == mr_transfer_session(a->transfer))
        send_slab(a, r, &parcel);
}

static void pick_all(struct agentside *a)
{
    struct world *w = a->world;
    struct mr_pick pick;
    while (a->hands < a->hands_max && mr_transfer_pick(a->transfer, w->time.now_ns, &pick)) {
        const struct reel *r = pick.owner;
        PROMISE(w, pick.slab < WORLD_SLABS, "slab %llu", (unsigned long long)pick.slab);
        PROMISE(w, pick.span.source_offset + pick.span.source_bytes <= r->visible,
                "%s: slab %llu is not there yet", r->open.path, (unsigned long long)pick.slab);
        struct work *work = malloc(sizeof(*work));
        if (work == NULL)
            abort();
        *work = (struct work){.life = a->life, .pick = pick};
        a->hands++;
        int64_t delay_ns = chance_between(&w->chance, 1, 20) * MS;
        if (world_mishap(w, 50))
            delay_ns += chance_between(&w->chance, 0, 3000) * MS;
        world_in(w, delay_ns, packed, a, 0, work);
    }
}

/* ---- its loop ---- */

/* A push that said goodbye has ended: who comes back is another one, with ids of its own. */
static void said_goodbye(struct agentside *a)
{
    if (a->hello.ephemeral && !a->finished)
        agentside_crash(a);
    else
        drop(a, "it said goodbye");
}

static void say_all(struct agentside *a)
{
    struct mr_message *m = a->heard; /* free between two messages heard */
    size_t bytes;
    while (a->cable != NULL &&
           mr_transfer_next_control(a->transfer, a->world->time.now_ns, a->world->time.now_ns, m)) {
        int r = mr_message_encode(m, a->scratch, SCRATCH, &bytes);
        PROMISE(a->world, r == 0, "%s cannot be encoded", mr_message_name(m->type));
        TRACE(a->world, "agent %s -> %s %u", a->hello.host, mr_message_name(m->type), m->sequence);
        cable_send(a->cable, CABLE_UP, a->scratch, bytes);
        if (m->type == MR_BYE) {
            said_goodbye(a);
            return;
        }
    }
}

bool agentside_finished(const struct agentside *a)
{
    for (size_t i = 0; i < a->reel_count; i++)
        if (!a->reels[i].done)
            return false;
    return true;
}

static void check_window(const struct agentside *a, const struct movie *m, uint64_t *in_flight)
{
    const uint16_t lanes = a->transfer->welcome.lanes;
    uint64_t durable = 0, picked = 0;
    for (uint64_t i = 0; i < m->window.capacity; i++) {
        bool is_durable = m->window.state[i] & MR_SLAB_DURABLE;
        durable += is_durable;
        bool is_picked = !is_durable && (m->window.state[i] & MR_SLAB_PICKED);
        picked += is_picked;
        in_flight[is_picked ? i % lanes : 0] += is_picked;
    }
    PROMISE(a->world, durable == m->window.durable && picked == m->window.in_flight,
            "agent %s: a window miscounts", a->hello.host);
}

/* What must hold at every moment. */
static void check_books(const struct agentside *a)
{
    const struct mr_transfer *t = a->transfer;
    uint64_t in_flight[MR_LANES_MAX] = {0};
    for (uint16_t i = 0; a->cable != NULL && i < t->welcome.lanes; i++) {
        const struct lane_credit *c = &t->lanes[i];
        PROMISE(a->world, c->spent + c->reserved + c->returned <= c->granted,
                "agent %s: lane %u: %llu spent, %llu reserved, %llu returned of %llu",
                a->hello.host, i, (unsigned long long)c->spent, (unsigned long long)c->reserved,
                (unsigned long long)c->returned, (unsigned long long)c->granted);
    }
    for (const struct movie *m = t->awake.first; m != NULL; m = m->next)
        check_window(a, m, in_flight);
    for (const struct movie *m = t->resting.first; m != NULL; m = m->next) {
        check_window(a, m, in_flight);
        PROMISE(a->world, m->resting && (m->state == OPENING || m->state == ENDED),
                "agent %s: a movie rests that there is something to do for", a->hello.host);
    }
    for (uint16_t i = 0; i < t->welcome.lanes; i++)
        PROMISE(a->world, in_flight[i] == t->lanes[i].in_flight,
                "agent %s: lane %u: %llu in flight, %llu in the books", a->hello.host, i,
                (unsigned long long)in_flight[i], (unsigned long long)t->lanes[i].in_flight);
}

static void step(void *ctx, uint64_t life, void *payload)
{
    struct agentside *a = ctx;
    struct mr_err err = {0};
    (void)payload;
    if (life != a->life || a->transfer == NULL)
        return;
    a->step_planned = false;
    if (agentside_finished(a) && !a->leaving) {
        a->leaving = true;
        PROMISE(a->world, mr_transfer_count(a->transfer) == 0, "finished, yet not empty");
        a->finished = true;
        mr_transfer_bye(a->transfer);
        if (a->cable != NULL && !mr_transfer_ready(a->transfer))
            drop(a, "nothing is left to do");
    }
    if (a->cable != NULL && mr_transfer_check(a->transfer, a->world->time.now_ns, &err) < 0)
        drop(a, err.text);
    say_all(a);
    if (a->transfer == NULL) /* it ended with its goodbye */
        return;
    if (a->cable != NULL)
        pick_all(a);
    check_books(a);
}

void agentside_soon(struct agentside *a)
{
    if (a->step_planned || a->transfer == NULL)
        return;
    a->step_planned = true;
    world_in(a->world, MS / 2, step, a, a->life, NULL);
}

static void timer(void *ctx, uint64_t life, void *payload)
{
    struct agentside *a = ctx;
    (void)payload;
    if (life != a->life || a->finished)
        return;
    agentside_soon(a);
    world_in(a->world, a->world->heartbeat_ms / 3 * MS, timer, a, life, NULL);
}

/* ---- life ---- */

static void on_verdict(void *ctx, void *owner, const struct mr_message *m)
{
    (void)ctx;
    reel_verdict(owner, m);
}

static void start(void *ctx, uint64_t life, void *payload)
{
    struct agentside *a = ctx;
    const struct mr_transfer_config config = {
        .hello = a->hello, .ack_timeout_ns = 4000 * MS, .idle_credit_ns = 300 * MS};
    const struct mr_transfer_ops ops = {.verdict = on_verdict, .ctx = a};
    (void)payload;
    if (life != a->life || a->transfer != NULL)
        return;
    if (mr_transfer_new(&config, &ops, &a->transfer) < 0)
        abort();
    a->hands = 0;
    a->step_planned = a->connect_planned = a->leaving = false;
    for (size_t i = 0; i < a->reel_count; i++) {
        if (a->reels[i].done)
            continue;
        if (a->hello.ephemeral && a->life > 1)
            reel_begin_anew(&a->reels[i]); /* a push keeps no journal */
        reel_offer(&a->reels[i]);
    }
    plan_connect(a, chance_between(&a->world->chance, 0, 50) * MS);
    timer(a, a->life, NULL);
}

static void new_instance(struct agentside *a)
{
    uint64_t halves[2] = {chance_next(&a->world->chance), chance_next(&a->world->chance)};
    memcpy(a->hello.instance, halves, sizeof(halves));
}

struct agentside *agentside_new(struct world *w, const char *name, bool ephemeral)
{
    struct agentside *a = calloc(1, sizeof(*a));
    if (a == NULL)
        abort();
    a->world = w;
    a->hello = (struct mr_hello){.version_min = 1, .version_max = 1, .ephemeral = ephemeral};
    snprintf(a->hello.name, sizeof(a->hello.name), "%s", name);
    snprintf(a->hello.host, sizeof(a->hello.host), "%zu", w->agent_count);
    new_instance(a);
    a->heard = malloc(sizeof(*a->heard));
    a->scratch = malloc(SCRATCH);
    const struct mr_pack_queues none = {0};
    if (a->heard == NULL || a->scratch == NULL || mr_pack_new(&none, &a->pack) < 0)
        abort();
    a->life = 1;
    a->hands_max = (uint32_t)chance_between(&w->chance, 1, 8);
    a->reel_count = (size_t)chance_between(&w->chance, 1, REELS_MAX);
    for (size_t i = 0; i < a->reel_count; i++)
        reel_make(a, &a->reels[i]);
    world_in(w, chance_between(&w->chance, 0, 500) * MS, start, a, 1, NULL);
    return a;
}

void agentside_crash(struct agentside *a)
{
    if (a->finished)
        return;
    TRACE(a->world, "agent %s crashes", a->hello.host);
    a->life++;
    if (a->cable != NULL)
        cable_close(a->cable);
    a->cable = NULL;
    mr_transfer_free(a->transfer);
    a->transfer = NULL;
    if (a->hello.ephemeral)
        new_instance(a);
    world_in(a->world, chance_between(&a->world->chance, 10, 800) * MS, start, a, a->life, NULL);
}

void agentside_reinstall(struct agentside *a)
{
    if (a->finished)
        return;
    agentside_crash(a);
    new_instance(a);
    a->epoch = 0;
    for (size_t i = 0; i < a->reel_count; i++)
        if (!a->reels[i].done)
            reel_begin_anew(&a->reels[i]);
}

void agentside_bye(struct agentside *a)
{
    if (a->cable == NULL)
        return;
    mr_transfer_bye(a->transfer);
    agentside_soon(a);
}

void agentside_free(struct agentside *a)
{
    mr_transfer_free(a->transfer);
    mr_pack_free(a->pack);
    free(a->heard);
    free(a->scratch);
    free(a);
}

/* ---- for the trace ---- */

static void describe_lanes(const struct agentside *a)
{
    for (uint16_t i = 0; a->cable != NULL && i < a->transfer->welcome.lanes; i++) {
        const struct lane_credit *c = &a->transfer->lanes[i];
        TRACE(a->world,
              "agent %s: lane %u: %llu granted, %llu spent, %llu reserved, %llu returned; wanted "
              "%d, %llu in flight; %u hands busy",
              a->hello.host, i, (unsigned long long)c->granted, (unsigned long long)c->spent,
              (unsigned long long)c->reserved, (unsigned long long)c->returned, c->wanted,
              (unsigned long long)c->in_flight, a->hands);
    }
}

void agentside_describe(const struct agentside *a)
{
    describe_lanes(a);
    for (size_t i = 0; i < a->reel_count; i++) {
        const struct reel *r = &a->reels[i];
        const struct movie *m = a->transfer == NULL ? NULL : mr_transfer_find_owner(a->transfer, r);
        if (m != NULL)
            TRACE(a->world,
                  "agent %s: %s: fate %d, ripe %d, changed %d, state %d; of %llu slabs %llu "
                  "durable, %llu in flight, cursor %llu",
                  a->hello.host, r->open.path, (int)r->fate, r->ripe, r->changed, (int)m->state,
                  (unsigned long long)m->end.slabs, (unsigned long long)m->window.durable,
                  (unsigned long long)m->window.in_flight, (unsigned long long)m->window.cursor);
    }
}
