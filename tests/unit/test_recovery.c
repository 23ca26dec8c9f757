/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier server sealed and did not bring to its end. */
#include "announce.h"
#include "finish.h"
#include "recovery.h"
#include "seal_rig.h"
#include "sick_disk.h"
#include "suite.h"

static void not_expected(void *ctx, const struct mr_ulid *id)
{
    (void)ctx;
    (void)id;
    ck_abort_msg("an unfinished movie");
}

static void read_back(void *ctx, struct mr_dossier *d, enum mr_commit_state state)
{
    struct rig *rig = ctx;
    struct mr_recheck_job *job = calloc(1, sizeof(*job));
    ck_assert_ptr_nonnull(job);
    *job = (struct mr_recheck_job){.kind = MR_RECHECK_SEALED, .dossier = d, .state = state};
    ck_assert_int_eq(mr_queue_push(rig->queues.rechecks, &job), 0);
}

/* What an earlier server sealed, as recheck hands it over. */
static struct mr_seal_job recovered(struct rig *rig)
{
    struct mr_err err = {0};
    struct mr_seal_job job;
    const struct mr_recovery_found found = {
        .ctx = rig, .unfinished = not_expected, .sealed = read_back};
    rig_restart(rig);
    ck_assert_int_eq(mr_recovery_run(&rig->commit, &found, &err), 0);
    while (mr_recheck_turn(rig->recheck)) {}
    ck_assert_int_eq(mr_queue_pop(rig->seal_jobs, 0, &job), 0);
    ck_assert_int_eq(job.kind, MR_SEAL_RECOVERED);
    return job;
}

/* Sealed, but its directory does not sync: a server that ends does not wait for better times. */
START_TEST(stuck_movie_is_left_to_the_next_start)
{
    struct rig rig;
    struct shipment s;
    struct sealing sealing;
    struct mr_seal_answer answer;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    sealing_begin(&rig, &sealing);
    sealing_put(&sealing, &s.job);
    mr_seal_stop(sealing.seal);
    sick_disk.fail_fsync = 2; /* behind the part's */
    sealing_run(&sealing);
    ck_assert_int_eq(mr_queue_pop(sealing.out, 0, &answer), 0);
    ck_assert_int_eq(answer.message->type, MR_HOLD);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 0);
    free(answer.message);
    sealing_end(&sealing);
    const struct mr_seal_job job = recovered(&rig);
    ck_assert(!job.bad);
    run_unanswered(&rig, &job);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
    ck_assert(rig_has(&rig, "k3/a.log"));
    rig_end(&rig);
}
END_TEST

/* Seals and ends there: what a crash behind SEALED, or behind the rename, leaves. */
static void leave_sealed(struct rig *rig, const struct mr_open *open, uint64_t size, unsigned seed,
                         bool placed)
{
    struct shipment s;
    struct mr_dossier d = {0};
    ship(rig, open, size, seed, &s);
    rig_dossier(rig, s.job.movie, &d);
    rig_finish(rig, s.job.movie, &s.end, &d);
    rig_walk(rig, &d, placed ? RIG_PLACED : RIG_SEALED);
    mr_dossier_fini(&d);
    mr_movie_release(s.job.movie);
}

static void part_of(const struct mr_open *open, char ret[128])
{
    char id[MR_ULID_TEXT];
    snprintf(ret, 128, "k3/.millrace/%s.g1.part", mr_ulid_text(&open->movie, id));
}

START_TEST(sealed_movie_is_read_back_before_it_is_announced)
{
    for (int placed = 0; placed <= 1; placed++)
        for (int flipped = 0; flipped <= 1; flipped++) {
            struct rig rig;
            char part[128];
            rig_make(&rig);
            struct mr_open open = rig_file("a.log");
            leave_sealed(&rig, &open, 5000, 1, placed);
            part_of(&open, part);
            if (flipped)
                scratch_flip(&rig.scratch, placed ? "k3/a.log" : part, 4999);
            struct mr_seal_job job = recovered(&rig);
            ck_assert_int_eq(job.bad, flipped);
            run_unanswered(&rig, &job);
            ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), !flipped);
            ck_assert_int_eq(rig_has(&rig, "k3/a.log"), !flipped);
            ck_assert(!rig_has(&rig, part));
            struct mr_berth_answer answer = rig_ask(&rig, &open);
            ck_assert_int_eq(answer.movie != NULL, flipped); /* it begins again, or is committed */
            ck_assert_uint_eq(answer.durable_count, 0);
            rig_forget(&answer);
            rig_end(&rig);
        }
}
END_TEST

static bool has_journal(const struct rig *rig, const struct mr_open *open)
{
    char name[128], id[MR_ULID_TEXT];
    snprintf(name, sizeof(name), ".millrace/journal/%s.g1.journal", mr_ulid_text(&open->movie, id));
    return rig_has(rig, name);
}

/* Its agent lost its journal, and offered the source again while the first was read back. */
START_TEST(source_stored_meanwhile_is_not_kept_twice)
{
    for (int placed = 0; placed <= 1; placed++) {
        struct rig rig;
        struct shipment s;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log"), same = rig_file("a.log");
        leave_sealed(&rig, &open, 5000, 1, placed);
        struct mr_seal_job job = recovered(&rig);
        ship(&rig, &same, 5000, 1, &s);
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_COMMITTED);
        ck_assert(!m->committed.known);
        ck_assert(ends_with(m->committed.path, placed ? "/k3/a_dup2.log" : "/k3/a.log"));
        free(m);
        run_unanswered(&rig, &job);
        ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
        ck_assert_int_eq(rig_has(&rig, "k3/a.log"), !placed);
        ck_assert_int_eq(rig_has(&rig, "k3/a_dup2.log"), placed);
        ck_assert(!has_journal(&rig, &open));
        ck_assert(!rig_has(&rig, "k3/.millrace"));
        rig_end(&rig);
    }
}
END_TEST

/* The catalogue knows a file of the same content and time under that name: which is this one, for
 * the earlier one was taken away. */
START_TEST(copy_in_place_of_one_that_was_taken_away_stays)
{
    struct rig rig;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log"), again = rig_file("a.log");
    commit_one(&rig, &open, 5000, 1);
    ck_assert_int_eq(unlinkat(rig.store.root_fd, "k3/a.log", 0), 0);
    leave_sealed(&rig, &again, 5000, 1, true);
    struct mr_seal_job job = recovered(&rig);
    run_unanswered(&rig, &job);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 2);
    ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 5000);
    ck_assert(!has_journal(&rig, &again));
    rig_end(&rig);
}
END_TEST

START_TEST(source_sealed_twice_is_kept_once)
{
    for (unsigned other = 0; other <= 1; other++) { /* other content is no copy */
        struct rig rig;
        struct mr_message *none[2];
        struct mr_seal_counts counts;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log"), again = rig_file("a.log");
        leave_sealed(&rig, &open, 5000, 1, false);
        leave_sealed(&rig, &again, 5000, 1 + other, false);
        struct mr_seal_job jobs[2] = {recovered(&rig)};
        ck_assert_int_eq(mr_queue_pop(rig.seal_jobs, 0, &jobs[1]), 0);
        run(&rig, jobs, 2, none, &counts);
        ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1 + other);
        ck_assert(rig_has(&rig, "k3/a.log"));
        ck_assert_int_eq(rig_has(&rig, "k3/a_dup2.log"), (int)other);
        ck_assert(!has_journal(&rig, &open));
        ck_assert(!has_journal(&rig, &again));
        rig_end(&rig);
    }
}
END_TEST

static void never_sealed(void *ctx, struct mr_dossier *d, enum mr_commit_state state)
{
    (void)ctx;
    (void)d;
    ck_abort_msg("handed over in state %d", (int)state);
}

static void announce_sealed(struct rig *rig, const struct mr_open *open)
{
    char journal[MR_NAMING_PART];
    uint64_t sequence;
    struct mr_err err = {0};
    struct mr_dossier d = {0};
    mr_dossier_name(&open->movie, 1, "journal", journal);
    ck_assert_int_eq(mr_dossier_read(rig->store.journal_fd, journal, &d, &err), 0);
    ck_assert_int_eq(mr_eventlog_append_unless_logged(rig->eventlog, d.sealed.event,
                                                      strlen(d.sealed.event), &sequence, &err),
                     0);
    ck_assert_int_eq(mr_eventlog_sync(rig->eventlog, &err), 0);
    mr_dossier_fini(&d);
}

/* Where names are linked, a server that was replaced meanwhile may leave both; or one that was
 * killed, what it had made there to remove it for good. */
START_TEST(announced_movie_does_not_keep_its_parts_name)
{
    for (int linked = 0; linked <= 1; linked++) {
        struct rig rig;
        char part[128];
        struct mr_err err = {0};
        const struct mr_recovery_found found = {
            .ctx = &rig, .unfinished = not_expected, .sealed = never_sealed};
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        leave_sealed(&rig, &open, 5000, 1, true);
        announce_sealed(&rig, &open);
        part_of(&open, part);
        if (linked)
            ck_assert_int_eq(linkat(rig.store.root_fd, "k3/a.log", rig.store.root_fd, part, 0), 0);
        else
            scratch_append(&rig.scratch, part, "");
        rig_restart(&rig);
        ck_assert_int_eq(mr_recovery_run(&rig.commit, &found, &err), 0);
        ck_assert(!rig_has(&rig, part));
        ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 5000);
        ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
        rig_end(&rig);
    }
}
END_TEST

START_TEST(revision_that_does_not_read_back_leaves_the_one_before)
{
    for (int placed = 0; placed <= 1; placed++) {
        struct rig rig;
        struct shipment s;
        char part[128], old[128], id[MR_ULID_TEXT];
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, 1, &s);
        free(seal_one(&rig, &s));
        open.revision = 2;
        leave_sealed(&rig, &open, 6000, 2, placed);
        part_of(&open, part);
        scratch_flip(&rig.scratch, placed ? "k3/a.log" : part, 17);
        struct mr_seal_job job = recovered(&rig);
        run_unanswered(&rig, &job);
        snprintf(old, sizeof(old), "k3/.millrace/old/%s.r1", mr_ulid_text(&open.movie, id));
        const char *kept = placed ? old : "k3/a.log";
        ck_assert_uint_eq(scratch_size(&rig.scratch, kept), 5000);
        ck_assert(!rig_has(&rig, part));
        ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
        ship(&rig, &open, 6000, 2, &s);
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_COMMITTED);
        ck_assert(ends_with(m->committed.path, "/k3/a.log"));
        free(m);
        ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 6000);
        rig_end(&rig);
    }
}
END_TEST

/* That its journal cannot be opened says nothing of what has been synced. */
START_TEST(journal_that_cannot_be_opened_is_not_void)
{
    for (int placed = 0; placed <= 1; placed++) {
        struct rig rig;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        leave_sealed(&rig, &open, 5000, 1, placed);
        sick_disk.fail_rewrite = 1;
        struct mr_seal_job job = recovered(&rig);
        ck_assert_int_eq(sick_disk.fail_rewrite, 0);
        ck_assert(!job.bad);
        run_unanswered(&rig, &job);
        ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
        ck_assert(rig_has(&rig, "k3/a.log"));
        rig_end(&rig);
    }
}
END_TEST

/* What a crash cut short would swallow the name that it gets instead. */
START_TEST(journal_that_could_not_be_mended_is_mended_before_it_is_written)
{
    struct rig rig;
    struct mr_dossier again = {0};
    struct mr_err err = {0};
    char journal[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    leave_sealed(&rig, &open, 5000, 1, false);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s.g1.journal",
             mr_ulid_text(&open.movie, id));
    scratch_append(&rig.scratch, journal, "0123456789ABCDEF SEALED {\"pa");
    scratch_append(&rig.scratch, "k3/a.log", "mine");
    sick_disk.fail_rewrite = 1;
    struct mr_seal_job job = recovered(&rig);
    ck_assert_int_eq(sick_disk.fail_rewrite, 0);
    ck_assert(job.dossier->unmended);
    ck_assert_int_eq(mr_commit_place(&rig.commit, job.dossier, &err), 0);
    const char *name = strrchr(journal, '/') + 1;
    ck_assert_int_eq(mr_dossier_read(rig.store.journal_fd, name, &again, &err), 0);
    ck_assert_str_eq(again.sealed.path, "k3/a_dup2.log");
    ck_assert_uint_eq(again.damaged, 0);
    mr_dossier_fini(&again);
    run_unanswered(&rig, &job);
    ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a_dup2.log"), 5000);
    ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 4);
    rig_end(&rig);
}
END_TEST

/* Nor may it be placed where its journal did not sync and it cannot be taken back at once. */
START_TEST(journal_that_did_not_sync_is_taken_back_later)
{
    struct rig rig;
    char part[128];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    leave_sealed(&rig, &open, 5000, 1, false);
    part_of(&open, part);
    sick_disk.fail_fdatasync = 1;
    sick_disk.no_unlinks = EIO;
    struct mr_seal_job job = recovered(&rig);
    ck_assert_int_eq(job.state, MR_COMMIT_VOID);
    ck_assert(rig_has(&rig, part));
    sick_disk.no_unlinks = 0;
    run_unanswered(&rig, &job);
    ck_assert(!rig_has(&rig, part) && !rig_has(&rig, "k3/a.log"));
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 0);
    rig_end(&rig);
}
END_TEST

/* Between the exchange and putting the old one away: it is in the part's place, which is reused. */
START_TEST(revision_before_outlives_a_take_back)
{
    for (int fault = 0; fault <= 3; fault++) {
        struct rig rig;
        struct shipment s;
        char part[128], old[128], journal[128], id[MR_ULID_TEXT];
        uint64_t bytes;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, 1, &s);
        free(seal_one(&rig, &s));
        uint64_t crc = rig_file_crc(&rig, "k3/a.log", &bytes);
        open.revision = 2;
        leave_sealed(&rig, &open, 6000, 2, false);
        part_of(&open, part);
        int root = rig.store.root_fd;
        ck_assert_int_eq(mr_fs_exchange(root, part, root, "k3/a.log"), 0);
        scratch_flip(&rig.scratch, "k3/a.log", 17);
        struct mr_seal_job job = recovered(&rig);
        ck_assert(job.bad);
        sick_disk.fail_fsync = fault;
        run_unanswered(&rig, &job);
        sick_disk.fail_fsync = 0;
        snprintf(journal, sizeof(journal), ".millrace/journal/%s.g1.journal",
                 mr_ulid_text(&open.movie, id));
        if (rig_has(&rig, journal)) { /* it could not be taken back: the next start does it */
            job = recovered(&rig);
            run_unanswered(&rig, &job);
        }
        ship(&rig, &open, 6000, 2, &s);
        free(seal_one(&rig, &s));
        snprintf(old, sizeof(old), "k3/.millrace/old/%s.r1", id);
        ck_assert_uint_eq(rig_file_crc(&rig, old, &bytes), crc);
        rig_end(&rig);
    }
}
END_TEST

/* Only its commit may remove the journal of a sealed movie. */
START_TEST(sealed_movie_is_not_abandoned)
{
    struct rig rig;
    char journal[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    leave_sealed(&rig, &open, 5000, 1, false);
    struct mr_message *m;
    struct mr_seal_counts counts;
    const struct mr_seal_job abandon = {.kind = MR_SEAL_DISCARD, .id = open.movie, .agent = "k3"};
    run(&rig, &abandon, 1, &m, &counts);
    ck_assert_int_eq(m->type, MR_HOLD);
    ck_assert_uint_eq(m->hold.code, MR_REASON_BUSY);
    free(m);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s.g1.journal",
             mr_ulid_text(&open.movie, id));
    ck_assert(rig_has(&rig, journal));
    struct mr_seal_job job = recovered(&rig);
    run_unanswered(&rig, &job);
    ck_assert(!rig_has(&rig, journal));
    run(&rig, &abandon, 1, &m, &counts);
    ck_assert_int_eq(m->type, MR_ABANDONED);
    free(m);
    rig_end(&rig);
}
END_TEST

/* A generation that a sick disk did not let go, of a movie that failed afterwards. */
START_TEST(what_is_left_of_a_failed_movie_goes)
{
    struct rig rig;
    struct shipment s;
    struct mr_message *m;
    struct mr_seal_counts counts;
    struct mr_err err = {0};
    char left[MR_NAMING_PART], *text;
    size_t bytes;
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 2000, 2000, "a.mrc");
    ship(&rig, &open, 1, 1, &s);
    ck_assert_int_eq(
        mr_fs_read_file(rig.store.journal_fd, s.job.movie->journal_name, 1 << 20, &text, &bytes),
        0);
    const struct mr_fail fail = {.movie = open.movie, .extent = s.extent, .text = "gone"};
    const struct mr_seal_job job = {
        .kind = MR_SEAL_FAIL, .id = open.movie, .movie = s.job.movie, .fail = &fail};
    run(&rig, &job, 1, &m, &counts);
    ck_assert_int_eq(m->type, MR_FAILED);
    free(m);
    mr_dossier_name(&open.movie, 2, "journal", left);
    int fd = openat(rig.store.journal_fd, left, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    ck_assert_int_eq(mr_fs_pwrite_full(fd, text, bytes, 0), 0);
    close(fd);
    free(text);
    rig_restart(&rig);
    const struct mr_recovery_found found = {
        .ctx = &rig, .unfinished = not_expected, .sealed = read_back};
    ck_assert_int_eq(mr_recovery_run(&rig.commit, &found, &err), 0);
    ck_assert_int_eq(faccessat(rig.store.journal_fd, left, F_OK, 0), -1);
    rig_end(&rig);
}
END_TEST

MR_SUITE("recovery", T(stuck_movie_is_left_to_the_next_start),
         T(sealed_movie_is_read_back_before_it_is_announced),
         T(source_stored_meanwhile_is_not_kept_twice), T(source_sealed_twice_is_kept_once),
         T(copy_in_place_of_one_that_was_taken_away_stays),
         T(announced_movie_does_not_keep_its_parts_name),
         T(revision_that_does_not_read_back_leaves_the_one_before),
         T(journal_that_cannot_be_opened_is_not_void), T(revision_before_outlives_a_take_back),
         T(sealed_movie_is_not_abandoned),
         T(journal_that_could_not_be_mended_is_mended_before_it_is_written),
         T(journal_that_did_not_sync_is_taken_back_later), T(what_is_left_of_a_failed_movie_goes))
