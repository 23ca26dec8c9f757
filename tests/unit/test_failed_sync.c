/* SPDX-License-Identifier: Apache-2.0 */
/* A failed fsync is never tried again: what it was to make durable is done anew, or given up. */
#include "announce.h"
#include "discard.h"
#include "finish.h"
#include "sick_disk.h"
#include "store_rig.h"
#include "suite.h"

struct landed {
    struct mr_movie *movie;
    struct mr_extent extent;
    struct mr_dossier d;
    char part[128];
};

static void land(struct rig *rig, const struct mr_open *open, uint64_t size, struct landed *l)
{
    *l = (struct landed){.extent = rig_extent(open, size), .movie = rig_begin(rig, open)};
    snprintf(l->part, sizeof(l->part), "k3/.millrace/%s", l->movie->part_name);
    rig_land_all(l->movie, &l->extent, 1);
    rig_dossier(rig, l->movie, &l->d);
}

static void seal(struct rig *rig, const struct mr_open *open, struct landed *l)
{
    struct mr_end end = rig_end_of(l->movie, open, &l->extent, 1);
    rig_finish(rig, l->movie, &end, &l->d);
    rig_walk(rig, &l->d, RIG_SEALED);
}

static void drop(struct landed *l)
{
    mr_dossier_fini(&l->d);
    mr_movie_release(l->movie);
}

static int64_t ctime_of(const struct rig *rig, const char *path)
{
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(rig->store.root_fd, path, &facts), 0);
    return facts.ctime_ns;
}

/* An fsync of the directory alone would succeed, whatever became of the name: the part is renamed
 * anew (which changes its ctime). */
START_TEST(name_is_given_anew_where_its_directory_did_not_sync)
{
    for (int nth = 1; nth <= 2; nth++) { /* of the file's directory, of the part's */
        struct rig rig;
        struct landed l;
        struct mr_err err = {0};
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        land(&rig, &open, 5000, &l);
        seal(&rig, &open, &l);
        sick_disk.fail_fsync = nth;
        ck_assert_int_eq(mr_commit_place(&rig.commit, &l.d, &err), -EIO);
        int64_t before = ctime_of(&rig, "k3/a.log");
        ck_assert_int_eq(mr_commit_place(&rig.commit, &l.d, &err), 0);
        ck_assert_int_ne(ctime_of(&rig, "k3/a.log"), before);
        ck_assert(!rig_has(&rig, l.part));
        drop(&l);
        rig_end(&rig);
    }
}
END_TEST

/* As on NFS: it is linked, and a power cut may keep either directory's change without the other's.
 * So the old name stays until the new one is safe. */
START_TEST(linked_name_is_safe_before_the_other_goes)
{
    struct rig rig;
    struct landed l;
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    land(&rig, &open, 5000, &l);
    seal(&rig, &open, &l);
    sick_disk.no_noreplace = EINVAL;
    sick_disk.fail_fsync = 1;
    ck_assert_int_eq(mr_commit_place(&rig.commit, &l.d, &err), -EIO);
    ck_assert_int_eq(sick_disk.fail_fsync, 0);
    ck_assert(rig_has(&rig, l.part));
    ck_assert(!rig_has(&rig, "k3/a.log"));
    ck_assert_int_eq(mr_commit_place(&rig.commit, &l.d, &err), 0);
    ck_assert(!rig_has(&rig, l.part));
    ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 5000);
    drop(&l);
    rig_end(&rig);
}
END_TEST

static void commit(struct rig *rig, const struct mr_open *open, uint64_t size)
{
    struct landed l;
    land(rig, open, size, &l);
    struct mr_end end = rig_end_of(l.movie, open, &l.extent, 1);
    rig_finish(rig, l.movie, &end, &l.d);
    rig_walk(rig, &l.d, RIG_RECORDED);
    drop(&l);
}

/* Whichever of the syncs fails: both revisions are there in the end. */
START_TEST(revision_takes_its_place_anew)
{
    int nth = 1;
    for (bool failed = true; failed; nth++) {
        struct rig rig;
        struct landed l;
        struct mr_err err = {0};
        char old[128], id[MR_ULID_TEXT];
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        commit(&rig, &open, 5000);
        open.revision = 2;
        land(&rig, &open, 6000, &l);
        seal(&rig, &open, &l);
        sick_disk.fail_fsync = nth;
        failed = mr_commit_place(&rig.commit, &l.d, &err) < 0;
        sick_disk.fail_fsync = 0;
        if (failed)
            ck_assert_int_eq(mr_commit_place(&rig.commit, &l.d, &err), 0);
        snprintf(old, sizeof(old), "k3/.millrace/old/%s.r1", mr_ulid_text(&open.movie, id));
        ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 6000);
        ck_assert_uint_eq(scratch_size(&rig.scratch, old), 5000);
        drop(&l);
        rig_end(&rig);
    }
    ck_assert_int_gt(nth, 4); /* there are at least three of them */
}
END_TEST

/* The journal would get a second SEALED record and another fdatasync, which would succeed. */
START_TEST(journal_that_did_not_sync_is_not_sealed_again)
{
    struct rig rig;
    struct landed l;
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    land(&rig, &open, 5000, &l);
    seal(&rig, &open, &l);
    scratch_append(&rig.scratch, "k3/a.log", "mine"); /* so it has to be sealed elsewhere */
    sick_disk.fail_fdatasync = 1;
    ck_assert_int_eq(mr_commit_place(&rig.commit, &l.d, &err), -EUCLEAN);
    ck_assert_int_eq(mr_commit_take_back(&rig.commit, &l.d), 0);
    ck_assert(!rig_has(&rig, l.part));
    ck_assert_uint_eq(scratch_size(&rig.scratch, "k3/a.log"), 4);
    drop(&l);
    struct mr_berth_answer answer = rig_ask(&rig, &open);
    ck_assert_ptr_nonnull(answer.movie);
    ck_assert(!answer.resumed);
    rig_forget(&answer);
    rig_end(&rig);
}
END_TEST

START_TEST(tainted_part_is_neither_committed_nor_synced)
{
    struct rig rig;
    struct landed l;
    char left_out[256];
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    land(&rig, &open, 5000, &l);
    struct mr_end end = rig_end_of(l.movie, &open, &l.extent, 1);
    mr_movie_taint(l.movie);
    sick_disk.fail_fsync = 1;
    ck_assert_int_eq(mr_finish_part(&rig.store, l.movie, &l.d, &end, left_out, &err), -EIO);
    ck_assert_int_eq(sick_disk.fail_fsync, 1);
    sick_disk.fail_fsync = 0;
    drop(&l);
    rig_end(&rig);
}
END_TEST

/* There may be no source to send it again: what verifies is copied to a file that can be synced. */
START_TEST(tainted_part_of_a_failed_movie_is_copied)
{
    for (int flipped = 0; flipped <= 1; flipped++) {
        struct rig rig;
        struct landed l;
        struct mr_err err = {0};
        struct mr_fs_facts before;
        uint64_t bytes;
        rig_make(&rig);
        struct mr_open open = rig_movie(MR_OUTPUT_KEEP, 2000, 2000, "a.mrc");
        land(&rig, &open, 3, &l);
        ck_assert_uint_eq(l.d.slab_count, 3);
        ck_assert_int_eq(mr_fs_stat(rig.store.root_fd, l.part, &before), 0);
        uint64_t crc = rig_file_crc(&rig, l.part, &bytes);
        mr_movie_taint(l.movie);
        if (flipped)
            scratch_flip(&rig.scratch, l.part, MR_SLAB_BYTES + 7);
        const struct mr_fail fail = {.movie = open.movie, .extent = l.extent, .text = "gone"};
        ck_assert_int_eq(mr_finish_failed(l.movie, &l.d, &fail, &err), 0);
        ck_assert_uint_ne(l.d.sealed.inode, before.identity.inode);
        if (flipped) /* the whole slab is a hole */
            crc =
                mr_crc64_combine(mr_crc64_combine(l.d.slabs[0].crc_stored,
                                                  mr_crc64_zeros(0, MR_SLAB_BYTES), MR_SLAB_BYTES),
                                 l.d.slabs[2].crc_stored, l.d.slabs[2].stored_bytes);
        ck_assert_uint_eq(rig_file_crc(&rig, l.part, &bytes), crc);
        ck_assert_uint_eq(bytes, l.extent.source_bytes);
        drop(&l);
        rig_end(&rig);
    }
}
END_TEST

/* Who made a directory may have been killed before its fsync. */
START_TEST(directories_that_are_there_are_synced_once_in_a_life)
{
    struct rig rig;
    rig_make(&rig);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, "a", 0750), 0);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, "a/b", 0750), 0);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, "a/b/.millrace", 0750), 0);
    for (int nth = 1; nth <= 3; nth++) { /* of the root, of a, of a/b */
        sick_disk.fail_fsync = nth;
        ck_assert_int_eq(mr_store_part_dir(&rig.store, "a/b/c.mrc", true), -EIO);
    }
    sick_disk.fail_fsync = 4;
    for (int i = 0; i < 3; i++) {
        int fd = mr_store_part_dir(&rig.store, "a/b/c.mrc", true);
        ck_assert_int_ge(fd, 0);
        close(fd);
        ck_assert_int_eq(sick_disk.fail_fsync, 1);
    }
    sick_disk.fail_fsync = 0;
    rig_end(&rig);
}
END_TEST

/* It is removed whenever it is empty. One that was made again, but not synced, was found the next
 * time and relied on, because its path had been durable before. */
START_TEST(directory_made_again_is_synced_however_often_that_fails)
{
    struct rig rig;
    rig_make(&rig);
    int fd = mr_store_part_dir(&rig.store, "a/b/c.mrc", true);
    ck_assert_int_ge(fd, 0);
    close(fd);
    mr_store_tidy(&rig.store, "a/b/c.mrc");
    sick_disk.no_unlinks = EIO; /* it is half made, and stays */
    for (int nth = 1; !rig_has(&rig, "a/b/.millrace"); nth++) {
        sick_disk.fail_fsync = nth;
        ck_assert_int_eq(mr_store_part_dir(&rig.store, "a/b/c.mrc", true), -EIO);
    }
    sick_disk.no_unlinks = 0;
    for (int nth = 1; nth <= 3; nth++) { /* of the root, of a, of a/b */
        sick_disk.fail_fsync = nth;
        ck_assert_int_eq(mr_store_part_dir(&rig.store, "a/b/c.mrc", true), -EIO);
    }
    fd = mr_store_part_dir(&rig.store, "a/b/c.mrc", true);
    ck_assert_int_ge(fd, 0);
    close(fd);
    rig_end(&rig);
}
END_TEST

/* The directory of the part is removed by another thread whenever it is empty: the name could not
 * be taken back, and the journal went all the same. */
static void take_directory_away(void *ctx)
{
    const struct rig *rig = ctx;
    mr_store_tidy(&rig->store, "k3/a.log");
    ck_assert(!rig_has(rig, "k3/.millrace"));
}

START_TEST(file_is_taken_back_though_its_parts_directory_goes)
{
    struct rig rig;
    struct landed l;
    struct mr_err err = {0};
    char journal[128];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    land(&rig, &open, 5000, &l);
    seal(&rig, &open, &l);
    ck_assert_int_eq(mr_commit_place(&rig.commit, &l.d, &err), 0);
    sick_disk.before_rename = take_directory_away;
    sick_disk.ctx = &rig;
    ck_assert_int_eq(mr_commit_take_back(&rig.commit, &l.d), 0);
    ck_assert_ptr_null(sick_disk.before_rename);
    ck_assert(!rig_has(&rig, "k3/a.log"));
    ck_assert(!rig_has(&rig, l.part));
    snprintf(journal, sizeof(journal), ".millrace/journal/%s", l.movie->journal_name);
    ck_assert(!rig_has(&rig, journal));
    drop(&l);
    rig_end(&rig);
}
END_TEST

/* What is to be removed is made anew first where it is not there; where that cannot be removed
 * either, only a journal that is on the disk leads to it. */
START_TEST(part_is_made_anew_beneath_a_safe_journal_only)
{
    for (int safe = 0; safe <= 2; safe++) { /* is lost already; does not sync; is safe */
        struct rig rig;
        struct landed l;
        rig_make(&rig);
        struct mr_open open = rig_file("a.log");
        land(&rig, &open, 5000, &l);
        ck_assert_int_eq(unlinkat(rig.store.root_fd, l.part, 0), 0);
        if (safe == 0)
            ck_assert_int_eq(ftruncate(l.movie->journal_fd, 0), 0);
        sick_disk.fail_fsync = safe == 1;
        sick_disk.no_unlinks = EIO;
        ck_assert_int_eq(mr_discard_one(&rig.store, &l.d.open.movie, 1, l.d.path), -EIO);
        sick_disk.no_unlinks = 0;
        ck_assert_int_eq(sick_disk.fail_fsync, 0);
        ck_assert_int_eq(rig_has(&rig, l.part), safe == 2);
        ck_assert_int_eq(mr_discard_one(&rig.store, &l.d.open.movie, 1, l.d.path), 0);
        ck_assert(!rig_has(&rig, l.part));
        drop(&l);
        rig_end(&rig);
    }
}
END_TEST

MR_SUITE("failed_sync", T(name_is_given_anew_where_its_directory_did_not_sync),
         T(linked_name_is_safe_before_the_other_goes), T(revision_takes_its_place_anew),
         T(journal_that_did_not_sync_is_not_sealed_again),
         T(tainted_part_is_neither_committed_nor_synced),
         T(directory_made_again_is_synced_however_often_that_fails),
         T(file_is_taken_back_though_its_parts_directory_goes),
         T(part_is_made_anew_beneath_a_safe_journal_only),
         T(tainted_part_of_a_failed_movie_is_copied),
         T(directories_that_are_there_are_synced_once_in_a_life))
