/* SPDX-License-Identifier: Apache-2.0 */
/* Which segments of the event log count, in which order; and their copies for a new epoch: of whole
 * files, of some that were cut short, of damaged ones. */
#include "mend.h"
#include "segments.h"

#include "base/recordlog.h"
#include "dice.h"
#include "scratch.h"
#include "sick_disk.h"
#include "suite.h"

#include <errno.h>

static void add_record(const struct scratch *s, const char *name, const char *text)
{
    char line[128];
    size_t bytes = 0;
    ck_assert_int_eq(mr_recordlog_format(text, strlen(text), line, sizeof(line) - 1, &bytes), 0);
    line[bytes] = '\0';
    scratch_append(s, name, line);
}

START_TEST(what_was_cut_short_is_left_out)
{
    struct scratch s = scratch_make();
    add_record(&s, "a", "one");
    add_record(&s, "a", "two");
    uint64_t bytes = scratch_size(&s, "a");
    scratch_append(&s, "a", "0123456789ABCDEF th");
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", true, NULL), 0);
    ck_assert_uint_eq(scratch_size(&s, "b"), bytes);
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", true, NULL), -EEXIST);
    scratch_remove(&s);
}
END_TEST

/* Of log and catalogue: what it says was told to others. */
START_TEST(what_is_damaged_is_not_left_out)
{
    struct scratch s = scratch_make();
    add_record(&s, "a", "one");
    uint64_t first = scratch_size(&s, "a");
    add_record(&s, "a", "two");
    for (uint64_t at = first; at < scratch_size(&s, "a"); at++) {
        struct mr_err err = {0};
        scratch_flip(&s, "a", at);
        ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", true, &err), -EUCLEAN);
        ck_assert_msg(strstr(err.text, "a: damaged record at offset") != NULL, "%s", err.text);
        scratch_flip(&s, "a", at);
    }
    scratch_flip(&s, "a", first + 18);
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", false, NULL), 0);
    ck_assert_uint_eq(scratch_size(&s, "b"), first);
    scratch_remove(&s);
}
END_TEST

/* ---- names ---- */

START_TEST(a_segment_has_one_name)
{
    static const struct {
        struct mr_segment segment;
        const char *name;
    } cases[] = {{{1, 0}, "00000001.log"},
                 {{99999999, 0}, "99999999.log"},
                 {{100000000, 1}, "100000000.e1.log"},
                 {{7, UINT32_MAX}, "00000007.e4294967295.log"},
                 {{INT64_MAX, UINT32_MAX}, "9223372036854775807.e4294967295.log"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char name[MR_SEGMENT_NAME];
        struct mr_segment back = {0};
        mr_segment_name(&cases[i].segment, name);
        ck_assert_str_eq(name, cases[i].name);
        ck_assert_int_eq(mr_segment_parse(name, &back), 0);
        ck_assert_uint_eq(back.first, cases[i].segment.first);
        ck_assert_uint_eq(back.epoch, cases[i].segment.epoch);
    }
}
END_TEST

START_TEST(other_names_are_no_segments)
{
    static const char *const bad[] = {"",
                                      ".log",
                                      "1.log",
                                      "0000001.log",
                                      "000000001.log",
                                      "00000000.log",
                                      "00000000.e1.log",
                                      "00000001",
                                      "00000001.",
                                      "00000001.lo",
                                      "00000001.log~",
                                      "00000001.log.log",
                                      "00000001.LOG",
                                      "00000001.e.log",
                                      "00000001.e0.log",
                                      "00000001.e01.log",
                                      "00000001.e+1.log",
                                      "00000001.e 1.log",
                                      "00000001.e1",
                                      "00000001.e1.e1.log",
                                      "00000001.e4294967296.log",
                                      "00000001.e4294967297.log",
                                      "00000001.f1.log",
                                      "00000001e1.log",
                                      "-0000001.log",
                                      " 00000001.log",
                                      "10000000000000000000.log",
                                      "18446744073709551617.log",
                                      "00000001.group"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct mr_segment untouched = {.first = 5, .epoch = 6};
        ck_assert_msg(mr_segment_parse(bad[i], &untouched) == -EINVAL, "%s", bad[i]);
        ck_assert_msg(untouched.first == 5 && untouched.epoch == 6, "%s", bad[i]);
    }
}
END_TEST

/* ---- lists ---- */

#define DRAWN_FILES 24

static void touch(const struct scratch *s, const char *name)
{
    scratch_append(s, name, "");
}

static void draw_epochs(struct mr_epochs *ret)
{
    struct mr_epoch e = {0};
    memset(ret, 0, sizeof(*ret));
    for (uint64_t left = dice(4); left > 0; left--) {
        e.generation += 1 + (uint32_t)dice(3);
        e.first_event += 1 + dice(4);
        ck_assert_int_eq(mr_epochs_add(ret, &e), 0);
    }
}

/* What the header says of it, word by word. */
static bool counts(const struct mr_epochs *epochs, const struct mr_segment *s)
{
    bool known = s->epoch == 0;
    for (size_t i = 0; i < epochs->count; i++) {
        known = known || epochs->list[i].generation == s->epoch;
        if (epochs->list[i].generation > s->epoch && epochs->list[i].first_event <= s->first)
            return false;
    }
    return known;
}

static bool is_before(const struct mr_segment *a, const struct mr_segment *b)
{
    return a->first < b->first || (a->first == b->first && a->epoch < b->epoch);
}

/* Every file that is there and counts is listed once, those that are listed ascend. */
static void check_list(const struct scratch *s, const struct mr_epochs *epochs, bool void_too,
                       size_t expected)
{
    struct mr_segment *list = NULL;
    size_t count = 99;
    ck_assert_int_eq(mr_segments_list(s->fd, epochs, void_too, &list, &count), 0);
    ck_assert_uint_eq(count, expected);
    for (size_t i = 0; i < count; i++) {
        char name[MR_SEGMENT_NAME];
        struct stat st;
        mr_segment_name(&list[i], name);
        ck_assert_int_eq(fstatat(s->fd, name, &st, 0), 0);
        ck_assert(void_too || counts(epochs, &list[i]));
        ck_assert(i == 0 || is_before(&list[i - 1], &list[i]));
    }
    free(list);
}

START_TEST(list_has_what_counts_in_order)
{
    for (unsigned seed = 1; seed <= 100; seed++) {
        struct scratch s = scratch_make();
        struct mr_epochs epochs;
        size_t all = 0, good = 0;
        dice_seed(seed);
        draw_epochs(&epochs);
        touch(&s, "00000000.log");
        touch(&s, "00000003.log.new");
        for (size_t i = 0; i < DRAWN_FILES; i++) {
            struct mr_segment segment = {.first = 1 + dice(14), .epoch = (uint32_t)dice(9)};
            char name[MR_SEGMENT_NAME];
            struct stat st;
            mr_segment_name(&segment, name);
            if (fstatat(s.fd, name, &st, 0) == 0)
                continue;
            touch(&s, name);
            all++;
            good += counts(&epochs, &segment);
        }
        check_list(&s, &epochs, false, good);
        check_list(&s, &epochs, true, all);
        scratch_remove(&s);
    }
}
END_TEST

START_TEST(list_of_nothing_is_empty_and_of_no_folder_is_none)
{
    struct scratch s = scratch_make();
    const struct mr_epochs none = {0};
    check_list(&s, &none, true, 0);
    touch(&s, "00000001.log");
    int file = openat(s.fd, "00000001.log", O_RDONLY | O_CLOEXEC);
    struct mr_segment before, *list = &before;
    size_t count = 7;
    ck_assert_int_eq(mr_segments_list(file, &none, false, &list, &count), -ENOTDIR);
    ck_assert_ptr_eq(list, &before);
    ck_assert_uint_eq(count, 7);
    close(file);
    scratch_remove(&s);
}
END_TEST

/* ---- the copy an epoch begins with ---- */

static const struct mr_epochs one_epoch = {.count = 1, .list = {{2, 30}}};

START_TEST(new_store_has_nothing_to_copy)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    uint64_t first = 0;
    ck_assert_int_eq(mr_segments_copy_last(s.fd, &one_epoch, 5, &first, &err), 0);
    ck_assert_uint_eq(first, 1);
    struct stat st;
    ck_assert_int_eq(fstatat(s.fd, MR_SEGMENTS_DIR, &st, 0), 0);
    ck_assert(S_ISDIR(st.st_mode));
    ck_assert_int_eq(unlinkat(s.fd, MR_SEGMENTS_DIR, AT_REMOVEDIR), 0); /* and in it is nothing */
    scratch_remove(&s);
}
END_TEST

START_TEST(last_segment_that_counts_is_copied)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    uint64_t first = 0;
    ck_assert_int_eq(mkdirat(s.fd, MR_SEGMENTS_DIR, 0700), 0);
    add_record(&s, "events/00000001.log", "older");
    add_record(&s, "events/00000030.e2.log", "last");
    add_record(&s, "events/00000040.log", "void, of one that was replaced");
    add_record(&s, "events/00000050.e4.log", "void, of one that never began");
    uint64_t bytes = scratch_size(&s, "events/00000030.e2.log");
    scratch_append(&s, "events/00000030.e2.log", "0123456789ABCDEF to");
    ck_assert_msg(mr_segments_copy_last(s.fd, &one_epoch, 5, &first, &err) == 0, "%s", err.text);
    ck_assert_uint_eq(first, 30);
    ck_assert_uint_eq(scratch_size(&s, "events/00000030.e5.log"), bytes);
    ck_assert_uint_eq(scratch_size(&s, "events/00000030.e2.log"), bytes + 19); /* as it was */
    ck_assert_int_eq(mr_segments_copy_last(s.fd, &one_epoch, 5, &first, &err), -EEXIST);
    ck_assert_msg(strstr(err.text, "events: 00000030.e2.log") == err.text, "%s", err.text);
    scratch_remove(&s);
}
END_TEST

START_TEST(copy_is_not_relied_on_before_its_name_is_durable)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    uint64_t first = 0;
    ck_assert_int_eq(mkdirat(s.fd, MR_SEGMENTS_DIR, 0700), 0);
    add_record(&s, "events/00000009.log", "one");
    sick_disk.no_sync_of = "/" MR_SEGMENTS_DIR;
    ck_assert_int_eq(mr_segments_copy_last(s.fd, &(struct mr_epochs){0}, 1, &first, &err), -EIO);
    ck_assert_msg(strstr(err.text, "events: ") == err.text, "%s", err.text);
    sick_disk.no_sync_of = NULL;
    scratch_remove(&s);
    s = scratch_make();
    touch(&s, MR_SEGMENTS_DIR); /* a file */
    err = (struct mr_err){0};
    ck_assert_int_eq(mr_segments_copy_last(s.fd, &(struct mr_epochs){0}, 1, &first, &err),
                     -ENOTDIR);
    ck_assert_msg(strstr(err.text, "events: ") == err.text, "%s", err.text);
    scratch_remove(&s);
}
END_TEST

START_TEST(damaged_segment_is_not_copied)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    struct stat st;
    uint64_t first = 0;
    ck_assert_int_eq(mkdirat(s.fd, MR_SEGMENTS_DIR, 0700), 0);
    add_record(&s, "events/00000009.log", "one");
    add_record(&s, "events/00000009.log", "two");
    scratch_flip(&s, "events/00000009.log", 18);
    ck_assert_int_eq(mr_segments_copy_last(s.fd, &(struct mr_epochs){0}, 1, &first, &err),
                     -EUCLEAN);
    ck_assert_msg(strstr(err.text, "events: 00000009.log: damaged") == err.text, "%s", err.text);
    ck_assert_int_eq(fstatat(s.fd, "events/00000009.e1.log", &st, 0), -1);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("segments", T(what_was_cut_short_is_left_out), T(what_is_damaged_is_not_left_out),
         T(a_segment_has_one_name), T(other_names_are_no_segments),
         T(list_has_what_counts_in_order), T(list_of_nothing_is_empty_and_of_no_folder_is_none),
         T(new_store_has_nothing_to_copy), T(last_segment_that_counts_is_copied),
         T(copy_is_not_relied_on_before_its_name_is_durable), T(damaged_segment_is_not_copied))
