/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do names behave: taken by one alone, changed at once, seen by other processes, kept below the
 * store? Two processes here are on one host; what another host sees is not tried.
 */
#include "base/fs.h"
#include "probe_trial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

void mr_trial_beneath(struct mr_trial *t)
{
    MR_CLEANUP(mr_fs_close) int fd = mr_fs_open_beneath(t->fd, ".", O_DIRECTORY | O_RDONLY, 0);
    MR_CLEANUP(mr_fs_close) int up = mr_fs_open_beneath(t->fd, "..", O_DIRECTORY | O_RDONLY, 0);
    if (fd < 0)
        mr_trial_refuse(t, "openat2", fd,
                        "needs Linux 5.6 or newer, and no filter that forbids it");
    else if (up != -EXDEV)
        mr_trial_refuse(t, "openat2", up < 0 ? up : -EXDEV,
                        "a way out of the store is not refused");
    else
        mr_trial_say(t, "openat2", "ok", "names from agents stay below the store");
}

/* ---- renames ---- */

static int rename_new(struct mr_trial *t)
{
    int r = mr_trial_make_file(t->fd, "a");
    if (r == 0)
        r = mr_trial_make_file(t->fd, "b");
    if (r == 0) {
        r = mr_fs_rename_new(t->fd, "a", t->fd, "b");
        r = r == -EEXIST ? 0 : r == 0 ? -EEXIST : r;
    }
    return r == 0 ? mr_fs_rename_new(t->fd, "a", t->fd, "c") : r;
}

/* As parts become movies: out of a folder below. */
static int rename_up(struct mr_trial *t)
{
    if (mkdirat(t->fd, "below", 0700) < 0)
        return -errno;
    MR_CLEANUP(mr_fs_close)
    int below = openat(t->fd, "below", O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    int r = below < 0 ? -errno : mr_trial_make_file(below, "part");
    return r == 0 ? mr_fs_rename_new(below, "part", t->fd, "movie") : r;
}

/* How commit does without an exchange. */
static int replace_by_link(struct mr_trial *t)
{
    if (linkat(t->fd, "b", t->fd, "old", 0) < 0 || renameat(t->fd, "c", t->fd, "b") < 0)
        return -errno;
    return 0;
}

static void try_exchange(struct mr_trial *t)
{
    static const char what[] = "exchange";
    int r = mr_fs_exchange(t->fd, "b", t->fd, "c");
    if (r == 0) {
        mr_trial_say(t, what, "ok", "a new revision takes an old one's place at once");
        return;
    }
    int linked = replace_by_link(t);
    if (linked == 0)
        mr_trial_say(t, what, "note",
                     "%s: a new revision replaces the old one by link and rename instead; let "
                     "nobody else write over stored files",
                     mr_err_name(r));
    else
        mr_trial_say(t, what, "note",
                     "%s, and no links (%s): files that change after they were stored (logs, "
                     "mdoc) cannot be replaced here; exclude them at the agent",
                     mr_err_name(r), mr_err_name(linked));
}

void mr_trial_rename(struct mr_trial *t)
{
    int r = rename_new(t);
    if (r < 0)
        mr_trial_refuse(t, "rename", r,
                        "it must fail where the new name is taken, by rename or by link");
    else
        mr_trial_say(t, "rename", "ok", "never over another file");
    r = rename_up(t);
    if (r < 0)
        mr_trial_refuse(t, "rename across", r,
                        "a part must be given its name in the folder above it");
    else
        mr_trial_say(t, "rename across", "ok", "from folder to folder");
    try_exchange(t);
}

void mr_trial_long_name(struct mr_trial *t)
{
    char name[256];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    int r = mr_trial_make_file(t->fd, name);
    if (r < 0)
        mr_trial_say(t, "long names", "note", "%s: not 255 bytes; such files will be refused",
                     mr_err_name(r));
    else
        mr_trial_say(t, "long names", "ok", "255 bytes");
}

void mr_trial_birth(struct mr_trial *t)
{
    struct mr_fs_facts facts;
    int r = mr_trial_make_file(t->fd, "born");
    if (r == 0)
        r = mr_fs_stat(t->fd, "born", &facts);
    if (r < 0)
        mr_trial_refuse(t, "birth time", r, "a file just made cannot be looked at");
    else if (facts.identity.birth_ns == 0)
        mr_trial_say(t, "birth time", "note",
                     "none: no harm to a store; an agent tells a file whose inode is used again "
                     "by size and time alone");
    else
        mr_trial_say(t, "birth time", "ok", "tells a file from a later one of the same inode");
}

/* ---- two processes ---- */

/* What the other one does: the name that is taken is refused to it, one of its own it fills. */
static int other_process(int dir)
{
    if (mr_trial_make_file(dir, "claim-1") != -EEXIST)
        return 1;
    int fd = openat(dir, "claim-2", O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd >= 0 && write(fd, "mine\n", 5) == 5 && fdatasync(fd) == 0 ? 0 : 2;
}

static int run_other(struct mr_trial *t)
{
    int status;
    fflush(t->out); /* or both would print what waits */
    pid_t pid = fork();
    if (pid < 0)
        return -errno;
    if (pid == 0)
        _exit(other_process(t->fd));
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return status == 0 ? 0 : -EBADMSG;
}

void mr_trial_processes(struct mr_trial *t)
{
    static const char what[] = "two processes";
    char text[8] = "";
    int r = mr_trial_make_file(t->fd, "claim-1");
    if (r == 0)
        r = run_other(t);
    if (r == 0 && mr_trial_make_file(t->fd, "claim-2") != -EEXIST)
        r = -EBADMSG;
    MR_CLEANUP(mr_fs_close) int fd = openat(t->fd, "claim-2", O_RDONLY | O_CLOEXEC);
    if (r == 0 && (fd < 0 || read(fd, text, sizeof(text)) != 5 || strcmp(text, "mine\n") != 0))
        r = -EBADMSG;
    if (r < 0)
        mr_trial_refuse(t, what, r, "both take a name, or do not see each other's files");
    else
        mr_trial_say(t, what, "ok", "a name is taken by one alone, and seen by the other%s",
                     t->remote ? " (on this host; others are not tried)" : "");
}
