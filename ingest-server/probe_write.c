/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do bytes land as the server writes them, and how long until they are safe? Measures the time of
 * fdatasync and of a folder's fsync alone, because every acknowledgement waits for them; is no
 * benchmark of the disk.
 */
#include "base/clock.h"
#include "base/fs.h"
#include "probe_trial.h"
#include "uring.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYNCS        15
#define FOLDER_SYNCS 5
#define SLOW_SYNC_NS (20 * MR_NS_PER_MS)
#define BLOCK_MAX    (1u << 20)
#define WAIT_MS      10000

/* Writes a block at its own multiple and reads it back past the page cache. */
static int write_direct(int fd, uint32_t alignment)
{
    uint8_t *block = aligned_alloc(alignment, 2 * (size_t)alignment);
    if (block == NULL)
        return -ENOMEM;
    memset(block, 0xa5, alignment);
    memset(block + alignment, 0, alignment);
    int r = mr_fs_pwrite_full(fd, block, alignment, alignment);
    if (r == 0)
        r = mr_fs_pread_full(fd, block + alignment, alignment, alignment);
    if (r == 0 && memcmp(block, block + alignment, alignment) != 0)
        r = -EBADMSG;
    free(block);
    return r;
}

void mr_trial_direct(struct mr_trial *t)
{
    static const char what[] = "direct I/O";
    uint32_t alignment;
    MR_CLEANUP(mr_fs_close)
    int fd = openat(t->fd, "direct", O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);
    if (fd < 0) {
        mr_trial_say(t, what, "note", "%s: written through the page cache, which costs a copy",
                     mr_err_name(errno));
        return;
    }
    int r = mr_fs_direct_alignment(fd, &alignment);
    if (r < 0 || alignment > BLOCK_MAX) {
        mr_trial_say(t, what, "note", "its alignment cannot be known: set store.direct_io: off");
        return;
    }
    r = write_direct(fd, alignment);
    if (r == -EBADMSG)
        mr_trial_refuse(t, what, r, "what was written reads back otherwise");
    else if (r < 0)
        mr_trial_say(t, what, "note", "opens, but fails (%s): set store.direct_io: off",
                     mr_err_name(r));
    else
        mr_trial_say(t, what, "ok", "in blocks of %u", alignment);
}

/* ---- io_uring ---- */

static int wait_for_one(struct mr_uring *u, int64_t *ret_result)
{
    struct mr_uring_done done;
    int r = mr_uring_submit(u);
    while ((r == 0 || r == -EAGAIN) && mr_uring_reap(u, &done, 1) == 0) {
        int waited = mr_uring_wait(u, WAIT_MS);
        r = waited < 0 && waited != -EINTR ? waited : mr_uring_submit(u);
    }
    if (r == 0)
        *ret_result = done.result;
    return r;
}

static int write_by_engine(struct mr_uring *u, int fd)
{
    static const char block[4096] = {1};
    int64_t result;
    const struct mr_uring_write w = {
        .fd = fd, .alignment = 1, .data = block, .bytes = sizeof(block), .offset = 0};
    int r = mr_uring_write(u, &w, 1);
    if (r == 0)
        r = wait_for_one(u, &result);
    if (r < 0 || result != (int64_t)sizeof(block))
        return r < 0 ? r : result < 0 ? (int)result : -EIO;
    r = mr_uring_fdatasync(u, fd, 2);
    if (r == 0)
        r = wait_for_one(u, &result);
    return r < 0 ? r : (int)result;
}

void mr_trial_uring(struct mr_trial *t)
{
    const struct mr_uring_config config = {.depth = 8, .pool_threads = 1};
    struct mr_err notice = {0};
    struct mr_uring *u = NULL;
    MR_CLEANUP(mr_fs_close)
    int fd = openat(t->fd, "engine", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : mr_uring_open(&config, &notice, &u);
    if (r == 0)
        r = write_by_engine(u, fd);
    if (r < 0)
        mr_trial_refuse(t, "io_uring", r, "neither it nor the threads in its stead can write");
    else if (notice.code != 0)
        mr_trial_say(t, "io_uring", "note", "%s", notice.text);
    else
        mr_trial_say(t, "io_uring", "ok", "by %s", mr_uring_name(u));
    mr_uring_close(u);
}

/* ---- room and syncs ---- */

void mr_trial_allocate(struct mr_trial *t)
{
    static const char what[] = "allocate ahead";
    MR_CLEANUP(mr_fs_close)
    int fd = openat(t->fd, "allocate", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, BLOCK_MAX) == 0)
        mr_trial_say(t, what, "ok", "fallocate");
    else if (fd < 0 || errno == ENOSPC || errno == EDQUOT)
        mr_trial_refuse(t, what, -errno, "there must be room for a file");
    else
        mr_trial_say(t, what, "note", "%s: space runs out while writing, not before",
                     mr_err_name(errno));
}

static int by_time(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static int time_syncs(int fd, int64_t *ret_times)
{
    static const char block[4096] = {1};
    for (unsigned i = 0; i < SYNCS; i++) {
        int r = mr_fs_pwrite_full(fd, block, sizeof(block), i * sizeof(block));
        int64_t begin_ns = mr_clock_monotonic_ns();
        if (r == 0 && fdatasync(fd) < 0)
            r = -errno;
        if (r < 0)
            return r;
        ret_times[i] = mr_clock_monotonic_ns() - begin_ns;
    }
    return 0;
}

static void say_times(struct mr_trial *t, const char *what, int64_t *times, unsigned count,
                      const char *slow)
{
    qsort(times, count, sizeof(times[0]), by_time);
    bool is_slow = times[count / 2] > SLOW_SYNC_NS;
    mr_trial_say(t, what, is_slow ? "note" : "ok", "%.2f ms (median of %u; slowest %.2f ms)%s",
                 (double)times[count / 2] / 1e6, count, (double)times[count - 1] / 1e6,
                 is_slow ? slow : "");
}

void mr_trial_sync(struct mr_trial *t)
{
    int64_t times[SYNCS];
    MR_CLEANUP(mr_fs_close)
    int fd = openat(t->fd, "sync", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : time_syncs(fd, times);
    if (r < 0)
        mr_trial_refuse(t, "fdatasync", r, "without it nothing can be acknowledged");
    else
        say_times(t, "fdatasync", times, SYNCS,
                  ": small files will be slow; a write cache that survives power loss helps");
}

void mr_trial_sync_folder(struct mr_trial *t)
{
    static const char what[] = "fsync of folders";
    int64_t times[FOLDER_SYNCS];
    char name[32];
    for (unsigned i = 0; i < FOLDER_SYNCS; i++) {
        snprintf(name, sizeof(name), "named-%u", i);
        int r = mr_trial_make_file(t->fd, name);
        int64_t begin_ns = mr_clock_monotonic_ns();
        if (r == 0)
            r = mr_fs_sync_dir(t->fd);
        if (r < 0) {
            mr_trial_refuse(t, what, r, "without it a finished movie could lose its name");
            return;
        }
        times[i] = mr_clock_monotonic_ns() - begin_ns;
    }
    say_times(t, what, times, FOLDER_SYNCS, ": each movie waits for several");
}
