/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the link's tests share: both ends on loopback in one process, and a raw TCP client that
 * speaks no ZeroMQ.
 */
#ifndef MR_TESTS_LINK_RIG_H
#define MR_TESTS_LINK_RIG_H

#include "base/clock.h"
#include "wire/link.h"

#include "suite.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static inline struct mr_link *rig_link(void)
{
    struct mr_link *link = NULL;
    ck_assert_int_eq(mr_link_new(1, &link), 0);
    return link;
}

static inline const char *rig_endpoint(uint16_t port)
{
    static char text[4][64];
    static unsigned next;
    char *out = text[next++ % 4];
    snprintf(out, sizeof(text[0]), "tcp://127.0.0.1:%u", port);
    return out;
}

static inline void rig_peer_pause(struct mr_peer *peer)
{
    ck_assert_int_eq(mr_peer_wait(peer, NULL, 0, 0, 20), 0);
}

static inline void rig_peer_up(struct mr_peer *peer)
{
    UNTIL(mr_peer_state(peer, NULL) == MR_PEER_UP, rig_peer_pause(peer));
}

static inline void rig_peer_down(struct mr_peer *peer, struct mr_err *err)
{
    UNTIL(mr_peer_state(peer, err) == MR_PEER_DOWN, rig_peer_pause(peer));
}

/* A peer whose control is up against a router on a port of its own. */
struct rig {
    struct mr_link *link;
    struct mr_router *router;
    struct mr_lane_socket *lane;
    struct mr_peer *peer;
    uint16_t control_port, lane_port;
};

static inline struct rig rig_open(void)
{
    struct rig rig = {.link = rig_link()};
    struct mr_err err = {0};
    ck_assert_int_eq(
        mr_router_bind(rig.link, "tcp://127.0.0.1:*", &rig.router, &rig.control_port, &err), 0);
    ck_assert_int_eq(mr_lane_bind(rig.link, "tcp://127.0.0.1:0", &rig.lane, &rig.lane_port, &err),
                     0);
    ck_assert_int_eq(mr_peer_connect(rig.link, rig_endpoint(rig.control_port), &rig.peer, &err), 0);
    rig_peer_up(rig.peer);
    return rig;
}

static inline void rig_close(struct rig *rig)
{
    mr_peer_close(rig->peer);
    mr_lane_close(rig->lane);
    mr_router_close(rig->router);
    mr_link_free(rig->link);
}

static inline int rig_tcp(uint16_t port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}

/* Sends bytes and reads until the other side has hung up. */
static inline void rig_tcp_until_hung_up(uint16_t port, const void *bytes, size_t count)
{
    int fd = rig_tcp(port);
    struct timeval limit = {.tv_sec = WAIT_MS / 1000};
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    (void)!send(fd, bytes, count, MSG_NOSIGNAL);
    (void)shutdown(fd, SHUT_WR);
    char sink[256];
    ssize_t got;
    while ((got = recv(fd, sink, sizeof(sink), 0)) > 0) {}
    ck_assert_msg(got == 0 || errno == ECONNRESET, "the server kept the connection");
    close(fd);
}

#endif
