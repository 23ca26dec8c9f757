/* SPDX-License-Identifier: Apache-2.0 */
/* Does the agent's end notice every break, once and for good, and give each payload back once? */
#include "link_rig.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

static uint8_t payload[4 * 1024 * 1024];
static const uint8_t header[MR_SLAB_HEADER_BYTES] = {1, 2, 3};

static void count_done(void *ctx)
{
    atomic_fetch_add((atomic_int *)ctx, 1);
}

static void connect_lane(struct rig *rig)
{
    struct mr_err err = {0};
    ck_assert_int_eq(mr_peer_connect_lanes(rig->peer, &rig->lane_port, 1, &err), 0);
}

static void send_one(struct rig *rig, size_t bytes, atomic_int *done)
{
    UNTIL(mr_peer_send_slab(rig->peer, 0, header, payload, bytes, count_done, done) == 0,
          ck_assert_int_eq(mr_peer_wait(rig->peer, NULL, 0, 1, 100), 0));
}

START_TEST(library_has_a_version)
{
    ck_assert_int_eq(strncmp(mr_link_library(), "libzmq 4.", 9), 0);
}
END_TEST

START_TEST(control_goes_both_ways)
{
    struct rig rig = rig_open();
    struct mr_route from;
    struct mr_part part;
    ck_assert_int_eq(mr_peer_receive(rig.peer, &part), -EAGAIN);
    ck_assert_int_eq(mr_router_receive(rig.router, &from, &part), -EAGAIN);
    ck_assert_int_eq(mr_peer_send(rig.peer, "hello", 5), 0);
    UNTIL(mr_router_receive(rig.router, &from, &part) == 0,
          ck_assert_int_eq(mr_router_wait(rig.router, NULL, 0, 100), 0));
    ck_assert_uint_eq(mr_part_bytes(&part), 5);
    ck_assert_mem_eq(mr_part_data(&part), "hello", 5);
    mr_part_close(&part);
    ck_assert_int_eq(mr_router_send(rig.router, &from, "welcome", 7), 0);
    UNTIL(mr_peer_receive(rig.peer, &part) == 0, rig_peer_pause(rig.peer));
    ck_assert_mem_eq(mr_part_data(&part), "welcome", 7);
    mr_part_close(&part);
    rig_close(&rig);
}
END_TEST

START_TEST(slab_arrives_and_payload_comes_back)
{
    struct rig rig = rig_open();
    atomic_int done = 0;
    uint8_t got[MR_SLAB_HEADER_BYTES];
    struct mr_part part;
    memset(payload, 0x5a, sizeof(payload));
    connect_lane(&rig);
    send_one(&rig, sizeof(payload), &done);
    UNTIL(mr_lane_receive(rig.lane, got, &part) == 0,
          ck_assert_int_eq(mr_lane_wait(rig.lane, NULL, 0, 100), 0));
    ck_assert_mem_eq(got, header, sizeof(header));
    ck_assert_uint_eq(mr_part_bytes(&part), sizeof(payload));
    ck_assert_mem_eq(mr_part_data(&part), payload, sizeof(payload));
    mr_part_close(&part);
    UNTIL(atomic_load(&done) == 1, rig_peer_pause(rig.peer));
    rig_close(&rig);
    ck_assert_int_eq(atomic_load(&done), 1);
}
END_TEST

START_TEST(refused_slab_stays_with_the_caller)
{
    struct rig rig = rig_open();
    atomic_int done = 0;
    int sent = 0;
    connect_lane(&rig);
    send_one(&rig, sizeof(payload), &done);
    sent++;
    /* nobody receives: queues and TCP buffers fill, then the lane refuses; tries beyond say so
     * too */
    int rc = 0, refusals = 0;
    for (int i = 0; i < 1000 && refusals < 5; i++) {
        rc = mr_peer_send_slab(rig.peer, 0, header, payload, sizeof(payload), count_done, &done);
        ck_assert(rc == 0 || rc == -EAGAIN);
        sent += rc == 0;
        refusals += rc == -EAGAIN;
        ck_assert_int_eq(mr_peer_wait(rig.peer, NULL, 0, 1, 100), 0);
    }
    ck_assert_int_eq(refusals, 5);
    ck_assert_int_lt(sent, 64);
    ck_assert_int_le(atomic_load(&done), sent);
    rig_close(&rig); /* what is queued is dropped, and every payload told of, none twice */
    ck_assert_int_eq(atomic_load(&done), sent);
}
END_TEST

START_TEST(room_is_waited_for)
{
    struct rig rig = rig_open();
    atomic_int done = 0;
    uint8_t got[MR_SLAB_HEADER_BYTES];
    struct mr_part part;
    connect_lane(&rig);
    int total = 40, sent = 0, received = 0;
    int64_t until_ns = mr_clock_monotonic_ns() + 2 * WAIT_MS * MR_NS_PER_MS;
    while (received < total) {
        ck_assert(mr_clock_monotonic_ns() < until_ns);
        while (sent < total &&
               mr_peer_send_slab(rig.peer, 0, header, payload, 1 << 20, count_done, &done) == 0) {
            sent++;
        }
        ck_assert_int_eq(mr_peer_wait(rig.peer, NULL, 0, sent < total, 10), 0);
        while (mr_lane_receive(rig.lane, got, &part) == 0) {
            mr_part_close(&part);
            received++;
        }
    }
    rig_close(&rig);
    ck_assert_int_eq(atomic_load(&done), total);
}
END_TEST

/* A port that is taken and not listened on, so that it refuses: -> its fd. */
static int refusing_port(uint16_t *ret)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *ret = ntohs(at.sin_port);
    return fd;
}

START_TEST(refused_connection_is_down)
{
    struct mr_link *link = rig_link();
    struct mr_peer *peer = NULL;
    struct mr_err err = {0};
    uint16_t port;
    int fd = refusing_port(&port);
    ck_assert_int_eq(mr_peer_connect(link, rig_endpoint(port), &peer, &err), 0);
    rig_peer_down(peer, &err);
    ck_assert_int_eq(err.code, -ECONNREFUSED);
    ck_assert_ptr_nonnull(strstr(err.text, rig_endpoint(port)));
    ck_assert_int_eq(mr_peer_send(peer, "x", 1), -EAGAIN);
    mr_peer_close(peer);
    mr_link_free(link);
    close(fd);
}
END_TEST

START_TEST(unknown_host_is_down_and_bad_endpoint_is_refused)
{
    struct mr_link *link = rig_link();
    struct mr_peer *peer = NULL;
    struct mr_err err = {0};
    struct mr_part part;
    ck_assert_int_eq(mr_peer_connect(link, "tcp://no-such-host.invalid:5570", &peer, &err), 0);
    ck_assert_int_eq(mr_peer_state(peer, &err), MR_PEER_DOWN);
    ck_assert_int_eq(err.code, -EHOSTUNREACH);
    ck_assert_int_eq(mr_peer_wait(peer, NULL, 0, 0, 0), 0);
    ck_assert_int_eq(mr_peer_receive(peer, &part), -EAGAIN);
    mr_peer_close(peer);
    peer = NULL;
    ck_assert_int_eq(mr_peer_connect(link, "ipc:///tmp/x", &peer, &err), -EINVAL);
    ck_assert_int_eq(mr_peer_connect(link, "tcp://127.0.0.1:0", &peer, &err), -EINVAL);
    ck_assert_ptr_null(peer);
    mr_link_free(link);
}
END_TEST

START_TEST(name_is_resolved)
{
    struct rig rig = rig_open();
    struct mr_peer *peer = NULL;
    struct mr_err err = {0};
    char endpoint[64];
    snprintf(endpoint, sizeof(endpoint), "tcp://localhost:%u", rig.control_port);
    ck_assert_int_eq(mr_peer_connect(rig.link, endpoint, &peer, &err), 0);
    rig_peer_up(peer);
    mr_peer_close(peer);
    rig_close(&rig);
}
END_TEST

START_TEST(closed_router_is_down_for_good)
{
    struct rig rig = rig_open();
    struct mr_err err = {0};
    mr_router_close(rig.router);
    rig_peer_down(rig.peer, &err);
    ck_assert_int_eq(err.code, -ECONNRESET);
    ck_assert_int_eq(mr_peer_send(rig.peer, "x", 1), -EAGAIN);
    /* a server comes back on the port: the old peer must not notice */
    UNTIL(mr_router_bind(rig.link, rig_endpoint(rig.control_port), &rig.router, NULL, &err) == 0,
          rig_peer_pause(rig.peer));
    struct mr_peer *next = NULL;
    ck_assert_int_eq(mr_peer_connect(rig.link, rig_endpoint(rig.control_port), &next, &err), 0);
    rig_peer_up(next);
    ck_assert_int_eq(mr_peer_state(rig.peer, &err), MR_PEER_DOWN);
    ck_assert_int_eq(mr_peer_send(rig.peer, "x", 1), -EAGAIN);
    mr_peer_close(next);
    rig_close(&rig);
}
END_TEST

START_TEST(broken_lane_is_down)
{
    struct rig rig = rig_open();
    struct mr_err err = {0};
    atomic_int done = 0;
    connect_lane(&rig);
    send_one(&rig, 100, &done);
    mr_lane_close(rig.lane);
    rig.lane = NULL;
    rig_peer_down(rig.peer, &err);
    char port[16];
    snprintf(port, sizeof(port), ":%u", rig.lane_port);
    ck_assert_ptr_nonnull(strstr(err.text, port));
    rig_close(&rig);
    ck_assert_int_eq(atomic_load(&done), 1);
}
END_TEST

START_TEST(refused_lane_is_down)
{
    struct rig rig = rig_open();
    struct mr_err err = {0};
    uint16_t port;
    int fd = refusing_port(&port);
    ck_assert_int_eq(mr_peer_connect_lanes(rig.peer, &port, 1, &err), 0);
    rig_peer_down(rig.peer, &err);
    ck_assert_int_eq(err.code, -ECONNREFUSED);
    close(fd);
    rig_close(&rig);
}
END_TEST

/* A server process of its own, killed without a word, with slabs under way. */
static pid_t fork_server(uint16_t *ports)
{
    pid_t pid = fork();
    if (pid == 0) {
        struct mr_link *link = NULL;
        struct mr_router *router = NULL;
        struct mr_lane_socket *lane = NULL;
        uint16_t control = 0;
        if (mr_link_new(1, &link) == 0 &&
            mr_lane_bind(link, "tcp://127.0.0.1:*", &lane, &ports[1], NULL) == 0 &&
            mr_router_bind(link, "tcp://127.0.0.1:*", &router, &control, NULL) == 0) {
            ((_Atomic uint16_t *)ports)[0] = control;
        }
        for (;;) {
            pause();
        }
    }
    return pid;
}

START_TEST(killed_server_is_down_and_payloads_come_back)
{
    uint16_t *ports = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(ports, MAP_FAILED);
    pid_t server = fork_server(ports);
    struct rig rig = {.link = rig_link()};
    struct mr_err err = {0};
    atomic_int done = 0;
    UNTIL(((_Atomic uint16_t *)ports)[0] != 0, usleep(1000));
    ck_assert_int_eq(mr_peer_connect(rig.link, rig_endpoint(ports[0]), &rig.peer, &err), 0);
    rig_peer_up(rig.peer);
    ck_assert_int_eq(mr_peer_connect_lanes(rig.peer, &ports[1], 1, &err), 0);
    for (int i = 0; i < 4; i++) {
        send_one(&rig, sizeof(payload), &done);
    }
    ck_assert_int_eq(kill(server, SIGKILL), 0);
    ck_assert_int_eq(waitpid(server, NULL, 0), server);
    rig_peer_down(rig.peer, &err);
    rig_close(&rig);
    ck_assert_int_eq(atomic_load(&done), 4);
    munmap(ports, 4096);
}
END_TEST

START_TEST(wait_ends_for_an_fd)
{
    struct rig rig = rig_open();
    int fd = eventfd(1, EFD_CLOEXEC);
    int64_t start_ns = mr_clock_monotonic_ns();
    ck_assert_int_eq(mr_peer_wait(rig.peer, &fd, 1, 0, WAIT_MS), 0);
    ck_assert_int_eq(mr_router_wait(rig.router, &fd, 1, WAIT_MS), 0);
    ck_assert_int_eq(mr_lane_wait(rig.lane, &fd, 1, WAIT_MS), 0);
    ck_assert_int_lt(mr_clock_monotonic_ns() - start_ns, WAIT_MS * MR_NS_PER_MS / 2);
    close(fd);
    rig_close(&rig);
}
END_TEST

START_TEST(last_word_is_delivered_within_linger)
{
    struct rig rig = rig_open();
    struct mr_route from;
    struct mr_part part;
    mr_peer_set_linger(rig.peer, 1000);
    ck_assert_int_eq(mr_peer_send(rig.peer, "bye", 3), 0);
    mr_peer_close(rig.peer);
    rig.peer = NULL;
    UNTIL(mr_router_receive(rig.router, &from, &part) == 0,
          ck_assert_int_eq(mr_router_wait(rig.router, NULL, 0, 100), 0));
    ck_assert_mem_eq(mr_part_data(&part), "bye", 3);
    mr_part_close(&part);
    UNTIL(mr_router_send(rig.router, &from, "x", 1) == -EHOSTUNREACH,
          ck_assert_int_eq(mr_router_wait(rig.router, NULL, 0, 20), 0));
    rig_close(&rig);
}
END_TEST

START_TEST(what_came_before_a_break_can_be_read_after_it)
{
    struct rig rig = rig_open();
    struct mr_route from;
    struct mr_part part;
    ck_assert_int_eq(mr_peer_send(rig.peer, "hello", 5), 0);
    UNTIL(mr_router_receive(rig.router, &from, &part) == 0,
          ck_assert_int_eq(mr_router_wait(rig.router, NULL, 0, 100), 0));
    mr_part_close(&part);
    ck_assert_int_eq(mr_router_send(rig.router, &from, "bye", 3), 0);
    mr_router_close(rig.router);
    rig.router = NULL;
    rig_peer_down(rig.peer, NULL);
    ck_assert_int_eq(mr_peer_send(rig.peer, "x", 1), -EAGAIN);
    ck_assert_int_eq(mr_peer_receive(rig.peer, &part), 0);
    ck_assert_mem_eq(mr_part_data(&part), "bye", 3);
    mr_part_close(&part);
    ck_assert_int_eq(mr_peer_receive(rig.peer, &part), -EAGAIN);
    rig_close(&rig);
}
END_TEST

MR_SUITE("link_agent", T(library_has_a_version), T(control_goes_both_ways),
         T(slab_arrives_and_payload_comes_back), T(refused_slab_stays_with_the_caller),
         T(room_is_waited_for), T(refused_connection_is_down),
         T(unknown_host_is_down_and_bad_endpoint_is_refused), T(name_is_resolved),
         T(closed_router_is_down_for_good), T(broken_lane_is_down), T(refused_lane_is_down),
         T(killed_server_is_down_and_payloads_come_back), T(wait_ends_for_an_fd),
         T(what_came_before_a_break_can_be_read_after_it), T(last_word_is_delivered_within_linger))
