/* SPDX-License-Identifier: Apache-2.0 */
/* Reading past the page cache. Knows no slab and no digest that should come out. */
#include "reread.h"

#include "base/crc64.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ALIGNMENT_MAX 65536u

int mr_reread_init(struct mr_reread *ret)
{
    uint8_t *buffer = aligned_alloc(ALIGNMENT_MAX, MR_REREAD_BUFFER_BYTES);
    if (buffer == NULL)
        return -ENOMEM;
    *ret = (struct mr_reread){.fd = -1, .alignment = 1, .buffer = buffer};
    return 0;
}

void mr_reread_fini(struct mr_reread *r)
{
    if (r->buffer == NULL)
        return;
    mr_reread_close(r);
    free(r->buffer);
    r->buffer = NULL;
}

void mr_reread_close(struct mr_reread *r)
{
    mr_fs_close(&r->fd);
}

/* tmpfs before Linux 6.6 and some network file systems refuse the flag. */
static bool go_direct(int fd, uint32_t *ret_alignment)
{
    uint32_t alignment;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || mr_fs_direct_alignment(fd, &alignment) < 0 || alignment > ALIGNMENT_MAX ||
        fcntl(fd, F_SETFL, flags | O_DIRECT) < 0)
        return false;
    *ret_alignment = alignment;
    return true;
}

int mr_reread_take(struct mr_reread *r, int fd, bool direct)
{
    mr_reread_close(r);
    r->fd = fd;
    r->alignment = 1;
    r->direct = direct && go_direct(fd, &r->alignment);
    return 0;
}

int mr_reread_open(struct mr_reread *r, int dirfd, const char *name, bool direct)
{
    mr_reread_close(r);
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : mr_reread_take(r, fd, direct);
}

/* At least one byte from `offset` on; *ret_skip: of what was read, bytes before it. */
static ssize_t read_some(struct mr_reread *r, uint64_t offset, uint64_t bytes, size_t *ret_skip)
{
    size_t skip = (size_t)(offset % r->alignment);
    uint64_t want = (skip + bytes + r->alignment - 1) / r->alignment * r->alignment;
    if (want > MR_REREAD_BUFFER_BYTES)
        want = MR_REREAD_BUFFER_BYTES;
    ssize_t got;
    do
        got = pread(r->fd, r->buffer, (size_t)want, (off_t)(offset - skip));
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return -errno;
    *ret_skip = skip;
    return (size_t)got <= skip ? -ENODATA : got;
}

int mr_reread_crc(struct mr_reread *r, uint64_t offset, uint64_t bytes, uint64_t *crc)
{
    if (!r->direct)
        (void)posix_fadvise(r->fd, (off_t)offset, (off_t)bytes, POSIX_FADV_DONTNEED);
    while (bytes > 0) {
        size_t skip = 0;
        ssize_t got = read_some(r, offset, bytes, &skip);
        if (got < 0)
            return (int)got;
        size_t take = (size_t)got - skip;
        if (take > bytes)
            take = (size_t)bytes;
        *crc = mr_crc64(*crc, r->buffer + skip, take);
        offset += take;
        bytes -= take;
    }
    return 0;
}
