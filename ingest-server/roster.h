/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Movies by id, each with the time at which somebody means to look after it. For tens of movies.
 * Pure; one thread.
 */
#ifndef MR_ROSTER_H
#define MR_ROSTER_H

#include "base/ulid.h"

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: empty. */
struct mr_roster {
    struct mr_roster_entry *first;
};

/* Enters id, or gives it another time. -ENOMEM. */
int mr_roster_add(struct mr_roster *r, const struct mr_ulid *id, int64_t due_ns) MR_MUST_USE;
bool mr_roster_has(const struct mr_roster *r, const struct mr_ulid *id);
bool mr_roster_take(struct mr_roster *r, const struct mr_ulid *id); /* false: it was not there */

/* Takes one whose time has come; false: none. */
bool mr_roster_take_due(struct mr_roster *r, int64_t now_ns, struct mr_ulid *ret);

/* Milliseconds until the first is due, rounded up; 0 when it is, -1 when there is none. */
int mr_roster_wait_ms(const struct mr_roster *r, int64_t now_ns);

void mr_roster_fini(struct mr_roster *r);

#endif
