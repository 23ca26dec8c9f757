/* SPDX-License-Identifier: Apache-2.0 */
/* What agents say, and what follows from it. Does none of the work: that is asked for by ops. */
#include "intake_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A movie belongs to the agent's name, whatever session it is shipped in. */
static bool is_its(const struct entry *e, const struct session *s)
{
    return strcmp(e->from.name, s->hello.name) == 0;
}

/* Of a session that is over, and on its way to an answer: that will be this session's. */
static bool may_take_over(const struct entry *e, const struct session *s,
                          const struct mr_open *open)
{
    return e->session == NO_SESSION && is_its(e, s) &&
           (e->state == FINISHING || (e->state == BERTHING && mr_open_equal(&e->open, open)));
}

/* Hundreds of small files of each of many agents leave room for the movies of another. */
static bool has_room(const struct mr_intake *in, const struct mr_open *open)
{
    uint32_t limit = in->config.movies_max;
    return in->entry_count < (open->whole ? limit - limit / 4 : limit);
}

static void receive_open(struct mr_intake *in, struct session *s, const struct mr_open *open)
{
    struct entry *e = mr_intake_find_movie(in, &open->movie);
    if (e != NULL && may_take_over(e, s, open)) {
        mr_intake_take_over(in, e, s);
        return;
    }
    if (e != NULL) {
        mr_intake_say_hold(in, s, &open->movie, MR_REASON_BUSY, MR_INTAKE_BUSY_MS,
                           "the movie is busy");
        return;
    }
    e = has_room(in, open) ? mr_intake_new_entry(in, s, &open->movie, BERTHING) : NULL;
    if (e == NULL) {
        mr_intake_say_hold(in, s, &open->movie, MR_REASON_BUSY, MR_INTAKE_BUSY_MS,
                           "too many movies in flight");
        return;
    }
    e->open = *open;
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

/* What END points to lives only as long as its message: the entry keeps its own. */
static int keep_end(struct entry *e, const struct mr_end *end)
{
    struct mr_end copy = *end;
    int r = copy_blob(&copy.metadata, copy.metadata_bytes);
    if (r < 0)
        return r;
    r = copy_blob(&copy.source_header, copy.source_header_bytes);
    if (r < 0) {
        free((void *)copy.metadata);
        return r;
    }
    e->end = copy;
    return 0;
}

static bool same_totals(const struct mr_end *a, const struct mr_end *b)
{
    return a->extent.frames == b->extent.frames &&
           a->extent.source_bytes == b->extent.source_bytes && a->crc_file == b->crc_file &&
           a->crc_pixels == b->crc_pixels;
}

static void receive_end(struct mr_intake *in, struct session *s, struct entry *e,
                        const struct mr_end *end)
{
    if (e->state != LIVE || end->generation != e->generation)
        return;
    if (end->slabs != mr_slab_count(&e->open.geometry, &end->extent) || end->slabs > MR_SLABS_MAX ||
        (e->open.whole && end->slabs > 1)) {
        mr_intake_condemn(in, e, MR_REASON_MISMATCH, &end->extent,
                          "END: the slab count does not follow from the extent");
        return;
    }
    if (e->complete) {
        if (!same_totals(&e->end, end))
            mr_intake_condemn(in, e, MR_REASON_MISMATCH, &end->extent,
                              "END came again with other totals");
        return;
    }
    if (keep_end(e, end) < 0) {
        mr_intake_dismiss(in, s, MR_REASON_BUSY, "out of memory");
        return;
    }
    e->complete = true;
    mr_intake_seal_if_whole(in, e);
}

static void receive_fail(struct mr_intake *in, struct entry *e, const struct mr_fail *fail)
{
    if (e->state != LIVE || fail->generation != e->generation)
        return;
    e->fail = *fail;
    mr_intake_leave(in, e, MR_FINISH_FAIL);
}

static void abandon_unknown(struct mr_intake *in, struct session *s, const struct mr_ulid *id)
{
    struct entry *e = mr_intake_new_entry(in, s, id, FINISHING);
    if (e == NULL)
        mr_intake_say_hold(in, s, id, MR_REASON_BUSY, MR_INTAKE_BUSY_MS,
                           "too many movies in flight");
    else
        mr_intake_finish(in, e, MR_FINISH_DISCARD);
}

static void receive_abandon(struct mr_intake *in, struct session *s, const struct mr_ulid *id)
{
    struct entry *e = mr_intake_find_movie(in, id);
    if (e == NULL) {
        abandon_unknown(in, s, id);
        return;
    }
    if (e->session == NO_SESSION && is_its(e, s))
        mr_intake_take_over(in, e, s);
    if (e->session != mr_intake_slot_of(in, s))
        mr_intake_say_hold(in, s, id, MR_REASON_BUSY, MR_INTAKE_BUSY_MS, "the movie is busy");
    else if (e->state == BERTHING)
        e->discard = true;
    else if (e->state != FINISHING) /* then its verdict is on the way */
        mr_intake_leave(in, e, MR_FINISH_DISCARD);
}

static void receive_demand(struct mr_intake *in, struct session *s, const struct mr_demand *demand)
{
    if (demand->lanes != in->config.lanes) {
        mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST, "DEMAND: not the lanes of WELCOME");
        return;
    }
    for (uint16_t i = 0; i < in->config.lanes; i++)
        if (mr_credit_demand(&in->credit[i], mr_intake_slot_of(in, s), demand->wanted[i],
                             demand->returned[i]) < 0) {
            mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST,
                              "DEMAND: more credit given back than was out");
            return;
        }
}

/* Nobody will open these again: the ids of a push end with it. */
static void discard_unfinished(struct mr_intake *in, const struct session *s)
{
    for (struct entry *e = in->entries; e != NULL; e = e->next)
        if (e->session == mr_intake_slot_of(in, s) && e->state == LIVE)
            mr_intake_leave(in, e, MR_FINISH_DISCARD);
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
    switch (m->type) {
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
    case MR_CONFIRM:
        in->ops.confirm(in->ops.ctx, s->token, &m->confirm);
        return;
    case MR_PING:
        s->backlog = m->ping.backlog;
        s->packing = m->ping.packing;
        mr_intake_say(in, s, &pong);
        return;
    case MR_PONG:
        s->backlog = m->ping.backlog;
        s->packing = m->ping.packing;
        return;
    case MR_BYE:
        if (s->hello.ephemeral)
            discard_unfinished(in, s);
        mr_intake_end_session(in, s);
        return;
    case MR_HELLO: /* heard before there is a session */
    case MR_WELCOME:
    case MR_REFUSED:
    case MR_OPENED:
    case MR_ACK:
    case MR_CREDIT:
    case MR_RESEND:
    case MR_COMMITTED:
    case MR_HOLD:
    case MR_FAILED:
    case MR_ABANDONED:
    case MR_CONFIRMED:
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
