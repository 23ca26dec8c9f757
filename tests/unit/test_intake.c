/* SPDX-License-Identifier: Apache-2.0 */
/* The server's core, one message at a time: who may talk, what a movie goes through, who is told.
 * What the two cores make of each other is tests/sim's. */
#include "intake_rig.h"

START_TEST(test_commits)
{
    live();
    ck_assert(mr_intake_durable(in, movie, 0));
    tick();
    told(0, MR_ACK);
    ck_assert(!mr_intake_durable(in, movie, 0)); /* once more: counted, harmless */
    end(1, 1);
    ck_assert_uint_eq(detaches, 1);
    ck_assert_uint_eq(finishes, 0); /* a lane may still hold it */
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_COMMIT);
    answer(MR_COMMITTED);
    told(0, MR_COMMITTED);
    ck_assert(mr_intake_idle(in));
    ck_assert_uint_eq(releases, 0);
    done();
}
END_TEST

/* Its slab counts, but nobody is told that it is durable. */
START_TEST(test_commits_a_small_one)
{
    begin();
    movie->small = true;
    hello(0, 1, 1, false);
    open_movie(0);
    mr_intake_berthed(in, movie, false, NULL, 0, now);
    end(1, 1);
    ck_assert_uint_eq(detaches, 0);
    mr_intake_aboard(in, movie, 0);
    tick();
    told(0, MR_OPENED);
    ck_assert_uint_eq(detaches, 1);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_COMMIT);
    answer(MR_COMMITTED);
    told(0, MR_COMMITTED);
    done();
}
END_TEST

START_TEST(test_a_slab_past_the_end_fills_no_hole)
{
    live();
    mr_intake_durable(in, movie, 1);
    end(1, 1);
    ck_assert_uint_eq(detaches, 0);
    mr_intake_durable(in, movie, 0);
    ck_assert_uint_eq(detaches, 1);
    done();
}
END_TEST

START_TEST(test_end_with_a_wrong_count_fails_the_movie)
{
    live();
    end(3, 4);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_FAIL);
    ck_assert_uint_eq(finished.fail.code, MR_REASON_MISMATCH);
    answer(MR_FAILED);
    told(0, MR_FAILED);
    done();
}
END_TEST

START_TEST(test_abandon_while_berthing)
{
    begin();
    hello(0, 1, 1, false);
    open_movie(0);
    say(0, MR_ABANDON);
    ck_assert_uint_eq(finishes, 0);
    mr_intake_berthed(in, movie, false, NULL, 0, now);
    ck_assert_int_eq(finished.how, MR_FINISH_DISCARD);
    ck_assert_uint_eq(attaches, 0);
    answer(MR_ABANDONED);
    told(0, MR_ABANDONED);
    done();
}
END_TEST

START_TEST(test_abandon_of_an_older_session_is_answered)
{
    live();
    say(0, MR_BYE);
    ck_assert_uint_eq(detaches, 1);
    hello(1, 9, 1, true); /* another one of that name does not wait */
    say(1, MR_ABANDON);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_DISCARD);
    answer(MR_ABANDONED);
    told(1, MR_ABANDONED);
    done();
}
END_TEST

START_TEST(test_others_cannot_touch_a_movie)
{
    live();
    hello(1, 9, 1, true);
    say(1, MR_ABANDON);
    told(1, MR_HOLD);
    open_movie(1);
    told(1, MR_HOLD);
    say(1, MR_FAIL);
    ck_assert_uint_eq(detaches + finishes, 0);
    done();
}
END_TEST

START_TEST(test_stuck_is_held_and_renewed)
{
    live();
    mr_intake_stuck(in, movie, true, MR_REASON_IO, "fsync");
    ck_assert_uint_eq(releases, 0);
    mr_intake_detached(in, movie);
    ck_assert_uint_eq(releases, 1);
    ck_assert(release_tainted);
    told(0, MR_HOLD);
    ck_assert_uint_eq(sent.hold.code, MR_REASON_IO);
    open_movie(0);
    ck_assert_uint_eq(berths, 2);
    done();
}
END_TEST

START_TEST(test_an_exceeded_quota_fails_the_movie)
{
    live();
    mr_intake_no_quota(in, movie, "part: quota");
    mr_intake_no_quota(in, movie, "part: quota"); /* of another lane */
    mr_intake_stuck(in, movie, false, MR_REASON_PERMISSION, "and so on");
    ck_assert_uint_eq(detaches, 1);
    mr_intake_detached(in, movie);
    ck_assert_uint_eq(finishes, 1);
    ck_assert_int_eq(finished.how, MR_FINISH_FAIL);
    ck_assert_uint_eq(finished.fail.code, MR_REASON_PERMISSION);
    ck_assert_uint_eq(releases, 0);
    answer(MR_FAILED);
    told(0, MR_FAILED);
    done();
}
END_TEST

START_TEST(test_newer_session_waits_for_the_older_ones_writes)
{
    live();
    hello(1, 1, 2, false);
    told(0, MR_BYE);
    ck_assert_uint_eq(sent.bye.code, MR_REASON_STALE_EPOCH);
    now += 60 * MR_NS_PER_S; /* a slow disk */
    tick();
    told(0, MR_BYE);
    mr_intake_detached(in, movie);
    ck_assert_uint_eq(releases, 1);
    ck_assert(!release_tainted);
    tick();
    told(1, MR_WELCOME); /* and not at once BYE for its silence */
    hello(2, 1, 1, false);
    told(2, MR_REFUSED);
    ck_assert_uint_eq(sent.refused.code, MR_REASON_STALE_EPOCH);
    ck_assert_uint_eq(sent.sequence, 1);
    hello(3, 2, 1, false);
    told(3, MR_REFUSED);
    ck_assert_uint_eq(sent.refused.code, MR_REASON_NAME_IN_USE);
    done();
}
END_TEST

START_TEST(test_limits_and_nonsense)
{
    const struct mr_route route = {.bytes = {0}, .size = 1};
    live();
    prepare(MR_DEMAND);
    m.demand = (struct mr_demand){.lanes = 1, .returned = {1}};
    hear(0);
    told(0, MR_BYE);
    say(0, MR_PING);
    told(0, MR_REFUSED); /* there is no session any more */
    hello(1, 1, 2, false);
    mr_intake_detached(in, movie);
    tick();
    told(1, MR_WELCOME);
    sequence[1]++;
    say(1, MR_PING);
    told(1, MR_BYE);
    mr_intake_garbage(in, &route, "noise");
    told(0, MR_REFUSED);
    done();
}
END_TEST

static void note_backlog(void *ctx, const struct mr_intake_session_view *v)
{
    *(struct mr_backlog *)ctx = v->backlog;
}

START_TEST(test_what_an_agent_has_to_ship_is_seen)
{
    struct mr_backlog seen = {.files = 9};
    live();
    mr_intake_each_session(in, note_backlog, &seen);
    ck_assert_uint_eq(seen.files, 0);
    prepare(MR_PING);
    m.ping.backlog = (struct mr_backlog){.bytes = 4096, .files = 2};
    hear(0);
    told(0, MR_PONG);
    mr_intake_each_session(in, note_backlog, &seen);
    ck_assert_uint_eq(seen.bytes, 4096);
    ck_assert_uint_eq(seen.files, 2);
    mr_intake_stop(in);
    mr_intake_detached(in, movie);
    done();
}
END_TEST

START_TEST(test_silence_and_credit)
{
    live();
    prepare(MR_DEMAND);
    m.demand = (struct mr_demand){.lanes = 1, .wanted = {true}};
    hear(0);
    tick();
    told(0, MR_CREDIT);
    ck_assert_uint_eq(sent.credit.granted[0], 2 * MR_SLAB_COST_MAX);
    mr_intake_used(in, token[0], 0, MR_SLAB_COST_MAX);
    tick();
    ck_assert_uint_eq(sent.credit.granted[0], 3 * MR_SLAB_COST_MAX);
    mr_intake_used(in, token[0], 0, 3 * MR_SLAB_COST_MAX);
    told(0, MR_BYE);
    hello(1, 1, 2, false);
    mr_intake_detached(in, movie);
    tick();
    now += 2 * MR_NS_PER_S;
    tick();
    told(1, MR_PING);
    now += 2 * MR_NS_PER_S;
    tick();
    told(1, MR_BYE);
    done();
}
END_TEST

START_TEST(test_confirm_is_answered_to_who_asked)
{
    const struct mr_message confirmed = {.type = MR_CONFIRMED};
    begin();
    hello(0, 1, 1, true);
    told(0, MR_WELCOME);
    ck_assert_uint_eq(sent.welcome.abilities, MR_ABLE_CONFIRM | MR_ABLE_CODECS);
    hello(1, 2, 1, true);
    prepare(MR_CONFIRM);
    m.confirm.revision = 3;
    hear(0);
    ck_assert_uint_eq(confirm_session, token[0]);
    mr_intake_confirmed(in, confirm_session, &confirmed);
    told(0, MR_CONFIRMED);
    say(0, MR_BYE);
    unsigned before = sends;
    mr_intake_confirmed(in, confirm_session, &confirmed);
    ck_assert_uint_eq(sends, before);
    done();
}
END_TEST

static void beat(int64_t seconds)
{
    for (; seconds > 0; seconds--) {
        now += MR_NS_PER_S;
        say(0, MR_PING);
        tick();
    }
}

START_TEST(test_no_credit_while_paused)
{
    live();
    prepare(MR_DEMAND);
    m.demand = (struct mr_demand){.lanes = 1, .wanted = {true}};
    hear(0);
    tick();
    told(0, MR_CREDIT);
    ck_assert_uint_eq(sent.credit.granted[0], 2 * MR_SLAB_COST_MAX);
    mr_intake_pause(in, true, now);
    mr_intake_used(in, token[0], 0, MR_SLAB_COST_MAX); /* what was granted may be used */
    beat(120);                                         /* the rest is nobody's fault */
    told(0, MR_PONG);
    mr_intake_durable(in, movie, 0);
    tick();
    told(0, MR_ACK);
    mr_intake_pause(in, false, now);
    tick();
    told(0, MR_CREDIT);
    ck_assert_uint_eq(sent.credit.granted[0], 3 * MR_SLAB_COST_MAX);
    mr_intake_pause(in, true, now);
    mr_intake_pause(in, true, now);
    beat(40);
    mr_intake_pause(in, false, now);
    beat(29);
    told(0, MR_PONG);
    beat(2); /* now it counts again */
    told(0, MR_BYE);
    done();
}
END_TEST

START_TEST(test_stop)
{
    live();
    mr_intake_stop(in);
    told(0, MR_BYE);
    ck_assert(!mr_intake_idle(in));
    mr_intake_detached(in, movie);
    ck_assert_uint_eq(releases, 1);
    ck_assert(mr_intake_idle(in));
    hello(1, 1, 2, false);
    told(1, MR_REFUSED);
    done();
}
END_TEST

/* What small files may take of the server is not all of it. */
START_TEST(test_small_files_leave_room)
{
    begin_with(4);
    hello(0, 1, 1, false);
    for (uint8_t i = 0; i < 6; i++) {
        prepare(MR_OPEN);
        m.open = (struct mr_open){
            .movie = {{i}}, .revision = 1, .kind = MR_KIND_FILE, .whole = i < 4 || i == 5};
        m.open.output = MR_OUTPUT_KEEP;
        mr_geometry_opaque(&m.open.geometry);
        hear(0);
        ck_assert_uint_eq(berths, i < 3 ? i + 1 : i == 3 ? 3 : 4);
    }
    told(0, MR_HOLD);
    ck_assert_int_eq(sent.hold.code, MR_REASON_BUSY);
    done();
}
END_TEST

START_TEST(test_hears_what_agents_say_and_nothing_else)
{
    for (unsigned type = MR_HELLO; type <= MR_MESSAGE_LAST; type++) {
        begin();
        hello(0, 1, 1, true);
        memset(&m, 0, sizeof(m));
        m.type = (enum mr_message_type)type;
        if (m.type == MR_CONFIRM)
            m.confirm.revision = 3;
        hear(0);
        bool refused = sent.type == MR_BYE && strstr(sent.bye.text, "not for a server") != NULL;
        bool ours = (mr_message_from(m.type) & MR_FROM_AGENT) != 0;
        ck_assert_msg(refused != ours, "%s", mr_message_name(m.type));
        done();
    }
}
END_TEST

MR_SUITE("intake", T(test_hears_what_agents_say_and_nothing_else), T(test_commits),
         T(test_commits_a_small_one), T(test_a_slab_past_the_end_fills_no_hole),
         T(test_end_with_a_wrong_count_fails_the_movie), T(test_abandon_while_berthing),
         T(test_abandon_of_an_older_session_is_answered), T(test_others_cannot_touch_a_movie),
         T(test_stuck_is_held_and_renewed), T(test_an_exceeded_quota_fails_the_movie),
         T(test_newer_session_waits_for_the_older_ones_writes), T(test_limits_and_nonsense),
         T(test_what_an_agent_has_to_ship_is_seen), T(test_silence_and_credit),
         T(test_no_credit_while_paused), T(test_confirm_is_answered_to_who_asked), T(test_stop),
         T(test_small_files_leave_room))
