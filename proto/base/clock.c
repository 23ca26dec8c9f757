/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the clocks and writes times as text. Does not sleep; the zone is the C library's. */
#include "base/clock.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    int r = clock_gettime(id, &ts);
    assert(r == 0);
    (void)r;
    return (int64_t)ts.tv_sec * MR_NS_PER_S + ts.tv_nsec;
}

int64_t mr_clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t mr_clock_real_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t mr_clock_boottime_ns(void)
{
    return read_clock(CLOCK_BOOTTIME);
}

uint64_t mr_clock_thread_ns(void)
{
    return (uint64_t)read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* Rounds towards the past, so that a time before 1970 gets the right day and a positive rest. */
static time_t whole_seconds(int64_t ns)
{
    int64_t s = ns / MR_NS_PER_S;
    return (time_t)(ns % MR_NS_PER_S < 0 ? s - 1 : s);
}

const char *mr_clock_text(int64_t real_ns, char *ret)
{
    time_t s = whole_seconds(real_ns);
    int64_t rest = (real_ns % MR_NS_PER_S + MR_NS_PER_S) % MR_NS_PER_S;
    unsigned ms = (unsigned)(rest / MR_NS_PER_MS) % 1000u;
    struct tm tm;
    gmtime_r(&s, &tm);
    /* int64 ns end in 2262 and begin in 1677: the year always has four digits */
    snprintf(ret, MR_TIME_TEXT, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(tm.tm_year + 1900) % 10000u, (unsigned)(tm.tm_mon + 1) % 100u,
             (unsigned)tm.tm_mday % 100u, (unsigned)tm.tm_hour % 100u, (unsigned)tm.tm_min % 100u,
             (unsigned)tm.tm_sec % 100u, ms);
    return ret;
}

const char *mr_clock_day(int64_t real_ns, const char *zone, char *ret)
{
    time_t s = whole_seconds(real_ns);
    struct tm tm;
    if (strcmp(zone, "local") == 0)
        localtime_r(&s, &tm);
    else if (strcmp(zone, "UTC") == 0)
        gmtime_r(&s, &tm);
    else
        return NULL;
    snprintf(ret, MR_DAY_TEXT, "%04u-%02u-%02u", (unsigned)(tm.tm_year + 1900) % 10000u,
             (unsigned)(tm.tm_mon + 1) % 100u, (unsigned)tm.tm_mday % 100u);
    return ret;
}

/* Letters, digits and "/_+-" only: no way out of the database's folder. */
static bool is_zone_name(const char *zone)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+-";
    size_t length = strlen(zone);
    return length > 0 && length < 64 && zone[0] != '/' && strspn(zone, allowed) == length;
}

int mr_clock_check_zone(const char *zone)
{
    char path[128];
    struct stat st;
    if (strcmp(zone, "local") == 0 || strcmp(zone, "UTC") == 0)
        return 0;
    if (!is_zone_name(zone))
        return -EINVAL;
    snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", zone);
    return stat(path, &st) < 0 || !S_ISREG(st.st_mode) ? -ENOENT : 0;
}

int mr_clock_set_zone(const char *zone)
{
    int r = mr_clock_check_zone(zone);
    if (r < 0 || strcmp(zone, "local") == 0)
        return r;
    if (setenv("TZ", zone, 1) < 0)
        return -errno;
    tzset();
    return 0;
}
