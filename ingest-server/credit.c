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

static uint64_t fair_share(const struct mr_credit_lane *c)
{
    uint64_t wanting = 0;
    for (uint32_t i = 0; i < MR_CREDIT_SLOTS; i++)
        wanting += c->slots[i].wanted;
    if (wanting == 0)
        return 0;
    uint64_t units = c->budget / wanting / c->unit;
    return (units == 0 ? 1 : units) * c->unit;
}

void mr_credit_share(struct mr_credit_lane *c, void (*changed)(void *ctx, uint32_t slot), void *ctx)
{
    uint64_t share = fair_share(c);
    for (uint32_t n = 0; share > 0 && n < MR_CREDIT_SLOTS; n++) {
        uint32_t slot = (c->next + n) % MR_CREDIT_SLOTS;
        struct mr_credit_slot *s = &c->slots[slot];
        if (!s->wanted || out_of(s) >= share)
            continue;
        uint64_t lack = share - out_of(s);
        if (lack > c->budget - c->out) {
            /* It is this one's turn: others wait rather than nibble its room away. */
            c->next = slot;
            return;
        }
        s->granted += lack;
        c->out += lack;
        changed(ctx, slot);
    }
}
