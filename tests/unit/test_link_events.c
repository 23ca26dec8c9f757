/* SPDX-License-Identifier: Apache-2.0 */
/* Do subscribers hear what they asked for, and is replay answered however clients misbehave? */
#include "link_rig.h"

#include <pthread.h>
#include <zmq.h>

#define READY "millrace.movie.ready.v1"

struct desk {
    struct mr_link *link;
    struct mr_publisher *publisher;
    struct mr_subscriber *subscriber;
    uint16_t events, replay;
};

static struct desk desk_open(const char *prefix)
{
    struct desk d = {.link = rig_link()};
    struct mr_err err = {0};
    ck_assert_int_eq(
        mr_publisher_bind(d.link, "tcp://127.0.0.1:*", "tcp://127.0.0.1:*", &d.publisher, &err), 0);
    mr_publisher_ports(d.publisher, &d.events, &d.replay);
    ck_assert_int_eq(mr_subscriber_connect(d.link, rig_endpoint(d.events), rig_endpoint(d.replay),
                                           prefix, &d.subscriber, &err),
                     0);
    return d;
}

static void desk_close(struct desk *d)
{
    mr_subscriber_close(d->subscriber);
    mr_publisher_close(d->publisher);
    mr_link_free(d->link);
}

static void desk_pause(struct desk *d)
{
    ck_assert_int_eq(mr_publisher_wait(d->publisher, NULL, 0, 10), 0);
}

/* Until a subscription has taken effect, events are for others. */
static void until_heard(struct desk *d, const char *topic)
{
    char got[64];
    struct mr_part json;
    UNTIL(mr_subscriber_receive(d->subscriber, 0, got, sizeof(got), &json) == 0, {
        ck_assert_int_eq(mr_publisher_send(d->publisher, topic, "{}", 2), 0);
        desk_pause(d);
    });
    mr_part_close(&json);
    while (mr_subscriber_receive(d->subscriber, 50, got, sizeof(got), &json) == 0) {
        mr_part_close(&json);
    }
}

START_TEST(prefix_chooses)
{
    struct desk d = desk_open("millrace.movie.");
    char topic[64];
    struct mr_part json;
    until_heard(&d, READY);
    ck_assert_int_eq(mr_publisher_send(d.publisher, "millrace.agent.online.v1", "no", 2), 0);
    ck_assert_int_eq(mr_publisher_send(d.publisher, READY, "yes", 3), 0);
    ck_assert_int_eq(mr_subscriber_receive(d.subscriber, WAIT_MS, topic, sizeof(topic), &json), 0);
    ck_assert_str_eq(topic, READY);
    ck_assert_mem_eq(mr_part_data(&json), "yes", 3);
    mr_part_close(&json);
    ck_assert_int_eq(mr_subscriber_receive(d.subscriber, 20, topic, sizeof(topic), &json), -EAGAIN);
    ck_assert_int_eq(mr_publisher_send(d.publisher, READY, "x", MR_EVENT_BYTES_MAX + 1), -EMSGSIZE);
    desk_close(&d);
}
END_TEST

START_TEST(many_events_arrive_in_order)
{
    enum { EVENTS = 900 }; /* below the queue's limit: none may be missing */
    struct desk d = desk_open("");
    char topic[64];
    struct mr_part json;
    until_heard(&d, READY);
    for (uint32_t i = 0; i < EVENTS; i++) {
        ck_assert_int_eq(mr_publisher_send(d.publisher, READY, &i, sizeof(i)), 0);
    }
    for (uint32_t i = 0; i < EVENTS; i++) {
        uint32_t got;
        ck_assert_int_eq(mr_subscriber_receive(d.subscriber, WAIT_MS, topic, sizeof(topic), &json),
                         0);
        memcpy(&got, mr_part_data(&json), sizeof(got));
        ck_assert_uint_eq(got, i);
        mr_part_close(&json);
    }
    desk_close(&d);
}
END_TEST

static void *answer_one(void *arg)
{
    struct desk *d = arg;
    struct mr_part request;
    int64_t until_ns = mr_clock_monotonic_ns() + WAIT_MS * MR_NS_PER_MS;
    while (mr_clock_monotonic_ns() < until_ns) {
        if (mr_publisher_receive_request(d->publisher, &request) == 0) {
            char reply[64];
            int bytes = snprintf(reply, sizeof(reply), "re:%.*s", (int)mr_part_bytes(&request),
                                 (const char *)mr_part_data(&request));
            mr_part_close(&request);
            return mr_publisher_reply(d->publisher, reply, (size_t)bytes) == 0 ? d : NULL;
        }
        if (mr_publisher_wait(d->publisher, NULL, 0, 20) < 0) {
            break;
        }
    }
    return NULL;
}

static void check_replay_works(struct desk *d)
{
    pthread_t thread;
    void *result = NULL;
    struct mr_part reply;
    ck_assert_int_eq(pthread_create(&thread, NULL, answer_one, d), 0);
    int rc = mr_subscriber_request(d->subscriber, "who", 3, WAIT_MS, &reply);
    ck_assert_int_eq(pthread_join(thread, &result), 0);
    ck_assert_int_eq(rc, 0);
    ck_assert_ptr_eq(result, d);
    ck_assert_uint_eq(mr_part_bytes(&reply), 6);
    ck_assert_mem_eq(mr_part_data(&reply), "re:who", 6);
    mr_part_close(&reply);
}

START_TEST(request_is_answered_again_and_again)
{
    struct desk d = desk_open("");
    ck_assert_int_eq(mr_publisher_reply(d.publisher, "x", 1), -EPROTO); /* nobody asked */
    for (int i = 0; i < 5; i++) {
        check_replay_works(&d);
    }
    desk_close(&d);
}
END_TEST

START_TEST(clients_that_die_after_asking_do_no_harm)
{
    struct desk d = desk_open("");
    struct mr_part part;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(mr_subscriber_request(d.subscriber, "x", 1, 100, &part), -ETIMEDOUT);
        UNTIL(mr_publisher_receive_request(d.publisher, &part) == 0, desk_pause(&d));
        mr_part_close(&part);
        ck_assert_int_eq(mr_publisher_reply(d.publisher, "late", 4), 0);
    }
    check_replay_works(&d);
    ck_assert_int_eq(mr_publisher_reply(d.publisher, "twice", 5), -EPROTO);
    desk_close(&d);
}
END_TEST

/* With the next request always there already, nothing but the reply itself makes libzmq notice that
 * its queue for this client has long been emptied. */
START_TEST(a_client_that_asks_quickly_gets_every_answer)
{
    enum { REQUESTS = 400, AT_ONCE = 3 };
    struct desk d = desk_open("");
    void *context = zmq_ctx_new(), *dealer = zmq_socket(context, ZMQ_DEALER);
    int linger_ms = 0, wait_ms = WAIT_MS;
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    zmq_setsockopt(dealer, ZMQ_RCVTIMEO, &wait_ms, sizeof(wait_ms));
    ck_assert_int_eq(zmq_connect(dealer, rig_endpoint(d.replay)), 0);
    for (int sent = 0, answered = 0; answered < REQUESTS; answered++) {
        char reply[8];
        struct mr_part part;
        for (; sent < REQUESTS && sent < answered + AT_ONCE; sent++) {
            ck_assert_int_eq(zmq_send(dealer, "", 0, ZMQ_SNDMORE), 0);
            ck_assert_int_eq(zmq_send(dealer, "who", 3, 0), 3);
        }
        UNTIL(mr_publisher_receive_request(d.publisher, &part) == 0, desk_pause(&d));
        mr_part_close(&part);
        ck_assert_int_eq(mr_publisher_reply(d.publisher, "you", 3), 0);
        ck_assert_int_eq(zmq_recv(dealer, reply, sizeof(reply), 0), 0);
        ck_assert_msg(zmq_recv(dealer, reply, sizeof(reply), 0) == 3, "answer %d", answered);
    }
    zmq_close(dealer);
    zmq_ctx_term(context);
    desk_close(&d);
}
END_TEST

START_TEST(nobody_there_is_a_timeout)
{
    struct desk d = desk_open("");
    struct mr_part part;
    char topic[64];
    mr_publisher_close(d.publisher);
    d.publisher = NULL;
    ck_assert_int_eq(mr_subscriber_request(d.subscriber, "x", 1, 100, &part), -ETIMEDOUT);
    ck_assert_int_eq(mr_subscriber_receive(d.subscriber, 20, topic, sizeof(topic), &part), -EAGAIN);
    desk_close(&d);
}
END_TEST

START_TEST(subscriber_finds_a_server_that_comes_back)
{
    struct desk d = desk_open("");
    struct mr_err err = {0};
    char events[64], replay[64];
    until_heard(&d, READY);
    snprintf(events, sizeof(events), "tcp://127.0.0.1:%u", d.events);
    snprintf(replay, sizeof(replay), "tcp://127.0.0.1:%u", d.replay);
    mr_publisher_close(d.publisher);
    d.publisher = NULL;
    UNTIL(mr_publisher_bind(d.link, events, replay, &d.publisher, &err) == 0, usleep(10000));
    until_heard(&d, READY);
    check_replay_works(&d);
    desk_close(&d);
}
END_TEST

START_TEST(garbage_does_no_harm)
{
    struct desk d = desk_open("");
    static uint8_t junk[MR_REQUEST_BYTES_MAX + 1];
    void *context = zmq_ctx_new();
    int linger_ms = 0;
    memset(junk, 0xff, sizeof(junk));
    rig_tcp_until_hung_up(d.events, junk, sizeof(junk));
    rig_tcp_until_hung_up(d.replay, junk, sizeof(junk));
    void *dealer = zmq_socket(context, ZMQ_DEALER);
    zmq_setsockopt(dealer, ZMQ_LINGER, &linger_ms, sizeof(linger_ms));
    ck_assert_int_eq(zmq_connect(dealer, rig_endpoint(d.replay)), 0);
    for (int parts = 1; parts < 5; parts++) { /* 2 parts of one byte: the first is not empty */
        for (int i = 0; i < parts; i++) {
            ck_assert_int_eq(zmq_send(dealer, junk, 1, i + 1 < parts ? ZMQ_SNDMORE : 0), 1);
        }
        struct mr_part part;
        int rc;
        UNTIL((rc = mr_publisher_receive_request(d.publisher, &part)) != -EAGAIN, desk_pause(&d));
        ck_assert_int_eq(rc, -EBADMSG);
    }
    ck_assert_int_eq(zmq_send(dealer, junk, sizeof(junk), 0), (int)sizeof(junk)); /* too long */
    check_replay_works(&d);
    until_heard(&d, READY);
    zmq_close(dealer);
    zmq_ctx_term(context);
    desk_close(&d);
}
END_TEST

START_TEST(bad_endpoints_are_refused)
{
    struct mr_link *link = rig_link();
    struct mr_subscriber *s = NULL;
    struct mr_publisher *p = NULL;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_subscriber_connect(link, "tcp://x", "tcp://127.0.0.1:1", "", &s, &err),
                     -EINVAL);
    ck_assert_int_eq(mr_subscriber_connect(link, "tcp://127.0.0.1:1", "junk", "", &s, &err),
                     -EINVAL);
    ck_assert_int_eq(mr_publisher_bind(link, "tcp://127.0.0.1:*", "junk", &p, &err), -EINVAL);
    ck_assert_ptr_null(s);
    ck_assert_ptr_null(p);
    mr_link_free(link);
}
END_TEST

MR_SUITE("link_events", T(prefix_chooses), T(many_events_arrive_in_order),
         T(request_is_answered_again_and_again), T(clients_that_die_after_asking_do_no_harm),
         T(a_client_that_asks_quickly_gets_every_answer), T(nobody_there_is_a_timeout),
         T(subscriber_finds_a_server_that_comes_back), T(garbage_does_no_harm),
         T(bad_endpoints_are_refused))
