/* SPDX-License-Identifier: Apache-2.0 */
/* fork, exec, feed, wait. Signals that arrive meanwhile do not cut the command short. */
#include "client/command.h"

#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void become(const char *command, int input)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (dup2(input, STDIN_FILENO) >= 0)
        execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static void feed(int fd, const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, data, bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return; /* it does not want (more of) it: its right */
        data += n;
        bytes -= (size_t)n;
    }
}

int mr_command_run(const char *command, const char *text, size_t bytes)
{
    int ends[2], status;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    MR_CLEANUP(mr_fs_close) int input = ends[0];
    MR_CLEANUP(mr_fs_close) int output = ends[1];
    pid_t child = fork();
    if (child < 0)
        return -errno;
    if (child == 0)
        become(command, input);
    mr_fs_close(&input);
    feed(output, text, bytes);
    feed(output, "\n", 1);
    mr_fs_close(&output);
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
