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
#define RETRY_MS  MR_INTAKE_HOLD_MS

enum counter { COMMITTED, FAILED, DISCARDED, KNOWN, COUNTERS };

/* What a movie still needs. What the batch does not come to is tried again every RETRY_MS, and its
 * message waits. */
enum need {
    NOTHING,      /* but that its message is said, where it has one */
    TO_GROUP,     /* small: sealed together with others, by the end of the batch */
    TO_PLACE,     /* sealed: its final name */
    TO_RECORD,    /* it has that: event and catalogue */
    TO_DISCARD,   /* given up: parts and journals go, of which one may say SEALED */
    TO_TAKE_BACK, /* given up, and may have its final name already */
};

/* One movie on its way through the batch */
struct work {
    struct mr_seal_job job;
    struct mr_dossier *d; /* owned; NULL: nothing to record */
    struct mr_message *message;
    enum need need;
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
    struct work stuck[STUCK_MAX]; /* they need something that could not be done yet */
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
/* Gives a sealed movie its name: TO_RECORD, or TO_PLACE again, or it begins again. */
void mr_seal_place(struct mr_seal *s, struct work *w);
/* TO_DISCARD or TO_TAKE_BACK: tries it, at first or again. */
void mr_seal_undo(struct mr_seal *s, struct work *w, enum need how);
/* Seals those of works that are TO_GROUP, and places them: TO_RECORD, TO_PLACE or answered
 * (seal_group.c). */
void mr_seal_group(struct mr_seal *s, struct work *works, size_t count);
/* Those of a group that cannot be recorded for now get journals of their own. */
void mr_seal_dissolve(struct mr_seal *s, struct work *works, size_t count);
/* Log or catalogue cannot be relied on (seal.c). */
void mr_seal_die(struct mr_seal *s, const struct mr_err *err);
/* Answers HOLD (seal_prepare.c). */
void mr_seal_hold(struct work *w, const struct mr_err *err);
/* It is sealed and not to be relied on; nobody was told of it (seal_prepare.c). */
void mr_seal_begin_again(struct mr_seal *s, struct work *w, struct mr_err *err);
/* Logs and answers those of works that are TO_RECORD (seal.c). */
void mr_seal_record(struct mr_seal *s, struct work *works, size_t count);

#endif
