/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's end: one control DEALER, then one PUSH per data lane, all to one address. Each socket
 * has a monitor; the first bad news from any of them is final. Makes no new connection by itself:
 * when to try again is the caller's affair.
 */
#include "wire/endpoint.h"
#include "wire/link_socket.h"

#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* libzmq reports nothing at all for some failures to connect (no route, no file descriptor), so
 * there is a limit of ours above its own for connect and handshake. */
#define CONNECT_LIMIT_NS (20 * MR_NS_PER_S)

#define GOOD_EVENTS ZMQ_EVENT_HANDSHAKE_SUCCEEDED
#define BAD_EVENTS                                                                      \
    (ZMQ_EVENT_CLOSED | ZMQ_EVENT_DISCONNECTED | ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL | \
     ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL | ZMQ_EVENT_HANDSHAKE_FAILED_AUTH |            \
     ZMQ_EVENT_MONITOR_STOPPED)

struct channel {
    void *socket;
    void *monitor; /* PAIR: libzmq's reports about socket */
    bool up;       /* handshake done */
    uint16_t port;
};

struct mr_peer {
    struct mr_link *link;
    struct mr_endpoint address; /* numeric: control and lanes must reach the same machine */
    bool ipv6;
    int linger_ms; /* of control; lanes never linger: what they hold is sent again */
    int64_t connect_until_ns;
    bool down;
    struct mr_err why;
    struct channel control;
    struct channel lanes[MR_LANES_MAX];
    size_t lane_count;
};

static void go_down(struct mr_peer *peer, int code, const struct channel *channel, const char *what)
{
    if (peer->down)
        return;
    peer->down = true;
    (void)mr_err_set(&peer->why, code, "tcp://%s:%u: %s", peer->address.host, channel->port, what);
}

/* One address of a name, IPv4 before IPv6: a server that listens on all addresses may have no
 * IPv6. */
static int resolve(const char *host, char *ret, size_t size)
{
    char name[256];
    size_t length = strlen(host);
    bool bracketed = host[0] == '[';
    (void)snprintf(name, sizeof(name), "%.*s", (int)(length - (bracketed ? 2 : 0)),
                   host + (bracketed ? 1 : 0));
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    if (getaddrinfo(name, NULL, &hints, &found) != 0)
        return -EHOSTUNREACH;
    const struct addrinfo *chosen = found;
    for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
        if (a->ai_family == AF_INET) {
            chosen = a;
            break;
        }
    }
    char text[NI_MAXHOST];
    int r = getnameinfo(chosen->ai_addr, chosen->ai_addrlen, text, sizeof(text), NULL, 0,
                        NI_NUMERICHOST);
    bool six = chosen->ai_family == AF_INET6;
    freeaddrinfo(found);
    if (r != 0 || (size_t)snprintf(ret, size, six ? "[%s]" : "%s", text) >= size)
        return -EHOSTUNREACH;
    return 0;
}

/* Before connecting, or the first events are missed. */
static int watch_channel(struct mr_link *link, struct channel *c)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "inproc://mr-monitor-%u",
                   atomic_fetch_add(&link->monitors, 1));
    if (zmq_socket_monitor(c->socket, name, GOOD_EVENTS | BAD_EVENTS) != 0)
        return mr_link_errno();
    c->monitor = zmq_socket(link->context, ZMQ_PAIR);
    if (c->monitor == NULL || zmq_connect(c->monitor, name) != 0)
        return mr_link_errno();
    return 0;
}

/* The monitor is stopped while its reader still lives: libzmq's I/O thread would wait for ever to
 * report to a reader that has gone. */
static void close_channel(struct channel *c, int linger_ms)
{
    if (c->socket != NULL)
        (void)zmq_socket_monitor(c->socket, NULL, 0);
    mr_link_socket_close(c->monitor, 0);
    mr_link_socket_close(c->socket, linger_ms);
    *c = (struct channel){0};
}

static int open_channel(struct mr_peer *peer, struct mr_socket_options options, uint16_t port,
                        struct channel *c, struct mr_err *err)
{
    char endpoint[MR_ENDPOINT_TEXT];
    (void)snprintf(endpoint, sizeof(endpoint), "tcp://%s:%u", peer->address.host, port);
    options.ipv6 = peer->ipv6;
    c->port = port;
    int r = mr_link_socket(peer->link, &options, &c->socket);
    if (r == 0)
        r = watch_channel(peer->link, c);
    if (r == 0 && zmq_connect(c->socket, endpoint) != 0)
        r = mr_link_errno();
    if (r < 0) {
        close_channel(c, 0);
        return mr_err_errno(err, r, "%s: cannot connect", endpoint);
    }
    peer->connect_until_ns = mr_clock_monotonic_ns() + CONNECT_LIMIT_NS;
    return 0;
}

static int connect_control(struct mr_peer *peer, struct mr_err *err)
{
    static const struct mr_socket_options options = {
        .type = ZMQ_DEALER,
        .message_max = MR_CONTROL_BYTES_MAX,
        .send_hwm = MR_LINK_CONTROL_HWM,
        .receive_hwm = 10 * MR_LINK_CONTROL_HWM, /* acks must not wait behind acks */
        .keep_received = true,                   /* a stopping server's BYE, above all */
        .heartbeat_ms = MR_LINK_CONTROL_BEAT_MS,
        .heartbeat_timeout_ms = MR_LINK_CONTROL_LIMIT_MS,
    };
    char numeric[sizeof(peer->address.host)];
    if (resolve(peer->address.host, numeric, sizeof(numeric)) < 0) {
        peer->control.port = peer->address.port;
        go_down(peer, -EHOSTUNREACH, &peer->control, "host name is not known");
        return 0; /* as if refused: the next try may find it */
    }
    (void)snprintf(peer->address.host, sizeof(peer->address.host), "%s", numeric);
    peer->ipv6 = numeric[0] == '[';
    return open_channel(peer, options, peer->address.port, &peer->control, err);
}

int mr_peer_connect(struct mr_link *link, const char *endpoint, struct mr_peer **ret,
                    struct mr_err *err)
{
    struct mr_peer *peer = calloc(1, sizeof(*peer));
    if (peer == NULL)
        return mr_err_errno(err, -ENOMEM, "%s: no socket", endpoint);
    peer->link = link;
    int r = mr_endpoint_parse(endpoint, &peer->address, err);
    if (r == 0)
        r = connect_control(peer, err);
    if (r < 0) {
        mr_peer_close(peer);
        return r;
    }
    *ret = peer;
    return 0;
}

int mr_peer_connect_lanes(struct mr_peer *peer, const uint16_t *ports, size_t lanes,
                          struct mr_err *err)
{
    static const struct mr_socket_options options = {
        .type = ZMQ_PUSH,
        .message_max = 4096, /* nothing comes back but the handshake, which counts */
        .send_hwm = MR_LINK_LANE_HWM,
        .receive_hwm = MR_LINK_LANE_HWM,
        .heartbeat_ms = MR_LINK_LANE_BEAT_MS,
        .heartbeat_timeout_ms = MR_LINK_LANE_LIMIT_MS,
    };
    assert(lanes >= 1 && lanes <= MR_LANES_MAX);
    assert(peer->lane_count == 0);
    for (size_t i = 0; i < lanes; i++) {
        int r = open_channel(peer, options, ports[i], &peer->lanes[i], err);
        if (r < 0)
            return r;
        peer->lane_count = i + 1;
    }
    return 0;
}

void mr_peer_set_linger(struct mr_peer *peer, int linger_ms)
{
    peer->linger_ms = linger_ms;
}

void mr_peer_close(struct mr_peer *peer)
{
    if (peer == NULL)
        return;
    for (size_t i = 0; i < peer->lane_count; i++)
        close_channel(&peer->lanes[i], 0);
    close_channel(&peer->control, peer->linger_ms);
    free(peer);
}

/* An event is two parts: event (u16) and value (u32) in the host's order, then the address. */
static int next_event(struct channel *c, uint16_t *ret)
{
    struct mr_part part;
    bool more = false;
    int r = mr_link_part_receive(c->monitor, &part, &more);
    if (r < 0)
        return r;
    *ret = 0;
    if (mr_part_bytes(&part) >= sizeof(*ret))
        memcpy(ret, mr_part_data(&part), sizeof(*ret));
    mr_part_close(&part);
    mr_link_drain(c->monitor, more);
    return 0;
}

static void read_events(struct mr_peer *peer, struct channel *c)
{
    uint16_t event;
    while (c->monitor != NULL && next_event(c, &event) == 0)
        if ((event & GOOD_EVENTS) != 0)
            c->up = true;
        else if ((event & ZMQ_EVENT_DISCONNECTED) != 0)
            go_down(peer, -ECONNRESET, c, "connection lost");
        else if ((event & ZMQ_EVENT_CLOSED) != 0)
            go_down(peer, -ECONNREFUSED, c, "no connection");
        else if ((event & BAD_EVENTS) != 0)
            go_down(peer, -EPROTO, c, "not a Millrace server (handshake failed)");
}

static bool all_up(const struct mr_peer *peer)
{
    bool up = peer->control.up;
    for (size_t i = 0; i < peer->lane_count; i++)
        up = up && peer->lanes[i].up;
    return up;
}

enum mr_peer_state mr_peer_state(struct mr_peer *peer, struct mr_err *err)
{
    read_events(peer, &peer->control);
    for (size_t i = 0; i < peer->lane_count; i++)
        read_events(peer, &peer->lanes[i]);
    if (!peer->down && !all_up(peer) && mr_clock_monotonic_ns() > peer->connect_until_ns)
        go_down(peer, -ETIMEDOUT, &peer->control, "no connection in time");
    if (peer->down) {
        if (err != NULL)
            *err = peer->why;
        return MR_PEER_DOWN;
    }
    return peer->control.up ? MR_PEER_UP : MR_PEER_CONNECTING;
}

int mr_peer_send(struct mr_peer *peer, const void *message, size_t bytes)
{
    if (!peer->control.up)
        read_events(peer, &peer->control);
    if (peer->down || !peer->control.up)
        return -EAGAIN; /* libzmq would take it */
    return mr_link_part_send(peer->control.socket, message, bytes, false);
}

int mr_peer_receive(struct mr_peer *peer, struct mr_part *ret)
{
    if (peer->control.socket == NULL)
        return -EAGAIN;
    return mr_link_last_receive(peer->control.socket, ret);
}

/* Header, then payload: when libzmq refuses the payload it has rolled the header back. */
static int send_lent(void *socket, const uint8_t *header, void *payload, size_t bytes,
                     struct mr_loan *loan)
{
    zmq_msg_t message;
    if (zmq_msg_init_data(&message, payload, bytes, mr_link_loan_over, loan) != 0) {
        loan->done = NULL;
        mr_link_loan_over(payload, loan);
        return -ENOMEM;
    }
    int r = mr_link_part_send(socket, header, MR_SLAB_HEADER_BYTES, true);
    if (r == 0 && zmq_msg_send(&message, socket, ZMQ_DONTWAIT) < 0)
        r = mr_link_errno();
    if (r < 0) {
        loan->done = NULL;
        (void)zmq_msg_close(&message);
    }
    return r;
}

int mr_peer_send_slab(struct mr_peer *peer, size_t lane, const uint8_t header[MR_SLAB_HEADER_BYTES],
                      void *payload, size_t bytes, void (*done)(void *ctx), void *ctx)
{
    assert(lane < peer->lane_count);
    assert(bytes >= 1 && bytes <= MR_SLAB_WIRE_MAX);
    assert(done != NULL);
    struct mr_loan *loan = peer->down ? NULL : mr_link_lend(peer->link, done, ctx);
    if (loan == NULL)
        return -EAGAIN;
    return send_lent(peer->lanes[lane].socket, header, payload, bytes, loan);
}

static size_t add_channel(zmq_pollitem_t *items, size_t at, const struct channel *c, short events)
{
    if (c->monitor != NULL)
        items[at++] = (zmq_pollitem_t){.socket = c->monitor, .events = ZMQ_POLLIN};
    if (c->socket != NULL && events != 0)
        items[at++] = (zmq_pollitem_t){.socket = c->socket, .events = events};
    return at;
}

/* While connecting, no longer than the limit on that, which no event may announce. */
static int bounded_timeout(const struct mr_peer *peer, int timeout_ms)
{
    if (peer->down || all_up(peer))
        return timeout_ms;
    int64_t left_ms = (peer->connect_until_ns - mr_clock_monotonic_ns()) / MR_NS_PER_MS + 1;
    left_ms = left_ms < 0 ? 0 : left_ms;
    return timeout_ms < 0 || timeout_ms > left_ms ? (int)left_ms : timeout_ms;
}

int mr_peer_wait(struct mr_peer *peer, const int *fds, size_t fd_count, uint64_t want_room,
                 int timeout_ms)
{
    zmq_pollitem_t items[2 + 2 * MR_LANES_MAX + MR_LINK_FDS_MAX];
    size_t count = add_channel(items, 0, &peer->control, ZMQ_POLLIN);
    for (size_t i = 0; i < peer->lane_count; i++) {
        bool room = (want_room >> i & 1) != 0;
        count = add_channel(items, count, &peer->lanes[i], room ? ZMQ_POLLOUT : 0);
    }
    return mr_link_poll(items, count, fds, fd_count, bounded_timeout(peer, timeout_ms),
                        want_room != 0 ? MR_TALLY_ROOM : MR_TALLY_INPUT);
}
