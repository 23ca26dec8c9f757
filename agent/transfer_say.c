/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent says next, one message a call. Reads no message and picks no slab. */
#include "base/clock.h"
#include "base/crc64.h"
#include "transfer_state.h"

#include <assert.h>
#include <string.h>

/* Of one that was opened as whole, read and sent is enough: its COMMITTED is its ACK, too. That it
 * was read at an earlier time is not: it may be unreadable when it is to be sent again. */
static bool every_slab_finished(struct movie *m)
{
    mr_transfer_advance_cursor(m);
    if (m->window.cursor < m->end.slabs)
        return false;
    if (m->open.whole)
        return m->end.slabs == 0 || mr_window_finished(&m->window, 0) ||
               (m->packed && mr_window_summed(&m->window, 0));
    if (m->window.durable < m->end.slabs)
        return false;
    for (uint64_t i = 0; i < m->end.slabs; i++)
        if (!mr_window_finished(&m->window, i))
            return false;
    return true;
}

/* Fills in what only the windows know: the digests, combined from the slabs' own. */
static void total_up(struct movie *m)
{
    struct mr_end *end = &m->end;
    end->movie = m->open.movie;
    end->generation = m->generation;
    end->crc_file = end->crc_pixels = 0;
    for (uint64_t i = 0; i < end->slabs; i++) {
        struct mr_span span;
        mr_slab_span(&m->open.geometry, &end->extent, i, &span);
        if (m->open.geometry.layout == MR_LAYOUT_BYTES)
            end->crc_file = mr_crc64_combine(end->crc_file, m->window.crc_raw[i], span.raw_bytes);
        end->crc_pixels =
            mr_crc64_combine(end->crc_pixels, m->window.crc_pixels[i], span.pixel_bytes);
    }
}

static bool say_abandon(struct movie *m, struct mr_message *ret)
{
    if (!m->send_abandon || m->state == ABANDONING || m->state == HELD)
        return false; /* HELD: the server cannot be asked yet */
    ret->type = MR_ABANDON;
    ret->abandon.movie = m->open.movie;
    m->state = ABANDONING;
    return true;
}

static bool say_end(const struct mr_transfer *t, struct movie *m, struct mr_message *ret)
{
    if (m->state != LIVE || !m->complete || m->send_fail || !every_slab_finished(m))
        return false;
    total_up(m);
    if (t->ops.unchanged != NULL && !t->ops.unchanged(t->ops.ctx, m->owner, &m->end)) {
        m->send_abandon = true;
        return say_abandon(m, ret);
    }
    ret->type = MR_END;
    ret->end = m->end;
    m->state = ENDED;
    return true;
}

static bool say_open(struct movie *m, struct mr_message *ret)
{
    if (m->state != QUEUED)
        return false;
    ret->type = MR_OPEN;
    ret->open = m->open;
    m->state = OPENING;
    return true;
}

static bool say_fail(struct movie *m, struct mr_message *ret)
{
    if (!m->send_fail || m->state != LIVE || !(m->unreadable || every_slab_finished(m)))
        return false;
    ret->type = MR_FAIL;
    ret->fail = (struct mr_fail){
        .movie = m->open.movie, .generation = m->generation, .extent = m->end.extent};
    memcpy(ret->fail.text, m->reason, sizeof(m->reason));
    m->state = FAILING;
    return true;
}

static bool say_of_movies(struct mr_transfer *t, int64_t now_ns, struct mr_message *ret)
{
    for (struct movie *m = t->awake.first; m != NULL; m = m->next) {
        if (m->state == HELD && now_ns >= m->held_until_ns)
            m->state = QUEUED;
        if (say_abandon(m, ret) || say_open(m, ret) || say_fail(m, ret) || say_end(t, m, ret)) {
            mr_transfer_rest(t, m);
            return true;
        }
    }
    return false;
}

static void return_idle_credit(struct mr_transfer *t, int64_t now_ns)
{
    for (uint16_t i = 0; i < t->welcome.lanes; i++) {
        struct lane_credit *lane = &t->lanes[i];
        if (lane->wanted && lane->reserved == 0 &&
            now_ns - lane->needed_ns > t->config.idle_credit_ns) {
            lane->returned = lane->granted - lane->spent;
            lane->wanted = false;
            t->demand_due = true;
        }
    }
}

static bool say_demand(struct mr_transfer *t, struct mr_message *ret)
{
    if (!t->demand_due)
        return false;
    ret->type = MR_DEMAND;
    ret->demand = (struct mr_demand){.lanes = t->welcome.lanes};
    for (uint16_t i = 0; i < t->welcome.lanes; i++) {
        ret->demand.wanted[i] = t->lanes[i].wanted;
        ret->demand.returned[i] = t->lanes[i].returned;
    }
    t->demand_due = false;
    return true;
}

static bool say_ping(struct mr_transfer *t, int64_t now_ns, int64_t real_ns, struct mr_message *ret)
{
    bool due = now_ns - t->pinged_ns >= t->welcome.heartbeat_ms * MR_NS_PER_MS;
    if (!t->pong_due && !due)
        return false;
    t->pinged_ns = now_ns;
    ret->type = t->pong_due ? MR_PONG : MR_PING;
    ret->ping.token = t->pong_due ? t->pong_token : ++t->ping_token;
    ret->ping.real_ns = real_ns;
    ret->ping.backlog = t->backlog;
    ret->ping.packing = t->packing;
    t->pong_due = false;
    return true;
}

static bool say_confirm(struct mr_transfer *t, struct mr_message *ret)
{
    if (!t->confirm_due)
        return false;
    ret->type = MR_CONFIRM;
    ret->confirm = t->confirm;
    t->confirm_due = false;
    return true;
}

static bool say_ready(struct mr_transfer *t, int64_t now_ns, int64_t real_ns,
                      struct mr_message *ret)
{
    return_idle_credit(t, now_ns);
    if (say_demand(t, ret) || say_of_movies(t, now_ns, ret) || say_confirm(t, ret) ||
        say_ping(t, now_ns, real_ns, ret))
        return true;
    if (!t->bye_due)
        return false;
    ret->type = MR_BYE;
    ret->bye = (struct mr_bye){.code = MR_REASON_STOPPING, .text = "agent stops"};
    t->state = CLOSED;
    return true;
}

bool mr_transfer_next_control(struct mr_transfer *t, int64_t now_ns, int64_t real_ns,
                              struct mr_message *ret)
{
    if (t->state == CONNECTED) {
        ret->type = MR_HELLO;
        ret->hello = t->config.hello;
        ret->hello.epoch = t->epoch;
        ret->hello.real_ns = real_ns;
        t->state = GREETED;
    } else if (t->state != READY || !say_ready(t, now_ns, real_ns, ret)) {
        return false;
    }
    assert((mr_message_from(ret->type) & MR_FROM_AGENT) != 0);
    assert((mr_message_needs(ret->type) & ~t->welcome.abilities) == 0);
    ret->session = t->session;
    ret->sequence = ++t->sent_sequence;
    return true;
}
