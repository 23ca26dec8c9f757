/* SPDX-License-Identifier: Apache-2.0 */
/* Where is a failed movie kept, and is it known again there? */
#include "failed_place.h"
#include "store_rig.h"
#include "suite.h"

static struct rig rig;
static struct mr_dossier *d;
static char id[MR_ULID_TEXT];

static void begin(const char *path)
{
    rig_make(&rig);
    d = calloc(1, sizeof(*d));
    d->open = rig_file("a.log");
    mr_ulid_text(&d->open.movie, id);
    snprintf(d->path, sizeof(d->path), "%s", path);
}

static void end(void)
{
    free(d);
    rig_end(&rig);
}

static void placed(bool local, const char *before, const char *behind)
{
    char expected[256];
    struct mr_err err = {0};
    ck_assert_msg(mr_failed_place(&rig.store, d, local, &err) == 0, "%s", err.text);
    snprintf(expected, sizeof(expected), "%s%s", before, id);
    ck_assert(rig_has(&rig, expected));
    snprintf(expected, sizeof(expected), "%s%s%s", before, id, behind);
    ck_assert_str_eq(d->sealed.path, expected);
    ck_assert(!rig_has(&rig, expected));
}

START_TEST(it_is_kept_apart_or_beside_its_movies)
{
    begin("k3/day1/a.log");
    placed(false, ".millrace/failed/", "/a.log");
    placed(false, ".millrace/failed/", "/a.log"); /* and again */
    placed(true, "k3/day1/.millrace/failed/", "/a.log");
    end();
    begin("a.log");
    placed(true, "./.millrace/failed/", "/a.log");
    end();
}
END_TEST

static int is_kept(void)
{
    return mr_failed_is_kept(&rig.store, &d->open.movie, d->path);
}

START_TEST(it_is_known_in_either_place)
{
    for (int local = 0; local <= 1; local++) {
        begin("k3/day1/a.log");
        struct mr_err err = {0};
        char folder[MR_NAMING_PATH_MAX + 1];
        ck_assert_int_eq(is_kept(), 0);
        ck_assert_int_eq(mr_failed_place(&rig.store, d, local, &err), 0);
        scratch_append(&rig.scratch, d->sealed.path, "");
        ck_assert_int_eq(is_kept(), 1);
        ck_assert_int_eq(is_kept(), 1); /* to ask takes nothing away */
        snprintf(folder, sizeof(folder), "%s", d->sealed.path);
        ck_assert_int_eq(mr_failed_place(&rig.store, d, !local, &err), 0);
        ck_assert_int_eq(is_kept(), 1); /* also beside an empty folder in the other place */
        ck_assert_int_eq(unlinkat(rig.store.root_fd, folder, 0), 0);
        *strrchr(folder, '/') = '\0';
        ck_assert_int_eq(is_kept(), 0);
        ck_assert(!rig_has(&rig, folder)); /* which a crash left empty */
        d->open.movie.bytes[3] ^= 1;
        ck_assert_int_eq(is_kept(), 0);
        end();
    }
}
END_TEST

START_TEST(what_is_no_folder_is_an_error)
{
    char file[64];
    begin("k3/a.log");
    snprintf(file, sizeof(file), ".millrace/failed/%s", id);
    scratch_append(&rig.scratch, file, "x");
    struct mr_err err = {0};
    ck_assert_int_eq(is_kept(), -ENOTDIR);
    ck_assert_int_eq(mr_failed_place(&rig.store, d, false, &err), -ENOTDIR);
    ck_assert_msg(strstr(err.text, file) == err.text, "%s", err.text);
    ck_assert(rig_has(&rig, file));
    end();
    begin("k3/a.log");
    scratch_append(&rig.scratch, "k3", "a file where the movie's folder would be");
    ck_assert_int_eq(is_kept(), -ENOTDIR);
    end();
}
END_TEST

/* The longest path that still fits beside its movies, and one more byte. */
START_TEST(path_that_would_become_too_long_is_refused)
{
    const size_t added = strlen("/.millrace/failed/") + MR_ULID_TEXT - 1;
    for (size_t more = 0; more <= 1; more++) {
        begin("");
        struct mr_err err = {0};
        size_t bytes = MR_NAMING_PATH_MAX - added + more;
        memset(d->path, 'd', bytes);
        for (size_t at = 200; at < bytes - 1; at += 201)
            d->path[at] = '/';
        d->path[bytes] = '\0';
        int r = mr_failed_place(&rig.store, d, true, &err);
        ck_assert_int_eq(r, more == 0 ? 0 : -ENAMETOOLONG);
        ck_assert_int_eq(err.code, r);
        if (r == 0)
            ck_assert_uint_eq(strlen(d->sealed.path), MR_NAMING_PATH_MAX);
        end();
    }
}
END_TEST

START_TEST(fault_is_the_sources_where_nobody_else_is_named)
{
    ck_assert_uint_eq(mr_failed_code(&(struct mr_fail){.code = 0}), MR_REASON_SOURCE);
    ck_assert_uint_eq(mr_failed_code(&(struct mr_fail){.code = 1}), 1);
    ck_assert_uint_eq(mr_failed_code(&(struct mr_fail){.code = 65535}), 65535);
}
END_TEST

MR_SUITE("failed_place", T(it_is_kept_apart_or_beside_its_movies), T(it_is_known_in_either_place),
         T(what_is_no_folder_is_an_error), T(path_that_would_become_too_long_is_refused),
         T(fault_is_the_sources_where_nobody_else_is_named))
