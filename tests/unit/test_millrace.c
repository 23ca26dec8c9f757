/* SPDX-License-Identifier: Apache-2.0 */
/* Does a subscriber get every event once and in order, whatever the publisher loses or forgets? */
#include "base/clock.h"
#include "base/json.h"
#include "client/millrace.h"
#include "suite.h"
#include "wire/link.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A server that keeps no log: event n exists when n is between first and last. It loses what it
 * publishes where n is a multiple of lose. */
struct fake {
    struct mr_link *link;
    struct mr_publisher *publisher;
    pthread_t thread;
    char events[64], replay[64];
    _Atomic uint64_t first, last, published, lose, requests;
    _Atomic int mood; /* what replay answers */
    _Atomic bool stop;
};
enum { GOOD, ERROR, GARBAGE, HOLE };

static int event_text(uint64_t n, char *ret, size_t size)
{
    return snprintf(ret, size,
                    "{\"specversion\":\"1.0\",\"type\":\"millrace.%s.v1\",\"id\":\"e%" PRIu64
                    "\",\"sequence\":\"%" PRIu64 "\"}",
                    n % 3 == 0 ? "file.ready" : "movie.started", n, n);
}

static void answer_page(struct fake *f, uint64_t since, uint64_t limit)
{
    static char page[1 << 17];
    uint64_t first = atomic_load(&f->first), last = atomic_load(&f->last);
    int n = snprintf(page, sizeof(page), "{\"events\":[");
    for (uint64_t i = since > first ? since : first; i <= last && limit > 0; i++, limit--) {
        n += n > 11 ? snprintf(page + n, 2, ",") : 0;
        n += event_text(atomic_load(&f->mood) == HOLE ? i + 1 : i, page + n, 200);
    }
    n += snprintf(page + n, 100, "],\"first\":%" PRIu64 ",\"last\":%" PRIu64 "}", first, last);
    ck_assert_int_eq(mr_publisher_reply(f->publisher, page, (size_t)n), 0);
}

static void answer(struct fake *f, struct mr_part *request)
{
    struct mr_json *o = NULL;
    int64_t since = 0, limit = 0;
    ck_assert_int_eq(mr_json_parse(mr_part_data(request), mr_part_bytes(request), &o, NULL), 0);
    ck_assert_int_eq(mr_json_need_int(o, "since", 1, INT64_MAX, &since, NULL), 0);
    ck_assert_int_eq(mr_json_need_int(o, "limit", 1, 1000, &limit, NULL), 0);
    mr_json_free(o);
    int mood = atomic_load(&f->mood);
    if (mood == ERROR)
        ck_assert_int_eq(mr_publisher_reply(f->publisher, "{\"error\":\"x\"}", 13), 0);
    else if (mood == GARBAGE)
        ck_assert_int_eq(mr_publisher_reply(f->publisher, "{\"events\":7}", 12), 0);
    else
        answer_page(f, (uint64_t)since, (uint64_t)limit);
    atomic_fetch_add(&f->requests, 1);
}

static void *serve(void *arg)
{
    struct fake *f = arg;
    while (!atomic_load(&f->stop)) {
        struct mr_part request;
        char text[256];
        int r = mr_publisher_wait(f->publisher, NULL, 0, 5);
        (void)r;
        if (mr_publisher_receive_request(f->publisher, &request) == 0) {
            answer(f, &request);
            mr_part_close(&request);
        }
        for (uint64_t n = atomic_load(&f->published) + 1; n <= atomic_load(&f->last); n++) {
            uint64_t lose = atomic_load(&f->lose);
            int bytes = event_text(n, text, sizeof(text));
            if (lose == 0 || n % lose != 0)
                ck_assert_int_eq(mr_publisher_send(f->publisher, "t", text, (size_t)bytes), 0);
            atomic_store(&f->published, n);
        }
    }
    return NULL;
}

static void fake_up(struct fake *f)
{
    uint16_t events, replay;
    atomic_store(&f->stop, false);
    ck_assert_int_eq(mr_link_new(1, &f->link), 0);
    struct mr_err err = {0};
    /* a port that was in use a moment ago may take a while to be free again */
    int r = -1;
    for (int i = 0; i < 3000 && r != 0; i++) {
        r = mr_publisher_bind(f->link, f->events[0] ? f->events : "tcp://127.0.0.1:*",
                              f->replay[0] ? f->replay : "tcp://127.0.0.1:*", &f->publisher, &err);
        if (r != 0)
            usleep(10000);
    }
    ck_assert_msg(r == 0, "%s", err.text);
    mr_publisher_ports(f->publisher, &events, &replay);
    snprintf(f->events, sizeof(f->events), "tcp://127.0.0.1:%u", events);
    snprintf(f->replay, sizeof(f->replay), "tcp://127.0.0.1:%u", replay);
    ck_assert_int_eq(pthread_create(&f->thread, NULL, serve, f), 0);
}

static void fake_down(struct fake *f)
{
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    mr_publisher_close(f->publisher);
    mr_link_free(f->link);
}

static struct mr_subscription *subscribe(const struct fake *f, uint64_t since, const char *type)
{
    struct mr_subscription_options o = {
        .events = f->events, .replay = f->replay, .since = since, .type = type};
    struct mr_subscription *s = NULL;
    char why[256] = "";
    int r = mr_subscription_open(&o, &s, why, sizeof(why));
    ck_assert_msg(r == 0, "%s", why);
    return s;
}

static void expect(struct mr_subscription *s, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n <= to; n++) {
        struct mr_subscription_event e;
        char text[256];
        int r = mr_subscription_next(s, 20000, &e);
        ck_assert_msg(r == 0, "event %" PRIu64 ": %d %s", n, r, mr_subscription_error(s));
        ck_assert_uint_eq(e.sequence, n);
        event_text(n, text, sizeof(text));
        ck_assert_str_eq(e.json, text);
        ck_assert_uint_eq(e.json_bytes, strlen(text));
        ck_assert_uint_eq(e.missed, 0);
    }
}

START_TEST(catches_up_by_pages_and_goes_over)
{
    struct fake f = {.first = 1, .last = 1234};
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 1, NULL);
    ck_assert(!mr_subscription_reached(s));
    expect(s, 1, 1234);
    ck_assert(mr_subscription_reached(s));
    for (uint64_t n = 1235; n < 1300; n += 5) { /* one by one, in bunches: replay and PUB in turn */
        atomic_store(&f.last, n + 4);
        expect(s, n, n + 4);
    }
    ck_assert_uint_eq(mr_subscription_position(s), 1300);
    mr_subscription_close(s);
    fake_down(&f);
}
END_TEST

START_TEST(heals_what_was_lost)
{
    struct fake f = {.first = 1, .last = 10, .lose = 7};
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 4, NULL);
    expect(s, 4, 10);
    for (uint64_t n = 11; n < 60; n += 7) {
        atomic_store(&f.last, n + 6);
        expect(s, n, n + 6);
    }
    /* the last one is lost and nothing follows it: the subscriber asks of itself */
    atomic_store(&f.lose, 1);
    atomic_store(&f.last, 70);
    expect(s, 60, 70);
    mr_subscription_close(s);
    fake_down(&f);
}
END_TEST

START_TEST(from_now_means_what_comes)
{
    struct fake f = {.first = 1, .last = 50};
    struct mr_subscription_event e;
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 0, NULL);
    ck_assert_uint_eq(mr_subscription_position(s), 0);
    while (mr_subscription_position(s) == 0)
        ck_assert_int_eq(mr_subscription_next(s, 20, &e), -EAGAIN);
    ck_assert_uint_eq(mr_subscription_position(s), 51);
    atomic_store(&f.last, 55);
    expect(s, 51, 55);
    mr_subscription_close(s);
    fake_down(&f);
}
END_TEST

START_TEST(types_are_chosen_without_losing_count)
{
    struct fake f = {.first = 1, .last = 600, .lose = 3};
    struct mr_subscription_event e;
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 1, "millrace.*.ready.v1");
    for (uint64_t n = 3; n <= 600; n += 3) {
        ck_assert_int_eq(mr_subscription_next(s, 20000, &e), 0);
        ck_assert_uint_eq(e.sequence, n);
        ck_assert_str_eq(e.type, "millrace.file.ready.v1");
    }
    ck_assert_int_eq(mr_subscription_next(s, 10, &e), -EAGAIN);
    atomic_store(&f.last, 605); /* 603 is among what PUB loses */
    ck_assert_int_eq(mr_subscription_next(s, 20000, &e), 0);
    ck_assert_uint_eq(e.sequence, 603);
    mr_subscription_close(s);
    fake_down(&f);
}
END_TEST

START_TEST(what_is_no_longer_kept_is_told)
{
    struct fake f = {.first = 101, .last = 110};
    struct mr_subscription_event e;
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 41, NULL);
    ck_assert_int_eq(mr_subscription_next(s, 20000, &e), 0);
    ck_assert_uint_eq(e.sequence, 101);
    ck_assert_uint_eq(e.missed, 60);
    expect(s, 102, 110);
    mr_subscription_close(s);
    fake_down(&f);
}
END_TEST

START_TEST(outlives_a_restart)
{
    struct fake f = {.first = 1, .last = 20};
    struct mr_subscription_event e;
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 1, NULL);
    expect(s, 1, 20);
    fake_down(&f);
    ck_assert_int_eq(mr_subscription_next(s, 300, &e), -EAGAIN);
    atomic_store(&f.last, 30);
    atomic_store(&f.published, 30); /* logged before it died, never published */
    fake_up(&f);
    expect(s, 21, 30);
    atomic_store(&f.last, 33);
    expect(s, 31, 33);
    mr_subscription_close(s);
    fake_down(&f);
}
END_TEST

START_TEST(a_log_that_went_back_is_an_error)
{
    struct fake f = {.first = 1, .last = 20};
    struct mr_subscription_event e;
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 1, NULL);
    expect(s, 1, 20);
    atomic_store(&f.last, 5);
    ck_assert_int_eq(mr_subscription_next(s, 20000, &e), -ESTALE);
    ck_assert_ptr_nonnull(strstr(mr_subscription_error(s), "ends at event 5"));
    ck_assert_int_eq(mr_subscription_next(s, 0, &e), -ESTALE); /* for good */
    mr_subscription_close(s);
    s = subscribe(&f, 7, NULL); /* a cursor from another store */
    ck_assert_int_eq(mr_subscription_next(s, 20000, &e), -ESTALE);
    mr_subscription_close(s);
    s = subscribe(&f, 6, NULL); /* the next one to come is in order */
    ck_assert_int_eq(mr_subscription_next(s, 300, &e), -EAGAIN);
    mr_subscription_close(s);
    fake_down(&f);
}
END_TEST

START_TEST(answers_without_sense_end_it_and_errors_do_not)
{
    struct fake f = {.first = 1, .last = 20, .mood = ERROR};
    struct mr_subscription_event e;
    fake_up(&f);
    struct mr_subscription *s = subscribe(&f, 1, NULL);
    ck_assert_int_eq(mr_subscription_next(s, 1000, &e), -EAGAIN);
    ck_assert_uint_lt(atomic_load(&f.requests), 20); /* it does not hammer */
    atomic_store(&f.mood, GOOD);
    expect(s, 1, 20);
    mr_subscription_close(s);
    for (int mood = GARBAGE; mood <= HOLE; mood++) {
        atomic_store(&f.mood, mood);
        s = subscribe(&f, 1, NULL);
        ck_assert_int_eq(mr_subscription_next(s, 20000, &e), -EPROTO);
        ck_assert_str_ne(mr_subscription_error(s), "");
        ck_assert_int_eq(mr_subscription_next(s, 0, &e), -EPROTO);
        mr_subscription_close(s);
    }
    fake_down(&f);
}
END_TEST

START_TEST(nobody_there_is_no_error)
{
    struct fake f = {.events = "tcp://127.0.0.1:1", .replay = "tcp://127.0.0.1:1"};
    struct mr_subscription_event e;
    struct mr_subscription *s = subscribe(&f, 1, NULL);
    int64_t begin = mr_clock_monotonic_ns();
    ck_assert_int_eq(mr_subscription_next(s, 400, &e), -EAGAIN);
    ck_assert_int_lt(mr_clock_monotonic_ns() - begin, 3 * MR_NS_PER_S);
    ck_assert(!mr_subscription_reached(s));
    mr_subscription_close(s);
    static const char *const bad[] = {"", "127.0.0.1:5580", "tcp://h:0", "tcp://h:65535"};
    for (size_t i = 0; i < 4; i++) {
        struct mr_subscription_options o = {.events = bad[i]};
        char why[64] = "";
        ck_assert_int_eq(mr_subscription_open(&o, &s, why, sizeof(why)), -EINVAL);
        ck_assert_str_ne(why, "");
    }
}
END_TEST

MR_SUITE("millrace", T(catches_up_by_pages_and_goes_over), T(heals_what_was_lost),
         T(from_now_means_what_comes), T(types_are_chosen_without_losing_count),
         T(what_is_no_longer_kept_is_told), T(outlives_a_restart),
         T(a_log_that_went_back_is_an_error), T(answers_without_sense_end_it_and_errors_do_not),
         T(nobody_there_is_no_error))
