/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accounts of threads, in a fixed table. Prints nothing and allocates nothing. A reader may see a
 * wait that has just ended twice or not at all: that is an error of one wait in a figure for
 * people.
 */
#include "base/tally.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define RELAXED memory_order_relaxed

/* Written by its own thread; taken and closed under mutex. */
struct account {
    char name[MR_TALLY_NAME];
    pid_t tid;
    bool open;
    uint64_t number; /* of its opening, from 1 */
    int64_t began_ns, ended_ns;
    uint64_t cpu_ns; /* at the end */
    _Atomic uint64_t items, bytes, wait_ns[MR_TALLY_WAITS];
    _Atomic int64_t waiting_since_ns; /* 0: it works */
    _Atomic int waiting_for;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct account accounts[MR_TALLIES];
static uint64_t opened;
static _Thread_local struct account *mine;

/* linux/posix-timers.h: CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED. What pthread_getcpuclockid(3)
 * makes, also for threads that only the kernel has a name for, such as io_uring's workers. */
uint64_t mr_tally_cpu_ns(int tid)
{
    struct timespec used;
    clockid_t clock = (clockid_t)(~(unsigned)tid << 3 | 6u);
    if (clock_gettime(clock, &used) < 0)
        return 0;
    return (uint64_t)used.tv_sec * MR_NS_PER_S + (uint64_t)used.tv_nsec;
}

/* A free place, else that of the thread that is longest gone. */
static struct account *find_place(void)
{
    struct account *found = NULL;
    for (size_t i = 0; i < MR_TALLIES; i++)
        if (!accounts[i].open && (found == NULL || accounts[i].number < found->number))
            found = &accounts[i];
    return found;
}

void mr_tally_begin(const char *name)
{
    pthread_mutex_lock(&mutex);
    struct account *a = find_place();
    if (a != NULL) {
        snprintf(a->name, sizeof(a->name), "%.15s", name);
        a->tid = gettid();
        a->open = true;
        a->number = ++opened;
        a->began_ns = mr_clock_monotonic_ns();
        a->ended_ns = 0;
        a->cpu_ns = 0;
        atomic_store_explicit(&a->items, 0, RELAXED);
        atomic_store_explicit(&a->bytes, 0, RELAXED);
        atomic_store_explicit(&a->waiting_since_ns, 0, RELAXED);
        for (int i = 0; i < MR_TALLY_WAITS; i++)
            atomic_store_explicit(&a->wait_ns[i], 0, RELAXED);
    }
    pthread_mutex_unlock(&mutex);
    mine = a;
}

void mr_tally_end(void)
{
    if (mine == NULL)
        return;
    pthread_mutex_lock(&mutex);
    mine->open = false;
    mine->ended_ns = mr_clock_monotonic_ns();
    mine->cpu_ns = mr_tally_cpu_ns(mine->tid);
    pthread_mutex_unlock(&mutex);
    mine = NULL;
}

static void add(_Atomic uint64_t *to, uint64_t n)
{
    atomic_store_explicit(to, atomic_load_explicit(to, RELAXED) + n, RELAXED);
}

void mr_tally_item(uint64_t bytes)
{
    if (mine == NULL)
        return;
    add(&mine->items, 1);
    add(&mine->bytes, bytes);
}

void mr_tally_wait(enum mr_tally_wait what)
{
    if (mine == NULL)
        return;
    atomic_store_explicit(&mine->waiting_for, (int)what, RELAXED);
    atomic_store_explicit(&mine->waiting_since_ns, mr_clock_monotonic_ns(), RELAXED);
}

void mr_tally_go_on(void)
{
    if (mine == NULL)
        return;
    int64_t since_ns = atomic_load_explicit(&mine->waiting_since_ns, RELAXED);
    int what = atomic_load_explicit(&mine->waiting_for, RELAXED);
    if (since_ns == 0)
        return;
    atomic_store_explicit(&mine->waiting_since_ns, 0, RELAXED);
    add(&mine->wait_ns[what], (uint64_t)(mr_clock_monotonic_ns() - since_ns));
}

int mr_tally_poll(struct pollfd *fds, nfds_t count, int timeout_ms, enum mr_tally_wait what)
{
    mr_tally_wait(what);
    int ready = poll(fds, count, timeout_ms);
    int error = errno;
    mr_tally_go_on();
    errno = error;
    return ready;
}

int mr_tally_ppoll(struct pollfd *fds, nfds_t count, const struct timespec *timeout,
                   enum mr_tally_wait what)
{
    mr_tally_wait(what);
    int ready = ppoll(fds, count, timeout, NULL);
    int error = errno;
    mr_tally_go_on();
    errno = error;
    return ready;
}

/* Under mutex. */
static void copy(const struct account *a, int64_t now_ns, struct mr_tally *ret)
{
    int64_t since_ns = atomic_load_explicit(&a->waiting_since_ns, RELAXED);
    int what = atomic_load_explicit(&a->waiting_for, RELAXED);
    int64_t end_ns = a->open ? now_ns : a->ended_ns;
    *ret = (struct mr_tally){.tid = a->tid,
                             .ended = !a->open,
                             .alive_ns = (uint64_t)(end_ns - a->began_ns),
                             .cpu_ns = a->open ? mr_tally_cpu_ns(a->tid) : a->cpu_ns,
                             .items = atomic_load_explicit(&a->items, RELAXED),
                             .bytes = atomic_load_explicit(&a->bytes, RELAXED)};
    snprintf(ret->name, sizeof(ret->name), "%s", a->name);
    for (int i = 0; i < MR_TALLY_WAITS; i++)
        ret->wait_ns[i] = atomic_load_explicit(&a->wait_ns[i], RELAXED);
    if (a->open && since_ns != 0 && since_ns < now_ns)
        ret->wait_ns[what] += (uint64_t)(now_ns - since_ns);
}

size_t mr_tally_read(struct mr_tally ret[MR_TALLIES])
{
    size_t count = 0;
    uint64_t after = 0;
    pthread_mutex_lock(&mutex);
    int64_t now_ns = mr_clock_monotonic_ns();
    for (;;) {
        const struct account *next = NULL;
        for (size_t i = 0; i < MR_TALLIES; i++)
            if (accounts[i].number > after && (next == NULL || accounts[i].number < next->number))
                next = &accounts[i];
        if (next == NULL)
            break;
        after = next->number;
        copy(next, now_ns, &ret[count++]);
    }
    pthread_mutex_unlock(&mutex);
    return count;
}
