/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bounded queue of fixed-size items between stages (mutex, condition, eventfd). Items are copied
 * in and out; a pointer in an item changes owner when the push succeeds and stays with the caller
 * when it fails. Any number of pushing and popping threads.
 *
 * The eventfd (mr_queue_fd) is readable while the queue is not empty or is closed, so a thread can
 * wait on it beside ZeroMQ sockets; it is never to be read by the caller.
 */
#ifndef MR_BASE_QUEUE_H
#define MR_BASE_QUEUE_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

struct mr_queue;

/* capacity: items, > 0. -ENOMEM, -EMFILE. Returns owned. */
int mr_queue_new(size_t item_bytes, size_t capacity, struct mr_queue **ret) MR_MUST_USE;
void mr_queue_free(struct mr_queue *q); /* NULL allowed; items inside are dropped */

/* -EAGAIN full (try), -EPIPE closed. mr_queue_push waits while full. */
int mr_queue_try_push(struct mr_queue *q, const void *item) MR_MUST_USE;
int mr_queue_push(struct mr_queue *q, const void *item) MR_MUST_USE;

/* -EAGAIN empty and open, -EPIPE empty and closed. timeout_ms: 0 polls, -1 waits for ever. */
int mr_queue_pop(struct mr_queue *q, int timeout_ms, void *ret_item) MR_MUST_USE;

void mr_queue_close(struct mr_queue *q); /* pushes fail from now on; what is inside can be popped */
size_t mr_queue_count(struct mr_queue *q);
size_t mr_queue_capacity(const struct mr_queue *q);
/* The most that was ever in it, or since mr_queue_take_high, which begins anew. */
size_t mr_queue_take_high(struct mr_queue *q);
int mr_queue_fd(const struct mr_queue *q);

#endif
