/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In which order does a slab become durable, and what happens to it when each step fails? A held
 * disk lets the test decide when each operation completes; a trace tells what landing did, in
 * order: w<slab> write asked for, P part's fdatasync, A<records> append, J journal's fdatasync,
 * l<slab> landed, d<slabs> durable, F<what><errno> failed, x detached.
 */
#include "base/clock.h"
#include "base/recordlog.h"
#include "held_disk.h"
#include "suite.h"

#include <math.h>
#include <stdarg.h>

static struct lane {
    struct held_disk *disk;
    struct mr_landing *landing;
    struct mr_pool *pool;
    struct mr_movie *movie, *other;
    struct mr_placement durable[64];
    size_t durable_count;
    int append_result; /* 0: append really */
    int64_t now_ns;
    char dir[64];
    char trace[2048];
    char text[600];
} lane;

static MR_PRINTF(1, 2) void note(const char *fmt, ...)
{
    size_t at = strlen(lane.trace);
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(lane.trace + at, sizeof(lane.trace) - at, fmt, args);
    va_end(args);
}

static const char *whose(const struct mr_movie *movie)
{
    return movie == lane.other ? "o" : "";
}

static void on_put(void *ctx, const struct held *op)
{
    (void)ctx;
    int fd = op->write.fd;
    bool other =
        held_same_file(fd, lane.other->part_fd) || held_same_file(fd, lane.other->journal_fd);
    const char *o = other ? "o" : "";
    if (op->kind == HELD_WRITE)
        note("w%d%s ", (int)(op->write.offset / MR_SLAB_BYTES), o);
    else
        note("%s%s ", held_same_file(fd, (other ? lane.other : lane.movie)->part_fd) ? "P" : "J",
             o);
}

static void on_landed(void *ctx, struct mr_movie *movie, const struct mr_placement *p)
{
    (void)ctx;
    note("l%d%s ", (int)p->slab, whose(movie));
}

static void on_durable(void *ctx, struct mr_movie *movie, const struct mr_placement *list,
                       size_t count)
{
    (void)ctx;
    note("d");
    for (size_t i = 0; i < count; i++) {
        note(i > 0 ? ",%d" : "%d", (int)list[i].slab);
        lane.durable[lane.durable_count++] = list[i];
    }
    note("%s ", whose(movie));
}

static void on_failed(void *ctx, struct mr_movie *movie, int code, enum mr_landing_failure what,
                      const char *text)
{
    static const char *const names[] = {[MR_LANDING_WRITE] = "write",
                                        [MR_LANDING_JOURNAL] = "journal",
                                        [MR_LANDING_FSYNC] = "fsync"};
    (void)ctx;
    note("F%s%d%s ", names[what], -code, whose(movie));
    (void)snprintf(lane.text, sizeof(lane.text), "%s", text);
}

static void on_detached(void *ctx, struct mr_movie *movie)
{
    (void)ctx;
    note("x%s ", whose(movie));
}

static int on_append(int fd, const char *lines, size_t bytes)
{
    int records = 0;
    for (size_t i = 0; i < bytes; i++)
        records += lines[i] == '\n';
    note("A%d ", records);
    return lane.append_result != 0 ? lane.append_result : mr_recordlog_append(fd, lines, bytes);
}

static void set_up(struct mr_landing_config config, size_t depth)
{
    static const struct mr_landing_callbacks callbacks = {
        .landed = on_landed, .durable = on_durable, .failed = on_failed, .detached = on_detached};
    memset(&lane, 0, sizeof(lane));
    (void)snprintf(lane.dir, sizeof(lane.dir), "landing.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(lane.dir));
    lane.movie = held_movie(lane.dir, "a", false);
    lane.other = held_movie(lane.dir, "b", false);
    lane.disk = held_disk_new(depth);
    lane.disk->on_put = on_put;
    ck_assert_int_eq(mr_pool_new(MR_MOVIE_SLACK, 24, 8192, &lane.pool), 0);
    config.engine = &lane.disk->base;
    config.append = on_append;
    struct mr_err err = {0};
    ck_assert_int_eq(mr_landing_new(&config, &callbacks, &err, &lane.landing), 0);
    ck_assert_int_eq(mr_landing_attach(lane.landing, lane.movie, &err), 0);
    ck_assert_int_eq(mr_landing_attach(lane.landing, lane.other, &err), 0);
}

static void set_up_plain(void)
{
    set_up((struct mr_landing_config){.group_slabs = 4}, 16);
}

static void tear_down(void)
{
    mr_landing_free(lane.landing);
    mr_movie_release(lane.movie);
    mr_movie_release(lane.other);
    ck_assert_uint_eq(mr_pool_available(lane.pool), mr_pool_count(lane.pool));
    mr_pool_free(lane.pool);
    static const char *const names[] = {"a.part", "a.journal", "b.part", "b.journal"};
    for (size_t i = 0; i < 4; i++) {
        char path[128];
        (void)snprintf(path, sizeof(path), "%s/%s", lane.dir, names[i]);
        (void)unlink(path);
    }
    ck_assert_int_eq(rmdir(lane.dir), 0);
}

static int try_put(struct mr_movie *movie, const struct mr_placement *p)
{
    struct mr_buffer *buffer = mr_pool_try_get(lane.pool);
    ck_assert_ptr_nonnull(buffer);
    memset(buffer->data, 0xAB, buffer->capacity);
    int r = mr_landing_put(lane.landing, movie, p, buffer);
    if (r != 0)
        mr_pool_put(buffer);
    return r;
}

static void put(struct mr_movie *movie, uint64_t slab)
{
    struct mr_placement p = held_placement(slab, 1000);
    ck_assert_int_eq(try_put(movie, &p), 0);
}

static void step_after(int64_t ms)
{
    lane.now_ns += ms * MR_NS_PER_MS;
    ck_assert_int_eq(mr_landing_step(lane.landing, lane.now_ns), 0);
}

/* Completes the oldest held operation, then steps. */
static void complete(int result)
{
    held_complete(lane.disk, 0, result);
    step_after(0);
}

static void finish_all(void)
{
    while (lane.disk->count > 0)
        complete(0);
}

/* The trace since the last call is this. */
static void saw(const char *expected)
{
    ck_assert_str_eq(lane.trace, expected);
    lane.trace[0] = '\0';
}

static int count_record(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    (void)bytes, (void)offset;
    struct mr_placement p;
    ck_assert_int_eq(mr_placement_parse(text, &p), 0);
    ++*(size_t *)ctx;
    return 0;
}

static size_t journaled(const struct mr_movie *movie)
{
    size_t records = 0;
    struct mr_recordlog_scan scan;
    ck_assert_int_eq(mr_recordlog_scan(movie->journal_fd, 0, count_record, &records, &scan), 0);
    ck_assert_uint_eq(scan.bad_records, 0);
    return records;
}

START_TEST(one_slab_goes_step_by_step)
{
    set_up_plain();
    put(lane.movie, 3);
    saw("");
    step_after(0);
    saw("w3 ");
    ck_assert_uint_eq(mr_pool_available(lane.pool), mr_pool_count(lane.pool) - 1);
    complete(0);
    saw("l3 P ");
    ck_assert_uint_eq(mr_pool_available(lane.pool), mr_pool_count(lane.pool));
    ck_assert_uint_eq(journaled(lane.movie), 0);
    complete(0);
    saw("A1 J ");
    ck_assert_uint_eq(lane.durable_count, 0);
    complete(0);
    saw("d3 ");
    ck_assert_uint_eq(journaled(lane.movie), 1);
    ck_assert_uint_eq(lane.durable[0].crc_stored, 4);
    tear_down();
}
END_TEST

START_TEST(group_closes_by_time_while_writes_are_in_flight)
{
    set_up_plain();
    put(lane.movie, 0);
    put(lane.movie, 1);
    step_after(0);
    saw("w0 w1 ");
    complete(0);
    saw("l0 ");
    ck_assert_int_eq(mr_landing_next_deadline_ns(lane.landing), 50 * MR_NS_PER_MS);
    step_after(49);
    saw("");
    step_after(1);
    saw("P ");
    ck_assert_int_eq(mr_landing_next_deadline_ns(lane.landing), INT64_MAX);
    complete(0); /* slab 1 lands while slab 0 is in sync: it is no part of that group */
    saw("l1 ");
    complete(0);
    saw("A1 J ");
    complete(0);
    saw("d0 P ");
    finish_all();
    saw("A1 J d1 ");
    tear_down();
}
END_TEST

START_TEST(group_closes_by_bytes_and_by_count)
{
    set_up((struct mr_landing_config){.group_bytes = 2000, .group_slabs = 8}, 16);
    for (uint64_t slab = 0; slab < 4; slab++)
        put(lane.movie, slab);
    step_after(0);
    saw("w0 w1 w2 w3 ");
    complete(0);
    complete(0);
    saw("l0 l1 P ");
    tear_down();

    set_up((struct mr_landing_config){.group_slabs = 2}, 16);
    for (uint64_t slab = 0; slab < 6; slab++)
        put(lane.movie, slab);
    step_after(0);
    for (int i = 0; i < 5; i++) {
        held_complete(lane.disk, 0, 0);
    }
    step_after(0); /* more landed than one group takes: the rest waits for the next */
    saw("w0 w1 w2 w3 w4 w5 l0 l1 l2 l3 l4 P ");
    held_complete(lane.disk, 1, 0);
    step_after(0);
    saw("A2 J ");
    complete(0);
    saw("l5 "); /* nothing is in flight now, but a group is in sync */
    complete(0);
    saw("d0,1 P ");
    finish_all();
    saw("A2 J d2,3 P A2 J d4,5 ");
    ck_assert_uint_eq(journaled(lane.movie), 6);
    tear_down();
}
END_TEST

START_TEST(movies_do_not_wait_for_each_other)
{
    set_up_plain();
    put(lane.movie, 0);
    put(lane.other, 0);
    step_after(0);
    saw("w0 w0o ");
    held_complete(lane.disk, 1, 0);
    step_after(0);
    saw("l0o Po ");
    held_complete(lane.disk, 1, 0);
    step_after(0);
    held_complete(lane.disk, 1, 0);
    step_after(0);
    saw("A1 Jo d0o ");
    finish_all();
    saw("l0 P A1 J d0 ");
    tear_down();
}
END_TEST

START_TEST(full_engine_takes_syncs_first)
{
    set_up((struct mr_landing_config){.group_slabs = 1}, 2);
    for (uint64_t slab = 0; slab < 4; slab++)
        put(lane.movie, slab);
    step_after(0);
    saw("w0 w1 ");
    complete(0);
    saw("l0 P "); /* the one free place went to the sync */
    finish_all();
    ck_assert_uint_eq(lane.durable_count, 4);
    ck_assert_uint_eq(journaled(lane.movie), 4);
    tear_down();
}
END_TEST

START_TEST(kernel_short_of_memory_is_asked_again_soon)
{
    set_up_plain();
    lane.disk->submit_result = -EAGAIN;
    put(lane.movie, 0);
    step_after(0);
    ck_assert_int_eq(mr_landing_next_deadline_ns(lane.landing), lane.now_ns + MR_NS_PER_MS);
    lane.disk->submit_result = 0;
    step_after(1);
    finish_all();
    saw("w0 l0 P A1 J d0 ");
    lane.disk->submit_result = -ENXIO;
    ck_assert_int_eq(mr_landing_step(lane.landing, lane.now_ns), -ENXIO);
    tear_down();
}
END_TEST

START_TEST(failed_write_drops_the_movie_alone)
{
    set_up_plain();
    put(lane.movie, 0);
    put(lane.movie, 1);
    put(lane.other, 5);
    step_after(0);
    complete(-ENOSPC);
    saw("w0 w1 w5o Fwrite28 ");
    ck_assert_str_eq(lane.text, "a.part: writing the part: No space left on device");
    ck_assert(mr_movie_is_tainted(lane.movie));
    put(lane.movie, 2); /* dropped: nothing is written, nothing reported */
    finish_all();
    saw("l5o Po A1 Jo d5o ");
    ck_assert_uint_eq(journaled(lane.movie), 0);
    tear_down();
}
END_TEST

START_TEST(short_write_counts_as_failed)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    complete(512);
    saw("w0 Fwrite5 ");
    tear_down();
}
END_TEST

START_TEST(failed_fsync_is_never_tried_again)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    complete(0);
    put(lane.movie, 1);
    step_after(0);
    complete(-EIO);
    saw("w0 l0 P w1 Ffsync5 ");
    finish_all();
    step_after(1000);
    saw("");
    ck_assert_uint_eq(journaled(lane.movie), 0);
    ck_assert_uint_eq(lane.durable_count, 0);
    tear_down();
}
END_TEST

START_TEST(failed_append_ends_the_journal)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    complete(0);
    lane.append_result = -ENOSPC;
    complete(0);
    saw("w0 l0 P A1 Fjournal28 ");
    ck_assert_str_eq(lane.text,
                     "a.journal: writing the placement journal: No space left on device");
    put(lane.movie, 1);
    step_after(1000);
    saw("");
    tear_down();
}
END_TEST

START_TEST(failed_journal_fsync_acks_nothing)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    complete(0);
    complete(0);
    complete(-EIO);
    saw("w0 l0 P A1 J Fjournal5 ");
    ck_assert_uint_eq(lane.durable_count, 0);
    tear_down();
}
END_TEST

START_TEST(failure_is_told_once_and_again_only_if_graver)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    complete(0);
    put(lane.movie, 1);
    put(lane.movie, 2);
    step_after(0);
    saw("w0 l0 P w1 w2 ");
    held_complete(lane.disk, 2, -ENOSPC);
    held_complete(lane.disk, 1, -ENOSPC);
    step_after(0);
    saw("Fwrite28 ");
    complete(-EIO); /* the part's fdatasync */
    saw("Ffsync5 ");
    tear_down();
}
END_TEST

START_TEST(good_sync_after_a_failed_write_acks_nothing)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    complete(0);
    put(lane.movie, 1);
    step_after(0);
    complete(0); /* part synced, lines appended, journal in sync */
    held_complete(lane.disk, 0, -EDQUOT);
    step_after(0);
    saw("w0 l0 P w1 A1 J Fwrite122 ");
    complete(0);
    saw("");
    tear_down();
}
END_TEST

START_TEST(other_lanes_taint_drops_in_silence)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    complete(0);
    saw("w0 l0 P ");
    mr_movie_taint(lane.movie);
    complete(0);
    saw("");
    ck_assert_int_eq(mr_landing_detach(lane.landing, lane.movie), 0);
    step_after(0);
    saw("x ");
    tear_down();
}
END_TEST

START_TEST(detach_waits_for_everything)
{
    set_up_plain();
    put(lane.movie, 0);
    step_after(0);
    ck_assert_int_eq(mr_landing_detach(lane.landing, lane.movie), 0);
    struct mr_placement p = held_placement(1, 10);
    ck_assert_int_eq(try_put(lane.movie, &p), -ENOENT);
    struct mr_err err = {0};
    ck_assert_int_eq(mr_landing_attach(lane.landing, lane.movie, &err), -EEXIST);
    ck_assert_int_eq(mr_landing_detach(lane.landing, lane.movie), -ENOENT);
    saw("w0 ");
    finish_all();
    saw("l0 P A1 J d0 x ");
    ck_assert_int_eq(mr_landing_attach(lane.landing, lane.movie, &err), 0);
    ck_assert_int_eq(mr_landing_detach(lane.landing, lane.movie), 0); /* idle: at once */
    saw("x ");
    ck_assert_int_eq(mr_landing_detach(lane.landing, lane.movie), -ENOENT);
    tear_down();
}
END_TEST

START_TEST(detach_of_a_failed_movie_waits_for_its_buffers)
{
    set_up_plain();
    put(lane.movie, 0);
    put(lane.movie, 1);
    step_after(0);
    complete(-EIO);
    ck_assert_int_eq(mr_landing_detach(lane.landing, lane.movie), 0);
    step_after(0);
    saw("w0 w1 Fwrite5 ");
    ck_assert_uint_eq(mr_pool_available(lane.pool), mr_pool_count(lane.pool) - 1);
    complete(0);
    saw("x ");
    ck_assert_uint_eq(atomic_load(&lane.movie->references), 1);
    tear_down();
}
END_TEST

START_TEST(bad_puts_leave_the_buffer)
{
    set_up((struct mr_landing_config){.slabs = 2}, 16);
    struct mr_placement p = held_placement(0, MR_MOVIE_SLACK + 1);
    ck_assert_int_eq(try_put(lane.movie, &p), -EINVAL); /* over the buffer */
    p = held_placement(0, 0);
    ck_assert_int_eq(try_put(lane.movie, &p), -EINVAL);
    p = held_placement(0, 100);
    p.offset = 4095;
    ck_assert_int_eq(try_put(lane.movie, &p), -EINVAL);
    p = held_placement(0, 100);
    p.stats = (struct mr_stats){.kind = MR_STATS_FLOAT, .count = 1, .m2 = INFINITY};
    ck_assert_int_eq(try_put(lane.movie, &p), -EINVAL);
    put(lane.movie, 0);
    put(lane.movie, 1);
    ck_assert_uint_eq(mr_landing_room(lane.landing), 0);
    p = held_placement(2, 100);
    ck_assert_int_eq(try_put(lane.movie, &p), -EAGAIN);
    step_after(0);
    finish_all();
    ck_assert_uint_eq(mr_landing_room(lane.landing), 2);
    put(lane.movie, 2);
    tear_down();
}
END_TEST

START_TEST(chunks_claim_room_and_tails_are_zeroed)
{
    set_up_plain();
    lane.movie->geometry.layout = MR_LAYOUT_CHUNKS;
    lane.movie->direct = true; /* for landing's arithmetic; the file itself is buffered */
    lane.movie->alignment = 8192;
    atomic_store(&lane.movie->space_end, 4096);
    struct mr_placement p = held_placement(7, 100);
    struct mr_buffer *buffer = mr_pool_try_get(lane.pool);
    struct mr_buffer odd = {buffer->data + 4096, buffer->capacity - 4096, buffer->pool};
    ck_assert_int_eq(mr_landing_put(lane.landing, lane.movie, &p, &odd), -EINVAL);
    memset(buffer->data, 0xAB, buffer->capacity);
    ck_assert_int_eq(mr_landing_put(lane.landing, lane.movie, &p, buffer), 0);
    step_after(0);
    const struct mr_uring_write w = lane.disk->held[0].write;
    const uint8_t *data = w.data;
    ck_assert_uint_eq(w.offset, 8192);
    ck_assert_uint_eq(w.bytes, 8192);
    ck_assert_uint_eq(w.alignment, 8192);
    ck_assert_uint_eq(data[99], 0xAB);
    for (size_t i = 100; i < 8192; i++)
        ck_assert_uint_eq(data[i], 0);
    lane.movie->direct = false;
    finish_all();
    ck_assert_uint_eq(lane.durable[0].offset, 8192);
    ck_assert_uint_eq(lane.durable[0].stored_bytes, 100);
    tear_down();
}
END_TEST

START_TEST(end_with_work_in_flight_gives_buffers_back)
{
    set_up_plain();
    put(lane.movie, 0);
    put(lane.other, 0);
    step_after(0);
    put(lane.movie, 1);
    complete(0);
    tear_down(); /* asserts that all are back */
    mr_landing_free(NULL);
}
END_TEST

MR_SUITE("landing", T(one_slab_goes_step_by_step),
         T(group_closes_by_time_while_writes_are_in_flight), T(group_closes_by_bytes_and_by_count),
         T(movies_do_not_wait_for_each_other), T(full_engine_takes_syncs_first),
         T(kernel_short_of_memory_is_asked_again_soon), T(failed_write_drops_the_movie_alone),
         T(short_write_counts_as_failed), T(failed_fsync_is_never_tried_again),
         T(failed_append_ends_the_journal), T(failed_journal_fsync_acks_nothing),
         T(failure_is_told_once_and_again_only_if_graver),
         T(good_sync_after_a_failed_write_acks_nothing), T(other_lanes_taint_drops_in_silence),
         T(detach_waits_for_everything), T(detach_of_a_failed_movie_waits_for_its_buffers),
         T(bad_puts_leave_the_buffer), T(chunks_claim_room_and_tails_are_zeroed),
         T(end_with_work_in_flight_gives_buffers_back))
