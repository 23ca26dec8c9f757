/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane's landing: slabs in, writes to the engine, completions to the movie's strip, which keeps
 * the order landing.h promises. Items come from a fixed table; one holds its buffer until its write
 * completed and its place in a group until it is durable or dropped. Does not receive, verify or
 * decide where BYTES and STREAM slabs lie; sends no acks.
 */
#include "landing.h"

#include "base/clock.h"
#include "base/recordlog.h"
#include "strip.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct mr_landing {
    struct mr_strip_shared shared;
    struct mr_item *items;
    struct mr_item_list waiting; /* put, but the engine had no room yet */
    TAILQ_HEAD(, mr_strip) strips;
    int64_t deadline_ns;
};

static void reap(struct mr_landing *l, int64_t now_ns)
{
    struct mr_uring_done done[32];
    const size_t capacity = sizeof(done) / sizeof(done[0]);
    size_t count;
    do {
        count = mr_uring_reap(l->shared.engine, done, capacity);
        for (size_t i = 0; i < count; i++)
            mr_strip_done(&l->shared, &done[i], now_ns);
    } while (count == capacity);
}

static int start_writes(struct mr_landing *l)
{
    struct mr_item *item;
    while ((item = STAILQ_FIRST(&l->waiting)) != NULL) {
        struct mr_strip *strip = item->strip;
        struct mr_uring_write w = {.fd = strip->part_fd,
                                   .alignment = strip->movie->alignment,
                                   .data = item->buffer->data,
                                   .bytes = item->padded_bytes,
                                   .offset = item->placement.offset};
        bool dropped = mr_strip_is_dropped(strip);
        int r = dropped ? 0 : mr_uring_write(l->shared.engine, &w, mr_strip_token(item));
        if (r != 0)
            return r == -EAGAIN ? 0 : r;
        STAILQ_REMOVE_HEAD(&l->waiting, link);
        if (dropped)
            mr_strip_drop_item(&l->shared, item);
    }
    return 0;
}

static void remove_strip(struct mr_landing *l, struct mr_strip *strip)
{
    TAILQ_REMOVE(&l->strips, strip, link);
    mr_strip_close(strip);
}

static void finish_detach(struct mr_landing *l, struct mr_strip *strip)
{
    if (!strip->detaching || !mr_strip_is_idle(strip))
        return;
    l->shared.callbacks.detached(l->shared.callbacks.ctx, strip->movie);
    remove_strip(l, strip);
}

static int64_t earliest_deadline(const struct mr_landing *l)
{
    int64_t earliest = INT64_MAX;
    const struct mr_strip *strip;
    TAILQ_FOREACH(strip, &l->strips, link)
    {
        int64_t at = mr_strip_deadline_ns(&l->shared, strip);
        earliest = at < earliest ? at : earliest;
    }
    return earliest;
}

int mr_landing_step(struct mr_landing *l, int64_t now_ns)
{
    reap(l, now_ns);
    int r = 0;
    struct mr_strip *strip, *following;
    for (strip = TAILQ_FIRST(&l->strips); strip != NULL && r == 0; strip = TAILQ_NEXT(strip, link))
        r = mr_strip_advance(&l->shared, strip, now_ns); /* syncs before writes: they free more */
    if (r == 0)
        r = start_writes(l);
    if (r == 0)
        r = mr_uring_submit(l->shared.engine);
    if (r != 0 && r != -EAGAIN)
        return r;
    for (strip = TAILQ_FIRST(&l->strips); strip != NULL; strip = following) {
        following = TAILQ_NEXT(strip, link);
        finish_detach(l, strip);
    }
    l->deadline_ns = r == -EAGAIN ? now_ns + MR_NS_PER_MS : earliest_deadline(l);
    return 0;
}

/* ---- the lane's calls ---- */

static struct mr_strip *find(const struct mr_landing *l, const struct mr_movie *movie)
{
    struct mr_strip *strip;
    TAILQ_FOREACH(strip, &l->strips, link)
    {
        if (strip->movie == movie)
            return strip;
    }
    return NULL;
}

int mr_landing_attach(struct mr_landing *l, struct mr_movie *movie, struct mr_err *err)
{
    if (find(l, movie) != NULL)
        return mr_err_set(err, -EEXIST, "%s: already attached", movie->part_name);
    struct mr_strip *strip;
    int r = mr_strip_open(movie, err, &strip);
    if (r != 0)
        return r;
    TAILQ_INSERT_TAIL(&l->strips, strip, link);
    return 0;
}

int mr_landing_detach(struct mr_landing *l, struct mr_movie *movie)
{
    struct mr_strip *strip = find(l, movie);
    if (strip == NULL || strip->detaching)
        return -ENOENT;
    strip->detaching = true;
    finish_detach(l, strip);
    return 0;
}

static bool fits(const struct mr_movie *movie, const struct mr_placement *p, size_t padded_bytes,
                 const struct mr_buffer *buffer)
{
    if (mr_placement_check(p) != 0 || padded_bytes > buffer->capacity)
        return false;
    return !movie->direct ||
           ((uintptr_t)buffer->data % movie->alignment == 0 && p->offset % movie->alignment == 0);
}

int mr_landing_put(struct mr_landing *l, struct mr_movie *movie, const struct mr_placement *p,
                   struct mr_buffer *buffer)
{
    struct mr_strip *strip = find(l, movie);
    if (strip == NULL || strip->detaching)
        return -ENOENT;
    if (mr_strip_is_dropped(strip)) {
        mr_pool_put(buffer);
        return 0;
    }
    bool claims = movie->geometry.layout == MR_LAYOUT_CHUNKS;
    struct mr_placement placed = *p;
    placed.offset = claims ? 0 : p->offset;
    size_t padded = mr_movie_padded(movie, placed.stored_bytes);
    if (!fits(movie, &placed, padded, buffer))
        return -EINVAL;
    struct mr_item *item = mr_strip_take_item(&l->shared);
    if (item == NULL)
        return -EAGAIN;
    item->strip = strip;
    if (claims)
        placed.offset = mr_movie_claim(movie, placed.stored_bytes);
    item->placement = placed;
    item->buffer = buffer;
    item->padded_bytes = padded;
    memset(buffer->data + placed.stored_bytes, 0, padded - placed.stored_bytes);
    mr_movie_allocate_ahead(movie, placed.offset + padded);
    STAILQ_INSERT_TAIL(&l->waiting, item, link);
    strip->writing++;
    return 0;
}

uint32_t mr_landing_room(const struct mr_landing *l)
{
    return l->shared.spare_count;
}

int mr_landing_fd(const struct mr_landing *l)
{
    return mr_uring_fd(l->shared.engine);
}

int64_t mr_landing_next_deadline_ns(const struct mr_landing *l)
{
    return l->deadline_ns;
}

const char *mr_landing_engine(const struct mr_landing *l)
{
    return mr_uring_name(l->shared.engine);
}

/* ---- birth and death ---- */

static void take_defaults(struct mr_landing_config *c)
{
    c->uring.depth = c->uring.depth > 0 ? c->uring.depth : MR_LANDING_DEPTH;
    c->group_bytes = c->group_bytes > 0 ? c->group_bytes : MR_LANDING_GROUP_BYTES;
    c->group_ms = c->group_ms > 0 ? c->group_ms : MR_LANDING_GROUP_MS;
    c->group_slabs = c->group_slabs > 0 ? c->group_slabs : MR_LANDING_GROUP_SLABS;
    c->slabs = c->slabs > 0 ? c->slabs : MR_LANDING_SLABS;
    c->append = c->append != NULL ? c->append : mr_recordlog_append;
}

static int allocate(struct mr_landing *l)
{
    l->items = calloc(l->shared.config.slabs, sizeof(*l->items));
    l->shared.durable = calloc(l->shared.config.group_slabs, sizeof(*l->shared.durable));
    l->shared.lines = calloc(l->shared.config.group_slabs, MR_STRIP_LINE_BYTES);
    if (l->items == NULL || l->shared.durable == NULL || l->shared.lines == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < l->shared.config.slabs; i++)
        mr_strip_spare_item(&l->shared, &l->items[i]);
    return 0;
}

int mr_landing_new(const struct mr_landing_config *config,
                   const struct mr_landing_callbacks *callbacks, struct mr_err *notice,
                   struct mr_landing **ret)
{
    struct mr_landing *l = calloc(1, sizeof(*l));
    if (l == NULL) {
        mr_uring_close(config->engine);
        return mr_err_errno(notice, -ENOMEM, "landing");
    }
    l->shared.config = *config;
    l->shared.callbacks = *callbacks;
    l->shared.engine = config->engine;
    l->deadline_ns = INT64_MAX;
    STAILQ_INIT(&l->shared.spare);
    STAILQ_INIT(&l->waiting);
    TAILQ_INIT(&l->strips);
    take_defaults(&l->shared.config);
    int r = allocate(l);
    if (r != 0)
        r = mr_err_errno(notice, r, "landing");
    else if (l->shared.engine == NULL)
        r = mr_uring_open(&l->shared.config.uring, notice, &l->shared.engine);
    if (r != 0) {
        mr_landing_free(l);
        return r;
    }
    *ret = l;
    return 0;
}

void mr_landing_free(struct mr_landing *l)
{
    if (l == NULL)
        return;
    mr_uring_close(l->shared.engine); /* first: the kernel reads from the buffers until then */
    for (uint32_t i = 0; l->items != NULL && i < l->shared.config.slabs; i++) {
        if (l->items[i].buffer != NULL)
            mr_pool_put(l->items[i].buffer);
    }
    struct mr_strip *strip;
    while ((strip = TAILQ_FIRST(&l->strips)) != NULL)
        remove_strip(l, strip);
    free(l->items);
    free(l->shared.durable);
    free(l->shared.lines);
    free(l);
}
