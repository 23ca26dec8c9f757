/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server of a schedule: intake as it is, and around it a berth, lanes, landing and seal that
 * take their time, fail by chance and keep their books, so that what intake asks for can be judged.
 */
#ifndef MR_TESTS_SERVERSIDE_H
#define MR_TESTS_SERVERSIDE_H

#include "cable.h"
#include "intake.h"
#include "shelf.h"

/* A movie with a berth. */
struct held {
    struct held *next;
    struct serverside *server;
    struct mr_movie *movie; /* NULL: finished or released */
    struct record *record;
    struct mr_ulid id;
    uint32_t generation;
    uint64_t session;
    bool attached, leaving, failed;
    bool deaf[WORLD_LANES], stuck_told[WORLD_LANES]; /* deaf: the lane has read its DETACH */
    bool detached[WORLD_LANES];
    uint32_t flying[WORLD_LANES]; /* slabs being written */
    uint16_t lanes_left;
    bool under_way[WORLD_SLABS];
};

/* What a lane remembers of a session. */
struct ear {
    uint64_t session, sequence;
};

struct simlane {
    uint16_t index;
    int64_t took_ns, told_ns, stuck_until_ns;
    struct ear ears[128];
    size_t ear_count;
};

struct serverside {
    struct world *world;
    struct mr_intake *intake; /* NULL: down */
    uint32_t life;
    bool stopping, tick_planned;
    struct simlane lanes[WORLD_LANES];
    struct held *held;
    int64_t berth_ns, seal_ns; /* when the last job of each thread is done */
    uint32_t online;
    struct mr_message *heard; /* scratch */
    uint8_t *scratch;
};

struct serverside *serverside_new(struct world *w);
void serverside_free(struct serverside *s);
uint32_t serverside_life(const struct serverside *s); /* 0: down */
void serverside_start(struct serverside *s);
void serverside_crash(struct serverside *s);
void serverside_stop(struct serverside *s); /* goes down once all movies are let go of */
bool serverside_down(const struct serverside *s);

void serverside_hear(struct serverside *s, struct cable *from, const uint8_t *data, size_t bytes);
void serverside_slab(struct serverside *s, struct parcel *p); /* takes p */
void serverside_stick(struct serverside *s, uint16_t lane, int64_t for_ns);
void serverside_soon(struct serverside *s);           /* a turn of control's loop */
void serverside_describe(const struct serverside *s); /* into the trace */

/* ---- lanes (simlane.c) ---- */
struct held *serverside_held(const struct serverside *s, const struct mr_movie *movie);
void simlane_attach(struct held *h, uint64_t session);
void simlane_detach(struct held *h);

/* ---- berth and seal (simstore.c) ---- */
void simstore_berth(void *ctx, const struct mr_sender *from, const struct mr_open *open);
void simstore_finish(void *ctx, enum mr_finish how, const struct mr_sender *from,
                     const struct mr_ulid *id, struct mr_movie *movie, const struct mr_end *end,
                     const struct mr_fail *fail);
void simstore_release(void *ctx, struct mr_movie *movie, bool tainted);

/* Plans a call that is dropped if the server has another life by then. payload: as timeline's. */
void serverside_in(struct serverside *s, int64_t at_ns, timeline_fire fire, void *ctx, uint64_t a,
                   void *payload);

#endif
