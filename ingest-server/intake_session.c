/* SPDX-License-Identifier: Apache-2.0 */
/* Who may talk, and who is told so. Knows movies only as what a session leaves behind. */
#include "base/clock.h"
#include "base/text.h"
#include "intake_state.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct session *mr_intake_find_route(struct mr_intake *in, const struct mr_route *route)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        struct session *s = &in->sessions[i];
        if (s->state != FREE && s->route.size == route->size &&
            memcmp(s->route.bytes, route->bytes, route->size) == 0)
            return s;
    }
    return NULL;
}

struct session *mr_intake_find_token(struct mr_intake *in, uint64_t token)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++)
        if (in->sessions[i].state == TALKING && in->sessions[i].token == token)
            return &in->sessions[i];
    return NULL;
}

uint32_t mr_intake_slot_of(const struct mr_intake *in, const struct session *s)
{
    return (uint32_t)(s - in->sessions);
}

struct session *mr_intake_owner_of(struct mr_intake *in, const struct entry *e)
{
    if (e->session == NO_SESSION || in->sessions[e->session].state != TALKING)
        return NULL;
    return &in->sessions[e->session];
}

void mr_intake_say(struct mr_intake *in, struct session *s, struct mr_message *m)
{
    assert((mr_message_from(m->type) & MR_FROM_SERVER) != 0);
    m->session = s->token;
    m->sequence = ++s->sent_sequence;
    s->sent_ns = in->now_ns;
    in->ops.send(in->ops.ctx, &s->route, m);
}

void mr_intake_refuse(struct mr_intake *in, const struct mr_route *to, uint16_t code,
                      const char *text)
{
    struct mr_message m = {.type = MR_REFUSED, .sequence = 1, .refused.code = code};
    snprintf(m.refused.text, sizeof(m.refused.text), "%s", text);
    in->ops.send(in->ops.ctx, to, &m);
}

void mr_intake_say_hold(struct mr_intake *in, struct session *s, const struct mr_ulid *id,
                        uint16_t code, uint32_t retry_ms, const char *text)
{
    struct mr_message m = {.type = MR_HOLD,
                           .hold = {.movie = *id, .code = code, .retry_ms = retry_ms}};
    snprintf(m.hold.text, sizeof(m.hold.text), "%s", text);
    mr_intake_say(in, s, &m);
}

void mr_intake_say_credit(struct mr_intake *in, struct session *s)
{
    struct mr_message m = {.type = MR_CREDIT, .credit.lanes = in->config.lanes};
    for (uint16_t i = 0; i < in->config.lanes; i++)
        m.credit.granted[i] = in->credit[i].slots[mr_intake_slot_of(in, s)].granted;
    mr_intake_say(in, s, &m);
    s->credit_due = false;
}

void mr_intake_end_session(struct mr_intake *in, struct session *s)
{
    uint32_t slot = mr_intake_slot_of(in, s);
    bool talked = s->state == TALKING;
    for (struct entry *e = in->entries; e != NULL; e = e->next) {
        if (e->session != slot)
            continue;
        e->session = NO_SESSION;
        if (e->state == LIVE)
            mr_intake_leave(in, e, MR_FINISH_RELEASE);
    }
    for (uint16_t i = 0; talked && i < in->config.lanes; i++)
        mr_credit_leave(&in->credit[i], slot);
    s->state = FREE;
    if (talked)
        in->ops.presence(in->ops.ctx, &s->hello, false);
}

void mr_intake_dismiss(struct mr_intake *in, struct session *s, uint16_t code, const char *text)
{
    struct mr_message m = {.type = MR_BYE, .bye.code = code};
    snprintf(m.bye.text, sizeof(m.bye.text), "%s", text);
    if (s->state == TALKING)
        mr_intake_say(in, s, &m);
    else
        mr_intake_refuse(in, &s->route, code, text);
    mr_intake_end_session(in, s);
}

/* Writes of an older session of the same instance are drained before the new one is answered, so
 * that the durable sets it is told are whole. */
static bool drained(const struct mr_intake *in, const struct session *s)
{
    for (const struct entry *e = in->entries; e != NULL; e = e->next)
        if (e->session == NO_SESSION && e->state == LEAVING &&
            memcmp(e->from.instance, s->hello.instance, sizeof(s->hello.instance)) == 0)
            return false;
    return true;
}

/* A number that no other agent can guess (splitmix64 of a secret start), and never 0. */
static uint64_t next_token(struct mr_intake *in)
{
    uint64_t z = in->last_token += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return z == 0 ? 1 : z;
}

void mr_intake_welcome_if_drained(struct mr_intake *in, struct session *s)
{
    if (s->state != WAITING || !drained(in, s))
        return;
    s->state = TALKING;
    s->heard_ns = in->now_ns; /* it had nothing to say while it waited */
    s->token = next_token(in);
    struct mr_message m = {.type = MR_WELCOME,
                           .welcome = {.version = MR_PROTOCOL_VERSION_MAX,
                                       .abilities = MR_ABLE_CODECS | mr_message_abilities(),
                                       .heartbeat_ms = in->config.heartbeat_ms,
                                       .lanes = in->config.lanes}};
    memcpy(m.welcome.ports, in->config.ports, sizeof(m.welcome.ports));
    memcpy(m.welcome.server, in->config.server, sizeof(m.welcome.server));
    memcpy(m.welcome.site, in->config.site, sizeof(m.welcome.site));
    memcpy(m.welcome.software, in->config.software, sizeof(m.welcome.software));
    for (uint16_t i = 0; i < in->config.lanes; i++)
        mr_credit_join(&in->credit[i], mr_intake_slot_of(in, s));
    mr_intake_say(in, s, &m);
    in->ops.presence(in->ops.ctx, &s->hello, true);
}

/* Is there a live session the newcomer collides with? Replaces it, or says why not. */
static bool make_way(struct mr_intake *in, const struct mr_route *from,
                     const struct mr_hello *hello)
{
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        struct session *s = &in->sessions[i];
        if (s->state == FREE || strcmp(s->hello.name, hello->name) != 0)
            continue;
        if (memcmp(s->hello.instance, hello->instance, sizeof(hello->instance)) == 0) {
            /* Equal: the same process on a new connection, whose old one we still believe in. */
            if (hello->epoch < s->hello.epoch) {
                mr_intake_refuse(in, from, MR_REASON_STALE_EPOCH,
                                 "a newer session of this agent is live");
                return false;
            }
            mr_intake_dismiss(in, s, MR_REASON_STALE_EPOCH,
                              "a newer session of this agent is here");
        } else if (!hello->ephemeral && !s->hello.ephemeral) {
            char text[MR_TEXT_MAX], since[MR_QUANTITY_TEXT];
            snprintf(text, sizeof(text), "another agent named %s is connected from %s, for %s",
                     hello->name, s->hello.host,
                     mr_text_duration_about(in->now_ns - s->since_ns, since));
            mr_intake_refuse(in, from, MR_REASON_NAME_IN_USE, text);
            return false;
        }
    }
    return true;
}

/* A name becomes a folder and part of every event. */
static bool may_be_called(const char *name)
{
    return name[0] != '\0' && mr_text_is_plain(name) && strcmp(name, ".") != 0 &&
           strcmp(name, "..") != 0;
}

void mr_intake_greet(struct mr_intake *in, const struct mr_route *from,
                     const struct mr_hello *hello, int64_t real_ns)
{
    char text[MR_TEXT_MAX];
    if (hello->version_min > MR_PROTOCOL_VERSION_MAX ||
        hello->version_max < MR_PROTOCOL_VERSION_MIN) {
        snprintf(text, sizeof(text), "agent speaks protocol %u to %u, this server %u to %u",
                 hello->version_min, hello->version_max, MR_PROTOCOL_VERSION_MIN,
                 MR_PROTOCOL_VERSION_MAX);
        mr_intake_refuse(in, from, MR_REASON_VERSION, text);
        return;
    }
    if (!may_be_called(hello->name)) {
        mr_intake_refuse(in, from, MR_REASON_BAD_NAME,
                         "an agent's name is 1 to 64 letters, digits, '.', '_' or '-'");
        return;
    }
    if (in->stopping) {
        mr_intake_refuse(in, from, MR_REASON_STOPPING, "the server is stopping");
        return;
    }
    if (!make_way(in, from, hello))
        return;
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++) {
        struct session *s = &in->sessions[i];
        if (s->state != FREE)
            continue;
        *s = (struct session){.state = WAITING,
                              .route = *from,
                              .hello = *hello,
                              .heard_sequence = 1,
                              .heard_ns = in->now_ns,
                              .since_ns = in->now_ns,
                              .sent_ns = in->now_ns,
                              .clock_offset_ms = (hello->real_ns - real_ns) / MR_NS_PER_MS};
        mr_intake_welcome_if_drained(in, s);
        return;
    }
    mr_intake_refuse(in, from, MR_REASON_BUSY, "too many agents are connected");
}
