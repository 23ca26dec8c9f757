/* SPDX-License-Identifier: Apache-2.0 */
/* Does every durable event go out once and in order, and does replay give the rest? */
#include "client/millrace.h"
#include "publish_rig.h"
#include "replay.h"
#include "suite.h"

#include <errno.h>
#include <inttypes.h>

static void append(struct mr_eventlog *log, uint64_t from, uint64_t to, size_t padding)
{
    char id[64], *data = malloc(padding + 16), *text = NULL;
    for (uint64_t n = from; n <= to; n++) {
        size_t bytes = 0;
        uint64_t sequence = 0;
        snprintf(id, sizeof(id), "m%" PRIu64 ".ready", n);
        snprintf(data, padding + 16, "{\"p\":\"%0*d\"}", (int)padding, 0);
        struct mr_event e = {
            .type = MR_EVENT_MOVIE_READY, .id = id, .source = "/millrace/t", .data = data};
        ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
        ck_assert_int_eq(mr_eventlog_append(log, text, bytes, &sequence, NULL), 0);
        ck_assert_uint_eq(sequence, n);
        free(text);
    }
    free(data);
    ck_assert_int_eq(mr_eventlog_sync(log, NULL), 0);
}

static struct server server_up(uint64_t events_before)
{
    struct server v = server_open(100000);
    struct mr_err err = {0};
    uint16_t ports[2];
    if (events_before > 0)
        append(v.log, 1, events_before, 1);
    int r =
        mr_publish_new(v.link, v.log, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", &v.publish, &err);
    ck_assert_msg(r == 0, "%s", err.text);
    mr_publish_ports(v.publish, &ports[0], &ports[1]);
    snprintf(v.events, sizeof(v.events), "tcp://127.0.0.1:%u", ports[0]);
    snprintf(v.replay, sizeof(v.replay), "tcp://127.0.0.1:%u", ports[1]);
    server_start(&v);
    return v;
}

START_TEST(a_subscriber_sees_all)
{
    struct server v = server_up(1100);
    struct mr_subscription_options o = {.events = v.events, .replay = v.replay, .since = 1};
    struct mr_subscription *s = NULL;
    struct mr_subscription_event e;
    ck_assert_uint_eq(mr_publish_last(v.publish), 1100);
    ck_assert_int_eq(mr_subscription_open(&o, &s, NULL, 0), 0);
    for (uint64_t n = 1, logged = 1100; n <= 2000; n++) {
        if (n > logged) {
            append(v.log, logged + 1, logged + 30, 1);
            logged += 30;
        }
        ck_assert_int_eq(mr_subscription_next(s, 20000, &e), 0);
        ck_assert_uint_eq(e.sequence, n);
    }
    ck_assert_uint_gt(mr_publish_replays(v.publish), 2);
    ck_assert_int_eq(mr_publish_error(v.publish), 0);
    mr_subscription_close(s);
    append(v.log, 2001, 3000, 1); /* and it stops only when all are out */
    server_down(&v);
}
END_TEST

static void ask(struct mr_subscriber *s, const char *request, const char *wanted)
{
    struct mr_part reply;
    ck_assert_int_eq(mr_subscriber_request(s, request, strlen(request), 20000, &reply), 0);
    char *text = strndup(mr_part_data(&reply), mr_part_bytes(&reply));
    ck_assert_msg(strstr(text, wanted) != NULL, "%s: %.300s", request, text);
    free(text);
    mr_part_close(&reply);
}

START_TEST(requests_are_answered_one_way_or_the_other)
{
    struct server v = server_up(5);
    struct mr_link *link;
    struct mr_subscriber *s = NULL;
    ck_assert_int_eq(mr_link_new(1, &link), 0);
    ck_assert_int_eq(mr_subscriber_connect(link, v.events, v.replay, "", &s, NULL), 0);
    ask(s, "{\"since\":5}", "m5.ready");
    ask(s, "{\"since\":1,\"limit\":2}", "],\"first\":1,\"last\":5}");
    ask(s, "{\"since\":6}", "{\"events\":[],\"first\":1,\"last\":5}");
    ask(s, "{\"since\":9223372036854775807}", "\"events\":[]");
    ask(s, "", "{\"error\":");
    ask(s, "[1]", "{\"error\":");
    ask(s, "{\"since\":0}", "{\"error\":\"since");
    ask(s, "{\"since\":\"1\"}", "{\"error\":\"since: not an integer");
    ask(s, "{\"since\":1,\"limit\":0}", "{\"error\":\"limit");
    ask(s, "{\"since\":1,\"topic\":1}", "{\"error\":\"topic: unknown key");
    ask(s, "{\"limit\":1}", "{\"error\":");
    ask(s, "{\"since\":1} x", "{\"error\":");
    ask(s, "{\"since\":2,\"limit\":1}", "m2.ready"); /* and after all that */
    mr_subscriber_close(s);
    mr_link_free(link);
    server_down(&v);
}
END_TEST

START_TEST(limits_are_defaulted_and_cut)
{
    struct mr_replay_request q;
    ck_assert_int_eq(mr_replay_parse("{\"since\":3}", 11, &q, NULL), 0);
    ck_assert_uint_eq(q.limit, MR_REPLAY_LIMIT_DEFAULT);
    ck_assert_int_eq(mr_replay_parse("{\"limit\":5000,\"since\":3}", 24, &q, NULL), 0);
    ck_assert_uint_eq(q.since, 3);
    ck_assert_uint_eq(q.limit, MR_REPLAY_LIMIT_MAX);
    char *large = malloc(MR_REPLAY_REQUEST_MAX + 1);
    memset(large, ' ', MR_REPLAY_REQUEST_MAX + 1);
    memcpy(large, "{\"since\":3}", 11);
    ck_assert_int_eq(mr_replay_parse(large, MR_REPLAY_REQUEST_MAX + 1, &q, NULL), -EPROTO);
    free(large);
}
END_TEST

static bool tell(void *ctx)
{
    return *(const bool *)ctx;
}

/* A server that was replaced, and does not know yet, has a log that ends too early. */
START_TEST(pages_end_where_the_log_is_certain_to_end)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log;
    bool newest = false;
    char *page = NULL;
    size_t bytes = 0;
    ck_assert_int_eq(mr_eventlog_open(s.fd, 1 << 26, &log, NULL, NULL), 0);
    mr_eventlog_guard(log, NULL, tell, &newest);
    ck_assert_int_eq(mr_replay_page(log, 1, 100, 350000, &page, &bytes), -EAGAIN);
    newest = true;
    ck_assert_int_eq(mr_replay_page(log, 1, 100, 350000, &page, &bytes), 0);
    free(page);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

START_TEST(pages_are_bounded_and_never_empty_without_need)
{
    struct scratch s = scratch_make();
    struct mr_eventlog *log;
    ck_assert_int_eq(mr_eventlog_open(s.fd, 1 << 26, &log, NULL, NULL), 0);
    append(log, 1, 10, 100000);
    char *page = NULL;
    size_t bytes = 0;
    ck_assert_int_eq(mr_replay_page(log, 1, 100, 350000, &page, &bytes), 0);
    ck_assert_uint_le(bytes, 350100);
    ck_assert_ptr_nonnull(strstr(page, "m3.ready"));
    ck_assert_ptr_null(strstr(page, "m4.ready"));
    free(page);
    ck_assert_int_eq(mr_replay_page(log, 4, 100, 10, &page, &bytes), 0);
    ck_assert_ptr_nonnull(strstr(page, "m4.ready"));
    ck_assert_ptr_null(strstr(page, "m5.ready"));
    free(page);
    mr_eventlog_close(log);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("publish", T(a_subscriber_sees_all), T(requests_are_answered_one_way_or_the_other),
         T(limits_are_defaulted_and_cut), T(pages_end_where_the_log_is_certain_to_end),
         T(pages_are_bounded_and_never_empty_without_need))
