/* SPDX-License-Identifier: Apache-2.0 */
/* Open addressing with linear probing; nothing is ever taken out. Ids themselves are not kept. */
#include "idset.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t hash_of(const char *id) /* FNV-1a, then mixed for the low bits */
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *id != '\0'; id++)
        h = (h ^ (unsigned char)*id) * 0x100000001b3u;
    return h ^ (h >> 29);
}

static void place(struct mr_idset *set, struct mr_idset_slot slot)
{
    size_t i = (size_t)slot.hash & (set->capacity - 1);
    while (set->slots[i].sequence != 0)
        i = (i + 1) & (set->capacity - 1);
    set->slots[i] = slot;
}

static int grow(struct mr_idset *set)
{
    struct mr_idset larger = {.capacity = set->capacity > 0 ? 2 * set->capacity : 1024};
    larger.slots = calloc(larger.capacity, sizeof(larger.slots[0]));
    if (!larger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < set->capacity; i++)
        if (set->slots[i].sequence != 0)
            place(&larger, set->slots[i]);
    larger.count = set->count;
    free(set->slots);
    *set = larger;
    return 0;
}

void mr_idset_fini(struct mr_idset *set)
{
    free(set->slots);
    *set = (struct mr_idset){.slots = NULL};
}

int mr_idset_add(struct mr_idset *set, const char *id, uint64_t sequence)
{
    if (3 * (set->count + 1) > 2 * set->capacity) {
        int r = grow(set);
        if (r < 0)
            return r;
    }
    place(set, (struct mr_idset_slot){.hash = hash_of(id), .sequence = sequence});
    set->count++;
    return 0;
}

uint64_t mr_idset_next(const struct mr_idset *set, const char *id, size_t *at)
{
    if (set->capacity == 0)
        return 0;
    uint64_t hash = hash_of(id);
    for (;;) { /* ends: a table is never full */
        const struct mr_idset_slot *slot = &set->slots[(hash + *at) & (set->capacity - 1)];
        if (slot->sequence == 0)
            return 0;
        (*at)++;
        if (slot->hash == hash)
            return slot->sequence;
    }
}
