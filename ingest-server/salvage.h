/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A part that is not to be trusted (a write or an fsync of it failed), and no source to send it
 * again: what it holds is copied to a new file, slab by slab, each verified. Used by the seal
 * thread.
 */
#ifndef MR_SALVAGE_H
#define MR_SALVAGE_H

#include "dossier.h"
#include "movie.h"

/* Puts the copy in the part's place; it is not synced yet. Durable slabs that do not verify are
 * holes in it. -errno: the part is as it was. */
int mr_salvage_part(const struct mr_movie *movie, const struct mr_dossier *d,
                    struct mr_err *err) MR_MUST_USE;

#endif
