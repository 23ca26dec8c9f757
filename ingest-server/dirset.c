/* SPDX-License-Identifier: Apache-2.0 */
/* Remembering directories. Touches no file system. */
#include "dirset.h"

#include "base/crc64.h"

#include <stdatomic.h>
#include <string.h>

uint64_t mr_dirset_hash(const char *dir)
{
    return mr_crc64(1, dir, strlen(dir)) | 1; /* 0: nothing is remembered there */
}

/* The lowest bit says nothing. */
static uint64_t place_of(uint64_t hash)
{
    return hash / 2 % MR_DIRSET_PLACES;
}

bool mr_dirset_has(const struct mr_dirset *set, uint64_t hash)
{
    return atomic_load_explicit(&set->hashes[place_of(hash)], memory_order_relaxed) == hash;
}

void mr_dirset_add(struct mr_dirset *set, uint64_t hash)
{
    atomic_store_explicit(&set->hashes[place_of(hash)], hash, memory_order_relaxed);
}

void mr_dirset_remove(struct mr_dirset *set, uint64_t hash)
{
    (void)atomic_compare_exchange_strong(&set->hashes[place_of(hash)], &hash, 0);
}
