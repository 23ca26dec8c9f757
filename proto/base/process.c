/* SPDX-License-Identifier: Apache-2.0 */
/* Signals and limits of a process of ours. Starts no thread and logs nothing. */
#include "base/process.h"

#include "base/clock.h"
#include "base/notify.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

static const char *last_words = "";

int mr_process_take_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    sigset_t blocked = set;
    sigaddset(&blocked, SIGUSR1);
    int r = pthread_sigmask(SIG_BLOCK, &blocked, NULL);
    if (r != 0)
        return -r;
    int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

int mr_process_wait_signal(int signals)
{
    int64_t interval_ns = mr_notify_watchdog_interval_ns();
    int64_t half_ms = interval_ns / 2 / MR_NS_PER_MS;
    int wait_ms = interval_ns == 0 ? -1 : half_ms < INT_MAX ? (int)half_ms : INT_MAX;
    for (;;) {
        struct pollfd poller = {.fd = signals, .events = POLLIN};
        struct signalfd_siginfo info;
        poll(&poller, 1, wait_ms);
        mr_notify_watchdog();
        if (read(signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
            return (int)info.ssi_signo;
    }
}

static void end_now(int number)
{
    ssize_t written = write(STDERR_FILENO, last_words, strlen(last_words));
    (void)written;
    raise(number); /* the default by now: it ends the process as this function returns */
}

void mr_process_allow_end(const char *text)
{
    struct sigaction action = {.sa_handler = end_now, .sa_flags = (int)SA_RESETHAND};
    sigset_t set;
    last_words = text;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int mr_process_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    if (limit.rlim_cur == limit.rlim_max)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}
