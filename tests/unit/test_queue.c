/* SPDX-License-Identifier: Apache-2.0 */
/* Is every item popped exactly once, in order, and does nobody wait who need not? */
#include "asleep.h"
#include "base/queue.h"
#include "dice.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/resource.h>

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

/* ---- against a list ---- */

enum { ITEM = 13, MOST = 9, STEPS = 4000 };

/* What a queue has to be. */
struct list {
    uint8_t items[MOST][ITEM];
    size_t count, capacity, high;
    bool closed;
};

static int list_push(struct list *l, const uint8_t *item)
{
    if (l->closed)
        return -EPIPE;
    if (l->count == l->capacity)
        return -EAGAIN;
    memcpy(l->items[l->count++], item, ITEM);
    l->high = l->count > l->high ? l->count : l->high;
    return 0;
}

static int list_pop(struct list *l, uint8_t *ret)
{
    if (l->count == 0)
        return l->closed ? -EPIPE : -EAGAIN;
    memcpy(ret, l->items[0], ITEM);
    memmove(l->items[0], l->items[1], --l->count * ITEM);
    return 0;
}

static void try_push(struct mr_queue *q, struct list *l)
{
    uint8_t item[ITEM];
    for (int i = 0; i < ITEM; i++)
        item[i] = (uint8_t)dice(256);
    bool waits = l->closed || l->count < l->capacity; /* it does not, then */
    int r = waits && dice(2) == 0 ? mr_queue_push(q, item) : mr_queue_try_push(q, item);
    ck_assert_int_eq(r, list_push(l, item));
}

static void try_pop(struct mr_queue *q, struct list *l)
{
    uint8_t got[ITEM], wanted[ITEM];
    memset(got, 0x5a, ITEM);
    memset(wanted, 0x5a, ITEM);
    bool waits = l->closed || l->count > 0;
    ck_assert_int_eq(mr_queue_pop(q, waits && dice(2) == 0 ? -1 : 0, got), list_pop(l, wanted));
    ck_assert_mem_eq(got, wanted, ITEM);
}

static void take_high(struct mr_queue *q, struct list *l)
{
    ck_assert_uint_eq(mr_queue_take_high(q), l->high);
    l->high = l->count;
}

START_TEST(it_is_a_list_whatever_comes)
{
    for (size_t capacity = 1; capacity <= MOST; capacity++) {
        struct list l = {.capacity = capacity};
        struct mr_queue *q = NULL;
        ck_assert_int_eq(mr_queue_new(ITEM, capacity, &q), 0);
        ck_assert_uint_eq(mr_queue_capacity(q), capacity);
        for (int step = 0; step < STEPS; step++) {
            uint64_t way = dice(16);
            if (way == 0)
                take_high(q, &l);
            else if (way < 6 + dice(6)) /* fuller, emptier and fuller again */
                try_push(q, &l);
            else
                try_pop(q, &l);
            if (step == STEPS - 30) {
                mr_queue_close(q);
                l.closed = true;
            }
            ck_assert_uint_eq(mr_queue_count(q), l.count);
            ck_assert(readable(q) == (l.count > 0 || l.closed));
        }
        mr_queue_free(q);
    }
}
END_TEST

/* ---- who waits is woken ---- */

struct waiter {
    struct mr_queue *q;
    int timeout_ms;
    bool pushes;
    atomic_int tid, result, item;
};

static void *wait_for_it(void *arg)
{
    struct waiter *w = arg;
    int v = 42;
    atomic_store(&w->tid, gettid());
    int r = w->pushes ? mr_queue_push(w->q, &v) : mr_queue_pop(w->q, w->timeout_ms, &v);
    atomic_store(&w->item, v);
    atomic_store(&w->result, r);
    return NULL;
}

static pthread_t send_to_wait(struct waiter *w)
{
    pthread_t thread;
    atomic_store(&w->result, 77);
    ck_assert_int_eq(pthread_create(&thread, NULL, wait_for_it, w), 0);
    UNTIL(atomic_load(&w->tid) != 0 && is_asleep(atomic_load(&w->tid)), sched_yield());
    return thread;
}

static void check_woken(pthread_t thread, struct waiter *w, int item)
{
    UNTIL(atomic_load(&w->result) != 77, sched_yield());
    pthread_join(thread, NULL);
    ck_assert_int_eq(atomic_load(&w->result), 0);
    ck_assert_int_eq(atomic_load(&w->item), item);
}

START_TEST(who_waits_for_an_item_gets_it)
{
    static const int timeouts[] = {-1, INT32_MAX};
    for (size_t i = 0; i < 2; i++) {
        struct waiter w = {.q = new_queue(2), .timeout_ms = timeouts[i]};
        pthread_t thread = send_to_wait(&w);
        ck_assert_int_eq(mr_queue_push(w.q, &(int){7}), 0);
        check_woken(thread, &w, 7);
        mr_queue_free(w.q);
    }
}
END_TEST

START_TEST(who_waits_for_room_gets_it)
{
    struct waiter w = {.q = new_queue(1), .pushes = true};
    int v = 0;
    ck_assert_int_eq(mr_queue_push(w.q, &(int){7}), 0);
    pthread_t thread = send_to_wait(&w);
    ck_assert_int_eq(mr_queue_pop(w.q, 0, &v), 0);
    ck_assert_int_eq(v, 7);
    check_woken(thread, &w, 42);
    ck_assert_int_eq(mr_queue_pop(w.q, 0, &v), 0);
    ck_assert_int_eq(v, 42);
    mr_queue_free(w.q);
}
END_TEST

START_TEST(each_of_several_that_wait_gets_one)
{
    enum { WAITERS = 5 };
    struct mr_queue *q = new_queue(WAITERS);
    struct waiter w[WAITERS];
    pthread_t threads[WAITERS];
    int sum = 0;
    for (int i = 0; i < WAITERS; i++) {
        w[i] = (struct waiter){.q = q, .timeout_ms = -1};
        threads[i] = send_to_wait(&w[i]);
    }
    for (int i = 0; i < WAITERS; i++)
        ck_assert_int_eq(mr_queue_push(q, &(int){1 << i}), 0);
    for (int i = 0; i < WAITERS; i++) {
        UNTIL(atomic_load(&w[i].result) == 0, sched_yield());
        pthread_join(threads[i], NULL);
        sum += atomic_load(&w[i].item);
    }
    ck_assert_int_eq(sum, (1 << WAITERS) - 1);
    mr_queue_free(q);
}
END_TEST

/* ---- making one ---- */

START_TEST(without_descriptors_there_is_none)
{
    struct rlimit before, none;
    struct mr_queue *q = NULL;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = mr_queue_new(sizeof(int), 4, &q);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(r, -EMFILE);
    ck_assert_ptr_null(q);
}
END_TEST

START_TEST(its_descriptor_is_not_inherited_and_goes_with_it)
{
    struct mr_queue *q = new_queue(1);
    int fd = mr_queue_fd(q);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    mr_queue_free(q);
    ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
}
END_TEST

MR_SUITE("queue", T(first_in_first_out_round_the_ring), T(full_and_empty_are_told),
         T(a_closed_queue_can_be_emptied_but_not_filled),
         T(the_eventfd_is_readable_while_there_is_something_to_learn),
         T(close_wakes_those_who_wait), T(a_crowd_loses_and_doubles_nothing),
         T(it_is_a_list_whatever_comes), T(who_waits_for_an_item_gets_it),
         T(who_waits_for_room_gets_it), T(each_of_several_that_wait_gets_one),
         T(without_descriptors_there_is_none), T(its_descriptor_is_not_inherited_and_goes_with_it))
