/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what an earlier life of the server wrote back from the disk, before it counts: the slabs of
 * movies that are resumed, the whole file of those that were sealed and not announced. A thread of
 * its own, "recheck", so that nobody else waits for it; movies take turns, so that a small one does
 * not wait for a huge one either. Movies to resume come from berth, and go back to it as
 * MR_BERTH_RECHECKED; slabs of those taken over from a server that may still live are copied in the
 * same pass (carry.h). Sealed ones come from recovery, and go to seal as MR_SEAL_RECOVERED.
 */
#ifndef MR_RECHECK_H
#define MR_RECHECK_H

#include "base/queue.h"
#include "base/thread.h"
#include "carry.h"
#include "commit.h"
#include "dossier.h"
#include "movie.h"
#include "store.h"

#include <sys/queue.h>

/* Why a movie is looked at, and who hears of it */
enum mr_recheck_kind {
    MR_RECHECK_RESUMED, /* its slabs, before they count: berth */
    MR_RECHECK_SEALED,  /* by an earlier life, before it is announced: seal (RECOVERED) */
    MR_RECHECK_SEALING, /* its file, before it is sealed: seal (VERIFIED) */
};

/* A movie being looked at. Owned by who has it: a queue, the stage, berth. */
struct mr_recheck_job {
    STAILQ_ENTRY(mr_recheck_job) link; /* recheck's own */
    enum mr_recheck_kind kind;
    struct mr_movie *movie;       /* a reference; sealed: NULL */
    struct mr_dossier *dossier;   /* owned; slabs that do not read back lose their raw_bytes */
    uint64_t next;                /* slab to be read next; sealed, sealing: byte */
    uint64_t lost;                /* slabs */
    uint64_t crc;                 /* sealed, sealing: up to next */
    enum mr_commit_state state;   /* sealed: DOUBTED, or goes on unread */
    int64_t again_ns;             /* sealed: could not be read, and is not to be before that */
    bool whole;                   /* all of it was read; false: the server is stopping */
    const struct mr_end *sealing; /* seal's, borrowed: its file is read back before it is sealed */
    char left_out[256];           /* seal's */
    /* generation to copy the slabs from, into movie's part; 0: they are there */
    uint32_t carry_from;
    struct mr_carry *carry; /* recheck's own */
    int error;              /* of the copying: nothing can be said of the movie */
};
void mr_recheck_job_free(struct mr_recheck_job *job); /* NULL allowed */

struct mr_recheck;

/* Borrowed */
struct mr_recheck_queues {
    struct mr_queue *jobs; /* struct mr_recheck_job *; a push takes it */
    struct mr_queue *berth_jobs, *seal_jobs;
};

/* Borrows all until _free. Returns owned. */
int mr_recheck_new(const struct mr_store *store, const struct mr_recheck_queues *queues,
                   struct mr_recheck **ret) MR_MUST_USE;
void mr_recheck_free(struct mr_recheck *recheck); /* NULL allowed */

/* Any thread: what is being read, or comes later, goes back at once, unread; sealed movies are left
 * to the next start. */
void mr_recheck_stop(struct mr_recheck *recheck);

extern const struct mr_stage mr_recheck_stage;

/* Takes what lies in the queue and gives each movie one turn; false: nothing is left to do. For
 * tests. */
bool mr_recheck_turn(struct mr_recheck *recheck);

#endif
