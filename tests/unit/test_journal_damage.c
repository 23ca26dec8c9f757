/* SPDX-License-Identifier: Apache-2.0 */
/* Flipped bits anywhere in the agent's journal: found, or without effect; never another answer. */
#include "base/clock.h"
#include "base/fs.h"
#include "journal.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>

#define MOVIES 60
#define FLIPS  150

static struct mr_err err;

static struct mr_journal_movie a_movie(unsigned n)
{
    struct mr_journal_movie m = {.revision = 1,
                                 .state = n % 3 == 0 ? MR_JOURNAL_COMMITTED : MR_JOURNAL_OPEN,
                                 .root = "/data/movies",
                                 .identity = {7, 1000u + n, 5},
                                 .size = 4096u * n,
                                 .kind = MR_KIND_MOVIE,
                                 .output = MR_OUTPUT_MRC,
                                 .source = {3, false, n, n},
                                 .updated_real_ns = 100 + n};
    m.id.bytes[15] = (uint8_t)n;
    snprintf(m.path, sizeof(m.path), "grid7/movie_%04u.mrc", n);
    ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_STREAM, MR_PIXEL_I8, false, 5760, 4092, 1024, 0,
                                        &m.geometry, &err),
                     0);
    return m;
}

static void fill(const char *dir)
{
    char day[MR_DAY_TEXT];
    struct mr_journal *j;
    ck_assert_msg(mr_journal_open(dir, &err, &j) == 0, "%s", err.text);
    for (unsigned n = 0; n < MOVIES; n++) {
        struct mr_journal_movie m = a_movie(n);
        ck_assert_int_eq(mr_journal_insert(j, &m, &err), 0);
        m.size++;
        ck_assert_int_eq(mr_journal_update(j, &m, &err), 0);
    }
    ck_assert_int_eq(mr_journal_day_of(j, "/data", "grid7", "2026-11-22", day, &err), 0);
    mr_journal_close(j);
}

/* How many of the movies are there; those that are must be as they were written. */
static unsigned check(struct mr_journal *j)
{
    unsigned found = 0;
    char day[MR_DAY_TEXT];
    for (unsigned n = 0; n < MOVIES; n++) {
        struct mr_journal_movie m = a_movie(n), got;
        int r = mr_journal_find_file(j, m.root, m.path, &m.identity, &got, &err);
        ck_assert_msg(r == 0 || r == -ENOENT, "%s", err.text);
        found += r == 0;
        if (r < 0)
            continue;
        ck_assert(mr_ulid_equal(&m.id, &got.id));
        ck_assert_uint_eq(got.revision, m.revision);
        ck_assert_int_eq(got.state, m.state);
        ck_assert_str_eq(got.path, m.path);
        ck_assert_uint_eq(got.size, m.size + 1);
        ck_assert_int_eq(got.updated_real_ns, m.updated_real_ns);
        ck_assert_uint_eq(got.source.crc_file, m.source.crc_file);
    }
    ck_assert_int_eq(mr_journal_day_of(j, "/data", "grid7", "2026-11-22", day, &err), 0);
    ck_assert_str_eq(day, "2026-11-22");
    return found;
}

static void put_file(const struct scratch *s, const char *data, size_t bytes)
{
    int fd = openat(s->fd, "journal.sqlite", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_eq(mr_fs_pwrite_full(fd, data, bytes, 0), 0);
    close(fd);
    (void)unlinkat(s->fd, "journal.sqlite-wal", 0);
    (void)unlinkat(s->fd, "journal.sqlite-shm", 0);
}

START_TEST(any_flip_is_found_or_harmless)
{
    struct scratch s = scratch_make();
    char *data;
    size_t bytes;
    unsigned refused = 0, forgotten = 0, harmless = 0;
    fill(s.path);
    ck_assert_int_eq(mr_fs_read_file(s.fd, "journal.sqlite", 1u << 24, &data, &bytes), 0);
    uint64_t random = 12345; /* the seed */
    for (int i = 0; i < FLIPS; i++) {
        struct mr_journal *j = NULL;
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        size_t at = (size_t)((random >> 20) % bytes);
        int bit = 1 << (random >> 60) % 8;
        data[at] = (char)(data[at] ^ bit);
        put_file(&s, data, bytes);
        data[at] = (char)(data[at] ^ bit);
        int r = mr_journal_open(s.path, &err, &j);
        ck_assert_msg(r == 0 || r == -EBADMSG || r == -EPROTO, "byte %zu: %s", at, err.text);
        refused += r < 0;
        if (r < 0)
            continue;
        unsigned found = check(j);
        ck_assert_uint_eq(found + mr_journal_forgotten(j), MOVIES);
        forgotten += found < MOVIES;
        harmless += found == MOVIES;
        mr_journal_close(j);
    }
    printf("%u refused, %u rows forgotten, %u harmless\n", refused, forgotten, harmless);
    ck_assert_uint_gt(refused, 0);
    ck_assert_uint_gt(forgotten, 0);
    free(data);
    scratch_remove(&s);
}
END_TEST

START_TEST(damaged_journal_is_put_aside)
{
    struct scratch s = scratch_make();
    struct mr_journal *j;
    struct mr_err notice = {0};
    fill(s.path);
    int fd = openat(s.fd, "journal.sqlite", O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(mr_fs_pwrite_full(fd, "damage", 6, 4096), 0);
    close(fd);
    ck_assert_int_eq(mr_journal_open(s.path, &err, &j), -EBADMSG);
    ck_assert_int_eq(mr_journal_renew(s.path, &notice, &err, &j), 0);
    ck_assert_msg(strstr(notice.text, ".damaged-") != NULL, "%s", notice.text);
    ck_assert_uint_eq(check(j), 0);
    mr_journal_close(j);
    notice = (struct mr_err){0};
    ck_assert_int_eq(mr_journal_renew(s.path, &notice, &err, &j), 0); /* a whole one stays */
    ck_assert_int_eq(notice.code, 0);
    mr_journal_close(j);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("journal_damage", T(any_flip_is_found_or_harmless), T(damaged_journal_is_put_aside))
