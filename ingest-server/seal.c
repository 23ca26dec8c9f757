/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seal stage: takes jobs in batches, so that many small movies share the log's fdatasync, and
 * keeps those that cannot be placed or recorded yet. How a movie ends is seal_prepare's.
 */
#include "seal_state.h"

#include "announce.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/recordlog.h"
#include "base/tally.h"
#include "discard.h"
#include "failed_place.h"
#include "revisions.h"
#include "seal_answer.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_NS (30 * MR_NS_PER_MS)

static const struct mr_counter counters[COUNTERS] = {
    [COMMITTED] = {.name = "millrace_movies_committed_total",
                   .help = "Movies and files committed."},
    [FAILED] = {.name = "millrace_movies_failed_total", .help = "Movies kept as failed."},
    [DISCARDED] = {.name = "millrace_movies_discarded_total",
                   .help = "Movies discarded: begun again, or abandoned by their agent."},
    [KNOWN] = {.name = "millrace_movies_known_total",
               .help = "Movies that were in the store already."},
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
    mr_counters_register(s->counters, COUNTERS);
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
    mr_counters_unregister(s->counters, COUNTERS);
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

void mr_seal_die(struct mr_seal *s, const struct mr_err *err)
{
    mr_error(STAGE, "the store's records cannot be written, the server ends: %s", err->text);
    s->dead = true;
    s->fatal(s->ctx);
}

/* ---- recording ---- */

static void answer_recorded(struct mr_seal *s, struct work *w, uint64_t sequence)
{
    const struct mr_dossier *d = w->d;
    char event[MR_EVENT_ID_MAX + 1];
    if (w->job.kind == MR_SEAL_RECOVERED) {
        mr_info(STAGE, "%s: commit finished that an earlier server began (event %llu)",
                d->sealed.path, (unsigned long long)sequence);
        return;
    }
    mr_announce_id(&w->job.id, d->sealed.failed ? "failed" : "ready", d->open.revision, event);
    if (d->sealed.failed) {
        w->message = mr_seal_answer_new(MR_FAILED, &w->job.id);
        w->message->failed.code = mr_failed_code(w->job.fail);
        snprintf(w->message->failed.text, sizeof(w->message->failed.text),
                 "%.300s (kept as %.190s)", w->job.fail->text, d->sealed.path);
        mr_counter_add(&s->counters[FAILED], 1);
        mr_warn(STAGE, "%s of %s failed: %s; kept as %s", d->open.path, d->agent, w->job.fail->text,
                d->sealed.path);
        return;
    }
    w->message = mr_seal_answer_committed(s->commit->store, d, event, d->sealed.path, sequence);
    mr_counter_add(&s->counters[COMMITTED], 1);
    atomic_store(&s->last_commit_ns, mr_clock_monotonic_ns() - w->began_ns);
    mr_info(STAGE, "%s: %llu bytes, event %llu", d->sealed.path,
            (unsigned long long)d->sealed.bytes, (unsigned long long)sequence);
}

/* A failed movie stands in no catalogue: while its journal is there, it would be "being committed"
 * whenever its agent asks. So nobody is answered before that is gone. */
static void let_go(struct mr_seal *s, struct work *w)
{
    if (!w->d->sealed.failed || !mr_discard_is_left(s->commit->store, &w->job.id))
        return;
    mr_seal_undo(s, w, TO_DISCARD);
}

void mr_seal_record(struct mr_seal *s, struct work *works, size_t count)
{
    struct mr_dossier *placed[BATCH];
    uint64_t sequences[BATCH];
    size_t n = 0;
    struct mr_err err = {0};
    for (size_t i = 0; i < count; i++)
        if (works[i].need == TO_RECORD)
            placed[n++] = works[i].d;
    if (n == 0)
        return;
    int r = mr_unlogged_flush(&s->unlogged, s->commit->eventlog, &err);
    if (r == 0)
        r = mr_commit_record(s->commit, placed, n, sequences, &err);
    if (mr_recordlog_is_whole(r)) { /* there may be room later */
        mr_log_seldom(MR_LOG_ERROR, STAGE, "%zu finished movies cannot be recorded yet: %s", n,
                      err.text);
        mr_seal_dissolve(s, works, count);
        return;
    }
    if (r < 0) {
        mr_seal_die(s, &err);
        return;
    }
    n = 0;
    for (size_t i = 0; i < count; i++)
        if (works[i].need == TO_RECORD) {
            answer_recorded(s, &works[i], sequences[n++]);
            works[i].need = NOTHING;
            let_go(s, &works[i]);
        }
}

static void told_of_log(struct mr_seal *s, int r, const struct mr_err *err)
{
    if (r == -ENOBUFS)
        mr_log_seldom(MR_LOG_ERROR, STAGE, "an event is not logged: %s", err->text);
    else if (mr_recordlog_is_whole(r))
        mr_log_seldom(MR_LOG_ERROR, STAGE, "events wait to be logged: %s", err->text);
    else if (r < 0)
        mr_seal_die(s, err);
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
    if (w->need != NOTHING && room && !atomic_load(&s->stopping)) {
        s->stuck[s->stuck_count++] = *w;
        return;
    }
    if (w->need != NOTHING && !recovered) { /* it is sealed: the next start finishes or undoes it */
        free(w->message);
        w->message = mr_seal_answer_new(MR_HOLD, &w->job.id);
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
        mr_seal_group(s, works, count);
    if (!s->dead)
        mr_seal_record(s, works, count);
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
    s->batch = works;
    s->batch_count = count;
    for (size_t i = 0; i < count; i++) {
        struct work *w = &works[i];
        if (w->need == TO_PLACE)
            mr_seal_place(s, w);
        else if (w->need == TO_DISCARD || w->need == TO_TAKE_BACK)
            mr_seal_undo(s, w, w->need);
    }
    finish(s, works, count);
}

/* By the clock: where others come and go all the time, nobody is ever idle. */
static bool stuck_is_due(const struct mr_seal *s)
{
    bool waited = mr_clock_monotonic_ns() - s->stuck_ns >= RETRY_MS * MR_NS_PER_MS;
    return s->stuck_count > 0 && (waited || atomic_load(&s->stopping));
}

void mr_seal_read_back(struct mr_seal *s, struct mr_queue *rechecks)
{
    s->rechecks = rechecks;
}

void mr_seal_stop(struct mr_seal *s)
{
    atomic_store(&s->stopping, true);
}

/* ---- the loop ---- */

/* More jobs while there are some, the batch has room, and its first movie has not waited long. */
static int next_job(struct mr_seal *s, int64_t close_ns, struct mr_seal_job *ret)
{
    if (s->dead || s->batch_count == BATCH || mr_clock_monotonic_ns() >= close_ns)
        return -EAGAIN;
    return mr_queue_pop(s->jobs, 0, ret);
}

static void run(void *stage)
{
    struct mr_seal *s = stage;
    struct work works[BATCH];
    struct mr_seal_job job;
    int r = 0;
    while (r != -EPIPE && !s->dead) {
        s->batch = works;
        s->batch_count = 0;
        mr_revisions_expire(s->commit, &s->expired_ns);
        r = mr_queue_pop(s->jobs, RETRY_MS, &job);
        const int64_t close_ns = mr_clock_monotonic_ns() + BATCH_NS;
        for (; r == 0; r = next_job(s, close_ns, &job)) {
            mr_tally_item(0);
            if (job.kind == MR_SEAL_LOG) {
                log_event(s, &job);
                continue;
            }
            works[s->batch_count] = (struct work){.job = job};
            mr_seal_prepare(s, &works[s->batch_count]);
            s->batch_count++;
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
