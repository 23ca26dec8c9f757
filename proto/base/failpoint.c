/* SPDX-License-Identifier: Apache-2.0 */
/* Crashing on purpose. Returns no errors and injects none: only the end of the process. */
#include "base/failpoint.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static const char *wanted;
static size_t wanted_length;
static _Atomic long left = 1;

static void read_environment(void)
{
    wanted = getenv("MILLRACE_CRASH_AT");
    if (wanted == NULL)
        return;
    const char *colon = strchr(wanted, ':');
    wanted_length = colon == NULL ? strlen(wanted) : (size_t)(colon - wanted);
    if (colon != NULL)
        atomic_store(&left, strtol(colon + 1, NULL, 10));
}

void mr_failpoint(const char *name)
{
    pthread_once(&once, read_environment);
    if (wanted == NULL || strlen(name) != wanted_length || memcmp(name, wanted, wanted_length) != 0)
        return;
    if (atomic_fetch_sub(&left, 1) == 1)
        kill(getpid(), SIGKILL);
}
