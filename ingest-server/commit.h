/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From SEALED to COMMITTED: rename, directories, event, catalogue, journal. Every step may be
 * entered again after a crash and finds out for itself whether it was done; so the seal stage and
 * recovery run the very same code. Used by one thread at a time, but for what says otherwise.
 */
#ifndef MR_COMMIT_H
#define MR_COMMIT_H

#include "catalogue.h"
#include "dossier.h"
#include "eventlog.h"
#include "movie.h"
#include "store.h"

/* Borrowed */
struct mr_commit {
    const struct mr_store *store;
    struct mr_eventlog *eventlog;
    struct mr_catalogue *catalogue;
};

/* Appends d->sealed to the journal, durably. From here the commit can only be repeated. -EIO: also
 * where its fdatasync failed, whatever the cause: the journal is not to be trusted any more. After
 * other errors it is as it was. */
int mr_commit_seal(const struct mr_commit *c, const struct mr_dossier *d,
                   struct mr_err *err) MR_MUST_USE;

/* Where d->unmended: a line that a crash cut short would swallow the next one, and what was read
 * may be in memory only. Cuts the one, makes the other durable. -EUCLEAN: the journal's sync
 * failed, it is not to be relied on; after other errors to be tried again. */
int mr_commit_mend(const struct mr_commit *c, struct mr_dossier *d, struct mr_err *err) MR_MUST_USE;

/* Mends where that is due, then gives the part its final name: d->sealed.path, or where that is
 * taken meanwhile the next free _dup, sealed anew. Directories are fsynced. -ENOENT: neither part
 * nor final file is there. -EUCLEAN: the journal's sync failed, so that it is not to be relied on,
 * nor to be tried again: to be taken back. Not for a movie whose event is logged: nothing may be
 * moved then. */
int mr_commit_place(const struct mr_commit *c, struct mr_dossier *d,
                    struct mr_err *err) MR_MUST_USE;

/* One of a group, whose group file is durable: from its part's name into its directory, and no more
 * than that. -EEXIST: the name is taken. */
int mr_commit_place_small(const struct mr_commit *c, const struct mr_dossier *d,
                          const struct mr_movie *movie, int final_dir) MR_MUST_USE;

/* Logs the events of placed movies, notes them in the catalogue (committed ones), removes their
 * journals. sequences: of the events, written for all. Any error is the end of the server: log or
 * catalogue is broken. */
int mr_commit_record(const struct mr_commit *c, struct mr_dossier *const *movies, size_t count,
                     uint64_t *ret_sequences, struct mr_err *err) MR_MUST_USE;

/* A sealed movie that recovery does not finish. DOUBTED: nobody was told of it, so it is read back
 * first; TRUSTED: failed, and kept as it is; TOLD: placed, its event is logged; VOID: to be taken
 * back. */
enum mr_commit_state { MR_COMMIT_DOUBTED, MR_COMMIT_TRUSTED, MR_COMMIT_TOLD, MR_COMMIT_VOID };

/* Of one that was announced: something may bear its part's name. Itself, beside the final one,
 * where names are linked and a server was replaced in between; or what was made there to be
 * removed, by a server that was killed. It goes, durably. -errno: not yet. */
int mr_commit_drop_part(const struct mr_store *store, const struct mr_dossier *d) MR_MUST_USE;

/* The file of a sealed movie, under whichever of its names it has by now; an fd or -errno. -ENOENT:
 * under neither. Any thread: recheck reads it before seal has it. */
int mr_commit_open_file(const struct mr_store *store, const struct mr_dossier *d) MR_MUST_USE;

/* Of a sealed movie that nobody was told of: file and journal are removed, it begins again. What it
 * replaced has its place again, or is kept where old revisions are. Says why it cannot. -EUCLEAN: a
 * folder's sync failed, which is not tried again: left to the next start. Other errors: to be tried
 * again. */
int mr_commit_take_back(const struct mr_commit *c, const struct mr_dossier *d) MR_MUST_USE;

/* The same where mr_commit_place finds nothing to be placed: the agent still has the source, or its
 * journal would be gone. After an error it is mr_commit_take_back that is tried again. */
int mr_commit_vanished(const struct mr_commit *c, const struct mr_dossier *d) MR_MUST_USE;

/* It is to have another name: words its event anew and seals it again. path: may be its own.
 * -EUCLEAN: the record cannot be relied on; other errors as mr_commit_seal, with err. */
int mr_commit_reseal(const struct mr_commit *c, struct mr_dossier *d, const char *path,
                     struct mr_err *err) MR_MUST_USE;

/* First final name that is free, beginning with `path`, into ret (MR_NAMING_PATH_MAX + 1 bytes).
 * Any thread. */
int mr_commit_free_name(const struct mr_store *store, const char *path, char *ret) MR_MUST_USE;

#endif
