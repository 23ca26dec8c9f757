/* SPDX-License-Identifier: Apache-2.0 */
/* The take-over, file by file. Commits and resumes nothing: recovery and berth do. */
#include "takeover.h"

#include "base/failpoint.h"
#include "catalogue.h"
#include "dossier.h"
#include "flotilla.h"
#include "mend.h"
#include "segments.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- journals there are ---- */

struct entry {
    struct mr_ulid id;
    uint32_t generation;
};

struct entries {
    struct entry *list; /* owned */
    size_t count;
};

static void entries_fini(struct entries *e)
{
    free(e->list);
}

/* Names "<ULID>.g<generation>.<suffix>" in a directory. */
static int list_entries(int dir_fd, const char *suffix, struct entries *ret)
{
    struct mr_dossier_file f;
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(dir_fd, &dir), next = 0;
    while (r == 0 && (next = mr_dossier_next(dir, suffix, &f)) > 0) {
        struct entry *more = realloc(ret->list, (ret->count + 1) * sizeof(*more));
        if (more == NULL)
            return -ENOMEM;
        ret->list = more;
        more[ret->count++] = (struct entry){.id = f.id, .generation = f.generation};
    }
    return r < 0 ? r : next;
}

/* a's counts, and b's, of the same movie, does not: a newer epoch; then a foreign one, which is
 * there until its copy is complete; then a newer generation. */
static bool counts_before(uint32_t a, uint32_t b)
{
    if (mr_dossier_epoch(a) != mr_dossier_epoch(b))
        return a > b;
    if (mr_dossier_is_foreign(a) || mr_dossier_is_foreign(b))
        return mr_dossier_is_foreign(a) && a != b;
    return a > b;
}

static bool counts(const struct entries *all, const struct entry *e)
{
    for (size_t i = 0; i < all->count; i++)
        if (mr_ulid_equal(&all->list[i].id, &e->id) &&
            counts_before(all->list[i].generation, e->generation))
            return false;
    return true;
}

/* ---- a movie ---- */

struct taking {
    const struct mr_store *store;
    uint32_t generation; /* foreign, of the new epoch */
    struct mr_takeover_note *note;
    struct mr_err *err;
};

/* 1: it is not there any more. */
static int rename_in(int dir, const struct mr_ulid *id, uint32_t from, uint32_t to,
                     const char *suffix)
{
    char old[MR_NAMING_PART], new[MR_NAMING_PART];
    mr_dossier_name(id, from, suffix, old);
    mr_dossier_name(id, to, suffix, new);
    if (renameat(dir, old, dir, new) < 0)
        return errno == ENOENT ? 1 : -errno;
    return 0;
}

/* What was sealed, and nothing else; of others the slabs are verified one by one. */
static bool may_be_part(int dir, const struct entry *e, const struct mr_dossier *d)
{
    char name[MR_NAMING_PART];
    mr_dossier_name(&e->id, e->generation, "part", name);
    return mr_ulid_equal(&e->id, &d->open.movie) &&
           (!d->is_sealed || mr_fs_is_inode(dir, name, d->sealed.inode) > 0);
}

/* A take-over that was cut off leaves journal and part under names that do not agree. */
static int find_part(const struct taking *t, int dir, const struct mr_dossier *d)
{
    MR_CLEANUP(entries_fini) struct entries parts = {0};
    int r = list_entries(dir, "part", &parts);
    const struct entry *best = NULL;
    for (size_t i = 0; r == 0 && i < parts.count; i++)
        if (may_be_part(dir, &parts.list[i], d) &&
            (best == NULL || counts_before(parts.list[i].generation, best->generation)))
            best = &parts.list[i];
    if (r == 0 && best != NULL)
        r = rename_in(dir, &best->id, best->generation, t->generation, "part");
    return r < 0 ? r : 0;
}

static int take_part(const struct taking *t, const struct mr_dossier *d, uint32_t from)
{
    MR_CLEANUP(mr_fs_close) int dir = mr_store_part_dir(t->store, d->path, false);
    if (dir < 0)
        return dir == -ENOENT ? 0 : dir;
    int r = rename_in(dir, &d->open.movie, from, t->generation, "part");
    if (r == 1)
        r = find_part(t, dir, d);
    return r < 0 ? r : mr_fs_sync_dir(dir);
}

/* A copy in its place, which its old writer has not open. */
static int replace_journal(const struct taking *t, const char *name)
{
    char copy[80];
    (void)snprintf(copy, sizeof(copy), ".%s", name);
    if (unlinkat(t->store->journal_fd, copy, 0) < 0 && errno != ENOENT)
        return -errno;
    int r = mr_mend_copy(t->store->journal_fd, name, copy, false, t->err);
    if (r == 0 && renameat(t->store->journal_fd, copy, t->store->journal_fd, name) < 0)
        r = -errno;
    return r;
}

static int take_dossier(const struct taking *t, const char *name, uint32_t from)
{
    struct mr_dossier d = {0};
    int r = mr_dossier_read(t->store->journal_fd, name, &d, t->err);
    if (r == 0)
        r = take_part(t, &d, from);
    mr_dossier_fini(&d);
    d = (struct mr_dossier){0};
    mr_failpoint("takeover-part");
    mr_lease_prove(t->store->lease);
    /* Again: it may have been sealed before its part was renamed; after that, sealing it leads
     * nowhere. */
    if (r == 0)
        r = mr_dossier_read(t->store->journal_fd, name, &d, t->err);
    if (r == 0 && d.is_sealed)
        r = take_part(t, &d, t->generation);
    if (r == 0) {
        t->note->sealed += d.is_sealed;
        t->note->open += !d.is_sealed;
    }
    mr_dossier_fini(&d);
    return r;
}

static int take_movie(const struct taking *t, const struct entry *e)
{
    char name[MR_NAMING_PART];
    mr_dossier_name(&e->id, t->generation, "journal", name);
    int r = rename_in(t->store->journal_fd, &e->id, e->generation, t->generation, "journal");
    if (r != 0)
        return r == 1 ? 0 : r;
    mr_failpoint("takeover-journal");
    mr_lease_prove(t->store->lease);
    r = take_dossier(t, name, e->generation);
    if (r == 0)
        return replace_journal(t, name);
    if (r != -ENODATA && r != -EUCLEAN)
        return r;
    *t->err = (struct mr_err){0};
    if (r == -EUCLEAN) { /* recovery says so */
        t->note->damaged++;
        return 0;
    }
    /* it was being made, or what it stood for was discarded */
    return unlinkat(t->store->journal_fd, name, 0) < 0 ? -errno : 0;
}

static int take_movies(const struct taking *t)
{
    MR_CLEANUP(entries_fini) struct entries journals = {0};
    int r = list_entries(t->store->journal_fd, "journal", &journals);
    for (size_t i = 0; r == 0 && i < journals.count; i++)
        if (counts(&journals, &journals.list[i]))
            r = take_movie(t, &journals.list[i]);
    if (r == 0)
        r = mr_fs_sync_dir(t->store->journal_fd);
    return r < 0 && t->err->code == 0 ? mr_err_errno(t->err, r, "journals") : r;
}

/* ---- log and catalogue ---- */

static int copy_catalogue(const struct mr_store *s, uint32_t from, uint32_t to, struct mr_err *err)
{
    char old[MR_CATALOGUE_NAME], new[MR_CATALOGUE_NAME];
    struct mr_fs_facts facts;
    mr_catalogue_name(from, old);
    mr_catalogue_name(to, new);
    int r = mr_fs_stat(s->millrace_fd, old, &facts);
    if (r == -ENOENT) /* there was none yet */
        return 0;
    r = mr_mend_copy(s->millrace_fd, old, new, true, err);
    if (r == 0 && (r = mr_fs_sync_dir(s->millrace_fd)) < 0)
        mr_err_errno(err, r, "%s", new);
    return r;
}

static void remove_old_catalogues(const struct mr_store *s)
{
    char current[MR_CATALOGUE_NAME];
    const char *name = "";
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(s->millrace_fd, &dir);
    mr_catalogue_name(s->epoch, current);
    while (r == 0 && (r = mr_fs_next_name(dir, &name)) == 0 && name != NULL)
        if (strncmp(name, "catalogue.", 10) == 0 && strcmp(name, current) != 0)
            (void)unlinkat(s->millrace_fd, name, 0);
}

/* As many epochs as a lease can note: segments of older ones take the newest one's name, of which
 * they count just as well, and then only that one is needed. The first epoch's need no note. */
static int fold_epochs(const struct mr_store *s, struct mr_lease *lease, struct mr_err *err)
{
    const struct mr_epochs *epochs = mr_lease_epochs(lease);
    const uint32_t newest = mr_epochs_last(epochs);
    struct mr_segment *list = NULL;
    size_t count = 0;
    MR_CLEANUP(mr_fs_close)
    int dir = mr_fs_open_beneath(s->millrace_fd, MR_SEGMENTS_DIR, O_DIRECTORY | O_RDONLY, 0);
    int r = dir < 0 ? dir : mr_segments_list(dir, epochs, false, &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++) {
        char from[MR_SEGMENT_NAME], to[MR_SEGMENT_NAME];
        const struct mr_segment renamed = {.first = list[i].first, .epoch = newest};
        mr_segment_name(&list[i], from);
        mr_segment_name(&renamed, to);
        if (list[i].epoch != 0 && list[i].epoch != newest)
            r = mr_fs_rename_new(dir, from, dir, to);
    }
    free(list);
    if (r == 0)
        r = mr_fs_sync_dir(dir);
    if (r < 0)
        return mr_err_errno(err, r, "events: giving older ones the newest epoch's name");
    mr_lease_fold_epochs(lease);
    return 0;
}

/* What does not count any more. That it is gone matters to nobody; what cannot be removed stays. */
static void remove_old(const struct mr_store *s, const struct mr_epochs *epochs)
{
    struct mr_segment *list = NULL;
    size_t count = 0;
    MR_CLEANUP(mr_fs_close)
    int dir = mr_fs_open_beneath(s->millrace_fd, MR_SEGMENTS_DIR, O_DIRECTORY | O_RDONLY, 0);
    if (dir >= 0 && mr_segments_list(dir, epochs, true, &list, &count) == 0)
        for (size_t i = 0; i < count; i++) {
            char segment[MR_SEGMENT_NAME];
            mr_segment_name(&list[i], segment);
            if (!mr_epochs_are_good(epochs, list[i].epoch, list[i].first))
                (void)unlinkat(dir, segment, 0);
        }
    free(list);
    remove_old_catalogues(s);
}

/* Of a take-over that the lease knows nothing of. One that was not finished has left the segment
 * that it copied; where that is gone, the take-over was finished, and the lease has been lost
 * since: a file of it, or the folder. */
static bool is_unknown(const struct mr_epochs *epochs, const struct mr_segment *list, size_t count,
                       const struct mr_segment *s)
{
    if (s->epoch <= mr_epochs_last(epochs))
        return false;
    for (size_t i = 0; i < count; i++)
        if (list[i].first == s->first && mr_epochs_are_good(epochs, list[i].epoch, list[i].first))
            return false;
    return true;
}

/* Such a lease would make everything since the take-over void. */
static int check_known(const struct mr_store *s, const struct mr_lease *lease, struct mr_err *err)
{
    const struct mr_epochs *epochs = mr_lease_epochs(lease);
    struct mr_segment *list = NULL;
    size_t count = 0;
    MR_CLEANUP(mr_fs_close)
    int dir = openat(s->millrace_fd, MR_SEGMENTS_DIR, O_DIRECTORY | O_CLOEXEC);
    int r = dir < 0 ? 0 : mr_segments_list(dir, epochs, true, &list, &count);
    for (size_t i = 0; r == 0 && i < count; i++)
        if (list[i].epoch > mr_lease_generation(lease) || is_unknown(epochs, list, count, &list[i]))
            r = mr_err_set(err, -EUCLEAN,
                           "events/ has files of a take-over (generation %" PRIu32
                           ") that " MR_LEASE_DIR "/ (generation %" PRIu32
                           ") does not know: was a file of that lost? It says which files count",
                           list[i].epoch, mr_lease_generation(lease));
    free(list);
    return r < 0 && err->code == 0 ? mr_err_errno(err, r, MR_SEGMENTS_DIR) : r;
}

/* Journals first: what was recorded of a movie before its journal went is in the copies then. */
static int take(struct mr_store *s, struct mr_lease *lease, struct mr_takeover_note *note,
                struct mr_err *err)
{
    const struct mr_epochs *epochs = mr_lease_epochs(lease);
    const struct taking t = {
        .store = s, .generation = s->epoch * MR_EPOCH_PARTS, .note = note, .err = err};
    uint32_t before = mr_epochs_last(epochs);
    mr_failpoint("takeover-begun");
    mr_lease_prove(lease);
    int r = mr_flotilla_dissolve_all(s, before, err);
    if (r == 0)
        r = take_movies(&t);
    if (r == 0 && epochs->count == MR_EPOCHS_MAX)
        r = fold_epochs(s, lease, err);
    if (r == 0)
        r = mr_segments_copy_last(s->millrace_fd, epochs, s->epoch, &note->first_event, err);
    if (r == 0)
        r = copy_catalogue(s, before, s->epoch, err);
    mr_failpoint("takeover-copied");
    mr_lease_prove_by_sight(lease);
    if (r == 0)
        r = mr_lease_begin_epoch(lease, note->first_event, err);
    mr_failpoint("takeover-done");
    mr_lease_prove_by_sight(lease);
    if (r == 0)
        remove_old(s, epochs);
    return r;
}

int mr_takeover_run(struct mr_store *s, struct mr_lease *lease, struct mr_takeover_note *ret,
                    struct mr_err *err)
{
    *ret = (struct mr_takeover_note){.contested = mr_lease_is_contested(lease)};
    s->lease = lease;
    s->epoch = mr_lease_epoch(lease);
    int r = check_known(s, lease, err);
    if (r == -EUCLEAN) /* or of the next server, which has taken the store while this stood still */
        mr_lease_prove_by_sight(lease);
    if (r == 0 && ret->contested)
        r = take(s, lease, ret, err);
    if (r < 0)
        mr_err_prefix(err, "taking the store over");
    return r;
}
