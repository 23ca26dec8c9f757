/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that open and name files, and what every call has in common. Reads and writes: calls_io. */
#include "disk_calls.h"

#include "open_file.h"
#include "oracle.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES_MAX 2048

static struct open_file files[FILES_MAX];

/* ---- every call ---- */

int call_return(int r)
{
    if (r >= 0)
        return r;
    errno = -r;
    return -1;
}

void call_enter(bool changes)
{
    struct serverside *s = fibre_process();
    if (s == NULL || fibre_is_alone())
        return;
    struct world *w = s->world;
    if (changes)
        serverside_burn_fuse(s);
    if (chance_one_in(&w->chance, changes ? 4 : 24))
        fibre_pause((int64_t)chance_below(&w->chance, (uint64_t)MS));
    while (w->disk_stuck_until_ns > w->time.now_ns)
        fibre_pause(w->disk_stuck_until_ns - w->time.now_ns);
}

int call_fault(bool changes)
{
    const struct serverside *s = fibre_process();
    if (s == NULL || fibre_is_alone())
        return 0;
    struct world *w = s->world;
    if (changes && w->disk->room == DISK_READ_ONLY)
        return EROFS;
    if (!w->disk_errors || !world_mishap(w, w->disk_pace))
        return 0;
    return EIO;
}

/* ---- descriptors ---- */

struct open_file *open_file_of(int fd)
{
    if (fd < CALLS_FD_BASE || fd >= CALLS_FD_BASE + FILES_MAX)
        return NULL;
    struct open_file *f = &files[fd - CALLS_FD_BASE];
    return f->kind == OPEN_NOTHING ? NULL : f;
}

int open_file_new(const struct open_file *f)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (files[i].kind == OPEN_NOTHING) {
            files[i] = *f;
            if (f->inode != NULL) {
                f->inode->opens++;
                files[i].errors_told = S_ISREG(f->inode->mode)
                                           ? f->inode->write_errors
                                           : world_current()->disk->write_errors;
            }
            return CALLS_FD_BASE + i;
        }
    abort(); /* a leak of descriptors */
}

static void close_file(struct open_file *f)
{
    f->kind = OPEN_NOTHING;
    if (f->inode == NULL)
        return;
    if (f->inode->lock == f->process)
        f->inode->lock = NULL;
    disk_close(world_current()->disk, f->inode);
}

int __wrap_close(int fd)
{
    struct open_file *f = open_file_of(fd);
    if (f == NULL)
        return fd >= CALLS_FD_BASE ? call_return(-EBADF) : __real_close(fd);
    close_file(f);
    return 0;
}

int calls_look_at(struct inode *inode, enum disk_view view)
{
    return open_file_new(&(struct open_file){.kind = OPEN_INODE, .inode = inode, .view = view});
}

void calls_close_all(const struct serverside *process)
{
    for (int i = 0; i < FILES_MAX; i++)
        if (files[i].kind != OPEN_NOTHING && files[i].process == process)
            close_file(&files[i]);
}

size_t calls_count_open(const struct serverside *process)
{
    size_t count = 0;
    for (int i = 0; i < FILES_MAX; i++) {
        if (files[i].kind == OPEN_NOTHING || files[i].process != process)
            continue;
        count++;
        TRACE(process->world, "open: %d, inode %llu", CALLS_FD_BASE + i,
              files[i].inode == NULL ? 0 : (unsigned long long)files[i].inode->number);
    }
    return count;
}

/* ---- walking ---- */

struct place {
    struct inode *dir;
    enum disk_view view;
    char name[DISK_NAME + 1]; /* "": dir itself */
};

static int walk(struct inode *from, enum disk_view view, const char *path, bool beneath,
                struct place *ret)
{
    *ret = (struct place){.dir = from, .view = view};
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        char name[DISK_NAME + 1];
        if (length > DISK_NAME)
            return -ENAMETOOLONG;
        snprintf(name, sizeof(name), "%.*s", (int)length, path);
        path += length + strspn(path + length, "/");
        if (length == 0 || strcmp(name, ".") == 0)
            continue;
        if (strcmp(name, "..") == 0)
            return beneath ? -EXDEV : -EINVAL; /* nobody of ours climbs */
        if (ret->name[0] != '\0') {
            int r = disk_find(ret->dir, view, ret->name, &ret->dir);
            if (r < 0)
                return r;
        }
        memcpy(ret->name, name, sizeof(name));
    }
    return S_ISDIR(ret->dir->mode) ? 0 : -ENOTDIR;
}

static int find(const struct place *p, struct inode **ret)
{
    *ret = p->dir;
    return p->name[0] == '\0' ? 0 : disk_find(p->dir, p->view, p->name, ret);
}

static int place_at(int dir, const char *path, bool beneath, struct place *ret)
{
    struct disk *d = world_current()->disk;
    if (path[0] == '/')
        return beneath ? -EXDEV : walk(d->root, DISK_NOW, path + 1, beneath, ret);
    const struct open_file *f = open_file_of(dir);
    if (f == NULL)
        return -EBADF;
    if (path[0] == '\0') { /* AT_EMPTY_PATH */
        *ret = (struct place){.dir = f->inode, .view = f->view};
        return 0;
    }
    return walk(f->inode, f->view, path, beneath, ret);
}

/* ---- opening ---- */

static int open_inode(struct inode *i, int flags, enum disk_view view)
{
    if ((flags & O_DIRECTORY) != 0 && !S_ISDIR(i->mode))
        return -ENOTDIR;
    if (S_ISDIR(i->mode) && (flags & O_ACCMODE) != O_RDONLY)
        return -EISDIR;
    return open_file_new(&(struct open_file){
        .kind = OPEN_INODE, .process = fibre_process(), .inode = i, .view = view, .flags = flags});
}

static int open_at(int dir, const char *path, int flags, mode_t mode, bool beneath)
{
    static const char self[] = "/proc/self/fd/";
    struct place p;
    struct inode *i;
    bool creates = (flags & O_CREAT) != 0;
    call_enter(creates);
    int fault = call_fault(creates);
    if (fault != 0)
        return -fault;
    if (strncmp(path, self, sizeof(self) - 1) == 0) {
        const struct open_file *f = open_file_of(atoi(path + sizeof(self) - 1));
        return f == NULL ? -ENOENT : open_inode(f->inode, flags, DISK_NOW);
    }
    int r = place_at(dir, path, beneath, &p);
    if (r == 0)
        r = find(&p, &i);
    if (r == 0 && creates && (flags & O_EXCL) != 0)
        return -EEXIST;
    if (r == -ENOENT && creates && p.name[0] != '\0') {
        struct disk *d = world_current()->disk;
        r = d->room == DISK_FULL ? -ENOSPC
                                 : disk_make(d, p.dir, p.name, S_IFREG | (mode & 07777), &i);
    }
    if (r < 0)
        return r;
    if ((flags & O_TRUNC) != 0)
        disk_truncate(world_current()->disk, i, 0);
    return open_inode(i, flags, p.view);
}

static bool is_foreign(int dir, const char *path)
{
    return dir < CALLS_FD_BASE && (fibre_process() == NULL || path[0] != '/');
}

int __wrap_openat64(int dir, const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (is_foreign(dir, path))
        return __real_openat64(dir, path, flags, mode);
    return call_return(open_at(dir, path, flags, mode, false));
}

int __wrap_open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (is_foreign(AT_FDCWD, path))
        return __real_open64(path, flags, mode);
    return call_return(open_at(AT_FDCWD, path, flags, mode, false));
}

/* openat2 has no function of its own in glibc. */
long __wrap_syscall(long number, ...)
{
    va_list args;
    va_start(args, number);
    int dir = va_arg(args, int);
    const char *path = va_arg(args, const char *);
    const struct open_how *how = va_arg(args, const struct open_how *);
    va_end(args);
    if (number != SYS_openat2)
        abort();
    return call_return(open_at(dir, path, (int)how->flags, (mode_t)how->mode, true));
}

/* ---- names ---- */

static int prepare_change(int dir, const char *path, struct place *ret)
{
    call_enter(true);
    int fault = call_fault(true);
    return fault != 0 ? -fault : place_at(dir, path, false, ret);
}

int __wrap_mkdirat(int dir, const char *name, mode_t mode)
{
    struct place p;
    struct inode *i;
    struct disk *d = world_current()->disk;
    int r = prepare_change(dir, name, &p);
    if (r == 0)
        r = d->room == DISK_FULL ? -ENOSPC
                                 : disk_make(d, p.dir, p.name, S_IFDIR | (mode & 07777), &i);
    return call_return(r);
}

int __wrap_unlinkat(int dir, const char *name, int flags)
{
    struct place p;
    int r = prepare_change(dir, name, &p);
    if (r == 0)
        oracle_before_remove(world_current(), p.dir, p.name);
    if (r == 0)
        r = disk_remove(world_current()->disk, p.dir, p.name, (flags & AT_REMOVEDIR) != 0);
    return call_return(r);
}

static int rename_at(int from, const char *name, int to, const char *new_name, enum disk_rename how)
{
    struct place a, b;
    struct inode *i, *over = NULL;
    struct world *w = world_current();
    int r = prepare_change(from, name, &a);
    if (r == 0)
        r = place_at(to, new_name, false, &b);
    if (r == 0)
        r = find(&a, &i);
    if (r == 0)
        (void)find(&b, &over);
    if (r == 0)
        r = disk_rename(w->disk, a.dir, a.name, b.dir, b.name, how);
    if (r == 0)
        oracle_after_rename(w, i, b.dir, a.name, b.name);
    if (r == 0 && how == DISK_EXCHANGE)
        oracle_after_rename(w, over, a.dir, b.name, a.name);
    return call_return(r);
}

int __wrap_renameat(int from, const char *name, int to, const char *new_name)
{
    return rename_at(from, name, to, new_name, DISK_REPLACE);
}

int __wrap_renameat2(int from, const char *name, int to, const char *new_name, unsigned flags)
{
    const struct world *w = world_current();
    if (flags == RENAME_NOREPLACE && w->disk_links) /* as NFS and others */
        return call_return(-EINVAL);
    return rename_at(from, name, to, new_name,
                     flags == RENAME_NOREPLACE  ? DISK_NO_REPLACE
                     : flags == RENAME_EXCHANGE ? DISK_EXCHANGE
                                                : DISK_REPLACE);
}

int __wrap_linkat(int from, const char *name, int to, const char *new_name, int flags)
{
    struct place a, b;
    struct inode *i;
    struct world *w = world_current();
    (void)flags;
    int r = prepare_change(from, name, &a);
    if (r == 0)
        r = place_at(to, new_name, false, &b);
    if (r == 0)
        r = find(&a, &i);
    if (r == 0)
        r = disk_link(w->disk, i, b.dir, b.name);
    if (r == 0)
        oracle_after_rename(w, i, b.dir, a.name, b.name);
    return call_return(r);
}

/* ---- facts ---- */

static void fill_stat(const struct inode *i, enum disk_view view, struct stat *ret)
{
    uint64_t size = view == DISK_SAFE ? i->safe.size : i->now.size;
    uint64_t allocated = i->allocated > size ? i->allocated : size;
    *ret = (struct stat){
        .st_dev = 1,
        .st_ino = i->number,
        .st_mode = i->mode,
        .st_nlink = i->links,
        .st_size = (off_t)size,
        .st_blksize = DISK_PAGE,
        .st_blocks = (blkcnt_t)((allocated + 511) / 512),
        .st_mtim = {.tv_sec = i->mtime_ns / 1000000000, .tv_nsec = i->mtime_ns % 1000000000}};
}

int __wrap_fstat64(int fd, struct stat *ret)
{
    const struct open_file *f = open_file_of(fd);
    if (f == NULL || f->inode == NULL)
        return call_return(-EBADF);
    fill_stat(f->inode, f->view, ret);
    return 0;
}

int __wrap_fstatat64(int dir, const char *path, struct stat *ret, int flags)
{
    struct place p;
    struct inode *i;
    (void)flags;
    call_enter(false);
    int r = place_at(dir, path, false, &p);
    if (r == 0)
        r = find(&p, &i);
    if (r == 0)
        fill_stat(i, p.view, ret);
    return call_return(r);
}

int __wrap_statx(int dir, const char *path, int flags, unsigned mask, struct statx *ret)
{
    struct stat st;
    int r = __wrap_fstatat64(dir, path, &st, flags);
    if (r < 0)
        return r;
    *ret = (struct statx){
        .stx_mask = mask & (STATX_BASIC_STATS | STATX_BTIME | 0x2000u),
        .stx_mode = (uint16_t)st.st_mode,
        .stx_ino = st.st_ino,
        .stx_size = (uint64_t)st.st_size,
        .stx_blocks = (uint64_t)st.st_blocks,
        .stx_nlink = (uint32_t)st.st_nlink,
        .stx_dev_minor = 1,
        .stx_mtime = {.tv_sec = st.st_mtim.tv_sec, .tv_nsec = (uint32_t)st.st_mtim.tv_nsec}};
#ifdef STATX_DIOALIGN
    ret->stx_dio_mem_align = ret->stx_dio_offset_align = 512;
#endif
    return 0;
}

/* ---- listing ---- */

struct listing {
    int fd;
    size_t count, next;
    struct dirent entry;
    char names[][DISK_NAME + 1];
};

DIR *__wrap_fdopendir(int fd)
{
    const struct open_file *f = open_file_of(fd);
    call_enter(false);
    int fault = call_fault(false);
    if (f == NULL || fault != 0 || !S_ISDIR(f->inode->mode)) {
        errno = f == NULL ? EBADF : fault != 0 ? fault : ENOTDIR;
        return NULL;
    }
    const struct names *names = f->view == DISK_SAFE ? &f->inode->safe_entries : &f->inode->entries;
    struct listing *l = calloc(1, sizeof(*l) + names->count * sizeof(l->names[0]));
    if (l == NULL)
        abort();
    l->fd = fd;
    l->count = names->count;
    size_t first = l->count == 0 ? 0 : chance_below(&world_current()->chance, l->count);
    for (size_t i = 0; i < l->count; i++) /* in no order to be relied on */
        memcpy(l->names[i], names->list[(first + i) % l->count].text, sizeof(l->names[i]));
    return (DIR *)l;
}

struct dirent *__wrap_readdir64(DIR *dir)
{
    struct listing *l = (struct listing *)dir;
    if (l->next == l->count)
        return NULL;
    l->entry = (struct dirent){.d_type = DT_UNKNOWN};
    memcpy(l->entry.d_name, l->names[l->next++], sizeof(l->names[0]));
    return &l->entry;
}

int __wrap_closedir(DIR *dir)
{
    struct listing *l = (struct listing *)dir;
    int r = __wrap_close(l->fd);
    free(l);
    return r;
}
