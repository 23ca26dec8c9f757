/* SPDX-License-Identifier: Apache-2.0 */
/* Do signals reach the main thread alone and in its own time, and can a second one always end it?
 */
#include "asleep.h"
#include "base/process.h"
#include "suite.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

/* ---- what is taken ---- */

static bool readable(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

/* What of these is blocked, as "TIHU..." */
static void *read_mask(void *ret)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD, SIGALRM};
    sigset_t mask;
    char *text = ret;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        text[i] = sigismember(&mask, signals[i]) == 1 ? "TIHU2CA"[i] : '.';
    return NULL;
}

START_TEST(four_signals_are_blocked_in_this_and_later_threads)
{
    char here[8] = "", there[8] = "";
    pthread_t thread;
    read_mask(here);
    ck_assert_str_eq(here, ".......");
    ck_assert_int_ge(mr_process_take_signals(), 0);
    read_mask(here);
    ck_assert_str_eq(here, "TIHU...");
    ck_assert_int_eq(pthread_create(&thread, NULL, read_mask, there), 0);
    pthread_join(thread, NULL);
    ck_assert_str_eq(there, "TIHU...");
}
END_TEST

START_TEST(what_was_blocked_before_stays_so)
{
    char mask[8] = "";
    sigset_t usr2;
    sigemptyset(&usr2);
    sigaddset(&usr2, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &usr2, NULL);
    ck_assert_int_ge(mr_process_take_signals(), 0);
    read_mask(mask);
    ck_assert_str_eq(mask, "TIHU2..");
}
END_TEST

START_TEST(the_descriptor_is_ours_alone_and_never_waits)
{
    struct signalfd_siginfo info;
    int fd = mr_process_take_signals();
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_lt(read(fd, &info, sizeof(info)), 0);
    ck_assert_int_eq(errno, EAGAIN);
}
END_TEST

START_TEST(each_signal_is_told_by_its_number)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    int fd = mr_process_take_signals();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(kill(getpid(), signals[i]), 0);
        ck_assert_int_eq(mr_process_wait_signal(fd), signals[i]);
    }
    ck_assert(!readable(fd));
}
END_TEST

START_TEST(usr1_is_left_to_others)
{
    sigset_t pending;
    int fd = mr_process_take_signals();
    ck_assert_int_eq(kill(getpid(), SIGUSR1), 0);
    ck_assert(!readable(fd));
    ck_assert_int_eq(sigpending(&pending), 0);
    ck_assert_int_eq(sigismember(&pending, SIGUSR1), 1);
}
END_TEST

START_TEST(a_reader_that_went_is_an_error_and_no_end)
{
    int ends[2];
    ck_assert_int_ge(mr_process_take_signals(), 0);
    ck_assert_int_eq(pipe(ends), 0);
    close(ends[0]);
    ck_assert_int_lt(write(ends[1], "x", 1), 0);
    ck_assert_int_eq(errno, EPIPE);
    close(ends[1]);
}
END_TEST

START_TEST(without_descriptors_it_says_so)
{
    struct rlimit before, none;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = mr_process_take_signals();
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(r, -EMFILE);
}
END_TEST

/* ---- the watchdog meanwhile ---- */

/* A socket such as systemd's, which waits for what is sent. */
static int listen_as_systemd(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char name[64];
    int length = snprintf(name, sizeof(name), "@mr_test_process_%d", (int)getpid());
    memcpy(address.sun_path + 1, name + 1, (size_t)length - 1);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t bytes = (socklen_t)(sizeof(address) - sizeof(address.sun_path) + (size_t)length);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, bytes), 0);
    setenv("NOTIFY_SOCKET", name, 1);
    return fd;
}

static pid_t wait_in_a_child(void)
{
    pid_t child = fork();
    if (child == 0) {
        int fd = mr_process_take_signals();
        _exit(mr_process_wait_signal(fd));
    }
    ck_assert_int_gt(child, 0);
    return child;
}

static void check_alive_told(int systemd)
{
    char text[64] = "";
    ck_assert_int_gt(recv(systemd, text, sizeof(text) - 1, 0), 0);
    ck_assert_str_eq(text, "WATCHDOG=1");
}

static void end_by(pid_t child, int number)
{
    int status;
    ck_assert_int_eq(kill(child, number), 0);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), number);
}

START_TEST(the_watchdog_is_told_again_and_again_while_it_waits)
{
    int systemd = listen_as_systemd();
    unsetenv("WATCHDOG_PID");
    setenv("WATCHDOG_USEC", "20000", 1);
    pid_t child = wait_in_a_child();
    for (int i = 0; i < 5; i++)
        check_alive_told(systemd);
    while (readable(systemd)) /* so that it is not held back by what nobody has read */
        check_alive_told(systemd);
    end_by(child, SIGHUP);
}
END_TEST

START_TEST(where_nobody_watches_it_sleeps_until_the_signal)
{
    int systemd = listen_as_systemd();
    unsetenv("WATCHDOG_PID");
    unsetenv("WATCHDOG_USEC");
    pid_t child = wait_in_a_child();
    UNTIL(is_asleep(child), sched_yield());
    end_by(child, SIGTERM);
    check_alive_told(systemd); /* as it woke up */
    ck_assert(!readable(systemd));
}
END_TEST

/* What the next poll is told to wait, in ms. */
static int waits_ms;
int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    waits_ms = timeout_ms;
    return __real_poll(fds, count, timeout_ms);
}

START_TEST(it_wakes_up_twice_in_the_interval)
{
    static const struct {
        const char *usec;
        int wait_ms;
    } rows[] = {
        {"30000000", 15000},           {"2001", 1}, {"0", -1}, {"4294967294000", INT_MAX},
        {"5184000000000", INT_MAX}, /* 60 days: their half in ms is more than an int holds */
        {"9223372036854774", INT_MAX},
    };
    int fd = mr_process_take_signals();
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_PID");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        setenv("WATCHDOG_USEC", rows[i].usec, 1);
        ck_assert_int_eq(kill(getpid(), SIGHUP), 0);
        ck_assert_int_eq(mr_process_wait_signal(fd), SIGHUP);
        ck_assert_msg(waits_ms == rows[i].wait_ms, "%s: %d", rows[i].usec, waits_ms);
    }
}
END_TEST

/* ---- a second signal ---- */

/* How a child ends, that takes signals, allows its end and then gets these two; what it said. */
static int end_of_child(int before, int after, char *ret, size_t size)
{
    int ends[2], status;
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        int fd = mr_process_take_signals();
        if (before != 0)
            raise(before);
        mr_process_allow_end("not waiting any longer\n");
        raise(after);
        _exit(fd < 0 ? 99 : 7);
    }
    close(ends[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ssize_t n = read(ends[0], ret, size - 1);
    ck_assert_int_ge(n, 0);
    ret[n] = '\0';
    close(ends[0]);
    return status;
}

START_TEST(a_second_signal_ends_it_with_a_word)
{
    static const struct {
        int before, after, ends_by;
    } rows[] = {
        {0, SIGTERM, SIGTERM},    {0, SIGINT, SIGINT},
        {SIGINT, SIGHUP, SIGINT}, /* it came between: it waited, and counts */
        {0, SIGHUP, 0},           /* asks for a reload, which is too late: never an end */
        {SIGHUP, SIGUSR1, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char said[128];
        int status = end_of_child(rows[i].before, rows[i].after, said, sizeof(said));
        if (rows[i].ends_by == 0)
            ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 7);
        else
            ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == rows[i].ends_by);
        ck_assert_str_eq(said, rows[i].ends_by == 0 ? "" : "not waiting any longer\n");
    }
}
END_TEST

/* ---- the limit of open files ---- */

START_TEST(the_soft_limit_becomes_the_hard_one)
{
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 300}, after;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mr_process_raise_file_limit(), 0);
        ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &after), 0);
        ck_assert_uint_eq(after.rlim_cur, 300);
        ck_assert_uint_eq(after.rlim_max, 300);
    }
    for (int i = 0; i < 100; i++)
        ck_assert_int_ge(dup(STDERR_FILENO), 0);
}
END_TEST

MR_SUITE("process", T(four_signals_are_blocked_in_this_and_later_threads),
         T(what_was_blocked_before_stays_so), T(the_descriptor_is_ours_alone_and_never_waits),
         T(each_signal_is_told_by_its_number), T(usr1_is_left_to_others),
         T(a_reader_that_went_is_an_error_and_no_end), T(without_descriptors_it_says_so),
         T(the_watchdog_is_told_again_and_again_while_it_waits),
         T(where_nobody_watches_it_sleeps_until_the_signal), T(a_second_signal_ends_it_with_a_word),
         T(the_soft_limit_becomes_the_hard_one), T(it_wakes_up_twice_in_the_interval))
