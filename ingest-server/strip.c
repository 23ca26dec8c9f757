/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sync-group state machine of one movie on one lane; landing.h tells the order it keeps. A slab
 * joins the filling group when its write completed, so whatever a group's fdatasync finds is
 * written. Does not start writes and knows no other movie.
 */
#include "strip.h"

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/fs.h"
#include "base/recordlog.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- birth and death ---- */

static int reopen(int fd, int flags, int *ret)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    *ret = open(path, flags | O_CLOEXEC);
    return *ret < 0 ? -errno : 0;
}

int mr_strip_open(struct mr_movie *movie, struct mr_err *err, struct mr_strip **ret)
{
    struct mr_strip *strip = calloc(1, sizeof(*strip));
    if (strip == NULL)
        return mr_err_errno(err, -ENOMEM, "%s", movie->part_name);
    mr_movie_hold(movie);
    strip->movie = movie;
    strip->part_fd = strip->journal_fd = -1;
    STAILQ_INIT(&strip->filling.items);
    STAILQ_INIT(&strip->syncing.items);
    int r = reopen(movie->part_fd, O_WRONLY | (movie->direct ? O_DIRECT : 0), &strip->part_fd);
    if (r != 0)
        mr_err_errno(err, r, "%s: opening it for this lane", movie->part_name);
    else if ((r = reopen(movie->journal_fd, O_RDWR | O_APPEND, &strip->journal_fd)) != 0)
        mr_err_errno(err, r, "%s: opening it for this lane", movie->journal_name);
    if (r != 0) {
        mr_strip_close(strip);
        return r;
    }
    *ret = strip;
    return 0;
}

void mr_strip_close(struct mr_strip *strip)
{
    if (strip == NULL)
        return;
    mr_fs_close(&strip->part_fd);
    mr_fs_close(&strip->journal_fd);
    mr_movie_release(strip->movie);
    free(strip);
}

bool mr_strip_is_idle(const struct mr_strip *strip)
{
    return strip->state == MR_STRIP_IDLE && strip->writing == 0 && strip->filling.count == 0 &&
           strip->syncing.count == 0;
}

bool mr_strip_is_dropped(const struct mr_strip *strip)
{
    return mr_movie_is_tainted(strip->movie);
}

/* ---- items ---- */

struct mr_item *mr_strip_take_item(struct mr_strip_shared *s)
{
    struct mr_item *item = STAILQ_FIRST(&s->spare);
    if (item == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(&s->spare, link);
    s->spare_count--;
    return item;
}

void mr_strip_spare_item(struct mr_strip_shared *s, struct mr_item *item)
{
    assert(s->spare_count < s->config.slabs);
    if (item->buffer != NULL)
        mr_pool_put(item->buffer);
    item->buffer = NULL;
    STAILQ_INSERT_HEAD(&s->spare, item, link);
    s->spare_count++;
}

static void no_longer_writing(struct mr_strip *strip)
{
    assert(strip->writing > 0);
    strip->writing--;
}

void mr_strip_drop_item(struct mr_strip_shared *s, struct mr_item *item)
{
    no_longer_writing(item->strip);
    mr_strip_spare_item(s, item);
}

static void join(struct mr_strip_group *group, struct mr_item *item)
{
    STAILQ_INSERT_TAIL(&group->items, item, link);
    group->count++;
    group->bytes += item->padded_bytes;
}

static struct mr_item *leave(struct mr_strip_group *group)
{
    struct mr_item *item = STAILQ_FIRST(&group->items);
    STAILQ_REMOVE_HEAD(&group->items, link);
    group->count--;
    group->bytes -= item->padded_bytes;
    return item;
}

static void drop_group(struct mr_strip_shared *s, struct mr_strip_group *group)
{
    while (group->count > 0)
        mr_strip_spare_item(s, leave(group));
}

/* ---- failure ---- */

static const char *doing(enum mr_landing_failure what)
{
    return what == MR_LANDING_WRITE     ? "writing the part"
           : what == MR_LANDING_JOURNAL ? "writing the placement journal"
                                        : "fdatasync of the part";
}

static void fail(struct mr_strip_shared *s, struct mr_strip *strip, int code,
                 enum mr_landing_failure what)
{
    mr_movie_taint(strip->movie);
    if (what <= strip->failure)
        return;
    strip->failure = what;
    char text[256];
    const struct mr_movie *movie = strip->movie;
    const char *name = what == MR_LANDING_JOURNAL ? movie->journal_name : movie->part_name;
    (void)snprintf(text, sizeof(text), "%s: %s: %s", name, doing(what), mr_err_name(code));
    s->callbacks.failed(s->callbacks.ctx, strip->movie, code, what, text);
}

/* ---- the group in sync ---- */

int64_t mr_strip_deadline_ns(const struct mr_strip_shared *s, const struct mr_strip *strip)
{
    if (strip->state != MR_STRIP_IDLE || strip->filling.count == 0)
        return INT64_MAX;
    return strip->filling_since_ns + (int64_t)s->config.group_ms * MR_NS_PER_MS;
}

static bool is_due(const struct mr_strip_shared *s, const struct mr_strip *strip, int64_t now_ns)
{
    const struct mr_strip_group *g = &strip->filling;
    return g->count > 0 &&
           (strip->writing == 0 || g->bytes >= s->config.group_bytes ||
            g->count >= s->config.group_slabs || now_ns >= mr_strip_deadline_ns(s, strip));
}

static void close_group(const struct mr_strip_shared *s, struct mr_strip *strip)
{
    assert(strip->syncing.count == 0); /* one that failed was dropped with its movie */
    while (strip->filling.count > 0 && strip->syncing.count < s->config.group_slabs)
        join(&strip->syncing, leave(&strip->filling));
    strip->state = MR_STRIP_PART_WANTED;
}

/* Another lane's append may have been cut short, and that lane not yet come to say so: what is
 * behind a piece of a line is lost with it. */
static int check_own_line(int journal_fd, size_t bytes)
{
    char before;
    off_t start = lseek(journal_fd, 0, SEEK_CUR) - (off_t)bytes; /* the file of this lane alone */
    if (start <= 0)
        return 0;
    ssize_t n;
    do
        n = pread(journal_fd, &before, 1, start - 1);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n == 1 && before == '\n' ? 0 : -EIO;
}

static int append_records(struct mr_strip_shared *s, struct mr_strip *strip)
{
    size_t at = 0;
    struct mr_item *item;
    STAILQ_FOREACH(item, &strip->syncing.items, link)
    {
        char text[MR_PLACEMENT_TEXT];
        size_t bytes = mr_placement_format(&item->placement, text), line = 0;
        size_t room = (size_t)s->config.group_slabs * MR_STRIP_LINE_BYTES - at;
        int r = mr_recordlog_format(text, bytes, s->lines + at, room, &line);
        if (r != 0)
            return r;
        at += line;
    }
    int r = s->config.append(strip->journal_fd, s->lines, at);
    return r == 0 ? check_own_line(strip->journal_fd, at) : r;
}

static void report_durable(struct mr_strip_shared *s, struct mr_strip *strip)
{
    size_t count = 0;
    struct mr_item *item;
    STAILQ_FOREACH(item, &strip->syncing.items, link)
    {
        s->durable[count++] = item->placement;
    }
    drop_group(s, &strip->syncing);
    s->callbacks.durable(s->callbacks.ctx, strip->movie, s->durable, count);
}

static void part_synced(struct mr_strip_shared *s, struct mr_strip *strip, int result)
{
    strip->state = MR_STRIP_IDLE;
    if (result != 0) {
        fail(s, strip, result, MR_LANDING_FSYNC);
        return;
    }
    if (mr_strip_is_dropped(strip))
        return;
    mr_failpoint("group-synced");
    int r = append_records(s, strip);
    mr_failpoint("group-journaled");
    if (r != 0)
        fail(s, strip, r, MR_LANDING_JOURNAL);
    else
        strip->state = MR_STRIP_JOURNAL_WANTED;
}

static void journal_synced(struct mr_strip_shared *s, struct mr_strip *strip, int result)
{
    mr_failpoint("group-durable");
    strip->state = MR_STRIP_IDLE;
    if (result != 0)
        fail(s, strip, result, MR_LANDING_JOURNAL);
    else if (!mr_strip_is_dropped(strip))
        report_durable(s, strip);
}

/* ---- completions ---- */

/* An item's pointer, or a strip's with its lowest bit set, for its fdatasync. */
#define SYNC UINT64_C(1)
_Static_assert(_Alignof(struct mr_item) > SYNC && _Alignof(struct mr_strip) > SYNC,
               "the lowest bit of a pointer is free");

uint64_t mr_strip_token(const struct mr_item *item)
{
    return (uint64_t)(uintptr_t)item;
}

static void sync_done(struct mr_strip_shared *s, struct mr_strip *strip, int64_t result)
{
    int code = result > 0 ? -EIO : (int)result;
    assert(strip->state == MR_STRIP_PART || strip->state == MR_STRIP_JOURNAL);
    if (strip->state == MR_STRIP_PART)
        part_synced(s, strip, code);
    else
        journal_synced(s, strip, code);
}

static void write_done(struct mr_strip_shared *s, struct mr_item *item, int64_t result,
                       int64_t now_ns)
{
    struct mr_strip *strip = item->strip;
    no_longer_writing(strip);
    mr_pool_put(item->buffer);
    item->buffer = NULL;
    if (result != (int64_t)item->padded_bytes)
        fail(s, strip, result < 0 ? (int)result : -EIO, MR_LANDING_WRITE);
    if (mr_strip_is_dropped(strip)) {
        mr_strip_spare_item(s, item);
        return;
    }
    if (strip->filling.count == 0)
        strip->filling_since_ns = now_ns;
    join(&strip->filling, item);
    if (s->callbacks.landed != NULL)
        s->callbacks.landed(s->callbacks.ctx, strip->movie, &item->placement);
}

void mr_strip_done(struct mr_strip_shared *s, const struct mr_uring_done *done, int64_t now_ns)
{
    if ((done->token & SYNC) != 0)
        sync_done(s, (struct mr_strip *)(uintptr_t)(done->token & ~SYNC), done->result);
    else
        write_done(s, (struct mr_item *)(uintptr_t)done->token, done->result, now_ns);
}

/* ---- moving on ---- */

/* Starts the sync that is wanted. -EAGAIN: the engine is full and will complete something. */
static int start_sync(struct mr_strip_shared *s, struct mr_strip *strip)
{
    if (strip->state != MR_STRIP_PART_WANTED && strip->state != MR_STRIP_JOURNAL_WANTED)
        return 0;
    bool part = strip->state == MR_STRIP_PART_WANTED;
    int fd = part ? strip->part_fd : strip->journal_fd;
    int r = mr_uring_fdatasync(s->engine, fd, (uint64_t)(uintptr_t)strip | SYNC);
    if (r == 0)
        strip->state = part ? MR_STRIP_PART : MR_STRIP_JOURNAL;
    return r == -EAGAIN ? 0 : r;
}

static void drop_all(struct mr_strip_shared *s, struct mr_strip *strip)
{
    drop_group(s, &strip->filling);
    drop_group(s, &strip->syncing);
    if (strip->state == MR_STRIP_PART_WANTED || strip->state == MR_STRIP_JOURNAL_WANTED)
        strip->state = MR_STRIP_IDLE;
}

int mr_strip_advance(struct mr_strip_shared *s, struct mr_strip *strip, int64_t now_ns)
{
    if (mr_strip_is_dropped(strip))
        drop_all(s, strip);
    else if (strip->state == MR_STRIP_IDLE && is_due(s, strip, now_ns))
        close_group(s, strip);
    return start_sync(s, strip);
}
