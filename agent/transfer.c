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

#define WELCOME_TIMEOUT_NS (30 * MR_NS_PER_S) /* the server drains an older session first */

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

static void wake_all(struct mr_transfer *t)
{
    while (t->resting.first != NULL)
        mr_transfer_wake(t, t->resting.first);
}

void mr_transfer_free(struct mr_transfer *t)
{
    if (t == NULL)
        return;
    wake_all(t);
    while (t->awake.first != NULL) {
        struct movie *m = t->awake.first;
        mr_transfer_list_remove(t, m);
        movie_free(m);
    }
    free(t);
}

void mr_transfer_remove(struct mr_transfer *t, struct movie *m)
{
    mr_transfer_window_reset(t, m);
    mr_transfer_list_remove(t, m);
    movie_free(m);
}

void mr_transfer_connected(struct mr_transfer *t, uint64_t epoch, int64_t now_ns)
{
    mr_transfer_disconnected(t);
    t->state = CONNECTED;
    t->epoch = epoch;
    t->heard_ns = t->pinged_ns = now_ns;
}

void mr_transfer_disconnected(struct mr_transfer *t)
{
    t->state = DOWN;
    t->session = 0;
    t->sent_sequence = t->heard_sequence = 0;
    t->demand_due = t->pong_due = t->bye_due = t->confirm_due = false;
    wake_all(t);
    for (struct movie *m = t->awake.first; m != NULL; m = m->next) {
        m->state = QUEUED;
        mr_transfer_window_reset(t, m);
    }
    memset(t->lanes, 0, sizeof(t->lanes));
}

void mr_transfer_tell_backlog(struct mr_transfer *t, const struct mr_backlog *backlog)
{
    t->backlog = *backlog;
}

void mr_transfer_tell_packing(struct mr_transfer *t, const struct mr_packing *packing)
{
    t->packing = *packing;
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

static int check_acks(const struct mr_transfer *t, int64_t now_ns, struct mr_err *err)
{
    for (uint16_t i = 0; i < t->welcome.lanes; i++) {
        const struct lane_credit *lane = &t->lanes[i];
        if (lane->in_flight > 0 && now_ns - lane->progress_ns > t->config.ack_timeout_ns)
            return mr_err_set(err, -ETIMEDOUT,
                              "lane %u: %llu slabs in flight and none acknowledged for %lld ms", i,
                              (unsigned long long)lane->in_flight,
                              (long long)((now_ns - lane->progress_ns) / MR_NS_PER_MS));
    }
    return 0;
}

int mr_transfer_check(const struct mr_transfer *t, int64_t now_ns, struct mr_err *err)
{
    if (t->state == DOWN || t->state == CLOSED)
        return 0;
    int64_t limit_ns =
        t->state == READY ? 3 * (t->welcome.heartbeat_ms * MR_NS_PER_MS) : WELCOME_TIMEOUT_NS;
    if (now_ns - t->heard_ns > limit_ns)
        return mr_err_set(err, -ETIMEDOUT, "nothing heard for %lld ms",
                          (long long)((now_ns - t->heard_ns) / MR_NS_PER_MS));
    return t->state == READY ? check_acks(t, now_ns, err) : 0;
}

int mr_transfer_add(struct mr_transfer *t, void *owner, const struct mr_open *open)
{
    assert(mr_transfer_find_owner(t, owner) == NULL);
    assert(mr_transfer_find_id(t, &open->movie) == NULL);
    struct movie *m = calloc(1, sizeof(*m));
    if (m == NULL)
        return -ENOMEM;
    m->owner = owner;
    m->open = *open;
    mr_window_init(&m->window);
    mr_transfer_list_add(t, m);
    return 0;
}

bool mr_transfer_has(struct mr_transfer *t, const struct mr_ulid *id)
{
    return mr_transfer_find_id(t, id) != NULL;
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
    mr_transfer_wake(t, m);
    m->end = *end;
    m->end.slabs = mr_slab_count(&m->open.geometry, &end->extent);
    if (m->end.slabs > MR_SLABS_MAX) {
        mr_transfer_fail(t, owner, NULL, "it has more slabs than a movie may have");
        return;
    }
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
    mr_transfer_wake(t, m);
    m->unreadable = extent == NULL;
    m->send_fail = true;
    strncpy(m->reason, text, sizeof(m->reason) - 1);
    if (extent != NULL)
        mr_transfer_complete(t, owner, &(struct mr_end){.extent = *extent});
}

void mr_transfer_abandon(struct mr_transfer *t, void *owner)
{
    struct movie *m = mr_transfer_find_owner(t, owner);
    if (m == NULL)
        return;
    mr_transfer_wake(t, m);
    m->send_abandon = true;
}

int mr_transfer_confirm(struct mr_transfer *t, const struct mr_confirm *confirm)
{
    if (t->state != READY)
        return -ENOTCONN;
    if ((t->welcome.abilities & MR_ABLE_CONFIRM) == 0)
        return -EOPNOTSUPP;
    t->confirm = *confirm;
    t->confirm_due = true;
    return 0;
}

uint64_t mr_transfer_in_flight(const struct mr_transfer *t)
{
    uint64_t slabs = 0;
    for (uint16_t i = 0; i < t->welcome.lanes; i++)
        slabs += t->lanes[i].in_flight;
    return slabs;
}

uint64_t mr_transfer_durable_bytes(const struct mr_transfer *t)
{
    return t->durable_bytes;
}
