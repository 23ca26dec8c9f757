/* SPDX-License-Identifier: Apache-2.0 */
/* What agents say, and what follows from it. Does none of the work: that is asked for by ops. */
#include "intake_state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void receive_open(struct mr_intake *in, struct session *s, const struct mr_open *open)
{
    struct entry *e = mr_intake_find_movie(in, &open->movie);
    if (e != NULL) {
        bool free_to_take = e->session == NO_SESSION && e->state != LEAVING;
        if (free_to_take)
            e->session = mr_intake_slot_of(in, s); /* answered when berth or seal answers */
        else
            mr_intake_say_hold(in, s, &open->movie, MR_REASON_BUSY, BUSY_RETRY_MS,
                               "the movie is busy");
        return;
    }
    if (in->entry_count >= in->config.movies_max) {
        mr_intake_say_hold(in, s, &open->movie, MR_REASON_BUSY, BUSY_RETRY_MS,
                           "too many movies in flight");
        return;
    }
    e = calloc(1, sizeof(*e));
    if (e == NULL) {
        mr_intake_say_hold(in, s, &open->movie, MR_REASON_BUSY, BUSY_RETRY_MS, "out of memory");
        return;
    }
    e->session = mr_intake_slot_of(in, s);
    e->from = s->hello;
    e->clock_offset_ms = s->clock_offset_ms;
    e->open = *open;
    e->opened_ns = in->now_ns;
    e->next = in->entries;
    in->entries = e;
    in->entry_count++;
    struct mr_sender from = mr_intake_sender_of(e);
    in->ops.berth(in->ops.ctx, &from, &e->open);
}

static int copy_blob(const uint8_t **blob, uint32_t bytes)
{
    if (*blob == NULL || bytes == 0) {
        *blob = NULL;
        return 0;
    }
    uint8_t *copy = malloc(bytes);
    if (copy == NULL)
        return -ENOMEM;
    memcpy(copy, *blob, bytes);
    *blob = copy;
    return 0;
}

static void receive_end(struct mr_intake *in, struct session *s, struct entry *e,
                        const struct mr_end *end)
{
    if (e->state != LIVE || e->complete || end->generation != e->movie->generation)
        return;
    if (end->slabs != mr_slab_count(&e->movie->geometry, &end->extent) ||
        end->slabs > MR_SLABS_MAX) {
        mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST,
                          "END: slab count does not follow from the extent");
        return;
    }
    struct mr_end copy = *end;
    if (copy_blob(&copy.metadata, copy.metadata_bytes) < 0 ||
        copy_blob(&copy.source_header, copy.source_header_bytes) < 0) {
        mr_intake_dismiss(in, s, MR_REASON_BUSY, "out of memory");
        return;
    }
    e->end = copy;
    e->complete = true;
    mr_intake_seal_if_whole(in, e);
}

static void receive_fail(struct mr_intake *in, struct entry *e, const struct mr_fail *fail)
{
    if (e->state != LIVE || fail->generation != e->movie->generation)
        return;
    e->fail = *fail;
    mr_intake_leave(in, e, NEXT_FAIL);
}

static void receive_abandon(struct mr_intake *in, struct session *s, const struct mr_ulid *id)
{
    struct entry *e = mr_intake_find_movie(in, id);
    if (e == NULL) {
        e = calloc(1, sizeof(*e));
        if (e == NULL)
            return;
        e->session = mr_intake_slot_of(in, s);
        e->from = s->hello;
        e->open.movie = *id;
        e->state = FINISHING;
        e->next = in->entries;
        in->entries = e;
        in->entry_count++;
        struct mr_sender from = mr_intake_sender_of(e);
        in->ops.finish(in->ops.ctx, MR_FINISH_DISCARD, &from, id, NULL, NULL, NULL);
    } else if (e->state == LIVE || e->state == LEAVING) {
        mr_intake_leave(in, e, NEXT_DISCARD);
    }
}

static void receive_demand(struct mr_intake *in, struct session *s, const struct mr_demand *demand)
{
    for (uint16_t i = 0; i < in->config.lanes && i < demand->lanes; i++)
        if (mr_credit_demand(&in->credit[i], mr_intake_slot_of(in, s), demand->wanted[i],
                             demand->returned[i]) < 0) {
            mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST,
                              "DEMAND: more credit given back than was out");
            return;
        }
}

static void receive_of_movie(struct mr_intake *in, struct session *s, const struct mr_message *m)
{
    struct entry *e = mr_intake_find_movie(in, &m->end.movie);
    if (e == NULL || e->session != mr_intake_slot_of(in, s))
        return; /* it ended meanwhile; its verdict is on the way */
    if (m->type == MR_END)
        receive_end(in, s, e, &m->end);
    else
        receive_fail(in, e, &m->fail);
}

static void receive_talk(struct mr_intake *in, struct session *s, const struct mr_message *m,
                         int64_t real_ns)
{
    struct mr_message pong = {.type = MR_PONG,
                              .ping = {.token = m->ping.token, .real_ns = real_ns}};
    switch ((int)m->type) {
    case MR_OPEN:
        receive_open(in, s, &m->open);
        return;
    case MR_END:
    case MR_FAIL:
        receive_of_movie(in, s, m);
        return;
    case MR_ABANDON:
        receive_abandon(in, s, &m->abandon.movie);
        return;
    case MR_DEMAND:
        receive_demand(in, s, &m->demand);
        return;
    case MR_PING:
        mr_intake_say(in, s, &pong);
        return;
    case MR_PONG:
        return;
    case MR_BYE:
        mr_intake_end_session(in, s);
        return;
    default:
        mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST, "that message is not for a server");
    }
}

void mr_intake_receive(struct mr_intake *in, const struct mr_route *from,
                       const struct mr_message *m, int64_t now_ns, int64_t real_ns)
{
    in->now_ns = now_ns;
    struct session *s = mr_intake_find_route(in, from);
    if (m->type == MR_HELLO) {
        if (s != NULL)
            mr_intake_end_session(in, s);
        mr_intake_greet(in, from, &m->hello, real_ns);
        return;
    }
    if (s == NULL || s->state != TALKING || m->session != s->token) {
        if (s == NULL)
            mr_intake_refuse(in, from, MR_REASON_BAD_REQUEST, "no session: say HELLO");
        return;
    }
    if (m->sequence != s->heard_sequence + 1) {
        mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST, "control messages were lost");
        return;
    }
    s->heard_sequence = m->sequence;
    s->heard_ns = now_ns;
    receive_talk(in, s, m, real_ns);
}

void mr_intake_garbage(struct mr_intake *in, const struct mr_route *from, const char *why)
{
    struct session *s = mr_intake_find_route(in, from);
    if (s != NULL)
        mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST, why);
    else
        mr_intake_refuse(in, from, MR_REASON_BAD_REQUEST, why);
}
