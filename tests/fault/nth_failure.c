/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For LD_PRELOAD: of the calls that a program makes on files below given folders exactly one fails,
 * the nth, and only once. Counts, so that a test knows when it has tried them all, and watches that
 * nobody syncs a file again whose sync has failed. Knows no Millrace, and does not see what goes
 * through io_uring: that is for MILLRACE_FAIL_AT.
 *
 * NTH_ROOTS   folders, separated by ':'; calls elsewhere are none of ours
 * NTH_FAULT   the name of an errno, or "short"; only calls that can fail so count
 * NTH_NUMBER  which of them; 0 (the default): none, only count
 * NTH_MATCH   only calls whose "name path" this glob fits count; default all
 * NTH_REPORT  an existing file of sizeof(struct report), for nth.py to read
 * NTH_LIST    a file to which the calls that count are appended, one a line
 */
#include "nth_failure.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define SYNCS_MAX 16

/* As nth.py reads it. */
struct report {
    _Atomic uint64_t begun;   /* written by nth.py: before, nothing counts */
    _Atomic uint64_t calls;   /* that counted */
    _Atomic uint64_t failed;  /* 0 or 1 */
    _Atomic uint64_t resyncs; /* syncs of a file whose sync has failed */
    char what[1000];          /* the call that failed */
    char resync[1000];        /* the last of those syncs */
};

#define BYTES (NTH_READ | NTH_WRITE)
#define NAMES (NTH_MAKE | NTH_REMOVE)
#define GROWS (NTH_MAKE | NTH_WRITE | NTH_SYNC | NTH_SIZE | NTH_SET)
#define ASKS  (NTH_ASK | NTH_ROOM | NTH_LIST)

/* A lock is in the kernel's own memory, on the local disk that a state_dir wants. */
static const struct fault {
    const char *name;
    int code;
    unsigned sorts; /* of calls that fail so, on one file system or another */
} faults[] = {
    {"EIO", EIO, NTH_OPEN | NAMES | BYTES | NTH_SYNC | NTH_SIZE | ASKS | NTH_SET | NTH_CLOSE},
    {"ENOSPC", ENOSPC, GROWS | NTH_WATCH},
    {"EDQUOT", EDQUOT, GROWS},
    {"EAGAIN", EAGAIN, NTH_OPEN | BYTES | NTH_LOCK | NTH_MAP},
    {"EINTR", EINTR, NTH_OPEN | BYTES | NTH_SYNC | NTH_SIZE | NTH_ROOM | NTH_CLOSE | NTH_LOCK},
    {"EMFILE", EMFILE, NTH_OPEN | NTH_NO_FILE},
    {"ENFILE", ENFILE, NTH_OPEN | NTH_NO_FILE},
    {"ENOMEM", ENOMEM, NTH_OPEN | NAMES | ASKS | NTH_SET | NTH_MAP | NTH_WATCH | NTH_NO_FILE},
    {"short", 0, BYTES},
};

static struct {
    bool on; /* set last, before there are threads */
    const char *roots, *match;
    const struct fault *fault;
    uint64_t number;
    struct report *report;
    int list;
    uintptr_t program_start, program_end;
    _Atomic unsigned sync_count;
    struct statx syncs[SYNCS_MAX]; /* files whose sync failed */
} nth;

/* ---- beginning ---- */

static int take_program(struct dl_phdr_info *info, size_t size, void *ctx)
{
    (void)size, (void)ctx;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        if (p->p_type == PT_LOAD && (p->p_flags & PF_X) != 0) {
            nth.program_start = info->dlpi_addr + p->p_vaddr;
            nth.program_end = nth.program_start + p->p_memsz;
        }
    }
    return 1; /* the first one is the program */
}

static const struct fault *find_fault(const char *name)
{
    for (size_t i = 0; name != NULL && i < sizeof(faults) / sizeof(faults[0]); i++)
        if (strcmp(faults[i].name, name) == 0)
            return &faults[i];
    return NULL;
}

static void open_report(const char *path)
{
    long fd = nth_syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
    long at =
        nth_syscall(SYS_mmap, NULL, sizeof(*nth.report), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || at == -1)
        abort();
    nth.report = (struct report *)at;
    (void)nth_syscall(SYS_close, fd);
}

__attribute__((constructor)) static void begin(void)
{
    const char *number = getenv("NTH_NUMBER"), *report = getenv("NTH_REPORT");
    const char *list = getenv("NTH_LIST");
    nth.roots = getenv("NTH_ROOTS");
    nth.match = getenv("NTH_MATCH");
    nth.fault = find_fault(getenv("NTH_FAULT"));
    nth.number = number == NULL ? 0 : strtoull(number, NULL, 10);
    nth.list = -1;
    if (nth.roots == NULL || nth.fault == NULL || report == NULL)
        return;
    dl_iterate_phdr(take_program, NULL);
    open_report(report);
    if (list != NULL)
        nth.list = (int)nth_syscall(SYS_openat, AT_FDCWD, list,
                                    O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    nth.on = true;
}

/* ---- which file ---- */

static void read_link(const char *path, char *ret)
{
    long n = nth_syscall(SYS_readlinkat, AT_FDCWD, path, ret, PATH_MAX - 1);
    ret[n < 0 ? 0 : n] = '\0';
}

static void name_of_fd(int fd, char *ret)
{
    char link[64] = "/proc/self/cwd";
    if (fd != AT_FDCWD)
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    read_link(link, ret);
}

/* ret: PATH_MAX. */
static void name_of(const struct nth_call *c, char *ret)
{
    if (c->path == NULL || c->path[0] == '\0') {
        name_of_fd(c->path == NULL ? c->fd : c->dir, ret);
    } else if (strncmp(c->path, "/proc/self/fd/", 14) == 0) {
        read_link(c->path, ret);
    } else if (c->path[0] == '/') {
        snprintf(ret, PATH_MAX, "%s", c->path);
    } else {
        name_of_fd(c->dir, ret);
        size_t used = strlen(ret);
        snprintf(ret + used, PATH_MAX - used, "/%s", c->path);
    }
}

static bool is_below_roots(const char *path)
{
    for (const char *root = nth.roots; *root != '\0';) {
        size_t length = strcspn(root, ":");
        if (length > 0 && strncmp(path, root, length) == 0 &&
            (path[length] == '/' || path[length] == '\0'))
            return true;
        root += length + (root[length] == ':');
    }
    return false;
}

/* ---- whether it fails ---- */

static void write_list(uint64_t number, const char *text)
{
    char line[PATH_MAX + 100];
    int bytes = snprintf(line, sizeof(line), "%llu %s\n", (unsigned long long)number, text);
    (void)nth_syscall(SYS_write, nth.list, line, bytes);
}

/* Counts the call. */
static bool is_the_one(const char *name, const char *path)
{
    char text[PATH_MAX + 40];
    snprintf(text, sizeof(text), "%s %s", name, path);
    if (nth.match != NULL && fnmatch(nth.match, text, 0) != 0)
        return false;
    uint64_t number = atomic_fetch_add(&nth.report->calls, 1) + 1;
    if (nth.list >= 0)
        write_list(number, text);
    if (number != nth.number)
        return false;
    snprintf(nth.report->what, sizeof(nth.report->what), "%.900s", text);
    atomic_store(&nth.report->failed, 1);
    return true;
}

static bool counts(unsigned sorts)
{
    return nth.on && (sorts & nth.fault->sorts) != 0 && atomic_load(&nth.report->begun) != 0;
}

bool nth_fails(const struct nth_call *call)
{
    char path[PATH_MAX];
    if (!counts(call->sorts))
        return false;
    int saved = errno;
    name_of(call, path);
    bool fails = is_below_roots(path) && is_the_one(call->name, path);
    errno = fails ? nth.fault->code : saved;
    return fails;
}

/* Half of what was asked for, and of direct I/O whole sectors, as a device would. */
bool nth_fails_moving(const struct nth_call *call, size_t *bytes)
{
    bool cuts = nth.on && nth.fault->code == 0;
    if (!cuts)
        return nth_fails(call);
    if (*bytes > 1 && nth_fails(call)) {
        size_t half = *bytes / 2;
        *bytes = half > 512 ? half / 512 * 512 : half;
    }
    return false;
}

bool nth_fails_without_file(const char *name, const void *caller)
{
    bool ours = (uintptr_t)caller >= nth.program_start && (uintptr_t)caller < nth.program_end;
    if (!counts(NTH_NO_FILE) || !ours || !is_the_one(name, ""))
        return false;
    errno = nth.fault->code;
    return true;
}

/* ---- syncs ---- */

/* A directory is another matter: each change of it wants a sync of its own. */
static bool identify(int fd, struct statx *ret)
{
    unsigned want = STATX_BASIC_STATS | STATX_BTIME; /* an inode's number is used again */
    return nth_syscall(SYS_statx, fd, "", AT_EMPTY_PATH, want, ret) == 0 && S_ISREG(ret->stx_mode);
}

static bool same_file(const struct statx *a, const struct statx *b)
{
    return a->stx_ino == b->stx_ino && a->stx_dev_major == b->stx_dev_major &&
           a->stx_dev_minor == b->stx_dev_minor && a->stx_btime.tv_sec == b->stx_btime.tv_sec &&
           a->stx_btime.tv_nsec == b->stx_btime.tv_nsec;
}

void nth_note_failed_sync(int fd)
{
    struct statx st;
    int saved = errno;
    if (identify(fd, &st) && nth.sync_count < SYNCS_MAX) /* one fault, so no other thread is here */
        nth.syncs[nth.sync_count++] = st;
    errno = saved;
}

void nth_watch_sync(const char *name, int fd)
{
    struct statx st;
    char path[PATH_MAX];
    int saved = errno;
    unsigned count = nth.sync_count;
    bool known = count > 0 && identify(fd, &st);
    for (unsigned i = 0; known && i < count; i++) {
        if (!same_file(&nth.syncs[i], &st))
            continue;
        name_of_fd(fd, path);
        /* these write anew all that they sync again: SQLite, and a lease's beat */
        if (strstr(path, ".sqlite") != NULL || strstr(path, "/.millrace/lease/") != NULL)
            continue;
        snprintf(nth.report->resync, sizeof(nth.report->resync), "%s %.900s", name, path);
        atomic_fetch_add(&nth.report->resyncs, 1);
    }
    errno = saved;
}
