/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From SEALED to COMMITTED: rename, directories, event, catalogue, journal. Every step may be
 * entered again after a crash and finds out for itself whether it was done; so the seal stage and
 * recovery run the very same code. Used by one thread at a time.
 */
#ifndef MR_COMMIT_H
#define MR_COMMIT_H

#include "catalogue.h"
#include "dossier.h"
#include "eventlog.h"
#include "store.h"

/* Borrowed */
struct mr_commit {
    const struct mr_store *store;
    struct mr_eventlog *eventlog;
    struct mr_catalogue *catalogue;
};

/* Appends d->sealed to the journal, durably. From here the commit can only be repeated. -EIO: also
 * where its fdatasync failed, whatever the cause: the journal is not to be trusted any more. */
int mr_commit_seal(const struct mr_commit *c, const struct mr_dossier *d,
                   struct mr_err *err) MR_MUST_USE;

/* Gives the part its final name: d->sealed.path, or where that is taken meanwhile the next free
 * _dup, sealed anew. Directories are fsynced. -ENOENT: neither part nor final file is there. */
int mr_commit_place(const struct mr_commit *c, struct mr_dossier *d,
                    struct mr_err *err) MR_MUST_USE;

/* Logs the events of placed movies, notes them in the catalogue (committed ones), removes their
 * journals. sequences: of the events, written for all. Any error is the end of the server: log or
 * catalogue is broken. */
int mr_commit_record(const struct mr_commit *c, struct mr_dossier *const *movies, size_t count,
                     uint64_t *ret_sequences, struct mr_err *err) MR_MUST_USE;

/* Before the stages start: finishes every sealed movie that an earlier server left, and calls
 * unfinished(ctx, id) for every journal that is to be resumed. Journals of nothing are removed.
 * Logs a line per movie. Trouble with one movie is logged and left for the next start; an error is
 * the end of the server. */
int mr_commit_recover(const struct mr_commit *c,
                      void (*unfinished)(void *ctx, const struct mr_ulid *id), void *ctx,
                      struct mr_err *err) MR_MUST_USE;

/* First final name that is free, beginning with `path`, into ret (MR_NAMING_PATH_MAX + 1 bytes).
 * Any thread: berth asks for a first candidate, commit takes what is free then. */
int mr_commit_free_name(const struct mr_store *store, const char *path, char *ret) MR_MUST_USE;

#endif
