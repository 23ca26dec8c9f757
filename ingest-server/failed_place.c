/* SPDX-License-Identifier: Apache-2.0 */
/* The place of a failed movie. Moves nothing there: commit does. */
#include "failed_place.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

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
