/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stage that finishes movies, thread "seal": digests from the journal, header or index, fsync,
 * SEALED, and then the commit (commit.h). The only writer of event log and catalogue, so what else
 * is to be logged (agents coming and going, movies started) passes here too.
 */
#ifndef MR_SEAL_H
#define MR_SEAL_H

#include "base/queue.h"
#include "base/thread.h"
#include "commit.h"
#include "intake.h"

enum mr_seal_kind {
    MR_SEAL_COMMIT,
    MR_SEAL_FAIL,
    MR_SEAL_DISCARD,
    MR_SEAL_LOG,
    MR_SEAL_RECOVERED, /* from recheck; has no answer */
    MR_SEAL_VERIFIED,  /* from recheck: a COMMIT whose file was read back */
};

struct mr_recheck_job;

/* Control, recheck -> seal */
struct mr_seal_job {
    enum mr_seal_kind kind;
    struct mr_ulid id;
    /* a reference; NULL: DISCARD of one that was not opened since the start */
    struct mr_movie *movie;
    char agent[MR_NAME_MAX + 1]; /* DISCARD: who asks for it */
    const struct mr_end *end;    /* COMMIT; borrowed until the answer */
    const struct mr_fail *fail;  /* FAIL; borrowed until the answer */
    char *event;                 /* LOG; owned text */
    /* RECOVERED; owned: sealed by an earlier server */
    struct mr_dossier *dossier;
    enum mr_commit_state state;
    struct mr_recheck_job *recheck; /* VERIFIED; owned */
    bool bad;                       /* RECOVERED, VERIFIED */
};

/* Seal -> control */
struct mr_seal_answer {
    struct mr_ulid id;
    struct mr_message *message; /* owned (free): COMMITTED, FAILED, ABANDONED or HOLD */
};

struct mr_seal;

/* All borrowed until _free. fatal(ctx): log or catalogue is broken, the server has to end; called
 * once. Returns owned. */
int mr_seal_new(const struct mr_commit *commit, struct mr_queue *jobs, struct mr_queue *answers,
                void (*fatal)(void *ctx), void *ctx, struct mr_seal **ret) MR_MUST_USE;
void mr_seal_free(struct mr_seal *seal);

/* From now on every movie is read back before it is sealed: rechecks (struct mr_recheck_job *) are
 * recheck's jobs; borrowed. Before the thread starts. */
void mr_seal_read_back(struct mr_seal *seal, struct mr_queue *rechecks);

/* Sealed movies that cannot be placed or recorded for now are answered with HOLD within 5 s and
 * left to the next start. Any thread. While the server runs they are tried again every 5 s, and
 * nothing but their commit removes their journals: DISCARD is answered with HOLD. */
void mr_seal_stop(struct mr_seal *seal);

extern const struct mr_stage mr_seal_stage;

struct mr_seal_counts {
    uint64_t committed, failed, discarded, known;
    int64_t last_commit_ns; /* how long the last one took */
};
void mr_seal_count(struct mr_seal *seal, struct mr_seal_counts *ret); /* any thread */

#endif
