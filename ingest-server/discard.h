/* SPDX-License-Identifier: Apache-2.0 */
/* All that the store has of a movie that was not finished. Used by the seal thread; mr_discard_one
 * and _strays by berth and, at the start, main as well. */
#ifndef MR_DISCARD_H
#define MR_DISCARD_H

#include "base/ulid.h"
#include "store.h"

/* Removes parts and journals of every generation whose journal reads; sealed ones too. Durably: its
 * agent forgets the movie once it is told, and would not ask for what a power cut brought back.
 * -EUCLEAN: their directory does not sync, try as one may; else -errno of the journals. */
int mr_discard_all(const struct mr_store *store, const struct mr_ulid *id) MR_MUST_USE;

/* True where a journal of it is there that reads; or where that is not to be told. */
bool mr_discard_is_left(const struct mr_store *store, const struct mr_ulid *id);

/* True where a generation of it is sealed, and is of a later revision than `recorded`, the newest
 * in the catalogue (0: none): only its commit may remove that one's journal. */
bool mr_discard_is_sealed(const struct mr_store *store, const struct mr_ulid *id,
                          uint32_t recorded);

/* 1 where a generation of it was opened by an agent of another name; else 0. -errno: that is not to
 * be told. */
int mr_discard_is_of_another(const struct mr_store *store, const struct mr_ulid *id,
                             const char *agent) MR_MUST_USE;

/* After take-overs: parts of this movie that no journal names. A fenced server that went on for a
 * moment may have made one, and one that ended behind a copy may have left what it had copied from
 * (carry.h). Neither the part of that generation nor any that this epoch has made. */
void mr_discard_strays(const struct mr_store *store, const struct mr_ulid *id, uint32_t generation,
                       const char *path);

/* One generation's part, for good, and then its journal, not yet for good: path is the final name
 * in that journal. -errno: something of it is left, and its journal still names it. */
int mr_discard_one(const struct mr_store *store, const struct mr_ulid *id, uint32_t generation,
                   const char *path) MR_MUST_USE;

#endif
