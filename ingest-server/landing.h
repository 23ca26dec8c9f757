/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landing: verified slabs become durable. Owned by one lane thread; no locks. Order, per movie:
 *
 *   write completes -> the group closes -> fdatasync(part) -> journal lines of exactly those slabs
 *   -> fdatasync(journal) -> durable callback
 *
 * A group closes at its size, at its time, or when no write of its movie is in flight on this lane.
 * A movie has one group in sync while the next fills. After any failure the movie is tainted for
 * every lane: what is in flight is waited for and dropped, nothing of it is reported durable any
 * more; other movies are not touched.
 *
 * Callbacks come from within mr_landing_step (detached also from _detach, failed also from _put)
 * and must not call into landing.
 */
#ifndef MR_LANDING_H
#define MR_LANDING_H

#include "base/pool.h"
#include "movie.h"
#include "placement.h"
#include "uring.h"

struct mr_landing;

/* By gravity */
enum mr_landing_failure {
    MR_LANDING_WRITE = 1, /* a write to the part failed: ENOSPC, EDQUOT, EFBIG, EIO, EROFS ... */
    MR_LANDING_JOURNAL,   /* the journal's append or fdatasync failed: append no more to it */
    MR_LANDING_FSYNC,     /* the part's fdatasync failed: what it holds is not to be trusted */
};

/* Movie and list are borrowed for the call */
struct mr_landing_callbacks {
    void *ctx;
    /* A slab's write completed and its buffer is back in the pool; not durable yet. May be NULL.
     * Tests see by it what comes first. */
    void (*landed)(void *ctx, struct mr_movie *movie, const struct mr_placement *placement);
    void (*durable)(void *ctx, struct mr_movie *movie, const struct mr_placement *list,
                    size_t count);
    /* Once per movie and lane; again only for something graver (an fsync that fails after a write).
     * A movie that another lane tainted is dropped here in silence. code: -errno; text: for
     * operators. */
    void (*failed)(void *ctx, struct mr_movie *movie, int code, enum mr_landing_failure what,
                   const char *text);
    void (*detached)(void *ctx, struct mr_movie *movie); /* landing's reference goes right after */
};

#define MR_LANDING_DEPTH       64u
#define MR_LANDING_GROUP_BYTES (UINT64_C(64) << 20)
#define MR_LANDING_GROUP_MS    50u
#define MR_LANDING_GROUP_SLABS 256u
#define MR_LANDING_SLABS       4096u

/* A zero takes the default above */
struct mr_landing_config {
    struct mr_uring_config uring; /* its depth */
    uint64_t group_bytes;         /* of slabs in one sync group */
    uint32_t group_ms;            /* longest a completed write waits for its fdatasync */
    uint32_t group_slabs;         /* most records of one journal append */
    uint32_t slabs;               /* most slabs between _put and durable */
    struct mr_uring *engine;      /* taken, also on failure; NULL: opens its own */
    int (*append)(int fd, const char *lines, size_t bytes); /* NULL: mr_recordlog_append */
};

/* notice: as mr_uring_open. Returns owned. All memory of the data path is had here. */
int mr_landing_new(const struct mr_landing_config *config,
                   const struct mr_landing_callbacks *callbacks, struct mr_err *notice,
                   struct mr_landing **ret) MR_MUST_USE;
/* Waits for writes in flight, returns buffers and references, calls nothing back; NULL allowed. */
void mr_landing_free(struct mr_landing *l);

/* Holds a reference. Opens part and journal anew (through /proc/self/fd), because the kernel tells
 * a write-back error once per open file: lanes that shared one could miss the error of their own
 * data. -EEXIST: attached already (or not yet detached); -ENOMEM, -EMFILE, -EACCES ... with err
 * text. */
int mr_landing_attach(struct mr_landing *l, struct mr_movie *movie, struct mr_err *err) MR_MUST_USE;

/* No more puts; the detached callback comes when nothing of the movie is in flight on this lane.
 * What was put before still becomes durable. -ENOENT: not attached. */
int mr_landing_detach(struct mr_landing *l, struct mr_movie *movie) MR_MUST_USE;

/* Queues; the next step starts the write. Takes the buffer, whose first p->stored_bytes are the
 * slab; the rest up to alignment is zeroed here. p->offset: the span's file_offset for BYTES and
 * STREAM; CHUNKS: ignored, room is claimed here. On a tainted movie the buffer goes back to its
 * pool and 0 is returned. Errors leave the buffer with the caller: -ENOENT not attached; -EAGAIN no
 * room (mr_landing_room); -EINVAL the placement is out of range (mr_placement_check), over the
 * buffer's capacity or off the movie's alignment. */
int mr_landing_put(struct mr_landing *l, struct mr_movie *movie, const struct mr_placement *p,
                   struct mr_buffer *buffer) MR_MUST_USE;

/* Slabs that may be put before -EAGAIN. */
uint32_t mr_landing_room(const struct mr_landing *l);

/* Reaps, closes groups, reports, submits. Never waits for the disk, but for what the page cache may
 * cost the journal's append (and mr_landing_put what fallocate costs, once in 16 to 256 MiB).
 * now_ns: monotonic. An error (of the ring itself) is the lane's end. */
int mr_landing_step(struct mr_landing *l, int64_t now_ns) MR_MUST_USE;

int mr_landing_fd(const struct mr_landing *l); /* readable: step has something to do; do not read */
/* When step wants to be called though nothing completed: monotonic ns, INT64_MAX for never. Ask
 * after step. */
int64_t mr_landing_next_deadline_ns(const struct mr_landing *l);

const char *mr_landing_engine(const struct mr_landing *l); /* "io_uring", "pwrite" */

#endif
