/* SPDX-License-Identifier: Apache-2.0 */
/* Mischief, by hand: no transfer here. Keeps no promise, and is promised nothing. */
#include "rogue.h"

#include "agentside.h"
#include "base/crc64.h"
#include "oracle.h"
#include "serverside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum mischief {
    GARBAGE,
    SEQUENCE,
    FOREIGN_TYPE,
    OVERSPEND,
    RETURN_TOO_MUCH,
    LANE_SEQUENCE,
    WRONG_COUNT,
    PAST_THE_END,
    OPEN_TWICE,
    OTHERS_MOVIES,
    EARLY_END,
    MISCHIEFS
};

struct rogue {
    struct world *world;
    struct cable *cable;
    struct mr_open open;
    uint64_t session, lane_sequence[WORLD_LANES];
    uint32_t sequence, generation;
    enum mischief mischief;
    struct mr_message *m; /* scratch */
    uint8_t *scratch;
};

#define SCRATCH (64 * 1024)

static void say(struct rogue *r, struct mr_message *m)
{
    size_t bytes;
    m->session = r->session;
    m->sequence = ++r->sequence;
    if (mr_message_encode(m, r->scratch, SCRATCH, &bytes) < 0)
        world_broken(r->world, "rogue: encode");
    cable_send(r->cable, CABLE_UP, r->scratch, bytes);
}

static struct mr_message *blank(struct rogue *r, enum mr_message_type type)
{
    memset(r->m, 0, sizeof(*r->m));
    r->m->type = type;
    return r->m;
}

static uint64_t payload_of(uint64_t slab, uint8_t ret[MR_SLAB_BYTES])
{
    memset(ret, (int)(slab & 0xff), MR_SLAB_BYTES);
    return mr_crc64(0, ret, MR_SLAB_BYTES);
}

static void say_slab(struct rogue *r, uint64_t slab)
{
    uint8_t bytes[MR_SLAB_HEADER_BYTES], payload[MR_SLAB_BYTES];
    uint16_t lane = (uint16_t)(slab % r->world->lanes);
    uint64_t crc = payload_of(slab, payload);
    const struct mr_slab_header h = {.session = r->session,
                                     .sequence = ++r->lane_sequence[lane],
                                     .movie = r->open.movie,
                                     .generation = r->generation,
                                     .lane = lane,
                                     .slab = slab,
                                     .wire_bytes = MR_SLAB_BYTES,
                                     .raw_bytes = MR_SLAB_BYTES,
                                     .crc_wire = crc,
                                     .crc_raw = crc};
    mr_slab_header_encode(&h, bytes);
    cable_send_slab(r->cable, lane, bytes, payload, MR_SLAB_BYTES);
}

static void say_open(struct rogue *r)
{
    struct mr_message *m = blank(r, MR_OPEN);
    m->open = r->open;
    say(r, m);
}

static void say_end(struct rogue *r, uint64_t slabs, uint64_t claimed)
{
    struct mr_message *m = blank(r, MR_END);
    m->end = (struct mr_end){.movie = r->open.movie,
                             .generation = r->generation,
                             .extent.source_bytes = slabs * MR_SLAB_BYTES,
                             .slabs = claimed,
                             .complete_by = "mischief"};
    uint8_t payload[MR_SLAB_BYTES];
    for (uint64_t i = 0; i < slabs; i++)
        m->end.crc_file = mr_crc64_combine(m->end.crc_file, payload_of(i, payload), MR_SLAB_BYTES);
    say(r, m);
}

static void say_demand(struct rogue *r, uint64_t returned)
{
    struct mr_message *m = blank(r, MR_DEMAND);
    m->demand.lanes = r->world->lanes;
    for (uint16_t i = 0; i < r->world->lanes; i++) {
        m->demand.wanted[i] = true;
        m->demand.returned[i] = returned;
    }
    say(r, m);
}

/* Speaks of movies that are not its own: an id is no secret, it stands in every event. */
static void meddle(struct rogue *r)
{
    static const enum mr_message_type types[] = {MR_OPEN, MR_END, MR_FAIL, MR_ABANDON};
    struct world *w = r->world;
    for (size_t i = 0; i < w->agent_count; i++) {
        const struct agentside *a = w->agents[i];
        const struct reel *reel = &a->reels[chance_below(&w->chance, a->reel_count)];
        struct mr_message *m = blank(r, types[chance_below(&w->chance, 4)]);
        if (m->type == MR_OPEN) {
            m->open = reel->open;
        } else if (m->type == MR_END) {
            m->end = (struct mr_end){.movie = reel->open.movie, .generation = 1};
        } else if (m->type == MR_FAIL) {
            m->fail = (struct mr_fail){.movie = reel->open.movie, .generation = 1};
        } else {
            m->abandon.movie = reel->open.movie;
        }
        if (!oracle_was_told(w, &reel->open.movie))
            continue;
        if (m->type == MR_OPEN)
            oracle_meddled(w, &reel->open.movie);
        say(r, m);
    }
}

static void on_welcome(struct rogue *r)
{
    uint8_t noise[64];
    for (size_t i = 0; i < sizeof(noise); i++)
        noise[i] = (uint8_t)chance_next(&r->world->chance);
    switch ((int)r->mischief) {
    case GARBAGE:
        cable_send(r->cable, CABLE_UP, noise, sizeof(noise));
        break;
    case SEQUENCE:
        r->sequence += 3;
        say(r, blank(r, MR_PING));
        break;
    case FOREIGN_TYPE:
        say(r, blank(r, MR_ABANDONED));
        break;
    case OTHERS_MOVIES:
        meddle(r);
        break;
    case OPEN_TWICE:
        say_open(r);
        say_open(r);
        break;
    default:
        say_open(r);
        say_demand(r, 0);
        break;
    }
}

static void on_opened(struct rogue *r)
{
    if (r->mischief == OVERSPEND)
        for (uint64_t i = 0; i < 12; i++)
            say_slab(r, i);
    if (r->mischief == WRONG_COUNT)
        say_end(r, 3, 4);
}

static void on_credit(struct rogue *r)
{
    if (r->generation == 0)
        return;
    if (r->mischief == RETURN_TOO_MUCH)
        say_demand(r, 1000ull * MR_SLAB_COST_MAX);
    if (r->mischief == LANE_SEQUENCE) {
        r->lane_sequence[0] += 2;
        say_slab(r, 0);
    }
    if (r->mischief == PAST_THE_END) { /* as many slabs as END counts, but not those */
        say_slab(r, 1);
        say_end(r, 1, 1);
    }
    if (r->mischief == EARLY_END) { /* allowed: END may come before the slabs */
        say_end(r, 1, 1);
        say_slab(r, 0);
    }
    r->mischief = MISCHIEFS;
}

static void hear(void *ctx, struct cable *c, const uint8_t *data, size_t bytes)
{
    struct rogue *r = ctx;
    struct mr_err err = {0};
    struct mr_message *m = malloc(sizeof(*m));
    if (m == NULL)
        abort();
    if (r->cable == c && mr_message_decode(data, bytes, m, &err) == 0) {
        if (m->type == MR_WELCOME) {
            r->session = m->session;
            on_welcome(r);
        } else if (m->type == MR_OPENED) {
            r->generation = m->opened.generation;
            on_opened(r);
        } else if (m->type == MR_CREDIT) {
            on_credit(r);
        }
    }
    free(m);
}

static void broken(void *ctx, struct cable *c)
{
    (void)ctx;
    (void)c;
}

static void come_and_go(void *ctx, uint64_t a, void *payload)
{
    struct rogue *r = ctx;
    struct world *w = r->world;
    (void)payload;
    if (r->cable != NULL)
        cable_close(r->cable);
    r->cable = NULL;
    if (!w->faults)
        return;
    struct serverside *server = w->servers[chance_below(&w->chance, w->server_count)];
    if (serverside_life(server) != 0) {
        const struct cable_end end = {.ctx = r, .hear = hear, .broken = broken};
        r->cable = cable_new(server, &end);
        r->cable->rogue = true;
        r->mischief = (enum mischief)chance_below(&w->chance, MISCHIEFS);
        r->sequence = r->generation = 0;
        r->session = 0;
        memset(r->lane_sequence, 0, sizeof(r->lane_sequence));
        uint64_t id[2] = {chance_next(&w->chance), chance_next(&w->chance)};
        memcpy(r->open.movie.bytes, id, sizeof(id));
        oracle_expect(w, &r->open.movie, NULL);
        struct mr_message *m = blank(r, MR_HELLO);
        m->hello = (struct mr_hello){.version_min = 1, .version_max = 1, .epoch = ++a};
        memcpy(m->hello.instance, "rogue", 5);
        snprintf(m->hello.name, sizeof(m->hello.name), "rogue");
        snprintf(m->hello.host, sizeof(m->hello.host), "elsewhere");
        say(r, m);
    }
    world_in(w, chance_between(&w->chance, 100, 900) * MS, come_and_go, r, a, NULL);
}

struct rogue *rogue_new(struct world *w)
{
    struct rogue *r = calloc(1, sizeof(*r));
    if (r == NULL)
        abort();
    r->world = w;
    r->m = malloc(sizeof(*r->m));
    r->scratch = malloc(SCRATCH);
    if (r->m == NULL || r->scratch == NULL)
        abort();
    r->open.kind = MR_KIND_FILE;
    r->open.output = MR_OUTPUT_KEEP;
    r->open.revision = 1;
    snprintf(r->open.format, sizeof(r->open.format), "file");
    snprintf(r->open.path, sizeof(r->open.path), "rogue/1");
    mr_geometry_opaque(&r->open.geometry);
    world_in(w, chance_between(&w->chance, 0, 500) * MS, come_and_go, r, 0, NULL);
    return r;
}

void rogue_free(struct rogue *r)
{
    if (r == NULL)
        return;
    free(r->m);
    free(r->scratch);
    free(r);
}
