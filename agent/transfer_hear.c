/* SPDX-License-Identifier: Apache-2.0 */
/* What the server says, and what it changes. Says nothing itself, picks no slab. */
#include "base/clock.h"
#include "transfer_state.h"

#include <errno.h>

static int receive_welcome(struct mr_transfer *t, const struct mr_message *m, struct mr_err *err)
{
    if (t->state != GREETED)
        return mr_err_set(err, -EPROTO, "WELCOME without HELLO");
    if (m->welcome.version < t->config.hello.version_min ||
        m->welcome.version > t->config.hello.version_max)
        return mr_err_set(err, -EPROTO, "server chose protocol version %u", m->welcome.version);
    if (m->session == 0)
        return mr_err_set(err, -EPROTO, "WELCOME without a session");
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
        for (uint64_t slab = range.first; slab < range.first + range.count; slab++)
            mr_transfer_slab_durable(t, m, slab);
    }
    return 0;
}

/* A part that was tainted may be begun again under a higher generation without being asked. */
static bool opened_is_due(const struct movie *m, const struct mr_opened *opened)
{
    bool renewed = (m->state == LIVE || m->state == ENDED) && opened->generation > m->generation;
    return m->state == OPENING || renewed;
}

/* What a message about one movie does. */
typedef int (*about_movie)(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                           int64_t now_ns, struct mr_err *err);

static int receive_opened(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                          int64_t now_ns, struct mr_err *err)
{
    (void)now_ns;
    if (m->state == FAILING || m->state == ABANDONING)
        return 0; /* it crossed what we said */
    if (!opened_is_due(m, &msg->opened))
        return mr_err_set(err, -EPROTO, "OPENED for a movie that was not opened");
    mr_transfer_wake(t, m);
    mr_transfer_window_reset(t, m);
    m->generation = msg->opened.generation;
    m->opening = ++t->openings;
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
    for (uint32_t i = 0; i < msg->ack.range_count; i++) {
        struct mr_range range = mr_message_range(msg->ack.ranges, i);
        for (uint64_t n = 0; n < range.count && n < t->welcome.lanes; n++)
            t->lanes[(range.first + n) % t->welcome.lanes].progress_ns = now_ns;
    }
    return apply_ranges(t, m, msg->ack.ranges, msg->ack.range_count, err);
}

static int receive_resend(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                          int64_t now_ns, struct mr_err *err)
{
    const struct mr_resend *resend = &msg->resend;
    (void)now_ns, (void)err;
    if (resend->generation != m->generation || resend->slab >= m->window.capacity)
        return 0;
    mr_transfer_slab_unpick(t, m, resend->slab);
    mr_transfer_wake(t, m);
    if (m->state == ENDED)
        m->state = LIVE; /* END is repeated once all slabs are durable again: harmless */
    return 0;
}

static int receive_hold(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                        int64_t now_ns, struct mr_err *err)
{
    (void)err;
    mr_transfer_wake(t, m);
    mr_transfer_window_reset(t, m);
    m->state = HELD;
    m->held_until_ns = now_ns + msg->hold.retry_ms * MR_NS_PER_MS;
    t->ops.verdict(t->ops.ctx, m->owner, msg);
    return 0;
}

static int receive_verdict(struct mr_transfer *t, struct movie *m, const struct mr_message *msg,
                           int64_t now_ns, struct mr_err *err)
{
    (void)err;
    void *owner = m->owner;
    if (m->open.whole) /* its ACK, too */
        t->lanes[0].progress_ns = now_ns;
    mr_transfer_remove(t, m);
    t->ops.verdict(t->ops.ctx, owner, msg);
    return 0;
}

static void receive_credit(struct mr_transfer *t, const struct mr_credit *credit)
{
    for (uint16_t i = 0; i < credit->lanes && i < t->welcome.lanes; i++)
        if (credit->granted[i] > t->lanes[i].granted)
            t->lanes[i].granted = credit->granted[i];
}

/* Every body that names a movie begins with its id. One that is not here has been finished. */
static int receive_movie(struct mr_transfer *t, const struct mr_message *msg, int64_t now_ns,
                         struct mr_err *err, about_movie receive)
{
    struct movie *m = mr_transfer_find_id(t, &msg->abandon.movie);
    return m != NULL ? receive(t, m, msg, now_ns, err) : 0;
}

static int receive_ready(struct mr_transfer *t, const struct mr_message *m, int64_t now_ns,
                         struct mr_err *err)
{
    switch (m->type) {
    case MR_CREDIT:
        receive_credit(t, &m->credit);
        return 0;
    case MR_PING:
        t->pong_due = true;
        t->pong_token = m->ping.token;
        return 0;
    case MR_PONG:
        return 0;
    case MR_CONFIRMED:
        if (t->ops.confirmed != NULL)
            t->ops.confirmed(t->ops.ctx, &m->confirmed);
        return 0;
    case MR_OPENED:
        return receive_movie(t, m, now_ns, err, receive_opened);
    case MR_ACK:
        return receive_movie(t, m, now_ns, err, receive_ack);
    case MR_RESEND:
        return receive_movie(t, m, now_ns, err, receive_resend);
    case MR_HOLD:
        return receive_movie(t, m, now_ns, err, receive_hold);
    case MR_COMMITTED:
    case MR_FAILED:
    case MR_ABANDONED:
        return receive_movie(t, m, now_ns, err, receive_verdict);
    case MR_WELCOME: /* these three are heard in any state */
    case MR_REFUSED:
    case MR_BYE:
    case MR_HELLO:
    case MR_OPEN:
    case MR_DEMAND:
    case MR_END:
    case MR_FAIL:
    case MR_ABANDON:
    case MR_CONFIRM:
        break;
    }
    return mr_err_set(err, -EPROTO, "%s is not for an agent", mr_message_name(m->type));
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
    if (t->state == READY && m->session != t->session)
        return 0; /* not of this connection's session: as if it had not come */
    if (m->sequence != t->heard_sequence + 1)
        return mr_err_set(err, -EPROTO, "control messages lost: %s has number %u after %u",
                          mr_message_name(m->type), m->sequence, t->heard_sequence);
    t->heard_sequence = m->sequence;
    t->heard_ns = now_ns;
    if (m->type == MR_WELCOME)
        return receive_welcome(t, m, err);
    if (t->state != READY)
        return mr_err_set(err, -EPROTO, "%s before WELCOME", mr_message_name(m->type));
    if (m->type == MR_BYE) {
        t->state = CLOSED;
        return mr_err_set(err, -ESHUTDOWN, "server says goodbye: %s", m->bye.text);
    }
    return receive_ready(t, m, now_ns, err);
}
