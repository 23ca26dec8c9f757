/* SPDX-License-Identifier: Apache-2.0 */
/* What is found of a movie that was not finished, and what goes of it: all generations, and nothing
 * of any other movie. */
#include "discard.h"
#include "sick_disk.h"
#include "slipway_rig.h"
#include "suite.h"

#define GENERATIONS 3

static struct rig rig;

static struct mr_dossier *made(const struct mr_open *open, uint32_t generation)
{
    struct mr_dossier *d = slipway_dossier(open, generation);
    mr_movie_release(slipway_build(&rig, d));
    return d;
}

static void journal_text(const struct mr_dossier *d, const char *text)
{
    char name[MR_NAMING_PART], path[128];
    mr_dossier_name(&d->open.movie, d->generation, "journal", name);
    snprintf(path, sizeof(path), ".millrace/journal/%s", name);
    scratch_append(&rig.scratch, path, text);
}

static void seal(struct mr_dossier *d)
{
    char *line = NULL, *text;
    size_t bytes;
    d->sealed = (struct mr_sealed){.inode = 5, .path = "k3/a.log", .event = strdup("{}")};
    ck_assert_int_eq(mr_dossier_sealed_line(&d->sealed, &line, &bytes), 0);
    text = strndup(line, bytes);
    journal_text(d, text);
    free(text);
    free(line);
}

START_TEST(all_generations_go_and_no_other_movie)
{
    struct mr_dossier *d[GENERATIONS];
    char failed[64], id[MR_ULID_TEXT];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log"), other = open;
    other.movie.bytes[15] ^= 1;
    struct mr_dossier *neighbour = made(&other, 1);
    for (uint32_t i = 0; i < GENERATIONS; i++)
        d[i] = made(&open, i + 1);
    seal(d[1]);
    snprintf(failed, sizeof(failed), ".millrace/failed/%s", mr_ulid_text(&open.movie, id));
    ck_assert_int_eq(mkdirat(rig.store.root_fd, failed, 0700), 0);
    ck_assert_int_eq(mr_discard_all(&rig.store, &open.movie), 0);
    for (uint32_t i = 0; i < GENERATIONS; i++) {
        ck_assert(!slipway_has_part(&rig, d[i]) && !slipway_has_journal(&rig, d[i]));
        slipway_drop(d[i]);
    }
    ck_assert(!rig_has(&rig, failed));
    ck_assert(slipway_has_part(&rig, neighbour) && slipway_has_journal(&rig, neighbour));
    ck_assert_int_eq(mr_discard_all(&rig.store, &open.movie), 0); /* of nothing */
    ck_assert_int_eq(mr_discard_all(&rig.store, &other.movie), 0);
    ck_assert(!rig_has(&rig, "k3/.millrace"));
    slipway_drop(neighbour);
    rig_end(&rig);
}
END_TEST

START_TEST(failed_movie_that_is_kept_stays)
{
    char failed[64], kept[80], id[MR_ULID_TEXT];
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    snprintf(failed, sizeof(failed), ".millrace/failed/%s", mr_ulid_text(&open.movie, id));
    snprintf(kept, sizeof(kept), "%s/a.log", failed);
    ck_assert_int_eq(mkdirat(rig.store.root_fd, failed, 0700), 0);
    scratch_append(&rig.scratch, kept, "x");
    ck_assert_int_eq(mr_discard_all(&rig.store, &open.movie), 0);
    ck_assert(rig_has(&rig, kept));
    rig_end(&rig);
}
END_TEST

/* Without a part, and without the folder it would be in. */
START_TEST(what_is_left_of_one_goes)
{
    rig_make(&rig);
    for (int gone = 0; gone < 3; gone++) {
        struct mr_open open = rig_file("a.log");
        struct mr_dossier *d = made(&open, 1);
        char name[MR_NAMING_PART];
        int dir = mr_store_part_dir(&rig.store, d->path, false);
        mr_dossier_name(&open.movie, 1, "part", name);
        if (gone > 0)
            ck_assert_int_eq(unlinkat(dir, name, 0), 0);
        close(dir);
        if (gone > 1)
            mr_store_tidy(&rig.store, d->path);
        ck_assert_int_eq(mr_discard_one(&rig.store, &open.movie, 1, d->path), 0);
        ck_assert(!slipway_has_part(&rig, d) && !slipway_has_journal(&rig, d));
        ck_assert(!rig_has(&rig, "k3/.millrace"));
        slipway_drop(d);
    }
    rig_end(&rig);
}
END_TEST

START_TEST(part_that_stays_keeps_its_journal)
{
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = made(&open, 1);
    sick_disk.no_unlinks = EROFS;
    ck_assert_int_eq(mr_discard_one(&rig.store, &open.movie, 1, d->path), -EROFS);
    ck_assert(slipway_has_part(&rig, d) && slipway_has_journal(&rig, d));
    sick_disk.no_unlinks = 0;
    sick_disk.no_sync_of = "/k3/.millrace";
    ck_assert_int_eq(mr_discard_one(&rig.store, &open.movie, 1, d->path), -EIO);
    ck_assert(slipway_has_journal(&rig, d)); /* a power cut may bring its part back */
    sick_disk.no_sync_of = NULL;
    ck_assert_int_eq(mr_discard_one(&rig.store, &open.movie, 1, d->path), 0);
    ck_assert(!slipway_has_part(&rig, d) && !slipway_has_journal(&rig, d));
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

START_TEST(removal_that_does_not_sync_leaves_names_for_the_next_start)
{
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = made(&open, 1);
    sick_disk.no_sync_of = "/.millrace/journal";
    ck_assert_int_eq(mr_discard_all(&rig.store, &open.movie), -EUCLEAN);
    ck_assert(!slipway_has_part(&rig, d));
    ck_assert(slipway_has_journal(&rig, d));
    ck_assert(!mr_discard_is_left(&rig.store, &open.movie)); /* it says nothing */
    sick_disk.no_sync_of = NULL;
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

START_TEST(second_sync_is_tried_before_that)
{
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    struct mr_dossier *d = made(&open, 1);
    sick_disk.fail_fsync = 2; /* the first is the part's folder's */
    ck_assert_int_eq(mr_discard_all(&rig.store, &open.movie), 0);
    ck_assert_int_eq(sick_disk.fail_fsync, 0);
    ck_assert(!slipway_has_journal(&rig, d));
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

/* ---- what there is ---- */

START_TEST(only_a_journal_that_reads_is_something_left)
{
    rig_make(&rig);
    struct mr_open open = rig_file("a.log"), other = open;
    other.movie.bytes[0] ^= 1;
    struct mr_dossier *d = slipway_dossier(&open, 2);
    ck_assert(!mr_discard_is_left(&rig.store, &open.movie));
    journal_text(d, "");
    ck_assert(!mr_discard_is_left(&rig.store, &open.movie));
    journal_text(d, "what is this\n");
    ck_assert(!mr_discard_is_left(&rig.store, &open.movie));
    struct mr_dossier *good = made(&open, 1);
    ck_assert(mr_discard_is_left(&rig.store, &open.movie));
    ck_assert(!mr_discard_is_left(&rig.store, &other.movie));
    sick_disk.no_journals = EACCES; /* not to be told */
    ck_assert(mr_discard_is_left(&rig.store, &open.movie));
    sick_disk.no_journals = ENOENT; /* it has gone meanwhile */
    ck_assert(!mr_discard_is_left(&rig.store, &open.movie));
    sick_disk.no_journals = 0;
    slipway_drop(good);
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

START_TEST(another_agents_movie_is_told)
{
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ck_assert_int_eq(mr_discard_is_of_another(&rig.store, &open.movie, "k3"), 0);
    struct mr_dossier *d = made(&open, 1);
    ck_assert_int_eq(mr_discard_is_of_another(&rig.store, &open.movie, "k3"), 0);
    ck_assert_int_eq(mr_discard_is_of_another(&rig.store, &open.movie, "k30"), 1);
    ck_assert_int_eq(mr_discard_is_of_another(&rig.store, &open.movie, "k"), 1);
    struct mr_dossier *second = slipway_dossier(&open, 2);
    strcpy(second->agent, "k30");
    mr_movie_release(slipway_build(&rig, second));
    ck_assert_int_eq(mr_discard_is_of_another(&rig.store, &open.movie, "k3"), 1);
    sick_disk.no_journals = EACCES;
    ck_assert_int_eq(mr_discard_is_of_another(&rig.store, &open.movie, "k3"), -EACCES);
    sick_disk.no_journals = 0;
    slipway_drop(second);
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

START_TEST(sealed_one_counts_where_it_is_newer_than_what_is_recorded)
{
    rig_make(&rig);
    struct mr_open open = rig_file("a.log");
    ck_assert(!mr_discard_is_sealed(&rig.store, &open.movie, 0));
    open.revision = 4;
    struct mr_dossier *d = made(&open, 1), *second = made(&open, 2);
    ck_assert(!mr_discard_is_sealed(&rig.store, &open.movie, 0));
    seal(d);
    for (uint32_t recorded = 0; recorded <= 5; recorded++)
        ck_assert_int_eq(mr_discard_is_sealed(&rig.store, &open.movie, recorded), recorded < 4);
    sick_disk.no_journals = EIO; /* not to be told: then it is left alone */
    ck_assert(mr_discard_is_sealed(&rig.store, &open.movie, 9));
    sick_disk.no_journals = 0;
    slipway_drop(second);
    slipway_drop(d);
    rig_end(&rig);
}
END_TEST

/* ---- after take-overs ---- */

START_TEST(strays_are_what_no_server_of_this_epoch_made)
{
    static const struct {
        uint32_t generation;
        bool stays;
    } parts[] = {{1, false},    {1023, false}, {1024, false}, {1025, false}, {2047, false},
                 {2048, false}, {2049, true},  {2050, true},  {3071, true},  {3072, false}};
    const size_t count = sizeof(parts) / sizeof(parts[0]);
    rig_make(&rig);
    rig.store.epoch = 2;
    for (size_t keep = 0; keep < count; keep++) { /* that of the journal is none */
        struct mr_open open = rig_file("a.log"), other = open;
        other.movie.bytes[15] ^= 1;
        int dir = mr_store_part_dir(&rig.store, "k3/a.log", true);
        char name[MR_NAMING_PART], path[128], near[128];
        for (size_t i = 0; i < count; i++) {
            mr_dossier_name(&open.movie, parts[i].generation, "part", name);
            snprintf(path, sizeof(path), "k3/.millrace/%s", name);
            scratch_append(&rig.scratch, path, "x");
        }
        mr_dossier_name(&other.movie, 1, "part", name);
        snprintf(near, sizeof(near), "k3/.millrace/%s", name);
        scratch_append(&rig.scratch, near, "x");
        mr_discard_strays(&rig.store, &open.movie, parts[keep].generation, "k3/a.log");
        for (size_t i = 0; i < count; i++) {
            mr_dossier_name(&open.movie, parts[i].generation, "part", name);
            snprintf(path, sizeof(path), "k3/.millrace/%s", name);
            ck_assert_msg(rig_has(&rig, path) == (parts[i].stays || i == keep), "%s", name);
        }
        ck_assert(rig_has(&rig, near));
        close(dir);
    }
    struct mr_open open = rig_file("b.log");
    mr_discard_strays(&rig.store, &open.movie, 1, "no/such/folder"); /* and nothing happens */
    rig_end(&rig);
}
END_TEST

MR_SUITE("discard", T(all_generations_go_and_no_other_movie), T(failed_movie_that_is_kept_stays),
         T(what_is_left_of_one_goes), T(part_that_stays_keeps_its_journal),
         T(removal_that_does_not_sync_leaves_names_for_the_next_start),
         T(second_sync_is_tried_before_that), T(only_a_journal_that_reads_is_something_left),
         T(another_agents_movie_is_told),
         T(sealed_one_counts_where_it_is_newer_than_what_is_recorded),
         T(strays_are_what_no_server_of_this_epoch_made))
