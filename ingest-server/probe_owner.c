/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose will movies be, and whose room do they take? Gives nothing to anybody that stays: the
 * folder it tries with is removed. What limits a quota has is asked, not tried.
 */
#include "base/fs.h"
#include "base/text.h"
#include "probe_trial.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A group that a folder may be given to: one of ours that is not the one new files get anyway. */
static gid_t other_group(void)
{
    gid_t groups[256];
    int count = getgroups(256, groups);
    for (int i = 0; i < count; i++)
        if (groups[i] != getegid())
            return groups[i];
    return geteuid() == 0 ? 1 : getegid();
}

void mr_trial_group(struct mr_trial *t)
{
    struct stat dir, file;
    gid_t group = other_group();
    if (mkdirat(t->fd, "group", 0700) < 0 || fchownat(t->fd, "group", (uid_t)-1, group, 0) < 0 ||
        fchmodat(t->fd, "group", 02770, 0) < 0 || mr_trial_make_file(t->fd, "group/file") < 0 ||
        fstatat(t->fd, "group", &dir, 0) < 0 || fstatat(t->fd, "group/file", &file, 0) < 0)
        mr_trial_say(t, "group", "note", "%s: cannot be tried", mr_err_name(errno));
    else if ((dir.st_mode & S_ISGID) == 0)
        mr_trial_say(
            t, "group", "note",
            "the setgid bit does not stay: name the group in store.group, or use a default ACL");
    else if (file.st_gid != dir.st_gid)
        mr_trial_say(t, "group", "note", "not inherited from the folder: name it in store.group");
    else if (group == getegid())
        mr_trial_say(t, "group", "note",
                     "setgid stays; this user has no second group to try it with");
    else
        mr_trial_say(t, "group", "ok", "inherited from the folder (setgid)");
}

void mr_trial_acl(struct mr_trial *t)
{
    if (mr_fs_has_default_acl(t->dir_fd) > 0)
        mr_trial_say(t, "default ACL", "ok",
                     "is set: it, not store.file_mode and dir_mode, gives the modes");
    else
        mr_trial_say(t, "default ACL", "ok",
                     "none: store.file_mode and store.dir_mode give the modes");
}

/* ---- projects ---- */

static int attributes(int dir, const char *name, int flags, struct fsxattr *ret)
{
    MR_CLEANUP(mr_fs_close) int fd = openat(dir, name, flags | O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, FS_IOC_FSGETXATTR, ret) < 0)
        return -errno;
    return 0;
}

/* ext4 and XFS; Lustre answers to lfs project instead. */
void mr_trial_project(struct mr_trial *t)
{
    struct fsxattr store, file;
    int r = attributes(t->dir_fd, ".", O_DIRECTORY, &store);
    if (r == 0)
        r = mr_trial_make_file(t->fd, "project");
    if (r == 0)
        r = attributes(t->fd, "project", 0, &file);
    if (r < 0)
        mr_trial_say(t, "project", "ok", "none that can be asked for (%s)", mr_err_name(r));
    else if (store.fsx_projid == 0)
        mr_trial_say(t, "project", "ok", "none");
    else if (file.fsx_projid == store.fsx_projid)
        mr_trial_say(t, "project", "ok", "%u, inherited by what is made", store.fsx_projid);
    else
        mr_trial_say(t, "project", "note",
                     "%u, not inherited: set the folder's flag (chattr +P, lfs project -s)",
                     store.fsx_projid);
}

/* ---- quotas ---- */

#ifndef PRJQUOTA
#define PRJQUOTA 2
#endif

static bool ask_quota(int fd, unsigned type, unsigned id, struct dqblk *ret)
{
#ifdef SYS_quotactl_fd
    unsigned command = (unsigned)Q_GETQUOTA << SUBCMDSHIFT | type; /* QCMD() is signed */
    return syscall(SYS_quotactl_fd, fd, command, id, ret) == 0;
#else
    (void)fd, (void)type, (void)id, (void)ret;
    return false;
#endif
}

/* Limits count blocks of 1024 bytes, use counts bytes: quotactl(2). */
static bool say_quota(struct mr_trial *t, const char *whose, unsigned id, const struct dqblk *q)
{
    char used[MR_QUANTITY_TEXT], limit[MR_QUANTITY_TEXT];
    uint64_t bytes = q->dqb_bhardlimit * 1024;
    if (bytes == 0)
        return false;
    mr_text_size_about(q->dqb_curspace, used);
    mr_text_size_about(bytes, limit);
    if (q->dqb_curspace >= bytes)
        mr_trial_say(t, "quota", "note", "of %s %u: all %s are used: its movies would fail", whose,
                     id, limit);
    else
        mr_trial_say(t, "quota", "ok", "of %s %u: %s of %s are used; beyond it movies fail", whose,
                     id, used, limit);
    return true;
}

void mr_trial_quota(struct mr_trial *t)
{
    struct dqblk q = {0};
    struct fsxattr store;
    bool said = false, asked = false;
    struct stat st;
    if (ask_quota(t->dir_fd, USRQUOTA, geteuid(), &q)) {
        asked = true;
        said |= say_quota(t, "user", geteuid(), &q);
    }
    if (fstat(t->dir_fd, &st) == 0 && ask_quota(t->dir_fd, GRPQUOTA, st.st_gid, &q)) {
        asked = true;
        said |= say_quota(t, "group", st.st_gid, &q);
    }
    if (attributes(t->dir_fd, ".", O_DIRECTORY, &store) == 0 && store.fsx_projid != 0 &&
        ask_quota(t->dir_fd, PRJQUOTA, store.fsx_projid, &q)) {
        asked = true;
        said |= say_quota(t, "project", store.fsx_projid, &q);
    }
    if (!said)
        mr_trial_say(t, "quota", "ok", "%s", asked ? "no limit" : "none that can be asked for");
}
