/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever bytes a log has, is it read as a simple reader reads it that has all of them at once? */
#include "base/crc64.h"
#include "base/recordlog.h"
#include "dice.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <inttypes.h>

#define LINE_MAX_TEXT (MR_RECORD_TEXT_MAX + MR_RECORD_AROUND)

static uint8_t file[8 << 20];
static size_t file_bytes;

/* ---- a log by chance ---- */

static void add(const char *bytes, size_t count)
{
    ck_assert_uint_le(file_bytes + count, sizeof(file));
    memcpy(file + file_bytes, bytes, count);
    file_bytes += count;
}

static void add_record(uint64_t synced, size_t text_bytes)
{
    static char text[MR_RECORD_TEXT_MAX], out[LINE_MAX_TEXT];
    size_t bytes = 0;
    for (size_t i = 0; i < text_bytes; i++)
        text[i] = (char)('a' + dice(26));
    int r = synced == UINT64_MAX
                ? mr_recordlog_format(text, text_bytes, out, sizeof(out), &bytes)
                : mr_recordlog_format_behind(synced, text, text_bytes, out, sizeof(out), &bytes);
    ck_assert_int_eq(r, 0);
    add(out, bytes);
}

/* With a right checksum, and a mark that is none. */
static void add_bad_mark(void)
{
    static const char *const marks[] = {"x",
                                        " ",
                                        "12",
                                        "1x ",
                                        "99999999999999999999 ",
                                        "- ",
                                        "",
                                        "-1 ",
                                        "18446744073709551616 ",
                                        "000000000000000000000 "};
    char out[200], body[100];
    size_t bytes = (size_t)snprintf(body, sizeof(body), "%s%s", marks[dice(10)], "text");
    int n = snprintf(out, sizeof(out), "%016" PRIX64 "+%s\n", ~mr_crc64(0, body, bytes), body);
    add(out, (size_t)n);
}

static void add_something(void)
{
    static const char junk[] = "0123456789ABCDEF \n\n\0+x";
    switch (dice(10)) {
    case 0:
        for (size_t n = 1 + dice(30); n > 0; n--)
            add(&junk[dice(sizeof(junk) - 1)], 1);
        break;
    case 1:
        add_bad_mark();
        break;
    case 2:
        add_record(file_bytes, 5); /* not behind anything: no mark */
        break;
    case 3:
        add_record(file_bytes == 0 ? UINT64_MAX : dice(file_bytes), dice(20));
        break;
    default:
        add_record(UINT64_MAX, dice(40));
    }
}

static void harm(void)
{
    for (size_t n = dice(4); n > 0 && file_bytes > 0; n--)
        file[dice(file_bytes)] ^= (uint8_t)(1 << dice(8));
    if (dice(3) == 0)
        file_bytes -= dice(file_bytes < 30 ? file_bytes + 1 : 30);
}

/* ---- the simple reader ---- */

struct told {
    uint64_t hash; /* of all that was visited */
    unsigned visits;
};

static void note(struct told *t, const char *text, size_t bytes, uint64_t offset)
{
    t->hash = mr_crc64_plain(t->hash, text, bytes);
    t->hash = mr_crc64_plain(t->hash, &offset, sizeof(offset));
    t->visits++;
}

/* Its text; NULL: it is no good one. bytes: without the newline. */
static const char *good_text(const char *line, size_t bytes, uint64_t offset, uint64_t *ret_synced)
{
    char crc[17];
    if (bytes < 17 || memchr(line, '\0', bytes) != NULL || (line[16] != ' ' && line[16] != '+'))
        return NULL;
    uint64_t wanted = mr_crc64_plain(0, line + 17, bytes - 17);
    snprintf(crc, sizeof(crc), "%016" PRIX64, line[16] == '+' ? ~wanted : wanted);
    if (memcmp(crc, line, 16) != 0)
        return NULL;
    *ret_synced = offset;
    if (line[16] == ' ')
        return line + 17;
    unsigned __int128 synced = 0;
    size_t at = 17;
    for (; at < bytes && at < 17 + 20 && line[at] >= '0' && line[at] <= '9'; at++)
        synced = synced * 10 + (unsigned)(line[at] - '0');
    if (at == 17 || at == bytes || line[at] != ' ' || synced >= offset)
        return NULL;
    *ret_synced = (uint64_t)synced;
    return line + at + 1;
}

static struct mr_recordlog_scan read_simply(uint64_t from, bool front, struct told *told)
{
    struct mr_recordlog_scan s = {.good_bytes = from, .total_bytes = file_bytes};
    uint64_t damaged = 0, first = 0;
    for (uint64_t at = from; at < file_bytes;) {
        const char *line = (const char *)file + at;
        const char *end = memchr(line, '\n', file_bytes - at);
        uint64_t synced = 0;
        size_t bytes = end == NULL ? file_bytes - at : (size_t)(end - line);
        const char *text = end == NULL ? NULL : good_text(line, bytes, at, &synced);
        if (text == NULL) {
            first = damaged++ == 0 ? at : first;
        } else {
            if (damaged > 0 && s.bad_records == 0)
                s.first_bad = first;
            s.bad_records += damaged;
            damaged = 0;
            s.records++;
            s.good_bytes = at + bytes + 1;
            s.synced = synced > s.synced ? synced : s.synced;
            if (!front || s.bad_records == 0)
                note(told, text, (size_t)(line + bytes - text), at);
        }
        at += bytes + (end != NULL);
    }
    s.torn_tail = damaged > 0;
    if (s.torn_tail && s.bad_records == 0)
        s.first_bad = first;
    return s;
}

/* ---- both ---- */

static int visit(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    ck_assert_uint_eq(strlen(text), bytes);
    note(ctx, text, bytes, offset);
    return 0;
}

static void check_same(const struct mr_recordlog_scan *a, const struct mr_recordlog_scan *b)
{
    ck_assert_uint_eq(a->good_bytes, b->good_bytes);
    ck_assert_uint_eq(a->total_bytes, b->total_bytes);
    ck_assert_uint_eq(a->records, b->records);
    ck_assert_uint_eq(a->bad_records, b->bad_records);
    ck_assert_uint_eq(a->first_bad, b->first_bad);
    ck_assert_uint_eq(a->torn_tail, b->torn_tail);
    ck_assert_uint_eq(a->synced, b->synced);
}

static void compare(int fd, uint64_t from)
{
    struct told got = {0}, wanted = {0}, got_front = {0}, wanted_front = {0};
    struct mr_recordlog_scan scan, simple = read_simply(from, false, &wanted);
    ck_assert_int_eq(mr_recordlog_scan(fd, from, visit, &got, &scan), 0);
    check_same(&scan, &simple);
    ck_assert_uint_eq(got.visits, wanted.visits);
    ck_assert_uint_eq(got.hash, wanted.hash);
    if (from > 0)
        return;
    simple = read_simply(0, true, &wanted_front);
    ck_assert_int_eq(mr_recordlog_scan_front(fd, visit, &got_front, &scan), 0);
    check_same(&scan, &simple);
    ck_assert_uint_eq(got_front.visits, wanted_front.visits);
    ck_assert_uint_eq(got_front.hash, wanted_front.hash);
}

static void write_it(int fd)
{
    ck_assert_int_eq(ftruncate(fd, 0), 0);
    ck_assert_int_eq(pwrite(fd, file, file_bytes, 0), (ssize_t)file_bytes);
}

START_TEST(any_log_is_read_as_it_stands)
{
    struct scratch dir = scratch_make();
    int fd = openat(dir.fd, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (int round = 0; round < 3000; round++) {
        file_bytes = 0;
        for (size_t n = dice(12); n > 0; n--)
            add_something();
        if (round % 2 == 0)
            harm();
        write_it(fd);
        compare(fd, 0);
        const uint8_t *newline = memchr(file, '\n', file_bytes);
        if (newline != NULL)
            compare(fd, (uint64_t)(newline - file) + 1);
    }
    close(fd);
    scratch_remove(&dir);
}
END_TEST

/* Around the longest text and the longest mark, in the file's front and behind others. */
START_TEST(the_longest_lines_are_read_and_longer_ones_are_damage)
{
    struct scratch dir = scratch_make();
    int fd = openat(dir.fd, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (int before = 0; before <= 1; before++)
        for (int marked = 0; marked <= before; marked++)
            for (size_t less = 0; less < 3; less++) {
                file_bytes = 0;
                if (before)
                    add_record(UINT64_MAX, 30);
                add_record(marked ? 7 : UINT64_MAX, MR_RECORD_TEXT_MAX - less);
                add_record(UINT64_MAX, 3);
                size_t whole = file_bytes;
                write_it(fd);
                compare(fd, 0);
                memset(file + 100, 'j', 2 * (size_t)MR_RECORD_TEXT_MAX); /* one line, too long */
                file_bytes = 100 + 2 * (size_t)MR_RECORD_TEXT_MAX;
                add("\n", 1);
                add_record(whole > 100 ? 1 : UINT64_MAX, 3);
                write_it(fd);
                compare(fd, 0);
            }
    close(fd);
    scratch_remove(&dir);
}
END_TEST

/* ---- formatting ---- */

START_TEST(a_line_needs_its_room_and_no_more)
{
    static const struct {
        uint64_t synced; /* UINT64_MAX: no mark */
        const char *line;
    } rows[] = {
        {UINT64_MAX, "995DC9BBDF1939FA 123456789\n"},
        {0, "+0 123456789\n"},
        {UINT64_MAX - 1, "+18446744073709551614 123456789\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[128];
        size_t bytes = 77, need = strlen(rows[i].line) + (i == 0 ? 0 : 16);
        for (size_t size = need - 3; size <= need + 1; size++) {
            memset(out, 0x5a, sizeof(out));
            int r = i == 0 ? mr_recordlog_format("123456789", 9, out, size, &bytes)
                           : mr_recordlog_format_behind(rows[i].synced, "123456789", 9, out, size,
                                                        &bytes);
            ck_assert_int_eq(r, size < need ? -ENOSPC : 0);
            ck_assert_uint_eq(bytes, size < need ? 77 : need);
            ck_assert_int_eq(out[need], 0x5a);
            if (r == 0)
                ck_assert_mem_eq(out + (i == 0 ? 0 : 16), rows[i].line, strlen(rows[i].line));
        }
        ck_assert_uint_le(need, 9 + MR_RECORD_AROUND - 1); /* and a NUL */
    }
}
END_TEST

START_TEST(no_line_of_two_is_formatted_behind_others_either)
{
    char out[64];
    size_t bytes = 77;
    ck_assert_int_eq(mr_recordlog_format_behind(3, "a\nb", 3, out, sizeof(out), &bytes), -EINVAL);
    ck_assert_int_eq(mr_recordlog_format_behind(3, "a\0b", 3, out, sizeof(out), &bytes), -EINVAL);
    ck_assert_int_eq(
        mr_recordlog_format_behind(3, out, MR_RECORD_TEXT_MAX + 1, out, sizeof(out), &bytes),
        -EMSGSIZE);
    ck_assert_uint_eq(bytes, 77);
}
END_TEST

/* ---- more behind the last good record than is ever appended at once ---- */

START_TEST(a_tail_of_megabytes_was_not_appended_at_once)
{
    struct mr_recordlog_scan scan;
    struct scratch dir = scratch_make();
    int fd = openat(dir.fd, "log", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    file_bytes = 0;
    add_record(UINT64_MAX, 10);
    write_it(fd);
    uint64_t most = 8 * (uint64_t)(MR_RECORD_TEXT_MAX + 39);
    for (int more = 0; more <= 1; more++) { /* zeros: as a power cut leaves them */
        ck_assert_int_eq(ftruncate(fd, (off_t)(file_bytes + most + (uint64_t)more)), 0);
        ck_assert_int_eq(mr_recordlog_scan(fd, 0, NULL, NULL, &scan), 0);
        ck_assert(scan.torn_tail);
        ck_assert_int_eq(mr_recordlog_tail_is_damage(fd, &scan), more);
        ck_assert_int_eq(mr_recordlog_is_damaged(fd, &scan), more);
    }
    close(fd);
    scratch_remove(&dir);
}
END_TEST

MR_SUITE("recordlog_model", T(any_log_is_read_as_it_stands),
         T(the_longest_lines_are_read_and_longer_ones_are_damage),
         T(a_line_needs_its_room_and_no_more), T(no_line_of_two_is_formatted_behind_others_either),
         T(a_tail_of_megabytes_was_not_appended_at_once))
