/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a second server refused while the first holds the store? With the server's own lease, in a
 * folder of the trials, by two processes of this host.
 */
#include "base/fs.h"
#include "lease.h"
#include "probe_trial.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

static void lost(void *ctx, const char *text)
{
    (void)ctx, (void)text;
    _exit(EX_IOERR); /* of a folder that is this trial's alone: somebody removes it under us */
}

static int claim(int dir, struct mr_lease **ret, struct mr_err *err)
{
    const struct mr_lease_config config = {.millrace_dir = dir,
                                           .server = "check",
                                           .lease_ms = MR_LEASE_MIN_MS,
                                           .stop = -1,
                                           .lost = lost};
    return mr_lease_claim(&config, ret, err);
}

/* The second server: waits until the first has the store. Exit status 0: it was refused. */
static int second(int dir, int go)
{
    char byte;
    struct mr_lease *lease = NULL;
    struct mr_err err = {0};
    if (read(go, &byte, 1) != 1)
        return 2;
    return claim(dir, &lease, &err) == -EBUSY ? 0 : 1;
}

static int await(pid_t pid, int *ret_status)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    *ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return 0;
}

/* Forks before the lease has a thread. */
static int two_servers(struct mr_trial *t, int dir, int *ret_status, struct mr_err *err)
{
    int go[2];
    struct mr_lease *lease = NULL;
    if (pipe2(go, O_CLOEXEC) < 0)
        return mr_err_errno(err, -errno, "pipe");
    fflush(t->out);
    pid_t pid = fork();
    if (pid == 0) {
        close(go[1]);
        _exit(second(dir, go[0]));
    }
    int r = pid < 0 ? mr_err_errno(err, -errno, "fork") : claim(dir, &lease, err);
    if (r == 0 && write(go[1], "", 1) != 1)
        r = mr_err_errno(err, -errno, "pipe");
    mr_fs_close(&go[0]);
    mr_fs_close(&go[1]);
    int waited = pid < 0 ? 0 : await(pid, ret_status);
    mr_lease_release(lease);
    return r < 0 || waited == 0 ? r : mr_err_errno(err, waited, "wait");
}

void mr_trial_lease(struct mr_trial *t)
{
    int status = 0;
    struct mr_err err = {0};
    int r = mkdirat(t->fd, "servers", 0700) < 0 ? -errno : 0;
    MR_CLEANUP(mr_fs_close)
    int dir = r < 0 ? r : openat(t->fd, "servers", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (r == 0)
        r = dir < 0 ? -errno : two_servers(t, dir, &status, &err);
    if (r < 0)
        mr_trial_refuse(t, "lease", r, err.code != 0 ? err.text : "it cannot be tried");
    else if (status != 0)
        mr_trial_refuse(t, "lease", -EBADMSG, "a second server was not refused while one lived");
    else
        mr_trial_say(t, "lease", "ok", "a second server is refused while one lives%s",
                     t->remote ? " (on this host; others are not tried)" : "");
}
