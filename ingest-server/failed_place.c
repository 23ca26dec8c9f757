/* SPDX-License-Identifier: Apache-2.0 */
/* The place of a failed movie. Moves nothing there: commit does. */
#include "failed_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

/* <root>/.millrace/failed/<ULID>, or beside the movie's own folder of parts */
static void place_of(const struct mr_ulid *id, const char *path, bool local,
                     char ret[MR_NAMING_PATH_MAX + 64])
{
    char text[MR_ULID_TEXT], dir[MR_NAMING_PATH_MAX + 1];
    const char *name;
    mr_store_split(path, dir, sizeof(dir), &name);
    snprintf(ret, MR_NAMING_PATH_MAX + 64, "%s%s.millrace/failed/%s", local ? dir : "",
             local ? "/" : "", mr_ulid_text(id, text));
}

/* An empty folder goes: it was made for a verdict that a crash cut off before it was sealed. */
static int is_kept_in(const struct mr_store *store, const char *place)
{
    char dir[MR_NAMING_PATH_MAX + 64];
    const char *name;
    mr_store_split(place, dir, sizeof(dir), &name);
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(store->root_fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    int r = unlinkat(fd, name, AT_REMOVEDIR) < 0 ? -errno : 0;
    return r == -ENOTEMPTY || r == -EEXIST ? 1 : r == -ENOENT ? 0 : r;
}

int mr_failed_is_kept(const struct mr_store *store, const struct mr_ulid *id, const char *path)
{
    char place[MR_NAMING_PATH_MAX + 64];
    place_of(id, path, false, place);
    int r = is_kept_in(store, place);
    place_of(id, path, true, place);
    return r != 0 ? r : is_kept_in(store, place);
}

int mr_failed_place(const struct mr_store *store, struct mr_dossier *d, bool local,
                    struct mr_err *err)
{
    char below[MR_NAMING_PATH_MAX + 64], dir[MR_NAMING_PATH_MAX + 1];
    const char *name;
    mr_store_split(d->path, dir, sizeof(dir), &name);
    place_of(&d->open.movie, d->path, local, below);
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
