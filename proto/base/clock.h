/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Intervals use monotonic ns, what a person or an event shows uses real (UTC) ns since 1970.
 * Pure cores never call these: they take `now_ns` as an argument.
 */
#ifndef MR_BASE_CLOCK_H
#define MR_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define MR_NS_PER_MS 1000000LL
#define MR_NS_PER_S  1000000000LL
#define MR_TIME_TEXT 25 /* "2026-11-22T07:00:00.000Z" and its NUL */
#define MR_DAY_TEXT  11 /* "2026-11-22" and its NUL */

int64_t mr_clock_monotonic_ns(void);
int64_t mr_clock_real_ns(void);

/* RFC 3339 with milliseconds, UTC, into ret (MR_TIME_TEXT bytes); returns ret. */
const char *mr_clock_text(int64_t real_ns, char *ret);

/* Day "2026-11-22" in the given zone into ret (MR_DAY_TEXT bytes); returns ret, or NULL where the zone
 * is not known. zone: "local", "UTC", or a name of the system's time zone database
 * ("Europe/Berlin"). The database is read at each call with a name: not for the data path. */
const char *mr_clock_day(int64_t real_ns, const char *zone, char *ret);

#endif
