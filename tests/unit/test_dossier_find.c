/* SPDX-License-Identifier: Apache-2.0 */
/* Which of a movie's journals counts, and which generation comes after them all? In folders that
 * hold other movies', other epochs' and other files, too. */
#include "dice.h"
#include "dossier.h"
#include "lease_file.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>

static const struct mr_ulid movie = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};
static const struct mr_ulid other = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17}};

static void put(const struct scratch *s, const struct mr_ulid *id, uint32_t generation,
                const char *suffix)
{
    char name[MR_NAMING_PART];
    mr_dossier_name(id, generation, suffix, name);
    scratch_append(s, name, "");
}

static void found(const struct scratch *s, uint32_t epoch, uint32_t expected, uint32_t next)
{
    uint32_t counts = 77, after = 78;
    ck_assert_int_eq(mr_dossier_find(s->fd, epoch, &movie, &counts, &after), 0);
    ck_assert_uint_eq(counts, expected);
    ck_assert_uint_eq(after, next);
}

static void full(const struct scratch *s, uint32_t epoch)
{
    uint32_t counts = 77, after = 78;
    ck_assert_int_eq(mr_dossier_find(s->fd, epoch, &movie, &counts, &after), -EOVERFLOW);
    ck_assert_uint_eq(counts, 77);
    ck_assert_uint_eq(after, 78);
}

START_TEST(generation_tells_epoch_and_whose_it_is)
{
    static const struct {
        uint32_t generation, epoch;
        bool foreign;
    } cases[] = {{0, 0, false},
                 {1, 0, false},
                 {1023, 0, false},
                 {1024, 1, true},
                 {1025, 1, false},
                 {2047, 1, false},
                 {2048, 2, true},
                 {7169, 7, false},
                 {7168, 7, true},
                 {3072, 3, true},
                 {4294966272, MR_GENERATION_MAX, true},
                 {UINT32_MAX, MR_GENERATION_MAX, false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_uint_eq(mr_dossier_epoch(cases[i].generation), cases[i].epoch);
        ck_assert_int_eq(mr_dossier_is_foreign(cases[i].generation), cases[i].foreign);
    }
}
END_TEST

START_TEST(first_one_of_an_epoch_is_one)
{
    struct scratch s = scratch_make();
    found(&s, 0, 0, 1);
    found(&s, 3, 0, 3 * MR_EPOCH_PARTS + 1);
    found(&s, MR_GENERATION_MAX, 0, MR_GENERATION_MAX * MR_EPOCH_PARTS + 1);
    put(&s, &movie, 2 * MR_EPOCH_PARTS + 5, "journal"); /* of another epoch */
    put(&s, &other, 9, "journal");
    put(&s, &movie, 8, "part");
    put(&s, &movie, 8, "group");
    scratch_append(&s, "notes.journal", "");
    found(&s, 0, 0, 1);
    scratch_remove(&s);
}
END_TEST

START_TEST(foreign_one_counts_while_it_is_there)
{
    struct scratch s = scratch_make();
    const uint32_t first = 5 * MR_EPOCH_PARTS;
    put(&s, &movie, first, "journal");
    found(&s, 5, first, first + 1);
    put(&s, &movie, first + 1, "journal"); /* which is copied out of it */
    put(&s, &movie, first + 2, "journal");
    found(&s, 5, first, first + 3);
    char name[MR_NAMING_PART];
    mr_dossier_name(&movie, first, "journal", name);
    ck_assert_int_eq(unlinkat(s.fd, name, 0), 0);
    found(&s, 5, first + 2, first + 3);
    scratch_remove(&s);
}
END_TEST

START_TEST(last_generation_of_an_epoch_is_the_last)
{
    static const uint32_t epochs[] = {0, 1, MR_GENERATION_MAX};
    for (size_t i = 0; i < sizeof(epochs) / sizeof(epochs[0]); i++) {
        struct scratch s = scratch_make();
        uint32_t last = epochs[i] * MR_EPOCH_PARTS + MR_EPOCH_PARTS - 1;
        put(&s, &movie, last - 1, "journal");
        found(&s, epochs[i], last - 1, last);
        put(&s, &movie, last, "journal");
        full(&s, epochs[i]);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(folder_that_cannot_be_read_is_no_empty_one)
{
    struct scratch s = scratch_make();
    uint32_t counts, after;
    scratch_append(&s, "file", "");
    int fd = openat(s.fd, "file", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(mr_dossier_find(fd, 0, &movie, &counts, &after), -ENOTDIR);
    close(fd);
    scratch_remove(&s);
}
END_TEST

/* Against a table of what is there. */
START_TEST(whatever_is_there_the_newest_or_the_foreign_one_counts)
{
    enum { EPOCHS = 3, GENERATIONS = 6 };
    for (unsigned seed = 1; seed <= 60; seed++) {
        struct scratch s = scratch_make();
        bool there[EPOCHS][GENERATIONS] = {{false}};
        dice_seed(seed);
        for (unsigned i = 0; i < 8; i++) {
            uint32_t epoch = (uint32_t)dice(EPOCHS), n = (uint32_t)dice(GENERATIONS);
            bool mine = dice(4) > 0, journal = dice(4) > 0;
            if (epoch == 0 && n == 0)
                continue; /* no such generation */
            put(&s, mine ? &movie : &other, epoch * MR_EPOCH_PARTS + n,
                journal ? "journal" : "part");
            there[epoch][n] |= mine && journal;
        }
        for (uint32_t epoch = 0; epoch < EPOCHS; epoch++) {
            uint32_t newest = 0, first = epoch * MR_EPOCH_PARTS;
            for (uint32_t n = 1; n < GENERATIONS; n++)
                newest = there[epoch][n] ? n : newest;
            uint32_t counts = there[epoch][0] ? first : newest > 0 ? first + newest : 0;
            found(&s, epoch, counts, first + newest + 1);
        }
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(files_of_one_kind_are_gone_through)
{
    struct scratch s = scratch_make();
    struct mr_dossier_file f = {0};
    unsigned seen = 0;
    for (uint32_t generation = 1; generation <= 3; generation++) {
        put(&s, &movie, generation, "part");
        put(&s, &movie, generation, "journal");
        put(&s, &other, 10 * generation, "group");
    }
    scratch_append(&s, ".hidden", "");
    DIR *dir = fdopendir(dup(s.fd));
    ck_assert_ptr_nonnull(dir);
    int r;
    while ((r = mr_dossier_next(dir, "part", &f)) > 0) {
        char name[MR_NAMING_PART];
        ck_assert_int_eq(r, 1);
        ck_assert(mr_ulid_equal(&f.id, &movie));
        ck_assert_uint_le(f.generation, 3);
        mr_dossier_name(&f.id, f.generation, "part", name);
        ck_assert_str_eq(f.name, name);
        seen += 1u << f.generation;
    }
    ck_assert_int_eq(r, 0);
    ck_assert_uint_eq(seen, 2 + 4 + 8); /* each of them once */
    rewinddir(dir);
    ck_assert_int_eq(mr_dossier_next(dir, "old", &f), 0);
    closedir(dir);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("dossier_find", T(generation_tells_epoch_and_whose_it_is), T(first_one_of_an_epoch_is_one),
         T(foreign_one_counts_while_it_is_there), T(last_generation_of_an_epoch_is_the_last),
         T(folder_that_cannot_be_read_is_no_empty_one),
         T(whatever_is_there_the_newest_or_the_foreign_one_counts),
         T(files_of_one_kind_are_gone_through))
