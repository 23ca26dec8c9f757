/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole agent, all its threads and real sockets, against a server that the test plays word by
 * word: does a file go through, is a damaged slab sent again, is a lost session taken up, does a
 * refusal end a push, and does a stop leave nothing behind?
 */
#include "agent.h"
#include "base/crc64.h"
#include "link_rig.h"

#include <fcntl.h>
#include <stdatomic.h>

#define SESSION 77

static char dir[] = "/tmp/agent-test-XXXXXX";
static struct mr_link *link_;
static struct mr_router *router;
static struct mr_lane_socket *lane;
static uint16_t control_port, lane_port;
static struct mr_route from;
static uint32_t said_count; /* by the server, in this session */
static struct mr_message heard;
static struct mr_agent *agent;
static struct mr_agent_config config;
static struct mr_agent_plan plan;
static atomic_bool ended;

static void bind_server(void)
{
    struct mr_err err = {0};
    const char *control = control_port == 0 ? "tcp://127.0.0.1:*" : rig_endpoint(control_port);
    UNTIL(mr_router_bind(link_, control, &router, &control_port, &err) == 0, usleep(1000));
    ck_assert_int_eq(mr_lane_bind(link_, "tcp://127.0.0.1:*", &lane, &lane_port, &err), 0);
}

static void close_server(void)
{
    mr_router_close(router);
    mr_lane_close(lane);
}

static void on_end(void *ctx)
{
    (void)ctx;
    atomic_store(&ended, true);
}

/* A push of dir, in which there is one file of that text; the server is in its list so often. */
static void begin_with(const char *text, int servers)
{
    char endpoints[128];
    static const char *const everything[] = {"*"};
    static struct mr_track_watch watch;
    static const enum mr_wish outputs[1] = {MR_WISH_AUTO};
    static struct mr_agent_job job;
    struct mr_err err = {0};
    char path[64];
    link_ = rig_link();
    bind_server();
    ck_assert_ptr_nonnull(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a.txt", dir);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    const char *small = "memory.pool=16MiB", *one = rig_endpoint(control_port);
    snprintf(endpoints, sizeof(endpoints), servers > 1 ? "%s,%s" : "%s", one, one);
    const struct mr_agent_source source = {
        .name = "k3", .endpoint = endpoints, .sets = &small, .set_count = 1};
    ck_assert_int_eq(mr_agent_config_load(&source, &config, &plan, &err), 0);
    watch = (struct mr_track_watch){.path = dir,
                                    .include = everything,
                                    .include_count = 1,
                                    .quiet_ns = MR_NS_PER_S,
                                    .give_up_ns = MR_NS_PER_S,
                                    .rescan_ns = MR_NS_PER_S};
    job = (struct mr_agent_job){.mode = MR_TRACK_AS_IT_IS,
                                .config = &config,
                                .plan = &plan,
                                .watches = &watch,
                                .outputs = outputs,
                                .watch_count = 1,
                                .push = true};
    int r = mr_agent_start(&job, on_end, NULL, &agent, &err);
    ck_assert_msg(r == 0, "%s", err.text);
}

static void begin(const char *text)
{
    begin_with(text, 1);
}

static struct mr_tail_status finish(void)
{
    struct mr_tail_status status;
    char path[64];
    mr_agent_stop(agent, &status);
    close_server();
    mr_link_free(link_);
    mr_agent_config_free(&config);
    snprintf(path, sizeof(path), "%s/a.txt", dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
    return status;
}

/* ---- the server's part ---- */

static bool receive(void)
{
    struct mr_part part;
    struct mr_err err = {0};
    if (mr_router_receive(router, &from, &part) < 0) {
        ck_assert_int_eq(mr_router_wait(router, NULL, 0, 20), 0);
        return false;
    }
    int r = mr_message_decode(mr_part_data(&part), mr_part_bytes(&part), &heard, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    mr_part_close(&part);
    return true;
}

/* The next message of that type; DEMAND, PING and the like are passed over. */
static void expect(enum mr_message_type type)
{
    UNTIL(receive() && heard.type == type, (void)0);
}

static void say(struct mr_message *m)
{
    static uint8_t bytes[65536];
    size_t size;
    m->session = m->type == MR_REFUSED ? 0 : SESSION;
    m->sequence = ++said_count;
    ck_assert_int_eq(mr_message_encode(m, bytes, sizeof(bytes), &size), 0);
    ck_assert_int_eq(mr_router_send(router, &from, bytes, size), 0);
}

static void welcome(void)
{
    static struct mr_message m;
    said_count = 0;
    expect(MR_HELLO);
    ck_assert_str_eq(heard.hello.name, "k3");
    ck_assert(heard.hello.ephemeral);
    m = (struct mr_message){.type = MR_WELCOME,
                            .welcome = {.version = 1, .lanes = 1, .heartbeat_ms = 60000}};
    m.welcome.ports[0] = lane_port;
    say(&m);
}

/* Answers OPEN and gives all the credit there is; returns the movie. */
static struct mr_ulid open_movie(void)
{
    static struct mr_message m;
    expect(MR_OPEN);
    struct mr_ulid id = heard.open.movie;
    m = (struct mr_message){.type = MR_OPENED, .opened = {.movie = id, .generation = 1}};
    say(&m);
    m = (struct mr_message){.type = MR_CREDIT, .credit = {.lanes = 1}};
    m.credit.granted[0] = UINT64_C(1) << 40;
    say(&m);
    return id;
}

static void expect_slab(uint64_t sequence, const char *text)
{
    uint8_t bytes[MR_SLAB_HEADER_BYTES];
    struct mr_slab_header h;
    struct mr_part payload;
    UNTIL(mr_lane_receive(lane, bytes, &payload) == 0,
          ck_assert_int_eq(mr_lane_wait(lane, NULL, 0, 20), 0));
    ck_assert_int_eq(mr_slab_header_decode(bytes, sizeof(bytes), &h), 0);
    ck_assert_uint_eq(h.session, SESSION);
    ck_assert_uint_eq(h.sequence, sequence);
    ck_assert_uint_eq(mr_part_bytes(&payload), strlen(text));
    ck_assert_mem_eq(mr_part_data(&payload), text, strlen(text));
    ck_assert_uint_eq(h.crc_wire, mr_crc64(0, text, strlen(text)));
    mr_part_close(&payload);
}

static void acknowledge(const struct mr_ulid *id)
{
    static struct mr_message m;
    uint8_t range[16];
    mr_message_put_range(range, 0, (struct mr_range){.first = 0, .count = 1});
    m = (struct mr_message){
        .type = MR_ACK, .ack = {.movie = *id, .generation = 1, .range_count = 1, .ranges = range}};
    say(&m);
}

static void commit(const struct mr_ulid *id)
{
    static struct mr_message m;
    char text[MR_ULID_TEXT];
    m = (struct mr_message){.type = MR_COMMITTED, .committed = {.movie = *id, .revision = 1}};
    snprintf(m.committed.event, sizeof(m.committed.event), "%s.ready", mr_ulid_text(id, text));
    say(&m);
}

/* ---- tests ---- */

START_TEST(one_file_goes_through)
{
    begin("some words");
    welcome();
    struct mr_ulid id = open_movie();
    expect_slab(1, "some words");
    acknowledge(&id);
    expect(MR_END);
    ck_assert_uint_eq(heard.end.extent.source_bytes, 10);
    ck_assert_uint_eq(heard.end.crc_file, mr_crc64(0, "some words", 10));
    ck_assert_str_eq(heard.end.complete_by, "push");
    commit(&id);
    UNTIL(atomic_load(&ended), usleep(1000));
    expect(MR_BYE);
    struct mr_tail_status status = finish();
    ck_assert_uint_eq(status.counts.committed, 1);
    ck_assert_uint_eq(status.counts.failed, 0);
    ck_assert_uint_eq(status.sessions, 1);
}
END_TEST

START_TEST(damaged_slab_is_sent_again)
{
    static struct mr_message m;
    begin("some words");
    welcome();
    struct mr_ulid id = open_movie();
    expect_slab(1, "some words");
    m = (struct mr_message){.type = MR_RESEND, .resend = {.movie = id, .generation = 1}};
    say(&m);
    expect_slab(2, "some words");
    acknowledge(&id);
    expect(MR_END);
    commit(&id);
    UNTIL(atomic_load(&ended), usleep(1000));
    ck_assert_uint_eq(finish().counts.committed, 1);
}
END_TEST

/* The server ends with the slab in its hands; the next one knows nothing. */
START_TEST(lost_session_is_taken_up)
{
    begin("some words");
    welcome();
    struct mr_ulid id = open_movie();
    expect_slab(1, "some words");
    close_server();
    bind_server();
    welcome();
    struct mr_ulid again = open_movie();
    ck_assert(mr_ulid_equal(&id, &again));
    expect_slab(1, "some words");
    acknowledge(&id);
    expect(MR_END);
    commit(&id);
    UNTIL(atomic_load(&ended), usleep(1000));
    struct mr_tail_status status = finish();
    ck_assert_uint_eq(status.sessions, 2);
    ck_assert_uint_eq(status.counts.committed, 1);
}
END_TEST

static void refuse(uint16_t code)
{
    static struct mr_message m;
    said_count = 0;
    expect(MR_HELLO);
    m = (struct mr_message){.type = MR_REFUSED, .refused = {.code = code, .text = "no"}};
    say(&m);
}

START_TEST(refusal_ends_a_push)
{
    begin("some words");
    refuse(MR_REASON_NAME_IN_USE);
    UNTIL(atomic_load(&ended), usleep(1000));
    struct mr_tail_status status = finish();
    ck_assert(status.refused);
    ck_assert_uint_eq(status.counts.committed, 0);
}
END_TEST

static void expect_all_to_go_through(void)
{
    welcome();
    struct mr_ulid id = open_movie();
    expect_slab(1, "some words");
    acknowledge(&id);
    expect(MR_END);
    commit(&id);
    UNTIL(atomic_load(&ended), usleep(1000));
    struct mr_tail_status status = finish();
    ck_assert(!status.refused);
    ck_assert_uint_eq(status.counts.committed, 1);
}

START_TEST(busy_server_is_asked_again)
{
    begin("some words");
    refuse(MR_REASON_STOPPING);
    expect_all_to_go_through();
}
END_TEST

START_TEST(next_server_is_asked_where_one_refuses)
{
    begin_with("some words", 2);
    refuse(MR_REASON_VERSION);
    expect_all_to_go_through();
}
END_TEST

START_TEST(refusals_of_all_servers_end_a_push)
{
    begin_with("some words", 2);
    refuse(MR_REASON_VERSION);
    refuse(MR_REASON_NAME_IN_USE);
    UNTIL(atomic_load(&ended), usleep(1000));
    ck_assert(finish().refused);
}
END_TEST

START_TEST(stop_without_a_server)
{
    begin("some words");
    struct mr_tail_status status = finish();
    ck_assert(!status.unreachable);
    ck_assert_uint_eq(status.counts.committed, 0);
}
END_TEST

/* Stopped under way: ABANDON is said, and without an answer the agent ends all the same. */
START_TEST(stop_under_way)
{
    begin("some words");
    welcome();
    struct mr_ulid id = open_movie();
    expect_slab(1, "some words");
    int64_t began_ns = mr_clock_monotonic_ns();
    struct mr_tail_status status;
    mr_agent_stop(agent, &status);
    ck_assert_int_lt(mr_clock_monotonic_ns() - began_ns, 5 * MR_NS_PER_S);
    expect(MR_ABANDON);
    ck_assert(mr_ulid_equal(&heard.abandon.movie, &id));
    expect(MR_BYE);
    close_server();
    mr_link_free(link_);
    mr_agent_config_free(&config);
}
END_TEST

MR_SUITE("agent", T(one_file_goes_through), T(damaged_slab_is_sent_again),
         T(lost_session_is_taken_up), T(refusal_ends_a_push), T(busy_server_is_asked_again),
         T(next_server_is_asked_where_one_refuses), T(refusals_of_all_servers_end_a_push),
         T(stop_without_a_server), T(stop_under_way))
