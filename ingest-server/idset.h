/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an event's id to the sequences it may have: a hash table of (hash, sequence), 16 bytes each
 * at a load of at most two thirds. It does not keep ids: a hit is a candidate that the caller looks
 * up in the log. One thread.
 */
#ifndef MR_IDSET_H
#define MR_IDSET_H

#include "base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: empty */
struct mr_idset {
    struct mr_idset_slot {
        uint64_t hash, sequence; /* sequence 0: free */
    } * slots;
    size_t capacity, count; /* slots; capacity a power of two or 0 */
};

void mr_idset_fini(struct mr_idset *set);
int mr_idset_add(struct mr_idset *set, const char *id, uint64_t sequence) MR_MUST_USE; /* -ENOMEM */

/* Candidates for id one after the other: *at starts at 0 and is the call's place. 0: no more. */
uint64_t mr_idset_next(const struct mr_idset *set, const char *id, size_t *at);

#endif
