/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One set of connections from an agent to the server: control both ways and the data lanes, each in
 * order for itself and late by chance. It may break, fall silent, lose a message or damage a slab.
 */
#ifndef MR_TESTS_CABLE_H
#define MR_TESTS_CABLE_H

#include "wire/slab_header.h"
#include "world.h"

#include <stddef.h>
#include <sys/queue.h>

enum { CABLE_UP, CABLE_DOWN, CABLE_LANE }; /* CABLE_LANE + i: lane i */
#define CABLE_WAYS (CABLE_LANE + WORLD_LANES)

/* One message under way. */
struct parcel {
    STAILQ_ENTRY(parcel) link;
    struct cable *cable;
    int way;
    size_t bytes; /* of a slab: header, then payload */
    uint8_t data[];
};

/* The agent's. */
struct cable_end {
    void *ctx;
    void (*hear)(void *ctx, struct cable *cable, const uint8_t *data, size_t bytes);
    void (*broken)(void *ctx, struct cable *cable); /* its sockets noticed */
};

struct cable {
    struct cable *next;
    struct world *world;
    struct serverside *server;
    uint32_t number, server_life;
    struct cable_end end;
    bool open;     /* at the agent */
    bool tampered; /* a message was lost or changed in transit: a gap may be found */
    bool rogue;    /* its owner means ill */
    int64_t arrived_ns[CABLE_WAYS]; /* of the last message sent so far */
    int64_t dead_ns[CABLE_WAYS];    /* what would arrive later does not */
};

/* Lives as long as the world. */
struct cable *cable_new(struct serverside *to, const struct cable_end *end);
void cable_close(struct cable *c); /* by the agent */
void cable_cut(struct cable *c, bool noticed);
void cable_mute(struct cable *c, int way); /* from now on all is lost, and nobody notices */

void cable_send(struct cable *c, int way, const void *data, size_t bytes);
void cable_send_slab(struct cable *c, uint16_t lane, const uint8_t header[MR_SLAB_HEADER_BYTES],
                     const void *payload, size_t bytes);
void cable_drop(struct parcel *p); /* frees it */
struct cable *cable_find(struct world *w, uint32_t number);
void cables_free(struct world *w);

#endif
