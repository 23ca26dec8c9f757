/* SPDX-License-Identifier: Apache-2.0 */
/* What follows from what an agent says of a movie, at whatever moment it comes? */
#include "intake_rig.h"

/* Its session ends and the same agent is here again, as peer 1. */
static void come_back(void)
{
    say(0, MR_BYE);
    hello(1, 1, 2, false);
}

START_TEST(a_movie_being_berthed_answers_the_session_that_asks_again)
{
    begin();
    hello(0, 1, 1, false);
    open_other(0, 0, "a.mrc", false);
    come_back();
    told(1, MR_WELCOME);
    open_other(1, 0, "a.mrc", false);
    ck_assert_uint_eq(berths, 1);
    told(1, MR_WELCOME); /* its answer is on the way */
    mr_intake_berthed(in, movie, false, NULL, 0, now);
    told(1, MR_OPENED);
    ck_assert_uint_eq(attached_to, token[1]);
    done();
}
END_TEST

START_TEST(a_movie_being_finished_answers_the_session_that_asks_again)
{
    live();
    mr_intake_durable(in, movie, 0);
    end(1, 1);
    mr_intake_detached(in, movie);
    come_back();
    open_movie(1);
    told(1, MR_WELCOME);
    answer(MR_COMMITTED);
    told(1, MR_COMMITTED);
    ck_assert_uint_eq(berths, 1);
    done();
}
END_TEST

/* ... but not to whoever else asks, nor for another file, nor twice. */
START_TEST(a_movie_in_somebodys_hands_is_busy)
{
    static const char *const cases[] = {"of its own session", "of another file", "of another name",
                                        "that is leaving"};
    for (unsigned i = 0; i < 4; i++) {
        uint8_t asks = i == 0 ? 0 : 1;
        begin();
        hello_as(0, "k3", 1, 1, false);
        open_other(0, 0, "a.mrc", false);
        if (i == 3)
            mr_intake_berthed(in, movie, false, NULL, 0, now);
        if (i > 0)
            say(0, MR_BYE);
        if (i > 0) /* a push does not wait for what is leaving */
            hello_as(1, i == 2 ? "other" : "k3", 9, 2, true);
        open_other(asks, 0, i == 1 ? "b.mrc" : "a.mrc", false);
        told_hold(asks, MR_REASON_BUSY, MR_INTAKE_BUSY_MS);
        ck_assert_msg(berths == 1, "%s", cases[i]);
        done();
    }
}
END_TEST

START_TEST(berth_is_told_who_asks_and_what_for)
{
    begin();
    prepare(MR_HELLO);
    m.hello = (struct mr_hello){
        .version_min = 1, .version_max = 1, .name = "k3", .ephemeral = true, .real_ns = 0};
    m.hello.real_ns = now - 7 * MR_NS_PER_MS;
    hear(0);
    open_other(0, 5, "grid/a.mrc", true);
    ck_assert(berthing.ephemeral);
    ck_assert_int_eq(berthing.clock_offset_ms, -7);
    ck_assert_str_eq(berthing.open.path, "grid/a.mrc");
    ck_assert_uint_eq(berthing.open.movie.bytes[0], 5);
    ck_assert(berthing.open.whole);
    done();
}
END_TEST

/* ---- END ---- */

START_TEST(end_keeps_its_own_copy_of_what_it_points_to)
{
    uint8_t metadata[] = "{\"a\":1}", header[] = {1, 2, 3, 4};
    live();
    prepare(MR_END);
    m.end.generation = 1;
    m.end.extent.source_bytes = 5;
    m.end.slabs = 1;
    m.end.metadata = metadata;
    m.end.metadata_bytes = sizeof(metadata);
    m.end.source_header = header;
    m.end.source_header_bytes = sizeof(header);
    hear(0);
    memset(metadata, 0, sizeof(metadata));
    memset(header, 0, sizeof(header));
    mr_intake_durable(in, movie, 0);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_COMMIT);
    ck_assert_ptr_eq(finished.movie, movie);
    ck_assert_str_eq((const char *)finished.end->metadata, "{\"a\":1}");
    ck_assert_uint_eq(finished.end->source_header_bytes, 4);
    ck_assert_mem_eq(finished.end->source_header, ((uint8_t[]){1, 2, 3, 4}), 4);
    ck_assert_uint_eq(finished.end->extent.source_bytes, 5);
    done();
}
END_TEST

START_TEST(an_empty_blob_of_end_is_none)
{
    uint8_t nothing[1] = {0};
    live();
    prepare(MR_END);
    m.end.generation = 1;
    m.end.metadata = nothing;
    m.end.source_header = nothing;
    hear(0); /* of no byte, and no slab: it is whole */
    mr_intake_detached(in, movie);
    ck_assert_ptr_null(finished.end->metadata);
    ck_assert_ptr_null(finished.end->source_header);
    done();
}
END_TEST

static struct mr_end some_end(void)
{
    return (struct mr_end){.generation = 1,
                           .extent = {.frames = 3, .source_bytes = 2 * MR_SLAB_BYTES - 9},
                           .slabs = 2,
                           .crc_file = 17,
                           .crc_pixels = 18};
}

static void say_end(uint8_t peer, const struct mr_end *e)
{
    prepare(MR_END);
    m.end = *e;
    hear(peer);
}

START_TEST(end_may_come_again_but_not_with_other_totals)
{
    for (int i = 0; i < 6; i++) {
        struct mr_end e = some_end();
        live();
        say_end(0, &e);
        e.extent.frames += i == 1;
        e.extent.source_bytes += i == 2; /* as many slabs */
        e.crc_file += i == 3;
        e.crc_pixels += i == 4;
        e.source_mtime_ns += i == 5; /* no total: the first word counts */
        unsigned said = sends;
        say_end(0, &e);
        bool fails = i > 0 && i < 5;
        ck_assert_uint_eq(sends, said);
        ck_assert_msg(detaches == fails, "case %d", i);
        if (fails) {
            mr_intake_detached(in, movie);
            ck_assert_int_eq(finished.how, MR_FINISH_FAIL);
            ck_assert_uint_eq(finished.fail.code, MR_REASON_MISMATCH);
            ck_assert_uint_eq(finished.fail.extent.source_bytes, e.extent.source_bytes);
            ck_assert_uint_eq(finished.fail.generation, 1);
            ck_assert_ptr_nonnull(strstr(finished.fail.text, "again"));
        } else {
            mr_intake_durable(in, movie, 0);
            mr_intake_durable(in, movie, 1);
            mr_intake_detached(in, movie);
            ck_assert_int_eq(finished.how, MR_FINISH_COMMIT);
            ck_assert_int_eq(finished.end->source_mtime_ns, 0);
        }
        done();
    }
}
END_TEST

/* How many slabs END may name, by what was opened. Bytes of the last case: one slab too many. */
START_TEST(end_names_no_more_slabs_than_there_may_be)
{
    static const struct {
        bool whole, fails;
        uint64_t slabs, claimed;
    } cases[] = {{true, false, 1, 1},
                 {true, true, 2, 2},
                 {false, false, 2, 2},
                 {false, true, 2, 1},
                 {false, true, 1, 2},
                 {false, false, MR_SLABS_MAX, MR_SLABS_MAX},
                 {false, true, MR_SLABS_MAX + 1, MR_SLABS_MAX + 1}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        begin();
        hello(0, 1, 1, false);
        open_other(0, 0, "", cases[i].whole);
        mr_intake_berthed(in, movie, false, NULL, 0, now);
        end(cases[i].slabs, cases[i].claimed);
        ck_assert_msg(detaches == cases[i].fails, "case %zu", i);
        done();
    }
}
END_TEST

START_TEST(what_was_said_of_another_generation_is_not_heard)
{
    struct mr_end e = some_end();
    live();
    mr_intake_durable(in, movie, 0);
    mr_intake_durable(in, movie, 1);
    e.generation = 2;
    say_end(0, &e);
    prepare(MR_FAIL);
    m.fail.generation = 2;
    hear(0);
    ck_assert_uint_eq(detaches, 0);
    e.generation = 1;
    say_end(0, &e);
    ck_assert_uint_eq(detaches, 1);
    done();
}
END_TEST

START_TEST(what_comes_while_it_is_leaving_changes_nothing_but_abandon)
{
    struct mr_end e = some_end();
    live();
    mr_intake_durable(in, movie, 0);
    mr_intake_durable(in, movie, 1);
    say_end(0, &e);
    e.crc_file++;
    say_end(0, &e);
    prepare(MR_FAIL);
    m.fail.generation = 1;
    hear(0);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_COMMIT);
    ck_assert_uint_eq(finished.end->crc_file, 17);
    say(0, MR_ABANDON); /* too late: its verdict is on the way */
    say_end(0, &e);
    ck_assert_uint_eq(finishes, 1);
    told(0, MR_ACK);
    done();
}
END_TEST

START_TEST(abandon_overrules_what_was_to_follow)
{
    live();
    mr_intake_durable(in, movie, 0);
    end(1, 1);
    say(0, MR_ABANDON);
    ck_assert_uint_eq(detaches, 1);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_DISCARD);
    ck_assert_ptr_eq(finished.movie, movie);
    answer(MR_ABANDONED);
    told(0, MR_ABANDONED);
    done();
}
END_TEST

/* ---- FAIL, ABANDON, BYE ---- */

START_TEST(fail_hands_on_what_the_agent_said)
{
    live();
    prepare(MR_FAIL);
    m.fail = (struct mr_fail){
        .generation = 1, .extent = {.source_bytes = 77}, .text = "the disk of the camera"};
    hear(0);
    ck_assert_uint_eq(detaches, 1);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_FAIL);
    ck_assert_str_eq(finished.fail.text, "the disk of the camera");
    ck_assert_uint_eq(finished.fail.code, 0);
    ck_assert_uint_eq(finished.fail.extent.source_bytes, 77);
    ck_assert_str_eq(finished.agent, "k3");
    answer(MR_FAILED);
    told(0, MR_FAILED);
    ck_assert(mr_intake_idle(in));
    done();
}
END_TEST

START_TEST(abandon_of_what_is_not_open_is_asked_of_the_store)
{
    begin();
    hello(0, 1, 1, false);
    for (uint8_t i = 1; i <= 3; i++) {
        prepare(MR_ABANDON);
        m.abandon.movie.bytes[0] = i;
        hear(0);
        if (i == 3)
            break;
        ck_assert_uint_eq(finishes, i);
        ck_assert_int_eq(finished.how, MR_FINISH_DISCARD);
        ck_assert_ptr_null(finished.movie);
        ck_assert_uint_eq(finished.id.bytes[0], i);
        told(0, MR_WELCOME);
    }
    told_hold(0, MR_REASON_BUSY, MR_INTAKE_BUSY_MS); /* two are all that may be in flight */
    ck_assert_uint_eq(sent.hold.movie.bytes[0], 3);
    ck_assert_uint_eq(finishes, 2);
    const struct mr_message abandoned = {.type = MR_ABANDONED};
    mr_intake_finished(in, &(struct mr_ulid){{1}}, &abandoned);
    told(0, MR_ABANDONED);
    open_other(0, 3, "", false); /* there is room again */
    ck_assert_uint_eq(berths, 1);
    done();
}
END_TEST

START_TEST(end_of_a_movie_that_is_not_its_own_is_not_heard)
{
    struct mr_end e = some_end();
    live();
    hello(1, 9, 1, true);
    mr_intake_durable(in, movie, 0);
    mr_intake_durable(in, movie, 1);
    say_end(1, &e);
    e.movie.bytes[0] = 200; /* nor that of one nobody opened */
    say_end(0, &e);
    ck_assert_uint_eq(detaches, 0);
    say(1, MR_PING);
    told(1, MR_PONG); /* the session lives on */
    done();
}
END_TEST

START_TEST(bye_discards_what_a_push_leaves_and_keeps_what_an_agent_leaves)
{
    for (unsigned push = 0; push < 2; push++) {
        live_as(push == 1);
        hello_as(1, "k3", 9, 1, true); /* a bystander's movie is its own */
        open_other(1, 7, "b", false);
        say(0, MR_BYE);
        ck_assert(!is_online);
        ck_assert_uint_eq(detaches, 1);
        mr_intake_detached(in, movie);
        ck_assert_uint_eq(finishes, push);
        ck_assert_uint_eq(releases, 1 - push);
        if (push == 1)
            ck_assert_int_eq(finished.how, MR_FINISH_DISCARD);
        unsigned before = sends;
        if (push == 1)
            answer(MR_ABANDONED);
        ck_assert_uint_eq(sends, before); /* nobody is there to hear it */
        const struct mr_message no = {.type = MR_HOLD};
        mr_intake_unberthed(in, &(struct mr_ulid){{7}}, &no);
        told(1, MR_HOLD);
        ck_assert(mr_intake_idle(in));
        done();
    }
}
END_TEST

/* ---- talk ---- */

static struct mr_intake_session_view seen;

static void note(void *ctx, const struct mr_intake_session_view *v)
{
    (void)ctx;
    seen = *v;
}

START_TEST(ping_is_answered_and_both_tell_how_the_agent_fares)
{
    begin();
    hello(0, 1, 1, false);
    for (unsigned i = 0; i < 2; i++) {
        memset(&m, 0, sizeof(m));
        m.type = i == 0 ? MR_PING : MR_PONG;
        m.ping = (struct mr_ping){
            .token = 99,
            .real_ns = 1,
            .backlog = {.bytes = 10 + i, .files = 20 + i},
            .packing = {.codec = MR_CODEC_BSLZ4, .by_itself = true, .link_bytes_per_s = 30 + i}};
        now += 5;
        hear(0);
        told(0, MR_PONG);
        ck_assert_uint_eq(sends, 2);
        mr_intake_each_session(in, note, NULL);
        ck_assert_uint_eq(seen.backlog.bytes, 10 + i);
        ck_assert_uint_eq(seen.backlog.files, 20 + i);
        ck_assert_uint_eq(seen.packing.link_bytes_per_s, 30 + i);
        ck_assert(seen.packing.by_itself);
        ck_assert_int_eq(seen.packing.codec, MR_CODEC_BSLZ4);
    }
    ck_assert_uint_eq(sent.ping.token, 99);
    ck_assert_int_eq(sent.ping.real_ns, now - 5);
    done();
}
END_TEST

START_TEST(demand_of_other_lanes_than_there_are_ends_the_session)
{
    begin();
    hello(0, 1, 1, false);
    prepare(MR_DEMAND);
    m.demand.lanes = 2;
    hear(0);
    told_bye(0, MR_REASON_BAD_REQUEST);
    say(0, MR_PING);
    told_refused(0, MR_REASON_BAD_REQUEST);
    done();
}
END_TEST

START_TEST(more_credit_given_back_than_was_out_ends_the_session)
{
    begin();
    hello(0, 1, 1, false);
    prepare(MR_DEMAND);
    m.demand = (struct mr_demand){.lanes = 1, .wanted = {true}};
    hear(0);
    tick();
    told(0, MR_CREDIT);
    m.demand.returned[0] = 2 * MR_SLAB_COST_MAX; /* all of it: fair */
    m.demand.wanted[0] = false;
    m.type = MR_DEMAND;
    hear(0);
    told(0, MR_CREDIT);
    m.demand.returned[0]++;
    hear(0);
    told_bye(0, MR_REASON_BAD_REQUEST);
    done();
}
END_TEST

START_TEST(a_message_of_another_session_is_dropped)
{
    begin();
    hello(0, 1, 1, false);
    unsigned before = sends;
    token[0]++;
    say(0, MR_PING);
    ck_assert_uint_eq(sends, before);
    token[0]--;
    sequence[0] = 1; /* it did not count */
    hello_as(1, "other", 1, 1, false);
    uint64_t mine = token[0];
    token[0] = token[1]; /* that of somebody else */
    say(0, MR_PING);
    told(1, MR_WELCOME);
    token[0] = mine;
    sequence[0] = 1;
    say(0, MR_PING);
    told(0, MR_PONG);
    done();
}
END_TEST

START_TEST(a_message_lost_or_said_twice_ends_the_session)
{
    for (uint32_t next = 1; next <= 4; next++) { /* 2 is due, after HELLO */
        begin();
        hello(0, 1, 1, false);
        sequence[0] = next - 1;
        say(0, MR_PING);
        if (next == 2)
            told(0, MR_PONG);
        else
            told_bye(0, MR_REASON_BAD_REQUEST);
        done();
    }
}
END_TEST

START_TEST(garbage_ends_the_session_it_came_in)
{
    const struct mr_route mine = {.bytes = {0}, .size = 1}, longer = {.bytes = {0, 0}, .size = 2};
    begin();
    hello(0, 1, 1, false);
    mr_intake_garbage(in, &longer, "noise");
    told(0, MR_REFUSED); /* another peer, whatever it is called */
    mr_intake_garbage(in, &mine, "more noise");
    told_bye(0, MR_REASON_BAD_REQUEST);
    ck_assert_str_eq(sent.bye.text, "more noise");
    ck_assert(!is_online);
    mr_intake_garbage(in, &mine, "noise");
    told_refused(0, MR_REASON_BAD_REQUEST);
    done();
}
END_TEST

START_TEST(as_many_movies_as_may_be_and_no_more)
{
    begin_with(3);
    hello(0, 1, 1, false);
    for (uint8_t i = 1; i <= 4; i++) {
        open_other(0, i, "", false);
        ck_assert_uint_eq(berths, i < 3 ? i : 3);
    }
    told_hold(0, MR_REASON_BUSY, MR_INTAKE_BUSY_MS);
    ck_assert_uint_eq(sent.hold.movie.bytes[0], 4);
    done();
}
END_TEST

MR_SUITE("intake_hear", T(a_movie_being_berthed_answers_the_session_that_asks_again),
         T(a_movie_being_finished_answers_the_session_that_asks_again),
         T(a_movie_in_somebodys_hands_is_busy), T(berth_is_told_who_asks_and_what_for),
         T(end_keeps_its_own_copy_of_what_it_points_to), T(an_empty_blob_of_end_is_none),
         T(end_may_come_again_but_not_with_other_totals),
         T(end_names_no_more_slabs_than_there_may_be),
         T(what_was_said_of_another_generation_is_not_heard),
         T(what_comes_while_it_is_leaving_changes_nothing_but_abandon),
         T(abandon_overrules_what_was_to_follow), T(fail_hands_on_what_the_agent_said),
         T(abandon_of_what_is_not_open_is_asked_of_the_store),
         T(end_of_a_movie_that_is_not_its_own_is_not_heard),
         T(bye_discards_what_a_push_leaves_and_keeps_what_an_agent_leaves),
         T(ping_is_answered_and_both_tell_how_the_agent_fares),
         T(demand_of_other_lanes_than_there_are_ends_the_session),
         T(more_credit_given_back_than_was_out_ends_the_session),
         T(a_message_of_another_session_is_dropped),
         T(a_message_lost_or_said_twice_ends_the_session), T(garbage_ends_the_session_it_came_in),
         T(as_many_movies_as_may_be_and_no_more))
