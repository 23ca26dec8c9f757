/* SPDX-License-Identifier: Apache-2.0 */
/* What commit does where a rename of the part is not the way. Each may be done again after a
 * crash or an error at any step. Used by commit. */
#ifndef MR_STAND_IN_H
#define MR_STAND_IN_H

#include "catalogue.h"
#include "store.h"

/* Where names cannot be exchanged (NFS): the old revision gets its name in <part_dir>/old as a
 * second one, durably, then the part is renamed over it. A file that somebody else puts there in
 * between is lost. -errno, also where files cannot be linked. */
int mr_stand_in_link(const struct mr_store *store, const struct mr_catalogue_entry *before,
                     int final_dir, const char *final, int part_dir, const char *part) MR_MUST_USE;

/* Of a movie of which nothing is kept: an empty file is made as final, durably, and anew where an
 * earlier attempt may have left it in doubt; then the part goes, and with it the room it took.
 * part_dir -1: it is gone. */
int mr_stand_in_empty(int final_dir, const char *final, int part_dir, const char *part) MR_MUST_USE;

#endif
