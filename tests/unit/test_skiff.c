/* SPDX-License-Identifier: Apache-2.0 */
/* Small movies: made without a journal, committed together, swept up after a crash. */
#include "recovery.h"
#include "sick_disk.h"
#include "small_rig.h"
#include "suite.h"

#include <sys/syscall.h>

static int fail_syncfs; /* the n-th from now; 0: none */

/* Stands before libc's. */
int syncfs(int fd)
{
    if (fail_syncfs > 0 && --fail_syncfs == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_syncfs, fd);
}

static void make(struct rig *rig)
{
    rig_make(rig);
    if (small_launch(rig))
        return;
    rig_end(rig);
    suite_skip("the scratch folder's file system, or this kernel's syncfs, is not fit for it");
}

static void end(struct rig *rig)
{
    mr_skiffs_close(rig->store.skiffs);
    rig_end(rig);
}

static size_t names_in(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    DIR *dir = fdopendir(fd);
    const char *entry = "";
    size_t count = 0;
    while (mr_fs_next_name(dir, &entry) == 0 && entry != NULL)
        count += entry[0] != '.';
    closedir(dir);
    return count;
}

static void check_stored(struct rig *rig, const char *path, uint64_t bytes, unsigned seed)
{
    uint64_t stored;
    ck_assert_uint_eq(rig_file_crc(rig, path, &stored), rig_crc(0, bytes, seed));
    ck_assert_uint_eq(stored, bytes);
}

enum { FLEET = 3 };
static const uint64_t sizes[FLEET] = {5000, 0, 70000};
static const char *const paths[FLEET] = {"a.log", "d/b.log", "d/c.log"};

static void ship_fleet(struct rig *rig, struct shipment *ships, struct mr_seal_job *ret_jobs)
{
    for (unsigned i = 0; i < FLEET; i++) {
        struct mr_open open = small_file(paths[i], sizes[i]);
        small_ship(rig, &open, i, &ships[i]);
        ret_jobs[i] = ships[i].job;
    }
}

static void expect(struct mr_message **messages, size_t count, enum mr_message_type type)
{
    for (size_t i = 0; i < count; i++) {
        ck_assert_ptr_nonnull(messages[i]);
        ck_assert_msg(messages[i]->type == type, "%zu: %s", i, mr_message_name(messages[i]->type));
        free(messages[i]);
    }
}

START_TEST(small_files_are_committed_together)
{
    struct rig rig;
    struct shipment ships[FLEET];
    struct mr_seal_job jobs[FLEET];
    struct mr_message *messages[FLEET];
    struct mr_seal_counts counts;
    make(&rig);
    ship_fleet(&rig, ships, jobs);
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 0);
    run(&rig, jobs, FLEET, messages, &counts);
    expect(messages, FLEET, MR_COMMITTED);
    check_stored(&rig, "k3/a.log", sizes[0], 0);
    check_stored(&rig, "k3/d/b.log", sizes[1], 1);
    check_stored(&rig, "k3/d/c.log", sizes[2], 2);
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 0);
    ck_assert(!rig_has(&rig, "k3/.millrace") && !rig_has(&rig, "k3/d/.millrace"));
    ck_assert_uint_eq(mr_catalogue_count(rig.catalogue), FLEET);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), FLEET);
    end(&rig);
}
END_TEST

START_TEST(same_source_twice_in_a_group_is_stored_once)
{
    struct rig rig;
    struct shipment ships[2];
    struct mr_message *messages[2];
    struct mr_seal_counts counts;
    make(&rig);
    struct mr_open first = small_file("a.log", 900), second = small_file("a.log", 900);
    small_ship(&rig, &first, 1, &ships[0]);
    small_ship(&rig, &second, 1, &ships[1]);
    run(&rig, (struct mr_seal_job[]){ships[0].job, ships[1].job}, 2, messages, &counts);
    ck_assert(messages[1]->committed.known);
    expect(messages, 2, MR_COMMITTED);
    ck_assert(!rig_has(&rig, "k3/a_dup2.log"));
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 1);
    end(&rig);
}
END_TEST

/* The n-th of the two syncs fails. Nothing of any of them is left, and what was under way meanwhile
 * begins again, too: the error may have been of its bytes. */
static void check_failed_sync(int n)
{
    struct rig rig;
    struct shipment ships[FLEET], bystander;
    struct mr_seal_job jobs[FLEET];
    struct mr_message *messages[FLEET];
    struct mr_seal_counts counts;
    make(&rig);
    ship_fleet(&rig, ships, jobs);
    struct mr_open other = small_file("e/other.log", 300);
    small_ship(&rig, &other, 7, &bystander);
    fail_syncfs = n;
    run(&rig, jobs, FLEET, messages, &counts);
    expect(messages, FLEET, MR_HOLD);
    for (unsigned i = 0; i < FLEET; i++) {
        char path[64];
        snprintf(path, sizeof(path), "k3/%s", paths[i]);
        ck_assert(!rig_has(&rig, path));
    }
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 0);
    ck_assert(!rig_has(&rig, "k3/d/.millrace"));
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 0);
    run(&rig, &bystander.job, 1, messages, &counts);
    expect(messages, 1, MR_HOLD);
    small_ship(&rig, &ships[2].open, 2, &ships[2]); /* the agent asks again, under the same id */
    run(&rig, &ships[2].job, 1, messages, &counts);
    expect(messages, 1, MR_COMMITTED);
    check_stored(&rig, "k3/d/c.log", sizes[2], 2);
    end(&rig);
}

START_TEST(failed_sync_of_the_bytes_taints_all_that_was_begun_before)
{
    check_failed_sync(1);
}
END_TEST

START_TEST(failed_sync_of_the_names_taints_all_that_was_begun_before)
{
    check_failed_sync(2);
}
END_TEST

/* Two agents' files of one name: the second finds it taken only when it is to be given. */
START_TEST(taken_name_sends_its_group_the_ordinary_way)
{
    struct rig rig;
    struct shipment ships[2];
    struct mr_message *messages[2];
    struct mr_seal_counts counts;
    make(&rig);
    struct mr_open first = small_file("a.log", 900), second = small_file("a.log", 800);
    small_ship(&rig, &first, 1, &ships[0]);
    small_ship(&rig, &second, 2, &ships[1]);
    snprintf(ships[1].job.movie->dossier->agent, sizeof(ships[1].job.movie->dossier->agent), "k4");
    run(&rig, (struct mr_seal_job[]){ships[0].job, ships[1].job}, 2, messages, &counts);
    expect(messages, 2, MR_COMMITTED);
    check_stored(&rig, "k3/a.log", 900, 1);
    check_stored(&rig, "k3/a_dup2.log", 800, 2);
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 0);
    ck_assert_uint_eq(mr_eventlog_last(rig.eventlog), 2);
    end(&rig);
}
END_TEST

START_TEST(given_up_ones_leave_nothing)
{
    struct rig rig;
    struct shipment s;
    struct mr_message *message;
    struct mr_seal_counts counts;
    make(&rig);
    struct mr_open open = small_file("d/a.log", 900);
    small_ship(&rig, &open, 1, &s);
    s.job.kind = MR_SEAL_DISCARD;
    run(&rig, &s.job, 1, &message, &counts);
    expect(&message, 1, MR_ABANDONED);
    ck_assert(!rig_has(&rig, "k3/d/.millrace"));
    struct mr_movie *m = rig_begin(&rig, &open);
    mr_berth_do(rig.berth, &(struct mr_berth_job){.kind = MR_BERTH_RELEASE, .movie = m});
    ck_assert(!rig_has(&rig, "k3/d/.millrace"));
    end(&rig);
}
END_TEST

START_TEST(failed_one_is_kept_as_others_are)
{
    struct rig rig;
    struct shipment s;
    struct mr_message *message;
    struct mr_seal_counts counts;
    make(&rig);
    struct mr_open open = small_file("a.log", 900);
    small_ship(&rig, &open, 1, &s);
    const struct mr_fail fail = {.movie = open.movie,
                                 .generation = s.job.movie->generation,
                                 .extent = s.extent,
                                 .code = MR_REASON_SOURCE,
                                 .text = "it cannot be read"};
    s.job.kind = MR_SEAL_FAIL;
    s.job.fail = &fail;
    run(&rig, &s.job, 1, &message, &counts);
    expect(&message, 1, MR_FAILED);
    ck_assert_uint_eq(names_in(rig.store.failed_fd, "."), 1);
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 0);
    end(&rig);
}
END_TEST

START_TEST(what_a_crash_left_is_swept_up)
{
    struct rig rig;
    struct shipment s;
    make(&rig);
    struct mr_open open = small_file("d/e/a.log", 900), ordinary = rig_file("d/e/b.log");
    small_ship(&rig, &open, 1, &s);
    mr_movie_release(s.job.movie);
    mr_movie_release(rig_begin(&rig, &ordinary)); /* has a journal, and stays */
    ck_assert_uint_eq(names_in(rig.store.root_fd, "k3/d/e/.millrace"), 2);
    small_restart(&rig);
    ck_assert(small_launch(&rig));
    ck_assert_uint_eq(names_in(rig.store.root_fd, "k3/d/e/.millrace"), 1);
    end(&rig);
}
END_TEST

/* ---- group files of an earlier life ---- */

static void read_journal(struct rig *rig, const struct shipment *s, uint32_t generation,
                         struct mr_dossier *ret)
{
    char name[MR_NAMING_PART];
    mr_dossier_name(&s->open.movie, generation, "journal", name);
    ck_assert_int_eq(mr_dossier_read(rig->store.journal_fd, name, ret, NULL), 0);
}

/* What was removed a power cut may bring back, and nothing would lead to it any more. */
START_TEST(removals_of_an_earlier_life_are_safe_before_the_notes_go)
{
    for (int gone = 0; gone <= 1; gone++) { /* is the directory of the parts? */
        struct rig rig;
        struct mr_err err = {0};
        make(&rig);
        struct mr_open open = small_file("d/a.log", 5000);
        struct mr_movie *m = rig_begin(&rig, &open);
        ck_assert(m->small);
        if (!gone)
            scratch_append(&rig.scratch, "k3/d/.millrace/another", "");
        mr_skiff_remove(&rig.store, m, m->dossier->path);
        mr_movie_release(m);
        small_restart(&rig);
        ck_assert_int_eq(rig_has(&rig, "k3/d/.millrace"), !gone);
        sick_disk.fail_fsync = 1;
        ck_assert_int_eq(mr_skiffs_open(&rig.store, &rig.store.skiffs, &err), -EIO);
        ck_assert(rig_has(&rig, ".millrace/skiffs.log"));
        ck_assert(small_launch(&rig));
        end(&rig);
    }
}
END_TEST

START_TEST(group_of_an_earlier_life_becomes_journals)
{
    struct rig rig;
    struct shipment ships[2];
    struct mr_dossier d;
    struct mr_err err = {0};
    char name[MR_NAMING_PART];
    make(&rig);
    small_leave_group(&rig, ships, name);
    small_restart(&rig);
    for (int again = 0; again < 2; again++)
        ck_assert_int_eq(mr_flotilla_dissolve_all(&rig.store, 0, &err), 0);
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 2);
    read_journal(&rig, &ships[1], 2, &d);
    ck_assert(d.is_sealed && mr_open_equal(&d.open, &ships[1].open));
    ck_assert_uint_eq(d.slab_count, 1);
    ck_assert_str_eq(d.sealed.path, "k3/d/b.log");
    mr_dossier_fini(&d);
    ck_assert(small_launch(&rig)); /* what is sealed is not swept up */
    ck_assert_uint_eq(names_in(rig.store.root_fd, "k3/d/.millrace"), 1);
    end(&rig);
}
END_TEST

/* A power cut, where names are linked, leaves both: the final one stayed, unannounced. */
START_TEST(member_whose_bytes_are_lost_keeps_no_name)
{
    bool lost = false;
    for (int nth = 1; nth <= 12; nth++) {
        struct rig rig;
        struct shipment ships[2];
        struct mr_err err = {0};
        char name[MR_NAMING_PART], id[MR_ULID_TEXT], part[128], journal[128];
        make(&rig);
        small_leave_group(&rig, ships, name);
        small_restart(&rig);
        mr_ulid_text(&ships[1].open.movie, id);
        snprintf(part, sizeof(part), "k3/d/.millrace/%s.g2.part", id);
        snprintf(journal, sizeof(journal), ".millrace/journal/%s.g2.journal", id);
        ck_assert_int_eq(linkat(rig.store.root_fd, part, rig.store.root_fd, "k3/d/b.log", 0), 0);
        sick_disk.fail_fsync = nth;
        int r = mr_flotilla_dissolve_all(&rig.store, 0, &err);
        sick_disk.fail_fsync = 0;
        if (r == 0) {
            ck_assert_int_eq(rig_has(&rig, journal), rig_has(&rig, "k3/d/b.log"));
            lost |= !rig_has(&rig, journal);
        }
        end(&rig);
    }
    ck_assert(lost);
}
END_TEST

START_TEST(void_group_is_removed)
{
    struct rig rig;
    struct shipment ships[2];
    struct mr_err err = {0};
    char name[MR_NAMING_PART];
    make(&rig);
    small_leave_group(&rig, ships, name);
    ck_assert_int_eq(mr_flotilla_dissolve_all(&rig.store, 3, &err), 0);
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 0);
    end(&rig);
}
END_TEST

/* What is damaged is not sealed, its neighbour is. */
static void check_damage(const char *mark)
{
    struct rig rig;
    struct shipment ships[2];
    struct mr_err err = {0};
    char name[MR_NAMING_PART], text[16384] = "";
    make(&rig);
    small_leave_group(&rig, ships, name);
    int fd = openat(rig.store.journal_fd, name, O_RDWR | O_CLOEXEC);
    ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
    char *at = strstr(text, mark);
    ck_assert_ptr_nonnull(at);
    ck_assert_int_eq(pwrite(fd, "x", 1, at - text + 2), 1);
    close(fd);
    ck_assert_int_eq(mr_flotilla_dissolve_all(&rig.store, 0, &err), 0);
    ck_assert_uint_eq(names_in(rig.store.journal_fd, "."), 1);
    struct mr_dossier d;
    read_journal(&rig, &ships[1], 2, &d);
    ck_assert(d.is_sealed);
    mr_dossier_fini(&d);
    end(&rig);
}

START_TEST(member_with_a_damaged_beginning_is_left_out)
{
    check_damage(" OPEN ");
}
END_TEST

START_TEST(member_with_a_damaged_end_is_left_out)
{
    check_damage(" SEALED ");
}
END_TEST

START_TEST(only_what_is_whole_and_small_goes_this_way)
{
    struct rig rig;
    make(&rig);
    struct mr_open open = small_file("a.log", MR_SMALL_BYTES);
    ck_assert(mr_skiff_fits(&rig.store, &open));
    open.source_bytes_expected++;
    ck_assert(!mr_skiff_fits(&rig.store, &open));
    open = small_file("a.log", 900);
    open.revision = 2;
    ck_assert(!mr_skiff_fits(&rig.store, &open));
    open = small_file("a.log", 900);
    open.whole = false;
    ck_assert(!mr_skiff_fits(&rig.store, &open));
    end(&rig);
}
END_TEST

/* Folders that appear at once are noted with one sync, and no part is made before that. */
START_TEST(folders_are_noted_together)
{
    struct rig rig;
    struct shipment ship;
    static const char *const files[] = {"n1/a.log", "n1/b.log", "n2/a.log", "n3/a.log"};
    make(&rig);
    for (size_t i = 0; i < 4; i++)
        ck_assert_int_eq(mr_skiff_expect(&rig.store, files[i]), 0);
    int before = sick_disk.fdatasyncs;
    ck_assert_int_eq(mr_skiff_note(&rig.store), 0);
    ck_assert_int_eq(mr_skiff_note(&rig.store), 0); /* nothing is left to be noted */
    ck_assert_int_eq(mr_skiff_expect(&rig.store, files[1]), 0);
    ck_assert_int_eq(mr_skiff_note(&rig.store), 0);
    ck_assert_int_eq(sick_disk.fdatasyncs, before + 1);
    const struct mr_open open = small_file("n4/a.log", 5000); /* one that nobody expected */
    before = sick_disk.fdatasyncs;
    small_ship(&rig, &open, 1, &ship);
    ck_assert_int_gt(sick_disk.fdatasyncs, before);
    mr_movie_release(ship.job.movie);
    end(&rig);
}
END_TEST

/* Notes that cannot be relied on: every movie has a journal from then on. */
START_TEST(failed_notes_end_this_way)
{
    struct rig rig;
    make(&rig);
    const struct mr_open open = small_file("n1/a.log", 5000);
    ck_assert(mr_skiff_fits(&rig.store, &open));
    ck_assert_int_eq(mr_skiff_expect(&rig.store, "n1/a.log"), 0);
    sick_disk.fail_fdatasync = 1;
    ck_assert_int_eq(mr_skiff_note(&rig.store), -EIO);
    ck_assert(!mr_skiff_fits(&rig.store, &open));
    struct mr_movie *m = rig_begin(&rig, &open);
    ck_assert(!m->small);
    mr_movie_release(m);
    end(&rig);
}
END_TEST

MR_SUITE("skiff", T(small_files_are_committed_together),
         T(same_source_twice_in_a_group_is_stored_once),
         T(failed_sync_of_the_bytes_taints_all_that_was_begun_before),
         T(failed_sync_of_the_names_taints_all_that_was_begun_before),
         T(taken_name_sends_its_group_the_ordinary_way), T(given_up_ones_leave_nothing),
         T(failed_one_is_kept_as_others_are), T(what_a_crash_left_is_swept_up),
         T(removals_of_an_earlier_life_are_safe_before_the_notes_go),
         T(group_of_an_earlier_life_becomes_journals), T(void_group_is_removed),
         T(member_whose_bytes_are_lost_keeps_no_name),
         T(member_with_a_damaged_beginning_is_left_out), T(member_with_a_damaged_end_is_left_out),
         T(only_what_is_whole_and_small_goes_this_way), T(folders_are_noted_together),
         T(failed_notes_end_this_way))
