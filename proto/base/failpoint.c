/* SPDX-License-Identifier: Apache-2.0 */
/* Faults on purpose: the end of the process, its standing still, or one wrong result. Knows none of
 * the places by name. */
#include "base/failpoint.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ERRNO_MAX 133 /* EHWPOISON, the last one */

/* What one variable asks for. */
struct wish {
    const char *name; /* NULL: nothing */
    size_t length;
    const char *fault;
    _Atomic long left;
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct wish crash, stop, failure;
atomic_bool mr_failpoint_is_armed = true;

static void read_wish(const char *variable, struct wish *w)
{
    char *end = NULL;
    w->name = getenv(variable);
    if (w->name == NULL)
        return;
    w->length = strcspn(w->name, ":");
    const char *number = w->name + w->length;
    atomic_store(&w->left, *number == ':' ? strtol(number + 1, &end, 10) : 1);
    w->fault = end != NULL && *end == ':' ? end + 1 : "";
}

static void read_environment(void)
{
    read_wish("MILLRACE_CRASH_AT", &crash);
    read_wish("MILLRACE_STOP_AT", &stop);
    read_wish("MILLRACE_FAIL_AT", &failure);
    atomic_store(&mr_failpoint_is_armed, failure.name != NULL);
}

/* Is it the place, and the time? */
static bool is_due(struct wish *w, const char *name)
{
    pthread_once(&once, read_environment);
    return w->name != NULL && strlen(name) == w->length && memcmp(name, w->name, w->length) == 0 &&
           atomic_fetch_sub(&w->left, 1) == 1;
}

void mr_failpoint(const char *name)
{
    if (is_due(&crash, name))
        kill(getpid(), SIGKILL);
    if (is_due(&stop, name))
        raise(SIGSTOP); /* this thread first: it must not get any further */
}

static int fault_of(const char *fault, int result)
{
    if (strcmp(fault, "short") == 0)
        return result / 2;
    for (int code = 1; code <= ERRNO_MAX; code++) {
        const char *name = strerrorname_np(code);
        if (name != NULL && strcmp(name, fault) == 0)
            return -code;
    }
    return -EIO;
}

int mr_failpoint_replace(const char *name, int result)
{
    if (!is_due(&failure, name))
        return result;
    int fault = fault_of(failure.fault, result);
    fprintf(stderr, "failpoint %s: %d instead of %d\n", name, fault, result);
    return fault;
}
