/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sync-group state machine: see landing.h for the order it keeps. A slab is an item from a
 * fixed table; it holds its buffer until its write completed and its place in a group until it is
 * durable or dropped. Does not receive, verify or decide where BYTES and STREAM slabs lie; sends no
 * acks.
 */
#include "landing.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/recordlog.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define RECORD_LINE_BYTES (MR_PLACEMENT_TEXT + 32u) /* with recordlog's checksum and newline */

struct item {
    STAILQ_ENTRY(item)
    link; /* in exactly one of: spare, waiting, in flight (none), filling, syncing */
    struct strip *strip;
    struct mr_placement placement;
    struct mr_buffer *buffer; /* NULL once written */
    size_t padded_bytes;
};
STAILQ_HEAD(item_list, item);

enum sync_state {
    SYNC_IDLE,
    SYNC_PART_WANTED,    /* a group is closed, the engine had no room for its fdatasync yet */
    SYNC_PART,           /* fdatasync(part) in flight */
    SYNC_JOURNAL_WANTED, /* lines appended */
    SYNC_JOURNAL,        /* fdatasync(journal) in flight */
};

struct group {
    struct item_list items;
    uint32_t count;
    uint64_t bytes;
};

/* One movie on this lane. */
struct strip {
    TAILQ_ENTRY(strip) link;
    struct mr_movie *movie;  /* a reference */
    int part_fd, journal_fd; /* open files of this lane's own: see mr_landing_attach */
    uint32_t writing;        /* items waiting for the engine or in flight */
    struct group filling;    /* written, not yet being synced */
    int64_t filling_since_ns;
    struct group syncing;
    enum sync_state state;
    bool detaching;
    enum mr_landing_failure failure; /* gravest of this lane's own; 0: none */
};

struct mr_landing {
    struct mr_landing_config config;
    struct mr_landing_callbacks callbacks;
    struct mr_uring *engine;
    struct item *items;
    struct item_list spare, waiting;
    uint32_t spare_count;
    TAILQ_HEAD(, strip) strips;
    struct mr_placement *durable; /* group_slabs of them, for the callback */
    char *lines;                  /* group_slabs x RECORD_LINE_BYTES, for the append */
    int64_t deadline_ns;
};

/* A token is a pointer; its lowest bit tells a strip (sync) from an item (write). */
static uint64_t sync_token(struct strip *strip)
{
    return (uint64_t)(uintptr_t)strip | 1u;
}

const char *mr_landing_failure_name(enum mr_landing_failure what)
{
    return what == MR_LANDING_WRITE ? "write" : what == MR_LANDING_JOURNAL ? "journal" : "fsync";
}

static bool is_dropped(const struct strip *strip)
{
    return mr_movie_is_tainted(strip->movie);
}

static void spare_item(struct mr_landing *l, struct item *item)
{
    if (item->buffer != NULL)
        mr_pool_put(item->buffer);
    item->buffer = NULL;
    STAILQ_INSERT_HEAD(&l->spare, item, link);
    l->spare_count++;
}

static void join(struct group *group, struct item *item)
{
    STAILQ_INSERT_TAIL(&group->items, item, link);
    group->count++;
    group->bytes += item->padded_bytes;
}

static struct item *leave(struct group *group)
{
    struct item *item = STAILQ_FIRST(&group->items);
    STAILQ_REMOVE_HEAD(&group->items, link);
    group->count--;
    group->bytes -= item->padded_bytes;
    return item;
}

static void drop_group(struct mr_landing *l, struct group *group)
{
    while (group->count > 0)
        spare_item(l, leave(group));
}

/* ---- failure ---- */

static const char *doing(enum mr_landing_failure what)
{
    return what == MR_LANDING_WRITE     ? "writing the part"
           : what == MR_LANDING_JOURNAL ? "writing the placement journal"
                                        : "fdatasync of the part";
}

static void fail(struct mr_landing *l, struct strip *strip, int code, enum mr_landing_failure what)
{
    mr_movie_taint(strip->movie);
    if (what <= strip->failure)
        return;
    strip->failure = what;
    char text[256];
    const struct mr_movie *movie = strip->movie;
    const char *name = what == MR_LANDING_JOURNAL ? movie->journal_name : movie->part_name;
    (void)snprintf(text, sizeof(text), "%s: %s: %s", name, doing(what), mr_err_name(code));
    l->callbacks.failed(l->callbacks.ctx, strip->movie, code, what, text);
}

/* ---- the group in sync ---- */

static bool is_due(const struct mr_landing *l, const struct strip *strip, int64_t now_ns)
{
    const struct group *g = &strip->filling;
    return g->count > 0 &&
           (strip->writing == 0 || g->bytes >= l->config.group_bytes ||
            g->count >= l->config.group_slabs ||
            now_ns - strip->filling_since_ns >= (int64_t)l->config.group_ms * MR_NS_PER_MS);
}

static void close_group(const struct mr_landing *l, struct strip *strip)
{
    while (strip->filling.count > 0 && strip->syncing.count < l->config.group_slabs)
        join(&strip->syncing, leave(&strip->filling));
    strip->state = SYNC_PART_WANTED;
}

static int append_records(struct mr_landing *l, struct strip *strip)
{
    size_t at = 0;
    struct item *item;
    STAILQ_FOREACH(item, &strip->syncing.items, link)
    {
        char text[MR_PLACEMENT_TEXT];
        size_t bytes = mr_placement_format(&item->placement, text), line = 0;
        size_t room = (size_t)l->config.group_slabs * RECORD_LINE_BYTES - at;
        int r = mr_recordlog_format(text, bytes, l->lines + at, room, &line);
        if (r != 0)
            return r;
        at += line;
    }
    return l->config.append(strip->journal_fd, l->lines, at);
}

static void report_durable(struct mr_landing *l, struct strip *strip)
{
    size_t count = 0;
    struct item *item;
    STAILQ_FOREACH(item, &strip->syncing.items, link)
    {
        l->durable[count++] = item->placement;
    }
    drop_group(l, &strip->syncing);
    l->callbacks.durable(l->callbacks.ctx, strip->movie, l->durable, count);
}

static void part_synced(struct mr_landing *l, struct strip *strip, int result)
{
    strip->state = SYNC_IDLE;
    if (result != 0) {
        fail(l, strip, result, MR_LANDING_FSYNC);
        return;
    }
    if (is_dropped(strip))
        return;
    int r = append_records(l, strip);
    if (r != 0)
        fail(l, strip, r, MR_LANDING_JOURNAL);
    else
        strip->state = SYNC_JOURNAL_WANTED;
}

static void journal_synced(struct mr_landing *l, struct strip *strip, int result)
{
    strip->state = SYNC_IDLE;
    if (result != 0)
        fail(l, strip, result, MR_LANDING_JOURNAL);
    else if (!is_dropped(strip))
        report_durable(l, strip);
}

/* ---- completions ---- */

static void sync_done(struct mr_landing *l, struct strip *strip, int64_t result)
{
    int code = result > 0 ? -EIO : (int)result;
    assert(strip->state == SYNC_PART || strip->state == SYNC_JOURNAL);
    if (strip->state == SYNC_PART)
        part_synced(l, strip, code);
    else
        journal_synced(l, strip, code);
}

static void write_done(struct mr_landing *l, struct item *item, int64_t result, int64_t now_ns)
{
    struct strip *strip = item->strip;
    strip->writing--;
    mr_pool_put(item->buffer);
    item->buffer = NULL;
    if (result != (int64_t)item->padded_bytes)
        fail(l, strip, result < 0 ? (int)result : -EIO, MR_LANDING_WRITE);
    if (is_dropped(strip)) {
        spare_item(l, item);
        return;
    }
    if (strip->filling.count == 0)
        strip->filling_since_ns = now_ns;
    join(&strip->filling, item);
    if (l->callbacks.landed != NULL)
        l->callbacks.landed(l->callbacks.ctx, strip->movie, &item->placement);
}

static void reap(struct mr_landing *l, int64_t now_ns)
{
    struct mr_uring_done done[32];
    const size_t capacity = sizeof(done) / sizeof(done[0]);
    size_t count;
    do {
        count = mr_uring_reap(l->engine, done, capacity);
        for (size_t i = 0; i < count; i++) {
            uintptr_t token = (uintptr_t)done[i].token;
            if ((token & 1u) != 0)
                sync_done(l, (struct strip *)(token & ~(uintptr_t)1), done[i].result);
            else
                write_done(l, (struct item *)token, done[i].result, now_ns);
        }
    } while (count == capacity);
}

/* ---- moving on ---- */

/* Starts the sync that is wanted. -EAGAIN: the engine is full and will complete something. */
static int start_sync(struct mr_landing *l, struct strip *strip)
{
    if (strip->state != SYNC_PART_WANTED && strip->state != SYNC_JOURNAL_WANTED)
        return 0;
    bool part = strip->state == SYNC_PART_WANTED;
    int fd = part ? strip->part_fd : strip->journal_fd;
    int r = mr_uring_fdatasync(l->engine, fd, sync_token(strip));
    if (r == 0)
        strip->state = part ? SYNC_PART : SYNC_JOURNAL;
    return r == -EAGAIN ? 0 : r;
}

static void drop_all(struct mr_landing *l, struct strip *strip)
{
    drop_group(l, &strip->filling);
    drop_group(l, &strip->syncing);
    if (strip->state == SYNC_PART_WANTED || strip->state == SYNC_JOURNAL_WANTED)
        strip->state = SYNC_IDLE;
}

static int advance(struct mr_landing *l, struct strip *strip, int64_t now_ns)
{
    if (is_dropped(strip))
        drop_all(l, strip);
    else if (strip->state == SYNC_IDLE && is_due(l, strip, now_ns))
        close_group(l, strip);
    return start_sync(l, strip);
}

static int start_writes(struct mr_landing *l)
{
    struct item *item;
    while ((item = STAILQ_FIRST(&l->waiting)) != NULL) {
        struct strip *strip = item->strip;
        struct mr_uring_write w = {.fd = strip->part_fd,
                                   .alignment = strip->movie->direct ? strip->movie->alignment : 1,
                                   .data = item->buffer->data,
                                   .bytes = item->padded_bytes,
                                   .offset = item->placement.offset};
        bool dropped = is_dropped(strip);
        int r = dropped ? 0 : mr_uring_write(l->engine, &w, (uint64_t)(uintptr_t)item);
        if (r != 0)
            return r == -EAGAIN ? 0 : r;
        STAILQ_REMOVE_HEAD(&l->waiting, link);
        if (dropped) {
            strip->writing--;
            spare_item(l, item);
        }
    }
    return 0;
}

static void remove_strip(struct mr_landing *l, struct strip *strip)
{
    TAILQ_REMOVE(&l->strips, strip, link);
    mr_fs_close(&strip->part_fd);
    mr_fs_close(&strip->journal_fd);
    mr_movie_release(strip->movie);
    free(strip);
}

static void finish_detach(struct mr_landing *l, struct strip *strip)
{
    if (!strip->detaching || strip->writing > 0 || strip->state != SYNC_IDLE ||
        strip->filling.count > 0 || strip->syncing.count > 0)
        return;
    l->callbacks.detached(l->callbacks.ctx, strip->movie);
    remove_strip(l, strip);
}

static int64_t earliest_deadline(const struct mr_landing *l)
{
    int64_t earliest = INT64_MAX;
    const struct strip *strip;
    TAILQ_FOREACH(strip, &l->strips, link)
    {
        if (strip->state != SYNC_IDLE || strip->filling.count == 0)
            continue; /* a completion will move it */
        int64_t at = strip->filling_since_ns + (int64_t)l->config.group_ms * MR_NS_PER_MS;
        earliest = at < earliest ? at : earliest;
    }
    return earliest;
}

int mr_landing_step(struct mr_landing *l, int64_t now_ns)
{
    reap(l, now_ns);
    int r = 0;
    struct strip *strip, *following;
    for (strip = TAILQ_FIRST(&l->strips); strip != NULL && r == 0; strip = TAILQ_NEXT(strip, link))
        r = advance(l, strip, now_ns); /* syncs before writes: they free more */
    if (r == 0)
        r = start_writes(l);
    if (r == 0)
        r = mr_uring_submit(l->engine);
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

static struct strip *find(const struct mr_landing *l, const struct mr_movie *movie)
{
    struct strip *strip;
    TAILQ_FOREACH(strip, &l->strips, link)
    {
        if (strip->movie == movie)
            return strip;
    }
    return NULL;
}

static int reopen(int fd, int flags, int *ret)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *ret = open(path, flags | O_WRONLY | O_CLOEXEC);
    return *ret < 0 ? -errno : 0;
}

static void free_strip(struct strip **strip)
{
    if (*strip == NULL)
        return;
    mr_fs_close(&(*strip)->part_fd);
    mr_fs_close(&(*strip)->journal_fd);
    free(*strip);
}

int mr_landing_attach(struct mr_landing *l, struct mr_movie *movie, struct mr_err *err)
{
    if (find(l, movie) != NULL)
        return mr_err_set(err, -EEXIST, "%s: already attached", movie->part_name);
    MR_CLEANUP(free_strip) struct strip *strip = calloc(1, sizeof(*strip));
    if (strip == NULL)
        return mr_err_errno(err, -ENOMEM, "%s", movie->part_name);
    strip->part_fd = strip->journal_fd = -1;
    int r = reopen(movie->part_fd, movie->direct ? O_DIRECT : 0, &strip->part_fd);
    if (r != 0)
        return mr_err_errno(err, r, "%s: opening it for this lane", movie->part_name);
    r = reopen(movie->journal_fd, O_APPEND, &strip->journal_fd);
    if (r != 0)
        return mr_err_errno(err, r, "%s: opening it for this lane", movie->journal_name);
    STAILQ_INIT(&strip->filling.items);
    STAILQ_INIT(&strip->syncing.items);
    mr_movie_hold(movie);
    strip->movie = movie;
    TAILQ_INSERT_TAIL(&l->strips, strip, link);
    strip = NULL;
    return 0;
}

int mr_landing_detach(struct mr_landing *l, struct mr_movie *movie)
{
    struct strip *strip = find(l, movie);
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
    struct strip *strip = find(l, movie);
    if (strip == NULL || strip->detaching)
        return -ENOENT;
    if (is_dropped(strip)) {
        mr_pool_put(buffer);
        return 0;
    }
    bool claims = movie->geometry.layout == MR_LAYOUT_CHUNKS;
    struct mr_placement placed = *p;
    placed.offset = claims ? 0 : p->offset;
    size_t padded = mr_movie_padded(movie, placed.stored_bytes);
    if (!fits(movie, &placed, padded, buffer))
        return -EINVAL;
    struct item *item = STAILQ_FIRST(&l->spare);
    if (item == NULL)
        return -EAGAIN;
    STAILQ_REMOVE_HEAD(&l->spare, link);
    l->spare_count--;
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
    return l->spare_count;
}

int mr_landing_fd(const struct mr_landing *l)
{
    return mr_uring_fd(l->engine);
}

int64_t mr_landing_next_deadline_ns(const struct mr_landing *l)
{
    return l->deadline_ns;
}

const char *mr_landing_engine(const struct mr_landing *l)
{
    return mr_uring_name(l->engine);
}

/* ---- birth and death ---- */

static void take_defaults(struct mr_landing_config *c)
{
    c->uring.depth = c->uring.depth > 0 ? c->uring.depth : 64;
    c->group_bytes = c->group_bytes > 0 ? c->group_bytes : 64ull << 20;
    c->group_ms = c->group_ms > 0 ? c->group_ms : 50;
    c->group_slabs = c->group_slabs > 0 ? c->group_slabs : 256;
    c->slabs = c->slabs > 0 ? c->slabs : 4096;
    c->append = c->append != NULL ? c->append : mr_recordlog_append;
}

static int allocate(struct mr_landing *l)
{
    l->items = calloc(l->config.slabs, sizeof(*l->items));
    l->durable = calloc(l->config.group_slabs, sizeof(*l->durable));
    l->lines = calloc(l->config.group_slabs, RECORD_LINE_BYTES);
    if (l->items == NULL || l->durable == NULL || l->lines == NULL)
        return -ENOMEM;
    for (uint32_t i = 0; i < l->config.slabs; i++)
        spare_item(l, &l->items[i]);
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
    l->config = *config;
    l->callbacks = *callbacks;
    l->engine = config->engine;
    l->deadline_ns = INT64_MAX;
    STAILQ_INIT(&l->spare);
    STAILQ_INIT(&l->waiting);
    TAILQ_INIT(&l->strips);
    take_defaults(&l->config);
    int r = allocate(l);
    if (r != 0)
        r = mr_err_errno(notice, r, "landing");
    else if (l->engine == NULL)
        r = mr_uring_open(&l->config.uring, notice, &l->engine);
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
    mr_uring_close(l->engine); /* first: the kernel reads from the buffers until then */
    for (uint32_t i = 0; l->items != NULL && i < l->config.slabs; i++) {
        if (l->items[i].buffer != NULL)
            mr_pool_put(l->items[i].buffer);
    }
    struct strip *strip;
    while ((strip = TAILQ_FIRST(&l->strips)) != NULL)
        remove_strip(l, strip);
    free(l->items);
    free(l->durable);
    free(l->lines);
    free(l);
}
