/* SPDX-License-Identifier: Apache-2.0 */
/* Is a movie looked after when its time comes, once, and not when it was taken before? */
#include "base/clock.h"
#include "roster.h"
#include "suite.h"

static const struct mr_ulid a = {.bytes = {1}}, b = {.bytes = {2}};

START_TEST(due_in_their_time)
{
    struct mr_roster r = {0};
    struct mr_ulid id;
    ck_assert_int_eq(mr_roster_wait_ms(&r, 0), -1);
    ck_assert(!mr_roster_take_due(&r, INT64_MAX, &id));
    ck_assert_int_eq(mr_roster_add(&r, &a, 20 * MR_NS_PER_MS), 0);
    ck_assert_int_eq(mr_roster_add(&r, &b, 10 * MR_NS_PER_MS), 0);
    ck_assert_int_eq(mr_roster_wait_ms(&r, 0), 10);
    ck_assert_int_eq(mr_roster_wait_ms(&r, 10 * MR_NS_PER_MS - 1), 1);
    ck_assert(!mr_roster_take_due(&r, 10 * MR_NS_PER_MS - 1, &id));
    ck_assert_int_eq(mr_roster_wait_ms(&r, 10 * MR_NS_PER_MS), 0);
    ck_assert(mr_roster_take_due(&r, 10 * MR_NS_PER_MS, &id));
    ck_assert(mr_ulid_equal(&id, &b));
    ck_assert(!mr_roster_take_due(&r, 10 * MR_NS_PER_MS, &id));
    ck_assert_int_eq(mr_roster_wait_ms(&r, 10 * MR_NS_PER_MS), 10);
    mr_roster_fini(&r);
    ck_assert_int_eq(mr_roster_wait_ms(&r, 0), -1);
}
END_TEST

START_TEST(taken_and_entered_again)
{
    struct mr_roster r = {0};
    struct mr_ulid id;
    ck_assert(!mr_roster_take(&r, &a));
    ck_assert_int_eq(mr_roster_add(&r, &a, 10), 0);
    ck_assert_int_eq(mr_roster_add(&r, &a, 30), 0); /* another time, not another entry */
    ck_assert(!mr_roster_take_due(&r, 20, &id));
    ck_assert(mr_roster_has(&r, &a));
    ck_assert(mr_roster_take(&r, &a));
    ck_assert(!mr_roster_has(&r, &a));
    ck_assert(!mr_roster_take(&r, &a));
    ck_assert(!mr_roster_take_due(&r, INT64_MAX, &id));
    ck_assert_int_eq(mr_roster_add(&r, &a, INT64_MAX),
                     0); /* never due, but in the way of nothing */
    ck_assert_int_eq(mr_roster_wait_ms(&r, 0), INT32_MAX);
    mr_roster_fini(&r);
}
END_TEST

MR_SUITE("roster", T(due_in_their_time), T(taken_and_entered_again))
