/* SPDX-License-Identifier: Apache-2.0 */
/* Which slab is read next, and on what credit. Does not read or pack it. */
#include "transfer_state.h"

#include <assert.h>
#include <errno.h>

static struct lane_credit *lane_of(struct mr_transfer *t, uint64_t slab)
{
    return &t->lanes[slab % t->welcome.lanes];
}

/* Durable, and its checksum known: there is no more to be had of it. */
static void say_shipped(struct mr_transfer *t, struct movie *m, uint64_t slab)
{
    struct mr_span span;
    if (t->ops.shipped == NULL || !mr_window_finished(&m->window, slab))
        return;
    mr_slab_span(&m->open.geometry, NULL, slab, &span);
    t->ops.shipped(t->ops.ctx, m->owner, span.source_offset,
                   span.source_offset + span.source_bytes);
}

/* Bytes of the source in one that is not the last. */
static uint64_t full_slab(const struct movie *m)
{
    struct mr_span span;
    mr_slab_span(&m->open.geometry, NULL, 0, &span);
    return span.source_bytes;
}

static void count_landed(struct mr_transfer *t, const struct movie *m, uint64_t slab)
{
    struct mr_span span;
    mr_slab_span(&m->open.geometry, NULL, slab, &span);
    double share = m->packed_raw > 0 ? (double)m->packed_wire / (double)m->packed_raw : 1;
    t->flow.landed_raw += span.source_bytes;
    t->flow.landed_wire += (uint64_t)((double)span.source_bytes * share);
}

/* Of slabs that are settled as a whole. */
static uint64_t waiting_of(const struct movie *m)
{
    struct mr_span span;
    mr_slab_span(&m->open.geometry, NULL, 0, &span);
    uint64_t settled = m->settled_to > m->settled_from ? m->settled_to - m->settled_from : 0;
    uint64_t durable = m->window.durable * span.source_bytes;
    if (m->state != LIVE || m->open.geometry.layout == MR_LAYOUT_CHUNKS || settled <= durable)
        return 0;
    uint64_t left = settled - durable;
    return m->complete ? left : left / span.source_bytes * span.source_bytes;
}

void mr_transfer_flow(const struct mr_transfer *t, struct mr_transfer_flow *ret)
{
    *ret = t->flow;
    ret->waiting = 0;
    for (const struct movie *m = t->awake.first; m != NULL; m = m->next)
        ret->waiting += waiting_of(m);
}

void mr_transfer_slab_durable(struct mr_transfer *t, struct movie *m, uint64_t slab)
{
    uint64_t before = m->window.in_flight, durable = m->window.durable;
    mr_window_set_durable(&m->window, slab);
    lane_of(t, slab)->in_flight -= before - m->window.in_flight;
    if (m->window.in_flight < before)
        count_landed(t, m, slab);
    if (m->window.durable > durable) {
        t->durable_bytes += full_slab(m);
        say_shipped(t, m, slab);
    }
}

void mr_transfer_slab_unpick(struct mr_transfer *t, struct movie *m, uint64_t slab)
{
    uint64_t before = m->window.in_flight;
    mr_window_unpick(&m->window, slab);
    lane_of(t, slab)->in_flight -= before - m->window.in_flight;
}

void mr_transfer_window_reset(struct mr_transfer *t, struct movie *m)
{
    const uint8_t both = MR_SLAB_PICKED | MR_SLAB_DURABLE;
    uint64_t left = m->window.in_flight;
    for (uint64_t i = 0; left > 0; i++)
        if ((m->window.state[i] & both) == MR_SLAB_PICKED) {
            lane_of(t, i)->in_flight--;
            left--;
        }
    t->durable_bytes -= m->window.durable * full_slab(m);
    mr_window_reset(&m->window);
}

void mr_transfer_advance_cursor(struct movie *m)
{
    while (m->window.cursor < m->window.capacity && !mr_window_idle(&m->window, m->window.cursor))
        m->window.cursor++;
}

/* Is slab n there to be read, as a whole? Its span then goes to ret. */
static bool slab_settled(const struct movie *m, uint64_t slab, struct mr_span *ret)
{
    const struct mr_extent *extent = m->complete ? &m->end.extent : NULL;
    if (m->complete && slab >= m->end.slabs)
        return false;
    mr_slab_span(&m->open.geometry, extent, slab, ret);
    return ret->source_offset >= m->settled_from &&
           ret->source_offset + ret->source_bytes <= m->settled_to;
}

/* Where there is too little for one slab it goes back, so that two agents do not each sit on half a
 * slab's credit while both wait for the other half; the server then grants in whole slabs. */
static void ask_for_credit(struct mr_transfer *t, struct lane_credit *lane)
{
    if (lane->reserved == 0 && lane->returned < lane->granted - lane->spent) {
        lane->returned = lane->granted - lane->spent;
        t->demand_due = true;
    }
    if (!lane->wanted)
        t->demand_due = lane->wanted = true;
}

static bool take_credit(struct mr_transfer *t, struct mr_pick *pick, int64_t now_ns)
{
    struct lane_credit *lane = &t->lanes[pick->lane];
    uint64_t cost = mr_slab_cost(pick->span.raw_bytes);
    lane->needed_ns = now_ns;
    if (lane->granted - lane->spent - lane->reserved - lane->returned < cost) {
        ask_for_credit(t, lane);
        t->lacks_credit = true;
        return false;
    }
    lane->reserved += cost;
    pick->reserved = cost;
    return true;
}

static void fill_pick(const struct mr_transfer *t, const struct movie *m, uint64_t slab,
                      struct mr_pick *ret)
{
    ret->owner = m->owner;
    ret->movie = m->open.movie;
    ret->generation = m->generation;
    ret->slab = slab;
    ret->lane = (uint16_t)(slab % t->welcome.lanes);
    ret->send = slab >= m->window.capacity || !(m->window.state[slab] & MR_SLAB_DURABLE);
    ret->reserved = 0;
    ret->session = t->session;
    ret->opening = m->opening;
}

/* A header that settles last covers the first slabs: pass over them until the movie is complete. */
static void skip_unsettled_head(struct movie *m)
{
    struct mr_span span;
    if (m->complete)
        return;
    for (mr_slab_span(&m->open.geometry, NULL, m->window.cursor, &span);
         span.source_offset < m->settled_from; m->window.cursor++)
        mr_slab_span(&m->open.geometry, NULL, m->window.cursor + 1, &span);
}

static void claim(struct mr_transfer *t, struct movie *m, int64_t now_ns, struct mr_pick *pick)
{
    struct lane_credit *lane = &t->lanes[pick->lane];
    if (pick->send && lane->in_flight++ == 0)
        lane->progress_ns = now_ns;
    mr_window_pick(&m->window, pick->slab);
    m->packed = false;
}

/* Slabs are taken in order; one whose lane has no credit is passed over until every lane was
 * asked. */
static bool pick_of(struct mr_transfer *t, struct movie *m, int64_t now_ns, struct mr_pick *ret)
{
    if (m->state != LIVE || m->unreadable || m->send_abandon || now_ns < m->not_before_ns)
        return false;
    const uint64_t all_lanes = (UINT64_C(2) << (t->welcome.lanes - 1)) - 1;
    uint64_t no_credit = 0;
    skip_unsettled_head(m);
    mr_transfer_advance_cursor(m);
    for (uint64_t slab = m->window.cursor; no_credit != all_lanes; slab++) {
        if (!mr_window_idle(&m->window, slab))
            continue;
        if (!slab_settled(m, slab, &ret->span))
            return false;
        fill_pick(t, m, slab, ret);
        uint64_t lane = UINT64_C(1) << ret->lane;
        if (mr_window_reserve(&m->window, slab + 1) < 0)
            return false;
        if (!ret->send || (!(no_credit & lane) && take_credit(t, ret, now_ns))) {
            claim(t, m, now_ns, ret);
            return true;
        }
        no_credit |= lane;
    }
    return false;
}

bool mr_transfer_pick(struct mr_transfer *t, int64_t now_ns, struct mr_pick *ret)
{
    t->lacks_credit = false;
    if (t->state != READY)
        return false;
    for (int growing = 1; growing >= 0; growing--)
        for (struct movie *m = t->awake.first; m != NULL; m = m->next)
            if (m->complete != growing && pick_of(t, m, now_ns, ret))
                return true;
    return false;
}

bool mr_transfer_lacks_credit(const struct mr_transfer *t)
{
    return t->lacks_credit;
}

/* The movie as it was when the slab was picked; NULL: it has left, or was opened anew meanwhile. */
static struct movie *movie_of_pick(struct mr_transfer *t, const struct mr_pick *pick)
{
    struct movie *m = mr_transfer_find_id(t, &pick->movie);
    return m != NULL && pick->session == t->session && m->opening == pick->opening ? m : NULL;
}

/* It is on its way to the server, whatever became of its movie meanwhile. */
static void spend(struct mr_transfer *t, const struct mr_pick *pick, uint32_t wire_bytes,
                  int64_t now_ns)
{
    struct lane_credit *lane = &t->lanes[pick->lane];
    if (!pick->send || pick->session != t->session)
        return;
    assert(mr_slab_cost(wire_bytes) <= pick->reserved);
    lane->spent += mr_slab_cost(wire_bytes);
    lane->progress_ns = now_ns; /* credit bounds how often: a dead lane is still found */
}

static void give_back(struct mr_transfer *t, const struct mr_pick *pick)
{
    if (pick->session == t->session)
        t->lanes[pick->lane].reserved -= pick->reserved;
}

/* What was read is true whatever became of the session; only a movie that was taken out and added
 * again may have no room for it yet. */
static int sum(struct mr_transfer *t, const struct mr_pick *pick, uint64_t crc_raw,
               uint64_t crc_pixels)
{
    struct movie *m = mr_transfer_find_id(t, &pick->movie);
    if (m == NULL || pick->slab >= m->window.capacity)
        return 0;
    int r = mr_window_sum(&m->window, pick->slab, crc_raw, crc_pixels);
    if (r == 0)
        say_shipped(t, m, pick->slab);
    return r;
}

int mr_transfer_packed(struct mr_transfer *t, const struct mr_pick *pick, uint64_t crc_raw,
                       uint64_t crc_pixels, uint32_t wire_bytes, int64_t now_ns)
{
    struct movie *m = movie_of_pick(t, pick);
    give_back(t, pick);
    spend(t, pick, wire_bytes, now_ns);
    if (m != NULL && pick->send) {
        m->packed_raw += pick->span.raw_bytes;
        m->packed_wire += wire_bytes;
    }
    int r = sum(t, pick, crc_raw, crc_pixels);
    if (r == 0 && (m == NULL || m->state != LIVE || t->state != READY))
        r = -ENOENT;
    if (r < 0 && m != NULL)
        mr_transfer_slab_unpick(t, m, pick->slab);
    else if (r == 0)
        m->packed = true;
    return r;
}

bool mr_transfer_unpick(struct mr_transfer *t, const struct mr_pick *pick, int64_t not_before_ns)
{
    struct movie *m = movie_of_pick(t, pick);
    give_back(t, pick);
    if (m == NULL)
        return false;
    m->not_before_ns = not_before_ns;
    mr_transfer_slab_unpick(t, m, pick->slab);
    return true;
}
