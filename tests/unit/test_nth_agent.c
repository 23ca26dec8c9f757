/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent keeps, and how it frees: every call that its ledger and its purge make of libc,
 * and every one that its journal makes of SQLite, fails once, until a run passes untouched. The
 * next start reads all that was said to be kept, and brings to an end what was begun.
 */
#include "fail_nth.h"
#include "purge_rig.h"

#include <pthread.h>

/* ---- SQLite, whose header is the journal's alone ---- */

#define FAIL_SQLITE(name, parameters, arguments) \
    FAIL_NTH(int, fail_nth.error, 0, name, parameters, arguments)

FAIL_SQLITE(sqlite3_open_v2, (const char *path, void *db, int flags, const char *vfs),
            (path, db, flags, vfs))
FAIL_SQLITE(sqlite3_exec, (void *db, const char *sql, void *call, void *ctx, void *text),
            (db, sql, call, ctx, text))
FAIL_SQLITE(sqlite3_prepare_v2, (void *db, const char *sql, int bytes, void *s, void *tail),
            (db, sql, bytes, s, tail))
FAIL_SQLITE(sqlite3_prepare_v3,
            (void *db, const char *sql, int bytes, unsigned flags, void *s, void *tail),
            (db, sql, bytes, flags, s, tail))
FAIL_SQLITE(sqlite3_step, (void *s), (s))

static struct mr_journal_movie a_movie(uint8_t number)
{
    struct mr_journal_movie m = {.revision = 1,
                                 .state = MR_JOURNAL_OPEN,
                                 .root = "/data/movies",
                                 .path = "m.mrc",
                                 .identity = {1, 1000u + number, 3},
                                 .kind = MR_KIND_FILE,
                                 .output = MR_OUTPUT_KEEP,
                                 .first_seen_real_ns = 7,
                                 .updated_real_ns = 100 + number};
    m.id.bytes[15] = number;
    mr_geometry_opaque(&m.geometry);
    return m;
}

/* What was said to be kept: that many movies, and so many epochs. */
struct kept {
    uint8_t movies;
    bool committed;
    uint64_t epoch;
};

static int keep(struct mr_journal *j, struct kept *kept, struct mr_err *err)
{
    struct mr_journal_movie m = a_movie(1), other = a_movie(2);
    int r = mr_journal_begin(j, err);
    if (r == 0)
        r = mr_journal_insert(j, &m, err);
    if (r == 0)
        r = mr_journal_insert(j, &other, err);
    if (r == 0)
        r = mr_journal_commit(j, err);
    else
        mr_journal_rollback(j);
    if (r < 0)
        return r;
    kept->movies = 2;
    m.state = MR_JOURNAL_COMMITTED;
    r = mr_journal_begin(j, err);
    if (r == 0)
        r = mr_journal_update(j, &m, err);
    if (r == 0)
        r = mr_journal_commit(j, err);
    else
        mr_journal_rollback(j);
    kept->committed = r == 0;
    return r;
}

static void look(struct mr_journal *j)
{
    struct mr_err err = {0};
    struct mr_journal_movie m = a_movie(1), found;
    struct mr_journal_place at = {0};
    char day[32];
    uint64_t gone;
    const int results[] = {
        mr_journal_find(j, &m.id, &found, &err),
        mr_journal_find_file(j, m.root, m.path, &m.identity, &found, &err),
        mr_journal_find_name(j, m.root, m.path, &found, &err),
        mr_journal_next_committed(j, m.root, INT64_MAX, &at, &found, &err),
        mr_journal_next_open(j, m.root, &at, &found, &err),
        mr_journal_day_of(j, m.root, "grid7", "2026-11-22", day, &err),
        mr_journal_expire(j, 1, &gone, &err),
    };
    for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
        ck_assert_int_le(results[i], 0);
}

static void live(struct kept *kept)
{
    struct mr_err err = {0};
    struct mr_journal *j = NULL, *share = NULL;
    uint64_t epoch;
    if (mr_journal_open(tree_path("state"), &err, &j) < 0) {
        fail_nth_assert(err.text[0] != '\0');
        return;
    }
    if (mr_journal_next_epoch(j, &epoch, &err) == 0)
        kept->epoch = epoch;
    int r = keep(j, kept, &err);
    fail_nth_assert(r == 0 || err.text[0] != '\0');
    look(j);
    if (mr_journal_share(tree_path("state"), true, &err, &share) == 0)
        mr_journal_close(share);
    mr_journal_close(j);
}

static void check_kept(const struct kept *kept)
{
    struct mr_err err = {0};
    struct mr_journal *j = NULL;
    struct mr_journal_movie m = a_movie(1), found;
    uint64_t epoch = 0;
    int r = mr_journal_open(tree_path("state"), &err, &j);
    ck_assert_msg(r == 0, "%s after %s", err.text, fail_nth_where());
    fail_nth_assert(mr_journal_forgotten(j) == 0);
    fail_nth_assert(mr_journal_next_epoch(j, &epoch, &err) == 0);
    fail_nth_assert(epoch > kept->epoch);
    r = mr_journal_find(j, &m.id, &found, &err);
    ck_assert_msg(r == 0 || kept->movies == 0, "a movie is gone after %s", fail_nth_where());
    fail_nth_assert(!kept->committed || found.state == MR_JOURNAL_COMMITTED);
    mr_journal_close(j);
}

START_TEST(a_journal)
{
    /* BUSY, NOMEM, IOERR, FULL */
    static const int codes[] = {5, 7, 10, 13};
    for (size_t c = 0; c < sizeof(codes) / sizeof(codes[0]); c++) {
        bool struck = true;
        for (unsigned nth = 1; struck; nth++) {
            struct kept kept = {0};
            tree_make();
            fail_nth_only = "sqlite3";
            fail_nth_arm(nth, codes[c]);
            live(&kept);
            struck = fail_nth_disarm();
            check_kept(&kept);
            tree_remove();
        }
    }
}
END_TEST

/* ---- the ledger ---- */

static unsigned written;

static int write_one(struct mr_ledger *l, const char *what)
{
    struct mr_err err = {0};
    const struct mr_ledger_entry e = {
        .what = what, .path = "/data/m.mrc", .revision = 1, .store = "/store/m.mrc", .why = "old"};
    return mr_ledger_write(l, &e, &err);
}

static void live_of_ledger(void)
{
    struct mr_err err = {0};
    struct mr_ledger *l = NULL;
    struct mr_ledger_pending pending = {0};
    if (mr_ledger_open(tree_root, &l, &pending, &err) < 0)
        return;
    mr_ledger_pending_fini(&pending);
    if (write_one(l, "intent") == 0)
        (void)!write_one(l, "freed");
    mr_ledger_close(l);
}

START_TEST(a_ledger)
{
    static const int errors[] = {EIO, ENOSPC};
    for (size_t e = 0; e < 2; e++) {
        bool struck = true;
        for (unsigned nth = 1; struck; nth++) {
            struct mr_err err = {0};
            struct mr_ledger *l = NULL;
            struct mr_ledger_pending pending = {0};
            tree_make();
            fail_nth_only = NULL;
            struck = fail_nth_life(live_of_ledger, nth, errors[e]);
            int r = mr_ledger_open(tree_root, &l, &pending, &err);
            ck_assert_msg(r == 0, "%s after %s", err.text, fail_nth_where());
            written += pending.is_open;
            mr_ledger_pending_fini(&pending);
            fail_nth_assert(write_one(l, "intent") == 0);
            mr_ledger_close(l);
            fail_nth_assert(mr_ledger_open(tree_root, &l, &pending, &err) == 0);
            fail_nth_assert(pending.is_open);
            mr_ledger_pending_fini(&pending);
            mr_ledger_close(l);
            tree_remove();
        }
    }
    ck_assert_uint_gt(written, 0); /* some lives ended between an intent and its outcome */
}
END_TEST

/* ---- the purge ---- */

/* Plays tail until nothing was asked for a while: then what is done is done. */
static void *be_tail(void *arg)
{
    int wait_ms = *(int *)arg;
    struct mr_confirm question;
    rig_in_place();
    while (mr_queue_pop(rig.config.questions, wait_ms, &question) == 0) {
        (void)!mr_queue_push(rig.config.answers, &rig.answer);
        wait_ms = 5;
    }
    mr_purge_stop(rig.purge);
    return NULL;
}

/* No asserts: they want memory of their own. */
static void live_of_purge(int wait_ms)
{
    struct mr_err err = {0};
    pthread_t tail;
    bool armed = fail_nth.armed;
    fail_nth.armed = false;
    rig_queues();
    fail_nth.armed = armed;
    if (mr_purge_new(&rig.config, &rig.purge, &err) == 0 &&
        pthread_create(&tail, NULL, be_tail, &wait_ms) == 0) {
        mr_purge_stage.run(rig.purge);
        (void)pthread_join(tail, NULL);
    }
    rig_free();
}

static void faulty_purge(void)
{
    live_of_purge(100);
}

/* Nothing is left to do. */
static bool purge_is_done(void)
{
    return !rig_is_pending() && !rig_there(rig_hidden()) &&
           (!rig_there(rig.row.path) || rig_told("\"what\":\"kept\""));
}

static void prepare_purge(void)
{
    rig_make();
    rig_commit("a.log", "what it holds");
    rig_journal(true, NULL);
}

/* Under its name, or freed: and then that is written down. */
static void check_purge(void)
{
    bool freed = rig_told("\"what\":\"freed\"");
    ck_assert_msg(freed != rig_there("a.log"), "freed: %d, after %s", freed, fail_nth_where());
    if (freed)
        return;
    static char text[64];
    int fd = open(tree_path("in/a.log"), O_RDONLY | O_CLOEXEC);
    ssize_t bytes = read(fd, text, sizeof(text) - 1);
    close(fd);
    fail_nth_assert(bytes == 13);
    fail_nth_assert(strcmp(text, "what it holds") == 0);
}

START_TEST(a_purge)
{
    bool struck = true;
    for (unsigned nth = 1; struck; nth++) {
        prepare_purge();
        fail_nth_only = NULL;
        struck = fail_nth_life(faulty_purge, nth, EIO);
        for (int life = 0; !purge_is_done(); life++) { /* a busy machine may need more than one */
            ck_assert_msg(life < 20, "neither freed nor kept after %s", fail_nth_where());
            live_of_purge(500);
        }
        check_purge();
        tree_remove();
    }
}
END_TEST

MR_SUITE("nth_agent", T(a_journal), T(a_ledger), T(a_purge))
