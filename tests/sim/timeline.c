/* SPDX-License-Identifier: Apache-2.0 */
/* A binary heap of happenings. Does not know what happens. */
#include "timeline.h"

#include <stdlib.h>

static bool before(const struct happening *a, const struct happening *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->order < b->order;
}

void timeline_at(struct timeline *t, int64_t at_ns, timeline_fire fire, void *ctx, uint64_t a,
                 void *payload)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity == 0 ? 256 : 2 * t->capacity;
        t->heap = realloc(t->heap, t->capacity * sizeof(*t->heap));
        if (t->heap == NULL)
            abort();
    }
    struct happening h = {.at_ns = at_ns < t->now_ns ? t->now_ns : at_ns,
                          .order = t->planned++,
                          .a = a,
                          .fire = fire,
                          .ctx = ctx,
                          .payload = payload};
    size_t i = t->count++;
    for (; i > 0 && before(&h, &t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = h;
}

static struct happening take_first(struct timeline *t)
{
    struct happening first = t->heap[0], last = t->heap[--t->count];
    size_t i = 0;
    for (size_t child = 1; child < t->count; child = 2 * i + 1) {
        if (child + 1 < t->count && before(&t->heap[child + 1], &t->heap[child]))
            child++;
        if (!before(&t->heap[child], &last))
            break;
        t->heap[i] = t->heap[child];
        i = child;
    }
    t->heap[i] = last;
    return first;
}

bool timeline_step(struct timeline *t)
{
    if (t->count == 0)
        return false;
    struct happening h = take_first(t);
    t->now_ns = h.at_ns;
    h.fire(h.ctx, h.a, h.payload);
    return true;
}

void timeline_fini(struct timeline *t)
{
    for (size_t i = 0; i < t->count; i++)
        free(t->heap[i].payload);
    free(t->heap);
    *t = (struct timeline){0};
}
