/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does the journal keep what it was told over a restart, and refuse with words what it cannot use?
 */
#include "base/clock.h"
#include "journal.h"
#include "suite.h"
#include "tree.h"

#include <errno.h>
#include <sys/wait.h>

static struct mr_err err;

static struct mr_journal *open_at(const char *dir)
{
    struct mr_journal *j = NULL;
    err = (struct mr_err){0};
    ck_assert_msg(mr_journal_open(dir, &err, &j) == 0, "%s", err.text);
    return j;
}

static struct mr_journal_movie a_movie(uint8_t number)
{
    struct mr_journal_movie m = {.revision = 1,
                                 .state = MR_JOURNAL_OPEN,
                                 .root = "/data/movies",
                                 .path = "grid7/m\xff.mrc",
                                 .identity = {UINT64_MAX, 1000u + number, -5},
                                 .kind = MR_KIND_MOVIE,
                                 .output = MR_OUTPUT_MRC,
                                 .codec = MR_CODEC_BSLZ4,
                                 .source = {-7, true, UINT64_MAX - 1, UINT64_MAX},
                                 .first_seen_real_ns = 7,
                                 .updated_real_ns = 100 + number};
    m.id.bytes[15] = number;
    ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_STREAM, MR_PIXEL_I8, false, 5760, 4092, 1024, 0,
                                        &m.geometry, &err),
                     0);
    return m;
}

static void check_same(const struct mr_journal_movie *a, const struct mr_journal_movie *b)
{
    ck_assert(mr_ulid_equal(&a->id, &b->id));
    ck_assert_uint_eq(a->revision, b->revision);
    ck_assert_int_eq(a->state, b->state);
    ck_assert_str_eq(a->root, b->root);
    ck_assert_str_eq(a->path, b->path);
    ck_assert_mem_eq(&a->identity, &b->identity, sizeof(a->identity));
    ck_assert_uint_eq(a->size, b->size);
    ck_assert_uint_eq(a->geometry.data_offset, b->geometry.data_offset);
    ck_assert_uint_eq(a->geometry.frame_bytes, b->geometry.frame_bytes);
    ck_assert_int_eq(a->codec, b->codec);
    ck_assert_str_eq(a->event, b->event);
    ck_assert_int_eq(a->source.ctime_ns, b->source.ctime_ns);
    ck_assert(a->source.fresh == b->source.fresh);
    ck_assert_uint_eq(a->source.crc_file, b->source.crc_file);
    ck_assert_uint_eq(a->source.crc_pixels, b->source.crc_pixels);
    ck_assert_int_eq(a->updated_real_ns, b->updated_real_ns);
}

START_TEST(instance_stays_and_epoch_rises)
{
    uint64_t epoch;
    uint8_t instance[16];
    tree_make();
    struct mr_journal *j = open_at(tree_path("state"));
    memcpy(instance, mr_journal_instance(j), 16);
    ck_assert_int_eq(mr_journal_next_epoch(j, &epoch, &err), 0);
    ck_assert_uint_eq(epoch, 1);
    mr_journal_close(j);
    j = open_at(tree_path("state"));
    ck_assert_mem_eq(mr_journal_instance(j), instance, 16);
    ck_assert_int_eq(mr_journal_next_epoch(j, &epoch, &err), 0);
    ck_assert_uint_eq(epoch, 2);
    mr_journal_close(j);
    tree_remove();
}
END_TEST

START_TEST(movies_outlive_a_restart)
{
    tree_make();
    struct mr_journal *j = open_at(tree_root);
    struct mr_journal_movie m = a_movie(1), found;
    ck_assert_int_eq(mr_journal_find(j, &m.id, &found, &err), -ENOENT);
    ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    ck_assert_int_eq(mr_journal_insert(j, &m, &err), -EEXIST);
    m.state = MR_JOURNAL_COMMITTED;
    m.size = 943000000;
    strcpy(m.event, "01J.ready");
    ck_assert_int_eq(mr_journal_update(j, &m, &err), 0);
    mr_journal_close(j);
    j = open_at(tree_root);
    ck_assert_int_eq(mr_journal_find(j, &m.id, &found, &err), 0);
    check_same(&m, &found);
    ck_assert_int_eq(mr_journal_find_file(j, m.root, m.path, &m.identity, &found, &err), 0);
    check_same(&m, &found);
    struct mr_fs_identity other = m.identity;
    other.birth_ns++;
    ck_assert_int_eq(mr_journal_find_file(j, m.root, m.path, &other, &found, &err), -ENOENT);
    ck_assert_int_eq(mr_journal_find_file(j, "/data", m.path, &m.identity, &found, &err), -ENOENT);
    m.revision = 2;
    m.state = MR_JOURNAL_OPEN;
    ck_assert_int_eq(mr_journal_update(j, &m, &err), -ENOENT);
    ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    ck_assert_int_eq(mr_journal_find_file(j, m.root, m.path, &m.identity, &found, &err), 0);
    ck_assert_uint_eq(found.revision, 2);
    ck_assert_int_eq(mr_journal_delete(j, &m.id, 2, &err), 0);
    ck_assert_int_eq(mr_journal_delete(j, &m.id, 2, &err), 0);
    ck_assert_int_eq(mr_journal_find(j, &m.id, &found, &err), 0);
    ck_assert_uint_eq(found.revision, 1);
    mr_journal_close(j);
    tree_remove();
}
END_TEST

static bool is_there(struct mr_journal *j, uint8_t i)
{
    struct mr_journal_movie m = a_movie(i), found;
    return mr_journal_find(j, &m.id, &found, &err) == 0;
}

START_TEST(batches_are_all_or_nothing)
{
    uint64_t gone;
    struct mr_journal *j = open_at(NULL);
    ck_assert_int_eq(mr_journal_begin(j, &err), 0);
    for (uint8_t i = 1; i <= 4; i++) {
        struct mr_journal_movie m = a_movie(i);
        ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    }
    mr_journal_rollback(j);
    for (uint8_t i = 1; i <= 4; i++)
        ck_assert(!is_there(j, i));
    ck_assert_int_eq(mr_journal_begin(j, &err), 0);
    for (uint8_t i = 4; i >= 1; i--) {
        struct mr_journal_movie m = a_movie(i);
        ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    }
    ck_assert_int_eq(mr_journal_commit(j, &err), 0);
    for (uint8_t i = 1; i <= 4; i++)
        ck_assert(is_there(j, i));
    struct mr_journal_movie m = a_movie(1);
    m.state = MR_JOURNAL_FAILED;
    ck_assert_int_eq(mr_journal_update(j, &m, &err), 0);
    ck_assert_int_eq(mr_journal_expire(j, 101, &gone, &err), 0);
    ck_assert_uint_eq(gone, 0);
    ck_assert_int_eq(mr_journal_expire(j, 1000, &gone, &err), 0);
    ck_assert_uint_eq(gone, 1);
    ck_assert(!is_there(j, 1) && is_there(j, 2));
    mr_journal_close(j);
}
END_TEST

START_TEST(a_folder_keeps_its_first_day)
{
    char day[MR_DAY_TEXT];
    struct mr_journal *j = open_at(NULL);
    ck_assert_int_eq(mr_journal_day_of(j, "/d", "grid7", "2026-11-22", day, &err), 0);
    ck_assert_str_eq(day, "2026-11-22");
    ck_assert_int_eq(mr_journal_day_of(j, "/d", "grid7", "2026-11-23", day, &err), 0);
    ck_assert_str_eq(day, "2026-11-22");
    ck_assert_int_eq(mr_journal_day_of(j, "/d", "grid8", "2026-11-23", day, &err), 0);
    ck_assert_str_eq(day, "2026-11-23");
    ck_assert_int_eq(mr_journal_day_of(j, "/e", "grid7", "2026-11-24", day, &err), 0);
    ck_assert_str_eq(day, "2026-11-24");
    mr_journal_close(j);
}
END_TEST

static void refuse(const char *dir, int code, const char *word)
{
    struct mr_journal *j;
    err = (struct mr_err){0};
    int got = mr_journal_open(dir, &err, &j);
    ck_assert_msg(got == code, "%d: %s", got, err.text);
    ck_assert_msg(strstr(err.text, word) != NULL, "%s", err.text);
}

START_TEST(a_damaged_file_is_named)
{
    static uint8_t noise[8192];
    tree_make();
    struct mr_journal *j = open_at(tree_root);
    for (unsigned i = 0; i < 200; i++) {
        struct mr_journal_movie m = a_movie((uint8_t)i);
        ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    }
    mr_journal_close(j);
    memset(noise, 0xa5, sizeof(noise));
    int fd = tree_open("journal.sqlite");
    tree_write(fd, noise, sizeof(noise), 3 * 4096);
    close(fd);
    refuse(tree_root, -EBADMSG, tree_path("journal.sqlite"));
    fd = tree_open("journal.sqlite");
    tree_write(fd, noise, 100, 0);
    close(fd);
    refuse(tree_root, -EBADMSG, "damaged");
    tree_remove();
}
END_TEST

START_TEST(a_state_dir_that_will_not_do)
{
    tree_make();
    tree_put("file", "x");
    refuse(tree_path("file"), -ENOTDIR, "state_dir");
    refuse(tree_path("no/such"), -ENOENT, "state_dir");
    tree_mkdir("locked");
    ck_assert_int_eq(chmod(tree_path("locked"), 0500), 0);
    if (geteuid() == 0) /* whom permissions do not stop: as nobody, then */
        ck_assert_int_eq(chmod(tree_root, 0755) + chown(tree_path("locked"), 65534, 65534), 0);
    pid_t child = fork();
    if (child == 0) {
        struct mr_journal *j;
        if (geteuid() == 0 && setuid(65534) != 0)
            _exit(2);
        int code = mr_journal_open(tree_path("locked"), &err, &j);
        _exit(code == -EACCES && strstr(err.text, "locked") != NULL ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    tree_remove();
}
END_TEST

START_TEST(two_processes_share_it)
{
    tree_make();
    struct mr_journal *j = open_at(tree_root);
    uint64_t epoch;
    pid_t child = fork();
    if (child == 0) {
        struct mr_journal *own;
        bool good = mr_journal_open(tree_root, &err, &own) == 0;
        for (int i = 0; good && i < 50; i++)
            good = mr_journal_next_epoch(own, &epoch, &err) == 0;
        _exit(good ? 0 : 1);
    }
    for (int i = 0; i < 50; i++)
        ck_assert_msg(mr_journal_next_epoch(j, &epoch, &err) == 0, "%s", err.text);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(mr_journal_next_epoch(j, &epoch, &err), 0);
    ck_assert_uint_eq(epoch, 101);
    mr_journal_close(j);
    tree_remove();
}
END_TEST

START_TEST(committed_movies_are_walked_in_order)
{
    tree_make();
    struct mr_journal *j = open_at(tree_root), *second = NULL;
    struct mr_journal_movie m, found;
    for (uint8_t i = 1; i <= 5; i++) {
        m = a_movie(i);
        m.state = i == 2 ? MR_JOURNAL_FAILED : MR_JOURNAL_COMMITTED;
        m.updated_real_ns = i == 5 ? 900 : 100; /* two of one time */
        if (i == 3)
            strcpy(m.root, "/data/other");
        ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    }
    ck_assert_int_eq(mr_journal_share(tree_path("none"), false, &err, &second), -ENOENT);
    ck_assert_msg(mr_journal_share(tree_root, false, &err, &second) == 0, "%s", err.text);
    struct mr_journal_place at = {0};
    static const uint8_t expected[] = {1, 4};
    for (size_t i = 0; i < 2; i++) {
        ck_assert_int_eq(mr_journal_next_committed(second, "/data/movies", 899, &at, &found, &err),
                         0);
        ck_assert_uint_eq(found.id.bytes[15], expected[i]);
    }
    ck_assert_int_eq(mr_journal_next_committed(second, "/data/movies", 899, &at, &found, &err),
                     -ENOENT);
    found.state = MR_JOURNAL_FREED; /* of number 4 */
    ck_assert_int_eq(mr_journal_update(second, &found, &err), 0);
    at = (struct mr_journal_place){0};
    ck_assert_int_eq(mr_journal_next_committed(j, "/data/movies", 900, &at, &found, &err), 0);
    ck_assert_int_eq(mr_journal_next_committed(j, "/data/movies", 900, &at, &found, &err), 0);
    ck_assert_uint_eq(found.id.bytes[15], 5);
    ck_assert_int_eq(mr_journal_find_name(j, "/data/movies", m.path, &found, &err), 0);
    ck_assert_uint_eq(found.id.bytes[15], 5);
    mr_journal_close(second);
    ck_assert_msg(mr_journal_share(tree_root, true, &err, &second) == 0, "%s", err.text);
    ck_assert_int_lt(mr_journal_update(second, &found, &err), 0);
    mr_journal_close(second);
    mr_journal_close(j);
    tree_remove();
}
END_TEST

/* Also where the clock, and so the ids, went back between them. */
START_TEST(the_newest_movie_of_a_file_was_written_last)
{
    struct mr_journal *j;
    static struct mr_journal_movie found;
    ck_assert_int_eq(mr_journal_open(NULL, &err, &j), 0);
    struct mr_journal_movie m = a_movie(9);
    m.state = MR_JOURNAL_FAILED;
    ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    m.id.bytes[15] = 4;
    m.state = MR_JOURNAL_OPEN;
    ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
    ck_assert_int_eq(mr_journal_find_file(j, m.root, m.path, &m.identity, &found, &err), 0);
    ck_assert_uint_eq(found.id.bytes[15], 4);
    ck_assert_int_eq(mr_journal_find_name(j, m.root, m.path, &found, &err), 0);
    ck_assert_uint_eq(found.id.bytes[15], 4);
    struct mr_journal_place at = {0};
    ck_assert_int_eq(mr_journal_next_open(j, m.root, &at, &found, &err), 0);
    ck_assert_uint_eq(found.id.bytes[15], 4);
    ck_assert_int_eq(mr_journal_next_open(j, m.root, &at, &found, &err), -ENOENT);
    mr_journal_close(j);
}
END_TEST

MR_SUITE("journal", T(instance_stays_and_epoch_rises), T(movies_outlive_a_restart),
         T(batches_are_all_or_nothing), T(a_folder_keeps_its_first_day), T(a_damaged_file_is_named),
         T(a_state_dir_that_will_not_do), T(two_processes_share_it),
         T(committed_movies_are_walked_in_order), T(the_newest_movie_of_a_file_was_written_last))
