/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copies a movie's durable slabs out of a part that a server before may still write into, to a part
 * of our own, to the same places. Each is verified on its way; one that does not read as journalled
 * is left behind. Used by recheck, on its thread.
 */
#ifndef MR_CARRY_H
#define MR_CARRY_H

#include "dossier.h"
#include "movie.h"
#include "store.h"

struct mr_carry;

/* From generation `from` of the movie to `to`, borrowed until _close. -ENOENT: that part is gone.
 * Returns owned. */
int mr_carry_open(struct mr_movie *to, uint32_t from, struct mr_carry **ret) MR_MUST_USE;
void mr_carry_close(struct mr_carry *carry); /* NULL allowed */

/* -EILSEQ: it does not read as its placement says; other errors: it cannot be written. */
int mr_carry_slab(struct mr_carry *carry, const struct mr_placement *placement) MR_MUST_USE;

/* All of d's slabs that count as durable were carried: makes them so in the new part and its
 * journal, and then removes the old ones. d: read from the old journal. */
int mr_carry_finish(const struct mr_store *store, uint32_t from, struct mr_movie *to,
                    const struct mr_dossier *d) MR_MUST_USE;

#endif
