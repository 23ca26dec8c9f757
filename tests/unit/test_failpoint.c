/* SPDX-License-Identifier: Apache-2.0 */
/* Does a failpoint do what the environment asks for, that one time, and nothing otherwise? */
#include "base/failpoint.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(without_the_variables_nothing_happens)
{
    unsetenv("MILLRACE_FAIL_AT");
    unsetenv("MILLRACE_CRASH_AT");
    ck_assert(atomic_load(&mr_failpoint_is_armed));
    ck_assert_int_eq(mr_failpoint_result("here", 7), 7);
    mr_failpoint("here");
    ck_assert(!atomic_load(&mr_failpoint_is_armed));
}
END_TEST

START_TEST(the_second_result_is_another_once)
{
    setenv("MILLRACE_FAIL_AT", "here:2:ENOSPC", 1);
    ck_assert_int_eq(mr_failpoint_result("elsewhere", 1), 1);
    ck_assert_int_eq(mr_failpoint_result("here", 1), 1);
    ck_assert_int_eq(mr_failpoint_result("elsewhere", 2), 2);
    ck_assert_int_eq(mr_failpoint_result("her", 2), 2);
    ck_assert_int_eq(mr_failpoint_result("here", 2), -ENOSPC);
    ck_assert_int_eq(mr_failpoint_result("here", 3), 3);
}
END_TEST

START_TEST(short_is_half)
{
    setenv("MILLRACE_FAIL_AT", "here:1:short", 1);
    ck_assert_int_eq(mr_failpoint_result("here", 4096), 2048);
    ck_assert_int_eq(mr_failpoint_result("here", 4096), 4096);
}
END_TEST

START_TEST(an_error_nobody_knows_is_eio)
{
    setenv("MILLRACE_FAIL_AT", "here:1:ENONSENSE", 1);
    ck_assert_int_eq(mr_failpoint_result("here", 0), -EIO);
}
END_TEST

START_TEST(without_number_or_fault_the_first_fails)
{
    setenv("MILLRACE_FAIL_AT", "here", 1);
    ck_assert_int_eq(mr_failpoint_result("here", 0), -EIO);
    ck_assert_int_eq(mr_failpoint_result("here", 0), 0);
}
END_TEST

START_TEST(crash_ends_the_process_the_second_time)
{
    int status, ends[2];
    char passed[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        setenv("MILLRACE_CRASH_AT", "here:2", 1);
        mr_failpoint("elsewhere");
        mr_failpoint("here");
        (void)!write(ends[1], "1", 1);
        mr_failpoint("here");
        (void)!write(ends[1], "2", 1);
        _exit(0);
    }
    close(ends[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    ck_assert_int_eq(read(ends[0], passed, 2), 1);
    close(ends[0]);
}
END_TEST

START_TEST(stop_holds_it_until_it_is_let_go_on)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        setenv("MILLRACE_STOP_AT", "here", 1);
        mr_failpoint("elsewhere");
        mr_failpoint("here");
        _exit(7);
    }
    ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
    ck_assert(WIFSTOPPED(status));
    ck_assert_int_eq(kill(child, SIGCONT), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}
END_TEST

static void *pass_here(void *pipe_end)
{
    mr_failpoint("here");
    _exit(write(*(int *)pipe_end, "x", 1) == 1 ? 7 : 8);
}

/* Another thread is there to take the signal: the one that passes must not get any further. */
START_TEST(stop_holds_the_thread_that_passes)
{
    for (int i = 0; i < 50; i++) {
        int ends[2], status;
        char byte;
        ck_assert_int_eq(pipe2(ends, O_NONBLOCK), 0);
        pid_t child = fork();
        if (child == 0) {
            pthread_t thread;
            setenv("MILLRACE_STOP_AT", "here", 1);
            pthread_create(&thread, NULL, pass_here, &ends[1]);
            pthread_join(thread, NULL);
        }
        ck_assert_int_eq(waitpid(child, &status, WUNTRACED), child);
        ck_assert(WIFSTOPPED(status));
        ck_assert_int_lt(read(ends[0], &byte, 1), 0);
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        close(ends[0]);
        close(ends[1]);
    }
}
END_TEST

MR_SUITE("failpoint", T(without_the_variables_nothing_happens),
         T(the_second_result_is_another_once), T(short_is_half), T(an_error_nobody_knows_is_eio),
         T(without_number_or_fault_the_first_fails), T(crash_ends_the_process_the_second_time),
         T(stop_holds_it_until_it_is_let_go_on), T(stop_holds_the_thread_that_passes))
