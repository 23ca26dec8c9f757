/* SPDX-License-Identifier: Apache-2.0 */
/* Does a start that failed leave nothing behind, and is a started stage really started? */
#include "base/queue.h"
#include "base/thread.h"
#include "suite.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

struct probe {
    struct mr_queue *input;
    pthread_t started_on, ran_on;
    int start_result;
    int popped;
    bool ran, usr1_blocked;
    char name[16];
};

static int probe_start(void *stage, struct mr_err *err)
{
    struct probe *p = stage;
    p->started_on = pthread_self();
    return p->start_result == 0 ? 0 : mr_err_set(err, p->start_result, "no input");
}

static void probe_run(void *stage)
{
    struct probe *p = stage;
    sigset_t mask;
    int v;
    p->ran = true;
    p->ran_on = pthread_self();
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    p->usr1_blocked = sigismember(&mask, SIGUSR1) == 1;
    pthread_getname_np(pthread_self(), p->name, sizeof(p->name));
    while (p->input != NULL && mr_queue_pop(p->input, -1, &v) == 0)
        p->popped++;
}

START_TEST(a_stage_starts_and_runs_on_one_named_thread)
{
    struct probe p = {0};
    struct mr_err err = {0};
    struct mr_thread *thread = NULL;
    {
        struct mr_stage ops = {.name = "lane-0", .start = probe_start, .run = probe_run};
        ck_assert_int_eq(mr_thread_start(&ops, &p, &err, &thread), 0);
        memset(&ops, 0, sizeof(ops)); /* only the name must outlive */
    }
    mr_thread_join(thread);
    ck_assert(p.ran && p.usr1_blocked);
    ck_assert(pthread_equal(p.started_on, p.ran_on));
    ck_assert(!pthread_equal(p.started_on, pthread_self()));
    ck_assert_str_eq(p.name, "lane-0");
}
END_TEST

START_TEST(a_failed_start_never_runs)
{
    struct probe p = {.start_result = -EADDRINUSE};
    struct mr_err err = {0};
    struct mr_thread *thread = NULL;
    static const struct mr_stage ops = {.name = "lane-0", .start = probe_start, .run = probe_run};
    ck_assert_int_eq(mr_thread_start(&ops, &p, &err, &thread), -EADDRINUSE);
    ck_assert_str_eq(err.text, "no input");
    ck_assert_ptr_null(thread);
    ck_assert(!p.ran);
    mr_thread_join(NULL);
}
END_TEST

START_TEST(a_stage_ends_when_its_input_is_closed)
{
    struct probe p = {0};
    struct mr_thread *thread = NULL;
    static const struct mr_stage ops = {.name = "fifteen-letters", .run = probe_run};
    ck_assert_int_eq(mr_queue_new(sizeof(int), 2, &p.input), 0);
    ck_assert_int_eq(mr_thread_start(&ops, &p, NULL, &thread), 0);
    for (int i = 0; i < 10; i++)
        ck_assert_int_eq(mr_queue_push(p.input, &i), 0);
    mr_queue_close(p.input);
    mr_thread_join(thread);
    ck_assert_int_eq(p.popped, 10);
    ck_assert_str_eq(p.name, "fifteen-letters");
    mr_queue_free(p.input);
}
END_TEST

START_TEST(the_starters_mask_stays)
{
    struct probe p = {0};
    struct mr_thread *thread = NULL;
    sigset_t before, after;
    static const struct mr_stage ops = {.name = "x", .run = probe_run};
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    ck_assert_int_eq(mr_thread_start(&ops, &p, NULL, &thread), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    mr_thread_join(thread);
    for (int s = 1; s < 32; s++)
        ck_assert_int_eq(sigismember(&before, s), sigismember(&after, s));
}
END_TEST

MR_SUITE("thread", T(a_stage_starts_and_runs_on_one_named_thread), T(a_failed_start_never_runs),
         T(a_stage_ends_when_its_input_is_closed), T(the_starters_mask_stays))
