/* SPDX-License-Identifier: Apache-2.0 */
/* Do times read as RFC 3339 says, and do intervals never run backwards? */
#include "base/clock.h"
#include "suite.h"

#include <errno.h>
#include <time.h>

START_TEST(monotonic_does_not_run_backwards)
{
    int64_t before = mr_clock_monotonic_ns();
    for (int i = 0; i < 1000; i++) {
        int64_t now = mr_clock_monotonic_ns();
        ck_assert_int_ge(now, before);
        before = now;
    }
}
END_TEST

START_TEST(real_is_the_systems_time)
{
    int64_t now = mr_clock_real_ns() / MR_NS_PER_S;
    int64_t system = (int64_t)time(NULL);
    ck_assert(now - system < 5 && system - now < 5);
}
END_TEST

START_TEST(text_is_rfc_3339_with_milliseconds)
{
    char text[MR_TIME_TEXT];
    ck_assert_str_eq(mr_clock_text(0, text), "1970-01-01T00:00:00.000Z");
    ck_assert_str_eq(mr_clock_text(1795330800000999999LL, text), "2026-11-22T07:00:00.000Z");
    ck_assert_str_eq(mr_clock_text(1709164799 * MR_NS_PER_S + 999999999, text),
                     "2024-02-28T23:59:59.999Z");
    ck_assert_str_eq(mr_clock_text(INT64_MAX, text), "2262-04-11T23:47:16.854Z");
}
END_TEST

START_TEST(times_before_1970_round_towards_the_past)
{
    char text[MR_TIME_TEXT];
    ck_assert_str_eq(mr_clock_text(-1, text), "1969-12-31T23:59:59.999Z");
    ck_assert_str_eq(mr_clock_text(INT64_MIN, text), "1677-09-21T00:12:43.145Z");
}
END_TEST

START_TEST(days_follow_the_zone)
{
    char day[MR_DAY_TEXT];
    int64_t late = 1795388400 * MR_NS_PER_S; /* 2026-11-22T23:00:00Z */
    ck_assert_str_eq(mr_clock_day(late, "UTC", day), "2026-11-22");
    setenv("TZ", "XYZ-2", 1);
    tzset();
    ck_assert_str_eq(mr_clock_day(late, "local", day), "2026-11-23");
    ck_assert_str_eq(mr_clock_day(late, "UTC", day), "2026-11-22");
}
END_TEST

START_TEST(named_zones_are_set_or_refused)
{
    char day[MR_DAY_TEXT];
    int64_t late = 1795388400 * MR_NS_PER_S; /* 2026-11-22T23:00:00Z */
    ck_assert_ptr_null(mr_clock_day(late, "Europe/Berlin", day));
    ck_assert_int_eq(mr_clock_set_zone("../etc/passwd"), -EINVAL);
    ck_assert_int_eq(mr_clock_set_zone("/etc/passwd"), -EINVAL);
    ck_assert_int_eq(mr_clock_set_zone(""), -EINVAL);
    ck_assert_int_eq(mr_clock_set_zone("Europe/Berlim"), -ENOENT);
    ck_assert_int_eq(mr_clock_set_zone("Europe"), -ENOENT);
    ck_assert_int_eq(mr_clock_set_zone("local"), 0);
    ck_assert_int_eq(mr_clock_set_zone("UTC"), 0);
    ck_assert_str_eq(mr_clock_day(late, "local", day), "2026-11-22");
    int r = mr_clock_set_zone("Asia/Tokyo");
    ck_assert(r == 0 || r == -ENOENT); /* no database on this machine */
    ck_assert_str_eq(mr_clock_day(late, "local", day), r == 0 ? "2026-11-23" : "2026-11-22");
}
END_TEST

START_TEST(a_deadline_lies_that_far_ahead)
{
    static const int64_t ms[] = {-1, 0, 1, 999, 1000, 3600 * 1000 + 1};
    for (size_t i = 0; i < sizeof(ms) / sizeof(ms[0]); i++) {
        int64_t wait_ns = ms[i] > 0 ? ms[i] * MR_NS_PER_MS : 0, before = mr_clock_monotonic_ns();
        struct timespec until = mr_clock_after_ms(ms[i]);
        int64_t ns = until.tv_sec * MR_NS_PER_S + until.tv_nsec;
        ck_assert_int_lt(until.tv_nsec, MR_NS_PER_S);
        ck_assert_int_ge(ns, before + wait_ns);
        ck_assert_int_le(ns, mr_clock_monotonic_ns() + wait_ns);
    }
}
END_TEST

MR_SUITE("clock", T(monotonic_does_not_run_backwards), T(real_is_the_systems_time),
         T(text_is_rfc_3339_with_milliseconds), T(times_before_1970_round_towards_the_past),
         T(days_follow_the_zone), T(named_zones_are_set_or_refused),
         T(a_deadline_lies_that_far_ahead))
