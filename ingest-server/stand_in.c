/* SPDX-License-Identifier: Apache-2.0 */
/* Links and empty files in a rename's stead. Decides nothing: commit does. */
#include "stand_in.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int mr_stand_in_link(const struct mr_store *store, const struct mr_catalogue_entry *before,
                     int final_dir, const char *final, int part_dir, const char *part)
{
    char name[MR_NAMING_OLD];
    MR_CLEANUP(mr_fs_close)
    int old = mr_fs_mkdirs_durable(part_dir, MR_NAMING_OLD_DIR, store->dir_mode, store->group);
    if (old < 0)
        return old;
    mr_naming_old(&before->id, before->revision, name);
    if (unlinkat(old, name, 0) < 0 && errno != ENOENT) /* of an attempt that a crash ended */
        return -errno;
    if (linkat(final_dir, final, old, name, 0) < 0)
        return -errno;
    int r = mr_fs_sync_dir(old);
    if (r == 0 && renameat(part_dir, part, final_dir, final) < 0)
        r = -errno;
    return r;
}

int mr_stand_in_empty(int final_dir, const char *final, int part_dir, const char *part)
{
    if (unlinkat(final_dir, final, 0) < 0 && errno != ENOENT)
        return -errno;
    MR_CLEANUP(mr_fs_close)
    int fd = openat(final_dir, final, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0 || fsync(fd) < 0)
        return -errno;
    int r = mr_fs_sync_dir(final_dir);
    if (r < 0 || part_dir < 0)
        return r;
    if (unlinkat(part_dir, part, 0) < 0 && errno != ENOENT)
        return -errno;
    return mr_fs_sync_dir(part_dir);
}
