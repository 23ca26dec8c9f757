/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one movie ends: committed, known, failed, discarded, up to its final name. The steps
 * themselves are finish's and commit's. Records nothing in log or catalogue.
 */
#include "announce.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "discard.h"
#include "failed_place.h"
#include "finish.h"
#include "flotilla.h"
#include "recheck.h"
#include "seal_answer.h"
#include "seal_state.h"
#include "skiff.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- answers ---- */

void mr_seal_hold(struct work *w, const struct mr_err *err)
{
    mr_log_seldom(MR_LOG_ERROR, STAGE, "%s", err->text);
    w->message = mr_seal_answer_hold(&w->job.id, RETRY_MS, err);
}

/* ---- discarding ---- */

/* What cannot be removed is tried again before anybody is answered. Else it would be "being
 * committed" for ever where its journal says SEALED; its slabs would be told as durable after an
 * fsync that failed; and of a movie that is over it would stay for good, for nobody resumes it.
 * Where the folder of journals does not sync, no commit can be told either. */
void mr_seal_undo(struct mr_seal *s, struct work *w, enum need how)
{
    const struct mr_store *store = s->commit->store;
    struct mr_err err = {0};
    int r;
    bool left;
    if (how == TO_TAKE_BACK) {
        r = mr_commit_take_back(s->commit, w->d);
        left = r < 0 && r != -EUCLEAN;
    } else {
        r = mr_discard_all(store, &w->job.id);
        left = r < 0 || mr_discard_is_left(store, &w->job.id);
        if (r == -EUCLEAN) {
            mr_err_set(&err, r, "directory of journals: it does not sync");
            mr_seal_die(s, &err);
        }
    }
    w->need = left ? how : NOTHING;
}

/* It has no journal, and nothing of it was promised. */
static bool is_small(const struct work *w)
{
    return w->job.movie != NULL && w->job.movie->small;
}

static void discard(struct mr_seal *s, struct work *w)
{
    if (is_small(w)) {
        const struct mr_dossier *d = w->d != NULL ? w->d : w->job.movie->dossier;
        mr_skiff_remove(s->commit->store, w->job.movie, d->path);
    } else {
        mr_seal_undo(s, w, TO_DISCARD);
    }
    mr_counter_add(&s->counters[DISCARDED], 1);
    w->message = mr_seal_answer_new(MR_ABANDONED, &w->job.id);
}

/* Waits to be placed, recorded or undone. */
static bool is_stuck(const struct mr_seal *s, const struct mr_ulid *id)
{
    for (size_t i = 0; i < s->stuck_count; i++)
        if (mr_ulid_equal(&s->stuck[i].job.id, id))
            return true;
    return false;
}

/* Is it being committed? What is recorded only waits for its journal to be removed. */
static bool is_being_committed(const struct mr_seal *s, const struct mr_ulid *id)
{
    const struct mr_catalogue_entry *e = mr_catalogue_find(s->commit->catalogue, id);
    return is_stuck(s, id) ||
           mr_discard_is_sealed(s->commit->store, id, e == NULL ? 0 : e->revision);
}

/* Its agent gives it up. One that is sealed is committed all the same, as soon as it can be. An id
 * is no secret, it stands in every event: who has not opened it and is not its agent changes
 * nothing. */
static void abandon(struct mr_seal *s, struct work *w)
{
    struct mr_err err = {0};
    int foreign = w->job.movie != NULL
                      ? 0
                      : mr_discard_is_of_another(s->commit->store, &w->job.id, w->job.agent);
    if (foreign < 0) {
        mr_err_errno(&err, foreign, "a movie that is abandoned");
        mr_seal_hold(w, &err);
    } else if (foreign > 0) {
        mr_log_seldom(MR_LOG_WARN, STAGE, "agent %s abandons a movie that is not its own",
                      w->job.agent);
        w->message = mr_seal_answer_new(MR_ABANDONED, &w->job.id);
    } else if (is_being_committed(s, &w->job.id)) {
        mr_err_set(&err, -EBUSY, "it is being committed");
        mr_seal_hold(w, &err);
        w->message->hold.code = MR_REASON_BUSY;
    } else {
        discard(s, w);
    }
}

/* ---- committing ---- */

static bool is_same_source(const struct mr_dossier *a, const struct mr_dossier *b)
{
    return strcmp(a->agent, b->agent) == 0 && strcmp(a->open.path, b->open.path) == 0;
}

/* Is there a movie of the same source that waits for the end of the batch? */
static bool sibling_in_batch(const struct mr_seal *s, const struct mr_dossier *d)
{
    for (size_t i = 0; i < s->batch_count; i++) {
        const struct work *w = &s->batch[i];
        if ((w->need == TO_RECORD || w->need == TO_GROUP) && w->d != d && is_same_source(w->d, d))
            return true;
    }
    return false;
}

static bool waits_for_its_name(const struct work *w, const struct mr_dossier *d)
{
    return (w->need == TO_PLACE || w->need == TO_RECORD) && !w->d->sealed.failed &&
           is_same_source(w->d, d);
}

/* One that an earlier life sealed waits for others: for those of this life, and for one that is
 * placed. Two of an earlier life would wait for each other. */
static bool goes_first(const struct work *w, const struct mr_dossier *d)
{
    return waits_for_its_name(w, d) && w->d != d &&
           (w->need == TO_RECORD || w->job.kind != MR_SEAL_RECOVERED);
}

/* Of the batch, or of those that are stuck */
static bool is_any(const struct mr_seal *s, const struct mr_dossier *d,
                   bool (*is)(const struct work *w, const struct mr_dossier *d))
{
    bool found = false;
    for (size_t i = 0; i < s->batch_count && !found; i++)
        found = is(&s->batch[i], d);
    for (size_t i = 0; i < s->stuck_count && !found; i++)
        found = is(&s->stuck[i], d);
    return found;
}

static bool others_go_first(const struct mr_seal *s, const struct mr_dossier *d)
{
    return sibling_in_batch(s, d) || is_any(s, d, goes_first);
}

/* Or one that waits for a disk that lets it have its name, or be recorded? */
static bool sibling_is_stuck(const struct mr_seal *s, const struct mr_dossier *d)
{
    return is_any(s, d, waits_for_its_name);
}

/* What one of the batch put into the store is not in the catalogue yet. */
static void record_sibling(struct mr_seal *s, const struct mr_dossier *d)
{
    if (!sibling_in_batch(s, d))
        return;
    mr_seal_group(s, s->batch, s->batch_count);
    if (!s->dead)
        mr_seal_record(s, s->batch, s->batch_count);
}

/* The same content of the same source, stored and unchanged. *ret is valid until the catalogue
 * changes; -ENOENT: it is new. */
static int find_known(const struct mr_seal *s, const struct mr_dossier *d,
                      const struct mr_catalogue_entry **ret, struct mr_err *err)
{
    const struct mr_catalogue_content what = {
        .agent = d->agent,
        .source = d->open.path,
        .output = d->open.output,
        .geometry = mr_catalogue_geometry_key(&d->open.geometry),
        .has_file = true,
        .has_pixels = d->sealed.has_pixels,
        .digest_file = d->sealed.digest_file,
        .digest_pixels = d->sealed.digest_pixels,
    };
    int r = mr_catalogue_find_content(s->commit->catalogue, s->commit->store->root_fd, &what, ret);
    if (r < 0 && r != -ENOENT)
        mr_err_errno(err, r, "%s: what the store has of it", d->path);
    return r;
}

/* No second copy, no new event, and 0; -ENOENT: it is new. */
static int answer_known(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    const struct mr_dossier *d = w->d;
    const struct mr_catalogue_entry *entry;
    int r = find_known(s, d, &entry, err);
    if (r < 0)
        return r;
    discard(s, w);
    free(w->message);
    w->message =
        mr_seal_answer_committed(s->commit->store, d, entry->event, entry->path, entry->sequence);
    w->message->committed.known = true;
    w->message->committed.revision = entry->revision;
    mr_counter_add(&s->counters[KNOWN], 1);
    mr_info(STAGE, "%s of %s is in the store already as %s", d->open.path, d->agent, entry->path);
    return 0;
}

static int choose_name(struct mr_seal *s, struct mr_dossier *d, struct mr_err *err)
{
    if (d->open.revision > 1) {
        memcpy(d->sealed.path, d->path, sizeof(d->path));
        return 0;
    }
    int r = mr_commit_free_name(s->commit->store, d->path, d->sealed.path);
    return r < 0 ? mr_err_errno(err, r, "%s: a name for it", d->path) : 0;
}

static int announce(struct mr_seal *s, struct work *w, const struct mr_announcement *base,
                    struct mr_err *err)
{
    struct mr_announcement a = *base;
    a.sealed = &w->d->sealed;
    a.committed_real_ns = mr_clock_real_ns();
    int r = mr_announce_movie(s->commit->store, w->d, &a, &w->d->sealed.event);
    if (r < 0)
        return mr_err_errno(err, r, "%s: its event", w->d->open.path);
    if (is_small(w)) {
        w->d->is_sealed = true;
        w->need = TO_GROUP;
        return 0;
    }
    mr_failpoint("before-sealed");
    r = mr_commit_seal(s->commit, w->d, err);
    if (r == -EIO)
        mr_movie_taint(w->job.movie);
    mr_failpoint("sealed");
    return r;
}

static int seal_finished(struct mr_seal *s, struct work *w, const char *left_out,
                         struct mr_err *err)
{
    const struct mr_end *end = w->job.end;
    record_sibling(s, w->d);
    if (sibling_is_stuck(s, w->d)) /* it may be the same content, and then this one is known */
        return mr_err_set(err, -EBUSY, "%s: an earlier one of it is being committed",
                          w->d->open.path);
    int r = answer_known(s, w, err);
    if (r != -ENOENT)
        return r;
    r = choose_name(s, w->d, err);
    if (r < 0)
        return r;
    const struct mr_announcement a = {.end = end,
                                      .extent = &end->extent,
                                      .left_out = left_out,
                                      .renamed = strcmp(w->d->path, w->d->sealed.path) != 0};
    return announce(s, w, &a, err);
}

/* It goes on as MR_SEAL_VERIFIED. -EINPROGRESS: work has nothing of it any more. */
static int read_back(struct mr_seal *s, struct work *w, const char *left_out, struct mr_err *err)
{
    struct mr_recheck_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        return mr_err_errno(err, -ENOMEM, "seal");
    *job = (struct mr_recheck_job){
        .kind = MR_RECHECK_SEALING, .movie = w->job.movie, .dossier = w->d, .sealing = w->job.end};
    (void)snprintf(job->left_out, sizeof(job->left_out), "%s", left_out);
    int r = mr_queue_try_push(s->rechecks, &job);
    if (r < 0) {
        free(job);
        return mr_err_errno(err, r, "seal");
    }
    w->job.movie = NULL;
    w->d = NULL;
    return -EINPROGRESS;
}

static int seal_movie(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    char left_out[256];
    int r = mr_finish_part(s->commit->store, w->job.movie, w->d, w->job.end, left_out, err);
    if (r < 0)
        return r;
    return s->rechecks != NULL ? read_back(s, w, left_out, err)
                               : seal_finished(s, w, left_out, err);
}

static int seal_failed(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    const struct mr_fail *fail = w->job.fail;
    struct stat root, part;
    bool keep = fail->code != MR_REASON_PERMISSION; /* of a full quota's it would hold the room */
    int r = keep ? mr_finish_failed(w->job.movie, w->d, fail, err) : 0;
    if (r < 0)
        return r;
    w->d->sealed.failed = true;
    bool local = keep && fstat(s->commit->store->root_fd, &root) == 0 &&
                 fstat(w->job.movie->part_dir_fd, &part) == 0 && root.st_dev != part.st_dev;
    r = mr_failed_place(s->commit->store, w->d, local, err);
    const struct mr_announcement a = {
        .extent = &fail->extent, .reason = fail->text, .code = mr_failed_code(fail)};
    return r < 0 ? r : announce(s, w, &a, err);
}

/* What is sealed in one breath with its landing has no journal to be read. */
static int take_dossier(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    struct mr_movie *m = w->job.movie;
    struct mr_dossier *d = w->d = m->dossier;
    m->dossier = NULL;
    d->slabs = calloc(1, sizeof(*d->slabs));
    if (d->slabs == NULL)
        return mr_err_errno(err, -ENOMEM, "seal");
    d->slabs[0] = m->slab;
    d->slab_count = d->durable = m->aboard;
    d->space_end = m->aboard ? m->slab.stored_bytes : 0;
    if (!mr_skiff_is_sound(s->commit->store, m))
        mr_movie_taint(m);
    if (w->job.kind == MR_SEAL_COMMIT)
        return 0;
    int r = mr_flotilla_leave(s->commit->store, d, err); /* kept as failed: the ordinary way */
    m->small = r < 0;
    return r;
}

static int open_dossier(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    char name[MR_NAMING_PART];
    if (is_small(w))
        return take_dossier(s, w, err);
    w->d = calloc(1, sizeof(*w->d));
    if (w->d == NULL)
        return mr_err_errno(err, -ENOMEM, "seal");
    mr_dossier_name(&w->job.id, w->job.movie->generation, "journal", name);
    return mr_dossier_read(s->commit->store->journal_fd, name, w->d, err);
}

/* A movie that a slab, a total or the source does not agree with begins again under a new id. */
static void give_up(struct mr_seal *s, struct work *w, const struct mr_err *err)
{
    mr_error(STAGE, "%s: %s: the movie is discarded and asked for again", w->d->open.path,
             err->text);
    discard(s, w);
}

/* A failed fsync is never tried again: a new generation begins with nothing. */
static void distrust(struct mr_seal *s, struct work *w)
{
    discard(s, w);
    free(w->message);
    w->message = NULL;
}

/* Its journal cannot be relied on any more, and nobody was told of it. */
void mr_seal_begin_again(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    mr_error(STAGE, "%s: it begins again", err->text);
    mr_seal_undo(s, w, TO_TAKE_BACK);
    err->code = -EIO;
    if (w->job.kind != MR_SEAL_RECOVERED)
        mr_seal_hold(w, err);
}

/* 1: the file that the catalogue has there, unchanged, is this very one, under the name of one that
 * somebody has taken away. */
static int is_its_own(const struct mr_seal *s, const struct mr_dossier *d,
                      const struct mr_catalogue_entry *entry)
{
    MR_CLEANUP(mr_fs_close)
    int fd = mr_fs_open_beneath(s->commit->store->root_fd, entry->path, O_PATH | O_NOFOLLOW, 0);
    return fd < 0 ? fd : mr_fs_is_inode(fd, "", d->sealed.inode);
}

static int find_another(const struct mr_seal *s, const struct mr_dossier *d,
                        const struct mr_catalogue_entry **ret, struct mr_err *err)
{
    if (others_go_first(s, d))
        return mr_err_set(err, -EBUSY, "%s: another one of it is being committed", d->path);
    int r = find_known(s, d, ret, err);
    int own = r == 0 ? is_its_own(s, d, *ret) : 0;
    if (own < 0)
        return own == -ENOENT ? own : mr_err_errno(err, own, "%s", (*ret)->path);
    r = own > 0 ? -ENOENT : r;
    return r == -EUCLEAN ? -EIO : r; /* of a folder, not of this movie */
}

/* Sealed by an earlier server, which told nobody; its source may have been offered anew since, by
 * an agent that does not know it any more, and be stored. 0: then it goes. -ENOENT: it does not. */
static int withdraw_known(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    const struct mr_catalogue_entry *entry;
    if (w->d->sealed.failed || w->d->open.revision > 1) /* which has a predecessor's name */
        return -ENOENT;
    record_sibling(s, w->d);
    int r = find_another(s, w->d, &entry, err);
    if (r < 0)
        return r;
    mr_info(STAGE, "%s of %s was sealed as %s and is in the store as %s: not kept twice",
            w->d->open.path, w->d->agent, w->d->sealed.path, entry->path);
    mr_seal_undo(s, w, TO_TAKE_BACK);
    return 0;
}

void mr_seal_place(struct mr_seal *s, struct work *w)
{
    struct mr_err err = {0};
    int r = w->job.kind == MR_SEAL_RECOVERED ? withdraw_known(s, w, &err) : -ENOENT;
    if (r == 0)
        return;
    if (r == -ENOENT)
        r = mr_commit_place(s->commit, w->d, &err);
    if (r == -EXDEV && w->d->sealed.failed) {
        r = mr_failed_place(s->commit->store, w->d, true, &err);
        if (r == 0)
            r = mr_commit_reseal(s->commit, w->d, w->d->sealed.path, &err);
        if (r == 0)
            r = mr_commit_place(s->commit, w->d, &err);
    }
    w->need = r == 0 ? TO_RECORD : TO_PLACE;
    if (r == -EUCLEAN)
        mr_seal_begin_again(s, w, &err);
    else if (r == -ENOENT && w->job.kind == MR_SEAL_RECOVERED) {
        w->need = mr_commit_vanished(s->commit, w->d) < 0 ? TO_TAKE_BACK : NOTHING;
    } else if (r < 0)
        mr_log_seldom(MR_LOG_ERROR, STAGE, "a finished movie cannot be given its name yet: %s",
                      err.text);
}

/* Sealed by an earlier server, and read back since. */
static void prepare_recovered(struct mr_seal *s, struct work *w)
{
    w->d = w->job.dossier;
    w->job.dossier = NULL;
    if (w->job.state == MR_COMMIT_TOLD) { /* where it is, others may read it by now */
        w->need = TO_RECORD;
        int r = mr_commit_drop_part(s->commit->store, w->d);
        if (r < 0)
            mr_log_seldom(MR_LOG_WARN, STAGE, "%s keeps its part's name: %s", w->d->sealed.path,
                          mr_err_name(r));
        return;
    }
    if (!w->job.bad && w->job.state != MR_COMMIT_VOID) {
        mr_seal_place(s, w);
        return;
    }
    if (w->job.bad)
        mr_error(STAGE, "%s was sealed, but does not read back as written: it begins again",
                 w->d->sealed.path);
    mr_seal_undo(s, w, TO_TAKE_BACK);
}

static void conclude(struct mr_seal *s, struct work *w, int r, const struct mr_err *err)
{
    if (r == -EINPROGRESS)
        return;
    if (r == -EUCLEAN)
        give_up(s, w, err);
    else if (r < 0) {
        if (is_small(w) || mr_movie_is_tainted(w->job.movie))
            distrust(s, w); /* a small one is kept by nobody: it begins again */
        mr_seal_hold(w, err);
    } else if (w->message == NULL && w->need != TO_GROUP)
        mr_seal_place(s, w);
}

/* Finished, and read back since. */
static void prepare_verified(struct mr_seal *s, struct work *w)
{
    struct mr_err err = {0};
    struct mr_recheck_job *job = w->job.recheck;
    const struct mr_seal_job commit = {
        .kind = MR_SEAL_COMMIT, .id = w->job.id, .movie = job->movie, .end = job->sealing};
    bool bad = w->job.bad;
    w->job = commit;
    w->d = job->dossier;
    job->movie = NULL;
    job->dossier = NULL;
    int r;
    if (!job->whole)
        r = mr_err_set(&err, -ESHUTDOWN, "%s: the server is stopping", w->d->open.path);
    else if (bad)
        r = mr_err_set(&err, -EIO,
                       "%s does not read back as written: what differs is asked for again",
                       w->d->open.path);
    else
        r = seal_finished(s, w, job->left_out, &err);
    mr_recheck_job_free(job);
    conclude(s, w, r, &err);
    if (r == -ESHUTDOWN)
        w->message->hold.code = MR_REASON_STOPPING;
}

void mr_seal_prepare(struct mr_seal *s, struct work *w)
{
    struct mr_err err = {0};
    int r;
    w->began_ns = mr_clock_monotonic_ns();
    switch (w->job.kind) {
    case MR_SEAL_DISCARD:
        abandon(s, w);
        return;
    case MR_SEAL_RECOVERED:
        prepare_recovered(s, w);
        return;
    case MR_SEAL_VERIFIED:
        prepare_verified(s, w);
        return;
    case MR_SEAL_COMMIT:
    case MR_SEAL_FAIL:
    case MR_SEAL_LOG:
        break;
    }
    r = open_dossier(s, w, &err);
    if (r == 0)
        r = w->job.kind == MR_SEAL_COMMIT ? seal_movie(s, w, &err) : seal_failed(s, w, &err);
    conclude(s, w, r, &err);
}
