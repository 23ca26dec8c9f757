/* SPDX-License-Identifier: Apache-2.0 */
/* Reading back, by turns. Decides what may be relied on again; tells no agent so, removes nothing.
 */
#include "recheck.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"
#include "berth.h"
#include "reread.h"
#include "seal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>

#define STAGE      "recheck"
#define TURN_BYTES (UINT64_C(64) << 20)
#define RETRY_NS   (5 * MR_NS_PER_S)
#define LOOK_MS    100

STAILQ_HEAD(job_list, mr_recheck_job);

struct mr_recheck {
    const struct mr_store *store;
    struct mr_recheck_queues queues;
    struct job_list list; /* in work, by turns */
    struct mr_reread reread;
    atomic_bool stopping;
};

int mr_recheck_new(const struct mr_store *store, const struct mr_recheck_queues *queues,
                   struct mr_recheck **ret)
{
    struct mr_recheck *c = calloc(1, sizeof(*c));
    if (c == NULL || mr_reread_init(&c->reread) < 0) {
        free(c);
        return -ENOMEM;
    }
    c->store = store;
    c->queues = *queues;
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
    mr_carry_close(job->carry);
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
    while (mr_queue_pop(c->queues.jobs, 0, &job) == 0)
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

/* False: it is not durable any more, or job->error says that nothing goes. */
static bool is_good(struct mr_recheck *c, struct mr_recheck_job *job, const struct mr_placement *p)
{
    if (job->carry_from == 0)
        return reads_back(c, p);
    int r = job->carry == NULL ? -EILSEQ : mr_carry_slab(job->carry, p);
    if (r < 0 && r != -EILSEQ)
        job->error = r;
    return r == 0;
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
        if (is_good(c, job, p))
            continue;
        if (job->error < 0)
            return;
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
    if (mr_queue_push(c->queues.berth_jobs, &answer) < 0)
        mr_recheck_job_free(job);
}

/* The part that is read; where it cannot be opened, nothing of it reads back. */
static void open_part(struct mr_recheck *c, struct mr_recheck_job *job)
{
    const struct mr_movie *m = job->movie;
    int r = 0;
    if (job->carry_from == 0)
        r = mr_reread_open(&c->reread, m->part_dir_fd, m->part_name,
                           c->store->direct_io != MR_DIRECT_OFF);
    else if (job->carry == NULL && job->next == 0)
        r = mr_carry_open(job->movie, job->carry_from, &job->carry);
    if (r == -ENOMEM)
        job->error = r;
    else if (r < 0)
        mr_error(STAGE, "%s: %s", m->part_name, mr_err_name(r));
}

/* False: it has not come to its end. */
static bool resumed_turn(struct mr_recheck *c, struct mr_recheck_job *job)
{
    if (job->next == 0 && job->dossier->durable > 0)
        say_begin(job);
    open_part(c, job);
    if (job->error == 0)
        read_slabs(c, job);
    mr_reread_close(&c->reread);
    if (job->error == 0 && !job->whole)
        return false;
    if (job->error == 0 && job->carry_from != 0)
        job->error = mr_carry_finish(c->store, job->carry_from, job->movie, job->dossier);
    if (job->error == 0)
        say_end(job);
    give_back(c, job);
    return true;
}

/* ---- a sealed movie's turn ---- */

static void hand_over(struct mr_recheck *c, struct mr_recheck_job *job, bool bad)
{
    const struct mr_seal_job recovered = {.kind = MR_SEAL_RECOVERED,
                                          .id = job->dossier->open.movie,
                                          .dossier = job->dossier,
                                          .state = job->state,
                                          .bad = bad};
    if (mr_queue_push(c->queues.seal_jobs, &recovered) == 0)
        job->dossier = NULL;
    mr_recheck_job_free(job);
}

static int open_file(struct mr_recheck *c, const struct mr_recheck_job *job)
{
    const struct mr_movie *m = job->movie;
    if (m == NULL)
        return mr_commit_open_file(c->store, job->dossier);
    int fd = openat(m->part_dir_fd, m->part_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

/* Reads on for a turn. *ret_bad: it will not come to what was sealed. */
static int read_file(struct mr_recheck *c, struct mr_recheck_job *job, bool *ret_bad)
{
    struct stat st;
    const struct mr_sealed *s = &job->dossier->sealed;
    int fd = open_file(c, job);
    if (fd < 0)
        return fd;
    int r = mr_reread_take(&c->reread, fd, c->store->direct_io != MR_DIRECT_OFF);
    uint64_t left = s->bytes - job->next, bytes = left < TURN_BYTES ? left : TURN_BYTES;
    *ret_bad = r < 0 || fstat(fd, &st) < 0 || (uint64_t)st.st_size != s->bytes ||
               mr_reread_crc(&c->reread, job->next, bytes, &job->crc) < 0;
    mr_reread_close(&c->reread);
    job->next += bytes;
    job->whole = *ret_bad || job->next == s->bytes;
    *ret_bad |= job->whole && job->crc != s->digest_file;
    return 0;
}

/* False: it has not come to its end. */
static bool sealed_turn(struct mr_recheck *c, struct mr_recheck_job *job)
{
    bool bad = false;
    int r = job->state != MR_COMMIT_DOUBTED ? -ENOENT : read_file(c, job, &bad);
    if (r == 0 && !job->whole)
        return false;
    if (r == 0 || r == -ENOENT) { /* nothing there: seal finds out as well */
        hand_over(c, job, bad);
        return true;
    }
    mr_log_seldom(MR_LOG_ERROR, STAGE, "%s was sealed and cannot be looked at: %s; trying again",
                  job->dossier->sealed.path, mr_err_name(r));
    job->next = job->crc = 0;
    job->again_ns = mr_clock_monotonic_ns() + RETRY_NS;
    return false;
}

/* ---- the turn of one that is being sealed ---- */

static void give_to_seal(struct mr_recheck *c, struct mr_recheck_job *job, bool bad)
{
    const struct mr_ulid id = job->dossier->open.movie;
    const struct mr_berth_job doubt = {.kind = MR_BERTH_DOUBT, .id = id};
    if (bad && mr_queue_push(c->queues.berth_jobs, &doubt) < 0)
        mr_debug(STAGE, "the server is going down"); /* and the next one doubts all of them */
    const struct mr_seal_job verified = {
        .kind = MR_SEAL_VERIFIED, .id = id, .recheck = job, .bad = bad};
    if (mr_queue_push(c->queues.seal_jobs, &verified) < 0)
        mr_recheck_job_free(job);
}

/* False: it has not come to its end. */
static bool sealing_turn(struct mr_recheck *c, struct mr_recheck_job *job)
{
    bool bad = false;
    int r = read_file(c, job, &bad);
    if (r == 0 && !job->whole)
        return false;
    job->whole = true;
    give_to_seal(c, job, bad || r < 0);
    return true;
}

/* ---- the loop ---- */

/* The server stops. */
static void let_go(struct mr_recheck *c, struct mr_recheck_job *job)
{
    switch (job->kind) {
    case MR_RECHECK_SEALED:
        mr_recheck_job_free(job);
        return;
    case MR_RECHECK_SEALING:
        give_to_seal(c, job, false);
        return;
    case MR_RECHECK_RESUMED:
        give_back(c, job);
        return;
    }
}

static bool take_turn(struct mr_recheck *c, struct mr_recheck_job *job)
{
    switch (job->kind) {
    case MR_RECHECK_SEALED:
        return job->again_ns <= mr_clock_monotonic_ns() && sealed_turn(c, job);
    case MR_RECHECK_SEALING:
        return sealing_turn(c, job);
    case MR_RECHECK_RESUMED:
        break;
    }
    return resumed_turn(c, job);
}

/* -EPIPE: no more will come. */
static int take_jobs(struct mr_recheck *c, int wait_ms)
{
    struct mr_recheck_job *job;
    int r;
    while ((r = mr_queue_pop(c->queues.jobs, wait_ms, &job)) == 0) {
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
            let_go(c, job);
        else if (!take_turn(c, job))
            STAILQ_INSERT_TAIL(&c->list, job, link);
    }
}

bool mr_recheck_turn(struct mr_recheck *c)
{
    int r = take_jobs(c, 0);
    (void)r;
    do_turns(c);
    return !STAILQ_EMPTY(&c->list);
}

/* For more jobs, before the ones at hand get their turns. */
static int wait_ms(const struct mr_recheck *c)
{
    const struct mr_recheck_job *job;
    int64_t now_ns = mr_clock_monotonic_ns();
    STAILQ_FOREACH(job, &c->list, link)
    {
        if (job->again_ns <= now_ns)
            return 0;
    }
    return STAILQ_EMPTY(&c->list) ? -1 : LOOK_MS;
}

static void run(void *stage)
{
    struct mr_recheck *c = stage;
    while (take_jobs(c, wait_ms(c)) != -EPIPE || !STAILQ_EMPTY(&c->list))
        do_turns(c);
}

const struct mr_stage mr_recheck_stage = {.name = STAGE, .run = run};
