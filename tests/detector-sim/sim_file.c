/* SPDX-License-Identifier: Apache-2.0 */
/* A growing file, buffered as stdio would. Does not fsync: no camera does. */
#include "sim_file.h"

#include "base/crc64.h"
#include "base/fs.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int set_aside(const char *path, struct mr_err *err)
{
    char old[4096];
    if (access(path, F_OK) != 0)
        return 0;
    if (snprintf(old, sizeof(old), "%s~", path) >= (int)sizeof(old))
        return mr_err_errno(err, -ENAMETOOLONG, "%s~", path);
    return rename(path, old) == 0 ? 0 : mr_err_errno(err, -errno, "rename %s to %s~", path, path);
}

int mr_sim_file_create(struct mr_sim_file *f, const char *path, struct mr_err *err)
{
    int r = set_aside(path, err);
    if (r < 0)
        return r;
    *f = (struct mr_sim_file){.path = path};
    f->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return f->fd >= 0 ? 0 : mr_err_errno(err, -errno, "%s", path);
}

static int put(struct mr_sim_file *f, const void *data, size_t bytes, uint64_t offset,
               struct mr_err *err)
{
    int r = mr_fs_pwrite_full(f->fd, data, bytes, offset);
    return r < 0 ? mr_err_errno(err, r, "%s", f->path) : 0;
}

static int flush(struct mr_sim_file *f, struct mr_err *err)
{
    uint32_t waiting = f->waiting;
    f->waiting = 0;
    return waiting == 0 ? 0 : put(f, f->block, waiting, f->bytes - waiting, err);
}

static size_t fill_block(struct mr_sim_file *f, const uint8_t *data, size_t bytes)
{
    size_t room = MR_SIM_FILE_BLOCK - f->waiting, taken = bytes < room ? bytes : room;
    memcpy(f->block + f->waiting, data, taken);
    f->waiting += (uint32_t)taken;
    f->bytes += taken;
    return taken;
}

int mr_sim_file_append(struct mr_sim_file *f, const void *data, size_t bytes, uint64_t *ret_crc,
                       struct mr_err *err)
{
    const uint8_t *at = data;
    uint64_t crc = mr_crc64(0, data, bytes);
    int r = 0;
    f->crc = mr_crc64_combine(f->crc, crc, bytes);
    if (ret_crc != NULL)
        *ret_crc = crc;
    if (f->waiting > 0) {
        size_t taken = fill_block(f, at, bytes);
        at += taken;
        bytes -= taken;
    }
    if (f->waiting == MR_SIM_FILE_BLOCK)
        r = flush(f, err);
    size_t direct = bytes - bytes % MR_SIM_FILE_BLOCK;
    if (r == 0 && f->waiting == 0 && direct > 0) {
        r = put(f, at, direct, f->bytes, err);
        f->bytes += direct;
        at += direct;
        bytes -= direct;
    }
    if (r == 0 && bytes > 0)
        (void)fill_block(f, at, bytes);
    return r;
}

void mr_sim_file_skip(struct mr_sim_file *f, uint64_t bytes)
{
    assert(f->bytes == 0);
    f->bytes = bytes;
    f->crc = mr_crc64_zeros(0, bytes);
}

/* CRC is linear: the difference two texts of one length make is that between `change` and zeros. */
static uint64_t crc_of_change(uint64_t whole, uint64_t offset, const uint8_t *change, size_t bytes)
{
    uint64_t crc = mr_crc64(mr_crc64_zeros(0, offset), change, bytes);
    return mr_crc64_zeros(crc, whole - offset - bytes) ^ mr_crc64_zeros(0, whole);
}

/* What lies there now; a hole that nothing was written behind reads as zeros. */
static int read_back(struct mr_sim_file *f, uint64_t offset, uint8_t *ret, size_t bytes,
                     struct mr_err *err)
{
    memset(ret, 0, bytes);
    int r = mr_fs_pread_full(f->fd, ret, bytes, offset);
    return r < 0 && r != -ENODATA ? mr_err_errno(err, r, "%s", f->path) : 0;
}

int mr_sim_file_patch(struct mr_sim_file *f, uint64_t offset, const void *data, size_t bytes,
                      struct mr_err *err)
{
    uint8_t change[MR_SIM_FILE_BLOCK];
    assert(bytes <= sizeof(change) && offset + bytes <= f->bytes);
    int r = flush(f, err);
    if (r == 0)
        r = read_back(f, offset, change, bytes, err);
    if (r == 0)
        r = put(f, data, bytes, offset, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < bytes; i++)
        change[i] ^= ((const uint8_t *)data)[i];
    f->crc ^= crc_of_change(f->bytes, offset, change, bytes);
    return 0;
}

int mr_sim_file_close(struct mr_sim_file *f, struct mr_err *err)
{
    int r = flush(f, err), fd = f->fd;
    f->fd = -1;
    if (close(fd) != 0 && r == 0)
        r = mr_err_errno(err, -errno, "%s", f->path);
    return r;
}

void mr_sim_file_abandon(struct mr_sim_file *f)
{
    if (f->fd >= 0)
        (void)close(f->fd);
    f->fd = -1;
}
