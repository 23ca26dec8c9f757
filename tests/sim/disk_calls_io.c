/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that read, write, sync and wait. Names: disk_calls.c. */
#include "open_file.h"
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#define SPACE_BYTES (UINT64_C(1) << 40)

/* ---- eventfds ---- */

int __wrap_eventfd(unsigned count, int flags)
{
    return open_file_new(&(struct open_file){
        .kind = OPEN_EVENT, .process = fibre_process(), .flags = flags, .events = count});
}

int __wrap_eventfd_write(int fd, eventfd_t value)
{
    struct open_file *f = open_file_of(fd);
    f->events += value;
    fibre_signal(f);
    return 0;
}

int __wrap_eventfd_read(int fd, eventfd_t *ret)
{
    struct open_file *f = open_file_of(fd);
    if (f->events == 0)
        return call_return(-EAGAIN);
    *ret = f->events;
    f->events = 0;
    return 0;
}

bool calls_is_readable(int fd)
{
    const struct open_file *f = open_file_of(fd);
    return f == NULL || f->kind != OPEN_EVENT || f->events > 0;
}

const void *calls_channel_of(int fd)
{
    return open_file_of(fd);
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    const void *channels[FIBRE_CHANNELS];
    int ready = 0;
    for (int round = 0; round < 2 && ready == 0; round++) {
        size_t n = 0;
        for (nfds_t i = 0; i < count; i++) {
            bool there = fds[i].fd >= 0 && calls_is_readable(fds[i].fd);
            fds[i].revents = there ? POLLIN : 0;
            ready += there;
            if (fds[i].fd >= 0)
                channels[n++] = calls_channel_of(fds[i].fd);
        }
        if (round == 0 && ready == 0 && timeout_ms != 0)
            fibre_wait(channels, n, timeout_ms < 0 ? -1 : timeout_ms * MS);
    }
    return ready;
}

ssize_t __wrap_getrandom(void *ret, size_t bytes, unsigned flags)
{
    (void)flags;
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)ret)[i] = (uint8_t)chance_next(&world_current()->chance);
    return (ssize_t)bytes;
}

/* ---- reading ---- */

ssize_t __wrap_pread64(int fd, void *data, size_t bytes, off_t offset)
{
    struct open_file *f = open_file_of(fd);
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    call_enter(false);
    int fault = call_fault(false);
    if (fault != 0)
        return call_return(-fault);
    bool direct = (f->flags & O_DIRECT) != 0;
    if (direct && ((uintptr_t)data % 512 != 0 || bytes % 512 != 0 || offset % 512 != 0))
        return call_return(-EINVAL);
    return (ssize_t)disk_read(f->inode, f->view, direct, data, bytes, (uint64_t)offset);
}

ssize_t __wrap_read(int fd, void *data, size_t bytes)
{
    struct open_file *f = open_file_of(fd);
    eventfd_t value;
    if (f == NULL)
        return __real_read(fd, data, bytes);
    if (f->kind == OPEN_EVENT) {
        if (__wrap_eventfd_read(fd, &value) < 0)
            return -1;
        memcpy(data, &value, sizeof(value));
        return sizeof(value);
    }
    ssize_t n = __wrap_pread64(fd, data, bytes, (off_t)f->offset);
    f->offset += n > 0 ? (uint64_t)n : 0;
    return n;
}

/* ---- writing ---- */

/* How much of it the disk takes: a full one what was allocated before. */
static size_t room_for(struct world *w, const struct inode *i, size_t bytes, uint64_t offset)
{
    uint64_t end = i->allocated > i->now.size ? i->allocated : i->now.size;
    if (w->disk->room != DISK_FULL || offset + bytes <= end)
        return bytes;
    return offset >= end ? 0 : (size_t)(end - offset);
}

static ssize_t write_at(struct open_file *f, const void *data, size_t bytes, uint64_t offset)
{
    struct world *w = world_current();
    call_enter(true);
    int fault = call_fault(true);
    if (fault != 0)
        return call_return(-fault);
    if ((f->flags & O_APPEND) != 0)
        offset = f->inode->now.size;
    bool direct = (f->flags & O_DIRECT) != 0;
    if (direct && ((uintptr_t)data % 512 != 0 || bytes % 512 != 0 || offset % 512 != 0))
        return call_return(-EINVAL);
    size_t n = room_for(w, f->inode, bytes, offset);
    if (n == 0 && bytes > 0)
        return call_return(-ENOSPC);
    if (n > 1 && !fibre_is_alone() && world_mishap(w, 150)) {
        n = 1 + (size_t)chance_below(&w->chance, n - 1);
        w->disk_troubled = true;
    }
    oracle_before_write(w, f->inode);
    disk_write(w->disk, f->inode, data, n, offset);
    return (ssize_t)n;
}

ssize_t __wrap_write(int fd, const void *data, size_t bytes)
{
    struct open_file *f = open_file_of(fd);
    uint64_t value;
    if (f == NULL)
        return __real_write(fd, data, bytes);
    if (f->kind == OPEN_EVENT) {
        memcpy(&value, data, sizeof(value));
        __wrap_eventfd_write(fd, value);
        return (ssize_t)bytes;
    }
    ssize_t n = write_at(f, data, bytes, f->offset);
    if (n > 0)
        f->offset = (f->flags & O_APPEND) != 0 ? f->inode->now.size : f->offset + (uint64_t)n;
    return n;
}

off_t __wrap_lseek64(int fd, off_t offset, int whence)
{
    const struct open_file *f = open_file_of(fd);
    if (f == NULL || f->inode == NULL || offset != 0 || whence != SEEK_CUR)
        return call_return(-EBADF);
    return (off_t)f->offset;
}

ssize_t __wrap_pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    struct open_file *f = open_file_of(fd);
    struct world *w = world_current();
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    if (!fibre_is_alone() && bytes >= DISK_PAGE) /* a slab: the device takes its time */
        fibre_pause(chance_between(&w->chance, 0, world_mishap(w, 60) ? 1500 : 12) * MS);
    return write_at(f, data, bytes, (uint64_t)offset);
}

int __wrap_ftruncate64(int fd, off_t size)
{
    struct open_file *f = open_file_of(fd);
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    call_enter(true);
    int fault = call_fault(true);
    if (fault != 0)
        return call_return(-fault);
    oracle_before_write(world_current(), f->inode);
    disk_truncate(world_current()->disk, f->inode, (uint64_t)size);
    return 0;
}

static int punch(struct inode *i, uint64_t from, uint64_t bytes)
{
    static const uint8_t zeros[DISK_PAGE];
    struct world *w = world_current();
    uint64_t end = from + bytes < i->now.size ? from + bytes : i->now.size;
    oracle_before_write(w, i);
    for (uint64_t at = from; at < end; at += DISK_PAGE)
        disk_write(w->disk, i, zeros, end - at < DISK_PAGE ? (size_t)(end - at) : DISK_PAGE, at);
    return 0;
}

int __wrap_fallocate64(int fd, int mode, off_t from, off_t bytes)
{
    struct open_file *f = open_file_of(fd);
    struct world *w = world_current();
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    call_enter(true);
    int fault = call_fault(true);
    if (fault == 0 && w->disk_plain)
        fault = EOPNOTSUPP;
    if (fault != 0)
        return call_return(-fault);
    if ((mode & FALLOC_FL_PUNCH_HOLE) != 0)
        return punch(f->inode, (uint64_t)from, (uint64_t)bytes);
    if (w->disk->room == DISK_FULL)
        return call_return(-ENOSPC);
    uint64_t end = (uint64_t)(from + bytes);
    f->inode->allocated = end > f->inode->allocated ? end : f->inode->allocated;
    if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && end > f->inode->now.size) {
        oracle_before_write(w, f->inode);
        disk_truncate(w->disk, f->inode, end);
    }
    return 0;
}

/* ---- syncing ---- */

/* As Linux does: what failed to be written counts as written, and each open file is told once. */
static int sync_fails(struct open_file *f, struct disk_sync *sync)
{
    struct world *w = world_current();
    struct inode *i = f->inode;
    bool told = S_ISREG(i->mode) && f->errors_told < i->write_errors;
    bool fails = w->disk_errors && world_mishap(w, 40);
    if (fails)
        disk_sync_fail(w->disk, sync);
    f->errors_told = i->write_errors;
    if (!fails && !told)
        return 0;
    TRACE(w, "fsync of inode %llu fails", (unsigned long long)i->number);
    if (!fails)
        disk_sync_end(w->disk, sync, true);
    f->sync_failed = S_ISREG(i->mode);
    return -EIO;
}

static int sync_file(int fd, bool data_only)
{
    struct open_file *f = open_file_of(fd);
    struct world *w = world_current();
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    call_enter(true);
    PROMISE(w, !f->sync_failed || !disk_has_lost(f->inode),
            "an fsync is tried again, and what the last one lost was not written anew");
    struct disk_sync *sync = disk_sync_begin(w->disk, f->inode);
    serverside_hold_sync(fibre_process(), sync);
    int64_t longest = world_mishap(w, 60) ? 1500 : S_ISDIR(f->inode->mode) ? 2 : 15;
    fibre_pause(chance_between(&w->chance, 0, longest) * MS);
    serverside_hold_sync(fibre_process(), sync);
    int r = sync_fails(f, sync);
    if (r == 0)
        disk_sync_end(w->disk, sync, data_only);
    return call_return(r);
}

int __wrap_fsync(int fd)
{
    return sync_file(fd, false);
}

int __wrap_fdatasync(int fd)
{
    return sync_file(fd, true);
}

/* Of everything as it is when the call begins, or as it is when it ends. An error is told to each
 * open file that asks, once. */
int __wrap_syncfs(int fd)
{
    struct open_file *f = open_file_of(fd);
    struct world *w = world_current();
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    call_enter(true);
    bool at_once = chance_one_in(&w->chance, 2), fails = w->disk_errors && world_mishap(w, 40);
    if (at_once)
        disk_sync_all(w->disk, fails);
    fibre_pause(chance_between(&w->chance, 0, world_mishap(w, 60) ? 1500 : 15) * MS);
    if (!at_once)
        disk_sync_all(w->disk, fails);
    bool told = f->errors_told < w->disk->write_errors;
    f->errors_told = w->disk->write_errors;
    if (!told)
        return 0;
    TRACE(w, "syncfs fails");
    return call_return(-EIO);
}

int __wrap_posix_fadvise64(int fd, off_t from, off_t bytes, int advice)
{
    const struct open_file *f = open_file_of(fd);
    (void)from;
    (void)bytes;
    if (f != NULL && advice == POSIX_FADV_DONTNEED)
        disk_forget_clean(f->inode);
    return 0;
}

/* ---- the file system ---- */

int __wrap_fstatvfs64(int fd, struct statvfs *ret)
{
    const struct world *w = world_current();
    (void)fd;
    bool full = w->disk->room == DISK_FULL;
    *ret = (struct statvfs){.f_bsize = DISK_PAGE,
                            .f_frsize = DISK_PAGE,
                            .f_blocks = SPACE_BYTES / DISK_PAGE,
                            .f_bfree = full ? 0 : SPACE_BYTES / DISK_PAGE / 2,
                            .f_bavail = full ? 0 : SPACE_BYTES / DISK_PAGE / 2};
    return 0;
}

int __wrap_fstatfs64(int fd, struct statfs *ret)
{
    (void)fd;
    *ret = (struct statfs){.f_type = 0xEF53, .f_bsize = DISK_PAGE};
    return 0;
}

int __wrap_futimens(int fd, const struct timespec times[2])
{
    const struct open_file *f = open_file_of(fd);
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    f->inode->mtime_ns = times[1].tv_sec * INT64_C(1000000000) + times[1].tv_nsec;
    return 0;
}

int __wrap_fchmod(int fd, mode_t mode)
{
    const struct open_file *f = open_file_of(fd);
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    f->inode->mode = (f->inode->mode & S_IFMT) | (mode & 07777);
    return 0;
}

int __wrap_fchown(int fd, uid_t user, gid_t group)
{
    (void)fd;
    (void)user;
    (void)group;
    return 0;
}

ssize_t __wrap_fgetxattr(int fd, const char *name, void *ret, size_t size)
{
    (void)fd;
    (void)name;
    (void)ret;
    (void)size;
    return call_return(-ENODATA);
}

int __wrap_flock(int fd, int operation)
{
    const struct open_file *f = open_file_of(fd);
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    if ((operation & LOCK_UN) != 0)
        f->inode->lock = NULL;
    else if (f->inode->lock != NULL && f->inode->lock != f->process)
        return call_return(-EWOULDBLOCK);
    else
        f->inode->lock = f->process;
    return 0;
}

int __wrap_fcntl64(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    int value = command == F_SETFL ? va_arg(args, int) : 0;
    va_end(args);
    struct open_file *f = open_file_of(fd);
    if (f == NULL)
        return call_return(-EBADF);
    if (command == F_SETFL)
        f->flags = value;
    return command == F_GETFL ? f->flags : 0;
}
