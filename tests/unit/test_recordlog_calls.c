/* SPDX-License-Identifier: Apache-2.0 */
/* What does an append leave that found no room, and is a log read whatever pieces it comes in? */
#include "base/recordlog.h"
#include "calls.h"
#include "scratch.h"
#include "suite.h"

CALLS_OF(ssize_t, errno == 0 ? 0 : -1, write, (int fd, const void *data, size_t bytes),
         (fd, data, calls_bytes(bytes)), (void)0)
CALLS_OF(ssize_t, -1, pread64, (int fd, void *data, size_t bytes, off_t at),
         (fd, data, calls_bytes(bytes), at), (void)0)
CALLS_OF_INT(fstat64, (int fd, struct stat *st), (fd, st), (void)0)
CALLS_OF_INT(ftruncate64, (int fd, off_t size), (fd, size), calls_note_fd("cut", fd))

static struct scratch dir;
static const char line[] = "995DC9BBDF1939FA 123456789\n";
enum { LINE = sizeof(line) - 1 };

static int open_log(int flags)
{
    calls_reset();
    dir = scratch_make();
    scratch_append(&dir, "log", line);
    int fd = openat(dir.fd, "log", O_CLOEXEC | flags);
    ck_assert_int_ge(fd, 0);
    return fd;
}

/* ---- appending ---- */

static const struct {
    size_t most; /* bytes that are written; 0: all */
    int write_error, stat_error, cut_error;
    int plain, whole; /* what either append says */
    bool cuts;
} appends[] = {
    {0, -1, 0, 0, 0, 0, false},
    {5, -1, 0, 0, -ENOSPC, -ENOSPC, true},
    {LINE - 1, -1, 0, 0, -ENOSPC, -ENOSPC, true},
    {5, -1, 0, EIO, -ENOSPC, -EIO, false}, /* a piece stays: it is not as it was */
    {0, 0, 0, 0, -EIO, -EIO, false},
    {0, ENOSPC, 0, 0, -ENOSPC, -ENOSPC, true},
    {0, EDQUOT, 0, 0, -EDQUOT, -EDQUOT, true},
    {0, EDQUOT, 0, EIO, -EDQUOT, -EIO, false},
    {0, EROFS, 0, EROFS, -EROFS, -EROFS, false}, /* nothing to cut, and it could not be */
    {0, EIO, 0, 0, -EIO, -EIO, false},
    {0, EBADF, 0, 0, -EBADF, -EBADF, false},
    {0, -1, EIO, 0, 0, -EIO, false}, /* it is not known where to cut: nothing is written */
};

static int append(size_t row, bool whole, int fd)
{
    calls_reset();
    calls.most = appends[row].most;
    if (appends[row].write_error >= 0)
        calls_fail("write", 0, 1, appends[row].write_error);
    if (appends[row].stat_error > 0)
        calls_fail_too("fstat64", 0, 1, appends[row].stat_error);
    if (appends[row].cut_error > 0)
        calls_fail_too("ftruncate64", 0, 1, appends[row].cut_error);
    int r = whole ? mr_recordlog_append_whole(fd, line, LINE) : mr_recordlog_append(fd, line, LINE);
    return r;
}

START_TEST(what_found_no_room_is_cut_off_again_where_that_was_asked_for)
{
    for (size_t i = 0; i < sizeof(appends) / sizeof(appends[0]); i++)
        for (int whole = 0; whole <= 1; whole++) {
            int fd = open_log(O_WRONLY | O_APPEND);
            int wanted = whole ? appends[i].whole : appends[i].plain;
            ck_assert_msg(append(i, whole, fd) == wanted, "row %zu, %d", i, whole);
            bool cut = whole && appends[i].cuts;
            ck_assert_str_eq(calls.log, cut ? "cut log" : "");
            uint64_t size = scratch_size(&dir, "log");
            if (wanted == 0)
                ck_assert_uint_eq(size, 2 * LINE);
            else if (cut || appends[i].most == 0)
                ck_assert_uint_eq(size, LINE);
            else
                ck_assert_uint_eq(size, LINE + appends[i].most);
            ck_assert(!whole || wanted == 0 || !mr_recordlog_is_whole(wanted) || size == LINE);
            close(fd);
            scratch_remove(&dir);
        }
}
END_TEST

START_TEST(only_no_room_and_read_only_leave_it_whole)
{
    for (int error = 0; error < 134; error++)
        ck_assert(mr_recordlog_is_whole(-error) ==
                  (error == ENOSPC || error == EDQUOT || error == EROFS));
    ck_assert(!mr_recordlog_is_whole(ENOSPC));
}
END_TEST

START_TEST(an_interrupted_append_is_made_again)
{
    int fd = open_log(O_WRONLY | O_APPEND);
    for (int whole = 0; whole <= 1; whole++) {
        calls_fail("write", 0, 3, EINTR);
        ck_assert_int_eq(whole ? mr_recordlog_append_whole(fd, line, LINE)
                               : mr_recordlog_append(fd, line, LINE),
                         0);
        ck_assert(calls_all_struck());
    }
    ck_assert_uint_eq(scratch_size(&dir, "log"), 3 * LINE);
    close(fd);
    scratch_remove(&dir);
}
END_TEST

/* ---- reading ---- */

static int count(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    ck_assert_str_eq(text, "123456789");
    ck_assert_uint_eq(bytes, 9);
    ck_assert_uint_eq(offset, (uint64_t)LINE * *(unsigned *)ctx);
    ++*(unsigned *)ctx;
    return 0;
}

START_TEST(pieces_and_interruptions_change_nothing)
{
    int fd = open_log(O_RDWR | O_APPEND);
    for (int i = 1; i < 9; i++)
        ck_assert_int_eq(mr_recordlog_append(fd, line, LINE), 0);
    ck_assert_int_eq(mr_recordlog_append(fd, line, 5), 0);
    for (size_t most = 1; most < 3 * LINE; most++) {
        struct mr_recordlog_scan scan;
        unsigned records = 0;
        calls.most = most;
        calls_fail("pread64", 1, 4, EINTR);
        ck_assert_int_eq(mr_recordlog_scan(fd, 0, count, &records, &scan), 0);
        ck_assert(calls_all_struck());
        ck_assert_uint_eq(records, 9);
        ck_assert_uint_eq(scan.records, 9);
        ck_assert_uint_eq(scan.good_bytes, 9 * LINE);
        ck_assert_uint_eq(scan.total_bytes, 9 * LINE + 5);
        ck_assert_uint_eq(scan.first_bad, 9 * LINE);
        ck_assert(scan.torn_tail && scan.bad_records == 0);
        calls_fail("pread64", 1, 2, EINTR);
        ck_assert(!mr_recordlog_tail_is_damage(fd, &scan));
    }
    close(fd);
    scratch_remove(&dir);
}
END_TEST

START_TEST(a_log_that_cannot_be_read_on_is_an_error)
{
    struct mr_recordlog_scan scan = {.records = 77};
    int fd = open_log(O_RDWR | O_APPEND);
    ck_assert_int_eq(mr_recordlog_append(fd, line, LINE), 0);
    calls.most = LINE;
    calls_fail("pread64", 1, 1, EIO);
    ck_assert_int_eq(mr_recordlog_scan(fd, 0, NULL, NULL, &scan), -EIO);
    ck_assert_uint_eq(scan.records, 77);
    calls_fail("pread64", 1, 1, EIO);
    ck_assert_int_eq(mr_recordlog_scan_front(fd, NULL, NULL, &scan), -EIO);
    close(fd);
    scratch_remove(&dir);
}
END_TEST

/* A record without its newline was whole once, as far as it can be seen. */
START_TEST(a_tail_that_cannot_be_read_is_no_damage)
{
    struct mr_recordlog_scan scan;
    int fd = open_log(O_RDWR | O_APPEND);
    ck_assert_int_eq(mr_recordlog_append(fd, "995DC9BBDF1939FA 123456780\n", LINE), 0);
    ck_assert_int_eq(mr_recordlog_scan(fd, 0, NULL, NULL, &scan), 0);
    ck_assert(scan.torn_tail);
    ck_assert(mr_recordlog_tail_is_damage(fd, &scan) && mr_recordlog_is_damaged(fd, &scan));
    calls_fail("pread64", 0, 2, EIO);
    ck_assert(!mr_recordlog_tail_is_damage(fd, &scan) && !mr_recordlog_is_damaged(fd, &scan));
    scratch_cut(&dir, "log", LINE + 5); /* shorter than when it was scanned */
    ck_assert(!mr_recordlog_tail_is_damage(fd, &scan));
    close(fd);
    scratch_remove(&dir);
}
END_TEST

MR_SUITE("recordlog_calls", T(what_found_no_room_is_cut_off_again_where_that_was_asked_for),
         T(only_no_room_and_read_only_leave_it_whole), T(an_interrupted_append_is_made_again),
         T(pieces_and_interruptions_change_nothing), T(a_log_that_cannot_be_read_on_is_an_error),
         T(a_tail_that_cannot_be_read_is_no_damage))
