/* SPDX-License-Identifier: Apache-2.0 */
/* The cursor's file. One process per cursor is the user's affair. */
#include "client/cursor.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void free_text(char **text)
{
    free(*text);
}

int mr_cursor_read(const char *path, uint64_t *ret_sequence, struct mr_err *err)
{
    MR_CLEANUP(free_text) char *text = NULL;
    size_t bytes;
    int r = mr_fs_read_file(AT_FDCWD, path, 64, &text, &bytes);
    if (r == -ENOENT)
        return r;
    if (r == -EFBIG)
        return mr_err_set(err, -EINVAL, "%s: not a cursor (one number)", path);
    if (r < 0)
        return mr_err_errno(err, r, "%s", path);
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 18 || (strcmp(text + digits, "\n") != 0 && text[digits] != '\0'))
        return mr_err_set(err, -EINVAL, "%s: not a cursor (one number)", path);
    *ret_sequence = strtoull(text, NULL, 10);
    return 0;
}

static int write_new(int dir, const char *name, uint64_t sequence)
{
    char text[32];
    int n = snprintf(text, sizeof(text), "%" PRIu64 "\n", sequence);
    MR_CLEANUP(mr_fs_close)
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int r = mr_fs_pwrite_full(fd, text, (size_t)n, 0);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

int mr_cursor_write(const char *path, uint64_t sequence, struct mr_err *err)
{
    char name[PATH_MAX], folder[PATH_MAX], fresh[NAME_MAX + 1];
    if (strlen(path) >= PATH_MAX)
        return mr_err_errno(err, -ENAMETOOLONG, "%s", path);
    strcpy(name, path);
    strcpy(folder, path);
    const char *base = basename(name);
    if (snprintf(fresh, sizeof(fresh), ".%s.new", base) >= (int)sizeof(fresh))
        return mr_err_errno(err, -ENAMETOOLONG, "%s", path);
    MR_CLEANUP(mr_fs_close) int dir = open(dirname(folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = dir < 0 ? -errno : write_new(dir, fresh, sequence);
    if (r == 0 && renameat(dir, fresh, dir, base) < 0)
        r = -errno;
    if (r == 0)
        r = mr_fs_sync_dir(dir);
    return r < 0 ? mr_err_errno(err, r, "%s: writing the cursor", path) : 0;
}
