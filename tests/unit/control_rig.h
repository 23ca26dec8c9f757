/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control stage with its thread and socket, an agent at the other end, and nobody behind its
 * queues: what lanes, berth and seal would be is the test.
 */
#ifndef MR_TESTS_CONTROL_RIG_H
#define MR_TESTS_CONTROL_RIG_H

#include "control.h"
#include "link_rig.h"

#include "base/counter.h"

#include <stdatomic.h>
#include <stdlib.h>

enum { LANES = 2, FREE = 500, TOTAL = 1000 };

static struct mr_link *hub;
static struct mr_lane *lanes[LANES];
static struct mr_space *space;
static struct mr_control *control;
static struct mr_thread *thread;
static struct mr_control_config config;
static struct mr_peer *peer;
static struct mr_message heard;
static struct mr_part part; /* what heard points into */
static bool has_part;
static uint64_t token;
static uint32_t said;
static _Atomic int fatals;
static _Atomic uint64_t left;
static char root_text[] = "/data/store", site_text[] = "north", server_text[] = "storage1";
static const struct mr_store store = {.root = root_text, .site = site_text, .server = server_text};
static struct mr_movie *movie;

static inline int ask(void *ctx, uint64_t *ret_free, uint64_t *ret_total)
{
    (void)ctx;
    *ret_free = left;
    *ret_total = TOTAL;
    return 0;
}

static inline void on_fatal(void *ctx)
{
    ck_assert_ptr_eq(ctx, &fatals);
    fatals++;
}

static inline struct mr_queue *queue(size_t item_bytes, size_t count)
{
    struct mr_queue *q;
    ck_assert_int_eq(mr_queue_new(item_bytes, count, &q), 0);
    return q;
}

/* On a port that is free. */
static inline void make_control(char endpoint[64])
{
    int r = -1;
    struct mr_err err = {0};
    for (int i = 0; i < 200 && r != 0; i++) {
        int port = 12000 + (getpid() * 7 + i) % 8000;
        (void)snprintf(endpoint, 64, "tcp://127.0.0.1:%d", port);
        config.endpoint = endpoint;
        r = mr_control_new(hub, &config, &control, &err);
    }
    ck_assert_msg(r == 0, "%s", err.text);
}

static inline void connect_peer(const char *endpoint)
{
    struct mr_err err = {0};
    ck_assert_int_eq(mr_peer_connect(hub, endpoint, &peer, &err), 0);
    rig_peer_up(peer);
}

static inline void start(bool says_full, uint32_t keep_free)
{
    struct mr_err err = {0};
    char endpoint[64];
    hub = rig_link();
    left = FREE;
    ck_assert_int_eq(mr_space_new(ask, NULL, keep_free, &space), 0);
    config = (struct mr_control_config){
        .intake = {.lanes = LANES,
                   .lane_budget = 2 * MR_SLAB_COST_MAX,
                   .heartbeat_ms = 60000,
                   .movies_max = 100,
                   .session_seed = 3,
                   .server = "storage1"},
        .lanes = lanes,
        .store = &store,
        .space = space,
        .says_full = says_full,
        .news = queue(sizeof(struct mr_lane_news), 64),
        .berth_jobs = queue(sizeof(struct mr_berth_job), MR_CONTROL_JOBS + 64),
        .berth_answers = queue(sizeof(struct mr_berth_answer), 8),
        .seal_jobs = queue(sizeof(struct mr_seal_job), MR_CONTROL_JOBS + 64),
        .seal_answers = queue(sizeof(struct mr_seal_answer), 8),
        .fatal = on_fatal,
        .ctx = &fatals};
    for (uint16_t i = 0; i < LANES; i++) {
        const struct mr_lane_config c = {.index = i,
                                         .lanes = LANES,
                                         .buffers = 1,
                                         .endpoint = "tcp://127.0.0.1:*",
                                         .news = config.news};
        ck_assert_int_eq(mr_lane_new(hub, &c, &lanes[i], &err), 0);
    }
    make_control(endpoint);
    ck_assert_int_eq(mr_thread_start(&mr_control_stage, control, &err, &thread), 0);
    connect_peer(endpoint);
    movie = mr_movie_new();
    movie->id.bytes[0] = 7;
}

static inline void let_go_of_part(void)
{
    if (has_part)
        mr_part_close(&part);
    has_part = false;
}

static inline void end(void)
{
    struct mr_seal_job job;
    mr_control_stop(control);
    mr_thread_join(thread);
    let_go_of_part();
    mr_peer_close(peer);
    mr_control_free(control);
    for (size_t i = 0; i < LANES; i++)
        mr_lane_free(lanes[i]);
    while (mr_queue_pop(config.seal_jobs, 0, &job) == 0)
        free(job.event);
    struct mr_queue *const queues[] = {config.news, config.berth_jobs, config.berth_answers,
                                       config.seal_jobs, config.seal_answers};
    for (size_t i = 0; i < 5; i++)
        mr_queue_free(queues[i]);
    mr_space_free(space);
    mr_link_free(hub);
    mr_movie_release(movie);
}

/* ---- the agent ---- */

static inline void say(struct mr_message *m)
{
    static uint8_t bytes[MR_CONTROL_BYTES_MAX];
    size_t count;
    m->session = token;
    m->sequence = ++said;
    ck_assert_int_eq(mr_message_encode(m, bytes, sizeof(bytes), &count), 0);
    ck_assert_int_eq(mr_peer_send(peer, bytes, count), 0);
}

/* The next message that is not CREDIT has to be of this type. */
static inline void hear(enum mr_message_type type)
{
    do {
        let_go_of_part();
        UNTIL(mr_peer_receive(peer, &part) == 0, rig_peer_pause(peer));
        has_part = true;
        ck_assert_int_eq(mr_message_decode(mr_part_data(&part), mr_part_bytes(&part), &heard, NULL),
                         0);
    } while (heard.type == MR_CREDIT && type != MR_CREDIT);
    ck_assert_str_eq(mr_message_name(heard.type), mr_message_name(type));
}

static inline struct mr_seal_job seal_job(enum mr_seal_kind kind)
{
    struct mr_seal_job job;
    ck_assert_int_eq(mr_queue_pop(config.seal_jobs, WAIT_MS, &job), 0);
    ck_assert_int_eq(job.kind, kind);
    return job;
}

static inline void event_is(const char *type, const char *word)
{
    struct mr_seal_job job = seal_job(MR_SEAL_LOG);
    ck_assert_ptr_nonnull(strstr(job.event, type));
    ck_assert_ptr_nonnull(strstr(job.event, word));
    free(job.event);
}

static inline void meet(void)
{
    struct mr_message m = {.type = MR_HELLO,
                           .hello = {.version_min = 1,
                                     .version_max = 1,
                                     .name = "k3",
                                     .instance = {1},
                                     .epoch = 1,
                                     .host = "scope7",
                                     .software = "test"}};
    token = said = 0;
    say(&m);
    hear(MR_WELCOME);
    token = heard.session;
    event_is("millrace.agent.online.v1", "k3");
}

static inline struct mr_berth_job berth_job(int kind)
{
    struct mr_berth_job job;
    ck_assert_int_eq(mr_queue_pop(config.berth_jobs, WAIT_MS, &job), 0);
    ck_assert_int_eq((int)job.kind, kind);
    return job;
}

static inline void answer_berth(bool resumed)
{
    struct mr_berth_answer a = {.id = movie->id, .movie = movie, .resumed = resumed};
    if (resumed) {
        a.durable = malloc(sizeof(*a.durable));
        *a.durable = (struct mr_range){.first = 2, .count = 3};
        a.durable_count = 1;
    }
    ck_assert_int_eq(mr_queue_push(config.berth_answers, &a), 0);
}

static inline struct mr_lane_command command_of(size_t lane, enum mr_lane_command_kind kind)
{
    struct mr_lane_command c;
    ck_assert_int_eq(mr_queue_pop(mr_lane_commands(lanes[lane]), WAIT_MS, &c), 0);
    ck_assert_int_eq(c.kind, kind);
    ck_assert_ptr_eq(c.movie, movie);
    return c;
}

static inline void open_movie(enum mr_kind kind)
{
    struct mr_message m = {.type = MR_OPEN,
                           .open = {.movie = movie->id,
                                    .revision = 1,
                                    .kind = kind,
                                    .output = MR_OUTPUT_KEEP,
                                    .format = "mrc",
                                    .path = "grid7/a.mrc",
                                    .source_path = "/data/grid7/a.mrc",
                                    .day = "2026-11-22"}};
    if (kind == MR_KIND_FILE)
        mr_geometry_opaque(&m.open.geometry);
    else
        ck_assert_int_eq(mr_geometry_frames(MR_LAYOUT_BYTES, MR_PIXEL_I8, false, 64, 64, 1024, 0,
                                            &m.open.geometry, NULL),
                         0);
    movie->geometry = m.open.geometry;
    say(&m);
    struct mr_berth_job job = berth_job(MR_BERTH_OPEN);
    ck_assert_str_eq(job.agent, "k3");
    ck_assert(!job.push);
    ck_assert_str_eq(job.open->path, "grid7/a.mrc");
    ck_assert(mr_ulid_equal(&job.open->movie, &movie->id));
    free(job.open);
}

/* Met, and a movie in the lanes. */
static inline void live(void)
{
    start(false, 0);
    meet();
    open_movie(MR_KIND_FILE);
    answer_berth(false);
    hear(MR_OPENED);
    for (size_t i = 0; i < LANES; i++)
        ck_assert_uint_eq(command_of(i, MR_LANE_ATTACH).session, token);
}

static inline void tell(struct mr_lane_news n)
{
    n.movie = n.movie == NULL ? movie : n.movie;
    ck_assert_int_eq(mr_queue_push(config.news, &n), 0);
}

/* Each lane is told to, and does. */
static inline void leave(void)
{
    for (uint16_t i = 0; i < LANES; i++) {
        (void)command_of(i, MR_LANE_DETACH);
        tell((struct mr_lane_news){.kind = MR_LANE_DETACHED, .lane = i});
    }
}

/* What was said so far has been heard, and nothing was answered to it. */
static inline void nothing_said(void)
{
    struct mr_message m = {.type = MR_PING, .ping.token = 4711 + said};
    say(&m);
    hear(MR_PONG);
    ck_assert_uint_eq(heard.ping.token, m.ping.token);
}

static inline char *metrics(void)
{
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    mr_counter_print(out);
    ck_assert_int_eq(fclose(out), 0);
    return text;
}

#endif
