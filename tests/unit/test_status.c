/* SPDX-License-Identifier: Apache-2.0 */
/* Does /v1/status say what OPERATIONS.md tells of it, in the fields that are told there? */
#include "status.h"

#include "base/json.h"
#include "store_rig.h"

#include "intake_rig.h" /* its names are short: after those that it would hide */

static struct mr_json *parsed(char *text)
{
    struct mr_json *json = NULL;
    ck_assert_ptr_nonnull(text);
    ck_assert_int_eq(mr_json_parse(text, strlen(text), &json, NULL), 0);
    free(text);
    return json;
}

static void is_int(const struct mr_json *o, const char *key, int64_t want)
{
    int64_t got = -1;
    ck_assert_msg(mr_json_need_int(o, key, INT64_MIN, INT64_MAX, &got, NULL) == 0, "%s", key);
    ck_assert_msg(got == want, "%s: %lld", key, (long long)got);
}

static void is_bool(const struct mr_json *o, const char *key, bool want)
{
    bool got = !want;
    ck_assert_msg(mr_json_need_bool(o, key, &got, NULL) == 0 && got == want, "%s", key);
}

static void is_text(const struct mr_json *o, const char *key, const char *want)
{
    const char *got = "";
    ck_assert_msg(mr_json_need_string(o, key, &got, NULL) == 0, "%s", key);
    ck_assert_str_eq(got, want);
}

static const struct mr_json *item(const struct mr_json *o, const char *key, size_t count, size_t i)
{
    const struct mr_json *array = mr_json_get(o, key);
    ck_assert_ptr_nonnull(array);
    ck_assert_uint_eq(mr_json_count(array), count);
    return count == 0 ? NULL : mr_json_at(array, i);
}

START_TEST(nobody_and_nothing)
{
    begin();
    struct mr_json *json = parsed(mr_status_of_intake(in, 0));
    (void)item(json, "sessions", 0, 0);
    (void)item(json, "movies", 0, 0);
    is_int(json, "duplicate_slabs", 0);
    ck_assert_uint_eq(mr_json_count(json), 3);
    mr_json_free(json);
    done();
}
END_TEST

START_TEST(a_session_and_its_movie)
{
    char id[MR_ULID_TEXT];
    begin();
    hello(0, 1, 1, true);
    memset(&m, 0, sizeof(m));
    m.type = MR_PING;
    m.ping = (struct mr_ping){
        .backlog = {.bytes = 4096, .files = 7},
        .packing = {.codec = MR_CODEC_BSZSTD, .by_itself = true, .link_bytes_per_s = 1234567}};
    hear(0);
    movie->id.bytes[0] = 9;
    open_other(0, 9, "grid7/\"a\"\n.mrc", false);
    mr_intake_berthed(in, movie, false, NULL, 0, now);
    (void)mr_intake_durable(in, movie, 0);
    (void)mr_intake_durable(in, movie, 4);
    struct mr_json *json = parsed(mr_status_of_intake(in, 5));
    is_int(json, "duplicate_slabs", 5);
    const struct mr_json *s = item(json, "sessions", 1, 0);
    is_text(s, "agent", "k3");
    is_text(s, "host", "scope7");
    is_text(s, "software", "");
    is_bool(s, "push", true);
    is_int(s, "movies", 1);
    is_int(s, "backlog_bytes", 4096);
    is_int(s, "backlog_files", 7);
    is_text(s, "codec", "bszstd");
    is_bool(s, "codec_auto", true);
    is_int(s, "link_bytes_per_s", 1234567);
    ck_assert_uint_eq(mr_json_count(s), 10);
    const struct mr_json *v = item(json, "movies", 1, 0);
    is_text(v, "movie", mr_ulid_text(&movie->id, id));
    is_text(v, "agent", "k3");
    is_text(v, "path", "grid7/\"a\"\n.mrc");
    is_text(v, "output", "keep");
    is_text(v, "state", "receiving");
    is_int(v, "durable_slabs", 2);
    is_int(v, "slabs", 0); /* not known yet */
    is_int(v, "durable_bytes", 2 * (int64_t)MR_SLAB_BYTES);
    int64_t age_ms = -1;
    ck_assert_int_eq(mr_json_need_int(v, "age_ms", 0, INT64_MAX, &age_ms, NULL), 0);
    ck_assert_uint_eq(mr_json_count(v), 9);
    mr_json_free(json);
    done();
}
END_TEST

/* ---- the rest ---- */

static int ask(void *ctx, uint64_t *ret_free, uint64_t *ret_total)
{
    (void)ctx;
    *ret_free = 99;
    *ret_total = 1000;
    return 0;
}

static void never(void *ctx)
{
    (void)ctx;
    ck_abort_msg("nothing is broken");
}

static void one_event(struct rig *rig, const char *id)
{
    const struct mr_event e = {.type = MR_EVENT_AGENT_ONLINE, .id = id, .source = "/millrace/t"};
    char *text;
    size_t bytes;
    uint64_t number;
    ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
    ck_assert_int_eq(mr_eventlog_append(rig->eventlog, text, bytes, &number, NULL), 0);
    ck_assert_int_eq(mr_eventlog_sync(rig->eventlog, NULL), 0);
    free(text);
}

enum { LANES = 2 };

static struct rig rig;
static struct mr_link *hub;
static struct mr_lane *lanes[LANES];
static struct mr_queue *news, *answers;
static struct mr_status_parts parts;

/* Every stage of a server, none of them running; lane i has 2 + i buffers. */
static void make(void)
{
    struct mr_err err = {0};
    rig_make(&rig);
    parts = (struct mr_status_parts){.name = "storage1",
                                     .root = "/data/store",
                                     .started_ns = mr_clock_monotonic_ns() - MR_NS_PER_S,
                                     .lanes = lanes,
                                     .lane_count = LANES,
                                     .eventlog = rig.eventlog};
    ck_assert_int_eq(mr_link_new(1, &hub), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_lane_news), 4, &news), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(struct mr_seal_answer), 4, &answers), 0);
    ck_assert_int_eq(mr_space_new(ask, NULL, 1000, &parts.space), 0);
    ck_assert_int_eq(mr_seal_new(&rig.commit, rig.seal_jobs, answers, never, NULL, &parts.seal), 0);
    for (uint16_t i = 0; i < LANES; i++) {
        const struct mr_lane_config c = {.index = i,
                                         .lanes = LANES,
                                         .buffers = 2u + i,
                                         .endpoint = "tcp://127.0.0.1:*",
                                         .news = news,
                                         .landing.uring.force_pwrite_pool = true};
        ck_assert_int_eq(mr_lane_new(hub, &c, &lanes[i], &err), 0);
    }
    const struct mr_control_config config = {.endpoint = "tcp://127.0.0.1:*",
                                             .intake = {.lanes = LANES,
                                                        .lane_budget = MR_SLAB_COST_MAX,
                                                        .heartbeat_ms = 1000,
                                                        .movies_max = 1},
                                             .lanes = lanes,
                                             .store = &rig.store,
                                             .space = parts.space,
                                             .news = news};
    ck_assert_msg(mr_control_new(hub, &config, &parts.control, &err) == 0, "%s", err.text);
}

static void take_down(void)
{
    mr_control_free(parts.control);
    for (size_t i = 0; i < LANES; i++)
        mr_lane_free(lanes[i]);
    mr_seal_free(parts.seal);
    mr_space_free(parts.space);
    mr_queue_free(news);
    mr_queue_free(answers);
    mr_link_free(hub);
    rig_end(&rig);
}

START_TEST(all_of_a_server)
{
    static const char *const zero[] = {"received_slabs", "received_bytes", "raw_bytes",
                                       "durable_slabs",  "stale_slabs",    "damaged_slabs"};
    static const char *const none[] = {"committed", "failed", "discarded", "known",
                                       "last_commit_ms"};
    make();
    one_event(&rig, "a");
    one_event(&rig, "b");
    struct mr_buffer *held = mr_pool_try_get(mr_lane_pool(lanes[1]));
    struct mr_json *json = parsed(mr_status_text(&parts));
    mr_pool_put(held);
    is_text(json, "server", "storage1");
    is_text(json, "version", MILLRACE_VERSION);
    is_text(json, "root", "/data/store");
    int64_t uptime_ms = 0;
    ck_assert_int_eq(mr_json_need_int(json, "uptime_ms", 1000, INT64_MAX, &uptime_ms, NULL), 0);
    is_int(json, "last_event", 2);
    const struct mr_json *store = mr_json_get(json, "store");
    is_bool(store, "paused", true);
    is_int(store, "free_bytes", 99);
    is_int(store, "total_bytes", 1000);
    is_int(store, "keep_free_bytes", 100);
    for (size_t i = 0; i < LANES; i++) {
        const struct mr_json *lane = item(json, "lanes", LANES, i);
        for (size_t k = 0; k < 6; k++)
            is_int(lane, zero[k], 0);
        is_int(lane, "buffers", 2 + (int64_t)i);
        is_int(lane, "buffers_free", 2);
        is_text(lane, "engine", "pwrite");
    }
    for (size_t k = 0; k < 5; k++)
        is_int(json, none[k], 0);
    (void)item(json, "sessions", 0, 0);
    (void)item(json, "movies", 0, 0);
    mr_json_free(json);
    take_down();
}
END_TEST

MR_SUITE("status", T(nobody_and_nothing), T(a_session_and_its_movie), T(all_of_a_server))
