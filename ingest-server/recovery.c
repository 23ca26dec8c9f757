/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals of an earlier life: resumed, finished, handed over, removed. The steps of a commit are
 * commit's own; reads no part back (recheck does).
 */
#include "recovery.h"

#include "announce.h"
#include "base/log.h"
#include "base/recordlog.h"
#include "discard.h"
#include "flotilla.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STAGE "seal"

static int place_again(const struct mr_commit *c, struct mr_dossier *d, bool told,
                       struct mr_err *err)
{
    if (!told || d->sealed.inode == 0)
        return mr_commit_place(c, d, err);
    int fd = mr_commit_open_file(c->store, d);
    if (fd >= 0)
        close(fd);
    int r = fd < 0 ? fd : mr_commit_drop_part(c->store, d);
    return r < 0 ? mr_err_errno(err, r, "%s", d->sealed.path) : 0;
}

/* -EAGAIN: not yet, and said so; *ret_void: it is to be taken back; any other error is of log or
 * catalogue. */
static int finish_sealed(const struct mr_commit *c, struct mr_dossier *d, bool told, bool *ret_void,
                         struct mr_err *err)
{
    uint64_t sequence;
    struct mr_err trouble = {0};
    int r = place_again(c, d, told, &trouble);
    if (r == -ENOENT) {
        *ret_void = mr_commit_vanished(c, d) < 0;
        return 0;
    }
    if (r == 0)
        r = mr_commit_record(c, &d, 1, &sequence, &trouble);
    else if (r == -EUCLEAN) {
        mr_error(STAGE, "%s: it begins again", trouble.text);
        *ret_void = true;
        return 0;
    } else
        r = -EAGAIN;
    if (r == -EAGAIN || mr_recordlog_is_whole(r)) { /* no room: there may be some later */
        mr_error(STAGE, "a sealed movie cannot be finished yet: %s", trouble.text);
        return -EAGAIN;
    }
    if (r < 0)
        *err = trouble;
    else
        mr_info(STAGE, "%s: commit finished that an earlier server began (event %llu)",
                d->sealed.path, (unsigned long long)sequence);
    return r;
}

static void free_dossier(struct mr_dossier **d)
{
    if (*d != NULL)
        mr_dossier_fini(*d);
    free(*d);
}

/* Takes d. Trouble with one movie is not the server's: that one is tried again while it runs. */
static int recover_sealed(const struct mr_commit *c, struct mr_dossier *d,
                          const struct mr_recovery_found *found, struct mr_err *err)
{
    MR_CLEANUP(free_dossier) struct mr_dossier *own = d;
    char event[MR_EVENT_ID_MAX + 1];
    uint64_t sequence = 0;
    struct mr_err trouble = {0};
    bool failed = d->sealed.failed;
    mr_announce_id(&d->open.movie, failed ? "failed" : "ready", d->open.revision, event);
    int r = mr_eventlog_find(c->eventlog, event, &sequence, err);
    if (r < 0)
        return r;
    enum mr_commit_state state = sequence > 0 ? MR_COMMIT_TOLD
                                 : failed     ? MR_COMMIT_TRUSTED
                                              : MR_COMMIT_DOUBTED;
    bool told = state == MR_COMMIT_TOLD;
    d->unmended = !told; /* else nothing more is written to it */
    r = mr_commit_mend(c, d, &trouble);
    if (r < 0)
        mr_error(STAGE, "%s: %s%s", d->sealed.path, trouble.text,
                 r == -EUCLEAN ? ": it begins again" : "");
    bool is_void = r == -EUCLEAN;
    if (state != MR_COMMIT_DOUBTED && r == 0) {
        r = finish_sealed(c, d, told, &is_void, err);
        bool left = r == 0 && failed && mr_discard_is_left(c->store, &d->open.movie);
        if (r != -EAGAIN && !is_void && !left)
            return r;
        state = left ? MR_COMMIT_TOLD : state; /* it has yet to go */
    }
    if (is_void) {
        r = mr_commit_take_back(c, d);
        if (r == 0 || r == -EUCLEAN)
            return 0;
        state = MR_COMMIT_VOID;
    }
    own = NULL;
    found->sealed(found->ctx, d, state);
    return 0;
}

/* Of a server that was fenced, or of a copy that was not finished: nothing of it counts. */
static void remove_void(const struct mr_commit *c, const char *name, const struct mr_ulid *id,
                        uint32_t generation)
{
    struct mr_dossier d = {0};
    char part[MR_NAMING_PART];
    mr_dossier_name(id, generation, "part", part);
    if (mr_dossier_read(c->store->journal_fd, name, &d, NULL) == 0) {
        MR_CLEANUP(mr_fs_close) int dir = mr_store_part_dir(c->store, d.path, false);
        if (dir >= 0)
            unlinkat(dir, part, 0);
        mr_store_tidy(c->store, d.path);
    }
    mr_dossier_fini(&d);
    unlinkat(c->store->journal_fd, name, 0);
    mr_info(STAGE, "journal %s is void and was removed: the store was taken over since", name);
}

static int is_void(const struct mr_commit *c, const struct mr_ulid *id, uint32_t generation)
{
    uint32_t current, next;
    if (mr_dossier_epoch(generation) != c->store->epoch)
        return 1;
    int r = mr_dossier_find(c->store->journal_fd, c->store->epoch, id, &current, &next);
    if (r < 0)
        return r == -EOVERFLOW ? 0 : r;
    return mr_dossier_is_foreign(current) && current != generation;
}

/* Is another generation of it committed, or failed for good? This one could not be removed then. */
static int has_verdict(const struct mr_commit *c, const struct mr_dossier *d, struct mr_err *err)
{
    static const char *const kinds[] = {"ready", "failed"};
    char event[MR_EVENT_ID_MAX + 1];
    uint64_t sequence = 0;
    int r = 0;
    if (mr_catalogue_find_revision(c->catalogue, &d->open.movie, d->open.revision) != NULL)
        return 1;
    for (size_t i = 0; r == 0 && sequence == 0 && i < 2; i++) {
        mr_announce_id(&d->open.movie, kinds[i], d->open.revision, event);
        r = mr_eventlog_find(c->eventlog, event, &sequence, err);
    }
    return r < 0 ? r : sequence > 0;
}

static int recover_unsealed(const struct mr_commit *c, const char *name, const struct mr_dossier *d,
                            const struct mr_recovery_found *found, struct mr_err *err)
{
    int r = has_verdict(c, d, err);
    if (r < 0)
        return r;
    if (r == 0) {
        found->unfinished(found->ctx, &d->open.movie);
        return 0;
    }
    r = mr_discard_one(c->store, &d->open.movie, d->generation, d->path);
    if (r < 0)
        mr_error(STAGE, "journal %s of a movie that is over cannot be removed: %s", name,
                 mr_err_name(r));
    return 0;
}

static int recover_journal(const struct mr_commit *c, const char *name,
                           const struct mr_recovery_found *found, struct mr_err *err)
{
    struct mr_ulid id;
    uint32_t generation;
    if (mr_dossier_parse_name(name, "journal", &id, &generation) < 0) {
        mr_warn(STAGE, "journal/%s is not a journal of ours: left alone", name);
        return 0;
    }
    int r = is_void(c, &id, generation);
    if (r > 0) { /* or the next server's, which has taken the store while this one stood still */
        mr_lease_prove_by_sight(c->store->lease);
        remove_void(c, name, &id, generation);
    }
    if (r != 0)
        return r > 0 ? 0 : mr_err_errno(err, r, "%s/.millrace/journal", c->store->root);
    MR_CLEANUP(free_dossier) struct mr_dossier *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return mr_err_errno(err, -ENOMEM, "journal %s", name);
    mr_dossier_forget_cached(c->store->journal_fd, name);
    r = mr_dossier_read(c->store->journal_fd, name, d, err);
    if (r == -ENODATA) { /* its part was never made, or the movie was discarded */
        unlinkat(c->store->journal_fd, name, 0);
        return 0;
    }
    if (r == -EUCLEAN) { /* not acknowledged as committed: its agent sends it all again */
        mr_error(STAGE, "%s: it is left alone, and so is its part", err->text);
        return 0;
    }
    if (r < 0)
        return r;
    if (d->damaged > 0)
        mr_error(STAGE, "journal %s of %s: %llu damaged records do not count", name, d->open.path,
                 (unsigned long long)d->damaged);
    if (!d->is_sealed)
        return recover_unsealed(c, name, d, found, err);
    struct mr_dossier *sealed = d;
    d = NULL;
    return recover_sealed(c, sealed, found, err);
}

int mr_recovery_run(const struct mr_commit *c, const struct mr_recovery_found *found,
                    struct mr_err *err)
{
    int r = mr_flotilla_dissolve_all(c->store, c->store->epoch, err);
    if (r < 0)
        return r;
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    r = mr_fs_list(c->store->journal_fd, &dir);
    if (r < 0)
        return mr_err_errno(err, r, "%s/.millrace/journal", c->store->root);
    const char *name = "";
    while (r == 0 && name != NULL) {
        r = mr_fs_next_name(dir, &name);
        if (r < 0)
            mr_err_errno(err, r, "%s/.millrace/journal", c->store->root);
        else if (name != NULL && name[0] == '.') /* itself, which stays, and copies cut off */
            unlinkat(c->store->journal_fd, name, 0);
        else if (name != NULL)
            r = recover_journal(c, name, found, err);
    }
    return r;
}
