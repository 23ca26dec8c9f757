/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uplink stage, thread "uplink": the only user of the agent's sockets. Sends slabs and control
 * messages, hands what the server says to tail, tells when the link goes up or down. Keeps the
 * lanes' sequence numbers; knows nothing else of the protocol.
 */
#ifndef MR_AGENT_UPLINK_H
#define MR_AGENT_UPLINK_H

#include "base/queue.h"
#include "base/thread.h"
#include "parcel.h"
#include "wire/link.h"

/* From tail to uplink. */
enum mr_order_kind {
    MR_ORDER_CONNECT,    /* to endpoint; an earlier connection is dropped */
    MR_ORDER_LANES,      /* welcome's ports; slabs of `session` may go */
    MR_ORDER_MESSAGE,    /* send data (owned by the order) */
    MR_ORDER_DISCONNECT, /* what is queued on data lanes is dropped */
};

struct mr_order {
    enum mr_order_kind kind;
    const char *endpoint; /* borrowed */
    uint64_t session;
    uint16_t lanes;
    uint16_t ports[MR_LANES_MAX];
    uint8_t *data; /* owned (free) */
    size_t bytes;
};

/* From uplink to tail. */
enum mr_report_kind {
    MR_REPORT_UP,   /* control is connected */
    MR_REPORT_DOWN, /* text says why; the connection is gone */
    MR_REPORT_MESSAGE,
};

struct mr_report {
    enum mr_report_kind kind;
    struct mr_part part; /* MESSAGE: moved to the reader, who closes it */
    char text[256];
};

/* Borrowed. */
struct mr_uplink_config {
    struct mr_link *link;
    struct mr_queue *orders;  /* struct mr_order */
    struct mr_queue *parcels; /* struct mr_parcel, from pack */
    struct mr_queue *reports; /* struct mr_report */
    size_t parcels_max;       /* most that can exist: the pool's buffers */
};

struct mr_uplink;

int mr_uplink_new(const struct mr_uplink_config *config, struct mr_uplink **ret) MR_MUST_USE;
void mr_uplink_free(struct mr_uplink *uplink);

extern const struct mr_stage mr_uplink_stage; /* ends when `orders` is closed and empty */

#endif
