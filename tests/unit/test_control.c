/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does what an agent says become the right job of the right stage, and what a stage answers a
 * message to the right agent? The agent is a real socket; lanes, berth and seal are this test.
 */
#include "control_rig.h"

START_TEST(welcome_names_the_ports_that_the_lanes_have)
{
    start(false, 0);
    meet();
    ck_assert_uint_eq(heard.welcome.lanes, LANES);
    for (size_t i = 0; i < LANES; i++)
        ck_assert_uint_eq(heard.welcome.ports[i], mr_lane_port(lanes[i]));
    struct mr_message bye = {.type = MR_BYE};
    say(&bye);
    event_is("millrace.agent.offline.v1", "k3");
    end();
}
END_TEST

START_TEST(a_movie_goes_from_stage_to_stage)
{
    live();
    tell((struct mr_lane_news){.kind = MR_LANE_DURABLE, .slab = 0});
    hear(MR_ACK);
    struct mr_message m = {.type = MR_END,
                           .end = {.movie = movie->id,
                                   .generation = 1,
                                   .extent.source_bytes = MR_SLAB_BYTES + 1,
                                   .slabs = 2,
                                   .complete_by = "close"}};
    say(&m);
    nothing_said();
    tell((struct mr_lane_news){.kind = MR_LANE_DURABLE, .slab = 1, .lane = 1});
    (void)command_of(0, MR_LANE_DETACH);
    (void)command_of(1, MR_LANE_DETACH);
    tell((struct mr_lane_news){.kind = MR_LANE_DETACHED, .lane = 1});
    hear(MR_ACK);
    nothing_said();
    ck_assert_uint_eq(mr_queue_count(config.seal_jobs), 0); /* a lane still holds it */
    tell((struct mr_lane_news){.kind = MR_LANE_DETACHED, .lane = 0});
    struct mr_seal_job job = seal_job(MR_SEAL_COMMIT);
    ck_assert_ptr_eq(job.movie, movie);
    ck_assert_str_eq(job.agent, "k3");
    ck_assert_uint_eq(job.end->slabs, 2);
    ck_assert(mr_ulid_equal(&job.id, &movie->id));
    struct mr_seal_answer a = {.id = movie->id, .message = calloc(1, sizeof(*a.message))};
    a.message->type = MR_COMMITTED;
    a.message->committed =
        (struct mr_committed){.movie = movie->id, .revision = 1, .sequence = 12, .path = "/x"};
    ck_assert_int_eq(mr_queue_push(config.seal_answers, &a), 0);
    hear(MR_COMMITTED);
    ck_assert_uint_eq(heard.committed.sequence, 12);
    end();
}
END_TEST

START_TEST(only_a_movie_that_begins_is_announced)
{
    for (int i = 0; i < 4; i++) {
        start(false, 0);
        meet();
        open_movie(i % 2 == 0 ? MR_KIND_MOVIE : MR_KIND_FILE);
        answer_berth(i >= 2);
        hear(MR_OPENED);
        ck_assert(heard.opened.resumed == (i >= 2));
        ck_assert_uint_eq(heard.opened.range_count, i >= 2);
        if (i == 0)
            event_is("millrace.movie.started.v1", "grid7/a.mrc");
        nothing_said();
        ck_assert_uint_eq(mr_queue_count(config.seal_jobs), 0);
        mr_control_stop(control);
        for (size_t k = 0; k < LANES; k++)
            (void)command_of(k, MR_LANE_ATTACH);
        leave();
        end();
    }
}
END_TEST

START_TEST(a_small_movie_is_lane_0s_alone)
{
    start(false, 0);
    meet();
    open_movie(MR_KIND_FILE);
    movie->small = true;
    answer_berth(false);
    hear(MR_OPENED);
    (void)command_of(0, MR_LANE_ATTACH);
    struct mr_message m = {.type = MR_END,
                           .end = {.movie = movie->id,
                                   .generation = 1,
                                   .extent.source_bytes = 10,
                                   .slabs = 1,
                                   .complete_by = "push"}};
    say(&m);
    nothing_said();
    tell((struct mr_lane_news){.kind = MR_LANE_ABOARD, .slab = 0});
    (void)command_of(0, MR_LANE_DETACH);
    tell((struct mr_lane_news){.kind = MR_LANE_DETACHED});
    (void)seal_job(MR_SEAL_COMMIT);
    ck_assert_uint_eq(mr_queue_count(mr_lane_commands(lanes[1])), 0);
    struct mr_seal_answer a = {.id = movie->id, .message = calloc(1, sizeof(*a.message))};
    a.message->type = MR_HOLD;
    a.message->hold = (struct mr_hold){.movie = movie->id, .code = MR_REASON_IO};
    ck_assert_int_eq(mr_queue_push(config.seal_answers, &a), 0);
    hear(MR_HOLD);
    end();
}
END_TEST

START_TEST(no_berth_is_told_as_berth_says_it)
{
    start(false, 0);
    meet();
    open_movie(MR_KIND_FILE);
    struct mr_berth_answer a = {.id = movie->id, .message = calloc(1, sizeof(*a.message))};
    a.message->type = MR_FAILED;
    a.message->failed = (struct mr_failed){.movie = movie->id, .code = MR_REASON_UNSUPPORTED};
    ck_assert_int_eq(mr_queue_push(config.berth_answers, &a), 0);
    hear(MR_FAILED);
    ck_assert_uint_eq(heard.failed.code, MR_REASON_UNSUPPORTED);
    end();
}
END_TEST

/* What a lane could not do; what becomes of the movie. */
START_TEST(a_stuck_movie_is_held_or_failed_by_what_went_wrong)
{
    static const struct {
        int code;
        enum mr_landing_failure failure;
        bool fails, distrusted;
        uint16_t reason;
    } cases[] = {{-ENOSPC, MR_LANDING_WRITE, false, false, MR_REASON_NO_SPACE},
                 {-EROFS, MR_LANDING_WRITE, false, false, MR_REASON_READ_ONLY},
                 {-EIO, MR_LANDING_FSYNC, false, true, MR_REASON_IO},
                 {-ENOSPC, MR_LANDING_JOURNAL, false, true, MR_REASON_NO_SPACE},
                 {-EDQUOT, MR_LANDING_WRITE, true, false, MR_REASON_PERMISSION},
                 {-EDQUOT, MR_LANDING_FSYNC, false, true, 0}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        live();
        tell((struct mr_lane_news){.kind = MR_LANE_STUCK,
                                   .code = cases[i].code,
                                   .failure = cases[i].failure,
                                   .text = "a.part: so it is"});
        leave();
        if (cases[i].fails) {
            struct mr_seal_job job = seal_job(MR_SEAL_FAIL);
            ck_assert_uint_eq(job.fail->code, cases[i].reason);
            ck_assert_str_eq(job.fail->text, "a.part: so it is");
            struct mr_seal_answer a = {.id = movie->id, .message = calloc(1, sizeof(*a.message))};
            a.message->type = MR_FAILED;
            ck_assert_int_eq(mr_queue_push(config.seal_answers, &a), 0);
            hear(MR_FAILED);
        } else {
            struct mr_berth_job job = berth_job(MR_BERTH_RELEASE);
            ck_assert_ptr_eq(job.movie, movie);
            ck_assert_msg(job.distrusted == cases[i].distrusted, "case %zu", i);
            hear(MR_HOLD);
            ck_assert_str_eq(heard.hold.text, "a.part: so it is");
            if (cases[i].reason != 0)
                ck_assert_uint_eq(heard.hold.code, cases[i].reason);
        }
        end();
    }
}
END_TEST

START_TEST(damage_misfit_and_gap_are_told_to_who_sent_them)
{
    live();
    tell((struct mr_lane_news){.kind = MR_LANE_DAMAGED, .slab = 6});
    hear(MR_RESEND);
    ck_assert_uint_eq(heard.resend.slab, 6);
    tell((struct mr_lane_news){.kind = MR_LANE_MISFIT, .slab = 8});
    leave();
    struct mr_seal_job job = seal_job(MR_SEAL_FAIL);
    ck_assert_uint_eq(job.fail->code, MR_REASON_MISMATCH);
    struct mr_seal_answer a = {.id = movie->id, .message = calloc(1, sizeof(*a.message))};
    a.message->type = MR_FAILED;
    ck_assert_int_eq(mr_queue_push(config.seal_answers, &a), 0);
    hear(MR_FAILED);
    tell((struct mr_lane_news){.kind = MR_LANE_GAP, .session = token + 1});
    nothing_said();
    tell((struct mr_lane_news){.kind = MR_LANE_GAP, .session = token, .lane = 1});
    hear(MR_BYE);
    ck_assert_ptr_nonnull(strstr(heard.bye.text, "lane 1"));
    end();
}
END_TEST

START_TEST(used_credit_is_granted_anew)
{
    live();
    struct mr_message m = {.type = MR_DEMAND, .demand = {.lanes = LANES, .wanted = {false, true}}};
    say(&m);
    hear(MR_CREDIT);
    ck_assert_uint_eq(heard.credit.granted[1], 2 * MR_SLAB_COST_MAX);
    tell((struct mr_lane_news){
        .kind = MR_LANE_USED, .session = token, .lane = 1, .bytes = MR_SLAB_COST_MAX});
    hear(MR_CREDIT);
    ck_assert_uint_eq(heard.credit.granted[0], 0);
    ck_assert_uint_eq(heard.credit.granted[1], 3 * MR_SLAB_COST_MAX);
    mr_control_stop(control);
    leave();
    end();
}
END_TEST

START_TEST(a_broken_lane_is_the_servers_end)
{
    start(false, 0);
    tell((struct mr_lane_news){.kind = MR_LANE_BROKEN, .code = -EIO});
    UNTIL(fatals == 1, usleep(1000));
    end();
}
END_TEST

START_TEST(abandon_of_a_movie_of_before_is_a_job_without_one)
{
    start(false, 0);
    meet();
    struct mr_message m = {.type = MR_ABANDON, .abandon.movie = movie->id};
    say(&m);
    struct mr_seal_job job = seal_job(MR_SEAL_DISCARD);
    ck_assert_ptr_null(job.movie);
    ck_assert(mr_ulid_equal(&job.id, &movie->id));
    ck_assert_str_eq(job.agent, "k3");
    struct mr_seal_answer a = {.id = movie->id, .message = calloc(1, sizeof(*a.message))};
    a.message->type = MR_ABANDONED;
    a.message->abandon.movie = movie->id;
    ck_assert_int_eq(mr_queue_push(config.seal_answers, &a), 0);
    hear(MR_ABANDONED);
    end();
}
END_TEST

START_TEST(confirm_waits_behind_movies_and_not_for_ever)
{
    struct mr_message m = {.type = MR_CONFIRM};
    start(false, 0);
    meet();
    m.confirm.movie = movie->id;
    m.confirm.revision = 3;
    say(&m);
    struct mr_berth_job job = berth_job(MR_BERTH_CONFIRM);
    ck_assert_uint_eq(job.session, token);
    ck_assert_uint_eq(job.confirm.revision, 3);
    struct mr_berth_answer a = {.session = job.session, .message = calloc(1, sizeof(*a.message))};
    a.message->type = MR_CONFIRMED;
    a.message->confirmed =
        (struct mr_confirmed){.movie = movie->id, .revision = 3, .standing = MR_STANDING_UNKNOWN};
    ck_assert_int_eq(mr_queue_push(config.berth_answers, &a), 0);
    hear(MR_CONFIRMED);
    for (size_t i = 0; i < MR_CONTROL_CONFIRMS + 3; i++)
        say(&m);
    nothing_said();
    ck_assert_uint_eq(mr_queue_count(config.berth_jobs), MR_CONTROL_CONFIRMS);
    end();
}
END_TEST

START_TEST(what_is_no_message_ends_the_session)
{
    start(false, 0);
    ck_assert_int_eq(mr_peer_send(peer, "GET /", 5), 0);
    hear(MR_REFUSED);
    meet();
    ck_assert_int_eq(mr_peer_send(peer, "GET /", 5), 0);
    hear(MR_BYE);
    end();
}
END_TEST

/* ---- room ---- */

START_TEST(a_full_store_grants_nothing_and_each_change_is_logged_once)
{
    struct mr_message m = {.type = MR_DEMAND, .demand = {.lanes = LANES, .wanted = {true}}};
    start(false, 1000); /* 100 of 1000 */
    meet();
    left = 50;
    mr_space_look(space);
    event_is("millrace.store.full.v1", "50");
    say(&m);
    nothing_said();
    left = FREE;
    mr_space_look(space);
    event_is("millrace.store.space.v1", "500");
    hear(MR_CREDIT);
    nothing_said();
    ck_assert_uint_eq(mr_queue_count(config.seal_jobs), 0);
    end();
}
END_TEST

START_TEST(room_that_came_while_no_server_ran_is_logged)
{
    start(true, 1000);
    event_is("millrace.store.space.v1", "500");
    meet();
    nothing_said();
    ck_assert_uint_eq(mr_queue_count(config.seal_jobs), 0);
    end();
}
END_TEST

/* ---- what is to be seen ---- */

static bool status_has(const char *word)
{
    char *text = mr_control_status(control);
    bool has = strstr(text, word) != NULL;
    free(text);
    return has;
}

START_TEST(status_and_metrics_follow)
{
    live();
    ck_assert(!status_has("no such word"));
    struct mr_message m = {
        .type = MR_PING,
        .ping = {.backlog = {.bytes = 4096, .files = 2}, .packing = {.codec = MR_CODEC_BSLZ4}}};
    say(&m);
    hear(MR_PONG);
    tell((struct mr_lane_news){.kind = MR_LANE_DURABLE, .slab = 0});
    tell((struct mr_lane_news){.kind = MR_LANE_DURABLE, .slab = 0}); /* again */
    UNTIL(status_has("\"duplicate_slabs\":1"), usleep(1000));
    ck_assert(status_has("\"agent\":\"k3\""));
    ck_assert(status_has("\"backlog_bytes\":4096"));
    ck_assert(status_has("\"durable_slabs\":1"));
    ck_assert(status_has("\"state\":\"receiving\""));
    char *text = metrics();
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_duplicate_slabs_total 1\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_agents_backlog_bytes 4096\n"));
    ck_assert_ptr_nonnull(strstr(text, "\nmillrace_agents_compressing 1\n"));
    free(text);
    mr_control_stop(control);
    leave();
    end();
    text = metrics();
    ck_assert_ptr_null(strstr(text, "millrace_agents_backlog_bytes"));
    free(text);
}
END_TEST

START_TEST(before_its_first_turn_the_status_is_empty)
{
    start(false, 0);
    char *text = mr_control_status(control);
    ck_assert_ptr_nonnull(strstr(text, "\"sessions\":[]"));
    ck_assert_ptr_nonnull(strstr(text, "\"movies\":[]"));
    free(text);
    end();
}
END_TEST

/* ---- the end ---- */

START_TEST(it_ends_when_the_last_movie_is_let_go_of)
{
    live();
    mr_control_stop(control);
    hear(MR_BYE);
    ck_assert_uint_eq(heard.bye.code, MR_REASON_STOPPING);
    leave();
    struct mr_berth_job job = berth_job(MR_BERTH_RELEASE);
    ck_assert(!job.distrusted);
    end();
}
END_TEST

START_TEST(a_taken_port_is_an_error_that_names_it)
{
    struct mr_err err = {0};
    struct mr_control *second = NULL;
    char endpoint[64];
    start(false, 0);
    (void)snprintf(endpoint, sizeof(endpoint), "tcp://127.0.0.1:%u", mr_lane_port(lanes[0]));
    struct mr_control_config c = config;
    c.endpoint = endpoint;
    ck_assert_int_eq(mr_control_new(hub, &c, &second, &err), -EADDRINUSE);
    ck_assert_ptr_null(second);
    ck_assert_ptr_nonnull(strstr(err.text, endpoint + strlen("tcp://")));
    mr_control_free(NULL);
    end();
}
END_TEST

MR_SUITE("control", T(welcome_names_the_ports_that_the_lanes_have),
         T(a_movie_goes_from_stage_to_stage), T(only_a_movie_that_begins_is_announced),
         T(a_small_movie_is_lane_0s_alone), T(no_berth_is_told_as_berth_says_it),
         T(a_stuck_movie_is_held_or_failed_by_what_went_wrong),
         T(damage_misfit_and_gap_are_told_to_who_sent_them), T(used_credit_is_granted_anew),
         T(a_broken_lane_is_the_servers_end), T(abandon_of_a_movie_of_before_is_a_job_without_one),
         T(confirm_waits_behind_movies_and_not_for_ever), T(what_is_no_message_ends_the_session),
         T(a_full_store_grants_nothing_and_each_change_is_logged_once),
         T(room_that_came_while_no_server_ran_is_logged), T(status_and_metrics_follow),
         T(before_its_first_turn_the_status_is_empty), T(it_ends_when_the_last_movie_is_let_go_of),
         T(a_taken_port_is_an_error_that_names_it))
