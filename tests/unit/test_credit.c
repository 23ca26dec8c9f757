/* SPDX-License-Identifier: Apache-2.0 */
/* One lane's budget among sessions: never more than there is, whole units, and everybody's turn. */
#include "dice.h"
#include "suite.h"

#include "credit.h"

#include <errno.h>
#include <string.h>

#define UNIT 100u

static struct mr_credit_lane c;
static unsigned changes[MR_CREDIT_SLOTS];

static void changed(void *ctx, uint32_t slot)
{
    (void)ctx;
    changes[slot]++;
}

static void share(void)
{
    mr_credit_share(&c, changed, NULL);
    ck_assert_uint_le(c.out, c.budget);
}

static void begin(uint64_t budget, uint32_t slots)
{
    mr_credit_init(&c, budget, UNIT);
    for (uint32_t i = 0; i < slots; i++) {
        mr_credit_join(&c, i);
        ck_assert_int_eq(mr_credit_demand(&c, i, true, 0), 0);
    }
}

START_TEST(test_one_gets_all_whole_units)
{
    begin(350, 1);
    share();
    ck_assert_uint_eq(c.slots[0].granted, 300);
    ck_assert_int_eq(mr_credit_use(&c, 0, 60), 0);
    share();
    ck_assert_uint_eq(c.slots[0].granted, 300); /* 60 are no unit */
    ck_assert_int_eq(mr_credit_use(&c, 0, 40), 0);
    share();
    ck_assert_uint_eq(c.slots[0].granted, 400);
    ck_assert_uint_eq(changes[0], 2);
}
END_TEST

START_TEST(test_shares_are_equal)
{
    begin(1000, 3);
    share();
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(c.slots[i].granted, 300);
    mr_credit_leave(&c, 1);
    ck_assert_uint_eq(c.out, 600);
    share();
    ck_assert_uint_eq(c.slots[0].granted, 500);
}
END_TEST

START_TEST(test_all_get_their_turn_where_one_fits)
{
    begin(UNIT, 5);
    for (unsigned turn = 0; turn < 50; turn++) {
        share();
        uint32_t holder = 0;
        while (c.slots[holder].granted == c.slots[holder].used)
            holder++;
        ck_assert_int_eq(mr_credit_use(&c, holder, 30), 0);
        share(); /* what it has left is too little for a slab: it gives that back */
        ck_assert_int_eq(mr_credit_use(&c, holder, 70), 0);
    }
    for (uint32_t i = 0; i < 5; i++)
        ck_assert_uint_eq(changes[i], 10);
}
END_TEST

START_TEST(test_not_wanted_not_granted)
{
    begin(1000, 2);
    ck_assert_int_eq(mr_credit_demand(&c, 1, false, 0), 0);
    share();
    ck_assert_uint_eq(c.slots[1].granted, 0);
    ck_assert_uint_eq(c.slots[0].granted, 1000);
    ck_assert_int_eq(mr_credit_demand(&c, 0, false, 1000), 0);
    ck_assert_uint_eq(c.out, 0);
    share();
    ck_assert_uint_eq(c.slots[0].granted, 1000);
}
END_TEST

START_TEST(test_refuses_what_was_not_granted)
{
    begin(300, 1);
    share();
    ck_assert_int_eq(mr_credit_use(&c, 0, 301), -EPROTO);
    ck_assert_int_eq(mr_credit_use(&c, 0, 300), 0);
    ck_assert_int_eq(mr_credit_use(&c, 0, 1), -EPROTO);
    ck_assert_int_eq(mr_credit_demand(&c, 0, true, 1), -EPROTO);
    share();
    ck_assert_int_eq(mr_credit_demand(&c, 0, true, 50), 0);
    ck_assert_int_eq(mr_credit_demand(&c, 0, true, 49), -EPROTO); /* a total never sinks */
    ck_assert_uint_eq(c.out, 250);
}
END_TEST

START_TEST(test_stalled_only_where_somebody_waits)
{
    begin(UNIT, 1);
    share();
    ck_assert_int_eq(mr_credit_demand(&c, 0, false, 0), 0);
    ck_assert(!mr_credit_stalled(&c, 0, 10, 5));
    ck_assert(!mr_credit_stalled(&c, 0, 20, 5)); /* nobody is short of it */
    mr_credit_join(&c, 1);
    ck_assert_int_eq(mr_credit_demand(&c, 1, true, 0), 0);
    share();
    ck_assert(!mr_credit_stalled(&c, 0, 25, 5));
    ck_assert(mr_credit_stalled(&c, 0, 26, 5));
    ck_assert_int_eq(mr_credit_use(&c, 0, 10), 0);
    ck_assert(!mr_credit_stalled(&c, 0, 27, 5));
    ck_assert(!mr_credit_stalled(&c, 1, 99, 5)); /* it holds nothing */
}
END_TEST

START_TEST(test_forgiven_time_does_not_count)
{
    begin(UNIT, 2);
    share();
    ck_assert(!mr_credit_stalled(&c, 0, 10, 5));
    mr_credit_forgive(&c, 90);
    ck_assert(!mr_credit_stalled(&c, 0, 95, 5));
    ck_assert(mr_credit_stalled(&c, 0, 96, 5)); /* from then on it does */
}
END_TEST

START_TEST(test_what_is_used_or_given_back_or_added_is_no_stall)
{
    begin(3 * UNIT, 1);
    share(); /* 300 out, and it wants more: that is enough */
    ck_assert(!mr_credit_stalled(&c, 0, 100, 5));
    ck_assert(!mr_credit_stalled(&c, 0, 105, 5)); /* not longer than the limit */
    ck_assert(mr_credit_stalled(&c, 0, 106, 5));
    ck_assert(mr_credit_stalled(&c, 0, 107, 5));
    ck_assert_int_eq(mr_credit_demand(&c, 0, true, 1), 0);
    ck_assert(!mr_credit_stalled(&c, 0, 200, 5));
    ck_assert(mr_credit_stalled(&c, 0, 206, 5));
    ck_assert_int_eq(mr_credit_use(&c, 0, 199), 0);
    ck_assert(!mr_credit_stalled(&c, 0, 300, 5));
    share(); /* 200 more */
    ck_assert(!mr_credit_stalled(&c, 0, 400, 5));
    ck_assert_int_eq(mr_credit_demand(&c, 0, false, 1), 0);
    ck_assert(!mr_credit_stalled(&c, 0, 500, 5)); /* it wants no more, nor does another */
    ck_assert(!mr_credit_stalled(&c, 0, 600, 5));
    ck_assert_int_eq(mr_credit_demand(&c, 0, true, 1), 0);
    ck_assert(!mr_credit_stalled(&c, 0, 605, 5)); /* counted from when it was last not waited for */
    ck_assert(mr_credit_stalled(&c, 0, 606, 5));
    mr_credit_leave(&c, 0);
    mr_credit_join(&c, 0);
    ck_assert(!mr_credit_stalled(&c, 0, 900, 5)); /* another session */
    ck_assert_uint_eq(c.slots[0].granted, 0);
}
END_TEST

START_TEST(test_one_unit_each_where_there_is_less_than_that)
{
    begin(2 * UNIT + 50, 3);
    share();
    ck_assert_uint_eq(c.slots[0].granted, UNIT);
    ck_assert_uint_eq(c.slots[1].granted, UNIT);
    ck_assert_uint_eq(c.slots[2].granted, 0);
    ck_assert(c.short_of);
    mr_credit_leave(&c, 0);
    share();
    ck_assert_uint_eq(c.slots[2].granted, UNIT);
    ck_assert(!c.short_of);
    mr_credit_join(&c, 0); /* joined, and does not ask */
    share();
    ck_assert_uint_eq(c.slots[0].granted, 0);
    ck_assert_uint_eq(c.slots[1].granted, UNIT);
}
END_TEST

START_TEST(test_the_last_slot_is_as_good_as_the_first)
{
    mr_credit_init(&c, UNIT, UNIT);
    mr_credit_join(&c, MR_CREDIT_SLOTS - 1);
    ck_assert_int_eq(mr_credit_demand(&c, MR_CREDIT_SLOTS - 1, true, 0), 0);
    share();
    ck_assert_uint_eq(c.slots[MR_CREDIT_SLOTS - 1].granted, UNIT);
    ck_assert_uint_eq(changes[MR_CREDIT_SLOTS - 1], 1);
    ck_assert(!mr_credit_stalled(&c, MR_CREDIT_SLOTS - 1, 10, 5));
    mr_credit_forgive(&c, 50);
    ck_assert(!mr_credit_stalled(&c, MR_CREDIT_SLOTS - 1, 55, 5));
    ck_assert(mr_credit_stalled(&c, MR_CREDIT_SLOTS - 1, 56, 5));
}
END_TEST

/* ---- against a simple account of each slot ---- */

enum { SLOTS = 7 };

static struct account {
    bool joined, wanted;
    uint64_t granted, used, returned;
    unsigned others[SLOTS]; /* what others were granted while it held nothing and waited: times */
} accounts[SLOTS];

static uint64_t out_of_account(const struct account *a)
{
    return a->granted - a->used - a->returned;
}

static uint64_t share_of_account(void)
{
    uint64_t wanting = 0;
    for (uint32_t i = 0; i < SLOTS; i++)
        wanting += accounts[i].wanted;
    uint64_t units = wanting == 0 ? 0 : c.budget / wanting / UNIT;
    return wanting == 0 ? 0 : (units == 0 ? 1 : units) * UNIT;
}

static void account_growth(void *ctx, uint32_t slot)
{
    bool *told = ctx;
    MUST(slot < SLOTS);
    MUST(!told[slot]); /* once each */
    told[slot] = true;
}

/* What one slot was granted, seen against what it held and what there is. */
static void check_grant(uint32_t slot, bool told, uint64_t share)
{
    struct account *a = &accounts[slot];
    uint64_t grown = c.slots[slot].granted - a->granted;
    MUST(grown % UNIT == 0);
    MUST(told == (grown > 0));
    MUST(grown == 0 || (a->joined && a->wanted));
    a->granted += grown;
    MUST(grown == 0 || out_of_account(a) <= share);
    for (uint32_t i = 0; grown > 0 && i < SLOTS; i++)
        accounts[i].others[slot]++;
}

/* Whoever waits with nothing sees nobody served twice. */
static void check_turns(struct account *a)
{
    if (!a->wanted || out_of_account(a) > 0)
        memset(a->others, 0, sizeof(a->others));
    for (uint32_t i = 0; i < SLOTS; i++)
        MUST(a->others[i] <= 1);
}

static void account_share(void)
{
    bool told[SLOTS] = {false};
    uint64_t share = share_of_account(), out = 0;
    mr_credit_share(&c, account_growth, told);
    for (uint32_t i = 0; i < SLOTS; i++) {
        check_grant(i, told[i], share);
        out += out_of_account(&accounts[i]);
    }
    for (uint32_t i = 0; i < SLOTS; i++)
        check_turns(&accounts[i]);
    MUST(c.out == out);
    MUST(out <= c.budget);
    bool room = c.budget - out >= UNIT, lacking = false;
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint64_t held = out_of_account(&accounts[i]);
        bool lacks_unit = accounts[i].wanted && held + UNIT <= share;
        MUST(!lacks_unit || !room); /* nothing is kept from who may have it */
        lacking |= accounts[i].wanted && held < share;
        MUST(!lacks_unit || told[i] || c.short_of);
    }
    MUST(lacking || !c.short_of);
}

static void account_step(uint32_t slot)
{
    struct account *a = &accounts[slot];
    uint64_t out = out_of_account(a), some = dice(out + 1);
    if (!a->joined) {
        mr_credit_join(&c, slot);
        *a = (struct account){.joined = true};
        return;
    }
    switch (dice(8)) {
    case 0:
        mr_credit_leave(&c, slot);
        *a = (struct account){0};
        break;
    case 1:
        MUST(mr_credit_use(&c, slot, out + 1 + dice(3)) == -EPROTO);
        MUST(mr_credit_demand(&c, slot, !a->wanted, a->returned + out + 1) == -EPROTO);
        if (a->returned > 0)
            MUST(mr_credit_demand(&c, slot, !a->wanted, a->returned - 1) == -EPROTO);
        break;
    case 2:
        MUST(mr_credit_demand(&c, slot, dice(4) > 0, a->returned + some) == 0);
        a->wanted = c.slots[slot].wanted;
        a->returned += some;
        break;
    case 3:
        MUST(mr_credit_demand(&c, slot, true, a->returned) == 0);
        a->wanted = true;
        break;
    default:
        some = dice(2) ? out : some;
        MUST(mr_credit_use(&c, slot, some) == 0);
        a->used += some;
        break;
    }
    MUST(c.slots[slot].wanted == a->wanted);
}

START_TEST(test_random_steps_keep_the_accounts)
{
    static const uint64_t budgets[] = {UNIT, 2 * UNIT, 350, 5 * UNIT + 99, 20 * UNIT};
    for (size_t b = 0; b < sizeof(budgets) / sizeof(budgets[0]); b++) {
        memset(accounts, 0, sizeof(accounts));
        mr_credit_init(&c, budgets[b], UNIT);
        for (int i = 0; i < 6000; i++) {
            account_step((uint32_t)dice(SLOTS));
            account_share();
        }
    }
}
END_TEST

MR_SUITE("credit", T(test_one_gets_all_whole_units), T(test_shares_are_equal),
         T(test_all_get_their_turn_where_one_fits), T(test_not_wanted_not_granted),
         T(test_refuses_what_was_not_granted), T(test_stalled_only_where_somebody_waits),
         T(test_forgiven_time_does_not_count),
         T(test_what_is_used_or_given_back_or_added_is_no_stall),
         T(test_one_unit_each_where_there_is_less_than_that),
         T(test_the_last_slot_is_as_good_as_the_first), T(test_random_steps_keep_the_accounts))
