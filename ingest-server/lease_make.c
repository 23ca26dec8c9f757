/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the lease directory, made and removed. Decides nothing: who may claim is lease's. */
#include "lease_make.h"

#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SPARE       "spare" /* room for the next lease file */
#define SPARE_BYTES 16384

static int write_file(int fd, struct mr_lease_file *f)
{
    size_t room = MR_LEASE_BEAT_BYTES + (f->epochs.count + 1) * MR_LEASE_LINE;
    char *text = malloc(room);
    if (text == NULL)
        return -ENOMEM;
    size_t bytes = mr_lease_format_beat(0, false, text);
    bytes += mr_lease_format_holder(f, text + bytes);
    for (size_t i = 0; i < f->epochs.count; i++)
        bytes += mr_lease_format_epoch(&f->epochs.list[i], text + bytes);
    int r = mr_fs_pwrite_full(fd, text, bytes, 0);
    if (r == 0 && (ftruncate(fd, (off_t)bytes) < 0 || fsync(fd) < 0))
        r = -errno;
    f->bytes = bytes;
    free(text);
    return r;
}

void mr_lease_keep_spare(int dir)
{
    MR_CLEANUP(mr_fs_close)
    int fd = openat(dir, SPARE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd >= 0)
        mr_fs_reserve(fd, SPARE_BYTES);
}

static int open_new(int dir, const char *name)
{
    int r = renameat(dir, SPARE, dir, name);
    (void)r;                                               /* none: then there has to be room */
    int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW; /* O_TRUNC would give the room back */
    int fd = openat(dir, name, flags, 0640);
    return fd < 0 ? -errno : fd;
}

int mr_lease_make(int dir, struct mr_lease_file *f, int *ret_fd)
{
    char temporary[32], name[MR_LEASE_NAME];
    (void)snprintf(temporary, sizeof(temporary), "%016" PRIx64 ".new", f->holder.instance);
    mr_lease_name(f->generation, name);
    int fd = open_new(dir, temporary);
    if (fd < 0)
        return fd;
    int r = write_file(fd, f);
    if (r == 0)
        r = mr_fs_rename_new(dir, temporary, dir, name);
    if (r == -ENOENT) /* a new holder has tidied up meanwhile */
        r = -EEXIST;
    if (r < 0) {
        (void)unlinkat(dir, temporary, 0);
        close(fd);
        return r;
    }
    *ret_fd = fd;
    return 0;
}

void mr_lease_withdraw(int dir, uint32_t generation)
{
    char name[MR_LEASE_NAME];
    mr_lease_name(generation, name);
    (void)unlinkat(dir, name, 0);
}

void mr_lease_tidy(int lease_dir, uint32_t generation)
{
    const char *name = "";
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(lease_dir, &dir);
    while (r == 0 && (r = mr_fs_next_name(dir, &name)) == 0 && name != NULL) {
        uint32_t number = mr_lease_number(name);
        const char *dot = strrchr(name, '.');
        bool left_over = dot != NULL && strcmp(dot, ".new") == 0;
        if (left_over || (number > 0 && number + 1 < generation))
            (void)unlinkat(lease_dir, name, 0);
    }
}
