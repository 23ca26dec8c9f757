/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server that was replaced and does not know it yet. One that wakes up in the midst of its start:
 * does it take what is its successor's for void, or for damage? One that has all of a movie: does
 * it give it a name that its successor does not look for?
 */
#include "dossier.h"
#include "lease_rig.h"
#include "recovery.h"
#include "small_rig.h"
#include "store_rig.h"
#include "suite.h"
#include "takeover.h"

#include <sys/wait.h>

#define LOST 42

static void lost(void *ctx, const char *text)
{
    (void)ctx;
    _exit(strstr(text, "another server has taken the store") != NULL ? LOST : 1);
}

static void not_expected(void *ctx, const struct mr_ulid *id)
{
    (void)ctx;
    (void)id;
    _exit(2);
}

static void sealed_not_expected(void *ctx, struct mr_dossier *d, enum mr_commit_state state)
{
    (void)ctx;
    (void)d;
    (void)state;
    _exit(3);
}

static struct mr_lease *claim(struct rig *rig)
{
    struct mr_lease *lease = NULL;
    const struct mr_lease_config config = lease_rig_config(rig->store.millrace_fd, lost);
    ck_assert_int_eq(mr_lease_claim(&config, &lease, NULL), 0);
    return lease;
}

/* It has taken the store over, as its second epoch, from one that may be alive. */
static void replace(const struct rig *rig)
{
    struct mr_lease_file f = {.generation = 2, .epoch = 2, .lease_ms = LEASE_RIG_MS};
    f.epochs.list[f.epochs.count++] = (struct mr_epoch){.generation = 2, .first_event = 1};
    lease_rig_hold(rig->store.millrace_fd, &f, "storage2", false);
}

static int in_a_child(void (*start)(struct rig *rig), struct rig *rig)
{
    int status;
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        struct mr_lease *lease = claim(rig);
        rig->store.lease = lease;
        replace(rig);
        start(rig);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void recover(struct rig *rig)
{
    struct mr_err err = {0};
    const struct mr_recovery_found found = {
        .ctx = rig, .unfinished = not_expected, .sealed = sealed_not_expected};
    int r = mr_recovery_run(&rig->commit, &found, &err);
    _exit(r == 0 ? 0 : 4);
}

START_TEST(journals_and_parts_of_its_successor_stay)
{
    struct rig rig;
    char part[128], journal[128], id[MR_ULID_TEXT];
    rig_make(&rig);
    rig.store.epoch = 2;
    struct mr_open open = rig_file("a.log");
    struct mr_extent extent = rig_extent(&open, 5000);
    struct mr_movie *movie = rig_begin(&rig, &open);
    ck_assert_uint_eq(mr_dossier_epoch(movie->generation), 2);
    rig_land_all(movie, &extent, 1);
    snprintf(part, sizeof(part), "k3/.millrace/%s", movie->part_name);
    snprintf(journal, sizeof(journal), ".millrace/journal/%s", movie->journal_name);
    mr_movie_release(movie);
    rig.store.epoch = 0; /* of the one that stood still */
    ck_assert_int_eq(in_a_child(recover, &rig), LOST);
    ck_assert_msg(rig_has(&rig, journal), "%s", mr_ulid_text(&open.movie, id));
    ck_assert(rig_has(&rig, part));
    rig_end(&rig);
}
END_TEST

static void take_over(struct rig *rig)
{
    struct mr_err err = {0};
    struct mr_takeover_note note;
    int r = mr_takeover_run(&rig->store, rig->store.lease, &note, &err);
    _exit(r == 0 ? 0 : 5);
}

START_TEST(epoch_of_its_successor_is_no_damage)
{
    static const char events[] = ".millrace/events/";
    struct rig rig;
    char from[64], to[64];
    rig_make(&rig);
    snprintf(from, sizeof(from), "%s00000001.log", events);
    snprintf(to, sizeof(to), "%s00000001.e2.log", events);
    ck_assert_int_eq(renameat(rig.store.root_fd, from, rig.store.root_fd, to), 0);
    ck_assert_int_eq(in_a_child(take_over, &rig), LOST);
    ck_assert(rig_has(&rig, to));
    rig_end(&rig);
}
END_TEST

static struct shipment ships[2];

static void seal(struct rig *rig)
{
    struct mr_message *messages[2];
    struct mr_seal_counts counts;
    run(rig, (struct mr_seal_job[]){ships[0].job, ships[1].job}, 2, messages, &counts);
}

static void check_sealed_in_vain(struct rig *rig)
{
    ck_assert_int_eq(in_a_child(seal, rig), LOST);
    ck_assert(!rig_has(rig, "k3/a.log"));
    ck_assert(!rig_has(rig, "k3/b.log"));
    ck_assert_uint_eq(mr_eventlog_last(rig->eventlog), 0);
    for (int i = 0; i < 2; i++)
        mr_movie_release(ships[i].job.movie);
    mr_skiffs_close(rig->store.skiffs);
    rig_end(rig);
}

/* Its successor has listed the journals before these were made. */
START_TEST(movies_sealed_after_the_take_over_get_no_name)
{
    struct rig rig;
    struct mr_open a = rig_file("a.log"), b = rig_file("b.log");
    rig_make(&rig);
    ship(&rig, &a, 5000, 1, &ships[0]);
    ship(&rig, &b, 6000, 2, &ships[1]);
    check_sealed_in_vain(&rig);
}
END_TEST

START_TEST(small_files_sealed_after_the_take_over_get_no_name)
{
    struct rig rig;
    struct mr_open a = small_file("a.log", 900), b = small_file("b.log", 901);
    rig_make(&rig);
    if (small_launch(&rig)) {
        small_ship(&rig, &a, 1, &ships[0]);
        small_ship(&rig, &b, 2, &ships[1]);
        check_sealed_in_vain(&rig);
    } else {
        rig_end(&rig);
        suite_skip("the file system beneath is not fit for small files");
    }
}
END_TEST

MR_SUITE("replaced", T(journals_and_parts_of_its_successor_stay),
         T(epoch_of_its_successor_is_no_damage), T(movies_sealed_after_the_take_over_get_no_name),
         T(small_files_sealed_after_the_take_over_get_no_name))
