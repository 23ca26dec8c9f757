/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and fdatasyncs by a few threads, behind the face of uring.h. Slower than io_uring and
 * there for hosts that forbid it. Completions come in any order, as from a ring. Knows no liburing.
 */
#include "write_pool.h"

#include "base/queue.h"
#include "base/thread.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct job {
    bool sync;
    struct mr_uring_write write; /* sync: only its fd */
    uint64_t token;
};

struct write_pool {
    struct mr_uring base;
    struct mr_queue *jobs; /* struct job, to the threads */
    struct mr_queue *done; /* struct mr_uring_done, back; room for all that can be in flight */
    struct mr_thread **threads;
    uint32_t thread_count;
    uint32_t depth, in_flight; /* touched by the owner only */
};

static int64_t write_whole(struct mr_uring_write w)
{
    int64_t total = (int64_t)w.bytes;
    unsigned attempts = 0;
    int more = 1;
    while (more > 0) {
        ssize_t n = pwrite(w.fd, w.data, w.bytes, (off_t)w.offset);
        more = mr_uring_carry_on(&w, &attempts, n < 0 ? -errno : n);
    }
    return more < 0 ? more : total;
}

static void run(void *stage)
{
    struct write_pool *pool = stage;
    struct job job;
    while (mr_queue_pop(pool->jobs, -1, &job) == 0) {
        struct mr_uring_done done = {.token = job.token};
        if (job.sync)
            done.result = fdatasync(job.write.fd) == 0 ? 0 : -errno;
        else
            done.result = write_whole(job.write);
        int pushed = mr_queue_push(pool->done, &done);
        assert(pushed == 0);
    }
}

static int put_job(struct write_pool *pool, const struct job *job)
{
    if (pool->in_flight == pool->depth)
        return -EAGAIN;
    int pushed = mr_queue_try_push(pool->jobs, job);
    assert(pushed == 0); /* as many places as operations in flight */
    pool->in_flight++;
    return 0;
}

static int pool_write(struct mr_uring *u, const struct mr_uring_write *w, uint64_t token)
{
    struct job job = {.write = *w, .token = token};
    return put_job((struct write_pool *)u, &job);
}

static int pool_fdatasync(struct mr_uring *u, int fd, uint64_t token)
{
    struct job job = {.sync = true, .write.fd = fd, .token = token};
    return put_job((struct write_pool *)u, &job);
}

static int pool_submit(struct mr_uring *u)
{
    (void)u; /* the threads have it already */
    return 0;
}

static size_t pool_reap(struct mr_uring *u, struct mr_uring_done *ret, size_t capacity)
{
    struct write_pool *pool = (struct write_pool *)u;
    size_t count = 0;
    while (count < capacity && mr_queue_pop(pool->done, 0, &ret[count]) == 0)
        count++;
    assert(count <= pool->in_flight);
    pool->in_flight -= (uint32_t)count;
    return count;
}

static void pool_close(struct mr_uring *u)
{
    struct write_pool *pool = (struct write_pool *)u;
    if (pool->jobs != NULL)
        mr_queue_close(pool->jobs);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        mr_thread_join(pool->threads[i]);
    mr_queue_free(pool->jobs);
    mr_queue_free(pool->done);
    free(pool->threads);
    free(pool);
}

static const struct mr_uring_ops pool_ops = {.name = "pwrite",
                                             .write = pool_write,
                                             .fdatasync = pool_fdatasync,
                                             .submit = pool_submit,
                                             .reap = pool_reap,
                                             .close = pool_close};

static int start(struct write_pool *pool, uint32_t threads, struct mr_err *err)
{
    static const struct mr_stage stage = {.name = "write-pool", .run = run};
    int r = mr_queue_new(sizeof(struct job), pool->depth, &pool->jobs);
    if (r == 0)
        r = mr_queue_new(sizeof(struct mr_uring_done), pool->depth, &pool->done);
    if (r == 0 && (pool->threads = calloc(threads, sizeof(struct mr_thread *))) == NULL)
        r = -ENOMEM;
    if (r != 0)
        return mr_err_errno(err, r, "write pool");
    pool->base.event_fd = mr_queue_fd(pool->done);
    for (; r == 0 && pool->thread_count < threads; pool->thread_count += r == 0)
        r = mr_thread_start(&stage, pool, err, &pool->threads[pool->thread_count]);
    return r;
}

int mr_write_pool_open(uint32_t depth, uint32_t threads, struct mr_err *err, struct mr_uring **ret)
{
    assert(depth > 0 && threads > 0);
    struct write_pool *pool = calloc(1, sizeof(*pool));
    if (pool == NULL)
        return mr_err_errno(err, -ENOMEM, "write pool");
    pool->base = (struct mr_uring){.ops = &pool_ops, .event_fd = -1};
    pool->depth = depth;
    int r = start(pool, threads, err);
    if (r != 0) {
        pool_close(&pool->base);
        return r;
    }
    *ret = &pool->base;
    return 0;
}
