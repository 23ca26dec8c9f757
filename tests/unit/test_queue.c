/* SPDX-License-Identifier: Apache-2.0 */
/* Is every item popped exactly once, in order, and does nobody wait who need not? */
#include "base/queue.h"
#include "suite.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>

static struct mr_queue *new_queue(size_t capacity)
{
    struct mr_queue *q = NULL;
    ck_assert_int_eq(mr_queue_new(sizeof(int), capacity, &q), 0);
    return q;
}

static bool readable(const struct mr_queue *q)
{
    struct pollfd p = {.fd = mr_queue_fd(q), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

START_TEST(first_in_first_out_round_the_ring)
{
    struct mr_queue *q = new_queue(3);
    int in = 0, out = 0, v;
    for (int round = 0; round < 10; round++) {
        for (; in - out < 3; in++)
            ck_assert_int_eq(mr_queue_try_push(q, &in), 0);
        for (int i = 0; i < 2; i++, out++) {
            ck_assert_int_eq(mr_queue_pop(q, 0, &v), 0);
            ck_assert_int_eq(v, out);
        }
    }
    ck_assert_uint_eq(mr_queue_count(q), 1);
    mr_queue_free(q);
}
END_TEST

START_TEST(full_and_empty_are_told)
{
    struct mr_queue *q = new_queue(1);
    int v = 7;
    ck_assert_int_eq(mr_queue_pop(q, 0, &v), -EAGAIN);
    ck_assert_int_eq(mr_queue_pop(q, 1, &v), -EAGAIN);
    ck_assert_int_eq(v, 7);
    ck_assert_int_eq(mr_queue_try_push(q, &v), 0);
    ck_assert_int_eq(mr_queue_try_push(q, &v), -EAGAIN);
    mr_queue_free(q); /* with an item inside */
    mr_queue_free(NULL);
}
END_TEST

START_TEST(a_closed_queue_can_be_emptied_but_not_filled)
{
    struct mr_queue *q = new_queue(4);
    int v = 1;
    ck_assert_int_eq(mr_queue_push(q, &v), 0);
    mr_queue_close(q);
    mr_queue_close(q);
    v = 2;
    ck_assert_int_eq(mr_queue_push(q, &v), -EPIPE);
    ck_assert_int_eq(mr_queue_try_push(q, &v), -EPIPE);
    ck_assert_int_eq(mr_queue_pop(q, -1, &v), 0);
    ck_assert_int_eq(v, 1);
    ck_assert_int_eq(mr_queue_pop(q, -1, &v), -EPIPE);
    mr_queue_free(q);
}
END_TEST

START_TEST(the_eventfd_is_readable_while_there_is_something_to_learn)
{
    struct mr_queue *q = new_queue(2);
    int v = 1;
    ck_assert(!readable(q));
    ck_assert_int_eq(mr_queue_push(q, &v), 0);
    ck_assert_int_eq(mr_queue_push(q, &v), 0);
    ck_assert(readable(q));
    ck_assert_int_eq(mr_queue_pop(q, 0, &v), 0);
    ck_assert(readable(q));
    ck_assert_int_eq(mr_queue_pop(q, 0, &v), 0);
    ck_assert(!readable(q));
    ck_assert_int_eq(mr_queue_push(q, &v), 0);
    mr_queue_close(q);
    ck_assert_int_eq(mr_queue_pop(q, 0, &v), 0);
    ck_assert(readable(q)); /* closed: stays so */
    ck_assert_int_eq(mr_queue_pop(q, 0, &v), -EPIPE);
    ck_assert(readable(q));
    mr_queue_free(q);
}
END_TEST

static void *pop_one(void *arg)
{
    static int result;
    int v;
    result = mr_queue_pop(arg, -1, &v);
    return &result;
}

static void *push_one(void *arg)
{
    static int result;
    int v = 1;
    result = mr_queue_push(arg, &v);
    return &result;
}

START_TEST(close_wakes_those_who_wait)
{
    struct mr_queue *empty = new_queue(1), *full = new_queue(1);
    int v = 0;
    void *popped, *pushed;
    pthread_t popper, pusher;
    ck_assert_int_eq(mr_queue_push(full, &v), 0);
    ck_assert_int_eq(pthread_create(&popper, NULL, pop_one, empty), 0);
    ck_assert_int_eq(pthread_create(&pusher, NULL, push_one, full), 0);
    mr_queue_close(empty);
    mr_queue_close(full);
    pthread_join(popper, &popped);
    pthread_join(pusher, &pushed);
    ck_assert_int_eq(*(int *)popped, -EPIPE);
    ck_assert_int_eq(*(int *)pushed, -EPIPE);
    mr_queue_free(empty);
    mr_queue_free(full);
}
END_TEST

enum { WORKERS = 4, ITEMS = 20000 };

struct crowd {
    struct mr_queue *q;
    atomic_int next;
    atomic_int times_seen[WORKERS * ITEMS];
    atomic_int failures;
};

static void *produce(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < ITEMS; i++) {
        int v = atomic_fetch_add(&c->next, 1);
        if (mr_queue_push(c->q, &v) != 0)
            atomic_fetch_add(&c->failures, 1);
    }
    return NULL;
}

/* Half the consumers wait in pop, half in poll, as a thread with sockets does. */
static void *consume(void *arg)
{
    struct crowd *c = arg;
    static atomic_int number;
    bool polls = atomic_fetch_add(&number, 1) % 2 == 0;
    struct pollfd p = {.fd = mr_queue_fd(c->q), .events = POLLIN};
    for (;;) {
        int v;
        if (polls)
            (void)poll(&p, 1, -1);
        int r = mr_queue_pop(c->q, polls ? 0 : -1, &v);
        if (r == -EPIPE)
            return NULL;
        if (r == 0)
            atomic_fetch_add(&c->times_seen[v], 1);
    }
}

START_TEST(a_crowd_loses_and_doubles_nothing)
{
    static struct crowd c;
    pthread_t producers[WORKERS], consumers[WORKERS];
    c.q = new_queue(7);
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_create(&producers[i], NULL, produce, &c), 0);
        ck_assert_int_eq(pthread_create(&consumers[i], NULL, consume, &c), 0);
    }
    for (int i = 0; i < WORKERS; i++)
        pthread_join(producers[i], NULL);
    mr_queue_close(c.q);
    for (int i = 0; i < WORKERS; i++)
        pthread_join(consumers[i], NULL);
    ck_assert_int_eq(atomic_load(&c.failures), 0);
    for (int i = 0; i < WORKERS * ITEMS; i++)
        ck_assert_int_eq(atomic_load(&c.times_seen[i]), 1);
    mr_queue_free(c.q);
}
END_TEST

MR_SUITE("queue", T(first_in_first_out_round_the_ring), T(full_and_empty_are_told),
         T(a_closed_queue_can_be_emptied_but_not_filled),
         T(the_eventfd_is_readable_while_there_is_something_to_learn),
         T(close_wakes_those_who_wait), T(a_crowd_loses_and_doubles_nothing))
