/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commit, step by step. Each step first looks whether an earlier life did it. Makes no headers
 * and no digests (finish does) and talks to no agent.
 */
#include "commit.h"

#include "announce.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/recordlog.h"
#include "base/text.h"
#include "discard.h"
#include "flotilla.h"
#include "stand_in.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE   "seal"
#define DUP_MAX 10000

/* ---- sealing ---- */

int mr_commit_seal(const struct mr_commit *c, const struct mr_dossier *d, struct mr_err *err)
{
    char name[MR_NAMING_PART], *line = NULL;
    size_t bytes = 0;
    mr_dossier_name(&d->open.movie, d->generation, "journal", name);
    MR_CLEANUP(mr_fs_close)
    int fd = openat(c->store->journal_fd, name, O_WRONLY | O_APPEND | O_CLOEXEC | O_NOFOLLOW);
    int r = fd < 0 ? -errno : mr_dossier_sealed_line(&d->sealed, &line, &bytes);
    if (r == 0)
        r = mr_recordlog_append_whole(fd, line, bytes);
    free(line);
    if (r < 0) {
        mr_err_errno(err, r, "journal %s", name);
        return fd < 0 || mr_recordlog_is_whole(r) ? r : -EIO;
    }
    if (fdatasync(fd) == 0)
        return 0;
    mr_err_errno(err, -errno, "journal %s: fdatasync", name);
    return -EIO; /* not ENOSPC: the record is there, but not to be relied on */
}

int mr_commit_mend(const struct mr_commit *c, struct mr_dossier *d, struct mr_err *err)
{
    char name[MR_NAMING_PART];
    if (!d->unmended)
        return 0;
    mr_dossier_name(&d->open.movie, d->generation, "journal", name);
    MR_CLEANUP(mr_fs_close)
    int fd = openat(c->store->journal_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || (d->torn && ftruncate(fd, (off_t)d->good_bytes) < 0))
        return mr_err_errno(err, -errno, "journal %s", name);
    if (fdatasync(fd) < 0) {
        mr_err_errno(err, -errno, "journal %s: fdatasync", name);
        return -EUCLEAN;
    }
    d->unmended = d->torn = false;
    return 0;
}

/* ---- placing ---- */

int mr_commit_free_name(const struct mr_store *store, const char *path, char *ret)
{
    MR_CLEANUP(mr_fs_close) int dir = mr_store_dir(store, path);
    if (dir < 0)
        return dir;
    for (uint32_t n = 1; n < DUP_MAX; n++) {
        struct mr_fs_facts facts;
        int r = mr_naming_candidate(path, n, ret);
        if (r < 0)
            return r;
        r = mr_fs_stat(dir, mr_text_last(ret), &facts);
        if (r == -ENOENT)
            return 0;
        if (r < 0)
            return r;
    }
    return -EEXIST;
}

/* Of one movie */
struct places {
    int part_dir, final_dir;
    char part[MR_NAMING_PART];
    const char *final; /* last component of sealed.path */
};

static void places_close(struct places *p)
{
    mr_fs_close(&p->part_dir);
    mr_fs_close(&p->final_dir);
}

static int places_open(const struct mr_store *store, const struct mr_dossier *d, struct places *ret)
{
    char dir[MR_NAMING_PATH_MAX + 1];
    mr_dossier_name(&d->open.movie, d->generation, "part", ret->part);
    mr_store_split(d->sealed.path, dir, sizeof(dir), &ret->final);
    ret->final_dir = mr_store_dir(store, d->sealed.path);
    if (ret->final_dir < 0)
        return ret->final_dir;
    ret->part_dir = mr_store_part_dir(store, d->path, false);
    return ret->part_dir == -ENOENT ? 0 : ret->part_dir < 0 ? ret->part_dir : 0;
}

/* No directory: the file is not there. As mr_fs_is_inode. */
static int is_inode(int dir, const char *name, uint64_t inode)
{
    return dir < 0 ? 0 : mr_fs_is_inode(dir, name, inode);
}

/* The revision whose name this one takes; NULL: there is none. */
static const struct mr_catalogue_entry *predecessor(const struct mr_commit *c,
                                                    const struct mr_dossier *d)
{
    if (d->open.revision == 1 || d->sealed.failed)
        return NULL;
    const struct mr_catalogue_entry *e = mr_catalogue_find(c->catalogue, &d->open.movie);
    bool its = e != NULL && e->revision < d->open.revision && strcmp(e->path, d->sealed.path) == 0;
    return its ? e : NULL;
}

/* The revision that was there goes to <dir>/.millrace/old/<ULID>.r<n>; after the exchange it wears
 * the part's name. */
static int put_old_away(const struct mr_store *store, const struct mr_catalogue_entry *before,
                        struct places *p)
{
    char name[MR_NAMING_OLD];
    MR_CLEANUP(mr_fs_close)
    int old = mr_fs_mkdirs_durable(p->part_dir, MR_NAMING_OLD_DIR, store->dir_mode, store->group);
    if (old < 0)
        return old;
    mr_naming_old(&before->id, before->revision, name);
    if (renameat(p->part_dir, p->part, old, name) < 0)
        return errno == ENOENT ? 0 : -errno;
    int r = mr_fs_sync_dir(old);
    if (r < 0) /* to be done anew, not only synced again */
        (void)!renameat(old, name, p->part_dir, p->part);
    return r;
}

/* The file gets its part's name again. The part's directory may go under it, whenever it is empty:
 * nothing can be renamed into it then, and the file is there all the same. */
static int take_part_name(const struct mr_commit *c, const struct mr_dossier *d, struct places *p)
{
    int r = -ENOENT, placed = 1;
    for (int tries = 0; r == -ENOENT && placed > 0 && tries < MR_STORE_DIR_TRIES; tries++) {
        if (tries > 0)
            mr_fs_close(&p->part_dir);
        if (p->part_dir < 0)
            p->part_dir = mr_store_part_dir(c->store, d->path, true);
        if (p->part_dir < 0)
            return p->part_dir;
        r = mr_fs_rename_new(p->final_dir, p->final, p->part_dir, p->part);
        if (r == -EEXIST) /* the revision before, not put away yet */
            r = mr_fs_exchange(p->final_dir, p->final, p->part_dir, p->part);
        if (r == -ENOENT)
            placed = is_inode(p->final_dir, p->final, d->sealed.inode);
    }
    return placed < 0 ? placed : r == -ENOENT && placed > 0 ? -EAGAIN : r;
}

/* It has its name already, from before a crash or before a directory's fsync that failed: whether
 * that name is on the disk nobody knows, and another fsync alone would not tell. So the part gets
 * its own name back, and is renamed anew. Nobody was told of the final name yet. */
static int unplace(const struct mr_commit *c, const struct mr_dossier *d, struct places *p)
{
    int placed = is_inode(p->final_dir, p->final, d->sealed.inode);
    int linked = placed <= 0 ? 0 : is_inode(p->part_dir, p->part, d->sealed.inode);
    if (placed <= 0 || linked < 0)
        return placed < 0 ? placed : linked;
    if (linked > 0) /* where names are linked */
        return unlinkat(p->final_dir, p->final, 0) < 0 ? -errno : 0;
    return take_part_name(c, d, p);
}

/* Over the file that the catalogue knows as the revision before, and over no other. */
static int rename_part(const struct mr_commit *c, const struct mr_dossier *d,
                       const struct mr_catalogue_entry *before, struct places *p)
{
    int undone = unplace(c, d, p);
    if (undone < 0)
        return undone;
    int waits = is_inode(p->part_dir, p->part, d->sealed.inode);
    if (waits < 0)
        return waits;
    if (waits == 0)
        return -ENOENT;
    int over = before != NULL ? mr_catalogue_is_unchanged(c->store->root_fd, before) : 0;
    if (over < 0)
        return over;
    int r = over > 0 ? mr_fs_exchange(p->part_dir, p->part, p->final_dir, p->final) : -ENOENT;
    if (r == -EINVAL || r == -ENOSYS || r == -EOPNOTSUPP)
        r = mr_stand_in_link(c->store, before, p->final_dir, p->final, p->part_dir, p->part);
    if (r == -ENOENT) /* a first revision, or the one before is gone */
        r = mr_fs_rename_new(p->part_dir, p->part, p->final_dir, p->final);
    return r;
}

int mr_commit_reseal(const struct mr_commit *c, struct mr_dossier *d, const char *path,
                     struct mr_err *err)
{
    char *event = NULL;
    int r = mr_announce_moved(c->store, d->sealed.event, path, &event);
    if (r < 0)
        return mr_err_errno(err, r, "%s: another name for it", d->sealed.path);
    free(d->sealed.event);
    d->sealed.event = event;
    if (path != d->sealed.path)
        (void)snprintf(d->sealed.path, sizeof(d->sealed.path), "%s", path);
    r = mr_commit_seal(c, d, err);
    return r == -EIO ? -EUCLEAN : r;
}

static int seal_elsewhere(const struct mr_commit *c, struct mr_dossier *d, struct mr_err *err)
{
    char path[MR_NAMING_PATH_MAX + 1];
    /* a failed movie stays where failed ones are */
    int r = mr_commit_free_name(c->store, d->sealed.failed ? d->sealed.path : d->path, path);
    return r < 0 ? mr_err_errno(err, r, "%s: another name for it", d->sealed.path)
                 : mr_commit_reseal(c, d, path, err);
}

/* By its time the file is known later. 0: somebody has taken it away already. */
static int note_mtime(int dir, const char *name, struct mr_dossier *d)
{
    struct mr_fs_facts facts = {0};
    int r = mr_fs_stat(dir, name, &facts);
    if (r == 0 || r == -ENOENT)
        d->sealed.mtime_ns = facts.mtime_ns;
    return r == -ENOENT ? 0 : r;
}

static int place_nothing(const struct mr_commit *c, const struct mr_dossier *d)
{
    struct places p = {.part_dir = -1, .final_dir = -1};
    int r = places_open(c->store, d, &p);
    if (r == 0)
        mr_lease_prove_by_sight(c->store->lease);
    r = r < 0 ? r : mr_stand_in_empty(p.final_dir, p.final, p.part_dir, p.part);
    places_close(&p);
    return r;
}

static int place_once(const struct mr_commit *c, struct mr_dossier *d)
{
    if (d->sealed.inode == 0)
        return place_nothing(c, d);
    struct places p = {.part_dir = -1, .final_dir = -1};
    const struct mr_catalogue_entry *before = predecessor(c, d);
    int r = places_open(c->store, d, &p);
    if (r == 0) {
        mr_lease_prove_by_sight(c->store->lease); /* who takes over later finds the journal */
        r = rename_part(c, d, before, &p);
    }
    mr_failpoint("renamed");
    if (r == 0 && before != NULL && p.part_dir >= 0)
        r = put_old_away(c->store, before, &p);
    if (r == 0)
        r = mr_fs_sync_dir(p.final_dir);
    if (r == 0 && p.part_dir >= 0)
        r = mr_fs_sync_dir(p.part_dir);
    if (r == 0)
        r = note_mtime(p.final_dir, p.final, d);
    places_close(&p);
    return r;
}

int mr_commit_place(const struct mr_commit *c, struct mr_dossier *d, struct mr_err *err)
{
    int r = mr_commit_mend(c, d, err);
    if (r < 0)
        return r;
    r = place_once(c, d);
    while (r == -EEXIST) { /* somebody else made a file of that name since it was chosen */
        r = seal_elsewhere(c, d, err);
        if (r == 0)
            r = place_once(c, d);
    }
    mr_failpoint("placed");
    return r < 0 ? mr_err_errno(err, r, "%s", d->sealed.path) : 0;
}

/* ---- recording ---- */

static int log_events(const struct mr_commit *c, struct mr_dossier *const *movies, size_t count,
                      uint64_t *ret_sequences, struct mr_err *err)
{
    for (size_t i = 0; i < count; i++) {
        const char *event = movies[i]->sealed.event;
        int r = mr_eventlog_append_unless_logged(c->eventlog, event, strlen(event),
                                                 &ret_sequences[i], err);
        if (r < 0 && r != -EEXIST)
            return r;
    }
    mr_failpoint("logged");
    return mr_eventlog_sync(c->eventlog, err);
}

/* Of one that was not placed in this life. */
static int look_for_mtime(const struct mr_store *store, struct mr_dossier *d, struct mr_err *err)
{
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(store->root_fd, d->sealed.path, O_PATH | O_NOFOLLOW, 0);
    int r = fd == -ENOENT ? 0 : fd < 0 ? fd : note_mtime(fd, "", d);
    return r < 0 ? mr_err_errno(err, r, "%s: its time", d->sealed.path) : 0;
}

static int note(const struct mr_commit *c, struct mr_dossier *d, uint64_t sequence,
                struct mr_err *err)
{
    char event[MR_EVENT_ID_MAX + 1];
    const struct mr_sealed *s = &d->sealed;
    if (s->failed)
        return 0;
    int r = s->mtime_ns == 0 ? look_for_mtime(c->store, d, err) : 0;
    if (r < 0)
        return r;
    mr_announce_id(&d->open.movie, "ready", d->open.revision, event);
    const struct mr_catalogue_entry entry = {
        .id = d->open.movie,
        .revision = d->open.revision,
        .agent = d->agent,
        .source = d->open.path,
        .source_bytes = s->source_bytes,
        .source_mtime_ns = s->source_mtime_ns,
        .output = d->open.output,
        .geometry = mr_catalogue_geometry_key(&d->open.geometry),
        .path = s->path,
        .bytes = s->bytes,
        .mtime_ns = s->mtime_ns,
        .digest_file = s->digest_file,
        .has_pixels = s->has_pixels,
        .digest_pixels = s->digest_pixels,
        .event = event,
        .sequence = sequence,
        .committed_real_ns = mr_clock_real_ns(),
    };
    r = mr_catalogue_add(c->catalogue, &entry, err);
    return r == -EEXIST ? 0 : r;
}

static int remove_journal(const struct mr_commit *c, const struct mr_dossier *d)
{
    char name[MR_NAMING_PART];
    int r = 0;
    mr_dossier_name(&d->open.movie, d->generation, "journal", name);
    if (c->store->epoch > 0)
        mr_discard_strays(c->store, &d->open.movie, d->generation, d->path);
    if (unlinkat(c->store->journal_fd, name, 0) < 0 && errno != ENOENT)
        r = -errno;
    if (r < 0)
        mr_log_seldom(MR_LOG_WARN, STAGE, "journal %s cannot be removed: %s", name, mr_err_name(r));
    mr_store_tidy(c->store, d->path);
    return r;
}

/* A group's goes with the first of them: all of them are recorded together. */
static void remove_journals(const struct mr_commit *c, struct mr_dossier *const *movies,
                            size_t count)
{
    const char *group = "";
    for (size_t i = 0; i < count; i++) {
        if (movies[i]->group[0] == '\0') {
            (void)!remove_journal(c, movies[i]); /* the next start finds its event logged */
            continue;
        }
        if (strcmp(movies[i]->group, group) != 0 &&
            mr_flotilla_remove(c->store, movies[i]->group) < 0)
            mr_warn(STAGE, "journal %s cannot be removed", movies[i]->group);
        group = movies[i]->group;
    }
}

int mr_commit_place_small(const struct mr_commit *c, const struct mr_dossier *d,
                          const struct mr_movie *movie, int final_dir)
{
    mr_lease_prove(c->store->lease);
    int r = mr_fs_rename_new(movie->part_dir_fd, movie->part_name, final_dir,
                             mr_text_last(d->sealed.path));
    mr_failpoint("renamed");
    return r;
}

int mr_commit_record(const struct mr_commit *c, struct mr_dossier *const *movies, size_t count,
                     uint64_t *ret_sequences, struct mr_err *err)
{
    mr_lease_prove(c->store->lease);
    int r = log_events(c, movies, count, ret_sequences, err);
    mr_failpoint("log-synced");
    mr_lease_prove(c->store->lease);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = note(c, movies[i], ret_sequences[i], err);
    if (r == 0)
        r = mr_catalogue_sync(c->catalogue, err);
    mr_failpoint("catalogued");
    mr_lease_prove(c->store->lease);
    if (r < 0)
        return r;
    remove_journals(c, movies, count);
    mr_failpoint("journal-removed");
    r = mr_fs_sync_dir(c->store->journal_fd);
    mr_lease_prove_by_sight(c->store->lease); /* now the agents are told, and may free the source */
    return r < 0 ? mr_err_errno(err, r, "directory of journals: syncing") : 0;
}

/* ---- what an earlier server sealed ---- */

static int open_inode(int dir, const char *name, uint64_t inode)
{
    int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0)
        return dir < 0 ? -ENOENT : -errno;
    int r = fstat(fd, &st) < 0 ? -errno : st.st_ino == inode ? fd : -ENOENT;
    if (r < 0)
        close(fd);
    return r;
}

int mr_commit_open_file(const struct mr_store *store, const struct mr_dossier *d)
{
    struct places p = {.part_dir = -1, .final_dir = -1};
    int fd = places_open(store, d, &p);
    if (fd == 0)
        fd = open_inode(p.part_dir, p.part, d->sealed.inode);
    if (fd == -ENOENT && p.final_dir >= 0)
        fd = open_inode(p.final_dir, p.final, d->sealed.inode);
    places_close(&p);
    return fd;
}

static int drop_part(const struct places *p, uint64_t inode)
{
    int r = is_inode(p->part_dir, p->part, inode);
    if (r > 0 && (r = is_inode(p->final_dir, p->final, inode)) == 0)
        return 0; /* somebody has taken the other away: this is all there is of it */
    if (r < 0)
        return r;
    if (p->part_dir < 0)
        return 0;
    if (unlinkat(p->part_dir, p->part, 0) < 0)
        return errno == ENOENT ? 0 : -errno;
    return mr_fs_sync_dir(p->part_dir);
}

int mr_commit_drop_part(const struct mr_store *store, const struct mr_dossier *d)
{
    struct places p = {.part_dir = -1, .final_dir = -1};
    int r = places_open(store, d, &p);
    if (r == 0)
        r = drop_part(&p, d->sealed.inode);
    places_close(&p);
    return r;
}

/* Its names are gone for good before its journal is. The final name is the same for every server,
 * so it is taken away by a rename, and nothing removed until it is certain again that the file was
 * still ours: else it may be the one that another server has committed meanwhile. */
static int take_back_names(const struct mr_commit *c, const struct mr_dossier *d, struct places *p)
{
    int r = unplace(c, d, p);
    if (r == 0 && mr_fs_sync_dir(p->final_dir) < 0)
        r = -EUCLEAN;
    mr_lease_prove_by_sight(c->store->lease);
    if (r == 0)
        r = is_inode(p->part_dir, p->part, d->sealed.inode);
    if (r > 0)
        r = unlinkat(p->part_dir, p->part, 0) < 0 ? -errno
            : mr_fs_sync_dir(p->part_dir) < 0     ? -EUCLEAN
                                                  : 0;
    return r;
}

int mr_commit_take_back(const struct mr_commit *c, const struct mr_dossier *d)
{
    struct places p = {.part_dir = -1, .final_dir = -1};
    int r = places_open(c->store, d, &p);
    mr_lease_prove_by_sight(c->store->lease);
    if (r == 0)
        r = take_back_names(c, d, &p);
    places_close(&p);
    if (r == 0 || r == -ENOENT)
        return remove_journal(c, d);
    if (r == -EUCLEAN)
        mr_error(STAGE,
                 "%s cannot be taken back, that is left to the next start: its folder does "
                 "not sync",
                 d->sealed.path);
    else
        mr_log_seldom(MR_LOG_ERROR, STAGE, "%s cannot be taken back yet: %s", d->sealed.path,
                      mr_err_name(r));
    return r;
}

int mr_commit_vanished(const struct mr_commit *c, const struct mr_dossier *d)
{
    mr_error(STAGE, "%s was sealed, but neither its part nor the file is there: it begins again",
             d->sealed.path);
    return remove_journal(c, d);
}
