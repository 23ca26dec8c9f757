/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the ends of link.h share. Private to link*.c, the only files that see libzmq's header.
 */
#ifndef MR_WIRE_LINK_SOCKET_H
#define MR_WIRE_LINK_SOCKET_H

#include "base/tally.h"
#include "wire/link.h"
#include "wire/message.h"

#include <pthread.h>
#include <stdatomic.h>
#include <zmq.h>

/* Payloads lent to libzmq at once, over all peers of a program; more is -EAGAIN. Enough for
 * MR_LANES_MAX lanes of full queues (MR_LINK_LANE_HWM and what libzmq has under way), several
 * times. */
#define MR_LINK_LOANS 2048
/* Messages, each side: credit bounds bytes, this bounds what libzmq holds. */
#define MR_LINK_LANE_HWM    4
#define MR_LINK_CONTROL_HWM 1000 /* messages to or from one peer */
#define MR_LINK_LINGER_MS   1000
/* A peer that is silent for the limit is gone. A lane whose thread waits for a stalled disk reads
 * nothing, heartbeats included: its limit is the agent's ack timeout, not the control socket's. */
#define MR_LINK_CONTROL_BEAT_MS  2000
#define MR_LINK_CONTROL_LIMIT_MS 10000
#define MR_LINK_LANE_BEAT_MS     5000
#define MR_LINK_LANE_LIMIT_MS    30000

/* A payload that libzmq holds. Remembers whom to tell, since libzmq's callback has but one
 * argument. */
struct mr_loan {
    struct mr_link *link;
    void (*done)(void *ctx); /* NULL: taken back, nobody is told */
    void *ctx;
    struct mr_loan *next; /* free list */
};

struct mr_link {
    void *context;
    atomic_uint monitors; /* names of monitor endpoints */
    pthread_mutex_t lock; /* of the free list alone */
    struct mr_loan *free;
    struct mr_loan loans[MR_LINK_LOANS];
};

struct mr_socket_options {
    int type;
    int64_t message_max; /* bytes of a received part; a peer that announces more is cut off */
    int send_hwm, receive_hwm;
    int linger_ms;
    int heartbeat_ms, heartbeat_timeout_ms; /* ZMTP's own, below the protocol's */
    bool ipv6;
    /* What arrived before a break can still be read: ZMQ_IMMEDIATE off. The owner must then send
     * nothing before the handshake and nothing after the break, for libzmq would queue it. */
    bool keep_received;
    bool reconnect; /* false: a broken connection stays broken */
};

int mr_link_errno(void); /* libzmq's errno as -errno; its own inventions translated */

/* Returns owned. No option is ever left to libzmq's default where that default is without limit. */
int mr_link_socket(struct mr_link *link, const struct mr_socket_options *options,
                   void **ret) MR_MUST_USE;
void mr_link_socket_close(void *socket, int linger_ms);
int mr_link_socket_bind(struct mr_link *link, const struct mr_socket_options *options,
                        const char *endpoint, void **ret, uint16_t *ret_port,
                        struct mr_err *err) MR_MUST_USE;

/* Does a host ("name", "1.2.3.4", "[::1]", "*") need an IPv6 socket? A name that has an IPv4
 * address does not: libzmq would try its IPv6 address alone. May ask a name server. */
bool mr_link_wants_ipv6(const char *host);

/* NULL when all are lent. */
struct mr_loan *mr_link_lend(struct mr_link *link, void (*done)(void *ctx), void *ctx);
void mr_link_loan_over(void *payload, void *loan); /* zmq_free_fn: any thread */

/* Receives one part without waiting: 0, -EAGAIN ... *ret_more: another part of the same message
 * follows. */
int mr_link_part_receive(void *socket, struct mr_part *ret, bool *ret_more) MR_MUST_USE;
/* A part of min to max bytes that another must follow, copied to ret (of max bytes). -EBADMSG, with
 * the message dropped: it is not so. */
int mr_link_head_receive(void *socket, size_t min, size_t max, void *ret,
                         size_t *ret_bytes) MR_MUST_USE;
/* A part that must be the message's last: -EBADMSG, with the message dropped, where it is not. */
int mr_link_last_receive(void *socket, struct mr_part *ret) MR_MUST_USE;
/* The routing id a ROUTER puts in front. -EBADMSG, with the message dropped: nothing follows it, or
 * it is the peer's own choice and over-long. */
int mr_link_route_receive(void *socket, struct mr_route *ret) MR_MUST_USE;
void mr_link_drain(void *socket, bool more); /* the rest of a message of too many parts */
int mr_link_part_send(void *socket, const void *data, size_t bytes, bool more) MR_MUST_USE;

/* zmq_poll over `items`, whose last fd_count are filled from fds. 0, also on timeout; -EINTR. what:
 * it waits for, as the thread's account is to say. */
int mr_link_poll(zmq_pollitem_t *items, size_t sockets, const int *fds, size_t fd_count,
                 int timeout_ms, enum mr_tally_wait what) MR_MUST_USE;

static inline zmq_msg_t *mr_link_message(struct mr_part *part)
{
    return (zmq_msg_t *)(void *)part->opaque;
}

#endif
