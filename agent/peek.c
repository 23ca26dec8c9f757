/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads beginnings of files and mdocs. Understands neither.
 */
#include "peek.h"

#include "base/text.h"
#include "wire/message.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>

int mr_peek_head(int root, const char *path, const struct mr_fs_facts *facts, size_t want,
                 uint8_t *ret, size_t *ret_bytes, bool *ret_current)
{
    struct mr_fs_facts now;
    if (want > facts->size)
        want = (size_t)facts->size;
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0)
        return fd;
    int code = mr_fs_pread_full(fd, ret, want, 0), seen = mr_fs_stat(fd, "", &now);
    if (seen < 0)
        return seen;
    if (code == -ENODATA || !mr_fs_same(&now.identity, &facts->identity))
        return -ESTALE;
    if (code < 0)
        return code;
    *ret_bytes = want;
    *ret_current = now.size == facts->size && now.mtime_ns == facts->mtime_ns;
    return 0;
}

char *mr_peek_mdoc(int root, const char *path)
{
    char name[MR_PATH_MAX + 8];
    struct mr_fs_facts facts;
    char *text;
    size_t bytes;
    struct mr_text t = mr_text_init(name, sizeof(name));
    mr_text_append(&t, path);
    mr_text_append(&t, ".mdoc");
    if (mr_fs_stat(root, name, &facts) != 0 || !S_ISREG(facts.mode))
        return NULL;
    return mr_fs_read_file(root, name, MR_PEEK_MDOC_MAX, &text, &bytes) == 0 ? text : NULL;
}

/* Magic numbers of statfs(2): ext4, XFS, Btrfs, tmpfs, F2FS, ZFS. */
static bool is_local(int fd)
{
    static const unsigned long magics[] = {0xEF53,     0x58465342, 0x9123683E,
                                           0x01021994, 0xF2F52010, 0x2FC12FC1};
    struct statfs fs;
    if (fstatfs(fd, &fs) != 0)
        return false;
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
        if ((unsigned long)fs.f_type == magics[i])
            return true;
    return false;
}

/* The signal about a writer that waits is one that is ignored by default: SIGIO would kill. */
int mr_peek_lease(int fd)
{
    if (!is_local(fd))
        return -EOPNOTSUPP;
    bool leased = fcntl(fd, F_SETSIG, SIGURG) == 0 && fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
    return leased ? 0 : -errno;
}

void mr_peek_unlease(int fd)
{
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
}

bool mr_peek_unwritten(int root, const char *path)
{
    struct stat st;
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(root, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || mr_peek_lease(fd) < 0)
        return false;
    mr_peek_unlease(fd); /* a writer that came in between is let in, microseconds later */
    return true;
}
