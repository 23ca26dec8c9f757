/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do slabs that two lanes land in one movie lie on a real disk as they came, with a journal that
 * says where? Both engines, with and without O_DIRECT, on disk and on tmpfs, BYTES and CHUNKS.
 */
#include "base/clock.h"
#include "base/recordlog.h"
#include "held_disk.h"
#include "suite.h"

#include <poll.h>
#include <pthread.h>

#define LANES      2
#define SLABS      14u
#define SLAB_BYTES (512u * 1024)
#define TAIL_BYTES 12345u /* the last slab */

struct lane {
    struct mr_movie *movie;
    struct mr_pool *pool;
    struct mr_landing *landing;
    bool pwrite;
    unsigned index, put, durable;
    bool detached;
};

static uint32_t slab_bytes(unsigned slab)
{
    return slab == SLABS - 1 ? TAIL_BYTES : SLAB_BYTES;
}

static uint8_t pattern(unsigned slab, size_t i)
{
    return (uint8_t)(slab * 31 + i * 7 + (i >> 12));
}

static void on_durable(void *ctx, struct mr_movie *movie, const struct mr_placement *list,
                       size_t count)
{
    struct lane *lane = ctx;
    (void)movie, (void)list;
    lane->durable += (unsigned)count;
}

static void on_failed(void *ctx, struct mr_movie *movie, int code, enum mr_landing_failure what,
                      const char *text)
{
    (void)ctx, (void)movie, (void)code, (void)what;
    ck_abort_msg("%s", text);
}

static void on_detached(void *ctx, struct mr_movie *movie)
{
    (void)movie;
    ((struct lane *)ctx)->detached = true;
}

static bool put_next(struct lane *lane)
{
    unsigned slab = lane->put * LANES + lane->index;
    struct mr_buffer *buffer = slab < SLABS ? mr_pool_try_get(lane->pool) : NULL;
    if (buffer == NULL)
        return false;
    for (size_t i = 0; i < slab_bytes(slab); i++)
        buffer->data[i] = pattern(slab, i);
    struct mr_placement p = held_placement(slab, slab_bytes(slab));
    ck_assert_int_eq(mr_landing_put(lane->landing, lane->movie, &p, buffer), 0);
    lane->put++;
    if (slab + LANES >= SLABS)
        ck_assert_int_eq(mr_landing_detach(lane->landing, lane->movie), 0);
    return true;
}

static void wait_for_work(const struct lane *lane)
{
    int64_t left_ns = mr_landing_next_deadline_ns(lane->landing) - mr_clock_monotonic_ns();
    int64_t ms = left_ns > 0 ? left_ns / MR_NS_PER_MS + 1 : 0;
    struct pollfd p = {.fd = mr_landing_fd(lane->landing), .events = POLLIN};
    int n = poll(&p, 1, ms < 30000 ? (int)ms : 30000);
    ck_assert_msg(n > 0 || ms < 30000, "nothing completed in 30 s");
}

static void *run_lane(void *ctx)
{
    struct lane *lane = ctx;
    const struct mr_landing_callbacks callbacks = {
        .ctx = lane, .durable = on_durable, .failed = on_failed, .detached = on_detached};
    struct mr_landing_config config = {.uring = {.depth = 4, .force_pwrite_pool = lane->pwrite},
                                       .group_bytes = 2 * SLAB_BYTES};
    struct mr_err err = {0};
    ck_assert_int_eq(mr_pool_new(SLAB_BYTES + MR_MOVIE_SLACK, 3, 65536, &lane->pool), 0);
    ck_assert_int_eq(mr_landing_new(&config, &callbacks, &err, &lane->landing), 0);
    ck_assert_msg(mr_landing_attach(lane->landing, lane->movie, &err) == 0, "%s", err.text);
    while (!lane->detached) {
        while (put_next(lane))
            continue;
        ck_assert_int_eq(mr_landing_step(lane->landing, mr_clock_monotonic_ns()), 0);
        if (!lane->detached)
            wait_for_work(lane);
    }
    mr_landing_free(lane->landing);
    mr_pool_free(lane->pool);
    return NULL;
}

static void check_slab(const struct mr_movie *movie, const struct mr_placement *p)
{
    static uint8_t back[SLAB_BYTES];
    ck_assert_uint_eq(p->stored_bytes, slab_bytes((unsigned)p->slab));
    ck_assert_int_eq(mr_fs_pread_full(movie->part_fd, back, p->stored_bytes, p->offset), 0);
    size_t same = 0;
    while (same < p->stored_bytes && back[same] == pattern((unsigned)p->slab, same))
        same++; /* one assertion, not one a byte: each is a write(2) of Check's */
    ck_assert_msg(same == p->stored_bytes, "slab %d differs at byte %zu", (int)p->slab, same);
}

struct journal_check {
    const struct mr_movie *movie;
    unsigned seen[SLABS];
};

static int visit(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct journal_check *check = ctx;
    (void)bytes, (void)offset;
    struct mr_placement p;
    ck_assert_int_eq(mr_placement_parse(text, &p), 0);
    check->seen[p.slab]++;
    check_slab(check->movie, &p);
    return 0;
}

static void land(const char *parent, bool pwrite, bool direct, enum mr_layout layout)
{
    static struct lane lanes[LANES];
    char dir[64];
    (void)snprintf(dir, sizeof(dir), "%s/landing_disk.XXXXXX", parent);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    struct mr_movie *movie = held_movie(dir, "a", direct);
    movie->geometry.layout = layout;
    atomic_store(&movie->space_end, 4096);
    pthread_t threads[LANES];
    for (unsigned i = 0; i < LANES; i++) {
        lanes[i] = (struct lane){.movie = movie, .pwrite = pwrite, .index = i};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run_lane, &lanes[i]), 0);
    }
    unsigned durable = 0;
    for (unsigned i = 0; i < LANES; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        durable += lanes[i].durable;
    }
    ck_assert_uint_eq(durable, SLABS);
    ck_assert_int_eq(fcntl(movie->part_fd, F_SETFL, 0), 0); /* read back through the cache */
    struct journal_check check = {.movie = movie};
    struct mr_recordlog_scan scan;
    ck_assert_int_eq(mr_recordlog_scan(movie->journal_fd, 0, visit, &check, &scan), 0);
    ck_assert_uint_eq(scan.records, SLABS);
    ck_assert(!scan.torn_tail && scan.bad_records == 0);
    for (unsigned i = 0; i < SLABS; i++)
        ck_assert_uint_eq(check.seen[i], 1);
    ck_assert_uint_eq(atomic_load(&movie->references), 1);
    mr_movie_release(movie);
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/a.part", dir);
    ck_assert_int_eq(unlink(path), 0);
    (void)snprintf(path, sizeof(path), "%s/a.journal", dir);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(ring_lands_on_disk)
{
    land(".", false, true, MR_LAYOUT_BYTES);
    land(".", false, false, MR_LAYOUT_BYTES);
    land(".", false, true, MR_LAYOUT_CHUNKS);
}
END_TEST

START_TEST(pool_lands_on_disk)
{
    land(".", true, true, MR_LAYOUT_BYTES);
    land(".", true, false, MR_LAYOUT_CHUNKS);
}
END_TEST

START_TEST(both_land_on_tmpfs)
{
    land("/dev/shm", false, false, MR_LAYOUT_BYTES);
    land("/dev/shm", true, false, MR_LAYOUT_CHUNKS);
}
END_TEST

MR_SUITE("landing_disk", T(ring_lands_on_disk), T(pool_lands_on_disk), T(both_land_on_tmpfs))
