/* SPDX-License-Identifier: Apache-2.0 */
/* What is left, and what is said, where a call of the system fails, does less or is interrupted;
 * and is everything synced in its order that is said to be durable? */
#include "base/fs.h"
#include "calls.h"
#include "scratch.h"
#include "suite.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- the calls ---- */

static mode_t chmod_drops; /* bits that fchmod leaves out without a word */

CALLS_OF_INT(fsync, (int fd), (fd), calls_note_fd("fsync", fd))
CALLS_OF_INT(fchmod, (int fd, mode_t mode), (fd, mode & ~chmod_drops), (void)0)
CALLS_OF_INT(fchown, (int fd, uid_t uid, gid_t gid), (fd, uid, gid), (void)0)
CALLS_OF_INT(fstat64, (int fd, struct stat *st), (fd, st), (void)0)
CALLS_OF_INT(mkdirat, (int dir, const char *path, mode_t mode), (dir, path, mode),
             calls_note("mkdir", path))
CALLS_OF_INT(unlinkat, (int dir, const char *path, int flags), (dir, path, flags),
             calls_note("unlink", path))
CALLS_OF_INT(linkat, (int from, const char *a, int to, const char *b, int flags),
             (from, a, to, b, flags), calls_note("link", b))
CALLS_OF_INT(renameat2, (int from, const char *a, int to, const char *b, unsigned flags),
             (from, a, to, b, flags), (void)0)
CALLS_OF(ssize_t, -1, fgetxattr, (int fd, const char *name, void *value, size_t size),
         (fd, name, value, size), (void)0)
CALLS_OF(ssize_t, -1, read, (int fd, void *data, size_t bytes), (fd, data, calls_bytes(bytes)),
         (void)0)
CALLS_OF(ssize_t, -1, pread64, (int fd, void *data, size_t bytes, off_t at),
         (fd, data, calls_bytes(bytes), at), (void)0)
CALLS_OF(ssize_t, errno == 0 ? 0 : -1, pwrite64, (int fd, const void *data, size_t bytes, off_t at),
         (fd, data, calls_bytes(bytes), at), (void)0)
CALLS_OF(DIR *, NULL, fdopendir, (int fd), (fd), (void)0)

/* Nothing else of fs.c goes by syscall(2) than openat2. */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
    long a[4];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 4; i++)
        a[i] = va_arg(args, long);
    va_end(args);
    return calls_fails("syscall") ? -1 : __real_syscall(number, a[0], a[1], a[2], a[3]);
}

static struct scratch root;

static void make_root(void)
{
    root = scratch_make();
    umask(022);
}

/* ---- whole reads and writes ---- */

START_TEST(interrupted_and_short_calls_are_gone_on_with)
{
    static const char text[] = "0123456789abcdefghijklmnopqrstuvwxyz";
    enum { BYTES = sizeof(text) - 1 };
    make_root();
    scratch_append(&root, "f", "");
    MR_CLEANUP(mr_fs_close) int fd = openat(root.fd, "f", O_RDWR | O_CLOEXEC);
    for (size_t most = 1; most < BYTES; most += 5) {
        char back[BYTES + 1] = "", *whole = NULL;
        size_t bytes = 0;
        calls.most = most;
        ck_assert_int_eq(ftruncate(fd, 0), 0);
        calls_fail("pwrite64", 1, 3, EINTR);
        ck_assert_int_eq(mr_fs_pwrite_full(fd, text, BYTES, 3), 0);
        ck_assert(calls_all_struck());
        calls_fail("pread64", 1, 3, EINTR);
        ck_assert_int_eq(mr_fs_pread_full(fd, back, BYTES, 3), 0);
        ck_assert(calls_all_struck());
        ck_assert_str_eq(back, text);
        calls_fail("read", 1, 3, EINTR);
        ck_assert_int_eq(mr_fs_read_file(root.fd, "f", BYTES + 3, &whole, &bytes), 0);
        ck_assert(calls_all_struck());
        ck_assert_uint_eq(bytes, BYTES + 3);
        ck_assert_mem_eq(whole, "\0\0\0", 3);
        ck_assert_str_eq(whole + 3, text);
        free(whole);
    }
    scratch_remove(&root);
}
END_TEST

START_TEST(errors_in_the_middle_are_told)
{
    char data[8] = "1234567", *whole = NULL;
    size_t bytes = 77;
    make_root();
    scratch_append(&root, "f", "12345678");
    MR_CLEANUP(mr_fs_close) int fd = openat(root.fd, "f", O_RDWR | O_CLOEXEC);
    unsigned open_before = calls_open_files();
    calls.most = 2;
    calls_fail("pread64", 2, 1, EIO);
    ck_assert_int_eq(mr_fs_pread_full(fd, data, 8, 0), -EIO);
    calls_fail("pwrite64", 2, 1, ENOSPC);
    ck_assert_int_eq(mr_fs_pwrite_full(fd, data, 8, 0), -ENOSPC);
    calls_fail("pwrite64", 2, 1, 0); /* nothing written, and no reason */
    ck_assert_int_eq(mr_fs_pwrite_full(fd, data, 8, 0), -EIO);
    calls_fail("read", 2, 1, EIO);
    ck_assert_int_eq(mr_fs_read_file(root.fd, "f", 100, &whole, &bytes), -EIO);
    ck_assert_ptr_null(whole);
    ck_assert_uint_eq(bytes, 77);
    calls_fail("fdopendir", 0, 1, ENOMEM);
    DIR *list = NULL;
    ck_assert_int_eq(mr_fs_list(root.fd, &list), -ENOMEM);
    ck_assert_ptr_null(list);
    ck_assert_uint_eq(calls_open_files(), open_before);
    scratch_remove(&root);
}
END_TEST

/* openat2(2): EAGAIN where a rename elsewhere raced with it. */
START_TEST(opening_is_tried_again_but_not_for_ever)
{
    static const struct {
        int error;
        unsigned times;
        int result; /* 0: opened */
    } rows[] = {{EINTR, 100, 0}, {EAGAIN, 16, 0}, {EAGAIN, 17, -EAGAIN}, {EACCES, 1, -EACCES}};
    make_root();
    scratch_append(&root, "f", "x");
    for (size_t i = 0; i < COUNT(rows); i++) {
        calls_fail("syscall", 0, rows[i].times, rows[i].error);
        MR_CLEANUP(mr_fs_close) int fd = mr_fs_open_beneath(root.fd, "f", O_RDONLY, 0);
        ck_assert_int_eq(fd < 0 ? fd : 0, rows[i].result);
        ck_assert(calls_all_struck());
    }
    scratch_remove(&root);
}
END_TEST

START_TEST(straight_paths_pass_no_link)
{
    static const struct {
        const char *path;
        int flags, result; /* 0: opened */
    } rows[] = {
        {"d/f", O_RDONLY, 0},
        {"d/link", O_RDONLY, -ELOOP},
        {"in/f", O_RDONLY, -ELOOP},
        {"in", O_RDONLY | O_DIRECTORY, -ELOOP},
        {"d/../d/f", O_RDONLY, 0},
        {"../x", O_RDONLY, -EXDEV},
        {"/etc/passwd", O_RDONLY, -EXDEV},
        {"none", O_RDONLY, -ENOENT},
        {"d/dangling", O_RDONLY, -ELOOP},
    };
    make_root();
    ck_assert_int_eq(mkdirat(root.fd, "d", 0755), 0);
    scratch_append(&root, "d/f", "x");
    ck_assert_int_eq(symlinkat("f", root.fd, "d/link"), 0);
    ck_assert_int_eq(symlinkat("none", root.fd, "d/dangling"), 0);
    ck_assert_int_eq(symlinkat("d", root.fd, "in"), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        MR_CLEANUP(mr_fs_close) int fd = mr_fs_open_straight(root.fd, rows[i].path, rows[i].flags);
        ck_assert_msg((fd < 0 ? fd : 0) == rows[i].result, "%s: %d", rows[i].path, fd);
        ck_assert(fd < 0 || (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    }
    scratch_remove(&root);
}
END_TEST

/* ---- directories that outlive a crash ---- */

static int make(const char *path, mode_t mode)
{
    calls.log[0] = '\0';
    int fd = mr_fs_mkdirs_durable(root.fd, path, mode, (gid_t)-1);
    int r = fd < 0 ? fd : 0;
    mr_fs_close(&fd);
    return r;
}

static const char *root_name(void)
{
    return strrchr(root.path, '/') + 1;
}

START_TEST(each_directory_is_synced_and_then_the_name_that_leads_to_it)
{
    char expected[300];
    make_root();
    ck_assert_int_eq(make("a/b/c", 0700), 0);
    snprintf(expected, sizeof(expected),
             "mkdir a, fsync a, fsync %s, mkdir b, fsync b, fsync a, mkdir c, fsync c, fsync b",
             root_name());
    ck_assert_str_eq(calls.log, expected);
    /* who made them may have died before: what leads to the last is synced once more */
    ck_assert_int_eq(make("a/b/c", 0700), 0);
    snprintf(expected, sizeof(expected), "fsync %s, fsync a, fsync b", root_name());
    ck_assert_str_eq(calls.log, expected);
    ck_assert_int_eq(make("a/x", 0700), 0);
    snprintf(expected, sizeof(expected), "fsync %s, mkdir x, fsync x, fsync a", root_name());
    ck_assert_str_eq(calls.log, expected);
    scratch_remove(&root);
}
END_TEST

START_TEST(without_durability_nothing_is_synced)
{
    make_root();
    for (int again = 0; again <= 1; again++) {
        calls_reset();
        MR_CLEANUP(mr_fs_close) int fd = mr_fs_mkdirs(root.fd, "a/b", 0700, (gid_t)-1);
        ck_assert_int_ge(fd, 0);
        ck_assert_str_eq(calls.log, again ? "" : "mkdir a, mkdir b");
        struct stat st;
        ck_assert_int_eq(fstat(fd, &st), 0);
        ck_assert_uint_eq(st.st_mode & 07777, 0700);
    }
    scratch_remove(&root);
}
END_TEST

/* Whatever fails: it is told, nothing half made stays, and the next attempt is a whole one. */
START_TEST(a_step_that_fails_leaves_nothing_half_made)
{
    static const char *const steps[] = {"fgetxattr", "mkdirat", "syscall",
                                        "fstat64",   "fchmod",  "fsync"};
    for (size_t s = 0; s < COUNT(steps); s++)
        for (unsigned nth = 0;; nth++) {
            struct stat st;
            make_root();
            unsigned open_before = calls_open_files();
            calls_fail(steps[s], nth, 1, EIO);
            int r = make("a/b", 02700);
            ck_assert_uint_eq(calls_open_files(), open_before);
            bool struck = calls.struck;
            calls_reset();
            ck_assert_int_eq(r, struck ? -EIO : 0);
            if (fstatat(root.fd, "a", &st, 0) == 0)
                ck_assert_uint_eq(st.st_mode & 07777, 02700);
            if (fstatat(root.fd, "a/b", &st, 0) == 0)
                ck_assert_uint_eq(st.st_mode & 07777, 02700);
            ck_assert_int_eq(make("a/b", 02700), 0);
            ck_assert_int_eq(fstatat(root.fd, "a/b", &st, 0), 0);
            ck_assert_uint_eq(st.st_mode & 07777, 02700);
            scratch_remove(&root);
            if (!struck) {
                ck_assert_uint_gt(nth, 0);
                break;
            }
        }
}
END_TEST

START_TEST(a_directory_that_cannot_be_made_durable_goes_again)
{
    struct stat st;
    make_root();
    calls_fail("fsync", 1, 1, EIO); /* of the name that leads to it */
    ck_assert_int_eq(make("a", 0700), -EIO);
    ck_assert_int_lt(fstatat(root.fd, "a", &st, 0), 0);
    scratch_remove(&root);
}
END_TEST

START_TEST(names_that_were_there_need_no_sync_where_there_is_none)
{
    static const struct {
        int error, result;
    } rows[] = {{EINVAL, 0}, {EROFS, 0}, {EIO, -EIO}, {ENOSPC, -ENOSPC}};
    make_root();
    ck_assert_int_eq(mkdirat(root.fd, "a", 0755), 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned open_before = calls_open_files();
        calls_fail("fsync", 0, 1, rows[i].error);
        ck_assert_int_eq(make("a", 0700), rows[i].result);
        ck_assert_uint_eq(calls_open_files(), open_before);
    }
    scratch_remove(&root);
}
END_TEST

/* chmod(2) drops the bit where the caller is not in the group: the store would get the wrong one.
 */
START_TEST(a_set_group_id_that_is_lost_is_an_error)
{
    struct stat st;
    make_root();
    chmod_drops = S_ISGID;
    ck_assert_int_eq(make("a", 02750), -EPERM);
    ck_assert_int_lt(fstatat(root.fd, "a", &st, 0), 0);
    ck_assert_int_eq(make("a", 0750), 0);
    scratch_remove(&root);
}
END_TEST

START_TEST(a_group_that_may_not_be_given_matters_where_it_was_asked_for)
{
    make_root();
    if (geteuid() != 0)
        suite_skip("only root may give any group");
    ck_assert_int_eq(fchownat(root.fd, "", (uid_t)-1, 12345, AT_EMPTY_PATH), 0);
    calls_fail("fchown", 0, 1, EPERM); /* the parent's, where we may */
    ck_assert_int_eq(make("a", 0700), 0);
    ck_assert(calls.struck);
    calls_fail("fchown", 0, 1, EIO);
    ck_assert_int_eq(make("b", 0700), -EIO);
    calls_fail("fchown", 0, 1, EPERM);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root.fd, "c", 0700, 23456), -EPERM);
    struct stat st;
    ck_assert_int_lt(fstatat(root.fd, "b", &st, 0), 0);
    ck_assert_int_lt(fstatat(root.fd, "c", &st, 0), 0);
    ck_assert_int_eq(make("d", 0700), 0);
    ck_assert_int_eq(fstatat(root.fd, "d", &st, 0), 0);
    ck_assert_uint_eq(st.st_gid, 12345);
    scratch_remove(&root);
}
END_TEST

/* ---- names ---- */

static bool is_there(const char *name)
{
    struct stat st;
    return fstatat(root.fd, name, &st, 0) == 0;
}

/* NFS: the new name is safe before the old one goes. */
START_TEST(without_the_flag_the_new_name_is_synced_before_the_old_goes)
{
    static const int unknown[] = {EINVAL, ENOSYS};
    char expected[200];
    make_root();
    ck_assert_int_eq(mkdirat(root.fd, "to", 0755), 0);
    int to = openat(root.fd, "to", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < COUNT(unknown); i++) {
        scratch_append(&root, "a", "A");
        calls_reset();
        calls_fail("renameat2", 0, 1, unknown[i]);
        ck_assert_int_eq(mr_fs_rename_new(root.fd, "a", to, "b"), 0);
        snprintf(expected, sizeof(expected), "link b, fsync to, unlink a");
        ck_assert_str_eq(calls.log, expected);
        ck_assert(!is_there("a") && is_there("to/b"));
        ck_assert_int_eq(unlinkat(to, "b", 0), 0);
    }
    close(to);
    scratch_remove(&root);
}
END_TEST

START_TEST(a_rename_that_fails_leaves_the_old_name)
{
    static const struct {
        int rename;
        const char *also; /* fails, too, with EIO */
        int result;
        bool new_stays;
    } rows[] = {
        {EIO, NULL, -EIO, false},         {EROFS, NULL, -EROFS, false},
        {EINVAL, "linkat", -EIO, false},  {ENOSYS, "fsync", -EIO, false},
        {EINVAL, "unlinkat", -EIO, true}, /* it has both, which recovery understands */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        make_root();
        scratch_append(&root, "a", "A");
        calls_reset();
        calls_fail("renameat2", 0, 1, rows[i].rename);
        calls_fail_too(rows[i].also, 0, 1, EIO);
        ck_assert_int_eq(mr_fs_rename_new(root.fd, "a", root.fd, "b"), rows[i].result);
        ck_assert(calls_all_struck());
        ck_assert(rows[i].also != NULL || calls.log[0] == '\0'); /* no link where it was refused */
        ck_assert(is_there("a") && is_there("b") == rows[i].new_stays);
        scratch_remove(&root);
    }
}
END_TEST

MR_SUITE("fs_calls", T(interrupted_and_short_calls_are_gone_on_with),
         T(errors_in_the_middle_are_told), T(opening_is_tried_again_but_not_for_ever),
         T(straight_paths_pass_no_link),
         T(each_directory_is_synced_and_then_the_name_that_leads_to_it),
         T(without_durability_nothing_is_synced), T(a_step_that_fails_leaves_nothing_half_made),
         T(a_directory_that_cannot_be_made_durable_goes_again),
         T(names_that_were_there_need_no_sync_where_there_is_none),
         T(a_set_group_id_that_is_lost_is_an_error),
         T(a_group_that_may_not_be_given_matters_where_it_was_asked_for),
         T(without_the_flag_the_new_name_is_synced_before_the_old_goes),
         T(a_rename_that_fails_leaves_the_old_name))
