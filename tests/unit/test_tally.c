/* SPDX-License-Identifier: Apache-2.0 */
/* Does a thread's account say what it worked on and waited for, and the table what the accounts
 * say? */
#include "base/tally.h"
#include "base/tally_sheet.h"
#include "base/thread.h"
#include "suite.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static struct mr_tally rows[MR_TALLIES];

/* The newest account of that name; NULL: there is none. */
static const struct mr_tally *account(const char *name)
{
    const struct mr_tally *found = NULL;
    size_t count = mr_tally_read(rows);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            found = &rows[i];
    return found;
}

/* Takes numbers from one queue to the next until the first is closed. */
struct worker {
    struct mr_queue *in, *out;
};

static void work(void *stage)
{
    struct worker *w = stage;
    for (int v; mr_queue_pop(w->in, -1, &v) == 0;) {
        mr_tally_item((uint64_t)v);
        if (mr_queue_push(w->out, &v) < 0)
            return;
    }
}

static struct mr_thread *start(struct worker *w, const char *name)
{
    const struct mr_stage ops = {.name = name, .run = work};
    struct mr_thread *thread;
    ck_assert_int_eq(mr_queue_new(sizeof(int), 4, &w->in), 0);
    ck_assert_int_eq(mr_queue_new(sizeof(int), 4, &w->out), 0);
    ck_assert_int_eq(mr_thread_start(&ops, w, NULL, &thread), 0);
    return thread;
}

static void finish(struct worker *w, struct mr_thread *thread)
{
    mr_queue_close(w->in);
    mr_queue_close(w->out);
    mr_thread_join(thread);
    mr_queue_free(w->in);
    mr_queue_free(w->out);
}

/* Until the thread has waited so long for that, as its account says. */
static void await_wait(const char *name, enum mr_tally_wait what, uint64_t ns)
{
    UNTIL(account(name)->wait_ns[what] >= ns, sched_yield());
}

START_TEST(a_wait_for_input_counts_while_it_goes_on)
{
    struct worker w;
    struct mr_thread *thread = start(&w, "idle");
    await_wait("idle", MR_TALLY_INPUT, 2000000);
    const struct mr_tally *a = account("idle");
    ck_assert(!a->ended);
    ck_assert_uint_ge(a->alive_ns, a->wait_ns[MR_TALLY_INPUT]);
    ck_assert_uint_eq(a->wait_ns[MR_TALLY_ROOM], 0);
    ck_assert_uint_eq(a->items, 0);
    finish(&w, thread);
    ck_assert(account("idle")->ended);
}
END_TEST

START_TEST(a_full_queue_is_a_wait_for_room)
{
    struct worker w;
    struct mr_thread *thread = start(&w, "stuck");
    for (int i = 1; i <= 5; i++) /* four fit */
        ck_assert_int_eq(mr_queue_push(w.in, &i), 0);
    await_wait("stuck", MR_TALLY_ROOM, 2000000);
    ck_assert_uint_eq(account("stuck")->items, 5);
    ck_assert_uint_eq(account("stuck")->bytes, 15);
    ck_assert_uint_eq(mr_queue_take_high(w.out), 4);
    int v;
    ck_assert_int_eq(mr_queue_pop(w.out, -1, &v), 0);
    finish(&w, thread);
    const struct mr_tally *a = account("stuck");
    ck_assert_uint_ge(a->wait_ns[MR_TALLY_ROOM], 2000000);
    ck_assert_uint_le(a->wait_ns[MR_TALLY_ROOM] + a->wait_ns[MR_TALLY_INPUT], a->alive_ns);
}
END_TEST

static void spin(void *stage)
{
    struct mr_queue *end = stage;
    while (mr_queue_pop(end, 0, &(int){0}) != -EPIPE)
        continue;
}

START_TEST(cpu_time_is_the_threads_own_and_stays_after_its_end)
{
    static const struct mr_stage ops = {.name = "spin", .run = spin};
    struct mr_queue *end;
    struct mr_thread *thread;
    ck_assert_int_eq(mr_queue_new(sizeof(int), 1, &end), 0);
    ck_assert_int_eq(mr_thread_start(&ops, end, NULL, &thread), 0);
    UNTIL(account("spin")->cpu_ns >= 1000000, sched_yield());
    mr_queue_close(end);
    mr_thread_join(thread);
    const struct mr_tally *a = account("spin");
    ck_assert(a->ended);
    ck_assert_uint_ge(a->cpu_ns, 1000000);
    ck_assert_uint_le(a->cpu_ns, a->alive_ns + 1000000);
    mr_queue_free(end);
}
END_TEST

START_TEST(a_thread_without_an_account_counts_nothing)
{
    size_t before = mr_tally_read(rows);
    mr_tally_item(1);
    mr_tally_wait(MR_TALLY_ROOM);
    mr_tally_go_on();
    mr_tally_end();
    ck_assert_uint_eq(mr_tally_read(rows), before);
    ck_assert_uint_eq(mr_tally_cpu_ns(0x3fffff), 0); /* no such thread */
}
END_TEST

START_TEST(there_is_room_for_more_threads_than_accounts)
{
    struct worker w;
    for (int i = 0; i < 2 * MR_TALLIES; i++)
        finish(&w, start(&w, "many"));
    ck_assert_uint_eq(mr_tally_read(rows), MR_TALLIES);
    struct mr_thread *thread = start(&w, "one-more");
    ck_assert_ptr_nonnull(account("one-more"));
    finish(&w, thread);
}
END_TEST

/* ---- the table ---- */

static void print(struct mr_tally_sheet *sheet, bool whole, char text[16384])
{
    FILE *out = fmemopen(text, 16384, "w");
    mr_tally_sheet_print(sheet, whole, out);
    ck_assert_int_eq(fclose(out), 0);
}

/* The numbers of a row; how many there are. */
static int row_of(const char *text, const char *name, double ret[8])
{
    char line[64];
    snprintf(line, sizeof(line), "\n%s ", name);
    const char *at = strstr(text, line);
    ck_assert_msg(at != NULL, "no row %s in:\n%s", name, text);
    at += strlen(line);
    int count = 0;
    for (char *end; count < 8; count++, at = end) {
        ret[count] = strtod(at, &end);
        if (end == at || memchr(at, '\n', (size_t)(end - at)) != NULL)
            break;
    }
    return count;
}

static void block_usr1(void)
{
    sigset_t usr1;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &usr1, NULL);
}

START_TEST(the_table_tells_what_happened_since_the_one_before)
{
    static char text[16384];
    double n[8];
    struct worker w;
    struct mr_thread *thread = start(&w, "mover");
    const struct mr_tally_level levels[] = {{.name = "in", .queue = w.in},
                                            {.name = "out", .queue = w.out}};
    struct mr_tally_sheet *sheet;
    block_usr1();
    ck_assert_int_eq(mr_tally_sheet_open("test", levels, 2, NULL, &sheet), 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(mr_queue_push(w.in, &(int){1000000}), 0);
    UNTIL(account("mover")->items >= 3, sched_yield());
    print(sheet, false, text);
    ck_assert_int_eq(row_of(text, "mover", n), 8);
    ck_assert_double_eq(n[5], 3);
    ck_assert_double_eq_tol(n[6], 3.0, 1e-9);
    ck_assert_int_eq(row_of(text, "out", n), 3);
    ck_assert_double_eq(n[1], 3);
    ck_assert_double_eq(n[2], 4);
    print(sheet, false, text);
    (void)row_of(text, "mover", n);
    ck_assert_double_eq(n[5], 0);
    print(sheet, true, text);
    (void)row_of(text, "mover", n);
    ck_assert_double_eq(n[5], 3);
    ck_assert_ptr_nonnull(strstr(text, "since its start"));
    mr_tally_sheet_close(sheet, false);
    finish(&w, thread);
}
END_TEST

START_TEST(threads_of_one_name_are_numbered)
{
    static char text[16384];
    double n[8];
    struct worker a, b;
    struct mr_thread *first = start(&a, "twin"), *second = start(&b, "twin");
    struct mr_tally_sheet *sheet;
    block_usr1();
    ck_assert_int_eq(mr_tally_sheet_open("test", NULL, 0, NULL, &sheet), 0);
    ck_assert_int_eq(mr_queue_push(b.in, &(int){7}), 0);
    UNTIL(account("twin")->items >= 1, sched_yield());
    print(sheet, true, text);
    (void)row_of(text, "twin-0", n);
    ck_assert_double_eq(n[5], 0);
    (void)row_of(text, "twin-1", n);
    ck_assert_double_eq(n[5], 1);
    mr_tally_sheet_close(sheet, false);
    finish(&a, first);
    finish(&b, second);
}
END_TEST

MR_SUITE("tally", T(a_wait_for_input_counts_while_it_goes_on), T(a_full_queue_is_a_wait_for_room),
         T(cpu_time_is_the_threads_own_and_stays_after_its_end),
         T(a_thread_without_an_account_counts_nothing),
         T(there_is_room_for_more_threads_than_accounts),
         T(the_table_tells_what_happened_since_the_one_before), T(threads_of_one_name_are_numbered))
