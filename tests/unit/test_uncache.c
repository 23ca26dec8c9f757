/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does what was shipped leave the page cache, is what was not shipped left in it, and does nothing
 * of a file change by it, also where its pages have not been written back?
 */
#include "uncache.h"

#include "base/clock.h"
#include "base/fs.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#define MIB        (UINT64_C(1) << 20)
#define TMPFS_TYPE 0x01021994

static struct scratch dir;
static struct mr_queue *jobs;
static struct mr_uncache *stage;
static struct mr_thread *thread;
static int fd;
static uint8_t *seen; /* the file, mapped to see what of it is in memory */
static uint64_t size;

/* A file of `bytes`, read into the page cache; written back first where it says so. */
static void set_up(uint64_t bytes, bool written_back, int64_t again_ns)
{
    struct mr_err err = {0};
    size = bytes;
    dir = scratch_make();
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_uncache_job), 4, &jobs), 0);
    ck_assert_int_eq(mr_uncache_new(jobs, again_ns, &stage), 0);
    ck_assert_int_eq(mr_thread_start(&mr_uncache_stage, stage, &err, &thread), 0);
    fd = openat(dir.fd, "movie", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    uint8_t *data = malloc(MIB);
    for (uint64_t i = 0; i < bytes / MIB; i++) {
        memset(data, (int)i + 1, MIB);
        ck_assert_int_eq(mr_fs_pwrite_full(fd, data, MIB, i * MIB), 0);
    }
    free(data);
    ck_assert(!written_back || fsync(fd) == 0);
    seen = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    ck_assert_ptr_ne(seen, MAP_FAILED);
}

static void tear_down(void)
{
    mr_queue_close(jobs);
    mr_thread_join(thread);
    mr_uncache_free(stage);
    mr_queue_free(jobs);
    munmap(seen, size);
    close(fd);
    scratch_remove(&dir);
}

/* MiB of it of which some page is in memory. */
static uint64_t cached(uint64_t from_mib, uint64_t to_mib)
{
    const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), per_mib = MIB / page;
    unsigned char *map = malloc(size / page);
    uint64_t count = 0;
    ck_assert_int_eq(mincore(seen, size, map), 0);
    for (uint64_t i = from_mib; i < to_mib; i++) {
        bool any = false;
        for (uint64_t p = i * per_mib; p < (i + 1) * per_mib; p++)
            any |= map[p] & 1;
        count += any;
    }
    free(map);
    return count;
}

static void wait_until_cached(uint64_t from_mib, uint64_t to_mib, uint64_t most)
{
    UNTIL(cached(from_mib, to_mib) <= most, usleep(1000));
}

/* tmpfs has no other place for its pages. */
static bool has_disk(void)
{
    struct statfs fs;
    ck_assert_int_eq(fstatfs(fd, &fs), 0);
    return fs.f_type != TMPFS_TYPE;
}

static void need_disk(void)
{
    if (has_disk())
        return;
    tear_down();
    suite_skip("the scratch folder is on a tmpfs");
}

static void check_content(void)
{
    uint8_t *data = malloc(MIB);
    for (uint64_t i = 0; i < size / MIB; i++) {
        ck_assert_int_eq(mr_fs_pread_full(fd, data, MIB, i * MIB), 0);
        ck_assert(data[0] == i + 1 && memcmp(data, data + 1, MIB - 1) == 0);
    }
    free(data);
}

START_TEST(a_batch_leaves_and_the_rest_stays)
{
    struct mr_uncache_run run = {0};
    set_up(48 * MIB, true, MR_NS_PER_S);
    need_disk();
    for (uint64_t i = 0; i < 32; i += 4)
        mr_uncache_note(&run, jobs, fd, i * MIB, (i + 4) * MIB);
    ck_assert_uint_eq(run.bytes, 0); /* handed over */
    wait_until_cached(0, 32, 0);
    ck_assert_uint_gt(cached(33, 48), 0);
    check_content();
    tear_down();
}
END_TEST

/* The writer's own pages, not written back: the first advice does not drop them and does not lose
 * them; the kernel has begun with them, and the second finds them written. */
START_TEST(what_is_not_written_back_leaves_later)
{
    struct mr_uncache_run run = {0};
    set_up(32 * MIB, false, 20 * MR_NS_PER_MS);
    need_disk();
    mr_uncache_whole(&run, jobs, fd, size);
    /* a disk may take longer than one delay */
    UNTIL(cached(0, 32) == 0, mr_uncache_whole(&run, jobs, fd, size), usleep(20000));
    check_content();
    tear_down();
}
END_TEST

START_TEST(small_files_and_small_pieces_stay)
{
    struct mr_uncache_run run = {0};
    set_up(MIB, true, MR_NS_PER_S);
    mr_uncache_whole(&run, jobs, fd, size);
    mr_uncache_note(&run, jobs, fd, 0, MIB);
    ck_assert_uint_eq(mr_queue_count(jobs), 0);
    ck_assert_uint_eq(cached(0, 1), 1);
    tear_down();
}
END_TEST

static int open_files(void)
{
    int count = 0;
    for (int i = 0; i < 1024; i++)
        count += fcntl(i, F_GETFD) >= 0;
    return count;
}

static void stop_stage(void)
{
    mr_queue_close(jobs);
    mr_thread_join(thread);
    thread = NULL;
}

/* Nobody takes the jobs: advice is dropped, and no descriptor with it. A file may also have been
 * closed, or made shorter. */
START_TEST(a_stage_that_is_behind_costs_nothing)
{
    struct mr_uncache_run run = {0};
    struct mr_uncache_job job;
    set_up(8 * MIB, true, MR_NS_PER_S);
    int before = open_files();
    struct mr_queue *full;
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_uncache_job), 2, &full), 0);
    for (int i = 0; i < 10; i++)
        mr_uncache_whole(&run, full, fd, size);
    mr_uncache_whole(&run, full, -1, size);
    ck_assert_int_eq(open_files(), before + 3); /* one of them the queue's */
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    while (mr_queue_pop(full, 0, &job) == 0)
        ck_assert_int_eq(mr_queue_push(jobs, &job), 0);
    mr_queue_free(full);
    stop_stage();
    ck_assert_int_eq(open_files(), before);
    tear_down();
}
END_TEST

/* What a fast camera makes of one file in a row waits as one, for all of the ranges. */
START_TEST(ranges_of_a_file_wait_together)
{
    set_up(8 * MIB, true, 3600 * MR_NS_PER_S);
    int before = open_files();
    for (uint64_t i = 0; i < 512; i++) {
        struct mr_uncache_job job = {
            .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .from = i % 4 * MIB, .to = (i % 4 + 1) * MIB};
        ck_assert_int_eq(mr_queue_push(jobs, &job), 0);
    }
    UNTIL(open_files() <= before + 1, usleep(1000));
    ck_assert_int_eq(open_files(), before + 1);
    check_content(); /* which is in the cache again by that */
    stop_stage();
    ck_assert_uint_ge(cached(4, 8), 1);          /* the kernel may take some of it by itself */
    ck_assert(!has_disk() || cached(0, 3) == 0); /* what is read ahead may be beside it */
    ck_assert_int_eq(open_files(), before);
    tear_down();
}
END_TEST

/* More files than may wait for their second time: the oldest have it at once. */
START_TEST(descriptors_are_bounded)
{
    set_up(MIB, true, 3600 * MR_NS_PER_S);
    int before = open_files();
    for (int i = 0; i < 600; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%d", i);
        struct mr_uncache_job job = {.to = 0};
        job.fd = openat(dir.fd, name, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        ck_assert_int_ge(job.fd, 0);
        ck_assert_int_eq(mr_queue_push(jobs, &job), 0);
    }
    ck_assert_int_le(open_files(), before + 256 + 8);
    stop_stage();
    ck_assert_int_eq(open_files(), before);
    tear_down();
}
END_TEST

MR_SUITE("uncache", T(a_batch_leaves_and_the_rest_stays), T(what_is_not_written_back_leaves_later),
         T(small_files_and_small_pieces_stay), T(a_stage_that_is_behind_costs_nothing),
         T(ranges_of_a_file_wait_together), T(descriptors_are_bounded))
