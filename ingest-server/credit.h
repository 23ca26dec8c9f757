/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may send how much on one lane. A lane has a budget of bytes that libzmq may hold for it;
 * every session that asks gets an equal share in whole slabs, at least one, in turn, so that no set
 * of agents can starve another. Only whole slabs are granted: what is too little for one is given
 * back by the agent. Pure; used by the control thread.
 */
#ifndef MR_CREDIT_H
#define MR_CREDIT_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MR_CREDIT_SLOTS 256 /* sessions at once */

/* Bytes, totals since the session began */
struct mr_credit_slot {
    bool joined, wanted;
    uint64_t granted, used, returned;
    uint64_t seen; /* their sum when it last changed, and since when it has not */
    int64_t seen_ns;
};

struct mr_credit_lane {
    uint64_t budget; /* bytes */
    uint64_t unit;   /* bytes: smallest grant, cost of a full slab */
    uint64_t out;    /* granted and neither used nor returned, all slots */
    bool short_of;   /* somebody wants what is not there */
    uint32_t next;   /* whose turn it is */
    uint32_t top;    /* slots above were never joined */
    struct mr_credit_slot slots[MR_CREDIT_SLOTS];
};

/* budget >= unit (asserted). */
void mr_credit_init(struct mr_credit_lane *c, uint64_t budget, uint64_t unit);
void mr_credit_join(struct mr_credit_lane *c, uint32_t slot);
void mr_credit_leave(struct mr_credit_lane *c, uint32_t slot); /* what was out comes back */

/* returned: total. -EPROTO: more is given back than was out, or the total went down. */
int mr_credit_demand(struct mr_credit_lane *c, uint32_t slot, bool wanted,
                     uint64_t returned) MR_MUST_USE;
/* bytes: of slabs taken over from libzmq. -EPROTO: more than was granted. */
int mr_credit_use(struct mr_credit_lane *c, uint32_t slot, uint64_t bytes) MR_MUST_USE;

/* True where the slot has had credit out for longer than limit_ns without any of it being used,
 * returned or added to, while it wants more or another is short of it: what it was for is lost, or
 * its agent stands still. Call it regularly. */
bool mr_credit_stalled(struct mr_credit_lane *c, uint32_t slot, int64_t now_ns, int64_t limit_ns);

/* For some time nobody could use what was granted, and that was not the slots' doing: what they
 * hold counts as seen just now. */
void mr_credit_forgive(struct mr_credit_lane *c, int64_t now_ns);

/* Grants what can be granted; calls changed(ctx, slot) for each slot whose total grew. */
void mr_credit_share(struct mr_credit_lane *c, void (*changed)(void *ctx, uint32_t slot),
                     void *ctx);

#endif
