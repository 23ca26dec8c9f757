/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Libc's functions about files, as far as the programs and SQLite call them (check_nth.py
 * compares): each asks nth_failure.c and goes on to the kernel. Decides nothing.
 */
#include "nth_failure.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Puts `mine` under libc's name; some have a second one for large files. In assembler, since libc's
 * headers declare these names with attributes that a definition here would have to repeat. */
#define ENTRY(mine, name) \
    __asm__(".globl " #name "\n.type " #name ", @function\n.set " #name ", " #mine)

#define REAL(type, name)     ((type)dlsym(RTLD_NEXT, name))
#define BY_FD(f, call, sort) (&(struct nth_call){.name = call, .sorts = sort, .fd = f})
#define BY_PATH(d, p, call, sort) \
    (&(struct nth_call){.name = call, .sorts = sort, .fd = -1, .dir = d, .path = p})

/* Other libraries' beginnings call before ours. */
long nth_syscall(long number, ...)
{
    static _Atomic(long (*)(long, ...)) real;
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    if (real == NULL)
        real = REAL(long (*)(long, ...), "syscall");
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- opening ---- */

static int open_at(const char *name, int dir, const char *path, int flags, mode_t mode)
{
    unsigned sorts = NTH_OPEN | ((flags & O_CREAT) != 0 ? NTH_MAKE : 0u);
    if (nth_fails(BY_PATH(dir, path, name, sorts)))
        return -1;
    return (int)nth_syscall(SYS_openat, dir, path, flags, mode);
}

int nth_open(const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t); /* not used where none was given */
    va_end(more);
    return open_at("open", AT_FDCWD, path, flags, mode);
}
ENTRY(nth_open, open);
ENTRY(nth_open, open64);

int nth_openat(int dir, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = va_arg(more, mode_t);
    va_end(more);
    return open_at("openat", dir, path, flags, mode);
}
ENTRY(nth_openat, openat);
ENTRY(nth_openat, openat64);

/* glibc has no function for openat2. */
long nth_direct(long number, ...)
{
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_openat2) {
        uint64_t flags = *(const uint64_t *)a[2];
        unsigned sorts = NTH_OPEN | ((flags & O_CREAT) != 0 ? NTH_MAKE : 0u);
        if (nth_fails(BY_PATH((int)a[0], (const char *)a[1], "openat2", sorts)))
            return -1;
    }
    return nth_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
ENTRY(nth_direct, syscall);

int nth_close(int fd)
{
    struct nth_call call = *BY_FD(fd, "close", NTH_CLOSE);
    bool fails = nth_fails(&call); /* while it has a name */
    int saved = errno;
    int r = (int)nth_syscall(SYS_close, fd);
    if (!fails)
        return r;
    errno = saved;
    return -1;
}
ENTRY(nth_close, close);

/* ---- bytes ---- */

ssize_t nth_read(int fd, void *data, size_t bytes)
{
    if (nth_fails_moving(BY_FD(fd, "read", NTH_READ), &bytes))
        return -1;
    return nth_syscall(SYS_read, fd, data, bytes);
}
ENTRY(nth_read, read);

ssize_t nth_pread(int fd, void *data, size_t bytes, off_t offset)
{
    if (nth_fails_moving(BY_FD(fd, "pread", NTH_READ), &bytes))
        return -1;
    return nth_syscall(SYS_pread64, fd, data, bytes, offset);
}
ENTRY(nth_pread, pread);
ENTRY(nth_pread, pread64);

ssize_t nth_write(int fd, const void *data, size_t bytes)
{
    if (nth_fails_moving(BY_FD(fd, "write", NTH_WRITE), &bytes))
        return -1;
    return nth_syscall(SYS_write, fd, data, bytes);
}
ENTRY(nth_write, write);

ssize_t nth_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    if (nth_fails_moving(BY_FD(fd, "pwrite", NTH_WRITE), &bytes))
        return -1;
    return nth_syscall(SYS_pwrite64, fd, data, bytes, offset);
}
ENTRY(nth_pwrite, pwrite);
ENTRY(nth_pwrite, pwrite64);

static int sync_file(const char *name, long number, int fd)
{
    nth_watch_sync(name, fd);
    if (!nth_fails(BY_FD(fd, name, NTH_SYNC)))
        return (int)nth_syscall(number, fd);
    nth_note_failed_sync(fd);
    return -1;
}

int nth_fsync(int fd)
{
    return sync_file("fsync", SYS_fsync, fd);
}
ENTRY(nth_fsync, fsync);

int nth_fdatasync(int fd)
{
    return sync_file("fdatasync", SYS_fdatasync, fd);
}
ENTRY(nth_fdatasync, fdatasync);

/* Of everything: that it is called again says nothing of what the last one lost. */
int nth_syncfs(int fd)
{
    if (nth_fails(BY_FD(fd, "syncfs", NTH_SYNC)))
        return -1;
    return (int)nth_syscall(SYS_syncfs, fd);
}
ENTRY(nth_syncfs, syncfs);

int nth_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    if (nth_fails(BY_FD(fd, "fallocate", NTH_SIZE)))
        return -1;
    return (int)nth_syscall(SYS_fallocate, fd, mode, offset, bytes);
}
ENTRY(nth_fallocate, fallocate);
ENTRY(nth_fallocate, fallocate64);

int nth_ftruncate(int fd, off_t bytes)
{
    if (nth_fails(BY_FD(fd, "ftruncate", NTH_SIZE)))
        return -1;
    return (int)nth_syscall(SYS_ftruncate, fd, bytes);
}
ENTRY(nth_ftruncate, ftruncate);
ENTRY(nth_ftruncate, ftruncate64);

void *nth_mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    if (fd >= 0 && nth_fails(BY_FD(fd, "mmap", NTH_MAP)))
        return (void *)-1;
    return (void *)nth_syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}
ENTRY(nth_mmap, mmap);
ENTRY(nth_mmap, mmap64);

/* ---- names ---- */

int nth_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    if (nth_fails(BY_PATH(to_dir, to, "rename", NTH_MAKE | NTH_REMOVE)))
        return -1;
    return (int)nth_syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}
ENTRY(nth_renameat2, renameat2);

int nth_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return nth_renameat2(from_dir, from, to_dir, to, 0);
}
ENTRY(nth_renameat, renameat);

int nth_rename(const char *from, const char *to)
{
    return nth_renameat2(AT_FDCWD, from, AT_FDCWD, to, 0);
}
ENTRY(nth_rename, rename);

int nth_linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
    if (nth_fails(BY_PATH(to_dir, to, "link", NTH_MAKE)))
        return -1;
    return (int)nth_syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}
ENTRY(nth_linkat, linkat);

int nth_unlinkat(int dir, const char *path, int flags)
{
    if (nth_fails(BY_PATH(dir, path, flags == 0 ? "unlink" : "rmdir", NTH_REMOVE)))
        return -1;
    return (int)nth_syscall(SYS_unlinkat, dir, path, flags);
}
ENTRY(nth_unlinkat, unlinkat);

int nth_unlink(const char *path)
{
    return nth_unlinkat(AT_FDCWD, path, 0);
}
ENTRY(nth_unlink, unlink);

int nth_rmdir(const char *path)
{
    return nth_unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}
ENTRY(nth_rmdir, rmdir);

int nth_mkdirat(int dir, const char *path, mode_t mode)
{
    if (nth_fails(BY_PATH(dir, path, "mkdir", NTH_MAKE)))
        return -1;
    return (int)nth_syscall(SYS_mkdirat, dir, path, mode);
}
ENTRY(nth_mkdirat, mkdirat);

int nth_mkdir(const char *path, mode_t mode)
{
    return nth_mkdirat(AT_FDCWD, path, mode);
}
ENTRY(nth_mkdir, mkdir);

char *nth_realpath(const char *path, char *ret)
{
    if (nth_fails(BY_PATH(AT_FDCWD, path, "realpath", NTH_ASK)))
        return NULL;
    return REAL(char *(*)(const char *, char *), "realpath")(path, ret);
}
ENTRY(nth_realpath, realpath);

/* ---- folders ---- */

DIR *nth_opendir(const char *path)
{
    if (nth_fails(BY_PATH(AT_FDCWD, path, "opendir", NTH_OPEN)))
        return NULL;
    return REAL(DIR * (*)(const char *), "opendir")(path);
}
ENTRY(nth_opendir, opendir);

DIR *nth_fdopendir(int fd)
{
    if (nth_fails(BY_FD(fd, "fdopendir", NTH_LIST)))
        return NULL;
    return REAL(DIR * (*)(int), "fdopendir")(fd);
}
ENTRY(nth_fdopendir, fdopendir);

struct dirent *nth_readdir(DIR *dir)
{
    if (nth_fails(BY_FD(dirfd(dir), "readdir", NTH_LIST)))
        return NULL;
    return REAL(struct dirent * (*)(DIR *), "readdir")(dir);
}
ENTRY(nth_readdir, readdir);
ENTRY(nth_readdir, readdir64);

int nth_closedir(DIR *dir)
{
    bool fails = nth_fails(BY_FD(dirfd(dir), "closedir", NTH_CLOSE));
    int saved = errno;
    int r = REAL(int (*)(DIR *), "closedir")(dir);
    if (!fails)
        return r;
    errno = saved;
    return -1;
}
ENTRY(nth_closedir, closedir);

/* ---- what a file is ---- */

int nth_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret)
{
    if (nth_fails(BY_PATH(dir, path, "statx", NTH_ASK)))
        return -1;
    return (int)nth_syscall(SYS_statx, dir, path, flags, mask, ret);
}
ENTRY(nth_statx, statx);

int nth_fstatat(int dir, const char *path, struct stat *ret, int flags)
{
    if (nth_fails(BY_PATH(dir, path, "stat", NTH_ASK)))
        return -1;
    return (int)nth_syscall(SYS_newfstatat, dir, path, ret, flags);
}
ENTRY(nth_fstatat, fstatat);
ENTRY(nth_fstatat, fstatat64);

int nth_fstat(int fd, struct stat *ret)
{
    return nth_fstatat(fd, "", ret, AT_EMPTY_PATH);
}
ENTRY(nth_fstat, fstat);
ENTRY(nth_fstat, fstat64);

int nth_stat(const char *path, struct stat *ret)
{
    return nth_fstatat(AT_FDCWD, path, ret, 0);
}
ENTRY(nth_stat, stat);
ENTRY(nth_stat, stat64);

int nth_lstat(const char *path, struct stat *ret)
{
    return nth_fstatat(AT_FDCWD, path, ret, AT_SYMLINK_NOFOLLOW);
}
ENTRY(nth_lstat, lstat);
ENTRY(nth_lstat, lstat64);

int nth_fstatfs(int fd, struct statfs *ret)
{
    if (nth_fails(BY_FD(fd, "statfs", NTH_ROOM)))
        return -1;
    return (int)nth_syscall(SYS_fstatfs, fd, ret);
}
ENTRY(nth_fstatfs, fstatfs);
ENTRY(nth_fstatfs, fstatfs64);

int nth_fstatvfs(int fd, struct statvfs *ret)
{
    if (nth_fails(BY_FD(fd, "statvfs", NTH_ROOM)))
        return -1;
    return REAL(int (*)(int, struct statvfs *), "fstatvfs")(fd, ret);
}
ENTRY(nth_fstatvfs, fstatvfs);
ENTRY(nth_fstatvfs, fstatvfs64);

int nth_faccessat(int dir, const char *path, int mode, int flags)
{
    if (nth_fails(BY_PATH(dir, path, "access", NTH_ASK)))
        return -1;
    return (int)nth_syscall(SYS_faccessat2, dir, path, mode, flags);
}
ENTRY(nth_faccessat, faccessat);

int nth_access(const char *path, int mode)
{
    return nth_faccessat(AT_FDCWD, path, mode, 0);
}
ENTRY(nth_access, access);

ssize_t nth_readlink(const char *path, char *ret, size_t size)
{
    if (nth_fails(BY_PATH(AT_FDCWD, path, "readlink", NTH_ASK)))
        return -1;
    return nth_syscall(SYS_readlinkat, AT_FDCWD, path, ret, size);
}
ENTRY(nth_readlink, readlink);

ssize_t nth_fgetxattr(int fd, const char *name, void *ret, size_t size)
{
    if (nth_fails(BY_FD(fd, "getxattr", NTH_ASK)))
        return -1;
    return nth_syscall(SYS_fgetxattr, fd, name, ret, size);
}
ENTRY(nth_fgetxattr, fgetxattr);

int nth_fchmod(int fd, mode_t mode)
{
    if (nth_fails(BY_FD(fd, "chmod", NTH_SET)))
        return -1;
    return (int)nth_syscall(SYS_fchmod, fd, mode);
}
ENTRY(nth_fchmod, fchmod);

int nth_fchmodat(int dir, const char *path, mode_t mode, int flags)
{
    if (nth_fails(BY_PATH(dir, path, "chmod", NTH_SET)))
        return -1;
    return REAL(int (*)(int, const char *, mode_t, int), "fchmodat")(dir, path, mode, flags);
}
ENTRY(nth_fchmodat, fchmodat);

int nth_fchownat(int dir, const char *path, uid_t user, gid_t group, int flags)
{
    if (nth_fails(BY_PATH(dir, path, "chown", NTH_SET)))
        return -1;
    return (int)nth_syscall(SYS_fchownat, dir, path, user, group, flags);
}
ENTRY(nth_fchownat, fchownat);

int nth_fchown(int fd, uid_t user, gid_t group)
{
    return nth_fchownat(fd, "", user, group, AT_EMPTY_PATH);
}
ENTRY(nth_fchown, fchown);

int nth_futimens(int fd, const struct timespec times[2])
{
    if (nth_fails(BY_FD(fd, "utimens", NTH_SET)))
        return -1;
    return (int)nth_syscall(SYS_utimensat, fd, NULL, times, 0);
}
ENTRY(nth_futimens, futimens);

/* ---- locks, and what is no file ---- */

int nth_fcntl(int fd, int command, ...)
{
    va_list more;
    va_start(more, command);
    long argument = va_arg(more, long);
    va_end(more);
    bool locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK;
    if (locks && nth_fails(BY_FD(fd, "fcntl", NTH_LOCK)))
        return -1;
    return (int)nth_syscall(SYS_fcntl, fd, command, argument);
}
ENTRY(nth_fcntl, fcntl);
ENTRY(nth_fcntl, fcntl64);

int nth_flock(int fd, int operation)
{
    if (nth_fails(BY_FD(fd, "flock", NTH_LOCK)))
        return -1;
    return (int)nth_syscall(SYS_flock, fd, operation);
}
ENTRY(nth_flock, flock);

int nth_inotify_add_watch(int fd, const char *path, uint32_t mask)
{
    if (nth_fails(BY_PATH(AT_FDCWD, path, "inotify_add_watch", NTH_WATCH)))
        return -1;
    return (int)nth_syscall(SYS_inotify_add_watch, fd, path, mask);
}
ENTRY(nth_inotify_add_watch, inotify_add_watch);

int nth_inotify_init1(int flags)
{
    if (nth_fails_without_file("inotify_init", __builtin_return_address(0)))
        return -1;
    return (int)nth_syscall(SYS_inotify_init1, flags);
}
ENTRY(nth_inotify_init1, inotify_init1);

int nth_eventfd(unsigned count, int flags)
{
    if (nth_fails_without_file("eventfd", __builtin_return_address(0)))
        return -1;
    return (int)nth_syscall(SYS_eventfd2, count, flags);
}
ENTRY(nth_eventfd, eventfd);
