/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The uncache stage, thread "uncache": what has been shipped leaves the page cache of the camera's
 * host, so that memory is there for what the camera writes. Only advice to the kernel: no byte is
 * lost by it, what is read again comes from the disk.
 *
 * A page that is not written back yet stays; the advice makes the kernel begin with it. So each
 * range is told twice, the second time a while later.
 */
#ifndef MR_UNCACHE_H
#define MR_UNCACHE_H

#include "base/queue.h"
#include "base/thread.h"

#define MR_UNCACHE_BATCH (UINT64_C(32) << 20) /* bytes: so much of a file, then it is told */
#define MR_UNCACHE_LEAST (UINT64_C(4) << 20)  /* bytes: smaller files stay in the cache */

struct mr_uncache_job {
    int fd;            /* owned by the job */
    uint64_t from, to; /* bytes; to 0: the end of the file */
};

/* What of one file is to be told next; zeroed: nothing. Used by its owner's thread alone. */
struct mr_uncache_run {
    uint64_t from, to, bytes;
};

/* Bytes [from, to) of fd's file are shipped. Hands a job over once there is a batch of them, with a
 * descriptor of its own; where the stage is behind, the advice is dropped. */
void mr_uncache_note(struct mr_uncache_run *run, struct mr_queue *jobs, int fd, uint64_t from,
                     uint64_t to);
/* All of the file, which has `size` bytes, is shipped. */
void mr_uncache_whole(struct mr_uncache_run *run, struct mr_queue *jobs, int fd, uint64_t size);

struct mr_uncache;

/* jobs: of struct mr_uncache_job, borrowed. again_ns: from the first time to the second.
 * Returns owned. -ENOMEM. */
int mr_uncache_new(struct mr_queue *jobs, int64_t again_ns, struct mr_uncache **ret) MR_MUST_USE;
void mr_uncache_free(struct mr_uncache *u);

extern const struct mr_stage mr_uncache_stage; /* ends when `jobs` is closed and empty */

#endif
