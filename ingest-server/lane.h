/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One data lane: a thread with its data socket, its landing and its buffers. Slabs arrive, have
 * their bounds checked, are verified while they are copied into an aligned buffer, and put down.
 * The only shared things are the two queues to and from control.
 */
#ifndef MR_LANE_H
#define MR_LANE_H

#include "base/queue.h"
#include "base/thread.h"
#include "landing.h"
#include "lease.h"
#include "wire/link.h"

enum mr_lane_command_kind { MR_LANE_ATTACH, MR_LANE_DETACH };

/* Control -> lane */
struct mr_lane_command {
    enum mr_lane_command_kind kind;
    struct mr_movie *movie; /* borrowed until the lane's DETACHED for it */
    uint64_t session;
};

enum mr_lane_news_kind {
    MR_LANE_USED,     /* session, bytes: credit is free again */
    MR_LANE_DURABLE,  /* movie, slab */
    MR_LANE_ABOARD,   /* movie, slab: of a small one; written, and no more than that */
    MR_LANE_DAMAGED,  /* movie, slab: checksum wrong, send it again */
    MR_LANE_MISFIT,   /* movie, slab: not what its geometry or codec allow */
    MR_LANE_GAP,      /* session: a message was lost, or is none */
    MR_LANE_STUCK,    /* movie, code, failure: it cannot land */
    MR_LANE_DETACHED, /* movie */
    MR_LANE_BROKEN,   /* code: the ring itself failed; the lane is gone */
};

/* Lane -> control */
struct mr_lane_news {
    enum mr_lane_news_kind kind;
    uint16_t lane;
    struct mr_movie *movie; /* borrowed: control's own reference outlives the lane's DETACHED */
    uint64_t session, slab, bytes;
    int code;
    enum mr_landing_failure failure;
    char text[160];
};

struct mr_lane_config {
    uint16_t index, lanes;
    uint32_t buffers;       /* landing buffers, each MR_MOVIE_BUFFER_BYTES */
    const char *endpoint;   /* to bind; borrowed for _new */
    struct mr_queue *news;  /* struct mr_lane_news; borrowed */
    struct mr_lease *lease; /* borrowed; NULL: none */
    struct mr_landing_config landing;
};

struct mr_lane;

/* Binds the socket, makes pool and landing. notice: io_uring is forbidden and what to do about it
 * (code set, 0 returned), or the error. Returns owned. */
int mr_lane_new(struct mr_link *link, const struct mr_lane_config *config, struct mr_lane **ret,
                struct mr_err *notice) MR_MUST_USE;
void mr_lane_free(struct mr_lane *lane); /* after its thread is joined; NULL allowed */

uint16_t mr_lane_port(const struct mr_lane *lane);
const char *mr_lane_engine(const struct mr_lane *lane);
struct mr_pool *mr_lane_pool(const struct mr_lane *lane); /* borrowed */
/* struct mr_lane_command; close it to stop */
struct mr_queue *mr_lane_commands(struct mr_lane *lane);

/* Since start */
struct mr_lane_counts {
    uint64_t slabs, bytes, raw_bytes, durable, stale, damaged;
    uint64_t buffers, buffers_free;
};
void mr_lane_count(struct mr_lane *lane, struct mr_lane_counts *ret); /* any thread */

extern const struct mr_stage mr_lane_stage; /* thread around a struct mr_lane */

#endif
