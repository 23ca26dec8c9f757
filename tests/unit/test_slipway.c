/* SPDX-License-Identifier: Apache-2.0 */
/* A movie's part and journal: made, found again as they were left, gone; and whichever sync of that
 * fails, nothing is there that nobody knows of. */
#include "sick_disk.h"
#include "slipway_rig.h"
#include "suite.h"

#define HEADER_BYTES 4096 /* before the first chunk */

static struct rig rig;

START_TEST(movie_is_as_its_dossier_says)
{
    static const struct {
        enum mr_output output;
        uint64_t space_end, from;
    } cases[] = {{MR_OUTPUT_KEEP, 0, 0},
                 {MR_OUTPUT_KEEP, 1, 65536},
                 {MR_OUTPUT_MRC, 65536, 65536},
                 {MR_OUTPUT_HDF5, 0, HEADER_BYTES},
                 {MR_OUTPUT_HDF5, 4096, 4096},
                 {MR_OUTPUT_HDF5, 4097, 65536},
                 {MR_OUTPUT_HDF5, 65536, 65536},
                 {MR_OUTPUT_HDF5, 65537, 131072},
                 {MR_OUTPUT_HDF5, 8192000, 8192000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_open open = rig_movie(cases[i].output, 64, 64, "a.mrc");
        struct mr_dossier *d = slipway_dossier(&open, 1027);
        char name[MR_NAMING_PART];
        d->open.revision = 3;
        d->space_end = cases[i].space_end;
        struct mr_movie *movie = mr_slipway_movie(d);
        ck_assert(mr_ulid_equal(&movie->id, &open.movie));
        ck_assert_uint_eq(movie->revision, 3);
        ck_assert_uint_eq(movie->generation, 1027);
        ck_assert_int_eq(movie->codec, open.codec);
        ck_assert_mem_eq(&movie->geometry, &open.geometry, sizeof(open.geometry));
        ck_assert_uint_eq(atomic_load(&movie->space_end), cases[i].from);
        mr_dossier_name(&open.movie, 1027, "part", name);
        ck_assert_str_eq(movie->part_name, name);
        mr_dossier_name(&open.movie, 1027, "journal", name);
        ck_assert_str_eq(movie->journal_name, name);
        ck_assert(movie->part_fd == -1 && movie->part_dir_fd == -1 && movie->journal_fd == -1);
        mr_movie_release(movie);
        slipway_drop(d);
    }
}
END_TEST

START_TEST(made_movie_has_both_files)
{
    struct stat st;
    struct mr_err err = {0};
    rig_make(&rig);
    struct mr_open open = rig_file("day1/a.log");
    struct mr_dossier *d = slipway_dossier(&open, 1), back;
    strcpy(d->path, "k3/a.log");
    struct mr_movie *movie = slipway_build(&rig, d);
    rig_dossier(&rig, movie, &back);
    ck_assert_uint_eq(back.generation, 1);
    ck_assert_str_eq(back.path, "k3/a.log");
    ck_assert_str_eq(back.agent, "k3");
    ck_assert_str_eq(back.open.path, "day1/a.log");
    mr_dossier_fini(&back);
    ck_assert_int_eq(fstat(movie->part_fd, &st), 0);
    ck_assert_uint_eq((uint64_t)st.st_size, 0);
    ck_assert_uint_eq(st.st_mode & 07777, 0640);
    ck_assert_int_eq((fcntl(movie->part_fd, F_GETFL) & O_DIRECT) != 0, movie->direct);
    ck_assert_int_ne(fcntl(movie->journal_fd, F_GETFL) & O_APPEND, 0);
    struct mr_movie *twice = mr_slipway_movie(d);
    ck_assert_int_eq(mr_slipway_make(&rig.store, twice, d, &err), -EEXIST);
    ck_assert_msg(strstr(err.text, twice->journal_name) != NULL, "%s", err.text);
    mr_movie_release(twice);
    ck_assert(slipway_has_part(&rig, d) && slipway_has_journal(&rig, d));
    mr_movie_release(movie);
    ck_assert(mr_slipway_remove(&rig.store, &open.movie, 1, d->path));
    ck_assert(!rig_has(&rig, "k3/.millrace") && !slipway_has_journal(&rig, d));
    ck_assert(mr_slipway_remove(&rig.store, &open.movie, 1, d->path)); /* nothing is left to go */
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

START_TEST(page_cache_is_used_where_blocks_would_be_shared)
{
    rig_make(&rig);
    for (int off = 0; off <= 1; off++) {
        struct mr_open open = rig_movie(MR_OUTPUT_MRC, 64, 64, "a.mrc");
        struct mr_dossier *d = slipway_dossier(&open, 1);
        rig.store.direct_io = off ? MR_DIRECT_OFF : MR_DIRECT_AUTO;
        struct mr_movie *movie = mr_slipway_movie(d);
        struct mr_err err = {0};
        movie->geometry.data_offset = off ? 65536 : 100;
        ck_assert_int_eq(mr_slipway_make(&rig.store, movie, d, &err), 0);
        ck_assert(!movie->direct);
        ck_assert_uint_eq(movie->alignment, 1);
        ck_assert_int_eq(fcntl(movie->part_fd, F_GETFL) & O_DIRECT, 0);
        mr_movie_release(movie);
        slipway_drop(d);
    }
    rig_end(&rig);
}
END_TEST

/* Each of its syncs fails once. */
START_TEST(movie_that_was_made_in_part_is_removed)
{
    int failures = 0;
    rig_make(&rig);
    for (int kind = 0; kind <= 1; kind++) {
        bool made = false;
        for (int nth = 1; !made; nth++) {
            _Atomic int *fail = kind ? &sick_disk.fail_fdatasync : &sick_disk.fail_fsync;
            struct mr_err err = {0};
            struct mr_open open = rig_file("a.log");
            struct mr_dossier *d = slipway_dossier(&open, 1);
            struct mr_movie *movie = mr_slipway_movie(d);
            *fail = nth;
            int r = mr_slipway_make(&rig.store, movie, d, &err);
            made = *fail != 0;
            *fail = 0;
            ck_assert_int_eq(r, made ? 0 : -EIO);
            ck_assert_int_eq(err.code, r);
            failures += r < 0;
            mr_movie_release(movie);
            ck_assert(mr_slipway_remove(&rig.store, &open.movie, 1, d->path));
            ck_assert(!slipway_has_journal(&rig, d) && !rig_has(&rig, "k3/.millrace"));
            slipway_drop(d);
        }
    }
    ck_assert_int_ge(failures, 4); /* journal, its folder, the part's folder and its parent */
    rig_end(&rig);
}
END_TEST

/* ---- found again ---- */

static int reopen(const struct mr_dossier *d, bool earlier_life, struct mr_movie **ret)
{
    struct mr_err err = {0};
    return mr_slipway_reopen(&rig.store, d, earlier_life, ret, &err);
}

/* What its journal says, for a movie that was made as d. */
static struct mr_dossier *read_again(const struct mr_dossier *d)
{
    struct mr_dossier *again = calloc(1, sizeof(*again));
    char name[MR_NAMING_PART];
    mr_dossier_name(&d->open.movie, d->generation, "journal", name);
    ck_assert_int_eq(mr_dossier_read(rig.store.journal_fd, name, again, NULL), 0);
    return again;
}

START_TEST(torn_line_is_cut_before_the_next_is_appended)
{
    static const struct mr_placement slab = {
        .slab = 4, .offset = 8192, .stored_bytes = 10, .raw_bytes = 10};
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = slipway_dossier(&open, 1);
    struct mr_movie *movie = slipway_build(&rig, d), *again = NULL;
    rig_journal(movie, &slab);
    ck_assert_int_eq(mr_recordlog_append(movie->journal_fd, "0123456789abcdef SLAB", 21), 0);
    mr_movie_release(movie);
    struct mr_dossier *left = read_again(d);
    ck_assert(left->torn);
    ck_assert_int_eq(reopen(left, false, &again), 0);
    ck_assert_uint_eq(atomic_load(&again->space_end), 65536);
    const struct mr_placement next = {
        .slab = 5, .offset = 65536, .stored_bytes = 20, .raw_bytes = 20};
    rig_journal(again, &next);
    slipway_drop(left);
    left = read_again(d);
    ck_assert(!left->torn);
    ck_assert_uint_eq(left->damaged, 0);
    ck_assert_uint_eq(left->durable, 2);
    ck_assert_uint_eq(left->slabs[5].offset, 65536);
    mr_movie_release(again);
    slipway_drop(left);
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

static uint64_t part_bytes(const struct mr_movie *movie)
{
    struct stat st;
    ck_assert_int_eq(fstat(movie->part_fd, &st), 0);
    return (uint64_t)st.st_size;
}

/* Only of an earlier life, whose writes may still be under way; and of the others only where room
 * is given out anew. */
START_TEST(chunked_part_is_cut_behind_its_last_slab)
{
    static const struct {
        enum mr_output output;
        bool earlier_life;
        uint64_t before, after;
    } cases[] = {{MR_OUTPUT_HDF5, true, 1000000, 65536},
                 {MR_OUTPUT_HDF5, true, 5000, 65536},
                 {MR_OUTPUT_HDF5, false, 1000000, 1000000},
                 {MR_OUTPUT_KEEP, true, 1000000, 1000000},
                 {MR_OUTPUT_KEEP, true, 0, 0}};
    rig_make(&rig);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_open open = rig_movie(cases[i].output, 64, 64, "a.mrc");
        struct mr_dossier *d = slipway_dossier(&open, 1);
        struct mr_movie *movie = slipway_build(&rig, d), *again = NULL;
        ck_assert_int_eq(ftruncate(movie->part_fd, (off_t)cases[i].before), 0);
        mr_movie_release(movie);
        d->space_end = 10000;
        ck_assert_int_eq(reopen(d, cases[i].earlier_life, &again), 0);
        ck_assert_uint_eq(part_bytes(again), cases[i].after);
        mr_movie_release(again);
        slipway_drop(d);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(journal_without_its_part_goes)
{
    struct mr_movie *none = NULL;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = slipway_dossier(&open, 1);
    struct mr_movie *movie = slipway_build(&rig, d);
    ck_assert_int_eq(unlinkat(movie->part_dir_fd, movie->part_name, 0), 0);
    mr_movie_release(movie);
    ck_assert_int_eq(reopen(d, true, &none), -ENOENT);
    ck_assert_ptr_null(none);
    ck_assert(!slipway_has_journal(&rig, d) && !rig_has(&rig, "k3/.millrace"));
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

/* It was read, and perhaps only memory has it: none of it may be told as durable. */
START_TEST(journal_that_does_not_sync_goes_with_its_part)
{
    struct mr_movie *none = NULL;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = slipway_dossier(&open, 1);
    mr_movie_release(slipway_build(&rig, d));
    sick_disk.fail_fdatasync = 1;
    ck_assert_int_eq(reopen(d, false, &none), -EIO);
    ck_assert(!slipway_has_part(&rig, d) && !slipway_has_journal(&rig, d));
    ck_assert_ptr_null(none);
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

/* Of the part, of its folder, of the journals' folder. */
START_TEST(part_that_does_not_sync_is_not_given_out)
{
    int failures = 0;
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = slipway_dossier(&open, 1);
    struct mr_movie *movie = slipway_build(&rig, d);
    mr_movie_release(movie);
    for (int nth = 1; sick_disk.fail_fsync == 0; nth++) {
        movie = NULL;
        sick_disk.fail_fsync = nth;
        int r = reopen(d, true, &movie);
        ck_assert_int_eq(r, sick_disk.fail_fsync == 0 ? -EIO : 0);
        ck_assert(r == 0 || movie == NULL);
        mr_movie_release(movie);
        ck_assert(slipway_has_part(&rig, d) && slipway_has_journal(&rig, d));
        failures += r < 0;
    }
    sick_disk.fail_fsync = 0;
    ck_assert_int_ge(failures, 3);
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

MR_SUITE("slipway", T(movie_is_as_its_dossier_says), T(made_movie_has_both_files),
         T(page_cache_is_used_where_blocks_would_be_shared),
         T(movie_that_was_made_in_part_is_removed), T(torn_line_is_cut_before_the_next_is_appended),
         T(chunked_part_is_cut_behind_its_last_slab), T(journal_without_its_part_goes),
         T(journal_that_does_not_sync_goes_with_its_part),
         T(part_that_does_not_sync_is_not_given_out))
