/* SPDX-License-Identifier: Apache-2.0 */
/* Can a name leave the root, and do directories come out with the access the store wants? */
#include "base/fs.h"
#include "scratch.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

static char root_path[64];

static void remove_tree(void)
{
    scratch_remove_tree(root_path);
}

/* Each test is a process of its own and leaves nothing. */
static int new_root(void)
{
    snprintf(root_path, sizeof(root_path), "/tmp/mr_test_fs_XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(root_path));
    atexit(remove_tree);
    umask(022);
    int fd = open(root_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ck_assert_int_ge(fd, 0);
    return fd;
}

static void put_file(int dir, const char *name, const char *text)
{
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mr_fs_pwrite_full(fd, text, strlen(text), 0), 0);
    close(fd);
}

static void check_file(int dir, const char *name, const char *text)
{
    char *data = NULL;
    size_t bytes;
    ck_assert_int_eq(mr_fs_read_file(dir, name, 1000, &data, &bytes), 0);
    ck_assert_str_eq(data, text);
    ck_assert_uint_eq(bytes, strlen(text));
    free(data);
}

START_TEST(facts_tell_one_file_from_another)
{
    int root = new_root();
    struct mr_fs_facts a, b, dir;
    put_file(root, "a", "hello");
    put_file(root, "b", "");
    ck_assert_int_eq(symlinkat("a", root, "link"), 0);
    ck_assert_int_eq(mr_fs_stat(root, "a", &a), 0);
    ck_assert_int_eq(mr_fs_stat(root, "b", &b), 0);
    ck_assert_int_eq(mr_fs_stat(root, "", &dir), 0);
    ck_assert_uint_eq(a.size, 5);
    ck_assert(S_ISREG(a.mode) && S_ISDIR(dir.mode));
    ck_assert_uint_eq(a.identity.device, b.identity.device);
    ck_assert_uint_ne(a.identity.inode, b.identity.inode);
    ck_assert_int_gt(a.mtime_ns, 1700000000000000000);
    struct stat st;
    ck_assert_int_eq(fstatat(root, "a", &st, 0), 0);
    ck_assert_uint_eq(a.identity.device, st.st_dev);
    ck_assert_int_eq(mr_fs_stat(root, "link", &b), 0);
    ck_assert(S_ISLNK(b.mode));
    ck_assert_int_eq(mr_fs_stat(root, "none", &b), -ENOENT);
}
END_TEST

START_TEST(reads_and_writes_are_whole)
{
    int root = new_root();
    char data[8] = "";
    int fd = mr_fs_open_beneath(root, "f", O_RDWR | O_CREAT, 0640);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(mr_fs_pwrite_full(fd, "abcd", 4, 2), 0);
    ck_assert_int_eq(mr_fs_pread_full(fd, data, 6, 0), 0);
    ck_assert_mem_eq(data, "\0\0abcd", 6);
    ck_assert_int_eq(mr_fs_pread_full(fd, data, 7, 0), -ENODATA);
    ck_assert_int_eq(mr_fs_pread_full(fd, data, 0, 100), 0);
    mr_fs_close(&fd);
    ck_assert_int_eq(fd, -1);
    mr_fs_close(&fd);
    ck_assert_int_eq(mr_fs_pread_full(-1, data, 1, 0), -EBADF);
    ck_assert_int_eq(mr_fs_pwrite_full(-1, data, 1, 0), -EBADF);
}
END_TEST

START_TEST(no_name_leaves_the_root)
{
    int root = new_root();
    ck_assert_int_eq(mkdirat(root, "d", 0755), 0);
    ck_assert_int_eq(symlinkat("/etc", root, "out"), 0);
    ck_assert_int_eq(symlinkat("../..", root, "d/up"), 0);
    ck_assert_int_eq(symlinkat("d", root, "in"), 0);
    put_file(root, "d/f", "x");
    ck_assert_int_eq(mr_fs_open_beneath(root, "/etc/passwd", O_RDONLY, 0), -EXDEV);
    ck_assert_int_eq(mr_fs_open_beneath(root, "../etc", O_RDONLY, 0), -EXDEV);
    ck_assert_int_eq(mr_fs_open_beneath(root, "out/passwd", O_RDONLY, 0), -EXDEV);
    ck_assert_int_eq(mr_fs_open_beneath(root, "d/up/x", O_WRONLY | O_CREAT, 0600), -EXDEV);
    ck_assert_int_eq(mr_fs_open_beneath(root, "none", O_RDONLY, 0644), -ENOENT);
    int fd = mr_fs_open_beneath(root, "in/f", O_RDONLY, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert(fcntl(fd, F_GETFD) & FD_CLOEXEC);
}
END_TEST

static mode_t mode_of(int root, const char *path)
{
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(root, path, &facts), 0);
    return facts.mode & 07777;
}

static void make(int root, const char *path, mode_t mode)
{
    int fd = mr_fs_mkdirs_durable(root, path, mode, (gid_t)-1);
    ck_assert_msg(fd >= 0, "%s: %s", path, strerror(-fd));
    close(fd);
}

START_TEST(directories_are_made_with_their_mode)
{
    int root = new_root();
    make(root, "a/b//c/", 0750);
    ck_assert_uint_eq(mode_of(root, "a"), 0750);
    ck_assert_uint_eq(mode_of(root, "a/b/c"), 0750);
    make(root, "a/x", 02770);
    ck_assert_uint_eq(mode_of(root, "a/x"), 02770);
    ck_assert_uint_eq(mode_of(root, "a"), 0750); /* what was there stays as it was */
    make(root, "plain", 0);
    ck_assert_uint_eq(mode_of(root, "plain"), 0755);
    make(root, "", 0750);
    make(root, ".", 0750);
    int fd = mr_fs_mkdirs_durable(root, "a/b/c", 0700, (gid_t)-1);
    struct mr_fs_facts by_fd, by_name;
    ck_assert_int_eq(mr_fs_stat(fd, "", &by_fd), 0);
    ck_assert_int_eq(mr_fs_stat(root, "a/b/c", &by_name), 0);
    ck_assert_uint_eq(by_fd.identity.inode, by_name.identity.inode);
}
END_TEST

START_TEST(set_group_id_is_inherited_through_the_chmod)
{
    int root = new_root();
    ck_assert_int_eq(mkdirat(root, "g", 0755), 0);
    if (geteuid() == 0)
        ck_assert_int_eq(fchownat(root, "g", (uid_t)-1, 12345, 0), 0);
    ck_assert_int_eq(fchmodat(root, "g", 02775, 0), 0);
    make(root, "g/a/b", 0750);
    ck_assert_uint_eq(mode_of(root, "g/a/b"), 02750);
    struct stat parent, child;
    ck_assert_int_eq(fstatat(root, "g", &parent, 0), 0);
    ck_assert_int_eq(fstatat(root, "g/a/b", &child, 0), 0);
    ck_assert_uint_eq(parent.st_gid, child.st_gid);
}
END_TEST

START_TEST(a_named_group_is_set_or_refused_without_a_trace)
{
    int root = new_root();
    if (geteuid() != 0)
        suite_skip("only root may give any group");
    int fd = mr_fs_mkdirs_durable(root, "a", 02750, 12345);
    struct stat st;
    ck_assert_int_eq(fstat(fd, &st), 0);
    ck_assert_uint_eq(st.st_gid, 12345);
    ck_assert_uint_eq(st.st_mode & 07777, 02750);
    ck_assert_int_eq(fchmod(root, 0777), 0);
    ck_assert_int_eq(setegid(65534), 0);
    ck_assert_int_eq(seteuid(65534), 0);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, "b/c", 02750, 54321), -EPERM);
    ck_assert_int_eq(seteuid(0), 0);
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(root, "b", &facts), -ENOENT);
}
END_TEST

START_TEST(a_default_acl_decides_alone)
{
    /* user::rwx group::rwx mask::rwx other::--- (acl(5), version 2 of the attribute) */
    static const uint8_t acl[] = {2, 0, 0,   0,   1,   0,   7,  0, 255, 255, 255, 255, 4,   0,
                                  7, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
    int root = new_root();
    ck_assert(!mr_fs_has_default_acl(root));
    if (fsetxattr(root, "system.posix_acl_default", acl, sizeof(acl), 0) < 0)
        suite_skip("no ACLs on this file system");
    ck_assert(mr_fs_has_default_acl(root));
    make(root, "a/b", 0700);
    ck_assert_uint_eq(mode_of(root, "a/b"), 0770);
}
END_TEST

START_TEST(directories_cannot_be_made_outside_or_over_files)
{
    int root = new_root();
    char longer[5000];
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    put_file(root, "f", "x");
    ck_assert_int_eq(symlinkat("/tmp", root, "out"), 0);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, "/a", 0750, (gid_t)-1), -EXDEV);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, "a/../b", 0750, (gid_t)-1), -EXDEV);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, "..", 0750, (gid_t)-1), -EXDEV);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, "out/mr_test_x", 0750, (gid_t)-1), -EXDEV);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, "f/a", 0750, (gid_t)-1), -ENOTDIR);
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, longer, 0750, (gid_t)-1), -ENAMETOOLONG);
    longer[300] = '\0';
    ck_assert_int_eq(mr_fs_mkdirs_durable(root, longer, 0750, (gid_t)-1), -ENAMETOOLONG);
}
END_TEST

static void *make_same(void *arg)
{
    int fd = mr_fs_mkdirs_durable(*(int *)arg, "x/y/z/w", 0750, (gid_t)-1);
    return (void *)(intptr_t)fd;
}

START_TEST(several_may_make_the_same_directory)
{
    int root = new_root();
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, make_same, &root), 0);
    for (int i = 0; i < 8; i++) {
        void *fd;
        pthread_join(threads[i], &fd);
        ck_assert_int_ge((int)(intptr_t)fd, 0);
    }
    ck_assert_uint_eq(mode_of(root, "x/y/z/w"), 0750);
}
END_TEST

static void check_rename_new(int root)
{
    put_file(root, "a", "A");
    put_file(root, "b", "B");
    ck_assert_int_eq(mr_fs_rename_new(root, "a", root, "b"), -EEXIST);
    check_file(root, "a", "A");
    check_file(root, "b", "B");
    ck_assert_int_eq(mr_fs_rename_new(root, "a", root, "c"), 0);
    check_file(root, "c", "A");
    struct mr_fs_facts facts;
    ck_assert_int_eq(mr_fs_stat(root, "a", &facts), -ENOENT);
    ck_assert_int_eq(mr_fs_rename_new(root, "none", root, "d"), -ENOENT);
}

START_TEST(rename_never_replaces)
{
    check_rename_new(new_root());
}
END_TEST

/* From here on renameat2 fails as on a file system without flags. */
static void forbid_renameat2(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_renameat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(code) / sizeof(code[0]), .filter = code};
    ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

START_TEST(rename_never_replaces_where_the_flag_is_unknown)
{
    int root = new_root();
    forbid_renameat2();
    check_rename_new(root);
    ck_assert_int_eq(mr_fs_exchange(root, "b", root, "c"), -EINVAL);
}
END_TEST

START_TEST(exchange_swaps)
{
    int root = new_root();
    put_file(root, "a", "A");
    put_file(root, "b", "B");
    ck_assert_int_eq(mr_fs_exchange(root, "a", root, "b"), 0);
    check_file(root, "a", "B");
    check_file(root, "b", "A");
    ck_assert_int_eq(mr_fs_exchange(root, "a", root, "none"), -ENOENT);
    ck_assert_int_eq(mr_fs_sync_dir(root), 0);
    ck_assert_int_eq(mr_fs_sync_dir(-1), -EBADF);
}
END_TEST

START_TEST(space_and_alignment_are_plausible)
{
    int root = new_root();
    uint64_t free_bytes, total_bytes;
    uint32_t alignment;
    ck_assert_int_eq(mr_fs_space(root, &free_bytes, &total_bytes), 0);
    ck_assert_uint_gt(total_bytes, 0);
    ck_assert_uint_le(free_bytes, total_bytes);
    put_file(root, "f", "x");
    int fd = openat(root, "f", O_RDWR | O_CLOEXEC);
    ck_assert_int_eq(mr_fs_direct_alignment(fd, &alignment), 0);
    ck_assert_uint_ge(alignment, 4096);
    ck_assert_uint_eq(alignment & (alignment - 1), 0);
    ck_assert_int_eq(mr_fs_direct_alignment(-1, &alignment), -EBADF);
    ck_assert_int_eq(mr_fs_space(-1, &free_bytes, &total_bytes), -EBADF);
}
END_TEST

START_TEST(small_files_are_read_up_to_the_limit)
{
    int root = new_root();
    char *data = NULL;
    size_t bytes;
    put_file(root, "five", "12345");
    put_file(root, "empty", "");
    check_file(root, "five", "12345");
    check_file(root, "empty", "");
    ck_assert_int_eq(mr_fs_read_file(root, "five", 4, &data, &bytes), -EFBIG);
    ck_assert_int_eq(mr_fs_read_file(root, "none", 4, &data, &bytes), -ENOENT);
    ck_assert_int_eq(mr_fs_read_file(root, ".", 4, &data, &bytes), -EISDIR);
    ck_assert_ptr_null(data);
    ck_assert_int_eq(mr_fs_read_file(root, "five", 5, &data, &bytes), 0);
    free(data);
    ck_assert_int_eq(mr_fs_read_file(AT_FDCWD, "/proc/self/stat", 4096, &data, &bytes), 0);
    ck_assert_uint_gt(bytes, 10);
    free(data);
}
END_TEST

START_TEST(the_end_of_a_folder_is_no_error)
{
    int root = new_root();
    put_file(root, "a", "1");
    for (int again = 0; again <= 1; again++) { /* from the first name on, each time */
        MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
        ck_assert_int_eq(mr_fs_list(root, &dir), 0);
        const char *name = "";
        unsigned names = 0;
        while (name != NULL) {
            ck_assert_int_eq(mr_fs_next_name(dir, &name), 0);
            names += name != NULL && strcmp(name, "a") == 0;
        }
        ck_assert_uint_eq(names, 1);
    }
    close(root);
}
END_TEST

START_TEST(what_is_no_folder_has_no_list)
{
    DIR *dir = NULL;
    MR_CLEANUP(mr_fs_close) int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_eq(mr_fs_list(file, &dir), -ENOTDIR);
    ck_assert_ptr_null(dir);
    ck_assert_int_eq(mr_fs_list(-EIO, &dir), -ENOENT);
    ck_assert_ptr_null(dir);
    mr_fs_list_close(&dir);
}
END_TEST

START_TEST(a_folder_that_cannot_be_read_on_is_one)
{
    DIR *dir = NULL;
    MR_CLEANUP(mr_fs_close) int root = new_root();
    ck_assert_int_eq(mr_fs_list(root, &dir), 0);
    int other = open("/dev/null", O_RDONLY | O_CLOEXEC);
    ck_assert_int_ge(dup2(other, dirfd(dir)), 0);
    const char *name = "as it was";
    ck_assert_int_eq(mr_fs_next_name(dir, &name), -ENOTDIR);
    ck_assert_str_eq(name, "as it was");
    mr_fs_list_close(&dir);
    close(other);
}
END_TEST

START_TEST(a_default_acl_that_cannot_be_seen_is_an_error)
{
    int root = new_root();
    ck_assert_int_eq(mr_fs_has_default_acl(root), 0);
    close(root);
    ck_assert_int_eq(mr_fs_has_default_acl(root), -EBADF);
}
END_TEST

MR_SUITE("fs", T(the_end_of_a_folder_is_no_error), T(what_is_no_folder_has_no_list),
         T(a_folder_that_cannot_be_read_on_is_one),
         T(a_default_acl_that_cannot_be_seen_is_an_error), T(facts_tell_one_file_from_another),
         T(reads_and_writes_are_whole), T(no_name_leaves_the_root),
         T(directories_are_made_with_their_mode), T(set_group_id_is_inherited_through_the_chmod),
         T(a_named_group_is_set_or_refused_without_a_trace), T(a_default_acl_decides_alone),
         T(directories_cannot_be_made_outside_or_over_files),
         T(several_may_make_the_same_directory), T(rename_never_replaces),
         T(rename_never_replaces_where_the_flag_is_unknown), T(exchange_swaps),
         T(space_and_alignment_are_plausible), T(small_files_are_read_up_to_the_limit))
