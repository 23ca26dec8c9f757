/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Intervals use monotonic ns, what a person or an event shows uses real (UTC) ns since 1970.
 * Pure cores never call these: they take `now_ns` as an argument.
 */
#ifndef MR_BASE_CLOCK_H
#define MR_BASE_CLOCK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define MR_NS_PER_MS 1000000LL
#define MR_NS_PER_S  1000000000LL
#define MR_TIME_TEXT 25 /* "2026-11-22T07:00:00.000Z" and its NUL */
#define MR_DAY_TEXT  11 /* "2026-11-22" and its NUL */

int64_t mr_clock_monotonic_ns(void);
int64_t mr_clock_real_ns(void);
/* As monotonic, and goes on while the machine is suspended: for what runs out by then. */
int64_t mr_clock_boottime_ns(void);

/* That many ms from now, monotonic, as pthread_cond_timedwait wants it. < 0: now. */
static inline struct timespec mr_clock_after_ms(int64_t timeout_ms)
{
    int64_t ns = mr_clock_monotonic_ns() + (timeout_ms > 0 ? timeout_ms : 0) * MR_NS_PER_MS;
    return (struct timespec){.tv_sec = ns / MR_NS_PER_S, .tv_nsec = ns % MR_NS_PER_S};
}

uint64_t mr_clock_thread_ns(void); /* CPU time of the calling thread */

/* RFC 3339 with milliseconds, UTC, into ret (MR_TIME_TEXT bytes); returns ret. */
const char *mr_clock_text(int64_t real_ns, char *ret);

/* Day "2026-11-22" into ret (MR_DAY_TEXT bytes); returns ret. zone: "local" (as set below) or
 * "UTC"; NULL for anything else. */
const char *mr_clock_day(int64_t real_ns, const char *zone, char *ret);

/* Makes "local" another zone for the whole process: "local" (no change), "UTC", or a name of the
 * system's database ("Europe/Berlin"). Changes the environment: call before there are threads.
 * -EINVAL, -ENOENT. */
int mr_clock_set_zone(const char *zone) MR_MUST_USE;
/* What mr_clock_set_zone would say, without doing it. */
int mr_clock_check_zone(const char *zone) MR_MUST_USE;

#endif
