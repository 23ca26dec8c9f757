/* SPDX-License-Identifier: Apache-2.0 */
/* Looking a movie's generations through, and removing them. Decides nothing. */
#include "discard.h"

#include "dossier.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define SYNC_TRIES  3
#define REMOVED_MAX 16 /* generations; of more at once nobody has heard */

/* Of one generation; true: no more of them is to be visited. */
typedef bool (*visit_journal)(const struct mr_store *store, const struct mr_dossier *d,
                              const struct mr_ulid *id, void *ctx);

/* 1: no more; 0: go on, also where it says nothing of a movie. -errno: it cannot be read now. */
static int visit(const struct mr_store *store, const struct mr_dossier_file *journal,
                 visit_journal what, void *ctx)
{
    struct mr_dossier d;
    int r = mr_dossier_read(store->journal_fd, journal->name, &d, NULL);
    if (r < 0)
        return r == -ENODATA || r == -EUCLEAN || r == -ENOENT ? 0 : r;
    bool end = what(store, &d, &journal->id, ctx);
    mr_dossier_fini(&d);
    return end;
}

static int each_journal(const struct mr_store *store, const struct mr_ulid *id, visit_journal what,
                        void *ctx)
{
    struct mr_dossier_file f;
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(store->journal_fd, &dir), more = 1;
    while (r == 0 && more > 0) {
        more = mr_dossier_next(dir, "journal", &f);
        if (more > 0 && mr_ulid_equal(&f.id, id))
            r = visit(store, &f, what, ctx);
    }
    return more < 0 ? more : r;
}

static int make_empty(int dir, const char *name)
{
    MR_CLEANUP(mr_fs_close)
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : 0;
}

/* It may be gone from memory alone, after a sync that failed, and another sync would not tell: a
 * name that cannot be made anew is not removed anew. */
static int remove_anew(int dir, const char *name)
{
    int r = make_empty(dir, name);
    if (r == -ENOENT) /* the folder has gone, and with it the name */
        return 0;
    return r < 0 ? r : unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

/* 1: a journal on the disk names the part; 0: none does, so that it was never made, or is gone. */
static int is_named_for_good(const struct mr_store *store, const char *journal)
{
    struct mr_dossier d = {0};
    MR_CLEANUP(mr_fs_close)
    int fd = openat(store->journal_fd, journal, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fsync(fd) < 0)
        return -errno;
    int r = mr_fs_sync_dir(store->journal_fd);
    mr_dossier_forget_cached(store->journal_fd, journal); /* what an earlier sync lost shows now */
    if (r == 0)
        r = mr_dossier_read(store->journal_fd, journal, &d, NULL);
    mr_dossier_fini(&d);
    return r == 0 ? 1 : r == -ENODATA || r == -ENOENT ? 0 : r;
}

/* The part, durably: no part is ever without a journal that names it. */
static int remove_part(const struct mr_store *store, int dir, const char *part, const char *journal)
{
    if (unlinkat(dir, part, 0) < 0) {
        int r = errno == ENOENT ? is_named_for_good(store, journal) : -errno;
        if (r > 0)
            r = remove_anew(dir, part);
        if (r < 0)
            return r;
    }
    return mr_fs_sync_dir(dir);
}

int mr_discard_one(const struct mr_store *store, const struct mr_ulid *id, uint32_t generation,
                   const char *path)
{
    char part[MR_NAMING_PART], journal[MR_NAMING_PART];
    MR_CLEANUP(mr_fs_close) int dir = mr_store_part_dir(store, path, false);
    if (dir < 0 && dir != -ENOENT)
        return dir;
    mr_dossier_name(id, generation, "part", part);
    mr_dossier_name(id, generation, "journal", journal);
    int r = dir < 0 ? 0 : remove_part(store, dir, part, journal);
    if (r == 0 && unlinkat(store->journal_fd, journal, 0) < 0 && errno != ENOENT)
        r = -errno;
    mr_store_tidy(store, path);
    return r;
}

void mr_discard_strays(const struct mr_store *store, const struct mr_ulid *id, uint32_t generation,
                       const char *path)
{
    MR_CLEANUP(mr_fs_close) int fd = mr_store_part_dir(store, path, false);
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    struct mr_dossier_file f;
    bool removed = false;
    if (mr_fs_list(fd, &dir) < 0)
        return;
    while (mr_dossier_next(dir, "part", &f) > 0)
        if (mr_ulid_equal(&f.id, id) && f.generation != generation &&
            (mr_dossier_epoch(f.generation) < store->epoch || mr_dossier_is_foreign(f.generation)))
            removed |= unlinkat(fd, f.name, 0) == 0;
    /* before the journal goes for good: nobody looks for what a power cut brings back after that */
    if (removed)
        (void)!mr_fs_sync_dir(fd);
}

/* Journals that were removed */
struct removed {
    char names[REMOVED_MAX][MR_NAMING_PART];
    size_t count;
};

static bool remove_one(const struct mr_store *store, const struct mr_dossier *d,
                       const struct mr_ulid *id, void *ctx)
{
    struct removed *removed = ctx;
    if (store->epoch > 0)
        mr_discard_strays(store, id, d->generation, d->path);
    int r = mr_discard_one(store, id, d->generation, d->path);
    if (r == 0 && removed->count < REMOVED_MAX) /* else the next start finds it */
        mr_dossier_name(id, d->generation, "journal", removed->names[removed->count++]);
    return false;
}

/* A power cut would bring them back, and nobody resumes them: what did not sync is done anew. What
 * does not sync then either keeps its name, empty, so that the next start has it to remove. */
static int sync_removed(const struct mr_store *store, const struct removed *removed)
{
    int r = mr_fs_sync_dir(store->journal_fd);
    for (int tries = 1; r < 0 && tries < SYNC_TRIES; tries++) {
        int anew = 0;
        for (size_t i = 0; i < removed->count && anew == 0; i++)
            anew = remove_anew(store->journal_fd, removed->names[i]);
        r = anew < 0 ? anew : mr_fs_sync_dir(store->journal_fd);
    }
    for (size_t i = 0; r < 0 && i < removed->count; i++)
        (void)!make_empty(store->journal_fd, removed->names[i]);
    return r < 0 ? -EUCLEAN : 0;
}

static bool is_sealed(const struct mr_store *store, const struct mr_dossier *d,
                      const struct mr_ulid *id, void *recorded)
{
    (void)store, (void)id;
    return d->is_sealed && d->open.revision > *(const uint32_t *)recorded;
}

static bool is_of_another(const struct mr_store *store, const struct mr_dossier *d,
                          const struct mr_ulid *id, void *ctx)
{
    const char *const *agent = ctx;
    (void)store, (void)id;
    return strcmp(d->agent, *agent) != 0;
}

static bool is_there(const struct mr_store *store, const struct mr_dossier *d,
                     const struct mr_ulid *id, void *ctx)
{
    (void)store, (void)d, (void)id, (void)ctx;
    return true;
}

int mr_discard_all(const struct mr_store *store, const struct mr_ulid *id)
{
    struct removed removed = {.count = 0};
    int r = each_journal(store, id, remove_one, &removed);
    char text[MR_ULID_TEXT]; /* made for a verdict that did not come about: it would be taken for
                                one */
    unlinkat(store->failed_fd, mr_ulid_text(id, text), AT_REMOVEDIR);
    int synced = sync_removed(store, &removed);
    if (r == -EUCLEAN) /* of a folder that cannot be read now, which ends nobody */
        r = -EIO;
    return synced < 0 ? synced : r;
}

bool mr_discard_is_sealed(const struct mr_store *store, const struct mr_ulid *id, uint32_t recorded)
{
    return each_journal(store, id, is_sealed, &recorded) !=
           0; /* not to be told: then it is left alone */
}

int mr_discard_is_of_another(const struct mr_store *store, const struct mr_ulid *id,
                             const char *agent)
{
    return each_journal(store, id, is_of_another, &agent);
}

bool mr_discard_is_left(const struct mr_store *store, const struct mr_ulid *id)
{
    return each_journal(store, id, is_there, NULL) != 0;
}
