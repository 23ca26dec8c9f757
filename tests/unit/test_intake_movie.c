/* SPDX-License-Identifier: Apache-2.0 */
/* Is an agent told of each durable slab once, and does a movie leave as what happened to it says?
 */
#include "dice.h"
#include "intake_rig.h"

static void told_ranges(const struct mr_range *want, uint32_t count)
{
    ck_assert_uint_eq(sent.type == MR_ACK ? sent.ack.range_count : sent.opened.range_count, count);
    for (uint32_t i = 0; i < count; i++) {
        ck_assert_uint_eq(sent_ranges[i].first, want[i].first);
        ck_assert_uint_eq(sent_ranges[i].count, want[i].count);
    }
}

/* ---- acks ---- */

START_TEST(neighbours_are_acked_together_and_each_once)
{
    static const uint64_t slabs[] = {4, 5, 6, 9, 11, 10, 12, 3};
    static const struct mr_range want[] = {{4, 3}, {9, 1}, {11, 1}, {10, 1}, {12, 1}, {3, 1}};
    live();
    for (size_t i = 0; i < sizeof(slabs) / sizeof(slabs[0]); i++)
        ck_assert(mr_intake_durable(in, movie, slabs[i]));
    tick();
    told(0, MR_ACK);
    ck_assert_uint_eq(sent.ack.generation, 1);
    ck_assert(mr_ulid_equal(&sent.ack.movie, &movie->id));
    told_ranges(want, 6);
    unsigned before = sends;
    tick();
    ck_assert_uint_eq(sends, before);
    mr_intake_durable(in, movie, 20); /* what was said is not said again */
    tick();
    told_ranges((const struct mr_range[]){{20, 1}}, 1);
    ck_assert_uint_eq(acks, 2);
    done();
}
END_TEST

/* 512 ranges go into one ACK; each slab here is a range of its own. */
START_TEST(more_ranges_than_an_ack_takes_are_said_in_two)
{
    static const unsigned counts[] = {511, 512, 513, 1025};
    for (size_t i = 0; i < 4; i++) {
        live();
        for (uint64_t slab = 0; slab < counts[i]; slab++)
            mr_intake_durable(in, movie, 2 * slab);
        tick();
        ck_assert_uint_eq(acks, (counts[i] + 511) / 512);
        uint32_t last = counts[i] % 512 == 0 ? 512 : counts[i] % 512;
        ck_assert_uint_eq(sent.ack.range_count, last);
        ck_assert_uint_eq(sent_ranges[last - 1].first, 2 * (counts[i] - 1));
        done();
    }
}
END_TEST

START_TEST(a_slab_that_comes_again_is_acked_again)
{
    live();
    ck_assert(mr_intake_durable(in, movie, 3));
    tick();
    ck_assert(!mr_intake_durable(in, movie, 3)); /* the ACK may have been lost on its agent */
    tick();
    ck_assert_uint_eq(acks, 2);
    told_ranges((const struct mr_range[]){{3, 1}}, 1);
    done();
}
END_TEST

START_TEST(acks_go_before_the_verdict)
{
    live();
    mr_intake_durable(in, movie, 0);
    mr_intake_durable(in, movie, 1);
    end(2, 2);
    ck_assert_uint_eq(acks, 0);
    mr_intake_detached(in, movie);
    told(0, MR_ACK);
    told_ranges((const struct mr_range[]){{0, 2}}, 1);
    ck_assert_uint_eq(finishes, 1);
    answer(MR_COMMITTED);
    tick();
    told(0, MR_COMMITTED);
    done();
}
END_TEST

START_TEST(nobody_is_acked_when_its_session_is_over)
{
    live();
    mr_intake_durable(in, movie, 0);
    end(1, 1);
    say(0, MR_BYE);
    unsigned before = sends;
    tick();
    mr_intake_detached(in, movie);
    ck_assert_uint_eq(sends, before);
    ck_assert_int_eq(finished.how, MR_FINISH_COMMIT); /* it was whole before */
    done();
}
END_TEST

/* ---- the durable set ---- */

START_TEST(opened_tells_what_was_durable_before_and_it_counts)
{
    static const struct mr_range had[] = {{0, 3}, {7, 2}, {1000, 1}};
    struct mr_intake_movie_view view;
    begin();
    hello(0, 1, 1, false);
    open_movie(0);
    movie->generation = 4;
    mr_intake_berthed(in, movie, true, had, 3, now);
    told(0, MR_OPENED);
    ck_assert(sent.opened.resumed);
    ck_assert_uint_eq(sent.opened.generation, 4);
    told_ranges(had, 3);
    ck_assert(mr_intake_view(in, &movie->id, &view));
    ck_assert_uint_eq(view.durable, 6);
    ck_assert(!mr_intake_durable(in, movie, 8));
    ck_assert(mr_intake_durable(in, movie, 3));
    tick();
    ck_assert_uint_eq(sent.ack.generation, 4);
    done();
}
END_TEST

START_TEST(more_ranges_than_opened_takes_are_left_out)
{
    static struct mr_range had[MR_RANGES_MAX + 1];
    struct mr_intake_movie_view view;
    for (uint64_t i = 0; i <= MR_RANGES_MAX; i++)
        had[i] = (struct mr_range){.first = 2 * i, .count = 1};
    for (size_t count = MR_RANGES_MAX - 1; count <= MR_RANGES_MAX + 1; count++) {
        begin();
        hello(0, 1, 1, false);
        open_movie(0);
        mr_intake_berthed(in, movie, true, had, count, now);
        size_t want = count < MR_RANGES_MAX ? count : MR_RANGES_MAX;
        ck_assert_uint_eq(sent.opened.range_count, want);
        ck_assert_uint_eq(sent_ranges[want - 1].first, 2 * (want - 1));
        ck_assert(mr_intake_view(in, &movie->id, &view));
        ck_assert_uint_eq(view.durable, count);
        done();
    }
}
END_TEST

/* Every count of slabs around the bitmap's bytes; each of them missing in turn. */
START_TEST(a_movie_is_whole_with_its_last_slab_whichever_it_is)
{
    for (uint64_t count = 1; count <= 18; count++)
        for (uint64_t missing = 0; missing < count; missing++) {
            live();
            end(count, count);
            for (uint64_t slab = 0; slab < count + 2; slab++)
                if (slab != missing)
                    mr_intake_durable(in, movie, slab);
            ck_assert_uint_eq(detaches, 0);
            mr_intake_durable(in, movie, missing);
            ck_assert_uint_eq(detaches, 1);
            done();
        }
}
END_TEST

START_TEST(a_movie_of_no_slab_is_whole_at_once)
{
    live();
    end(0, 0);
    ck_assert_uint_eq(detaches, 1);
    done();
}
END_TEST

START_TEST(slabs_past_the_limit_are_not_counted)
{
    struct mr_intake_movie_view view;
    live();
    ck_assert(mr_intake_durable(in, movie, MR_SLABS_MAX - 1));
    mr_intake_durable(in, movie, MR_SLABS_MAX);
    ck_assert(mr_intake_view(in, &movie->id, &view));
    ck_assert_uint_eq(view.durable, 1);
    done();
}
END_TEST

/* The set against a plain one, in an order that lets it grow by leaps. */
START_TEST(the_durable_set_is_what_was_put_into_it)
{
    enum { SLABS = 4096, STEPS = 6000 };
    static bool has[SLABS];
    struct mr_intake_movie_view view;
    uint64_t count = 0;
    memset(has, 0, sizeof(has));
    live();
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t slab = dice(1 + i * SLABS / STEPS);
        ck_assert_msg(mr_intake_durable(in, movie, slab) == !has[slab], "step %u", i);
        count += !has[slab];
        has[slab] = true;
    }
    ck_assert(mr_intake_view(in, &movie->id, &view));
    ck_assert_uint_eq(view.durable, count);
    done();
}
END_TEST

/* ---- news of what is not there any more ---- */

START_TEST(news_of_a_movie_that_was_opened_anew_is_not_taken)
{
    struct mr_intake_movie_view view;
    live();
    struct mr_movie *older = mr_movie_new(); /* same id */
    ck_assert(mr_intake_durable(in, older, 5));
    mr_intake_aboard(in, older, 6);
    mr_intake_misfit(in, older, 7);
    mr_intake_no_quota(in, older, "quota");
    mr_intake_stuck(in, older, true, MR_REASON_IO, "disk");
    tick();
    told(0, MR_OPENED);
    ck_assert(mr_intake_view(in, &movie->id, &view));
    ck_assert_uint_eq(view.durable, 0);
    ck_assert_str_eq(view.state, "receiving");
    older->id.bytes[0] = 77; /* nor of one nobody knows */
    ck_assert(mr_intake_durable(in, older, 5));
    mr_intake_aboard(in, older, 6);
    mr_intake_damaged(in, older, 6);
    mr_intake_misfit(in, older, 7);
    mr_intake_no_quota(in, older, "quota");
    mr_intake_stuck(in, older, true, MR_REASON_IO, "disk");
    ck_assert_uint_eq(detaches, 0);
    mr_movie_release(older);
    done();
}
END_TEST

START_TEST(a_damaged_slab_is_asked_for_again_while_it_matters)
{
    live();
    movie->generation = 1;
    mr_intake_damaged(in, movie, 41);
    told(0, MR_RESEND);
    ck_assert_uint_eq(sent.resend.slab, 41);
    ck_assert_uint_eq(sent.resend.generation, 1);
    ck_assert(mr_ulid_equal(&sent.resend.movie, &movie->id));
    say(0, MR_ABANDON);
    unsigned before = sends;
    mr_intake_damaged(in, movie, 42); /* it is leaving */
    ck_assert_uint_eq(sends, before);
    done();
}
END_TEST

START_TEST(a_lane_that_lost_something_ends_the_session)
{
    begin();
    hello(0, 1, 1, false);
    mr_intake_lane_gap(in, token[0] + 1, 0);
    told(0, MR_WELCOME);
    mr_intake_lane_gap(in, token[0], 3);
    told_bye(0, MR_REASON_BAD_REQUEST);
    ck_assert_ptr_nonnull(strstr(sent.bye.text, "lane 3"));
    done();
}
END_TEST

/* ---- how it leaves ---- */

START_TEST(a_misfit_fails_the_movie_and_says_which_slab)
{
    live();
    mr_intake_misfit(in, movie, 12);
    mr_intake_misfit(in, movie, 13);
    ck_assert_uint_eq(detaches, 1);
    mr_intake_detached(in, movie);
    ck_assert_int_eq(finished.how, MR_FINISH_FAIL);
    ck_assert_uint_eq(finished.fail.code, MR_REASON_MISMATCH);
    ck_assert_ptr_nonnull(strstr(finished.fail.text, "slab 12 "));
    done();
}
END_TEST

START_TEST(the_first_trouble_is_told_and_distrust_sticks)
{
    live();
    mr_intake_stuck(in, movie, false, MR_REASON_NO_SPACE, "first");
    mr_intake_stuck(in, movie, true, MR_REASON_IO, "second");
    mr_intake_stuck(in, movie, false, MR_REASON_READ_ONLY, "third");
    ck_assert_uint_eq(detaches, 1);
    mr_intake_detached(in, movie);
    ck_assert(release_tainted);
    told_hold(0, MR_REASON_NO_SPACE, MR_INTAKE_HOLD_MS);
    ck_assert_str_eq(sent.hold.text, "first");
    ck_assert(mr_ulid_equal(&sent.hold.movie, &movie->id));
    done();
}
END_TEST

START_TEST(trouble_that_is_no_distrust_keeps_what_landed)
{
    live();
    mr_intake_stuck(in, movie, false, MR_REASON_NO_SPACE, "full");
    mr_intake_detached(in, movie);
    ck_assert(!release_tainted);
    ck_assert(mr_intake_idle(in));
    done();
}
END_TEST

/* What was to follow, and trouble on the way: what then follows. */
START_TEST(trouble_while_leaving_keeps_a_movie_from_its_commit_only)
{
    static const enum mr_finish after[] = {MR_FINISH_RELEASE, MR_FINISH_FAIL, MR_FINISH_DISCARD};
    for (unsigned i = 0; i < 3; i++) {
        live();
        mr_intake_durable(in, movie, 0);
        if (i == 0)
            end(1, 1);
        else if (i == 1)
            end(1, 2);
        else
            say(0, MR_ABANDON);
        ck_assert_uint_eq(detaches, 1);
        mr_intake_stuck(in, movie, false, MR_REASON_IO, "disk");
        mr_intake_detached(in, movie);
        ck_assert_uint_eq(releases, after[i] == MR_FINISH_RELEASE);
        ck_assert_uint_eq(finishes, after[i] != MR_FINISH_RELEASE);
        if (after[i] == MR_FINISH_RELEASE)
            told_hold(0, MR_REASON_IO, MR_INTAKE_HOLD_MS);
        else
            ck_assert_int_eq(finished.how, after[i]);
        done();
    }
}
END_TEST

START_TEST(a_movie_whose_session_ended_is_let_go_of_in_silence)
{
    live();
    say(0, MR_BYE);
    unsigned before = sends;
    mr_intake_stuck(in, movie, true, MR_REASON_IO, "disk");
    mr_intake_detached(in, movie);
    ck_assert_uint_eq(sends, before);
    ck_assert_uint_eq(releases, 1);
    ck_assert(release_tainted);
    done();
}
END_TEST

START_TEST(no_berth_is_told_to_who_asked_if_it_is_there)
{
    struct mr_message no = {.type = MR_HOLD, .hold.code = MR_REASON_NO_SPACE};
    begin();
    hello(0, 1, 1, false);
    open_movie(0);
    mr_intake_unberthed(in, &movie->id, &no);
    told(0, MR_HOLD);
    ck_assert_uint_eq(sent.hold.code, MR_REASON_NO_SPACE);
    ck_assert(mr_intake_idle(in));
    open_movie(0);
    say(0, MR_BYE);
    unsigned before = sends;
    mr_intake_unberthed(in, &movie->id, &no);
    ck_assert_uint_eq(sends, before);
    ck_assert(mr_intake_idle(in));
    done();
}
END_TEST

START_TEST(a_berth_for_nobody_is_given_back)
{
    for (unsigned stops = 0; stops < 2; stops++) {
        begin();
        hello(0, 1, 1, false);
        open_movie(0);
        if (stops == 1)
            mr_intake_stop(in);
        else
            say(0, MR_BYE);
        mr_intake_berthed(in, movie, false, NULL, 0, now);
        ck_assert_uint_eq(attaches, 0);
        ck_assert_uint_eq(releases, 1);
        ck_assert(!release_tainted);
        ck_assert(mr_intake_idle(in));
        done();
    }
}
END_TEST

/* ---- views ---- */

static struct mr_intake_movie_view seen[8];
static size_t seen_count;

static void note(void *ctx, const struct mr_intake_movie_view *v)
{
    ck_assert_ptr_eq(ctx, &seen_count);
    seen[seen_count++] = *v;
}

static void is_seen(const char *state, uint64_t durable, uint64_t slabs, bool movie_is_there)
{
    struct mr_intake_movie_view v;
    ck_assert(mr_intake_view(in, &movie->id, &v));
    ck_assert_str_eq(v.state, state);
    ck_assert_uint_eq(v.durable, durable);
    ck_assert_uint_eq(v.slabs, slabs);
    ck_assert((v.movie == movie) == movie_is_there);
    ck_assert_str_eq(v.agent, "k3");
    seen_count = 0;
    mr_intake_each_movie(in, note, &seen_count);
    ck_assert_uint_eq(seen_count, 1);
    ck_assert_str_eq(seen[0].state, state);
    ck_assert_ptr_eq(seen[0].open, v.open);
}

START_TEST(a_movie_is_seen_from_open_to_its_verdict)
{
    struct mr_intake_movie_view v;
    begin();
    hello(0, 1, 1, false);
    now += 3;
    open_movie(0);
    ck_assert(mr_intake_view(in, &movie->id, &v));
    ck_assert_int_eq(v.opened_ns, now);
    is_seen("berthing", 0, 0, false);
    now += 3;
    mr_intake_berthed(in, movie, false, NULL, 0, now);
    mr_intake_durable(in, movie, 1);
    is_seen("receiving", 1, 0, true);
    end(2, 2);
    is_seen("receiving", 1, 2, true);
    mr_intake_durable(in, movie, 0);
    is_seen("draining", 2, 2, true);
    mr_intake_detached(in, movie);
    is_seen("sealing", 2, 2, false);
    answer(MR_COMMITTED);
    ck_assert(!mr_intake_view(in, &movie->id, &v));
    ck_assert(mr_intake_idle(in));
    done();
}
END_TEST

START_TEST(a_small_movie_shows_nothing_durable_before_its_commit)
{
    begin();
    movie->small = true;
    hello(0, 1, 1, false);
    open_movie(0);
    mr_intake_berthed(in, movie, false, NULL, 0, now);
    mr_intake_aboard(in, movie, 0);
    is_seen("receiving", 0, 0, true);
    done();
}
END_TEST

/* Ids that share a bucket, or do not; entered and forgotten in every order of three. */
START_TEST(each_movie_is_found_and_forgotten_by_its_own_id)
{
    static const uint8_t orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    const struct mr_message no = {.type = MR_HOLD};
    struct mr_intake_movie_view v;
    struct mr_ulid ids[3] = {{{1}}};
    for (uint32_t next = 0, same = 1; same < 3; next++) { /* two more of the first one's bucket */
        struct mr_ulid id = {{2}};
        memcpy(id.bytes + 8, &next, sizeof(next));
        if (mr_ulid_hash(&id) % MR_MOVIES_MAX == mr_ulid_hash(&ids[0]) % MR_MOVIES_MAX)
            ids[same++] = id;
    }
    for (size_t i = 0; i < 6; i++) {
        begin_with(3);
        hello(0, 1, 1, false);
        for (size_t k = 0; k < 3; k++) {
            prepare(MR_OPEN);
            m.open = (struct mr_open){.movie = ids[k], .revision = (uint32_t)k + 1};
            mr_geometry_opaque(&m.open.geometry);
            hear(0);
        }
        for (size_t k = 0; k < 3; k++) {
            seen_count = 0;
            mr_intake_each_movie(in, note, &seen_count);
            ck_assert_uint_eq(seen_count, 3 - k);
            for (size_t left = k; left < 3; left++) {
                ck_assert(mr_intake_view(in, &ids[orders[i][left]], &v));
                ck_assert_uint_eq(v.open->revision, orders[i][left] + 1u);
            }
            mr_intake_unberthed(in, &ids[orders[i][k]], &no);
            ck_assert(!mr_intake_view(in, &ids[orders[i][k]], &v));
        }
        ck_assert(mr_intake_idle(in));
        done();
    }
}
END_TEST

MR_SUITE("intake_movie", T(neighbours_are_acked_together_and_each_once),
         T(more_ranges_than_an_ack_takes_are_said_in_two),
         T(a_slab_that_comes_again_is_acked_again), T(acks_go_before_the_verdict),
         T(nobody_is_acked_when_its_session_is_over),
         T(opened_tells_what_was_durable_before_and_it_counts),
         T(more_ranges_than_opened_takes_are_left_out),
         T(a_movie_is_whole_with_its_last_slab_whichever_it_is),
         T(a_movie_of_no_slab_is_whole_at_once), T(slabs_past_the_limit_are_not_counted),
         T(the_durable_set_is_what_was_put_into_it),
         T(news_of_a_movie_that_was_opened_anew_is_not_taken),
         T(a_damaged_slab_is_asked_for_again_while_it_matters),
         T(a_lane_that_lost_something_ends_the_session),
         T(a_misfit_fails_the_movie_and_says_which_slab),
         T(the_first_trouble_is_told_and_distrust_sticks),
         T(trouble_that_is_no_distrust_keeps_what_landed),
         T(trouble_while_leaving_keeps_a_movie_from_its_commit_only),
         T(a_movie_whose_session_ended_is_let_go_of_in_silence),
         T(no_berth_is_told_to_who_asked_if_it_is_there), T(a_berth_for_nobody_is_given_back),
         T(a_movie_is_seen_from_open_to_its_verdict),
         T(a_small_movie_shows_nothing_durable_before_its_commit),
         T(each_movie_is_found_and_forgotten_by_its_own_id))
