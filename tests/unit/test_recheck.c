/* SPDX-License-Identifier: Apache-2.0 */
/* Movies of an earlier life are read back by turns, and nobody else waits for them. */
#include "recheck.h"

#include "seal_rig.h"
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

static bool durable_has(const struct mr_berth_answer *answer, uint64_t slab)
{
    bool has = false;
    for (size_t i = 0; i < answer->durable_count; i++)
        has |= slab - answer->durable[i].first < answer->durable[i].count;
    return has;
}

static void doubt(struct rig *rig, const struct mr_open *open)
{
    ck_assert_int_eq(mr_berth_note_left(rig->berth, &open->movie), 0);
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

/* The stage, run over what is in its queue; its only answer, or NULL. */
static struct mr_message *seal_turn(struct rig *rig, const struct mr_seal_job *job)
{
    struct sealing s;
    struct mr_seal_answer answer = {.message = NULL};
    sealing_begin(rig, &s);
    mr_seal_read_back(s.seal, rig->queues.rechecks);
    sealing_put(&s, job);
    sealing_run(&s);
    int r = mr_queue_pop(s.out, 0, &answer);
    (void)r;
    sealing_end(&s);
    ck_assert_int_eq(deaths, 0);
    return answer.message;
}

/* With store.verify_at_seal: what happened to the disk between landing and sealing is found, that
 * slab alone is asked for again, and then it is committed. */
START_TEST(movie_is_read_back_before_it_is_sealed)
{
    static const enum mr_output outputs[] = {MR_OUTPUT_KEEP, MR_OUTPUT_MRC, MR_OUTPUT_HDF5};
    for (int o = 0; o < 6; o++) {
        struct rig rig;
        struct mr_seal_job job;
        struct mr_berth_answer answer;
        char part[128];
        bool flipped = o >= 3;
        rig_make(&rig);
        struct mr_open open = rig_movie(outputs[o % 3], 2000, 2000, "a.mrc");
        struct mr_extent extent = rig_extent(&open, 3);
        struct mr_movie *movie = rig_begin(&rig, &open);
        rig_land_all(movie, &extent, 1);
        uint64_t slabs = mr_slab_count(&movie->geometry, &extent);
        snprintf(part, sizeof(part), "k3/.millrace/%s", movie->part_name);
        if (flipped)
            scratch_flip(&rig.scratch, part, scratch_size(&rig.scratch, part) - 100);
        for (int round = 0; round <= flipped; round++) {
            struct mr_end end = rig_end_of(movie, &open, &extent, 1);
            job = (struct mr_seal_job){
                .kind = MR_SEAL_COMMIT, .id = open.movie, .movie = movie, .end = &end};
            ck_assert_ptr_null(seal_turn(&rig, &job));
            while (mr_recheck_turn(rig.recheck)) {}
            ck_assert_int_eq(mr_queue_pop(rig.seal_jobs, 0, &job), 0);
            ck_assert_int_eq(job.kind, MR_SEAL_VERIFIED);
            ck_assert_int_eq(job.bad, flipped && round == 0);
            struct mr_message *m = seal_turn(&rig, &job);
            ck_assert_int_eq(m->type, job.bad ? MR_HOLD : MR_COMMITTED);
            free(m);
            if (!job.bad)
                break;
            rig_take_rechecked(&rig); /* berth learns of the doubt */
            answer = rig_ask(&rig, &open);
            ck_assert(answer.resumed);
            uint64_t durable = 0, missing = slabs;
            for (size_t i = 0; i < answer.durable_count; i++)
                durable += answer.durable[i].count;
            ck_assert_uint_eq(durable, slabs - 1);
            for (uint64_t i = slabs; i-- > 0;)
                missing = durable_has(&answer, i) ? missing : i;
            movie = answer.movie;
            answer.movie = NULL;
            rig_land(movie, &extent, missing, 1);
            rig_forget(&answer);
        }
        ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
        rig_end(&rig);
    }
}
END_TEST

START_TEST(server_that_stops_does_not_read_to_the_end)
{
    struct rig rig;
    struct mr_seal_job job;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_extent extent = rig_extent(&open, 5000);
    struct mr_movie *movie = rig_begin(&rig, &open);
    rig_land_all(movie, &extent, 1);
    struct mr_end end = rig_end_of(movie, &open, &extent, 1);
    job =
        (struct mr_seal_job){.kind = MR_SEAL_COMMIT, .id = open.movie, .movie = movie, .end = &end};
    ck_assert_ptr_null(seal_turn(&rig, &job));
    mr_recheck_stop(rig.recheck);
    mr_recheck_turn(rig.recheck);
    ck_assert_int_eq(mr_queue_pop(rig.seal_jobs, 0, &job), 0);
    struct mr_message *m = seal_turn(&rig, &job);
    ck_assert_int_eq(m->type, MR_HOLD);
    ck_assert_uint_eq(m->hold.code, MR_REASON_STOPPING);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 0);
    free(m);
    rig_end(&rig);
}
END_TEST

MR_SUITE("recheck", T(others_do_not_wait_for_a_huge_movie),
         T(doubt_ends_when_all_is_read_and_not_before), T(what_is_on_its_way_at_the_end_is_freed),
         T(movie_is_read_back_before_it_is_sealed), T(server_that_stops_does_not_read_to_the_end))
