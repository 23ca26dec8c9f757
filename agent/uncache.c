/* SPDX-License-Identifier: Apache-2.0 */
/*
 * posix_fadvise(POSIX_FADV_DONTNEED) for what was shipped, on a thread of its own: the call may
 * wait for a busy disk. Knows no slab, and does not decide what has been shipped.
 */
#include "uncache.h"

#include "base/clock.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define JOIN_SHARE 8   /* of the time to the second: the most that joining makes a range early */
#define AGAIN_MAX  256 /* jobs that wait for their second time, each with a descriptor */

struct waiting {
    struct mr_uncache_job job;
    dev_t device;
    ino_t inode;
    int64_t due_ns;
};

struct mr_uncache {
    struct mr_queue *jobs;
    int64_t again_ns;
    struct waiting ring[AGAIN_MAX]; /* in order of due_ns */
    size_t first, count;
};

/* ---- the files' side ---- */

static void hand_over(struct mr_uncache_run *run, struct mr_queue *jobs, int fd, uint64_t to)
{
    /* Whole pages. The one at the end may be half somebody's who is writing: written back now, it
     * would make him wait where pages must stand still meanwhile. */
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct mr_uncache_job job = {.from = run->from / page * page, .to = to / page * page};
    *run = (struct mr_uncache_run){0};
    job.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (job.fd >= 0 && mr_queue_try_push(jobs, &job) < 0)
        close(job.fd);
}

void mr_uncache_note(struct mr_uncache_run *run, struct mr_queue *jobs, int fd, uint64_t from,
                     uint64_t to)
{
    if (run->bytes == 0 || from < run->from)
        run->from = from;
    if (to > run->to)
        run->to = to;
    run->bytes += to - from;
    if (run->bytes >= MR_UNCACHE_BATCH)
        hand_over(run, jobs, fd, run->to);
}

void mr_uncache_whole(struct mr_uncache_run *run, struct mr_queue *jobs, int fd, uint64_t size)
{
    *run = (struct mr_uncache_run){0};
    if (size >= MR_UNCACHE_LEAST)
        hand_over(run, jobs, fd, 0);
}

/* ---- the stage ---- */

int mr_uncache_new(struct mr_queue *jobs, int64_t again_ns, struct mr_uncache **ret)
{
    struct mr_uncache *u = calloc(1, sizeof(*u));
    if (u == NULL)
        return -ENOMEM;
    u->jobs = jobs;
    u->again_ns = again_ns;
    *ret = u;
    return 0;
}

void mr_uncache_free(struct mr_uncache *u)
{
    free(u);
}

/* A file system that does not know the call keeps its pages: no harm, and nothing to be done. */
static void advise(const struct mr_uncache_job *job)
{
    uint64_t bytes = job->to == 0 ? 0 : job->to - job->from; /* 0: to the end */
    if (job->to == 0 || job->to > job->from)
        (void)posix_fadvise(job->fd, (off_t)job->from, (off_t)bytes, POSIX_FADV_DONTNEED);
}

static void advise_oldest_again(struct mr_uncache *u)
{
    struct mr_uncache_job *job = &u->ring[u->first].job;
    advise(job);
    mr_fs_close(&job->fd);
    u->first = (u->first + 1) % AGAIN_MAX;
    u->count--;
}

/* Into one that waits already, not for long: a fast camera makes a hundred jobs a second. */
static bool join(struct mr_uncache *u, const struct waiting *w)
{
    for (size_t i = u->count; i-- > 0;) {
        struct waiting *other = &u->ring[(u->first + i) % AGAIN_MAX];
        if (w->due_ns - other->due_ns > u->again_ns / JOIN_SHARE)
            return false;
        if (other->device != w->device || other->inode != w->inode)
            continue;
        if (w->job.from < other->job.from)
            other->job.from = w->job.from;
        if (other->job.to != 0 && (w->job.to == 0 || w->job.to > other->job.to))
            other->job.to = w->job.to;
        return true;
    }
    return false;
}

static void take(struct mr_uncache *u, struct mr_uncache_job *job)
{
    struct stat st = {0};
    advise(job);
    struct waiting w = {.job = *job, .due_ns = mr_clock_monotonic_ns() + u->again_ns};
    if (fstat(job->fd, &st) < 0) {
        mr_fs_close(&job->fd);
        return;
    }
    w.device = st.st_dev;
    w.inode = st.st_ino;
    if (join(u, &w)) {
        mr_fs_close(&job->fd);
        return;
    }
    if (u->count == AGAIN_MAX)
        advise_oldest_again(u);
    u->ring[(u->first + u->count++) % AGAIN_MAX] = w;
}

static int wait_ms(const struct mr_uncache *u)
{
    if (u->count == 0)
        return -1;
    int64_t left_ns = u->ring[u->first].due_ns - mr_clock_monotonic_ns();
    return left_ns <= 0 ? 0 : (int)(left_ns / MR_NS_PER_MS) + 1;
}

static void run(void *stage)
{
    struct mr_uncache *u = stage;
    struct mr_uncache_job job;
    int r;
    while ((r = mr_queue_pop(u->jobs, wait_ms(u), &job)) != -EPIPE) {
        if (r == 0)
            take(u, &job);
        if (u->count > 0 && wait_ms(u) == 0)
            advise_oldest_again(u);
    }
    while (u->count > 0)
        advise_oldest_again(u);
}

const struct mr_stage mr_uncache_stage = {.name = "uncache", .run = run};
