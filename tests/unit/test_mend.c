/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a file of records after whatever ended the last run: what is cut off, what is refused,
 * what is told of it; and copies of such files, of any length. */
#include "mend.h"

#include "scratch.h"
#include "suite.h"

#include <errno.h>

#define RECORDS 5

static uint64_t ends[RECORDS + 1]; /* of the records, in bytes from the start */

static void write_records(const struct scratch *s, const char *name)
{
    static const char *const texts[RECORDS] = {"one", "two two", "", "four", "five 5"};
    for (size_t i = 0; i < RECORDS; i++) {
        char line[128];
        size_t bytes = 0;
        ck_assert_int_eq(
            mr_recordlog_format(texts[i], strlen(texts[i]), line, sizeof(line) - 1, &bytes), 0);
        line[bytes] = '\0';
        scratch_append(s, name, line);
        ends[i + 1] = ends[i] + bytes;
    }
}

static int open_log(const struct scratch *s, const char *name)
{
    int fd = openat(s->fd, name, O_RDWR | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static int count_record(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    size_t *seen = ctx;
    ck_assert_uint_eq(strlen(text), bytes);
    ck_assert_uint_eq(offset, ends[*seen]);
    ++*seen;
    return 0;
}

static size_t whole_records(uint64_t bytes)
{
    size_t count = 0;
    while (count < RECORDS && ends[count + 1] <= bytes)
        count++;
    return count;
}

/* At every byte that an append may have ended at. */
START_TEST(torn_tail_is_cut_wherever_it_tore)
{
    struct scratch s = scratch_make();
    write_records(&s, "log");
    for (uint64_t bytes = ends[RECORDS]; bytes > 0; bytes--) {
        size_t seen = 0, whole = whole_records(bytes - 1);
        struct mr_mend_note note = {.cut_bytes = 77, .kept_bytes = 78, .file = "as before"};
        struct mr_err err = {0};
        scratch_cut(&s, "log", bytes - 1);
        int fd = open_log(&s, "log");
        bool torn = ends[whole] != bytes - 1;
        int strict = mr_mend_scan(fd, "x.log", false, NULL, NULL, &note, &err);
        ck_assert_int_eq(strict, torn ? -EUCLEAN : 0);
        ck_assert_int_eq(err.code, strict);
        ck_assert_uint_eq(scratch_size(&s, "log"), bytes - 1);
        ck_assert_uint_eq(note.cut_bytes, 77);
        ck_assert_int_eq(mr_mend_scan(fd, "x.log", true, count_record, &seen, &note, &err), 0);
        ck_assert_uint_eq(seen, whole);
        ck_assert_uint_eq(scratch_size(&s, "log"), ends[whole]);
        ck_assert_uint_eq(note.cut_bytes, torn ? bytes - 1 - ends[whole] : 77);
        ck_assert_uint_eq(note.kept_bytes, torn ? ends[whole] : 78);
        ck_assert_str_eq(note.file, torn ? "x.log" : "as before");
        ck_assert_int_eq(mr_mend_scan(fd, "x.log", false, NULL, NULL, NULL, &err), 0);
        close(fd);
        scratch_cut(&s, "log", 0);
        write_records(&s, "log");
    }
    scratch_remove(&s);
}
END_TEST

/* At every byte: whether the file may be cut or not, and whichever record it is. */
START_TEST(damage_is_refused_and_left_as_it_is)
{
    struct scratch s = scratch_make();
    write_records(&s, "log");
    int fd = open_log(&s, "log");
    for (uint64_t at = 0; at < ends[RECORDS]; at++) {
        char wanted[64];
        size_t record = whole_records(at);
        (void)snprintf(wanted, sizeof(wanted), "x.log: damaged record at offset %d",
                       (int)ends[record]);
        scratch_flip(&s, "log", at);
        for (int may_cut = 0; may_cut <= 1; may_cut++) {
            size_t seen = 0;
            struct mr_err err = {0};
            struct mr_mend_note note = {0};
            ck_assert_int_eq(mr_mend_scan(fd, "x.log", may_cut, count_record, &seen, &note, &err),
                             -EUCLEAN);
            ck_assert_str_eq(err.text, wanted);
            ck_assert_uint_eq(seen, record);
            ck_assert_uint_eq(note.cut_bytes, 0);
            ck_assert_uint_eq(scratch_size(&s, "log"), ends[RECORDS]);
        }
        scratch_flip(&s, "log", at);
    }
    close(fd);
    scratch_remove(&s);
}
END_TEST

static int stop_at_two(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    size_t *seen = ctx;
    (void)text, (void)bytes, (void)offset;
    return ++*seen == 2 ? -EDOM : 0;
}

START_TEST(visitor_ends_it_and_nothing_is_cut)
{
    struct scratch s = scratch_make();
    size_t seen = 0;
    struct mr_err err = {0};
    struct mr_mend_note note = {0};
    write_records(&s, "log");
    scratch_cut(&s, "log", ends[RECORDS] - 1);
    int fd = open_log(&s, "log");
    ck_assert_int_eq(mr_mend_scan(fd, "x.log", true, stop_at_two, &seen, &note, &err), -EDOM);
    ck_assert_uint_eq(seen, 2);
    ck_assert_uint_eq(note.cut_bytes, 0);
    ck_assert_uint_eq(scratch_size(&s, "log"), ends[RECORDS] - 1);
    close(fd);
    scratch_remove(&s);
}
END_TEST

START_TEST(file_that_cannot_be_read_or_cut_is_named)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    write_records(&s, "log");
    int fd = openat(s.fd, "log", O_WRONLY | O_CLOEXEC);
    ck_assert_int_eq(mr_mend_scan(fd, "x.log", true, NULL, NULL, NULL, &err), -EBADF);
    ck_assert_msg(strstr(err.text, "x.log: reading") == err.text, "%s", err.text);
    close(fd);
    scratch_cut(&s, "log", ends[RECORDS] - 1);
    fd = openat(s.fd, "log", O_RDONLY | O_CLOEXEC);
    err = (struct mr_err){0};
    ck_assert_int_eq(mr_mend_scan(fd, "x.log", true, NULL, NULL, NULL, &err), -EINVAL);
    ck_assert_msg(strstr(err.text, "x.log: cutting") == err.text, "%s", err.text);
    close(fd);
    scratch_remove(&s);
}
END_TEST

/* ---- copies ---- */

static void write_long(const struct scratch *s, const char *name, uint64_t bytes)
{
    static char text[1u << 19], line[(1u << 19) + MR_RECORD_AROUND + 1];
    char letter = 'a';
    while (bytes > 0) {
        uint64_t part = bytes >= sizeof(text) ? sizeof(text) / 2 : bytes;
        size_t got = 0;
        memset(text, letter++, sizeof(text));
        ck_assert_int_eq(mr_recordlog_format(text, part - 18, line, sizeof(line) - 1, &got), 0);
        ck_assert_uint_eq(got, part);
        line[got] = '\0';
        scratch_append(s, name, line);
        bytes -= part;
    }
}

static bool same_bytes(const struct scratch *s, const char *a, const char *b)
{
    static char x[3u << 20], y[3u << 20];
    int first = open_log(s, a), second = open_log(s, b);
    ssize_t n = pread(first, x, sizeof(x), 0), m = pread(second, y, sizeof(y), 0);
    close(first);
    close(second);
    return n == m && n < (ssize_t)sizeof(x) && memcmp(x, y, (size_t)n) == 0;
}

START_TEST(copy_of_any_length_is_the_same)
{
    static const uint64_t lengths[] = {0, 18, (1u << 20) - 1, 1u << 20, (1u << 20) + 1, 2500000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct scratch s = scratch_make();
        struct mr_err err = {0};
        scratch_append(&s, "a", "");
        write_long(&s, "a", lengths[i]);
        ck_assert_uint_eq(scratch_size(&s, "a"), lengths[i]);
        ck_assert_msg(mr_mend_copy(s.fd, "a", "b", i % 2 == 0, &err) == 0, "%s", err.text);
        ck_assert(same_bytes(&s, "a", "b"));
        scratch_remove(&s);
    }
}
END_TEST

/* whole: to the first damaged one, where that was cut short; else to the last good one. */
START_TEST(copy_ends_where_it_is_told_to)
{
    struct scratch s = scratch_make();
    write_records(&s, "a");
    scratch_append(&s, "a", "torn");
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "whole", true, NULL), 0);
    ck_assert_uint_eq(scratch_size(&s, "whole"), ends[RECORDS]);
    scratch_flip(&s, "a", ends[1] + 18);
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "refused", true, NULL), -EUCLEAN);
    ck_assert_int_eq(faccessat(s.fd, "refused", F_OK, 0), -1);
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "good", false, NULL), 0);
    ck_assert_uint_eq(scratch_size(&s, "good"), ends[RECORDS]);
    scratch_remove(&s);
}
END_TEST

START_TEST(copy_that_fails_names_both_and_takes_nothing)
{
    struct scratch s = scratch_make();
    struct mr_err err = {0};
    write_records(&s, "a");
    scratch_append(&s, "b", "mine");
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "b", true, &err), -EEXIST);
    ck_assert_msg(strstr(err.text, "a: copying it as b") == err.text, "%s", err.text);
    ck_assert_uint_eq(scratch_size(&s, "b"), 4);
    err = (struct mr_err){0};
    ck_assert_int_eq(mr_mend_copy(s.fd, "none", "c", true, &err), -ENOENT);
    ck_assert_msg(strstr(err.text, "none: ") == err.text, "%s", err.text);
    ck_assert_int_eq(symlinkat("a", s.fd, "link"), 0);
    ck_assert_int_eq(mr_mend_copy(s.fd, "link", "c", true, NULL), -ELOOP);
    ck_assert_int_eq(symlinkat("elsewhere", s.fd, "dangling"), 0);
    ck_assert_int_eq(mr_mend_copy(s.fd, "a", "dangling", true, NULL), -EEXIST);
    ck_assert_int_eq(faccessat(s.fd, "elsewhere", F_OK, 0), -1);
    scratch_remove(&s);
}
END_TEST

MR_SUITE("mend", T(torn_tail_is_cut_wherever_it_tore), T(damage_is_refused_and_left_as_it_is),
         T(visitor_ends_it_and_nothing_is_cut), T(file_that_cannot_be_read_or_cut_is_named),
         T(copy_of_any_length_is_the_same), T(copy_ends_where_it_is_told_to),
         T(copy_that_fails_names_both_and_takes_nothing))
