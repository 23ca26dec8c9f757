/* SPDX-License-Identifier: Apache-2.0 */
/* Is every damage seen, and told apart: a torn tail from a hole in the middle? */
#include "base/crc64.h"
#include "base/recordlog.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static int new_file(void)
{
    char name[] = "/tmp/mr_test_recordlog_XXXXXX";
    int fd = mkostemp(name, O_APPEND);
    ck_assert_int_ge(fd, 0);
    unlink(name);
    return fd;
}

static void put(int fd, const char *text)
{
    char line[4096];
    size_t bytes;
    ck_assert_int_eq(mr_recordlog_format(text, strlen(text), line, sizeof(line), &bytes), 0);
    ck_assert_int_eq(mr_recordlog_append(fd, line, bytes), 0);
}

struct seen {
    char texts[4096];
    uint64_t last_offset;
    int stop_at, visits;
};

static int see(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct seen *s = ctx;
    ck_assert_uint_eq(strlen(text), bytes);
    if (bytes < 100) {
        strcat(s->texts, text);
        strcat(s->texts, "|");
    }
    s->last_offset = offset;
    return ++s->visits == s->stop_at ? -ECANCELED : 0;
}

static struct mr_recordlog_scan scan(int fd, uint64_t from, struct seen *s)
{
    struct mr_recordlog_scan r;
    memset(s, 0, sizeof(*s));
    ck_assert_int_eq(mr_recordlog_scan(fd, from, see, s, &r), 0);
    return r;
}

START_TEST(a_line_is_crc_and_text)
{
    char line[64];
    size_t bytes;
    ck_assert_int_eq(mr_recordlog_format("123456789", 9, line, sizeof(line), &bytes), 0);
    ck_assert_uint_eq(bytes, 27);
    ck_assert_mem_eq(line, "995DC9BBDF1939FA 123456789\n", 27);
}
END_TEST

START_TEST(what_cannot_be_a_line_is_refused)
{
    static char longer[MR_RECORD_TEXT_MAX + 1];
    static char out[MR_RECORD_TEXT_MAX + 100];
    size_t bytes = 77;
    memset(longer, 'x', sizeof(longer));
    ck_assert_int_eq(mr_recordlog_format("a\nb", 3, out, sizeof(out), &bytes), -EINVAL);
    ck_assert_int_eq(mr_recordlog_format("a\0b", 3, out, sizeof(out), &bytes), -EINVAL);
    ck_assert_int_eq(mr_recordlog_format("abc", 3, out, 20, &bytes), -ENOSPC);
    ck_assert_int_eq(mr_recordlog_format(longer, sizeof(longer), out, sizeof(out), &bytes),
                     -EMSGSIZE);
    ck_assert_uint_eq(bytes, 77);
    ck_assert_int_eq(mr_recordlog_format("abc", 3, out, 21, &bytes), 0);
}
END_TEST

START_TEST(records_come_back_in_order)
{
    struct seen s;
    int fd = new_file();
    struct mr_recordlog_scan r = scan(fd, 0, &s);
    ck_assert_uint_eq(r.total_bytes, 0);
    ck_assert(!r.torn_tail);
    put(fd, "one");
    put(fd, "");
    put(fd, "three");
    r = scan(fd, 0, &s);
    ck_assert_str_eq(s.texts, "one||three|");
    ck_assert_uint_eq(r.records, 3);
    ck_assert_uint_eq(r.good_bytes, r.total_bytes);
    ck_assert_uint_eq(s.last_offset, 21 + 18);
    ck_assert(!r.torn_tail && r.bad_records == 0);
    r = scan(fd, 21, &s);
    ck_assert_str_eq(s.texts, "|three|");
    ck_assert_uint_eq(s.last_offset, 21 + 18);
    close(fd);
}
END_TEST

START_TEST(a_tail_cut_anywhere_is_torn_and_nothing_more)
{
    struct seen s;
    int fd = new_file();
    put(fd, "one");
    off_t good = lseek(fd, 0, SEEK_END);
    put(fd, "two and some");
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t cut = end - 1; cut > good; cut--) {
        ck_assert_int_eq(ftruncate(fd, cut), 0);
        struct mr_recordlog_scan r = scan(fd, 0, &s);
        ck_assert_str_eq(s.texts, "one|");
        ck_assert(r.torn_tail && r.bad_records == 0);
        ck_assert_uint_eq(r.good_bytes, (uint64_t)good);
        ck_assert_uint_eq(r.first_bad, (uint64_t)good);
        ck_assert_uint_eq(r.total_bytes, (uint64_t)cut);
    }
    ck_assert_int_eq(ftruncate(fd, good), 0);
    ck_assert(!scan(fd, 0, &s).torn_tail);
    close(fd);
}
END_TEST

START_TEST(any_byte_flipped_is_found)
{
    struct seen s;
    int fd = new_file();
    put(fd, "one");
    put(fd, "two");
    put(fd, "three");
    char content[256];
    ssize_t bytes = pread(fd, content, sizeof(content), 0);
    for (ssize_t i = 21; i < 42; i++) {
        int copy = new_file();
        content[i] ^= 0x20;
        ck_assert_int_eq(write(copy, content, (size_t)bytes), bytes);
        content[i] ^= 0x20;
        struct mr_recordlog_scan r = scan(copy, 0, &s);
        /* a lost newline takes the next line along */
        ck_assert_str_eq(s.texts, i == 41 ? "one|" : "one|three|");
        ck_assert_uint_eq(r.first_bad, 21);
        ck_assert(r.torn_tail == (i == 41));
        ck_assert_uint_eq(r.bad_records, i == 41 ? 0 : 1);
        close(copy);
    }
    close(fd);
}
END_TEST

START_TEST(damage_in_the_middle_and_at_the_end)
{
    struct seen s;
    int fd = new_file();
    put(fd, "one");
    ck_assert_int_eq(write(fd, "junk\n\n", 6), 6);
    put(fd, "two");
    off_t good = lseek(fd, 0, SEEK_END);
    ck_assert_int_eq(write(fd, "\0\0\0\0", 4), 4);
    struct mr_recordlog_scan r = scan(fd, 0, &s);
    ck_assert_str_eq(s.texts, "one|two|");
    ck_assert_uint_eq(r.bad_records, 2);
    ck_assert_uint_eq(r.first_bad, 21);
    ck_assert(r.torn_tail);
    ck_assert_uint_eq(r.good_bytes, (uint64_t)good);
    close(fd);
}
END_TEST

START_TEST(a_line_longer_than_any_record_is_one_damage)
{
    static char junk[3 * MR_RECORD_TEXT_MAX];
    struct seen s;
    int fd = new_file();
    memset(junk, 'j', sizeof(junk));
    put(fd, "one");
    ck_assert_int_eq(write(fd, junk, sizeof(junk)), sizeof(junk));
    struct mr_recordlog_scan r = scan(fd, 0, &s);
    ck_assert(r.torn_tail && r.first_bad == 21 && r.total_bytes == 21 + sizeof(junk));
    ck_assert_int_eq(write(fd, "\n", 1), 1);
    put(fd, "two");
    r = scan(fd, 0, &s);
    ck_assert_str_eq(s.texts, "one|two|");
    ck_assert(!r.torn_tail && r.bad_records == 1 && r.first_bad == 21);
    ck_assert_uint_eq(s.last_offset, 21 + sizeof(junk) + 1);
    close(fd);
}
END_TEST

START_TEST(the_longest_record_is_read)
{
    static char text[MR_RECORD_TEXT_MAX], line[MR_RECORD_TEXT_MAX + 18];
    struct seen s;
    size_t bytes;
    int fd = new_file();
    memset(text, 'x', sizeof(text));
    ck_assert_int_eq(mr_recordlog_format(text, sizeof(text), line, sizeof(line), &bytes), 0);
    ck_assert_int_eq(mr_recordlog_append(fd, line, bytes), 0);
    put(fd, "after");
    struct mr_recordlog_scan r = scan(fd, 0, &s);
    ck_assert_uint_eq(r.records, 2);
    ck_assert_str_eq(s.texts, "after|");
    close(fd);
}
END_TEST

START_TEST(the_visitor_may_stop)
{
    struct seen s = {.stop_at = 2};
    struct mr_recordlog_scan r = {.records = 77};
    int fd = new_file();
    for (int i = 0; i < 5; i++)
        put(fd, "x");
    ck_assert_int_eq(mr_recordlog_scan(fd, 0, see, &s, &r), -ECANCELED);
    ck_assert_int_eq(s.visits, 2);
    ck_assert_uint_eq(r.records, 77);
    close(fd);
    ck_assert_int_eq(mr_recordlog_scan(fd, 0, see, &s, &r), -EBADF);
}
END_TEST

START_TEST(a_short_write_is_an_error)
{
    int fd = new_file();
    put(fd, "one");
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {.rlim_cur = 30, .rlim_max = RLIM_INFINITY};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int cut = mr_recordlog_append(fd, "995DC9BBDF1939FA 123456789\n", 27);
    int none = mr_recordlog_append(fd, "995DC9BBDF1939FA 123456789\n", 27);
    limit.rlim_cur = RLIM_INFINITY;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    ck_assert_int_eq(cut, -ENOSPC);
    ck_assert_int_eq(none, -EFBIG);
    close(fd);
}
END_TEST

enum { WRITERS = 4, EACH = 500 };

static void *append_some(void *arg)
{
    char text[64];
    for (int i = 0; i < EACH; i++) {
        snprintf(text, sizeof(text), "a line of some length, number %d", i);
        put(*(int *)arg, text);
    }
    return NULL;
}

START_TEST(threads_append_whole_lines)
{
    int fd = new_file();
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, append_some, &fd), 0);
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    struct mr_recordlog_scan r;
    ck_assert_int_eq(mr_recordlog_scan(fd, 0, NULL, NULL, &r), 0);
    ck_assert_uint_eq(r.records, WRITERS * EACH);
    ck_assert(!r.torn_tail && r.bad_records == 0);
    close(fd);
}
END_TEST

static bool is_damage(int fd)
{
    struct seen seen = {.stop_at = 0};
    struct mr_recordlog_scan got = scan(fd, 0, &seen);
    return got.bad_records > 0 || mr_recordlog_tail_is_damage(fd, &got);
}

/* A record that was whole may have been acknowledged: it is not a tail to be cut off. */
START_TEST(damaged_end_is_told_from_a_torn_one)
{
    static const char zeros[512];
    int fd = new_file();
    put(fd, "first record");
    put(fd, "a second one, with words");
    off_t start = lseek(fd, 0, SEEK_END);
    put(fd, "the last");
    off_t end = lseek(fd, 0, SEEK_END);
    ck_assert(!is_damage(fd));
    char path[64], byte;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    int writable = open(path, O_RDWR); /* without O_APPEND */
    for (off_t at = 0; at < end; at++)
        for (int bit = 0; bit < 8; bit++) {
            ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
            char flipped = (char)(byte ^ 1 << bit);
            ck_assert_int_eq(pwrite(writable, &flipped, 1, at), 1);
            ck_assert_msg(is_damage(fd), "bit %d of byte %ld", bit, (long)at);
            ck_assert_int_eq(pwrite(writable, &byte, 1, at), 1);
        }
    ck_assert_int_eq(pwrite(writable, zeros, sizeof(zeros), start), (ssize_t)sizeof(zeros));
    ck_assert(!is_damage(fd)); /* a power cut */
    for (off_t size = end; size >= start; size--) {
        ck_assert_int_eq(ftruncate(fd, size), 0);
        ck_assert(!is_damage(fd));
    }
    close(writable);
    close(fd);
}
END_TEST

/* Records 1 to 3 (from 0) are appended before any of them is synced; more: 4 and 5 behind that. */
static int group_of(int fd, bool more, off_t ret_starts[7])
{
    static const char *const texts[] = {
        "zero, a longer record than the others are", "one", "two", "three", "four", "five"};
    static const int behind[] = {-1, -1, 1, 1, -1, 4};
    char line[4096];
    size_t bytes;
    int count = more ? 6 : 4;
    for (int i = 0; i < count; i++) {
        ret_starts[i] = lseek(fd, 0, SEEK_END);
        size_t length = strlen(texts[i]);
        int r = behind[i] < 0
                    ? mr_recordlog_format(texts[i], length, line, sizeof(line), &bytes)
                    : mr_recordlog_format_behind((uint64_t)ret_starts[behind[i]], texts[i], length,
                                                 line, sizeof(line), &bytes);
        ck_assert_int_eq(r, 0);
        ck_assert_int_eq(mr_recordlog_append(fd, line, bytes), 0);
    }
    ret_starts[count] = lseek(fd, 0, SEEK_END);
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return open(path, O_RDWR); /* without O_APPEND */
}

static struct mr_recordlog_scan scan_front(int fd, struct seen *s)
{
    struct mr_recordlog_scan r;
    *s = (struct seen){.stop_at = 0};
    ck_assert_int_eq(mr_recordlog_scan_front(fd, see, s, &r), 0);
    return r;
}

/* A power cut kept the later ones of a group, and lost the sectors of an earlier one. */
START_TEST(group_with_a_hole_is_torn_and_nothing_more)
{
    static const char zeros[64];
    for (int lost = 1; lost <= 3; lost++)
        for (int more = 0; more <= 1; more++) {
            struct seen s;
            off_t starts[7];
            int fd = new_file(), writable = group_of(fd, more, starts);
            ck_assert(!mr_recordlog_is_damaged(fd, &(struct mr_recordlog_scan){0}));
            size_t bytes = (size_t)(starts[lost + 1] - starts[lost]);
            ck_assert_int_eq(pwrite(writable, zeros, bytes, starts[lost]), (ssize_t)bytes);
            struct mr_recordlog_scan r = scan_front(fd, &s);
            ck_assert_int_eq(s.visits, lost);
            ck_assert_uint_eq(r.first_bad, (uint64_t)starts[lost]);
            ck_assert_int_eq(mr_recordlog_is_damaged(fd, &r), more); /* it was synced before */
            close(writable);
            close(fd);
        }
}
END_TEST

START_TEST(any_bit_flipped_in_a_group_is_damage)
{
    struct seen s;
    off_t starts[7];
    char byte;
    int fd = new_file(), writable = group_of(fd, false, starts);
    for (off_t at = 0; at < starts[4]; at++)
        for (int bit = 0; bit < 8; bit++) {
            ck_assert_int_eq(pread(fd, &byte, 1, at), 1);
            char flipped = (char)(byte ^ 1 << bit);
            ck_assert_int_eq(pwrite(writable, &flipped, 1, at), 1);
            struct mr_recordlog_scan r = scan_front(fd, &s);
            ck_assert_msg(mr_recordlog_is_damaged(fd, &r), "bit %d of byte %ld", bit, (long)at);
            ck_assert_int_eq(pwrite(writable, &byte, 1, at), 1);
        }
    struct mr_recordlog_scan r = scan_front(fd, &s);
    ck_assert(!mr_recordlog_is_damaged(fd, &r));
    ck_assert_str_eq(s.texts, "zero, a longer record than the others are|one|two|three|");
    close(writable);
    close(fd);
}
END_TEST

/* The one byte that a record has in the sector that was lost */
START_TEST(single_byte_lost_at_a_group_s_edge_is_torn)
{
    struct seen s;
    off_t starts[7];
    for (int end = 0; end <= 1; end++) {
        int fd = new_file(), writable = group_of(fd, false, starts);
        ck_assert_int_eq(pwrite(writable, "", 1, end ? starts[4] - 1 : starts[1]), 1);
        struct mr_recordlog_scan r = scan_front(fd, &s);
        ck_assert(!mr_recordlog_is_damaged(fd, &r));
        ck_assert_uint_eq(r.first_bad, (uint64_t)starts[end ? 3 : 1]);
        close(writable);
        close(fd);
    }
}
END_TEST

MR_SUITE("recordlog", T(a_line_is_crc_and_text), T(damaged_end_is_told_from_a_torn_one),
         T(what_cannot_be_a_line_is_refused), T(records_come_back_in_order),
         T(a_tail_cut_anywhere_is_torn_and_nothing_more), T(any_byte_flipped_is_found),
         T(damage_in_the_middle_and_at_the_end), T(a_line_longer_than_any_record_is_one_damage),
         T(the_longest_record_is_read), T(the_visitor_may_stop), T(a_short_write_is_an_error),
         T(threads_append_whole_lines), T(group_with_a_hole_is_torn_and_nothing_more),
         T(any_bit_flipped_in_a_group_is_damage), T(single_byte_lost_at_a_group_s_edge_is_torn))
