/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fixed pool: one mapping, cut into equal buffers, touched once at start because the first
 * touch of memory is ten times slower than the second. Loans go last in, first out, while caches
 * are warm. Does not grow and does not clear what it lends.
 */
#include "base/pool.h"

#include "base/clock.h"
#include "base/tally.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGE ((size_t)2 << 20) /* bytes; x86-64 and arm64 with 4 KiB pages */

struct slot {
    struct mr_buffer buffer; /* first: a loan's address is its slot's */
    bool lent;
};

struct mr_pool {
    pthread_mutex_t mutex;
    pthread_cond_t returned;
    uint8_t *memory;
    size_t memory_bytes, count;
    int fd;
    struct slot *slots;
    struct slot **free_slots; /* a stack; under mutex, as all below */
    size_t available, fewest; /* fewest: the smallest available */
    bool readable;            /* the eventfd's counter is 1, else 0 */
};

static void set_readable(struct mr_pool *pool)
{
    bool wanted = pool->available > 0;
    if (wanted == pool->readable)
        return;
    eventfd_t value;
    int r = wanted ? eventfd_write(pool->fd, 1) : eventfd_read(pool->fd, &value);
    assert(r == 0);
    (void)r;
    pool->readable = wanted;
}

static void *align_up(void *p, size_t alignment)
{
    uintptr_t at = (uintptr_t)p;
    return (uint8_t *)p + ((alignment - at % alignment) % alignment);
}

/* Maps bytes (a multiple of the page) on a multiple of alignment; gives the edges back. */
static uint8_t *map_aligned(size_t bytes, size_t alignment)
{
    uint8_t *all = mmap(NULL, bytes + alignment, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (all == MAP_FAILED)
        return NULL;
    uint8_t *start = align_up(all, alignment);
    size_t before = (size_t)(start - all);
    if (before > 0)
        munmap(all, before);
    if (alignment > before)
        munmap(start + bytes, alignment - before);
    return start;
}

/* Huge pages first, then touch: the other way round the small pages would stay. */
static int touch(uint8_t *memory, size_t bytes)
{
    if (bytes >= HUGE_PAGE)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* advice; refused where the kernel has none */
    if (madvise(memory, bytes, MADV_POPULATE_WRITE) == 0)
        return 0;
    if (errno != EINVAL) /* EINVAL: before Linux 5.14 */
        return errno == EFAULT ? -ENOMEM : -errno;
    for (size_t i = 0; i < bytes; i += 4096)
        *(volatile uint8_t *)(memory + i) = 0;
    return 0;
}

static int map_memory(struct mr_pool *pool, size_t stride, size_t alignment)
{
    size_t bytes;
    if (__builtin_mul_overflow(stride, pool->count, &bytes) || bytes > SIZE_MAX / 4)
        return -ENOMEM;
    bool huge = bytes >= HUGE_PAGE && alignment < HUGE_PAGE;
    uint8_t *memory = map_aligned(bytes, huge ? HUGE_PAGE : alignment);
    if (memory == NULL)
        return -ENOMEM;
    pool->memory = memory;
    pool->memory_bytes = bytes;
    return touch(memory, bytes);
}

static void fill_slots(struct mr_pool *pool, size_t buffer_bytes, size_t stride)
{
    for (size_t i = 0; i < pool->count; i++) {
        pool->slots[i].buffer = (struct mr_buffer){
            .data = pool->memory + i * stride, .capacity = buffer_bytes, .pool = pool};
        pool->free_slots[pool->count - 1 - i] = &pool->slots[i];
    }
    pool->available = pool->fewest = pool->count;
    set_readable(pool);
}

static void init_lock(struct mr_pool *pool)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->returned, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&pool->mutex, NULL);
}

static void release(struct mr_pool *pool)
{
    if (pool->memory != NULL)
        munmap(pool->memory, pool->memory_bytes);
    if (pool->fd >= 0)
        close(pool->fd);
    free(pool->slots);
    free(pool->free_slots);
    pthread_cond_destroy(&pool->returned);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

static int build(struct mr_pool *pool, size_t buffer_bytes, size_t alignment)
{
    size_t stride;
    if (__builtin_add_overflow(buffer_bytes, alignment - 1, &stride))
        return -ENOMEM;
    stride -= stride % alignment;
    pool->slots = calloc(pool->count, sizeof(*pool->slots));
    pool->free_slots = calloc(pool->count, sizeof(struct slot *));
    if (pool->slots == NULL || pool->free_slots == NULL)
        return -ENOMEM;
    pool->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (pool->fd < 0)
        return -errno;
    int r = map_memory(pool, stride, alignment);
    if (r == 0)
        fill_slots(pool, buffer_bytes, stride);
    return r;
}

int mr_pool_new(size_t buffer_bytes, size_t count, size_t alignment, struct mr_pool **ret)
{
    assert(buffer_bytes > 0 && count > 0);
    assert(alignment >= 4096 && (alignment & (alignment - 1)) == 0);
    struct mr_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return -ENOMEM;
    pool->fd = -1;
    pool->count = count;
    init_lock(pool);
    int r = build(pool, buffer_bytes, alignment);
    if (r < 0)
        release(pool);
    else
        *ret = pool;
    return r;
}

void mr_pool_free(struct mr_pool *pool)
{
    if (pool == NULL)
        return;
    pthread_mutex_lock(&pool->mutex); /* whoever put last may still hold it */
    assert(pool->available == pool->count);
    pthread_mutex_unlock(&pool->mutex);
    release(pool);
}

static void wait_returned(struct mr_pool *pool, int timeout_ms)
{
    const struct timespec until = mr_clock_after_ms(timeout_ms);
    int r = 0;
    mr_tally_wait(MR_TALLY_ROOM);
    while (pool->available == 0 && r != ETIMEDOUT)
        r = timeout_ms < 0 ? pthread_cond_wait(&pool->returned, &pool->mutex)
                           : pthread_cond_timedwait(&pool->returned, &pool->mutex, &until);
    mr_tally_go_on();
}

struct mr_buffer *mr_pool_get(struct mr_pool *pool, int timeout_ms)
{
    struct mr_buffer *buffer = NULL;
    pthread_mutex_lock(&pool->mutex);
    if (timeout_ms != 0 && pool->available == 0)
        wait_returned(pool, timeout_ms);
    if (pool->available > 0) {
        struct slot *slot = pool->free_slots[--pool->available];
        pool->fewest = pool->available < pool->fewest ? pool->available : pool->fewest;
        slot->lent = true;
        buffer = &slot->buffer;
        set_readable(pool);
    }
    pthread_mutex_unlock(&pool->mutex);
    return buffer;
}

struct mr_buffer *mr_pool_try_get(struct mr_pool *pool)
{
    return mr_pool_get(pool, 0);
}

void mr_pool_put(struct mr_buffer *buffer)
{
    struct mr_pool *pool = buffer->pool;
    struct slot *slot = (struct slot *)buffer;
    pthread_mutex_lock(&pool->mutex);
    assert(slot->lent);
    slot->lent = false;
    pool->free_slots[pool->available++] = slot;
    set_readable(pool);
    pthread_cond_signal(&pool->returned);
    pthread_mutex_unlock(&pool->mutex);
}

size_t mr_pool_count(const struct mr_pool *pool)
{
    return pool->count;
}

size_t mr_pool_available(struct mr_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    size_t available = pool->available;
    pthread_mutex_unlock(&pool->mutex);
    return available;
}

size_t mr_pool_take_high(struct mr_pool *pool)
{
    pthread_mutex_lock(&pool->mutex);
    size_t high = pool->count - pool->fewest;
    pool->fewest = pool->available;
    pthread_mutex_unlock(&pool->mutex);
    return high;
}

int mr_pool_fd(const struct mr_pool *pool)
{
    return pool->fd;
}
