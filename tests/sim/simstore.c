/* SPDX-License-Identifier: Apache-2.0 */
/* Berth and seal of a schedule: late, moody, and strict about what they are asked. */
#include "base/crc64.h"
#include "serverside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct mr_message *new_answer(enum mr_message_type type, const struct mr_ulid *id)
{
    struct mr_message *m = calloc(1, sizeof(*m));
    if (m == NULL)
        abort();
    m->type = type;
    m->abandon.movie = *id; /* every answer begins with it */
    return m;
}

static struct mr_message *new_hold(struct world *w, const struct mr_ulid *id)
{
    struct mr_message *m = new_answer(MR_HOLD, id);
    m->hold.code = MR_REASON_NO_SPACE;
    m->hold.retry_ms = (uint32_t)chance_between(&w->chance, 0, 800);
    return m;
}

static struct mr_message *new_committed(const struct mr_ulid *id)
{
    struct mr_message *m = new_answer(MR_COMMITTED, id);
    m->committed.revision = 1;
    m->committed.sequence = 1;
    snprintf(m->committed.event, sizeof(m->committed.event), "event");
    snprintf(m->committed.path, sizeof(m->committed.path), "/store/movie");
    return m;
}

/* ---- berth: one thread, jobs in order ---- */

static int64_t berth_done_ns(struct serverside *s)
{
    int64_t at_ns = s->world->time.now_ns + chance_between(&s->world->chance, 0, 20) * MS;
    if (world_mishap(s->world, 20))
        at_ns += chance_between(&s->world->chance, 0, 1500) * MS;
    s->berth_ns = at_ns > s->berth_ns ? at_ns : s->berth_ns;
    return s->berth_ns;
}

static void make_berth(struct serverside *s, const struct mr_open *open, struct record *r)
{
    bool resumed = r->state == SHELF_PART;
    if (!resumed)
        shelf_begin(r, &open->geometry);
    struct held *h = calloc(1, sizeof(*h));
    struct mr_movie *movie = mr_movie_new();
    if (h == NULL || movie == NULL)
        abort();
    movie->id = open->movie;
    movie->generation = r->generation;
    movie->geometry = open->geometry;
    movie->codec = open->codec;
    *h = (struct held){.next = s->held,
                       .server = s,
                       .movie = movie,
                       .record = r,
                       .id = open->movie,
                       .generation = r->generation};
    for (const struct held *other = s->held; other != NULL; other = other->next)
        PROMISE(s->world, other->movie == NULL || !mr_ulid_equal(&other->id, &h->id),
                "two berths for one movie");
    s->held = h;
    struct mr_range ranges[WORLD_SLABS];
    size_t count = shelf_ranges(r, ranges);
    mr_intake_berthed(s->intake, movie, resumed, ranges, count, s->world->time.now_ns);
}

static void berth(void *ctx, uint64_t a, void *payload)
{
    struct serverside *s = ctx;
    struct mr_open *open = payload;
    struct record *r = shelf_find_or_add(s->world->shelf, &open->movie);
    struct mr_message *answer = NULL;
    (void)a;
    if (r->state == SHELF_COMMITTED)
        answer = new_committed(&open->movie);
    else if (r->state == SHELF_FAILED)
        answer = new_answer(MR_FAILED, &open->movie);
    else if (world_mishap(s->world, 25))
        answer = new_hold(s->world, &open->movie);
    if (answer != NULL)
        mr_intake_unberthed(s->intake, &open->movie, answer);
    else
        make_berth(s, open, r);
    free(answer);
    free(open);
    serverside_soon(s);
}

void simstore_berth(void *ctx, const struct mr_sender *from, const struct mr_open *open)
{
    struct serverside *s = ctx;
    struct mr_open *copy = malloc(sizeof(*copy));
    if (copy == NULL)
        abort();
    *copy = *open;
    (void)from;
    serverside_in(s, berth_done_ns(s), berth, s, 0, copy);
}

static void let_go(struct serverside *s, struct held *h)
{
    mr_movie_release(h->movie); /* whoever touches it now is found by the sanitizer */
    h->movie = NULL;
    (void)s;
}

static void renew(void *ctx, uint64_t a, void *payload)
{
    struct held *h = ctx;
    struct record *r = h->record;
    (void)payload;
    (void)a;
    if (r->state == SHELF_PART && r->generation == h->generation)
        shelf_begin(r, &r->geometry);
}

void simstore_release(void *ctx, struct mr_movie *movie, bool tainted)
{
    struct serverside *s = ctx;
    struct held *h = serverside_held(s, movie);
    PROMISE(s->world, h != NULL && !h->attached,
            "release of a movie that lanes hold or nobody has");
    let_go(s, h);
    if (tainted)
        serverside_in(s, berth_done_ns(s), renew, h, 0, NULL);
}

/* ---- seal: another thread, jobs in order ---- */

struct seal_job {
    enum mr_finish how;
    struct mr_ulid id;
    struct held *held;
    uint16_t code; /* FAIL */
};

static void check_totals(struct serverside *s, const struct record *r, const struct mr_end *end)
{
    uint64_t crc_file = 0, crc_pixels = 0;
    PROMISE(s->world, end->slabs == mr_slab_count(&r->geometry, &end->extent),
            "commit: slab count");
    for (uint64_t i = 0; i < end->slabs; i++) {
        PROMISE(s->world, r->durable[i], "commit without slab %llu", (unsigned long long)i);
        crc_file = mr_crc64_combine(crc_file, r->crc_raw[i], r->raw_bytes[i]);
        crc_pixels = mr_crc64_combine(crc_pixels, r->crc_pixels[i], r->pixel_bytes[i]);
    }
    if (r->geometry.layout == MR_LAYOUT_BYTES)
        PROMISE(s->world, crc_file == end->crc_file, "END's crc_file is not the slabs'");
    PROMISE(s->world, crc_pixels == end->crc_pixels, "END's crc_pixels is not the slabs'");
}

static void sealed(void *ctx, uint64_t a, void *payload)
{
    static const enum mr_message_type types[] = {
        [MR_FINISH_FAIL] = MR_FAILED, [MR_FINISH_DISCARD] = MR_ABANDONED};
    struct serverside *s = ctx;
    struct seal_job job = *(struct seal_job *)payload;
    struct record *r = shelf_find_or_add(s->world->shelf, &job.id);
    struct mr_message *answer = NULL;
    (void)a;
    free(payload);
    if (r->state == SHELF_COMMITTED) /* an ABANDON that came too late */
        answer = new_committed(&job.id);
    else if (r->state == SHELF_FAILED)
        answer = new_answer(MR_FAILED, &job.id);
    else if (job.how != MR_FINISH_DISCARD && world_mishap(s->world, 15))
        answer = new_hold(s->world, &job.id);
    else if (job.how == MR_FINISH_COMMIT) {
        PROMISE(s->world, ++r->commits == 1, "a movie is committed twice");
        r->state = SHELF_COMMITTED;
        s->world->commits++;
        answer = new_committed(&job.id);
        answer->committed.known = chance_one_in(&s->world->chance, 10);
    } else {
        r->state = job.how == MR_FINISH_FAIL ? SHELF_FAILED : SHELF_NOTHING;
        answer = new_answer(types[job.how], &job.id);
        if (job.how == MR_FINISH_FAIL)
            answer->failed.code = job.code;
    }
    if (job.held != NULL && job.held->movie != NULL)
        let_go(s, job.held);
    TRACE(s->world, "seal: %s", mr_message_name(answer->type));
    mr_intake_finished(s->intake, &job.id, answer);
    free(answer);
    serverside_soon(s);
}

void simstore_finish(void *ctx, enum mr_finish how, const struct mr_sender *from,
                     const struct mr_ulid *id, struct mr_movie *movie, const struct mr_end *end,
                     const struct mr_fail *fail)
{
    struct serverside *s = ctx;
    struct held *h = movie == NULL ? NULL : serverside_held(s, movie);
    struct world *w = s->world;
    (void)from;
    PROMISE(w, movie == NULL || h != NULL, "finish of a movie nobody has");
    PROMISE(w, h == NULL || (!h->attached && mr_ulid_equal(id, &h->id)),
            "finish of a movie that lanes hold");
    PROMISE(w, (how == MR_FINISH_COMMIT) == (end != NULL), "finish: END is for COMMIT");
    PROMISE(w, (how == MR_FINISH_FAIL) == (fail != NULL), "finish: FAIL is for FAIL");
    PROMISE(w, movie != NULL || how == MR_FINISH_DISCARD, "finish: no movie");
    if (how == MR_FINISH_COMMIT)
        check_totals(s, h->record, end);
    if (h != NULL && chance_one_in(&w->chance, 2))
        let_go(s, h); /* seal may be done with it long before control hears of it */
    struct seal_job *job = malloc(sizeof(*job));
    if (job == NULL)
        abort();
    *job = (struct seal_job){.how = how, .id = *id, .held = h, .code = fail ? fail->code : 0};
    int64_t at_ns = w->time.now_ns + chance_between(&w->chance, 0, 60) * MS;
    if (world_mishap(w, 20))
        at_ns += chance_between(&w->chance, 0, 2500) * MS;
    s->seal_ns = at_ns > s->seal_ns ? at_ns : s->seal_ns;
    serverside_in(s, s->seal_ns, sealed, s, 0, job);
}
