/* SPDX-License-Identifier: Apache-2.0 */
/* Who may talk, how long may he be silent, and what is he told when it ends? */
#include "intake_rig.h"

static void hello_versions(uint8_t peer, uint16_t min, uint16_t max)
{
    prepare(MR_HELLO);
    m.hello =
        (struct mr_hello){.version_min = min, .version_max = max, .name = "k3", .ephemeral = true};
    sequence[peer] = 0;
    hear(peer);
}

START_TEST(versions_have_to_meet)
{
    begin();
    hello_versions(0, MR_PROTOCOL_VERSION_MAX + 1, MR_PROTOCOL_VERSION_MAX + 1);
    told_refused(0, MR_REASON_VERSION);
    hello_versions(0, 0, MR_PROTOCOL_VERSION_MIN - 1);
    told_refused(0, MR_REASON_VERSION);
    hello_versions(0, MR_PROTOCOL_VERSION_MAX, MR_PROTOCOL_VERSION_MAX + 5);
    told(0, MR_WELCOME);
    ck_assert_uint_eq(sent.welcome.version, MR_PROTOCOL_VERSION_MAX);
    hello_versions(0, 0, MR_PROTOCOL_VERSION_MIN);
    told(0, MR_WELCOME);
    done();
}
END_TEST

START_TEST(a_name_has_to_be_a_folders)
{
    static const char *const bad[] = {"", ".", "..", "a/b", "a b", "\xc3\xa4", "../etc", "a\n"};
    static const char *const good[] = {"...", ".a", "K3-krios_1.lab", "-"};
    begin();
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        hello_as(0, bad[i], 1, 1, false);
        told_refused(0, MR_REASON_BAD_NAME);
    }
    ck_assert_uint_eq(presences, 0);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        hello_as(0, good[i], 1, 1, false);
        told(0, MR_WELCOME);
        ck_assert_str_eq(present, good[i]);
        ck_assert(is_online);
    }
    done();
}
END_TEST

START_TEST(welcome_says_what_the_server_is)
{
    struct mr_intake_config config = rig_config();
    config.lanes = 2;
    config.ports[1] = 5572;
    config.heartbeat_ms = 1234;
    (void)snprintf(config.server, sizeof(config.server), "storage1");
    (void)snprintf(config.site, sizeof(config.site), "lab");
    (void)snprintf(config.software, sizeof(config.software), "millrace 9");
    begin_as(&config);
    hello(0, 1, 1, false);
    told(0, MR_WELCOME);
    const struct mr_welcome *w = &sent.welcome;
    ck_assert_uint_eq(sent.sequence, 1);
    ck_assert_uint_eq(w->heartbeat_ms, 1234);
    ck_assert_uint_eq(w->lanes, 2);
    ck_assert_uint_eq(w->ports[0], 5571);
    ck_assert_uint_eq(w->ports[1], 5572);
    ck_assert_str_eq(w->server, "storage1");
    ck_assert_str_eq(w->site, "lab");
    ck_assert_str_eq(w->software, "millrace 9");
    done();
}
END_TEST

/* ---- who meets whom ---- */

/* One is live; another says HELLO. */
START_TEST(a_newcomer_takes_the_place_of_its_older_self_only)
{
    static const struct {
        const char *name;
        uint8_t instance;
        uint64_t epoch;
        bool live_is_push, is_push;
        uint16_t refused; /* 0: welcome */
        bool replaced;    /* the live one is sent away */
    } cases[] = {{"k3", 1, 6, false, false, 0, true},
                 {"k3", 1, 5, false, false, 0, true}, /* the same process, a new connection */
                 {"k3", 1, 4, false, false, MR_REASON_STALE_EPOCH, false},
                 {"k3", 2, 6, false, false, MR_REASON_NAME_IN_USE, false},
                 {"k3", 2, 6, false, true, 0, false},
                 {"k3", 2, 6, true, false, 0, false},
                 {"k4", 1, 4, false, false, 0, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin();
        hello(0, 1, 5, cases[i].live_is_push);
        hello_as(1, cases[i].name, cases[i].instance, cases[i].epoch, cases[i].is_push);
        if (cases[i].refused != 0)
            told_refused(1, cases[i].refused);
        else
            told(1, MR_WELCOME);
        ck_assert_uint_eq(presences, cases[i].refused != 0 ? 1 : cases[i].replaced ? 3 : 2);
        say(0, MR_PING);
        told(0, cases[i].replaced ? MR_REFUSED : MR_PONG);
        done();
    }
}
END_TEST

START_TEST(a_name_in_use_is_told_where_and_for_how_long)
{
    begin();
    hello(0, 1, 5, false);
    now += 3 * 60 * MR_NS_PER_S;
    hello(1, 2, 5, false);
    told_refused(1, MR_REASON_NAME_IN_USE);
    ck_assert_msg(strstr(sent.refused.text, "named k3 is connected from scope7, for 3") != NULL,
                  "%s", sent.refused.text);
    done();
}
END_TEST

START_TEST(who_is_replaced_before_it_was_welcome_is_refused)
{
    live();
    hello(1, 1, 2, false); /* waits until the first one's movie is let go of */
    told(0, MR_BYE);
    unsigned seen = presences;
    say(1, MR_PING);
    told(0, MR_BYE); /* it may not talk yet */
    hello(2, 1, 3, false);
    told_refused(1, MR_REASON_STALE_EPOCH);
    ck_assert_uint_eq(presences, seen); /* nobody was told that it is here, nor that it is gone */
    mr_intake_detached(in, movie);
    tick();
    told(2, MR_WELCOME);
    ck_assert_uint_eq(presences, seen + 1);
    done();
}
END_TEST

START_TEST(another_instance_does_not_wait_for_what_is_let_go_of)
{
    live();
    say(0, MR_BYE);
    hello(1, 2, 1, false);
    told(1, MR_WELCOME);
    mr_intake_detached(in, movie);
    done();
}
END_TEST

START_TEST(hello_on_a_route_begins_anew)
{
    begin();
    hello(0, 1, 5, false);
    uint64_t first = token[0];
    ck_assert_uint_ne(first, 0);
    hello(0, 1, 4, false); /* an older epoch, but who talked there has ended with it */
    told(0, MR_WELCOME);
    ck_assert_uint_ne(token[0], first);
    ck_assert_uint_eq(presences, 3);
    done();
}
END_TEST

START_TEST(tokens_of_two_lives_never_meet)
{
    enum { LIVES = 3, EACH = 40 };
    static uint64_t tokens[LIVES * EACH];
    size_t count = 0;
    for (uint64_t life = 0; life < LIVES; life++) {
        struct mr_intake_config config = rig_config();
        config.session_seed = life;
        begin_as(&config);
        for (unsigned i = 0; i < EACH; i++) {
            hello(0, 1, 1, false);
            ck_assert_uint_ne(token[0], 0);
            for (size_t k = 0; k < count; k++)
                ck_assert_uint_ne(tokens[k], token[0]);
            tokens[count++] = token[0];
        }
        done();
    }
}
END_TEST

static unsigned sessions;

static void count_session(void *ctx, const struct mr_intake_session_view *v)
{
    (void)ctx;
    (void)v;
    sessions++;
}

static void hello_of(uint16_t number)
{
    const struct mr_route route = {.bytes = {200, (uint8_t)number, (uint8_t)(number >> 8)},
                                   .size = 3};
    prepare(MR_HELLO);
    m.sequence = 1;
    m.hello = (struct mr_hello){.version_min = 1, .version_max = 1, .epoch = 1};
    (void)snprintf(m.hello.name, sizeof(m.hello.name), "agent%u", number);
    mr_intake_receive(in, &route, &m, now, now);
}

START_TEST(as_many_sessions_as_there_are_slots)
{
    enum { SLOTS = 256 };
    begin();
    hello(0, 1, 1, false);
    for (uint16_t i = 1; i < SLOTS; i++)
        hello_of(i);
    ck_assert_uint_eq(presences, SLOTS);
    mr_intake_each_session(in, count_session, NULL);
    ck_assert_uint_eq(sessions, SLOTS);
    hello_as(1, "late", 1, 1, false);
    told_refused(1, MR_REASON_BUSY);
    say(0, MR_BYE); /* its slot is free, and so is the credit that it had */
    hello_as(1, "late", 1, 1, false);
    told(1, MR_WELCOME);
    done();
}
END_TEST

/* ---- time ---- */

static void note_online(bool online, uint8_t peer)
{
    sessions = 0;
    mr_intake_each_session(in, count_session, NULL);
    ck_assert_msg((sessions > 0) == online, "peer %u", peer);
}

START_TEST(three_missed_heartbeats_end_a_session_and_no_fewer)
{
    begin();
    hello(0, 1, 1, false);
    now += 3 * MR_NS_PER_S;
    tick();
    told(0, MR_PING);
    note_online(true, 0);
    now += 1;
    tick();
    told_bye(0, MR_REASON_STOPPING);
    note_online(false, 0);
    ck_assert(!is_online);
    done();
}
END_TEST

START_TEST(whatever_is_said_counts_as_a_sign_of_life)
{
    begin();
    hello(0, 1, 1, false);
    for (int i = 0; i < 10; i++) {
        now += 3 * MR_NS_PER_S;
        say(0, i % 2 == 0 ? MR_PONG : MR_PING);
        tick();
    }
    note_online(true, 0);
    token[0]++; /* but not what is of no session of its */
    now += 3 * MR_NS_PER_S + 1;
    say(0, MR_PONG);
    token[0]--;
    tick();
    told_bye(0, MR_REASON_STOPPING);
    done();
}
END_TEST

START_TEST(the_server_says_something_once_a_heartbeat)
{
    begin();
    hello(0, 1, 1, false);
    now += MR_NS_PER_S - 1;
    tick();
    told(0, MR_WELCOME);
    now += 1;
    mr_intake_tick(in, now, 4711);
    told(0, MR_PING);
    ck_assert_int_eq(sent.ping.real_ns, 4711);
    tick();
    ck_assert_uint_eq(sends, 2);
    now += MR_NS_PER_S / 2;
    say(0, MR_PING); /* the answer is something, too */
    now += MR_NS_PER_S - 1;
    tick();
    ck_assert_uint_eq(sends, 3);
    now += 1;
    tick();
    ck_assert_uint_eq(sends, 4);
    done();
}
END_TEST

/* ---- credit ---- */

static void demand(uint8_t peer, bool wanted)
{
    prepare(MR_DEMAND);
    m.demand = (struct mr_demand){.lanes = 1, .wanted = {wanted}};
    hear(peer);
}

/* Seconds until a session that holds credit and wants more is sent away; heartbeats go on. */
static unsigned seconds_held(uint32_t limit_ms)
{
    struct mr_intake_config config = rig_config();
    config.credit_limit_ms = limit_ms;
    begin_as(&config);
    hello(0, 1, 1, false);
    demand(0, true);
    tick();
    tick();
    unsigned seconds = 0;
    for (; sent.type != MR_BYE && seconds < 100; seconds++) {
        now += MR_NS_PER_S;
        say(0, MR_PONG);
        tick();
    }
    told_bye(0, MR_REASON_BUSY);
    done();
    return seconds;
}

START_TEST(credit_may_be_held_as_long_as_configured_or_half_a_minute)
{
    ck_assert_uint_eq(seconds_held(5000), 6);
    ck_assert_uint_eq(seconds_held(5001), 6);
    ck_assert_uint_eq(seconds_held(4999), 5);
    ck_assert_uint_eq(seconds_held(0), 31);
}
END_TEST

START_TEST(what_a_session_held_is_there_for_others_when_it_ends)
{
    begin();
    hello(0, 1, 1, false);
    demand(0, true);
    tick();
    told(0, MR_CREDIT);
    ck_assert_uint_eq(sent.credit.lanes, 1);
    ck_assert_uint_eq(sent.credit.granted[0], 2 * MR_SLAB_COST_MAX);
    hello_as(1, "other", 1, 1, false);
    demand(1, true);
    tick();
    told(1, MR_WELCOME); /* all of it is out */
    say(0, MR_BYE);
    tick();
    told(1, MR_CREDIT);
    ck_assert_uint_eq(sent.credit.granted[0], 2 * MR_SLAB_COST_MAX);
    unsigned before = sends;
    tick();
    ck_assert_uint_eq(sends, before); /* it is said once */
    done();
}
END_TEST

START_TEST(credit_of_each_lane_is_its_own)
{
    struct mr_intake_config config = rig_config();
    config.lanes = 2;
    begin_as(&config);
    hello(0, 1, 1, false);
    prepare(MR_DEMAND);
    m.demand = (struct mr_demand){.lanes = 2, .wanted = {false, true}};
    hear(0);
    tick();
    told(0, MR_CREDIT);
    ck_assert_uint_eq(sent.credit.lanes, 2);
    ck_assert_uint_eq(sent.credit.granted[0], 0);
    ck_assert_uint_eq(sent.credit.granted[1], 2 * MR_SLAB_COST_MAX);
    mr_intake_used(in, token[0] + 1, 1, MR_SLAB_COST_MAX); /* of nobody here */
    mr_intake_used(in, token[0], 1, MR_SLAB_COST_MAX);
    tick();
    ck_assert_uint_eq(sent.credit.granted[1], 3 * MR_SLAB_COST_MAX);
    mr_intake_used(in, token[0], 0, 1);
    told_bye(0, MR_REASON_BAD_REQUEST);
    done();
}
END_TEST

START_TEST(stalled_credit_of_one_lane_is_enough)
{
    struct mr_intake_config config = rig_config();
    config.lanes = 2;
    config.credit_limit_ms = 2000;
    begin_as(&config);
    hello(0, 1, 1, false);
    prepare(MR_DEMAND);
    m.demand = (struct mr_demand){.lanes = 2, .wanted = {true, true}};
    hear(0);
    tick();
    for (int i = 0; i < 3; i++) {
        mr_intake_used(in, token[0], 1, MR_SLAB_COST_MAX); /* that one works */
        now += MR_NS_PER_S;
        say(0, MR_PONG);
        tick();
    }
    told_bye(0, MR_REASON_BUSY);
    done();
}
END_TEST

/* ---- the end ---- */

START_TEST(a_server_that_stops_sends_all_away_and_welcomes_nobody)
{
    live();
    hello(1, 1, 2, false); /* waits for the first one's writes */
    hello_as(2, "other", 9, 1, false);
    mr_intake_stop(in);
    told_bye(2, MR_REASON_STOPPING);
    hello_as(3, "third", 1, 1, false);
    told_refused(3, MR_REASON_STOPPING);
    unsigned before = sends;
    mr_intake_detached(in, movie);
    now += 60 * MR_NS_PER_S;
    tick();
    ck_assert_uint_eq(sends, before);
    ck_assert(mr_intake_idle(in));
    done();
}
END_TEST

START_TEST(presence_is_told_once_each_way)
{
    begin();
    hello_as(0, "one", 1, 1, false);
    ck_assert_uint_eq(presences, 1);
    say(0, MR_BYE);
    ck_assert_uint_eq(presences, 2);
    ck_assert_str_eq(present, "one");
    ck_assert(!is_online);
    say(0, MR_BYE);
    ck_assert_uint_eq(presences, 2);
    told_refused(0, MR_REASON_BAD_REQUEST);
    done();
}
END_TEST

MR_SUITE("intake_session", T(versions_have_to_meet), T(a_name_has_to_be_a_folders),
         T(welcome_says_what_the_server_is), T(a_newcomer_takes_the_place_of_its_older_self_only),
         T(a_name_in_use_is_told_where_and_for_how_long),
         T(who_is_replaced_before_it_was_welcome_is_refused),
         T(another_instance_does_not_wait_for_what_is_let_go_of), T(hello_on_a_route_begins_anew),
         T(tokens_of_two_lives_never_meet), T(as_many_sessions_as_there_are_slots),
         T(three_missed_heartbeats_end_a_session_and_no_fewer),
         T(whatever_is_said_counts_as_a_sign_of_life),
         T(the_server_says_something_once_a_heartbeat),
         T(credit_may_be_held_as_long_as_configured_or_half_a_minute),
         T(what_a_session_held_is_there_for_others_when_it_ends), T(credit_of_each_lane_is_its_own),
         T(stalled_credit_of_one_lane_is_enough),
         T(a_server_that_stops_sends_all_away_and_welcomes_nobody),
         T(presence_is_told_once_each_way))
