/* SPDX-License-Identifier: Apache-2.0 */
/* Records of movies. Decides nothing. */
#include "shelf.h"

#include <stdlib.h>
#include <string.h>

struct record *shelf_find(const struct shelf *s, const struct mr_ulid *id)
{
    struct record *r = s->records;
    while (r != NULL && !mr_ulid_equal(&r->id, id))
        r = r->next;
    return r;
}

struct record *shelf_find_or_add(struct shelf *s, const struct mr_ulid *id)
{
    struct record *r = shelf_find(s, id);
    if (r != NULL)
        return r;
    r = calloc(1, sizeof(*r));
    if (r == NULL)
        abort();
    r->id = *id;
    r->next = s->records;
    s->records = r;
    return r;
}

void shelf_begin(struct record *r, const struct mr_geometry *g)
{
    r->state = SHELF_PART;
    r->geometry = *g;
    r->generation++;
    memset(r->durable, 0, sizeof(r->durable));
}

size_t shelf_ranges(const struct record *r, struct mr_range ret[WORLD_SLABS])
{
    size_t count = 0;
    for (uint64_t i = 0; i < WORLD_SLABS; i++) {
        if (!r->durable[i])
            continue;
        if (count > 0 && ret[count - 1].first + ret[count - 1].count == i)
            ret[count - 1].count++;
        else
            ret[count++] = (struct mr_range){.first = i, .count = 1};
    }
    return count;
}

void shelf_free(struct shelf *s)
{
    for (struct record *r = s->records, *next; r != NULL; r = next) {
        next = r->next;
        free(r);
    }
    free(s);
}
