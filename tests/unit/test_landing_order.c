/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does landing keep its promise whatever the disk does? Hundreds of seeded schedules on a held
 * disk: operations complete in any order, some fail. A model watches every step: a record is
 * appended only after an fdatasync that began when the slab's write was done; durable is said only
 * after an fdatasync of the journal that began when the record was in it; after a failure nothing
 * more is said of that movie; at the end every buffer is back, every sound movie whole, every movie
 * detached. MILLRACE_ORDER_SEED=<n> runs one schedule.
 */
#include "base/clock.h"
#include "base/recordlog.h"
#include "held_disk.h"
#include "suite.h"

#include <inttypes.h>

#define MOVIES    3
#define SLABS     40
#define SCHEDULES 150

enum stage {
    UNSEEN,
    PUT,
    WRITTEN,
    SYNCING,
    SYNCED,
    RECORDED,
    RECORD_SYNCING,
    RECORD_SYNCED,
    DURABLE
};

struct watched {
    struct mr_movie *movie;
    enum stage slabs[SLABS];
    uint64_t next_slab;
    uint64_t journal_bytes; /* checked so far */
    int broken; /* an operation of it failed (by landing's or by the disk's knowledge) */
    int told;   /* failed callbacks */
    bool detached;
};

static struct world {
    uint64_t seed;
    struct watched movies[MOVIES];
    struct held_disk *disk;
    struct mr_landing *landing;
    struct mr_pool *pool;
    struct watched *appending;
    unsigned failures_left;
} world;

static uint64_t draw(uint64_t below) /* xorshift64*, so that a seed means the same everywhere */
{
    world.seed ^= world.seed >> 12;
    world.seed ^= world.seed << 25;
    world.seed ^= world.seed >> 27;
    return (world.seed * 2685821657736338717ull >> 11) % below;
}

static struct watched *of_movie(const struct mr_movie *movie)
{
    for (size_t i = 0; i < MOVIES; i++) {
        if (world.movies[i].movie == movie)
            return &world.movies[i];
    }
    ck_abort_msg("unknown movie");
    return NULL;
}

static struct watched *of_fd(int fd, bool *ret_part)
{
    for (size_t i = 0; i < MOVIES; i++) {
        const struct mr_movie *movie = world.movies[i].movie;
        *ret_part = held_same_file(fd, movie->part_fd);
        if (*ret_part || held_same_file(fd, movie->journal_fd))
            return &world.movies[i];
    }
    ck_abort_msg("unknown file");
    return NULL;
}

static void move_all(struct watched *w, enum stage from, enum stage to)
{
    for (size_t i = 0; i < SLABS; i++)
        w->slabs[i] = w->slabs[i] == from ? to : w->slabs[i];
}

static void on_put(void *ctx,
                   const struct held *op) /* what a sync covers is fixed when it begins */
{
    (void)ctx;
    bool part;
    struct watched *w = of_fd(op->write.fd, &part);
    if (op->kind == HELD_SYNC)
        move_all(w, part ? WRITTEN : RECORDED, part ? SYNCING : RECORD_SYNCING);
    ck_assert_msg(op->kind == HELD_WRITE || w->told == 0, "a sync was begun after a failure");
}

static int visit_record(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    (void)ctx, (void)bytes, (void)offset;
    struct mr_placement p;
    ck_assert_int_eq(mr_placement_parse(text, &p), 0);
    enum stage *stage = &world.appending->slabs[p.slab];
    ck_assert_msg(*stage == SYNCED, "slab %" PRIu64 " in the journal at stage %d", p.slab, *stage);
    *stage = RECORDED;
    return 0;
}

static int on_append(int fd, const char *lines, size_t bytes)
{
    bool part;
    struct watched *w = of_fd(fd, &part);
    ck_assert(!part);
    ck_assert_int_eq(w->told, 0);
    if (world.failures_left > 0 && draw(40) == 0) {
        world.failures_left--;
        w->broken++;
        return -ENOSPC;
    }
    int r = mr_recordlog_append(fd, lines, bytes);
    struct mr_recordlog_scan scan;
    world.appending = w;
    ck_assert_int_eq(
        mr_recordlog_scan(w->movie->journal_fd, w->journal_bytes, visit_record, NULL, &scan), 0);
    ck_assert_uint_eq(scan.bad_records, 0);
    ck_assert(!scan.torn_tail);
    w->journal_bytes = scan.good_bytes;
    return r;
}

static void on_durable(void *ctx, struct mr_movie *movie, const struct mr_placement *list,
                       size_t count)
{
    (void)ctx;
    struct watched *w = of_movie(movie);
    ck_assert_int_eq(w->told, 0);
    for (size_t i = 0; i < count; i++) {
        ck_assert_int_eq(w->slabs[list[i].slab], RECORD_SYNCED);
        w->slabs[list[i].slab] = DURABLE;
    }
}

static void on_failed(void *ctx, struct mr_movie *movie, int code, enum mr_landing_failure what,
                      const char *text)
{
    (void)ctx, (void)text, (void)what;
    struct watched *w = of_movie(movie);
    ck_assert_int_lt(code, 0);
    ck_assert_int_gt(w->broken, 0);
    ck_assert_int_le(++w->told, 3);
}

static void on_detached(void *ctx, struct mr_movie *movie)
{
    (void)ctx;
    struct watched *w = of_movie(movie);
    ck_assert(!w->detached);
    w->detached = true;
}

static void complete_one(void)
{
    size_t at = draw(world.disk->count);
    struct held op = world.disk->held[at];
    bool part;
    struct watched *w = of_fd(op.write.fd, &part);
    if (!op.submitted)
        return;
    int result = 0;
    if (world.failures_left > 0 && draw(40) == 0) {
        world.failures_left--;
        w->broken++;
        result = draw(2) == 0 ? -EIO : -ENOSPC;
    }
    held_complete(world.disk, at, result);
    if (result == 0 && op.kind == HELD_SYNC)
        move_all(w, part ? SYNCING : RECORD_SYNCING, part ? SYNCED : RECORD_SYNCED);
    else if (result == 0)
        w->slabs[op.write.offset / MR_SLAB_BYTES] = WRITTEN;
}

static void put_one(struct watched *w)
{
    struct mr_buffer *buffer = w->next_slab < SLABS ? mr_pool_try_get(world.pool) : NULL;
    if (buffer == NULL)
        return;
    struct mr_placement p = held_placement(w->next_slab, 1 + (uint32_t)draw(8192));
    ck_assert_int_eq(mr_landing_put(world.landing, w->movie, &p, buffer), 0);
    w->slabs[w->next_slab++] = PUT;
    if (w->next_slab == SLABS)
        ck_assert_int_eq(mr_landing_detach(world.landing, w->movie), 0);
}

static bool all_detached(void)
{
    bool all = true;
    for (size_t i = 0; i < MOVIES; i++)
        all = all && world.movies[i].detached;
    return all;
}

static void start(uint64_t seed, const char *dir, unsigned failures)
{
    static const struct mr_landing_callbacks callbacks = {
        .durable = on_durable, .failed = on_failed, .detached = on_detached};
    memset(&world, 0, sizeof(world));
    world.seed = seed * 2654435761u + 1;
    world.failures_left = failures;
    world.disk = held_disk_new(2 + draw(12));
    world.disk->on_put = on_put;
    ck_assert_int_eq(mr_pool_new(16384, 12, 4096, &world.pool), 0);
    struct mr_landing_config config = {.group_bytes = 1 + draw(65536),
                                       .group_ms = 1 + (uint32_t)draw(20),
                                       .group_slabs = 1 + (uint32_t)draw(10),
                                       .slabs = MOVIES * SLABS,
                                       .engine = &world.disk->base,
                                       .append = on_append};
    ck_assert_int_eq(mr_landing_new(&config, &callbacks, NULL, &world.landing), 0);
    for (size_t i = 0; i < MOVIES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "m%zu", i);
        world.movies[i].movie = held_movie(dir, name, false);
        ck_assert_int_eq(mr_landing_attach(world.landing, world.movies[i].movie, NULL), 0);
    }
}

static void finish(void)
{
    mr_landing_free(world.landing);
    for (size_t i = 0; i < MOVIES; i++) {
        struct watched *w = &world.movies[i];
        ck_assert_int_eq(w->told > 0, w->broken > 0);
        for (size_t slab = 0; slab < SLABS && w->broken == 0; slab++)
            ck_assert_int_eq(w->slabs[slab], DURABLE);
        ck_assert_uint_eq(atomic_load(&w->movie->references), 1);
        mr_movie_release(w->movie);
    }
    ck_assert_uint_eq(mr_pool_available(world.pool), mr_pool_count(world.pool));
    mr_pool_free(world.pool);
}

static void run_schedule(uint64_t seed, const char *dir, unsigned failures)
{
    start(seed, dir, failures);
    int64_t now_ns = 0;
    for (unsigned turn = 0; !all_detached(); turn++) {
        ck_assert_msg(turn < 20000, "seed %" PRIu64 ": no end", seed);
        if (draw(2) == 0)
            put_one(&world.movies[draw(MOVIES)]);
        if (world.disk->count > 0 && world.disk->done_count < HELD_MAX && draw(3) > 0)
            complete_one();
        now_ns += (int64_t)draw(3) * MR_NS_PER_MS;
        if (draw(2) == 0)
            ck_assert_int_eq(mr_landing_step(world.landing, now_ns), 0);
    }
    finish();
}

static void run_schedules(unsigned failures)
{
    char dir[] = "landing_order.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(dir));
    const char *only = getenv("MILLRACE_ORDER_SEED");
    uint64_t first = only != NULL ? strtoull(only, NULL, 10) : 1;
    for (uint64_t seed = first; seed < first + (only != NULL ? 1 : SCHEDULES); seed++) {
        (void)fprintf(stderr, "%s%" PRIu64, seed == first ? "seed " : " ", seed);
        run_schedule(seed, dir, failures);
    }
    (void)fprintf(stderr, "\n");
    for (size_t i = 0; i < 2 * MOVIES; i++) {
        char path[64];
        (void)snprintf(path, sizeof(path), "%s/m%zu.%s", dir, i / 2, i % 2 ? "part" : "journal");
        ck_assert_int_eq(unlink(path), 0);
    }
    ck_assert_int_eq(rmdir(dir), 0);
}

START_TEST(order_holds_on_a_sound_disk)
{
    run_schedules(0);
}
END_TEST

START_TEST(order_holds_when_operations_fail)
{
    run_schedules(3);
}
END_TEST

MR_SUITE("landing_order", T(order_holds_on_a_sound_disk), T(order_holds_when_operations_fail))
