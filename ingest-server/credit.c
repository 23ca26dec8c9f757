/* SPDX-License-Identifier: Apache-2.0 */
/* Sharing one lane's budget. Does not know sessions beyond their slot, nor messages. */
#include "credit.h"

#include <assert.h>
#include <errno.h>

void mr_credit_init(struct mr_credit_lane *c, uint64_t budget, uint64_t unit)
{
    assert(unit > 0 && budget >= unit);
    *c = (struct mr_credit_lane){.budget = budget, .unit = unit};
}

static uint64_t out_of(const struct mr_credit_slot *s)
{
    return s->granted - s->used - s->returned;
}

void mr_credit_join(struct mr_credit_lane *c, uint32_t slot)
{
    assert(slot < MR_CREDIT_SLOTS && !c->slots[slot].joined);
    c->slots[slot] = (struct mr_credit_slot){.joined = true};
    c->top = slot < c->top ? c->top : slot + 1;
}

void mr_credit_leave(struct mr_credit_lane *c, uint32_t slot)
{
    assert(slot < MR_CREDIT_SLOTS && c->slots[slot].joined);
    c->out -= out_of(&c->slots[slot]);
    c->slots[slot] = (struct mr_credit_slot){0};
}

int mr_credit_demand(struct mr_credit_lane *c, uint32_t slot, bool wanted, uint64_t returned)
{
    struct mr_credit_slot *s = &c->slots[slot];
    assert(s->joined);
    if (returned < s->returned || returned - s->returned > out_of(s))
        return -EPROTO;
    c->out -= returned - s->returned;
    s->returned = returned;
    s->wanted = wanted;
    return 0;
}

int mr_credit_use(struct mr_credit_lane *c, uint32_t slot, uint64_t bytes)
{
    struct mr_credit_slot *s = &c->slots[slot];
    assert(s->joined);
    if (bytes > out_of(s))
        return -EPROTO;
    s->used += bytes;
    c->out -= bytes;
    return 0;
}

bool mr_credit_stalled(struct mr_credit_lane *c, uint32_t slot, int64_t now_ns, int64_t limit_ns)
{
    struct mr_credit_slot *s = &c->slots[slot];
    uint64_t sum = s->granted + s->used + s->returned;
    if (sum != s->seen || out_of(s) == 0 || !(s->wanted || c->short_of)) {
        s->seen = sum;
        s->seen_ns = now_ns;
    }
    return now_ns - s->seen_ns > limit_ns;
}

void mr_credit_forgive(struct mr_credit_lane *c, int64_t now_ns)
{
    for (uint32_t i = 0; i < c->top; i++)
        c->slots[i].seen_ns = now_ns;
}

static uint64_t fair_share(const struct mr_credit_lane *c)
{
    uint64_t wanting = 0;
    for (uint32_t i = 0; i < c->top; i++)
        wanting += c->slots[i].wanted;
    if (wanting == 0)
        return 0;
    uint64_t units = c->budget / wanting / c->unit;
    return (units == 0 ? 1 : units) * c->unit;
}

/* Is this one owed something? */
static bool lacks(const struct mr_credit_slot *s, uint64_t share)
{
    return s->wanted && out_of(s) < share;
}

void mr_credit_share(struct mr_credit_lane *c, void (*changed)(void *ctx, uint32_t slot), void *ctx)
{
    uint64_t share = fair_share(c);
    c->short_of = false;
    for (uint32_t n = 0; n < c->top; n++) {
        uint32_t slot = (c->next + n) % c->top;
        struct mr_credit_slot *s = &c->slots[slot];
        if (!lacks(s, share))
            continue;
        /* Whole units only, so that each grant lets at least one slab go. */
        uint64_t lack = (share - out_of(s)) / c->unit, room = (c->budget - c->out) / c->unit;
        uint64_t grant = (lack < room ? lack : room) * c->unit;
        c->short_of |= grant == 0;
        if (lack > 0 && room == 0) {
            c->next = slot; /* its turn when there is room: others must not nibble that away */
            return;
        }
        if (grant == 0)
            continue; /* what it has under way must be used first */
        s->granted += grant;
        c->out += grant;
        changed(ctx, slot);
    }
}
