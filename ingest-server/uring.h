/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asynchronous writes and fdatasyncs of one thread: io_uring, or where that is forbidden a small
 * pool of threads doing pwrite behind the same face. The ops table is public so that a test can put
 * a disk of its own behind it. Nothing here knows what is written. Every call but _open: the owning
 * thread.
 */
#ifndef MR_URING_H
#define MR_URING_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define MR_URING_DEPTH_MAX 4096u

struct mr_uring_write {
    int fd;             /* borrowed until the completion */
    uint32_t alignment; /* of offset, bytes and data where fd is O_DIRECT; 1 elsewhere */
    const void *data;   /* borrowed until the completion */
    size_t bytes; /* 1 .. INT32_MAX; Linux writes 0x7ffff000 at once, the rest is carried on */
    uint64_t offset;
};

struct mr_uring_done {
    uint64_t token; /* as given to the call */
    int64_t result; /* write: all of its bytes; fdatasync: 0; else -errno */
};

struct mr_uring;

struct mr_uring_ops {
    const char *name; /* "io_uring", "pwrite" */
    int (*write)(struct mr_uring *u, const struct mr_uring_write *w, uint64_t token);
    int (*fdatasync)(struct mr_uring *u, int fd, uint64_t token);
    int (*submit)(struct mr_uring *u);
    size_t (*reap)(struct mr_uring *u, struct mr_uring_done *ret, size_t capacity);
    void (*close)(struct mr_uring *u);
};

/* First member of every engine */
struct mr_uring {
    const struct mr_uring_ops *ops;
    int event_fd; /* readable while a completion may wait; never to be read by the caller */
};

struct mr_uring_config {
    uint32_t depth;         /* most operations in flight, 1 .. MR_URING_DEPTH_MAX */
    uint32_t pool_threads;  /* of the pwrite pool; 0: 4 */
    bool force_pwrite_pool; /* also by MILLRACE_FORCE_PWRITE_POOL=1 in the environment */
};

/* Returns owned. notice (may be NULL) is filled, with 0 returned, where io_uring is forbidden and
 * the pool was taken instead: likely cause and remedy, to be logged as a warning. An error means
 * that not even the pool could be had; err text in notice. */
int mr_uring_open(const struct mr_uring_config *config, struct mr_err *notice,
                  struct mr_uring **ret) MR_MUST_USE;
/* Waits for what is in flight, whose results are lost; NULL allowed. */
void mr_uring_close(struct mr_uring *u);

/* Queues; -EAGAIN: depth operations are in flight, reap first. A write is carried on after a short
 * count, EINTR and EAGAIN; a failed fdatasync is never tried again. */
int mr_uring_write(struct mr_uring *u, const struct mr_uring_write *w, uint64_t token) MR_MUST_USE;
int mr_uring_fdatasync(struct mr_uring *u, int fd, uint64_t token) MR_MUST_USE;

/* Hands what is queued to the kernel. -EAGAIN: the kernel is short of something, call again soon
 * (nothing is lost); any other error is the ring's end. */
int mr_uring_submit(struct mr_uring *u) MR_MUST_USE;

/* Up to `capacity` completions, without waiting. Fewer than capacity: none were left. As many:
 * call again before waiting, for the event is taken already. */
size_t mr_uring_reap(struct mr_uring *u, struct mr_uring_done *ret, size_t capacity);

int mr_uring_fd(const struct mr_uring *u);
int mr_uring_wait(const struct mr_uring *u, int timeout_ms) MR_MUST_USE; /* -ETIME; -1 for ever */
const char *mr_uring_name(const struct mr_uring *u);

/* For engines: what comes of one write's result (bytes, or -errno). 1: it is to go on with w, which
 * was moved past what a short write wrote, down to the last alignment boundary, so that a direct
 * write goes on aligned (the piece behind the boundary is written twice); 0: all is written;
 * -errno: it failed, also after too many fruitless attempts in a row (EINTR, EAGAIN, no progress).
 * *attempts: 0 at first. */
int mr_uring_carry_on(struct mr_uring_write *w, unsigned *attempts, int64_t result);

const char *mr_uring_library(void); /* "liburing 2.3" */

#endif
