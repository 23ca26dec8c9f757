/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Threads, mutexes, conditions and clocks as the code under test calls them (the linker's --wrap
 * leads here; list.cmake names each). Off a fibre there is nobody to wait for.
 */
#include "fibre.h"
#include "serverside.h"
#include "wrapped.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define MUTEXES  32
#define EPOCH_NS INT64_C(1795000000000000000) /* real time when a schedule begins */

static struct held_mutex {
    const void *mutex;
    const struct serverside *process;
    bool wanted; /* somebody waits for it */
} held[MUTEXES];

/* ---- threads ---- */

int __wrap_pthread_create(pthread_t *ret, const pthread_attr_t *attr, void *(*body)(void *),
                          void *arg)
{
    (void)attr;
    *ret = (pthread_t)(uintptr_t)fibre_start(fibre_process(), body, arg);
    return 0;
}

int __wrap_pthread_join(pthread_t id, void **ret)
{
    (void)ret;
    fibre_join((struct fibre *)(uintptr_t)id); // NOLINT(performance-no-int-to-ptr)
    return 0;
}

int __wrap_pthread_setname_np(pthread_t id, const char *name)
{
    (void)id;
    (void)name;
    return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    (void)how;
    (void)set;
    (void)old;
    return 0;
}

/* ---- mutexes: nobody waits inside one as a rule, but who does must not be walked in on ---- */

static struct held_mutex *find(const void *mutex)
{
    for (size_t i = 0; i < MUTEXES; i++)
        if (held[i].mutex == mutex)
            return &held[i];
    return NULL;
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
    const void *channel = mutex;
    if (fibre_process() == NULL)
        return 0;
    for (struct held_mutex *h; (h = find(mutex)) != NULL;) {
        h->wanted = true;
        fibre_wait(&channel, 1, -1);
    }
    struct held_mutex *slot = find(NULL);
    if (slot == NULL)
        abort();
    *slot = (struct held_mutex){.mutex = mutex, .process = fibre_process()};
    return 0;
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
    return find(mutex) != NULL ? EBUSY : __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_unlock(pthread_mutex_t *mutex)
{
    struct held_mutex *slot = find(mutex);
    bool wanted = slot != NULL && slot->wanted;
    if (slot != NULL)
        *slot = (struct held_mutex){0};
    if (wanted)
        fibre_signal(mutex);
    return 0;
}

void fibre_forget_mutexes(const struct serverside *process)
{
    for (size_t i = 0; i < MUTEXES; i++)
        if (held[i].process == process)
            held[i] = (struct held_mutex){0};
}

/* ---- conditions ---- */

static void wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, int64_t for_ns)
{
    const void *channel = cond;
    __wrap_pthread_mutex_unlock(mutex);
    fibre_wait(&channel, 1, for_ns);
    __wrap_pthread_mutex_lock(mutex);
}

int __wrap_pthread_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex)
{
    wait_for(cond, mutex, -1);
    return 0;
}

/* All conditions of ours go by the monotonic clock. */
int __wrap_pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex,
                                  const struct timespec *until)
{
    int64_t until_ns = until->tv_sec * (1000 * MS) + until->tv_nsec;
    int64_t left_ns = until_ns - __wrap_mr_clock_monotonic_ns();
    if (left_ns > 0)
        wait_for(cond, mutex, left_ns);
    return __wrap_mr_clock_monotonic_ns() >= until_ns ? ETIMEDOUT : 0;
}

int __wrap_pthread_cond_signal(pthread_cond_t *cond)
{
    fibre_signal_one(cond);
    return 0;
}

int __wrap_pthread_cond_broadcast(pthread_cond_t *cond)
{
    fibre_signal(cond);
    return 0;
}

/* ---- clocks ---- */

int64_t __wrap_mr_clock_monotonic_ns(void)
{
    return 1000 * MS + world_current()->time.now_ns;
}

int64_t __wrap_mr_clock_boottime_ns(void)
{
    return __wrap_mr_clock_monotonic_ns();
}

int64_t __wrap_mr_clock_real_ns(void)
{
    const struct world *w = world_current();
    return EPOCH_NS + w->time.now_ns + w->clock_jump_ns;
}
