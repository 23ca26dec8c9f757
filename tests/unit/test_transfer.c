/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's core, one message at a time: session, movies, picks on credit, verdicts. What the two
 * cores make of each other is tests/sim's. */
#include "suite.h"

#include "base/clock.h"
#include "transfer.h"

#include <errno.h>
#include <string.h>

#define SLAB  ((uint64_t)MR_SLAB_BYTES)
#define TOKEN 77u

static struct mr_transfer *t;
static struct mr_message out, in;
static struct mr_err err;
static uint32_t heard;
static int64_t now;
static enum mr_message_type last_verdict;
static char owner;
static uint64_t credit_slabs; /* what a movie gets; 0: enough for all */

static void on_verdict(void *ctx, void *who, const struct mr_message *m)
{
    (void)ctx;
    ck_assert_ptr_eq(who, &owner);
    last_verdict = m->type;
}

static uint64_t shipped_bytes;

static void on_shipped(void *ctx, void *who, uint64_t from, uint64_t to)
{
    (void)ctx;
    ck_assert_ptr_eq(who, &owner);
    ck_assert_uint_eq(from % SLAB, 0);
    shipped_bytes += to - from;
}

static void say(enum mr_message_type type)
{
    ck_assert(mr_transfer_next_control(t, now, now, &out));
    ck_assert_str_eq(mr_message_name(out.type), mr_message_name(type));
}

static void silent(void)
{
    ck_assert(!mr_transfer_next_control(t, now, now, &out));
}

static int hear(enum mr_message_type type)
{
    in.type = type;
    in.session = TOKEN;
    in.sequence = ++heard;
    return mr_transfer_receive(t, &in, now, &err);
}

static uint32_t abilities; /* of the next server */

static void welcome(uint16_t lanes)
{
    const struct mr_transfer_config config = {
        .hello = {.version_min = 1, .version_max = 1, .name = "k3"},
        .ack_timeout_ns = 1000 * MR_NS_PER_MS,
        .idle_credit_ns = 100 * MR_NS_PER_MS};
    const struct mr_transfer_ops ops = {.verdict = on_verdict, .shipped = on_shipped};
    now = MR_NS_PER_S;
    heard = 0;
    ck_assert_int_eq(mr_transfer_new(&config, &ops, &t), 0);
    mr_transfer_connected(t, 5, now);
    say(MR_HELLO);
    ck_assert_uint_eq(out.hello.epoch, 5);
    ck_assert_uint_eq(out.sequence, 1);
    memset(&in, 0, sizeof(in));
    in.welcome = (struct mr_welcome){
        .version = 1, .abilities = abilities, .heartbeat_ms = 400, .lanes = lanes};
    ck_assert_int_eq(hear(MR_WELCOME), 0);
    ck_assert(mr_transfer_ready(t));
}

static void opened(uint32_t generation, uint64_t durable)
{
    static uint8_t ranges[16];
    struct mr_ulid id = in.opened.movie;
    mr_message_put_range(ranges, 0, (struct mr_range){0, durable});
    in.opened = (struct mr_opened){
        .movie = id, .generation = generation, .range_count = durable > 0, .ranges = ranges};
    ck_assert_int_eq(hear(MR_OPENED), 0);
}

static void ack(uint32_t generation, uint64_t slab)
{
    static uint8_t ranges[16];
    mr_message_put_range(ranges, 0, (struct mr_range){slab, 1});
    in.ack.generation = generation;
    in.ack.range_count = 1;
    in.ack.ranges = ranges;
    ck_assert_int_eq(hear(MR_ACK), 0);
}

static void credit(uint16_t lanes, uint64_t slabs)
{
    in.credit.lanes = lanes;
    for (uint16_t i = 0; i < lanes; i++)
        in.credit.granted[i] = slabs * MR_SLAB_COST_MAX;
    ck_assert_int_eq(hear(MR_CREDIT), 0);
    memset(&in, 0, sizeof(in));
}

static bool whole; /* the next movie */

/* An opaque movie of so many slabs, open and with credit for all. */
static void movie(uint16_t lanes, uint64_t slabs, uint64_t durable)
{
    struct mr_open open = {.revision = 1, .whole = whole};
    struct mr_pick pick;
    welcome(lanes);
    mr_geometry_opaque(&open.geometry);
    ck_assert_int_eq(mr_transfer_add(t, &owner, &open), 0);
    say(MR_OPEN);
    memset(&in, 0, sizeof(in));
    opened(1, durable);
    ck_assert_int_eq(last_verdict, MR_OPENED);
    const struct mr_end end = {.extent.source_bytes = slabs * SLAB};
    mr_transfer_complete(t, &owner, &end);
    if (durable > 0 || slabs == 0)
        return;
    ck_assert(!mr_transfer_pick(t, now, &pick)); /* no credit yet: it is asked for */
    say(MR_DEMAND);
    ck_assert(out.demand.wanted[0]);
    credit(lanes, credit_slabs == 0 ? slabs : credit_slabs);
}

static void ship(uint64_t slab)
{
    struct mr_pick pick;
    ck_assert(mr_transfer_pick(t, now, &pick));
    ck_assert(pick.send);
    ck_assert_uint_eq(pick.slab, slab);
    ck_assert_int_eq(mr_transfer_packed(t, &pick, 100 + slab, 0, MR_SLAB_BYTES, now), 0);
}

START_TEST(test_ships_a_movie)
{
    movie(2, 3, 0);
    for (uint64_t i = 0; i < 3; i++)
        ship(i);
    ck_assert_uint_eq(mr_transfer_in_flight(t), 3);
    for (uint64_t i = 0; i < 3; i++) {
        silent();
        ack(1, i);
    }
    say(MR_END);
    ck_assert_uint_eq(out.end.slabs, 3);
    ck_assert_uint_eq(out.end.generation, 1);
    ck_assert_int_eq(hear(MR_COMMITTED), 0);
    ck_assert_int_eq(last_verdict, MR_COMMITTED);
    ck_assert_uint_eq(mr_transfer_count(t), 0);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_whole_movie_ends_without_an_ack)
{
    struct mr_pick pick;
    whole = true;
    movie(2, 1, 0);
    silent();
    ship(0);
    say(MR_END);
    silent();
    in.resend.generation = 1; /* it was damaged on its way: sent again, and said again */
    ck_assert_int_eq(hear(MR_RESEND), 0);
    memset(&in, 0, sizeof(in));
    credit(2, 2);
    ck_assert(mr_transfer_pick(t, now, &pick));
    silent(); /* that it was read once does not say that it can be read again */
    ck_assert(mr_transfer_unpick(t, &pick, 0));
    silent();
    ck_assert(mr_transfer_pick(t, now, &pick));
    ck_assert_int_eq(mr_transfer_packed(t, &pick, 100, 0, MR_SLAB_BYTES, now), 0);
    say(MR_END);
    ck_assert_uint_eq(mr_transfer_in_flight(t), 1);
    ck_assert_int_eq(hear(MR_COMMITTED), 0);
    ck_assert_uint_eq(mr_transfer_in_flight(t), 0);
    mr_transfer_free(t);
}
END_TEST

/* However busy the line is, the server hears once a heartbeat what there is to come. */
START_TEST(test_backlog_is_told_while_slabs_are_sent)
{
    const struct mr_backlog backlog = {.bytes = 3 * SLAB, .files = 1};
    movie(1, 3, 0);
    mr_transfer_tell_backlog(t, &backlog);
    ship(0);
    silent();
    now += 399 * MR_NS_PER_MS;
    say(MR_DEMAND); /* idle credit goes back: something was said, and still */
    silent();
    now += MR_NS_PER_MS;
    say(MR_PING);
    ck_assert_uint_eq(out.ping.backlog.bytes, 3 * SLAB);
    ck_assert_uint_eq(out.ping.backlog.files, 1);
    silent();
    mr_transfer_free(t);
}
END_TEST

/* Durable and summed, in either order: then it is shipped, once; and what flows is what was sent.
 */
START_TEST(test_what_is_shipped_and_what_flows)
{
    struct mr_pick pick;
    struct mr_transfer_flow flow;
    movie(1, 3, 0);
    mr_transfer_flow(t, &flow);
    ck_assert_uint_eq(flow.waiting, 3 * SLAB);
    ck_assert(mr_transfer_pick(t, now, &pick));
    ck_assert_int_eq(mr_transfer_packed(t, &pick, 1, 0, MR_SLAB_BYTES / 4, now), 0);
    ck_assert_uint_eq(shipped_bytes, 0);
    ack(1, 0);
    ack(1, 0);
    ck_assert_uint_eq(shipped_bytes, SLAB);
    mr_transfer_flow(t, &flow);
    ck_assert_uint_eq(flow.landed_raw, SLAB);
    ck_assert_uint_eq(flow.landed_wire, SLAB / 4);
    ck_assert_uint_eq(flow.waiting, 2 * SLAB);
    ck_assert(mr_transfer_pick(t, now, &pick));
    ack(1, 1); /* durable before its note is heard */
    ck_assert_uint_eq(shipped_bytes, SLAB);
    ck_assert_int_eq(mr_transfer_packed(t, &pick, 2, 0, MR_SLAB_BYTES, now), 0);
    ck_assert_uint_eq(shipped_bytes, 2 * SLAB);
    mr_transfer_flow(t, &flow);
    ck_assert_uint_eq(flow.landed_raw, 2 * SLAB);
    ck_assert_uint_eq(flow.waiting, SLAB);
    mr_transfer_disconnected(t); /* totals stay; nothing is known to wait */
    mr_transfer_flow(t, &flow);
    ck_assert_uint_eq(flow.landed_raw, 2 * SLAB);
    ck_assert_uint_eq(flow.waiting, 0);
    mr_transfer_free(t);
}
END_TEST

/* Of an earlier life: shipped when it was read again, and it did not flow. */
START_TEST(test_durable_ones_are_shipped_when_they_are_read)
{
    struct mr_pick pick;
    struct mr_transfer_flow flow;
    movie(1, 1, 1);
    ck_assert_uint_eq(shipped_bytes, 0);
    ck_assert(mr_transfer_pick(t, now, &pick));
    ck_assert_int_eq(mr_transfer_packed(t, &pick, 1, 0, 0, now), 0);
    ck_assert_uint_eq(shipped_bytes, SLAB);
    mr_transfer_flow(t, &flow);
    ck_assert_uint_eq(flow.landed_raw, 0);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_empty_movie_ends_at_once)
{
    movie(1, 0, 0);
    say(MR_END);
    ck_assert_uint_eq(out.end.slabs, 0);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_durable_slabs_are_only_read)
{
    struct mr_pick pick;
    movie(1, 2, 2);
    for (uint64_t i = 0; i < 2; i++) {
        silent();
        ck_assert(mr_transfer_pick(t, now, &pick));
        ck_assert(!pick.send);
        ck_assert_int_eq(mr_transfer_packed(t, &pick, 1, 0, 0, now), 0);
    }
    ck_assert(!mr_transfer_pick(t, now, &pick));
    say(MR_END);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_idle_credit_goes_back_and_needed_does_not)
{
    struct mr_pick pick;
    movie(2, 1, 0); /* only lane 0 has something to do */
    ship(0);
    now += 200 * MR_NS_PER_MS;
    say(MR_DEMAND);
    ck_assert(!out.demand.wanted[0]);
    ck_assert_uint_eq(out.demand.returned[0], 0); /* all of it was spent */
    ck_assert(!mr_transfer_pick(t, now, &pick));
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_too_little_credit_goes_back_while_more_is_asked)
{
    struct mr_pick pick;
    credit_slabs = 1;
    movie(1, 2, 0);
    ck_assert(mr_transfer_pick(t, now, &pick));
    ck_assert_int_eq(mr_transfer_packed(t, &pick, 1, 0, 4096, now), 0); /* it packed well */
    ck_assert(!mr_transfer_pick(t, now, &pick));
    say(MR_DEMAND);
    ck_assert(out.demand.wanted[0]);
    ck_assert_uint_eq(out.demand.returned[0], MR_SLAB_COST_MAX - mr_slab_cost(4096));
    credit(1, 2);
    ship(1);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_pick_of_before_hold_is_void)
{
    struct mr_pick before, after;
    movie(1, 2, 0);
    ck_assert(mr_transfer_pick(t, now, &before));
    in.hold.retry_ms = 10;
    ck_assert_int_eq(hear(MR_HOLD), 0);
    ck_assert_int_eq(last_verdict, MR_HOLD);
    silent();
    now += 10 * MR_NS_PER_MS;
    say(MR_OPEN);
    memset(&in, 0, sizeof(in));
    opened(1, 0);
    ck_assert_int_eq(mr_transfer_packed(t, &before, 1, 0, MR_SLAB_BYTES, now), -ENOENT);
    ck_assert(mr_transfer_pick(t, now, &after));
    ck_assert_uint_eq(after.slab, before.slab);
    mr_transfer_unpick(t, &before, 0); /* takes nothing from the pick that counts */
    ck_assert_uint_eq(mr_transfer_in_flight(t), 1);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_resend_and_stale)
{
    struct mr_pick pick;
    movie(1, 1, 0);
    ship(0);
    in.resend.generation = 1;
    ck_assert_int_eq(hear(MR_RESEND), 0);
    memset(&in, 0, sizeof(in));
    credit(1, 2);
    ck_assert(mr_transfer_pick(t, now, &pick));
    ck_assert_int_eq(mr_transfer_packed(t, &pick, 9, 0, MR_SLAB_BYTES, now), -ESTALE);
    mr_transfer_abandon(t, &owner);
    say(MR_ABANDON);
    ck_assert(!mr_transfer_pick(t, now, &pick));
    ck_assert_int_eq(hear(MR_ABANDONED), 0);
    ck_assert_int_eq(last_verdict, MR_ABANDONED);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_higher_generation_begins_again)
{
    movie(1, 1, 0);
    ship(0);
    ack(1, 0);
    say(MR_END);
    memset(&in, 0, sizeof(in));
    opened(2, 0);
    credit(1, 2);
    ship(0);
    ack(1, 0); /* of the old part */
    silent();
    ack(2, 0);
    say(MR_END);
    ck_assert_uint_eq(out.end.generation, 2);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_session_ends_where_it_must)
{
    movie(2, 3, 0);
    ship(0);
    ship(1);
    ck_assert_int_eq(mr_transfer_check(t, now, &err), 0);
    now += 900 * MR_NS_PER_MS;
    ack(1, 0); /* lane 1 has still none */
    now += 200 * MR_NS_PER_MS;
    ck_assert_int_eq(mr_transfer_check(t, now, &err), -ETIMEDOUT);
    ck_assert_ptr_nonnull(strstr(err.text, "lane 1"));
    heard++;
    ck_assert_int_eq(hear(MR_PONG), -EPROTO); /* a gap */
    mr_transfer_disconnected(t);
    ck_assert_uint_eq(mr_transfer_in_flight(t), 0);
    mr_transfer_connected(t, 6, now);
    ck_assert_int_eq(mr_transfer_check(t, now + 29 * MR_NS_PER_S, &err), 0);
    ck_assert_int_eq(mr_transfer_check(t, now + 31 * MR_NS_PER_S, &err), -ETIMEDOUT);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_fail)
{
    movie(1, 1, 0);
    mr_transfer_fail(t, &owner, NULL, "gone");
    say(MR_FAIL);
    ck_assert_str_eq(out.fail.text, "gone");
    ck_assert_int_eq(hear(MR_FAILED), 0);
    ck_assert_int_eq(last_verdict, MR_FAILED);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_other_sessions_are_ignored)
{
    movie(1, 1, 0);
    in = (struct mr_message){.type = MR_BYE, .session = TOKEN + 1, .sequence = 500};
    ck_assert_int_eq(mr_transfer_receive(t, &in, now, &err), 0);
    ck_assert(mr_transfer_ready(t));
    ck_assert_int_eq(hear(MR_OPEN), -EPROTO); /* not for an agent */
    mr_transfer_free(t);
}
END_TEST

/* A server of before there was CONFIRM would end the session. */
START_TEST(test_only_who_announced_it_is_asked)
{
    const struct mr_confirm question = {.revision = 2};
    welcome(1);
    ck_assert_int_eq(mr_transfer_confirm(t, &question), -EOPNOTSUPP);
    silent();
    mr_transfer_disconnected(t);
    ck_assert_int_eq(mr_transfer_confirm(t, &question), -ENOTCONN);
    mr_transfer_free(t);
    abilities = MR_ABLE_CONFIRM;
    welcome(1);
    abilities = 0;
    ck_assert_int_eq(mr_transfer_confirm(t, &question), 0);
    say(MR_CONFIRM);
    ck_assert_uint_eq(out.confirm.revision, 2);
    mr_transfer_free(t);
}
END_TEST

START_TEST(test_hears_what_servers_say_and_nothing_else)
{
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        welcome(1);
        memset(&in, 0, sizeof(in));
        err = (struct mr_err){0};
        bool refused = hear((enum mr_message_type)type) == -EPROTO &&
                       strstr(err.text, "not for an agent") != NULL;
        bool ours = (mr_message_from(in.type) & MR_FROM_SERVER) != 0;
        ck_assert_msg(refused != ours, "%s", mr_message_name(in.type));
        mr_transfer_free(t);
    }
}
END_TEST

MR_SUITE("transfer", T(test_hears_what_servers_say_and_nothing_else), T(test_ships_a_movie),
         T(test_whole_movie_ends_without_an_ack), T(test_backlog_is_told_while_slabs_are_sent),
         T(test_what_is_shipped_and_what_flows),
         T(test_durable_ones_are_shipped_when_they_are_read), T(test_empty_movie_ends_at_once),
         T(test_durable_slabs_are_only_read), T(test_idle_credit_goes_back_and_needed_does_not),
         T(test_too_little_credit_goes_back_while_more_is_asked),
         T(test_pick_of_before_hold_is_void), T(test_resend_and_stale),
         T(test_higher_generation_begins_again), T(test_session_ends_where_it_must), T(test_fail),
         T(test_other_sessions_are_ignored), T(test_only_who_announced_it_is_asked))
