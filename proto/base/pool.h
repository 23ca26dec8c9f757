/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A fixed set of equal, page-aligned buffers, mapped and touched once at start. No buffer, no work:
 * that is the back-pressure. get from any thread, put from any thread (ZeroMQ's I/O threads too).
 */
#ifndef MR_BASE_POOL_H
#define MR_BASE_POOL_H

#include "base/err.h"

#include <stdint.h>

struct mr_pool;

struct mr_buffer {
    uint8_t *data;        /* aligned to the pool's alignment */
    size_t capacity;      /* bytes */
    struct mr_pool *pool; /* where it goes back to */
};

/* alignment: a power of two, at least 4096. -ENOMEM. Returns owned. */
int mr_pool_new(size_t buffer_bytes, size_t count, size_t alignment,
                struct mr_pool **ret) MR_MUST_USE;
void mr_pool_free(struct mr_pool *pool); /* NULL allowed; asserts that every buffer is back */

/* A loan, or NULL when all are out (try) / after waiting (get; timeout_ms -1 for ever). */
struct mr_buffer *mr_pool_try_get(struct mr_pool *pool);
struct mr_buffer *mr_pool_get(struct mr_pool *pool, int timeout_ms);
void mr_pool_put(struct mr_buffer *buffer);

size_t mr_pool_count(const struct mr_pool *pool);
size_t mr_pool_available(struct mr_pool *pool);
/* The most that were ever out, or since mr_pool_take_high, which begins anew. */
size_t mr_pool_take_high(struct mr_pool *pool);
int mr_pool_fd(const struct mr_pool *pool); /* eventfd: readable while a buffer is available */

#endif
