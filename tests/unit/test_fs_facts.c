/* SPDX-License-Identifier: Apache-2.0 */
/* Is what fs tells of a file, a file system and a kernel what these say, and nothing where they do
 * not? */
#include "base/fs.h"
#include "calls.h"
#include "scratch.h"
#include "suite.h"

#include <linux/magic.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct {
    struct statvfs *vfs;
    long fs_type;
    const char *release;
    uint32_t dio_mem, dio_offset;
    bool no_birth;
    unsigned statx_flags;
} fake;

CALLS_OF_INT(syncfs, (int fd), (fd), (void)0)
CALLS_OF(ssize_t, -1, fgetxattr, (int fd, const char *name, void *value, size_t size),
         (fd, name, value, size), (void)0)
CALLS_OF_INT(fallocate64, (int fd, int mode, off_t at, off_t bytes), (fd, mode, at, bytes),
             calls_note_fd("fallocate", fd))
int __real_fstatvfs64(int fd, struct statvfs *ret);
int __wrap_fstatvfs64(int fd, struct statvfs *ret);
int __wrap_fstatvfs64(int fd, struct statvfs *ret)
{
    if (calls_fails("fstatvfs64"))
        return -1;
    if (fake.vfs == NULL)
        return __real_fstatvfs64(fd, ret);
    *ret = *fake.vfs;
    return 0;
}

int __real_fstatfs64(int fd, struct statfs *ret);
int __wrap_fstatfs64(int fd, struct statfs *ret);
int __wrap_fstatfs64(int fd, struct statfs *ret)
{
    if (calls_fails("fstatfs64"))
        return -1;
    int r = __real_fstatfs64(fd, ret);
    ret->f_type = fake.fs_type;
    return r;
}

int __wrap_uname(struct utsname *ret);
int __wrap_uname(struct utsname *ret)
{
    (void)snprintf(ret->release, sizeof(ret->release), "%s", fake.release);
    return 0;
}

int __real_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret);
int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret)
{
    if (calls_fails("statx"))
        return -1;
    fake.statx_flags = (unsigned)flags;
    int r = __real_statx(dir, path, flags, mask, ret);
    if (fake.no_birth)
        ret->stx_mask &= ~STATX_BTIME;
#ifdef STATX_DIOALIGN
    ret->stx_mask &= ~STATX_DIOALIGN;
    ret->stx_mask |= fake.dio_offset == 0 ? 0 : STATX_DIOALIGN;
    ret->stx_dio_mem_align = fake.dio_mem;
    ret->stx_dio_offset_align = fake.dio_offset;
#endif
    return r;
}

static struct scratch root;

static void make_root(void)
{
    root = scratch_make();
}

/* ---- the file system beneath ---- */

START_TEST(only_an_answer_tells_that_there_is_no_default_acl)
{
    static const struct {
        int error, result;
    } rows[] = {{ENODATA, 0}, {EOPNOTSUPP, 0}, {ENOSYS, 0}, {EIO, -EIO}, {EACCES, -EACCES}};
    make_root();
    for (size_t i = 0; i < COUNT(rows); i++) {
        calls_fail("fgetxattr", 0, 1, rows[i].error);
        ck_assert_int_eq(mr_fs_has_default_acl(root.fd), rows[i].result);
    }
    scratch_remove(&root);
}
END_TEST

START_TEST(a_sync_of_all_fails_as_the_kernel_or_a_test_says)
{
    make_root();
    setenv("MILLRACE_FAIL_AT", "syncfs:3:ENOSPC", 1);
    ck_assert_int_eq(mr_fs_sync_all(root.fd), 0);
    calls_fail("syncfs", 0, 1, EIO);
    ck_assert_int_eq(mr_fs_sync_all(root.fd), -EIO);
    ck_assert_int_eq(mr_fs_sync_all(root.fd), -ENOSPC);
    ck_assert_int_eq(mr_fs_sync_all(root.fd), 0);
    scratch_remove(&root);
}
END_TEST

START_TEST(errors_of_all_are_told_by_new_kernels_of_known_file_systems)
{
    static const struct {
        const char *release;
        long type;
        bool can;
    } rows[] = {
        {"5.17.0", EXT4_SUPER_MAGIC, true},        {"5.16.20", EXT4_SUPER_MAGIC, false},
        {"5.18.0", XFS_SUPER_MAGIC, true},         {"6.0.0", BTRFS_SUPER_MAGIC, true},
        {"6.1.0-13-amd64", XFS_SUPER_MAGIC, true}, {"4.19.0", XFS_SUPER_MAGIC, false},
        {"4.99.0", EXT4_SUPER_MAGIC, false},       {"10.2.0", EXT4_SUPER_MAGIC, true},
        {"6.1.0", NFS_SUPER_MAGIC, false},         {"6.1.0", TMPFS_MAGIC, false},
        {"unknown", EXT4_SUPER_MAGIC, false},      {"6", EXT4_SUPER_MAGIC, false},
    };
    make_root();
    for (size_t i = 0; i < COUNT(rows); i++) {
        fake.release = rows[i].release;
        fake.fs_type = rows[i].type;
        ck_assert_msg(mr_fs_can_sync_all(root.fd) == rows[i].can, "row %zu", i);
    }
    fake.release = "6.1.0";
    fake.fs_type = EXT4_SUPER_MAGIC;
    calls_fail("fstatfs64", 0, 1, EIO);
    ck_assert(!mr_fs_can_sync_all(root.fd));
    scratch_remove(&root);
}
END_TEST

START_TEST(space_is_what_others_than_root_may_fill)
{
    uint64_t free_bytes = 7, total = 8;
    struct statvfs vfs = {.f_bsize = 1 << 20,
                          .f_frsize = 4096,
                          .f_blocks = UINT64_C(1) << 40,
                          .f_bfree = 1000,
                          .f_bavail = 900};
    make_root();
    calls_fail("fstatvfs64", 0, 1, EIO);
    ck_assert_int_eq(mr_fs_space(root.fd, &free_bytes, &total), -EIO);
    ck_assert(free_bytes == 7 && total == 8);
    fake.vfs = &vfs;
    calls_fail("fstatvfs64", 0, 5, EINTR);
    ck_assert_int_eq(mr_fs_space(root.fd, &free_bytes, &total), 0);
    ck_assert_uint_eq(free_bytes, 900 * 4096);
    ck_assert_uint_eq(total, UINT64_C(1) << 52);
    scratch_remove(&root);
}
END_TEST

START_TEST(direct_writes_are_aligned_to_the_largest_wish)
{
    static const struct {
        unsigned long block;
        uint32_t mem, offset, wanted;
    } rows[] = {
        {512, 0, 0, 4096},
        {4096, 0, 0, 4096},
        {65536, 0, 0, 65536},
        {4096, 4, 512, 4096},
        {4096, 512, 16384, 16384},
        {4096, 8192, 512, 8192},
        {65536, 512, 4096, 65536},
        {12288, 0, 0, 4096},
        {0, 0, 0, 4096},
        {4096, 512, 12288, 4096},
        {UINT64_C(1) << 31, 0, 0, 4096},
        {1 << 30, 0, 0, 1 << 30},
    };
    struct statvfs vfs = {.f_bsize = 4 << 20};
    make_root();
    fake.vfs = &vfs;
    for (size_t i = 0; i < COUNT(rows); i++) {
        uint32_t alignment = 0;
        vfs.f_frsize = rows[i].block;
        fake.dio_mem = rows[i].mem;
        fake.dio_offset = rows[i].offset;
        ck_assert_int_eq(mr_fs_direct_alignment(root.fd, &alignment), 0);
#ifndef STATX_DIOALIGN
        if (rows[i].offset != 0)
            continue;
#endif
        ck_assert_msg(alignment == rows[i].wanted, "row %zu: %u", i, alignment);
    }
    scratch_remove(&root);
}
END_TEST

START_TEST(room_is_kept_behind_the_end)
{
    struct stat st;
    make_root();
    scratch_append(&root, "f", "12345");
    MR_CLEANUP(mr_fs_close) int fd = openat(root.fd, "f", O_RDWR | O_CLOEXEC);
    calls_reset();
    mr_fs_reserve(fd, 1 << 20);
    ck_assert_str_eq(calls.log, "fallocate f");
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_int_eq(st.st_size, 5);
    bool kept = (uint64_t)st.st_blocks * 512 >= 1 << 20; /* not on every file system */
    calls_reset();
    mr_fs_reserve(fd, 1 << 20);
    ck_assert_str_eq(calls.log, kept ? "" : "fallocate f"); /* it is there still */
    calls_fail("fallocate64", 0, 1, EOPNOTSUPP);
    mr_fs_reserve(fd, 8 << 20);
    ck_assert(calls.struck);
    mr_fs_reserve(-1, 1 << 20);
    scratch_remove(&root);
}
END_TEST

/* ---- what a file is ---- */

START_TEST(an_identity_is_all_of_its_parts)
{
    static const struct mr_fs_identity a = {.device = 1, .inode = 2, .birth_ns = 3};
    static const struct {
        struct mr_fs_identity b;
        bool same;
    } rows[] = {{{1, 2, 3}, true},
                {{9, 2, 3}, false},
                {{1, 9, 3}, false},
                {{1, 2, 9}, false},
                {{1, 2, 0}, false}};
    for (size_t i = 0; i < COUNT(rows); i++)
        ck_assert(mr_fs_same(&a, &rows[i].b) == rows[i].same);
}
END_TEST

START_TEST(facts_are_those_of_the_file)
{
    struct mr_fs_facts facts;
    struct stat st;
    make_root();
    scratch_append(&root, "f", "12345");
    ck_assert_int_eq(linkat(root.fd, "f", root.fd, "g", 0), 0);
    struct timespec times[2] = {{1, 2}, {1700000000, 123456789}};
    ck_assert_int_eq(utimensat(root.fd, "f", times, 0), 0);
    ck_assert_int_eq(mr_fs_stat(root.fd, "f", &facts), 0);
    ck_assert_uint_eq(fake.statx_flags & (AT_STATX_SYNC_TYPE), AT_STATX_SYNC_AS_STAT);
    ck_assert_int_eq(fstatat(root.fd, "f", &st, 0), 0);
    ck_assert_uint_eq(facts.identity.inode, st.st_ino);
    ck_assert_uint_eq(facts.links, 2);
    ck_assert_int_eq(facts.mtime_ns, 1700000000123456789);
    ck_assert_int_eq(facts.ctime_ns, st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec);
    int64_t birth_ns = facts.identity.birth_ns;
    ck_assert(birth_ns == 0 || birth_ns <= facts.ctime_ns);
    ck_assert_int_eq(mr_fs_stat_fresh(root.fd, "f", &facts), 0);
    ck_assert_uint_eq(fake.statx_flags & (AT_STATX_SYNC_TYPE), AT_STATX_FORCE_SYNC);
    ck_assert_int_eq(facts.identity.birth_ns, birth_ns);
    fake.no_birth = true;
    ck_assert_int_eq(mr_fs_stat(root.fd, "f", &facts), 0);
    ck_assert_int_eq(facts.identity.birth_ns, 0);
    scratch_remove(&root);
}
END_TEST

START_TEST(an_inode_is_there_or_another_or_not_to_be_seen)
{
    struct stat st;
    make_root();
    scratch_append(&root, "f", "x");
    scratch_append(&root, "g", "x");
    ck_assert_int_eq(fstatat(root.fd, "f", &st, 0), 0);
    ck_assert_int_eq(mr_fs_is_inode(root.fd, "f", st.st_ino), 1);
    ck_assert_int_eq(mr_fs_is_inode(root.fd, "g", st.st_ino), 0);
    ck_assert_int_eq(mr_fs_is_inode(root.fd, "none", st.st_ino), 0);
    ck_assert_int_eq(mr_fs_is_inode(root.fd, "f/x", st.st_ino), -ENOTDIR);
    calls_fail("statx", 0, 1, EIO);
    ck_assert_int_eq(mr_fs_is_inode(root.fd, "f", st.st_ino), -EIO);
    scratch_remove(&root);
}
END_TEST

MR_SUITE("fs_facts", T(only_an_answer_tells_that_there_is_no_default_acl),
         T(a_sync_of_all_fails_as_the_kernel_or_a_test_says),
         T(errors_of_all_are_told_by_new_kernels_of_known_file_systems),
         T(space_is_what_others_than_root_may_fill),
         T(direct_writes_are_aligned_to_the_largest_wish), T(room_is_kept_behind_the_end),
         T(an_identity_is_all_of_its_parts), T(facts_are_those_of_the_file),
         T(an_inode_is_there_or_another_or_not_to_be_seen))
