/* SPDX-License-Identifier: Apache-2.0 */
/* Reading back, by turns. Decides which slabs may be called durable again; tells no agent so. */
#include "recheck.h"

#include "base/log.h"
#include "base/text.h"
#include "berth.h"
#include "reread.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define STAGE      "recheck"
#define TURN_BYTES (UINT64_C(64) << 20)

STAILQ_HEAD(job_list, mr_recheck_job);

struct mr_recheck {
    const struct mr_store *store;
    struct mr_queue *jobs, *berth_jobs;
    struct job_list list; /* in work, by turns */
    struct mr_reread reread;
    atomic_bool stopping;
};

int mr_recheck_new(const struct mr_store *store, struct mr_queue *jobs, struct mr_queue *berth_jobs,
                   struct mr_recheck **ret)
{
    struct mr_recheck *c = calloc(1, sizeof(*c));
    if (c == NULL || mr_reread_init(&c->reread) < 0) {
        free(c);
        return -ENOMEM;
    }
    c->store = store;
    c->jobs = jobs;
    c->berth_jobs = berth_jobs;
    STAILQ_INIT(&c->list);
    *ret = c;
    return 0;
}

void mr_recheck_job_free(struct mr_recheck_job *job)
{
    if (job == NULL)
        return;
    if (job->dossier != NULL)
        mr_dossier_fini(job->dossier);
    free(job->dossier);
    mr_movie_release(job->movie);
    free(job);
}

static struct mr_recheck_job *take_first(struct mr_recheck *c)
{
    struct mr_recheck_job *job = STAILQ_FIRST(&c->list);
    STAILQ_REMOVE_HEAD(&c->list, link);
    return job;
}

void mr_recheck_free(struct mr_recheck *c)
{
    struct mr_recheck_job *job;
    if (c == NULL)
        return;
    while (!STAILQ_EMPTY(&c->list))
        mr_recheck_job_free(take_first(c));
    while (mr_queue_pop(c->jobs, 0, &job) == 0)
        mr_recheck_job_free(job);
    mr_reread_fini(&c->reread);
    free(c);
}

void mr_recheck_stop(struct mr_recheck *c)
{
    atomic_store(&c->stopping, true);
}

/* ---- a movie's turn ---- */

static bool reads_back(struct mr_recheck *c, const struct mr_placement *p)
{
    uint64_t crc = 0;
    return mr_reread_crc(&c->reread, p->offset, p->stored_bytes, &crc) == 0 && crc == p->crc_stored;
}

/* A slab that does not read back is not durable: the agent sends it again. */
static void read_slabs(struct mr_recheck *c, struct mr_recheck_job *job)
{
    struct mr_dossier *d = job->dossier;
    for (uint64_t bytes = 0; job->next < d->slab_count && bytes < TURN_BYTES; job->next++) {
        struct mr_placement *p = &d->slabs[job->next];
        if (p->raw_bytes == 0)
            continue;
        bytes += p->stored_bytes;
        if (reads_back(c, p))
            continue;
        p->raw_bytes = 0;
        d->durable--;
        job->lost++;
    }
    job->whole = job->next >= d->slab_count;
}

static void say_begin(const struct mr_recheck_job *job)
{
    uint64_t bytes = 0;
    char id[MR_ULID_TEXT], size[MR_QUANTITY_TEXT];
    const struct mr_dossier *d = job->dossier;
    for (uint64_t i = 0; i < d->slab_count; i++)
        bytes += d->slabs[i].raw_bytes == 0 ? 0 : d->slabs[i].stored_bytes;
    mr_info(STAGE, "%s (%s): reading back %llu slabs, %s, before it goes on", d->open.path,
            mr_ulid_text(&d->open.movie, id), (unsigned long long)d->durable,
            mr_text_size(bytes, size));
}

static void say_end(const struct mr_recheck_job *job)
{
    char id[MR_ULID_TEXT];
    const struct mr_dossier *d = job->dossier;
    mr_ulid_text(&d->open.movie, id);
    if (job->lost > 0 || d->damaged > 0)
        mr_error(STAGE,
                 "%s (%s): %llu slabs and %llu journal records do not read back as written; "
                 "they are asked for again",
                 d->open.path, id, (unsigned long long)job->lost, (unsigned long long)d->damaged);
}

static void give_back(struct mr_recheck *c, struct mr_recheck_job *job)
{
    const struct mr_berth_job answer = {.kind = MR_BERTH_RECHECKED, .recheck = job};
    if (mr_queue_push(c->berth_jobs, &answer) < 0)
        mr_recheck_job_free(job);
}

static void take_turn(struct mr_recheck *c, struct mr_recheck_job *job)
{
    const struct mr_movie *m = job->movie;
    bool direct = c->store->direct_io != MR_DIRECT_OFF;
    if (job->next == 0 && job->dossier->durable > 0)
        say_begin(job);
    int r = mr_reread_open(&c->reread, m->part_dir_fd, m->part_name, direct);
    if (r < 0) /* then nothing reads back */
        mr_error(STAGE, "%s: %s", m->part_name, mr_err_name(r));
    read_slabs(c, job);
    mr_reread_close(&c->reread);
    if (!job->whole) {
        STAILQ_INSERT_TAIL(&c->list, job, link);
        return;
    }
    say_end(job);
    give_back(c, job);
}

/* ---- the loop ---- */

/* -EPIPE: no more will come. */
static int take_jobs(struct mr_recheck *c, int wait_ms)
{
    struct mr_recheck_job *job;
    int r;
    while ((r = mr_queue_pop(c->jobs, wait_ms, &job)) == 0) {
        STAILQ_INSERT_TAIL(&c->list, job, link);
        wait_ms = 0;
    }
    return r;
}

static void do_turns(struct mr_recheck *c)
{
    struct job_list now = STAILQ_HEAD_INITIALIZER(now);
    STAILQ_CONCAT(&now, &c->list);
    while (!STAILQ_EMPTY(&now)) {
        struct mr_recheck_job *job = STAILQ_FIRST(&now);
        STAILQ_REMOVE_HEAD(&now, link);
        if (atomic_load(&c->stopping))
            give_back(c, job);
        else
            take_turn(c, job);
    }
}

bool mr_recheck_turn(struct mr_recheck *c)
{
    int r = take_jobs(c, 0);
    (void)r;
    do_turns(c);
    return !STAILQ_EMPTY(&c->list);
}

static void run(void *stage)
{
    struct mr_recheck *c = stage;
    while (take_jobs(c, STAILQ_EMPTY(&c->list) ? -1 : 0) != -EPIPE || !STAILQ_EMPTY(&c->list))
        do_turns(c);
}

const struct mr_stage mr_recheck_stage = {.name = STAGE, .run = run};
