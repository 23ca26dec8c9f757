/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Session, movies, windows and credit at the agent. Decides what is said and which slab is read
 * next; does not read files, pack slabs or touch sockets, and asks nobody for the time.
 */
#include "transfer.h"

#include "base/clock.h"
#include "base/crc64.h"
#include "window.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum movie_state {
    QUEUED, /* OPEN is to be sent */
    OPENING,
    LIVE,  /* OPENED: slabs go */
    ENDED, /* END sent */
    HELD,  /* until held_until_ns, then QUEUED */
    FAILING,
    ABANDONING,
};

struct movie {
    struct movie *next;
    void *owner;
    struct mr_open open;
    enum movie_state state;
    uint32_t generation;
    int64_t held_until_ns;
    uint64_t settled_from, settled_to;
    bool complete, send_fail, unreadable, send_abandon;
    struct mr_end end; /* once complete */
    char reason[MR_TEXT_MAX];
    struct mr_window window;
};

struct lane_credit {
    uint64_t granted, spent, reserved, returned; /* bytes, totals but for reserved */
    bool wanted;
    int64_t last_pick_ns;
};

enum session_state { DOWN, CONNECTED, GREETED, READY, CLOSED };

struct mr_transfer {
    struct mr_transfer_config config;
    struct mr_transfer_ops ops;
    enum session_state state;
    uint64_t session, epoch;
    uint32_t sent_sequence, heard_sequence;
    int64_t heard_ns, sent_ns, progress_ns;
    struct mr_welcome welcome;
    struct lane_credit lanes[MR_LANES_MAX];
    bool demand_due, pong_due, bye_due;
    uint64_t pong_token, ping_token;
    uint64_t in_flight;   /* slabs, all movies */
    struct movie *movies; /* in the order they were added */
    size_t count;
};

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

static struct movie *find_owner(const struct mr_transfer *t, const void *owner)
{
    struct movie *m = t->movies;
    while (m != NULL && m->owner != owner)
        m = m->next;
    return m;
}

static struct movie *find_id(const struct mr_transfer *t, const struct mr_ulid *id)
{
    struct movie *m = t->movies;
    while (m != NULL && !mr_ulid_equal(&m->open.movie, id))
        m = m->next;
    return m;
}

static void remove_movie(struct mr_transfer *t, struct movie *m)
{
    struct movie **at = &t->movies;
    while (*at != m)
        at = &(*at)->next;
    *at = m->next;
    t->count--;
    t->in_flight -= m->window.in_flight;
    movie_free(m);
}

/* ---- session ----------------------------------------------------------------------------------
 */

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

/* ---- what the server says ----------------------------------------------------------------------
 */

static int receive_welcome(struct mr_transfer *t, const struct mr_message *m, struct mr_err *err)
{
    if (t->state != GREETED)
        return mr_err_set(err, -EPROTO, "WELCOME without HELLO");
    if (m->welcome.version < t->config.hello.version_min ||
        m->welcome.version > t->config.hello.version_max)
        return mr_err_set(err, -EPROTO, "server chose protocol version %u", m->welcome.version);
    t->welcome = m->welcome;
    t->session = m->session;
    t->state = READY;
    return 0;
}

static int apply_ranges(struct mr_transfer *t, struct movie *m, const uint8_t *ranges,
                        uint32_t count, struct mr_err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        struct mr_range range = mr_message_range(ranges, i);
        if (range.count > MR_SLABS_MAX || range.first > MR_SLABS_MAX - range.count)
            return mr_err_set(err, -EPROTO, "durable slabs out of range");
        int r = mr_window_reserve(&m->window, range.first + range.count);
        if (r < 0)
            return mr_err_errno(err, r, "durable slabs");
        for (uint64_t slab = range.first; slab < range.first + range.count; slab++) {
            uint64_t before = m->window.in_flight;
            mr_window_set_durable(&m->window, slab);
            t->in_flight -= before - m->window.in_flight;
        }
    }
    return 0;
}

static int receive_opened(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                          struct mr_err *err)
{
    if (m->state != OPENING)
        return m->state == FAILING || m->state == ABANDONING
                   ? 0
                   : mr_err_set(err, -EPROTO, "OPENED for a movie that was not opened");
    t->in_flight -= m->window.in_flight;
    mr_window_reset(&m->window);
    m->generation = msg->opened.generation;
    int r = apply_ranges(t, m, msg->opened.ranges, msg->opened.range_count, err);
    if (r < 0)
        return r;
    m->state = LIVE;
    t->ops.verdict(t->ops.ctx, m->owner, msg);
    return 0;
}

static int receive_ack(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                       int64_t now_ns, struct mr_err *err)
{
    if (msg->ack.generation != m->generation)
        return 0; /* of a part that was given up meanwhile */
    t->progress_ns = now_ns;
    return apply_ranges(t, m, msg->ack.ranges, msg->ack.range_count, err);
}

static void receive_resend(struct mr_transfer *t, struct movie *m, const struct mr_resend *resend)
{
    if (resend->generation != m->generation || resend->slab >= m->window.capacity)
        return;
    uint64_t before = m->window.in_flight;
    mr_window_unpick(&m->window, resend->slab);
    t->in_flight -= before - m->window.in_flight;
    if (m->state == ENDED)
        m->state = LIVE; /* END is repeated once all slabs are durable again: harmless */
}

static void receive_hold(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                         int64_t now_ns)
{
    t->in_flight -= m->window.in_flight;
    mr_window_reset(&m->window);
    m->state = HELD;
    m->held_until_ns = now_ns + msg->hold.retry_ms * MR_NS_PER_MS;
    t->ops.verdict(t->ops.ctx, m->owner, msg);
}

static void finish(struct mr_transfer *t, struct movie *m, const struct mr_message *msg)
{
    void *owner = m->owner;
    remove_movie(t, m);
    t->ops.verdict(t->ops.ctx, owner, msg);
}

static void receive_credit(struct mr_transfer *t, const struct mr_credit *credit)
{
    for (uint16_t i = 0; i < credit->lanes && i < t->welcome.lanes; i++)
        if (credit->granted[i] > t->lanes[i].granted)
            t->lanes[i].granted = credit->granted[i];
}

static int receive_movie(struct mr_transfer *t, const struct mr_message *msg, int64_t now_ns,
                         struct mr_err *err)
{
    /* every body that names a movie begins with its id */
    struct movie *m = find_id(t, &msg->abandon.movie);
    if (m == NULL)
        return 0; /* finished here already */
    switch ((int)msg->type) {
    case MR_OPENED:
        return receive_opened(t, m, msg, err);
    case MR_ACK:
        return receive_ack(t, m, msg, now_ns, err);
    case MR_RESEND:
        receive_resend(t, m, &msg->resend);
        return 0;
    case MR_HOLD:
        receive_hold(t, m, msg, now_ns);
        return 0;
    default:
        finish(t, m, msg);
        return 0;
    }
}

static int receive_ready(struct mr_transfer *t, const struct mr_message *m, int64_t now_ns,
                         struct mr_err *err)
{
    switch ((int)m->type) {
    case MR_CREDIT:
        receive_credit(t, &m->credit);
        return 0;
    case MR_PING:
        t->pong_due = true;
        t->pong_token = m->ping.token;
        return 0;
    case MR_PONG:
        return 0;
    case MR_OPENED:
    case MR_ACK:
    case MR_RESEND:
    case MR_COMMITTED:
    case MR_HOLD:
    case MR_FAILED:
    case MR_ABANDONED:
        return receive_movie(t, m, now_ns, err);
    default:
        return mr_err_set(err, -EPROTO, "%s is not for an agent", mr_message_name(m->type));
    }
}

int mr_transfer_receive(struct mr_transfer *t, const struct mr_message *m, int64_t now_ns,
                        struct mr_err *err)
{
    if (t->state == DOWN || t->state == CLOSED)
        return 0;
    if (m->type == MR_REFUSED) {
        t->state = CLOSED;
        return mr_err_set(err, -ECONNREFUSED, "server refuses (%s): %s",
                          mr_reason_name(m->refused.code), m->refused.text);
    }
    if (m->sequence != t->heard_sequence + 1)
        return mr_err_set(err, -EPROTO, "control messages lost: %s has number %u after %u",
                          mr_message_name(m->type), m->sequence, t->heard_sequence);
    t->heard_sequence = m->sequence;
    t->heard_ns = now_ns;
    if (m->type == MR_WELCOME)
        return receive_welcome(t, m, err);
    if (t->state != READY || m->session != t->session)
        return mr_err_set(err, -EPROTO, "%s outside a session", mr_message_name(m->type));
    if (m->type == MR_BYE) {
        t->state = CLOSED;
        return mr_err_set(err, -ESHUTDOWN, "server says goodbye: %s", m->bye.text);
    }
    return receive_ready(t, m, now_ns, err);
}

/* ---- what we say -------------------------------------------------------------------------------
 */

static void advance_cursor(struct movie *m)
{
    while (m->window.cursor < m->window.capacity && !mr_window_idle(&m->window, m->window.cursor))
        m->window.cursor++;
}

static bool every_slab_finished(struct movie *m)
{
    advance_cursor(m);
    if (m->window.cursor < m->end.slabs || m->window.durable < m->end.slabs)
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

static bool say_end(struct movie *m, struct mr_message *ret)
{
    if (m->state != LIVE || !m->complete || m->send_fail || !every_slab_finished(m))
        return false;
    total_up(m);
    ret->type = MR_END;
    ret->end = m->end;
    m->state = ENDED;
    return true;
}

static bool say_open(struct movie *m, int64_t now_ns, struct mr_message *ret)
{
    if (m->state == HELD && now_ns >= m->held_until_ns)
        m->state = QUEUED;
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

static bool say_abandon(struct movie *m, struct mr_message *ret)
{
    if (!m->send_abandon || m->state == ABANDONING)
        return false;
    ret->type = MR_ABANDON;
    ret->abandon.movie = m->open.movie;
    m->state = ABANDONING;
    return true;
}

static bool say_of_movies(struct mr_transfer *t, int64_t now_ns, struct mr_message *ret)
{
    for (struct movie *m = t->movies; m != NULL; m = m->next)
        if (say_abandon(m, ret) || say_open(m, now_ns, ret) || say_fail(m, ret) || say_end(m, ret))
            return true;
    return false;
}

static void return_idle_credit(struct mr_transfer *t, int64_t now_ns)
{
    for (uint16_t i = 0; i < t->welcome.lanes; i++) {
        struct lane_credit *lane = &t->lanes[i];
        uint64_t left = lane->granted - lane->spent - lane->reserved - lane->returned;
        if (lane->wanted && lane->reserved == 0 &&
            now_ns - lane->last_pick_ns > t->config.idle_credit_ns) {
            lane->returned += left;
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
    bool idle = now_ns - t->sent_ns >= t->welcome.heartbeat_ms * MR_NS_PER_MS;
    if (!t->pong_due && !idle)
        return false;
    ret->type = t->pong_due ? MR_PONG : MR_PING;
    ret->ping.token = t->pong_due ? t->pong_token : ++t->ping_token;
    ret->ping.real_ns = real_ns;
    t->pong_due = false;
    return true;
}

static bool say_ready(struct mr_transfer *t, int64_t now_ns, int64_t real_ns,
                      struct mr_message *ret)
{
    return_idle_credit(t, now_ns);
    if (say_demand(t, ret) || say_of_movies(t, now_ns, ret) || say_ping(t, now_ns, real_ns, ret))
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
    ret->session = t->session;
    ret->sequence = ++t->sent_sequence;
    t->sent_ns = now_ns;
    return true;
}

/* ---- movies ------------------------------------------------------------------------------------
 */

int mr_transfer_add(struct mr_transfer *t, void *owner, const struct mr_open *open)
{
    assert(find_owner(t, owner) == NULL);
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
    struct movie *m = find_owner(t, owner);
    if (m == NULL || m->complete)
        return;
    m->settled_from = from;
    m->settled_to = to;
}

void mr_transfer_complete(struct mr_transfer *t, void *owner, const struct mr_end *end)
{
    struct movie *m = find_owner(t, owner);
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
    struct movie *m = find_owner(t, owner);
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
    struct movie *m = find_owner(t, owner);
    if (m != NULL)
        m->send_abandon = true;
}

bool mr_transfer_progress(const struct mr_transfer *t, void *owner,
                          struct mr_transfer_progress *ret)
{
    const struct movie *m = find_owner(t, owner);
    if (m == NULL)
        return false;
    *ret = (struct mr_transfer_progress){.durable = m->window.durable,
                                         .in_flight = m->window.in_flight,
                                         .open = m->state == LIVE || m->state == ENDED,
                                         .complete = m->complete};
    return true;
}

/* ---- slabs -------------------------------------------------------------------------------------
 */

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

static bool take_credit(struct mr_transfer *t, struct mr_pick *pick)
{
    struct lane_credit *lane = &t->lanes[pick->lane];
    uint64_t cost = mr_slab_cost(pick->span.raw_bytes);
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
    advance_cursor(m);
    for (uint64_t slab = m->window.cursor; no_credit != all_lanes; slab++) {
        if (!mr_window_idle(&m->window, slab))
            continue;
        if (!slab_settled(m, slab, &ret->span))
            return false;
        fill_pick(t, m, slab, ret);
        uint64_t lane = UINT64_C(1) << ret->lane;
        if (!ret->send || (!(no_credit & lane) && take_credit(t, ret)))
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
    struct movie *m = find_id(t, &pick->movie);
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
    struct movie *m = find_id(t, &pick->movie);
    if (m == NULL || m->generation != pick->generation)
        return;
    uint64_t before = m->window.in_flight;
    mr_window_unpick(&m->window, pick->slab);
    t->in_flight -= before - m->window.in_flight;
}
