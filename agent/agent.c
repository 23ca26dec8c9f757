/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composition: reading mr_agent_start is reading the agent's pipeline. Only this file knows the
 * order of the stages.
 */
#include "agent.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/tally_sheet.h"
#include "pack.h"
#include "purge.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define STAGE      "agent"
#define GROWTH     1024
#define ORDERS     4096
#define REPORTS    4096
#define QUESTIONS  4
#define UNCACHE    64
#define UNCACHE_NS (10 * MR_NS_PER_S) /* by then a disk that is not at its limit has written */
#define FORGET_NS  (365LL * 86400 * MR_NS_PER_S)
#define IO_THREADS 1

enum queue_name {
    GROWTH_Q,
    PARCELS_Q,
    PACKED_Q,
    NOTES_Q,
    ORDERS_Q,
    REPORTS_Q,
    QUESTIONS_Q,
    ANSWERS_Q,
    UNCACHE_Q,
    QUEUES
};

struct mr_agent {
    const struct mr_agent_job *job;
    void (*ended)(void *ctx);
    void *ctx;
    struct mr_journal *journal;
    int state_dir; /* locked; -1: a push has none */
    struct mr_link *link;
    struct mr_pool *pool;
    struct mr_queue *queues[QUEUES];
    struct mr_track *track;
    struct mr_tail *tail;
    struct mr_pack *packers[MR_AGENT_PACKERS_MAX];
    struct mr_uplink *uplink;
    struct mr_purge *purge;     /* NULL: nothing is freed */
    struct mr_uncache *uncache; /* NULL: not wanted */
    bool *frees;                /* per watch */
    struct mr_thread *track_thread, *tail_thread, *uplink_thread, *purge_thread, *uncache_thread,
        *pack_threads[MR_AGENT_PACKERS_MAX];
    struct mr_stage tail_stage; /* tail's, with `ended` behind its end */
    struct mr_tally_sheet *sheet;
};

int mr_agent_watches(const struct mr_agent_config *config, struct mr_track_watch **ret,
                     enum mr_wish **ret_outputs)
{
    const struct mr_agent_watch *from = config->watches.items;
    struct mr_track_watch *watches = calloc(config->watches.count + 1, sizeof(*watches));
    enum mr_wish *outputs = calloc(config->watches.count + 1, sizeof(*outputs));
    if (watches == NULL || outputs == NULL) {
        free(watches);
        free(outputs);
        return -ENOMEM;
    }
    for (size_t i = 0; i < config->watches.count; i++) {
        watches[i] = (struct mr_track_watch){
            .path = from[i].path,
            .include = (const char *const *)from[i].include.items,
            .exclude = (const char *const *)from[i].exclude.items,
            .include_count = from[i].include.count,
            .exclude_count = from[i].exclude.count,
            .quiet_ns = from[i].quiet_ns,
            .give_up_ns = from[i].give_up_ns,
            .rescan_ns = from[i].rescan_ns,
        };
        outputs[i] = (enum mr_wish)from[i].output;
    }
    *ret = watches;
    *ret_outputs = outputs;
    return 0;
}

/* Two agents of one identity would take the session from each other for ever. */
static int lock_state(struct mr_agent *a, struct mr_err *err)
{
    const char *dir = a->job->config->state_dir;
    a->state_dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (a->state_dir < 0)
        return mr_err_errno(err, -errno, "%s", dir);
    if (flock(a->state_dir, LOCK_EX | LOCK_NB) == 0)
        return 0;
    return errno == EWOULDBLOCK
               ? mr_err_set(err, -EBUSY, "%s: another agent is running with this state_dir", dir)
               : mr_err_errno(err, -errno, "%s: lock", dir);
}

static int open_journal(struct mr_agent *a, struct mr_err *err)
{
    if (a->job->push)
        return mr_journal_open(NULL, err, &a->journal);
    const char *dir = a->job->config->state_dir;
    struct mr_err notice = {0};
    /* First, for opening brings up to date what an older agent may still use. Where there is none,
     * opening makes it, and says better what is wrong with it. */
    int locked = lock_state(a, err);
    if (locked == -EBUSY)
        return locked;
    *err = (struct mr_err){0};
    int r = mr_journal_open(dir, err, &a->journal);
    if (r != 0 && r != -EBADMSG)
        return r;
    struct mr_err damage = *err;
    if (locked < 0)
        mr_fs_close(&a->state_dir);
    if (locked < 0 && (locked = lock_state(a, err)) < 0)
        return locked;
    *err = damage;
    if (r == -EBADMSG)
        r = mr_journal_renew(dir, &notice, err, &a->journal);
    if (notice.code != 0)
        mr_error(STAGE, "%s", notice.text);
    if (r == 0 && mr_journal_forgotten(a->journal) > 0)
        mr_error(STAGE,
                 "%s/journal.sqlite: %llu movies in it were damaged and are forgotten; "
                 "their files are offered again",
                 dir, (unsigned long long)mr_journal_forgotten(a->journal));
    return r;
}

/* ---- making ---- */

static int make_queues(struct mr_agent *a, struct mr_err *err)
{
    const size_t parcels = a->job->plan->buffers;
    const struct {
        size_t item_bytes, capacity;
    } sizes[QUEUES] = {[GROWTH_Q] = {sizeof(struct mr_growth), GROWTH},
                       [PARCELS_Q] = {sizeof(struct mr_parcel), parcels},
                       [PACKED_Q] = {sizeof(struct mr_parcel), parcels},
                       [NOTES_Q] = {sizeof(struct mr_packed), 4 * parcels},
                       [ORDERS_Q] = {sizeof(struct mr_order), ORDERS},
                       [REPORTS_Q] = {sizeof(struct mr_report), REPORTS},
                       [QUESTIONS_Q] = {sizeof(struct mr_confirm), QUESTIONS},
                       [ANSWERS_Q] = {sizeof(struct mr_confirmed), QUESTIONS},
                       [UNCACHE_Q] = {sizeof(struct mr_uncache_job), UNCACHE}};
    for (int i = 0; i < QUEUES; i++) {
        int r = mr_queue_new(sizes[i].item_bytes, sizes[i].capacity, &a->queues[i]);
        if (r < 0)
            return mr_err_errno(err, r, "queues");
    }
    int r = mr_pool_new(MR_PARCEL_BYTES, parcels, 4096, &a->pool);
    return r < 0 ? mr_err_errno(err, r, "memory.pool: %zu slabs", parcels) : 0;
}

static int say_hello(const struct mr_agent *a, struct mr_hello *ret, struct mr_err *err)
{
    *ret = (struct mr_hello){.version_min = MR_PROTOCOL_VERSION_MIN,
                             .version_max = MR_PROTOCOL_VERSION_MAX,
                             .ephemeral = a->job->push};
    snprintf(ret->name, sizeof(ret->name), "%s", a->job->config->name);
    snprintf(ret->software, sizeof(ret->software), "millrace %s", MILLRACE_VERSION);
    if (gethostname(ret->host, sizeof(ret->host) - 1) < 0)
        return mr_err_errno(err, -errno, "gethostname");
    memcpy(ret->instance, mr_journal_instance(a->journal), sizeof(ret->instance));
    return 0;
}

static int make_tail(struct mr_agent *a, struct mr_err *err)
{
    const struct mr_agent_job *job = a->job;
    struct mr_tail_config config = {
        .consign = {.outputs = job->outputs,
                    .frees = a->frees,
                    .questions = a->queues[QUESTIONS_Q],
                    .answers = a->queues[ANSWERS_Q],
                    .uncache = job->config->host.uncache ? a->queues[UNCACHE_Q] : NULL,
                    .watches = job->watches,
                    .watch_count = job->push ? 0 : job->watch_count,
                    .codec = (enum mr_codec_wish)job->config->codec,
                    .push = job->push,
                    .ends = job->mode != MR_TRACK_FOLLOW,
                    .movies_max = MR_AGENT_MOVIES_MAX},
        /* MR_LINK_LANE_LIMIT_MS is as long */
        .transfer = {.ack_timeout_ns = 30 * MR_NS_PER_S, .idle_credit_ns = MR_NS_PER_S},
        .journal = a->journal,
        .endpoints = (const char *const *)job->config->endpoints.items,
        .endpoint_count = job->config->endpoints.count,
        .unreachable_ns = job->unreachable_ns,
        .cpus = &job->plan->cpus,
        .packers = job->plan->packers,
        .pool = a->pool,
        .growth = a->queues[GROWTH_Q],
        .reports = a->queues[REPORTS_Q],
        .notes = a->queues[NOTES_Q],
        .parcels = a->queues[PARCELS_Q],
        .orders = a->queues[ORDERS_Q],
    };
    int r = say_hello(a, &config.transfer.hello, err);
    return r < 0 ? r : mr_tail_new(&config, &a->tail, err);
}

/* Only the service frees sources, and goes on without where it cannot. */
static int make_purge(struct mr_agent *a, struct mr_err *err)
{
    const struct mr_agent_config *config = a->job->config;
    const struct mr_purge_config purge = {.state_dir = config->state_dir,
                                          .watches = config->watches.items,
                                          .watch_count = config->watches.count,
                                          .questions = a->queues[QUESTIONS_Q],
                                          .answers = a->queues[ANSWERS_Q]};
    struct mr_err why = {0};
    if (a->job->mode != MR_TRACK_FOLLOW ||
        !mr_purge_wanted(config->state_dir, purge.watches, purge.watch_count))
        return 0;
    a->frees = calloc(purge.watch_count, sizeof(*a->frees));
    if (a->frees == NULL)
        return mr_err_errno(err, -ENOMEM, "agent");
    for (size_t i = 0; i < purge.watch_count; i++)
        a->frees[i] = purge.watches[i].source_after_commit == MR_AFTER_DELETE;
    if (mr_purge_new(&purge, &a->purge, &why) < 0)
        mr_error(STAGE, "no source is freed: %s", why.text);
    return 0;
}

static int make_stages(struct mr_agent *a, struct mr_err *err)
{
    const struct mr_agent_job *job = a->job;
    const struct mr_track_config track = {
        .mode = job->mode, .watches = job->watches, .watch_count = job->watch_count};
    const struct mr_pack_queues pack = {
        .in = a->queues[PARCELS_Q], .out = a->queues[PACKED_Q], .notes = a->queues[NOTES_Q]};
    int r = mr_track_new(&track, a->queues[GROWTH_Q], err, &a->track);
    if (r == 0)
        r = make_purge(a, err);
    if (r == 0)
        r = make_tail(a, err);
    for (uint32_t i = 0; r == 0 && i < job->plan->packers; i++)
        r = mr_pack_new(&pack, &a->packers[i]);
    if (r == 0 && job->config->host.uncache)
        r = mr_uncache_new(a->queues[UNCACHE_Q], UNCACHE_NS, &a->uncache);
    if (r == 0)
        r = mr_link_new(IO_THREADS, &a->link);
    const struct mr_uplink_config uplink = {.link = a->link,
                                            .orders = a->queues[ORDERS_Q],
                                            .parcels = a->queues[PACKED_Q],
                                            .reports = a->queues[REPORTS_Q],
                                            .parcels_max = job->plan->buffers};
    if (r == 0)
        r = mr_uplink_new(&uplink, &a->uplink);
    if (r < 0 && err->code == 0)
        mr_err_errno(err, r, "start");
    return r;
}

/* ---- threads ---- */

static void run_tail(void *stage)
{
    struct mr_agent *a = stage;
    mr_tail_stage.run(a->tail);
    if (a->ended != NULL)
        a->ended(a->ctx);
}

static int open_sheet(struct mr_agent *a, struct mr_err *err)
{
    static const char *const names[QUEUES] = {
        [GROWTH_Q] = "growth",       [PARCELS_Q] = "parcels", [PACKED_Q] = "packed",
        [NOTES_Q] = "notes",         [ORDERS_Q] = "orders",   [REPORTS_Q] = "reports",
        [QUESTIONS_Q] = "questions", [ANSWERS_Q] = "answers", [UNCACHE_Q] = "uncache"};
    struct mr_tally_level levels[QUEUES + 1] = {[QUEUES] = {.name = "buffers", .pool = a->pool}};
    for (int i = 0; i < QUEUES; i++)
        levels[i] = (struct mr_tally_level){.name = names[i], .queue = a->queues[i]};
    return mr_tally_sheet_open("millrace-agent", levels, QUEUES + 1, err, &a->sheet);
}

static int start_threads(struct mr_agent *a, struct mr_err *err)
{
    a->tail_stage = (struct mr_stage){.name = mr_tail_stage.name, .run = run_tail};
    int r = open_sheet(a, err);
    if (r == 0)
        r = mr_thread_start(&mr_uplink_stage, a->uplink, err, &a->uplink_thread);
    for (uint32_t i = 0; r == 0 && i < a->job->plan->packers; i++)
        r = mr_thread_start(&mr_pack_stage, a->packers[i], err, &a->pack_threads[i]);
    if (r == 0 && a->uncache != NULL)
        r = mr_thread_start(&mr_uncache_stage, a->uncache, err, &a->uncache_thread);
    if (r == 0)
        r = mr_thread_start(&a->tail_stage, a, err, &a->tail_thread);
    if (r == 0)
        r = mr_thread_start(&mr_track_stage, a->track, err, &a->track_thread);
    if (r == 0 && a->purge != NULL)
        r = mr_thread_start(&mr_purge_stage, a->purge, err, &a->purge_thread);
    return r;
}

/* A file that is still there after so long is offered again, and the server knows its content. */
static void forget_old_movies(struct mr_agent *a)
{
    uint64_t count = 0;
    struct mr_err err = {0};
    if (mr_journal_expire(a->journal, mr_clock_real_ns() - FORGET_NS, &count, &err) < 0)
        mr_warn(STAGE, "%s", err.text);
    else if (count > 0)
        mr_info(STAGE, "%llu movies of more than a year ago are forgotten",
                (unsigned long long)count);
}

int mr_agent_start(const struct mr_agent_job *job, void (*ended)(void *ctx), void *ctx,
                   struct mr_agent **ret, struct mr_err *err)
{
    struct mr_agent *a = calloc(1, sizeof(*a));
    if (a == NULL)
        return mr_err_errno(err, -ENOMEM, "agent");
    a->job = job;
    a->ended = ended;
    a->ctx = ctx;
    a->state_dir = -1;
    int r = open_journal(a, err);
    if (r == 0)
        forget_old_movies(a);
    if (r == 0)
        r = make_queues(a, err);
    if (r == 0)
        r = make_stages(a, err);
    if (r == 0)
        r = start_threads(a, err);
    if (r < 0) {
        a->ended = NULL;
        mr_agent_stop(a, NULL);
        return r;
    }
    *ret = a;
    return 0;
}

void mr_agent_status(struct mr_agent *a, struct mr_tail_status *ret,
                     struct mr_track_counts *ret_track)
{
    mr_tail_status(a->tail, ret);
    mr_track_counts(a->track, ret_track);
}

/* ---- the end ---- */

static void close_queue(struct mr_queue *queue)
{
    if (queue != NULL)
        mr_queue_close(queue);
}

static void drop_reports(struct mr_queue *reports)
{
    struct mr_report r;
    while (reports != NULL && mr_queue_pop(reports, 0, &r) == 0)
        if (r.kind == MR_REPORT_MESSAGE)
            mr_part_close(&r.part);
}

/* What packers finished after uplink had ended. */
static void drop_parcels(struct mr_queue *parcels)
{
    struct mr_parcel p;
    while (parcels != NULL && mr_queue_pop(parcels, 0, &p) == 0)
        mr_pool_put(p.buffer);
}

static void join_threads(struct mr_agent *a)
{
    if (a->purge != NULL)
        mr_purge_stop(a->purge);
    mr_thread_join(a->purge_thread);
    if (a->track_thread != NULL)
        mr_track_stop(a->track);
    if (a->tail_thread != NULL)
        mr_tail_stop(a->tail);
    close_queue(a->queues[GROWTH_Q]);
    mr_thread_join(a->track_thread);
    mr_thread_join(a->tail_thread);
    close_queue(a->queues[PARCELS_Q]);
    for (int i = 0; i < MR_AGENT_PACKERS_MAX; i++)
        mr_thread_join(a->pack_threads[i]);
    close_queue(a->queues[UNCACHE_Q]);
    close_queue(a->queues[ORDERS_Q]);
    close_queue(a->queues[REPORTS_Q]);
    mr_thread_join(a->uplink_thread);
    mr_thread_join(a->uncache_thread);
}

void mr_agent_stop(struct mr_agent *a, struct mr_tail_status *ret_status)
{
    join_threads(a);
    mr_tally_sheet_close(a->sheet, a->job->stats);
    if (ret_status != NULL)
        mr_tail_status(a->tail, ret_status);
    drop_reports(a->queues[REPORTS_Q]);
    drop_parcels(a->queues[PARCELS_Q]);
    drop_parcels(a->queues[PACKED_Q]);
    mr_uplink_free(a->uplink);
    mr_link_free(a->link); /* gives back the last buffers ZeroMQ held */
    for (int i = 0; i < MR_AGENT_PACKERS_MAX; i++)
        mr_pack_free(a->packers[i]);
    mr_uncache_free(a->uncache);
    mr_purge_free(a->purge);
    free(a->frees);
    mr_tail_free(a->tail);
    mr_track_free(a->track);
    for (int i = 0; i < QUEUES; i++)
        mr_queue_free(a->queues[i]);
    mr_pool_free(a->pool);
    mr_journal_close(a->journal);
    mr_fs_close(&a->state_dir);
    free(a);
}
