/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a part into a finished file: digests combined from the slabs' own, header or index written
 * over bytes already in place, size and times set, fsynced. The name is commit's affair. Used by
 * the seal thread.
 */
#ifndef MR_FINISH_H
#define MR_FINISH_H

#include "dossier.h"
#include "movie.h"
#include "store.h"

/* Writes what is missing, truncates to the final size, fsyncs, and fills d->sealed but for path and
 * event. ret_left_out: 256 bytes. -EUCLEAN: slabs are missing in the journal or totals differ from
 * END's: the source changed under way, err says how; others: I/O; where it was the fsync, the movie
 * is tainted. -EIO: it was tainted before. */
int mr_finish_part(const struct mr_store *store, struct mr_movie *movie, struct mr_dossier *d,
                   const struct mr_end *end, char *ret_left_out, struct mr_err *err) MR_MUST_USE;

/* A failed movie's part: cut to what the source holds (keep), fsynced; fills d->sealed likewise;
 * taints likewise. One that is tainted already is copied first (salvage.h), never synced again. */
int mr_finish_failed(struct mr_movie *movie, struct mr_dossier *d, const struct mr_fail *fail,
                     struct mr_err *err) MR_MUST_USE;

#endif
