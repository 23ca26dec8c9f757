/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk that fails one sync, or on which something happens right behind one: these stand before
 * libc's functions of the same name. Include in one file of a test.
 */
#ifndef MR_TESTS_SICK_DISK_H
#define MR_TESTS_SICK_DISK_H

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct {
    int fail_fsync, fail_fdatasync;     /* the nth from now fails with EIO; 0: none */
    int fdatasyncs;                     /* seen */
    void (*after_fdatasync)(void *ctx); /* once */
    void *ctx;
} sick_disk;

static int sick_disk_result(long number, int fd, int *fail)
{
    if (*fail > 0 && --*fail == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(number, fd);
}

int fsync(int fd)
{
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

#endif
