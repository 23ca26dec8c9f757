/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Parts of small movies: made, removed, swept up after a crash; and the syncfs that they share.
 * Writes no slab (lane does) and commits nothing (seal does).
 */
#include "skiff.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "base/recordlog.h"
#include "dirset.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE    "berth"
#define NOTES    "skiffs.log"
#define EXPECTED 64 /* directories that are noted with one sync */

struct mr_skiffs {
    int sync_fd; /* an open file of its own: what errors it was told of is its own affair */
    int notes_fd;
    dev_t device;
    _Atomic uint64_t failures; /* of syncfs */
    /* berth: */
    struct mr_dirset noted;      /* durably; one that is pushed out is only noted again */
    uint64_t expected[EXPECTED]; /* hashes of those whose notes are gathered in lines */
    size_t expected_count;
    char *lines; /* owned */
    size_t lines_bytes;
    uint32_t made;
    bool closed; /* the notes cannot be relied on any more */
};

/* ---- after a crash ---- */

/* 1: it has; 0: not; -errno: that is not to be told. */
static int has_journal(DIR *journals, const struct mr_ulid *id)
{
    struct mr_dossier_file f;
    int more;
    rewinddir(journals);
    while ((more = mr_dossier_next(journals, "journal", &f)) > 0)
        if (mr_ulid_equal(&f.id, id))
            return 1;
    return more;
}

struct sweeping {
    const struct mr_store *store;
    DIR *journals;
    uint64_t removed;
};

static int sweep_parts(struct sweeping *s, int dir)
{
    struct mr_dossier_file f;
    MR_CLEANUP(mr_fs_list_close) DIR *list = NULL;
    int r = mr_fs_list(dir, &list), more = 0;
    while (r == 0 && (more = mr_dossier_next(list, "part", &f)) > 0) {
        int has = has_journal(s->journals, &f.id);
        if (has < 0)
            return has; /* the notes stay, for the next start */
        if (has)
            continue;
        if (unlinkat(dir, f.name, 0) < 0 && errno != ENOENT)
            return -errno;
        s->removed++;
    }
    return r < 0 ? r : more;
}

/* A record of the notes: "DIR <path below the root>" */
static int sweep(void *ctx, const char *text, size_t bytes, uint64_t offset)
{
    struct sweeping *s = ctx;
    char inside[MR_NAMING_PATH_MAX + 16];
    (void)bytes, (void)offset;
    if (strncmp(text, "DIR ", 4) != 0 || strlen(text + 4) > MR_NAMING_PATH_MAX)
        return 0;
    snprintf(inside, sizeof(inside), "%s/.", text + 4);
    MR_CLEANUP(mr_fs_close) int dir = mr_store_part_dir(s->store, inside, false);
    bool gone = dir == -ENOENT;
    if (gone)
        dir = mr_store_dir(s->store, inside);
    if (dir == -ENOENT)
        return 0;
    int r = dir < 0 ? dir : gone ? 0 : sweep_parts(s, dir);
    /* before the notes go that say where to look; the life before may have removed some unsynced */
    if (r == 0)
        r = mr_fs_sync_dir(dir);
    if (r == 0 && !gone && strcmp(text + 4, ".") != 0)
        mr_store_tidy(s->store, inside);
    return r;
}

static int sweep_all(const struct mr_store *store, struct mr_err *err)
{
    MR_CLEANUP(mr_fs_close)
    int fd = openat(store->millrace_fd, NOTES, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : mr_err_errno(err, -errno, NOTES);
    MR_CLEANUP(mr_fs_list_close) DIR *journals = NULL;
    int r = mr_fs_list(store->journal_fd, &journals);
    struct sweeping s = {.store = store, .journals = journals};
    struct mr_recordlog_scan scan;
    if (r == 0)
        r = mr_recordlog_scan(fd, 0, sweep, &s, &scan);
    if (s.removed > 0)
        mr_info(STAGE, "%llu small files were under way and not promised: they begin again",
                (unsigned long long)s.removed);
    if (r == 0 && unlinkat(store->millrace_fd, NOTES, 0) < 0)
        r = -errno;
    return r < 0 ? mr_err_errno(err, r, NOTES) : 0;
}

/* ---- birth and death ---- */

static int open_fds(const struct mr_store *store, struct mr_skiffs *s)
{
    struct stat root, journals;
    s->sync_fd = openat(store->root_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (s->sync_fd < 0 || fstat(s->sync_fd, &root) < 0 || fstat(store->journal_fd, &journals) < 0)
        return -errno;
    s->device = root.st_dev;
    if (root.st_dev != journals.st_dev || !mr_fs_can_sync_all(s->sync_fd))
        return -EOPNOTSUPP;
    s->notes_fd = openat(store->millrace_fd, NOTES,
                         O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0640);
    return s->notes_fd < 0 ? -errno : mr_fs_sync_dir(store->millrace_fd);
}

int mr_skiffs_open(const struct mr_store *store, struct mr_skiffs **ret, struct mr_err *err)
{
    int r = sweep_all(store, err);
    if (r < 0)
        return r;
    struct mr_skiffs *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return mr_err_errno(err, -ENOMEM, "store");
    s->sync_fd = s->notes_fd = -1;
    r = open_fds(store, s);
    if (r < 0) { /* a full disk, too: then there is none of them in this life */
        mr_skiffs_close(s);
        s = NULL;
    }
    *ret = s;
    return 0;
}

void mr_skiffs_close(struct mr_skiffs *s)
{
    if (s == NULL)
        return;
    mr_fs_close(&s->sync_fd);
    mr_fs_close(&s->notes_fd);
    free(s->lines);
    free(s);
}

/* ---- parts ---- */

bool mr_skiff_fits(const struct mr_store *store, const struct mr_open *open)
{
    return store->skiffs != NULL && !store->skiffs->closed && open->whole && open->revision == 1 &&
           open->geometry.layout == MR_LAYOUT_BYTES &&
           open->source_bytes_expected <= MR_SMALL_BYTES;
}

uint32_t mr_skiff_generation(const struct mr_store *store)
{
    return store->epoch * MR_EPOCH_PARTS + 1 + store->skiffs->made++ % (MR_EPOCH_PARTS - 1);
}

static bool is_expected(const struct mr_skiffs *s, uint64_t hash)
{
    for (size_t i = 0; i < s->expected_count; i++)
        if (s->expected[i] == hash)
            return true;
    return false;
}

int mr_skiff_expect(const struct mr_store *store, const char *path)
{
    char dir[MR_NAMING_PATH_MAX + 1], text[MR_NAMING_PATH_MAX + 8];
    struct mr_skiffs *s = store->skiffs;
    const char *name;
    size_t bytes, room = sizeof(text) + MR_RECORD_AROUND;
    mr_store_split(path, dir, sizeof(dir), &name);
    uint64_t hash = mr_dirset_hash(dir);
    if (mr_dirset_has(&s->noted, hash) || is_expected(s, hash))
        return 0;
    if (s->expected_count == EXPECTED)
        return -ENOBUFS;
    if (s->lines == NULL && (s->lines = malloc(EXPECTED * room)) == NULL)
        return -ENOMEM;
    int length = snprintf(text, sizeof(text), "DIR %s", dir);
    int r = mr_recordlog_format(text, (size_t)length, s->lines + s->lines_bytes, room, &bytes);
    if (r < 0)
        return r;
    s->lines_bytes += bytes;
    s->expected[s->expected_count++] = hash;
    return 0;
}

int mr_skiff_note(const struct mr_store *store)
{
    struct mr_skiffs *s = store->skiffs;
    size_t count = s->expected_count, bytes = s->lines_bytes;
    s->expected_count = s->lines_bytes = 0;
    if (count == 0)
        return 0;
    int r = mr_recordlog_append_whole(s->notes_fd, s->lines, bytes);
    if (r < 0)
        return r;
    s->closed = fdatasync(s->notes_fd) < 0; /* not tried again: all are ordinary ones from now on */
    if (s->closed)
        return -errno;
    for (size_t i = 0; i < count; i++)
        mr_dirset_add(&s->noted, s->expected[i]);
    return 0;
}

static int create_part(const struct mr_store *store, struct mr_movie *movie)
{
    int mode = mr_store_create_mode(store, movie->part_dir_fd);
    if (mode < 0)
        return mode;
    movie->part_fd = openat(movie->part_dir_fd, movie->part_name,
                            O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, (mode_t)mode);
    return movie->part_fd < 0 ? -errno : 0;
}

/* The seal stage takes an empty directory away, and it is empty until the part is in it. */
static int make_part(const struct mr_store *store, struct mr_movie *movie, const char *path)
{
    int r = -ENOENT;
    for (int tries = 0; r == -ENOENT && tries < MR_STORE_DIR_TRIES; tries++) {
        mr_fs_close(&movie->part_dir_fd);
        movie->part_dir_fd = mr_store_lazy_part_dir(store, path);
        mr_lease_prove(store->lease); /* who takes over would not look for a part made later */
        r = movie->part_dir_fd < 0 ? movie->part_dir_fd : create_part(store, movie);
    }
    return r;
}

int mr_skiff_make(const struct mr_store *store, struct mr_movie *movie, const struct mr_dossier *d,
                  struct mr_err *err)
{
    struct mr_skiffs *s = store->skiffs;
    struct stat st;
    movie->failures = atomic_load(&s->failures);
    int r = mr_skiff_expect(store, d->path);
    if (r == 0)
        r = mr_skiff_note(store);
    if (r < 0)
        return mr_err_errno(err, r, NOTES);
    r = make_part(store, movie, d->path);
    if (r == 0 && fstat(movie->part_fd, &st) < 0)
        r = -errno;
    if (r < 0)
        return mr_err_errno(err, r, "part %s", movie->part_name);
    if (st.st_dev != s->device)
        return -EXDEV;
    movie->small = true;
    return mr_store_dress(store, movie->part_dir_fd, movie->part_fd, err);
}

void mr_skiff_remove(const struct mr_store *store, const struct mr_movie *movie, const char *path)
{
    if (movie->part_dir_fd >= 0 && movie->part_fd >= 0 &&
        unlinkat(movie->part_dir_fd, movie->part_name, 0) < 0 && errno != ENOENT)
        mr_error(STAGE, "%s is of no use and cannot be removed: %s", movie->part_name,
                 mr_err_name(errno));
    mr_store_tidy(store, path);
}

/* ---- all at once ---- */

int mr_skiffs_sync(const struct mr_store *store)
{
    int r = mr_fs_sync_all(store->skiffs->sync_fd);
    if (r < 0)
        atomic_fetch_add(&store->skiffs->failures, 1);
    return r;
}

bool mr_skiff_is_sound(const struct mr_store *store, const struct mr_movie *movie)
{
    return movie->failures == atomic_load(&store->skiffs->failures);
}
