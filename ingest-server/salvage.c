/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copying what verifies. Reads through the page cache: what the disk did not take may still be in
 * memory, and then it is right. Does not sync and does not judge what the copy is good for.
 */
#include "salvage.h"

#include "base/crc64.h"
#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int copy_slab(int from, int to, const struct mr_placement *p, uint8_t *buffer)
{
    if (mr_fs_pread_full(from, buffer, p->stored_bytes, p->offset) < 0 ||
        mr_crc64(0, buffer, p->stored_bytes) != p->crc_stored)
        return 0;
    return mr_fs_pwrite_full(to, buffer, p->stored_bytes, p->offset);
}

static int copy_slabs(int from, int to, const struct mr_dossier *d)
{
    struct stat st;
    uint8_t *buffer = malloc(MR_MOVIE_BUFFER_BYTES);
    int r = buffer == NULL ? -ENOMEM : 0;
    if (r == 0 && fstat(from, &st) < 0)
        r = -errno;
    if (r == 0 && (ftruncate(to, st.st_size) < 0 || fchmod(to, st.st_mode & 07777) < 0))
        r = -errno;
    if (r == 0 && fchown(to, (uid_t)-1, st.st_gid) < 0 && errno != EPERM)
        r = -errno;
    for (uint64_t i = 0; r == 0 && i < d->slab_count; i++)
        if (d->slabs[i].raw_bytes > 0 && d->slabs[i].stored_bytes <= MR_MOVIE_BUFFER_BYTES)
            r = copy_slab(from, to, &d->slabs[i], buffer);
    free(buffer);
    return r;
}

int mr_salvage_part(const struct mr_movie *movie, const struct mr_dossier *d, struct mr_err *err)
{
    char name[80];
    int dir = movie->part_dir_fd;
    snprintf(name, sizeof(name), "%s.copy", movie->part_name);
    unlinkat(dir, name, 0); /* of an attempt before */
    MR_CLEANUP(mr_fs_close)
    int from = openat(dir, movie->part_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    MR_CLEANUP(mr_fs_close)
    int to = from < 0
                 ? -1
                 : openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = from < 0 || to < 0 ? -errno : copy_slabs(from, to, d);
    if (r == 0 && renameat(dir, name, dir, movie->part_name) < 0)
        r = -errno;
    if (r == 0)
        return 0;
    if (to >= 0)
        unlinkat(dir, name, 0);
    return mr_err_errno(err, r, "part %s: copying what of it is good", movie->part_name);
}
