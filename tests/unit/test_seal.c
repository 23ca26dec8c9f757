/* SPDX-License-Identifier: Apache-2.0 */
/* How movies end, as the seal stage decides it: committed, known, renamed, failed, discarded. */
#include "seal.h"

#include "announce.h"
#include "seal_rig.h"
#include "sick_disk.h"
#include "suite.h"

START_TEST(movie_is_committed)
{
    struct rig rig;
    struct shipment s;
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_MRC, 1000, 1001, "grid7/a.mrc");
    ship(&rig, &open, 5, 1, &s);
    struct mr_message *m = seal_one(&rig, &s);
    ck_assert_int_eq(m->type, MR_COMMITTED);
    ck_assert(!m->committed.known);
    ck_assert_uint_eq(m->committed.revision, 1);
    ck_assert_uint_eq(m->committed.sequence, 1);
    ck_assert_uint_eq(m->committed.source_bytes, s.extent.source_bytes);
    ck_assert_int_eq(m->committed.source_mtime_ns, s.end.source_mtime_ns);
    ck_assert(ends_with(m->committed.event, ".ready"));
    ck_assert(ends_with(m->committed.path, "/k3/grid7/a.mrc"));
    ck_assert_int_eq(m->committed.path[0], '/');
    ck_assert(rig_has(&rig, "k3/grid7/a.mrc"));
    ck_assert(!rig_has(&rig, "k3/grid7/.millrace"));
    free(m);
    rig_end(&rig);
}
END_TEST

START_TEST(same_content_is_known)
{
    static const enum mr_output outputs[] = {MR_OUTPUT_KEEP, MR_OUTPUT_MRC, MR_OUTPUT_HDF5};
    for (size_t o = 0; o < 3; o++) {
        struct rig rig;
        struct shipment s;
        rig_make(&rig);
        struct mr_open open = rig_movie(outputs[o], 500, 501, "a.mrc");
        ship(&rig, &open, 3, 1, &s);
        struct mr_message *first = seal_one(&rig, &s);
        ck_assert_int_eq(first->type, MR_COMMITTED);
        rig_restart(&rig);
        struct mr_open again = rig_movie(outputs[o], 500, 501, "a.mrc");
        ship(&rig, &again, 3, 1, &s);
        struct mr_message *second = seal_one(&rig, &s);
        ck_assert_int_eq(second->type, MR_COMMITTED);
        ck_assert(second->committed.known);
        ck_assert_str_eq(second->committed.event, first->committed.event);
        ck_assert_str_eq(second->committed.path, first->committed.path);
        ck_assert_uint_eq(second->committed.sequence, 1);
        ck_assert(mr_ulid_equal(&second->committed.movie, &again.movie));
        ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
        ck_assert(!rig_has(&rig, "k3/.millrace"));
        ck_assert(!rig_has(&rig, "k3/a_dup2.mrc"));
        free(first);
        free(second);
        rig_end(&rig);
    }
}
END_TEST

START_TEST(same_content_twice_in_one_batch_is_stored_once)
{
    struct rig rig;
    struct shipment twins[2];
    struct mr_message *messages[2];
    struct mr_seal_counts counts;
    rig_make(&rig);
    for (size_t i = 0; i < 2; i++) {
        struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 50, 51, "a.mrc");
        ship(&rig, &open, 3, 1, &twins[i]);
    }
    run(&rig, (struct mr_seal_job[]){twins[0].job, twins[1].job}, 2, messages, &counts);
    ck_assert(!messages[0]->committed.known);
    ck_assert(messages[1]->committed.known);
    ck_assert_str_eq(messages[0]->committed.event, messages[1]->committed.event);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
    ck_assert(!rig_has(&rig, "k3/a_dup2.mrc"));
    free(messages[0]);
    free(messages[1]);
    rig_end(&rig);
}
END_TEST

static void spoil(const struct rig *rig, const char *path)
{
    int fd = openat(rig->store.root_fd, path, O_WRONLY | O_APPEND | O_CLOEXEC);
    ck_assert_int_eq(write(fd, "x", 1), 1);
    close(fd);
}

START_TEST(stored_file_that_changed_is_not_known)
{
    struct rig rig;
    struct shipment s;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log"), again = rig_file("a.log");
    commit_one(&rig, &open, 5000, 1);
    spoil(&rig, "k3/a.log");
    ship(&rig, &again, 5000, 1, &s);
    struct mr_message *m = seal_one(&rig, &s);
    ck_assert_int_eq(m->type, MR_COMMITTED);
    ck_assert(!m->committed.known);
    ck_assert(ends_with(m->committed.path, "/k3/a_dup2.log"));
    free(m);
    rig_end(&rig);
}
END_TEST

START_TEST(other_content_gets_another_name)
{
    struct rig rig;
    struct shipment s;
    rig_make(&rig);
    for (unsigned seed = 1; seed <= 3; seed++) {
        char end[32];
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, seed, &s);
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_COMMITTED);
        snprintf(end, sizeof(end), "/k3/a_dup%u.log", seed);
        ck_assert_msg(ends_with(m->committed.path, seed == 1 ? "/k3/a.log" : end), "%s",
                      m->committed.path);
        free(m);
    }
    rig_end(&rig);
}
END_TEST

/* Two of one name in one batch: neither is in the way of the other. */
START_TEST(batch_of_one_name)
{
    struct rig rig;
    struct shipment s[3];
    struct mr_seal_job jobs[3];
    struct mr_message *messages[3];
    struct mr_seal_counts counts;
    rig_make(&rig);
    for (unsigned i = 0; i < 3; i++) {
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, i + 1, &s[i]);
        jobs[i] = s[i].job;
    }
    run(&rig, jobs, 3, messages, &counts);
    for (unsigned i = 0; i < 3; i++) {
        ck_assert_int_eq(messages[i]->type, MR_COMMITTED);
        ck_assert_uint_eq(messages[i]->committed.sequence, i + 1);
        free(messages[i]);
    }
    ck_assert(rig_has(&rig, "k3/a.log"));
    ck_assert(rig_has(&rig, "k3/a_dup2.log"));
    ck_assert(rig_has(&rig, "k3/a_dup3.log"));
    ck_assert_uint_eq(counts.committed, 3);
    rig_end(&rig);
}
END_TEST

START_TEST(disagreement_discards_and_asks_again)
{
    struct rig rig;
    struct shipment s;
    struct mr_message *m;
    struct mr_seal_counts counts;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    s.end.crc_file ^= 1;
    run(&rig, &s.job, 1, &m, &counts);
    ck_assert_int_eq(m->type, MR_ABANDONED);
    ck_assert(!rig_has(&rig, "k3/a.log"));
    ck_assert(!rig_has(&rig, "k3/.millrace"));
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 0);
    ck_assert_uint_eq(counts.discarded, 1);
    free(m);
    rig_end(&rig);
}
END_TEST

START_TEST(failed_movie_is_kept_and_told)
{
    struct rig rig;
    struct shipment s;
    char id[MR_ULID_TEXT], path[128];
    rig_make(&rig);
    struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 1000, 1001, "grid7/a.mrc");
    ship(&rig, &open, 5, 1, &s);
    const struct mr_fail fail = {
        .movie = open.movie, .generation = 1, .extent = s.extent, .text = "the camera stopped"};
    s.job.kind = MR_SEAL_FAIL;
    s.job.fail = &fail;
    s.job.end = NULL;
    struct mr_message *m = seal_one(&rig, &s);
    ck_assert_int_eq(m->type, MR_FAILED);
    ck_assert_ptr_nonnull(strstr(m->failed.text, "the camera stopped"));
    snprintf(path, sizeof(path), ".millrace/failed/%s/a.mrc", mr_ulid_text(&open.movie, id));
    ck_assert(rig_has(&rig, path));
    ck_assert(!rig_has(&rig, "k3/grid7/a.mrc"));
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
    free(m);
    rig_end(&rig);
}
END_TEST

static int read_event(void *ctx, const struct mr_eventlog_record *record)
{
    snprintf(ctx, 4096, "%s", record->json);
    return 0;
}

START_TEST(failed_movie_says_whose_fault_it_is)
{
    static const uint16_t codes[] = {0, MR_REASON_PERMISSION, MR_REASON_MISMATCH};
    static const char *const names[] = {"source", "permission", "mismatch"};
    for (size_t i = 0; i < 3; i++) {
        struct rig rig;
        struct shipment s;
        char event[4096] = "", wanted[64];
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, 1, &s);
        const struct mr_fail fail = {
            .movie = open.movie, .generation = 1, .text = "quota exceeded", .code = codes[i]};
        s.job.kind = MR_SEAL_FAIL;
        s.job.fail = &fail;
        s.job.end = NULL;
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_FAILED);
        ck_assert_uint_eq(m->failed.code, i == 0 ? MR_REASON_SOURCE : codes[i]);
        ck_assert_int_eq(mr_eventlog_read(rig.eventlog, 1, 1, read_event, event), 0);
        snprintf(wanted, sizeof(wanted), "\"reason_code\":\"%s\"", names[i]);
        ck_assert_msg(strstr(event, wanted) != NULL, "%s", event);
        char id[MR_ULID_TEXT], path[128];
        uint64_t bytes;
        snprintf(path, sizeof(path), ".millrace/failed/%s/a.log", mr_ulid_text(&open.movie, id));
        (void)rig_file_crc(&rig, path, &bytes); /* of a quota's, nothing may hold it */
        ck_assert_uint_eq(bytes, codes[i] == MR_REASON_PERMISSION ? 0 : 5000);
        ck_assert(!rig_has(&rig, "k3/.millrace"));
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        ck_assert_ptr_null(answer.movie); /* this one is over */
        ck_assert_int_eq(answer.message->type, MR_FAILED);
        rig_forget(&answer);
        free(m);
        rig_end(&rig);
    }
}
END_TEST

START_TEST(abandoned_movie_leaves_nothing)
{
    struct rig rig;
    struct shipment s;
    rig_make(&rig);
    struct mr_open open = rig_file("grid7/a.log");
    ship(&rig, &open, 5000, 1, &s);
    mr_movie_release(s.job.movie);
    rig_restart(&rig);
    s.job = (struct mr_seal_job){.kind = MR_SEAL_DISCARD, .id = open.movie, .agent = "k4"};
    struct mr_message *m = seal_one(&rig, &s); /* its id is no secret */
    ck_assert_int_eq(m->type, MR_ABANDONED);
    ck_assert(rig_has(&rig, "k3/grid7/.millrace"));
    free(m);
    snprintf(s.job.agent, sizeof(s.job.agent), "k3");
    m = seal_one(&rig, &s);
    ck_assert_int_eq(m->type, MR_ABANDONED);
    ck_assert(!rig_has(&rig, "k3/grid7/.millrace"));
    free(m);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

/* Of two take-overs: what the first server had copied from goes with what it was copied to. */
START_TEST(abandoned_movie_leaves_no_strays)
{
    struct rig rig;
    struct shipment s;
    char before[128], foreign[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    rig.store.epoch = 2;
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    mr_ulid_text(&open.movie, id);
    snprintf(before, sizeof(before), "k3/.millrace/%s.g1025.part", id);
    snprintf(foreign, sizeof(foreign), "k3/.millrace/%s.g2048.part", id);
    scratch_append(&rig.scratch, before, "x");
    scratch_append(&rig.scratch, foreign, "x");
    mr_movie_release(s.job.movie);
    s.job = (struct mr_seal_job){.kind = MR_SEAL_DISCARD, .id = open.movie, .agent = "k3"};
    struct mr_message *m = seal_one(&rig, &s);
    ck_assert_int_eq(m->type, MR_ABANDONED);
    free(m);
    ck_assert(!rig_has(&rig, "k3/.millrace"));
    rig_end(&rig);
}
END_TEST

START_TEST(events_pass_through_in_order)
{
    struct rig rig;
    struct mr_seal_counts counts;
    struct mr_seal_job job = {.kind = MR_SEAL_LOG};
    const struct mr_hello hello = {.name = "k3"};
    rig_make(&rig);
    ck_assert_int_eq(mr_announce_presence(&rig.store, &hello, true, 1, &job.event), 0);
    run(&rig, &job, 1, NULL, &counts);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
    rig_end(&rig);
}
END_TEST

START_TEST(old_revision_expires)
{
    for (int keep = 0; keep < 2; keep++) {
        struct rig rig;
        struct shipment s;
        char id[MR_ULID_TEXT], old[128];
        struct mr_seal_counts counts;
        rig_make(&rig);
        rig.config.keep_revisions_ns = keep != 0 ? 3600 * MR_NS_PER_S : 0;
        rig_restart(&rig);
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, 1, &s);
        free(seal_one(&rig, &s));
        open.revision = 2;
        ship(&rig, &open, 5001, 2, &s);
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_COMMITTED);
        ck_assert_uint_eq(m->committed.revision, 2);
        ck_assert(ends_with(m->committed.event, ".ready.r2"));
        free(m);
        snprintf(old, sizeof(old), "k3/.millrace/old/%s.r1", mr_ulid_text(&open.movie, id));
        ck_assert(rig_has(&rig, old));
        run(&rig, NULL, 0, NULL, &counts); /* a new life looks through old revisions at once */
        ck_assert_int_eq(rig_has(&rig, old), keep != 0);
        ck_assert_int_eq(rig_has(&rig, "k3/.millrace"), keep != 0);
        ck_assert(rig_has(&rig, "k3/a.log"));
        rig_end(&rig);
    }
}
END_TEST

/* An agent that comes from another store brings revisions of movies this one never had; and a file
 * that others put in a revision's place is theirs. */
START_TEST(revision_replaces_no_stranger)
{
    for (int had_one = 0; had_one <= 1; had_one++) {
        struct rig rig;
        struct shipment s;
        char old[128], id[MR_ULID_TEXT];
        uint64_t bytes;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        struct mr_open stranger = rig_file("a.log");
        if (had_one) {
            ship(&rig, &open, 5000, 1, &s);
            free(seal_one(&rig, &s));
            ck_assert_int_eq(unlinkat(rig.store.root_fd, "k3/a.log", 0), 0);
        }
        ship(&rig, &stranger, 6000, 2, &s);
        free(seal_one(&rig, &s));
        uint64_t crc = rig_file_crc(&rig, "k3/a.log", &bytes);
        open.revision = 2;
        ship(&rig, &open, 7000, 3, &s);
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_COMMITTED);
        ck_assert(ends_with(m->committed.path, "/k3/a_dup2.log"));
        free(m);
        ck_assert_uint_eq(rig_file_crc(&rig, "k3/a.log", &bytes), crc);
        ck_assert_uint_eq(bytes, 6000);
        snprintf(old, sizeof(old), "k3/.millrace/old/%s.r1", mr_ulid_text(&open.movie, id));
        ck_assert(!rig_has(&rig, old));
        rig_end(&rig);
    }
}
END_TEST

/* A second fsync would succeed, whatever became of what the first one was to write. */
START_TEST(failed_sync_is_not_tried_again)
{
    for (int journal = 0; journal <= 1; journal++) {
        struct rig rig;
        struct shipment s;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        ship(&rig, &open, 5000, 1, &s);
        if (journal)
            sick_disk.fail_fdatasync = 2; /* the first is the catalogue's, for old revisions */
        else
            sick_disk.fail_fsync = 1;
        struct mr_message *m = seal_one(&rig, &s);
        ck_assert_int_eq(m->type, MR_HOLD);
        ck_assert_int_eq(m->hold.code, MR_REASON_IO);
        ck_assert(!rig_has(&rig, "k3/a.log"));
        free(m);
        struct mr_berth_answer answer = rig_ask(&rig, &open);
        ck_assert_ptr_nonnull(answer.movie);
        ck_assert(!answer.resumed);
        ck_assert_uint_eq(answer.durable_count, 0);
        rig_forget(&answer);
        rig_end(&rig);
    }
}
END_TEST

static void fill_behind_sealed(void *ctx)
{
    (void)ctx;
    if (sick_disk.fdatasyncs == 2) /* of the journal; the first is the catalogue's */
        sick_disk.no_room = ENOSPC;
    else
        sick_disk.after_fdatasync = fill_behind_sealed;
}

/* Placed, and then the log has no room: movie and event wait, in their order, and nothing ends. */
START_TEST(full_log_is_waited_for)
{
    struct rig rig;
    struct shipment s;
    struct sealing sealing;
    struct mr_seal_answer answer;
    struct mr_seal_job job = {.kind = MR_SEAL_LOG};
    const struct mr_hello hello = {.name = "k3"};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ship(&rig, &open, 5000, 1, &s);
    sealing_begin(&rig, &sealing);
    ck_assert_int_eq(mr_announce_presence(&rig.store, &hello, true, 1, &job.event), 0);
    sick_disk.fdatasyncs = 0;
    sick_disk.after_fdatasync = fill_behind_sealed;
    sealing_start(&sealing);
    sealing_put(&sealing, &s.job);
    UNTIL(sick_disk.no_room != 0, usleep(1000));
    sealing_put(&sealing, &job);
    UNTIL(mr_queue_count(sealing.in) == 0, usleep(1000));
    ck_assert_int_eq(mr_queue_pop(sealing.out, 100, &answer), -EAGAIN);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 0);
    sick_disk.no_room = 0;
    ck_assert_int_eq(mr_queue_pop(sealing.out, WAIT_MS, &answer), 0);
    ck_assert_int_eq(answer.message->type, MR_COMMITTED);
    ck_assert_uint_eq(answer.message->committed.sequence, mr_eventlog_last(rig.eventlog));
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 2);
    ck_assert_int_eq(deaths, 0);
    free(answer.message);
    sealing_end(&sealing);
    rig_end(&rig);
}
END_TEST

MR_SUITE("seal", T(movie_is_committed), T(same_content_is_known),
         T(same_content_twice_in_one_batch_is_stored_once),
         T(stored_file_that_changed_is_not_known), T(other_content_gets_another_name),
         T(batch_of_one_name), T(disagreement_discards_and_asks_again),
         T(failed_movie_is_kept_and_told), T(failed_movie_says_whose_fault_it_is),
         T(abandoned_movie_leaves_nothing), T(abandoned_movie_leaves_no_strays),
         T(events_pass_through_in_order), T(old_revision_expires), T(revision_replaces_no_stranger),
         T(failed_sync_is_not_tried_again), T(full_log_is_waited_for))
