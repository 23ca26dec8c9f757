/* SPDX-License-Identifier: Apache-2.0 */
/* Does purge free what the server has and nothing else, and mend what a crash left half freed? */
#include "purge_rig.h"

static struct mr_thread *thread;

static void start(void)
{
    struct mr_err err = {0};
    ck_assert_msg(rig_new(&err) == 0, "%s", err.text);
    ck_assert_int_eq(mr_thread_start(&mr_purge_stage, rig.purge, &err, &thread), 0);
}

static void stop(void)
{
    mr_purge_stop(rig.purge);
    mr_thread_join(thread);
    rig_free();
}

/* What a crash left is mended, however soon it is told to stop. */
static void walk_once(void)
{
    start();
    stop();
}

static void expect_question(void)
{
    ck_assert_int_eq(mr_queue_pop(rig.config.questions, WAIT_MS, &rig.question), 0);
    ck_assert(mr_ulid_equal(&rig.question.movie, &rig.row.id));
    ck_assert_uint_eq(rig.question.revision, rig.row.revision);
}

static void answer(void)
{
    ck_assert_int_eq(mr_queue_push(rig.config.answers, &rig.answer), 0);
}

static void check_state(enum mr_journal_state state)
{
    static struct mr_journal_movie found;
    rig_journal(false, &found);
    ck_assert_int_eq(found.state, state);
}

static void goes(void)
{
    expect_question();
    rig_in_place();
    answer();
    UNTIL(rig_told("\"what\":\"freed\""), usleep(1000));
    ck_assert(!rig_there(rig.row.path) && !rig_there(rig_hidden()));
    stop();
    ck_assert(strstr(rig.ledger, "intent") < strstr(rig.ledger, "freed"));
    ck_assert(!rig_is_pending());
    check_state(MR_JOURNAL_FREED);
    tree_remove();
}

START_TEST(what_the_server_has_goes)
{
    rig_make();
    rig_commit("a.log", "a");
    rig_journal(true, NULL);
    start();
    goes();
}
END_TEST

START_TEST(a_later_revision_is_asked_for_as_such)
{
    rig_make();
    rig_commit("a.log", "a");
    rig.row.revision = 3;
    strcat(rig.row.event, ".r3");
    rig_journal(true, NULL);
    start();
    goes();
}
END_TEST

/* Asked again at the next walk: with each question the answer before it is dealt with. */
START_TEST(what_the_server_has_not_stays)
{
    rig_make();
    rig_commit("a.log", "a");
    rig_journal(true, NULL);
    start();
    for (int i = 0; i < 7; i++) {
        expect_question();
        ck_assert(rig_there("a.log") && !rig_told("intent"));
        rig_in_place();
        if (i == 0)
            rig.answer.standing = MR_STANDING_UNKNOWN;
        else if (i == 1)
            rig.answer.standing = MR_STANDING_MOVED;
        else if (i == 2)
            rig.answer.standing = 0; /* there is no session */
        else if (i == 3)
            rig.answer.bytes++;
        else if (i == 4)
            rig.answer.crc_file ^= 1;
        else if (i == 5)
            rig.answer.movie.bytes[0] ^= 1; /* of a question before */
        else
            rig.answer.revision = 2;
        answer();
        if (i >= 5) { /* is waited past */
            rig_in_place();
            rig.answer.standing = MR_STANDING_UNKNOWN;
            answer();
        }
    }
    goes();
}
END_TEST

START_TEST(converted_movies_go_by_their_pixels)
{
    rig_make();
    rig_commit("m.log", "a");
    rig.row.output = MR_OUTPUT_MRC;
    rig.row.source.crc_pixels = 77;
    rig.watch.purge.allow_converted = true;
    rig_journal(true, NULL);
    start();
    for (int i = 0; i < 3; i++) {
        expect_question();
        ck_assert(rig_there("m.log") && !rig_told("intent"));
        rig_in_place();
        rig.answer.bytes = 5000; /* another file than the source */
        rig.answer.has_pixels = i > 0;
        rig.answer.crc_pixels = i == 1 ? 78 : 77;
        answer();
    }
    UNTIL(rig_told("\"what\":\"freed\""), usleep(1000));
    stop();
    ck_assert(!rig_there("m.log"));
    tree_remove();
}
END_TEST

/* Its times prove nothing, so it is read once more: first it is what was shipped, then not. */
START_TEST(what_was_rewritten_stays)
{
    for (int changed = 0; changed < 2; changed++) {
        rig_make();
        rig_commit("a.log", "as it is");
        rig.row.source.fresh = true;
        if (changed)
            rig.row.source.crc_file ^= 1;
        rig_journal(true, NULL);
        start();
        if (!changed) {
            goes();
            continue;
        }
        static struct mr_journal_movie found;
        expect_question();
        rig_in_place();
        answer();
        do
            rig_journal(false, &found);
        while (found.source.ctime_ns != 0); /* never again, and not asked again */
        stop();
        ck_assert(rig_there("a.log") && !rig_told("intent"));
        tree_remove();
    }
}
END_TEST

/* The walk has passed the first by when it asks for the second. */
START_TEST(an_event_without_sense_is_not_asked_for)
{
    static const char *const bad[] = {"", "nonsense", "01ARZ3NDEKTSV4RRFFQ69G5FAV",
                                      "01ARZ3NDEKTSV4RRFFQ69G5FAV.failed",
                                      "01ARZ3NDEKTSV4RRFFQ69G5FAV.ready.r0"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        rig_make();
        rig_commit("a.log", "a");
        snprintf(rig.row.event, sizeof(rig.row.event), "%s", bad[i]);
        rig_journal(true, NULL);
        rig_commit("b.log", "b");
        rig_journal(true, NULL);
        start();
        expect_question();
        stop();
        ck_assert(rig_there("a.log") && rig_there("b.log"));
        tree_remove();
    }
}
END_TEST

/* What is gone is done with; but what lay on a disk that is not there may come back. */
START_TEST(a_source_that_is_gone_is_settled)
{
    for (uint64_t other_disk = 0; other_disk < 2; other_disk++) {
        rig_make();
        rig_commit("a.log", "a");
        rig.row.identity.device += other_disk;
        rig_journal(true, NULL);
        ck_assert_int_eq(unlink(tree_path("in/a.log")), 0);
        struct mr_journal_movie gone = rig.row;
        rig_commit("b.log", "b");
        rig_journal(true, NULL);
        start();
        expect_question(); /* of b.log: the walk has passed the other by */
        stop();
        rig.row = gone;
        check_state(other_disk ? MR_JOURNAL_COMMITTED : MR_JOURNAL_FREED);
        ck_assert(!rig_told("a.log"));
        tree_remove();
    }
}
END_TEST

START_TEST(a_watch_that_is_not_there_or_keeps_is_left_alone)
{
    rig_make();
    rig_commit("a.log", "a");
    rig_journal(true, NULL);
    ck_assert(mr_purge_wanted(rig.state, &rig.watch, 1));
    tree_rename("in", "out");
    walk_once();
    tree_rename("out", "in");
    rig.watch.source_after_commit = MR_AFTER_KEEP;
    ck_assert(mr_purge_wanted(rig.state, &rig.watch, 1)); /* there is a ledger */
    ck_assert(!mr_purge_wanted(rig.in, &rig.watch, 1));
    walk_once();
    check_state(MR_JOURNAL_COMMITTED);
    ck_assert(rig_there("a.log") && !rig_told("a.log"));
    tree_remove();
}
END_TEST

START_TEST(without_a_whole_ledger_nothing_is_freed)
{
    struct mr_err err = {0};
    rig_make();
    ck_assert_int_eq(rig_new(&err), -ENOENT); /* no journal */
    rig_free();
    rig_commit("a.log", "a");
    rig_journal(true, NULL);
    rig_intend();
    tree_put("state/ledger.log", "0123456789ABCDEF");
    err = (struct mr_err){0};
    ck_assert_int_eq(rig_new(&err), -EUCLEAN);
    ck_assert_ptr_nonnull(strstr(err.text, "ledger.log"));
    rig_free();
    tree_remove();
}
END_TEST

/* ---- what a crash left ---- */

static void killed_behind_its_intent(bool in_journal)
{
    rig_make();
    rig_commit("a.log", "a");
    struct mr_journal_movie row = rig.row;
    if (!in_journal)
        rig.row.id.bytes[0] = 7;
    rig_journal(true, NULL);
    rig.row = row;
    rig_intend();
}

static void mended(const char *what, const char *why)
{
    walk_once();
    char text[64];
    snprintf(text, sizeof(text), "\"what\":\"%s\"", what);
    ck_assert_msg(rig_told(text) && strstr(rig.ledger, why) != NULL, "%s", rig.ledger);
    ck_assert(!rig_is_pending());
}

START_TEST(untouched_file_is_kept)
{
    killed_behind_its_intent(true);
    mended("kept", "it was not touched");
    ck_assert(rig_there("a.log"));
    tree_remove();
}
END_TEST

START_TEST(hidden_file_has_its_name_back)
{
    for (int known = 0; known < 2; known++) {
        killed_behind_its_intent(known);
        rig_move("a.log", rig_hidden());
        mended("kept", "it has its name back");
        ck_assert(rig_there("a.log") && !rig_there(rig_hidden()));
        tree_remove();
    }
}
END_TEST

START_TEST(hidden_file_whose_name_is_taken_is_left)
{
    for (int known = 0; known < 2; known++) {
        killed_behind_its_intent(known);
        rig_move("a.log", rig_hidden());
        tree_put("in/a.log", "another");
        mended("left", "named .millrace-purge-");
        ck_assert(rig_there("a.log") && rig_there(rig_hidden()));
        tree_remove();
    }
}
END_TEST

START_TEST(unlinked_file_is_freed)
{
    for (int known = 0; known < 2; known++) {
        killed_behind_its_intent(known);
        ck_assert_int_eq(unlink(tree_path("in/a.log")), 0);
        mended(known ? "freed" : "left", known ? "it is gone" : "the journal does not know it");
        tree_remove();
    }
}
END_TEST

/* The file may come back with its disk: nothing is said of it, and nothing else is freed before. */
START_TEST(what_is_on_a_disk_that_is_not_there_waits)
{
    for (unsigned gone = 0; gone < 2; gone++) {
        rig_make();
        rig_commit("a.log", "a");
        rig.row.identity.device += gone;
        rig_journal(true, NULL);
        rig_intend();
        if (gone)
            ck_assert_int_eq(unlink(tree_path("in/a.log")), 0);
        else
            tree_rename("in", "out");
        walk_once();
        ck_assert(rig_is_pending());
        if (!gone) {
            tree_rename("out", "in");
            mended("kept", "it was not touched");
        }
        tree_remove();
    }
}
END_TEST

MR_SUITE("purge", T(what_the_server_has_goes), T(a_later_revision_is_asked_for_as_such),
         T(what_the_server_has_not_stays), T(converted_movies_go_by_their_pixels),
         T(what_was_rewritten_stays), T(an_event_without_sense_is_not_asked_for),
         T(a_source_that_is_gone_is_settled), T(a_watch_that_is_not_there_or_keeps_is_left_alone),
         T(without_a_whole_ledger_nothing_is_freed), T(untouched_file_is_kept),
         T(hidden_file_has_its_name_back), T(hidden_file_whose_name_is_taken_is_left),
         T(unlinked_file_is_freed), T(what_is_on_a_disk_that_is_not_there_waits))
