/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails one sync, or on which something happens right behind one, or that has no room:
 * these stand before libc's functions of the same name. Include in one file of a test.
 */
#ifndef MR_TESTS_SICK_DISK_H
#define MR_TESTS_SICK_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Counts and errnos may be set while threads of the program run; what is called may not. */
static struct {
    _Atomic int fail_fsync, fail_fdatasync; /* the nth from now fails with EIO; 0: none */
    const char *_Atomic no_sync_of;         /* end of a directory's path: each fsync of it: EIO */
    _Atomic int fail_rewrite;               /* likewise: opening what is there, to write alone */
    _Atomic int fdatasyncs;                 /* seen */
    void (*after_fdatasync)(void *ctx);     /* once */
    void (*before_rename)(void *ctx);       /* likewise, of renameat2 */
    void *ctx;
    _Atomic int no_room;       /* errno of every write to a file, behind room_bytes more; 0: none */
    _Atomic size_t room_bytes; /* that still fit */
    _Atomic int no_journals;   /* errno of every opening of a journal to be read; 0: none */
    _Atomic int no_files;      /* errno of every attempt to make a file; 0: none */
    _Atomic int no_exchange;   /* errno of every RENAME_EXCHANGE; 0: none */
    _Atomic int no_noreplace;  /* likewise of RENAME_NOREPLACE */
    _Atomic int no_unlinks;    /* errno of every unlink of what is there; 0: none */
    _Atomic unsigned unlinks_failed; /* by that */
} sick_disk;

static int sick_disk_result(long number, int fd, _Atomic int *fail)
{
    if (*fail > 0 && --*fail == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, fd);
}

static bool sick_disk_is(int fd, const char *end)
{
    char link[64], path[4096];
    if (end == NULL)
        return false;
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof(path));
    return n >= (ssize_t)strlen(end) && strncmp(path + n - strlen(end), end, strlen(end)) == 0;
}

int fsync(int fd)
{
    if (sick_disk_is(fd, sick_disk.no_sync_of)) {
        errno = EIO;
        return -1;
    }
    return sick_disk_result(SYS_fsync, fd, &sick_disk.fail_fsync);
}

int fdatasync(int fd)
{
    sick_disk.fdatasyncs++;
    int r = sick_disk_result(SYS_fdatasync, fd, &sick_disk.fail_fdatasync);
    void (*after)(void *ctx) = sick_disk.after_fdatasync;
    sick_disk.after_fdatasync = NULL;
    if (after != NULL)
        after(sick_disk.ctx);
    return r;
}

ssize_t write(int fd, const void *data, size_t bytes)
{
    struct stat st;
    if (sick_disk.no_room == 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return syscall(SYS_write, fd, data, bytes);
    if (sick_disk.room_bytes == 0) {
        errno = sick_disk.no_room;
        return -1;
    }
    bytes = bytes < sick_disk.room_bytes ? bytes : sick_disk.room_bytes;
    sick_disk.room_bytes -= bytes;
    return syscall(SYS_write, fd, data, bytes);
}

int openat(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    unsigned mode = flags & O_CREAT ? va_arg(args, unsigned) : 0;
    va_end(args);
    if ((flags & O_CREAT) != 0 && sick_disk.no_files != 0) {
        errno = sick_disk.no_files;
        return -1;
    }
    bool read = (flags & (O_CREAT | O_ACCMODE | O_PATH)) == O_RDONLY;
    if (read && sick_disk.no_journals != 0 && strstr(path, ".journal") != NULL) {
        errno = sick_disk.no_journals;
        return -1;
    }
    bool rewrite = (flags & (O_CREAT | O_ACCMODE | O_PATH)) == O_WRONLY;
    if (rewrite && sick_disk.fail_rewrite > 0 && --sick_disk.fail_rewrite == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_openat, dir, path, flags, mode);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    int no = (flags & RENAME_EXCHANGE) != 0    ? sick_disk.no_exchange
             : (flags & RENAME_NOREPLACE) != 0 ? sick_disk.no_noreplace
                                               : 0;
    void (*before)(void *ctx) = sick_disk.before_rename;
    sick_disk.before_rename = NULL;
    if (before != NULL)
        before(sick_disk.ctx);
    if (no != 0) {
        errno = no;
        return -1;
    }
    return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int unlinkat(int dir, const char *path, int flags)
{
    struct stat st;
    if (sick_disk.no_unlinks != 0 && fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = sick_disk.no_unlinks;
        sick_disk.unlinks_failed++;
        return -1;
    }
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

#endif
