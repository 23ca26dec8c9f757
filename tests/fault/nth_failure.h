/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which call fails. nth_failure.c counts and decides, nth_calls.c stands before libc's functions
 * and asks. Both are one library for LD_PRELOAD; any thread.
 */
#ifndef MR_TESTS_NTH_FAILURE_H
#define MR_TESTS_NTH_FAILURE_H

#include <stdbool.h>
#include <stddef.h>

enum nth_sort {
    NTH_OPEN = 1 << 0,    /* makes a descriptor */
    NTH_MAKE = 1 << 1,    /* makes a name, or a file */
    NTH_REMOVE = 1 << 2,  /* of a name */
    NTH_READ = 1 << 3,    /* of bytes */
    NTH_WRITE = 1 << 4,   /* of bytes */
    NTH_SYNC = 1 << 5,    /* fsync, fdatasync, syncfs */
    NTH_SIZE = 1 << 6,    /* fallocate, ftruncate */
    NTH_ASK = 1 << 7,     /* stat and its like */
    NTH_ROOM = 1 << 8,    /* statvfs */
    NTH_LIST = 1 << 9,    /* readdir */
    NTH_SET = 1 << 10,    /* owner, mode, times */
    NTH_WATCH = 1 << 11,  /* inotify_add_watch */
    NTH_CLOSE = 1 << 12,  /* the descriptor is gone all the same, as on Linux */
    NTH_MAP = 1 << 13,    /* mmap of a file */
    NTH_LOCK = 1 << 14,   /* flock, fcntl */
    NTH_NO_FILE = 1 << 15 /* a descriptor of no file: eventfd, inotify */
};

struct nth_call {
    const char *name;
    unsigned sorts;
    int fd;           /* where path is NULL */
    int dir;          /* of path */
    const char *path; /* "" means dir itself */
};

/* True: this is the one that fails; errno is set. Else errno stays as it is. */
bool nth_fails(const struct nth_call *call);

/* As nth_fails, of a call that moves bytes: *bytes becomes less where it is to be cut short. */
bool nth_fails_moving(const struct nth_call *call, size_t *bytes);

/* As nth_fails, of a call about no file: only the program's own count, told by their return
 * address, since libraries may be less careful (ZeroMQ ends the process that gets no eventfd). */
bool nth_fails_without_file(const char *name, const void *caller);

/* Before and after a sync of fd. */
void nth_watch_sync(const char *name, int fd);
void nth_note_failed_sync(int fd);

/* libc's syscall() itself. */
long nth_syscall(long number, ...);

#endif
