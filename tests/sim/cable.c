/* SPDX-License-Identifier: Apache-2.0 */
/* Delay, loss and breaks. Does not read what it carries. */
#include "cable.h"

#include "serverside.h"

#include <stdlib.h>
#include <string.h>

struct cable *cable_new(struct serverside *to, const struct cable_end *end)
{
    struct world *w = to->world;
    struct cable *c = calloc(1, sizeof(*c));
    if (c == NULL)
        abort();
    c->world = w;
    c->server = to;
    c->number = ++w->cable_count;
    c->server_life = serverside_life(to);
    c->end = *end;
    c->open = true;
    for (int i = 0; i < CABLE_WAYS; i++)
        c->dead_ns[i] = INT64_MAX;
    c->next = w->cables;
    w->cables = c;
    return c;
}

static void arrive(void *ctx, uint64_t a, void *payload)
{
    struct cable *c = ctx;
    struct parcel *p = payload;
    (void)a;
    if (c->world->time.now_ns >= c->dead_ns[p->way]) {
        free(p);
    } else if (p->way == CABLE_DOWN) {
        if (c->open)
            c->end.hear(c->end.ctx, c, p->data, p->bytes);
        free(p);
    } else if (c->server_life != serverside_life(c->server)) {
        free(p);
    } else {
        serverside_arrived(c->server, p);
    }
}

/* In order with what went that way before, unless it is overtaken. */
static void dispatch(struct cable *c, struct parcel *p)
{
    struct world *w = c->world;
    int64_t at_ns = w->time.now_ns + chance_between(&w->chance, 0, 8) * MS / 2;
    if (world_mishap(w, 50))
        at_ns += chance_between(&w->chance, 0, 400) * MS;
    bool overtakes = world_mishap(w, 4000);
    c->tampered |= overtakes;
    if (at_ns < c->arrived_ns[p->way] && !overtakes)
        at_ns = c->arrived_ns[p->way];
    if (!overtakes)
        c->arrived_ns[p->way] = at_ns;
    timeline_at(&w->time, at_ns, arrive, c, 0, p);
}

void cable_drop(struct parcel *p)
{
    free(p);
}

static struct parcel *parcel_new(struct cable *c, int way, const void *data, size_t bytes)
{
    struct parcel *p = malloc(sizeof(*p) + bytes);
    if (p == NULL)
        abort();
    *p = (struct parcel){.cable = c, .way = way, .bytes = bytes};
    if (data != NULL)
        memcpy(p->data, data, bytes);
    return p;
}

static void flip_a_bit(struct parcel *p, size_t from, size_t to)
{
    struct chance *c = &p->cable->world->chance;
    p->data[from + chance_below(c, to - from)] ^= (uint8_t)(1u << chance_below(c, 8));
}

static void send(struct cable *c, struct parcel *p)
{
    struct world *w = c->world;
    if (world_mishap(w, 4000)) {
        c->tampered = true;
        TRACE(w, "cable %u: a message comes twice", c->number);
        dispatch(c, parcel_new(c, p->way, p->data, p->bytes));
    }
    dispatch(c, p);
}

void cable_send(struct cable *c, int way, const void *data, size_t bytes)
{
    struct world *w = c->world;
    if (world_mishap(w, 1500)) {
        c->tampered = true;
        TRACE(w, "cable %u: a control message is lost", c->number);
        return;
    }
    struct parcel *p = parcel_new(c, way, data, bytes);
    if (world_mishap(w, 3000)) {
        c->tampered = true;
        flip_a_bit(p, 0, bytes);
        TRACE(w, "cable %u: a control message is damaged", c->number);
    }
    send(c, p);
}

void cable_send_slab(struct cable *c, uint16_t lane, const uint8_t header[MR_SLAB_HEADER_BYTES],
                     const void *payload, size_t bytes)
{
    struct world *w = c->world;
    if (world_mishap(w, 500)) {
        c->tampered = true;
        TRACE(w, "cable %u: a slab on lane %u is lost", c->number, lane);
        return;
    }
    struct parcel *p = parcel_new(c, CABLE_LANE + lane, NULL, MR_SLAB_HEADER_BYTES + bytes);
    memcpy(p->data, header, MR_SLAB_HEADER_BYTES);
    memcpy(p->data + MR_SLAB_HEADER_BYTES, payload, bytes);
    if (world_mishap(w, 40)) /* its own checksum tells */
        flip_a_bit(p, MR_SLAB_HEADER_BYTES, p->bytes);
    if (world_mishap(w, 1000)) {
        c->tampered = true; /* its own checksum tells, but not whose it was: a gap */
        flip_a_bit(p, 0, MR_SLAB_HEADER_BYTES);
    }
    send(c, p);
}

void cable_mute(struct cable *c, int way)
{
    c->dead_ns[way] = c->world->time.now_ns;
    TRACE(c->world, "cable %u: way %d falls silent", c->number, way);
}

static void notice(void *ctx, uint64_t a, void *payload)
{
    struct cable *c = ctx;
    (void)a;
    free(payload);
    if (c->open)
        c->end.broken(c->end.ctx, c);
}

/* What was under way may still arrive, each way up to a moment of its own. */
static void fade(struct cable *c)
{
    struct world *w = c->world;
    for (int i = 0; i < CABLE_WAYS; i++) {
        int64_t last_ns = w->time.now_ns;
        if (chance_one_in(&w->chance, 2))
            last_ns += chance_between(&w->chance, 0, 60) * MS;
        if (last_ns < c->dead_ns[i])
            c->dead_ns[i] = last_ns;
    }
}

void cable_cut(struct cable *c, bool noticed)
{
    TRACE(c->world, "cable %u is cut", c->number);
    fade(c);
    if (noticed)
        world_in(c->world, chance_between(&c->world->chance, 0, 50) * MS, notice, c, 0, NULL);
}

void cable_close(struct cable *c)
{
    c->open = false;
    fade(c);
}

struct cable *cable_find(struct world *w, uint32_t number)
{
    struct cable *c = w->cables;
    while (c != NULL && c->number != number)
        c = c->next;
    return c;
}

void cables_free(struct world *w)
{
    for (struct cable *c = w->cables, *next; c != NULL; c = next) {
        next = c->next;
        free(c);
    }
    w->cables = NULL;
}
