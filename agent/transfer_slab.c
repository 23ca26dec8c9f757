/* SPDX-License-Identifier: Apache-2.0 */
/* Which slab is read next, and on what credit. Does not read or pack it. */
#include "transfer_state.h"

#include <errno.h>

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

static bool take_credit(struct mr_transfer *t, struct mr_pick *pick, int64_t now_ns)
{
    struct lane_credit *lane = &t->lanes[pick->lane];
    uint64_t cost = mr_slab_cost(pick->span.raw_bytes);
    lane->last_pick_ns = now_ns; /* a lane that is waited for is not idle */
    if (lane->granted - lane->spent - lane->reserved - lane->returned < cost) {
        if (!lane->wanted)
            t->demand_due = lane->wanted = true;
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

static bool claim(struct mr_transfer *t, struct movie *m, int64_t now_ns, struct mr_pick *pick)
{
    if (mr_window_reserve(&m->window, pick->slab + 1) < 0)
        return false;
    if (pick->send && t->in_flight++ == 0)
        t->progress_ns = now_ns;
    mr_window_pick(&m->window, pick->slab);
    t->lanes[pick->lane].last_pick_ns = now_ns;
    return true;
}

/* Slabs are taken in order; one whose lane has no credit is passed over until every lane was asked.
 */
static bool pick_of(struct mr_transfer *t, struct movie *m, int64_t now_ns, struct mr_pick *ret)
{
    if (m->state != LIVE || m->unreadable || m->send_abandon)
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
        if (!ret->send || (!(no_credit & lane) && take_credit(t, ret, now_ns)))
            return claim(t, m, now_ns, ret);
        no_credit |= lane;
    }
    return false;
}

bool mr_transfer_pick(struct mr_transfer *t, int64_t now_ns, struct mr_pick *ret)
{
    if (t->state != READY)
        return false;
    for (int growing = 1; growing >= 0; growing--)
        for (struct movie *m = t->movies; m != NULL; m = m->next)
            if (m->complete != growing && pick_of(t, m, now_ns, ret))
                return true;
    return false;
}

int mr_transfer_packed(struct mr_transfer *t, const struct mr_pick *pick, uint64_t crc_raw,
                       uint64_t crc_pixels, uint32_t wire_bytes, int64_t now_ns)
{
    struct movie *m = mr_transfer_find_id(t, &pick->movie);
    if (pick->session != t->session)
        return m == NULL                                                        ? -ENOENT
               : mr_window_sum(&m->window, pick->slab, crc_raw, crc_pixels) < 0 ? -ESTALE
                                                                                : -ENOENT;
    if (pick->send)
        t->lanes[pick->lane].reserved -= pick->reserved;
    if (m == NULL || m->generation != pick->generation || m->state != LIVE)
        return -ENOENT;
    int r = mr_window_sum(&m->window, pick->slab, crc_raw, crc_pixels);
    if (r < 0)
        return r;
    if (!pick->send)
        return 0;
    t->lanes[pick->lane].spent += mr_slab_cost(wire_bytes);
    t->lanes[pick->lane].last_pick_ns = now_ns;
    return 0;
}

void mr_transfer_unpick(struct mr_transfer *t, const struct mr_pick *pick)
{
    if (pick->session != t->session)
        return;
    if (pick->send)
        t->lanes[pick->lane].reserved -= pick->reserved;
    struct movie *m = mr_transfer_find_id(t, &pick->movie);
    if (m == NULL || m->generation != pick->generation)
        return;
    uint64_t before = m->window.in_flight;
    mr_window_unpick(&m->window, pick->slab);
    t->in_flight -= before - m->window.in_flight;
}
