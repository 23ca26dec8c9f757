/* SPDX-License-Identifier: Apache-2.0 */
/* CPUs, nice and I/O class of this process. Says nothing in the log, and asks for nothing that
 * would put the agent before others: no real-time class, no negative nice. */
#include "guest.h"

#include <errno.h>
#include <linux/ioprio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IO_LEVELS 8 /* of best effort: 0 first, 7 last */

/* ---- CPUs ---- */

size_t mr_guest_cpus_count(const struct mr_guest_cpus *cpus)
{
    return (size_t)CPU_COUNT_S(sizeof(cpus->set), cpus->set);
}

bool mr_guest_cpus_has(const struct mr_guest_cpus *cpus, size_t cpu)
{
    return cpu < MR_GUEST_CPUS_MAX && CPU_ISSET_S(cpu, sizeof(cpus->set), cpus->set);
}

char *mr_guest_cpus_text(const struct mr_guest_cpus *cpus, char text[MR_GUEST_CPUS_TEXT])
{
    size_t at = 0;
    text[0] = '\0';
    for (size_t first = 0, end; first < MR_GUEST_CPUS_MAX; first = end + 1) {
        char run[32];
        for (end = first; mr_guest_cpus_has(cpus, end);)
            end++;
        if (end == first)
            continue;
        const char *comma = at == 0 ? "" : ",";
        if (end - first == 1)
            snprintf(run, sizeof(run), "%s%zu", comma, first);
        else
            snprintf(run, sizeof(run), "%s%zu-%zu", comma, first, end - 1);
        bool fits = at + strlen(run) + sizeof("...") < MR_GUEST_CPUS_TEXT;
        at += (size_t)snprintf(text + at, MR_GUEST_CPUS_TEXT - at, "%s", fits ? run : "...");
        if (!fits)
            break;
    }
    return text;
}

int mr_guest_cpus_inherited(struct mr_guest_cpus *ret)
{
    static struct mr_guest_cpus inherited; /* ours would be seen instead, once applied */
    static bool known;
    if (!known && sched_getaffinity(0, sizeof(inherited.set), inherited.set) < 0)
        return -errno;
    known = true;
    *ret = inherited;
    return 0;
}

/* Decimal digits alone: neither sign nor blank, as strtoul would have it. */
static bool read_number(const char **text, size_t *ret)
{
    size_t value = 0;
    const char *c = *text;
    for (; *c >= '0' && *c <= '9'; c++) {
        value = value * 10 + (size_t)(*c - '0');
        if (value >= MR_GUEST_CPUS_MAX)
            return false;
    }
    if (c == *text)
        return false;
    *text = c;
    *ret = value;
    return true;
}

static bool read_range(const char **text, size_t *ret_first, size_t *ret_last)
{
    if (!read_number(text, ret_first))
        return false;
    *ret_last = *ret_first;
    if (**text == '-') {
        ++*text;
        if (!read_number(text, ret_last))
            return false;
    }
    return *ret_first <= *ret_last;
}

static int read_list(const char *text, struct mr_guest_cpus *ret)
{
    size_t first, last;
    *ret = (struct mr_guest_cpus){0};
    do {
        if (!read_range(&text, &first, &last))
            return -EINVAL;
        for (size_t cpu = first; cpu <= last; cpu++)
            CPU_SET_S(cpu, sizeof(ret->set), ret->set);
    } while (*text++ == ',');
    return text[-1] == '\0' ? 0 : -EINVAL;
}

const char *mr_guest_refuse_cpus(const char *text)
{
    struct mr_guest_cpus cpus;
    return strcmp(text, "all") == 0 || read_list(text, &cpus) == 0
               ? NULL
               : "must be all, or a list of CPUs such as \"2-5,8\", below 8192";
}

int mr_guest_cpus_parse(const char *text, const struct mr_guest_cpus *allowed,
                        struct mr_guest_cpus *ret, struct mr_err *err)
{
    char has[MR_GUEST_CPUS_TEXT];
    struct mr_guest_cpus cpus = *allowed;
    if (strcmp(text, "all") != 0 && read_list(text, &cpus) < 0)
        return mr_err_set(err, -EINVAL, "%s", mr_guest_refuse_cpus(text));
    for (size_t cpu = 0; cpu < MR_GUEST_CPUS_MAX; cpu++)
        if (mr_guest_cpus_has(&cpus, cpu) && !mr_guest_cpus_has(allowed, cpu))
            return mr_err_set(err, -EINVAL,
                              "CPU %zu is not one of those this process may use: %s (what this "
                              "machine, taskset, CPUAffinity= or a cpuset leave it)",
                              cpu, mr_guest_cpus_text(allowed, has));
    *ret = cpus;
    return 0;
}

int mr_guest_use_cpus(const struct mr_guest_cpus *cpus, struct mr_err *err)
{
    char wanted[MR_GUEST_CPUS_TEXT], given[MR_GUEST_CPUS_TEXT];
    struct mr_guest_cpus now = {0};
    if (sched_setaffinity(0, sizeof(cpus->set), cpus->set) < 0 ||
        sched_getaffinity(0, sizeof(now.set), now.set) < 0)
        return mr_err_errno(err, -errno, "host.cpus: %s", mr_guest_cpus_text(cpus, wanted));
    if (!CPU_EQUAL_S(sizeof(now.set), now.set, cpus->set)) /* a cpuset that shrank meanwhile */
        return mr_err_set(err, -EINVAL, "host.cpus: of %s the kernel gives %s only",
                          mr_guest_cpus_text(cpus, wanted), mr_guest_cpus_text(&now, given));
    return 0;
}

/* ---- nice ---- */

int mr_guest_use_nice(int nice, struct mr_err *err)
{
    if (nice == MR_GUEST_NICE_INHERIT)
        return 0;
    errno = 0;
    int now = getpriority(PRIO_PROCESS, 0); /* -1 is a value */
    if (errno != 0)
        return mr_err_errno(err, -errno, "host.nice: %d", nice);
    if (setpriority(PRIO_PROCESS, 0, nice) == 0)
        return 0;
    if ((errno == EACCES || errno == EPERM) && nice < now) /* else something forbids the call */
        return mr_err_set(err, -EPERM,
                          "host.nice: %d is before the %d that this process began with, and only "
                          "a privileged one may go back: begin with less (Nice= of the unit)",
                          nice, now);
    return mr_err_errno(err, -errno, "host.nice: %d", nice);
}

/* ---- I/O ---- */

/* -1: the text is none. ret: ioprio_set(2)'s value; 0: as it is. */
static int read_io(const char *text, int *ret)
{
    static const char best_effort[] = "best-effort";
    const size_t length = sizeof(best_effort) - 1;
    int level = 4; /* the kernel's own for nice 0 */
    *ret = 0;
    if (strcmp(text, "inherit") == 0)
        return 0;
    if (strcmp(text, "idle") == 0) {
        *ret = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0);
        return 0;
    }
    if (strncmp(text, best_effort, length) != 0)
        return -1;
    if (text[length] == ':' && text[length + 1] >= '0' && text[length + 1] < '0' + IO_LEVELS &&
        text[length + 2] == '\0')
        level = text[length + 1] - '0';
    else if (text[length] != '\0')
        return -1;
    *ret = IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, level);
    return 0;
}

const char *mr_guest_refuse_io(const char *text)
{
    int value;
    if (strncmp(text, "realtime", strlen("realtime")) == 0)
        return "the real-time class is not for a guest: inherit, idle, best-effort or "
               "best-effort:0 to best-effort:7";
    return read_io(text, &value) == 0
               ? NULL
               : "must be inherit, idle, best-effort, or best-effort:0 to best-effort:7";
}

/* glibc has no wrapper for it. */
int mr_guest_use_io(const char *text, struct mr_err *err)
{
    int value;
    if (read_io(text, &value) < 0)
        return mr_err_set(err, -EINVAL, "host.io: %s", mr_guest_refuse_io(text));
    if (value != 0 && syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) < 0)
        return mr_err_errno(err, -errno, "host.io: %s", text);
    return 0;
}
