/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seal stage: takes jobs in batches, so that many small movies share the log's fdatasync.
 * Decides how a movie ends; the steps themselves are finish's and commit's.
 */
#include "seal.h"

#include "announce.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "base/recordlog.h"
#include "discard.h"
#include "failed_place.h"
#include "finish.h"
#include "revisions.h"
#include "unlogged.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE     "seal"
#define BATCH     64
#define STUCK_MAX 2048 /* as many as may be in flight, of this life and of the one before */
#define BATCH_NS  (30 * MR_NS_PER_MS)
#define RETRY_MS  5000

enum counter { COMMITTED, FAILED, DISCARDED, KNOWN, COUNTERS };

static const struct mr_counter counters[COUNTERS] = {
    [COMMITTED] = {.name = "millrace_movies_committed_total",
                   .help = "Movies and files committed."},
    [FAILED] = {.name = "millrace_movies_failed_total", .help = "Movies kept as failed."},
    [DISCARDED] = {.name = "millrace_movies_discarded_total",
                   .help = "Movies discarded: begun again, or abandoned by their agent."},
    [KNOWN] = {.name = "millrace_movies_known_total",
               .help = "Movies that were in the store already."},
};

/* One movie on its way through the batch */
struct work {
    struct mr_seal_job job;
    struct mr_dossier *d; /* owned; NULL: nothing to record */
    struct mr_message *message;
    bool placed, stuck;
    int64_t began_ns;
};

struct mr_seal {
    const struct mr_commit *commit;
    struct mr_queue *jobs, *answers;
    void (*fatal)(void *ctx);
    void *ctx;
    bool dead;
    struct work *batch; /* prepared, not yet recorded; of the loop's turn */
    size_t batch_count;
    struct work stuck[STUCK_MAX]; /* sealed, but they could not be placed: tried again */
    size_t stuck_count;
    int64_t stuck_ns; /* when they were last tried */
    struct mr_unlogged unlogged;
    atomic_bool stopping;
    int64_t expired_ns; /* when old revisions were last looked through */
    struct mr_counter counters[COUNTERS];
    _Atomic int64_t last_commit_ns;
};

int mr_seal_new(const struct mr_commit *commit, struct mr_queue *jobs, struct mr_queue *answers,
                void (*fatal)(void *ctx), void *ctx, struct mr_seal **ret)
{
    struct mr_seal *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return -ENOMEM;
    s->commit = commit;
    s->jobs = jobs;
    s->answers = answers;
    s->fatal = fatal;
    s->ctx = ctx;
    memcpy(s->counters, counters, sizeof(counters));
    for (int i = 0; i < COUNTERS; i++)
        mr_counter_register(&s->counters[i]);
    *ret = s;
    return 0;
}

static void work_drop(struct work *w)
{
    if (w->d != NULL)
        mr_dossier_fini(w->d);
    free(w->d);
    free(w->message);
    mr_movie_release(w->job.movie);
    w->d = NULL;
    w->message = NULL;
    w->job.movie = NULL;
}

void mr_seal_free(struct mr_seal *s)
{
    if (s == NULL)
        return;
    for (int i = 0; i < COUNTERS; i++)
        mr_counter_unregister(&s->counters[i]);
    for (size_t i = 0; i < s->stuck_count; i++)
        work_drop(&s->stuck[i]);
    mr_unlogged_fini(&s->unlogged);
    free(s);
}

void mr_seal_count(struct mr_seal *s, struct mr_seal_counts *ret)
{
    *ret = (struct mr_seal_counts){.committed = mr_counter_value(&s->counters[COMMITTED]),
                                   .failed = mr_counter_value(&s->counters[FAILED]),
                                   .discarded = mr_counter_value(&s->counters[DISCARDED]),
                                   .known = mr_counter_value(&s->counters[KNOWN]),
                                   .last_commit_ns = atomic_load(&s->last_commit_ns)};
}

static void die(struct mr_seal *s, const struct mr_err *err)
{
    mr_error(STAGE, "the store's records cannot be written, the server ends: %s", err->text);
    s->dead = true;
    s->fatal(s->ctx);
}

/* ---- answers ---- */

static struct mr_message *new_message(enum mr_message_type type, const struct mr_ulid *id)
{
    struct mr_message *m = calloc(1, sizeof(*m));
    if (m == NULL)
        abort(); /* a verdict that cannot be told would leave its agent waiting for ever */
    m->type = type;
    m->abandon.movie = *id; /* every one of these bodies begins with it */
    return m;
}

static void answer_hold(struct work *w, const struct mr_err *err)
{
    mr_log_seldom(MR_LOG_ERROR, STAGE, "%s", err->text);
    w->message = new_message(MR_HOLD, &w->job.id);
    w->message->hold.code = mr_reason_of_error(err->code);
    w->message->hold.retry_ms = RETRY_MS;
    snprintf(w->message->hold.text, sizeof(w->message->hold.text), "%.500s", err->text);
}

static void answer_committed(const struct mr_store *store, struct work *w, const char *event,
                             const char *path, uint64_t sequence, bool known)
{
    w->message = new_message(MR_COMMITTED, &w->job.id);
    struct mr_committed *c = &w->message->committed;
    c->revision = w->d->open.revision;
    c->sequence = sequence;
    c->known = known;
    c->source_bytes = w->d->sealed.source_bytes;
    c->source_mtime_ns = w->d->sealed.source_mtime_ns;
    snprintf(c->event, sizeof(c->event), "%s", event);
    snprintf(c->path, sizeof(c->path), "%s/%s", store->root, path);
}

/* ---- discarding ---- */

static void discard(struct mr_seal *s, struct work *w)
{
    int r = mr_discard_all(s->commit->store, &w->job.id);
    (void)r; /* what is left is of no use to anybody, and the next start says so */
    mr_counter_add(&s->counters[DISCARDED], 1);
    w->message = new_message(MR_ABANDONED, &w->job.id);
}

/* Its agent gives it up. One that is sealed is committed all the same, as soon as it can be. */
static void abandon(struct mr_seal *s, struct work *w)
{
    struct mr_err err = {0};
    if (mr_discard_is_sealed(s->commit->store, &w->job.id)) {
        mr_err_set(&err, -EBUSY, "it is being committed");
        answer_hold(w, &err);
        w->message->hold.code = MR_REASON_BUSY;
    } else {
        discard(s, w);
    }
}

/* ---- committing ---- */

static void record(struct mr_seal *s, struct work *works, size_t count);

/* Is there a movie of the same source that is placed, but waits for the batch to be recorded? */
static bool sibling_in_batch(const struct mr_seal *s, const struct mr_dossier *d)
{
    for (size_t i = 0; i < s->batch_count; i++) {
        const struct work *w = &s->batch[i];
        if (w->placed && strcmp(w->d->agent, d->agent) == 0 &&
            strcmp(w->d->open.path, d->open.path) == 0)
            return true;
    }
    return false;
}

/* The same content of the same source, stored and unchanged: no second copy, no new event, and 0;
 * -ENOENT: it is new. */
static int answer_known(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    const struct mr_dossier *d = w->d;
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
    const struct mr_catalogue_entry *entry;
    int r =
        mr_catalogue_find_content(s->commit->catalogue, s->commit->store->root_fd, &what, &entry);
    if (r == -ENOENT)
        return r;
    if (r < 0)
        return mr_err_errno(err, r, "%s: what the store has of it", d->path);
    answer_committed(s->commit->store, w, entry->event, entry->path, entry->sequence, true);
    w->message->committed.revision = entry->revision;
    struct mr_message *message = w->message;
    discard(s, w);
    free(w->message);
    w->message = message;
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
    mr_failpoint("before-sealed");
    r = mr_commit_seal(s->commit, w->d, err);
    if (r == -EIO)
        mr_movie_taint(w->job.movie);
    mr_failpoint("sealed");
    return r;
}

static int seal_movie(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    char left_out[256];
    const struct mr_end *end = w->job.end;
    int r = mr_finish_part(s->commit->store, w->job.movie, w->d, end, left_out, err);
    if (r < 0)
        return r;
    if (sibling_in_batch(s, w->d)) /* what it put into the store is not in the catalogue yet */
        record(s, s->batch, s->batch_count);
    r = answer_known(s, w, err);
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

static int open_dossier(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    char name[64];
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
static void begin_again(struct mr_seal *s, struct work *w, struct mr_err *err)
{
    mr_error(STAGE, "%s: it begins again", err->text);
    mr_commit_take_back(s->commit, w->d);
    err->code = -EIO;
    if (w->job.kind != MR_SEAL_RECOVERED)
        answer_hold(w, err);
}

static void place(struct mr_seal *s, struct work *w)
{
    struct mr_err err = {0};
    int r = mr_commit_place(s->commit, w->d, &err);
    if (r == -EXDEV && w->d->sealed.failed) {
        r = mr_failed_place(s->commit->store, w->d, true, &err);
        char *event = NULL;
        if (r == 0)
            r = mr_announce_moved(s->commit->store, w->d->sealed.event, w->d->sealed.path, &event);
        if (r == 0) {
            free(w->d->sealed.event);
            w->d->sealed.event = event;
            r = mr_commit_seal(s->commit, w->d, &err);
            r = r == -EIO ? -EUCLEAN : r;
        }
        if (r == 0)
            r = mr_commit_place(s->commit, w->d, &err);
    }
    w->placed = r == 0;
    w->stuck = r < 0 && r != -EUCLEAN;
    if (r == -EUCLEAN)
        begin_again(s, w, &err);
    else if (r == -ENOENT && w->job.kind == MR_SEAL_RECOVERED) {
        mr_commit_vanished(s->commit, w->d);
        w->stuck = false;
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
        w->placed = true;
        return;
    }
    if (!w->job.bad) {
        place(s, w);
        return;
    }
    mr_error(STAGE, "%s was sealed, but does not read back as written: it begins again",
             w->d->sealed.path);
    mr_commit_take_back(s->commit, w->d);
}

static void prepare(struct mr_seal *s, struct work *w)
{
    struct mr_err err = {0};
    w->began_ns = mr_clock_monotonic_ns();
    if (w->job.kind == MR_SEAL_DISCARD) {
        abandon(s, w);
        return;
    }
    if (w->job.kind == MR_SEAL_RECOVERED) {
        prepare_recovered(s, w);
        return;
    }
    int r = open_dossier(s, w, &err);
    if (r == 0)
        r = w->job.kind == MR_SEAL_COMMIT ? seal_movie(s, w, &err) : seal_failed(s, w, &err);
    if (r == -EUCLEAN)
        give_up(s, w, &err);
    else if (r < 0) {
        if (mr_movie_is_tainted(w->job.movie))
            distrust(s, w);
        answer_hold(w, &err);
    } else if (w->message == NULL)
        place(s, w);
}

/* ---- recording ---- */

static void answer_recorded(struct mr_seal *s, struct work *w, uint64_t sequence)
{
    const struct mr_dossier *d = w->d;
    char event[64];
    if (w->job.kind == MR_SEAL_RECOVERED) {
        mr_info(STAGE, "%s: commit finished that an earlier server began (event %llu)",
                d->sealed.path, (unsigned long long)sequence);
        return;
    }
    mr_announce_id(&w->job.id, d->sealed.failed ? "failed" : "ready", d->open.revision, event);
    if (d->sealed.failed) {
        w->message = new_message(MR_FAILED, &w->job.id);
        w->message->failed.code = mr_failed_code(w->job.fail);
        snprintf(w->message->failed.text, sizeof(w->message->failed.text),
                 "%.300s (kept as %.190s)", w->job.fail->text, d->sealed.path);
        mr_counter_add(&s->counters[FAILED], 1);
        mr_warn(STAGE, "%s of %s failed: %s; kept as %s", d->open.path, d->agent, w->job.fail->text,
                d->sealed.path);
        return;
    }
    answer_committed(s->commit->store, w, event, d->sealed.path, sequence, false);
    mr_counter_add(&s->counters[COMMITTED], 1);
    atomic_store(&s->last_commit_ns, mr_clock_monotonic_ns() - w->began_ns);
    mr_info(STAGE, "%s: %llu bytes, event %llu", d->sealed.path,
            (unsigned long long)d->sealed.bytes, (unsigned long long)sequence);
}

static void record(struct mr_seal *s, struct work *works, size_t count)
{
    struct mr_dossier *placed[BATCH];
    uint64_t sequences[BATCH];
    size_t n = 0;
    struct mr_err err = {0};
    for (size_t i = 0; i < count; i++)
        if (works[i].placed)
            placed[n++] = works[i].d;
    if (n == 0)
        return;
    int r = mr_unlogged_flush(&s->unlogged, s->commit->eventlog, &err);
    if (r == 0)
        r = mr_commit_record(s->commit, placed, n, sequences, &err);
    if (mr_recordlog_is_whole(r)) { /* there may be room later */
        mr_log_seldom(MR_LOG_ERROR, STAGE, "%zu finished movies cannot be recorded yet: %s", n,
                      err.text);
        for (size_t i = 0; i < count; i++)
            works[i].stuck |= works[i].placed;
        return;
    }
    if (r < 0) {
        die(s, &err);
        return;
    }
    n = 0;
    for (size_t i = 0; i < count; i++)
        if (works[i].placed) {
            answer_recorded(s, &works[i], sequences[n++]);
            works[i].placed = false;
        }
}

static void told_of_log(struct mr_seal *s, int r, const struct mr_err *err)
{
    if (r == -ENOBUFS)
        mr_log_seldom(MR_LOG_ERROR, STAGE, "an event is not logged: %s", err->text);
    else if (mr_recordlog_is_whole(r))
        mr_log_seldom(MR_LOG_ERROR, STAGE, "events wait to be logged: %s", err->text);
    else if (r < 0)
        die(s, err);
}

static void log_event(struct mr_seal *s, struct mr_seal_job *job)
{
    struct mr_err err = {0};
    told_of_log(s, mr_unlogged_add(&s->unlogged, s->commit->eventlog, job->event, &err), &err);
}

static void retry_unlogged(struct mr_seal *s)
{
    struct mr_err err = {0};
    told_of_log(s, mr_unlogged_flush(&s->unlogged, s->commit->eventlog, &err), &err);
}

static void deliver(struct mr_seal *s, struct work *w)
{
    bool recovered = w->job.kind == MR_SEAL_RECOVERED;
    bool room = s->stuck_count < STUCK_MAX;
    assert(room || recovered); /* control lets no more movies in */
    if (w->stuck && room && !atomic_load(&s->stopping)) {
        s->stuck[s->stuck_count++] = *w;
        return;
    }
    if (w->stuck && !recovered) { /* it is sealed: the next start finishes it */
        w->message = new_message(MR_HOLD, &w->job.id);
        w->message->hold.code = MR_REASON_STOPPING;
    }
    struct mr_seal_answer answer = {.id = w->job.id, .message = w->message};
    w->message = NULL;
    work_drop(w);
    if (answer.message != NULL && mr_queue_push(s->answers, &answer) < 0)
        free(answer.message);
}

static void finish(struct mr_seal *s, struct work *works, size_t count)
{
    if (!s->dead)
        record(s, works, count);
    for (size_t i = 0; i < count; i++)
        deliver(s, &works[i]);
}

/* As many as one batch holds; those that stay stuck line up again behind the rest. */
static void retry_stuck(struct mr_seal *s)
{
    struct work works[BATCH];
    size_t count = s->stuck_count < BATCH ? s->stuck_count : BATCH;
    memcpy(works, s->stuck, count * sizeof(*works));
    s->stuck_count -= count;
    s->stuck_ns = mr_clock_monotonic_ns();
    memmove(s->stuck, s->stuck + count, s->stuck_count * sizeof(*works));
    for (size_t i = 0; i < count; i++)
        if (works[i].placed)
            works[i].stuck = false;
        else
            place(s, &works[i]);
    finish(s, works, count);
}

/* By the clock: where others come and go all the time, nobody is ever idle. */
static bool stuck_is_due(const struct mr_seal *s)
{
    bool waited = mr_clock_monotonic_ns() - s->stuck_ns >= RETRY_MS * MR_NS_PER_MS;
    return s->stuck_count > 0 && (waited || atomic_load(&s->stopping));
}

void mr_seal_stop(struct mr_seal *s)
{
    atomic_store(&s->stopping, true);
}

/* ---- the loop ---- */

/* More jobs while there are some, the batch has room, and its first movie has not waited long. */
static int next_job(struct mr_seal *s, int64_t close_ns, struct mr_seal_job *ret)
{
    if (s->batch_count == BATCH || mr_clock_monotonic_ns() >= close_ns)
        return -EAGAIN;
    return mr_queue_pop(s->jobs, 0, ret);
}

static void run(void *stage)
{
    struct mr_seal *s = stage;
    struct work works[BATCH];
    struct mr_seal_job job;
    int r = 0;
    s->batch = works;
    while (r != -EPIPE && !s->dead) {
        s->batch_count = 0;
        mr_revisions_expire(s->commit, &s->expired_ns);
        r = mr_queue_pop(s->jobs, RETRY_MS, &job);
        const int64_t close_ns = mr_clock_monotonic_ns() + BATCH_NS;
        for (; r == 0; r = next_job(s, close_ns, &job)) {
            if (job.kind == MR_SEAL_LOG) {
                log_event(s, &job);
                continue;
            }
            works[s->batch_count] = (struct work){.job = job};
            prepare(s, &works[s->batch_count]);
            s->batch_count++; /* a movie is no sibling of its own */
        }
        finish(s, works, s->batch_count);
        if (!s->dead && s->unlogged.count > 0)
            retry_unlogged(s);
        while (!s->dead && stuck_is_due(s))
            retry_stuck(s);
    }
    s->batch_count = 0;
}

const struct mr_stage mr_seal_stage = {.name = STAGE, .run = run};
