/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server's core with nothing behind it: peers are one byte, what it asks for is counted and
 * kept, and the test gives the answers.
 */
#ifndef MR_TESTS_INTAKE_RIG_H
#define MR_TESTS_INTAKE_RIG_H

#include "base/clock.h"
#include "intake.h"
#include "suite.h"

#include <stdio.h>
#include <string.h>

#define PEERS 4

static struct mr_intake *in;
static struct mr_message sent, m;                  /* the last one sent; the one to say */
static struct mr_range sent_ranges[MR_RANGES_MAX]; /* of the last ACK or OPENED */
static uint8_t sent_to;
static unsigned sends, acks, attaches, detaches, releases, berths, finishes, presences;
static struct {
    enum mr_finish how;
    char agent[MR_NAME_MAX + 1];
    struct mr_ulid id;
    struct mr_movie *movie;
    const struct mr_end *end;
    struct mr_fail fail;
} finished;
static struct {
    struct mr_open open;
    bool ephemeral;
    int64_t clock_offset_ms;
} berthing;
static uint64_t attached_to, confirm_session;
static bool release_tainted, is_online;
static char present[MR_NAME_MAX + 1];
static uint64_t token[PEERS];
static uint32_t sequence[PEERS], heard[PEERS];
static int64_t now;
static struct mr_movie *movie;

static void op_send(void *ctx, const struct mr_route *to, const struct mr_message *message)
{
    (void)ctx;
    sent = *message;
    sent_to = to->bytes[0];
    sends++;
    if (sent_to >= PEERS)
        return;
    if (message->type == MR_WELCOME) {
        token[sent_to] = message->session;
        heard[sent_to] = 0;
    }
    if (message->type != MR_REFUSED) /* a session's envelope is the core's to fill in */
        ck_assert_uint_eq(message->sequence, ++heard[sent_to]);
    if (message->type != MR_REFUSED)
        ck_assert_uint_eq(message->session, token[sent_to]);
    acks += message->type == MR_ACK;
    bool ack = message->type == MR_ACK;
    if (ack || message->type == MR_OPENED)
        for (uint32_t i = 0; i < (ack ? message->ack.range_count : message->opened.range_count);
             i++)
            sent_ranges[i] =
                mr_message_range(ack ? message->ack.ranges : message->opened.ranges, i);
}

static void op_berth(void *ctx, const struct mr_sender *from, const struct mr_open *open)
{
    (void)ctx;
    ck_assert_str_eq(from->agent, "k3");
    berthing.open = *open;
    berthing.ephemeral = from->ephemeral;
    berthing.clock_offset_ms = from->clock_offset_ms;
    berths++;
}

static void op_attach(void *ctx, struct mr_movie *mv, uint64_t session)
{
    (void)ctx;
    ck_assert_ptr_eq(mv, movie);
    attached_to = session;
    attaches++;
}

static void op_detach(void *ctx, struct mr_movie *mv)
{
    (void)ctx;
    ck_assert_ptr_eq(mv, movie);
    detaches++;
}

static void op_finish(void *ctx, enum mr_finish how, const struct mr_sender *from,
                      const struct mr_ulid *id, struct mr_movie *mv, const struct mr_end *end,
                      const struct mr_fail *fail)
{
    (void)ctx;
    ck_assert((end != NULL) == (how == MR_FINISH_COMMIT));
    ck_assert((fail != NULL) == (how == MR_FINISH_FAIL));
    finished.how = how;
    (void)snprintf(finished.agent, sizeof(finished.agent), "%s", from->agent);
    finished.id = *id;
    finished.movie = mv;
    finished.end = end;
    finished.fail = fail == NULL ? (struct mr_fail){0} : *fail;
    finishes++;
}

static void op_release(void *ctx, struct mr_movie *mv, bool tainted)
{
    (void)ctx;
    ck_assert_ptr_eq(mv, movie);
    release_tainted = tainted;
    releases++;
}

static void op_confirm(void *ctx, uint64_t session, const struct mr_confirm *confirm)
{
    (void)ctx;
    ck_assert_uint_eq(confirm->revision, 3);
    confirm_session = session;
}

static void op_presence(void *ctx, const struct mr_hello *hello, bool online)
{
    (void)ctx;
    (void)snprintf(present, sizeof(present), "%s", hello->name);
    is_online = online;
    presences++;
}

/* m, as it stands, in its envelope. */
static inline void hear(uint8_t peer)
{
    const struct mr_route route = {.bytes = {peer}, .size = 1};
    m.session = token[peer];
    m.sequence = ++sequence[peer];
    mr_intake_receive(in, &route, &m, now, now);
}

/* The message to be heard next, empty but for its type. */
static inline void prepare(enum mr_message_type type)
{
    memset(&m, 0, sizeof(m));
    m.type = type;
}

static inline void say(uint8_t peer, enum mr_message_type type)
{
    prepare(type);
    hear(peer);
}

static inline void hello_as(uint8_t peer, const char *name, uint8_t instance, uint64_t epoch,
                            bool ephemeral)
{
    prepare(MR_HELLO);
    m.hello = (struct mr_hello){.version_min = 1,
                                .version_max = 1,
                                .instance = {instance},
                                .epoch = epoch,
                                .ephemeral = ephemeral,
                                .host = "scope7"};
    (void)snprintf(m.hello.name, sizeof(m.hello.name), "%s", name);
    sequence[peer] = 0;
    hear(peer);
}

static inline void hello(uint8_t peer, uint8_t instance, uint64_t epoch, bool ephemeral)
{
    hello_as(peer, "k3", instance, epoch, ephemeral);
}

static inline void told(uint8_t peer, enum mr_message_type type)
{
    ck_assert_str_eq(mr_message_name(sent.type), mr_message_name(type));
    ck_assert_uint_eq(sent_to, peer);
}

static inline void told_hold(uint8_t peer, uint16_t code, uint32_t retry_ms)
{
    told(peer, MR_HOLD);
    ck_assert_uint_eq(sent.hold.code, code);
    ck_assert_uint_eq(sent.hold.retry_ms, retry_ms);
    ck_assert_str_ne(sent.hold.text, "");
}

static inline void told_bye(uint8_t peer, uint16_t code)
{
    told(peer, MR_BYE);
    ck_assert_uint_eq(sent.bye.code, code);
    ck_assert_str_ne(sent.bye.text, "");
}

static inline void told_refused(uint8_t peer, uint16_t code)
{
    told(peer, MR_REFUSED);
    ck_assert_uint_eq(sent.refused.code, code);
    ck_assert_uint_eq(sent.sequence, 1);
    ck_assert_str_ne(sent.refused.text, "");
}

static inline struct mr_intake_config rig_config(void)
{
    return (struct mr_intake_config){.lanes = 1,
                                     .ports = {5571},
                                     .lane_budget = 2 * MR_SLAB_COST_MAX,
                                     .heartbeat_ms = 1000,
                                     .movies_max = 2,
                                     .session_seed = 40};
}

static inline void begin_as(const struct mr_intake_config *config)
{
    const struct mr_intake_ops ops = {.send = op_send,
                                      .berth = op_berth,
                                      .attach = op_attach,
                                      .detach = op_detach,
                                      .finish = op_finish,
                                      .release = op_release,
                                      .confirm = op_confirm,
                                      .presence = op_presence};
    now = MR_NS_PER_S;
    sends = acks = attaches = detaches = releases = berths = finishes = presences = 0;
    ck_assert_int_eq(mr_intake_new(config, &ops, &in), 0);
    movie = mr_movie_new();
    ck_assert_ptr_nonnull(movie);
    mr_geometry_opaque(&movie->geometry);
}

static inline void begin_with(uint32_t movies_max)
{
    struct mr_intake_config config = rig_config();
    config.movies_max = movies_max;
    begin_as(&config);
}

static inline void begin(void)
{
    begin_with(2);
}

static inline void done(void)
{
    mr_intake_free(in);
    mr_movie_release(movie);
}

/* OPEN of the movie whose id begins with `first`; 0: that of `movie`. */
static inline void open_other(uint8_t peer, uint8_t first, const char *path, bool whole)
{
    prepare(MR_OPEN);
    m.open = (struct mr_open){.movie = {{first}},
                              .revision = 1,
                              .kind = MR_KIND_FILE,
                              .output = MR_OUTPUT_KEEP,
                              .whole = whole};
    (void)snprintf(m.open.path, sizeof(m.open.path), "%s", path);
    mr_geometry_opaque(&m.open.geometry);
    hear(peer);
}

static inline void open_movie(uint8_t peer)
{
    open_other(peer, 0, "", false);
}

static inline void live_as(bool ephemeral)
{
    begin();
    hello(0, 1, 1, ephemeral);
    told(0, MR_WELCOME);
    open_movie(0);
    mr_intake_berthed(in, movie, false, NULL, 0, now);
    told(0, MR_OPENED);
    ck_assert_uint_eq(attaches, 1);
    ck_assert_uint_eq(attached_to, token[0]);
}

static inline void live(void)
{
    live_as(false);
}

static inline void end(uint64_t slabs, uint64_t claimed)
{
    prepare(MR_END);
    m.end.generation = 1;
    m.end.extent.source_bytes = slabs * MR_SLAB_BYTES;
    m.end.slabs = claimed;
    hear(0);
}

static inline void answer(enum mr_message_type type)
{
    const struct mr_message a = {.type = type};
    mr_intake_finished(in, &movie->id, &a);
}

static inline void tick(void)
{
    mr_intake_tick(in, now, now);
}

#endif
