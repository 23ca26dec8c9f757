/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Composition: reading mr_server_start is reading the server's pipeline. Only this file knows the
 * order of the stages.
 */
#include "server.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/tally_sheet.h"
#include "control.h"
#include "http.h"
#include "publish.h"
#include "recheck.h"
#include "recovery.h"
#include "skiff.h"
#include "status.h"
#include "takeover.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define STAGE        "server"
#define NEWS         8192
#define HEARTBEAT_MS 1000
#define IO_THREADS   1

enum queue_name { NEWS_Q, BERTH_JOBS, BERTH_ANSWERS, RECHECKS, SEAL_JOBS, SEAL_ANSWERS, QUEUES };

struct mr_server {
    const struct mr_ingest_config *config;
    const struct mr_ingest_plan *plan;
    void (*fatal)(void *ctx);
    void *ctx;
    int64_t started_ns;
    struct mr_store store;
    bool store_open;
    struct mr_lease *lease;
    struct mr_eventlog *eventlog;
    struct mr_catalogue *catalogue;
    struct mr_skiffs *skiffs;
    struct mr_commit commit;
    struct mr_space *space;
    struct mr_link *link;
    struct mr_queue *queues[QUEUES];
    struct mr_berth *berth;
    struct mr_recheck *recheck;
    struct mr_seal *seal;
    struct mr_lane *lanes[MR_LANES_MAX];
    struct mr_control *control;
    struct mr_publish *publish;
    struct mr_http *http;
    struct mr_thread *berth_thread, *recheck_thread, *seal_thread, *control_thread;
    struct mr_thread *publish_thread, *space_thread;
    struct mr_thread *lane_threads[MR_LANES_MAX];
    struct mr_tally_sheet *sheet;
};

/* ---- status ---- */

static char *status(void *ctx)
{
    struct mr_server *s = ctx;
    const struct mr_status_parts parts = {.name = s->config->name,
                                          .root = s->config->root,
                                          .started_ns = s->started_ns,
                                          .control = s->control,
                                          .space = s->space,
                                          .lanes = s->lanes,
                                          .lane_count = s->plan->lanes,
                                          .seal = s->seal,
                                          .eventlog = s->eventlog};
    return mr_status_text(&parts);
}

static bool ready(void *ctx, struct mr_err *err)
{
    const struct mr_server *s = ctx;
    struct mr_space_view v;
    mr_space_view(s->space, &v);
    if (!v.paused)
        return true;
    mr_err_set(err, -ENOSPC, "%s has less free than store.keep_free", s->config->root);
    return false;
}

/* ---- the store ---- */

static int ask_space(void *ctx, uint64_t *ret_free, uint64_t *ret_total)
{
    const struct mr_store *store = ctx;
    return mr_fs_space(store->root_fd, ret_free, ret_total);
}

static int check_state_dir(const char *dir, struct mr_err *err)
{
    if (access(dir, W_OK) == 0)
        return 0;
    MR_CLEANUP(mr_fs_close) int root = open("/", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    int fd = mr_fs_mkdirs_durable(root, dir + strspn(dir, "/"), 0750, (gid_t)-1);
    if (fd < 0)
        return mr_err_errno(err, fd, "ingest.state_dir: %s cannot be made or written", dir);
    int r = faccessat(fd, ".", W_OK, AT_EACCESS) < 0 ? -errno : 0;
    close(fd);
    return r < 0 ? mr_err_errno(err, r, "ingest.state_dir: %s cannot be written", dir) : 0;
}

static void say_cut(const struct mr_mend_note *note)
{
    if (note->cut_bytes > 0)
        mr_warn(STAGE, "%s ended in a torn record: %llu bytes cut, %llu kept", note->file,
                (unsigned long long)note->cut_bytes, (unsigned long long)note->kept_bytes);
}

static void say_waiting(void *ctx, const char *text)
{
    const struct mr_server *s = ctx;
    if (text != NULL)
        mr_info(STAGE, "%s: %s", s->config->root, text);
    if (text != NULL && s->config->standby) /* systemd is not to wait for another server's end */
        mr_notify_ready("standing by");
    mr_notify_watchdog();
}

static void lost(void *ctx, const char *text)
{
    struct mr_server *s = ctx;
    mr_error(STAGE, "%s: %s", s->config->root, text);
    s->fatal(s->ctx);
}

static int take_store(struct mr_server *s, int stop, struct mr_err *err)
{
    const struct mr_lease_config config = {
        .millrace_dir = s->store.millrace_fd,
        .server = s->config->name,
        .lease_ms = (uint32_t)(s->config->lease_ns / MR_NS_PER_MS),
        .standby = s->config->standby,
        .stop = stop,
        .waiting = say_waiting,
        .lost = lost,
        .ctx = s,
    };
    struct mr_takeover_note note;
    int r = mr_lease_claim(&config, &s->lease, err);
    if (r == 0)
        r = mr_takeover_run(&s->store, s->lease, &note, err);
    if (r < 0)
        return mr_err_prefix(err, "%s", s->config->root);
    if (note.contested)
        mr_warn(STAGE,
                "%s: taken over from a server that may still be alive: %zu movies sealed, %zu "
                "open, %zu damaged; events go on in a segment of our own from %llu",
                s->config->root, note.sealed, note.open, note.damaged,
                (unsigned long long)note.first_event);
    return 0;
}

static void prove(void *ctx)
{
    mr_lease_prove_by_sight(ctx);
}

static bool is_newest(void *ctx)
{
    return mr_lease_holds(ctx);
}

static int open_store(struct mr_server *s, int stop, struct mr_err *err)
{
    const struct mr_ingest_config *c = s->config;
    struct mr_mend_note log_note = {0}, catalogue_note = {0};
    const struct mr_store_config config = {
        .root = c->root,
        .path_template = c->path,
        .site = c->site,
        .server = c->name,
        .direct_io = (enum mr_direct_io)c->direct_io,
        .file_mode = c->file_mode,
        .dir_mode = c->dir_mode,
        .group = c->group,
        .source_mtime = c->mtime == 0,
        .keep_revisions_ns = c->keep_revisions_ns,
        .keep_free_hundredths = c->keep_free_hundredths,
    };
    int r = mr_store_open(&config, &s->store, err);
    if (r < 0)
        return r;
    s->store_open = true;
    r = take_store(s, stop, err);
    if (r == 0)
        r = mr_eventlog_open(s->store.millrace_fd, MR_EVENTLOG_SEGMENT_BYTES, &s->eventlog,
                             &log_note, err);
    if (r == 0)
        mr_eventlog_guard(s->eventlog, prove, is_newest, s->lease);
    if (r == 0)
        r = mr_catalogue_open(s->store.millrace_fd, &s->catalogue, &catalogue_note, err);
    if (r == -EUCLEAN) /* or they are the next server's, which has the store by now */
        mr_lease_prove_by_sight(s->lease);
    say_cut(&log_note);
    say_cut(&catalogue_note);
    s->commit =
        (struct mr_commit){.store = &s->store, .eventlog = s->eventlog, .catalogue = s->catalogue};
    return r;
}

static void doubt(void *ctx, const struct mr_ulid *id)
{
    struct mr_server *s = ctx;
    char text[MR_ULID_TEXT];
    if (mr_berth_note_left(s->berth, id) < 0)
        abort();
    mr_info(STAGE, "movie %s is unfinished; its agent will resume it", mr_ulid_text(id, text));
}

static void take_sealed(void *ctx, struct mr_dossier *d, enum mr_commit_state state)
{
    struct mr_server *s = ctx;
    struct mr_recheck_job *job = calloc(1, sizeof(*job));
    if (job == NULL)
        abort();
    *job = (struct mr_recheck_job){.kind = MR_RECHECK_SEALED, .dossier = d, .state = state};
    if (mr_queue_try_push(s->queues[RECHECKS], &job) < 0) /* more than could be in flight */
        mr_recheck_job_free(job);
}

/* ---- stages ---- */

static int make_queues(struct mr_server *s, struct mr_err *err)
{
    static const struct {
        size_t item_bytes, capacity;
    } sizes[QUEUES] = {[NEWS_Q] = {sizeof(struct mr_lane_news), NEWS},
                       [BERTH_JOBS] = {sizeof(struct mr_berth_job), MR_CONTROL_JOBS},
                       [BERTH_ANSWERS] = {sizeof(struct mr_berth_answer), MR_CONTROL_JOBS},
                       [RECHECKS] = {sizeof(struct mr_recheck_job *), MR_CONTROL_JOBS},
                       [SEAL_JOBS] = {sizeof(struct mr_seal_job), 4 * MR_CONTROL_JOBS},
                       [SEAL_ANSWERS] = {sizeof(struct mr_seal_answer), MR_CONTROL_JOBS}};
    for (int i = 0; i < QUEUES; i++) {
        int r = mr_queue_new(sizes[i].item_bytes, sizes[i].capacity, &s->queues[i]);
        if (r < 0)
            return mr_err_errno(err, r, "queues");
    }
    return 0;
}

static int make_lanes(struct mr_server *s, struct mr_err *err)
{
    bool said = false; /* what one lane has to say, the others have too as a rule */
    for (uint16_t i = 0; i < s->plan->lanes; i++) {
        struct mr_err notice = {0};
        const struct mr_lane_config config = {.index = i,
                                              .lanes = s->plan->lanes,
                                              .buffers = s->plan->lane_buffers,
                                              .endpoint = s->plan->lane[i],
                                              .news = s->queues[NEWS_Q],
                                              .lease = s->lease};
        int r = mr_lane_new(s->link, &config, &s->lanes[i], &notice);
        if (r < 0) {
            *err = notice;
            return r;
        }
        if (notice.code != 0 && !said)
            mr_warn(STAGE, "lane %u: %s", i, notice.text);
        said |= notice.code != 0;
    }
    return 0;
}

static int make_control(struct mr_server *s, struct mr_err *err)
{
    struct mr_control_config config = {
        .endpoint = s->plan->control,
        .intake = {.lanes = s->plan->lanes,
                   .lane_budget = s->plan->lane_budget,
                   .heartbeat_ms = HEARTBEAT_MS,
                   .movies_max = MR_MOVIES_MAX},
        .lanes = s->lanes,
        .store = &s->store,
        .space = s->space,
        .says_full = mr_eventlog_says_full(s->eventlog),
        .news = s->queues[NEWS_Q],
        .berth_jobs = s->queues[BERTH_JOBS],
        .berth_answers = s->queues[BERTH_ANSWERS],
        .seal_jobs = s->queues[SEAL_JOBS],
        .seal_answers = s->queues[SEAL_ANSWERS],
        .fatal = s->fatal,
        .ctx = s->ctx,
    };
    if (getrandom(&config.intake.session_seed, sizeof(uint64_t), 0) < 0)
        return mr_err_errno(err, -errno, "getrandom");
    snprintf(config.intake.server, sizeof(config.intake.server), "%s", s->config->name);
    snprintf(config.intake.site, sizeof(config.intake.site), "%s", s->config->site);
    snprintf(config.intake.software, sizeof(config.intake.software), "millrace %s",
             MILLRACE_VERSION);
    return mr_control_new(s->link, &config, &s->control, err);
}

static int make_berth(struct mr_server *s)
{
    const struct mr_berth_queues queues = {.jobs = s->queues[BERTH_JOBS],
                                           .answers = s->queues[BERTH_ANSWERS],
                                           .rechecks = s->queues[RECHECKS]};
    const struct mr_recheck_queues rechecks = {
        .jobs = queues.rechecks, .berth_jobs = queues.jobs, .seal_jobs = s->queues[SEAL_JOBS]};
    int r = mr_recheck_new(&s->store, &rechecks, &s->recheck);
    return r < 0 ? r : mr_berth_new(&s->store, s->catalogue, &queues, &s->berth);
}

static int make_stages(struct mr_server *s, struct mr_err *err)
{
    const struct mr_recovery_found found = {.ctx = s, .unfinished = doubt, .sealed = take_sealed};
    int r = mr_link_new(IO_THREADS, &s->link);
    if (r < 0)
        return mr_err_errno(err, r, "ZeroMQ");
    r = mr_publish_new(s->link, s->eventlog, s->plan->events, s->plan->replay, &s->publish, err);
    if (r == 0)
        r = mr_space_new(ask_space, &s->store, s->config->keep_free_hundredths, &s->space);
    if (r == 0)
        r = make_queues(s, err);
    if (r == 0)
        r = make_berth(s);
    if (r == 0)
        r = mr_recovery_run(&s->commit, &found, err);
    if (r == 0)
        r = mr_skiffs_open(&s->store, &s->skiffs, err);
    if (r == 0 && !s->config->verify_at_seal)
        s->store.skiffs = s->skiffs;
    if (r == 0)
        r = mr_seal_new(&s->commit, s->queues[SEAL_JOBS], s->queues[SEAL_ANSWERS], s->fatal, s->ctx,
                        &s->seal);
    if (r == 0 && s->config->verify_at_seal)
        mr_seal_read_back(s->seal, s->queues[RECHECKS]);
    if (r == 0)
        r = make_lanes(s, err);
    if (r == 0)
        r = make_control(s, err);
    return r;
}

static int open_sheet(struct mr_server *s, struct mr_err *err)
{
    static const char *const names[QUEUES] = {
        [NEWS_Q] = "news",       [BERTH_JOBS] = "berth-jobs", [BERTH_ANSWERS] = "berth-answers",
        [RECHECKS] = "rechecks", [SEAL_JOBS] = "seal-jobs",   [SEAL_ANSWERS] = "seal-answers"};
    struct mr_tally_level levels[QUEUES + MR_LANES_MAX] = {0};
    char buffers[MR_LANES_MAX][MR_TALLY_NAME];
    size_t count = 0;
    for (; count < QUEUES; count++)
        levels[count] = (struct mr_tally_level){.name = names[count], .queue = s->queues[count]};
    for (uint16_t i = 0; i < s->plan->lanes; i++) {
        snprintf(buffers[i], sizeof(buffers[i]), "buffers-%u", i);
        levels[count++] =
            (struct mr_tally_level){.name = buffers[i], .pool = mr_lane_pool(s->lanes[i])};
    }
    return mr_tally_sheet_open("millrace-ingest", levels, count, err, &s->sheet);
}

static int start_threads(struct mr_server *s, struct mr_err *err)
{
    const struct mr_http_provider provider = {.ctx = s, .status = status, .ready = ready};
    int r = open_sheet(s, err);
    if (r == 0)
        r = mr_thread_start(&mr_publish_stage, s->publish, err, &s->publish_thread);
    if (r == 0)
        r = mr_thread_start(&mr_space_stage, s->space, err, &s->space_thread);
    if (r == 0)
        r = mr_thread_start(&mr_berth_stage, s->berth, err, &s->berth_thread);
    if (r == 0)
        r = mr_thread_start(&mr_recheck_stage, s->recheck, err, &s->recheck_thread);
    if (r == 0)
        r = mr_thread_start(&mr_seal_stage, s->seal, err, &s->seal_thread);
    for (uint16_t i = 0; r == 0 && i < s->plan->lanes; i++)
        r = mr_thread_start(&mr_lane_stage, s->lanes[i], err, &s->lane_threads[i]);
    if (r == 0)
        r = mr_http_start(s->plan->http, &provider, s->eventlog, &s->http, err);
    if (r == 0)
        r = mr_thread_start(&mr_control_stage, s->control, err, &s->control_thread);
    return r;
}

int mr_server_start(const struct mr_ingest_config *config, const struct mr_ingest_plan *plan,
                    int stop, void (*fatal)(void *ctx), void *ctx, struct mr_server **ret,
                    struct mr_err *err)
{
    struct mr_server *s = calloc(1, sizeof(*s));
    if (s == NULL)
        return mr_err_errno(err, -ENOMEM, "server");
    s->config = config;
    s->plan = plan;
    s->fatal = fatal;
    s->ctx = ctx;
    s->started_ns = mr_clock_monotonic_ns();
    int r = config->state_dir[0] == '\0' ? 0 : check_state_dir(config->state_dir, err);
    if (r == 0)
        r = open_store(s, stop, err);
    if (r == 0)
        r = make_stages(s, err);
    if (r == 0) {
        mr_lease_prove(s->lease); /* it may have stood still since it read log and catalogue */
        r = start_threads(s, err);
    }
    if (r < 0) {
        if (err->code == 0)
            mr_err_errno(err, r, "start");
        mr_server_stop(s, false);
        return r;
    }
    mr_info(STAGE, "%s: store %s (generation %u), %u lanes (%s), control %s, events %s, http %s",
            config->name, config->root, mr_lease_generation(s->lease), plan->lanes,
            mr_lane_engine(s->lanes[0]), plan->control, plan->events, plan->http);
    *ret = s;
    return 0;
}

/* ---- the end ---- */

static void close_queue(struct mr_queue *queue)
{
    if (queue != NULL)
        mr_queue_close(queue);
}

static void free_all(struct mr_server *s)
{
    mr_control_free(s->control);
    for (uint16_t i = 0; i < s->plan->lanes; i++)
        mr_lane_free(s->lanes[i]);
    mr_seal_free(s->seal);
    mr_berth_free(s->berth);
    mr_recheck_free(s->recheck);
    mr_publish_free(s->publish);
    mr_space_free(s->space);
    for (int i = 0; i < QUEUES; i++)
        mr_queue_free(s->queues[i]);
    mr_link_free(s->link);
    mr_skiffs_close(s->skiffs);
    mr_catalogue_close(s->catalogue);
    mr_eventlog_close(s->eventlog);
    mr_lease_release(s->lease); /* from here the store may be another's */
    if (s->store_open)
        mr_store_close(&s->store);
    free(s);
}

void mr_server_stop(struct mr_server *s, bool stats)
{
    mr_http_stop(s->http);
    mr_lease_leave(s->lease);
    if (s->seal != NULL)
        mr_seal_stop(s->seal);
    if (s->recheck != NULL)
        mr_recheck_stop(s->recheck);
    if (s->control_thread != NULL)
        mr_control_stop(s->control);
    mr_thread_join(s->control_thread);
    close_queue(s->queues[BERTH_JOBS]);
    mr_thread_join(s->berth_thread);
    close_queue(s->queues[RECHECKS]);
    mr_thread_join(s->recheck_thread);
    close_queue(s->queues[SEAL_JOBS]);
    mr_thread_join(s->seal_thread);
    close_queue(s->queues[NEWS_Q]);
    for (uint16_t i = 0; i < s->plan->lanes; i++) {
        if (s->lanes[i] != NULL)
            mr_queue_close(mr_lane_commands(s->lanes[i]));
        mr_thread_join(s->lane_threads[i]);
    }
    if (s->space_thread != NULL)
        mr_space_stop(s->space);
    mr_thread_join(s->space_thread);
    if (s->publish_thread != NULL)
        mr_publish_stop(s->publish);
    mr_thread_join(s->publish_thread);
    mr_tally_sheet_close(s->sheet, stats);
    free_all(s);
}
