/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The events' ends: PUB and the replay socket of a server, SUB and one REQ per request of a client.
 * Loss is allowed here: an event that a slow or late subscriber missed is in the log, and shows as
 * a gap in the sequence. JSON is not looked into.
 */
#include "wire/endpoint.h"
#include "wire/link_socket.h"

#include "base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ZMTP's heartbeats. A client that is silent for its limit is gone, as is a server for the sooner
 * one: who subscribes wants to be connected anew, where a server only frees a queue. */
#define BEAT_MS         5000
#define CLIENT_LIMIT_MS 30000
#define SERVER_LIMIT_MS 15000
/* Messages that are queued for one client: events (more are missed, and found by replay), answers
 * of up to 16 MiB, questions. */
#define EVENTS_HWM   1000
#define REPLIES_HWM  4
#define REQUESTS_HWM 16

struct mr_publisher {
    void *events;
    void *replay;           /* ROUTER: a REP would wait for a client that died before its reply */
    struct mr_route client; /* who asked last; size 0: nobody waits */
    uint16_t ports[2];
};

struct mr_subscriber {
    struct mr_link *link;
    void *events;
    char replay[MR_ENDPOINT_TEXT];
};

static const struct mr_socket_options pub_options = {
    .type = ZMQ_PUB,
    .message_max = MR_REQUEST_BYTES_MAX, /* subscriptions */
    .send_hwm = EVENTS_HWM,
    .receive_hwm = EVENTS_HWM,
    .linger_ms = MR_LINK_LINGER_MS,
    .heartbeat_ms = BEAT_MS,
    .heartbeat_timeout_ms = CLIENT_LIMIT_MS,
};

static const struct mr_socket_options replay_options = {
    .type = ZMQ_ROUTER,
    .message_max = MR_REQUEST_BYTES_MAX,
    .send_hwm = REPLIES_HWM,
    .receive_hwm = REQUESTS_HWM,
    .linger_ms = MR_LINK_LINGER_MS,
    .heartbeat_ms = BEAT_MS,
    .heartbeat_timeout_ms = CLIENT_LIMIT_MS,
};

int mr_publisher_bind(struct mr_link *link, const char *events, const char *replay,
                      struct mr_publisher **ret, struct mr_err *err)
{
    struct mr_publisher *p = calloc(1, sizeof(*p));
    if (p == NULL)
        return mr_err_errno(err, -ENOMEM, "%s: no socket", events);
    int r = mr_link_socket_bind(link, &pub_options, events, &p->events, &p->ports[0], err);
    if (r == 0)
        r = mr_link_socket_bind(link, &replay_options, replay, &p->replay, &p->ports[1], err);
    if (r < 0) {
        mr_publisher_close(p);
        return r;
    }
    *ret = p;
    return 0;
}

void mr_publisher_ports(const struct mr_publisher *p, uint16_t *ret_events, uint16_t *ret_replay)
{
    *ret_events = p->ports[0];
    *ret_replay = p->ports[1];
}

void mr_publisher_close(struct mr_publisher *p)
{
    if (p == NULL)
        return;
    mr_link_socket_close(p->events, MR_LINK_LINGER_MS);
    mr_link_socket_close(p->replay, MR_LINK_LINGER_MS);
    free(p);
}

int mr_publisher_send(struct mr_publisher *p, const char *topic, const void *json, size_t bytes)
{
    if (bytes > MR_EVENT_BYTES_MAX)
        return -EMSGSIZE;
    int r = mr_link_part_send(p->events, topic, strlen(topic), true);
    return r < 0 ? r : mr_link_part_send(p->events, json, bytes, false);
}

/* A REQ's message: routing id, an empty part, the body. Anything else is dropped whole. */
int mr_publisher_receive_request(struct mr_publisher *p, struct mr_part *ret)
{
    struct mr_route client;
    uint8_t none;
    size_t bytes = 0;
    int r = mr_link_route_receive(p->replay, &client);
    if (r == 0)
        r = mr_link_head_receive(p->replay, 0, 0, &none, &bytes);
    if (r == 0)
        r = mr_link_last_receive(p->replay, ret);
    if (r == 0)
        p->client = client;
    return r;
}

/* libzmq (4.3) hears from its I/O thread that a queue was emptied only now and then: sending looks
 * once in about a millisecond, receiving when nothing is there. Quick questions could so fill the
 * count of a queue that is empty. Asking for the socket's events makes it look. */
static int address_reply(struct mr_publisher *p)
{
    int events;
    size_t size = sizeof(events);
    int r = mr_link_part_send(p->replay, p->client.bytes, p->client.size, true);
    if (r == -EAGAIN && zmq_getsockopt(p->replay, ZMQ_EVENTS, &events, &size) == 0)
        r = mr_link_part_send(p->replay, p->client.bytes, p->client.size, true);
    return r;
}

int mr_publisher_reply(struct mr_publisher *p, const void *json, size_t bytes)
{
    if (bytes > MR_REPLAY_BYTES_MAX)
        return -EMSGSIZE;
    if (p->client.size == 0)
        return -EPROTO;
    int r = address_reply(p);
    p->client.size = 0;
    if (r == -EHOSTUNREACH)
        return 0; /* gone: its loss alone */
    if (r == 0)
        r = mr_link_part_send(p->replay, "", 0, true);
    return r < 0 ? r : mr_link_part_send(p->replay, json, bytes, false);
}

/* PUB is in the set because subscriptions are taken in only while its thread looks at it. */
int mr_publisher_wait(struct mr_publisher *p, const int *fds, size_t fd_count, int timeout_ms)
{
    zmq_pollitem_t items[2 + MR_LINK_FDS_MAX] = {{.socket = p->replay, .events = ZMQ_POLLIN},
                                                 {.socket = p->events, .events = ZMQ_POLLIN}};
    return mr_link_poll(items, 2, fds, fd_count, timeout_ms, MR_TALLY_INPUT);
}

static int connect_client(struct mr_link *link, const struct mr_socket_options *options,
                          const char *endpoint, void **ret, struct mr_err *err)
{
    struct mr_endpoint address;
    int r = mr_endpoint_parse(endpoint, &address, err);
    if (r < 0)
        return r;
    struct mr_socket_options own = *options;
    own.ipv6 = mr_link_wants_ipv6(address.host);
    void *socket = NULL;
    r = mr_link_socket(link, &own, &socket);
    if (r == 0 && zmq_connect(socket, endpoint) != 0) {
        r = mr_link_errno();
        mr_link_socket_close(socket, 0);
    }
    if (r < 0)
        return mr_err_errno(err, r, "%s: cannot connect", endpoint);
    *ret = socket;
    return 0;
}

int mr_subscriber_connect(struct mr_link *link, const char *events, const char *replay,
                          const char *topic_prefix, struct mr_subscriber **ret, struct mr_err *err)
{
    static const struct mr_socket_options options = {
        .type = ZMQ_SUB,
        .message_max = MR_EVENT_BYTES_MAX,
        .send_hwm = EVENTS_HWM,
        .receive_hwm = EVENTS_HWM,
        .heartbeat_ms = BEAT_MS,
        .heartbeat_timeout_ms = SERVER_LIMIT_MS,
        .reconnect = true,
    };
    struct mr_endpoint address;
    int r = mr_endpoint_parse(replay, &address, err);
    if (r < 0)
        return r;
    struct mr_subscriber *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return mr_err_errno(err, -ENOMEM, "%s: no socket", events);
    s->link = link;
    (void)snprintf(s->replay, sizeof(s->replay), "%s", replay);
    r = connect_client(link, &options, events, &s->events, err);
    if (r == 0 && zmq_setsockopt(s->events, ZMQ_SUBSCRIBE, topic_prefix, strlen(topic_prefix)) != 0)
        r = mr_err_errno(err, mr_link_errno(), "%s: cannot subscribe", events);
    if (r < 0) {
        mr_subscriber_close(s);
        return r;
    }
    *ret = s;
    return 0;
}

void mr_subscriber_close(struct mr_subscriber *s)
{
    if (s == NULL)
        return;
    mr_link_socket_close(s->events, 0);
    free(s);
}

/* Waits for events on one socket until the deadline. -EAGAIN when it passes. */
static int wait_until(void *socket, short events, int64_t deadline_ns)
{
    zmq_pollitem_t item = {.socket = socket, .events = events};
    int64_t left_ns = deadline_ns - mr_clock_monotonic_ns();
    long left_ms = left_ns <= 0 ? 0 : (long)((left_ns + MR_NS_PER_MS - 1) / MR_NS_PER_MS);
    int ready = zmq_poll(&item, 1, left_ms);
    if (ready < 0)
        return mr_link_errno();
    return ready == 0 ? -EAGAIN : 0;
}

static int take_event(void *socket, char *ret_topic, size_t topic_size, struct mr_part *ret_json)
{
    size_t bytes = 0;
    int r = mr_link_head_receive(socket, 0, topic_size - 1, ret_topic, &bytes);
    if (r < 0)
        return r;
    ret_topic[bytes] = '\0';
    return mr_link_last_receive(socket, ret_json);
}

int mr_subscriber_receive(struct mr_subscriber *s, int timeout_ms, char *ret_topic,
                          size_t topic_size, struct mr_part *ret_json)
{
    int64_t deadline_ns = mr_clock_monotonic_ns() + timeout_ms * MR_NS_PER_MS;
    for (;;) {
        int r = take_event(s->events, ret_topic, topic_size, ret_json);
        if (r == -EAGAIN) {
            r = wait_until(s->events, ZMQ_POLLIN, deadline_ns);
            if (r < 0)
                return r;
        } else if (r != -EBADMSG) {
            return r;
        }
    }
}

static int ask(void *socket, const void *json, size_t bytes, int64_t deadline_ns,
               struct mr_part *ret_reply)
{
    int r = wait_until(socket, ZMQ_POLLOUT, deadline_ns);
    if (r == 0)
        r = mr_link_part_send(socket, json, bytes, false);
    if (r == 0)
        r = wait_until(socket, ZMQ_POLLIN, deadline_ns);
    if (r == 0)
        r = mr_link_last_receive(socket, ret_reply);
    return r == -EAGAIN ? -ETIMEDOUT : r;
}

int mr_subscriber_request(struct mr_subscriber *s, const void *json, size_t bytes, int timeout_ms,
                          struct mr_part *ret_reply)
{
    static const struct mr_socket_options options = {
        .type = ZMQ_REQ,
        .message_max = MR_REPLAY_BYTES_MAX,
        .send_hwm = 1,
        .receive_hwm = 1,
        .heartbeat_ms = BEAT_MS,
        .heartbeat_timeout_ms = SERVER_LIMIT_MS,
        .reconnect = true,
    };
    void *socket = NULL;
    int r = connect_client(s->link, &options, s->replay, &socket, NULL);
    if (r < 0)
        return r;
    int64_t deadline_ns = mr_clock_monotonic_ns() + timeout_ms * MR_NS_PER_MS;
    r = ask(socket, json, bytes, deadline_ns, ret_reply);
    mr_link_socket_close(socket, 0);
    return r;
}
