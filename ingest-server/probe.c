/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries a store out, finding by finding: where it is, and the order of the rest. Opens no store and
 * takes no lock: it may run beside a server.
 */
#include "probe.h"

#include "base/fs.h"
#include "base/text.h"
#include "lease_file.h"
#include "naming.h"
#include "probe_trial.h"
#include "space.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define LOW_SPACE (UINT64_C(64) << 30)

/* ---- reporting ---- */

void mr_trial_say(const struct mr_trial *t, const char *what, const char *verdict, const char *fmt,
                  ...)
{
    va_list args;
    fprintf(t->out, "%-18s %-5s ", what, verdict);
    va_start(args, fmt);
    vfprintf(t->out, fmt, args);
    va_end(args);
    fputc('\n', t->out);
}

void mr_trial_refuse(struct mr_trial *t, const char *what, int code, const char *remedy)
{
    mr_trial_say(t, what, "FAIL", "%s: %s", mr_err_name(code), remedy);
    if (t->failed == 0)
        t->failed = mr_err_errno(t->err, code, "%s: %s", t->config->dir, what);
}

int mr_trial_make_file(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

/* ---- where ---- */

struct kind {
    unsigned long magic;
    const char *name;
    bool remote;
    const char *note; /* NULL: nothing to say against it */
};

static const struct kind *kind_of(unsigned long magic)
{
    static const char other_host[] = "run the server on the host that has the disks, where there "
                                     "is one";
    static const char copies[] = "writes are copies and checksums of their own: chattr +C for the "
                                 "store's folder while it is empty";
    static const struct kind kinds[] = {
        {EXT4_SUPER_MAGIC, "ext4", false, NULL},
        {XFS_SUPER_MAGIC, "xfs", false, NULL},
        {BTRFS_SUPER_MAGIC, "btrfs", false, copies},
        {0x2fc12fc1, "zfs", false, "not tried by its makers"},
        {TMPFS_MAGIC, "tmpfs", false, "lies in memory, so nothing here is durable; for tests"},
        {OVERLAYFS_SUPER_MAGIC, "overlay", false, "a container's own layer; mount a volume"},
        {FUSE_SUPER_MAGIC, "fuse", true, "not known which; what follows is what counts"},
        {NFS_SUPER_MAGIC, "nfs", true, other_host},
        {SMB2_SUPER_MAGIC, "smb", true, other_host},
        {CIFS_SUPER_MAGIC, "cifs", true, other_host},
        {0x0bd00bd0, "lustre", true, NULL},
        {0x47504653, "gpfs", true, NULL},
        {0x19830326, "beegfs", true, NULL},
        {CEPH_SUPER_MAGIC, "ceph", true, NULL},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (kinds[i].magic == magic)
            return &kinds[i];
    return NULL;
}

static void try_type(struct mr_trial *t)
{
    struct statfs fs;
    if (fstatfs(t->dir_fd, &fs) < 0) {
        mr_trial_refuse(t, "file system", -errno, "cannot be asked what it is");
        return;
    }
    unsigned long magic = (unsigned long)fs.f_type & 0xffffffff;
    const struct kind *kind = kind_of(magic);
    t->remote = kind == NULL || kind->remote;
    if (kind == NULL)
        mr_trial_say(t, "file system", "note", "of a kind not known here (%#lx)", magic);
    else if (kind->note != NULL)
        mr_trial_say(t, "file system", "note", "%s: %s", kind->name, kind->note);
    else
        mr_trial_say(t, "file system", "ok", "%s", kind->name);
}

static void try_space(struct mr_trial *t)
{
    uint64_t available, total, keep;
    char a[MR_QUANTITY_TEXT], b[MR_QUANTITY_TEXT], k[MR_QUANTITY_TEXT];
    int r = mr_fs_space(t->dir_fd, &available, &total);
    if (r < 0) {
        mr_trial_refuse(t, "space", r, "the free space cannot be asked for");
        return;
    }
    keep = mr_space_keep(total, t->config->keep_free_hundredths);
    mr_text_size_about(available, a);
    mr_text_size_about(total, b);
    mr_text_size_about(keep, k);
    if (available < keep)
        mr_trial_say(t, "space", "note",
                     "%s of %s free, less than store.keep_free (%s): no movie would be taken", a, b,
                     k);
    else if (available < LOW_SPACE)
        mr_trial_say(t, "space", "note", "%s of %s free: one session of a camera takes more", a, b);
    else
        mr_trial_say(t, "space", "ok", "%s of %s free; store.keep_free keeps %s", a, b, k);
}

static void say_holder(struct mr_trial *t, const struct mr_lease_file *lease)
{
    struct mr_lease_holder self;
    const struct mr_lease_holder *h = &lease->holder;
    if (lease->released)
        mr_trial_say(t, "in use", "ok", "it is a store already; no server has it open");
    else if (mr_lease_self("check", &self) == 0 && mr_lease_is_gone(&self, h))
        mr_trial_say(t, "in use", "ok", "it is a store already; its server %s died", h->server);
    else
        mr_trial_say(t, "in use", "note",
                     "server %s on %s has this store open, unless it died: a second one would be "
                     "refused while it lives",
                     h->server, h->host);
}

static void try_server(struct mr_trial *t)
{
    static const char what[] = "in use";
    uint32_t newest = 0;
    struct mr_lease_file *lease = malloc(sizeof(*lease));
    MR_CLEANUP(mr_fs_close)
    int dir =
        openat(t->dir_fd, MR_NAMING_RESERVED "/" MR_LEASE_DIR, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    int r = dir < 0 ? -errno : mr_lease_list(dir, &newest);
    if (r == -ENOENT || (r == 0 && newest == 0))
        mr_trial_say(t, what, "ok", "by no server, as yet");
    else if (r == 0 && lease != NULL && (r = mr_lease_read(dir, newest, lease, NULL)) == 0)
        say_holder(t, lease);
    else
        mr_trial_say(t, what, "note", "not known: the lease cannot be read (%s)",
                     mr_err_name(r < 0 ? r : -ENOMEM));
    free(lease);
}

/* ---- the folder of the trials ---- */

static void empty(int dir_fd)
{
    const char *name = "";
    MR_CLEANUP(mr_fs_list_close) DIR *dir = NULL;
    int r = mr_fs_list(dir_fd, &dir);
    while (r == 0 && (r = mr_fs_next_name(dir, &name)) == 0 && name != NULL) {
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || unlinkat(dir_fd, name, 0) == 0)
            continue;
        MR_CLEANUP(mr_fs_close)
        int below = openat(dir_fd, name, O_DIRECTORY | O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (below >= 0)
            empty(below);
        unlinkat(dir_fd, name, AT_REMOVEDIR);
    }
}

static void remove_folder(const struct mr_trial *t)
{
    empty(t->fd);
    if (unlinkat(t->dir_fd, t->folder, AT_REMOVEDIR) < 0)
        mr_trial_say(t, "remains", "note", "%s/%s cannot be removed: %s", t->config->dir, t->folder,
                     mr_err_name(errno));
}

static int make_folder(struct mr_trial *t)
{
    snprintf(t->folder, sizeof(t->folder), ".millrace-check-%ld", (long)getpid());
    if (mkdirat(t->dir_fd, t->folder, 0700) < 0) {
        int code = -errno;
        mr_trial_refuse(t, "writing", code,
                        code == -EROFS ? "mounted read-only"
                                       : "the server's user must be allowed to write here");
        return code;
    }
    t->fd = openat(t->dir_fd, t->folder, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (t->fd < 0) {
        mr_trial_refuse(t, "writing", -errno, "a folder just made cannot be opened");
        return -1;
    }
    mr_trial_say(t, "writing", "ok", "user %u may", (unsigned)geteuid());
    return 0;
}

/* ---- the whole ---- */

static void try_all(struct mr_trial *t)
{
    static void (*const trials[])(struct mr_trial * t) = {
        mr_trial_beneath, mr_trial_direct,      mr_trial_uring,  mr_trial_allocate,
        mr_trial_sync,    mr_trial_sync_folder, mr_trial_rename, mr_trial_long_name,
        mr_trial_birth,   mr_trial_processes,   mr_trial_lease,  mr_trial_group,
        mr_trial_acl,     mr_trial_project,     mr_trial_quota,
    };
    try_type(t);
    try_space(t);
    try_server(t);
    if (make_folder(t) < 0)
        return;
    for (size_t i = 0; i < sizeof(trials) / sizeof(trials[0]); i++)
        trials[i](t);
    remove_folder(t);
}

int mr_probe_store(const struct mr_probe_config *config, FILE *out, struct mr_err *err)
{
    struct mr_trial t = {.config = config, .out = out, .fd = -1, .err = err};
    t.dir_fd = open(config->dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (t.dir_fd < 0)
        return mr_err_errno(err, -errno, "%s", config->dir);
    try_all(&t);
    mr_fs_close(&t.fd);
    mr_fs_close(&t.dir_fd);
    fprintf(out, "%s\n", t.failed == 0 ? "usable as a store" : "NOT usable as a store");
    return t.failed;
}
