/* SPDX-License-Identifier: Apache-2.0 */
/* One lane's budget among sessions: never more than there is, whole units, and everybody's turn. */
#include "suite.h"

#include "credit.h"

#include <errno.h>

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

MR_SUITE("credit", T(test_one_gets_all_whole_units), T(test_shares_are_equal),
         T(test_all_get_their_turn_where_one_fits), T(test_not_wanted_not_granted),
         T(test_refuses_what_was_not_granted), T(test_stalled_only_where_somebody_waits),
         T(test_forgiven_time_does_not_count))
