/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small movies: every call fails once on their way into the store together, when one is asked for,
 * when a group that an earlier life left becomes journals, and when its parts are swept up. Then
 * another life begins, and each is in the store once, whole, told of once, with nothing beside it.
 */
#include "announce.h"
#include "nth_rig.h"
#include "small_rig.h"
#include "suite.h"

#include <linux/magic.h>
#include <sys/vfs.h>

enum { FLEET = 2 };
static const uint64_t sizes[FLEET] = {5000, 0};
static const char *const paths[FLEET] = {"a.log", "d/b.log"};

static struct rig rig;
static struct shipment ships[FLEET];

/* Small movies are for file systems of a few kinds; what is tried here is not the disk. */
int __real_fstatfs64(int fd, struct statfs *fs);
int __wrap_fstatfs64(int fd, struct statfs *fs);
int __wrap_fstatfs64(int fd, struct statfs *fs)
{
    int r = __real_fstatfs64(fd, fs);
    fs->f_type = EXT4_SUPER_MAGIC;
    return r;
}

static void make(void)
{
    nth_make(&rig);
    if (!small_launch(&rig)) {
        rig_end(&rig);
        suite_skip("this kernel's syncfs does not tell of errors");
    }
    for (unsigned i = 0; i < FLEET; i++)
        ships[i] = (struct shipment){.open = small_file(paths[i], sizes[i])};
}

static void release(void)
{
    for (unsigned i = 0; i < FLEET; i++) {
        mr_movie_release(ships[i].job.movie);
        ships[i].job.movie = NULL;
    }
}

/* ---- the next lives ---- */

static void begin_anew(void)
{
    deaths = 0;
    small_restart(&rig);
    nth_recover(&rig);
    fail_nth_assert(deaths == 0);
    ck_assert_msg(small_launch(&rig), "after %s", fail_nth_where());
}

static void check_stored(unsigned i)
{
    char path[64], event[MR_EVENT_ID_MAX + 1];
    uint64_t bytes = 0, sequence = 0;
    struct mr_err err = {0};
    snprintf(path, sizeof(path), "k3/%s", paths[i]);
    fail_nth_assert(rig_file_crc(&rig, path, &bytes) == rig_crc(0, sizes[i], i));
    fail_nth_assert(bytes == sizes[i]);
    mr_announce_id(&ships[i].open.movie, "ready", 1, event);
    fail_nth_assert(mr_eventlog_find(rig.eventlog, event, &sequence, &err) == 0);
    ck_assert_msg(sequence > 0, "%s is not announced after %s", path, fail_nth_where());
}

static void judge(void)
{
    begin_anew();
    for (unsigned i = 0; i < FLEET; i++) {
        struct mr_open open = ships[i].open;
        if (mr_catalogue_find_revision(rig.catalogue, &open.movie, 1) != NULL)
            continue;
        small_ship(&rig, &open, i, &ships[i]);
        struct mr_message *m = seal_one(&rig, &ships[i]);
        ships[i].job.movie = NULL;
        ck_assert_msg(m->type == MR_COMMITTED, "%s after %s", mr_message_name(m->type),
                      fail_nth_where());
        free(m);
    }
    begin_anew();
    for (unsigned i = 0; i < FLEET; i++)
        check_stored(i);
    ck_assert_msg(mr_eventlog_last(rig.eventlog) == FLEET, "%llu events after %s",
                  (unsigned long long)mr_eventlog_last(rig.eventlog), fail_nth_where());
    fail_nth_assert(!rig_has(&rig, "k3/a_dup2.log") && !rig_has(&rig, "k3/d/b_dup2.log"));
    nth_check_folder(rig.store.root_fd, "k3/.millrace");
    nth_check_folder(rig.store.root_fd, "k3/d/.millrace");
    nth_check_folder(rig.store.root_fd, ".millrace/journal");
    mr_skiffs_close(rig.store.skiffs);
    rig_end(&rig);
}

static void each_call(void (*prepare)(void), void (*act)(void))
{
    static const int errors[] = {EIO, ENOSPC};
    for (size_t e = 0; e < 2; e++) {
        bool struck = true;
        for (unsigned nth = 1; struck; nth++) {
            make();
            prepare();
            struck = fail_nth_life(act, nth, errors[e]);
            release(); /* the life had its own */
            judge();
        }
    }
}

/* ---- scenes ---- */

static void ship_all(void)
{
    for (unsigned i = 0; i < FLEET; i++) {
        struct mr_open open = ships[i].open;
        small_ship(&rig, &open, i, &ships[i]);
    }
}

static void seal_all(void)
{
    const struct mr_seal_job jobs[FLEET] = {ships[0].job, ships[1].job};
    nth_seal(&rig, jobs, FLEET);
}

START_TEST(a_group)
{
    each_call(ship_all, seal_all);
}
END_TEST

static void nothing(void)
{
}

static void ask(void)
{
    struct mr_berth_answer answer;
    struct mr_berth_job job = {.kind = MR_BERTH_OPEN, .agent = "k3"};
    bool armed = fail_nth.armed;
    fail_nth.armed = false;
    job.open = malloc(sizeof(*job.open));
    *job.open = ships[1].open;
    fail_nth.armed = armed;
    mr_berth_do(rig.berth, &job);
    if (mr_queue_pop(rig.queues.answers, 0, &answer) == 0)
        rig_forget(&answer);
}

START_TEST(an_open)
{
    each_call(nothing, ask);
}
END_TEST

/* That server died at its nth sync: before all of it is sealed for good, or is under its name. */
static void leave_group(unsigned nth)
{
    ship_all();
    fail_nth_death(seal_all, nth, "syncfs");
    release();
    small_restart(&rig);
}

static void leave_sealed_group(void)
{
    leave_group(1);
}

static void leave_placed_group(void)
{
    leave_group(2);
}

static void recover(void)
{
    nth_recover(&rig);
}

START_TEST(a_sealed_group_that_was_left)
{
    each_call(leave_sealed_group, recover);
}
END_TEST

START_TEST(a_placed_group_that_was_left)
{
    each_call(leave_placed_group, recover);
}
END_TEST

static void leave_parts(void)
{
    ship_all();
    release();
    small_restart(&rig);
}

static void sweep(void)
{
    struct mr_err err = {0};
    int r = mr_skiffs_open(&rig.store, &rig.store.skiffs, &err);
    if (r < 0 && err.text[0] == '\0')
        _exit(1); /* refused without words */
}

START_TEST(parts_that_were_left)
{
    each_call(leave_parts, sweep);
}
END_TEST

MR_SUITE("nth_small", T(a_group), T(an_open), T(a_sealed_group_that_was_left),
         T(a_placed_group_that_was_left), T(parts_that_were_left))
