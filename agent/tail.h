/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail stage, thread "tail": what track found becomes movies (consign), the session with a
 * server is kept (transfer), and slabs that are settled and have credit are sent to be read, each
 * with a pool buffer. No buffer or no credit: nothing is read, and the detector's own file is the
 * spool.
 */
#ifndef MR_AGENT_TAIL_H
#define MR_AGENT_TAIL_H

#include "base/pool.h"
#include "base/queue.h"
#include "base/thread.h"
#include "consign.h"
#include "guest.h"
#include "parcel.h"
#include "uplink.h"

/* All borrowed until _free. */
struct mr_tail_config {
    struct mr_consign_config consign;
    struct mr_transfer_config transfer;
    struct mr_journal *journal;
    const char *const *endpoints; /* of servers, tried in turn */
    size_t endpoint_count;
    int64_t unreachable_ns; /* consign.ends: give up when no server answers for so long; 0: never */
    const struct mr_guest_cpus *cpus; /* that packing may use, */
    uint32_t packers;                 /* so many threads of it */
    struct mr_pool *pool;
    struct mr_queue *growth;  /* struct mr_growth, from track */
    struct mr_queue *reports; /* struct mr_report, from uplink */
    struct mr_queue *notes;   /* struct mr_packed, from pack */
    struct mr_queue *parcels; /* struct mr_parcel, to pack; closed at the end */
    struct mr_queue *orders;  /* struct mr_order, to uplink; closed at the end */
};

struct mr_tail;

int mr_tail_new(const struct mr_tail_config *config, struct mr_tail **ret,
                struct mr_err *err) MR_MUST_USE;
void mr_tail_free(struct mr_tail *tail);

extern const struct mr_stage mr_tail_stage;

/* consign.ends: do not wait for what is not done. Any thread. */
void mr_tail_stop(struct mr_tail *tail);

/* Any thread. */
struct mr_tail_status {
    struct mr_consign_counts counts;
    bool connected;
    bool unreachable; /* it ended for want of a server */
    bool refused; /* the server does not want this agent; it ended (consign.ends) or keeps asking */
    uint64_t sessions;
};
void mr_tail_status(struct mr_tail *tail, struct mr_tail_status *ret);

#endif
