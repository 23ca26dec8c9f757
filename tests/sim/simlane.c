/* SPDX-License-Identifier: Apache-2.0 */
/* Lanes and landing, as lane.c and landing.c behave seen from control. Moves no payload. */
#include "serverside.h"

#include <stdlib.h>

struct lane_news {
    enum { NEWS_USED, NEWS_DURABLE, NEWS_DAMAGED, NEWS_GAP, NEWS_STUCK, NEWS_DETACHED } kind;
    struct held *held;
    uint64_t session, slab, bytes;
    uint16_t lane;
    bool tainted;
};

struct held *serverside_held(const struct serverside *s, const struct mr_movie *movie)
{
    struct held *h = s->held;
    while (h != NULL && h->movie != movie)
        h = h->next;
    return h;
}

/* ---- news to control, in order per lane ---- */

static void lane_left(struct held *h)
{
    PROMISE(h->server->world, h->lanes_left > 0, "a lane detaches twice");
    if (--h->lanes_left == 0) {
        h->attached = false;
        mr_intake_detached(h->server->intake, h->movie);
    }
}

static void news_arrive(void *ctx, uint64_t a, void *payload)
{
    struct serverside *s = ctx;
    struct lane_news n = *(struct lane_news *)payload;
    (void)a;
    free(payload);
    switch (n.kind) {
    case NEWS_USED:
        mr_intake_used(s->intake, n.session, n.lane, n.bytes);
        break;
    case NEWS_DURABLE:
        mr_intake_durable(s->intake, n.held->movie, n.slab);
        break;
    case NEWS_DAMAGED:
        mr_intake_damaged(s->intake, n.held->movie, n.slab);
        break;
    case NEWS_GAP:
        mr_intake_lane_gap(s->intake, n.session, n.lane);
        break;
    case NEWS_STUCK:
        mr_intake_stuck(s->intake, n.held->movie, n.tainted,
                        n.tainted ? MR_REASON_IO : MR_REASON_NO_SPACE, "the disk says no");
        break;
    case NEWS_DETACHED:
        lane_left(n.held);
        break;
    }
    serverside_soon(s);
}

static void tell(struct serverside *s, uint16_t lane, struct lane_news news)
{
    struct simlane *l = &s->lanes[lane];
    struct lane_news *n = malloc(sizeof(*n));
    if (n == NULL)
        abort();
    *n = news;
    n->lane = lane;
    int64_t at_ns = s->world->time.now_ns + chance_between(&s->world->chance, 0, 3) * MS / 2;
    l->told_ns = at_ns > l->told_ns ? at_ns : l->told_ns;
    serverside_in(s, l->told_ns, news_arrive, s, 0, n);
}

/* ---- attach and detach ---- */

void simlane_attach(struct held *h, uint64_t session)
{
    h->attached = true;
    h->session = session;
    h->lanes_left = h->server->world->lanes;
}

static void leave_if_still(struct held *h, uint16_t lane)
{
    if (!h->deaf[lane] || h->flying[lane] > 0 || h->detached[lane])
        return;
    h->detached[lane] = true;
    tell(h->server, lane, (struct lane_news){.kind = NEWS_DETACHED, .held = h});
}

static void read_detach(void *ctx, uint64_t lane, void *payload)
{
    struct held *h = ctx;
    (void)payload;
    h->deaf[lane] = true;
    leave_if_still(h, (uint16_t)lane);
}

void simlane_detach(struct held *h)
{
    struct serverside *s = h->server;
    h->leaving = true;
    for (uint16_t i = 0; i < s->world->lanes; i++)
        serverside_in(s, s->world->time.now_ns + chance_between(&s->world->chance, 0, 8) * MS,
                      read_detach, h, i, NULL);
}

/* ---- landing ---- */

static void fail_to_land(struct held *h, uint16_t lane, bool tainted)
{
    h->failed = true;
    if (h->stuck_told[lane])
        return;
    h->stuck_told[lane] = true;
    tell(h->server, lane, (struct lane_news){.kind = NEWS_STUCK, .held = h, .tainted = tainted});
}

static void landed(void *ctx, uint64_t lane, void *payload)
{
    struct held *h = ctx;
    struct mr_slab_header *s = payload;
    struct record *r = h->record;
    h->flying[lane]--;
    h->under_way[s->slab] = false;
    if (!h->failed && world_mishap(h->server->world, 150))
        fail_to_land(h, (uint16_t)lane, chance_one_in(&h->server->world->chance, 2));
    if (!h->failed) {
        PROMISE(h->server->world, r->state == SHELF_PART && r->generation == h->generation,
                "a slab lands in a part that is not there");
        r->durable[s->slab] = true;
        r->crc_raw[s->slab] = s->crc_raw;
        r->crc_pixels[s->slab] = s->crc_pixels;
        r->raw_bytes[s->slab] = s->raw_bytes;
        r->pixel_bytes[s->slab] = s->pixel_bytes;
        tell(h->server, (uint16_t)lane,
             (struct lane_news){.kind = NEWS_DURABLE, .held = h, .slab = s->slab});
    }
    free(payload);
    leave_if_still(h, (uint16_t)lane);
}

static void land(struct held *h, uint16_t lane, const struct mr_slab_header *slab)
{
    struct world *w = h->server->world;
    if (h->failed) {
        fail_to_land(h, lane, false);
        return;
    }
    if (h->under_way[slab->slab])
        return;
    if (h->record->durable[slab->slab]) {
        tell(h->server, lane,
             (struct lane_news){.kind = NEWS_DURABLE, .held = h, .slab = slab->slab});
        return;
    }
    struct mr_slab_header *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        abort();
    *copy = *slab;
    h->flying[lane]++;
    h->under_way[slab->slab] = true;
    int64_t delay_ns = chance_between(&w->chance, 1, 40) * MS;
    if (world_mishap(w, 30))
        delay_ns += chance_between(&w->chance, 0, 1500) * MS;
    serverside_in(h->server, w->time.now_ns + delay_ns, landed, h, lane, copy);
}

/* ---- receiving ---- */

static struct ear *ear_of(struct serverside *s, struct simlane *l, uint64_t session)
{
    for (size_t i = 0; i < l->ear_count; i++)
        if (l->ears[i].session == session)
            return &l->ears[i];
    PROMISE(s->world, l->ear_count < 128, "more sessions than a schedule should have");
    l->ears[l->ear_count] = (struct ear){.session = session};
    return &l->ears[l->ear_count++];
}

static bool in_sequence(struct serverside *s, struct simlane *l, const struct cable *from,
                        const struct mr_slab_header *h)
{
    struct ear *e = ear_of(s, l, h->session);
    tell(s, l->index,
         (struct lane_news){
             .kind = NEWS_USED, .session = h->session, .bytes = mr_slab_cost(h->wire_bytes)});
    bool next = h->sequence == e->sequence + 1;
    e->sequence = h->sequence;
    if (next)
        return true;
    PROMISE(s->world, from->tampered || from->rogue, "a gap on lane %u that nobody made", l->index);
    tell(s, l->index, (struct lane_news){.kind = NEWS_GAP, .session = h->session});
    return false;
}

static struct held *held_of(struct serverside *s, const struct simlane *l,
                            const struct mr_slab_header *slab)
{
    for (struct held *h = s->held; h != NULL; h = h->next)
        if (h->movie != NULL && h->attached && !h->deaf[l->index] &&
            mr_ulid_equal(&h->id, &slab->movie))
            return h->session == slab->session && h->generation == slab->generation ? h : NULL;
    return NULL;
}

static void take(void *ctx, uint64_t lane, void *payload)
{
    struct serverside *s = ctx;
    struct parcel *p = payload;
    struct simlane *l = &s->lanes[lane];
    struct mr_slab_header slab;
    int r = mr_slab_header_decode(p->data, p->bytes, &slab);
    PROMISE(s->world, r == 0 || p->cable->tampered || p->cable->rogue, "an honest header is bad");
    struct held *h = r == 0 && in_sequence(s, l, p->cable, &slab) ? held_of(s, l, &slab) : NULL;
    if (h == NULL || slab.slab >= WORLD_SLABS || slab.slab % s->world->lanes != lane)
        TRACE(s->world, "lane %u drops a slab of cable %u", (unsigned)lane, p->cable->number);
    else if (p->damaged)
        tell(s, l->index, (struct lane_news){.kind = NEWS_DAMAGED, .held = h, .slab = slab.slab});
    else
        land(h, l->index, &slab);
    free(p);
}

void serverside_slab(struct serverside *s, struct parcel *p)
{
    uint16_t lane = (uint16_t)(p->way - CABLE_LANE);
    struct simlane *l = &s->lanes[lane];
    int64_t at_ns = s->world->time.now_ns + chance_between(&s->world->chance, 0, 3) * MS;
    at_ns = l->stuck_until_ns > at_ns ? l->stuck_until_ns : at_ns;
    l->took_ns = at_ns > l->took_ns ? at_ns : l->took_ns;
    serverside_in(s, l->took_ns, take, s, lane, p);
}

void serverside_stick(struct serverside *s, uint16_t lane, int64_t for_ns)
{
    TRACE(s->world, "lane %u is stuck for %lld ms", lane, (long long)(for_ns / MS));
    s->lanes[lane].stuck_until_ns = s->world->time.now_ns + for_ns;
}
