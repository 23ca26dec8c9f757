/* SPDX-License-Identifier: Apache-2.0 */
/* Looking a movie's generations through, and removing them. Decides nothing. */
#include "discard.h"

#include "dossier.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Of one generation; true: no more of them is to be visited. */
typedef bool (*visit_journal)(const struct mr_store *store, const char *journal,
                              const struct mr_dossier *d, const char *part);

static bool visit(const struct mr_store *store, const char *journal, visit_journal what)
{
    struct mr_dossier d;
    struct mr_ulid id;
    uint32_t generation;
    char part[64];
    if (mr_dossier_parse_name(journal, "journal", &id, &generation) < 0 ||
        mr_dossier_read(store->journal_fd, journal, &d, NULL) < 0)
        return false;
    mr_dossier_name(&id, generation, "part", part);
    bool end = what(store, journal, &d, part);
    mr_dossier_fini(&d);
    return end;
}

static bool is_of(const char *journal, const struct mr_ulid *wanted)
{
    struct mr_ulid id;
    uint32_t generation;
    return mr_dossier_parse_name(journal, "journal", &id, &generation) == 0 &&
           mr_ulid_equal(&id, wanted);
}

static int each_journal(const struct mr_store *store, const struct mr_ulid *id, visit_journal what)
{
    int fd = openat(store->journal_fd, ".", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (dir == NULL) {
        int r = -errno;
        mr_fs_close(&fd);
        return r;
    }
    const char *name = "";
    int r = 0;
    while (r == 0 && name != NULL) {
        r = mr_fs_next_name(dir, &name);
        if (r == 0 && name != NULL)
            r = is_of(name, id) && visit(store, name, what);
    }
    closedir(dir);
    return r;
}

static bool remove_one(const struct mr_store *store, const char *journal,
                       const struct mr_dossier *d, const char *part)
{
    MR_CLEANUP(mr_fs_close) int dir = mr_store_part_dir(store, d->path, false);
    /* durably before its journal: no part is ever without one that names it */
    if (dir >= 0 && ((unlinkat(dir, part, 0) < 0 && errno != ENOENT) || mr_fs_sync_dir(dir) < 0))
        return false;
    unlinkat(store->journal_fd, journal, 0);
    mr_store_tidy(store, d->path);
    return false;
}

static bool is_sealed(const struct mr_store *store, const char *journal, const struct mr_dossier *d,
                      const char *part)
{
    (void)store, (void)journal, (void)part;
    return d->is_sealed;
}

int mr_discard_all(const struct mr_store *store, const struct mr_ulid *id)
{
    int r = each_journal(store, id, remove_one);
    int synced = mr_fs_sync_dir(store->journal_fd);
    return r < 0 ? r : synced;
}

bool mr_discard_is_sealed(const struct mr_store *store, const struct mr_ulid *id)
{
    return each_journal(store, id, is_sealed) != 0; /* not to be told: then it is left alone */
}
