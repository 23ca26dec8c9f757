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

/* Against a plain table: ids enter, move, go and fall due in any order. */
START_TEST(many_against_a_table)
{
    enum { IDS = 24, NONE = -1 };
    struct mr_roster r = {0};
    int64_t due[IDS], now = 0;
    uint64_t dice = 20261122;
    for (size_t i = 0; i < IDS; i++)
        due[i] = NONE;
    for (unsigned step = 0; step < 3000; step++) {
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        size_t i = (dice >> 33) % IDS;
        struct mr_ulid id = {.bytes = {[15] = (uint8_t)i}};
        int64_t first = INT64_MAX;
        switch ((dice >> 40) % 4) {
        case 0:
            due[i] = now + (int64_t)((dice >> 44) % 50) * 100000;
            ck_assert_int_eq(mr_roster_add(&r, &id, due[i]), 0);
            break;
        case 1:
            ck_assert(mr_roster_take(&r, &id) == (due[i] != NONE));
            due[i] = NONE;
            break;
        case 2:
            now += (int64_t)((dice >> 44) % 10) * 100000;
            while (mr_roster_take_due(&r, now, &id)) {
                ck_assert_int_ne(due[id.bytes[15]], NONE);
                ck_assert_int_le(due[id.bytes[15]], now);
                due[id.bytes[15]] = NONE;
            }
            break;
        default:
            ck_assert(mr_roster_has(&r, &id) == (due[i] != NONE));
            break;
        }
        for (size_t k = 0; k < IDS; k++)
            if (due[k] != NONE && due[k] < first)
                first = due[k];
        ck_assert((dice >> 40) % 4 != 2 || first > now); /* none that was due is left */
        int want = first == INT64_MAX ? -1
                   : first <= now     ? 0
                                      : (int)((first - now + MR_NS_PER_MS - 1) / MR_NS_PER_MS);
        ck_assert_int_eq(mr_roster_wait_ms(&r, now), want);
    }
    mr_roster_fini(&r);
}
END_TEST

START_TEST(a_wait_is_rounded_up_and_never_too_long_for_an_int)
{
    static const struct {
        int64_t due_ns;
        int want_ms;
    } cases[] = {{1, 1},
                 {MR_NS_PER_MS, 1},
                 {MR_NS_PER_MS + 1, 2},
                 {INT32_MAX * MR_NS_PER_MS, INT32_MAX},
                 {INT32_MAX * MR_NS_PER_MS + 1, INT32_MAX},
                 {INT64_MAX, INT32_MAX}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct mr_roster r = {0};
        ck_assert_int_eq(mr_roster_add(&r, &a, cases[i].due_ns), 0);
        ck_assert_int_eq(mr_roster_wait_ms(&r, 0), cases[i].want_ms);
        mr_roster_fini(&r);
    }
}
END_TEST

MR_SUITE("roster", T(due_in_their_time), T(taken_and_entered_again), T(many_against_a_table),
         T(a_wait_is_rounded_up_and_never_too_long_for_an_int))
