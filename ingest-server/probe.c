/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tries a store out, finding by finding. Opens no store and takes no lock: it may run beside a
 * server. Measures one thing, the time of fdatasync, because every acknowledgement waits for it.
 */
#include "probe.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define SYNCS        15
#define SLOW_SYNC_NS (20 * MR_NS_PER_MS)
#define BLOCK_MAX    (1u << 20)
#define LOW_SPACE    (UINT64_C(64) << 30)

struct probe {
    const char *dir;
    FILE *out;
    int dir_fd, fd;  /* the store; the folder the trials are in */
    char folder[64]; /* its name in the store */
    int failed;      /* first error that makes the store unusable */
    struct mr_err *err;
};

/* ---- reporting ---- */

static void say(const struct probe *p, const char *what, const char *verdict, const char *fmt, ...)
    MR_PRINTF(4, 5);

static void say(const struct probe *p, const char *what, const char *verdict, const char *fmt, ...)
{
    va_list args;
    fprintf(p->out, "%-18s %-5s ", what, verdict);
    va_start(args, fmt);
    vfprintf(p->out, fmt, args);
    va_end(args);
    fputc('\n', p->out);
}

static void refuse(struct probe *p, const char *what, int code, const char *remedy)
{
    say(p, what, "FAIL", "%s: %s", mr_err_name(code), remedy);
    if (p->failed == 0)
        p->failed = mr_err_errno(p->err, code, "%s: %s", p->dir, what);
}

/* ---- where ---- */

static const char *type_name(unsigned long magic)
{
    static const struct {
        unsigned long magic;
        const char *name;
    } names[] = {
        {EXT4_SUPER_MAGIC, "ext4"}, {XFS_SUPER_MAGIC, "xfs"},   {BTRFS_SUPER_MAGIC, "btrfs"},
        {TMPFS_MAGIC, "tmpfs"},     {NFS_SUPER_MAGIC, "nfs"},   {OVERLAYFS_SUPER_MAGIC, "overlay"},
        {FUSE_SUPER_MAGIC, "fuse"}, {0x2fc12fc1, "zfs"},        {0x0bd00bd0, "lustre"},
        {0x47504653, "gpfs"},       {0x19830326, "beegfs"},     {CEPH_SUPER_MAGIC, "ceph"},
        {SMB2_SUPER_MAGIC, "smb"},  {CIFS_SUPER_MAGIC, "cifs"},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (names[i].magic == magic)
            return names[i].name;
    return NULL;
}

static void probe_type(struct probe *p)
{
    struct statfs fs;
    if (fstatfs(p->dir_fd, &fs) < 0) {
        refuse(p, "file system", -errno, "cannot be asked what it is");
        return;
    }
    unsigned long magic = (unsigned long)fs.f_type & 0xffffffff;
    const char *name = type_name(magic);
    if (magic == TMPFS_MAGIC)
        say(p, "file system", "note",
            "tmpfs: lies in memory, so nothing here is durable; for tests");
    else if (magic == OVERLAYFS_SUPER_MAGIC)
        say(p, "file system", "note", "overlay: a container's own layer; mount a volume");
    else if (magic == NFS_SUPER_MAGIC || magic == SMB2_SUPER_MAGIC || magic == CIFS_SUPER_MAGIC)
        say(p, "file system", "note",
            "%s: run the server on the host that has the disks, where there is one", name);
    else if (name != NULL)
        say(p, "file system", "ok", "%s", name);
    else
        say(p, "file system", "note", "of a kind not known here (%#lx)", magic);
}

static void probe_space(struct probe *p)
{
    uint64_t available, total;
    char a[MR_QUANTITY_TEXT], b[MR_QUANTITY_TEXT];
    int r = mr_fs_space(p->dir_fd, &available, &total);
    if (r < 0) {
        refuse(p, "space", r, "the free space cannot be asked for");
        return;
    }
    mr_text_size_about(available, a);
    mr_text_size_about(total, b);
    if (available < LOW_SPACE)
        say(p, "space", "note", "%s of %s free: one session of a camera takes more", a, b);
    else
        say(p, "space", "ok", "%s of %s free", a, b);
}

static void probe_server(struct probe *p)
{
    MR_CLEANUP(mr_fs_close)
    int fd = openat(p->dir_fd, ".millrace/lock", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        say(p, "in use", "ok", errno == ENOENT ? "by no server, as yet" : "not known");
    else if (flock(fd, LOCK_SH | LOCK_NB) < 0)
        say(p, "in use", "note", "a server has this store open: a second one would be refused");
    else
        say(p, "in use", "ok", "it is a store already; no server has it open");
}

/* ---- writing ---- */

static void probe_direct(struct probe *p)
{
    uint32_t alignment;
    MR_CLEANUP(mr_fs_close)
    int fd = openat(p->fd, "direct", O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);
    if (fd < 0) {
        say(p, "direct I/O", "note", "%s: written through the page cache, which costs a copy",
            mr_err_name(errno));
        return;
    }
    int r = mr_fs_direct_alignment(fd, &alignment);
    if (r < 0 || alignment > BLOCK_MAX) {
        say(p, "direct I/O", "note", "its alignment cannot be known: set store.direct_io: off");
        return;
    }
    void *block = aligned_alloc(alignment, alignment);
    if (block != NULL)
        memset(block, 0, alignment);
    r = block == NULL ? -ENOMEM : mr_fs_pwrite_full(fd, block, alignment, 0);
    free(block);
    if (r < 0)
        say(p, "direct I/O", "note", "opens, but does not write (%s): set store.direct_io: off",
            mr_err_name(r));
    else
        say(p, "direct I/O", "ok", "in blocks of %u", alignment);
}

static void probe_allocate(struct probe *p)
{
    MR_CLEANUP(mr_fs_close)
    int fd = openat(p->fd, "allocate", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, BLOCK_MAX) == 0)
        say(p, "allocate ahead", "ok", "fallocate");
    else if (fd < 0 || errno == ENOSPC || errno == EDQUOT)
        refuse(p, "allocate ahead", -errno, "there must be room for a file");
    else
        say(p, "allocate ahead", "note", "%s: space runs out while writing, not before",
            mr_err_name(errno));
}

static int by_time(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return *left < *right ? -1 : *left > *right;
}

static int time_syncs(int fd, int64_t *ret_times)
{
    static const char block[4096] = {1};
    for (unsigned i = 0; i < SYNCS; i++) {
        int r = mr_fs_pwrite_full(fd, block, sizeof(block), i * sizeof(block));
        int64_t begin_ns = mr_clock_monotonic_ns();
        if (r == 0 && fdatasync(fd) < 0)
            r = -errno;
        if (r < 0)
            return r;
        ret_times[i] = mr_clock_monotonic_ns() - begin_ns;
    }
    return 0;
}

static void probe_sync(struct probe *p)
{
    int64_t times[SYNCS];
    MR_CLEANUP(mr_fs_close)
    int fd = openat(p->fd, "sync", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int r = fd < 0 ? -errno : time_syncs(fd, times);
    if (r < 0) {
        refuse(p, "fdatasync", r, "without it nothing can be acknowledged");
        return;
    }
    qsort(times, SYNCS, sizeof(times[0]), by_time);
    double median_ms = (double)times[SYNCS / 2] / 1e6, worst_ms = (double)times[SYNCS - 1] / 1e6;
    bool slow = times[SYNCS / 2] > SLOW_SYNC_NS;
    say(p, "fdatasync", slow ? "note" : "ok", "%.2f ms (median of %d; slowest %.2f ms)%s",
        median_ms, SYNCS, worst_ms,
        slow ? ": small files will be slow; a write cache that survives power loss helps" : "");
}

/* ---- names ---- */

static int make_file(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static void probe_rename(struct probe *p)
{
    int r = make_file(p->fd, "a");
    if (r == 0)
        r = make_file(p->fd, "b");
    if (r == 0) {
        r = mr_fs_rename_new(p->fd, "a", p->fd, "b");
        r = r == -EEXIST ? 0 : r == 0 ? -EEXIST : r;
    }
    if (r == 0)
        r = mr_fs_rename_new(p->fd, "a", p->fd, "c");
    if (r < 0)
        refuse(p, "rename", r, "it must fail where the new name is taken, by rename or by link");
    else
        say(p, "rename", "ok", "never over another file");
    r = r < 0 ? r : mr_fs_exchange(p->fd, "b", p->fd, "c");
    if (r < 0)
        say(p, "exchange", "note",
            "%s: files that change after they were stored (logs, mdoc) cannot be replaced here",
            mr_err_name(r));
    else
        say(p, "exchange", "ok", "a new revision takes an old one's place at once");
}

static void probe_beneath(struct probe *p)
{
    MR_CLEANUP(mr_fs_close) int fd = mr_fs_open_beneath(p->fd, ".", O_DIRECTORY | O_RDONLY, 0);
    if (fd < 0)
        refuse(p, "openat2", fd, "needs Linux 5.6 or newer, and no filter that forbids it");
    else
        say(p, "openat2", "ok", "names from agents stay below the store");
}

static void probe_long_name(struct probe *p)
{
    char name[256];
    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    int r = make_file(p->fd, name);
    if (r < 0)
        say(p, "long names", "note", "%s: not 255 bytes; such files will be refused",
            mr_err_name(r));
    else
        say(p, "long names", "ok", "255 bytes");
}

/* ---- owners ---- */

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

static void probe_group(struct probe *p)
{
    struct stat dir, file;
    gid_t group = other_group();
    if (mkdirat(p->fd, "group", 0700) < 0 || fchownat(p->fd, "group", (uid_t)-1, group, 0) < 0 ||
        fchmodat(p->fd, "group", 02770, 0) < 0 || make_file(p->fd, "group/file") < 0 ||
        fstatat(p->fd, "group", &dir, 0) < 0 || fstatat(p->fd, "group/file", &file, 0) < 0)
        say(p, "group", "note", "%s: cannot be tried", mr_err_name(errno));
    else if ((dir.st_mode & S_ISGID) == 0)
        say(p, "group", "note",
            "the setgid bit does not stay: name the group in store.group, or use a default ACL");
    else if (file.st_gid != dir.st_gid)
        say(p, "group", "note", "not inherited from the folder: name it in store.group");
    else if (group == getegid())
        say(p, "group", "note", "setgid stays; this user has no second group to try it with");
    else
        say(p, "group", "ok", "inherited from the folder (setgid)");
}

static void probe_acl(struct probe *p)
{
    if (mr_fs_has_default_acl(p->dir_fd) > 0)
        say(p, "default ACL", "ok",
            "is set: it, not store.file_mode and dir_mode, gives the modes");
    else
        say(p, "default ACL", "ok", "none: store.file_mode and store.dir_mode give the modes");
}

/* ---- the whole ---- */

static void remove_folder(const struct probe *p)
{
    static const char *const names[] = {"direct", "allocate", "sync", "a", "b", "c", "group/file"};
    char long_name[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlinkat(p->fd, names[i], 0);
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    unlinkat(p->fd, long_name, 0);
    unlinkat(p->fd, "group", AT_REMOVEDIR);
    if (unlinkat(p->dir_fd, p->folder, AT_REMOVEDIR) < 0)
        say(p, "remains", "note", "%s/%s cannot be removed: %s", p->dir, p->folder,
            mr_err_name(errno));
}

static int make_folder(struct probe *p)
{
    snprintf(p->folder, sizeof(p->folder), ".millrace-check-%ld", (long)getpid());
    if (mkdirat(p->dir_fd, p->folder, 0700) < 0) {
        int code = -errno;
        refuse(p, "writing", code,
               code == -EROFS ? "mounted read-only"
                              : "the server's user must be allowed to write here");
        return code;
    }
    p->fd = openat(p->dir_fd, p->folder, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (p->fd < 0) {
        refuse(p, "writing", -errno, "a folder just made cannot be opened");
        return -1;
    }
    say(p, "writing", "ok", "user %u may", (unsigned)geteuid());
    return 0;
}

static void try_all(struct probe *p)
{
    probe_type(p);
    probe_space(p);
    probe_server(p);
    if (make_folder(p) < 0)
        return;
    probe_beneath(p);
    probe_direct(p);
    probe_allocate(p);
    probe_sync(p);
    probe_rename(p);
    probe_long_name(p);
    probe_group(p);
    probe_acl(p);
    remove_folder(p);
}

int mr_probe_store(const char *dir, FILE *out, struct mr_err *err)
{
    struct probe p = {.dir = dir, .out = out, .fd = -1, .err = err};
    p.dir_fd = open(dir, O_DIRECTORY | O_RDONLY | O_CLOEXEC);
    if (p.dir_fd < 0)
        return mr_err_errno(err, -errno, "%s", dir);
    try_all(&p);
    mr_fs_close(&p.fd);
    mr_fs_close(&p.dir_fd);
    fprintf(out, "%s\n", p.failed == 0 ? "usable as a store" : "NOT usable as a store");
    return p.failed;
}
