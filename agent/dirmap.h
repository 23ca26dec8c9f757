/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which directory has which watch: a map from watch numbers to paths. One thread.
 */
#ifndef MR_AGENT_DIRMAP_H
#define MR_AGENT_DIRMAP_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

struct mr_dirmap_slot {
    int wd;     /* 0: free (inotify counts from 1) */
    char *path; /* owned */
};

/* All zero: empty. */
struct mr_dirmap {
    struct mr_dirmap_slot *slots;
    size_t capacity, count; /* capacity: a power of two, or 0 */
};

void mr_dirmap_fini(struct mr_dirmap *map); /* leaves it empty */

/* Sets the path (copied) of wd > 0, which may be there already. -ENOMEM. */
int mr_dirmap_set(struct mr_dirmap *map, int wd, const char *path) MR_MUST_USE;

/* Path of wd, NULL where it has none. Borrowed until the map changes. */
const char *mr_dirmap_get(const struct mr_dirmap *map, int wd);

bool mr_dirmap_remove(struct mr_dirmap *map, int wd); /* true where it was there */

/* The number of the next directory that is `path` or lies below it ("" all), 0 where there is none.
 * *at: 0 at first; the one that was found may be removed between two calls, nothing else changed.
 */
int mr_dirmap_find_below(const struct mr_dirmap *map, const char *path, size_t *at);

/* True where path is `folder` or lies below it; everything lies below "". */
bool mr_dirmap_is_below(const char *path, const char *folder);

#endif
