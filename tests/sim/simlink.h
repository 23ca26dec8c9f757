/* SPDX-License-Identifier: Apache-2.0 */
/* The server's sockets: what cables bring waits here until a stage takes it. */
#ifndef MR_TESTS_SIMLINK_H
#define MR_TESTS_SIMLINK_H

#include "cable.h"

#include <sys/queue.h>

STAILQ_HEAD(inbox, parcel);

/* One process' sockets */
struct simlink {
    struct inbox control, lanes[WORLD_LANES];
    uint16_t bound_lanes;
    bool bound;
};

void simlink_init(struct simlink *link);
void simlink_deliver(struct simlink *link, struct parcel *p); /* takes p */
void simlink_fini(struct simlink *link);

#endif
