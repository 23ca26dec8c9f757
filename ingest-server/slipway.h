/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A movie's part and journal as files: made, opened again, removed. Directories and both files are
 * durable when the calls return. Used by berth, on its thread.
 */
#ifndef MR_SLIPWAY_H
#define MR_SLIPWAY_H

#include "dossier.h"
#include "movie.h"
#include "store.h"

/* A movie as the dossier says, with the names of its files but without them. Returns owned; NULL:
 * out of memory. */
struct mr_movie *mr_slipway_movie(const struct mr_dossier *d);

/* Journal with OPEN, then part. After an error there may be some of it: _remove. */
int mr_slipway_make(const struct mr_store *store, struct mr_movie *movie,
                    const struct mr_dossier *d, struct mr_err *err) MR_MUST_USE;

/* As they were left. earlier_life: by another server, whose last writes may still be under way; or
 * by one whose sync of it failed: its slabs are to be read back then. -ENOENT: the part is gone,
 * and now its journal too. After other errors it is to be doubted, likewise. Returns owned. */
int mr_slipway_reopen(const struct mr_store *store, const struct mr_dossier *d, bool earlier_life,
                      struct mr_movie **ret, struct mr_err *err) MR_MUST_USE;

/* Both, and the directory where it is empty; what cannot be removed stays, and that is logged.
 * path: d->path. False: there is some of it. */
bool mr_slipway_remove(const struct mr_store *store, const struct mr_ulid *id, uint32_t generation,
                       const char *path);

#endif
