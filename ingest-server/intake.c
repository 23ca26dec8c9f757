/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The intake's life, the passing of time, and what the other stages answer. Does no I/O, holds no
 * file, asks nobody for the time.
 */
#include "base/clock.h"
#include "intake_state.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CREDIT_LIMIT_MS 30000

int mr_intake_new(const struct mr_intake_config *config, const struct mr_intake_ops *ops,
                  struct mr_intake **ret)
{
    struct mr_intake *in = calloc(1, sizeof(*in));
    if (in == NULL)
        return -ENOMEM;
    in->config = *config;
    in->ops = *ops;
    if (in->config.credit_limit_ms == 0)
        in->config.credit_limit_ms = CREDIT_LIMIT_MS;
    in->last_token = config->session_seed;
    for (uint16_t i = 0; i < config->lanes; i++)
        mr_credit_init(&in->credit[i], config->lane_budget, MR_SLAB_COST_MAX);
    *ret = in;
    return 0;
}

void mr_intake_free(struct mr_intake *in)
{
    if (in == NULL)
        return;
    for (struct entry *e = in->entries, *next; e != NULL; e = next) {
        next = e->next;
        mr_intake_entry_free(e);
    }
    free(in);
}

bool mr_intake_idle(const struct mr_intake *in)
{
    return in->entries == NULL;
}

static void credit_changed(void *ctx, uint32_t slot)
{
    struct mr_intake *in = ctx;
    in->sessions[slot].credit_due = true;
}

/* A slab that was lost on a lane, with none behind it to show the gap, or an agent that stands
 * still: others must not wait for its credit for ever. */
static bool credit_stalled(struct mr_intake *in, struct session *s)
{
    bool stalled = false;
    for (uint16_t i = 0; i < in->config.lanes; i++)
        stalled |= mr_credit_stalled(&in->credit[i], mr_intake_slot_of(in, s), in->now_ns,
                                     in->config.credit_limit_ms * MR_NS_PER_MS);
    return stalled;
}

static void tick_session(struct mr_intake *in, struct session *s, int64_t real_ns)
{
    int64_t beat_ns = in->config.heartbeat_ms * MR_NS_PER_MS;
    mr_intake_welcome_if_drained(in, s);
    if (s->state == WAITING)
        return;
    if (in->now_ns - s->heard_ns > 3 * beat_ns) {
        mr_intake_dismiss(in, s, MR_REASON_STOPPING, "nothing heard from this agent");
        return;
    }
    if (!in->paused && credit_stalled(in, s)) {
        mr_intake_dismiss(in, s, MR_REASON_BUSY, "credit was neither used nor given back");
        return;
    }
    if (s->credit_due)
        mr_intake_say_credit(in, s);
    if (in->now_ns - s->sent_ns >= beat_ns) {
        struct mr_message ping = {.type = MR_PING, .ping.real_ns = real_ns};
        mr_intake_say(in, s, &ping);
    }
}

void mr_intake_tick(struct mr_intake *in, int64_t now_ns, int64_t real_ns)
{
    in->now_ns = now_ns;
    for (struct entry *e = in->entries; in->unsaid && e != NULL; e = e->next) {
        struct session *s = mr_intake_owner_of(in, e);
        if (s != NULL && e->unsaid_count > 0)
            mr_intake_say_acks(in, s, e);
    }
    in->unsaid = false;
    for (uint16_t i = 0; i < in->config.lanes && !in->paused; i++)
        mr_credit_share(&in->credit[i], credit_changed, in);
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++)
        if (in->sessions[i].state != FREE)
            tick_session(in, &in->sessions[i], real_ns);
}

/* What lies in an agent for one lane may have waited for credit on another. */
void mr_intake_pause(struct mr_intake *in, bool paused, int64_t now_ns)
{
    for (uint16_t i = 0; i < in->config.lanes && in->paused && !paused; i++)
        mr_credit_forgive(&in->credit[i], now_ns);
    in->paused = paused;
}

void mr_intake_berthed(struct mr_intake *in, struct mr_movie *movie, bool resumed,
                       const struct mr_range *durable, size_t count, int64_t now_ns)
{
    in->now_ns = now_ns;
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    assert(e != NULL && e->state == BERTHING);
    struct session *s = mr_intake_owner_of(in, e);
    if (s == NULL || in->stopping) {
        in->ops.release(in->ops.ctx, movie, false);
        mr_intake_forget(in, e);
        return;
    }
    e->movie = movie;
    e->generation = movie->generation;
    e->small = movie->small;
    if (e->discard) { /* no lane has it yet */
        mr_intake_finish(in, e, MR_FINISH_DISCARD);
        return;
    }
    for (size_t i = 0; i < count; i++)
        for (uint64_t slab = durable[i].first; slab < durable[i].first + durable[i].count; slab++)
            mr_intake_mark_durable(e, slab);
    e->state = LIVE;
    in->ops.attach(in->ops.ctx, movie, s->token);
    mr_intake_say_opened(in, s, e, resumed, durable, count);
}

static void answer(struct mr_intake *in, struct entry *e, const struct mr_message *message)
{
    struct session *s = mr_intake_owner_of(in, e);
    struct mr_message m = *message;
    if (s != NULL)
        mr_intake_say(in, s, &m);
    mr_intake_forget(in, e);
}

void mr_intake_unberthed(struct mr_intake *in, const struct mr_ulid *id,
                         const struct mr_message *message)
{
    struct entry *e = mr_intake_find_movie(in, id);
    assert(e != NULL && e->state == BERTHING);
    answer(in, e, message);
}

void mr_intake_finished(struct mr_intake *in, const struct mr_ulid *id,
                        const struct mr_message *message)
{
    struct entry *e = mr_intake_find_movie(in, id);
    assert(e != NULL && e->state == FINISHING);
    answer(in, e, message);
}

void mr_intake_confirmed(struct mr_intake *in, uint64_t session, const struct mr_message *answer)
{
    struct session *s = mr_intake_find_token(in, session);
    struct mr_message m = *answer;
    if (s != NULL && s->state == TALKING)
        mr_intake_say(in, s, &m);
}

void mr_intake_detached(struct mr_intake *in, struct mr_movie *movie)
{
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    assert(e != NULL && e->state == LEAVING && e->movie == movie);
    if (e->after != MR_FINISH_RELEASE) {
        mr_intake_finish(in, e, e->after);
        return;
    }
    struct session *s = mr_intake_owner_of(in, e);
    in->ops.release(in->ops.ctx, movie, e->distrusted);
    if (s != NULL && e->hold.type == MR_HOLD)
        mr_intake_say(in, s, &e->hold);
    mr_intake_forget(in, e);
}

bool mr_intake_durable(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab)
{
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    if (e == NULL || e->movie != movie)
        return true;
    bool first = !mr_intake_is_durable(e, slab);
    mr_intake_mark_durable(e, slab);
    mr_intake_remember_unsaid(in, e, slab);
    mr_intake_seal_if_whole(in, e);
    return first;
}

void mr_intake_aboard(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab)
{
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    if (e == NULL || e->movie != movie)
        return;
    mr_intake_mark_durable(e, slab);
    mr_intake_seal_if_whole(in, e);
}

void mr_intake_damaged(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab)
{
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    struct session *s = e == NULL ? NULL : mr_intake_owner_of(in, e);
    if (s == NULL || e->state != LIVE)
        return;
    struct mr_message m = {
        .type = MR_RESEND,
        .resend = {.movie = movie->id, .generation = movie->generation, .slab = slab}};
    mr_intake_say(in, s, &m);
}

void mr_intake_used(struct mr_intake *in, uint64_t session, uint16_t lane, uint64_t bytes)
{
    struct session *s = mr_intake_find_token(in, session);
    if (s != NULL && mr_credit_use(&in->credit[lane], mr_intake_slot_of(in, s), bytes) < 0)
        mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST, "more was sent than credit was given");
}

void mr_intake_lane_gap(struct mr_intake *in, uint64_t session, uint16_t lane)
{
    struct session *s = mr_intake_find_token(in, session);
    char text[64];
    snprintf(text, sizeof(text), "slabs were lost or malformed on lane %u", lane);
    if (s != NULL)
        mr_intake_dismiss(in, s, MR_REASON_BAD_REQUEST, text);
}

void mr_intake_misfit(struct mr_intake *in, const struct mr_movie *movie, uint64_t slab)
{
    char text[96];
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    if (e == NULL || e->movie != movie || e->state != LIVE)
        return;
    snprintf(text, sizeof(text), "slab %llu does not fit the movie that was opened",
             (unsigned long long)slab);
    mr_intake_condemn(in, e, MR_REASON_MISMATCH, &(struct mr_extent){0}, text);
}

void mr_intake_no_quota(struct mr_intake *in, const struct mr_movie *movie, const char *text)
{
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    if (e != NULL && e->movie == movie && e->state == LIVE)
        mr_intake_condemn(in, e, MR_REASON_PERMISSION, &(struct mr_extent){0}, text);
}

void mr_intake_stuck(struct mr_intake *in, struct mr_movie *movie, bool distrusted, uint16_t code,
                     const char *text)
{
    struct entry *e = mr_intake_find_movie(in, &movie->id);
    if (e == NULL || e->movie != movie || (e->state != LIVE && e->state != LEAVING))
        return;
    e->distrusted |= distrusted;
    if (e->hold.type != MR_HOLD) { /* what else fails follows from the first */
        e->hold = (struct mr_message){
            .type = MR_HOLD,
            .hold = {.movie = movie->id, .code = code, .retry_ms = MR_INTAKE_HOLD_MS}};
        snprintf(e->hold.hold.text, sizeof(e->hold.hold.text), "%s", text);
    }
    if (e->state == LIVE)
        mr_intake_leave(in, e, MR_FINISH_RELEASE);
    else if (e->after == MR_FINISH_COMMIT)
        e->after = MR_FINISH_RELEASE;
}

void mr_intake_stop(struct mr_intake *in)
{
    in->stopping = true;
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++)
        if (in->sessions[i].state != FREE)
            mr_intake_dismiss(in, &in->sessions[i], MR_REASON_STOPPING, "the server is stopping");
}

static struct mr_intake_movie_view view_of(const struct entry *e)
{
    static const char *const names[] = {"berthing", "receiving", "draining", "sealing"};
    return (struct mr_intake_movie_view){.movie = e->movie,
                                         .open = &e->open,
                                         .agent = e->from.name,
                                         .durable = e->small ? 0 : e->durable_count,
                                         .slabs = e->complete ? e->end.slabs : 0,
                                         .opened_ns = e->opened_ns,
                                         .state = names[e->state]};
}

bool mr_intake_view(const struct mr_intake *in, const struct mr_ulid *id,
                    struct mr_intake_movie_view *ret)
{
    const struct entry *e = mr_intake_find_movie(in, id);
    if (e != NULL)
        *ret = view_of(e);
    return e != NULL;
}

void mr_intake_each_movie(const struct mr_intake *in,
                          void (*visit)(void *ctx, const struct mr_intake_movie_view *v), void *ctx)
{
    for (const struct entry *e = in->entries; e != NULL; e = e->next) {
        struct mr_intake_movie_view view = view_of(e);
        visit(ctx, &view);
    }
}

void mr_intake_each_session(const struct mr_intake *in,
                            void (*visit)(void *ctx, const struct mr_intake_session_view *v),
                            void *ctx)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        const struct session *s = &in->sessions[i];
        if (s->state != TALKING)
            continue;
        struct mr_intake_session_view view = {
            .hello = &s->hello, .session = s->token, .backlog = s->backlog, .packing = s->packing};
        for (const struct entry *e = in->entries; e != NULL; e = e->next)
            view.movies += e->session == i;
        visit(ctx, &view);
    }
}
