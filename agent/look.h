/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One look at one file: its facts beside those of the last look, the beginning that its source
 * judges by, and the messages (track.h tells their order) about what is new. When to look is
 * track's to say. On track's thread.
 */
#ifndef MR_AGENT_LOOK_H
#define MR_AGENT_LOOK_H

#include "filetable.h"
#include "track.h"

#include <stdatomic.h>

#define MR_LOOK_EVERY_NS (20 * MR_NS_PER_MS) /* at most, while a file is being written */

/* Track's, but for what only looks change: set up by it, embedded in it. */
struct mr_look {
    struct mr_track_config config;
    struct mr_queue *out; /* borrowed; NULL when explaining */
    mr_track_visit visit; /* explaining: instead of the queue */
    void *visit_ctx;
    int visit_code;
    struct mr_filetable files;
    int64_t now_ns, real_ns; /* of this step */
    uint64_t unseen;         /* files not looked at yet */
    struct mr_track_counts counts;
    struct mr_growth growth; /* the message in the making */
    atomic_bool stopped;     /* the queue was closed, or track was told to stop */
};

/* dir: the root of the file's watch, < 0 where it is not there: then nothing is said. Frees the
 * file where it is gone; else schedules its next look if one is needed without a hint. */
void mr_look_at(struct mr_look *l, struct mr_file *file, int dir);

bool mr_look_stopped(struct mr_look *l); /* any thread */

#endif
