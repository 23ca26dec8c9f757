/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The transfer's life: connection up and down, movies in and out. Does not read files, pack slabs
 * or touch sockets, and asks nobody for the time.
 */
#include "base/clock.h"
#include "transfer_state.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int mr_transfer_new(const struct mr_transfer_config *config, const struct mr_transfer_ops *ops,
                    struct mr_transfer **ret)
{
    struct mr_transfer *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return -ENOMEM;
    t->config = *config;
    t->ops = *ops;
    *ret = t;
    return 0;
}

static void movie_free(struct movie *m)
{
    mr_window_fini(&m->window);
    free(m);
}

void mr_transfer_free(struct mr_transfer *t)
{
    if (t == NULL)
        return;
    for (struct movie *m = t->movies, *next; m != NULL; m = next) {
        next = m->next;
        movie_free(m);
    }
    free(t);
}

struct movie *mr_transfer_find_owner(const struct mr_transfer *t, const void *owner)
{
    struct movie *m = t->movies;
    while (m != NULL && m->owner != owner)
        m = m->next;
    return m;
}

struct movie *mr_transfer_find_id(const struct mr_transfer *t, const struct mr_ulid *id)
{
    struct movie *m = t->movies;
    while (m != NULL && !mr_ulid_equal(&m->open.movie, id))
        m = m->next;
    return m;
}

void mr_transfer_remove(struct mr_transfer *t, struct movie *m)
{
    struct movie **at = &t->movies;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    t->count--;
    t->in_flight -= m->window.in_flight;
    movie_free(m);
}

void mr_transfer_connected(struct mr_transfer *t, uint64_t epoch, int64_t now_ns)
{
    mr_transfer_disconnected(t);
    t->state = CONNECTED;
    t->epoch = epoch;
    t->heard_ns = t->sent_ns = t->progress_ns = now_ns;
}

void mr_transfer_disconnected(struct mr_transfer *t)
{
    t->state = DOWN;
    t->session = 0;
    t->sent_sequence = t->heard_sequence = 0;
    t->demand_due = t->pong_due = t->bye_due = false;
    t->in_flight = 0;
    memset(t->lanes, 0, sizeof(t->lanes));
    for (struct movie *m = t->movies; m != NULL; m = m->next) {
        m->state = QUEUED;
        mr_window_reset(&m->window);
    }
}

bool mr_transfer_ready(const struct mr_transfer *t)
{
    return t->state == READY;
}

const struct mr_welcome *mr_transfer_welcome(const struct mr_transfer *t)
{
    return &t->welcome;
}

uint64_t mr_transfer_session(const struct mr_transfer *t)
{
    return t->session;
}

void mr_transfer_bye(struct mr_transfer *t)
{
    t->bye_due = t->state == READY;
}

size_t mr_transfer_count(const struct mr_transfer *t)
{
    return t->count;
}

int mr_transfer_check(const struct mr_transfer *t, int64_t now_ns, struct mr_err *err)
{
    if (t->state == DOWN || t->state == CLOSED)
        return 0;
    int64_t beat_ns = (t->state == READY ? t->welcome.heartbeat_ms : 3000) * MR_NS_PER_MS;
    if (now_ns - t->heard_ns > 3 * beat_ns)
        return mr_err_set(err, -ETIMEDOUT, "nothing heard for %lld ms",
                          (long long)((now_ns - t->heard_ns) / MR_NS_PER_MS));
    if (t->in_flight > 0 && now_ns - t->progress_ns > t->config.ack_timeout_ns)
        return mr_err_set(err, -ETIMEDOUT, "%llu slabs sent and none acknowledged for %lld ms",
                          (unsigned long long)t->in_flight,
                          (long long)((now_ns - t->progress_ns) / MR_NS_PER_MS));
    return 0;
}

int mr_transfer_add(struct mr_transfer *t, void *owner, const struct mr_open *open)
{
    assert(mr_transfer_find_owner(t, owner) == NULL);
    struct movie *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return -ENOMEM;
    m->owner = owner;
    m->open = *open;
    mr_window_init(&m->window);
    struct movie **at = &t->movies;
    while (*at != NULL)
        at = &(*at)->next;
    *at = m;
    t->count++;
    return 0;
}

void mr_transfer_settled(struct mr_transfer *t, void *owner, uint64_t from, uint64_t to)
{
    struct movie *m = mr_transfer_find_owner(t, owner);
    if (m == NULL || m->complete)
        return;
    m->settled_from = from;
    m->settled_to = to;
}

void mr_transfer_complete(struct mr_transfer *t, void *owner, const struct mr_end *end)
{
    struct movie *m = mr_transfer_find_owner(t, owner);
    if (m == NULL)
        return;
    m->end = *end;
    m->end.slabs = mr_slab_count(&m->open.geometry, &end->extent);
    m->complete = true;
    m->settled_from = 0;
    m->settled_to = end->extent.source_bytes;
    m->window.cursor = 0;
}

void mr_transfer_fail(struct mr_transfer *t, void *owner, const struct mr_extent *extent,
                      const char *text)
{
    struct movie *m = mr_transfer_find_owner(t, owner);
    if (m == NULL)
        return;
    if (extent != NULL)
        mr_transfer_complete(t, owner, &(struct mr_end){.extent = *extent});
    m->unreadable = extent == NULL;
    m->send_fail = true;
    strncpy(m->reason, text, sizeof(m->reason) - 1);
}

void mr_transfer_abandon(struct mr_transfer *t, void *owner)
{
    struct movie *m = mr_transfer_find_owner(t, owner);
    if (m != NULL)
        m->send_abandon = true;
}

bool mr_transfer_progress(const struct mr_transfer *t, void *owner,
                          struct mr_transfer_progress *ret)
{
    const struct movie *m = mr_transfer_find_owner(t, owner);
    if (m == NULL)
        return false;
    *ret = (struct mr_transfer_progress){.durable = m->window.durable,
                                         .in_flight = m->window.in_flight,
                                         .open = m->state == LIVE || m->state == ENDED,
                                         .complete = m->complete};
    return true;
}

uint64_t mr_transfer_in_flight(const struct mr_transfer *t)
{
    return t->in_flight;
}

uint64_t mr_transfer_durable_bytes(const struct mr_transfer *t)
{
    uint64_t bytes = 0;
    for (const struct movie *m = t->movies; m != NULL; m = m->next) {
        struct mr_span span;
        mr_slab_span(&m->open.geometry, NULL, 0, &span);
        bytes += m->window.durable * span.source_bytes;
    }
    return bytes;
}
