/* SPDX-License-Identifier: Apache-2.0 */
/* wire/link.h's server ends over cables instead of ZeroMQ. Has no agent's end and no subscriber. */
#include "simlink.h"

#include "disk_calls.h"
#include "fibre.h"
#include "oracle.h"
#include "serverside.h"
#include "wire/link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct simlink *mine(void)
{
    return &fibre_process()->link;
}

void simlink_init(struct simlink *link)
{
    *link = (struct simlink){0};
    STAILQ_INIT(&link->control);
    for (int i = 0; i < WORLD_LANES; i++)
        STAILQ_INIT(&link->lanes[i]);
}

static void empty(struct inbox *inbox)
{
    struct parcel *p;
    while ((p = STAILQ_FIRST(inbox)) != NULL) {
        STAILQ_REMOVE_HEAD(inbox, link);
        cable_drop(p);
    }
}

void simlink_fini(struct simlink *link)
{
    empty(&link->control);
    for (int i = 0; i < WORLD_LANES; i++)
        empty(&link->lanes[i]);
    link->bound = false;
    link->bound_lanes = 0;
}

void simlink_deliver(struct simlink *link, struct parcel *p)
{
    struct inbox *inbox = p->way == CABLE_UP ? &link->control : &link->lanes[p->way - CABLE_LANE];
    STAILQ_INSERT_TAIL(inbox, p, link);
    fibre_signal(inbox);
}

/* ---- parts ---- */

struct held_part {
    size_t skip, bytes;
    uint8_t data[];
};

static struct held_part *held_of(const struct mr_part *part)
{
    struct held_part *held;
    memcpy(&held, part->opaque, sizeof(held));
    return held;
}

/* From here on it is the process' memory. Takes p. */
static void fill(struct mr_part *ret, struct parcel *p, size_t skip)
{
    struct held_part *held = malloc(sizeof(*held) + p->bytes);
    if (held == NULL)
        abort();
    *held = (struct held_part){.skip = skip, .bytes = p->bytes};
    memcpy(held->data, p->data, p->bytes);
    memcpy(ret->opaque, &held, sizeof(held));
    cable_drop(p);
}

const void *mr_part_data(struct mr_part *part)
{
    const struct held_part *held = held_of(part);
    return held->data + held->skip;
}

size_t mr_part_bytes(struct mr_part *part)
{
    const struct held_part *held = held_of(part);
    return held->bytes - held->skip;
}

void mr_part_close(struct mr_part *part)
{
    free(held_of(part));
}

/* ---- waiting ---- */

static int wait_for(const struct inbox *inbox, const int *fds, size_t count, int timeout_ms)
{
    const void *channels[FIBRE_CHANNELS];
    if (inbox != NULL && !STAILQ_EMPTY(inbox))
        return 0;
    channels[0] = inbox;
    for (size_t i = 0; i < count; i++) {
        if (calls_is_readable(fds[i]))
            return 0;
        channels[i + 1] = calls_channel_of(fds[i]);
    }
    fibre_wait(channels, count + 1, timeout_ms < 0 ? -1 : timeout_ms * MS);
    return 0;
}

/* ---- the context ---- */

int mr_link_new(int io_threads, struct mr_link **ret)
{
    (void)io_threads;
    *ret = (struct mr_link *)mine();
    return 0;
}

void mr_link_free(struct mr_link *link)
{
    (void)link;
}

/* ---- control ---- */

int mr_router_bind(struct mr_link *link, const char *endpoint, struct mr_router **ret,
                   uint16_t *ret_port, struct mr_err *err)
{
    (void)endpoint;
    (void)ret_port;
    (void)err;
    mine()->bound = true;
    *ret = (struct mr_router *)link;
    return 0;
}

void mr_router_close(struct mr_router *router)
{
    (void)router;
    mine()->bound = false;
}

int mr_router_receive(struct mr_router *router, struct mr_route *ret_from, struct mr_part *ret)
{
    struct inbox *inbox = &((struct simlink *)router)->control;
    struct parcel *p = STAILQ_FIRST(inbox);
    if (p == NULL)
        return -EAGAIN;
    STAILQ_REMOVE_HEAD(inbox, link);
    *ret_from = (struct mr_route){.size = sizeof(p->cable->number)};
    memcpy(ret_from->bytes, &p->cable->number, sizeof(p->cable->number));
    serverside_check_heard(fibre_process(), p);
    fill(ret, p, 0);
    return 0;
}

int mr_router_send(struct mr_router *router, const struct mr_route *to, const void *message,
                   size_t bytes)
{
    uint32_t number;
    (void)router;
    memcpy(&number, to->bytes, sizeof(number));
    struct cable *c = cable_find(fibre_process()->world, number);
    serverside_check_said(fibre_process(), c, message, bytes);
    cable_send(c, CABLE_DOWN, message, bytes);
    return 0;
}

int mr_router_wait(struct mr_router *router, const int *fds, size_t fd_count, int timeout_ms)
{
    return wait_for(&((struct simlink *)router)->control, fds, fd_count, timeout_ms);
}

/* ---- lanes ---- */

int mr_lane_bind(struct mr_link *link, const char *endpoint, struct mr_lane_socket **ret,
                 uint16_t *ret_port, struct mr_err *err)
{
    struct simlink *l = (struct simlink *)link;
    (void)endpoint;
    (void)err;
    *ret_port = (uint16_t)(5571 + l->bound_lanes);
    *ret = (struct mr_lane_socket *)&l->lanes[l->bound_lanes++];
    return 0;
}

void mr_lane_close(struct mr_lane_socket *lane)
{
    (void)lane;
}

int mr_lane_receive(struct mr_lane_socket *lane, uint8_t ret_header[MR_SLAB_HEADER_BYTES],
                    struct mr_part *ret_payload)
{
    struct inbox *inbox = (struct inbox *)lane;
    struct serverside *s = fibre_process();
    size_t index = (size_t)(inbox - s->link.lanes);
    struct parcel *p = STAILQ_FIRST(inbox);
    if (p == NULL || s->lane_stuck_until_ns[index] > s->world->time.now_ns)
        return -EAGAIN;
    STAILQ_REMOVE_HEAD(inbox, link);
    memcpy(ret_header, p->data, MR_SLAB_HEADER_BYTES);
    fill(ret_payload, p, MR_SLAB_HEADER_BYTES);
    return 0;
}

int mr_lane_wait(struct mr_lane_socket *lane, const int *fds, size_t fd_count, int timeout_ms)
{
    struct serverside *s = fibre_process();
    const struct inbox *inbox = (struct inbox *)lane;
    int64_t stuck_ns = s->lane_stuck_until_ns[inbox - s->link.lanes] - s->world->time.now_ns;
    if (stuck_ns > 0) {
        int64_t stuck_ms = stuck_ns / MS + 1;
        return wait_for(NULL, fds, fd_count,
                        timeout_ms < 0 || stuck_ms < timeout_ms ? (int)stuck_ms : timeout_ms);
    }
    return wait_for(inbox, fds, fd_count, timeout_ms);
}

/* ---- events ---- */

int mr_publisher_bind(struct mr_link *link, const char *events, const char *replay,
                      struct mr_publisher **ret, struct mr_err *err)
{
    (void)events;
    (void)replay;
    (void)err;
    *ret = (struct mr_publisher *)link;
    return 0;
}

void mr_publisher_ports(const struct mr_publisher *p, uint16_t *ret_events, uint16_t *ret_replay)
{
    (void)p;
    *ret_events = *ret_replay = 0;
}

void mr_publisher_close(struct mr_publisher *p)
{
    (void)p;
}

int mr_publisher_send(struct mr_publisher *p, const char *topic, const void *json, size_t bytes)
{
    (void)p;
    (void)topic;
    oracle_event(fibre_process()->world, json, bytes);
    return 0;
}

int mr_publisher_receive_request(struct mr_publisher *p, struct mr_part *ret)
{
    (void)p;
    (void)ret;
    return -EAGAIN; /* the oracle reads the log itself */
}

int mr_publisher_reply(struct mr_publisher *p, const void *json, size_t bytes)
{
    (void)p;
    (void)json;
    (void)bytes;
    return 0;
}

int mr_publisher_wait(struct mr_publisher *p, const int *fds, size_t fd_count, int timeout_ms)
{
    (void)p;
    return wait_for(NULL, fds, fd_count, timeout_ms);
}
