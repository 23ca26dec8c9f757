/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which part is a movie's: the one it was left with, a copy of that, or a new one. Does not talk to
 * agents and does not land or seal anything.
 */
#include "berth.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/tally.h"
#include "berth_answer.h"
#include "berth_line.h"
#include "dossier.h"
#include "failed_place.h"
#include "recheck.h"
#include "roster.h"
#include "skiff.h"
#include "slipway.h"
#include "standing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STAGE    "berth"
#define JOBS     64                 /* looked at together */
#define STRAY_NS (30 * MR_NS_PER_S) /* a push gives up after 10 s without its server */

struct mr_berth {
    const struct mr_store *store;
    struct mr_catalogue *catalogue;
    struct mr_berth_queues queues;
    struct mr_berth_line *line; /* OPENs taken from the queue */
    struct mr_roster doubts;    /* of an earlier life: their slabs are read back first */
    struct mr_roster strays;    /* let go of: where a push does not come back, it is discarded */
};

int mr_berth_new(const struct mr_store *store, struct mr_catalogue *catalogue,
                 const struct mr_berth_queues *queues, struct mr_berth **ret)
{
    struct mr_berth *b = calloc(1, sizeof(*b));
    if (b == NULL)
        return -ENOMEM;
    *b = (struct mr_berth){.store = store, .catalogue = catalogue, .queues = *queues};
    *ret = b;
    return 0;
}

void mr_berth_free(struct mr_berth *b)
{
    if (b == NULL)
        return;
    mr_berth_line_free(&b->line);
    mr_roster_fini(&b->doubts);
    mr_roster_fini(&b->strays);
    free(b);
}

int mr_berth_note_left(struct mr_berth *b, const struct mr_ulid *id)
{
    int r = mr_roster_add(&b->doubts, id, 0);
    return r < 0 ? r : mr_roster_add(&b->strays, id, mr_clock_monotonic_ns() + STRAY_NS);
}

/* ---- what of it is durable ---- */

static int durable_ranges(const struct mr_dossier *d, struct mr_range **ret, size_t *ret_count)
{
    size_t count = 0;
    struct mr_range *ranges = calloc(d->slab_count / 2 + 1, sizeof(*ranges));
    if (ranges == NULL)
        return -ENOMEM;
    for (uint64_t i = 0; i < d->slab_count; i++) {
        if (d->slabs[i].raw_bytes == 0)
            continue;
        if (count > 0 && ranges[count - 1].first + ranges[count - 1].count == i)
            ranges[count - 1].count++;
        else
            ranges[count++] = (struct mr_range){.first = i, .count = 1};
    }
    *ret = ranges;
    *ret_count = count;
    return 0;
}

/* ---- the job ---- */

static bool same_movie(const struct mr_open *a, const struct mr_open *b)
{
    struct mr_open left = *a, right = *b;
    /* what may be known better the second time is no difference */
    left.pixel_size_angstrom = right.pixel_size_angstrom = 0;
    left.source_bytes_expected = right.source_bytes_expected = 0;
    if (left.geometry.layout != MR_LAYOUT_CHUNKS) /* of the link only */
        left.codec = right.codec;
    left.whole = right.whole = false;
    return mr_open_equal(&left, &right);
}

/* A sync of it failed, perhaps, and it is there all the same: nothing of it is told as durable
 * unread. */
static void doubt(struct mr_berth *b, const struct mr_ulid *id)
{
    int r = mr_roster_add(&b->doubts, id, 0);
    (void)r; /* out of memory: so is the OPEN, or the seal, that would come here again */
}

/* Its slabs are read back before anything is said of them: then it comes again, as RECHECKED. Takes
 * movie, and what dossier owns, also on failure. carry_from: mr_recheck_job's. */
static int recheck(struct mr_berth *b, struct mr_movie *movie, struct mr_dossier *d,
                   uint32_t carry_from)
{
    struct mr_recheck_job *job = calloc(1, sizeof(*job));
    struct mr_dossier *copy = malloc(sizeof(*copy));
    if (job == NULL || copy == NULL) {
        free(job);
        free(copy);
        mr_dossier_fini(d);
        mr_movie_release(movie);
        return -ENOMEM;
    }
    *copy = *d;
    *job = (struct mr_recheck_job){
        .kind = MR_RECHECK_RESUMED, .movie = movie, .dossier = copy, .carry_from = carry_from};
    int r = mr_queue_try_push(b->queues.rechecks, &job);
    if (r < 0)
        mr_recheck_job_free(job);
    return r < 0 ? r : -EINPROGRESS;
}

/* Takes movie, also on failure. */
static int resumed(const struct mr_berth *b, struct mr_berth_answer *answer, struct mr_movie *movie,
                   const struct mr_dossier *d)
{
    mr_lease_prove(b->store->lease); /* who takes the store over later has what is told here */
    int r = durable_ranges(d, &answer->durable, &answer->durable_count);
    if (r < 0) {
        mr_movie_release(movie);
        return r;
    }
    answer->movie = movie;
    answer->resumed = true;
    return 0;
}

/* The part is one that a server before may still write into: its slabs are copied into one of our
 * own. Takes what d owns. */
static int carry_over(struct mr_berth *b, struct mr_dossier *d, uint32_t generation,
                      struct mr_err *err)
{
    uint32_t from = d->generation;
    d->generation = generation;
    struct mr_movie *movie = mr_slipway_movie(d);
    int r = movie == NULL ? -ENOMEM : mr_slipway_make(b->store, movie, d, err);
    if (r == 0)
        return recheck(b, movie, d, from);
    if (movie != NULL)
        mr_slipway_remove(b->store, &movie->id, generation, d->path);
    mr_movie_release(movie);
    mr_dossier_fini(d);
    return r;
}

/* Its journal could not be removed behind its commit; its agent wants a later revision by now. One
 * that wants this one may have asked before it was recorded: it hears of it when it asks again. */
static bool is_left_over(const struct mr_berth *b, const struct mr_dossier *d,
                         const struct mr_open *open)
{
    return d->is_sealed && d->open.revision != open->revision &&
           mr_catalogue_find_revision(b->catalogue, &d->open.movie, d->open.revision) != NULL;
}

/* Takes what d owns. next: a generation that is free. */
static int resume_from(struct mr_berth *b, const struct mr_open *open, struct mr_dossier *d,
                       uint32_t next, struct mr_berth_answer *answer, struct mr_err *err)
{
    struct mr_movie *movie;
    int r = 0;
    if (is_left_over(b, d, open)) { /* the next start removes it */
        r = -ENOENT;
    } else if (d->is_sealed) { /* seal has it, and does not let go before it is committed */
        r = mr_err_set(err, -EBUSY, "%s is being committed", open->path);
    } else if (!same_movie(&d->open, open)) {
        mr_slipway_remove(b->store, &open->movie, d->generation, d->path);
        r = -ENOENT;
    }
    d->open.codec = open->codec; /* what slabs may come in from now on */
    if (r == 0 && mr_dossier_is_foreign(d->generation))
        return carry_over(b, d, next, err);
    if (r == 0)
        r = mr_slipway_reopen(b->store, d, mr_roster_has(&b->doubts, &open->movie), &movie, err);
    if (r < 0 && r != -ENOENT && r != -EBUSY)
        doubt(b, &open->movie);
    if (r == 0 && mr_roster_has(&b->doubts, &open->movie))
        return recheck(b, movie, d, 0);
    if (r == 0)
        r = resumed(b, answer, movie, d);
    mr_dossier_fini(d);
    return r;
}

/* The movie as an earlier session or an earlier server left it. -ENOENT: begin it afresh, as
 * *ret_generation. -EINPROGRESS: the answer comes later. */
static int resume(struct mr_berth *b, const struct mr_open *open, struct mr_berth_answer *answer,
                  uint32_t *ret_generation, struct mr_err *err)
{
    char name[MR_NAMING_PART];
    struct mr_dossier d = {0};
    uint32_t generation;
    int r = mr_dossier_find(b->store->journal_fd, b->store->epoch, &open->movie, &generation,
                            ret_generation);
    if (r < 0) /* the store's own folder */
        return mr_err_errno(err, r == -ENOENT ? -EIO : r, "%s/.millrace/journal", b->store->root);
    if (generation == 0)
        return -ENOENT;
    mr_dossier_name(&open->movie, generation, "journal", name);
    /* what it was left with may not have been synced, and a syncfs may have failed since: then it
     * is in memory only, and the next sync would not tell */
    mr_dossier_forget_cached(b->store->journal_fd, name);
    r = mr_dossier_read(b->store->journal_fd, name, &d, err);
    if (r == -ENODATA) {
        unlinkat(b->store->journal_fd, name, 0);
        return -ENOENT;
    }
    if (r == -EUCLEAN) /* said at start; the next generation has files of its own */
        return -ENOENT;
    return r < 0 ? r : resume_from(b, open, &d, *ret_generation, answer, err);
}

static int name_movie(const struct mr_berth *b, const struct mr_berth_job *job, char *ret_path,
                      struct mr_berth_why *why)
{
    const struct mr_open *open = job->open;
    const struct mr_naming_movie naming = {.agent = job->agent,
                                           .session = open->session,
                                           .day = open->day,
                                           .path = open->path,
                                           .format = open->format,
                                           .output = open->output};
    if (open->revision > 1) { /* it goes over the one before, wherever that lies */
        const struct mr_catalogue_entry *old = mr_catalogue_find(b->catalogue, &open->movie);
        if (old != NULL) {
            snprintf(ret_path, MR_NAMING_PATH_MAX + 1, "%s", old->path);
            return 0;
        }
    }
    int r = mr_naming_path(b->store->naming, &naming, ret_path, &why->err);
    if (r < 0) {
        why->code = MR_REASON_BAD_NAME;
        why->final = true;
    }
    return r;
}

/* -EXDEV: it is to be made the ordinary way. Takes d, where 0. */
static int begin_small(struct mr_berth *b, struct mr_dossier *d, struct mr_berth_answer *answer,
                       struct mr_err *err)
{
    d->generation = mr_skiff_generation(b->store);
    struct mr_movie *movie = mr_slipway_movie(d);
    int r = movie == NULL ? mr_err_errno(err, -ENOMEM, "movie")
                          : mr_skiff_make(b->store, movie, d, err);
    if (r == 0) {
        movie->dossier = d;
        answer->movie = movie;
    } else if (movie != NULL) {
        mr_skiff_remove(b->store, movie, d->path);
        mr_movie_release(movie);
    }
    return r;
}

static int begin_ordinary(struct mr_berth *b, const struct mr_dossier *d,
                          struct mr_berth_answer *answer, struct mr_err *err)
{
    struct mr_movie *movie = mr_slipway_movie(d);
    int r = movie == NULL ? mr_err_errno(err, -ENOMEM, "movie")
                          : mr_slipway_make(b->store, movie, d, err);
    if (r == 0) {
        answer->movie = movie;
    } else if (movie != NULL) {
        if (!mr_slipway_remove(b->store, &movie->id, d->generation, d->path))
            doubt(b, &movie->id);
        mr_movie_release(movie);
    }
    return r;
}

static int begin(struct mr_berth *b, const struct mr_berth_job *job, const char *path,
                 uint32_t generation, struct mr_berth_answer *answer, struct mr_berth_why *why)
{
    struct mr_dossier *d = calloc(1, sizeof(*d));
    if (d == NULL)
        return mr_err_errno(&why->err, -ENOMEM, "movie");
    d->generation = generation;
    d->open = *job->open;
    d->started_real_ns = mr_clock_real_ns();
    d->push = job->push;
    d->clock_offset_ms = job->clock_offset_ms;
    memcpy(d->agent, job->agent, sizeof(d->agent));
    (void)snprintf(d->path, sizeof(d->path), "%s", path);
    int r = 0;
    bool small = mr_skiff_fits(b->store, job->open);
    if (small && (r = begin_small(b, d, answer, &why->err)) == -EXDEV) {
        small = false;
        d->generation = generation;
        why->err.code = r = 0;
    }
    if (r == 0 && !small)
        r = begin_ordinary(b, d, answer, &why->err);
    if (r == -EDQUOT || (r == -EPERM && !mr_store_may_use_group(b->store))) {
        why->code = MR_REASON_PERMISSION;
        why->final = true; /* this movie's trouble, and not for a while */
    }
    if (r == 0) /* of this generation there is nothing to doubt */
        mr_roster_take(&b->doubts, &answer->movie->id);
    if (r < 0 || !small)
        free(d);
    return r;
}

/* 0: it has not. */
static int check_failed_before(const struct mr_berth *b, const struct mr_berth_job *job,
                               const char *path, struct mr_berth_why *why)
{
    char id[MR_ULID_TEXT];
    int r = mr_failed_is_kept(b->store, &job->open->movie, path);
    if (r < 0)
        return mr_err_errno(&why->err, r, ".millrace/failed/%s",
                            mr_ulid_text(&job->open->movie, id));
    if (r == 0)
        return 0;
    *why = (struct mr_berth_why){.code = MR_REASON_SOURCE, .final = true};
    return mr_err_set(&why->err, -EINVAL,
                      "this movie has failed before; it is kept in .millrace/failed");
}

static int begin_afresh(struct mr_berth *b, const struct mr_berth_job *job, uint32_t generation,
                        struct mr_berth_answer *answer, struct mr_berth_why *why)
{
    char path[MR_NAMING_PATH_MAX + 1];
    why->err.code = 0;
    int r = name_movie(b, job, path, why);
    if (r == 0)
        r = check_failed_before(b, job, path, why);
    if (r == 0 && mr_store_is_full(b->store))
        r = mr_err_set(&why->err, -ENOSPC, "%s has less free than store.keep_free", b->store->root);
    return r < 0 ? r : begin(b, job, path, generation, answer, why);
}

/* False: the answer comes later. */
static bool open_movie(struct mr_berth *b, const struct mr_berth_job *job,
                       struct mr_berth_answer *answer)
{
    struct mr_berth_why why = {0};
    uint32_t generation;
    const struct mr_ulid *id = &job->open->movie;
    const struct mr_catalogue_entry *entry =
        mr_catalogue_find_revision(b->catalogue, id, job->open->revision);
    if (entry != NULL) {
        answer->message = mr_berth_answer_committed(b->store, entry);
        return true;
    }
    int r = resume(b, job->open, answer, &generation, &why.err);
    if (r == -ENOENT)
        r = begin_afresh(b, job, generation, answer, &why);
    if (r == 0 || r == -EINPROGRESS)
        return r == 0;
    mr_berth_answer_refuse(answer, r, job->open->path, &why);
    mr_log_seldom(MR_LOG_ERROR, STAGE, "%s of %s: %s", job->open->path, job->agent, why.err.text);
    return true;
}

/* It was let go of a while ago and not opened since. An agent's waits for it for ever; a push's
 * never gets an answer any more. */
static void discard_stray(struct mr_berth *b, const struct mr_ulid *id)
{
    char name[MR_NAMING_PART];
    struct mr_err err = {0};
    struct mr_dossier d = {0};
    uint32_t generation, next;
    if (mr_dossier_find(b->store->journal_fd, b->store->epoch, id, &generation, &next) < 0 ||
        generation == 0)
        return;
    mr_dossier_name(id, generation, "journal", name);
    if (mr_dossier_read(b->store->journal_fd, name, &d, &err) < 0)
        return;
    if (d.push && !d.is_sealed) {
        mr_info(STAGE, "%s of %s: its push was broken off, what came of it is discarded",
                d.open.path, d.agent);
        mr_slipway_remove(b->store, id, generation, d.path);
    }
    mr_dossier_fini(&d);
}

static void look_after(struct mr_berth *b, const struct mr_ulid *id)
{
    int r = mr_roster_add(&b->strays, id, mr_clock_monotonic_ns() + STRAY_NS);
    (void)r; /* out of memory: the next start finds it */
}

static void release(struct mr_berth *b, const struct mr_berth_job *job)
{
    if (job->movie->small) { /* nothing of it was promised */
        mr_skiff_remove(b->store, job->movie, job->movie->dossier->path);
        mr_movie_release(job->movie);
        return;
    }
    if (job->distrusted) {
        const struct mr_movie *m = job->movie;
        int r = unlinkat(m->part_dir_fd, m->part_name, 0) < 0 && errno != ENOENT
                    ? -errno
                    : mr_fs_sync_dir(m->part_dir_fd); /* for good, before its journal */
        if (r == 0 && unlinkat(b->store->journal_fd, m->journal_name, 0) < 0)
            r = -errno;
        if (r < 0)
            mr_error(STAGE, "%s is not to be trusted and cannot be removed: %s", m->part_name,
                     mr_err_name(r));
        /* nothing of it is told as durable unread; nor of an older generation that would not go */
        doubt(b, &m->id);
    }
    look_after(b, &job->movie->id);
    mr_movie_release(job->movie);
}

static void confirm(struct mr_berth *b, const struct mr_berth_job *job)
{
    struct mr_berth_answer answer = {.id = job->confirm.movie, .session = job->session};
    answer.message = calloc(1, sizeof(*answer.message));
    if (answer.message == NULL)
        return; /* it is asked again */
    mr_standing_of(b->store, b->catalogue, &job->confirm, answer.message);
    if (mr_queue_push(b->queues.answers, &answer) < 0)
        free(answer.message);
}

static void say(struct mr_berth *b, struct mr_berth_answer *answer)
{
    if (answer->movie == NULL)
        look_after(b, &answer->id);
    if (mr_queue_push(b->queues.answers, answer) < 0) { /* the server is going down */
        mr_movie_release(answer->movie);
        free(answer->durable);
        free(answer->message);
    }
}

/* The doubt stays until all of it was read and can be told. */
static void rechecked(struct mr_berth *b, struct mr_recheck_job *job)
{
    struct mr_berth_why why = {.code = job->whole || job->error < 0 ? 0 : MR_REASON_STOPPING};
    struct mr_movie *movie = job->movie;
    struct mr_berth_answer answer = {.id = movie->id};
    int r = job->error < 0 ? job->error : job->whole ? 0 : -ESHUTDOWN;
    if (r < 0 && job->carry_from != 0) /* what is copied again begins in the same place */
        mr_slipway_remove(b->store, &movie->id, movie->generation, job->dossier->path);
    if (r == 0) {
        job->movie = NULL; /* taken */
        r = resumed(b, &answer, movie, job->dossier);
    }
    if (r == 0)
        mr_roster_take(&b->doubts, &answer.id);
    else
        mr_berth_answer_refuse(&answer, r, job->dossier->open.path, &why);
    mr_recheck_job_free(job);
    say(b, &answer);
}

void mr_berth_do(struct mr_berth *b, struct mr_berth_job *job)
{
    if (job->kind == MR_BERTH_CONFIRM) {
        confirm(b, job);
        return;
    }
    if (job->kind == MR_BERTH_RELEASE) {
        release(b, job);
        return;
    }
    if (job->kind == MR_BERTH_RECHECKED) {
        rechecked(b, job->recheck);
        return;
    }
    if (job->kind == MR_BERTH_DOUBT) {
        doubt(b, &job->id);
        return;
    }
    struct mr_berth_answer answer = {.id = job->open->movie};
    mr_roster_take(&b->strays, &job->open->movie);
    if (open_movie(b, job, &answer))
        say(b, &answer);
    free(job->open);
}

/* Folders that appear at once are noted with one sync. Where that fails, each movie finds it so. */
static void foresee(struct mr_berth *b, const struct mr_berth_job *jobs, size_t count)
{
    char path[MR_NAMING_PATH_MAX + 1];
    struct mr_berth_why why = {0};
    size_t small = 0;
    for (size_t i = 0; i < count; i++) {
        bool fits = jobs[i].kind == MR_BERTH_OPEN && mr_skiff_fits(b->store, jobs[i].open);
        int r = fits ? name_movie(b, &jobs[i], path, &why) : -ENOENT;
        small += r == 0 && mr_skiff_expect(b->store, path) == 0;
    }
    int r = small == 0 ? 0 : mr_skiff_note(b->store);
    (void)r;
}

static void do_one(struct mr_berth *b, struct mr_berth_job *job)
{
    mr_berth_do(b, job);
    mr_tally_item(0);
}

/* All that is in the queue: OPENs get in line, the rest is done at once; an OPEN of the same movie
 * comes after it in the queue, or was answered before. */
static int take_jobs(struct mr_berth *b, int wait_ms)
{
    struct mr_berth_job job;
    int r, taken = 0;
    while ((r = mr_queue_pop(b->queues.jobs, taken++ > 0 ? 0 : wait_ms, &job)) == 0)
        if (job.kind != MR_BERTH_OPEN || mr_berth_line_add(&b->line, &job) < 0)
            do_one(b, &job);
    return r;
}

/* Small ones many at a time; an ordinary one takes long, then it is seen who has come. */
static void serve(struct mr_berth *b)
{
    struct mr_berth_job jobs[JOBS];
    size_t count = 0;
    bool small = true;
    while (small && count < JOBS && mr_berth_line_take(&b->line, &jobs[count]))
        small = mr_skiff_fits(b->store, jobs[count++].open);
    if (count > 1)
        foresee(b, jobs, count);
    for (size_t i = 0; i < count; i++)
        do_one(b, &jobs[i]);
}

static void run(void *stage)
{
    struct mr_berth *b = stage;
    struct mr_ulid id;
    for (;;) {
        int wait_ms = mr_roster_wait_ms(&b->strays, mr_clock_monotonic_ns());
        int r = take_jobs(b, b->line != NULL ? 0 : wait_ms);
        if (r == -EPIPE && b->line == NULL)
            return;
        if (b->line != NULL)
            serve(b);
        else if (mr_roster_take_due(&b->strays, mr_clock_monotonic_ns(), &id))
            discard_stray(b, &id);
    }
}

const struct mr_stage mr_berth_stage = {.name = STAGE, .run = run};
