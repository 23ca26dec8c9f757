/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump around intake. Decides nothing about sessions or movies; owns the control socket and the
 * reading end of three queues.
 */
#include "control.h"

#include "announce.h"
#include "base/clock.h"
#include "base/counter.h"
#include "base/log.h"
#include "base/tally.h"
#include "base/text.h"
#include "status.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGE       "control"
#define BATCH       256
#define WAIT_MS     50
#define SNAPSHOT_NS (200 * MR_NS_PER_MS)

enum counter { DUPLICATES, BACKLOG, COMPRESSING, COUNTERS };

static const struct mr_counter counters[COUNTERS] = {
    [DUPLICATES] = {.name = "millrace_duplicate_slabs_total",
                    .help = "Slabs that came again though they were durable."},
    [BACKLOG] = {.name = "millrace_agents_backlog_bytes",
                 .help = "What connected agents have to ship and is not durable.",
                 .kind = MR_GAUGE},
    [COMPRESSING] = {.name = "millrace_agents_compressing",
                     .help = "Connected agents whose keep and mrc movies travel compressed.",
                     .kind = MR_GAUGE},
};

/* A movie that some lanes still hold */
struct leaving {
    struct leaving *next;
    struct mr_movie *movie;
    uint16_t lanes_left;
};

struct mr_control {
    struct mr_control_config config;
    struct mr_router *router;
    struct mr_intake *intake;
    uint16_t lanes;
    struct leaving *leaving;
    uint8_t *scratch; /* one control message */
    _Atomic bool stop;
    bool stopping;
    pthread_mutex_t lock; /* of snapshot */
    char *snapshot;
    int64_t snapshot_ns;
    struct mr_counter counters[COUNTERS];
};

/* ---- what intake asks for ---- */

static void op_send(void *ctx, const struct mr_route *to, const struct mr_message *m)
{
    struct mr_control *c = ctx;
    size_t bytes;
    int r = mr_message_encode(m, c->scratch, MR_CONTROL_BYTES_MAX, &bytes);
    assert(r == 0);
    r = mr_router_send(c->router, to, c->scratch, bytes);
    if (r < 0) /* gone or not reading: its silence, or the gap it will see, ends the session */
        mr_debug(STAGE, "%s not sent: %s", mr_message_name(m->type), mr_err_name(r));
}

static void push(struct mr_queue *queue, const void *item)
{
    int r = mr_queue_try_push(queue, item);
    assert(r == 0 || r == -EPIPE); /* capacity: MR_CONTROL_JOBS */
}

static void op_berth(void *ctx, const struct mr_sender *from, const struct mr_open *open)
{
    struct mr_control *c = ctx;
    struct mr_berth_job job = {
        .kind = MR_BERTH_OPEN, .push = from->ephemeral, .clock_offset_ms = from->clock_offset_ms};
    job.open = malloc(sizeof(*open));
    if (job.open == NULL)
        abort(); /* nobody would ever answer this movie */
    *job.open = *open;
    snprintf(job.agent, sizeof(job.agent), "%s", from->agent);
    push(c->config.berth_jobs, &job);
}

/* Of a small one there is no slab but the first. */
static uint16_t lanes_of(const struct mr_control *c, const struct mr_movie *movie)
{
    return movie->small ? 1 : c->lanes;
}

static void command(struct mr_control *c, const struct mr_lane_command *command)
{
    for (uint16_t i = 0; i < lanes_of(c, command->movie); i++)
        push(mr_lane_commands(c->config.lanes[i]), command);
}

static void op_attach(void *ctx, struct mr_movie *movie, uint64_t session)
{
    command(ctx,
            &(struct mr_lane_command){.kind = MR_LANE_ATTACH, .movie = movie, .session = session});
}

static void op_detach(void *ctx, struct mr_movie *movie)
{
    struct mr_control *c = ctx;
    struct leaving *l = calloc(1, sizeof(*l));
    if (l == NULL)
        abort();
    *l = (struct leaving){.next = c->leaving, .movie = movie, .lanes_left = lanes_of(c, movie)};
    c->leaving = l;
    command(c, &(struct mr_lane_command){.kind = MR_LANE_DETACH, .movie = movie});
}

static void op_finish(void *ctx, enum mr_finish how, const struct mr_sender *from,
                      const struct mr_ulid *id, struct mr_movie *movie, const struct mr_end *end,
                      const struct mr_fail *fail)
{
    static const enum mr_seal_kind kinds[] = {[MR_FINISH_COMMIT] = MR_SEAL_COMMIT,
                                              [MR_FINISH_FAIL] = MR_SEAL_FAIL,
                                              [MR_FINISH_DISCARD] = MR_SEAL_DISCARD};
    struct mr_control *c = ctx;
    struct mr_seal_job job = {
        .kind = kinds[how], .id = *id, .movie = movie, .end = end, .fail = fail};
    snprintf(job.agent, sizeof(job.agent), "%s", from->agent);
    push(c->config.seal_jobs, &job);
}

static void op_release(void *ctx, struct mr_movie *movie, bool distrusted)
{
    struct mr_control *c = ctx;
    push(
        c->config.berth_jobs,
        &(struct mr_berth_job){.kind = MR_BERTH_RELEASE, .movie = movie, .distrusted = distrusted});
}

/* Movies come first: a question that finds much to do is asked again later. */
static void op_confirm(void *ctx, uint64_t session, const struct mr_confirm *confirm)
{
    struct mr_control *c = ctx;
    if (mr_queue_count(c->config.berth_jobs) < MR_CONTROL_CONFIRMS)
        push(c->config.berth_jobs, &(struct mr_berth_job){.kind = MR_BERTH_CONFIRM,
                                                          .confirm = *confirm,
                                                          .session = session});
}

/* Agents that come and go faster than the log is synced lose only the news of it. */
static void log_event(struct mr_control *c, char *event)
{
    const struct mr_seal_job job = {.kind = MR_SEAL_LOG, .event = event};
    if (mr_queue_count(c->config.seal_jobs) < MR_CONTROL_JOBS &&
        mr_queue_try_push(c->config.seal_jobs, &job) == 0)
        return;
    mr_warn(STAGE, "too many events at once, one is not logged: %.200s", event);
    free(event);
}

static void op_presence(void *ctx, const struct mr_hello *hello, bool online)
{
    struct mr_control *c = ctx;
    char *event;
    mr_info(STAGE, "agent %s on %s is %s", hello->name, hello->host, online ? "online" : "offline");
    if (mr_announce_presence(c->config.store, hello, online, mr_clock_real_ns(), &event) == 0)
        log_event(c, event);
}

/* Credit follows the space at once; the event is said once for each time that it changes, also
 * where it did while no server ran. */
static void follow_space(struct mr_control *c, int64_t now_ns)
{
    struct mr_space_view v;
    char *event, left[MR_QUANTITY_TEXT], keep[MR_QUANTITY_TEXT];
    mr_space_view(c->config.space, &v);
    mr_intake_pause(c->intake, v.paused, now_ns);
    if (v.paused == c->config.says_full)
        return;
    c->config.says_full = v.paused;
    mr_text_size_about(v.free_bytes, left);
    mr_text_size_about(v.keep_bytes, keep);
    if (v.paused)
        mr_error(STAGE,
                 "the store has %s free, less than store.keep_free (%s): no credit, agents wait",
                 left, keep);
    else
        mr_info(STAGE, "the store has %s free again (store.keep_free: %s)", left, keep);
    if (mr_announce_space(c->config.store, &v, mr_clock_real_ns(), &event) == 0)
        log_event(c, event);
}

/* ---- what the others answer ---- */

static void say_started(struct mr_control *c, const struct mr_ulid *id)
{
    struct mr_intake_movie_view view;
    char *event;
    if (mr_intake_view(c->intake, id, &view) && view.movie != NULL &&
        view.open->kind == MR_KIND_MOVIE &&
        mr_announce_started(c->config.store, view.open, view.agent, mr_clock_real_ns(), &event) ==
            0)
        log_event(c, event);
}

static void take_berth_answers(struct mr_control *c, int64_t now_ns)
{
    struct mr_berth_answer a;
    while (mr_queue_pop(c->config.berth_answers, 0, &a) == 0) {
        if (a.session != 0) {
            mr_intake_confirmed(c->intake, a.session, a.message);
        } else if (a.movie == NULL) {
            mr_intake_unberthed(c->intake, &a.id, a.message);
        } else {
            mr_intake_berthed(c->intake, a.movie, a.resumed, a.durable, a.durable_count, now_ns);
            if (!a.resumed)
                say_started(c, &a.id);
        }
        free(a.durable);
        free(a.message);
    }
}

static void take_seal_answers(struct mr_control *c)
{
    struct mr_seal_answer a;
    while (mr_queue_pop(c->config.seal_answers, 0, &a) == 0) {
        mr_intake_finished(c->intake, &a.id, a.message);
        free(a.message);
    }
}

static void take_detached(struct mr_control *c, struct mr_movie *movie)
{
    struct leaving **at = &c->leaving;
    while ((*at)->movie != movie)
        at = &(*at)->next;
    struct leaving *l = *at;
    if (--l->lanes_left > 0)
        return;
    *at = l->next;
    free(l);
    mr_intake_detached(c->intake, movie);
}

static void take_stuck(struct mr_control *c, struct mr_lane_news *n)
{
    struct mr_intake_movie_view view;
    if (mr_intake_view(c->intake, &n->movie->id, &view) && view.movie == n->movie)
        mr_log_seldom(MR_LOG_ERROR, STAGE, "%s of %s: %s", view.open->path, view.agent, n->text);
    bool distrusted = n->failure == MR_LANDING_FSYNC || n->failure == MR_LANDING_JOURNAL;
    if (n->code == -EDQUOT && !distrusted) {
        mr_intake_no_quota(c->intake, n->movie, n->text);
        return;
    }
    mr_intake_stuck(c->intake, n->movie, distrusted, mr_reason_of_error(n->code), n->text);
}

static void take_news(struct mr_control *c, struct mr_lane_news *n)
{
    switch (n->kind) {
    case MR_LANE_USED:
        mr_intake_used(c->intake, n->session, n->lane, n->bytes);
        return;
    case MR_LANE_DURABLE:
        if (!mr_intake_durable(c->intake, n->movie, n->slab))
            mr_counter_add(&c->counters[DUPLICATES], 1);
        return;
    case MR_LANE_ABOARD:
        mr_intake_aboard(c->intake, n->movie, n->slab);
        return;
    case MR_LANE_DAMAGED:
        mr_warn(STAGE, "slab %llu of %s arrived damaged and is asked for again",
                (unsigned long long)n->slab, n->movie->part_name);
        mr_intake_damaged(c->intake, n->movie, n->slab);
        return;
    case MR_LANE_MISFIT:
        mr_error(STAGE, "slab %llu does not fit %s", (unsigned long long)n->slab,
                 n->movie->part_name);
        mr_intake_misfit(c->intake, n->movie, n->slab);
        return;
    case MR_LANE_GAP:
        mr_intake_lane_gap(c->intake, n->session, n->lane);
        return;
    case MR_LANE_STUCK:
        take_stuck(c, n);
        return;
    case MR_LANE_DETACHED:
        take_detached(c, n->movie);
        return;
    case MR_LANE_BROKEN:
        mr_error(STAGE, "lane %u is broken (%s): the server ends", n->lane, mr_err_name(n->code));
        c->config.fatal(c->config.ctx);
        return;
    }
}

static void take_all_news(struct mr_control *c)
{
    struct mr_lane_news news;
    for (int i = 0; i < 8 * BATCH && mr_queue_pop(c->config.news, 0, &news) == 0; i++)
        take_news(c, &news);
}

/* ---- what agents say ---- */

static void take_message(struct mr_control *c, const struct mr_route *from, struct mr_part *part,
                         int64_t now_ns, int64_t real_ns)
{
    struct mr_message *m = malloc(sizeof(*m));
    struct mr_err err = {0};
    if (m == NULL)
        return; /* the gap in its sequence ends the session */
    if (mr_message_decode(mr_part_data(part), mr_part_bytes(part), m, &err) < 0) {
        mr_warn(STAGE, "a peer sent what is not a message: %s", err.text);
        mr_intake_garbage(c->intake, from, err.text);
    } else {
        mr_intake_receive(c->intake, from, m, now_ns, real_ns);
    }
    free(m);
}

static void take_messages(struct mr_control *c, int64_t now_ns, int64_t real_ns)
{
    struct mr_route from;
    struct mr_part part;
    for (int i = 0; i < BATCH && mr_router_receive(c->router, &from, &part) == 0; i++) {
        take_message(c, &from, &part, now_ns, real_ns);
        mr_tally_item(mr_part_bytes(&part));
        mr_part_close(&part);
    }
}

/* ---- status ---- */

struct agents {
    uint64_t backlog_bytes, compressing;
};

static void sum_up(void *ctx, const struct mr_intake_session_view *v)
{
    struct agents *sum = ctx;
    sum->backlog_bytes += v->backlog.bytes;
    sum->compressing += v->packing.codec != MR_CODEC_NONE;
}

static void take_snapshot(struct mr_control *c, int64_t now_ns)
{
    if (now_ns - c->snapshot_ns < SNAPSHOT_NS)
        return;
    c->snapshot_ns = now_ns;
    struct agents sum = {0};
    mr_intake_each_session(c->intake, sum_up, &sum);
    mr_counter_set(&c->counters[BACKLOG], sum.backlog_bytes);
    mr_counter_set(&c->counters[COMPRESSING], sum.compressing);
    char *text = mr_status_of_intake(c->intake, mr_counter_value(&c->counters[DUPLICATES]));
    pthread_mutex_lock(&c->lock);
    free(c->snapshot);
    c->snapshot = text;
    pthread_mutex_unlock(&c->lock);
}

char *mr_control_status(struct mr_control *c)
{
    pthread_mutex_lock(&c->lock);
    char *copy = strdup(c->snapshot == NULL ? "{\"sessions\":[],\"movies\":[]}" : c->snapshot);
    pthread_mutex_unlock(&c->lock);
    return copy;
}

/* ---- the loop ---- */

static void run(void *stage)
{
    struct mr_control *c = stage;
    const int fds[3] = {mr_queue_fd(c->config.news), mr_queue_fd(c->config.berth_answers),
                        mr_queue_fd(c->config.seal_answers)};
    while (!(c->stopping && mr_intake_idle(c->intake))) {
        int64_t now_ns = mr_clock_monotonic_ns(), real_ns = mr_clock_real_ns();
        if (atomic_load(&c->stop) && !c->stopping) {
            c->stopping = true;
            mr_intake_stop(c->intake);
        }
        follow_space(c, now_ns);
        take_all_news(c);
        take_berth_answers(c, now_ns);
        take_seal_answers(c);
        take_messages(c, now_ns, real_ns);
        mr_intake_tick(c->intake, now_ns, real_ns);
        take_snapshot(c, now_ns);
        int r = mr_router_wait(c->router, fds, 3, WAIT_MS);
        (void)r; /* a signal: the loop looks again */
    }
}

const struct mr_stage mr_control_stage = {.name = STAGE, .run = run};

/* ---- making ---- */

int mr_control_new(struct mr_link *link, const struct mr_control_config *config,
                   struct mr_control **ret, struct mr_err *err)
{
    struct mr_control *c = calloc(1, sizeof(*c));
    if (c == NULL)
        return mr_err_errno(err, -ENOMEM, "control");
    c->config = *config;
    c->lanes = config->intake.lanes;
    pthread_mutex_init(&c->lock, NULL);
    memcpy(c->counters, counters, sizeof(counters));
    mr_counters_register(c->counters, COUNTERS);
    for (uint16_t i = 0; i < c->lanes; i++)
        c->config.intake.ports[i] = mr_lane_port(config->lanes[i]);
    const struct mr_intake_ops ops = {.ctx = c,
                                      .send = op_send,
                                      .berth = op_berth,
                                      .confirm = op_confirm,
                                      .attach = op_attach,
                                      .detach = op_detach,
                                      .finish = op_finish,
                                      .release = op_release,
                                      .presence = op_presence};
    c->scratch = malloc(MR_CONTROL_BYTES_MAX);
    int r = c->scratch == NULL ? -ENOMEM : mr_intake_new(&c->config.intake, &ops, &c->intake);
    if (r < 0)
        mr_err_errno(err, r, "control");
    else
        r = mr_router_bind(link, config->endpoint, &c->router, NULL, err);
    if (r < 0) {
        mr_control_free(c);
        return r;
    }
    *ret = c;
    return 0;
}

void mr_control_free(struct mr_control *c)
{
    if (c == NULL)
        return;
    if (c->router != NULL)
        mr_router_close(c->router);
    mr_intake_free(c->intake);
    mr_counters_unregister(c->counters, COUNTERS);
    pthread_mutex_destroy(&c->lock);
    free(c->snapshot);
    free(c->scratch);
    free(c);
}

void mr_control_stop(struct mr_control *c)
{
    atomic_store(&c->stop, true);
}
