/* SPDX-License-Identifier: Apache-2.0 */
/* Movies by id, each with a time. Reads no clock and knows nothing of what is to be done. */
#include "roster.h"

#include "base/clock.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

struct mr_roster_entry {
    struct mr_roster_entry *next;
    struct mr_ulid id;
    int64_t due_ns;
};

int mr_roster_add(struct mr_roster *r, const struct mr_ulid *id, int64_t due_ns)
{
    for (struct mr_roster_entry *e = r->first; e != NULL; e = e->next)
        if (mr_ulid_equal(&e->id, id)) {
            e->due_ns = due_ns;
            return 0;
        }
    struct mr_roster_entry *e = calloc(1, sizeof(*e));
    if (e == NULL)
        return -ENOMEM;
    *e = (struct mr_roster_entry){.next = r->first, .id = *id, .due_ns = due_ns};
    r->first = e;
    return 0;
}

bool mr_roster_has(const struct mr_roster *r, const struct mr_ulid *id)
{
    for (const struct mr_roster_entry *e = r->first; e != NULL; e = e->next)
        if (mr_ulid_equal(&e->id, id))
            return true;
    return false;
}

static void unlink_entry(struct mr_roster_entry **at)
{
    struct mr_roster_entry *e = *at;
    *at = e->next;
    free(e);
}

bool mr_roster_take(struct mr_roster *r, const struct mr_ulid *id)
{
    for (struct mr_roster_entry **at = &r->first; *at != NULL; at = &(*at)->next)
        if (mr_ulid_equal(&(*at)->id, id)) {
            unlink_entry(at);
            return true;
        }
    return false;
}

bool mr_roster_take_due(struct mr_roster *r, int64_t now_ns, struct mr_ulid *ret)
{
    for (struct mr_roster_entry **at = &r->first; *at != NULL; at = &(*at)->next)
        if ((*at)->due_ns <= now_ns) {
            *ret = (*at)->id;
            unlink_entry(at);
            return true;
        }
    return false;
}

int mr_roster_wait_ms(const struct mr_roster *r, int64_t now_ns)
{
    int64_t first_ns = INT64_MAX;
    for (const struct mr_roster_entry *e = r->first; e != NULL; e = e->next)
        if (e->due_ns < first_ns)
            first_ns = e->due_ns;
    if (r->first == NULL)
        return -1;
    if (first_ns <= now_ns)
        return 0;
    int64_t wait_ms = (first_ns - now_ns - 1) / MR_NS_PER_MS + 1;
    return wait_ms > INT_MAX ? INT_MAX : (int)wait_ms;
}

void mr_roster_fini(struct mr_roster *r)
{
    while (r->first != NULL)
        unlink_entry(&r->first);
}
