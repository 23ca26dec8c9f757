/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the seal stage share. Private to seal (the queue, recording, the loop),
 * seal_prepare (how one movie ends, up to its final name) and seal_group (small ones together).
 */
#ifndef MR_SEAL_STATE_H
#define MR_SEAL_STATE_H

#include "base/counter.h"
#include "seal.h"
#include "unlogged.h"

#include <stdatomic.h>

#define STAGE     "seal"
#define BATCH     256
#define STUCK_MAX (2 * MR_MOVIES_MAX) /* of this life and of the one before */
#define RETRY_MS  5000

enum counter { COMMITTED, FAILED, DISCARDED, KNOWN, COUNTERS };

/* What a movie that is given up still needs: its journal says SEALED, so that nobody resumes it */
enum undo { UNDO_NOTHING, UNDO_DISCARD, UNDO_TAKE_BACK };

/* One movie on its way through the batch. It is one of: answered (message alone); boarded, a small
 * one that waits for its group; placed, with its final name, to be recorded; stuck, to be tried
 * again: to be undone where undo says so, to be recorded where it is placed, else to be placed. */
struct work {
    struct mr_seal_job job;
    struct mr_dossier *d; /* owned; NULL: nothing to record */
    struct mr_message *message;
    bool placed, stuck;
    enum undo undo; /* its message waits */
    bool boarded;
    int64_t began_ns;
};

struct mr_seal {
    const struct mr_commit *commit;
    struct mr_queue *jobs, *answers;
    struct mr_queue *rechecks; /* where every movie is read back before it is sealed; or NULL */
    void (*fatal)(void *ctx);
    void *ctx;
    bool dead;
    struct work *batch; /* prepared, not yet recorded; of the loop's turn */
    size_t batch_count;
    struct work stuck[STUCK_MAX]; /* sealed, but not to be placed or undone yet: tried again */
    size_t stuck_count;
    int64_t stuck_ns; /* when they were last tried */
    struct mr_unlogged unlogged;
    atomic_bool stopping;
    int64_t expired_ns; /* when old revisions were last looked through */
    struct mr_counter counters[COUNTERS];
    _Atomic int64_t last_commit_ns;
};

/* Up to the final name, or to an answer (seal_prepare.c). */
void mr_seal_prepare(struct mr_seal *s, struct work *w);
/* Gives a sealed movie its name: placed, stuck, or answered. */
void mr_seal_place(struct mr_seal *s, struct work *w);
/* Tries again to undo what could not be undone. */
void mr_seal_undo(struct mr_seal *s, struct work *w);
/* Commits those of works that are boarded, together: placed, stuck, or answered (seal_group.c). */
void mr_seal_group(struct mr_seal *s, struct work *works, size_t count);
/* Those of a group that cannot be recorded for now get journals of their own. */
void mr_seal_dissolve(struct mr_seal *s, struct work *works, size_t count);
/* Log or catalogue cannot be relied on (seal.c). */
void mr_seal_die(struct mr_seal *s, const struct mr_err *err);
/* Answers HOLD (seal_prepare.c). */
void mr_seal_hold(struct work *w, const struct mr_err *err);
/* It is sealed and not to be relied on; nobody was told of it (seal_prepare.c). */
void mr_seal_begin_again(struct mr_seal *s, struct work *w, struct mr_err *err);
/* Logs and answers those of works that are placed (seal.c). */
void mr_seal_record(struct mr_seal *s, struct work *works, size_t count);

#endif
