/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and finding parts. The journal with its OPEN record is durable before the part exists, so
 * a part is never without a journal that names it. Decides nothing about movies.
 */
#include "slipway.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "base/recordlog.h"
#include "discard.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE "berth"

static int open_part_file(const struct mr_store *store, struct mr_movie *movie, int flags)
{
    movie->direct = store->direct_io != MR_DIRECT_OFF;
    int fd = -EINVAL;
    int mode = mr_store_create_mode(store, movie->part_dir_fd);
    if (mode < 0)
        return mode;
    if (movie->direct)
        fd = openat(movie->part_dir_fd, movie->part_name, flags | O_DIRECT, (mode_t)mode);
    if (movie->direct && fd < 0 && errno != EINVAL)
        return -errno;
    if (fd >= 0)
        return fd;
    if (movie->direct && store->direct_io == MR_DIRECT_ON)
        return -EINVAL;
    movie->direct = false; /* tmpfs and some network file systems refuse O_DIRECT */
    fd = openat(movie->part_dir_fd, movie->part_name, flags & ~O_EXCL, (mode_t)mode);
    return fd < 0 ? -errno : fd;
}

static int open_part(const struct mr_store *store, struct mr_movie *movie, int flags,
                     struct mr_err *err)
{
    int fd = open_part_file(store, movie, flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return mr_err_errno(err, fd, "part %s%s", movie->part_name,
                            store->direct_io == MR_DIRECT_ON ? " (store.direct_io: on)" : "");
    movie->part_fd = fd;
    if (!movie->direct)
        return 0;
    int r = mr_fs_direct_alignment(fd, &movie->alignment);
    if (r < 0)
        return mr_err_errno(err, r, "part %s: alignment of direct I/O", movie->part_name);
    if (mr_movie_direct_fits(&movie->geometry, movie->alignment))
        return 0;
    movie->direct = false;
    movie->alignment = 1;
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_DIRECT) < 0)
        return mr_err_errno(err, -errno, "part %s", movie->part_name);
    return 0;
}

struct mr_movie *mr_slipway_movie(const struct mr_dossier *d)
{
    struct mr_movie *movie = mr_movie_new();
    if (movie == NULL)
        return NULL;
    movie->id = d->open.movie;
    movie->revision = d->open.revision;
    movie->generation = d->generation;
    movie->geometry = d->open.geometry;
    movie->codec = d->open.codec;
    uint64_t first = movie->geometry.layout == MR_LAYOUT_CHUNKS ? MR_SLAB_ALIGN : 0;
    uint64_t end = d->space_end > first ? d->space_end : first;
    const uint64_t step = MR_MOVIE_SLACK; /* no two lives of the server share an aligned block */
    atomic_store(&movie->space_end, d->space_end > first ? (end + step - 1) / step * step : first);
    mr_dossier_name(&movie->id, movie->generation, "part", movie->part_name);
    mr_dossier_name(&movie->id, movie->generation, "journal", movie->journal_name);
    return movie;
}

static int open_journal(const struct mr_store *store, struct mr_movie *movie, int flags,
                        struct mr_err *err)
{
    movie->journal_fd = openat(store->journal_fd, movie->journal_name,
                               flags | O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    return movie->journal_fd < 0 ? mr_err_errno(err, -errno, "journal %s", movie->journal_name) : 0;
}

bool mr_slipway_remove(const struct mr_store *store, const struct mr_ulid *id, uint32_t generation,
                       const char *path)
{
    char text[MR_ULID_TEXT];
    int r = mr_discard_one(store, id, generation, path);
    if (r < 0)
        mr_error(STAGE, "%s.g%" PRIu32 " is of no use and cannot be removed: %s",
                 mr_ulid_text(id, text), generation, mr_err_name(r));
    return r == 0;
}

/* A line that a crash cut short would swallow the next one. What was read may be in memory only:
 * it is told as durable, so it is made so; where that fails, none of it is to be relied on. */
static int reopen_journal(const struct mr_store *store, struct mr_movie *movie,
                          const struct mr_dossier *d, struct mr_err *err)
{
    int r = open_journal(store, movie, 0, err);
    if (r == 0 && d->torn && ftruncate(movie->journal_fd, (off_t)d->good_bytes) < 0)
        r = mr_err_errno(err, -errno, "journal %s", movie->journal_name);
    if (r < 0 || fdatasync(movie->journal_fd) == 0)
        return r;
    mr_err_errno(err, -errno, "journal %s", movie->journal_name);
    mr_slipway_remove(store, &movie->id, movie->generation, d->path);
    return -EIO;
}

static int begin_journal(const struct mr_store *store, struct mr_movie *movie,
                         const struct mr_dossier *d, struct mr_err *err)
{
    char *line = NULL;
    size_t bytes = 0;
    int r = open_journal(store, movie, O_CREAT | O_EXCL, err);
    if (r < 0)
        return r;
    r = mr_dossier_open_line(d, &line, &bytes);
    if (r == 0)
        r = mr_recordlog_append(movie->journal_fd, line, bytes);
    free(line);
    if (r == 0 && fdatasync(movie->journal_fd) < 0)
        r = -errno;
    if (r == 0)
        r = mr_fs_sync_dir(store->journal_fd);
    if (r == 0)
        return 0;
    /* No part was made by it: gone, it need not be synced again to see what the disk has of it. */
    (void)unlinkat(store->journal_fd, movie->journal_name, 0);
    return mr_err_errno(err, r, "journal %s", movie->journal_name);
}

static int open_part_dir(const struct mr_store *store, struct mr_movie *movie, const char *path,
                         struct mr_err *err)
{
    mr_fs_close(&movie->part_dir_fd);
    movie->part_dir_fd = mr_store_part_dir(store, path, true);
    return movie->part_dir_fd < 0 ? mr_err_errno(err, movie->part_dir_fd, "directory of %s", path)
                                  : 0;
}

/* The seal stage takes an empty directory away, and it is empty until the part is in it. */
static int create_part(const struct mr_store *store, struct mr_movie *movie, const char *path,
                       struct mr_err *err)
{
    int r = -ENOENT;
    for (int tries = 0; r == -ENOENT && tries < MR_STORE_DIR_TRIES; tries++) {
        *err = (struct mr_err){0};
        r = tries > 0 ? open_part_dir(store, movie, path, err) : 0;
        mr_lease_prove(store->lease); /* who takes over would not look for a part made later */
        if (r == 0)
            r = open_part(store, movie, O_CREAT | O_EXCL, err);
    }
    return r;
}

int mr_slipway_make(const struct mr_store *store, struct mr_movie *movie,
                    const struct mr_dossier *d, struct mr_err *err)
{
    int r = open_part_dir(store, movie, d->path, err);
    if (r < 0)
        return r;
    r = begin_journal(store, movie, d, err);
    mr_failpoint("journal-made");
    if (r == 0)
        r = create_part(store, movie, d->path, err);
    if (r == 0)
        r = mr_store_dress(store, movie->part_dir_fd, movie->part_fd, err);
    if (r == 0)
        r = mr_fs_sync_dir(movie->part_dir_fd) < 0
                ? mr_err_errno(err, -errno, "directory of %s", d->path)
                : 0;
    mr_failpoint("part-made");
    return r;
}

/* Writes that a dead server had begun may still be under way, to space that no journal tells of and
 * that is given out again. Making the file shorter waits for them: the file system could not give
 * blocks away that are being written. First longer, so that it gets shorter. Where a sync failed,
 * memory may also know a size that the disk does not, and take it for written: so it is set anew,
 * and made durable before slabs are read back from behind the size that the disk knows. */
static int settle(const struct mr_movie *movie, struct mr_err *err)
{
    struct stat st;
    int r = fstat(movie->part_fd, &st);
    off_t end = r < 0 ? 0 : st.st_size, size = end;
    if (movie->geometry.layout == MR_LAYOUT_CHUNKS)
        end = (off_t)atomic_load(&movie->space_end);
    if (r == 0)
        r = ftruncate(movie->part_fd, (size > end ? size : end) + MR_MOVIE_SLACK);
    if (r == 0)
        r = ftruncate(movie->part_fd, end);
    if (r == 0)
        r = fsync(movie->part_fd);
    return r < 0 ? mr_err_errno(err, -errno, "part %s", movie->part_name) : 0;
}

int mr_slipway_reopen(const struct mr_store *store, const struct mr_dossier *d, bool earlier_life,
                      struct mr_movie **ret, struct mr_err *err)
{
    struct mr_movie *movie = mr_slipway_movie(d);
    if (movie == NULL)
        return -ENOMEM;
    movie->part_dir_fd = mr_store_part_dir(store, d->path, true); /* durable, with its parents */
    int r = movie->part_dir_fd < 0 ? movie->part_dir_fd : open_part(store, movie, 0, err);
    if (r == -ENOENT) /* the part is gone: what its journal says is void */
        mr_slipway_remove(store, &d->open.movie, d->generation, d->path);
    if (r == 0 && earlier_life)
        r = settle(movie, err);
    if (r == 0)
        r = reopen_journal(store, movie, d, err);
    if (r == 0 && earlier_life) /* which may have ended before it had synced them */
        r = mr_fs_sync_dir(movie->part_dir_fd);
    if (r == 0 && earlier_life)
        r = mr_fs_sync_dir(store->journal_fd);
    if (r < 0) {
        mr_movie_release(movie);
        return r;
    }
    *ret = movie;
    return 0;
}
