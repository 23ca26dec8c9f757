/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the old cursor there until the new one is whole and durable? Each call that changes the disk
 * is watched, and fails when its turn comes.
 */
#include "client/cursor.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <stdbool.h>

/* Of one write: w bytes, f fsync of the file, r rename, d fsync of its directory; which of them is
 * to fail, and how. */
static struct {
    char calls[32];
    size_t count, fail_at;
    int error;
} disk;

static bool fails(char call)
{
    ck_assert_uint_lt(disk.count, sizeof(disk.calls) - 1);
    disk.calls[disk.count++] = call;
    errno = disk.error;
    return disk.fail_at == disk.count;
}

ssize_t __real_pwrite64(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    return fails('w') ? -1 : __real_pwrite64(fd, data, bytes, offset);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    return fails(S_ISDIR(st.st_mode) ? 'd' : 'f') ? -1 : __real_fsync(fd);
}

int __real_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to);
int __wrap_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return fails('r') ? -1 : __real_renameat(from_dir, from, to_dir, to);
}

static void disk_fails_at(size_t call, int error)
{
    memset(&disk, 0, sizeof(disk));
    disk.fail_at = call;
    disk.error = error;
}

static uint64_t cursor_at(const char *path)
{
    uint64_t sequence = 0;
    ck_assert_int_eq(mr_cursor_read(path, &sequence, NULL), 0);
    return sequence;
}

START_TEST(the_file_is_durable_before_it_has_the_name_and_then_the_name)
{
    struct scratch s = scratch_make();
    char path[128];
    snprintf(path, sizeof(path), "%s/cursor", s.path);
    for (uint64_t n = 1; n < 4; n++) {
        disk_fails_at(0, 0);
        ck_assert_int_eq(mr_cursor_write(path, n, NULL), 0);
        ck_assert_str_eq(disk.calls, "wfrd");
    }
    scratch_remove(&s);
}
END_TEST

START_TEST(whatever_fails_the_old_or_the_new_cursor_is_there)
{
    static const char *const calls[] = {"w", "wf", "wfr", "wfrd"};
    static const int errors[] = {EIO, ENOSPC, EROFS, EDQUOT};
    for (size_t call = 1; call <= 4; call++) {
        for (size_t e = 0; e < 4; e++) {
            struct scratch s = scratch_make();
            struct mr_err err = {0};
            char path[128];
            snprintf(path, sizeof(path), "%s/cursor", s.path);
            disk_fails_at(0, 0);
            ck_assert_int_eq(mr_cursor_write(path, 41, NULL), 0);
            disk_fails_at(call, errors[e]);
            ck_assert_int_eq(mr_cursor_write(path, 7777777, &err), -errors[e]);
            ck_assert_str_eq(disk.calls, calls[call - 1]); /* and nothing after that */
            ck_assert_int_eq(err.code, -errors[e]);
            ck_assert_ptr_nonnull(strstr(err.text, path));
            ck_assert_uint_eq(cursor_at(path), call < 4 ? 41 : 7777777);
            disk_fails_at(0, 0); /* what it left does not stand in the way of the next */
            ck_assert_int_eq(mr_cursor_write(path, 42, NULL), 0);
            ck_assert_uint_eq(cursor_at(path), 42);
            ck_assert_int_eq(faccessat(s.fd, ".cursor.new", F_OK, 0), -1);
            scratch_remove(&s);
        }
    }
}
END_TEST

START_TEST(the_first_cursor_is_there_whole_or_not_at_all)
{
    for (size_t call = 1; call <= 4; call++) {
        struct scratch s = scratch_make();
        uint64_t sequence = 7;
        char path[128];
        snprintf(path, sizeof(path), "%s/cursor", s.path);
        disk_fails_at(call, EIO);
        ck_assert_int_eq(mr_cursor_write(path, 41, NULL), -EIO);
        ck_assert_int_eq(mr_cursor_read(path, &sequence, NULL), call < 4 ? -ENOENT : 0);
        ck_assert_uint_eq(sequence, call < 4 ? 7 : 41);
        scratch_remove(&s);
    }
}
END_TEST

MR_SUITE("cursor_crash", T(the_file_is_durable_before_it_has_the_name_and_then_the_name),
         T(whatever_fails_the_old_or_the_new_cursor_is_there),
         T(the_first_cursor_is_there_whole_or_not_at_all))
