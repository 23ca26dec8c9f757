/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directories of which something is known, by a hash of their path: a table of fixed size, in which
 * one may push out another. So "known" can be relied on, and "not known" costs that it is found out
 * again. Any thread.
 */
#ifndef MR_DIRSET_H
#define MR_DIRSET_H

#include <stdbool.h>
#include <stdint.h>

#define MR_DIRSET_PLACES 4096

/* Zeroed: empty */
struct mr_dirset {
    _Atomic uint64_t hashes[MR_DIRSET_PLACES];
};

uint64_t mr_dirset_hash(const char *dir); /* never 0 */

bool mr_dirset_has(const struct mr_dirset *set, uint64_t hash);
void mr_dirset_add(struct mr_dirset *set, uint64_t hash);
void mr_dirset_remove(struct mr_dirset *set, uint64_t hash);

#endif
