/* SPDX-License-Identifier: Apache-2.0 */
/* What does a subscriber make of any answer to its question, and of anything published? */
#include "client/millrace.h"
#include "suite.h"
#include "wire/link.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/time.h>

#define EVENT(n, type)            "{\"type\":\"" type "\",\"id\":\"e" n "\",\"sequence\":\"" n "\"}"
#define PAGE(events, first, last) "{\"events\":[" events "],\"first\":" first ",\"last\":" last "}"
#define NOTHING                   PAGE("", "1", "0")

/* A server that says what it is told to: one answer to every question, and whatever it publishes
 * over and over. */
struct parrot {
    struct mr_link *link;
    struct mr_publisher *publisher;
    pthread_t thread;
    char events[64], replay[64];
    const char *answer;
    const char *const *published; /* NULL-terminated */
    char question[MR_REQUEST_BYTES_MAX + 1];
    _Atomic bool stop;
};

static void *speak(void *arg)
{
    struct parrot *p = arg;
    struct mr_part question;
    while (!atomic_load(&p->stop)) {
        int r = mr_publisher_wait(p->publisher, NULL, 0, 5);
        (void)r;
        if (mr_publisher_receive_request(p->publisher, &question) == 0) {
            memcpy(p->question, mr_part_data(&question), mr_part_bytes(&question));
            mr_part_close(&question);
            ck_assert_int_eq(mr_publisher_reply(p->publisher, p->answer, strlen(p->answer)), 0);
        }
        for (const char *const *text = p->published; text != NULL && *text != NULL; text++)
            ck_assert_int_eq(mr_publisher_send(p->publisher, "t", *text, strlen(*text)), 0);
    }
    return NULL;
}

static void parrot_up(struct parrot *p)
{
    uint16_t events, replay;
    ck_assert_int_eq(mr_link_new(1, &p->link), 0);
    ck_assert_int_eq(
        mr_publisher_bind(p->link, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", &p->publisher, NULL),
        0);
    mr_publisher_ports(p->publisher, &events, &replay);
    snprintf(p->events, sizeof(p->events), "tcp://127.0.0.1:%u", events);
    snprintf(p->replay, sizeof(p->replay), "tcp://127.0.0.1:%u", replay);
    ck_assert_int_eq(pthread_create(&p->thread, NULL, speak, p), 0);
}

static void parrot_down(struct parrot *p)
{
    atomic_store(&p->stop, true);
    pthread_join(p->thread, NULL);
    mr_publisher_close(p->publisher);
    mr_link_free(p->link);
}

static struct mr_subscription *listen_to(const struct parrot *p, uint64_t since, const char *type)
{
    struct mr_subscription_options o = {
        .events = p->events, .replay = p->replay, .since = since, .type = type};
    struct mr_subscription *s = NULL;
    ck_assert_int_eq(mr_subscription_open(&o, &s, NULL, 0), 0);
    return s;
}

START_TEST(answers_without_sense_are_final_and_told)
{
    static const char *const answers[][2] = {
        {"", ""},
        {"x", ""},
        {"[]", ""},
        {"{}", "events"},
        {"{\"events\":{},\"first\":1,\"last\":0}", "events"},
        {"{\"events\":[],\"last\":0}", "first"},
        {"{\"events\":[],\"first\":1}", "last"},
        {PAGE("", "0", "0"), "first"},
        {PAGE("", "1", "-1"), "last"},
        {PAGE("", "1", "1.5"), "last"},
        {PAGE("", "1", "9223372036854775807"), "last"},
        {PAGE("", "1", "1"), "empty though the log ends at 1"},
        {PAGE(EVENT("2", "t"), "1", "2"), "no event 1"},
        {PAGE("7", "1", "2"), "no event 1"},
        {PAGE("\"1\"", "1", "2"), "no event 1"},
        {PAGE("{\"type\":\"t\",\"id\":\"e\"}", "1", "1"), "no event 1"},
        {PAGE("{\"type\":\"t\",\"id\":\"e\",\"sequence\":1}", "1", "1"), "no event 1"},
        {PAGE(EVENT("0", "t"), "1", "1"), "no event 1"},
        {PAGE(EVENT("1x", "t"), "1", "1"), "no event 1"},
        {PAGE(EVENT("", "t"), "1", "1"), "no event 1"},
        {PAGE(EVENT("-1", "t"), "1", "1"), "no event 1"},
        {PAGE(EVENT("1000000000000000001", "t"), "1", "1"), "no event 1"}, /* 19 digits */
        {PAGE("{\"id\":\"e\",\"sequence\":\"1\"}", "1", "1"), "event 1"},
        {PAGE("{\"type\":\"t\",\"sequence\":\"1\"}", "1", "1"), "event 1"},
    };
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        struct parrot p = {.answer = answers[i][0]};
        struct mr_subscription_event e = {.sequence = 99};
        parrot_up(&p);
        struct mr_subscription *s = listen_to(&p, 1, NULL);
        ck_assert_str_eq(mr_subscription_error(s), "");
        ck_assert_msg(mr_subscription_next(s, WAIT_MS, &e) == -EPROTO, "%s", answers[i][0]);
        ck_assert_msg(strstr(mr_subscription_error(s), answers[i][1]) != NULL, "%s: %s",
                      answers[i][0], mr_subscription_error(s));
        ck_assert_str_ne(mr_subscription_error(s), "");
        ck_assert(mr_subscription_reached(s));
        ck_assert_uint_eq(mr_subscription_position(s), 1);
        ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), -EPROTO); /* at once: it is final */
        ck_assert_uint_eq(e.sequence, 99);
        mr_subscription_close(s);
        parrot_down(&p);
    }
}
END_TEST

START_TEST(a_refusal_is_told_and_waited_out)
{
    struct parrot p = {.answer = "{\"error\":\"the log is out of reach\"}"};
    struct mr_subscription_event e;
    parrot_up(&p);
    struct mr_subscription *s = listen_to(&p, 1, NULL);
    ck_assert(!mr_subscription_connected(s));
    UNTIL(mr_subscription_reached(s), ck_assert_int_eq(mr_subscription_next(s, 20, &e), -EAGAIN));
    ck_assert_ptr_nonnull(strstr(mr_subscription_error(s), "the log is out of reach"));
    ck_assert(mr_subscription_connected(s));
    ck_assert_uint_eq(mr_subscription_position(s), 1);
    mr_subscription_close(s);
    parrot_down(&p);
}
END_TEST

START_TEST(what_is_missed_is_told_with_the_first_event_that_is_wanted)
{
    struct parrot p = {.answer = PAGE(EVENT("101", "a") "," EVENT("102", "b") "," EVENT("103", "b"),
                                      "101", "103")};
    struct mr_subscription_event e;
    char type[] = "b";
    parrot_up(&p);
    struct mr_subscription *s = listen_to(&p, 41, type);
    type[0] = 'x'; /* it was copied */
    ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), 0);
    ck_assert_uint_eq(e.sequence, 102);
    ck_assert_uint_eq(e.missed, 60);
    ck_assert_str_eq(e.type, "b");
    ck_assert_str_eq(e.id, "e102");
    ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), 0);
    ck_assert_uint_eq(e.sequence, 103);
    ck_assert_uint_eq(e.missed, 0);
    ck_assert_uint_eq(mr_subscription_position(s), 104);
    mr_subscription_close(s);
    parrot_down(&p);
}
END_TEST

START_TEST(events_before_the_wanted_one_are_passed_over)
{
    struct parrot p = {.answer =
                           PAGE(EVENT("1", "a") "," EVENT("2", "a") "," EVENT("3", "a"), "1", "3")};
    struct mr_subscription_event e;
    parrot_up(&p);
    struct mr_subscription *s = listen_to(&p, 2, "");
    ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), 0);
    ck_assert_uint_eq(e.sequence, 2);
    ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), 0);
    ck_assert_uint_eq(e.sequence, 3);
    ck_assert_int_eq(mr_subscription_next(s, 0, &e), -EAGAIN);
    ck_assert_str_eq(mr_subscription_error(s), "");
    mr_subscription_close(s);
    parrot_down(&p);
}
END_TEST

START_TEST(published_garbage_is_passed_over_and_an_event_comes_once)
{
    static const char *const published[] = {"",
                                            "x",
                                            "7",
                                            "[]",
                                            "{}",
                                            "{\"sequence\":1}",
                                            "{\"sequence\":\"0\"}",
                                            "{\"sequence\":\"1 \"}",
                                            "{\"sequence\":\"99999999999999999999\"}",
                                            EVENT("1", "a"),
                                            EVENT("1", "a"),
                                            EVENT("2", "b"),
                                            NULL};
    struct parrot p = {.answer = PAGE(EVENT("1", "a") "," EVENT("2", "b"), "1", "2"),
                       .published = published};
    struct mr_subscription_event e;
    parrot_up(&p);
    struct mr_subscription *s = listen_to(&p, 1, NULL);
    for (uint64_t n = 1; n <= 2; n++) {
        ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), 0);
        ck_assert_uint_eq(e.sequence, n);
        ck_assert_str_eq(e.json, n == 1 ? EVENT("1", "a") : EVENT("2", "b"));
        ck_assert_uint_eq(e.json_bytes, strlen(e.json));
    }
    ck_assert_int_eq(mr_subscription_next(s, 100, &e), -EAGAIN);
    mr_subscription_close(s);
    parrot_down(&p);
}
END_TEST

/* Found by its doorbell alone: the answer goes on saying that there is nothing. */
START_TEST(a_published_event_that_is_next_is_delivered)
{
    static const char *const published[] = {EVENT("1", "a"), NULL};
    struct parrot p = {.answer = NOTHING, .published = published};
    struct mr_subscription_event e;
    parrot_up(&p);
    struct mr_subscription *s = listen_to(&p, 1, NULL);
    ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), 0);
    ck_assert_uint_eq(e.sequence, 1);
    ck_assert_str_eq(e.json, published[0]);
    ck_assert_str_eq(e.id, "e1");
    ck_assert_uint_eq(e.missed, 0);
    ck_assert_uint_eq(mr_subscription_position(s), 2);
    mr_subscription_close(s);
    parrot_down(&p);
}
END_TEST

START_TEST(a_published_event_without_a_type_is_final)
{
    static const char *const published[] = {"{\"id\":\"e1\",\"sequence\":\"1\"}", NULL};
    struct parrot p = {.answer = NOTHING, .published = published};
    struct mr_subscription_event e;
    parrot_up(&p);
    struct mr_subscription *s = listen_to(&p, 1, NULL);
    ck_assert_int_eq(mr_subscription_next(s, WAIT_MS, &e), -EPROTO);
    ck_assert_ptr_nonnull(strstr(mr_subscription_error(s), "event 1"));
    ck_assert_int_eq(mr_subscription_next(s, 0, &e), -EPROTO);
    mr_subscription_close(s);
    parrot_down(&p);
}
END_TEST

START_TEST(from_now_on_asks_for_nothing_that_is_there)
{
    struct parrot p = {.answer = PAGE("", "1", "50")};
    struct mr_subscription_event e;
    parrot_up(&p);
    struct mr_subscription *s = listen_to(&p, 0, NULL);
    UNTIL(mr_subscription_reached(s), ck_assert_int_eq(mr_subscription_next(s, 20, &e), -EAGAIN));
    ck_assert_uint_eq(mr_subscription_position(s), 51);
    mr_subscription_close(s);
    parrot_down(&p); /* then its thread writes no question any more */
    const char *since = strstr(p.question, "\"since\":");
    ck_assert_ptr_nonnull(since);
    ck_assert_uint_gt(strtoull(since + strlen("\"since\":"), NULL, 10), 50);
}
END_TEST

START_TEST(options_are_judged_before_anything_is_opened)
{
    struct mr_subscription *s = NULL;
    char why[8] = "";
    struct mr_subscription_options o = {.since = (uint64_t)INT64_MAX + 1};
    ck_assert_int_eq(mr_subscription_open(&o, &s, why, sizeof(why)), -EINVAL);
    ck_assert_str_eq(why, "since i"); /* as much of it as fits */
    ck_assert_int_eq(mr_subscription_open(&o, &s, NULL, 0), -EINVAL);
    o = (struct mr_subscription_options){.replay = "tcp://h"};
    ck_assert_int_eq(mr_subscription_open(&o, &s, why, 0), -EINVAL);
    ck_assert_ptr_null(s);
    o = (struct mr_subscription_options){.since = INT64_MAX}; /* both endpoints by default */
    ck_assert_int_eq(mr_subscription_open(&o, &s, why, sizeof(why)), 0);
    ck_assert_uint_eq(mr_subscription_position(s), INT64_MAX);
    mr_subscription_close(s);
    mr_subscription_close(NULL);
    ck_assert_str_eq(mr_subscription_version(), MILLRACE_VERSION);
    ck_assert_ptr_nonnull(strstr(mr_subscription_libraries(), "libzmq"));
}
END_TEST

static void heard(int number)
{
    (void)number;
}

START_TEST(a_signal_ends_a_wait_without_end)
{
    struct sigaction action = {.sa_handler = heard}; /* without SA_RESTART */
    struct itimerval every = {{0, 20000}, {0, 20000}}, never = {{0, 0}, {0, 0}};
    struct parrot nobody = {.events = "tcp://127.0.0.1:1", .replay = "tcp://127.0.0.1:1"};
    struct mr_subscription_event e;
    struct mr_subscription *s = listen_to(&nobody, 1, NULL);
    ck_assert_int_eq(sigaction(SIGALRM, &action, NULL), 0);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &every, NULL), 0);
    int code = mr_subscription_next(s, -1, &e);
    ck_assert_int_eq(setitimer(ITIMER_REAL, &never, NULL), 0);
    ck_assert_int_eq(code, -EINTR);
    mr_subscription_close(s);
}
END_TEST

MR_SUITE("millrace_answers", T(answers_without_sense_are_final_and_told),
         T(a_refusal_is_told_and_waited_out),
         T(what_is_missed_is_told_with_the_first_event_that_is_wanted),
         T(events_before_the_wanted_one_are_passed_over),
         T(published_garbage_is_passed_over_and_an_event_comes_once),
         T(a_published_event_that_is_next_is_delivered),
         T(a_published_event_without_a_type_is_final),
         T(from_now_on_asks_for_nothing_that_is_there),
         T(options_are_judged_before_anything_is_opened), T(a_signal_ends_a_wait_without_end))
