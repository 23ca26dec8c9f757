/* SPDX-License-Identifier: Apache-2.0 */
/* Threads around stages. Does not stop a thread: a stage ends when its input is closed. */
#include "base/thread.h"

#include "base/tally.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_CHARACTERS = 15 }; /* pthread_setname_np(3): 16 with the NUL */

struct mr_thread {
    pthread_t id;
    struct mr_stage ops; /* a copy: the caller's may be on its stack */
    void *stage;
    struct mr_err *err; /* the starter's; it waits while we may write it */
    pthread_mutex_t mutex;
    pthread_cond_t told;
    bool started; /* start has returned; under mutex, as result */
    int result;
};

static void tell_starter(struct mr_thread *t, int result)
{
    pthread_mutex_lock(&t->mutex);
    t->result = result;
    t->started = true;
    pthread_cond_signal(&t->told);
    pthread_mutex_unlock(&t->mutex);
}

static void *body(void *arg)
{
    struct mr_thread *t = arg;
    (void)pthread_setname_np(pthread_self(), t->ops.name);
    mr_tally_begin(t->ops.name);
    int r = t->ops.start == NULL ? 0 : t->ops.start(t->stage, t->err);
    tell_starter(t, r);
    if (r >= 0)
        t->ops.run(t->stage);
    mr_tally_end();
    return NULL;
}

/* A new thread inherits the mask, so it is blocked before there is one. */
static int create_blocked(struct mr_thread *t)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&t->id, NULL, body, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

static int wait_started(struct mr_thread *t)
{
    pthread_mutex_lock(&t->mutex);
    while (!t->started)
        pthread_cond_wait(&t->told, &t->mutex);
    int r = t->result;
    pthread_mutex_unlock(&t->mutex);
    return r;
}

static void release(struct mr_thread *t)
{
    pthread_cond_destroy(&t->told);
    pthread_mutex_destroy(&t->mutex);
    free(t);
}

int mr_thread_start(const struct mr_stage *ops, void *stage, struct mr_err *err,
                    struct mr_thread **ret)
{
    assert(strlen(ops->name) <= NAME_CHARACTERS && ops->run != NULL);
    struct mr_thread *t = calloc(1, sizeof(*t));
    if (t == NULL)
        return mr_err_errno(err, -ENOMEM, "thread %s", ops->name);
    t->ops = *ops;
    t->stage = stage;
    t->err = err;
    pthread_mutex_init(&t->mutex, NULL);
    pthread_cond_init(&t->told, NULL);
    int r = create_blocked(t);
    if (r < 0) {
        release(t);
        return mr_err_errno(err, r, "thread %s", ops->name);
    }
    r = wait_started(t);
    if (r < 0)
        mr_thread_join(t);
    else
        *ret = t;
    return r;
}

void mr_thread_join(struct mr_thread *thread)
{
    if (thread == NULL)
        return;
    int r = pthread_join(thread->id, NULL);
    assert(r == 0);
    (void)r;
    release(thread);
}
