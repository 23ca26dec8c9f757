/* SPDX-License-Identifier: Apache-2.0 */
/* Movies of an earlier life are read back by turns, and nobody else waits for them. */
#include "recheck.h"

#include "store_rig.h"
#include "suite.h"

#define HUGE_SLABS 40 /* three turns of 64 MiB */

static bool is_answered(struct rig *rig, const struct mr_ulid *id, struct mr_berth_answer *ret)
{
    rig_take_rechecked(rig);
    if (mr_queue_pop(rig->queues.answers, 0, ret) < 0)
        return false;
    ck_assert(mr_ulid_equal(&ret->id, id) ||
              (ret->movie != NULL && mr_ulid_equal(&ret->movie->id, id)));
    return true;
}

/* Journalled as landed, all zeros and nothing but holes. */
static struct mr_open huge_movie(struct rig *rig)
{
    struct mr_open open = rig_file("huge.raw");
    struct mr_movie *movie = rig_begin(rig, &open);
    ck_assert_int_eq(ftruncate(movie->part_fd, HUGE_SLABS * (off_t)MR_SLAB_BYTES), 0);
    for (uint64_t i = 0; i < HUGE_SLABS; i++) {
        const struct mr_placement p = {.slab = i,
                                       .offset = i * MR_SLAB_BYTES,
                                       .stored_bytes = MR_SLAB_BYTES,
                                       .raw_bytes = MR_SLAB_BYTES,
                                       .crc_stored = mr_crc64_zeros(0, MR_SLAB_BYTES),
                                       .crc_raw = mr_crc64_zeros(0, MR_SLAB_BYTES)};
        rig_journal(movie, &p);
    }
    mr_movie_release(movie);
    return open;
}

static struct mr_open small_movie(struct rig *rig)
{
    struct mr_open open = rig_file("small.log");
    struct mr_extent extent = rig_extent(&open, 5000);
    struct mr_movie *movie = rig_begin(rig, &open);
    rig_land_all(movie, &extent, 1);
    mr_movie_release(movie);
    return open;
}

static void doubt(struct rig *rig, const struct mr_open *open)
{
    ck_assert_int_eq(mr_berth_doubt(rig->berth, &open->movie), 0);
}

START_TEST(others_do_not_wait_for_a_huge_movie)
{
    struct rig rig;
    struct mr_berth_answer answer;
    rig_make(&rig);
    struct mr_open huge = huge_movie(&rig), small = small_movie(&rig), fresh = rig_file("new.log");
    rig_restart(&rig);
    doubt(&rig, &huge);
    doubt(&rig, &small);
    rig_open_movie(&rig, &huge);
    ck_assert_uint_eq(mr_queue_count(rig.queues.answers), 0);
    rig_open_movie(&rig, &fresh); /* has nothing to be read back */
    ck_assert(is_answered(&rig, &fresh.movie, &answer));
    ck_assert_ptr_nonnull(answer.movie);
    rig_forget(&answer);
    rig_open_movie(&rig, &small); /* came after the huge one, and is done before it */
    ck_assert(mr_recheck_turn(rig.recheck));
    ck_assert(is_answered(&rig, &small.movie, &answer));
    ck_assert_uint_eq(answer.durable_count, 1);
    rig_forget(&answer);
    while (mr_recheck_turn(rig.recheck))
        ck_assert_uint_eq(mr_queue_count(rig.queues.jobs), 0);
    ck_assert(is_answered(&rig, &huge.movie, &answer));
    ck_assert(answer.resumed);
    ck_assert_uint_eq(answer.durable_count, 1);
    ck_assert_uint_eq(answer.durable[0].count, HUGE_SLABS);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(doubt_ends_when_all_is_read_and_not_before)
{
    struct rig rig;
    struct mr_berth_answer answer;
    rig_make(&rig);
    struct mr_open open = small_movie(&rig);
    rig_restart(&rig);
    doubt(&rig, &open);
    rig_open_movie(&rig, &open);
    mr_recheck_stop(rig.recheck);
    mr_recheck_turn(rig.recheck);
    ck_assert(is_answered(&rig, &open.movie, &answer));
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_HOLD);
    ck_assert_uint_eq(answer.message->hold.code, MR_REASON_STOPPING);
    rig_forget(&answer);
    mr_recheck_free(rig.recheck);
    const struct mr_recheck_queues queues = {
        .jobs = rig.queues.rechecks, .berth_jobs = rig.queues.jobs, .seal_jobs = rig.seal_jobs};
    ck_assert_int_eq(mr_recheck_new(&rig.store, &queues, &rig.recheck), 0);
    for (size_t i = 0; i < 2; i++) { /* read back once, and believed from then on */
        rig_open_movie(&rig, &open);
        ck_assert_uint_eq(mr_queue_count(rig.queues.answers), i);
        mr_recheck_turn(rig.recheck);
        ck_assert(is_answered(&rig, &open.movie, &answer));
        ck_assert_ptr_nonnull(answer.movie);
        rig_forget(&answer);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(what_is_on_its_way_at_the_end_is_freed)
{
    struct rig rig;
    rig_make(&rig);
    struct mr_open huge = huge_movie(&rig), small = small_movie(&rig);
    rig_restart(&rig);
    doubt(&rig, &huge);
    doubt(&rig, &small);
    rig_open_movie(&rig, &huge);
    ck_assert(mr_recheck_turn(rig.recheck)); /* in work */
    rig_open_movie(&rig, &small);            /* in the queue */
    rig_end(&rig);
}
END_TEST

MR_SUITE("recheck", T(others_do_not_wait_for_a_huge_movie),
         T(doubt_ends_when_all_is_read_and_not_before), T(what_is_on_its_way_at_the_end_is_freed))
