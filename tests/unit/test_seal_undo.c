/* SPDX-License-Identifier: Apache-2.0 */
/* Sealed movies that are given up on a disk that lets nothing go: undone once it does. */
#include "announce.h"
#include "discard.h"
#include "recovery.h"
#include "seal_rig.h"
#include "sick_disk.h"
#include "suite.h"

/* The seal stage on a thread of its own, for it waits between two tries */
static void begin(struct rig *rig, struct sealing *s)
{
    sealing_begin(rig, s);
    sealing_start(s);
}

static void end(struct sealing *s)
{
    sealing_end(s);
    ck_assert_int_eq(deaths, 0);
}

/* Nothing is said while nothing can be removed; then HOLD, and the next OPEN begins anew. */
static void held_until_it_goes(struct rig *rig, struct shipment *s, const struct mr_open *open)
{
    struct sealing sealing;
    struct mr_seal_answer said;
    begin(rig, &sealing);
    sealing_put(&sealing, &s->job);
    UNTIL(sick_disk.unlinks_failed > 0, usleep(1000));
    ck_assert_int_eq(mr_queue_pop(sealing.out, 0, &said), -EAGAIN);
    sick_disk.no_unlinks = 0;
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert_int_eq(said.message->type, MR_HOLD);
    ck_assert_int_eq(said.message->hold.code, MR_REASON_IO);
    free(said.message);
    end(&sealing);
    struct mr_berth_answer answer = rig_ask(rig, open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    ck_assert_uint_eq(answer.durable_count, 0);
    rig_forget(&answer);
}

/* Its OPEN was answered "it is being committed" until the next start. */
START_TEST(movie_whose_sealed_did_not_sync_goes_when_it_can)
{
    struct rig rig;
    struct shipment s;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    sick_disk.fail_fdatasync = 2; /* the first is the catalogue's, for old revisions */
    sick_disk.no_unlinks = EIO;
    held_until_it_goes(&rig, &s, &open);
    rig_end(&rig);
}
END_TEST

/* Its slabs would be told as durable, and what the fsync lost would be missed by no further one. */
START_TEST(part_that_did_not_sync_goes_when_it_can)
{
    struct rig rig;
    struct shipment s;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    sick_disk.fail_fsync = 1;
    sick_disk.no_unlinks = EIO;
    held_until_it_goes(&rig, &s, &open);
    rig_end(&rig);
}
END_TEST

/* Nobody resumes it: what was left would stay for good. */
START_TEST(movie_that_is_known_leaves_nothing)
{
    struct rig rig;
    struct shipment first, again;
    struct sealing sealing;
    struct mr_seal_answer said;
    char journal[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log"), same = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &first);
    begin(&rig, &sealing);
    sealing_put(&sealing, &first.job);
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert_int_eq(said.message->type, MR_COMMITTED);
    free(said.message);
    ship(&rig, &same, 5000, 1, &again);
    sick_disk.no_unlinks = EIO;
    sealing_put(&sealing, &again.job);
    UNTIL(sick_disk.unlinks_failed > 0, usleep(1000));
    ck_assert_int_eq(mr_queue_pop(sealing.out, 0, &said), -EAGAIN);
    sick_disk.no_unlinks = 0;
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert_int_eq(said.message->type, MR_COMMITTED);
    ck_assert(said.message->committed.known);
    free(said.message);
    end(&sealing);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s.g1.journal",
             mr_ulid_text(&same.movie, id));
    ck_assert(!rig_has(&rig, journal));
    rig_end(&rig);
}
END_TEST

/* Placed under another name than the first: that record does not sync, and the file does not go. */
static void take_the_name(void *ctx)
{
    const struct rig *rig = ctx;
    if (sick_disk.fdatasyncs == 2) { /* of SEALED; the first is the catalogue's */
        scratch_append(&rig->scratch, "k3/a.log", "mine");
        sick_disk.fail_fdatasync = 1;
        sick_disk.no_unlinks = EIO;
    } else {
        sick_disk.after_fdatasync = take_the_name;
    }
}

START_TEST(movie_that_cannot_be_taken_back_is_when_it_can)
{
    struct rig rig;
    struct shipment s;
    struct sealing sealing;
    struct mr_seal_answer said;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    sick_disk.fdatasyncs = 0;
    sick_disk.ctx = &rig;
    sick_disk.after_fdatasync = take_the_name;
    begin(&rig, &sealing);
    sealing_put(&sealing, &s.job);
    UNTIL(sick_disk.unlinks_failed > 0, usleep(1000));
    sick_disk.no_unlinks = 0;
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert_int_eq(said.message->type, MR_HOLD);
    free(said.message);
    end(&sealing);
    ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 4);
    ck_assert(!rig_has(&rig, "k3/a_dup2.log"));
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

/* A server that ends meanwhile says so, and the next one has it read back again. */
START_TEST(what_is_not_undone_is_left_to_the_next_start)
{
    struct rig rig;
    struct shipment s;
    struct sealing sealing;
    struct mr_seal_answer said;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    sick_disk.fail_fdatasync = 2;
    sick_disk.no_unlinks = EIO;
    begin(&rig, &sealing);
    sealing_put(&sealing, &s.job);
    UNTIL(sick_disk.unlinks_failed > 0, usleep(1000));
    mr_seal_stop(sealing.seal);
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert_int_eq(said.message->type, MR_HOLD);
    ck_assert_int_eq(said.message->hold.code, MR_REASON_STOPPING);
    free(said.message);
    end(&sealing);
    sick_disk.no_unlinks = 0;
    rig_end(&rig);
}
END_TEST

/* Its journal stays: whoever opened it again heard "it is being committed", until the next start.
 */
START_TEST(failed_movie_is_told_once_its_journal_is_gone)
{
    struct rig rig;
    struct shipment s;
    struct sealing sealing;
    struct mr_seal_answer said;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    const struct mr_fail fail = {.movie = open.movie, .generation = 1, .text = "it went"};
    s.job.kind = MR_SEAL_FAIL;
    s.job.end = NULL;
    s.job.fail = &fail;
    sick_disk.no_unlinks = EIO;
    begin(&rig, &sealing);
    sealing_put(&sealing, &s.job);
    UNTIL(sick_disk.unlinks_failed > 0, usleep(1000));
    ck_assert_int_eq(mr_queue_pop(sealing.out, 0, &said), -EAGAIN);
    sick_disk.no_unlinks = 0;
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert_int_eq(said.message->type, MR_FAILED);
    free(said.message);
    end(&sealing);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
    ck_assert(!mr_discard_is_left(&rig.store, &open.movie));
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_null(answer.movie);
    ck_assert_int_eq(answer.message->type, MR_FAILED);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

/* It is committed and told; what is left of it kept its agent from all that came after. */
START_TEST(journal_left_of_a_committed_movie_is_in_nobodys_way)
{
    for (int abandoned = 0; abandoned <= 1; abandoned++) { /* else a later revision is opened */
        struct rig rig;
        struct shipment s;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, 1, &s);
        sick_disk.no_unlinks = EIO;
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_COMMITTED);
        free(m);
        sick_disk.no_unlinks = 0;
        ck_assert(mr_discard_is_left(&rig.store, &open.movie));
        if (abandoned) {
            s.job = (struct mr_seal_job){.kind = MR_SEAL_DISCARD, .id = open.movie, .agent = "k3"};
            m = seal_one(&rig, &s);
            ck_assert_int_eq(m->type, MR_ABANDONED);
            free(m);
            ck_assert(!mr_discard_is_left(&rig.store, &open.movie));
        } else {
            open.revision = 2;
            struct mr_movie *movie = rig_begin(&rig, &open);
            ck_assert_uint_eq(movie->generation, 2);
            mr_movie_release(movie);
        }
        ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 5000);
        rig_end(&rig);
    }
}
END_TEST

/* Its agent was told, and forgot it; a power cut brought the journal back, and nobody resumed it.
 */
START_TEST(journal_whose_removal_does_not_sync_ends_the_server)
{
    struct rig rig;
    struct shipment s;
    struct mr_seal_answer said;
    char journal[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    mr_movie_release(s.job.movie);
    s.job = (struct mr_seal_job){.kind = MR_SEAL_DISCARD, .id = open.movie, .agent = "k3"};
    sick_disk.no_sync_of = "/journal";
    struct sealing sealing;
    begin(&rig, &sealing);
    sealing_put(&sealing, &s.job);
    sealing_stop(&sealing);
    ck_assert_int_eq(deaths, 1);
    ck_assert_int_eq(mr_queue_pop(sealing.out, 0, &said), -EAGAIN);
    sealing_end(&sealing);
    deaths = 0;
    sick_disk.no_sync_of = NULL;
    snprintf(journal, sizeof(journal), ".millrace/journal/%s.g1.journal",
             mr_ulid_text(&open.movie, id));
    ck_assert_uint_eq(scratch_size(&rig.scratch, journal), 0);
    rig_restart(&rig);
    struct mr_err err = {0};
    const struct mr_recovery_found none = {0}; /* nothing of it is found */
    ck_assert_int_eq(mr_recovery_run(&rig.commit, &none, &err), 0);
    ck_assert(!rig_has(&rig, journal));
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

/* It was answered as if it were another agent's, or gone: so it stayed for good. */
START_TEST(movie_that_cannot_be_read_is_not_taken_for_gone)
{
    struct rig rig;
    struct shipment s;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    mr_movie_release(s.job.movie);
    s.job = (struct mr_seal_job){.kind = MR_SEAL_DISCARD, .id = open.movie, .agent = "k3"};
    sick_disk.no_journals = EIO;
    ck_assert(mr_discard_is_left(&rig.store, &open.movie));
    struct mr_message *m = seal_one(&rig, &s);
    ck_assert_int_eq(m->type, MR_HOLD);
    free(m);
    sick_disk.no_journals = 0;
    m = seal_one(&rig, &s);
    ck_assert_int_eq(m->type, MR_ABANDONED);
    free(m);
    ck_assert(!mr_discard_is_left(&rig.store, &open.movie));
    ck_assert(!rig_has(&rig, "k3/.millrace"));
    rig_end(&rig);
}
END_TEST

/* Under another id, by an agent that has lost its journal: it was stored a second time. */
START_TEST(same_source_waits_for_one_that_waits_for_its_name)
{
    struct rig rig;
    struct shipment first, again;
    struct sealing sealing;
    struct mr_seal_answer said;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log"), same = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &first);
    ship(&rig, &same, 5000, 1, &again);
    sick_disk.no_noreplace = EIO;
    begin(&rig, &sealing);
    sealing_put(&sealing, &first.job);
    sealing_put(&sealing, &again.job);
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert(mr_ulid_equal(&said.id, &same.movie));
    ck_assert_int_eq(said.message->type, MR_HOLD);
    free(said.message);
    sick_disk.no_noreplace = 0;
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &said), 0);
    ck_assert(mr_ulid_equal(&said.id, &open.movie));
    ck_assert_int_eq(said.message->type, MR_COMMITTED);
    free(said.message);
    end(&sealing);
    ck_assert(!rig_has(&rig, "k3/a_dup2.log"));
    rig_end(&rig);
}
END_TEST

MR_SUITE("seal_undo", T(movie_that_cannot_be_read_is_not_taken_for_gone),
         T(journal_whose_removal_does_not_sync_ends_the_server),
         T(same_source_waits_for_one_that_waits_for_its_name),
         T(journal_left_of_a_committed_movie_is_in_nobodys_way),
         T(failed_movie_is_told_once_its_journal_is_gone),
         T(part_that_did_not_sync_goes_when_it_can), T(movie_that_is_known_leaves_nothing),
         T(movie_whose_sealed_did_not_sync_goes_when_it_can),
         T(movie_that_cannot_be_taken_back_is_when_it_can),
         T(what_is_not_undone_is_left_to_the_next_start))
