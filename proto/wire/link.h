/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ZeroMQ ends: a control socket and N data lanes. Only link*.c know libzmq. Used by one thread
 * each unless said otherwise. A session is the unit of reliability: an agent's end never reconnects
 * by itself; any break on any of its sockets is reported once as DOWN and the caller makes a new
 * session on new sockets, so nothing stale can follow.
 *
 * Of all ends: _new, _connect and _bind return owned; on failure nothing, and err (may be NULL) is
 * filled in. _free and _close take NULL. A part that was received is the caller's to close. _wait
 * returns 0, also on timeout, or -EINTR; timeout_ms -1 is for ever.
 *
 *   agent   control DEALER -> ROUTER;  lane i PUSH -> PULL
 *   events  PUB -> SUB; replay ROUTER (speaks as REP) <- REQ
 */
#ifndef MR_WIRE_LINK_H
#define MR_WIRE_LINK_H

#include "wire/slab_header.h"

#define MR_LINK_FDS_MAX      16 /* fds in one wait */
#define MR_EVENT_BYTES_MAX   (1024 * 1024)
#define MR_REQUEST_BYTES_MAX 4096
#define MR_REPLAY_BYTES_MAX  (16 * 1024 * 1024) /* a reply is cut there, the client asks on */

struct mr_link; /* the context: I/O threads, limits; one per program; may be shared by threads */

int mr_link_new(int io_threads, struct mr_link **ret) MR_MUST_USE;
/* All sockets must be closed. Bounded linger; then every payload was given back. */
void mr_link_free(struct mr_link *link);
const char *mr_link_library(void); /* "libzmq 4.3.4" */

/* A received part: borrowed from libzmq until mr_part_close. Safe to close on any thread. */
struct mr_part {
    _Alignas(64) uint8_t opaque[64]; /* a zmq_msg_t */
};
const void *mr_part_data(struct mr_part *part);
size_t mr_part_bytes(struct mr_part *part);
void mr_part_close(struct mr_part *part);

/* ---- agent's end ---- */
struct mr_peer;

/* Connects control (and later lanes) to "tcp://host:port". -EINVAL: endpoint not understood. A host
 * that cannot be resolved now is no error here: the peer is DOWN. May ask a name server, so it may
 * block. */
int mr_peer_connect(struct mr_link *link, const char *endpoint, struct mr_peer **ret,
                    struct mr_err *err) MR_MUST_USE;
/* After WELCOME: lane sockets to the same host. */
int mr_peer_connect_lanes(struct mr_peer *peer, const uint16_t *ports, size_t lanes,
                          struct mr_err *err) MR_MUST_USE;
/* Drops what is queued (linger 0), or lets control linger linger_ms for a BYE. done() of slabs
 * still queued is called soon, on another thread: at the latest before mr_link_free returns. */
void mr_peer_close(struct mr_peer *peer);
void mr_peer_set_linger(struct mr_peer *peer, int linger_ms);

enum mr_peer_state { MR_PEER_CONNECTING, MR_PEER_UP, MR_PEER_DOWN };
/* Reads the socket monitors; DOWN sticks. UP: control is connected (a lane that is not yet gives
 * -EAGAIN). err: who and why when DOWN. */
enum mr_peer_state mr_peer_state(struct mr_peer *peer, struct mr_err *err);

/* -EAGAIN: no room, not UP yet, or DOWN. */
int mr_peer_send(struct mr_peer *peer, const void *message, size_t bytes) MR_MUST_USE;
/* What came before a break can still be received when DOWN. -EAGAIN; -EBADMSG: not one part
 * (dropped). */
int mr_peer_receive(struct mr_peer *peer, struct mr_part *ret) MR_MUST_USE;

/* Zero-copy: payload stays in use until done(ctx) is called, on any thread, exactly once, also when
 * the socket is closed. On failure, -EAGAIN or -ENOMEM, it stays the caller's; done is not called.
 */
int mr_peer_send_slab(struct mr_peer *peer, size_t lane, const uint8_t header[MR_SLAB_HEADER_BYTES],
                      void *payload, size_t bytes, void (*done)(void *ctx), void *ctx) MR_MUST_USE;

/* Waits until something can be done: a message, a monitor event, any of fds readable, room on a
 * lane that is in want_room (bit set), or timeout_ms. */
int mr_peer_wait(struct mr_peer *peer, const int *fds, size_t fd_count, uint64_t want_room,
                 int timeout_ms) MR_MUST_USE;

/* ---- server's ends ---- */
struct mr_router; /* control */

/* Whom a control message came from */
struct mr_route {
    uint8_t bytes[32];
    uint8_t size;
};

/* endpoint with port 0 or "*" picks one; *ret_port (may be NULL) is it. -EADDRINUSE and so on, err
 * names the endpoint. */
int mr_router_bind(struct mr_link *link, const char *endpoint, struct mr_router **ret,
                   uint16_t *ret_port, struct mr_err *err) MR_MUST_USE;
void mr_router_close(struct mr_router *router);
/* -EAGAIN; -EBADMSG: not one part, or an over-long routing id (dropped: go on). */
int mr_router_receive(struct mr_router *router, struct mr_route *ret_from,
                      struct mr_part *ret) MR_MUST_USE;
/* -EHOSTUNREACH: that peer is gone; -EAGAIN: its queue is full (it does not read). */
int mr_router_send(struct mr_router *router, const struct mr_route *to, const void *message,
                   size_t bytes) MR_MUST_USE;
int mr_router_wait(struct mr_router *router, const int *fds, size_t fd_count,
                   int timeout_ms) MR_MUST_USE;

struct mr_lane_socket; /* PULL */
int mr_lane_bind(struct mr_link *link, const char *endpoint, struct mr_lane_socket **ret,
                 uint16_t *ret_port, struct mr_err *err) MR_MUST_USE;
void mr_lane_close(struct mr_lane_socket *lane);
/* One data message: both parts, or -EAGAIN; -EBADMSG: not two parts, the first of them a header's
 * size (dropped: go on). ret_header is filled and ret_payload is owned on 0. The header is not yet
 * decoded. */
int mr_lane_receive(struct mr_lane_socket *lane, uint8_t ret_header[MR_SLAB_HEADER_BYTES],
                    struct mr_part *ret_payload) MR_MUST_USE;
int mr_lane_wait(struct mr_lane_socket *lane, const int *fds, size_t fd_count,
                 int timeout_ms) MR_MUST_USE;

/* ---- events ---- */
struct mr_publisher; /* PUB and the replay socket */
int mr_publisher_bind(struct mr_link *link, const char *events, const char *replay,
                      struct mr_publisher **ret, struct mr_err *err) MR_MUST_USE;
/* The ports bound, where an endpoint said "*". */
void mr_publisher_ports(const struct mr_publisher *p, uint16_t *ret_events, uint16_t *ret_replay);
void mr_publisher_close(struct mr_publisher *p);
/* -EMSGSIZE: over MR_EVENT_BYTES_MAX. Never waits: who does not read misses it and finds it by
 * replay. */
int mr_publisher_send(struct mr_publisher *p, const char *topic, const void *json,
                      size_t bytes) MR_MUST_USE;
/* -EAGAIN; -EBADMSG: not a request (dropped: go on). Each is answered before the next is taken. */
int mr_publisher_receive_request(struct mr_publisher *p, struct mr_part *ret) MR_MUST_USE;
/* 0 also when the client is gone; -EAGAIN: it asks on without reading, and misses this answer (a
 * REQ cannot); -EMSGSIZE: over MR_REPLAY_BYTES_MAX; -EPROTO: nobody waits for one. */
int mr_publisher_reply(struct mr_publisher *p, const void *json, size_t bytes) MR_MUST_USE;
int mr_publisher_wait(struct mr_publisher *p, const int *fds, size_t fd_count,
                      int timeout_ms) MR_MUST_USE;

struct mr_subscriber; /* SUB, and REQ made anew for each request */
int mr_subscriber_connect(struct mr_link *link, const char *events, const char *replay,
                          const char *topic_prefix, struct mr_subscriber **ret,
                          struct mr_err *err) MR_MUST_USE;
void mr_subscriber_close(struct mr_subscriber *s);
/* -EAGAIN after timeout_ms, -EINTR. Topic is NUL-terminated into ret_topic. */
int mr_subscriber_receive(struct mr_subscriber *s, int timeout_ms, char *ret_topic,
                          size_t topic_size, struct mr_part *ret_json) MR_MUST_USE;
/* One replay request; -ETIMEDOUT, -EINTR. */
int mr_subscriber_request(struct mr_subscriber *s, const void *json, size_t bytes, int timeout_ms,
                          struct mr_part *ret_reply) MR_MUST_USE;

#endif
