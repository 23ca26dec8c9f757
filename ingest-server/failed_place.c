/* SPDX-License-Identifier: Apache-2.0 */
/* The place of a failed movie. Moves nothing there: commit does. */
#include "failed_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* An empty folder goes: it was made for a verdict that a crash cut off before it was sealed. */
static int is_kept_in(int failed_dir, const char *id)
{
    int r = unlinkat(failed_dir, id, AT_REMOVEDIR) < 0 ? -errno : 0;
    return r == -ENOTEMPTY || r == -EEXIST ? 1 : r == -ENOENT ? 0 : r;
}

int mr_failed_is_kept(const struct mr_store *store, const struct mr_ulid *id, const char *path)
{
    char text[MR_ULID_TEXT], dir[MR_NAMING_PATH_MAX + 1], local[MR_NAMING_PATH_MAX + 64];
    const char *name;
    int r = is_kept_in(store->failed_fd, mr_ulid_text(id, text));
    if (r != 0)
        return r;
    mr_store_split(path, dir, sizeof(dir), &name);
    (void)snprintf(local, sizeof(local), "%s/.millrace/failed", dir);
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(store->root_fd, local, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    return fd == -ENOENT ? 0 : fd < 0 ? fd : is_kept_in(fd, text);
}

int mr_failed_place(const struct mr_store *store, struct mr_dossier *d, bool local,
                    struct mr_err *err)
{
    char id[MR_ULID_TEXT], dir[MR_NAMING_PATH_MAX + 1], below[MR_NAMING_PATH_MAX + 64];
    const char *name;
    mr_store_split(d->path, dir, sizeof(dir), &name);
    snprintf(below, sizeof(below), "%s%s.millrace/failed/%s", local ? dir : "", local ? "/" : "",
             mr_ulid_text(&d->open.movie, id));
    int fd = mr_fs_mkdirs_durable(store->root_fd, below, 0750, (gid_t)-1);
    if (fd < 0)
        return mr_err_errno(err, fd, "%s", below);
    close(fd);
    int length = snprintf(d->sealed.path, sizeof(d->sealed.path), "%s/%s", below, name);
    return length < (int)sizeof(d->sealed.path) ? 0 : mr_err_errno(err, -ENAMETOOLONG, "%s", below);
}

uint16_t mr_failed_code(const struct mr_fail *fail)
{
    return fail->code == 0 ? MR_REASON_SOURCE : fail->code;
}
