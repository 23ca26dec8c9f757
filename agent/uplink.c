/* SPDX-License-Identifier: Apache-2.0 */
/* The pump between the agent's queues and its sockets. Decides nothing; never waits for the
 * server. */
#include "uplink.h"

#include "base/log.h"
#include "base/tally.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE     "uplink"
#define WAIT_MS   100
#define BYE_MS    500
#define BATCH     64
#define NO_PARCEL UINT32_MAX

/* A parcel that its lane has no room for yet. */
struct waiting {
    struct mr_parcel parcel;
    uint32_t next;
};

struct lane {
    uint32_t first, last; /* in `waiting`; NO_PARCEL: none */
    uint64_t sequence;
};

struct mr_uplink {
    struct mr_uplink_config config;
    struct mr_peer *peer;
    bool up, orders_closed;
    uint64_t session;
    uint16_t lane_count;
    struct lane lanes[MR_LANES_MAX];
    struct waiting *waiting;
    uint32_t free_slot;
};

int mr_uplink_new(const struct mr_uplink_config *config, struct mr_uplink **ret)
{
    struct mr_uplink *u = calloc(1, sizeof(*u));
    struct waiting *waiting = calloc(config->parcels_max, sizeof(*waiting));
    if (u == NULL || waiting == NULL) {
        free(u);
        free(waiting);
        return -ENOMEM;
    }
    u->config = *config;
    u->waiting = waiting;
    for (uint32_t i = 0; i < config->parcels_max; i++)
        waiting[i].next = i + 1 < config->parcels_max ? i + 1 : NO_PARCEL;
    for (size_t i = 0; i < MR_LANES_MAX; i++)
        u->lanes[i].first = u->lanes[i].last = NO_PARCEL;
    *ret = u;
    return 0;
}

void mr_uplink_free(struct mr_uplink *u)
{
    if (u == NULL)
        return;
    assert(u->peer == NULL);
    free(u->waiting);
    free(u);
}

/* ---- reports ---- */

static void report(struct mr_uplink *u, struct mr_report *r)
{
    if (mr_queue_push(u->config.reports, r) < 0 && r->kind == MR_REPORT_MESSAGE)
        mr_part_close(&r->part);
}

/* ---- parcels ---- */

static void put_buffer(void *buffer)
{
    mr_pool_put(buffer);
}

static int send_parcel(struct mr_uplink *u, struct mr_parcel *p)
{
    uint8_t header[MR_SLAB_HEADER_BYTES];
    struct lane *lane = &u->lanes[p->pick.lane];
    p->header.session = u->session;
    p->header.lane = p->pick.lane;
    p->header.sequence = lane->sequence + 1;
    mr_slab_header_encode(&p->header, header);
    int r = mr_peer_send_slab(u->peer, p->pick.lane, header, p->buffer->data, p->header.wire_bytes,
                              put_buffer, p->buffer);
    if (r < 0)
        return r;
    lane->sequence++;
    mr_tally_item(p->header.wire_bytes);
    return 0;
}

static void enqueue(struct mr_uplink *u, const struct mr_parcel *p)
{
    struct lane *lane = &u->lanes[p->pick.lane];
    uint32_t slot = u->free_slot;
    assert(slot != NO_PARCEL); /* there are no more parcels than buffers */
    u->free_slot = u->waiting[slot].next;
    u->waiting[slot] = (struct waiting){.parcel = *p, .next = NO_PARCEL};
    if (lane->first == NO_PARCEL)
        lane->first = slot;
    else
        u->waiting[lane->last].next = slot;
    lane->last = slot;
}

static void dequeue(struct mr_uplink *u, struct lane *lane)
{
    uint32_t slot = lane->first;
    lane->first = u->waiting[slot].next;
    u->waiting[slot].next = u->free_slot;
    u->free_slot = slot;
}

static void send_waiting(struct mr_uplink *u, struct lane *lane)
{
    while (lane->first != NO_PARCEL && send_parcel(u, &u->waiting[lane->first].parcel) == 0)
        dequeue(u, lane);
}

static bool may_go(const struct mr_uplink *u, const struct mr_parcel *p)
{
    return u->peer != NULL && u->session != 0 && p->pick.session == u->session &&
           p->pick.lane < u->lane_count;
}

static void take_parcels(struct mr_uplink *u)
{
    struct mr_parcel p;
    for (int i = 0; i < BATCH && mr_queue_pop(u->config.parcels, 0, &p) == 0; i++) {
        if (may_go(u, &p))
            enqueue(u, &p);
        else
            mr_pool_put(p.buffer); /* of a session that is over */
    }
    for (uint16_t i = 0; i < u->lane_count; i++)
        send_waiting(u, &u->lanes[i]);
}

/* ---- the connection ---- */

static void drop_connection(struct mr_uplink *u)
{
    for (size_t i = 0; i < MR_LANES_MAX; i++) {
        struct lane *lane = &u->lanes[i];
        while (lane->first != NO_PARCEL) {
            mr_pool_put(u->waiting[lane->first].parcel.buffer);
            dequeue(u, lane);
        }
        *lane = (struct lane){.first = NO_PARCEL, .last = NO_PARCEL};
    }
    if (u->peer != NULL) {
        mr_peer_set_linger(u->peer, BYE_MS);
        mr_peer_close(u->peer);
    }
    u->peer = NULL;
    u->up = false;
    u->session = 0;
    u->lane_count = 0;
}

static void lose_connection(struct mr_uplink *u, const struct mr_err *err)
{
    struct mr_report r = {.kind = MR_REPORT_DOWN};
    snprintf(r.text, sizeof(r.text), "%.250s", err->text);
    drop_connection(u);
    report(u, &r);
}

static void obey(struct mr_uplink *u, struct mr_order *order)
{
    struct mr_err err = {0};
    int r = 0;
    switch (order->kind) {
    case MR_ORDER_CONNECT:
        drop_connection(u);
        r = mr_peer_connect(u->config.link, order->endpoint, &u->peer, &err);
        break;
    case MR_ORDER_LANES:
        if (u->peer == NULL)
            return;
        r = mr_peer_connect_lanes(u->peer, order->ports, order->lanes, &err);
        u->session = order->session;
        u->lane_count = order->lanes;
        break;
    case MR_ORDER_MESSAGE:
        r = u->peer == NULL ? 0 : mr_peer_send(u->peer, order->data, order->bytes);
        if (r < 0)
            mr_err_errno(&err, r, "a control message could not be sent");
        free(order->data);
        break;
    case MR_ORDER_DISCONNECT:
        drop_connection(u);
        break;
    }
    if (r < 0)
        lose_connection(u, &err);
}

static void take_orders(struct mr_uplink *u)
{
    struct mr_order order;
    int r;
    while ((r = mr_queue_pop(u->config.orders, 0, &order)) == 0)
        obey(u, &order);
    u->orders_closed = r == -EPIPE;
}

static void take_messages(struct mr_uplink *u)
{
    struct mr_report r = {.kind = MR_REPORT_MESSAGE};
    for (int i = 0; u->peer != NULL && i < BATCH && mr_peer_receive(u->peer, &r.part) == 0; i++)
        report(u, &r);
}

static void watch_link(struct mr_uplink *u)
{
    struct mr_err err = {0};
    if (u->peer == NULL)
        return;
    enum mr_peer_state state = mr_peer_state(u->peer, &err);
    if (state == MR_PEER_DOWN) {
        take_messages(u); /* what was said before the break: REFUSED, BYE */
        lose_connection(u, &err);
    } else if (state == MR_PEER_UP && !u->up) {
        u->up = true;
        report(u, &(struct mr_report){.kind = MR_REPORT_UP});
    }
}

/* ---- the loop ---- */

static uint64_t lanes_that_wait(const struct mr_uplink *u)
{
    uint64_t lanes = 0;
    for (uint16_t i = 0; i < u->lane_count; i++)
        if (u->lanes[i].first != NO_PARCEL)
            lanes |= UINT64_C(1) << i;
    return lanes;
}

static void wait_for_work(struct mr_uplink *u)
{
    const int fds[2] = {mr_queue_fd(u->config.orders), mr_queue_fd(u->config.parcels)};
    struct mr_order order;
    if (u->peer != NULL) {
        int r = mr_peer_wait(u->peer, fds, 2, lanes_that_wait(u), WAIT_MS);
        (void)r; /* a signal: the loop looks again */
        return;
    }
    if (mr_queue_pop(u->config.orders, WAIT_MS, &order) == 0)
        obey(u, &order);
}

static void run(void *stage)
{
    struct mr_uplink *u = stage;
    while (!u->orders_closed) {
        take_orders(u);
        take_parcels(u);
        take_messages(u);
        watch_link(u);
        if (!u->orders_closed)
            wait_for_work(u);
    }
    drop_connection(u);
    struct mr_parcel p;
    while (mr_queue_pop(u->config.parcels, 0, &p) == 0)
        mr_pool_put(p.buffer);
}

const struct mr_stage mr_uplink_stage = {.name = STAGE, .run = run};
