/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files the careful way. Thin over the system calls: adds retries, confinement and durability,
 * keeps no state, knows no layout. io_uring's reads and writes are not here.
 */
#include "base/fs.h"

#include "base/failpoint.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/xattr.h>
#include <unistd.h>

bool mr_fs_same(const struct mr_fs_identity *a, const struct mr_fs_identity *b)
{
    return a->device == b->device && a->inode == b->inode && a->birth_ns == b->birth_ns;
}

void mr_fs_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

static int64_t statx_ns(struct statx_timestamp t)
{
    return (int64_t)t.tv_sec * 1000000000 + (int64_t)t.tv_nsec;
}

static int stat_with(int dirfd, const char *path, int flags, struct mr_fs_facts *ret)
{
    struct statx st;
    if (statx(dirfd, path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | flags,
              STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
        return -errno;
    bool birth = (st.stx_mask & STATX_BTIME) != 0;
    *ret = (struct mr_fs_facts){
        .identity = {.device = makedev(st.stx_dev_major, st.stx_dev_minor),
                     .inode = st.stx_ino,
                     .birth_ns = birth ? statx_ns(st.stx_btime) : 0},
        .size = st.stx_size,
        .mtime_ns = statx_ns(st.stx_mtime),
        .ctime_ns = statx_ns(st.stx_ctime),
        .mode = st.stx_mode,
        .links = st.stx_nlink,
    };
    return 0;
}

int mr_fs_stat(int dirfd, const char *path, struct mr_fs_facts *ret)
{
    return stat_with(dirfd, path, AT_STATX_SYNC_AS_STAT, ret);
}

int mr_fs_is_inode(int dirfd, const char *name, uint64_t inode)
{
    struct mr_fs_facts facts;
    int r = mr_fs_stat(dirfd, name, &facts);
    if (r == -ENOENT)
        return 0;
    return r < 0 ? r : facts.identity.inode == inode;
}

int mr_fs_stat_fresh(int dirfd, const char *path, struct mr_fs_facts *ret)
{
    return stat_with(dirfd, path, AT_STATX_FORCE_SYNC, ret);
}

int mr_fs_pread_full(int fd, void *data, size_t bytes, uint64_t offset)
{
    uint8_t *p = data;
    while (bytes > 0) {
        ssize_t n = pread(fd, p, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ENODATA;
        p += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int mr_fs_pwrite_full(int fd, const void *data, size_t bytes, uint64_t offset)
{
    const uint8_t *p = data;
    while (bytes > 0) {
        ssize_t n = pwrite(fd, p, bytes, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        bytes -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

static int open_resolved(int root, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    bool creates = (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE;
    struct open_how how = {
        .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
        .mode = creates ? mode & 07777 : 0, /* openat2(2): EINVAL where nothing is created */
        .resolve = resolve,
    };
    /* EAGAIN: a rename elsewhere raced with a ".." in the path; the manual says try again */
    for (int tries = 0;; tries++) {
        long fd = syscall(SYS_openat2, root, path, &how, sizeof(how));
        if (fd >= 0)
            return (int)fd;
        if (errno != EINTR && (errno != EAGAIN || tries >= 16))
            return -errno;
    }
}

int mr_fs_open_beneath(int root, const char *path, int flags, mode_t mode)
{
    return open_resolved(root, path, flags, mode, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
}

int mr_fs_open_straight(int root, const char *path, int flags)
{
    return open_resolved(root, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* ---- durable directories ---- */

struct mkdirs {
    int root;
    mode_t mode;
    gid_t gid;
    bool durable;
};

/* Group (the parent's even without setgid, where we may) and permissions of a directory just made.
 * The set-group-ID bit that it inherited stays: chmod(2) would clear it, and files made later would
 * then get the wrong group. */
static int set_access(int parent, int fd, const struct mkdirs *m, bool by_acl)
{
    struct stat st, above;
    if (fstat(parent, &above) < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (m->gid == (gid_t)-1 && st.st_gid != above.st_gid &&
        fchown(fd, (uid_t)-1, above.st_gid) < 0 && errno != EPERM)
        return -errno;
    if (m->gid != (gid_t)-1 && fchown(fd, (uid_t)-1, m->gid) < 0)
        return -errno;
    if (m->mode == 0 || by_acl)
        return 0;
    if (fstat(fd, &st) < 0)
        return -errno;
    mode_t wanted = (m->mode & 07777) | (st.st_mode & S_ISGID);
    if ((st.st_mode & 07777) == wanted)
        return 0;
    if (fchmod(fd, wanted) < 0 || fstat(fd, &st) < 0)
        return -errno;
    /* chmod(2) drops the bit without a word where the caller is not in the directory's group */
    return (wanted & S_ISGID) != 0 && (st.st_mode & S_ISGID) == 0 ? -EPERM : 0;
}

/* The directory's own inode first, then the name that leads to it. */
static int finish_directory(int parent, int fd, const struct mkdirs *m, bool by_acl)
{
    int r = set_access(parent, fd, m, by_acl);
    if (r < 0 || !m->durable)
        return r;
    r = mr_fs_sync_dir(fd);
    return r == 0 ? mr_fs_sync_dir(parent) : r;
}

/* Makes name in parent. Where someone else is making it at the same time, they set its access, and
 * we sync as well: it may not be durable yet. */
static int make_directory(int parent, const char *name, const struct mkdirs *m)
{
    int by_acl = mr_fs_has_default_acl(parent);
    if (by_acl < 0)
        return by_acl;
    mode_t mode = m->mode == 0 || by_acl ? 0777 : m->mode & 0777;
    bool made = mkdirat(parent, name, mode) == 0;
    if (!made && errno != EEXIST)
        return -errno;
    int fd = mr_fs_open_beneath(parent, name, O_RDONLY | O_DIRECTORY, 0);
    if (!made) {
        int r = fd < 0 ? fd : m->durable ? mr_fs_sync_dir(parent) : 0;
        if (r < 0)
            mr_fs_close(&fd);
        return r < 0 ? r : fd;
    }
    int r = fd < 0 ? fd : finish_directory(parent, fd, m, by_acl);
    if (r < 0) {
        mr_fs_close(&fd);
        /* half made: the next attempt must not find it and take it for good */
        (void)unlinkat(parent, name, AT_REMOVEDIR);
        return r;
    }
    return fd;
}

/* Some file systems have nothing to sync in a directory, others may not be written up there. */
static int sync_name_in(int parent)
{
    int r = mr_fs_sync_dir(parent);
    return r == -EINVAL || r == -EROFS ? 0 : r;
}

/* Opens prefix (its last component is name) below the root, or makes it. Each prefix is resolved
 * from the root so that a symlink inside may lead to another place inside. */
static int open_or_make(const struct mkdirs *m, int parent, const char *prefix, const char *name)
{
    if (strcmp(name, "..") == 0)
        return -EXDEV;
    int fd = mr_fs_open_beneath(m->root, prefix, O_RDONLY | O_DIRECTORY, 0);
    if (fd == -ENOENT)
        return make_directory(parent, name, m);
    int r = fd < 0 ? fd : m->durable ? sync_name_in(parent) : 0;
    if (r < 0)
        mr_fs_close(&fd);
    return r < 0 ? r : fd;
}

static int make_directories(const struct mkdirs *m, const char *path)
{
    char prefix[PATH_MAX];
    size_t length = strlen(path);
    if (length >= sizeof(prefix))
        return -ENAMETOOLONG;
    if (path[0] == '/')
        return -EXDEV;
    memcpy(prefix, path, length + 1);
    int fd = mr_fs_open_beneath(m->root, ".", O_RDONLY | O_DIRECTORY, 0);
    for (size_t start = 0; fd >= 0 && start < length;) {
        size_t end = start + strcspn(prefix + start, "/");
        prefix[end] = '\0';
        int next = open_or_make(m, fd, prefix, prefix + start);
        mr_fs_close(&fd);
        fd = next;
        if (end < length)
            prefix[end] = '/';
        start = end + 1;
    }
    return fd;
}

int mr_fs_mkdirs_durable(int root, const char *path, mode_t mode, gid_t gid)
{
    const struct mkdirs m = {.root = root, .mode = mode, .gid = gid, .durable = true};
    return make_directories(&m, path);
}

int mr_fs_mkdirs(int root, const char *path, mode_t mode, gid_t gid)
{
    const struct mkdirs m = {.root = root, .mode = mode, .gid = gid};
    return make_directories(&m, path);
}

/* ---- names ---- */

/* NFS and others refuse the flag (EINVAL); a link never replaces either. Between the two calls the
 * file has both names, which recovery understands. No file system has to keep changes of two
 * directories in their order: the new name is safe before the old one goes, or a power cut could
 * leave none. */
static int link_new(int from_dir, const char *from, int to_dir, const char *to)
{
    if (linkat(from_dir, from, to_dir, to, 0) < 0)
        return -errno;
    int r = mr_fs_sync_dir(to_dir);
    if (r < 0) {
        (void)unlinkat(to_dir, to, 0);
        return r;
    }
    return unlinkat(from_dir, from, 0) < 0 ? -errno : 0;
}

int mr_fs_rename_new(int from_dir, const char *from, int to_dir, const char *to)
{
    if (renameat2(from_dir, from, to_dir, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    return link_new(from_dir, from, to_dir, to);
}

int mr_fs_exchange(int a_dir, const char *a, int b_dir, const char *b)
{
    return renameat2(a_dir, a, b_dir, b, RENAME_EXCHANGE) < 0 ? -errno : 0;
}

int mr_fs_sync_dir(int dirfd)
{
    return fsync(dirfd) < 0 ? -errno : 0;
}

int mr_fs_list(int dirfd, DIR **ret)
{
    int fd = dirfd < 0 ? -1 : openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *ret = fd < 0 ? NULL : fdopendir(fd);
    int r = *ret != NULL ? 0 : dirfd < 0 ? -ENOENT : -errno;
    if (r < 0)
        mr_fs_close(&fd);
    return r;
}

void mr_fs_list_close(DIR **list)
{
    if (*list != NULL)
        closedir(*list);
    *list = NULL;
}

int mr_fs_next_name(DIR *dir, const char **ret)
{
    errno = 0;
    const struct dirent *entry = readdir(dir);
    if (entry == NULL && errno != 0)
        return -errno;
    *ret = entry == NULL ? NULL : entry->d_name;
    return 0;
}

int mr_fs_has_default_acl(int dirfd)
{
    ssize_t bytes = fgetxattr(dirfd, "system.posix_acl_default", NULL, 0);
    if (bytes >= 0)
        return bytes > 0;
    return errno == ENODATA || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
}

/* ---- the file system beneath ---- */

int mr_fs_sync_all(int fd)
{
    return mr_failpoint_result("syncfs", syncfs(fd) < 0 ? -errno : 0);
}

/* Write-back errors are told since 5.8, those of the file system's own journal since 5.17. */
static bool kernel_tells_all(void)
{
    struct utsname name;
    unsigned major, minor;
    return uname(&name) == 0 && sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
           (major > 5 || (major == 5 && minor >= 17));
}

bool mr_fs_can_sync_all(int fd)
{
    struct statfs fs;
    return kernel_tells_all() && fstatfs(fd, &fs) == 0 &&
           (fs.f_type == EXT4_SUPER_MAGIC || fs.f_type == XFS_SUPER_MAGIC ||
            fs.f_type == BTRFS_SUPER_MAGIC);
}

int mr_fs_space(int fd, uint64_t *ret_free, uint64_t *ret_total)
{
    struct statvfs st;
    int r;
    do
        r = fstatvfs(fd, &st);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

static void raise_alignment(uint32_t *alignment, uint64_t wanted)
{
    bool power_of_two = wanted != 0 && (wanted & (wanted - 1)) == 0;
    if (power_of_two && wanted > *alignment && wanted <= UINT32_MAX / 2)
        *alignment = (uint32_t)wanted;
}

void mr_fs_reserve(int fd, uint64_t bytes)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || (uint64_t)st.st_blocks * 512 >= (uint64_t)st.st_size + bytes / 2)
        return; /* st_blocks counts in 512 bytes everywhere on Linux */
    int r = fallocate(fd, FALLOC_FL_KEEP_SIZE, st.st_size, (off_t)bytes);
    (void)r; /* not everywhere to be had: then a full disk is met when something is appended */
}

int mr_fs_direct_alignment(int fd, uint32_t *ret)
{
    uint32_t alignment = 4096;
    struct statvfs vfs;
    if (fstatvfs(fd, &vfs) < 0)
        return -errno;
    /* the block, not st_blksize: that is a preference, and 4 MiB on Lustre */
    raise_alignment(&alignment, vfs.f_frsize);
#ifdef STATX_DIOALIGN /* Linux 6.1 */
    struct statx st;
    if (statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) < 0)
        return -errno;
    if ((st.stx_mask & STATX_DIOALIGN) != 0) {
        raise_alignment(&alignment, st.stx_dio_mem_align);
        raise_alignment(&alignment, st.stx_dio_offset_align);
    }
#endif
    *ret = alignment;
    return 0;
}

/* ---- small files ---- */

static int read_up_to(int fd, char *data, size_t size, size_t *ret_bytes)
{
    size_t used = 0;
    while (used < size) {
        ssize_t n = read(fd, data + used, size - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        used += (size_t)n;
    }
    *ret_bytes = used;
    return 0;
}

int mr_fs_read_file(int dirfd, const char *path, size_t limit, char **ret, size_t *ret_bytes)
{
    assert(limit < SIZE_MAX);
    MR_CLEANUP(mr_fs_close) int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    char *data = malloc(limit + 1); /* the byte more is the NUL's, or shows that there is more */
    if (data == NULL)
        return -ENOMEM;
    size_t bytes = 0;
    int r = read_up_to(fd, data, limit + 1, &bytes);
    if (r == 0 && bytes > limit)
        r = -EFBIG;
    if (r < 0) {
        free(data);
        return r;
    }
    data[bytes] = '\0';
    *ret = data;
    *ret_bytes = bytes;
    return 0;
}
