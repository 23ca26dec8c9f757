/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An open-addressing hash of watch numbers. Knows nothing of inotify.
 */
#include "dirmap.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 64u

static size_t home_of(const struct mr_dirmap *map, int wd)
{
    return ((uint32_t)wd * 2654435769u) & (map->capacity - 1);
}

/* Index of wd, or of the free slot where it would go. capacity > 0, never full. */
static size_t locate(const struct mr_dirmap *map, int wd)
{
    size_t at = home_of(map, wd);
    while (map->slots[at].wd != 0 && map->slots[at].wd != wd)
        at = (at + 1) & (map->capacity - 1);
    return at;
}

static int grow(struct mr_dirmap *map)
{
    struct mr_dirmap next = {.capacity = map->capacity ? map->capacity * 2 : FIRST_CAPACITY};
    next.slots = calloc(next.capacity, sizeof(*next.slots));
    if (next.slots == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < map->capacity; i++)
        if (map->slots[i].wd != 0)
            next.slots[locate(&next, map->slots[i].wd)] = map->slots[i];
    free(map->slots);
    next.count = map->count;
    *map = next;
    return 0;
}

void mr_dirmap_fini(struct mr_dirmap *map)
{
    for (size_t i = 0; i < map->capacity; i++)
        free(map->slots[i].path);
    free(map->slots);
    *map = (struct mr_dirmap){0};
}

int mr_dirmap_set(struct mr_dirmap *map, int wd, const char *path)
{
    assert(wd > 0);
    if (map->count * 2 >= map->capacity && grow(map) != 0)
        return -ENOMEM;
    char *copy = strdup(path);
    if (copy == NULL)
        return -ENOMEM;
    struct mr_dirmap_slot *slot = &map->slots[locate(map, wd)];
    if (slot->wd == 0)
        map->count++;
    free(slot->path);
    *slot = (struct mr_dirmap_slot){.wd = wd, .path = copy};
    return 0;
}

const char *mr_dirmap_get(const struct mr_dirmap *map, int wd)
{
    return map->capacity == 0 || wd <= 0 ? NULL : map->slots[locate(map, wd)].path;
}

bool mr_dirmap_remove(struct mr_dirmap *map, int wd)
{
    if (mr_dirmap_get(map, wd) == NULL)
        return false;
    size_t mask = map->capacity - 1, hole = locate(map, wd);
    free(map->slots[hole].path);
    map->slots[hole] = (struct mr_dirmap_slot){0};
    map->count--;
    /* Whoever stood behind the hole because of it moves up, so that no search ends early. */
    for (size_t at = (hole + 1) & mask; map->slots[at].wd != 0; at = (at + 1) & mask) {
        size_t home = home_of(map, map->slots[at].wd);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            map->slots[hole] = map->slots[at];
            map->slots[at] = (struct mr_dirmap_slot){0};
            hole = at;
        }
    }
    return true;
}

bool mr_dirmap_is_below(const char *path, const char *folder)
{
    size_t length = strlen(folder);
    return length == 0 ||
           (strncmp(path, folder, length) == 0 && (path[length] == '\0' || path[length] == '/'));
}

int mr_dirmap_find_below(const struct mr_dirmap *map, const char *path, size_t *at)
{
    for (; *at < map->capacity; (*at)++)
        if (map->slots[*at].wd != 0 && mr_dirmap_is_below(map->slots[*at].path, path))
            return map->slots[*at].wd; /* *at stays: a removal may move another one here */
    return 0;
}
