/* SPDX-License-Identifier: Apache-2.0 */
/* Do the server's sockets go on serving whoever is honest, whatever else comes in? */
#include "link_rig.h"

#include "wire/message.h"

#include <zmq.h>

static const uint8_t header[MR_SLAB_HEADER_BYTES] = {1, 2, 3};
static uint8_t big[8 * 1024 * 1024];

static void router_pause(struct mr_router *router)
{
    ck_assert_int_eq(mr_router_wait(router, NULL, 0, 20), 0);
}

/* A ZeroMQ client of our own making, as a stranger's would be. */
struct stranger {
    void *context, *socket;
};

static struct stranger stranger_open(int type, uint16_t port, const char *routing_id)
{
    struct stranger s = {.context = zmq_ctx_new()};
    int zero = 0, limit_ms = WAIT_MS;
    s.socket = zmq_socket(s.context, type);
    ck_assert_ptr_nonnull(s.socket);
    if (routing_id != NULL) {
        ck_assert_int_eq(zmq_setsockopt(s.socket, ZMQ_ROUTING_ID, routing_id, strlen(routing_id)),
                         0);
    }
    if (type == ZMQ_SUB) {
        ck_assert_int_eq(zmq_setsockopt(s.socket, ZMQ_SUBSCRIBE, "", 0), 0);
    }
    ck_assert_int_eq(zmq_setsockopt(s.socket, ZMQ_LINGER, &zero, sizeof(zero)), 0);
    ck_assert_int_eq(zmq_setsockopt(s.socket, ZMQ_SNDTIMEO, &limit_ms, sizeof(limit_ms)), 0);
    ck_assert_int_eq(zmq_setsockopt(s.socket, ZMQ_RCVTIMEO, &limit_ms, sizeof(limit_ms)), 0);
    ck_assert_int_eq(zmq_connect(s.socket, rig_endpoint(port)), 0);
    return s;
}

static void stranger_close(struct stranger *s)
{
    zmq_close(s->socket);
    zmq_ctx_term(s->context);
}

static void stranger_send(struct stranger *s, int parts, size_t bytes)
{
    for (int i = 0; i < parts; i++) {
        int more = i + 1 < parts ? ZMQ_SNDMORE : 0;
        ck_assert_int_eq(zmq_send(s->socket, big, bytes, more), (int)bytes);
    }
}

static void check_control_works(struct rig *rig)
{
    struct mr_route from;
    struct mr_part part;
    ck_assert_int_eq(mr_peer_send(rig->peer, "ping", 4), 0);
    int rc;
    UNTIL((rc = mr_router_receive(rig->router, &from, &part)) != -EAGAIN,
          router_pause(rig->router));
    ck_assert_int_eq(rc, 0);
    ck_assert_uint_eq(mr_part_bytes(&part), 4);
    mr_part_close(&part);
    ck_assert_int_eq(mr_router_send(rig->router, &from, "pong", 4), 0);
    UNTIL(mr_peer_receive(rig->peer, &part) == 0, rig_peer_pause(rig->peer));
    mr_part_close(&part);
    ck_assert_int_eq(mr_peer_state(rig->peer, NULL), MR_PEER_UP);
}

static int lane_next(struct mr_lane_socket *lane)
{
    uint8_t got[MR_SLAB_HEADER_BYTES];
    struct mr_part part;
    int rc;
    UNTIL((rc = mr_lane_receive(lane, got, &part)) != -EAGAIN,
          ck_assert_int_eq(mr_lane_wait(lane, NULL, 0, 20), 0));
    if (rc == 0) {
        mr_part_close(&part);
    }
    return rc;
}

static void nothing(void *ctx)
{
    (void)ctx;
}

static void check_lane_works(struct rig *rig)
{
    struct mr_err err = {0};
    ck_assert_int_eq(mr_peer_connect_lanes(rig->peer, &rig->lane_port, 1, &err), 0);
    UNTIL(mr_peer_send_slab(rig->peer, 0, header, big, 1000, nothing, NULL) == 0,
          ck_assert_int_eq(mr_peer_wait(rig->peer, NULL, 0, 1, 100), 0));
    ck_assert_int_eq(lane_next(rig->lane), 0);
}

START_TEST(raw_tcp_bytes_are_hung_up_on)
{
    struct rig rig = rig_open();
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    static const uint8_t zmtp3_bad_mechanism[64] = {0xff, 0,    0, 0, 0,   0,   0,   0,
                                                    1,    0x7f, 3, 1, 'X', 'Y', 'Z', 'Z'};
    memset(big, 0xff, 4096);
    const uint16_t ports[] = {rig.control_port, rig.lane_port};
    for (size_t i = 0; i < 2; i++) {
        rig_tcp_until_hung_up(ports[i], "", 0);
        rig_tcp_until_hung_up(ports[i], http, sizeof(http));
        rig_tcp_until_hung_up(ports[i], big, 4096);
        rig_tcp_until_hung_up(ports[i], zmtp3_bad_mechanism, sizeof(zmtp3_bad_mechanism));
    }
    check_control_works(&rig);
    check_lane_works(&rig);
    rig_close(&rig);
}
END_TEST

START_TEST(wrong_part_counts_are_dropped)
{
    struct rig rig = rig_open();
    struct stranger dealer = stranger_open(ZMQ_DEALER, rig.control_port, NULL);
    struct stranger push = stranger_open(ZMQ_PUSH, rig.lane_port, NULL);
    struct mr_route from;
    struct mr_part part;
    for (int parts = 2; parts < 5; parts++) {
        int rc;
        stranger_send(&dealer, parts, 10);
        UNTIL((rc = mr_router_receive(rig.router, &from, &part)) != -EAGAIN,
              router_pause(rig.router));
        ck_assert_int_eq(rc, -EBADMSG);
    }
    stranger_send(&push, 1, 256);
    ck_assert_int_eq(lane_next(rig.lane), -EBADMSG);
    stranger_send(&push, 3, 256);
    ck_assert_int_eq(lane_next(rig.lane), -EBADMSG);
    stranger_send(&push, 2, 255);
    ck_assert_int_eq(lane_next(rig.lane), -EBADMSG);
    stranger_send(&push, 1, 0);
    ck_assert_int_eq(lane_next(rig.lane), -EBADMSG);
    stranger_send(&push, 2, 256);
    ck_assert_int_eq(lane_next(rig.lane), 0);
    check_control_works(&rig);
    stranger_close(&dealer);
    stranger_close(&push);
    rig_close(&rig);
}
END_TEST

START_TEST(oversized_messages_cut_their_sender_off)
{
    struct rig rig = rig_open();
    struct stranger dealer = stranger_open(ZMQ_DEALER, rig.control_port, NULL);
    struct stranger push = stranger_open(ZMQ_PUSH, rig.lane_port, NULL);
    stranger_send(&dealer, 1, MR_CONTROL_BYTES_MAX + 1);
    stranger_send(&push, 1, MR_SLAB_WIRE_MAX + 1);
    check_control_works(&rig);
    check_lane_works(&rig);
    stranger_close(&dealer);
    stranger_close(&push);
    /* the largest that is allowed arrives */
    struct mr_route from;
    struct mr_part part;
    ck_assert_int_eq(mr_peer_send(rig.peer, big, MR_CONTROL_BYTES_MAX), 0);
    UNTIL(mr_router_receive(rig.router, &from, &part) == 0, router_pause(rig.router));
    ck_assert_uint_eq(mr_part_bytes(&part), MR_CONTROL_BYTES_MAX);
    mr_part_close(&part);
    rig_close(&rig);
}
END_TEST

START_TEST(long_routing_id_is_dropped)
{
    struct rig rig = rig_open();
    struct mr_route from;
    struct mr_part part;
    int rc;
    struct stranger dealer =
        stranger_open(ZMQ_DEALER, rig.control_port, "an-identity-of-more-than-thirty-two-bytes");
    stranger_send(&dealer, 1, 10);
    UNTIL((rc = mr_router_receive(rig.router, &from, &part)) != -EAGAIN, router_pause(rig.router));
    ck_assert_int_eq(rc, -EBADMSG);
    check_control_works(&rig);
    stranger_close(&dealer);
    rig_close(&rig);
}
END_TEST

START_TEST(wrong_socket_types_are_turned_away)
{
    struct rig rig = rig_open();
    struct stranger sub = stranger_open(ZMQ_SUB, rig.control_port, NULL);
    struct stranger dealer = stranger_open(ZMQ_DEALER, rig.lane_port, NULL);
    stranger_send(&dealer, 2, 256);
    check_control_works(&rig);
    check_lane_works(&rig);
    stranger_close(&sub);
    stranger_close(&dealer);
    rig_close(&rig);
}
END_TEST

START_TEST(peer_that_does_not_read_is_told_apart)
{
    struct rig rig = rig_open();
    struct stranger dealer = stranger_open(ZMQ_DEALER, rig.control_port, NULL);
    struct mr_route from;
    struct mr_part part;
    stranger_send(&dealer, 1, 10);
    UNTIL(mr_router_receive(rig.router, &from, &part) == 0, router_pause(rig.router));
    mr_part_close(&part);
    int rc = 0;
    for (int i = 0; rc == 0 && i < 100000; i++) {
        rc = mr_router_send(rig.router, &from, big, 32 * 1024);
    }
    ck_assert_int_eq(rc, -EAGAIN);
    check_control_works(&rig); /* the others are served */
    stranger_close(&dealer);
    UNTIL(mr_router_send(rig.router, &from, big, 10) == -EHOSTUNREACH, router_pause(rig.router));
    rig_close(&rig);
}
END_TEST

START_TEST(bind_errors_name_the_endpoint)
{
    struct rig rig = rig_open();
    struct mr_router *router = NULL;
    struct mr_lane_socket *lane = NULL;
    struct mr_err err = {0};
    const char *taken = rig_endpoint(rig.control_port);
    ck_assert_int_eq(mr_router_bind(rig.link, taken, &router, NULL, &err), -EADDRINUSE);
    ck_assert_ptr_nonnull(strstr(err.text, taken));
    ck_assert_int_eq(mr_lane_bind(rig.link, "tcp://192.0.2.1:5571", &lane, NULL, &err),
                     -EADDRNOTAVAIL);
    ck_assert_int_eq(mr_lane_bind(rig.link, "inproc://x", &lane, NULL, &err), -EINVAL);
    ck_assert_int_eq(mr_lane_bind(rig.link, "tcp://", &lane, NULL, &err), -EINVAL);
    ck_assert_int_eq(mr_lane_bind(rig.link, "tcp://127.0.0.1:99999", &lane, NULL, &err), -EINVAL);
    ck_assert_ptr_null(router);
    ck_assert_ptr_null(lane);
    rig_close(&rig);
}
END_TEST

START_TEST(any_address_serves_ipv4)
{
    struct mr_link *link = rig_link();
    struct mr_router *router = NULL;
    struct mr_peer *peer = NULL;
    struct mr_err err = {0};
    uint16_t port = 0;
    ck_assert_msg(mr_router_bind(link, "tcp://*:*", &router, &port, &err) == 0, "%s", err.text);
    ck_assert_int_eq(mr_peer_connect(link, rig_endpoint(port), &peer, &err), 0);
    rig_peer_up(peer);
    mr_peer_close(peer);
    mr_router_close(router);
    mr_link_free(link);
}
END_TEST

MR_SUITE("link_server", T(raw_tcp_bytes_are_hung_up_on), T(wrong_part_counts_are_dropped),
         T(oversized_messages_cut_their_sender_off), T(long_routing_id_is_dropped),
         T(wrong_socket_types_are_turned_away), T(peer_that_does_not_read_is_told_apart),
         T(bind_errors_name_the_endpoint), T(any_address_serves_ipv4))
