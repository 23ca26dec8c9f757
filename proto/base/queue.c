/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bounded queue between stages: a ring under one mutex. Does not grow, does not know what it
 * carries, wakes one waiter per item. At some hundred slabs a second a lock is far from being a
 * cost.
 */
#include "base/queue.h"

#include "base/clock.h"
#include "base/tally.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

struct mr_queue {
    pthread_mutex_t mutex;
    pthread_cond_t not_empty, not_full;
    size_t item_bytes, capacity;
    size_t first, count; /* under mutex, as all below */
    size_t high;         /* the largest count */
    bool closed;
    bool readable; /* the eventfd's counter is 1, else 0 */
    int fd;
    uint8_t *items;
};

/* Keeps "readable = not empty or closed" true; called with the mutex held after every change. */
static void set_readable(struct mr_queue *q)
{
    bool wanted = q->count > 0 || q->closed;
    if (wanted == q->readable)
        return;
    eventfd_t value;
    int r = wanted ? eventfd_write(q->fd, 1) : eventfd_read(q->fd, &value);
    assert(r == 0);
    (void)r;
    q->readable = wanted;
}

static void init_condition(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

int mr_queue_new(size_t item_bytes, size_t capacity, struct mr_queue **ret)
{
    assert(item_bytes > 0 && capacity > 0);
    struct mr_queue *q = calloc(1, sizeof(*q));
    if (q == NULL)
        return -ENOMEM;
    q->items = calloc(capacity, item_bytes);
    q->fd = q->items == NULL ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (q->fd < 0) {
        int r = q->items == NULL ? -ENOMEM : -errno;
        free(q->items);
        free(q);
        return r;
    }
    q->item_bytes = item_bytes;
    q->capacity = capacity;
    pthread_mutex_init(&q->mutex, NULL);
    init_condition(&q->not_empty);
    init_condition(&q->not_full);
    *ret = q;
    return 0;
}

void mr_queue_free(struct mr_queue *q)
{
    if (q == NULL)
        return;
    pthread_cond_destroy(&q->not_full);
    pthread_cond_destroy(&q->not_empty);
    pthread_mutex_destroy(&q->mutex);
    close(q->fd);
    free(q->items);
    free(q);
}

static void wait_not_full(struct mr_queue *q)
{
    if (q->count < q->capacity || q->closed)
        return;
    mr_tally_wait(MR_TALLY_ROOM);
    while (q->count == q->capacity && !q->closed)
        pthread_cond_wait(&q->not_full, &q->mutex);
    mr_tally_go_on();
}

static int push_locked(struct mr_queue *q, const void *item, bool wait)
{
    if (wait)
        wait_not_full(q);
    if (q->closed)
        return -EPIPE;
    if (q->count == q->capacity)
        return -EAGAIN;
    size_t slot = (q->first + q->count) % q->capacity;
    memcpy(q->items + slot * q->item_bytes, item, q->item_bytes);
    q->count++;
    q->high = q->count > q->high ? q->count : q->high;
    set_readable(q);
    pthread_cond_signal(&q->not_empty);
    return 0;
}

static int push(struct mr_queue *q, const void *item, bool wait)
{
    pthread_mutex_lock(&q->mutex);
    int r = push_locked(q, item, wait);
    pthread_mutex_unlock(&q->mutex);
    return r;
}

int mr_queue_try_push(struct mr_queue *q, const void *item)
{
    return push(q, item, false);
}

int mr_queue_push(struct mr_queue *q, const void *item)
{
    return push(q, item, true);
}

static void wait_not_empty(struct mr_queue *q, int timeout_ms)
{
    const struct timespec until = mr_clock_after_ms(timeout_ms);
    int r = 0;
    mr_tally_wait(MR_TALLY_INPUT);
    while (q->count == 0 && !q->closed && r != ETIMEDOUT)
        r = timeout_ms < 0 ? pthread_cond_wait(&q->not_empty, &q->mutex)
                           : pthread_cond_timedwait(&q->not_empty, &q->mutex, &until);
    mr_tally_go_on();
}

static int pop_locked(struct mr_queue *q, int timeout_ms, void *ret_item)
{
    if (timeout_ms != 0 && q->count == 0 && !q->closed)
        wait_not_empty(q, timeout_ms);
    if (q->count == 0)
        return q->closed ? -EPIPE : -EAGAIN;
    memcpy(ret_item, q->items + q->first * q->item_bytes, q->item_bytes);
    q->first = (q->first + 1) % q->capacity;
    q->count--;
    set_readable(q);
    pthread_cond_signal(&q->not_full);
    return 0;
}

int mr_queue_pop(struct mr_queue *q, int timeout_ms, void *ret_item)
{
    pthread_mutex_lock(&q->mutex);
    int r = pop_locked(q, timeout_ms, ret_item);
    pthread_mutex_unlock(&q->mutex);
    return r;
}

void mr_queue_close(struct mr_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    set_readable(q);
    pthread_cond_broadcast(&q->not_empty);
    pthread_cond_broadcast(&q->not_full);
    pthread_mutex_unlock(&q->mutex);
}

size_t mr_queue_count(struct mr_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    size_t count = q->count;
    pthread_mutex_unlock(&q->mutex);
    return count;
}

size_t mr_queue_capacity(const struct mr_queue *q)
{
    return q->capacity;
}

size_t mr_queue_take_high(struct mr_queue *q)
{
    pthread_mutex_lock(&q->mutex);
    size_t high = q->high;
    q->high = q->count;
    pthread_mutex_unlock(&q->mutex);
    return high;
}

int mr_queue_fd(const struct mr_queue *q)
{
    return q->fd;
}
