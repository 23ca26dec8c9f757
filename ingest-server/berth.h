/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds or makes the place where a movie lands: directories, part file, journal with its OPEN
 * record, all durable before the first slab can be acknowledged. A thread of its own, because
 * directories take their time; jobs come from control and answers go back to it.
 */
#ifndef MR_BERTH_H
#define MR_BERTH_H

#include "base/queue.h"
#include "base/thread.h"
#include "catalogue.h"
#include "intake.h"
#include "store.h"

struct mr_recheck_job;

/* Control -> berth; owned by the queue's reader */
struct mr_berth_job {
    enum {
        MR_BERTH_OPEN,
        MR_BERTH_RELEASE,
        MR_BERTH_CONFIRM,
        MR_BERTH_RECHECKED,
        MR_BERTH_DOUBT
    } kind;
    struct mr_open *open; /* OPEN; owned */
    char agent[MR_NAME_MAX + 1];
    bool push; /* OPEN: nobody resumes it once that push has ended */
    int64_t clock_offset_ms;
    struct mr_movie *movie; /* RELEASE; a reference */
    bool distrusted;        /* RELEASE: part and journal go */
    struct mr_confirm confirm;
    uint64_t session;               /* CONFIRM: whose; the answer carries it */
    struct mr_recheck_job *recheck; /* RECHECKED, from recheck; owned */
    struct mr_ulid id; /* DOUBT, from recheck: its slabs are read back at its next OPEN */
};

/* Berth -> control */
struct mr_berth_answer {
    struct mr_ulid id;
    struct mr_movie *movie; /* a reference; NULL: message says why not */
    bool resumed;
    struct mr_range *durable; /* owned (free) */
    size_t durable_count;
    struct mr_message *message; /* owned (free): COMMITTED, FAILED or HOLD; or CONFIRMED */
    uint64_t session;           /* of a CONFIRM; else 0 */
};

struct mr_berth;

/* Borrowed */
struct mr_berth_queues {
    struct mr_queue *jobs, *answers;
    struct mr_queue *rechecks; /* to recheck: struct mr_recheck_job * */
};

/* store, catalogue and queues are borrowed until _free. Returns owned. */
int mr_berth_new(const struct mr_store *store, struct mr_catalogue *catalogue,
                 const struct mr_berth_queues *queues, struct mr_berth **ret) MR_MUST_USE;
void mr_berth_free(struct mr_berth *berth);

/* A journal that was there when the server started: its slabs are read back (by recheck) before
 * they are called durable again, and its OPEN is answered after that. A push's that does not come
 * back is discarded. Before the thread starts. */
int mr_berth_note_left(struct mr_berth *berth, const struct mr_ulid *id) MR_MUST_USE;

extern const struct mr_stage mr_berth_stage;

/* One job, synchronously; for tests. */
void mr_berth_do(struct mr_berth *berth, struct mr_berth_job *job);

#endif
