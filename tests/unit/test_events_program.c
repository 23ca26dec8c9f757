/* SPDX-License-Identifier: Apache-2.0 */
/* Does millrace-events, as a process against a real publishing stage, keep its documented
 * promises? */
#include "publish_rig.h"
#include "suite.h"

#include <inttypes.h>
#include <libgen.h>
#include <signal.h>
#include <sys/wait.h>

static char program[512];

static void append(struct mr_eventlog *log, uint64_t from, uint64_t to)
{
    for (uint64_t n = from; n <= to; n++) {
        char id[32], *text = NULL;
        size_t bytes = 0;
        uint64_t sequence = 0;
        snprintf(id, sizeof(id), "m%" PRIu64 ".ready", n);
        struct mr_event e = {.type = n % 2 ? MR_EVENT_MOVIE_READY : MR_EVENT_MOVIE_STARTED,
                             .id = id,
                             .source = "/millrace/t"};
        ck_assert_int_eq(mr_event_encode(&e, &text, &bytes), 0);
        ck_assert_int_eq(mr_eventlog_append(log, text, bytes, &sequence, NULL), 0);
        free(text);
    }
    ck_assert_int_eq(mr_eventlog_sync(log, NULL), 0);
}

/* Replay is on the port after: look for two that are free side by side. */
static void bind_pair(struct server *v)
{
    int r = -1;
    for (int i = 0; i < 200 && r != 0; i++) {
        int port = 20000 + (getpid() * 7 + i * 2) % 12000;
        snprintf(v->events, sizeof(v->events), "tcp://127.0.0.1:%d", port);
        snprintf(v->replay, sizeof(v->replay), "tcp://127.0.0.1:%d", port + 1);
        r = mr_publish_new(v->link, v->log, v->events, v->replay, &v->publish, NULL);
    }
    ck_assert_int_eq(r, 0);
}

static void find_program(void)
{
    char self[400];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    ck_assert_int_gt(n, 0);
    self[n] = '\0';
    snprintf(program, sizeof(program), "%s/millrace-events", dirname(self));
    ck_assert_msg(access(program, X_OK) == 0, "%s is not built", program);
}

static struct server server_up(void)
{
    find_program();
    struct server v = server_open(1 << 20);
    append(v.log, 1, 10);
    bind_pair(&v);
    server_start(&v);
    return v;
}

/* Exit status of a shell command in which $E is the program with its server and $D the
 * directory. */
static int run(const struct server *v, const char *command)
{
    char e[700];
    snprintf(e, sizeof(e), "%s --server %s", program, v->events);
    setenv("E", e, 1);
    setenv("P", program, 1);
    setenv("D", v->s.path, 1);
    int status = system(command);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

START_TEST(events_are_printed_chosen_and_counted)
{
    struct server v = server_up();
    ck_assert_int_eq(run(&v, "$E --since 1 --count 10 >$D/out"), 0);
    ck_assert_int_eq(run(&v, "test $(wc -l <$D/out) = 10"), 0);
    ck_assert_int_eq(run(&v, "tail -n1 $D/out | grep -q '\"sequence\":\"10\"'"), 0);
    ck_assert_int_eq(run(&v, "$E --since 3 --type 'millrace.*.ready.v1' --count 2 >$D/out"), 0);
    ck_assert_int_eq(run(&v, "test $(grep -c -e m3.ready -e m5.ready $D/out) = 2"), 0);
    ck_assert_int_eq(run(&v, "$E --since 1 --timeout 0.5 >$D/out"), 75);
    ck_assert_int_eq(run(&v, "test $(wc -l <$D/out) = 10"), 0);
    ck_assert_int_eq(run(&v, "test \"$($E --since 1 | head -n1 | wc -l)\" = 1"), 0);
    server_down(&v);
}
END_TEST

START_TEST(a_cursor_resumes)
{
    struct server v = server_up();
    ck_assert_int_eq(run(&v, "$E --since 4 --count 3 --cursor $D/c | grep -q m6.ready"), 0);
    ck_assert_int_eq(run(&v, "test $(cat $D/c) = 6"), 0);
    ck_assert_int_eq(run(&v, "$E --since 1 --count 1 --cursor $D/c | grep -q m7.ready"), 0);
    /* from now: the place is kept although nothing came, and what came meanwhile is seen */
    ck_assert_int_eq(run(&v, "$E --cursor $D/now --timeout 0.7"), 75);
    ck_assert_int_eq(run(&v, "test $(cat $D/now) = 10"), 0);
    append(v.log, 11, 12);
    ck_assert_int_eq(run(&v, "$E --cursor $D/now --count 2 | tail -n1 | grep -q m12.ready"), 0);
    ck_assert_int_eq(run(&v, "echo x >$D/c; $E --cursor $D/c 2>/dev/null"), 74);
    ck_assert_int_eq(run(&v, "echo 99 >$D/c; $E --cursor $D/c 2>/dev/null"), 1);
    server_down(&v);
}
END_TEST

START_TEST(a_command_is_repeated_until_it_succeeds)
{
    struct server v = server_up();
    /* fails once on event 2, which leaves the cursor before it */
    ck_assert_int_eq(run(&v, "$E --since 1 --count 3 --cursor $D/c --exec "
                             "'read l; cat $D/c >>$D/cursors; echo \"$l\" >>$D/seen; "
                             "case $l in *m2.ready*) test -e $D/f || { : >$D/f; exit 5; };; esac' "
                             "2>$D/err"),
                     0);
    ck_assert_int_eq(run(&v, "test $(wc -l <$D/seen) = 4"), 0);
    ck_assert_int_eq(run(&v, "test $(grep -c m2.ready $D/seen) = 2"), 0);
    ck_assert_int_eq(run(&v, "test \"$(echo $(cat $D/cursors))\" = '0 1 1 2'"), 0);
    ck_assert_int_eq(run(&v, "grep -q 'event 2: the command exited with 5' $D/err"), 0);
    /* stopped while it fails: the event is dealt with by the next run */
    ck_assert_int_eq(run(&v, "$E --cursor $D/c --exec ': >$D/tried; false' 2>/dev/null & p=$!; "
                             "until test -e $D/tried; do sleep 0.05; done; kill $p; wait $p"),
                     0);
    ck_assert_int_eq(run(&v, "test $(cat $D/c) = 3"), 0);
    server_down(&v);
}
END_TEST

START_TEST(refusals_have_their_status)
{
    struct server v = server_up();
    ck_assert_int_eq(run(&v, "$P --help | grep -q -- --cursor"), 0);
    ck_assert_int_eq(run(&v, "$P --version | grep -q libzmq"), 0);
    ck_assert_int_eq(run(&v, "$P --nonsense 2>/dev/null"), 64);
    ck_assert_int_eq(run(&v, "$P --since 0 2>/dev/null"), 64);
    ck_assert_int_eq(run(&v, "$P --count x 2>/dev/null"), 64);
    ck_assert_int_eq(run(&v, "$P --timeout -1 2>/dev/null"), 64);
    ck_assert_int_eq(run(&v, "$P stray 2>/dev/null"), 64);
    ck_assert_int_eq(run(&v, "$P --server nonsense 2>/dev/null"), 64);
    ck_assert_int_eq(run(&v, "$P --server tcp://127.0.0.1:1 --timeout 0.5 2>/dev/null"), 69);
    ck_assert_int_eq(run(&v, "$E --since 1 >/dev/full 2>/dev/null"), 74);
    server_down(&v);
}
END_TEST

MR_SUITE("events_program", T(events_are_printed_chosen_and_counted), T(a_cursor_resumes),
         T(a_command_is_repeated_until_it_succeeds), T(refusals_have_their_status))
