/* SPDX-License-Identifier: Apache-2.0 */
/* The words of /v1/status. Decides nothing. */
#include "status.h"

#include "base/clock.h"
#include "base/json.h"

#include <stdlib.h>
#include <string.h>

/* ---- sessions and movies ---- */

static void add_session(void *ctx, const struct mr_intake_session_view *v)
{
    struct mr_json *session = mr_json_object();
    mr_json_put_string(session, "agent", v->hello->name);
    mr_json_put_string(session, "host", v->hello->host);
    mr_json_put_string(session, "software", v->hello->software);
    mr_json_put_bool(session, "push", v->hello->ephemeral);
    mr_json_put_int(session, "movies", (int64_t)v->movies);
    mr_json_put_int(session, "backlog_bytes", (int64_t)v->backlog.bytes);
    mr_json_put_int(session, "backlog_files", (int64_t)v->backlog.files);
    mr_json_put_string(session, "codec", mr_codec_name(v->packing.codec));
    mr_json_put_bool(session, "codec_auto", v->packing.by_itself);
    mr_json_put_int(session, "link_bytes_per_s", (int64_t)v->packing.link_bytes_per_s);
    mr_json_add(ctx, session);
}

static void add_movie(void *ctx, const struct mr_intake_movie_view *v)
{
    char id[MR_ULID_TEXT];
    struct mr_json *movie = mr_json_object();
    struct mr_span span;
    mr_slab_span(&v->open->geometry, NULL, 0, &span);
    mr_json_put_string(movie, "movie", mr_ulid_text(&v->open->movie, id));
    mr_json_put_string(movie, "agent", v->agent);
    mr_json_put_string(movie, "path", v->open->path);
    mr_json_put_string(movie, "output", mr_output_name(v->open->output));
    mr_json_put_string(movie, "state", v->state);
    mr_json_put_int(movie, "durable_slabs", (int64_t)v->durable);
    mr_json_put_int(movie, "slabs", (int64_t)v->slabs);
    mr_json_put_int(movie, "durable_bytes", (int64_t)(v->durable * span.raw_bytes));
    mr_json_put_int(movie, "age_ms", (mr_clock_monotonic_ns() - v->opened_ns) / MR_NS_PER_MS);
    mr_json_add(ctx, movie);
}

char *mr_status_of_intake(const struct mr_intake *in, uint64_t duplicate_slabs)
{
    MR_CLEANUP(mr_json_freep) struct mr_json *json = mr_json_object();
    struct mr_json *sessions = mr_json_array(), *movies = mr_json_array();
    mr_intake_each_session(in, add_session, sessions);
    mr_intake_each_movie(in, add_movie, movies);
    mr_json_put_int(json, "duplicate_slabs", (int64_t)duplicate_slabs);
    mr_json_put(json, "sessions", sessions);
    mr_json_put(json, "movies", movies);
    return mr_json_dump(json);
}

/* ---- the rest ---- */

static void put_lanes(struct mr_json *status, const struct mr_status_parts *p)
{
    struct mr_json *lanes = mr_json_array();
    for (uint16_t i = 0; i < p->lane_count; i++) {
        struct mr_lane_counts n;
        mr_lane_count(p->lanes[i], &n);
        struct mr_json *lane = mr_json_object();
        mr_json_put_int(lane, "received_slabs", (int64_t)n.slabs);
        mr_json_put_int(lane, "received_bytes", (int64_t)n.bytes);
        mr_json_put_int(lane, "raw_bytes", (int64_t)n.raw_bytes);
        mr_json_put_int(lane, "durable_slabs", (int64_t)n.durable);
        mr_json_put_int(lane, "stale_slabs", (int64_t)n.stale);
        mr_json_put_int(lane, "damaged_slabs", (int64_t)n.damaged);
        mr_json_put_int(lane, "buffers", (int64_t)n.buffers);
        mr_json_put_int(lane, "buffers_free", (int64_t)n.buffers_free);
        mr_json_put_string(lane, "engine", mr_lane_engine(p->lanes[i]));
        mr_json_add(lanes, lane);
    }
    mr_json_put(status, "lanes", lanes);
}

static void put_store(struct mr_json *status, struct mr_space *space)
{
    struct mr_space_view v;
    mr_space_view(space, &v);
    struct mr_json *store = mr_json_object();
    mr_json_put_bool(store, "paused", v.paused);
    mr_json_put_int(store, "free_bytes", (int64_t)v.free_bytes);
    mr_json_put_int(store, "total_bytes", (int64_t)v.total_bytes);
    mr_json_put_int(store, "keep_free_bytes", (int64_t)v.keep_bytes);
    mr_json_put(status, "store", store);
}

static void put_seal(struct mr_json *status, struct mr_seal *seal)
{
    struct mr_seal_counts n;
    mr_seal_count(seal, &n);
    mr_json_put_int(status, "committed", (int64_t)n.committed);
    mr_json_put_int(status, "failed", (int64_t)n.failed);
    mr_json_put_int(status, "discarded", (int64_t)n.discarded);
    mr_json_put_int(status, "known", (int64_t)n.known);
    mr_json_put_int(status, "last_commit_ms", n.last_commit_ns / MR_NS_PER_MS);
}

char *mr_status_text(const struct mr_status_parts *p)
{
    char *intake = mr_control_status(p->control);
    MR_CLEANUP(mr_json_freep) struct mr_json *json = NULL;
    if (intake == NULL || mr_json_parse(intake, strlen(intake), &json, NULL) < 0)
        json = mr_json_object();
    free(intake);
    mr_json_put_string(json, "server", p->name);
    mr_json_put_string(json, "version", MILLRACE_VERSION);
    mr_json_put_string(json, "root", p->root);
    mr_json_put_int(json, "uptime_ms", (mr_clock_monotonic_ns() - p->started_ns) / MR_NS_PER_MS);
    put_store(json, p->space);
    put_lanes(json, p);
    put_seal(json, p->seal);
    mr_json_put_int(json, "last_event", (int64_t)mr_eventlog_last(p->eventlog));
    return mr_json_dump(json);
}
