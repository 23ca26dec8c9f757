/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking a store over from a server that may still be alive: stopped, cut off, on another node. It
 * may write at any time into every file it has open, and to every name it knows. So no such file is
 * written by us, and no such name is looked at again:
 *
 * - each journal is renamed into our epoch (generation epoch x MR_EPOCH_PARTS), then its part, then
 *   the journal is read and a copy of it put into its place; of a sealed movie the part is complete
 *   and is used, of others only read (carry.h)
 * - the last event segment and the catalogue are copied under names of our epoch
 * - the epoch is noted in the lease; only now anything of it counts
 * - the old ones are removed
 *
 * Main thread, before event log and catalogue are opened.
 */
#ifndef MR_TAKEOVER_H
#define MR_TAKEOVER_H

#include "store.h"

/* For the caller to log */
struct mr_takeover_note {
    bool contested;      /* there was something to be taken over like that */
    size_t sealed, open; /* movies */
    size_t damaged;      /* journals that do not read: left alone */
    uint64_t first_event;
};

/* Sets store->lease and ->epoch. Where the one before is dead for certain that is all. Any error is
 * the end of the start; the next server begins it again. -EUCLEAN: the store has files of a
 * generation that the lease never reached. */
int mr_takeover_run(struct mr_store *store, struct mr_lease *lease, struct mr_takeover_note *ret,
                    struct mr_err *err) MR_MUST_USE;

#endif
